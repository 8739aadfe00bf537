"""What differs between two backups: the same as between the snapshots that they were made of, and as restic says it."""

import os
import random
import shutil

from harness import program
from harness.repository import restic


def changes(repository, a, b, *options):
    result = repository.json("backup", "diff", repository.path, a, b, *options)
    return {(row["kind"], row["path"]) for row in result["entries"]}, result


def change_everything(root):
    with open(root + "/a/7", "ab") as handle:
        handle.write(b"more")
    os.chmod(root + "/a/8", 0o600)
    os.remove(root + "/a/9")
    shutil.rmtree(root + "/a/b")
    os.remove(root + "/a/10")
    os.makedirs(root + "/a/10/deep")
    with open(root + "/a/10/deep/file", "w", encoding="ascii") as handle:
        handle.write("new")
    os.remove(root + "/a/soft")
    os.symlink("elsewhere", root + "/a/soft")
    os.setxattr(root + "/a/11", "user.note", b"x")
    os.rename(root + "/a/12", root + "/a/12 renamed")


def test_each_kind_of_change_is_told(repository, store):
    first = repository.backup("d")["backup"]
    change_everything(store.mount() + "/d")
    second = repository.backup("d", kind="incremental")["backup"]
    seen, result = changes(repository, first, second)
    assert seen == {
        ("modified", "a/7"), ("metadata", "a/8"), ("removed", "a/9"), ("removed", "a/b"), ("removed", "a/b/c"), ("removed", "a/b/four"),
        ("removed", "a/10"), ("added", "a/10"), ("added", "a/10/deep"), ("added", "a/10/deep/file"), ("modified", "a/soft"), ("metadata", "a/11"),
        ("removed", "a/12"), ("added", "a/12 renamed"),
    }, seen
    assert result["counts"] == {"added": 4, "removed": 6, "modified": 2, "renamed": 0, "metadata": 2}
    back, _ = changes(repository, second, first)
    other = {"added": "removed", "removed": "added"}
    assert back == {(other.get(kind, kind), path) for kind, path in seen}
    part, _ = changes(repository, first, second, "--path", "a/10")
    assert part == {row for row in seen if row[1].split("/")[:2] == ["a", "10"]}


def test_the_same_differs_in_nothing(repository):
    first, second = (repository.backup("d", kind=kind)["backup"] for kind in ("full", "full"))
    assert changes(repository, first, second)[0] == set()
    repository.run("backup", "diff", repository.path, first, second, "--exit-code")
    assert "no differences" in repository.run("backup", "diff", repository.path, first, second, "--stat").out


def test_exit_code_says_that_something_differs(repository, store):
    first = repository.backup("d")["backup"]
    os.remove(store.mount() + "/d/a/7")
    second = repository.backup("d")["backup"]
    assert repository.run("backup", "diff", repository.path, first, second, "--exit-code", code=1).out == "- a/7\n"
    repository.run("backup", "diff", repository.path, first, second)


def test_a_file_that_restic_cut_elsewhere_is_compared_by_its_bytes(repository, store, area):
    """What another program backed up has other blobs, and the same bytes."""
    os.mkdir(area + "/tree")
    with open(area + "/tree/big", "wb") as handle:
        handle.write(random.Random(1).randbytes(5 << 20))
    with open(area + "/tree/changed", "wb") as handle:
        handle.write(random.Random(2).randbytes(5 << 20))
    store.ok("-s", store.path, "import", area + "/tree", "t")
    ours = repository.backup("t")["backup"]
    with open(area + "/tree/changed", "r+b") as handle:
        handle.seek(4 << 20)
        handle.write(b"#")
    restic(repository, "backup", area + "/tree")
    theirs = repository.backups()[-1]["backup"]
    assert changes(repository, ours, theirs)[0] == {("modified", "changed")}
    assert changes(repository, ours, theirs, "--path", "big")[0] == set()


def test_what_is_not_there_is_said(repository):
    first = repository.backup("d")["backup"]
    missing = repository.run("backup", "diff", repository.path, first, "12345678", code=program.NOT_FOUND)
    assert "12345678" in missing.err
    nothing = repository.run("backup", "diff", repository.path, first, first, "--path", "a/nothing", code=program.NOT_FOUND)
    assert "a/nothing" in nothing.err
