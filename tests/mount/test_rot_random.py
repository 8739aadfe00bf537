"""
A store damaged at random, in every way: a read gives the right bytes or EIO, and nothing dies. CORPUSFS_ROT_SEEDS=FIRST-LAST tries more.

Where content is damaged the store opens, and a copy heals it. Where it is any other file, it may be refused, or answer EIO for all; then it says
so, and nothing is missing without a word.
"""

import errno
import os
import random
import shutil

import pytest

from harness import counts, files, rot

FIRST, LAST = (int(number) for number in os.environ.get("CORPUSFS_ROT_SEEDS", "1-8").split("-"))
KINDS = ("bit", "bit", "bit in the end", "bit in the end", "zeros", "cut", "swapped", "another store's", "missing")


def fill(store, seed):
    """Makes a store with two tables of content at least; what is in its dataset d."""
    chance, wanted = random.Random(seed), {}
    store.init()
    point = store.mount()
    os.mkdir(point + "/d")
    for number in range(16):
        data = chance.randbytes(chance.randrange(3000, 400000)) if number % 3 else b"%d abc " % number * chance.randrange(2000, 60000)
        files.put(f"{point}/d/{number}", data)
        if number % 4 == 0:
            store.ok("-s", store.path, "sync")
        wanted[str(number)] = data
    store.ok("-s", store.path, "snapshot", "create", "d@v")
    store.umount()
    return wanted


def content_tables(path):
    return [table for table in rot.tables_in(path) if os.path.getsize(table) > 100000]


def all_files(path):
    found = [f"{folder}/{name}" for folder, _, names in os.walk(path) for name in names]
    return [file for file in found if os.path.isfile(file) and os.path.getsize(file) > 0 and os.path.basename(file) != "log"]


def alike(files_of_store, table):
    """Files of its kind: with the same name but for its number."""
    bare = lambda file: os.path.basename(file).strip("0123456789-")  # noqa: E731
    return [file for file in files_of_store if bare(file) == bare(table)]


def each_file(path):
    """One of each kind, and all tables."""
    found = sorted(all_files(path))
    return [file for file in found if file.endswith(".sst") or file == alike(found, file)[0]]


def hurt(path, other, chance, files_of=content_tables):
    """Damages one file of the store in `path`; says how."""
    kind = chance.choice(KINDS)
    return hurt_file(kind, chance.choice(files_of(path)), path, other, chance, files_of)


