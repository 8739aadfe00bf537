"""Nothing is lost or mixed up: several threads write at random, in every way, and every byte is known."""

import mmap
import os
import random
import threading

import pytest

from harness import posix, program
from harness.files import stats_below

BLOCK = 4096


def together(functions):
    """Runs functions in threads; the first exception is raised."""
    problems = []

    def guarded(function):
        try:
            function()
        except BaseException as problem:  # pylint: disable=broad-except
            problems.append(problem)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def stamp(seed, length):
    return random.Random(seed).randbytes(length)


class Striped:
    """One file, of which each thread owns the blocks of its number modulo the threads, and knows what is in them."""

    def __init__(self, path, threads, blocks):
        self.path, self.threads, self.blocks = path, threads, blocks
        self.known = [bytes(BLOCK)] * blocks
        with open(path, "wb") as handle:
            handle.truncate(blocks * BLOCK)

    def work(self, number, rounds, how):
        chance = random.Random(f"{number} {how}")
        fd = os.open(self.path, os.O_RDWR | (os.O_DIRECT if how == "direct" else 0))
        area = mmap.mmap(fd, self.blocks * BLOCK) if how == "mmap" else None
        try:
            for count in range(rounds):
                block = chance.randrange(self.blocks // self.threads) * self.threads + number
                start = chance.randrange(BLOCK) if how != "mmap" else chance.randrange(BLOCK)
                data = stamp(f"{number} {count}", chance.randrange(1, BLOCK - start + 1))
                if how == "mmap":
                    area[block * BLOCK + start : block * BLOCK + start + len(data)] = data
                elif how == "punch" and count % 5 == 0:
                    posix.fallocate(fd, 3, block * BLOCK, BLOCK)
                    start, data = 0, bytes(BLOCK)
                else:
                    assert os.pwrite(fd, data, block * BLOCK + start) == len(data)
                old = self.known[block]
                self.known[block] = old[:start] + data + old[start + len(data) :]
                if count % 7 == 0:
                    seen = os.pread(fd, BLOCK, block * BLOCK)
                    assert seen == self.known[block], f"thread {number} ({how}), round {count}, block {block}"
                if count % 100 == 99:
                    os.fsync(fd)
        finally:
            if area:
                area.close()
            os.close(fd)

    def check(self):
        with open(self.path, "rb") as handle:
            for block in range(self.blocks):
                assert handle.read(BLOCK) == self.known[block], f"block {block} of thread {block % self.threads}"
            assert handle.read() == b""


@pytest.mark.races
@pytest.mark.sanitize
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "hows",
    [("write",) * 4, ("write", "mmap", "write", "mmap"), ("direct", "write", "punch", "direct"), ("write", "mmap", "punch", "direct")],
    ids="-".join,
)
def test_threads_write_their_own_blocks_of_one_file(fs, store, hows):
    striped = Striped(fs + "/file", len(hows), 1024)
    rounds = 2000 // program.scale()
    together([lambda number=number, how=how: striped.work(number, rounds, how) for number, how in enumerate(hows)])
    striped.check()
    posix.drop_caches()
    striped.check()
    store.umount()
    store.mount(store.area + "/mnt")
    striped.check()


@pytest.mark.races
@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_threads_write_truncate_and_remove_files_of_their_own(fs, store):
    expected = {}

    def work(number):
        chance = random.Random(number)
        mine = {}
        os.mkdir(f"{fs}/{number}")
        for count in range(400 // program.scale()):
            path = f"{fs}/{number}/{chance.randrange(20)}"
            kind = chance.random()
            if kind < 0.5 or path not in mine:
                mine[path] = stamp(f"{number}.{count}", int(2 ** chance.uniform(0, 20)))
                with open(path, "wb") as handle:
                    handle.write(mine[path])
            elif kind < 0.65:
                size = chance.randrange(len(mine[path]) * 2 + 1)
                os.truncate(path, size)
                mine[path] = mine[path][:size] + bytes(max(0, size - len(mine[path])))
            elif kind < 0.8:
                os.unlink(path)
                del mine[path]
            elif kind < 0.9:
                other = f"{fs}/{number}/{chance.randrange(20)}"
                os.rename(path, other)
                mine[other] = mine.pop(path)
            else:
                with open(path, "rb") as handle:
                    assert handle.read() == mine[path], path
        expected.update(mine)

    together([lambda number=number: work(number) for number in range(4)])
    for _ in range(2):
        for path, data in expected.items():
            with open(path, "rb") as handle:
                assert handle.read() == data, path
        assert sum(len(files) for _, _, files in os.walk(fs)) == len(expected)
        store.umount()
        store.mount(store.area + "/mnt")


def test_readers_of_a_replaced_file_see_one_version_or_the_other(d):
    """Write to a temporary name, rename over: the way programs replace a file at once."""
    stop = threading.Event()
    size = 300000

    def write():
        try:
            for number in range(150):
                with open(f"{d}/new", "wb") as handle:
                    handle.write(bytes([number]) * size)
                os.rename(f"{d}/new", f"{d}/file")
        finally:
            stop.set()

    def read():
        while not stop.is_set():
            with open(f"{d}/file", "rb") as handle:
                data = handle.read()
            assert len(data) == size and data == data[:1] * size

    with open(f"{d}/file", "wb") as handle:
        handle.write(bytes(size))
    together([write, read, read])


def by_read(source, sink, offset):
    return os.pread(source, 100000, offset)


def by_sendfile(source, sink, offset):
    os.ftruncate(sink, 0)
    os.lseek(sink, 0, os.SEEK_SET)
    return os.pread(sink, os.sendfile(sink, source, offset, 100000), 0)


@pytest.mark.parametrize("how", [by_read, by_sendfile])
@pytest.mark.parametrize("flags", [os.O_EXCL, os.O_TRUNC, os.O_APPEND], ids=["new", "emptied", "appended"])
def test_reader_sees_a_growing_file_only_grow(d, how, flags):
    """The page that has the file's end is read again and again while it fills: no zeros that were never written."""
    if flags != os.O_EXCL:
        os.close(os.open(d + "/file", os.O_WRONLY | os.O_CREAT))
    fd = os.open(d + "/file", os.O_WRONLY | os.O_CREAT | flags)
    stop = threading.Event()

    def write():
        try:
            for number in range(1, 20000 // program.scale()):
                os.write(fd, b"%08d" % number)
        finally:
            stop.set()

    def read():
        source, sink, size = os.open(d + "/file", os.O_RDONLY), os.memfd_create("sink"), 0
        while not stop.is_set():
            data = how(source, sink, size)
            for start in range(0, len(data), 8):
                assert int(data[start : start + 8]) == (size + start) // 8 + 1
            size += len(data)
        os.close(source)
        os.close(sink)

    together([write, read])
    os.close(fd)


@pytest.mark.timeout(120)
def test_equal_content_is_stored_once_and_read_right(fs, store):
    data = os.urandom(4 << 20)
    for number in range(20):
        with open(f"{fs}/{number}", "wb") as handle:
            handle.write(data[number:] + data[:number])
    store.ok("sync", os.path.dirname(fs))
    used = sum(info.st_size for name, info in stats_below(store.path) if name != "ballast")
    assert used < 40 << 20, f"80 MiB of nearly equal content take {used >> 20} MiB"
    posix.drop_caches()
    for number in range(20):
        with open(f"{fs}/{number}", "rb") as handle:
            assert handle.read() == data[number:] + data[:number]
