"""The index made anew never knows less than the old one because something is not there now: a disk that is not mounted, a folder that was not copied."""

import glob
import os
import shlex

import pytest

from harness import program, tree
from harness.repository import restic_check


def index_files(repository):
    return set(glob.glob(repository.path + "/index/*"))


def refused(repository, code=program.NOT_FOUND, options=()):
    """Nothing is changed, and why."""
    before = index_files(repository)
    said = repository.run("backup", "rebuild-index", repository.path, *options, code=code).err
    assert before and index_files(repository) == before and "the index is as it was" in said, said
    return said


def assert_comes_back(repository, source, area):
    assert repository.json("backup", "rebuild-index", repository.path)["problem_count"] == 0
    assert repository.verify()["problem_count"] == 0
    repository.restore(area + "/out")
    tree.assert_same(source, area + "/out")
    restic_check(repository)


@pytest.mark.parametrize("damaged", [False, True])
def test_folder_of_packs_that_is_missing_changes_nothing(repository, source, area, damaged):
    """All of them or one; also where the index that names what is in it is damaged."""
    repository.backup("d")
    data = repository.path + "/data"
    if damaged:
        for name in index_files(repository):
            os.chmod(name, 0o600)
            with open(name, "r+b") as handle:
                handle.seek(40)
                handle.write(b"damage")
    os.rename(data, area + "/elsewhere")
    said = refused(repository)
    assert "folder data is missing" in said and "mount" in said and "--drop" not in said, said
    os.rename(area + "/elsewhere", data)
    folder = os.path.dirname(max(repository.packs(), key=os.path.getsize))
    os.rename(folder, area + "/elsewhere")
    said = refused(repository)
    assert f"folder data/{os.path.basename(folder)} is missing" in said and "--drop-missing" in said, said
    os.rename(area + "/elsewhere", folder)
    assert_comes_back(repository, source, area)


def test_folder_of_packs_that_cannot_be_opened_changes_nothing(repository, source, area):
    repository.backup("d")
    folder = os.path.dirname(max(repository.packs(), key=os.path.getsize))
    os.rename(folder, area + "/elsewhere")
    os.symlink(area + "/elsewhere", folder)
    for options in ([], ["--drop-missing"]):
        assert "cannot be opened" in refused(repository, program.USAGE, options)
    os.remove(folder)
    os.rename(area + "/elsewhere", folder)
    assert_comes_back(repository, source, area)


def test_pack_that_the_index_names_and_that_is_missing_is_dropped_only_when_told(repository, source, area):
    """The folder is there, empty: the mount point of a disk."""
    repository.backup("d")
    lost = max(repository.packs(), key=os.path.getsize)
    size = os.path.getsize(lost)
    os.rename(lost, area + "/elsewhere")
    said = refused(repository)
    assert "1 pack that the index names" in said and f"{size >> 20} MiB" in said and os.path.basename(lost)[:8] in said, said
    os.rename(area + "/elsewhere", lost)
    assert_comes_back(repository, source, area)
    os.remove(lost)
    hinted = shlex.split(refused(repository).rpartition("corpusfs ")[2])
    told = repository.json(*hinted, code=program.FAILED)
    assert [row["path"] for row in told["problems"]] == ["pack/" + os.path.basename(lost)] and told["problem_count"] == 1
    assert repository.json("backup", "rebuild-index", repository.path)["problem_count"] == 0


def test_folder_that_is_missing_is_dropped_only_when_told(repository, source):
    """As of a copy that has no empty folders."""
    repository.backup("d")
    empty = next(folder for folder in glob.glob(repository.path + "/data/*") if not os.listdir(folder))
    os.rmdir(empty)
    hinted = shlex.split(refused(repository).rpartition("corpusfs ")[2])
    assert repository.json(*hinted)["problem_count"] == 0
    assert repository.verify()["problem_count"] == 0
    restic_check(repository)


@pytest.mark.parametrize("missing", ["nothing", "files", "folder"])
def test_who_misses_what_a_damaged_or_missing_index_names_is_led_to_rebuild_index(repository, source, area, missing):
    repository.backup("d")
    for name in index_files(repository):
        os.chmod(name, 0o600)
        if missing == "nothing":
            os.truncate(name, 0)
        else:
            os.remove(name)
    if missing == "folder":
        os.rmdir(repository.path + "/index")
    cure = f"corpusfs backup rebuild-index {repository.path}"
    commands = [["restore", repository.path, area + "/out"]]
    if missing != "files":
        commands += [["backup", "d", repository.path], ["backup", "prune", repository.path], ["backup", "drill", repository.path, "--memory"]]
    for command in commands:
        assert cure in repository.run(*command, code=program.NOT_FOUND if missing == "folder" else program.DAMAGED).err
    assert_comes_back(repository, source, area)
