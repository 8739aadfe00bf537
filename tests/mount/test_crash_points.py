"""Fault points that no other test dies at: what the table in lib/base/fault_points.h says of them."""

import contextlib
import json
import os
import random

import pytest

from harness import files, posix, procs, program
from harness.damaged import noise, synced


@pytest.mark.kinds("point")
@pytest.mark.parametrize("point", ["dataset-create-before-write", "lock.before-rename", "store-before-open", "command-before-open"])
def test_who_dies_before_it_is_done_leaves_it_undone(store, point):
    command = ["dataset", "create", "e"]
    store.create("d")
    assert store.run("-s", store.path, *command, env={"CORPUSFS_FAULT": point}).code == -9
    assert store.ok("-s", store.path, "dataset", "list").split().count("e") == 0
    store.ok("-s", store.path, *command)
    assert store.ok("-s", store.path, "dataset", "list").split().count("e") == 1


def test_half_a_file_of_chunks_is_cleared_away(store, area):
    os.mkdir(area + "/source")
    with open(area + "/source/file", "wb") as handle:
        handle.write(random.Random(1).randbytes(4 << 20))
    assert store.run("-s", store.path, "import", "--all", area + "/source", "d", env={"CORPUSFS_FAULT": "kv.sst.finish"}).code == -9
    store.ok("-s", store.path, "import", "--all", area + "/source", "d")
    assert procs.read(store.mount() + "/d/file") == procs.read(area + "/source/file")


def test_a_daemon_that_dies_before_it_opens_the_store_leaves_it_to_the_next(store):
    store.create("d")
    os.mkdir(store.area + "/mnt")
    result = store.run("mount", store.path, store.area + "/mnt", env={"CORPUSFS_FAULT": "store-before-open"})
    assert result.code == program.FAILED and "corpusfs: " in result.err, result
    synced(store.mount(store.area + "/mnt") + "/d/file", b"content")


def copied(old, new, found):
    """How many bytes of the new content are there, with the rest of the old behind them."""
    count = next((at for at, byte in enumerate(found) if byte != new[at]), len(found))
    assert found[count:] == old[count:]
    return count


@pytest.mark.kinds("point")
@pytest.mark.parametrize("point", ["copy-before-change", "copy-before-step"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_copy_whose_daemon_dies_is_there_from_its_start_on(store, point, number):
    """The source has holes, which end a step."""
    old, new = noise(1, 6 << 20), b"".join(noise(2 + part, 1 << 20) + bytes(1 << 20) for part in range(3))
    store.create("d")
    fs = store.mount() + "/d"
    synced(fs + "/old", old)
    with open(fs + "/new", "wb") as handle:
        for at in range(0, len(new), 2 << 20):
            handle.seek(at)
            handle.write(new[at : at + (1 << 20)])
        handle.truncate(len(new))
        os.fsync(handle.fileno())
    store.umount()
    fs = store.mount(env={"CORPUSFS_FAULT": f"{point}:kill:{number}"}) + "/d"
    done = 0
    source, target = os.open(fs + "/new", os.O_RDONLY), os.open(fs + "/old", os.O_RDWR)
    with pytest.raises(OSError):
        while done < len(new):  # a daemon that has gone copies nothing more
            done += os.copy_file_range(source, target, 1 << 20, done, done)
    for fd in (source, target):
        with contextlib.suppress(OSError):
            os.close(fd)
    store.ended(-9)
    store.clear()
    fs = store.mount() + "/d"
    assert copied(old, new, files.get(fs + "/old")) >= done
    assert files.get(fs + "/new") == new
    with open(fs + "/new", "rb") as source, open(fs + "/old", "r+b") as target:
        done = 0
        while done < len(new):
            done += os.copy_file_range(source.fileno(), target.fileno(), len(new), done, done)
    assert files.get(fs + "/old") == new
    store.umount()
    store.ok("-s", store.path, "check")


def test_pruning_that_dies_before_it_begins_is_done_by_the_next(store):
    store.create("d")
    fs = store.mount() + "/d"
    for turn in range(3):
        synced(fs + "/file", noise(turn))
        synced(f"{fs}/only{turn}", noise(10 + turn))
        store.ok("-s", store.path, "snapshot", "create", f"d@{turn}")
        os.unlink(f"{fs}/only{turn}")
    store.umount()
    store.ok("-s", store.path, "snapshot", "destroy", "d@1")
    assert store.run("-s", store.path, "gc", env={"CORPUSFS_FAULT": "prune-before-join"}).code == -9
    found = json.loads(store.ok("-s", store.path, "gc", "--json"))
    assert found["versions"] > 0 and found["chunks"] > 0, found
    fs = store.mount() + "/d"
    for turn in (0, 2):
        posix.drop_caches()
        assert files.get(f"{fs}/.snapshots/{turn}/file") == noise(turn) and files.get(f"{fs}/.snapshots/{turn}/only{turn}") == noise(10 + turn)
    assert files.get(fs + "/file") == noise(2)
    store.umount()
    store.ok("-s", store.path, "check")
