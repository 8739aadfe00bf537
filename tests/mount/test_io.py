"""Reading and writing in all the ways there are: offsets, holes, mappings, direct, append, unnamed files, handles, locks."""

import ctypes
import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
import sys

import pytest

from harness import posix, program, tree
from harness.files import create, get, put

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.sanitize
@pytest.mark.kinds("size")
@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 4095, 4096, 4097, 16383, 65535, 65536, 65537, 262144, 262145, MIB, MIB + 1, 5 * MIB + 3])
def test_sizes_around_every_limit_round_trip(fs, store, size):
    data = random.Random(size).randbytes(size)
    put(fs + "/file", data)
    assert get(fs + "/file") == data
    store.umount()
    store.mount(store.area + "/mnt")
    assert os.stat(fs + "/file").st_size == size
    assert get(fs + "/file") == data


@pytest.mark.sanitize
@pytest.mark.kinds("flags")
@pytest.mark.parametrize("flags", [0, os.O_DIRECT, os.O_SYNC, os.O_DSYNC])
def test_random_writes_equal_those_to_a_buffer(fs, store, flags):
    chance = random.Random(flags)
    expected = bytearray()
    fd = create(fs + "/file", flags=flags)
    for _ in range(300 // program.scale()):
        kind = chance.random()
        offset, length = chance.randrange(3 * MIB), int(2 ** chance.uniform(0, 17))
        if kind < 0.8:
            data = chance.randbytes(length)
            os.pwrite(fd, data, offset)
            if len(expected) < offset:
                expected.extend(bytes(offset - len(expected)))
            expected[offset : offset + length] = data
        elif kind < 0.9:
            os.ftruncate(fd, offset)
            expected[:] = expected[:offset] + bytes(max(0, offset - len(expected)))
        else:
            assert os.pread(fd, length, offset) == expected[offset : offset + length]
    os.close(fd)
    assert get(fs + "/file") == expected
    store.umount()
    store.mount(store.area + "/mnt")
    assert get(fs + "/file") == expected


def test_a_second_descriptor_reads_what_the_first_wrote(d):
    fd = create(d + "/file")
    other = os.open(d + "/file", os.O_RDONLY)
    for number in range(200):
        os.write(fd, b"%08d" % number)
        assert os.pread(other, 8, number * 8) == b"%08d" % number
        assert os.fstat(other).st_size == (number + 1) * 8
    os.close(fd)
    os.close(other)


def test_appends_of_several_processes_are_all_there(d):
    script = (
        "import os,sys\nfd=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\n"
        "for n in range(300): os.write(fd,b'%s%05d\\n'%(sys.argv[2].encode(),n))"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, d + "/log", name]) for name in "abcd"]
    assert [process.wait(60) for process in running] == [0] * 4
    assert sorted(get(d + "/log").decode().split()) == sorted(f"{name}{n:05d}" for name in "abcd" for n in range(300))


def test_direct_io_takes_any_alignment(d):
    data = os.urandom(100003)
    fd = create(d + "/file", flags=os.O_DIRECT)
    assert os.pwrite(fd, data, 0) == len(data)
    for offset, length in ((0, 1), (1, 513), (4095, 2), (99999, 100), (100003, 5)):
        assert os.pread(fd, length, offset) == data[offset : offset + length]
    assert os.pwrite(fd, b"xyz", 777) == 3
    os.close(fd)
    assert get(d + "/file") == data[:777] + b"xyz" + data[780:]


def test_direct_and_buffered_io_see_each_other(d):
    fd, direct = create(d + "/file", b"a" * 20000), os.open(d + "/file", os.O_RDWR | os.O_DIRECT)
    chance = random.Random(1)
    expected = bytearray(b"a" * 20000)
    for number in range(200):
        offset, data = chance.randrange(19000), chance.randbytes(chance.randrange(1, 1000))
        os.pwrite((fd, direct)[number % 2], data, offset)
        expected[offset : offset + len(data)] = data
        assert os.pread((direct, fd)[number % 2], 20000, 0) == expected
    os.close(fd)
    os.close(direct)


def test_shared_mapping_is_written_back(fs, store):
    fd = create(fs + "/file", bytes(3 * MIB))
    with mmap.mmap(fd, 0) as area:
        os.close(fd)
        for offset in range(0, 3 * MIB, 4096):
            area[offset : offset + 8] = b"%08d" % offset
        assert get(fs + "/file")[4096:4104] == b"00004096"
    store.umount()
    store.mount(store.area + "/mnt")
    data = get(fs + "/file")
    assert all(data[offset : offset + 8] == b"%08d" % offset for offset in range(0, 3 * MIB, 4096))