def hurt_file(kind, table, path, other, chance, files_of=all_files):
    tables = alike(files_of(path), table)
    if kind == "swapped" and len(tables) == 1:
        kind = "zeros"
    size = os.path.getsize(table)
    if kind.startswith("bit"):
        rot.flip(table, chance.randrange(size) if kind == "bit" else size - 1 - chance.randrange(min(size, 6000)), 1 << chance.randrange(8))
    elif kind == "zeros":
        with open(table, "r+b") as handle:
            handle.seek(chance.randrange(size) // 4096 * 4096)
            handle.write(bytes(4096))
    elif kind == "cut":
        os.truncate(table, chance.randrange(size))
    elif kind == "swapped":
        second = chance.choice([found for found in tables if found != table])
        os.rename(table, table + ".aside")
        os.rename(second, table)
        os.rename(table + ".aside", second)
    elif kind == "missing":
        os.unlink(table)
    else:
        shutil.copy(min(alike(files_of(other), table) or files_of(other), key=lambda found: abs(os.path.getsize(found) - size)), table)
    return f"{os.path.basename(table)}: {kind}"


def mount(store, refused=(7,)):
    """Its mountpoint, None if it is refused with one of these codes; and whether it can be written."""
    point = store.area + "/hurt"
    os.makedirs(point, exist_ok=True)
    for options in ([], ["-o", "ro"]):
        result = store.run("mount", store.path, point, *options)
        if result.code == 0:
            store.note(point)
            return point, not options
        assert result.code in refused and "corpusfs: " in result.err, result
    return None, False


def unreadable(directory, wanted):
    """The names of files that answer EIO; all others have what they should."""
    bad = []
    for name, data in wanted.items():
        try:
            assert files.get(f"{directory}/{name}") == data, f"wrong bytes in {name}"
        except OSError as problem:
            assert problem.errno == errno.EIO, problem
            bad.append(name)
    return bad


def heal(store, point, wanted, any_bad):
    """Scrub and damage tell of it; a copy heals it; writing and collecting go on."""
    assert store.run("-s", store.path, "scrub").code in (0, 7)
    assert store.run("-s", store.path, "damage").code == (7 if any_bad else 0)
    for name, data in wanted.items():
        files.put(f"{point}/d/again-{name}", data)
    store.ok("-s", store.path, "sync")
    assert unreadable(point + "/d/.snapshots/v", wanted) == []
    store.ok("-s", store.path, "gc")
    files.put(point + "/d/after", bytes(100000))
    store.ok("-s", store.path, "sync")


def place(run, area, name):
    path = f"{area}/{name}"
    os.mkdir(path)
    return run.store(path)


def play(store, other, wanted, seed):
    """Hurts the store, reads everything, and heals it."""
    store.expected += [r" error damaged", r" error gc "]
    kind = hurt(store.path, other, random.Random(seed))
    point, writable = mount(store)
    print(f"seed {seed}: {kind}, {'refused' if point is None else 'read-write' if writable else 'read-only'}")
    if point is None:
        return
    bad = unreadable(point + "/d", wanted) + unreadable(point + "/d/.snapshots/v", wanted)
    if writable:
        heal(store, point, wanted, bool(bad))


def play_all(run, area, seeds, play_one):
    """play_one() with a copy of the same store for each seed; it returns what is counted beside the stores."""
    first, second = place(run, area, "first"), place(run, area, "second")
    wanted = fill(first, 1)
    fill(second, 2)
    for seed in seeds:
        hurt_one = place(run, area, str(seed))
        try:
            shutil.copytree(first.path, hurt_one.path)
            found = play_one(hurt_one, second.path, wanted, seed)
        finally:
            hurt_one.close()
        counts.note({"damaged stores": 1, **(found or {})})
        shutil.rmtree(hurt_one.area)


@pytest.fixture
def seeds(others, rounds):
    return range(FIRST + others, FIRST + others + (LAST - FIRST + 1) * rounds)


@pytest.mark.soak
@pytest.mark.timeout(60 + 5 * (LAST - FIRST + 1))
def test_damaged_content_is_right_or_eio(run, area, seeds):
    play_all(run, area, seeds, play)


def play_anywhere(store, other, wanted, seed):
    """Hurts any file of the store, and reads everything. Counts what came of it."""
    return read_all(store, wanted, f"seed {seed}: {hurt(store.path, other, random.Random(seed), all_files)}")


def read_all(store, wanted, kind):
    store.expected += [r" error "]
    point, writable = mount(store, range(1, 10))
    came = "refused" if point is None else "read-write" if writable else "read-only"
    print(f"{kind}, {came}")
    found = {f"of them {came}": 1}
    if point is None:
        return found
    for directory in (point + "/d", point + "/d/.snapshots/v"):
        try:
            assert sorted(os.listdir(directory)) == sorted(wanted), "names are missing"
        except OSError as problem:
            assert problem.errno == errno.EIO, problem
        unreadable(directory, wanted)
    assert store.run("-s", store.path, "check").code in (0, 7)
    assert store.run("-s", store.path, "scrub").code in (0, 7)
    return found


@pytest.mark.soak
@pytest.mark.timeout(60 + 5 * (LAST - FIRST + 1))
def test_damage_anywhere_is_right_or_told(run, area, seeds):
    play_all(run, area, seeds, play_anywhere)


@pytest.mark.kinds("kind")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", [kind for kind in dict.fromkeys(KINDS) if kind != "bit in the end"])
def test_every_file_with_each_kind_of_damage_is_right_or_told(run, area, kind):
    def numbers():
        """Of the files; asked for when there are any."""
        yield from range(len(each_file(area + "/first/store")))

    def play_file(store, other, wanted, number):
        table = each_file(store.path)[number]
        if kind == "swapped" and len(alike(all_files(store.path), table)) == 1:
            return None
        return read_all(store, wanted, hurt_file(kind, table, store.path, other, random.Random(number)))

    play_all(run, area, numbers(), play_file)
