"""What a dataset may take: EDQUOT comes before it is exceeded, the count is exact, and whatever makes room goes on."""

import os
import random

import pytest

from harness import posix, procs, program
from harness.snapshots import cli, rows

KIB, MIB = 1 << 10, 1 << 20
QUOTA = 8 * MIB


@pytest.fixture
def limited(fs, store):
    cli(store, "dataset", "set", "d", "--quota", "8M")
    return fs


def used(store, name="d"):
    return next(row for row in rows(store, "dataset", "list") if row["name"] == name)["used"]


def on_disk(fs):
    """As du counts: each file once."""
    found = {}
    for folder, _, names in os.walk(fs):
        for name in names:
            info = os.lstat(os.path.join(folder, name))
            found[info.st_ino] = info.st_blocks * 512
    return sum(found.values())


def check(fs, store, quota=QUOTA):
    """st_blocks are rounded up, file by file; what was counted from change to change is what is counted anew. What was replaced goes a moment later."""
    procs.poll(lambda: used(store) <= on_disk(fs), 20 * program.scale(), "what is removed does not count", 0.1)
    count = used(store)
    assert count <= quota and on_disk(fs) < count + 512 * 64
    store.umount()
    store.mount(store.area + "/mnt")
    assert used(store) == count


def write(path, size, offset=0, flags=os.O_CREAT | os.O_WRONLY):
    fd = os.open(path, flags)
    try:
        return posix.outcome(os.pwrite, fd, os.urandom(size), offset)
    finally:
        os.close(fd)


@pytest.mark.sanitize
def test_no_more_is_written_than_the_quota_says(limited, store):
    assert write(limited + "/a", 4 * MIB) == "ok" and write(limited + "/b", 4 * MIB) == "ok"
    for path, offset in (("/c", 0), ("/a", 4 * MIB)):
        assert write(limited + path, 4096, offset) == "EDQUOT"
    assert write(limited + "/a", 4 * MIB) == "ok", "overwriting takes nothing"
    fd = os.open(limited + "/c", os.O_RDWR | os.O_CREAT)
    assert posix.outcome(posix.fallocate, fd, 0, 0, MIB) == "EDQUOT"
    source = os.open(limited + "/a", os.O_RDONLY)
    assert posix.outcome(os.copy_file_range, source, fd, MIB) == "EDQUOT"
    os.truncate(limited + "/c", 1 << 40)  # a hole
    os.close(fd)
    os.close(source)
    cli(store, "sync", limited)
    assert used(store) == QUOTA == on_disk(limited)
    info = os.statvfs(limited)
    assert info.f_blocks * info.f_frsize == QUOTA and info.f_bavail == 0
    assert os.statvfs(os.path.dirname(limited)).f_bavail > 0
    os.unlink(limited + "/b")
    assert used(store) == 4 * MIB
    assert write(limited + "/c", 4 * MIB) == "ok" and write(limited + "/c", 4096, 8 * MIB) == "EDQUOT"
    cli(store, "dataset", "set", "d", "--quota", "none")
    assert write(limited + "/c", 4096, 8 * MIB) == "ok"


def test_an_import_ends_at_the_quota(limited, store):
    os.makedirs(store.area + "/tree")
    os.makedirs(store.area + "/large")
    for number in range(30):
        with open(f"{store.area}/tree/{number}", "wb") as handle:
            handle.write(os.urandom(300 * KIB))
    with open(store.area + "/large/file", "wb") as handle:
        handle.write(os.urandom(20 * MIB))
    for source in ("tree", "large"):
        result = store.run("-s", store.path, "import", f"{store.area}/{source}", f"d/{source}")
        assert result.code == program.NO_SPACE and "quota" in result.err, result
        assert used(store) <= QUOTA
    cli(store, "sync", limited)
    check(limited, store)


def change(fs, chance):
    """Something at random; names are few, so that files meet."""
    path, other = (f"{fs}/{chance.randrange(6)}" for _ in range(2))
    size, offset = chance.randrange(1, 400 * KIB), chance.randrange(MIB)
    kind = chance.randrange(10)
    if kind < 4:
        return write(path, size, offset)
    if kind == 4:
        return write(path, chance.randrange(1, 3000), chance.randrange(2000))
    if kind == 5:
        return posix.outcome(os.truncate, path, offset)
    if kind == 6:
        return posix.outcome(os.unlink, path)
    if kind == 7:
        return posix.outcome(os.rename, path, other)
    if kind == 8:
        return posix.outcome(os.link, path, other)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        return posix.outcome(posix.fallocate, fd, chance.choice((0, 1, 3)), offset, size)
    finally:
        os.close(fd)


def fill(path, size):
    """Until all is written, or an error."""
    def write_all():
        with open(path, "wb", buffering=0) as handle:
            data = memoryview(os.urandom(size))
            while data:
                data = data[handle.write(data) :]

    return posix.outcome(write_all)


def fill_and_remove(fs, way):
    """Most of the quota, then what takes it back."""
    size = 6 * MIB
    if way == "rename":
        assert fill(fs + "/a", size // 2) == "ok" == fill(fs + "/b", size // 2)
        os.rename(fs + "/b", fs + "/a")
        os.unlink(fs + "/a")
        return
    assert fill(fs + "/a", size) == "ok"
    if way == "truncate":
        os.truncate(fs + "/a", 0)
    elif way == "unlink":
        os.unlink(fs + "/a")
    elif way == "close":
        fd = os.open(fs + "/a", os.O_RDWR)
        os.pread(fd, 10, 0)
        os.unlink(fs + "/a")
        os.close(fd)
    else:
        os.close(os.open(fs + "/a", os.O_WRONLY | os.O_TRUNC))


@pytest.mark.sanitize
@pytest.mark.kinds("way")
@pytest.mark.parametrize("way", ["unlink", "close", "rename", "truncate", "open"])
def test_what_was_removed_makes_room_at_once(limited, way):
    """Also while the kernel has not told yet that a file is closed, or its content is on its way to the disk."""
    for _ in range(5):
        fill_and_remove(limited, way)
        assert fill(limited + "/new", 6 * MIB) == "ok"
        os.unlink(limited + "/new")


def test_a_removed_file_that_is_open_counts(limited):
    fd = os.open(limited + "/a", os.O_RDWR | os.O_CREAT)
    assert os.pwrite(fd, os.urandom(6 * MIB), 0) == 6 * MIB
    os.unlink(limited + "/a")
    assert fill(limited + "/b", 6 * MIB) == "EDQUOT"
    os.close(fd)
    assert fill(limited + "/b", 6 * MIB) == "ok"


@pytest.mark.sanitize
def test_the_count_is_exact_whatever_happens(limited, store, steps):
    """Random changes, snapshots, rollbacks; a daemon that is killed."""
    chance, outcomes = random.Random(5), set()
    cli(store, "dataset", "set", "d", "--quota", "1536K")
    for turn in range(6):
        for _ in range(40 * steps):
            outcomes.add(change(limited, chance))
        if turn == 1:
            cli(store, "snapshot", "create", "d@s")
        if turn == 3:
            cli(store, "rollback", "d@s")
            store.umount()  # what had been removed, and was open when the snapshot was taken, goes with the next mount
            store.mount(store.area + "/mnt")
        if turn == 4:
            cli(store, "sync", limited)
            store.kill()
            store.mount(store.area + "/mnt")
        cli(store, "sync", limited)
        check(limited, store, 1536 * KIB)
    assert "EDQUOT" in outcomes, outcomes
    cli(store, "clone", "d@s", "e")
    assert next(row for row in rows(store, "dataset", "list") if row["name"] == "e")["quota"] is None
