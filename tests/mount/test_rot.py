"""Bits that flip on the disk: what is hurt answers EIO, everything else goes on, and good bytes that come in heal it."""

import errno
import os
import random

import pytest

from harness import files, rot


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


@pytest.fixture(name="rotten")
def _rotten(store):
    """A mounted store with 40 files of noise in d, of which file 7 is hurt; snapshot v1 has them too."""
    store.create("d")
    point = store.mount()
    for number in range(40):
        files.put(f"{point}/d/{number}", noise(number))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    assert rot.content(store, noise(7), 100000) == 1
    return store.mount(point) + "/d"


def test_collector_passes_what_is_damaged_and_writing_goes_on(rotten, store):
    assert not reads(rotten + "/7", noise(7))
    for number in range(0, 40, 2):
        os.unlink(f"{rotten}/{number}")
    store.ok("-s", store.path, "snapshot", "destroy", "d@v1")
    store.ok("-s", store.path, "gc")
    with open(rotten + "/new", "wb") as handle:
        handle.write(noise("new"))
        os.fsync(handle.fileno())
    assert reads(rotten + "/new", noise("new")) and reads(rotten + "/9", noise(9)) and not reads(rotten + "/7", noise(7))


def test_store_whose_last_chunk_is_damaged_opens(store):
    store.create("d")
    point = store.mount()
    files.put(point + "/d/file", noise(1, 30000))
    store.umount()
    assert rot.content(store, noise(1, 30000), 15000) == 1
    assert not reads(store.mount() + "/d/file", noise(1, 30000))
    files.put(store.points[-1] + "/d/next", noise(2))
    store.umount()
    assert reads(store.mount() + "/d/next", noise(2))
