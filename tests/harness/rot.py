"""Damage in a store's table files, as a disk makes it."""

import errno
import glob
import json
import os
import random
import re

from harness import files, posix

LAYOUT = "names, attributes and layout of files"

_flips = []


def noise(seed, size=200000):
    return random.Random(seed).randbytes(size)


def reads(path, data):
    """Whether the file has this content; False: a read answers EIO."""
    try:
        assert files.get(path) == data
        return True
    except OSError as problem:
        assert problem.errno == errno.EIO, problem
        return False


def tables_in(path):
    return sorted(glob.glob(path + "/db*/*.sst"))


def tables(store):
    return tables_in(store.path)


def flip(path, at, bit=1):
    """Flips a bit of a file, on the disk too; nobody has it in memory afterwards."""
    _flips.append((path, at, bit))
    fd = os.open(path, os.O_RDWR)
    try:
        byte = os.pread(fd, 1, at)[0]
        os.pwrite(fd, bytes([byte ^ bit]), at)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def undo():
    """Flips back what was flipped last."""
    flip(*_flips[-1])


def content(store, data, at=0):
    """Flips a bit of every stored copy of data[at:at+64], which is content that does not compress. Returns how many there were."""
    found = 0
    for path in tables(store):
        with open(path, "rb") as handle:
            whole = handle.read()
        for match in re.finditer(re.escape(data[at : at + 64]), whole):
            flip(path, match.start())
            found += 1
    forget()
    return found


def layout(store):
    """Flips a bit in the middle of a table of names, attributes and layout of files, the largest. The store is not mounted."""
    for path in sorted(tables(store), key=os.path.getsize, reverse=True):
        flip(path, os.path.getsize(path) // 2)
        rows = json.loads(store.run("-s", store.path, "repair", "--json").out)["tables"]
        if any(row["table"] == os.path.basename(path) and row["holds"] == LAYOUT for row in rows):
            return
        undo()
    raise AssertionError("there is no such table")


def forget():
    """Nobody has anything of a store's files or mounts in memory."""
    posix.drop_caches()


def tables_with(store, data):
    """The table files in which the bytes are."""
    found = []
    for path in tables(store):
        with open(path, "rb") as handle:
            if data in handle.read():
                found.append(path)
    return found
