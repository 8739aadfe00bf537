"""Which times a call changes: the same calls on the mount and on ext4 must change the same ones, of the object and of its directories.
Access times are not compared: like other network filesystems the mount does not follow reads."""

import mmap
import os
import stat
import time

import pytest

from harness import posix, procs

OLD = (10**9, 123456789)


def tick(root):
    """Waits until the filesystem's clock has moved on, so that a change of a time shows."""
    probe = root + "/.tick"
    with open(probe, "wb"):
        pass
    before = os.stat(probe).st_ctime_ns
    procs.poll(lambda: os.chmod(probe, 0o600) or os.stat(probe).st_ctime_ns > before, 20, "the clock moves", 0.001)
    os.unlink(probe)


def write(path, data=b"new", flags=os.O_WRONLY, offset=0):
    fd = os.open(path, flags, 0o644)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


def on_fd(path, function, flags=os.O_RDWR):
    fd = os.open(path, flags, 0o644)
    try:
        function(fd)
    finally:
        os.close(fd)


def map_write(fd):
    with mmap.mmap(fd, 0) as area:
        area[0:1] = b"x"
        area.flush()


def copy_range(root):
    source = os.open(root + "/dir/other", os.O_RDONLY)
    on_fd(root + "/dir/file", lambda fd: os.copy_file_range(source, fd, 3, 0, 0))
    os.close(source)


