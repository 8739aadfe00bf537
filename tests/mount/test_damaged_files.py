"""Files of a store's database that are damaged, missing or shorter: what is told, what is refused, what can be read."""

import errno
import glob
import json
import os
import random
import shutil
import signal

import pytest

from harness import program, rot, write_ahead_log
from harness.damaged import contents, database, listing, noise, refused, synced


@pytest.fixture(name="killed")
def _killed(store):
    """The newest log of a store whose daemon was killed right after the fsync of d/19."""
    point = store.mount()
    store.create("d")
    for number in range(20):
        synced(f"{point}/d/{number}", noise(number, 5000))
        if number == 15:
            store.ok("-s", store.path, "snapshot", "create", "d@late")
    store.kill()
    return max(glob.glob(store.path + "/db*/*.log"))


@pytest.mark.sanitize
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_flipped_bit_in_the_log_is_refused_and_what_is_before_it_can_be_read(store, killed, place):
    """Of the first record, of one in the middle, of the last one that somebody was told to be on disk."""
    ends = write_ahead_log.promised(killed)
    assert len(ends) >= 20
    rot.flip(killed, ends[int((len(ends) - 1) * place)] - 1)
    point = f"{store.area}/mnt"
    refused(store, point, killed)
    result = store.run("mount", "-o", "ro", store.path, point)
    assert result.code == 0 and killed in result.err and "changes that were on disk" in result.err, result
    store.note(point)
    found = contents(point + "/d") if os.path.exists(point + "/d") else {}
    last = str(len(found) - 1)
    assert all(data == noise(int(name), 5000) or (name == last and data == b"") for name, data in found.items()), list(found)
    with pytest.raises(OSError) as problem:
        os.mkdir(point + "/new")
    assert problem.value.errno == errno.EROFS
    store.umount()
    refused(store, point, killed)


