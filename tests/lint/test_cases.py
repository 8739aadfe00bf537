"""What is left out when a run is to be short."""

import functools
import re
import subprocess
import sys

import pytest

from lint.sources import path, report, text


@functools.cache
def cases(every):
    """(test, what is in brackets behind its name) of all tests on mounts that have cases."""
    command = [sys.executable, "-m", "pytest", "-c", path("tests/pytest.ini"), "--collect-only", "-q", f"--every={every}", path("tests/mount")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    return re.findall(r"::test_(\w+)\[(.*)\]$", listed, re.M)


@pytest.mark.timeout(240)  # collects all tests several times
def test_a_short_run_leaves_out_no_fault_point_and_no_damage():
    points = re.findall(r'^\tX\("([^"]+)"', text("lib/base/fault_points.h"), re.M)

    def kinds(every):
        found = cases(every)
        return {(test, point) for test, case in found for point in points if re.search(rf"(?<![\w.]){re.escape(point)}(?![\w.])", case)} | {
            (test, case) for test, case in found if "damage" in test}

    whole, short = kinds(1), kinds(3) & kinds(6)  # as selftest --short has them
    assert len(whole) > 50
    report([f"{test}: nothing of {kind} is left (mark it as kinds)" for test, kind in sorted(whole - short)])


def test_a_short_run_is_shorter():
    assert len(cases(3)) < 0.7 * len(cases(1))
