"""Memory has budgets, whatever is stored, listed and open; and a directory of many names, which is held in parts, is listed whole."""

import contextlib
import ctypes
import json
import os
import random
import resource
import shutil
import struct
import threading

import pytest

from harness import counts, posix, procs, program
from harness.tars import write_empty_files

MIB = 1 << 20
CACHE, WRITE_BUFFER = 32, 32  # MiB
SLACK = 96 * MIB  # code and threads at work, what RocksDB takes while it merges, and what malloc has not given back yet
ENTRY = struct.Struct("=QqHB")  # linux_dirent64
NAME_LEN = 95  # so that the names of a million files take several pages of the daemon's (fs/fuse/group/name_page.h)

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def full(rounds):
    """The issue's numbers, and fewer in the everyday run: a function that gives one of the two."""
    return lambda many, few: many if rounds > 1 else few // program.scale()


@pytest.fixture
def tight(store):
    """The directory of dataset `d` in a mount with small budgets."""
    point = store.mount(options=f"allow_other,cache={CACHE}M,write_buffer={WRITE_BUFFER}M")
    store.create("d")
    return point + "/d"


def parts(store):
    status = json.loads(store.ok("-s", store.path, "status", "--json"))
    return {part["name"]: part for part in status["memory"]}


def name_of(number):
    return f"{number:07}".rjust(NAME_LEN, "n")


@pytest.fixture
def wide(store, tight, area, full):
    """A directory of many names; how many."""
    count = full(1_000_000, 150_000)
    write_empty_files(area + "/wide.tar", (f"w/{name_of(number)}" for number in random.Random(1).sample(range(count), count)))
    store.ok("-s", store.path, "import", area + "/wide.tar", "d")
    os.unlink(area + "/wide.tar")
    return count


def getdents(fd, size=32768):
    """[(number, cookie, type, name)]"""
    buffer = ctypes.create_string_buffer(size)
    got = libc.syscall(217, fd, buffer, size)
    if got < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    found, at = [], 0
    while at < got:
        number, cookie, length, kind = ENTRY.unpack_from(buffer, at)
        found.append((number, cookie, kind, buffer.raw[at + ENTRY.size : at + length].split(b"\0")[0].decode()))
        at += length
    return found


@contextlib.contextmanager
def opened(path, count=1):
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for _ in range(count)]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


@pytest.fixture
def crowd(tight, wide):
    """Others who list the same directory and have the memory for its names, so that the next one gets them in parts."""
    with opened(tight + "/w", 4) as fds:
        for fd in fds:
            getdents(fd)
        yield


@contextlib.contextmanager
def grows_by_at_most(store, most):
    """The daemon; `most` is asked afterwards."""
    if program.sanitized():
        yield  # its memory says nothing about ours
        return
    before = procs.memory(store.pid)
    yield
    grown = procs.memory(store.pid) - before
    assert grown <= most(), f"{grown >> 20} MiB, not {most() >> 20}: {parts(store)}"


