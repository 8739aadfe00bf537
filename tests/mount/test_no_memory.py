"""Large allocations and threads that cannot be had give an error to who asked, and nothing else: no crash, and no byte that was acknowledged is lost."""

import errno
import mmap
import os
import random
import struct
import subprocess

import pytest

from harness import files, program, tree

MIB = 1 << 20
LEAST = MIB  # what is less keeps records, without which nothing can go on (lib/base/buf.h)
ORDER = struct.Struct("=IIIIIII")


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

    def fail_threads(self, every):
        self.page[16:20] = struct.pack("=I", every)

    def failed_threads(self):
        return ORDER.unpack(self.page[:])[6]


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


@pytest.mark.timeout(150)
@pytest.mark.skipif(program.sanitized(), reason="the sanitizers have an allocator of their own")
@pytest.mark.parametrize("mounted", [True, False])
def test_threads_cannot_be_started(store, memory, area, mounted):
    """What says that it is done is done, all else is an error, and nobody waits for a thread that is not there."""
    os.mkdir(area + "/source")
    for number in range(20):
        files.put(f"{area}/source/{number}", random.Random(number).randbytes(number * 100_000))
    wanted = tree.scan(area + "/source")
    store.create("d")
    store.expected.append(" error ")
    if mounted:
        store.mount(env=memory.environment)
    memory.fail_threads(8)
    for turn in range(8):
        for args in (["import", area + "/source", f"d/{turn}"], ["export", "d", f"{area}/{turn}"], ["snapshot", "create", f"d@{turn}"],
                     ["export", "d", f"{area}/{turn}.tar.zst"], ["gc"], ["check"], ["scrub"], ["dataset", "list"]):  # fmt: skip
            result = store.run("-s", store.path, *args, env=memory.environment)
            assert 0 <= result.code < 10 and (result.code == 0 or "corpusfs: " in result.err), (args, result)
            if result.code == 0 and args[0] == "import":
                memory.fail_threads(0)
                store.ok("-s", store.path, "export", args[2], f"{area}/seen{turn}")
                assert not tree.differences(wanted, tree.scan(f"{area}/seen{turn}"))
                memory.fail_threads(8)
    assert memory.failed_threads() > 4
    memory.fail_threads(0)
    store.ok("-s", store.path, "import", area + "/source", "d/last")
    store.ok("-s", store.path, "export", "d/last", area + "/last")
    assert not tree.differences(wanted, tree.scan(area + "/last"))
    if mounted:
        store.umount()
    store.ok("-s", store.path, "check")
    store.ok("-s", store.path, "scrub", "--restart")
