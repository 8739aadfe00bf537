"""A snapshot is one instant: what running programs write is never seen out of order in it, and all that write(2) accepted is there."""

import contextlib
import itertools
import mmap
import os
import random
import subprocess
import sys
import threading

import pytest

from harness import program, stamper
from harness.snapshots import cli

COMBINATIONS = list(itertools.product(stamper.WAYS, repeat=2))


@contextlib.contextmanager
def stamping(directory, ways, processes):
    """Programs that stamp two files of the directory in turn until the block ends."""
    stamper.prepare(directory, ways)
    script, running, fds = stamper.__file__, [], []
    try:
        pairs = [("ab", [])]
        if processes == 2:
            (from_a, to_b), (from_b, to_a) = os.pipe(), os.pipe()
            fds = [from_a, to_b, from_b, to_a]
            pairs = [("a", [from_b, to_b]), ("b", [from_a, to_a])]
        for mine, pipes in pairs:
            running.append(subprocess.Popen([sys.executable, script, directory, *ways, mine, *map(str, pipes)], pass_fds=pipes,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE))  # fmt: skip
        for fd in fds:
            os.close(fd)
        for process in running:
            assert process.stdout.readline() == b"ready\n"
        yield
        assert all(process.poll() is None for process in running), "a program that stamps died"
    finally:
        for process in running:
            process.stdin.close()
        for process in running:
            process.stdout.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


@pytest.mark.sanitize
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("ways", COMBINATIONS, ids="-".join)
def test_stamps_are_never_out_of_order(fs, ways, processes, steps):
    directory, seen = fs + "/dir", []
    os.mkdir(directory)
    with stamping(directory, ways, processes):
        for number in range(400 * steps):
            os.mkdir(f"{fs}/.snapshots/{number}")
            seen.append(stamper.check(f"{fs}/.snapshots/{number}/dir", ways))
            if len(seen) >= 8 * steps and seen[-1] > stamper.FIRST:
                break  # one after the other, snapshots leave the programs little time
    assert seen == sorted(seen), "later snapshots hold later stamps"
    assert seen[-1] > stamper.FIRST, "nothing was written meanwhile"
    for number, stamp in enumerate(seen):
        assert stamper.check(f"{fs}/.snapshots/{number}/dir", ways) == stamp
    assert stamper.check(directory, ways) >= seen[-1]


@pytest.mark.sanitize
def test_many_programs_at_once(fs, store, steps):
    """All ways in all places; snapshots by command too, and the state that a rollback leaves is one instant as well."""
    with contextlib.ExitStack() as stack:
        for number, ways in enumerate(COMBINATIONS[:: program.scale()]):
            os.mkdir(f"{fs}/{number}")
            stack.enter_context(stamping(f"{fs}/{number}", ways, 1 + number % 2))
        for count in range(4 * steps):
            if count % 2:
                cli(store, "snapshot", "create", f"d@{count}")
            else:
                os.mkdir(f"{fs}/.snapshots/{count}")
            for number, ways in enumerate(COMBINATIONS[:: program.scale()]):
                stamper.check(f"{fs}/.snapshots/{count}/{number}", ways)


@pytest.mark.sanitize
@pytest.mark.parametrize("ways", [("write", "mmap"), ("append", "write"), ("mmap", "mmap")], ids="-".join)
def test_several_datasets_are_taken_in_one_instant(fs, store, ways, steps):
    """Files a and b of one program lie in two datasets."""
    store.create("e")
    other = os.path.dirname(fs) + "/e"
    ends = [fs + "/a", other + "/b"]
    view = store.area + "/view"
    os.mkdir(view)
    for file, path in enumerate(ends):
        open(path, "wb").close()
        os.symlink(path, f"{view}/{'ab'[file]}")
    with stamping(view, ways, 1):
        for number in range(6 * steps):
            cli(store, "snapshot", "create", "d", f"e@{number}")
            picture = f"{store.area}/picture{number}"
            os.mkdir(picture)
            os.symlink(f"{fs}/.snapshots/{number}/a", picture + "/a")
            os.symlink(f"{other}/.snapshots/{number}/b", picture + "/b")
            stamper.check(picture, ways)


@pytest.mark.sanitize
def test_what_was_written_before_is_in_it(fs, steps):
    """In files that are still open for writing, none of them synced."""
    chance, files = random.Random(1), {}
    for number in range(60):
        files[number] = (os.open(f"{fs}/{number}", os.O_RDWR | os.O_CREAT | (os.O_APPEND if number % 3 == 0 else 0)), bytearray())
    for count in range(5 * steps):
        for number in range(60):
            fd, data = files[number]
            piece, offset = random.Random(count * 100 + number).randbytes(chance.randrange(1, 20000)), chance.randrange(len(data) + 5000)
            if number % 3 == 0:
                offset = len(data)
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(piece)] = piece
            assert os.pwrite(fd, piece, offset) == len(piece)
        os.mkdir(f"{fs}/.snapshots/{count}")
        wanted = {number: bytes(data) for number, (_, data) in files.items()}
        for number in range(60):
            with open(f"{fs}/.snapshots/{count}/{number}", "rb") as handle:
                assert handle.read() == wanted[number], f"snapshot {count}, file {number}"
    for fd, _ in files.values():
        os.close(fd)