def test_missing_or_shorter_log_is_refused(store, killed):
    whole = write_ahead_log.promised(killed)[-1]
    for length in (whole - 1, whole // 2, 0):
        os.truncate(killed, length)
        refused(store, store.area + "/mnt", killed)
    os.unlink(killed)
    refused(store, store.area + "/mnt", killed)


def test_where_only_synced_is_missing_nobody_speaks_of_lost_changes(store):
    point = store.mount()
    store.create("d")
    synced(point + "/d/file", noise("file", 5000))
    store.umount()
    os.unlink(glob.glob(store.path + "/db*/SYNCED")[0])
    result = store.run("mount", store.path, point)
    assert result.code == program.DAMAGED and "repair --apply takes the write-ahead log as it is" in result.err, result
    looked, done = store.ok("-s", store.path, "repair"), store.ok("-s", store.path, "repair", "--apply")
    assert "with --apply the write-ahead log is taken as it is, and the store can be written again" in looked and "given up" not in looked
    assert "the write-ahead log was taken as it is; the database as it was is kept in" in done and "given up" not in done
    assert contents(store.mount() + "/d") == {"file": noise("file", 5000)}


def test_repair_says_what_is_lost_and_gives_it_up_when_told_to(store, killed):
    rot.flip(killed, os.path.getsize(killed) // 2)
    before = listing(database(store))
    said = store.ok("-s", store.path, "repair")
    assert killed in said and "changes that were on disk" in said and "datasets d;" in said and "d@late" in said and listing(database(store)) == before
    kept = json.loads(store.ok("-s", store.path, "repair", "--apply", "--json"))["kept"]
    assert listing(kept) == before
    point = store.mount()
    found = contents(point + "/d")
    last = str(len(found) - 1)
    assert 5 < len(found) < 20 and all(data == noise(int(name), 5000) for name, data in found.items() if name != last)
    synced(point + "/d/new", noise("new"))
    store.kill()
    assert contents(store.mount(point) + "/d") == {**found, "new": noise("new")}
    store.umount()
    assert "nothing" in store.ok("-s", store.path, "repair")
    shutil.rmtree(database(store))
    os.rename(kept, store.path + "/db")
    refused(store, point, os.path.basename(killed))


def test_repair_that_dies_changes_nothing_and_can_be_begun_anew(store, killed):
    rot.flip(killed, os.path.getsize(killed) // 2)
    before = listing(database(store))
    assert store.run("-s", store.path, "repair", "--apply", env={"CORPUSFS_FAULT": "mend-before-log:kill"}).code == -signal.SIGKILL
    assert listing(database(store)) == before
    refused(store, store.area + "/mnt", killed)
    store.ok("-s", store.path, "repair", "--apply")
    store.mount()


def test_repair_of_what_it_cannot_mend_changes_nothing(store):
    store.create("d")
    lost = glob.glob(store.path + "/db*/MANIFEST-*")[0]
    os.unlink(lost)
    os.unlink(database(store) + "/MANIFEST.copy")
    before = listing(database(store))
    for more in ([], ["--apply"]):
        result = store.run("-s", store.path, "repair", *more)
        assert result.code == program.DAMAGED and lost in result.err, result
    assert listing(database(store)) == before and not glob.glob(store.path + "/before-repair*")


def test_log_without_what_nobody_was_promised_opens(store, killed):
    with open(killed, "ab") as handle:
        handle.write(bytes(5000))
    found = contents(store.mount() + "/d")
    assert found == {str(number): noise(number, 5000) for number in range(20)}


def test_lost_content_is_an_error_and_the_rest_can_be_read(store):
    point = store.mount()
    store.create("d")
    for number in range(6):
        synced(f"{point}/d/{number}", noise(number, 3 << 20))
        store.ok("-s", store.path, "sync")
    store.umount()
    lost = rot.tables_with(store, noise(2, 3 << 20)[1000:1064])
    assert len(lost) == 1
    os.unlink(lost[0])
    refused(store, point, lost[0])
    result = store.run("mount", "-o", "ro", store.path, point)
    assert result.code == 0 and "content of files" in result.err, result
    store.note(point)
    store.expected.append("damage")
    found = contents(point + "/d")
    assert found["2"] == errno.EIO and len(found) == 6
    assert any(found[str(number)] == noise(number, 3 << 20) for number in range(6))
    assert all(data in (errno.EIO, noise(int(name), 3 << 20)) for name, data in found.items())


@pytest.mark.parametrize("options", ["ro", "ro,salvage"])
def test_the_loss_of_all_content_leaves_names_and_small_files(store, options):
    point = store.mount()
    store.create("d")
    synced(point + "/d/small", b"small")
    synced(point + "/d/large", noise("large", 3 << 20))
    store.umount()
    lost = rot.tables_with(store, noise("large", 3 << 20)[1000:1064])
    for path in lost:
        os.unlink(path)
    assert lost
    refused(store, point, os.path.basename(lost[0]))
    result = store.run("mount", "-o", options, store.path, point)
    assert result.code == 0 and "content of files" in result.err, result
    store.note(point)
    store.expected.append("damage")
    assert contents(point + "/d") == {"small": b"small", "large": errno.EIO}


def test_lost_names_are_refused_unless_asked_for(store):
    point = store.mount()
    store.create("d")
    name = noise(0, 60).hex()
    os.mkdir(f"{point}/d/{name}")
    store.umount()
    lost = rot.tables_with(store, name[40:80].encode())[0]
    os.truncate(lost, os.path.getsize(lost) - 1)
    refused(store, point, lost)
    assert store.run("mount", "-o", "ro", store.path, point).code == program.DAMAGED
    result = store.run("mount", "-o", "salvage", store.path, point)
    assert result.code == 0 and "names" in result.err, result
    store.note(point)
    store.expected.append("damage")
    with pytest.raises(OSError) as problem:
        os.listdir(point + "/d")
    assert problem.value.errno == errno.EIO


def test_every_file_of_the_database_swapped_with_another_is_refused_or_harmless(store, area):
    point = store.mount()
    store.create("d")
    for number in range(10):
        synced(f"{point}/d/{number}", noise(number))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    wanted = {str(number): noise(number) for number in range(10)}
    names = sorted(os.listdir(store.path + "/db"))
    shutil.copytree(store.path, area + "/whole")
    for one, other in zip(names, names[1:]):
        shutil.rmtree(store.path + "/db")
        shutil.copytree(area + "/whole/db", store.path + "/db")
        shutil.copy(f"{area}/whole/db/{one}", f"{store.path}/db/{other}")
        result = store.run("mount", store.path, point)
        assert result.code in (0, program.DAMAGED), (one, other, result)
        if result.code == 0:
            store.note(point)
            assert contents(point + "/d") == wanted, (one, other)
            store.umount()
