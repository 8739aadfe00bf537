"""The line of progress on a terminal: it fits, whatever the terminal's width."""

import os
import re

import pytest

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
