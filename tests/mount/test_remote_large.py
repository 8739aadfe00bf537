"""Large directories of what is published: what is needed of their names is fetched in pieces, and never anything else than their trees say."""

import hashlib
import json
import os

import pytest

from harness import files, posix, program, rot
from harness.lazy import same
from harness.repository import restic, restic_check

FILES = 20000


def names():
    return [f"{number:06}.jpg" for number in range(FILES)]


@pytest.fixture
def large(remotes, rest, area):
    """A directory of so many files behind restic's REST protocol; returns it as it was before."""
    os.mkdir(area + "/large")
    for name in names():
        with open(f"{area}/large/{name}", "w", encoding="ascii") as handle:
            handle.write(name if name.endswith("7.jpg") else "")
    remotes.run("import", area + "/large", "d/large")
    remotes.store.expected.append("backups")
    remotes.add("base", rest.url("r"), "--single-writer")
    remotes.publish("d", "--init")
    return area + "/large"


def fetched(remotes, mount):
    return remotes.json("status", mount.point)["fetched_bytes"]


@pytest.mark.sanitize
@pytest.mark.timeout(300)
def test_look_up_fetches_a_part_and_a_list_is_whole(large, rest, remotes, lazy, area):
    mount = lazy()
    assert os.lstat(mount.root + "/large/007777.jpg").st_size == 10
    assert fetched(remotes, mount) < 3 << 20, "the tree has more than 5 MiB"
    assert posix.outcome(os.lstat, mount.root + "/large/007777.jp") == "ENOENT"
    assert files.get(mount.root + "/large/007777.jpg") == b"007777.jpg"
    assert sorted(os.listdir(mount.root + "/large")) == names()
    same(large, mount.root + "/large")
    assert "read whole" not in mount.log()
    mount.umount()
    remotes.run("backup", "verify", "base:")
    restic_check(rest.url("r"), area + "/restic-cache")


@pytest.mark.timeout(300)
def test_pinned_large_directory_is_there_while_the_place_is_away(large, rest, remotes, lazy):
    mount = lazy()
    done = remotes.json("warm", "--pin", mount.root + "/large")
    assert done["files"] == FILES and done["failed"] == 0
    assert remotes.json("status", mount.point)["pinned_missing"] == 0
    mount.umount()
    rest.stop()
    mount = lazy("timeout=1")
    assert files.get(mount.root + "/large/019997.jpg") == b"019997.jpg"
    same(large, mount.root + "/large")


def look(area, *args):
    return restic(area + "/rest/r", *args, cache=area + "/restic-cache")


def content_of_pieces(area):
    """The id of the tree of the large directory, and the blobs that are its pieces."""
    subtree = json.loads(look(area, "snapshots", "--json"))[-1]["tree"]
    for wanted in (".corpusfs", "trees", None):
        nodes = json.loads(look(area, "cat", "blob", subtree))["nodes"]
        found = [node for node in nodes if wanted in (node["name"], None)]
        assert len(found) == 1
        subtree = found[0]["subtree"]
    nodes = json.loads(look(area, "cat", "blob", subtree))["nodes"]
    return found[0]["name"], next(node["content"] for node in nodes if node["name"] == "tree")


def spot(area, wanted):
    """The pack of a blob, and a byte in the midst of it."""
    for index in look(area, "list", "index").split():
        for pack in json.loads(look(area, "cat", "index", index))["packs"]:
            for blob in pack["blobs"]:
                if blob["id"] == wanted:
                    return f"{area}/rest/r/data/{pack['id'][:2]}/{pack['id']}", blob["offset"] + blob["length"] // 2
    raise AssertionError("no index names it")


@pytest.mark.timeout(300)
def test_pieces_are_a_file_that_restic_restores(large, area):
    tree_id, content = content_of_pieces(area)
    assert len(content) > 5
    look(area, "restore", "latest", "--target", area + "/restored", "--include", "/.corpusfs")
    with open(f"{area}/restored/.corpusfs/trees/{tree_id}/tree", "rb") as handle:
        text = handle.read()
    assert hashlib.sha256(text).hexdigest() == tree_id
    assert [node["name"] for node in json.loads(text)["nodes"]] == names()


@pytest.mark.timeout(300)
def test_damaged_piece_is_told_once_and_nobody_else_sees_it(large, remotes, lazy, area):
    _, content = content_of_pieces(area)
    rot.flip(*spot(area, content[len(content) // 2]))
    mount = lazy()
    same(large, mount.root + "/large")
    assert sorted(os.listdir(mount.root + "/large")) == names()
    assert mount.log().count("read whole instead") == 1
    told = remotes.run("backup", "verify", "base:", code=program.FAILED).err
    assert told.count("mounts read the whole tree instead") == 1