def budget(store, *names):
    found = parts(store)
    for part in found.values():
        assert part["budget"] == 0 or part["bytes"] <= part["budget"] + part["budget"] // 4 + 8 * MIB, part
    return sum(found[name]["budget"] for name in (*names, "journal"))


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_many_open_directories_of_many_names_share_one_budget(store, tight, wide):
    """Each is read a little; their names are 18 MiB each. Then they are read on, and miss nothing."""
    with opened(tight + "/w", 12) as fds, grows_by_at_most(store, lambda: budget(store, "listings", "metadata") + SLACK):
        read = [{entry[3] for entry in getdents(fd)} for fd in fds]
        assert all(len(names) > 100 for names in read)
        assert parts(store)["listings"]["bytes"] > MIB
        for fd, names in list(zip(fds, read))[::11]:
            while some := getdents(fd, 1 << 20):
                new = {entry[3] for entry in some}
                assert not names & new
                names |= new
            assert len(names) == wide + 2
    procs.poll(lambda: parts(store)["listings"]["bytes"] == 0, 30, "who has closed a directory holds no names")


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_names_that_stay_are_listed_once_whatever_happens_meanwhile(tight, wide, crowd):
    """Replaced ones, too: a name that is renamed over was there all the time."""
    path, chance = tight + "/w", random.Random(2)
    gone, seen = set(), {}
    with os.scandir(path) as listing:
        for number, entry in enumerate(listing):
            seen[entry.name] = seen.get(entry.name, 0) + 1
            if number % 10_000:
                continue
            for chosen in chance.sample(range(wide), 20):
                name = name_of(chosen)
                if chosen % 3 == 0:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{path}/{name}")
                    gone.add(name)
                elif name not in gone:
                    with open(f"{path}/new", "xb"):
                        pass
                    os.rename(f"{path}/new", f"{path}/{name}")
                with open(f"{path}/{number}-{chosen}", "xb"):
                    pass
    stayed = {name_of(number) for number in range(wide)} - gone
    assert len(gone) > 20
    missing = stayed - seen.keys()
    assert not missing, f"{len(missing)} names were not listed"
    assert max(seen.values()) == 1
    assert set(os.listdir(path)) >= stayed


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_listing_goes_on_from_any_place(tight, wide, crowd):
    """telldir and seekdir, and an NFS server, which opens the directory anew for each request."""
    listed, chance = [], random.Random(3)
    with opened(tight + "/w") as (fd,):
        while some := getdents(fd, 1 << 20):
            listed += [(cookie, name) for _, cookie, _, name in some]
    assert len({name for _, name in listed}) == len(listed) == wide + 2
    assert len({cookie for cookie, _ in listed}) == len(listed)
    os.close(os.open(tight + "/w/other", os.O_CREAT | os.O_WRONLY))  # the kernel forgets what it knows of the directory
    for place in [0, 1, 2, *(chance.randrange(wide) for _ in range(8))]:
        with opened(tight + "/w") as (fd,):
            os.lseek(fd, listed[place][0], os.SEEK_SET)
            names = [entry[3] for entry in getdents(fd) if entry[3] != "other"][:100]
        assert names == [name for _, name in listed[place + 1 : place + 1 + len(names)]] and names, place
    with opened(tight + "/w") as (fd,):
        os.lseek(fd, listed[-1][0], os.SEEK_SET)
        assert {entry[3] for entry in getdents(fd)} <= {"other"}


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_many_open_files(store, tight, full):
    count = full(10_000, 10_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 1000), hard), hard))
    content = [random.Random(number).randbytes(1500) for number in range(10)]
    fds = []
    try:
        with grows_by_at_most(store, lambda: budget(store, "inodes", "write_buffer", "changes", "metadata") + SLACK):
            for number in range(count):
                fds.append(os.open(f"{tight}/{number}", os.O_CREAT | os.O_RDWR))
                os.write(fds[-1], content[number % 10])
            posix.drop_caches()
            for number, fd in enumerate(fds):
                assert os.pread(fd, 2000, 0) == content[number % 10]
            assert json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"][0]["open_files"] == count
    finally:
        for fd in fds:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_many_snapshots(store, tight, full):
    """Taken, listed and looked into, and destroyed by one command."""
    count = full(10_000, 1000)
    with open(tight + "/file", "w", encoding="ascii") as handle:
        handle.write("content")
    with grows_by_at_most(store, lambda: count * 8192 + budget(store, "changes", "metadata", "inodes") + SLACK):
        for number in range(count):
            os.mkdir(f"{tight}/.snapshots/s{number}")
        assert len(os.listdir(tight + "/.snapshots")) == count
        for number in range(count):
            assert os.stat(f"{tight}/.snapshots/s{number}/file").st_size == 7
        assert len(json.loads(store.ok("-s", store.path, "snapshot", "list", "--json"))) == count
        store.ok("-s", store.path, "snapshot", "destroy", *(f"d@s{number}" for number in range(count)))
    assert os.listdir(tight + "/.snapshots") == []


def write_files(directory, seed):
    chance = random.Random(seed)
    os.mkdir(directory)
    for number in range(400):
        with open(f"{directory}/{number}", "wb") as handle:
            handle.write(chance.randbytes(chance.choice([100, 2000, 30_000, 300_000])))
    with open(f"{directory}/big", "wb") as handle:
        for _ in range(12):
            handle.write(chance.randbytes(MIB))


