"""The end of a session while files and directories are open, or were just closed: the daemon ends well, and says nothing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from harness import posix, procs

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
    """It leaves within seconds whatever is open; what had been written is there."""
    point = store.points[0]
    for _ in range(5):
        process = client(fs)
        start = time.monotonic()
        os.kill(store.pid, signal.SIGTERM)
        store.points.remove(point)
        store.ended()
        assert time.monotonic() - start < 10
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
        procs.poll(lambda: posix.outcome(os.listdir, point) == "ENOTCONN", 10, "the mount is dead")
        store.points.remove(point)
        store.ended()
        end(process)
        subprocess.run(["umount", "-l", point], check=True, timeout=20, stdin=subprocess.DEVNULL)
        clean(store)
        store.mount(point)