def test_private_mapping_leaves_the_file_alone(d):
    fd = create(d + "/file", b"a" * 10000)
    with mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE) as area:
        area[0:5] = b"other"
    assert get(d + "/file") == b"a" * 10000
    os.close(fd)


def test_mapping_sees_writes_and_writes_see_the_mapping(d):
    fd = create(d + "/file", b"a" * 8192)
    with mmap.mmap(fd, 0) as area:
        os.pwrite(fd, b"written", 100)
        assert area[100:107] == b"written"
        area[200:206] = b"mapped"
        assert os.pread(fd, 6, 200) == b"mapped"
    os.close(fd)


def test_mapping_beyond_a_truncate_reads_zeros_when_grown_again(d):
    fd = create(d + "/file", b"a" * 8192)
    with mmap.mmap(fd, 8192) as area:
        area[100] = 98
        os.ftruncate(fd, 50)
        os.ftruncate(fd, 8192)
        assert area[:] == b"a" * 50 + bytes(8142)
    assert get(d + "/file") == b"a" * 50 + bytes(8142)
    os.close(fd)


@pytest.mark.parametrize("flags", [os.O_CREAT | os.O_EXCL, os.O_TRUNC, 0], ids=["new", "emptied", "as-it-was"])
def test_readers_and_mappings_see_what_a_mere_writer_wrote(d, flags):
    if not flags & os.O_CREAT:
        os.close(create(d + "/file", b"b" * 50000))
    fd = os.open(d + "/file", os.O_WRONLY | flags, 0o644)
    os.pwrite(fd, b"a" * 100000, 0)
    reader = os.open(d + "/file", os.O_RDONLY)
    chance, expected = random.Random(1), bytearray(b"a" * 100000)
    with mmap.mmap(reader, 0, prot=mmap.PROT_READ) as area:
        for _ in range(300):
            assert area[:] == expected
            assert os.pread(reader, 100000, 0) == expected
            offset, data = chance.randrange(99000), chance.randbytes(chance.randrange(1, 1000))
            assert os.pwrite(fd, data, offset) == len(data)
            expected[offset : offset + len(data)] = data
    os.close(fd)
    assert os.pread(reader, 100000, 0) == expected
    os.close(reader)


@pytest.mark.kinds("flags", "each")
@pytest.mark.parametrize("access", [os.O_WRONLY, os.O_RDWR], ids=["write-only", "read-write"])
@pytest.mark.parametrize("flags, each", [(os.O_DSYNC, 0), (os.O_SYNC, 0), (0, os.RWF_DSYNC), (0, os.RWF_SYNC)], ids=["dsync", "sync", "rwf-dsync", "rwf-sync"])
def test_synchronous_writes_are_there_after_kill_9(fs, store, access, flags, each):
    fd = os.open(fs + "/file", access | os.O_CREAT | flags, 0o644)
    expected = b""
    for number in range(20):
        data = b"%d," % number * 500
        assert os.pwritev(fd, [data], len(expected), each) == len(data)
        expected += data
    store.kill()
    posix.outcome(os.close, fd)
    store.mount(store.area + "/mnt")
    assert get(fs + "/file") == expected


