"""Mounts of snapshots whose requests come by io_uring (Linux 6.14, where it is switched on)."""

import errno
import fcntl
import hashlib
import json
import os
import random
import subprocess
import sys
import termios

import pytest

from harness import procs, program, succession
from harness.succession import kill

SWITCH = "/sys/module/fuse/parameters/enable_uring"
SHA256 = "user.corpusfs.sha256"

pytestmark = pytest.mark.skipif(not os.access(SWITCH, os.W_OK), reason="the kernel has no FUSE over io_uring, or not root asks")

# Reads all files of a directory in an order of its own, and prints what it found of each.
READER = """
import hashlib, os, random, sys
names = os.listdir(sys.argv[1])
random.seed(int(sys.argv[2]))
random.shuffle(names)
for name in names:
    with open(os.path.join(sys.argv[1], name), "rb") as handle:
        print(name, hashlib.sha256(handle.read()).hexdigest())
"""


def turn(to):
    with open(SWITCH, "w", encoding="ascii") as handle:
        handle.write(to)


@pytest.fixture
def rings():
    """Switched on, and no other test switches it off meanwhile. It stays on: other tests of this machine may have mounted."""
    with open(SWITCH, encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        turn("Y")
        yield held


def by_rings(store, point):
    status = json.loads(store.ok("-s", store.path, "status", "--json"))
    return next(mount["io_uring"] for mount in status["mounts"] if mount["mountpoint"] == point)


@pytest.fixture
def files():
    """{name: content}: empty, small, of several chunks, compressible or not, and with a long name."""
    source = random.Random(7)
    found = {f"{number:03}": source.randbytes(source.choice((0, 1, 100, 5000, 4096, 100000))) for number in range(120)}
    found["big"] = source.randbytes(9 << 20)
    found["text"] = b"the same line again\n" * 200000
    found["n" * 255] = b"long"
    return found


@pytest.fixture
def view(rings, store, files):
    """The mount of a snapshot with them, and nothing of it in any cache."""
    point = store.mount()
    store.create("d")
    for name, data in files.items():
        with open(f"{point}/d/{name}", "wb") as handle:
            handle.write(data)
    os.symlink("big", point + "/d/link")
    os.setxattr(point + "/d/big", "user.label", b"x" * 1000)
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    return store.mount(dataset="d@v1", options="allow_other")


@pytest.mark.sanitize
def test_what_comes_by_rings_is_what_was_written(store, view, files):
    assert by_rings(store, view)
    readers = [subprocess.Popen([sys.executable, "-c", READER, view, str(number)], stdout=subprocess.PIPE, text=True) for number in range(6)]
    wanted = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} | {"link": hashlib.sha256(files["big"]).hexdigest()}
    for reader in readers:
        lines = reader.communicate(timeout=50)[0].splitlines()
        assert reader.returncode == 0 and dict(line.split() for line in lines) == wanted


@pytest.mark.sanitize
def test_names_attributes_and_refusals_come_by_rings(view, files):
    assert sorted(os.listdir(view)) == sorted([*files, "link"])
    assert {name: os.stat(f"{view}/{name}").st_size for name in files} == {name: len(data) for name, data in files.items()}
    assert os.readlink(view + "/link") == "big"
    assert os.getxattr(view + "/big", "user.label") == b"x" * 1000 and "user.label" in os.listxattr(view + "/big")
    assert not os.path.exists(view + "/none")
    with pytest.raises(OSError) as caught:
        os.mkdir(view + "/dir")
    assert caught.value.errno == errno.EROFS
    with open(view + "/text", "rb") as handle:
        with pytest.raises(OSError) as caught:
            fcntl.ioctl(handle, termios.TIOCGWINSZ, b"\0" * 8)
        assert caught.value.errno == errno.ENOTTY


def test_what_another_thread_answers_comes_by_rings(view, files):
    """A digest is computed by a thread that serves no requests."""
    for name in ("big", "text", "001"):
        assert os.getxattr(f"{view}/{name}", SHA256).decode() == hashlib.sha256(files[name]).hexdigest()


def test_reads_of_any_place_and_length(view, files):
    source = random.Random(3)
    fd = os.open(view + "/big", os.O_RDONLY)
    for _ in range(300):
        offset, length = source.randrange(10 << 20), source.choice((1, 4096, 70000, 1 << 20, 3 << 20))
        assert os.pread(fd, length, offset) == files["big"][offset:offset + length]
    os.close(fd)


def test_a_mount_by_rings_ends_while_it_is_read(store, view):
    """Nobody hangs: neither who reads, nor the daemon, nor a new mount."""
    for turn in range(3):
        readers = [subprocess.Popen([sys.executable, "-u", "-c", READER * 50, view, str(number)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                   for number in range(4)]
        for reader in readers:
            assert reader.stdout.readline(), "it reads"
            reader.stdout.close()  # its next line ends it, if nothing else does
        if turn % 2:
            store.die()
            store.clear()
        else:
            store.ok("umount", "--force", view)
            store.points.remove(view)
            store.ended()
        for reader in readers:
            reader.wait(20)
        store.mount(view, dataset="d@v1", options="allow_other")
        assert by_rings(store, view) and os.readlink(view + "/link") == "big"


def mounted(store, point):
    status = json.loads(store.ok("-s", store.path, "status", "--json"))
    return next((mount["io_uring"], mount["supervised"]) for mount in status["mounts"] if mount["mountpoint"] == point)


def test_of_a_daemon_that_dies_the_mounts_by_rings_end_and_the_others_go_on(rings, store):
    """Unless they were asked to go on, which they do without rings."""
    succession.needed()
    point = store.mount(options="supervise")
    store.create("d")
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    fast, lasting = store.mount(dataset="d@v1"), store.mount(dataset="d@v1", options="allow_other,ro,supervise,snapdir=off")
    assert [mounted(store, each) for each in (point, fast, lasting)] == [(False, True), (True, False), (False, True)]
    told = store.run("restart", store.path)
    assert told.code == program.UNSUPPORTED and fast in told.err, told
    kill(store)
    assert procs.read(point + "/d/file") == b"content" == procs.read(lasting + "/file")
    with pytest.raises(OSError) as caught:
        os.stat(fast + "/file")
    assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    procs.detach(fast)
    store.points.remove(fast)
    assert procs.read(store.mount(fast, dataset="d@v1") + "/file") == b"content"
    assert mounted(store, fast) == (True, False)


def test_a_mount_that_is_written_has_no_rings(rings, store):
    point = store.mount()
    store.create("d")
    assert not by_rings(store, point)


def test_without_the_switch_requests_come_as_ever(rings, store, view, files):
    store.umount()
    fcntl.flock(rings, fcntl.LOCK_EX)
    turn("N")
    try:
        store.mount(view, dataset="d@v1", options="allow_other")
        assert not by_rings(store, view)
        with open(view + "/big", "rb") as handle:
            assert handle.read() == files["big"]
    finally:
        turn("Y")
