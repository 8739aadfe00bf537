"""The list of the database's tables, MANIFEST and CURRENT, is damaged or missing: repair brings the store back, whole."""

import glob
import json
import os
import signal

import pytest

from harness import files, program, rot
from harness.damaged import contents, database, listing, noise, refused, synced

COUNT = 12
SIZES = (3000, 90000, 400000)


def content(number):
    return noise(number, SIZES[number % len(SIZES)])


@pytest.fixture(name="killed")
def _killed(store):
    """The list of tables of a store whose daemon was killed after everything was synced; the log has some of it, tables have the rest."""
    point = store.mount()
    store.create("d")
    for number in range(COUNT):
        synced(f"{point}/d/{number}", content(number))
        if number == COUNT // 2:
            store.ok("-s", store.path, "snapshot", "create", "d@v1")
            store.umount()
            store.mount(point)
    store.kill()
    return glob.glob(database(store) + "/MANIFEST-*")[0]


def is_whole(store):
    point = store.mount()
    assert contents(point + "/d") == {str(number): content(number) for number in range(COUNT)}
    assert contents(point + "/d/.snapshots/v1") == {str(number): content(number) for number in range(COUNT // 2 + 1)}
    synced(point + "/d/new", b"new")
    store.ok("-s", store.path, "scrub")
    store.umount()
    assert "gave up" not in store.ok("-s", store.path, "check")
    assert "nothing is to be repaired" in store.ok("-s", store.path, "repair")
    assert not glob.glob(store.path + "/mending*")


def flip(part):
    return lambda path: rot.flip(path, int(os.path.getsize(path) * part))


def current(text):
    return lambda path: files.put(os.path.dirname(path) + "/CURRENT", text)


WAYS = {
    "first byte": flip(0),
    "at the start": flip(0.1),
    "in the middle": flip(0.5),
    "at the end": flip(0.99),
    "half": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "one byte less": lambda path: os.truncate(path, os.path.getsize(path) - 1),
    "empty": lambda path: os.truncate(path, 0),
    "missing": os.unlink,
    "CURRENT missing": lambda path: os.unlink(os.path.dirname(path) + "/CURRENT"),
    "CURRENT empty": current(b""),
    "CURRENT nonsense": current(b"\x00\xff" * 8),
    "CURRENT of an older list": current(b"MANIFEST-000001\n"),
}


@pytest.mark.kinds("way")
@pytest.mark.parametrize("way", WAYS)
def test_damaged_list_of_tables_is_refused_and_repaired(store, killed, way):
    WAYS[way](killed)
    refused(store, store.area + "/mnt", "db/CURRENT" if way.startswith("CURRENT") and "older" not in way else "db/MANIFEST-")
    assert "corpusfs repair" in store.run("mount", store.path, store.area + "/mnt").err
    before = listing(database(store))
    said = store.ok("-s", store.path, "repair")
    assert os.path.basename(killed) in said and "nothing was changed" in said and listing(database(store)) == before
    repaired = json.loads(store.ok("-s", store.path, "repair", "--apply", "--json"))
    assert repaired["manifest"] and not repaired["lost"] and not repaired["tables"] and not repaired["heads"]
    assert listing(repaired["kept"]) == before
    is_whole(store)


@pytest.mark.sanitize
@pytest.mark.kinds("fault")
@pytest.mark.parametrize("fault", ["mend-before-kept", "mend-before-manifest", "mend-before-exchange", "mend-after-exchange"])
def test_repair_of_the_list_of_tables_that_dies_is_done_again(store, killed, fault):
    os.unlink(killed)
    before = listing(database(store))
    assert store.run("-s", store.path, "repair", "--apply", env={"CORPUSFS_FAULT": f"{fault}:kill"}).code == -signal.SIGKILL
    kept = glob.glob(store.path + "/before-repair-*")
    assert all(listing(path) == before for path in kept) and len(kept) == (fault != "mend-before-kept")
    if fault == "mend-after-exchange":
        assert "interrupted" in store.run("-s", store.path, "dataset", "list").err
    else:
        refused(store, store.area + "/mnt", os.path.basename(killed))
    assert "interrupted" in store.ok("-s", store.path, "repair")
    assert "interrupted" in store.ok("-s", store.path, "repair", "--apply")
    is_whole(store)


def names(store):
    return sorted(name for name in os.listdir(store.path) if not name.startswith("owner."))


@pytest.mark.parametrize("fault", ["mend-before-kept", "mend-before-manifest", "mend-before-exchange"])
def test_repair_of_the_list_of_tables_that_fails_leaves_nothing(store, killed, fault):
    os.unlink(killed)
    before = names(store)
    assert store.run("-s", store.path, "repair", "--apply", env={"CORPUSFS_FAULT": f"{fault}:enospc"}).code == program.NO_SPACE
    assert names(store) == before


def test_what_else_is_damaged_is_told_before_it_is_repaired(store, killed):
    os.unlink(killed)
    log = max(glob.glob(database(store) + "/*.log"))
    os.truncate(log, os.path.getsize(log) // 2)
    first = store.ok("-s", store.path, "repair", "--apply")
    assert os.path.basename(log) in first and "--apply once more" in first
    refused(store, store.area + "/mnt", os.path.basename(log))
    assert json.loads(store.ok("-s", store.path, "repair", "--apply", "--json"))["lost"]
    point = store.mount()
    found = contents(point + "/d")
    assert len(found) < COUNT and contents(point + "/d/.snapshots/v1") == {str(number): content(number) for number in range(COUNT // 2 + 1)}


def test_list_of_tables_that_is_damaged_while_a_store_is_mounted_is_repaired(store):
    """Nobody reads it then; the copy goes on from the end that the database writes."""
    point = store.mount()
    store.create("d")
    for number in range(COUNT // 2):
        synced(f"{point}/d/{number}", content(number))
    path = glob.glob(database(store) + "/MANIFEST-*")[0]
    rot.flip(path, os.path.getsize(path) // 3)
    for number in range(COUNT // 2, COUNT):
        synced(f"{point}/d/{number}", content(number))
    store.umount()
    refused(store, point, os.path.basename(path))
    store.ok("-s", store.path, "repair", "--apply")
    assert contents(store.mount(point) + "/d") == {str(number): content(number) for number in range(COUNT)}


def test_superblock_and_list_of_tables_that_are_both_gone_are_mended_one_after_the_other(store, killed):
    os.unlink(store.path + "/corpusfs")
    os.unlink(database(store) + "/CURRENT")
    said = store.ok("-s", store.path, "repair", "--apply")
    assert "superblock was made anew" in said and "corpusfs.damaged" not in said, "there was none that could be kept"
    assert "nothing else was changed" in said and not os.path.exists(database(store) + "/CURRENT")
    said = store.ok("-s", store.path, "repair", "--apply")
    assert "the list of tables was mended" in said and glob.glob(store.path + "/before-repair-*")[0] in said
    is_whole(store)
