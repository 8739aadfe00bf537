#!/usr/bin/python3
"""Writes numbers into two files in turn, in a way of its own for each, so that a picture of both tells whether it is of one instant.

    stamper.py DIRECTORY WAY_A WAY_B MINE      MINE: "ab", "a" or "b"; stamps until its standard input ends

The stamp N goes to file A when N is even, else to B: "write" and "mmap" put it into slot N/2 modulo SLOTS, each in a page of its own;
"append" appends it. A process that writes one file only waits for the other's byte before each stamp, and sends one after it.
"""

import mmap
import os
import struct
import sys
import threading

SLOTS, PAGE = 4, 4096
STAMP = struct.Struct("<Q")
FIRST = 2 * SLOTS  # stamps below are put by prepare()
LAST = 500000  # no more than that, however long it takes to end it
WAYS = ("write", "append", "mmap")


class Write:
    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)

    def put(self, number):
        os.pwrite(self.fd, STAMP.pack(number), number // 2 % SLOTS * PAGE)


class Append:
    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def put(self, number):
        os.write(self.fd, STAMP.pack(number))


class Mapped:
    def __init__(self, path):
        fd = os.open(path, os.O_RDWR)
        self.area = memoryview(mmap.mmap(fd, SLOTS * PAGE)).cast("Q")

    def put(self, number):
        self.area[number // 2 % SLOTS * PAGE // 8] = number


KINDS = {"write": Write, "append": Append, "mmap": Mapped}


def prepare(directory, ways):
    """The files with their first stamps."""
    for file, way in enumerate(ways):
        path = f"{directory}/{'ab'[file]}"
        with open(path, "wb") as handle:
            handle.truncate(0 if way == "append" else SLOTS * PAGE)
        writer = KINDS["append" if way == "append" else "write"](path)
        for number in range(file, FIRST, 2):
            writer.put(number)
        os.close(writer.fd)


def last(directory, ways, file):
    """The last stamp of one file; AssertionError when the file is no prefix of what was written."""
    with open(f"{directory}/{'ab'[file]}", "rb") as handle:
        data = handle.read()
    if ways[file] == "append":
        assert len(data) % STAMP.size == 0, f"{directory}: half a stamp was appended"
        found = [number for (number,) in STAMP.iter_unpack(data)]
        assert found == list(range(file, file + 2 * len(found), 2)), f"{directory}: stamps are missing or out of order"
        return found[-1]
    assert len(data) == SLOTS * PAGE, f"{directory}: {len(data)} bytes"
    found = [STAMP.unpack_from(data, slot * PAGE)[0] for slot in range(SLOTS)]
    newest = max(found)
    assert sorted(found) == list(range(newest - 2 * SLOTS + 2, newest + 1, 2)), f"{directory}, {'ab'[file]}: slots {found}"
    return newest


def check(directory, ways):
    """The last stamp in the picture; AssertionError when it is none of one instant."""
    a, b = last(directory, ways, 0), last(directory, ways, 1)
    assert abs(a - b) == 1, f"{directory} ({ways}): a ends with {a}, b with {b}: not one instant"
    return max(a, b)


def main():
    directory, way_a, way_b, mine = sys.argv[1:5]
    pipes = [int(fd) for fd in sys.argv[5:7]]
    writers = [KINDS[way](f"{directory}/{'ab'[file]}") if "ab"[file] in mine else None for file, way in enumerate((way_a, way_b))]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), ended.set()), daemon=True).start()
    print("ready", flush=True)
    number = FIRST
    while not ended.is_set() and number < LAST:
        writer = writers[number % 2]
        if pipes and not writer and not os.read(pipes[0], 1):
            break
        if writer:
            writer.put(number)
            if pipes:
                try:
                    os.write(pipes[1], b".")
                except BrokenPipeError:
                    break
        number += 1
    ended.wait()
    os._exit(0)


if __name__ == "__main__":
    main()
