"""What is on the disk when: without being asked, after a sync, and what is said when it cannot be known."""

import json
import mmap
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from harness import procs, program
from harness.reference import make_ext4
from harness.store import Store

MIB = 1 << 20


def write(path, data, sync=False):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.write(fd, data)
    if sync:
        os.fsync(fd)
    os.close(fd)


class Disk:
    """A disk of its own, of which copies can be made: what is in a copy would be there after a power cut at that moment."""

    def __init__(self, area, run):
        self.area, self.run, self.image, self.count = area, run, area + "/image", 0
        make_ext4(self.image, area + "/disk", 400 * MIB)
        # Nothing reaches the disk by the filesystem's own clock within the time of a test.
        subprocess.run(["mount", "-o", "remount,commit=300", area + "/disk"], check=True, timeout=60)
        self.store = Store(area, run.mark, run.home, path=area + "/disk/store").init()

    def after_power_cut(self, *names):
        """The content of these files of dataset d, as a store on a copy of the disk has them; None where there is no such file."""
        self.count += 1
        copy, point, out = (f"{self.area}/{what}{self.count}" for what in ("copy", "point", "out"))
        # A copy that somebody writes to meanwhile is no disk as it ever was.
        try:
            procs.stop(self.store.pid)
            subprocess.run(["cp", "--sparse=always", self.image, copy], check=True, timeout=60)
        finally:
            os.kill(self.store.pid, signal.SIGCONT)
        os.mkdir(point)
        subprocess.run(["mount", "-o", "loop", copy, point], check=True, timeout=60)
        try:
            store = Store(self.area, self.run.mark, self.run.home, path=point + "/store")
            store.ok("-s", store.path, "export", "d", out)
        finally:
            subprocess.run(["umount", point], check=True, timeout=60)
            os.unlink(copy)
        return [procs.read(f"{out}/{name}") if os.path.exists(f"{out}/{name}") else None for name in names]


@pytest.fixture
def disk(run, area):
    made = Disk(area, run)
    yield made
    try:
        made.store.close()
    finally:
        procs.detach(area + "/disk")


@pytest.mark.timeout(120)
def test_what_nobody_syncs_is_on_the_disk_by_itself(disk):
    point = disk.store.mount(disk.area + "/mnt")
    disk.store.create("d")
    small, large = b"small" * 1000, os.urandom(3 * MIB)
    begun = time.monotonic()
    write(point + "/d/small", small)
    write(point + "/d/large", large)
    os.mkdir(point + "/d/dir")
    os.rename(point + "/d/small", point + "/d/dir/moved")
    assert disk.after_power_cut("dir/moved", "large") == [None, None] or time.monotonic() - begun > 1, "the test shows nothing on such a disk"
    procs.poll(lambda: disk.after_power_cut("dir/moved", "large") == [small, large], 20 * program.scale(), "it is on the disk", step=0.5)


@pytest.mark.timeout(120)
def test_a_file_that_is_written_without_a_pause_is_on_the_disk_by_itself(disk):
    """It is never idle, and grows: what was written first does not wait for what comes."""
    point = disk.store.mount(disk.area + "/mnt")
    disk.store.create("d")
    script = 'exec 3>"$1"; while :; do printf 0123456789 >&3; sleep 0.02; done'
    with subprocess.Popen(["bash", "-c", script, "writer", point + "/d/file"]) as writer:
        try:
            start = b"0123456789" * 10
            found = lambda: (disk.after_power_cut("file")[0] or b"").startswith(start)  # noqa: E731
            procs.poll(found, 25 * program.scale(), "its start is on the disk", step=0.5)
        finally:
            writer.kill()


@pytest.mark.timeout(120)
def test_what_was_synced_survives_a_power_cut(disk):
    point = disk.store.mount(disk.area + "/mnt")
    disk.store.create("d")
    write(point + "/d/one", b"one", sync=True)
    assert disk.after_power_cut("one") == [b"one"]
    write(point + "/d/two", b"two")
    disk.store.ok("sync", point)
    assert disk.after_power_cut("one", "two") == [b"one", b"two"]


# --- a daemon that died ---


def refused(result, *words):
    assert result.code not in (program.OK, program.USAGE), result
    assert not re.search("everything is on disk", result.out), result
    assert all(word in result.err for word in words), result.err