def read_files(directory):
    for entry in os.scandir(directory):
        with open(entry.path, "rb") as handle:
            while handle.read(MIB):
                pass


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_sixteen_writers_stay_within_the_budgets(store, tight, rounds):
    def at_once(function, *arguments):
        threads = [threading.Thread(target=function, args=each) for each in zip(*arguments)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    everything = ("metadata", "content", "changes", "write_buffer", "inodes", "listings")
    with grows_by_at_most(store, lambda: budget(store, *everything) + parts(store)["tables"]["bytes"] + SLACK):
        for turn in range(rounds):
            directories = [f"{tight}/{turn}-{number}" for number in range(16 // program.scale())]
            at_once(write_files, directories, range(len(directories)))
            budget(store)
            posix.drop_caches()
            at_once(read_files, directories)
            budget(store)
    store.ok("sync", tight)
    assert parts(store)["write_buffer"]["budget"] == WRITE_BUFFER * MIB
    assert parts(store)["metadata"]["budget"] + parts(store)["content"]["budget"] == CACHE * MIB


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_long_mixed_day_leaves_nothing_behind(store, tight, area, rounds):
    """Imports, exports, copies and requests, again and again: what the daemon takes does not grow with them."""
    root, source = os.path.dirname(tight), area + "/source"
    for directory in range(10):
        os.makedirs(f"{source}/{directory}")
        for number in range(50):
            with open(f"{source}/{directory}/{number}", "wb") as handle:
                handle.write(random.Random(number).randbytes(3000))

    def go_through_turn(turn):
        store.ok("-s", store.path, "import", source, f"i{turn}")
        store.ok("-s", store.path, "import", "--all", source, "d")
        for path in (f"{root}/i{turn}", tight):
            for here, _, names in os.walk(path):
                for name in names:
                    assert len(procs.read(f"{here}/{name}")) == 3000
        store.ok("-s", store.path, "export", f"i{turn}", area + "/out.tar")
        store.ok("-s", store.path, "export", f"i{turn}", f"{area}/out{turn}")
        os.unlink(area + "/out.tar")
        shutil.rmtree(f"{area}/out{turn}")
        shutil.copytree(f"{root}/i{turn}/0", f"{tight}/copy{turn}")
        os.mkdir(f"{tight}/.snapshots/s{turn}")
        posix.drop_caches()
        for _ in range(20):
            os.listdir(f"{tight}/copy{turn}")
        if turn:
            os.rmdir(f"{tight}/.snapshots/s{turn - 1}")
            shutil.rmtree(f"{tight}/copy{turn - 1}")
            store.ok("-s", store.path, "dataset", "destroy", f"i{turn - 1}")
        store.ok("-s", store.path, "gc")

    for turn in range(3):
        go_through_turn(turn)
    with grows_by_at_most(store, lambda: budget(store, "changes") + SLACK):
        for turn in range(3, 3 + 3 * rounds):
            go_through_turn(turn)
    counts.note({"requests of a mixed day": json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"][0]["requests"]})


@pytest.mark.skipif(program.sanitized(), reason="the sanitizers map more than any limit")
def test_where_there_is_little_memory_budgets_are_small_by_themselves(store):
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * MIB, hard))
    try:
        store.mount()
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    budgets = {name: part["budget"] for name, part in parts(store).items()}
    assert sum(budgets.values()) < 512 * MIB, budgets
    assert budgets["write_buffer"] <= 64 * MIB >= budgets["content"] + budgets["metadata"], budgets


def test_status_says_what_memory_is_made_up_of(store, tight):
    with open(tight + "/file", "wb") as handle:
        handle.write(bytes(100_000))
    lines = [line for line in store.ok("-s", store.path, "status").splitlines() if line.startswith("made up of ")]
    assert len(lines) == 1 and "metadata" in lines[0] and f" of {CACHE / 2:.1f} MiB" in lines[0], lines
    assert all(part["bytes"] >= 0 and part["budget"] >= 0 for part in parts(store).values())
    assert parts(store)["inodes"]["bytes"] > 0
