"""A scrub reads what the disk has, whatever is in memory."""

import contextlib
import errno
import json
import mmap
import os
import subprocess

import pytest

from harness import files, procs, program, rot
from harness.failures import Failures
from harness.reference import make_ext4
from harness.rot import noise
from harness.store import Store

MIB = 1 << 20


class Disk:
    """A store on a disk of its own, in which bits can be flipped behind the back of the system that has it mounted."""

    def __init__(self, run, area):
        self.image = area + "/image"
        make_ext4(self.image, area + "/disk", 400 * MIB)
        self.store = Store(area, run.mark, run.home, path=area + "/disk/store").init()
        self.store.expected += [r" error damaged ", r" error damaged-table "]

    def flip(self, data):
        """Flips a bit of each place where the disk has these bytes; how many there are."""
        found = 0
        with open(self.image, "r+b") as handle, mmap.mmap(handle.fileno(), 0) as whole:
            at = whole.find(data)
            while at >= 0:
                whole[at] ^= 1
                found += 1
                at = whole.find(data, at)
            whole.flush()
        return found


@pytest.fixture(name="disk")
def _disk(run, area):
    disk = Disk(run, area)
    yield disk
    try:
        disk.store.close()
    finally:
        procs.detach(area + "/disk")


def fill(store):
    """Eight files of content and 200 small ones, in tables."""
    store.create("d")
    point = store.mount(store.area + "/mnt")
    for number in range(8):
        files.put(f"{point}/d/{number}", noise(number))
    for number in range(200):
        files.put(f"{point}/d/small{number}", noise(f"small{number}", 1500))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    return store.mount(point) + "/d"


@contextlib.contextmanager
def held(paths):
    """The files are in the page cache, and nobody drops them."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            handle = stack.enter_context(open(path, "rb"))
            whole = stack.enter_context(mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ))
            assert sum(whole[at] for at in range(0, len(whole), 4096)) >= 0
        yield


def in_memory(path):
    """How many bytes of the file are in the page cache."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", path]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def scrub(store):
    return store.run("-s", store.path, "scrub")


def test_content_that_is_whole_in_memory_only_is_found_and_saved(disk):
    store, data = disk.store, noise(3)
    root = fill(store)
    with held(rot.tables(store)):
        assert disk.flip(data[100000:100064]) >= 1
        assert rot.tables_with(store, data[100000:100064]), "the test shows nothing: memory has not what the disk had"
        assert scrub(store).code == program.DAMAGED
    rot.forget()
    assert files.get(root + "/3") == files.get(root + "/.snapshots/v1/3") == data
    assert json.loads(store.ok("-s", store.path, "status", "--json"))["damage"]["healed"] == 1
    assert json.loads(store.ok("-s", store.path, "scrub", "--json"))["damaged"] == 0


@pytest.mark.parametrize("page", [25, 40])
def test_content_that_the_disk_cannot_read_is_found_and_saved_from_memory(store, area, page):
    """The page cache has all of it."""
    root, data = fill(store), noise(3)
    store.umount()
    store.expected += [r" error damaged ", r" error damaged-table "]
    (table,) = rot.tables_with(store, data[100000:100064])
    at = files.get(table).index(data[100000:100064]) // 4096 * 4096
    failures = Failures(area + "/failures", table)
    failures.order("direct", errno.EIO, 0, 100000, at=at + (page - 25) * 4096)
    with held([table]):
        result = store.run("-s", store.path, "scrub", env=failures.environment)
    assert failures.stop() > 0 and result.code == program.DAMAGED, result
    store.mount(os.path.dirname(root))
    assert files.get(root + "/3") == files.get(root + "/.snapshots/v1/3") == data
    damage = json.loads(store.ok("-s", store.path, "status", "--json"))["damage"]
    assert damage["healed"] == 1, "what lies beside it is not hurt"


def test_a_disk_that_cannot_be_read_past_the_page_cache_is_not_taken_for_what_memory_has(disk):
    store, data = disk.store, noise(3)
    fill(store)
    store.umount()
    failures = Failures(store.area + "/failures", store.path + "/db")
    failures.order("direct", errno.EINVAL, 0, 100000)
    with held(rot.tables(store)):
        assert disk.flip(data[100000:100064]) >= 1
        assert rot.tables_with(store, data[100000:100064]), "the test shows nothing: memory has not what the disk had"
    result = store.run("-s", store.path, "scrub", env=failures.environment)
    assert failures.stop() > 0 and result.code == program.DAMAGED, result


def test_metadata_that_is_whole_in_memory_only_is_found(disk):
    store, data = disk.store, noise("small100", 1500)
    root = fill(store)
    with held(rot.tables(store)):
        assert files.get(root + "/small100") == data
        assert disk.flip(data[700:732]) >= 1
        assert rot.tables_with(store, data[700:732]), "the test shows nothing: memory has not what the disk had"
        result = scrub(store)
    assert result.code == program.DAMAGED, result


def test_content_that_only_the_scrub_reads_is_not_put_into_memory(disk):
    store = disk.store
    fill(store)
    store.umount()  # a daemon has reasons of its own to read
    (content,) = rot.tables_with(store, noise(3)[100000:100064])

    def is_forgotten():
        rot.forget()
        return in_memory(content) == 0

    procs.poll(is_forgotten, 20 * program.scale(), "nobody has it in memory")
    store.ok("-s", store.path, "scrub")
    assert in_memory(content) < os.path.getsize(content) // 2, "more than what is read when a table is opened"
