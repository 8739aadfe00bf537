"""Ranges of files: allocating, punching and zeroing, data and holes, copies, and how far offsets go."""

import concurrent.futures
import errno
import os
import random

import pytest

from harness import posix
from harness.files import create, get, put

KIB, MIB = 1 << 10, 1 << 20


MODES = {
    "allocate": 0, "keep_size": 1, "punch": 3, "zero": 16, "zero_keep_size": 17, "punch_alone": 2, "collapse": 8, "insert": 32, "unknown": 1 << 20,
}  # fmt: skip
RANGES = [(0, 4096), (0, 100000), (100, 200), (5000, 30000), (49000, 5000), (60000, 10000), (0, 0), (-1, 10), (10, -1), (4096, 8192), (65536, 65536)]


@pytest.mark.sanitize
@pytest.mark.kinds("mode")
@pytest.mark.parametrize("mode", [name for name in MODES if name not in ("collapse", "insert")])
def test_fallocate_equals_ext4(pair, mode):
    wrong = []
    for offset, length in RANGES:
        results = []
        for root in pair:
            fd = create(root + "/file")
            os.ftruncate(fd, 0)
            os.pwrite(fd, bytes(range(1, 251)) * 200, 0)
            result = posix.outcome(posix.fallocate, fd, MODES[mode], offset, length)
            os.close(fd)
            results.append((result, os.stat(root + "/file").st_size, hash(get(root + "/file"))))
        if results[0] != results[1]:
            wrong.append(f"{offset} {length}: {results[0]}, ext4: {results[1]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("mode", ["collapse", "insert"])
def test_fallocate_that_moves_content_is_refused_or_right(d, mode):
    fd = create(d + "/file", b"a" * 65536)
    assert posix.outcome(posix.fallocate, fd, MODES[mode], 0, 4096) == "ENOTSUP"
    assert get(d + "/file") == b"a" * 65536
    os.close(fd)


def test_punched_hole_gives_its_space_back(fs):
    fd = create(fs + "/file", os.urandom(4 * MIB))
    os.fsync(fd)
    posix.fallocate(fd, 3, MIB, 2 * MIB)
    os.fsync(fd)
    assert os.stat(fs + "/file").st_blocks * 512 <= 2 * MIB + 64 * KIB
    assert os.pread(fd, MIB, 2 * MIB) == bytes(MIB)
    os.close(fd)


@pytest.mark.sanitize
def test_one_call_of_an_ordinary_user_blocks_nobody(fs):
    """The longest range there is, of a file with much in it, punched by four at once: it costs what was in it."""
    os.chmod(fs, 0o777)
    paths = [f"{fs}/file{number}" for number in range(4)]

    def punch_all(path):
        fd = create(path)
        for number in range(500):
            os.pwrite(fd, b"piece", number * MIB)
        posix.fallocate(fd, 3, 0, (1 << 62) - 1)
        os.close(fd)

    with posix.as_user(65534), concurrent.futures.ThreadPoolExecutor() as pool:
        done = [pool.submit(punch_all, path) for path in paths]
        for each in done:
            each.result()
    assert [os.stat(path).st_blocks for path in paths] == [0] * 4
    assert [os.stat(path).st_size for path in paths] == [499 * MIB + 5] * 4


def test_seek_finds_data_and_holes(fs, store):
    fd = create(fs + "/file")
    os.pwrite(fd, os.urandom(MIB), 10 * MIB)
    os.pwrite(fd, os.urandom(MIB), 20 * MIB)
    os.ftruncate(fd, 30 * MIB)
    os.fsync(fd)

    def pieces():
        found, position = [], 0
        while True:
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
            except OSError as problem:
                assert problem.errno == errno.ENXIO
                return found
            position = os.lseek(fd, start, os.SEEK_HOLE)
            found.append((start // MIB, position // MIB))

    assert pieces() == [(10, 11), (20, 21)]
    assert posix.outcome(os.lseek, fd, 30 * MIB, os.SEEK_HOLE) == "ENXIO"
    assert os.lseek(fd, 29 * MIB, os.SEEK_HOLE) == 29 * MIB
    os.close(fd)
    store.umount()
    store.mount(store.area + "/mnt")
    fd = os.open(fs + "/file", os.O_RDONLY)
    assert pieces() == [(10, 11), (20, 21)]
    os.close(fd)


def test_seek_never_calls_fresh_data_a_hole(d):
    fd = create(d + "/file")
    os.ftruncate(fd, MIB)
    os.pwrite(fd, b"fresh", 500000)
    start = os.lseek(fd, 0, os.SEEK_DATA)
    end = os.lseek(fd, start, os.SEEK_HOLE)
    assert start <= 500000 and end >= 500005
    os.close(fd)


COPIES = [(0, 0, 100000), (1, 3, 70000), (0, 200000, 100000), (99999, 0, 10), (100000, 0, 10), (0, 50, 0), (4096, 4096, 65536), (0, 65536, 65536), (5, 0, 1)]


@pytest.mark.sanitize
@pytest.mark.parametrize("same", [False, True])
def test_copy_file_range_equals_ext4(pair, same):
    wrong = []
    for offset_in, offset_out, length in COPIES:
        results = []
        for root in pair:
            source = create(root + "/source", random.Random(1).randbytes(100000))
            target = source if same else create(root + "/target", random.Random(2).randbytes(150000))
            try:
                result = os.copy_file_range(source, target, length, offset_in, offset_out)
            except OSError as problem:
                result = errno.errorcode[problem.errno]
            name = root + ("/source" if same else "/target")
            results.append((result, os.stat(name).st_size, hash(get(name))))
            for fd in {source, target}:
                os.close(fd)
            os.unlink(root + "/source")
        if results[0] != results[1]:
            wrong.append(f"{offset_in} {offset_out} {length}: {results[0]}, ext4: {results[1]}")
    assert not wrong, "\n".join(wrong)


def test_copy_between_datasets_shares_extents_and_is_equal(fs, store):
    store.create("other")
    other = os.path.dirname(fs) + "/other"
    data = os.urandom(8 * MIB + 5)
    put(fs + "/file", data)
    source, target = os.open(fs + "/file", os.O_RDONLY), create(other + "/copy")
    done = 0
    while done < len(data):
        done += os.copy_file_range(source, target, len(data) - done)
    os.close(source)
    os.close(target)
    assert get(other + "/copy") == data
    os.unlink(fs + "/file")
    assert get(other + "/copy") == data


def test_largest_file_offsets(d):
    fd = create(d + "/file")
    os.ftruncate(fd, 1 << 50)
    os.pwrite(fd, b"end", (1 << 50) - 3)
    assert os.fstat(fd).st_size == 1 << 50
    assert os.pread(fd, 10, (1 << 50) - 5) == b"\0\0end"
    os.ftruncate(fd, 1 << 62)
    assert os.fstat(fd).st_size == 1 << 62
    assert posix.outcome(os.ftruncate, fd, (1 << 63) - 1) in ("EFBIG", "EINVAL")
    assert os.fstat(fd).st_size == 1 << 62
    os.ftruncate(fd, 0)
    os.close(fd)
