"""A full disk: writes fail with ENOSPC, reads and deletes go on, writes resume by themselves once there is space."""

import errno
import os
import random

import pytest

from harness import posix, procs, program
from harness.files import stats_below
from harness.reference import make_ext4
from harness.store import Store

MIB = 1 << 20


@pytest.fixture
def small(run, area):
    """A store on a small disk of its own, and a filler file on the same disk."""
    disk = area + "/disk"
    make_ext4(area + "/image", disk, 600 * MIB)
    store = Store(area, run.mark, run.home, path=disk + "/store")
    store.expected.append("space|ENOSPC")
    yield store, disk + "/filler"
    try:
        store.close()
    finally:
        procs.detach(disk)


def fill(path, leave):
    """Takes all of the disk but `leave` bytes, whoever takes some of it meanwhile. A file that has taken some of it takes more."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    had = os.fstat(fd).st_size

    def taken():
        free = available(os.path.dirname(path))
        if free <= leave:
            return True
        if posix.outcome(os.posix_fallocate, fd, had, free - leave) == "ok":
            return True
        os.ftruncate(fd, had)
        return False

    procs.poll(taken, 20 * program.scale(), "the disk is taken")
    os.close(fd)


def put(path, data):
    """Writes and syncs; the first errno by name."""
    def write():
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)

    return posix.outcome(write)


@pytest.mark.sanitize
@pytest.mark.timeout(150)
def test_full_disk_is_told_and_recovered_from(small):
    store, filler = small
    store.init()
    point = store.mount(store.area + "/mnt")
    store.create("d")
    fs = point + "/d"
    fill(filler, 200 * MIB)
    kept, results = {}, []
    for number in range(100):
        data = os.urandom(4 * MIB)
        results.append(put(f"{fs}/{number}", data))
        if results[-1] != "ok":
            break
        kept[f"{fs}/{number}"] = data
    assert results[-1] == "ENOSPC", results
    assert len(kept) >= 5, "most of the disk should be usable"
    assert put(fs + "/small", b"x" * 100000) in ("ok", "ENOSPC")

    def check():
        for path, data in kept.items():
            with open(path, "rb") as handle:
                assert handle.read() == data

    check()
    for path in list(kept)[::3]:
        os.unlink(path)
        del kept[path]
    check()
    assert not os.path.exists(f"{fs}/0")
    os.unlink(filler)
    procs.poll(lambda: put(fs + "/after", b"again" * 100000) == "ok", 30 * program.scale(), "writes resume", 0.2)
    kept[fs + "/after"] = b"again" * 100000
    check()
    for name in (f"{number}" for number in range(len(results) - 1, len(results))):
        posix.outcome(os.unlink, f"{fs}/{name}")
    store.umount()
    store.mount(point)
    check()


@pytest.mark.parametrize("mounted", [True, False])
def test_who_fills_a_store_is_told_what_to_do(small, mounted):
    store, filler = small
    store.init()
    if mounted:
        store.mount(store.area + "/mnt")
    os.mkdir(store.area + "/tree")
    for number in range(12):
        with open(f"{store.area}/tree/{number}", "wb") as handle:
            handle.write(os.urandom(10 * MIB))
    fill(filler, 64 * MIB)
    result = store.run("-s", store.path, "import", store.area + "/tree", "d")
    assert result.code == program.NO_SPACE
    for word in ("full", " du ", " gc", "snapshots"):
        assert word in result.err


def test_store_is_not_made_on_a_full_disk(small):
    store, filler = small
    fill(filler, 64 * 1024)
    result = store.run("init", store.path)
    assert result.code == program.NO_SPACE and len(result.err.splitlines()) == 1, result
    assert not os.path.exists(store.path) or os.listdir(store.path) == []
    os.unlink(filler)
    store.init()


def test_disk_that_is_full_from_the_start_can_be_mounted_and_read(small):
    store, filler = small
    store.init()
    point = store.mount(store.area + "/mnt")
    store.create("d")
    assert put(point + "/d/file", b"x" * MIB) == "ok"
    store.umount()
    fill(filler, 1 * MIB)
    store.mount(point)
    with open(point + "/d/file", "rb") as handle:
        assert handle.read() == b"x" * MIB
    assert put(point + "/d/new", b"x" * MIB) == "ENOSPC"
    store.umount()


def fill_all(path):
    """Takes the last block, too."""
    step = 64 * MIB
    with open(path, "wb") as handle:
        while step >= 4096:
            if posix.outcome(os.posix_fallocate, handle.fileno(), os.fstat(handle.fileno()).st_size, step) != "ok":
                step //= 2


def test_who_has_the_store_is_named_on_a_disk_without_any_room(small):
    """Else nobody finds the daemon, to end it, and who asks how it ended is told that all is well."""
    store, filler = small
    store.init()
    store.create("d")
    fill_all(filler)
    point = store.mount(store.area + "/mnt", options="nosupervise")
    assert procs.read(store.path + "/lock") == f"{store.pid} corpusfs\n".encode()
    os.unlink(filler)
    store.umount(point)
    assert procs.read(store.path + "/lock") == b"0 0\n"


def test_disk_that_somebody_else_fills_takes_deletions(small):
    store, filler = small
    store.init()
    point = store.mount(store.area + "/mnt")
    store.create("d")
    for name in "abc":
        assert put(f"{point}/d/{name}", os.urandom(MIB)) == "ok"
    fill(filler, 128 * 1024)
    procs.poll(lambda: put(point + "/d/new", b"x" * MIB) == "ENOSPC", 30 * program.scale(), "the full disk is noticed")
    os.unlink(point + "/d/a")
    fill(filler, 128 * 1024)
    assert posix.outcome(os.unlink, point + "/d/b") == "ok" == posix.outcome(os.chmod, point + "/d/c", 0o600)

    def refused():
        """What the daemon gives back by itself meanwhile is taken from it."""
        fill(filler, 128 * 1024)
        outcome = posix.outcome(os.mkdir, point + "/d/dir")
        if outcome == "ok":
            os.rmdir(point + "/d/dir")
        return outcome == "ENOSPC"

    procs.poll(refused, 30 * program.scale(), "there is no room for another name")
    assert len(procs.read(point + "/d/c")) == MIB
    os.unlink(filler)
    procs.poll(lambda: put(point + "/d/after", b"x" * MIB) == "ok", 20 * program.scale(), "writes resume", 0.1)
    assert not os.path.exists(point + "/d/a")
    store.umount()


def take_all(path):
    """Whatever is free, as a program does that fills a disk without looking."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        while os.write(fd, bytes(64 << 10)):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(fd)


