"""The identity of trees and the digests of files, as a mount and the commands tell them; compared with the stand-alone script's."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess

import pytest

from harness import posix, program

SCRIPT = os.path.join(program.PROJECT, "packaging/corpusfs-identity")
IDENTITY, SHA256 = "user.corpusfs.identity", "user.corpusfs.sha256"


def identity(path):
    return os.getxattr(path, IDENTITY).decode()


def script(path, *options):
    return subprocess.run([SCRIPT, *options, path], check=True, capture_output=True, text=True).stdout.strip()


def fill(root, seed=1):
    """Files of all kinds and sizes; what is made depends on the seed alone."""
    rng = random.Random(seed)
    names = ["a", "b", "b/c", "b/c/d", "ä€"]
    for name in names:
        os.mkdir(f"{root}/{name}")
    for number in range(40):
        path = f"{root}/{rng.choice(names)}/{number}"
        with open(path, "wb") as handle:
            handle.write(rng.randbytes(rng.choice([0, 1, 100, 2048, 2049, 5000, 70000, 400000])))
        os.chmod(path, rng.choice([0o644, 0o600, 0o755, 0o4711]))
    with open(root + "/a/sparse", "wb") as handle:
        handle.seek(3 << 20)
        handle.write(b"end of a hole")
        handle.truncate(5 << 20)
    with open(root + "/large", "wb") as handle:
        handle.write(rng.randbytes(6 << 20))
    with open(root + "/b/zeros", "wb") as handle:
        for length in (0, 70000, 65535, 65536, 1 << 20, 300000):
            handle.write(rng.randbytes(rng.choice([1, 5000, 90000])) + bytes(length))
    os.symlink("a/1", root + "/link")
    os.symlink("x" * 3000, root + "/b/long link")
    os.mkfifo(root + "/fifo", 0o640)
    os.mknod(root + "/socket", stat.S_IFSOCK | 0o600)
    os.mknod(root + "/char", stat.S_IFCHR | 0o620, os.makedev(259, 70000))
    os.mknod(root + "/block", stat.S_IFBLK | 0o660, os.makedev(7, 255))
    os.link(root + "/large", root + "/b/twin")
    os.chmod(root, 0o755)


def snapshot(fs, name):
    os.mkdir(f"{fs}/.snapshots/{name}")
    return f"{fs}/.snapshots/{name}"


@pytest.mark.sanitize
def test_identity_is_that_of_the_script_on_the_mount_and_on_any_copy(fs, area, store):
    plain, copy = area + "/plain", area + "/copy"
    os.mkdir(plain)
    fill(plain)
    fill(fs)
    expected = script(plain)
    taken = snapshot(fs, "v1")
    assert identity(taken) == expected
    assert script(taken) == script(fs) == expected
    assert identity(fs) == expected
    subprocess.run(["cp", "-a", taken, copy], check=True)
    assert script(copy) == expected
    shown = json.loads(store.ok("-s", store.path, "snapshot", "show", "--json", "d@v1"))
    assert shown["identity"] == expected


@pytest.mark.sanitize
def test_identity_is_the_same_in_another_store_filled_in_another_order(fs, run):
    fill(fs)
    expected = identity(snapshot(fs, "v1"))
    other = run.store(run.area())
    other.init()
    root = other.mount() + "/other"
    os.mkdir(root)
    for name in sorted(os.listdir(fs), reverse=True):
        subprocess.run(["cp", "-r", "--preserve=mode,links", f"{fs}/{name}", root], check=True)
    with open(root + "/large", "r+b") as handle, open(fs + "/large", "rb") as source:
        handle.write(bytes(5 << 20))
        snapshot(root, "between")
        handle.seek(0)
        handle.write(source.read())
    os.chmod(root, 0o755)
    assert identity(snapshot(root, "v1")) == expected
    other.close()


def test_identity_follows_content_and_not_owners_times_or_attributes(fs):
    fill(fs)
    first = identity(snapshot(fs, "first"))
    os.chown(fs + "/a", 1234, 1234)
    os.utime(fs + "/b/c", ns=(1, 2))
    os.setxattr(fs + "/b", "user.note", b"x")
    assert identity(snapshot(fs, "owner")) == first
    os.rename(fs + "/b", fs + "/moved")
    moved = identity(snapshot(fs, "moved"))
    assert moved != first
    os.rename(fs + "/moved", fs + "/b")
    assert identity(snapshot(fs, "back")) == first
    with open(fs + "/large", "r+b") as handle:
        handle.seek(1 << 20)
        handle.write(b"one word")
    seen = {first, moved, identity(snapshot(fs, "word"))}
    os.chmod(fs + "/a", 0o700)
    seen.add(identity(snapshot(fs, "mode")))
    os.unlink(fs + "/link")
    os.symlink("a/2", fs + "/link")
    seen.add(identity(snapshot(fs, "target")))
    os.unlink(fs + "/fifo")
    os.mknod(fs + "/fifo", stat.S_IFSOCK | 0o640)
    seen.add(identity(snapshot(fs, "type")))
    assert len(seen) == 6
    assert script(fs) in seen


def test_identity_survives_rollback_clone_and_remount(fs, store):
    fill(fs)
    expected = identity(snapshot(fs, "v1"))
    shutil.rmtree(fs + "/b")
    assert identity(fs) != expected
    store.ok("-s", store.path, "rollback", "d@v1")
    store.ok("-s", store.path, "clone", "d@v1", "twin")
    root = os.path.dirname(fs)
    assert identity(root + "/d") == identity(root + "/twin") == identity(root + "/d/.snapshots/v1") == expected
    assert identity(snapshot(root + "/twin", "s")) == expected
    store.umount()
    root = store.mount()
    assert identity(root + "/d/.snapshots/v1") == identity(root + "/twin") == expected


def test_identities_are_right_after_snapshots_went(fs, store):
    fill(fs)
    rng = random.Random(3)
    names = []
    for number in range(12):
        path = f"{fs}/{rng.choice(['a', 'b', 'b/c'])}/{rng.randrange(5)}"
        with open(path, "ab") as handle:
            handle.write(rng.randbytes(1000))
        names.append(f"v{number}")
        snapshot(fs, names[-1])
        if number % 3 == 2:
            os.rmdir(f"{fs}/.snapshots/{names.pop(rng.randrange(len(names)))}")
            store.ok("-s", store.path, "gc")
    for name in names:
        taken = f"{fs}/.snapshots/{name}"
        assert identity(taken) == script(taken)


def test_identity_is_computed_in_the_background_and_survives_a_kill_there(blank):
    store = blank.init()
    root = store.mount(env={"CORPUSFS_FAULT": "identity-before-write"})
    store.create("d")
    fill(root + "/d")
    expected = script(root + "/d")
    os.mkdir(root + "/d/.snapshots/v1")
    store.ended(-signal.SIGKILL)  # nobody asked for it: the daemon came there by itself
    store.clear()
    root = store.mount()
    assert identity(root + "/d/.snapshots/v1") == script(root + "/d/.snapshots/v1") == expected


@pytest.mark.sanitize
def test_digest_of_a_file_is_that_of_its_content(fs):
    fill(fs)
    taken = snapshot(fs, "v1")
    for root in (fs, taken):
        for name in ("large", "a/sparse", "b/twin"):
            with open(f"{root}/{name}", "rb") as handle:
                expected = hashlib.sha256(handle.read()).hexdigest()
            assert os.getxattr(f"{root}/{name}", SHA256).decode() == expected
            assert script(f"{root}/{name}", "--sha256") == expected


@pytest.mark.sanitize
def test_anybody_may_make_a_file_of_nothing_but_a_hole(fs, store):
    """Its identity is there at once, and nothing of it keeps the mount from ending."""
    os.chmod(fs, 0o777)
    with posix.as_user(65534):
        with open(fs + "/f", "wb") as handle:
            handle.write(b"x")
            os.fsync(handle.fileno())
        os.truncate(fs + "/f", 1 << 62)
        with open(fs + "/g", "wb") as handle:
            handle.truncate(15 << 40)
            handle.seek(7 << 40)
            handle.write(b"y" * 100000)
        os.mkdir(fs + "/.snapshots/v1")
    shown = json.loads(store.ok("-s", store.path, "snapshot", "show", "--json", "d@v1"))
    assert shown["identity"] == identity(fs + "/.snapshots/v1") == script(fs)
    with pytest.raises(OSError) as refused:
        os.getxattr(fs + "/.snapshots/v1/g", SHA256)
    assert refused.value.errno == errno.EFBIG
    store.umount()
    store.mount(store.area + "/mnt")
    assert identity(fs + "/.snapshots/v1") == shown["identity"]


@pytest.mark.timeout(150)
def test_umount_ends_the_hashing_of_what_takes_long(fs, store):
    """Anybody may copy a file onto its own end again and again: it shares what it consists of, and is read whole for its digest."""
    os.chmod(fs, 0o777)
    with posix.as_user(65534):
        fd = os.open(fs + "/f", os.O_RDWR | os.O_CREAT)
        os.write(fd, os.urandom(64 << 20))
        while (size := os.fstat(fd).st_size) < 64 << 30:
            done = 0
            while done < size:
                done += os.copy_file_range(fd, fd, size - done, done, size + done)
        os.close(fd)
        os.mkdir(fs + "/.snapshots/v1")
    asked = store.begin("-s", store.path, "snapshot", "show", "d@v1")
    store.umount()
    asked.kill()  # it would go on by itself
    asked.wait(20)
    store.mount(store.area + "/mnt")


def test_digest_of_a_file_that_is_open_has_what_was_written(fs):
    with open(fs + "/open", "wb", buffering=0) as handle:
        handle.write(b"a" * 10000)
        assert os.getxattr(fs + "/open", SHA256).decode() == hashlib.sha256(b"a" * 10000).hexdigest()
        handle.write(b"b")
        assert os.getxattr(fs + "/open", SHA256).decode() == hashlib.sha256(b"a" * 10000 + b"b").hexdigest()


def test_virtual_attributes_are_neither_listed_nor_changed(fs, area):
    with open(fs + "/file", "wb") as handle:
        handle.write(b"text")
    os.setxattr(fs + "/file", "user.own", b"1")
    taken = snapshot(fs, "v1")
    assert os.listxattr(fs) == os.listxattr(taken) == []
    assert os.listxattr(fs + "/file") == ["user.own"]
    for path, name in ((fs, IDENTITY), (fs + "/file", SHA256), (fs + "/file", IDENTITY)):
        assert posix.outcome(os.setxattr, path, name, b"x") == "EPERM"
        assert posix.outcome(os.removexattr, path, name) == "EPERM"
    for path, name in ((fs, SHA256), (fs + "/file", IDENTITY), (fs + "/.snapshots", IDENTITY), (os.path.dirname(fs), IDENTITY)):
        with pytest.raises(OSError) as caught:
            os.getxattr(path, name)
        assert caught.value.errno == errno.ENODATA
    subprocess.run(["cp", "-a", taken, area + "/copy"], check=True)
    assert [name for name in os.listxattr(area + "/copy/file") if "corpusfs" in name] == []


def test_digests_work_in_a_mounted_snapshot(fs, store):
    fill(fs)
    expected = identity(snapshot(fs, "v1"))
    point = store.mount(dataset="d@v1")
    assert identity(point) == expected
    assert os.getxattr(point + "/large", SHA256).decode() == script(point + "/large", "--sha256")


def test_the_script_says_what_is_wrong(area):
    wrong = subprocess.run([SCRIPT, area + "/missing"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1 and "missing: No such file or directory" in wrong.stderr
    assert subprocess.run([SCRIPT], capture_output=True, check=False).returncode == 2
    usage = subprocess.run([SCRIPT, "-h"], capture_output=True, text=True, check=True)
    assert "--sha256 FILE" in usage.stdout
