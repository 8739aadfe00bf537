"""What was stored into a mapped file and could not be written back: the kernel forgets it, so we must not."""

import mmap
import os
import signal

import pytest

from harness import files, procs
from harness.succession import await_successor, kill

MIB = 1 << 20


@pytest.fixture(name="limited")
def _limited(store):
    """A mounted dataset d with a quota."""
    store.expected += [r" error mount .* is lost: ", r" error mount .*commit at the end of ", r" error close "]
    store.create("d")
    store.ok("-s", store.path, "dataset", "set", "d", "--quota", "2M")
    return store.mount()


def store_too_much(path):
    """More than the quota, into a mapping that is gone when this returns, and its pages with it."""
    with open(path, "w+b") as handle:
        handle.truncate(8 * MIB)
        with mmap.mmap(handle.fileno(), 8 * MIB) as area:
            for at in range(0, 8 * MIB, 128 << 10):
                area[at : at + (128 << 10)] = os.urandom(128 << 10)


def is_lost(store):
    return any("mapping of d/mapped is lost" in line for line in store.log().splitlines())


def test_sync_says_once_that_stores_are_lost(limited, store):
    store_too_much(limited + "/d/mapped")
    result = store.run("-s", store.path, "sync")
    assert result.code != 0 and "mapped files is lost" in result.err, result
    assert is_lost(store)
    store.ok("-s", store.path, "sync")
    store_too_much(limited + "/d/mapped")
    assert store.run("-s", store.path, "sync").code != 0


def test_umount_says_that_stores_are_lost(limited, store):
    store_too_much(limited + "/d/mapped")
    result = store.run("umount", limited)
    assert result.code != 0 and "some of what was written there is lost" in result.err, result
    assert is_lost(store) and not procs.fuse_mounts(limited)
    store.points.remove(limited)
    store.ended(expect=1)


def test_the_daemon_after_a_crash_says_once_that_stores_are_lost(supervised, store):
    store.expected += [r" error mount .* is lost: "]
    store.ok("-s", store.path, "dataset", "set", "d", "--quota", "2M")
    store_too_much(supervised + "/mapped")
    procs.poll(lambda: is_lost(store), 30, "the kernel writes it back")
    kill(store)
    result = store.run("-s", store.path, "sync")
    assert result.code != 0 and "mapped files is lost" in result.err, result
    store.ok("-s", store.path, "sync")


def test_restart_says_once_that_stores_are_lost(supervised, store):
    store.expected += [r" error mount .* is lost: "]
    store.ok("-s", store.path, "dataset", "set", "d", "--quota", "2M")
    store_too_much(supervised + "/mapped")
    procs.poll(lambda: is_lost(store), 30, "the kernel writes it back")
    before = store.pid
    result = store.run("restart", store.path)
    assert result.code != 0 and "mapped files is lost" in result.err and "told once" in result.err and store.pid == before, result
    store.ok("restart", store.path)
    await_successor(store, before)


@pytest.mark.parametrize("how", ["--lazy", "--force"])
def test_umount_of_what_is_in_use_says_that_stores_are_lost(limited, store, how):
    store_too_much(limited + "/d/mapped")
    with open(limited + "/d/used", "wb"):
        result = store.run("umount", how, limited)
        assert result.code != 0 and "some of what was written there is lost" in result.err, result
    store.points.remove(limited)
    store.ended(expect=1)


def test_daemon_that_is_told_to_leave_says_that_stores_are_lost(limited, store):
    store_too_much(limited + "/d/mapped")
    os.kill(store.pid, signal.SIGTERM)
    store.points.remove(limited)
    store.ended(expect=1)
    assert is_lost(store)


def test_somebody_elses_umount_leaves_a_line_that_stores_are_lost(limited, store):
    store_too_much(limited + "/d/mapped")
    procs.detach(limited)
    store.points.remove(limited)
    store.ended(expect=1)
    assert is_lost(store) and "commit at the end" in store.log()


def test_snapshot_is_refused_once_where_stores_are_lost(limited, store):
    store.create("e")
    store_too_much(limited + "/d/mapped")
    store.ok("-s", store.path, "snapshot", "create", "e@v1")
    result = store.run("-s", store.path, "snapshot", "create", "d@v1")
    assert result.code != 0 and "mapping of d/mapped is lost: Disk quota exceeded" in result.err and "told once" in result.err, result
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    assert store.run("-s", store.path, "sync").code != 0, "whoever asks whether all is on disk has not been told"


def test_who_goes_back_is_refused_once_where_stores_are_lost_that_he_wants_to_keep(limited, store):
    store.ok("-s", store.path, "snapshot", "create", "d@v0")
    store_too_much(limited + "/d/mapped")
    store.ok("-s", store.path, "rollback", "--no-guard", "d@v0")
    store_too_much(limited + "/d/mapped")
    result = store.run("-s", store.path, "rollback", "d@v0")
    assert result.code != 0 and "mapping of d/mapped is lost: Disk quota exceeded" in result.err and "told once" in result.err, result
    assert os.listdir(limited + "/d") == ["mapped"]
    store.ok("-s", store.path, "rollback", "d@v0")
    assert os.listdir(limited + "/d") == []
    assert store.run("-s", store.path, "sync").code != 0, "whoever asks whether all is on disk has not been told"


def test_stores_that_fit_are_not_lost(limited, store):
    with open(limited + "/d/mapped", "w+b") as handle:
        handle.truncate(MIB)
        with mmap.mmap(handle.fileno(), MIB) as area:
            area[: 1000] = b"x" * 1000
    store.ok("-s", store.path, "sync")
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    assert files.get(limited + "/d/.snapshots/v1/mapped")[:1000] == b"x" * 1000