@pytest.mark.sanitize
def test_shared_mappings_are_in_it(fs, steps):
    size = 1 << 20
    with open(fs + "/file", "wb") as handle:
        handle.truncate(size)
    fd = os.open(fs + "/file", os.O_RDWR)
    area, expected = mmap.mmap(fd, size), bytearray(size)
    os.close(fd)
    chance = random.Random(2)
    for count in range(10 * steps):
        for _ in range(20):
            offset = chance.randrange(size - 100)
            area[offset : offset + 100] = expected[offset : offset + 100] = chance.randbytes(100)
        os.mkdir(f"{fs}/.snapshots/{count}")
        area[0:5] = expected[0:5] = b"after"
        with open(f"{fs}/.snapshots/{count}/file", "rb") as handle:
            found = handle.read()
        assert found[5:] == expected[5:], f"snapshot {count}"
        assert count == 0 or found[:5] == b"after" or found[:5] != bytes(5)
    area.close()


@pytest.mark.sanitize
def test_a_write_that_returned_before_mkdir_began_is_in_it(fs, steps):
    """Another thread goes on writing all the time."""
    fd, done, stop = os.open(fs + "/file", os.O_RDWR | os.O_CREAT), [0], threading.Event()
    os.pwrite(fd, b"%020d" % 0, 0)

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            os.pwrite(fd, b"%020d" % number, 0)
            done[0] = number

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for count in range(20 * steps):
            before = done[0]
            os.mkdir(f"{fs}/.snapshots/{count}")
            after = done[0] + 1
            with open(f"{fs}/.snapshots/{count}/file", "rb") as handle:
                found = int(handle.read())
            assert before <= found <= after, f"snapshot {count}: {before} was written before, {after} after, and it holds {found}"
    finally:
        stop.set()
        writer.join()
        os.close(fd)


def test_names_and_content_are_of_one_instant(fs, steps):
    """A program that writes a file, renames it over the last one, and notes its number: each snapshot agrees with itself."""
    stop = threading.Event()

    def put(path, data):
        with open(path, "wb") as handle:
            handle.write(data)

    def work():
        number = 0
        while not stop.is_set():
            number += 1
            put(fs + "/new", b"%d " % number * 5000)
            os.rename(fs + "/new", fs + "/current")
            os.mkdir(f"{fs}/n{number}")
            if number > 1:
                os.rmdir(f"{fs}/n{number - 1}")

    put(fs + "/current", b"0 ")
    os.mkdir(fs + "/n0")
    os.rmdir(fs + "/n0")
    worker = threading.Thread(target=work)
    worker.start()
    try:
        for count in range(15 * steps):
            snapshot = f"{fs}/.snapshots/{count}"
            os.mkdir(snapshot)
            with open(snapshot + "/current", "rb") as handle:
                words = set(handle.read().split())
            assert len(words) == 1, f"snapshot {count}: a mixture"
            number = int(words.pop())
            shown = {int(name[1:]) for name in os.listdir(snapshot) if name[0] == "n" and name != "new"}
            assert shown in ({number}, {number - 1}, {number - 1, number}) or number < 2, f"snapshot {count}: {number}, {shown}"
    finally:
        stop.set()
        worker.join()


def test_times_of_closed_files_are_those_that_stat_showed(fs, steps):
    wrong = []
    for number in range(30 * steps):
        with open(fs + "/file", "wb") as handle:
            handle.write(b"%d" % number * 5000)
        before = os.stat(fs + "/file")
        os.mkdir(f"{fs}/.snapshots/{number}")
        after = os.stat(f"{fs}/.snapshots/{number}/file")
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            wrong.append((number, after.st_mtime_ns - before.st_mtime_ns))
    assert not wrong


@pytest.mark.sanitize
def test_snapshots_do_not_disturb_who_writes(fs, steps):
    """Content, size and position of an open file are what they would be without."""
    data = random.Random(3).randbytes(3 << 20)
    stop = threading.Event()

    def take():
        count = 0
        while not stop.is_set():
            os.mkdir(f"{fs}/.snapshots/{count}")
            os.rmdir(f"{fs}/.snapshots/{count}")
            count += 1

    taker = threading.Thread(target=take)
    taker.start()
    try:
        for number in range(4 * steps):
            with open(f"{fs}/{number}", "wb", buffering=0) as handle:
                for start in range(0, len(data), 10007):
                    handle.write(data[start : start + 10007])
                assert handle.tell() == len(data)
            with open(f"{fs}/{number}", "rb") as handle:
                assert handle.read() == data
    finally:
        stop.set()
        taker.join()
