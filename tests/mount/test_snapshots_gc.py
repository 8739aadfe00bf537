"""Destroying and collecting: many snapshots in random order, under running readers and writers, and killed in the middle."""

import json
import os
import random
import re
import shutil
import threading

import pytest

from harness import posix, procs, program, tree
from harness.files import get, put, stats_below
from harness.model_snapshots import died
from harness.snapshots import cli, collected, idle, names, refused, rows
from test_integrity import together

MIB, BIG = 1 << 20, 300000


def size(store):
    return sum(info.st_blocks * 512 for _, info in stats_below(store.path))


@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_a_thousand_snapshots_destroyed_in_random_order(fs, store, steps):
    """Every one left is exact at every look; in the end nothing of them is left."""
    count, chance, expected = 1000 * steps // program.scale(), random.Random(7), {}
    for number in range(count):
        data = b"%d" % number * 50
        put(f"{fs}/{number % 17}", data)
        if number % 10 == 0:
            put(fs + "/big", random.Random(number).randbytes(BIG))
        os.mkdir(f"{fs}/.snapshots/{number}")
        expected[number] = (f"{number % 17}", data, number // 10 * 10)
    assert len(os.listdir(fs + "/.snapshots")) == count

    def look(number):
        path, data, big = expected[number]
        assert get(f"{fs}/.snapshots/{number}/{path}") == data, f"snapshot {number}"
        assert get(f"{fs}/.snapshots/{number}/big") == random.Random(big).randbytes(BIG), f"snapshot {number}"

    cli(store, "sync")
    full = size(store)
    for number in chance.sample(range(count), 20):
        look(number)
    order = list(range(count))
    chance.shuffle(order)
    for position, number in enumerate(order):
        os.rmdir(f"{fs}/.snapshots/{number}")
        del expected[number]
        if position % 100 == 50:
            for other in chance.sample(sorted(expected), min(5, len(expected))):
                look(other)
    assert os.listdir(fs + "/.snapshots") == [] and names(store) == []
    last = random.Random((count - 1) // 10 * 10).randbytes(BIG)
    assert get(fs + "/big") == last
    idle(store)
    assert get(fs + "/big") == last
    store.umount()
    store.mount(store.area + "/mnt")
    assert get(fs + "/big") == last
    store.umount()
    assert size(store) < full - 0.8 * (count // 10 * BIG), f"{size(store) >> 20} MiB are left of {full >> 20} MiB"
    store.mount(store.area + "/mnt")


@pytest.mark.sanitize
def test_progress_shows_in_status_and_writing_goes_on(fs, store):
    put(fs + "/file", os.urandom(MIB))
    os.mkdir(fs + "/.snapshots/v")
    os.unlink(fs + "/file")
    store.umount()
    store.mount(store.area + "/mnt", env={"CORPUSFS_FAULT": "gc-after-mark:sleep4000"})
    os.rmdir(fs + "/.snapshots/v")
    shown = procs.poll(lambda: (now := json.loads(cli(store, "status", "--json"))["gc"])["running"] and now["phase"] and now, 20 * program.scale(),
                       "the collector runs", 0.05)  # fmt: skip
    assert shown["phase"] in ("prune", "mark", "sweep", "repack", "compact") and shown["versions"] >= 0
    put(fs + "/file", b"writing goes on")
    os.mkdir(fs + "/.snapshots/w")
    assert get(fs + "/.snapshots/w/file") == b"writing goes on"
    freed = rows(store, "gc")["bytes"], *map(int, re.findall(r" gc versions=\d+ chunks=\d+ bytes=(\d+)", store.log()))
    assert max(freed) >= MIB, "the command takes the background's place, unless that had come to its end"
    idle(store)


@pytest.mark.sanitize
def test_many_destroyed_at_once(fs, store):
    for number in range(60):
        put(fs + "/file", b"%d" % number * 30000)
        os.mkdir(f"{fs}/.snapshots/{number}")
    cli(store, "snapshot", "destroy", "d@%58")
    assert names(store) == ["59"]
    idle(store)
    assert get(fs + "/.snapshots/59/file") == get(fs + "/file") == b"59" * 30000


def test_what_is_being_read_is_not_destroyed(fs, store):
    put(fs + "/file", os.urandom(MIB))
    os.mkdir(fs + "/dir")
    data = get(fs + "/file")
    os.mkdir(fs + "/.snapshots/v")
    os.unlink(fs + "/file")
    fds = [os.open(fs + "/.snapshots/v/file", os.O_RDONLY), os.open(fs + "/.snapshots/v/dir", os.O_RDONLY)]
    for fd in fds:
        assert posix.outcome(os.rmdir, fs + "/.snapshots/v") == "EBUSY"
        refused(store, program.BUSY, "snapshot", "destroy", "d@v")
        cli(store, "gc")
        assert get(f"/proc/self/fd/{fds[0]}") == data if fd == fds[0] else True
        os.close(fd)
    procs.poll(lambda: posix.outcome(os.rmdir, fs + "/.snapshots/v") == "ok", 20, "it can be destroyed when nobody reads it")


FILES, STATES = 6, (b"one" * 20000, b"two" * 20000)  # of a dataset that is rolled back and forth


class Users:
    """What uses such a dataset until `stop` is set: each function is run by a thread of its own."""

    def __init__(self, root):
        self.root, self.stop = root, threading.Event()

    def until_stopped(self, step):
        """Does it again and again; it may fail only because the state it had is gone."""
        while not self.stop.is_set():
            try:
                step()
            except OSError as problem:
                name = posix.errno.errorcode[problem.errno]
                assert name in ("ESTALE", "ENOENT"), f"reader or writer: {name}"

    def read(self):
        """A file is one state as a whole."""
        chance = random.Random(1)

        def step():
            with open(f"{self.root}/{chance.randrange(FILES)}", "rb", buffering=0) as handle:
                data = b""
                while piece := handle.read(7001):
                    data += piece
                assert data in STATES, f"a mixture: {len(data)} bytes, {set(data.split(b'o'))}"

        self.until_stopped(step)

    def read_directory(self):
        """All through one descriptor of a directory is one state. (The root is the dataset's, and goes on in the next.)"""

        def first_bytes(root, number):
            fd = os.open(str(number), os.O_RDONLY, dir_fd=root)
            try:
                return os.read(fd, 3)
            finally:
                os.close(fd)

        def step():
            root = os.open(self.root + "/dir", os.O_RDONLY | os.O_DIRECTORY)
            try:
                states = {first_bytes(root, number) for number in range(FILES)}
                assert len(states) == 1, f"two states below one descriptor: {states}"
            finally:
                os.close(root)

        self.until_stopped(step)

    def write(self):
        def step():
            with open(self.root + "/writer", "wb", buffering=0) as handle:
                handle.write(b"written")
                os.fsync(handle.fileno())

        self.until_stopped(step)


@pytest.mark.sanitize
def test_rollback_under_readers_and_writers(fs, store, steps):
    """Each reader sees one state or ESTALE; what writers are told was written is there, or ESTALE; and never a mixture."""
    users, bound = Users(fs), Users(store.mount(dataset="d"))
    os.mkdir(fs + "/dir")
    for state in STATES:
        for number in range(FILES):
            put(f"{fs}/{number}", state)
            put(f"{fs}/dir/{number}", state)
        os.mkdir(f"{fs}/.snapshots/{state[:3].decode()}")

    def roll():
        try:
            for count in range(12 * steps):
                state = STATES[count % 2]
                cli(store, "rollback", "--no-guard", f"d@{state[:3].decode()}")
                assert get(fs + "/0") == state
        finally:
            users.stop.set()

    bound.stop = users.stop
    together([roll, users.read, bound.read, users.read_directory, bound.read_directory, users.write])
    cli(store, "rollback", "d@one")
    assert all(get(f"{fs}/{number}") == STATES[0] for number in range(FILES))
    assert not os.path.exists(fs + "/writer")


def test_descriptors_from_before_a_rollback_are_stale(fs, store):
    put(fs + "/file", b"old")
    os.mkdir(fs + "/.snapshots/v")
    put(fs + "/file", b"newer")
    reader, writer = os.open(fs + "/file", os.O_RDONLY), os.open(fs + "/file", os.O_RDWR)
    cli(store, "rollback", "d@v")
    guard = names(store)[-1]
    assert get(fs + "/file") == b"old"
    assert posix.outcome(os.fsync, writer) in ("ESTALE", "EIO", "ok")
    posix.outcome(os.pwrite, writer, b"lost?", 0)
    posix.outcome(os.fsync, writer)
    assert posix.outcome(os.fstat, reader) in ("ESTALE", "ok")
    posix.outcome(os.close, reader), posix.outcome(os.close, writer)
    assert get(fs + "/file") == b"old" and get(f"{fs}/.snapshots/{guard}/file") == b"newer"
    posix.drop_caches()
    assert get(fs + "/file") == b"old" and get(f"{fs}/.snapshots/{guard}/file") == b"newer"


class Churn:
    """A writer that knows what is in its directory: new content, content seen before (dedup), overwrites in place, removal."""

    def __init__(self, root, seed):
        self.root, self.chance, self.known = root, random.Random(seed), {}
        os.mkdir(root)

    def step(self):
        chance, path = self.chance, f"{self.root}/{self.chance.randrange(12)}"
        kind = chance.random()
        if kind < 0.15 and path in self.known:
            os.unlink(path)
            del self.known[path]
        elif kind < 0.35 and path in self.known:
            data = bytearray(self.known[path])
            start = chance.randrange(len(data) + 1)
            piece = random.Random(chance.randrange(30)).randbytes(chance.randrange(1, 70000))
            with open(path, "r+b", buffering=0) as handle:
                os.pwrite(handle.fileno(), piece, start)
            data[start : start + len(piece)] = piece
            self.known[path] = bytes(data)
        elif kind < 0.5 and self.known:
            source = chance.choice(sorted(self.known))
            if source != path:
                shutil.copyfile(source, path)
                self.known[path] = self.known[source]
        else:
            self.known[path] = random.Random(chance.randrange(30)).randbytes(BIG)
            put(path, self.known[path])

    def check(self, root):
        found = {name: get(f"{root}/{name}") for name in os.listdir(root)}
        wanted = {os.path.basename(path): data for path, data in self.known.items()}
        assert found.keys() == wanted.keys(), root
        for name, data in wanted.items():
            assert found[name] == data, f"{root}/{name}"


@pytest.mark.sanitize
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(3))
def test_collection_races_writes_dedup_snapshots_and_destroys(fs, store, seed, steps):
    """After each round everything that lives is read from the store again and compared."""
    writers = [Churn(f"{fs}/{number}", seed * 10 + number) for number in range(2)]
    living, chance, count = {}, random.Random(seed), 0
    for _ in range(4 * steps):
        stop = threading.Event()

        def write(writer):
            for _ in range(40 // program.scale()):
                writer.step()

        def collect(stop=stop):
            while not stop.is_set():
                result = store.run("-s", store.path, "gc")
                assert result.code in (program.OK, program.BUSY), result

        def take(stop=stop):
            for number in range(4):
                name = f"race{count}.{number}"
                os.mkdir(f"{fs}/.snapshots/{name}")
                if number % 2:
                    os.rmdir(f"{fs}/.snapshots/{name}")

        def ends(functions, stop=stop):
            try:
                together(functions)
            finally:
                stop.set()

        together([lambda: ends([lambda: write(writers[0]), lambda: write(writers[1]), take]), collect])
        count += 1
        os.mkdir(f"{fs}/.snapshots/{count}")
        living[f"{count}"] = tree.scan(f"{fs}/.snapshots/{count}")
        for number in (0, 2):
            living[f"race{count - 1}.{number}"] = tree.scan(f"{fs}/.snapshots/race{count - 1}.{number}")
        while len(living) > 6:
            name = chance.choice(sorted(living))
            os.rmdir(f"{fs}/.snapshots/{name}")
            del living[name]
        posix.drop_caches()
        for writer in writers:
            writer.check(writer.root)
        for name, seen in living.items():
            assert tree.differences(seen, tree.scan(f"{fs}/.snapshots/{name}")) == [], name
    store.umount()
    collected(store)
    store.mount(store.area + "/mnt")
    for writer in writers:
        writer.check(writer.root)
    for name, seen in living.items():
        assert tree.differences(seen, tree.scan(f"{fs}/.snapshots/{name}")) == [], name


POINTS = ["prune-batch", "gc-after-mark", "gc-sweep", "chunks-sweep-batch", "gc-compact"]


@pytest.mark.sanitize
@pytest.mark.kinds("point")
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("background", [True, False], ids=["background", "command"])
def test_kill_9_in_the_collector(fs, store, point, background):
    """What lives is exact, and the next collector finishes the work."""
    for number in range(8):
        put(f"{fs}/{number % 3}", random.Random(number).randbytes(2 * MIB))
        for small in range(40):
            put(f"{fs}/s{small}", b"%d %d" % (number, small))
        os.mkdir(f"{fs}/.snapshots/{number}")
    store.umount()
    destroyed = [f"d@{number}" for number in (0, 1, 2, 4, 6)]
    environment = {"CORPUSFS_FAULT": point}
    if background:
        store.mount(store.area + "/mnt", env=environment)
        result = store.run("-s", store.path, "snapshot", "destroy", *destroyed)
        pid = store.pid
        procs.poll(lambda: not procs.alive(pid), 20 * program.scale(), "the collector comes to its fault point", 0.05)
        died(store)
        store.mount(store.area + "/mnt")
        gone = set(names(store)) & {target[2:] for target in destroyed}
        assert result.code != 0 or not gone, f"{gone} were destroyed and are back"
        store.umount()
        if gone:
            cli(store, "snapshot", "destroy", *(f"d@{name}" for name in gone))
    else:
        cli(store, "snapshot", "destroy", *destroyed)
        result = store.run("-s", store.path, "gc", env=environment)
        assert result.code == -9, result
    for again in range(2):
        store.mount(store.area + "/mnt")
        for number in (3, 5, 7):
            for other in range(3):
                state = max(n for n in range(number + 1) if n % 3 == other)
                assert get(f"{fs}/.snapshots/{number}/{other}") == random.Random(state).randbytes(2 * MIB)
            assert get(f"{fs}/.snapshots/{number}/s7") == b"%d 7" % number
        assert get(fs + "/s39") == b"7 39"
        store.umount()
        done = collected(store)
        assert again == 0 or done == {"versions": 0, "chunks": 0, "bytes": 0}
    assert rows(store, "gc", "--dry-run")["chunks"] == 0
    used = {row.get("snapshot"): row for row in rows(store, "du", "d", "--exact")["usage"]}
    assert set(used) == {"3", "5", "7", None}


@pytest.mark.sanitize
def test_chunks_shared_across_datasets_survive(fs, store):
    """Equal content of another dataset and of a clone needs the chunks of a dataset that is destroyed whole."""
    data = os.urandom(3 * MIB)
    put(fs + "/file", data)
    os.mkdir(fs + "/.snapshots/v")
    store.create("other")
    other = os.path.dirname(fs) + "/other"
    put(other + "/same", data)
    cli(store, "clone", "d@v", "copy")
    cli(store, "dataset", "destroy", "--snapshots", "d")
    idle(store)
    posix.drop_caches()
    assert get(other + "/same") == get(os.path.dirname(fs) + "/copy/file") == data
    os.unlink(other + "/same")
    cli(store, "gc")
    cli(store, "dataset", "destroy", "other")
    idle(store)
    posix.drop_caches()
    assert get(os.path.dirname(fs) + "/copy/file") == data


def test_open_files_that_were_removed_keep_their_content_through_a_collection(fs, store):
    data = os.urandom(2 * MIB)
    put(fs + "/file", data)
    cli(store, "sync")
    with open(fs + "/file", "rb") as handle:
        os.unlink(fs + "/file")
        cli(store, "gc")
        posix.drop_caches()
        assert handle.read() == data
