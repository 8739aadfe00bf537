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


@contextmanager
def read_only_image(store):
    """A copy of the store on an ext4 that is mounted read-only: the kernel has no way to write either."""
    image, real = store.area + "/image", store.path
    with open(image, "wb") as handle:
        handle.truncate(300 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", store.path, image], check=True, timeout=60)
    store.path = store.area + "/disk"
    os.mkdir(store.path)
    subprocess.run(["mount", "-o", "loop,ro,noload", image, store.path], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["umount", store.path], check=True, timeout=60)
        store.path = real


MEDIA = [read_only_media, read_only_image]
WAYS = [unknown_write_feature, *MEDIA]


@pytest.mark.sanitize
@pytest.mark.parametrize("way", WAYS)
def test_commands_that_read_work_and_touch_nothing(filled, way, area):
    with way(filled):
        before = digest(filled.path)
        listed = filled.ok("-s", filled.path, "dataset", "list")
        assert "d" in listed.split()
        assert "v1" in filled.ok("-s", filled.path, "snapshot", "list", "d")
        filled.ok("-s", filled.path, "status")
        assert "identity" in filled.ok("-s", filled.path, "snapshot", "show", "d@v1")
        filled.ok("-s", filled.path, "export", "d", area + "/out")
        assert procs.read(area + "/out/4") == bytes([4]) * 300000
        assert procs.read(area + "/out/late") == b"late"
        for command in (
            ["check"], ["damage"], ["diff", "d@v1"], ["du"], ["versions", "d/4"], ["dataset", "show", "d"], ["snapshot", "schedule", "d"],
            ["scrub", "schedule"], ["rollback", "d@v1", "-n"], ["gc", "-n"], ["warm", "d"], ["doctor"], ["send", "d@v1"],
        ):
            filled.ok("-s", filled.path, *command)
            assert digest(filled.path) == before, command


@pytest.mark.parametrize("way", WAYS)
def test_commands_that_write_are_refused_and_say_why(filled, way, area):
    os.mkdir(area + "/in")
    open(area + "/in/file", "wb").close()
    with way(filled):
        before = digest(filled.path)
        for command in (
            ["snapshot", "create", "d@v2"], ["snapshot", "destroy", "d@v1"], ["rollback", "d@v1"], ["clone", "d@v1", "e"],
            ["dataset", "create", "e"], ["import", area + "/in", "d"], ["gc"],
        ):
            result = filled.run("-s", filled.path, *command)
            assert result.code == program.PERMISSION and len(result.err.splitlines()) == 1, (command, result)
            assert ("features" if way is unknown_write_feature else "media that cannot be written") in result.err, (command, result)
        assert digest(filled.path) == before


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


@pytest.mark.sanitize
@pytest.mark.parametrize("way", MEDIA)
def test_a_store_on_read_only_media_is_mounted(filled, way):
    with way(filled):
        before = digest(filled.path)
        os.mkdir(filled.area + "/empty")
        refused = filled.run("mount", filled.path, filled.area + "/empty")
        assert refused.code == program.PERMISSION and "-o ro" in refused.err, refused
        points = [filled.mount(options="ro"), filled.area + "/second"]
        os.mkdir(points[1])
        filled.ok("mount", filled.path + ":d@v1", points[1])  # by a daemon of its own, since there is no socket to meet at
        assert procs.read(points[1] + "/4") == bytes([4]) * 300000
        assert procs.read(points[0] + "/d/late") == b"late"
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(points[0] + "/d/new")
        assert "read-only" in filled.ok("-s", filled.path, "status")
        assert "v1" in filled.ok("-s", filled.path, "snapshot", "list", "d")
        assert "d" in filled.ok("dataset", "list", cwd=points[0] + "/d")
        with open(points[0] + "/d/0", "rb"):
            busy = filled.run("umount", points[0])
            assert busy.code == program.BUSY and procs.fuse_mounts(points[0]), busy
        for point in points:
            filled.ok("umount", point)
            assert not procs.fuse_mounts(point)
        filled.points.clear()
        procs.poll(lambda: not filled.daemons(), 20 * program.scale(), "the daemons leave")
        filled.pid = None
        assert digest(filled.path) == before


@pytest.mark.sanitize
@pytest.mark.parametrize("way", MEDIA)
def test_what_was_synced_before_a_crash_is_read_from_the_log(filled, way, area):
    """The store was not closed, and cannot be put right now: its log is read each time."""
    point = filled.mount()
    for number in range(200):
        with open(f"{point}/d/new-{number}", "wb") as handle:
            handle.write(bytes([number]) * 5000)
    filled.ok("sync", point)
    filled.kill()
    with way(filled):
        before = digest(filled.path)
        filled.ok("-s", filled.path, "export", "d", area + "/out")
        point = filled.mount(options="ro")
        for number in range(200):
            assert procs.read(f"{area}/out/new-{number}") == procs.read(f"{point}/d/new-{number}") == bytes([number]) * 5000
        filled.umount()
        assert digest(filled.path) == before


def test_who_may_only_read_a_store_reads_it(filled, area):
    os.chmod(filled.area, 0o755)
    for folder, _, _ in os.walk(filled.path):
        os.chmod(folder, 0o755)
    before = digest(filled.path)
    other = {"user": 65534}
    assert "d" in filled.ok("-s", filled.path, "dataset", "list", **other)
    assert "read-only" in filled.ok("-s", filled.path, "status", **other)
    os.mkdir(area + "/theirs")
    os.chown(area + "/theirs", 65534, 65534)
    filled.ok("-s", filled.path, "export", "d@v1", area + "/theirs/out", **other)
    assert procs.read(area + "/theirs/out/3") == bytes([3]) * 300000
    result = filled.run("-s", filled.path, "dataset", "create", "e", **other)
    assert result.code == program.PERMISSION and "only read" in result.err, result
    assert digest(filled.path) == before
    filled.ok("-s", filled.path, "dataset", "create", "e")
