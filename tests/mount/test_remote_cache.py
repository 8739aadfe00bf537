"""Mounts of what is elsewhere with a cache on a local disk: what was fetched once is read from there, and never a byte that was not published."""

import os
import random
import subprocess
import threading
import time

import pytest

from harness import files, program, procs, rot, tree
from harness.lazy import MEMORY, cold, same, segments, used
from harness.repository import restic_check


def read_at_random(root, wanted, seconds, seed):
    """Reads pieces for so long, and ten at least, and compares."""
    chance, count, names = random.Random(seed), 0, sorted(wanted)
    until = time.monotonic() + seconds
    while count < 10 or time.monotonic() < until:
        name = chance.choice(names)
        at, size = chance.randrange(len(wanted[name])), chance.choice([1, 4096, 100000, 1 << 20])
        fd = os.open(f"{root}/{name}", os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            got = os.pread(fd, size, at)
            assert got == wanted[name][at:at + len(got)], (name, at, size)
            if at + len(got) < min(at + size, len(wanted[name])):
                raise OSError("a part came before an error")
        finally:
            os.close(fd)
        count += 1


# --- away ---


@pytest.mark.sanitize
@pytest.mark.timeout(240)
def test_what_was_read_is_there_while_the_place_is_away(served, lazy, source, area):
    """Also for a mount that is made then; and what was not read comes when the place is back."""
    mount = lazy(MEMORY)
    for folder, folders, names in os.walk(mount.root):
        folders.sort()
        for name in names:
            path = f"{folder}/{name}"
            if os.path.isfile(path) and not name.startswith("5"):
                files.get(path)
    mount.umount()
    served.stop()
    mount = lazy(MEMORY + ",timeout=3")
    assert "cannot be reached" in mount.result.err + mount.log()
    wanted = tree.scan(source)
    seen = 0
    for name, row in wanted.items():
        path = f"{mount.root}/{name}"
        assert os.lstat(path).st_mtime_ns == row.get("mtime", os.lstat(path).st_mtime_ns), name
        if "content" in row and not os.path.basename(name).startswith("5"):
            assert tree.digest(path) == row["content"], name
            seen += 1
    assert seen > 30
    # unread, and its blobs are of nobody else
    began = time.monotonic()
    unread = [name for name in sorted(os.listdir(source + "/a")) if name.startswith("5") and os.path.getsize(f"{source}/a/{name}") > 100000]
    for name in unread[:2]:
        with pytest.raises(OSError, match="Input/output error"):
            files.get(f"{mount.root}/a/{name}")
    assert unread and time.monotonic() - began < 40
    served.start()

    def back():
        try:
            same(source, mount.root)
        except OSError:
            return False
        return True

    procs.poll(back, 30, "reading goes on")
    mount.umount()
    restic_check(served.url("r"), area + "/restic-cache", outage=True)


@pytest.mark.timeout(240)
def test_who_waits_for_the_place_keeps_nobody_from_what_is_cached(served, lazy, source):
    mount = lazy(MEMORY + ",timeout=10")
    read = [name for name in sorted(os.listdir(source + "/a")) if os.path.isfile(f"{source}/a/{name}") and not name.startswith("5")]
    for name in read:
        files.get(f"{mount.root}/a/{name}")
        cold(f"{mount.root}/a/{name}")
    served.stop()
    unread = [f"{mount.root}/a/{name}" for name in os.listdir(source + "/a") if name.startswith("5") and os.path.getsize(f"{source}/a/{name}") > 0]
    waiting = [subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for path in unread * 2]
    for name in read:
        assert files.get(f"{mount.root}/a/{name}") == files.get(f"{source}/a/{name}"), name
    assert sorted(os.listdir(mount.root + "/a")) == sorted(os.listdir(source + "/a"))
    assert any(one.poll() is None for one in waiting), "they wait until now"
    assert all(one.wait(120) != 0 for one in waiting)


@pytest.mark.timeout(240)
def test_life_in_s3(remotes, s3, lazy, source, area):
    credentials = remotes.write("credentials", "aws_access_key_id = testkey\naws_secret_access_key = testsecret\n")
    remotes.store.expected.append("backups")
    remotes.add("base", s3.url("some/where"), "--credentials-file", credentials)
    remotes.publish("d", "--init")
    mount = lazy(MEMORY)
    same(source, mount.root)
    mount.umount()
    s3.stop()
    mount = lazy(MEMORY + ",timeout=1")
    same(source, mount.root)
    mount.umount()
    for root, _, names in os.walk(area + "/cached"):
        assert all(b"testsecret" not in files.get(f"{root}/{name}") for name in names)


# --- small ---


@pytest.mark.timeout(240)
def test_cache_of_a_tenth_of_the_data_gives_what_was_published(big, lazy, area):
    mount = lazy(MEMORY + ",cache_size=4M")
    peak, done, stop = [0], [], threading.Event()

    def watch():
        while not stop.wait(0.02):
            try:
                peak[0] = max(peak[0], used(area + "/cached"))
            except FileNotFoundError:
                pass

    def read(seed):
        read_at_random(mount.root + "/big", big, 8, seed)
        done.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)] + [threading.Thread(target=watch)]
    for one in threads:
        one.start()
    for one in threads[:4]:
        one.join()
    stop.set()
    threads[4].join()
    assert len(done) == 4, "a reader failed"
    assert 1 << 20 < peak[0] <= (4 << 20) + (256 << 10), "files come and go while they are counted"
    for name, data in big.items():
        assert files.get(f"{mount.root}/big/{name}") == data, name
    mount.umount()
    assert used(area + "/cached") <= 4 << 20


