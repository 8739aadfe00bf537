"""A user who may do nothing tries everything, at random, beside the owner's work: nothing of others changes, and the daemon lives."""

import errno
import fcntl
import mmap
import os
import random
import signal
import socket
import stat
import struct

import pytest

from harness import counts, posix, procs, program, tree
from harness.repository import SECRETS, Repository

NOBODY = 65534
CALLS = 1500
XATTRS = [
    "user.x", "user.corpusfs.identity", "user.corpusfs.sha256", "user.corpusfs.", "security.capability", "security.selinux", "trusted.x",
    "system.posix_acl_access", "system.posix_acl_default", "corpusfs.x", "user." + "n" * 250, "x", "",
]  # fmt: skip
# FS_IOC_GETFLAGS, SETFLAGS, GETVERSION, FSGETXATTR, FSSETXATTR, FIEMAP, FICLONE, FICLONERANGE, FIDEDUPERANGE, FIFREEZE, FITHAW, FITRIM, FIONREAD, and none
IOCTLS = [0x80086601, 0x40086602, 0x80087601, 0x801C581F, 0x401C5820, 0xC020660B, 0x40049409, 0x4020940D, 0xC0189436, 0xC0045877, 0xC0045878, 0xC0185879,
          0x541B, 0x0000E501, 0xC0FFE5FF]  # fmt: skip


@pytest.fixture(name="others")
def _others(fs, store):
    """The owner's dataset with a snapshot; `d/open` is everybody's."""
    os.makedirs(fs + "/private/deep")
    os.mkdir(fs + "/open")
    for path, mode, size in (("private/secret", 0o600, 300000), ("private/deep/small", 0o600, 100), ("readable", 0o644, 300000), ("closed", 0o000, 5000)):
        with open(f"{fs}/{path}", "wb") as handle:
            handle.write(random.Random(path).randbytes(size))
        os.chmod(f"{fs}/{path}", mode)
    os.chmod(fs + "/private", 0o700)
    os.chmod(fs + "/open", 0o1777)
    os.symlink("private/secret", fs + "/link")
    store.ok("-s", store.path, "snapshot", "create", "d@v")
    store.ok("-s", store.path, "clone", "d@v", "e")
    return fs


