"""What no tree of restic can say stands in the description of the backup, and comes back as it was."""

import os

from harness import files, tree
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