CALLS = {
    "chmod": lambda r: os.chmod(r + "/dir/file", 0o600),
    "chmod_same": lambda r: os.chmod(r + "/dir/file", 0o644),
    "chmod_dir": lambda r: os.chmod(r + "/dir/sub", 0o700),
    "fchmod": lambda r: on_fd(r + "/dir/file", lambda fd: os.fchmod(fd, 0o600)),
    "chown": lambda r: os.chown(r + "/dir/file", 1, 1),
    "chown_same": lambda r: os.chown(r + "/dir/file", 0, 0),
    "chown_nothing": lambda r: os.chown(r + "/dir/file", -1, -1),
    "lchown": lambda r: os.lchown(r + "/dir/link", 1, 1),
    "link": lambda r: os.link(r + "/dir/file", r + "/two/new"),
    "unlink": lambda r: os.unlink(r + "/dir/file"),
    "unlink_one_of_two": lambda r: os.unlink(r + "/dir/name2"),
    "rename": lambda r: os.rename(r + "/dir/file", r + "/two/new"),
    "rename_within": lambda r: os.rename(r + "/dir/file", r + "/dir/new"),
    "rename_over": lambda r: os.rename(r + "/dir/file", r + "/two/old"),
    "rename_over_linked": lambda r: os.rename(r + "/dir/other", r + "/dir/name2"),
    "rename_to_own_link": lambda r: os.rename(r + "/dir/name1", r + "/dir/name2"),
    "rename_dir": lambda r: os.rename(r + "/dir/sub", r + "/two/new"),
    "rename_exchange": lambda r: posix.renameat2(r + "/dir/file", r + "/two/old", posix.RENAME_EXCHANGE),
    "write": lambda r: write(r + "/dir/file"),
    "write_nothing": lambda r: write(r + "/dir/file", b""),
    "write_big": lambda r: write(r + "/dir/file", bytes(3 << 20)),
    "append": lambda r: write(r + "/dir/file", b"x", os.O_WRONLY | os.O_APPEND),
    "mmap": lambda r: on_fd(r + "/dir/file", map_write),
    "truncate": lambda r: os.truncate(r + "/dir/file", 3),
    "truncate_same": lambda r: os.truncate(r + "/dir/file", 10000),
    "truncate_grow": lambda r: os.truncate(r + "/dir/file", 20000),
    "ftruncate": lambda r: on_fd(r + "/dir/file", lambda fd: os.ftruncate(fd, 3)),
    "ftruncate_same": lambda r: on_fd(r + "/dir/file", lambda fd: os.ftruncate(fd, 10000)),
    "open_trunc": lambda r: on_fd(r + "/dir/file", lambda fd: None, os.O_WRONLY | os.O_TRUNC),
    "open_trunc_empty": lambda r: on_fd(r + "/dir/empty", lambda fd: None, os.O_WRONLY | os.O_TRUNC),
    "open_creat_existing": lambda r: on_fd(r + "/dir/file", lambda fd: None, os.O_WRONLY | os.O_CREAT),
    "open_creat": lambda r: on_fd(r + "/dir/new", lambda fd: None, os.O_WRONLY | os.O_CREAT),
    "open_read": lambda r: on_fd(r + "/dir/file", lambda fd: os.read(fd, 100), os.O_RDONLY),
    "mkdir": lambda r: os.mkdir(r + "/dir/new"),
    "rmdir": lambda r: os.rmdir(r + "/dir/sub"),
    "symlink": lambda r: os.symlink("x", r + "/dir/new"),
    "mkfifo": lambda r: os.mkfifo(r + "/dir/new"),
    "mknod": lambda r: os.mknod(r + "/dir/new", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "setxattr": lambda r: os.setxattr(r + "/dir/file", "user.a", b"1"),
    "setxattr_again": lambda r: os.setxattr(r + "/dir/other", "user.x", b"2"),
    "removexattr": lambda r: os.removexattr(r + "/dir/other", "user.x"),
    "utime": lambda r: os.utime(r + "/dir/file", ns=(5, 6)),
    "utime_now": lambda r: os.utime(r + "/dir/file"),
    "utime_mtime_only": lambda r: posix.utimensat(r + "/dir/file", (0, posix.UTIME_OMIT), (7, 8)),
    "utime_omit": lambda r: posix.utimensat(r + "/dir/file", (0, posix.UTIME_OMIT), (0, posix.UTIME_OMIT)),
    "fallocate": lambda r: on_fd(r + "/dir/file", lambda fd: posix.fallocate(fd, 0, 0, 30000)),
    "fallocate_keep_size": lambda r: on_fd(r + "/dir/file", lambda fd: posix.fallocate(fd, posix.FALLOC_KEEP_SIZE, 20000, 4096)),
    "punch_hole": lambda r: on_fd(r + "/dir/file", lambda fd: posix.fallocate(fd, 3, 0, 4096)),
    "zero_range": lambda r: on_fd(r + "/dir/file", lambda fd: posix.fallocate(fd, posix.FALLOC_ZERO_RANGE, 0, 4096)),
    "copy_file_range": copy_range,
    # What fails changes nothing.
    "fail_unlink_dir": lambda r: os.unlink(r + "/dir/sub"),
    "fail_rmdir_full": lambda r: os.rmdir(r + "/dir"),
    "fail_mkdir": lambda r: os.mkdir(r + "/dir/file"),
    "fail_link": lambda r: os.link(r + "/dir/file", r + "/dir/other"),
    "fail_rename": lambda r: os.rename(r + "/dir/file", r + "/dir/sub"),
    "fail_symlink": lambda r: os.symlink("x", r + "/dir/file"),
    "fail_open_excl": lambda r: os.open(r + "/dir/file", os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    "fail_chmod": lambda r: as_nobody(os.chmod, r + "/dir/file", 0o600),
    "fail_chown": lambda r: as_nobody(os.chown, r + "/dir/file", 1, 1),
    "fail_truncate": lambda r: as_nobody(os.truncate, r + "/dir/file", 0),
}


def as_nobody(function, *args):
    with posix.as_user(65534):
        function(*args)


def furnish(root):
    for name in ("dir", "two", "dir/sub"):
        os.mkdir(f"{root}/{name}")
    for name in ("dir/file", "dir/other", "two/old", "dir/name1"):
        write(f"{root}/{name}", bytes(10000), os.O_WRONLY | os.O_CREAT)
    write(root + "/dir/empty", b"", os.O_WRONLY | os.O_CREAT)
    os.link(root + "/dir/name1", root + "/dir/name2")
    os.symlink("file", root + "/dir/link")
    os.setxattr(root + "/dir/other", "user.x", b"1")
    for folder, names, files in os.walk(root, topdown=False):
        for name in names + files:
            posix.utimensat(f"{folder}/{name}", OLD, OLD, posix.AT_SYMLINK_NOFOLLOW)


def times(root):
    found = {}
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = f"{folder}/{name}"
            info = os.lstat(path)
            found[os.path.relpath(path, root)] = info.st_mtime_ns, info.st_ctime_ns
    return found


# Linux keeps the times of files itself while it caches what is written, does not note such a truncation (fs/fuse/dir.c: fuse_do_setattr), and
# hears of them from the filesystem only when it has forgotten the file.
TOLD_LATER = ["truncate_same"]


def changes(root, call):
    """What a call did to the times: {path: which changed}, and its outcome."""
    furnish(root)
    before = times(root)
    tick(root)
    low = time.clock_gettime_ns(time.CLOCK_REALTIME) - 10**8
    result = posix.outcome(CALLS[call], root)
    if call in TOLD_LATER:
        posix.drop_caches()
    after = times(root)
    rows = {}
    for path, (mtime, ctime) in after.items():
        old = before.get(path)
        if old is None:
            rows[path] = "new, " + ("now" if mtime > low and ctime > low else "or moved")
        elif old != (mtime, ctime):
            kind = "now" if mtime > low else mtime
            rows[path] = ("mtime " + str(kind) if mtime != old[0] else "") + (" ctime" if ctime > old[1] else "")
    return result, rows


@pytest.mark.sanitize
@pytest.mark.parametrize("call", CALLS)
def test_call_changes_the_same_times_as_on_ext4(pair, call):
    mounted, reference = (changes(root, call) for root in pair)
    assert mounted == reference


@pytest.mark.parametrize("value", [0, 1, 10**9 + 1, 2**31 * 10**9 + 7, 2**32 * 10**9 + 999999999, -1, -(2**31) * 10**9, 15 * 10**18 // 10])
def test_times_are_kept_to_the_nanosecond(fs, store, value):
    with open(fs + "/file", "wb"):
        pass
    os.utime(fs + "/file", ns=(value, value))
    assert os.stat(fs + "/file").st_mtime_ns == value
    point = store.points[0]
    store.umount()
    store.mount(point)
    assert (os.stat(fs + "/file").st_mtime_ns, os.stat(fs + "/file").st_atime_ns) == (value, value)


def test_times_set_after_writing_survive_the_write_back(fs, store):
    """What cp -p does: write, then set times, then close. Dirty pages that come out later may not move them."""
    with open(fs + "/file", "wb") as handle:
        handle.write(bytes(1 << 20))
        handle.flush()
        os.utime(fs + "/file", ns=(5, 6))
    assert os.stat(fs + "/file").st_mtime_ns == 6
    store.umount()
    store.mount(store.area + "/mnt")
    assert os.stat(fs + "/file").st_mtime_ns == 6


def test_size_and_times_agree_between_descriptor_and_path(fs):
    with open(fs + "/file", "wb", buffering=0) as handle:
        for count in range(1, 20):
            handle.write(b"x" * 1000)
            assert os.stat(fs + "/file").st_size == os.fstat(handle.fileno()).st_size == count * 1000
            assert os.stat(fs + "/file").st_mtime_ns == os.fstat(handle.fileno()).st_mtime_ns