class Hostile:
    """Each do_* is one call with arguments made up; whatever it answers but a wrong success is fine."""

    def __init__(self, fs, seed):
        self.fs, self.chance, self.count = fs, random.Random(seed), 0
        self.fds = []

    def path(self):
        top = self.chance.choice((self.fs, self.fs, os.path.dirname(self.fs) + "/e", self.fs + "/.snapshots/v", self.fs + "/.snapshots"))
        name = self.chance.choice(("", "/private", "/private/secret", "/private/deep/small", "/readable", "/closed", "/link", "/open", "/open/mine",
                                   "/open/dir", "/open/dir/below", "/open/new", "/.snapshots", "/.snapshots/v", "/.snapshots/new", "/.snapshots/../../e",
                                   "/open/.snapshots", "/" + "l" * 255, "/" + "l" * 256, "/open/" + "p/" * 40))  # fmt: skip
        return top + name

    def fd(self):
        if self.fds and self.chance.random() < 0.8:
            return self.chance.choice(self.fds)
        self.do_open()
        return self.chance.choice(self.fds) if self.fds else -1

    def number(self):
        return self.chance.choice((0, 1, -1, 4095, 4096, 70000, 1 << 20, 1 << 31, (1 << 62) + 7, (1 << 63) - 1, -(1 << 63), self.chance.randrange(400000)))

    def do_open(self):
        flags = self.chance.choice((os.O_RDONLY, os.O_RDWR, os.O_WRONLY)) | self.chance.choice((0, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_DIRECT, os.O_PATH,
                os.O_TMPFILE, os.O_CREAT | os.O_EXCL, os.O_DIRECTORY, os.O_NOATIME, os.O_SYNC))  # fmt: skip
        self.keep(os.open(self.path(), flags | os.O_NONBLOCK, self.chance.choice((0, 0o600, 0o4777, 0o7777))))

    def keep(self, fd):
        self.fds.append(fd)
        if len(self.fds) > 20:
            os.close(self.fds.pop(self.chance.randrange(10)))

    def do_open_again(self):
        """By /proc, with other rights than the descriptor has."""
        self.keep(os.open(f"/proc/self/fd/{self.fd()}", self.chance.choice((os.O_RDWR, os.O_RDONLY, os.O_WRONLY | os.O_TRUNC)) | os.O_NONBLOCK))

    def do_link_fd(self):
        posix.linkat_fd(self.fd(), self.path())

    def do_handle(self):
        handle = posix.name_to_handle(self.path(), posix.AT_EMPTY_PATH)
        self.keep(posix.open_by_handle(self.fd(), handle, os.O_RDWR))

    def do_read(self):
        os.pread(self.fd(), self.chance.choice((1, 4096, 1 << 20)), self.number())

    def do_write(self):
        os.pwrite(self.fd(), self.chance.randbytes(self.chance.choice((1, 4096, 100000))), self.number() % (1 << 24))

    def do_fallocate(self):
        posix.fallocate(self.fd(), self.chance.randrange(256), self.number(), self.number() % (1 << 24))

    def do_seek(self):
        os.lseek(self.fd(), self.number(), self.chance.randrange(7))

    def do_copy(self):
        os.copy_file_range(self.fd(), self.fd(), self.chance.choice((1, 70000, 1 << 30)), self.number() % (1 << 22), self.number() % (1 << 22))

    def do_sendfile(self):
        os.sendfile(self.fd(), self.fd(), 0, 100000)

    def do_truncate(self):
        self.chance.choice((lambda: os.truncate(self.path(), self.number() % (1 << 40)), lambda: os.ftruncate(self.fd(), self.number() % (1 << 40))))()

    def do_ioctl(self):
        request, argument = self.chance.choice(IOCTLS), bytearray(self.chance.randbytes(64))
        if request in (0x40049409, 0x4020940D):
            argument = struct.pack("qQQQ", self.fd(), 0, self.chance.choice((0, 4096)), 0) if request == 0x4020940D else self.fd()
        elif request == 0xC0189436:
            argument = bytearray(struct.pack("QQHHIqQQiI", 0, 65536, 1, 0, 0, self.fd(), 0, 0, 0, 0))
        fcntl.ioctl(self.fd(), request, argument)

    def do_lock(self):
        kind = self.chance.randrange(3)
        if kind == 0:
            fcntl.flock(self.fd(), self.chance.choice((fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN)) | fcntl.LOCK_NB)
        elif kind == 1:
            kind = self.chance.choice((fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN))
            fcntl.lockf(self.fd(), kind | fcntl.LOCK_NB, abs(self.number()) % 9, abs(self.number()) % 99)
        else:  # leases, notes, pipes, seals, locks of descriptors
            fcntl.fcntl(self.fd(), self.chance.choice((1024, 1025, 1026, 1033, 1034, 37, 36)), self.chance.randrange(64))

    def do_xattr(self):
        name, follow = self.chance.choice(XATTRS), self.chance.random() < 0.5
        value = self.chance.choice((b"", b"x", b"\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff", self.chance.randbytes(60000)))
        self.chance.choice((
            lambda: os.setxattr(self.path(), name, value, self.chance.randrange(4), follow_symlinks=follow),
            lambda: os.getxattr(self.path(), name, follow_symlinks=follow), lambda: os.removexattr(self.path(), name, follow_symlinks=follow),
            lambda: os.listxattr(self.path(), follow_symlinks=follow),
        ))()  # fmt: skip

    def do_names(self):
        self.chance.choice((
            lambda: os.mkdir(self.path()), lambda: os.rmdir(self.path()), lambda: os.unlink(self.path()), lambda: os.symlink(self.path(), self.path()),
            lambda: os.link(self.path(), self.path(), follow_symlinks=False), lambda: os.mknod(self.path(), 0o060666, os.makedev(7, 0)),
            lambda: os.mkfifo(self.path()), lambda: posix.renameat2(self.path(), self.path(), self.chance.randrange(8)), lambda: os.listdir(self.path()),
        ))()  # fmt: skip

    def do_attributes(self):
        self.chance.choice((
            lambda: os.chmod(self.path(), self.chance.randrange(0o10000)), lambda: os.chown(self.path(), self.chance.choice((0, NOBODY, -1)), 0),
            lambda: os.utime(self.path(), ns=(abs(self.number()), abs(self.number()))), lambda: os.fchmod(self.fd(), 0o4777), lambda: os.stat(self.path()),
            lambda: os.statvfs(self.path()), lambda: os.fsync(self.fd()), lambda: os.access(self.path(), 7),
        ))()  # fmt: skip

    def do_map(self):
        fd = self.fd()
        size = os.fstat(fd).st_size
        with mmap.mmap(fd, min(size, 100000), prot=self.chance.choice((mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE))) as area:
            ends = os.pipe2(os.O_NONBLOCK)
            try:
                os.write(ends[1], area)  # the kernel gets EFAULT where we would be killed
            finally:
                os.close(ends[0])
                os.close(ends[1])

    def do_socket(self):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(self.path()[:100])

    def play(self, count):
        doings = [getattr(self, name) for name in dir(self) if name.startswith("do_")]
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        for _ in range(count):
            try:
                self.chance.choice(doings)()
            except OSError as problem:
                assert problem.errno not in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED), problem
            except (ValueError, OverflowError, RecursionError, SystemError):
                pass  # Python's own refusals