def test_smaller_cache_gives_back_what_it_has_too_much(big, lazy, area):
    mount = lazy(MEMORY)
    assert files.get(mount.root + "/big/long") == big["long"]
    mount.umount()
    assert used(area + "/cached") > 12 << 20
    mount = lazy(MEMORY + ",cache_size=4M")
    assert files.get(mount.root + "/big/long") == big["long"]
    mount.umount()
    assert used(area + "/cached") <= 4 << 20


@pytest.mark.timeout(240)
def test_full_disk_is_no_error_for_who_reads(big, lazy, area):
    os.mkdir(area + "/disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6M,mode=700", "tmpfs", area + "/disk"], check=True)
    try:
        mount = lazy(MEMORY + ",cache_size=100M", cache=area + "/disk/cached")
        for _ in range(2):
            for name, data in big.items():
                assert files.get(f"{mount.root}/big/{name}") == data, name
                cold(f"{mount.root}/big/{name}")
        assert mount.log().count("the disk of the cache is full") == 1
        assert used(area + "/disk/cached") > 2 << 20
        mount.umount()
        files.put(area + "/disk/others", b"x" * (64 << 10))
        mount = lazy(MEMORY + ",cache_size=100M", cache=area + "/disk/cached")
        assert files.get(mount.root + "/big/long") == big["long"]
        mount.umount()
    finally:
        subprocess.run(["umount", "-l", area + "/disk"], check=True)


# --- damage ---


