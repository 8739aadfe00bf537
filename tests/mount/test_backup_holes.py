"""Holes and small files: what a backup, a stream or an export brings back has its holes where the source shows them."""

import os

import pytest

from harness import files, posix, program, tree
from harness.repository import Repository

PUNCH = posix.FALLOC_PUNCH_HOLE | posix.FALLOC_KEEP_SIZE


def layout(path):
    """Where data is: [(first, end)], and how many blocks the file has."""
    found, at, size = [], 0, os.stat(path).st_size
    with open(path, "rb") as handle:
        while at < size:
            try:
                first = os.lseek(handle.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(handle.fileno(), first, os.SEEK_HOLE)
            found.append((first, at))
    return found, os.stat(path).st_blocks


def change(path, mode, offset, length):
    with open(path, "r+b") as handle:
        posix.fallocate(handle.fileno(), mode, offset, length)
        os.fsync(handle.fileno())


def make(folder):
    """Files of few bytes, which stand in the inode, and of some blocks; with holes that were punched, left, or appended."""
    for size in (1, 100, 2000, 2048, 5000, 20000):
        name = f"{folder}/{size}"
        for kind in ("whole", "first", "middle", "all", "tail", "emptied"):
            files.put(f"{name}-{kind}", os.urandom(size))
        change(name + "-first", PUNCH, 0, max(size // 2, 1))
        change(name + "-middle", PUNCH, size // 3, max(size // 3, 1))
        change(name + "-all", PUNCH, 0, size)
        os.truncate(name + "-tail", 100000)
        os.truncate(name + "-emptied", 0)
        os.truncate(name + "-emptied", size)
    # What was allocated before is no longer small when it is written to.
    with open(folder + "/allocated", "wb") as handle:
        posix.fallocate(handle.fileno(), 0, 0, 2000)
        handle.write(b"x" * 2000)
    change(folder + "/allocated", PUNCH, 0, 1000)
    with open(folder + "/far", "wb") as handle:
        os.pwrite(handle.fileno(), b"few bytes", 300000)


@pytest.fixture(name="wanted")
def _wanted(store):
    """Names and layouts of a dataset h, which is not mounted any more."""
    store.create("h")
    point = store.mount()
    make(point + "/h")
    wanted = {name: layout(f"{point}/h/{name}") for name in sorted(os.listdir(point + "/h"))}
    store.umount()
    assert wanted["2000-first"][0] == [(0, 2000)], "less than a block is no hole"
    return wanted


def check(folder, wanted):
    found = {name: layout(f"{folder}/{name}") for name in sorted(os.listdir(folder))}
    assert found.keys() == wanted.keys()
    # A small file is stored in its inode, with the bytes of holes that nobody sees, as it would be had it been written at once.
    assert found["allocated"][0] == wanted["allocated"][0] and found["allocated"][1] * 512 <= 2048
    assert {name: row for name, row in found.items() if row != wanted[name] and name != "allocated"} == {}


def is_within(data, wanted):
    """Whether the disk has data only in blocks in which the source has some."""
    blocks = {block for first, end in wanted for block in range(first // 4096, (end + 4095) // 4096)}
    return all(block in blocks for first, end in data for block in range(first // 4096, (end + 4095) // 4096))


def test_a_restored_dataset_has_its_holes_and_blocks(store, area, wanted):
    repository = Repository(store, area + "/repository")
    repository.backup("h")
    assert repository.json("restore", repository.path, "again")["same"]
    point = store.mount()
    tree.assert_same(point + "/h", point + "/again")
    check(point + "/again", wanted)


def test_a_restored_directory_has_its_holes(store, area, wanted):
    repository = Repository(store, area + "/repository")
    repository.backup("h")
    repository.restore(area + "/out")
    store.ok("-s", store.path, "export", "h", area + "/exported")
    tree.assert_same(area + "/exported", area + "/out")
    for name, (data, _) in wanted.items():
        assert is_within(layout(f"{area}/out/{name}")[0], data), name
        assert is_within(layout(f"{area}/exported/{name}")[0], data), name


def stream(store, other, name, *options):
    words = [[one.binary, "-s", one.path] for one in (store, other)]
    line = " ".join([*words[0], "send", name, *options, "|", *words[1], "receive", "h"])
    done = program.call(["bash", "-c", f"set -o pipefail; {line}"], program.environment(store.run_mark, store.logs), store.logs)
    assert done.code == 0, done


def test_a_stream_brings_holes_and_blocks(store, other, wanted):
    store.ok("-s", store.path, "snapshot", "create", "h@one")
    stream(store, other, "h@one")
    there = other.mount(other.area + "/there")
    check(there + "/h", wanted)
    # What was a file of some bytes becomes a hole, and what was a hole is written.
    here = store.mount()
    for name in wanted:
        if name.endswith("-whole"):
            change(f"{here}/h/{name}", PUNCH, 0, max(int(name.split("-")[0]) // 2, 1))
        elif name.endswith("-all"):
            files.put(f"{here}/h/{name}", b"again")
    later = {name: layout(f"{here}/h/{name}") for name in wanted}
    store.ok("-s", store.path, "snapshot", "create", "h@two")
    store.umount()
    stream(store, other, "h@two", "--from", "one")
    check(there + "/h", later)
