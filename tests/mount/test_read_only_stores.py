"""Stores that may be read and not written: features that this program would lose, and media that cannot be written."""

import hashlib
import os
import subprocess
from contextlib import contextmanager

import pytest

from harness import procs, program, superblock


def digest(root):
    """Names, times and content of everything below."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = f"{folder}/{name}"
            stat = os.lstat(path)
            content = hashlib.sha256(procs.read(path)).hexdigest() if os.path.isfile(path) else ""
            found[os.path.relpath(path, root)] = stat.st_mode, stat.st_size, stat.st_mtime_ns, content
    return found


@pytest.fixture
def filled(store):
    """A store with a dataset, a snapshot, and content that is younger than it."""
    point = store.mount()
    os.mkdir(point + "/d")
    for number in range(5):
        with open(f"{point}/d/{number}", "wb") as handle:
            handle.write(bytes([number]) * 300000)
    os.mkdir(point + "/d/.snapshots/v1")
    with open(point + "/d/late", "w", encoding="ascii") as handle:
        handle.write("late")
    store.umount()
    return store


@contextmanager
def unknown_write_feature(store):
    superblock.rewrite(store.path + "/corpusfs", lambda body: body.replace(b"ro-compat 0", b"ro-compat 4"))
    yield


@contextmanager
def read_only_media(store):
    subprocess.run(["mount", "--bind", store.path, store.path], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", store.path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", store.path], check=True)


WAYS = [unknown_write_feature, read_only_media]


@pytest.mark.sanitize
@pytest.mark.parametrize("way", WAYS)
def test_commands_that_read_work_and_touch_nothing(filled, way, area):
    with way(filled):
        before = digest(filled.path + "/db")
        listed = filled.ok("-s", filled.path, "dataset", "list")
        assert "d" in listed.split()
        assert "v1" in filled.ok("-s", filled.path, "snapshot", "list", "d")
        filled.ok("-s", filled.path, "status")
        assert "identity" in filled.ok("-s", filled.path, "snapshot", "show", "d@v1")
        filled.ok("-s", filled.path, "export", "d", area + "/out")
        assert procs.read(area + "/out/4") == bytes([4]) * 300000
        assert procs.read(area + "/out/late") == b"late"
        assert digest(filled.path + "/db") == before


@pytest.mark.parametrize("way", WAYS)
def test_commands_that_write_are_refused_and_say_why(filled, way, area):
    os.mkdir(area + "/in")
    open(area + "/in/file", "wb").close()
    with way(filled):
        before = digest(filled.path + "/db")
        for command in (
            ["snapshot", "create", "d@v2"], ["snapshot", "destroy", "d@v1"], ["rollback", "d@v1"], ["clone", "d@v1", "e"],
            ["dataset", "create", "e"], ["import", area + "/in", "d"], ["gc"],
        ):
            result = filled.run("-s", filled.path, *command)
            assert result.code == program.PERMISSION and len(result.err.splitlines()) == 1, (command, result)
            assert ("features" if way is unknown_write_feature else "media that cannot be written") in result.err, (command, result)
        assert digest(filled.path + "/db") == before


@pytest.mark.sanitize
def test_a_store_with_an_unknown_write_feature_is_mounted_read_only(filled):
    with unknown_write_feature(filled):
        before = digest(filled.path + "/db")
        os.mkdir(filled.area + "/empty")
        refused = filled.run("mount", filled.path, filled.area + "/empty")
        assert refused.code == program.PERMISSION and "-o ro" in refused.err, refused
        point = filled.mount(options="ro")
        assert procs.read(point + "/d/4") == bytes([4]) * 300000
        assert procs.read(point + "/d/.snapshots/v1/0") == bytes([0]) * 300000
        for change in (lambda: os.mkdir(point + "/d/new"), lambda: os.mkdir(point + "/d/.snapshots/v2"), lambda: os.mkdir(point + "/e")):
            with pytest.raises(OSError, match="Read-only"):
                change()
        result = filled.run("snapshot", "create", "d@v2", "-s", filled.path)
        assert result.code == program.PERMISSION, result
        filled.umount()
        assert digest(filled.path + "/db") == before
