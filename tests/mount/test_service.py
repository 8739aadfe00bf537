"""A service manager keeps what the supervisor holds: mounts outlive the end of all processes of the service at once."""

import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness import procs, program, succession
from harness.manager import Manager
from harness.succession import Workers

pytestmark = succession.needs

HERITAGE = 8  # where the number is in the page (fs/supervise/supervisor.h)


@pytest.fixture
def manager(store):
    manager = Manager(store.area)
    yield manager
    store.close()
    manager.close()


@pytest.fixture
def point(store, manager):
    point = store.area + "/mnt"
    os.mkdir(point)
    result = manager.start(store, "mount", store.path, point)
    assert (result.code, result.err) == (program.OK, ""), result
    store.note(point)
    store.create("d")
    return point


def start_again(manager, store, point):
    store.expected.append(" died ")
    result = manager.start(store, "mount", store.path, point)
    assert result.code == program.OK, result
    if point not in store.points:
        store.note(point)
    store.find_daemon()
    return result


def status(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))


# Who starts a process closes in it what he has open himself, and waits for a daemon then. So this is a process of its own.
HOLDER = """
import os, sys
os.chdir(sys.argv[1])
handle = os.open("file", os.O_RDWR | os.O_CREAT)
os.write(handle, b"before, ")
print("written", flush=True)
sys.stdin.readline()
print(os.listdir("."), flush=True)
os.write(handle, b"after")
print(os.pread(handle, 100, 0), flush=True)
"""


@pytest.fixture
def holder(point):
    with subprocess.Popen([sys.executable, "-c", HOLDER, point + "/d"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        yield process
        process.stdin.close()
        assert process.wait(60) == 0


def go_on(holder):
    """Has it look and write."""
    holder.stdin.write("\n")
    holder.stdin.flush()


def heard(holder):
    return holder.stdout.readline() + holder.stdout.readline()


def test_what_is_open_goes_on_after_all_processes_were_killed(store, manager, point, holder):
    os.unlink(point + "/d/file")
    store.die()
    go_on(holder)
    assert not select.select([holder.stdout], [], [], 0.5)[0]
    result = start_again(manager, store, point)
    assert (result.out, result.err) == (f"the mount at {point} goes on\n", ""), result
    assert heard(holder) == "[]\nb'before, after'\n"
    assert manager.names() and manager.main == store.supervisor
    holder.wait(60)
    assert status(store)["supervised"] and status(store)["crashes"] == 1
    store.umount()
    assert manager.names() == []


@pytest.mark.timeout(180)
def test_it_goes_on_under_writers_again_and_again(store, manager, point, seed):
    workers = Workers(point + "/d", store.area, seed)
    try:
        for turn in range(6):
            time.sleep(random.Random(turn).uniform(0, 0.3))
            store.die()
            start_again(manager, store, point)
            workers.check()
    finally:
        workers.stop()
    workers.finish()
    store.umount()
    assert manager.names() == []
    result = manager.start(store, "mount", store.path, point)
    assert (result.code, result.out) == (program.OK, f"mounted {store.path} on {point}\n"), result
    store.note(point)
    workers.compare(point + "/d")


def test_a_daemon_that_outlived_its_supervisor_is_followed(store, manager, point, holder):
    before, supervisor = store.pid, store.supervisor
    os.kill(supervisor, signal.SIGKILL)
    store.reap(supervisor, 20)
    procs.poll(lambda: not status(store)["supervised"], 20, "the daemon is alone")
    start_again(manager, store, point)
    go_on(holder)
    assert heard(holder) == "['file']\nb'before, after'\n"
    assert store.pid != before and status(store)["supervised"]
    store.reap(before, 20)


def test_what_was_written_is_kept_although_its_mount_was_taken_away(store, manager, point):
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
    store.die()
    store.clear()
    procs.poll(lambda: "fuse.0" not in manager.names(), 20, "the connection has ended")
    assert "journal" in manager.names()
    result = start_again(manager, store, point)
    assert result.out == f"mounted {store.path} on {point}\n", result
    assert procs.read(point + "/d/file") == b"content"
    assert manager.names() == ["abort.0", "fuse.0", "journal", "lock", "log", "memory.0", "page"]


def test_each_mount_is_kept_while_it_is_there(store, manager, point):
    alone = manager.names()
    other = store.mount(dataset="d", options="ro,supervise")
    assert set(manager.names()) - set(alone) == {"abort.1", "fuse.1", "memory.1"}
    store.die()
    start_again(manager, store, point)
    assert os.listdir(point) == ["d"] and os.listdir(other) == []
    store.umount(other)
    assert manager.names() == alone


def test_what_another_version_left_is_ended_and_told(store, manager, point):
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
    store.ok("sync", point)
    store.die()
    manager.names()
    os.pwrite(manager.kept["page"], b"\xff", HERITAGE)
    store.points.remove(point)
    result = start_again(manager, store, point)
    assert "of another version of corpusfs" in result.err and result.out == f"mounted {store.path} on {point}\n", result
    assert procs.read(point + "/d/file") == b"content"


def test_a_mount_of_which_a_part_was_not_kept_is_ended_and_told(store, manager, point):
    """Whoever waits for it learns of that, and the others go on."""
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
    other = store.mount(dataset="d", options="ro,supervise")
    store.die()
    waiting = subprocess.Popen(["ls", point + "/d"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manager.names()
    manager.forget("memory.0")
    store.points.remove(point)
    store.expected.append(" not-whole mounts=1 ")
    result = start_again(manager, store, other)
    assert result.out == f"the mount at {other} goes on\n", result
    assert waiting.wait(60) != 0
    assert " not-whole mounts=1 " in store.log()
    assert procs.read(other + "/file") == b"content"
    assert [name for name in manager.names() if name.endswith(".0")] == []
    assert subprocess.run(["umount", point], check=False, timeout=60).returncode == 0


def test_a_manager_that_is_not_there_does_not_matter(store):
    point = store.mount(env={"NOTIFY_SOCKET": store.area + "/nobody", "FDSTORE": "512"})
    assert os.listdir(point) == [] and status(store)["supervised"]
    store.umount()
    point = store.mount(env={"LISTEN_PID": "1", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "page:lock:journal"})
    assert os.listdir(point) == []


def test_the_service_has_started_when_one_can_go_on(store, manager, point):
    """The first ones cannot, since the store is away."""
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
    store.die()
    os.rename(store.path + "/corpusfs", store.path + "/hidden")

    def bring_back():
        procs.poll(lambda: "not-resumed" in store.log(), 60, "the first one fails")
        os.rename(store.path + "/hidden", store.path + "/corpusfs")

    store.expected.append("not-resumed")
    friend = threading.Thread(target=bring_back)
    friend.start()
    result = start_again(manager, store, point)
    friend.join()
    assert result.out == f"the mount at {point} goes on\n", result
    assert procs.read(point + "/d/file") == b"content"
