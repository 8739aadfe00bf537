"""One process writes a store, also where flock(2) is not shared: the same directory through another FUSE, other hosts, other pid namespaces."""

import glob
import hashlib
import os
import shutil
import signal
import subprocess

import pytest

from harness import posix, procs, program

ELSEWHERE = """
hostname elsewhere
echo 00000000-1111-2222-3333-444444444444 >"$AREA/boot_id"
mount --bind "$AREA/boot_id" /proc/sys/kernel/random/boot_id
exec "$@"
"""


@pytest.fixture
def bound(store):
    """The store's directory through bindfs, which keeps locks to itself."""
    point = store.area + "/bound"
    os.mkdir(point)
    subprocess.run(["bindfs", store.area, point], check=True, timeout=60)
    with open(store.home + "/connections", "a", encoding="ascii") as handle:
        handle.write(f"{procs.fuse_mounts(point)[-1].device}\n")
    yield point + "/store"
    subprocess.run(["umount", "-l", point], check=True, timeout=60)


def environment(store):
    return program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path, "AREA": store.area})


def call(store, *words, **options):
    return program.call(list(words), environment(store), store.logs, **options)


def on_another_host(store, *args, **options):
    """The program as on another machine: another name, another start of the system. What it sees of processes does not count there."""
    return call(store, "unshare", "-m", "-u", "bash", "-ec", ELSEWHERE, "elsewhere", store.binary, *args, **options)


def refused(result, *words):
    assert result.code == program.BUSY, result
    assert all(word in result.err for word in words), result.err


def write(path, text, sync=True):
    with open(path, "w", encoding="ascii") as handle:
        handle.write(text)
        if sync:
            handle.flush()
            os.fsync(handle.fileno())


def read(path):
    with open(path, encoding="ascii") as handle:
        return handle.read()


def digests(path):
    return {name: hashlib.sha256(procs.read(f"{path}/{name}")).hexdigest() for name in os.listdir(path)}


@pytest.mark.parametrize("first", ["direct", "bound"])
def test_a_second_daemon_through_another_filesystem_is_refused(store, bound, first):
    ways = [store.path, bound] if first == "direct" else [bound, store.path]
    point, second = store.area + "/mnt", store.area + "/second"
    os.mkdir(point)
    os.mkdir(second)
    store.ok("mount", ways[0], point)
    store.note(point)
    os.mkdir(point + "/d")
    write(point + "/d/file", "kept")
    for command in (["mount", ways[1], second], ["-s", ways[1], "status"], ["-s", ways[1], "dataset", "create", "x"], ["-s", ways[1], "gc"]):
        refused(store.run(*command), f"process {store.pid} ", os.uname().nodename)
    assert not procs.fuse_mounts(second)
    write(point + "/d/more", "kept, too")
    assert store.ok("-s", ways[0], "sync") == ""
    store.umount()
    assert store.ok("-s", ways[1], "dataset", "list").split()[-1:] != ["x"]
    store.mount(second)
    assert read(second + "/d/file") == "kept" and read(second + "/d/more") == "kept, too"


def test_who_came_by_another_way_is_not_waited_for(store, bound):
    """It stays until it is unmounted there. A command that looks for the tenth time is killed."""
    store.mount()
    refused(store.run("-s", bound, "dataset", "create", "x", env={"CORPUSFS_FAULT": "lock.before-look:kill:10"}), f"process {store.pid} ")


@pytest.mark.namespaces
def test_another_pid_namespace_is_asked_by_the_beat(store, bound):
    """There the owner's pid is nobody's, or somebody else's."""
    store.mount()
    store.create("d")
    refused(call(store, "unshare", "--pid", "--fork", "--mount-proc", store.binary, "-s", bound, "status"), f"process {store.pid} ")
    write(store.points[0] + "/d/file", "kept")


@pytest.mark.namespaces
def test_another_host_is_asked_by_the_beat(store, bound):
    store.mount()
    store.create("d")
    refused(on_another_host(store, "-s", bound, "status"), f"process {store.pid} ", os.uname().nodename)
    write(store.points[0] + "/d/file", "kept")


def test_a_killed_owner_s_store_is_free_at_once(store, bound):
    point = store.area + "/mnt"
    os.mkdir(point)
    store.ok("mount", bound, point)
    store.note(point)
    os.mkdir(point + "/d")
    write(point + "/d/file", "kept")
    store.kill()
    point = store.mount()
    assert read(point + "/d/file") == "kept"
    assert os.path.isdir(store.path + "/db"), "the dead do not come back, so nothing is renamed"
    store.kill()
    # The same namespaces and boot, but the record was left by the other way.
    assert "d" in store.ok("-s", bound, "dataset", "list", limit=10)


def test_a_copy_of_an_open_store_is_a_store_of_its_own(store):
    store.mount()
    store.create("d")
    write(store.points[0] + "/d/file", "kept")
    copy = store.area + "/copy"

    def copied():
        shutil.rmtree(copy, ignore_errors=True)
        return subprocess.run(["cp", "-a", store.path, copy], check=False, timeout=60).returncode == 0

    procs.poll(copied, 30, "it is copied while the database removes none of its files")
    assert "d" in store.ok("-s", copy, "dataset", "list", limit=10)
    write(store.points[0] + "/d/more", "kept, too")


@pytest.mark.timeout(120)
@pytest.mark.namespaces
def test_an_owner_who_was_silent_for_long_finds_the_store_taken(store, bound):
    """Stopped for longer than another host waits: when it goes on, it writes nothing and says so, and harms nothing of the new owner's."""
    store.expected.append("lost|close|commit")
    point = store.mount()
    store.create("d")
    write(point + "/d/synced", "kept")
    write(point + "/d/not-synced", "in the owner's memory", sync=False)
    os.kill(store.pid, signal.SIGSTOP)
    taken = on_another_host(store, "-s", bound, "dataset", "create", "taken", limit=60)
    assert taken.code == 0 and "sign of life" in taken.err, taken
    database = glob.glob(store.path + "/db.*")
    assert len(database) == 1 and not os.path.exists(store.path + "/db")
    assert glob.glob(store.path + "/ingest*") == [database[0].replace("/db.", "/ingest.")], "the old owner removes its files by name"
    before = digests(database[0])
    os.kill(store.pid, signal.SIGCONT)
    assert posix.outcome(write, point + "/d/after", "x") == "EROFS"
    status = store.ok("-s", store.path, "status")
    assert "has stopped" in status and "elsewhere" in status
    assert store.run("-s", store.path, "sync").code != program.OK
    assert store.run("-s", store.path, "snapshot", "create", "d@s").code != program.OK
    result = store.run("umount", point)
    assert result.code != program.OK and "everything is on disk" not in result.out, result
    store.points.clear()
    store.ended(1)
    assert "elsewhere" in procs.read(store.path + "/log").decode()
    assert digests(database[0]) == before
    point = store.mount()
    assert sorted(os.listdir(point)) == ["d", "taken"]
    assert read(point + "/d/synced") == "kept"
    assert not os.path.exists(point + "/d/after")


@pytest.mark.sanitize
def test_umount_returns_when_the_daemon_has_gone(store):
    """Not only its mounts: whoever unmounts the disk of the store next finds it busy else."""
    for _ in range(5):
        point, pids = store.mount(), [store.pid, store.supervisor]
        store.ok("umount", point)
        assert not any(procs.alive(pid) for pid in pids if pid)
        store.points.remove(point)
        store.ended()