@pytest.mark.sanitize
@pytest.mark.timeout(150)
def test_disk_that_somebody_else_keeps_filling_takes_deletions(small):
    """Each time that room is given up or comes back, it is taken at once: unlink, rmdir of a snapshot, gc and umount go on."""
    store, filler = small
    store.init()
    point = store.mount(store.area + "/mnt")
    store.create("d")
    for number in range(60):
        assert put(f"{point}/d/{number}", os.urandom(MIB)) == "ok"
    os.mkdir(point + "/d/.snapshots/s")
    take_all(filler)
    for number in range(30):
        os.unlink(f"{point}/d/{number}")
        take_all(filler)
    os.rmdir(point + "/d/.snapshots/s")
    take_all(filler)
    before = available(os.path.dirname(filler))
    store.ok("-s", store.path, "gc")
    assert available(os.path.dirname(filler)) > before + 25 * MIB
    take_all(filler)
    os.unlink(f"{point}/d/30")
    take_all(filler)
    store.umount()
    take_all(filler)
    store.mount(point)
    assert sorted(map(int, os.listdir(point + "/d"))) == list(range(31, 60))
    os.unlink(f"{point}/d/31")
    os.unlink(filler)
    procs.poll(lambda: put(point + "/d/after", b"x" * MIB) == "ok", 20 * program.scale(), "writes resume", 0.1)
    ballast = store.path + "/ballast"
    procs.poll(lambda: put(point + "/d/after", b"x") == "ok" and os.path.exists(ballast) and os.stat(ballast).st_size >= 64 * MIB,
               20 * program.scale(), "the reserve comes back", 0.1)
    store.umount()


@pytest.mark.sanitize
def test_store_whose_daemon_died_opens_on_a_disk_that_filled_up(small):
    store, filler = small
    store.init()
    point = store.mount(store.area + "/mnt")
    store.create("d")
    for number in range(2000):
        os.mkdir(f"{point}/d/{number}")
    assert put(point + "/d/file", b"x" * 1000) == "ok"
    store.kill()
    fill(filler, 128 * 1024)
    store.mount(point)
    assert len(os.listdir(point + "/d")) == 2001
    os.unlink(point + "/d/file")
    store.kill()
    os.unlink(store.path + "/ballast")  # as if somebody had taken that, too
    fill(filler + "2", 128 * 1024)
    before = sorted(os.listdir(store.path + "/db"))
    result = store.run("mount", store.path, point)
    assert result.code == program.NO_SPACE and len(result.err.splitlines()) == 1, result
    assert sorted(os.listdir(store.path + "/db")) == before
    os.unlink(filler)
    store.mount(point)
    assert not os.path.exists(point + "/d/file") or len(procs.read(point + "/d/file")) == 1000
    store.umount()


def test_statfs_follows_the_disk(small):
    store, filler = small
    store.init()
    point = store.mount(store.area + "/mnt")
    before = os.statvfs(point)
    fill(filler, 250 * MIB)
    procs.poll(lambda: os.statvfs(point).f_bavail * before.f_frsize <= 250 * MIB, 30, "free space shrinks")


