"""System calls that Python's os module does not offer, and acting as another user."""

import contextlib
import ctypes
import errno
import os

from harness import procs

LIBC = ctypes.CDLL("libc.so.6", use_errno=True)

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE_RANGE, FALLOC_ZERO_RANGE, FALLOC_INSERT_RANGE = 1, 2, 8, 16, 32
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = -100, 0x100, 0x1000
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
HANDLE_MAX = 128


class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


class FileHandle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * HANDLE_MAX)]


def check(result, path=None):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def raw(path):
    return os.fsencode(path)


def renameat2(old, new, flags=0):
    check(LIBC.renameat2(AT_FDCWD, raw(old), AT_FDCWD, raw(new), ctypes.c_uint(flags)), old)


def fallocate(fd, mode, offset, length):
    check(LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def utimensat(path, atime, mtime, flags=0):
    """Times as (seconds, nanoseconds)."""
    times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    check(LIBC.utimensat(AT_FDCWD, raw(path), times, flags), path)


def name_to_handle(path, flags=0):
    handle, mount = FileHandle(HANDLE_MAX), ctypes.c_int()
    check(LIBC.name_to_handle_at(AT_FDCWD, raw(path), ctypes.byref(handle), ctypes.byref(mount), flags), path)
    return handle


def open_by_handle(mount_fd, handle, flags=os.O_RDONLY):
    return check(LIBC.open_by_handle_at(mount_fd, ctypes.byref(handle), flags))


def linkat_fd(fd, path):
    """Gives an O_TMPFILE file a name."""
    check(LIBC.linkat(AT_FDCWD, raw(f"/proc/self/fd/{fd}"), AT_FDCWD, raw(path), 0x400), path)


@contextlib.contextmanager
def as_user(uid, gid=None, groups=()):
    """Acts as another user in this process (the saved uid stays 0 for the way back), as every thread of it."""
    old_groups, gid = os.getgroups(), uid if gid is None else gid
    os.setgroups(list(groups))
    os.setresgid(gid, gid, 0)
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(old_groups)


@contextlib.contextmanager
def umask(mask):
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def outcome(function, *args, **options):
    """The name of the errno that a call fails with, or "ok"."""
    try:
        result = function(*args, **options)
    except OSError as problem:
        return errno.errorcode.get(problem.errno, str(problem.errno))
    if isinstance(result, int) and function is os.open:
        os.close(result)
    return "ok"


def answered(root):
    """Waits until a mount has answered all that was sent, among it that a file was closed, for which close(2) does not wait. At once elsewhere."""
    waiting = f"{procs.CONNECTIONS}/{os.minor(os.stat(root).st_dev)}/waiting"
    procs.poll(lambda: procs.read(waiting).strip() in (b"", b"0"), 10, "all is answered")


def drop_caches():
    """Makes the kernel forget what it may: page cache, entries, inodes."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as handle:
        handle.write("3")
