"""Snapshots beside programs that store into big shared mappings."""

import array
import os
import subprocess
import sys

import pytest

from harness import program

PAGE = 4096
STEP = 2654435761  # odd, so that STEP * k visits every page of a file that has a power of two of them before it visits one again

WRITER = """
import mmap, os, sys
path, size = sys.argv[1], int(sys.argv[2])
words = memoryview(mmap.mmap(os.open(path, os.O_RDWR), size)).cast("Q")  # one store each; struct's pack_into stores zeros first
mask, number = size // 4096 - 1, 0
while True:
    number += 1
    words[((number * 2654435761) & mask) << 9] = number
    if number & mask == 0 and number < 20 * mask:
        print(number, flush=True)
"""


def stored(path):
    """The number at the start of each page."""
    numbers = array.array("Q")
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            found = array.array("Q")
            found.frombytes(block)
            numbers += found[:: PAGE // 8]
    return numbers


def torn(numbers):
    """Pages that do not show what they showed when the greatest number was stored: every store up to one moment is in, and none after it."""
    last, pages = max(numbers), len(numbers)
    inverse = pow(STEP, -1, pages)
    expected = (last - (last - page * inverse) % pages for page in range(pages))
    return [page for page, (found, number) in enumerate(zip(numbers, expected)) if found != max(number, 0)]


@pytest.mark.sanitize
@pytest.mark.timeout(180)
def test_snapshot_beside_programs_that_store_at_random_into_big_mappings(fs):
    size, writers = (256 << 20) // program.scale(), []
    try:
        for number in range(3):
            with open(f"{fs}/{number}", "wb") as handle:
                handle.truncate(size)
            command = [sys.executable, "-c", WRITER, f"{fs}/{number}", str(size)]
            writers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
        for count in range(2):
            for writer in writers:
                assert writer.stdout.readline(), "every page was stored into once more"
            os.mkdir(f"{fs}/.snapshots/{count}")
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(20)
            writer.stdout.close()
    for number in range(3):
        numbers = stored(f"{fs}/.snapshots/1/{number}")
        assert max(numbers) > 0 and not torn(numbers), f"file {number}"
