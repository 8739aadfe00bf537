"""The superblock, one small file without which nothing can be opened, is damaged or missing: a copy stands for it."""

import os
import shutil
import signal

import pytest

from harness import files, program, rot

CONTENT = os.urandom(300_000)


@pytest.fixture(name="closed")
def _closed(store):
    """A store with a file in it that was mounted and is not."""
    point = store.mount()
    store.create("d")
    files.put(point + "/d/file", CONTENT)
    store.umount()
    return store


def superblock(store):
    return store.path + "/corpusfs"


def instead_a_directory(path):
    os.remove(path)
    os.mkdir(path)


WAYS = {
    "missing": os.remove,
    "empty": lambda path: os.truncate(path, 0),
    "cut off": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "a bit": lambda path: rot.flip(path, 100),
    "a directory": instead_a_directory,
}


def hurt(store, way):
    """What it was."""
    whole = files.get(superblock(store))
    WAYS[way](superblock(store))
    return whole


def is_whole(store, superblock_before):
    assert files.get(superblock(store)) == superblock_before
    assert files.get(store.mount() + "/d/file") == CONTENT
    store.umount()
    assert "nothing is to be repaired" in store.ok("-s", store.path, "repair")


@pytest.mark.parametrize("way", WAYS)
def test_its_copy_takes_its_place(closed, way):
    before = hurt(closed, way)
    refused = closed.run("-s", closed.path, "status")
    assert refused.code == program.DAMAGED and " repair says whether its copy" in refused.err and "init" not in refused.err, refused
    there = sorted(os.listdir(closed.path))
    assert "with --apply the superblock is made anew" in closed.ok("-s", closed.path, "repair")
    assert sorted(os.listdir(closed.path)) == there
    assert "nothing else is to be repaired" in closed.ok("-s", closed.path, "repair", "--apply")
    assert os.path.lexists(closed.path + "/corpusfs.damaged") == (way != "missing"), "what was there is kept"
    is_whole(closed, before)


def test_a_repair_that_dies_is_done_again(closed):
    before = hurt(closed, "a bit")
    assert closed.run("-s", closed.path, "repair", "--apply", env={"CORPUSFS_FAULT": "mend-before-superblock:kill"}).code == -signal.SIGKILL
    closed.ok("-s", closed.path, "repair", "--apply")
    is_whole(closed, before)


@pytest.mark.parametrize("way", WAYS)
def test_without_a_copy_nothing_is_changed_and_it_is_said(closed, way):
    os.remove(closed.path + "/corpusfs.copy")
    hurt(closed, way)
    there = sorted(os.listdir(closed.path))
    for words in (["repair"], ["repair", "--apply"]):
        result = closed.run("-s", closed.path, *words)
        assert result.code == program.DAMAGED and "its copy" in result.err, result
    assert sorted(os.listdir(closed.path)) == there


def test_a_damaged_copy_is_written_anew_and_never_read(closed):
    whole = files.get(superblock(closed))
    rot.flip(closed.path + "/corpusfs.copy", 100)
    closed.ok("-s", closed.path, "dataset", "list")
    assert files.get(closed.path + "/corpusfs.copy") == whole


def test_a_store_whose_database_has_another_name_has_only_lost_its_superblock(closed):
    """The database is db.WORD after the store was taken from an owner who might come back."""
    shutil.move(closed.path + "/db", closed.path + "/db.0123456789abcdef")
    before = hurt(closed, "missing")
    assert "superblock" in closed.run("-s", closed.path, "status").err
    closed.ok("-s", closed.path, "repair", "--apply")
    is_whole(closed, before)


def test_a_store_with_two_databases_is_told_which(closed):
    shutil.copytree(closed.path + "/db", closed.path + "/db.0123456789abcdef")
    result = closed.run("-s", closed.path, "status")
    assert result.code == program.DAMAGED and "move all but one of them away" in result.err, result


def test_the_superblock_of_a_store_that_is_in_use_is_left_alone(closed):
    point = closed.mount()
    before = hurt(closed, "missing")
    assert closed.run("-s", closed.path, "repair", "--apply").code == program.BUSY
    assert not os.path.exists(superblock(closed))
    assert files.get(point + "/d/file") == CONTENT
    files.put(superblock(closed), before)
    closed.umount()