@pytest.fixture
def dead(fs, store):
    """A mount whose daemon was killed with a file in its memory; its place."""
    write(fs + "/synced", b"synced", sync=True)
    write(fs + "/lost", b"lost")
    store.die()
    return store.points[0]


@pytest.mark.parametrize("named", ["store", "mountpoint", "option"])
def test_status_tells_of_a_mount_whose_daemon_has_died(dead, store, named):
    words = {"store": ["status", store.path], "mountpoint": ["status", dead], "option": ["-s", dead, "status"]}[named]
    result = store.run(*words)
    assert result.code == program.FAILED and "daemon died" in result.out, result
    assert f"corpusfs umount {dead}" in result.err and f"corpusfs mount {store.path} {dead}" in result.err
    rows = json.loads(store.run(*words, "--json").out)["mounts"]
    assert [(row["mountpoint"], row["dead"]) for row in rows] == [(dead, True)]
    store.run("umount", dead)
    store.points.remove(dead)
    assert store.run("status", store.path).code == 0


def test_no_command_says_on_disk_when_the_daemon_has_died(dead, store):
    for command in (["sync", dead], ["-s", store.path, "sync"], ["-s", store.path, "snapshot", "create", "d@s"]):
        refused(store.run(*command), "has died", dead)
    assert store.ok("-s", store.path, "snapshot", "list") .count("@") == 0
    # What says nothing of that works.
    assert "d" in store.ok("-s", store.path, "dataset", "list").split()
    refused(store.run("umount", dead), "what was not is lost", dead)
    assert not procs.mounts(dead)
    store.points.clear()
    store.ok("-s", store.path, "sync")
    store.ok("-s", store.path, "snapshot", "create", "d@s")


def test_a_new_daemon_does_not_answer_for_the_mount_of_a_dead_one(dead, store):
    second = store.mount(store.area + "/second")
    refused(store.run("sync", dead), "has died", dead)
    refused(store.run("-s", store.path, "sync"), "has died", dead)
    refused(store.run("-s", store.path, "snapshot", "create", "d@s"), "has died", dead)
    refused(store.run("umount", dead), "what was not is lost", dead)
    store.points.remove(dead)
    store.ok("sync", second)
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    assert procs.read(second + "/d/.snapshots/s/synced") == b"synced"


@pytest.mark.parametrize("error, text", [("eio", "Input/output error"), ("enospc", "No space left on device")])
def test_what_cannot_be_committed_is_told_of_though_nobody_asks(store, error, text):
    """A program that never calls fsync would not know. One of the files is removed meanwhile, and is waited for no more."""
    store.create("d")
    point = store.mount(env={"CORPUSFS_FAULT": ",".join(f"commit-before-store:{error}:{number}" for number in range(1, 10))})
    status = lambda: json.loads(store.ok("-s", store.path, "status", "--json")).get("uncommitted")  # noqa: E731
    for name in ("kept", "removed"):
        write(f"{point}/d/{name}", b"content" * 1000)
    assert procs.poll(status, 20, "status tells")["error"] == text
    os.unlink(point + "/d/removed")
    procs.poll(lambda: " uncommitted files=" in store.log(), 20, "the log tells")
    procs.poll(lambda: not status(), 40, "it is committed")
    procs.poll(lambda: " committed " in store.log(), 20, "the log tells that, too")


@pytest.mark.kinds("command")
@pytest.mark.parametrize("command", [["sync"], ["snapshot", "create", "d@s"], ["tick"], ["export", "d", "OUT"]], ids="-".join)
def test_no_command_answers_for_a_daemon_that_dies_just_after_it_was_looked_for(fs, store, command):
    """A daemon that comes or leaves does not listen for a moment, so the command opens the store itself."""
    write(fs + "/lost", b"lost")
    os.unlink(store.path + "/socket")
    words = [word.replace("OUT", store.area + "/out") for word in command]
    with store.stopped_at("command-before-open", "-s", store.path, *words) as result:
        store.die()
    assert result.code not in (program.OK, program.USAGE) and "has died" in result.err, result
    assert not os.path.exists(store.area + "/out") or os.listdir(store.area + "/out") == []
    store.clear()


