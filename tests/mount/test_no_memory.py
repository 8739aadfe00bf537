"""Large allocations that fail give an error to who asked, and nothing else: no crash, and no byte that was acknowledged is lost."""

import errno
import mmap
import os
import random
import struct
import subprocess

import pytest

from harness import program

MIB = 1 << 20
LEAST = MIB  # what is less keeps records, without which nothing can go on (lib/base/buf.h)
ORDER = struct.Struct("=IIII")


class Memory:
    """What tests/crash/memory.c does to a program."""

    def __init__(self, path):
        with open(path, "wb") as handle:
            handle.write(bytes(ORDER.size))
        with open(path, "r+b") as handle:
            self.page = mmap.mmap(handle.fileno(), ORDER.size)
        self.environment = {"LD_PRELOAD": f"{program.build()}/tests/crash/libcrash-memory.so", "CORPUSFS_MEMORY": path}

    def fail(self, every):
        self.page[:8] = struct.pack("=II", every, LEAST)

    def failed(self):
        return ORDER.unpack(self.page[:])[3]


def until_it_works(call, tries=200):
    for _ in range(tries):
        try:
            return call()
        except OSError as problem:
            if problem.errno != errno.ENOMEM:
                raise
    raise AssertionError(f"no memory, {tries} times in a row")


def write(path, content):
    with open(path, "wb", buffering=0) as handle:
        for offset in range(0, len(content), MIB):
            piece = content[offset : offset + MIB]
            assert until_it_works(lambda at=offset, what=piece: os.pwrite(handle.fileno(), what, at)) == len(piece)
        try:
            until_it_works(lambda: os.fsync(handle.fileno()))
        except OSError as problem:
            assert problem.errno == errno.EIO, problem  # the kernel has noted that a write failed, and tells it once
            until_it_works(lambda: os.fsync(handle.fileno()))


def read(path):
    with open(path, "rb", buffering=0) as handle:
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size, content = os.fstat(handle.fileno()).st_size, b""
        while len(content) < size:
            content += until_it_works(lambda: os.pread(handle.fileno(), MIB, len(content)))
    return content


def run_until_it_works(store, memory, *args):
    for attempt in range(40):
        result = store.run(*(word.replace("ATTEMPT", str(attempt)) for word in args), env=memory.environment)
        if result.code == 0:
            return
        assert result.code == program.FAILED and "Cannot allocate memory" in result.err, result
    raise AssertionError(f"{args}: no memory, each time")


@pytest.fixture
def memory(area):
    return Memory(area + "/memory")


@pytest.mark.timeout(150)
@pytest.mark.skipif(program.sanitized(), reason="the sanitizers have an allocator of their own")
def test_large_allocations_fail(store, memory, area):
    chance = random.Random(3)
    contents = {"random": chance.randbytes(24 * MIB), "text": b"".join(b"%d\n" % number for number in range(3000000))}
    os.mkdir(area + "/source")
    for name in ("a", "b"):
        with open(f"{area}/source/{name}", "wb") as handle:
            handle.write(chance.randbytes(6 * MIB))
    subprocess.run(["tar", "-cf", area + "/tar", "-C", area, "source"], check=True, timeout=60)
    store.expected.append("Cannot allocate memory")
    fs = store.mount(env=memory.environment) + "/d"
    os.mkdir(fs)
    memory.fail(3)
    for name, content in contents.items():
        write(f"{fs}/{name}", content)
    os.mkdir(fs + "/.snapshots/s")
    for name, content in contents.items():
        assert read(f"{fs}/{name}") == content, name
    memory.fail(8)  # a command needs many
    for source, name in ((area + "/tar", "archive"), (area + "/source", "tree")):
        run_until_it_works(store, memory, "-s", store.path, "import", source, "d/" + name)
    for target in ("out.tar", "out.tar.zst", "out.tar.gz", "out.zip", "out"):
        run_until_it_works(store, memory, "-s", store.path, "export", "d@s", f"{area}/ATTEMPT-{target}")
    os.unlink(fs + "/random")
    os.rmdir(fs + "/.snapshots/s")
    run_until_it_works(store, memory, "-s", store.path, "gc")
    assert memory.failed() > 4
    memory.fail(0)
    assert read(fs + "/text") == contents["text"]
    for place in ("archive/source", "tree"):
        for name in ("a", "b"):
            with open(f"{area}/source/{name}", "rb") as handle:
                assert read(f"{fs}/{place}/{name}") == handle.read()
    store.umount()
    store.ok("-s", store.path, "check")