@pytest.mark.timeout(240)
def test_damage_of_any_file_of_the_cache_is_fetched_anew(served, lazy, source, area):
    mount = lazy(MEMORY)
    same(source, mount.root)
    mount.umount()
    chance = random.Random(1)
    for way in ("flip", "cut", "remove", "all"):
        for folder, _, names in os.walk(area + "/cached"):
            for name in names:
                path = f"{folder}/{name}"
                size = os.path.getsize(path)
                if size == 0:
                    continue
                os.chmod(path, 0o600)
                if way == "flip":
                    for _ in range(1 + size // 20000):
                        rot.flip(path, chance.randrange(size))
                elif way == "cut":
                    os.truncate(path, size // 2)
                elif way == "remove":
                    os.remove(path)
                else:
                    files.put(path, b"\xff" * size)
        mount = lazy(MEMORY)
        same(source, mount.root)
        mount.umount()
    # now it is whole again
    served.stop()
    mount = lazy(MEMORY + ",timeout=1")
    same(source, mount.root)
    mount.umount()


def test_blob_that_is_damaged_in_use_is_fetched_anew(big, lazy, area):
    mount = lazy(MEMORY)
    assert files.get(mount.root + "/big/long") == big["long"]
    cold(mount.root + "/big/long")
    for name in segments(area + "/cached"):
        for at in range(100000, os.path.getsize(f"{area}/cached/{name}"), 500000):
            rot.flip(f"{area}/cached/{name}", at)
    assert files.get(mount.root + "/big/long") == big["long"]
    assert mount.log().count("was damaged") == 1
    mount.umount()


# --- death ---


@pytest.mark.timeout(240)
def test_killed_mount_leaves_a_good_cache(big, lazy, area):
    for number in range(4):
        mount = lazy(MEMORY + ",cache_size=16M")
        failures = []

        def read(seed, mount=mount, failures=failures):
            try:
                read_at_random(mount.root + "/big", big, 30, seed)
            except OSError:
                pass  # it was killed
            except AssertionError as wrong:
                failures.append(wrong)

        threads = [threading.Thread(target=read, args=(10 * number + seed,)) for seed in range(3)]
        for one in threads:
            one.start()
        time.sleep(1 + number / 3)
        mount.kill()
        for one in threads:
            one.join()
        assert not failures
    mount = lazy(MEMORY + ",cache_size=16M")
    for name, data in big.items():
        assert files.get(f"{mount.root}/big/{name}") == data, name
    assert "damaged" not in mount.log() and used(area + "/cached") <= 16 << 20
    mount.umount()


def test_death_between_a_record_and_its_entry(big, remotes, lazy, area):
    os.mkdir(area + "/point")
    env = {"CORPUSFS_FAULT": "cache-before-entry:kill:20"}
    remotes.run("mount", "base:d", area + "/point", "-o", f"cache={area}/cached", env=env)
    with pytest.raises(OSError):
        files.get(area + "/point/big/long")
    subprocess.run(["umount", "-l", area + "/point"], check=True)
    mount = lazy(MEMORY)
    assert files.get(mount.root + "/big/long") == big["long"] and "damaged" not in mount.log()
    mount.umount()


# --- whose it is ---


def test_cache_is_for_one_mount_and_its_owner(big, remotes, lazy, area):
    mount = lazy()
    assert os.stat(area + "/cached").st_mode & 0o7777 == 0o700
    second = lazy(code=program.BUSY)
    assert "in use by another mount" in second.result.err and len(second.result.err.splitlines()) == 1
    other = lazy(cache=area + "/another")
    for one in (mount, other):
        assert files.get(one.root + "/big/long") == big["long"]
    mount.umount()
    again = lazy()
    assert files.get(again.root + "/big/long") == big["long"]


def test_cache_that_cannot_be_is_refused(big, remotes, store, area):
    os.makedirs(area + "/thesis")
    os.makedirs(area + "/point")
    files.put(area + "/thesis/chapter", b"1")
    os.mkdir(area + "/theirs")
    os.chown(area + "/theirs", 12345, 12345)
    os.symlink(area + "/theirs", area + "/link")
    for options, words, code in (
        (f"cache={area}/thesis", "not empty", program.BUSY), (f"cache={area}/no/where", "cannot be made", program.NOT_FOUND),
        (f"cache={area}/theirs", "user 12345", program.PERMISSION), (f"cache={area}/link", "user 12345", program.PERMISSION),
        ("cache_size=1G", "which cache", program.USAGE), (f"cache={area}/c,cache_size=1M", "too small", program.USAGE),
        (f"cache={area}/c,cache_size=much", "not a size", program.USAGE),
    ):
        refused = remotes.run("mount", "base:d", area + "/point", "-o", options, code=code)
        assert words in refused.err and len(refused.err.splitlines()) == 1, refused.err
    assert sorted(os.listdir(area + "/thesis")) == ["chapter"] and os.listdir(area + "/theirs") == []
    refused = remotes.run("mount", store.path, area + "/point", "-o", f"cache={area}/c", code=program.USAGE)
    assert "for remotes only" in refused.err