def run_as_nobody(fs, seed, count):
    """In a process of its own, which has no way back to root; its exit code."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        Hostile(fs, seed).play(count)
        code = 0
    except BaseException as problem:  # pylint: disable=broad-except
        os.write(2, f"seed {seed}: {problem!r}\n".encode())
    finally:
        os._exit(code)


def owned(fs):
    """What is the owner's, as it must stay."""
    clone = os.path.dirname(fs) + "/e"
    found = [tree.scan(root) for root in (fs + "/private", fs + "/.snapshots/v", clone + "/private")]
    for path in ("readable", "closed", "../e/readable"):
        with open(f"{fs}/{path}", "rb") as handle:
            found.append((handle.read(), os.stat(handle.fileno()).st_mode, os.stat(handle.fileno()).st_uid, os.listxattr(handle.fileno())))
    return found


@pytest.mark.sanitize
@pytest.mark.soak
@pytest.mark.timeout(90)
def test_nothing_of_others_changes(others, store, seed, rounds):
    before = owned(others)
    for number in range(rounds):
        print(f"seed {seed + number}")
        children = [run_as_nobody(others, 10 * (seed + number) + child, CALLS // program.scale()) for child in range(2)]
        for name in ("one", "two", "three"):
            store.ok("-s", store.path, "snapshot", "create", f"d@{name}")
            store.ok("-s", store.path, "gc")
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
        assert procs.alive(store.pid)
        assert owned(others) == before
        for name in ("one", "two", "three"):
            store.ok("-s", store.path, "snapshot", "destroy", f"d@{name}")
    counts.note({"calls of hostile users": 2 * rounds * (CALLS // program.scale())})
    store.ok("-s", store.path, "check")
    store.umount()
    store.ok("-s", store.path, "check")


@pytest.fixture(name="hers")
def _hers(store, area):
    """A dataset with a pipe in the directory `hers`; a directory `out`, in which `hers` is a user's; and a secret of root's."""
    store.create("d")
    point = store.mount()
    os.mkdir(point + "/d/hers", 0o755)
    os.mkfifo(point + "/d/hers/pipe")
    os.chmod(point + "/d/hers/pipe", 0o666)
    store.umount()
    os.makedirs(area + "/out/hers")
    os.chown(area + "/out/hers", NOBODY, NOBODY)
    with open(area + "/secret", "w", encoding="ascii"):
        os.chmod(area + "/secret", 0o600)
    return area + "/out/hers"


def put_link_in_the_way(store, hers, fault, *command):
    """While a command is about to give the pipe its mode, it becomes a link. The directory's owner and mode meanwhile."""
    with store.stopped_at(fault, "-s", store.path, *command, env=SECRETS):
        (name,) = [name for name in os.listdir(hers) if stat.S_ISFIFO(os.lstat(f"{hers}/{name}").st_mode)]
        status = os.stat(hers)
        os.remove(f"{hers}/{name}")
        os.symlink("../../secret", f"{hers}/{name}")
    return status.st_uid, stat.S_IMODE(status.st_mode)


def test_restore_by_root_changes_nothing_that_a_user_puts_in_its_way(store, area, hers):
    repository = Repository(store, area + "/repository")
    repository.backup("d")
    assert put_link_in_the_way(store, hers, "restore-before-attributes", "restore", repository.path, area + "/out") == (0, 0o700), "it is root's meanwhile"
    assert stat.S_IMODE(os.stat(area + "/secret").st_mode) == 0o600


def test_export_by_root_changes_nothing_that_a_user_puts_in_its_way(store, area, hers):
    put_link_in_the_way(store, hers, "export-before-attributes", "export", "d/hers", hers)
    assert stat.S_IMODE(os.stat(area + "/secret").st_mode) == 0o600
