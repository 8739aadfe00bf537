"""Going back to a snapshot and going on from one: rollback of a dataset or a path, and clones, mounted and not."""

import os
import re

import pytest

from harness import procs, tree
from harness.files import get, put
from harness.place import Place
from harness.snapshots import cli, collected, make, names, rows, state

MIB = 1 << 20


@pytest.fixture(params=["mounted", "not mounted"])
def place(store, request):
    return Place(store, request.param == "mounted")


@pytest.mark.sanitize
def test_rollback_and_back_again_by_the_guard(place):
    store = place.store
    first = place.scan("d")
    make(store, "v1")
    place.change(b"second")
    make(store, "v2")
    place.change(b"third")
    third = place.scan("d")
    assert "before-rollback-" in cli(store, "rollback", "d@v1")
    assert tree.differences(first, place.scan("d")) == []
    assert names(store)[:2] == ["v1", "v2"] and len(names(store)) == 3
    guard = names(store)[2]
    assert rows(store, "snapshot", "show", f"d@{guard}")["guard"] is True
    assert re.fullmatch(r"before-rollback-\d{8}T\d{6}Z", guard)
    place.change(b"after")
    assert rows(store, "rollback", f"d@{guard}")["guard"] not in ("", guard)
    assert tree.differences(third, place.scan("d")) == []


@pytest.mark.sanitize
def test_rollback_without_guard(place):
    store = place.store
    first = place.scan("d")
    make(store, "v1")
    place.change(b"second")
    assert rows(store, "rollback", "--no-guard", "d@v1")["guard"] == ""
    assert names(store) == ["v1"]
    assert tree.differences(first, place.scan("d")) == []
    collected(store)
    assert tree.differences(first, place.scan("d")) == []


def test_after_a_rollback_no_remembered_name_leads_to_what_was_before(store):
    """What the kernel remembers of the old tree goes in the background; nobody may come upon it meanwhile."""
    point = Place(store, True).point
    tops = [f"{point}/d", *(f"{point}/d/dir{i}" for i in range(40))]
    states = {"v0": b"zero", "v1": b"one"}
    for top in tops[1:]:
        os.mkdir(top)
        for i in range(25):
            put(f"{top}/file{i}", b"same")
    for snapshot, text in states.items():
        for top in tops:
            put(top + "/state", text)
        make(store, snapshot)
    for turn in range(8):
        assert {os.stat(f"{top}/file{i}").st_size for top in tops[1:] for i in range(25)} == {4}
        assert len({os.stat(top + "/state").st_size for top in tops}) == 1
        snapshot = f"v{turn % 2}"
        cli(store, "rollback", "--no-guard", f"d@{snapshot}")
        assert {os.stat(top + "/state").st_size for top in reversed(tops)} == {len(states[snapshot])}
        assert {get(top + "/state") for top in reversed(tops)} == {states[snapshot]}


def test_rollback_dry_run_tells_the_difference_and_changes_nothing(place):
    store = place.store
    make(store, "v1")
    place.change(b"second")
    before, scan = state(store), place.scan("d")
    lines = cli(store, "rollback", "--dry-run", "d@v1").splitlines()
    for line in ("M train/x", "+ train/deep/y", "- new second"):
        assert line in lines, lines
    found = rows(store, "rollback", "--dry-run", "d@v1")
    assert {entry["path"]: entry["kind"] for entry in found["entries"]}["train/deep/y"] == "added"
    assert "train/x" in cli(store, "rollback", "-n", "--path", "train/x", "d@v1")
    assert "new" not in cli(store, "rollback", "-n", "--path", "train", "d@v1")
    assert state(store) == before and tree.differences(scan, place.scan("d")) == []


@pytest.mark.sanitize
def test_rollback_of_one_path(place):
    store = place.store
    first = place.scan("d")
    make(store, "v1")
    place.change(b"second")
    second = place.scan("d")
    cli(store, "rollback", "d@v1", "--path", "train/x")
    now = place.scan("d")
    assert now["./train/x"] == first["./train/x"]
    assert {**now, "./train/x": 0, "./train": 0} == {**second, "./train/x": 0, "./train": 0}
    cli(store, "rollback", "d@v1", "--path", "/train/")
    now = place.scan("d")
    assert {name: row for name, row in now.items() if name.startswith("./train")} == {
        name: row for name, row in first.items() if name.startswith("./train")
    }
    assert "./new second" in now and names(store) == ["v1"]
    with place.files("d") as d:
        os.unlink(d + "/link")
        os.rename(d + "/train", d + "/gone")
    cli(store, "rollback", "d@v1", "--path", "link")
    cli(store, "rollback", "d@v1", "--path", "train/deep/y")
    with place.files("d") as d:
        assert os.readlink(d + "/link") == "top" and get(d + "/train/deep/y") == b"first y" and os.listdir(d + "/train") == ["deep"]


def test_rollback_of_a_path_shows_in_the_link_counts_of_others(fs, store):
    """A name outside of the path keeps the file that it had; the mount may not answer from what it remembers."""
    os.mkdir(fs + "/dir")
    put(fs + "/dir/file", b"x")
    os.link(fs + "/dir/file", fs + "/other")
    make(store, "v1")
    assert os.stat(fs + "/other").st_nlink == 2
    cli(store, "rollback", "d@v1", "--path", "dir")
    assert os.stat(fs + "/dir/file").st_nlink == 1
    procs.poll(lambda: os.stat(fs + "/other").st_nlink == 1, 20, "the other name's link count is 1")


@pytest.mark.sanitize
def test_clone_is_equal_and_independent(place):
    store = place.store
    first = place.scan("d")
    make(store, "v1")
    place.change(b"second")
    second = place.scan("d")
    cli(store, "clone", "d@v1", "copy")
    assert tree.differences(first, place.scan("copy")) == []
    with place.files("copy") as copy:
        put(copy + "/top", b"in the clone")
    assert tree.differences(second, place.scan("d")) == []
    make(store, "c1", dataset="copy")
    cli(store, "clone", "copy@c1", "grandchild")
    cli(store, "snapshot", "destroy", "d@v1")
    cli(store, "dataset", "destroy", "--snapshots", "d")
    collected(store)
    expected = place.scan("copy")
    assert expected["./top"]["size"] == 12
    assert tree.differences(expected, place.scan("grandchild")) == []
    cli(store, "snapshot", "destroy", "copy@c1")
    cli(store, "dataset", "destroy", "copy")
    collected(store)
    assert tree.differences(expected, place.scan("grandchild")) == []
