"""The end of a session while files and directories are open, or were just closed: the daemon ends well, and says nothing."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from harness import posix, procs, program

ROUNDS = 20

CLIENT = """
import os, sys, time
os.chdir(sys.argv[1])
held = [os.open(f"f{n}", os.O_RDWR | os.O_CREAT) for n in range(20)] + [os.open(".", os.O_RDONLY) for n in range(5)]
for fd in held[:20]:
    os.write(fd, b"x" * 5000)
for fd in held[20:]:
    os.listdir(fd)
print("ready", flush=True)
while True:
    time.sleep(1)
"""


def client(directory):
    """A process that stands in the directory with files and directories open."""
    process = subprocess.Popen([sys.executable, "-c", CLIENT, directory], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def end(process):
    process.kill()
    process.wait(20)
    process.stdout.close()


def clean(store):
    assert store.surprises() == []


@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_releases_that_the_kernel_drops_at_umount(fs, store):
    """The last close(2) does not wait for its RELEASE, which umount may overtake."""
    for _ in range(ROUNDS):
        held = [os.open(f"{fs}/f{number}", os.O_RDWR | os.O_CREAT) for number in range(40)]
        held += [os.open(fs, os.O_RDONLY) for _ in range(40)]
        for fd in held:
            os.close(fd)
        store.umount()
        clean(store)
        store.mount(store.area + "/mnt")


@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_client_killed_after_lazy_umount(fs, store):
    point = store.points[0]
    for _ in range(ROUNDS):
        process = client(fs)
        subprocess.run(["umount", "-l", point], check=True, timeout=20, stdin=subprocess.DEVNULL)
        assert procs.alive(store.pid)
        end(process)
        store.points.remove(point)
        store.ended()
        clean(store)
        store.mount(point)
        assert os.stat(fs + "/f0").st_size == 5000


@pytest.mark.sanitize
@pytest.mark.timeout(180)
def test_sigterm_with_open_files(fs, store):
    """It leaves whatever is open; what had been written is there."""
    point = store.points[0]
    for _ in range(5):
        process = client(fs)
        os.kill(store.pid, signal.SIGTERM)
        store.points.remove(point)
        store.ended()
        end(process)
        assert not procs.fuse_mounts(point)
        clean(store)
        store.mount(point)
        assert os.stat(fs + "/f19").st_size == 5000
        assert open(fs + "/f7", "rb").read() == b"x" * 5000


@pytest.mark.sanitize
def test_connection_aborted_with_open_files(fs, store):
    """As an administrator does who wants to be rid of a mount."""
    point = store.points[0]
    for _ in range(5):
        process = client(fs)
        assert procs.abort(procs.fuse_mounts(point)[-1].device)
        procs.poll(lambda: posix.outcome(os.listdir, point) == "ENOTCONN", 20 * program.scale(), "the mount is dead")
        store.points.remove(point)
        store.ended()
        end(process)
        subprocess.run(["umount", "-l", point], check=True, timeout=20, stdin=subprocess.DEVNULL)
        clean(store)
        store.mount(point)


WRITER = """
import mmap, os, random, sys
directory, number = sys.argv[1], sys.argv[2]
size = 4 << 20
try:
    fd = os.open(f"{directory}/w{number}", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, size)
    view = mmap.mmap(fd, size)
    for turn in range(1 << 30):
        os.pwrite(fd, os.urandom(20000), random.randrange(size - 20000))
        view[random.randrange(size)] = turn & 255
        if turn % 50 == 0:
            with open(f"{directory}/n{number}-{turn % 1000}", "wb") as handle:
                handle.write(b"x" * 5000)
        if turn % 90 == 0:
            os.lseek(fd, 0, os.SEEK_DATA)
        if turn % 200 == 0:
            os.fsync(fd)
except OSError:
    pass
"""

SNAPSHOTTER = """
import os, sys
try:
    for number in range(1 << 30):
        os.mkdir(f"{sys.argv[1]}/.snapshots/{sys.argv[2]}-{number}")
        if number > 5:
            os.rmdir(f"{sys.argv[1]}/.snapshots/{sys.argv[2]}-{number - 5}")
except OSError:
    pass
"""

ASK = """
import os, sys
try:
    os.stat(sys.argv[1])
except OSError as problem:
    sys.exit(problem.errno == 107)
"""


def answers_enotconn(path):
    """Asked by another process: this one must not hang. SIGBUS is how a page that cannot be had any more shows."""
    return subprocess.run([sys.executable, "-c", ASK, path], timeout=60, stdin=subprocess.DEVNULL, check=False).returncode == 1


@pytest.mark.skipif(not procs.fusectl(), reason="no fusectl: nobody can end a connection from outside")
@pytest.mark.timeout(240)
def test_kill_during_writes_and_snapshots_leaves_a_dead_mount_and_no_hang(fs, store):
    """A thread that waits for write-back in a notification must not keep the connection of a killed daemon alive."""
    point = store.points[0]
    for turn in range(ROUNDS):
        scripts = [(WRITER, str(number)) for number in range(3)] + [(SNAPSHOTTER, f"s{turn}")]
        clients = [subprocess.Popen([sys.executable, "-c", script, fs, name]) for script, name in scripts]
        time.sleep(0.2 + random.random())
        store.points.remove(point)
        store.die()
        procs.poll(lambda: answers_enotconn(fs), 60, "the mount answers ENOTCONN")
        for process in clients:
            process.wait(60)
        subprocess.run(["umount", "-l", point], check=True, timeout=20, stdin=subprocess.DEVNULL)
        store.mount(point)


@pytest.mark.sanitize
def test_what_cannot_be_committed_at_the_end_is_told(store):
    """By umount, by the daemon's log and by its exit code; and nothing of what was committed before is lost."""
    store.create("d")
    point = store.mount()
    with open(point + "/d/kept", "w", encoding="ascii") as handle:
        handle.write("kept")
        os.fsync(handle.fileno())
    store.umount()
    faults = ",".join(f"commit-before-store:eio:{number}" for number in range(1, 200))
    point = store.mount(env={"CORPUSFS_FAULT": faults})
    with open(point + "/d/lost", "w", encoding="ascii") as handle:
        handle.write("lost")
    store.expected += ["commit at the end of", " close "]
    result = store.run("umount", point)
    assert result.code != 0 and "could not be c" in result.err, (result.code, result.out, result.err)
    store.points.remove(point)
    store.ended(1)
    assert [line for line in store.log().splitlines() if " error " in line and " close " in line], store.log()
    point = store.mount()
    assert procs.read(point + "/d/kept") == b"kept" and os.stat(point + "/d/lost").st_size == 0
