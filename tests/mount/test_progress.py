"""The line of progress on a terminal: it fits, whatever the terminal's width."""

import os
import re

import pytest

from harness import files
from harness.repository import SECRETS
from harness.terminal import on_terminal


def lines_of(told):
    return [re.sub(r"\x1b\[K", "", line) for line in re.split(r"[\r\n]+", told)]


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 20, 0])
def test_it_fits(store, fs, area, columns):
    """In the last column nothing may stand: some terminals would begin another line."""
    os.mkdir(f"{area}/source")
    for number in range(4):
        with open(f"{area}/source/{number}", "wb") as handle:
            handle.write(os.urandom(32 << 20) if number == 0 else bytes(64 << 20))
    lines = lines_of(on_terminal(store, columns, "import", f"{area}/source", "d"))
    assert any(line.startswith("import: ") for line in lines), "something is told"
    assert max(len(line) for line in lines) < (columns or 80)
    if columns in (200, 20):
        assert any("[" in line for line in lines) == (columns == 200), "a bar where there is room for it"


def test_a_backup_and_its_way_back_say_how_far_they_are_and_how_long_it_takes(repository, store, area):
    """Objects come to the place slowly, whoever puts them, so that there is something to tell."""
    files.put(store.mount() + "/d/noise", os.urandom(48 << 20))
    store.umount()
    slow = {**SECRETS, "CORPUSFS_FAULT": ",".join(f"object-before-rename:sleep700:{number}" for number in range(2, 14))}
    told = on_terminal(store, 200, "backup", "d", repository.path, env=slow)
    assert re.search(r"backup: copy \[#*\.*\] +\d+% [\d.]+ MiB, [\d.]+ [KMG]?i?B/s, \d+:\d\d left", told), told
    slow = {**SECRETS, "CORPUSFS_FAULT": ",".join(f"restore-before-rename:sleep500:{number}" for number in range(1, 5))}
    told = on_terminal(store, 200, "restore", repository.path, area + "/out/", env=slow)
    assert re.search(r"restore: copy \[#*\.*\] +\d+% ", told), told
    slow = {**SECRETS, "CORPUSFS_FAULT": ",".join(f"import-before-link:sleep500:{number}" for number in range(1, 5))}
    told = on_terminal(store, 200, "restore", repository.path, "again", env=slow)
    assert re.search(r"restore: copy \[#*\.*\] +\d+% ", told), told
