"""A file whose content cannot be committed: which one it is, and what helps, is said wherever it stands in somebody's way."""

import errno
import json
import os

import pytest

from harness import files, procs, program, rot
from harness.snapshots import names

STEP, PIECES = 64 << 10, 4000


def run(store, *args):
    return store.run("-s", store.path, *args)


def uncommitted(store):
    return json.loads(store.ok("-s", store.path, "status", "--json")).get("uncommitted")


def write_pieces(path, byte):
    with open(path, "r+b" if os.path.exists(path) else "wb", buffering=0) as handle:
        for number in range(PIECES):
            os.pwrite(handle.fileno(), byte, number * STEP)


@pytest.fixture(name="rotten")
def _rotten(store):
    """The mountpoint of a store with d@s. In d the layout of sub/rotten has rotted in part, where something was written since; "fine" has changed, too."""
    store.expected += [r" error damaged ", r" error damaged-table ", r" error gc "]
    store.create("d")
    point = store.mount()
    os.mkdir(point + "/d/sub")
    files.put(point + "/d/fine", b"old")
    write_pieces(point + "/d/sub/rotten", b"x")
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    store.umount()
    rot.layout(store)
    point = store.mount()
    files.put(point + "/d/fine", b"new")
    write_pieces(point + "/d/sub/rotten", b"y")
    procs.poll(lambda: uncommitted(store), 30, "it cannot be committed")
    return point


REASON = '"d/sub/rotten" could not be committed: what is stored there is damaged'


def names_it(result, hint):
    assert result.code not in (program.OK, program.USAGE) and REASON in result.err and hint in result.err, result


def test_every_command_that_needs_the_head_names_the_file(store, rotten):
    names_it(run(store, "snapshot", "create", "d@t"), "remove it")
    names_it(run(store, "rollback", "d@s"), " rollback --no-guard d@s")
    names_it(run(store, "export", "d", store.area + "/out"), " damage says what is hurt")
    names_it(run(store, "diff", "d@s"), "remove it")
    names_it(run(store, "sync"), "tried again")
    with pytest.raises(OSError) as problem:
        os.mkdir(rotten + "/d/.snapshots/x")
    assert problem.value.errno == errno.EIO
    assert [line for line in store.log().splitlines() if " warning mount " in line and f'cannot take snapshot "d@x": {REASON}' in line]
    assert uncommitted(store) == {"files": 1, "error": "what is stored there is damaged", "file": "d/sub/rotten"}
    assert "1 file, d/sub/rotten: what is stored there is damaged" in store.ok("-s", store.path, "status")
    (row,) = [row for row in json.loads(run(store, "doctor", "--json").out) if row["what"] == "not on disk"]
    assert row["state"] == "bad" and row["value"] == "1 file, d/sub/rotten: what is stored there is damaged" and "--no-guard" in row["mend"]
    procs.poll(lambda: 'file="d/sub/rotten"' in store.log(), 30, "the log names it, too")
    assert names(store) == ["s"]
    store.ok("-s", store.path, "rollback", "--no-guard", "d@s")


@pytest.mark.sanitize
@pytest.mark.parametrize("held", [False, True], ids=["closed", "open"])
def test_a_rollback_that_keeps_nothing_drops_what_cannot_be_committed(store, rotten, held):
    with open(rotten + ("/d/sub/rotten" if held else "/d/fine"), "r+b", buffering=0) as handle:
        store.ok("-s", store.path, "rollback", "--no-guard", "d@s")
        with pytest.raises(OSError) as problem:
            os.pread(handle.fileno(), 1, 0)
        assert problem.value.errno == errno.ESTALE
    assert files.get(rotten + "/d/fine") == b"old"
    assert uncommitted(store) is None
    files.put(rotten + "/d/more", b"more")
    store.ok("-s", store.path, "snapshot", "create", "d@t")
    store.ok("sync", rotten)


def test_without_the_file_everything_goes_on(store, rotten):
    os.unlink(rotten + "/d/sub/rotten")
    assert "before-rollback-" in store.ok("-s", store.path, "rollback", "d@s")
    assert files.get(rotten + "/d/fine") == b"old" and uncommitted(store) is None


def test_umount_names_the_file_of_which_something_is_lost(store, rotten):
    store.expected += [r" error mount .*commit at the end of ", r" error close "]
    result = store.run("umount", rotten)
    names_it(result, "corpusfs damage")
    assert "is lost" in result.err and "tried again" not in result.err and result.err.count("could not be committed") == 1
    store.points.remove(rotten)
    store.ended(expect=1)
    assert [line for line in store.log().splitlines() if "commit at the end of" in line and "d/sub/rotten" in line]


def test_umount_of_another_place_does_not_say_that_it_is_lost(store, rotten):
    store.expected.append(r" error mount .*commit at the end of ")
    place = store.mount(dataset="d@s")
    result = store.run("umount", place)
    store.points.remove(place)
    names_it(result, "tried again")
    assert "lost" not in result.err and not procs.fuse_mounts(place)
    assert uncommitted(store)["file"] == "d/sub/rotten"
    os.unlink(rotten + "/d/sub/rotten")


def test_on_a_full_disk_the_hint_says_how_to_make_room(store):
    store.create("d")
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    point = store.mount(env={"CORPUSFS_FAULT": ",".join(f"commit-before-store:enospc:{number}" for number in range(1, 100))})
    files.put(point + "/d/file", b"content" * 1000)
    result = run(store, "snapshot", "create", "d@t")
    assert result.code == program.NO_SPACE and '"d/file" could not be committed: No space left on device' in result.err, result
    assert " gc, or make room" in result.err
    assert "--no-guard" in run(store, "rollback", "d@s").err
    store.ok("-s", store.path, "rollback", "--no-guard", "d@s")
    assert os.listdir(point + "/d") == []