def test_mere_writer_and_mapping_share_a_page(d):
    """Stores into a page and writes to it, from two processes, are all there."""
    fd = create(d + "/file", bytes(4096))
    child = os.fork()
    if child == 0:
        with mmap.mmap(fd, 0) as area:
            for number in range(200000):
                area[2048 + number % 256] = number // 256 % 256
        os._exit(0)
    writer = os.open(d + "/file", os.O_WRONLY)
    count = 0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        os.pwrite(writer, struct.pack("<Q", count), 8 * (count % 128))
        count += 1
    os.close(writer)
    last = 200000 - 256
    assert get(d + "/file")[2048:2304] == bytes((last + (i - last) % 256) // 256 % 256 for i in range(256))
    for slot in range(min(128, count)):
        assert struct.unpack("<Q", get(d + "/file")[8 * slot : 8 * slot + 8])[0] == (count - 1 - slot) // 128 * 128 + slot
    os.close(fd)


@pytest.mark.sanitize
def test_removed_file_lives_until_it_is_closed(fs):
    fd = create(fs + "/file", b"before")
    os.unlink(fs + "/file")
    os.write(fd, b" and after" * 10000)
    assert os.pread(fd, 16, 0) == b"before and after"
    os.ftruncate(fd, 3)
    assert os.fstat(fd).st_size == 3 and os.fstat(fd).st_nlink == 0
    os.fchmod(fd, 0o600)
    os.setxattr(fd, "user.a", b"b")
    assert os.getxattr(fd, "user.a") == b"b"
    assert os.listdir(fs) == []
    os.fsync(fd)
    os.close(fd)


def test_replaced_file_lives_until_it_is_closed(d):
    fd = create(d + "/old", b"old" * 100000)
    put(d + "/new", b"new")
    os.rename(d + "/new", d + "/old")
    assert os.pread(fd, 300000, 0) == b"old" * 100000
    assert get(d + "/old") == b"new"
    os.close(fd)


def test_removed_directory_that_is_open_refuses_new_names(pair):
    results = []
    for root in pair:
        os.mkdir(root + "/dir")
        fd = os.open(root + "/dir", os.O_RDONLY)
        os.rmdir(root + "/dir")
        results.append((os.listdir(fd), posix.outcome(os.mkdir, "x", dir_fd=fd), os.fstat(fd).st_nlink))
        results[-1] += (posix.outcome(os.open, "f", os.O_CREAT | os.O_RDWR, dir_fd=fd), posix.outcome(os.stat, "..", dir_fd=fd))
        os.close(fd)
    assert results[0] == results[1]


def test_unnamed_file_can_be_given_a_name(pair):
    results = []
    for root in pair:
        try:
            fd = os.open(root, os.O_TMPFILE | os.O_RDWR, 0o640)
        except OSError as problem:
            results.append(problem.errno)
            continue
        os.write(fd, b"unnamed" * 1000)
        info = os.fstat(fd)
        state = [info.st_nlink, oct(info.st_mode), os.listdir(root)]
        posix.linkat_fd(fd, root + "/named")
        os.write(fd, b"!")
        os.close(fd)
        results.append(state + [get(root + "/named"), os.stat(root + "/named").st_nlink])
        exclusive = os.open(root, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
        results[-1].append(posix.outcome(posix.linkat_fd, exclusive, root + "/two"))
        os.close(exclusive)
    if results[0] == errno.EOPNOTSUPP:
        pytest.skip("this kernel offers no O_TMPFILE over FUSE")
    assert results[0] == results[1]


def test_handles_survive_dropped_caches(fs, store):
    os.mkdir(fs + "/dir")
    put(fs + "/dir/file", b"by handle")
    handles = {name: posix.name_to_handle(f"{fs}/{name}") for name in ("dir", "dir/file")}
    mount = os.open(os.path.dirname(fs), os.O_RDONLY)
    posix.drop_caches()
    fd = posix.open_by_handle(mount, handles["dir/file"])
    assert os.read(fd, 100) == b"by handle"
    os.close(fd)
    fd = posix.open_by_handle(mount, handles["dir"], os.O_RDONLY | os.O_DIRECTORY)
    assert os.listdir(fd) == ["file"] and os.stat("..", dir_fd=fd).st_ino == os.stat(fs).st_ino
    os.close(fd)
    os.unlink(fs + "/dir/file")
    posix.drop_caches()
    assert posix.outcome(posix.open_by_handle, mount, handles["dir/file"]) == "ESTALE"
    os.close(mount)


def test_open_files_survive_dropped_caches(d):
    fds = []
    for number in range(50):
        fds.append(create(f"{d}/{number}", b"%d" % number))
    posix.drop_caches()
    for number, fd in enumerate(fds):
        assert os.pread(fd, 10, 0) == b"%d" % number == get(f"{d}/{number}")
        os.close(fd)


def in_child(function):
    """Runs a function in a child process; True if it returned true."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if function() else 1)
        except BaseException:  # pylint: disable=broad-except
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_flock_excludes_other_processes(d):
    def blocked():
        with open(d + "/file", "rb") as handle:
            return posix.outcome(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB) == "EAGAIN"

    with open(d + "/file", "wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert in_child(blocked)
        fcntl.flock(handle, fcntl.LOCK_UN)
        assert not in_child(blocked)


def test_record_locks_exclude_other_processes_in_their_range(d):
    def blocked(start):
        with open(d + "/file", "r+b") as handle:
            return posix.outcome(fcntl.lockf, handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, start) == "EAGAIN"

    with open(d + "/file", "wb") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX, 100, 100)
        assert in_child(lambda: blocked(150)) and not in_child(lambda: blocked(0)) and not in_child(lambda: blocked(200))


def test_open_file_description_locks(d):
    def lock(fd, kind):
        return fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", kind, 0, 0, 0, 0))  # F_OFD_SETLK

    first, second = create(d + "/file"), create(d + "/file")
    lock(first, fcntl.F_WRLCK)
    assert posix.outcome(lock, second, fcntl.F_WRLCK) == "EAGAIN"
    lock(first, fcntl.F_UNLCK)
    lock(second, fcntl.F_WRLCK)
    os.close(first)
    os.close(second)


def test_xattrs_at_their_limits(pair):
    """Names of 255 bytes; values as large as Linux lets through, which is more than ext4 can hold."""
    mounted, reference = pair
    put(mounted + "/file", b"")
    put(reference + "/file", b"")
    big = os.urandom(65536)
    os.setxattr(mounted + "/file", "user.big", big)
    assert os.getxattr(mounted + "/file", "user.big") == big
    os.removexattr(mounted + "/file", "user.big")
    results = []
    for root in pair:
        path, rows = root + "/file", []
        for name, value, flags in [
            ("user." + "n" * 250, b"v", 0), ("user." + "n" * 251, b"v", 0), ("user.", b"v", 0), ("user.a", b"", 0), ("user.a", b"x" * 65537, 0),
            ("user.a", b"1", os.XATTR_CREATE), ("user.a", b"2", os.XATTR_REPLACE), ("user.b", b"2", os.XATTR_REPLACE), ("user.c", b"2", os.XATTR_CREATE),
            ("trusted.t", b"1", 0), ("security.s", b"1", 0), ("other.o", b"1", 0), ("noprefix", b"1", 0),
        ]:  # fmt: skip
            rows.append((name[:20], flags, posix.outcome(os.setxattr, path, name, value, flags)))
        rows.append(sorted((n, os.getxattr(path, n)) for n in os.listxattr(path)))
        rows.append([posix.outcome(os.getxattr, path, name) for name in ("user.a", "user.none", "other.o", "trusted.none")])
        rows.append([posix.outcome(os.removexattr, path, name) for name in ("user.a", "user.a", "other.o")])
        results.append(rows)
    assert results[0] == results[1]


def test_many_xattrs_are_listed_and_kept(fs, store):
    put(fs + "/file", b"")
    wanted = {f"user.{number}": os.urandom(number) for number in range(500)}
    for name, value in wanted.items():
        os.setxattr(fs + "/file", name, value)
    store.umount()
    store.mount(store.area + "/mnt")
    assert {name: os.getxattr(fs + "/file", name) for name in os.listxattr(fs + "/file")} == wanted


def test_xattr_asked_with_too_small_a_buffer(d):
    put(d + "/file", b"")
    os.setxattr(d + "/file", "user.a", b"12345")
    buffer = ctypes.create_string_buffer(3)
    assert posix.LIBC.getxattr(posix.raw(d + "/file"), b"user.a", buffer, 3) == -1 and ctypes.get_errno() == errno.ERANGE
    assert posix.LIBC.getxattr(posix.raw(d + "/file"), b"user.a", None, 0) == 5
    assert posix.LIBC.listxattr(posix.raw(d + "/file"), buffer, 3) == -1 and ctypes.get_errno() == errno.ERANGE


def test_file_size_limit_of_the_process(pair):
    import resource
    import signal

    def limited(path):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        return os.write(fd, bytes(20000)) == 10000 and posix.outcome(os.write, fd, b"x") == posix.outcome(os.truncate, path, 10001) == "EFBIG"

    for root in pair:
        assert in_child(lambda root=root: limited(root + "/file"))
        assert os.stat(root + "/file").st_size == 10000


def test_statfs_says_what_the_limits_are(d):
    info = os.statvfs(d)
    assert info.f_namemax == 255
    assert info.f_blocks >= info.f_bfree >= info.f_bavail > 0 and info.f_bsize > 0


def test_pathconf_and_fsync_of_all_kinds(d):
    fd = create(d + "/file", b"x")
    os.fsync(fd)
    os.fdatasync(fd)
    os.close(fd)
    fd = os.open(d, os.O_RDONLY)
    os.fsync(fd)
    os.fdatasync(fd)
    os.close(fd)
    os.sync()


def test_scan_of_a_tree_with_everything_is_repeatable(d):
    os.mkdir(d + "/dir")
    put(d + "/dir/file", b"x")
    os.link(d + "/dir/file", d + "/second")
    os.symlink("x" * 4095, d + "/link")
    assert tree.differences(tree.scan(d), tree.scan(d)) == [] and os.readlink(d + "/link") == "x" * 4095