def test_df_shows_little_when_there_is_no_space_left(small):
    """What was accepted and is not on the disk yet is not free."""
    store, filler = small
    store.init()
    point = store.mount(store.area + "/mnt")
    store.create("d")
    fill(filler, 200 * MIB)
    fd = os.open(point + "/d/file", os.O_CREAT | os.O_WRONLY)
    try:
        # nothing twice: that would take no room, once it is on the disk
        while posix.outcome(os.write, fd, os.urandom(MIB)) == "ok":
            pass
        info = os.statvfs(point)
        assert info.f_bavail * info.f_frsize < 16 * MIB
    finally:
        os.close(fd)


def test_a_mount_on_a_disk_without_room_says_so(small):
    store, filler = small
    store.init()
    fill(filler, 32 * MIB)
    point = store.area + "/mnt"
    os.mkdir(point)
    result = store.run("mount", store.path, point)
    store.note(point)
    assert result.code == 0 and "hardly anything can be written" in result.err, result
    store.umount()
    os.unlink(filler)
    result = store.run("mount", store.path, point)
    store.note(point)
    assert result.code == 0 and result.err == "", result
    store.umount()


def fill_with_files(fs, first, chance):
    """Synced files of 20 to 200 KB until there is no room; the names."""
    names = []
    for number in range(first, first + 20000):
        result = put(f"{fs}/{number}", chance.randbytes(chance.randrange(20000, 200000)))
        if result != "ok":
            assert result == "ENOSPC"
            return names
        names.append(f"{fs}/{number}")
    raise AssertionError("the disk is never full")


def took(store):
    """The log, in bytes."""
    return sum(info.st_size for name, info in stats_below(store.path) if name.endswith(".log"))


def available(path):
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def empty(fs):
    """All files, and the snapshot."""
    for name in os.listdir(fs):
        os.unlink(f"{fs}/{name}")
    if os.path.exists(fs + "/.snapshots/s"):
        os.rmdir(fs + "/.snapshots/s")


@pytest.fixture
def sized(run, area, size):
    disk = area + "/disk"
    make_ext4(area + "/image", disk, size * MIB)
    store = Store(area, run.mark, run.home, path=disk + "/store")
    store.expected.append("space|ENOSPC")
    yield store
    try:
        store.close()
    finally:
        procs.detach(disk)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("size, turns", [(256, 3), (300, 2), (345, 2), (1024, 1)])
def test_what_is_deleted_on_a_full_disk_comes_back(sized, size, turns):
    """Again and again, with a snapshot, and without a remount."""
    chance = random.Random(size)
    sized.init()
    fs = sized.mount(sized.area + "/mnt") + "/d"
    sized.create("d")
    for turn in range(turns):
        before = available(fs)
        if size > 512:
            assert put(fs + "/large", os.urandom((size - 512) * MIB)) == "ok"
        fill_with_files(fs, 20000 * turn, chance)
        content = sum(os.stat(f"{fs}/{name}").st_size for name in os.listdir(fs))
        assert content > 0.75 * before and took(sized) < 64 * MIB, f"{content / MIB} of {before / MIB} MiB, {took(sized) / MIB} MiB of log"
        if turn % 2 == 0:
            assert posix.outcome(os.mkdir, fs + "/.snapshots/s") in ("ok", "ENOSPC")
        empty(fs)
        if turn % 2 == 1:
            sized.ok("-s", sized.path, "gc")
        procs.poll(lambda: available(fs) > before - 24 * MIB, 30 * program.scale(), "the room comes back", 0.2)
        assert put(fs + "/again", os.urandom(MIB)) == "ok"
    sized.umount()


@pytest.mark.parametrize("size", [100])
def test_store_is_not_made_on_a_disk_that_is_too_small(sized):
    result = sized.run("init", sized.path)
    assert result.code == program.NO_SPACE and "too small" in result.err and "128 MiB" in result.err, result
    assert not os.path.exists(sized.path)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("size", [300, 700])
@pytest.mark.parametrize("large", [True, False])
def test_df_promises_no_more_than_can_be_written(sized, size, large):
    """Content that cannot be compressed, as one file or as many."""
    sized.init()
    fs = sized.mount(sized.area + "/mnt") + "/d"
    sized.create("d")
    promised, written, chance = available(fs), 0, random.Random(size)
    names = iter(range(1 << 30))

    def append(path, data):
        with open(path, "ab", buffering=0) as handle:
            handle.write(data)

    outcome = "ok"
    while outcome == "ok":
        data = chance.randbytes(MIB if large else chance.randrange(20000, 200000))
        outcome = posix.outcome(append, f"{fs}/{'large' if large else next(names)}", data)
        written += len(data) if outcome == "ok" else 0
    assert outcome == "ENOSPC"
    assert promised <= written < promised / 0.5, f"{written / MIB} MiB of {promised / MIB}"
