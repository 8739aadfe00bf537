"""What is unchanged since its newest version is not published again, and whatever was changed is."""

import glob
import os

import pytest

from harness.publishing import change

KILLED = -9


@pytest.fixture
def base(remotes, area):
    """A directory as the remote "base", made by publishing d@1 as the first version."""
    remotes.add("base", area + "/repository")
    remotes.run("snapshot", "create", "d@1")
    remotes.publish("d@1", "--init")
    return area + "/repository"


def test_what_is_unchanged_is_published_once(remotes, base, elsewhere):
    def state():
        return (sorted(f"{folder}/{name}" for folder, _, names in os.walk(base) for name in names), remotes.json("snapshot", "list", "d"),
                remotes.versions())

    before = state()
    for options in ([], ["--dry-run"], ["--force"]):
        told = remotes.run("publish", "d", "base", *options)
        assert told.out.startswith("d is unchanged since version 1, 1;") and told.err == "" and state() == before
    assert remotes.json("publish", "d", "base")["was_there"] and state() == before
    # nor on the machine that has it from there
    elsewhere.run("restore", "base:d", "d")
    assert "d is unchanged since version 1" in elsewhere.run("publish", "d", "base").out and remotes.heads() == {"d": 1}
    # who wants a version gets one
    remotes.run("snapshot", "create", "d@2")
    remotes.run("publish", "d@2", "base")
    remotes.run("publish", "d", "base", "--unchanged")
    assert remotes.heads() == {"d": 3}
    assert "as version 1 in" in remotes.run("publish", "d", "base", "--as", "other").out


@pytest.mark.parametrize("kind", ["content", "owner", "mode", "time", "attribute", "name", "link", "removed"])
def test_whatever_was_changed_is_published(remotes, base, kind):
    file = remotes.store.mount() + "/d/a/7"
    other = file + " of another name"

    def write():
        with open(file, "ab") as handle:
            handle.write(b"more")

    {"content": write, "owner": lambda: os.chown(file, 7, 7), "mode": lambda: os.chmod(file, 0o400), "time": lambda: os.utime(file, (1, 1)),
     "attribute": lambda: os.setxattr(file, "user.other", b"1"), "name": lambda: os.rename(file, other), "link": lambda: os.link(file, other),
     "removed": lambda: os.remove(file)}[kind]()
    assert "as version 2 in" in remotes.run("publish", "d", "base").out
    assert "d is unchanged since version 2" in remotes.run("publish", "d", "base").out
    remotes.run("rollback", "d@1")
    assert "as version 3 in" in remotes.run("publish", "d", "base").out


@pytest.mark.parametrize("what", ["pack", "backup"])
def test_what_the_place_has_lost_is_published_again(remotes, base, area, what):
    head = remotes.versions()[-1]
    folder = glob.glob(base + "/data/*/*") if what == "pack" else [f"{base}/snapshots/{head['backup']}"]
    os.remove(max(folder, key=os.path.getsize))
    remotes.run("publish", "d", "base")
    assert remotes.heads() == {"d": 2}
    remotes.run("restore", "base:d", area + "/out")
    assert "d is unchanged since version 2" in remotes.run("publish", "d", "base").out


def test_who_dies_before_the_hold_has_it_by_the_next_publish(remotes, base):
    change(remotes, "d", "more")
    result = remotes.store.run("-s", remotes.store.path, "publish", "d", "base", "--unchanged", env={**remotes.env, "CORPUSFS_FAULT": "head-after-put"})
    assert result.code == KILLED
    remotes.run("backup", "unlock", "base:")
    assert "d is unchanged since version 2" in remotes.run("publish", "d", "base").out
    assert [row["name"] for row in remotes.json("snapshot", "list", "d") if row["holds"]] == [remotes.versions()[-1]["name"]]
