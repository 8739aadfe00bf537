"""Who reads a dataset while its head is replaced has what there was when the reading began, or an error: never less."""

import hashlib
import io
import os
import subprocess
import tarfile

import pytest

from harness import program
from harness.files import put
from harness.snapshots import cli, collected, names

FILES = 2000


def content(number, state):
    return hashlib.sha256(b"%d %d" % (number, state)).digest() * 100


def fill(folder, state):
    for number in range(FILES // program.scale()):
        place = f"{folder}/{number % 20}"
        os.makedirs(place, exist_ok=True)
        put(f"{place}/{number}", content(number, state))


class Export:
    """Writes a tar into a pipe; nothing is read from it but what is asked for."""

    def __init__(self, store, source):
        environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
        self.told = open(f"{store.logs}/export.err", "w+b")
        self.process = subprocess.Popen([store.binary, "-s", store.path, "export", source, "-"], env=environment,
                                        stdout=subprocess.PIPE, stderr=self.told)
        self.begun = self.process.stdout.read(1 << 16)

    def finish(self):
        data = self.begun + self.process.stdout.read()
        assert self.process.wait(60) == 0, open(self.told.name, encoding="utf-8").read()
        self.told.close()
        return data


def check(archive, state):
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.isfile():
                found[os.path.basename(member.name)] = tar.extractfile(member).read()
    expected = {str(number): content(number, state) for number in range(FILES // program.scale())}
    assert len(found) == len(expected)
    assert found == expected


@pytest.mark.sanitize
def test_an_export_that_is_paused_over_a_rollback_has_every_file(fs, store):
    """The guard that would keep the state is destroyed, and collected, while the export waits."""
    fill(fs, 1)
    os.mkdir(fs + "/.snapshots/old")
    subprocess.run(["find", fs, "-mindepth", "1", "-delete"], check=True)
    fill(fs, 2)
    export = Export(store, "d")
    cli(store, "rollback", "d@old")
    guard, = (name for name in names(store) if name != "old")
    cli(store, "snapshot", "destroy", f"d@{guard}")
    collected(store)
    check(export.finish(), 2)
    collected(store)
    assert names(store) == ["old"]
    after = Export(store, "d@old")
    check(after.finish(), 1)


@pytest.mark.sanitize
def test_an_export_that_is_paused_over_a_rollback_without_guard_has_every_file(fs, store):
    fill(fs, 1)
    os.mkdir(fs + "/.snapshots/old")
    fill(fs, 2)
    export = Export(store, "d")
    cli(store, "rollback", "--no-guard", "d@old")
    collected(store)
    check(export.finish(), 2)
    check(Export(store, "d").finish(), 1)


def test_the_list_of_snapshots_that_is_open_over_a_rollback_goes_on(fs, store):
    """It is the dataset's, and the same before and after."""
    fill(fs, 1)
    os.mkdir(fs + "/.snapshots/old")
    handle = os.open(fs + "/.snapshots", os.O_RDONLY | os.O_DIRECTORY)
    try:
        cli(store, "rollback", "--no-guard", "d@old")
        os.mkdir(fs + "/.snapshots/new")
        assert sorted(os.listdir(handle)) == ["new", "old"]
        assert os.stat("new", dir_fd=handle).st_mode == os.stat("old", dir_fd=handle).st_mode
        os.rmdir("new", dir_fd=handle)
        assert os.listdir(handle) == ["old"] == os.listdir(fs + "/.snapshots")
        os.fstat(handle)
        cli(store, "dataset", "destroy", "--snapshots", "d")
        with pytest.raises(OSError):
            os.listdir(handle)
    finally:
        os.close(handle)


@pytest.mark.parametrize("root", ["", "of the dataset", "of a mount", "of a bind"])
def test_a_directory_that_is_open_over_a_rollback_is_stale_and_not_short(fs, store, root):
    """The mount promises that nobody reads a mixture: a listing that was begun before ends with an error. A dataset's root goes on, too."""
    if root == "of a mount":
        store.umount()
    if root in ("of a mount", "of a bind"):
        fs = store.mount(dataset="d")
    place = fs if root else fs + "/0"
    os.makedirs(place, exist_ok=True)
    os.mkdir(fs + "/.snapshots/empty")
    for number in range(5000):
        put(f"{place}/more{number}", b"")
    os.mkdir(fs + "/.snapshots/old")
    for number in range(1000, 2000):
        os.unlink(f"{place}/more{number}")
    with os.scandir(place) as listing:
        next(listing)
        cli(store, "rollback", "d@old")
        with pytest.raises(OSError, match="Stale file handle"):
            for _ in listing:
                pass
    if root:
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        assert len(os.listdir(handle)) == len(os.listdir(place)) == 5000
        cli(store, "rollback", "d@empty")
        assert os.listdir(handle) == os.listdir(place) == []
        os.close(handle)
