"""No page in the kernel's cache outlives what it shows: changes that the kernel does not make page by page, beside buffered readers."""

import contextlib
import os
import threading

import pytest

from harness import aio, posix, procs, program

KIB, MIB = 1 << 10, 1 << 20
SIZE = 640 * KIB
PAGE = 4 * KIB


@contextlib.contextmanager
def readers(*paths):
    """They read the whole file over and over, each with a descriptor of its own."""
    stop = threading.Event()

    def read(path):
        while not stop.is_set():
            with contextlib.suppress(OSError):  # it is replaced, or its dataset rolled back
                with open(path, "rb", buffering=0) as handle:
                    while not stop.is_set():
                        os.pread(handle.fileno(), SIZE, 0)

    threads = [threading.Thread(target=read, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def check(fd, expected, what):
    got = os.pread(fd, SIZE + 1, 0)
    stale = [at // PAGE for at in range(0, SIZE, PAGE) if got[at:at + PAGE] != expected[at:at + PAGE]]
    assert len(got) == len(expected) and not stale, f"{what}: {len(stale)} pages are not what was written, first {stale[:1]}"


def make(path, data=bytes(SIZE)):
    with open(path, "wb") as handle:
        handle.write(data)


def engine(kind):
    try:
        return kind()
    except OSError as problem:
        pytest.skip(f"the kernel offers no {kind.__name__}: {problem.strerror}")


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", [aio.Aio, aio.Uring], ids=["aio", "io_uring"])
def test_asynchronous_direct_writes_show_when_they_are_done(d, kind):
    make(d + "/file")
    made, buffer = engine(kind), aio.memory(SIZE)
    fd, reader = os.open(d + "/file", os.O_RDWR | os.O_DIRECT), os.open(d + "/file", os.O_RDONLY)
    with readers(d + "/file", d + "/file"):
        for number in range(200 // program.scale()):
            content = bytes([number % 255 + 1]) * SIZE
            buffer[:] = content
            assert made.write(fd, buffer, 0) == SIZE
            check(reader, content, f"write {number}")
    os.close(fd)
    os.close(reader)
    made.close()


def test_direct_writes_show_in_pages_that_a_direct_descriptor_has_mapped(d):
    make(d + "/file")
    made, buffer = aio.Aio(), aio.memory(SIZE)
    fd = os.open(d + "/file", os.O_RDWR | os.O_DIRECT)
    mapped = aio.mmap.mmap(fd, SIZE, aio.mmap.MAP_SHARED, aio.mmap.PROT_READ)
    for number in range(1, 20):
        assert len(set(mapped[:])) == 1
        buffer[:] = bytes([number]) * SIZE
        assert made.write(fd, buffer, 0) == SIZE
        assert mapped[:] == buffer[:]
    mapped.close()
    os.close(fd)
    made.close()


def test_a_part_that_is_written_directly_shows_beside_pages_that_stay(d):
    make(d + "/file", b"a" * SIZE)
    made, buffer = aio.Aio(), aio.memory(64 * KIB)
    fd, reader = os.open(d + "/file", os.O_RDWR | os.O_DIRECT), os.open(d + "/file", os.O_RDONLY)
    expected = bytearray(b"a" * SIZE)
    for number in range(100):
        check(reader, expected, f"before write {number}")
        at = number * 5 % 10 * 64 * KIB
        buffer[:] = bytes([number + 1]) * len(buffer)
        expected[at:at + len(buffer)] = buffer[:]
        assert made.write(fd, buffer, at) == len(buffer)
    check(reader, expected, "at the end")
    os.close(fd)
    os.close(reader)
    made.close()


def by_copy(fd, path, number):
    source = os.open(path + ".source", os.O_RDWR | os.O_CREAT)
    content = bytes([number]) * SIZE
    os.pwrite(source, content, 0)
    done = 0
    while done < SIZE:
        done += os.copy_file_range(source, fd, SIZE - done, done, done)
    os.close(source)
    return content


def by_hole(mode):
    def change(fd, path, number):
        content = bytearray(bytes([number]) * SIZE)
        os.pwrite(fd, content, 0)
        posix.fallocate(fd, mode, 128 * KIB + 1, 256 * KIB)
        content[128 * KIB + 1:384 * KIB + 1] = bytes(256 * KIB)
        return content

    return change


def by_truncate(fd, path, number):
    content = bytes([number]) * (SIZE // 2) + bytes(SIZE // 2)
    os.pwrite(fd, bytes([number]) * SIZE, 0)
    os.ftruncate(fd, SIZE // 2)
    os.ftruncate(fd, SIZE)
    return content


def by_emptying(fd, path, number):
    content = bytes([number]) * SIZE
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    os.ftruncate(fd, SIZE)
    os.pwrite(fd, content[PAGE:], PAGE)
    return bytes(PAGE) + content[PAGE:]


def by_direct_write(fd, path, number):
    buffer = aio.memory(SIZE)
    buffer[:] = bytes([number]) * SIZE
    direct = os.open(path, os.O_WRONLY | os.O_DIRECT)
    assert os.pwritev(direct, [buffer], 0) == SIZE
    os.close(direct)
    return buffer[:]


CHANGES = {
    "copy_file_range": by_copy, "punch": by_hole(posix.FALLOC_PUNCH_HOLE | posix.FALLOC_KEEP_SIZE), "zero": by_hole(posix.FALLOC_ZERO_RANGE),
    "truncate": by_truncate, "empty": by_emptying, "direct": by_direct_write,
}  # fmt: skip


@pytest.mark.parametrize("how", CHANGES)
def test_changes_show_beside_readers(d, how):
    path = d + "/file"
    make(path)
    fd, reader = os.open(path, os.O_RDWR), os.open(path, os.O_RDONLY)
    with readers(path, path):
        for number in range(1, 60 // program.scale()):
            check(reader, CHANGES[how](fd, path, number), f"change {number}")
    os.close(fd)
    os.close(reader)


def by_import(store, fs):
    make(store.area + "/new/file", b"n" * SIZE)
    store.ok("-s", store.path, "import", store.area + "/new", "d")


def by_rollback(store, fs):
    store.ok("-s", store.path, "rollback", "d@before")


def by_rollback_of_a_path(store, fs):
    store.ok("-s", store.path, "rollback", "d@before", "--path", "file")


@pytest.mark.parametrize("change", [by_import, by_rollback, by_rollback_of_a_path])
def test_changes_past_the_mount_show_in_all_mounts(fs, store, change):
    """The file is in the page cache of both mounts, and read all the time."""
    os.mkdir(store.area + "/new")
    make(fs + "/file", b"n" * SIZE)
    store.ok("-s", store.path, "snapshot", "create", "d@before")
    other = store.mount(options="ro,allow_other") + "/d"
    for number in range(5):
        with open(fs + "/file", "r+b") as handle:
            handle.write(bytes([number]) * SIZE)
        for path in (fs, other):
            procs.poll(lambda path=path: get(path + "/file") == bytes([number]) * SIZE, 20 * program.scale(), "the old content in both")
        with readers(fs + "/file", other + "/file"):
            change(store, fs)
            assert get(fs + "/file") == b"n" * SIZE
            procs.poll(lambda: get(other + "/file") == b"n" * SIZE, 20 * program.scale(), "the new content in the other mount")
        assert get(fs + "/file") == get(other + "/file") == b"n" * SIZE


def get(path):
    with open(path, "rb") as handle:
        return handle.read()


def unlink(fs):
    os.unlink(fs + "/a")


def rename(fs):
    os.rename(fs + "/a", fs + "/c")


def replace(fs):
    os.rename(fs + "/new", fs + "/a")


def exchange(fs):
    posix.renameat2(fs + "/new", fs + "/a", posix.RENAME_EXCHANGE)


@pytest.mark.parametrize("change", [unlink, rename, replace, exchange])
def test_link_counts_and_times_show_in_a_read_only_mount(fs, store, change):
    """Also under the names that nobody has touched, and of what is open there."""
    for name in ("a", "new"):
        open(f"{fs}/{name}", "w").close()
    os.link(fs + "/a", fs + "/b")
    read = store.mount(options="ro,allow_other") + "/d"
    descriptor = os.open(read + "/b", os.O_PATH)

    def seen(fd):
        got = os.fstat(fd)
        return got.st_nlink, got.st_ctime_ns

    before = seen(descriptor)
    here = os.open(fs + "/b", os.O_RDONLY)
    change(fs)
    expected = seen(here)
    assert expected != before
    procs.poll(lambda: seen(descriptor) == expected, 20 * program.scale(), "the file is as in the mount where it was changed")
    os.close(here)
    os.close(descriptor)


@pytest.fixture
def late(store):
    """A mount whose kernel does not hear of the first changes past it."""
    store.create("d")
    return store.mount(env={"CORPUSFS_FAULT": ",".join(f"notice-before-kernel:eio:{nth}" for nth in range(1, 9))}) + "/d"


def test_a_file_that_the_kernel_does_not_know_yet_is_opened_by_who_would_make_it(late, store):
    """O_CREAT without O_EXCL, by a name of which the kernel remembers that there is nothing."""
    new = store.area + "/new"
    os.mkdir(new)
    for name in ("file", "other"):
        make(f"{new}/{name}", b"content")
    os.mkdir(new + "/dir")
    os.symlink("other", new + "/link")
    names = ("file", "emptied", "dir", "link", "theirs")
    make(new + "/emptied", b"content")
    make(new + "/theirs", b"content")
    os.chmod(new + "/theirs", 0o600)
    for directory in (new, late):
        os.chmod(directory, 0o777)
    assert not any(os.path.exists(f"{late}/{name}") for name in names)
    store.ok("-s", store.path, "import", new, "d")

    def made(name, flags=0):
        fd = os.open(f"{late}/{name}", os.O_RDWR | os.O_CREAT | flags)
        try:
            return os.read(fd, 100)
        finally:
            os.close(fd)

    assert posix.outcome(made, "file", os.O_EXCL) == "EEXIST"
    with posix.as_user(12345):
        assert posix.outcome(made, "theirs") == "EACCES"
    assert made("file") == b"content"
    assert made("emptied", os.O_TRUNC) == b""
    assert posix.outcome(made, "dir") == "EISDIR"
    assert posix.outcome(made, "link", os.O_NOFOLLOW) == "ELOOP"
    assert made("link") == b"content"