# --- two who unmount ---


def begin_umount(store):
    """An umount that has found the mount and no daemon that listens, as one finds that is just leaving; it tries again all the time."""
    os.unlink(store.path + "/socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(20 * program.scale())
        listener.bind(store.path + "/socket")
        listener.listen()
        process = store.begin("umount", store.points[0], output=subprocess.PIPE)
        listener.accept()[0].close()
        os.unlink(store.path + "/socket")
    return process


@pytest.mark.parametrize("lost", [False, True])
def test_who_is_overtaken_by_the_end_of_the_daemon_is_told_how_that_went(fs, store, lost):
    write(fs + "/written", b"written")
    if lost:
        store.expected.append(" error ")
        store.ok("-s", store.path, "dataset", "set", "d", "--quota", "1M")
        with open(fs + "/mapped", "w+b") as handle:
            handle.truncate(4 * MIB)
            with mmap.mmap(handle.fileno(), 4 * MIB) as area:
                for at in range(0, 4 * MIB, 64 << 10):
                    area[at : at + (64 << 10)] = os.urandom(64 << 10)
    process = begin_umount(store)
    os.kill(store.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60 * program.scale())
    assert (process.returncode == 0) != lost and ("everything is on disk" in out) != lost, (out, err)
    assert not lost or "somebody else" in err
    store.points.clear()
    store.ended(expect=1 if lost else 0)


def test_who_is_overtaken_by_the_death_of_the_daemon_is_told(fs, store):
    write(fs + "/lost", b"lost")
    process = begin_umount(store)
    store.die()
    store.clear()
    out, err = process.communicate(timeout=60 * program.scale())
    # it may look again before the dead mount is taken away
    assert process.returncode != 0 and ("what was not is lost" in err or "does not listen" in err), (out, err)


@pytest.fixture(name="displaced")
def _displaced(fs, store):
    """The mount's dataset; its store was moved, and a copy of that lies where it was."""
    moved = store.path + "-moved"
    write(fs + "/file", b"written", sync=True)
    os.rename(store.path, moved)
    subprocess.run(["cp", "-a", moved, store.path], check=True, timeout=60)
    yield fs
    shutil.rmtree(store.path)
    os.rename(moved, store.path)


def test_a_store_that_lies_in_the_place_of_a_mounted_one_does_not_answer_for_it(displaced, store):
    """Neither by a daemon of its own nor without one: what was written is in the moved store's daemon, and a snapshot would be of other files."""
    point, copied = store.points[0], store.area + "/copied"
    write(displaced + "/new", b"new")
    commands = [(["sync", point], None), (["-s", point, "sync"], None), (["sync"], displaced), (["snapshot", "create", "d@v"], displaced)]
    commands.append((["snapshot", "create", displaced + "@v"], None))
    os.mkdir(copied)
    for mount in (None, ["mount", store.path, copied, "-o", "nosupervise"]):
        if mount:
            store.ok(*mount)
        for command, where in commands:
            result = store.run(*command, cwd=where)
            assert result.code == program.NOT_FOUND and "another one is there" in result.err and point in result.err, (command, result)
        assert "v" not in store.ok("-s", store.path, "snapshot", "list", "d")
    result = store.run("umount", point)
    assert result.code == program.NOT_FOUND and "was moved" in result.err and f"umount {point}" in result.err, result
    result = store.run("umount", "--force", point)
    assert result.code == program.FAILED and not procs.fuse_mounts(point), result
    store.points.remove(point)
    store.ended()
    assert "everything is on disk" in store.ok("umount", copied)


def test_by_force_a_silent_mount_is_ended_and_no_daemon_of_another_store(displaced, store):
    """The one that lies where the mount's store was is asked, and says that the mount is none of its own."""
    point, copied = store.points[0], store.area + "/copied"
    os.mkdir(copied)
    store.ok("mount", store.path, copied, "-o", "nosupervise")
    procs.stop(store.pid)
    try:
        result = store.run("umount", "--force", point)
    finally:
        os.kill(store.pid, signal.SIGCONT)
    assert result.code == program.FAILED and not procs.fuse_mounts(point), result
    store.points.remove(point)
    store.ended()
    assert "everything is on disk" in store.ok("umount", copied)
