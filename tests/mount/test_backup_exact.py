"""What no tree of restic can say stands in the description of the backup, and comes back as it was."""

import errno
import hashlib
import os
import subprocess

import pytest

from harness import files, procs, program, tree
from harness.repository import restic_check

ODD = b"user.caf\xe9"  # not UTF-8


def odd_xattrs(top):
    found = {}
    for path, _, names in os.walk(os.fsencode(top)):
        for name in (path, *(path + b"/" + name for name in names)):
            if os.path.islink(name) or not (os.path.isfile(name) or os.path.isdir(name)):
                continue
            found[os.path.relpath(name, os.fsencode(top))] = {key: os.getxattr(name, key) for key in os.listxattr(name) if key.startswith("user.")}
    return found


def test_extended_attributes_whose_names_are_not_utf8_come_back(repository, store, area):
    point = store.mount()
    os.makedirs(point + "/d/changes")
    for number, name in enumerate(("", "/a", "/a/b", "/a/1", "/changes")):
        os.setxattr(point + "/d" + name, ODD, b"\0\xff" * number)
    os.setxattr(point + "/d/a/1", "user.plain", b"plain")
    os.setxattr(point + "/d/a/1", b"user.\xff\xfe", b"v" * 3000)
    assert repository.backup("d")["problem_count"] == 0
    files.put(point + "/d/changes/file", b"a change")
    done = repository.backup("d", kind="incremental")
    assert done["problem_count"] == 0 and done["compared"]
    wanted = odd_xattrs(point + "/d")
    assert wanted[b"a/1"] == {ODD.decode("utf-8", "surrogateescape"): b"\0\xff" * 3, "user.plain": b"plain", "user.\udcff\udcfe": b"v" * 3000}
    assert repository.json("restore", repository.path, area + "/out")["same"]
    assert odd_xattrs(area + "/out") == wanted
    repository.restore("again")
    assert odd_xattrs(point + "/again") == wanted
    tree.assert_same(point + "/d", point + "/again")
    repository.restore(area + "/part", None, "--path", "a")
    assert odd_xattrs(area + "/part")[b"1"] == wanted[b"a/1"]
    assert repository.verify()["problem_count"] == 0
    restic_check(repository)


def test_times_that_the_target_cannot_have_are_named(repository, store, area):
    """ext4 has those from 1901 to 2446."""
    point = store.mount()
    late, early = 1 << 40, -(1 << 40)
    os.mkdir(point + "/d/late")
    os.symlink("nowhere", point + "/d/late/link")
    for path, time in (("/d/a/1", late), ("/d/late/link", early), ("/d/late", late), ("/d/a/b", 4102444800)):
        os.utime(point + path, (time, time), follow_symlinks=False)
    repository.backup("d")
    done = repository.json("restore", repository.path, area + "/out")
    assert done["same"] and done["clamped"] == 3 and set(done["clamped_first"].split(", ")) == {"a/1", "late", "late/link"}, done
    said = repository.restore(area + "/one", None, "--path", "a/1")
    assert "the times of 1 are too early or too late" in said.err and "identity" not in said.err, said.err
    repository.restore("again")
    assert os.stat(point + "/again/a/1").st_mtime == late and os.lstat(point + "/again/late/link").st_mtime == early
    assert os.stat(point + "/again/late").st_mtime == late


def stretches(path):
    """Where a file has data, and which."""
    with open(path, "rb") as file:
        size, found, at = os.fstat(file.fileno()).st_size, [], 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                assert error.errno == errno.ENXIO
                break
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            found.append((at, end, hashlib.sha256(os.pread(file.fileno(), end - at, at)).hexdigest()))
            at = end
        return size, found


@pytest.fixture(name="huge")
def _huge(store):
    """Files with more than 16 TiB in holes, as many as there are zeros for in no repository: {name: what is in it}."""
    point = store.mount()
    os.mkdir(point + "/d/huge")
    parts = {
        "begin": (1 << 62, {0: b"begin", 20 << 40: os.urandom(300000), (60 << 40) + 5: b"x"}),
        "middle": (1 << 61, {3: b"middle" * 40000}),
        "end": ((17 << 40) + 1, {17 << 40: b"e"}),
        "empty": (30 << 40, {}),
    }
    for name, (size, data) in parts.items():
        with open(f"{point}/d/huge/{name}", "wb") as file:
            for offset, content in data.items():
                os.pwrite(file.fileno(), content, offset)
            os.ftruncate(file.fileno(), size)
    return {name: stretches(f"{point}/d/huge/{name}") for name in parts}


def assert_huge(top, huge):
    assert {name: stretches(f"{top}/huge/{name}") for name in huge} == huge


def test_files_with_more_holes_than_there_are_zeros_for_come_back(repository, store, huge):
    point = store.mount()
    assert repository.backup("d")["problem_count"] == 0
    files.put(point + "/d/small", b"a change")
    done = repository.backup("d", kind="incremental")
    assert done["problem_count"] == 0 and done["compared"] and done["files"] == 1, done
    assert repository.verify()["problem_count"] == 0
    restic_check(repository)
    assert [row["same"] for row in repository.json("backup", "drill", repository.path, "--memory")] == [True, True]
    assert repository.json("restore", repository.path, "again")["same"]
    assert_huge(point + "/again", huge)
    os.mkdir(point + "/again/directory")
    target = point + "/again/directory/"
    os.mkdir(target + "huge")

    def restore():
        done = repository.json("restore", repository.path, target + "huge", "--path", "huge")
        assert_huge(target, huge)
        return done["files"], done["skipped"]

    assert restore() == (len(huge), 0)
    assert restore() == (0, len(huge))
    before = os.stat(target + "huge/middle")
    with open(target + "huge/middle", "r+b") as file:
        os.pwrite(file.fileno(), b"rot", 40 << 40)
    os.utime(target + "huge/middle", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert restore() == (1, len(huge) - 1)


def test_no_wrong_byte_of_a_file_without_its_zeros_is_read_in_a_mount_and_none_is_published(repository, store, huge, area):
    wanted = procs.read(store.mount() + "/d/a/1")
    repository.backup("d")
    os.mkdir(area + "/backups")
    repository.run("backup", "mount", repository.path, area + "/backups")
    try:
        for name in ("begin", "middle", "end"):
            path = f"{area}/backups/latest/d/huge/{name}"
            assert os.path.getsize(path) == huge[name][0]
            with open(path, "rb", buffering=0) as file, pytest.raises(OSError) as failed:
                file.read(10)
            assert failed.value.errno == errno.EIO
        assert procs.read(f"{area}/backups/latest/d/a/1") == wanted != b""
    finally:
        subprocess.run([store.binary, "umount", area + "/backups"], check=True)
    store.ok("-s", store.path, "snapshot", "create", "d@v")
    refused = repository.run("publish", "d@v", repository.path, "--single-writer", code=program.FAILED)
    assert "what is incomplete is never published" in refused.err, refused
