"""The commands of snapshots, on a store that is mounted and on one that is not, and what they do with bad input."""

import json
import os
import re

import pytest

from harness import posix, procs, program, tree
from harness.files import get, put
from harness.place import Place
from harness.snapshots import cli, make, names, refused, rows, state
from test_full_disk import fill, small  # noqa: F401  # pylint: disable=unused-import

MIB = 1 << 20


@pytest.fixture(params=["mounted", "not mounted"])
def place(store, request):
    return Place(store, request.param == "mounted")


@pytest.mark.sanitize
def test_create_takes_several_datasets_in_one_instant(place):
    store = place.store
    cli(store, "snapshot", "create", "d", "e@v1", "--note", "before the cleaning")
    cli(store, "snapshot", "create", "d@v2", "e@w2")
    found = rows(store, "snapshot", "list")
    assert sorted((row["dataset"], row["name"], row["note"]) for row in found) == [
        ("d", "v1", "before the cleaning"), ("d", "v2", ""), ("e", "v1", "before the cleaning"), ("e", "w2", ""),
    ]  # fmt: skip
    taken = {(row["dataset"], row["name"]): row["taken"] for row in found}
    assert taken["d", "v1"] == taken["e", "v1"] < taken["d", "v2"] == taken["e", "w2"]


@pytest.mark.sanitize
def test_create_of_several_is_all_or_nothing(place):
    store = place.store
    make(store, "v1", dataset="e")
    before = state(store)
    for targets, code in ((["d@v1", "e@v1"], program.EXISTS), (["d@v2", "none@v2"], program.NOT_FOUND), (["d@v2", "e@a/b"], program.USAGE),
                          (["d@v2", "d@v2"], program.USAGE)):  # fmt: skip
        refused(store, code, "snapshot", "create", *targets)
        assert state(store) == before


def test_list_and_show(place):
    store = place.store
    make(store, "v1", "v2", "a")
    make(store, "v1", dataset="e")
    assert names(store) == ["v1", "v2", "a"] and names(store, "e") == ["v1"]
    assert len(rows(store, "snapshot", "list")) == 4
    text = cli(store, "snapshot", "list", "d")
    assert all(word in text for word in ("DATASET", "NAME", "TAKEN", "v1", "v2"))
    shown = rows(store, "snapshot", "show", "d@v1")
    assert (shown["dataset"], shown["name"], shown["guard"], shown["holds"]) == ("d", "v1", False, [])
    assert re.fullmatch("[0-9a-f]{64}", shown["identity"]) and shown["identity"] in cli(store, "snapshot", "show", "d@v1")
    assert rows(store, "snapshot", "show", "d@v2")["identity"] == shown["identity"]
    assert abs(shown["taken"] - os.stat(store.path).st_mtime) < 3600
    assert abs(shown["taken_ns"] - int(shown["taken"] * 10**9)) < 1000


@pytest.mark.sanitize
def test_rename_keeps_what_is_in_it(place):
    store = place.store
    make(store, "v1", "v2")
    cli(store, "snapshot", "hold", "d@v1", "tag")
    before = rows(store, "snapshot", "show", "d@v1")
    cli(store, "snapshot", "rename", "d@v1", "first")
    cli(store, "snapshot", "rename", "d@v2", "d@second")
    assert names(store) == ["first", "second"]
    after = rows(store, "snapshot", "show", "d@first")
    assert {**before, "name": "first"} == after
    with place.files("d") as d:
        assert get(d + "/.snapshots/first/top") == b"first top"
        assert not os.path.exists(d + "/.snapshots/v1")


CHOICES = [
    (["d@b%d"], "bcd"), (["d@%b"], "ab"), (["d@d%"], ["d", "e", "n-1", "n-2"]), (["d@%"], ["a", "b", "c", "d", "e", "n-1", "n-2"]), (["d@n-*"], ["n-1", "n-2"]),
    (["d@[ac]"], "ac"), (["d@?"], "abcde"), (["d@a", "d@c"], "ac"), (["d@a", "d@a%b"], "ab"), (["d@b%b"], "b"), (["d@c"], "c"),
]  # fmt: skip


@pytest.mark.sanitize
def test_destroy_chooses_by_name_range_and_pattern(place):
    store = place.store
    everything = ["a", "b", "c", "d", "e", "n-1", "n-2"]
    make(store, *everything)
    make(store, "a", dataset="e")
    for targets, wanted in CHOICES:
        before = state(store)
        shown = rows(store, "snapshot", "destroy", "--dry-run", *targets)
        assert sorted({row["name"] for row in shown}) == sorted(wanted), targets
        assert all(name in cli(store, "snapshot", "destroy", "-n", *targets) for name in wanted)
        assert state(store) == before
    for targets, wanted in (["d@c%d"], "cd"), (["d@n-*"], ["n-1", "n-2"]), (["d@a", "d@[ab]"], "ab"), (["d@%"], "e"):
        left = [name for name in names(store) if name not in wanted]
        cli(store, "snapshot", "destroy", *targets)
        assert names(store) == left
    assert names(store, "e") == ["a"]


def test_several_are_destroyed_or_none(place):
    store = place.store
    make(store, "a", "b", "c", "d")
    cli(store, "snapshot", "hold", "d@c", "tag")
    before = state(store)
    for targets, code in ((["d@a%d"], program.BUSY), (["d@*"], program.BUSY), (["d@a", "d@c"], program.BUSY), (["d@a", "d@none"], program.NOT_FOUND),
                          (["d@a", "d@x*"], program.NOT_FOUND), (["d@d%a"], program.USAGE), (["d@a%none"], program.NOT_FOUND)):  # fmt: skip
        refused(store, code, "snapshot", "destroy", *targets)
        assert state(store) == before, targets


def test_what_is_read_stands_in_the_way_of_all(fs, store):
    put(fs + "/file", b"x")
    make(store, "a", "b", "c")
    before = state(store)
    with open(fs + "/.snapshots/c/file", "rb"):
        assert "d@c" in refused(store, program.BUSY, "snapshot", "destroy", "d@a%c")
        assert state(store) == before
    cli(store, "snapshot", "destroy", "d@a%c")
    assert names(store) == []


@pytest.mark.sanitize
def test_hold_and_release(place):
    store = place.store
    make(store, "v1")
    cli(store, "snapshot", "hold", "d@v1", "paper")
    cli(store, "snapshot", "hold", "d@v1", "audit")
    refused(store, program.EXISTS, "snapshot", "hold", "d@v1", "audit")
    assert sorted(rows(store, "snapshot", "show", "d@v1")["holds"]) == ["audit", "paper"]
    line = refused(store, program.BUSY, "snapshot", "destroy", "d@v1")
    assert "paper" in line or "audit" in line
    cli(store, "snapshot", "release", "d@v1", "paper")
    refused(store, program.BUSY, "snapshot", "destroy", "d@v1")
    refused(store, program.NOT_FOUND, "snapshot", "release", "d@v1", "paper")
    cli(store, "snapshot", "release", "d@v1", "audit")
    cli(store, "snapshot", "destroy", "d@v1")
    assert names(store) == []


def test_hints_name_commands_that_exist(store):
    store.create("d")
    make(store, "v1")
    cli(store, "snapshot", "hold", "d@v1", "tag")
    line = refused(store, program.BUSY, "snapshot", "destroy", "d@v1")
    hint = line.strip().partition("; corpusfs ")[2].split()
    assert hint, line
    cli(store, *hint)


@pytest.mark.sanitize
def test_gc_frees_what_only_a_destroyed_snapshot_held(place):
    store = place.store
    with place.files("d") as d:
        put(d + "/big", os.urandom(4 * MIB))
    make(store, "v1")
    with place.files("d") as d:
        os.unlink(d + "/big")
    usage = {row.get("snapshot"): row for row in rows(store, "du", "d", "--exact")["usage"]}
    assert 4 * MIB <= usage["v1"]["unique"] <= 5 * MIB and usage[None]["unique"] < MIB
    freed = rows(store, "du", "d@v1", "--exact")["freed"]
    assert 4 * MIB <= freed <= 5 * MIB
    assert "would free" in cli(store, "du", "d@v1")
    assert rows(store, "gc", "--dry-run")["bytes"] < MIB
    if place.mounted:
        cli(store, "snapshot", "destroy", "d@v1")
        # The daemon collects by itself, too.
        procs.poll(lambda: gone(store), 30 * program.scale(), "the bytes are collected", 0.1)
    else:
        cli(store, "snapshot", "destroy", "d@v1")
        told = rows(store, "gc", "--dry-run")
        assert "would be removed" in cli(store, "gc", "-n")
        done = rows(store, "gc")
        assert told == {**done, "dry_run": True} and done["chunks"] >= 16 and freed * 0.98 <= done["bytes"] <= freed * 1.02
    assert "removed" in cli(store, "gc")
    assert gone(store)


def gone(store):
    result = store.run("-s", store.path, "gc", "--json")
    if result.code == program.BUSY:
        return False
    found = json.loads(result.out)
    return found["chunks"] == 0 and found["versions"] == 0


def chunks_of(store, path):
    """Numbers of the chunks that a file of the head needs, found by asking for the first of each range."""
    found = []
    for number in [*range(1, 9), *range(1 << 63, (1 << 63) + 8)]:
        result = store.run("-s", store.path, "why", str(number), "--json")
        if result.code == program.NOT_FOUND:
            continue
        references = json.loads(result.out)
        if any(row["path"].strip("/") == path for row in references):
            found.append((number, references))
    return found


def test_why_says_who_keeps_a_chunk(place):
    store = place.store
    with place.files("d") as d:
        put(d + "/big", os.urandom(MIB))
    make(store, "v1")
    found = chunks_of(store, "big")
    assert found
    number, references = found[0]
    assert {(row["dataset"], row["snapshot"]) for row in references} == {("d", ""), ("d", "v1")}
    with place.files("d") as d:
        os.unlink(d + "/big")
    assert {(row["dataset"], row["snapshot"]) for row in rows(store, "why", hex(number))} == {("d", "v1")}
    text = cli(store, "why", str(number))
    assert "v1" in text and "big" in text
    cli(store, "snapshot", "destroy", "d@v1")
    result = store.run("-s", store.path, "why", str(number), "--json")
    assert result.code == program.NOT_FOUND or json.loads(result.out) == [], result


BAD = [
    (["create", "d@v1"], program.EXISTS), (["create", "none@v"], program.NOT_FOUND), (["create", "d"], program.USAGE), (["create"], program.USAGE),
    (["create", "d@"], program.USAGE), (["create", "@v"], program.USAGE), (["create", "d@a@b"], program.USAGE), (["create", "d@a/b"], program.USAGE),
    (["create", "d@."], program.USAGE), (["create", "d@.."], program.USAGE), (["create", "d@" + "x" * 256], program.USAGE),
    (["create", "x" * 300 + "@a"], program.USAGE), (["create", b"d@\xff\xfe"], program.USAGE), (["create", "d@a\nb"], program.USAGE),
    (["create", "d@-x"], program.USAGE), (["create", "d@.snapshots"], program.USAGE),
    (["list", "none"], program.NOT_FOUND), (["list", "d", "e"], program.USAGE), (["list", "--nonsense"], program.USAGE),
    (["show", "d@none"], program.NOT_FOUND), (["show", "none@v1"], program.NOT_FOUND), (["show", "d"], program.USAGE), (["show"], program.USAGE),
    (["rename", "d@v1", "v2"], program.EXISTS), (["rename", "d@none", "x"], program.NOT_FOUND), (["rename", "d@v1", "e@x"], program.USAGE),
    (["rename", "d@v1", ""], program.USAGE), (["rename", "d@v1", "a/b"], program.USAGE), (["rename", "d@v1"], program.USAGE),
    (["destroy", "d@none"], program.NOT_FOUND), (["destroy", "none@v1"], program.NOT_FOUND), (["destroy", "d@x*"], program.NOT_FOUND),
    (["destroy", "d"], program.USAGE), (["destroy"], program.USAGE), (["destroy", "d@v2%v1"], program.USAGE), (["destroy", "d@none%v1"], program.NOT_FOUND),
    (["destroy", "d@held"], program.BUSY), (["destroy", "d@"], (program.USAGE, program.NOT_FOUND)), (["destroy", "empty@*"], program.NOT_FOUND),
    (["destroy", "empty@%"], program.NOT_FOUND),
    (["hold", "d@none", "x"], program.NOT_FOUND), (["hold", "d@held", "tag"], program.EXISTS), (["hold", "d@v1"], program.USAGE),
    (["hold", "d@v1", ""], program.USAGE), (["hold", "d@v1", "a\nb"], program.USAGE), (["release", "d@v1", "tag"], program.NOT_FOUND),
    (["release", "d@none", "tag"], program.NOT_FOUND),
]  # fmt: skip
BAD = [(["snapshot", *args], code) for args, code in BAD] + [
    (["rollback", "d@none"], program.NOT_FOUND), (["rollback", "none@v1"], program.NOT_FOUND), (["rollback", "d"], program.USAGE),
    (["rollback", "d@v1", "--stat"], program.USAGE), (["rollback", "d@none", "--dry-run"], program.NOT_FOUND), (["rollback", "d", "--dry-run"], program.USAGE),
    (["rollback", "d@v1", "--path", "none"], program.NOT_FOUND), (["rollback", "d@v1", "--path", "/"], program.USAGE),
    (["rollback", "d@v1", "--path", ""], program.USAGE), (["rollback", "d@v1", "--path", "../e/label"], (program.USAGE, program.NOT_FOUND)),
    (["rollback", "d@none", "--path", "top"], program.NOT_FOUND), (["rollback", "d@v1", "--path", "top/x"], (program.USAGE, program.NOT_FOUND)),
    (["clone", "d@none", "x"], program.NOT_FOUND), (["clone", "d@v1", "e"], program.EXISTS), (["clone", "d@v1", "d"], program.EXISTS),
    (["clone", "d", "x"], program.USAGE), (["clone", "d@v1", ".."], program.USAGE), (["clone", "d@v1", "a/b"], program.USAGE),
    (["clone", "d@v1"], program.USAGE),
    (["diff", "d@none"], program.NOT_FOUND), (["diff", "none"], program.NOT_FOUND), (["diff", "d@v1", "d@none"], program.NOT_FOUND),
    (["versions", "d/none"], program.NOT_FOUND), (["versions", "none/x"], program.NOT_FOUND), (["versions", "d"], program.USAGE),
    (["gc", "extra"], program.USAGE), (["why", "nonsense"], program.USAGE), (["why", "-1"], program.USAGE), (["why", ""], program.USAGE),
    (["why", "99999999999999999999999"], program.USAGE), (["why"], program.USAGE),
    (["du", "none"], program.NOT_FOUND), (["du", "d@none"], program.NOT_FOUND), (["du", "d@v2%v1"], program.USAGE),
    (["dataset", "destroy", "d"], program.BUSY), (["dataset", "destroy", "--snapshots", "d"], program.BUSY),
]  # fmt: skip


@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_bad_input_is_refused_in_one_line_and_changes_nothing(place):
    store = place.store
    store.create("empty")
    make(store, "v1", "v2", "held")
    cli(store, "snapshot", "hold", "d@held", "tag")
    before, scan, problems = state(store), place.scan("d"), []
    for number, (args, codes) in enumerate(BAD):
        result = store.run("-s", store.path, *args)
        codes = codes if isinstance(codes, tuple) else (codes,)
        if result.code not in codes or result.out or len(result.err.splitlines()) != 1 or not result.err.startswith("corpusfs: "):
            problems.append(f"{args}: expected {codes}: {result}")
        if (number % 8 == 0 or number == len(BAD) - 1) and state(store) != before:
            problems.append(f"something changed at or up to 7 before {args}")
            before = state(store)
    assert not problems, "\n".join(problems)
    assert tree.differences(scan, place.scan("d")) == []


@pytest.mark.sanitize
def test_what_is_mounted_or_read_is_not_destroyed(fs, store):
    put(fs + "/file", b"content")
    make(store, "mounted", "read", "free")
    point = store.mount(dataset="d@mounted", options="allow_other")
    refused(store, program.BUSY, "snapshot", "destroy", "d@mounted")
    assert posix.outcome(os.rmdir, fs + "/.snapshots/mounted") == "EBUSY"
    with open(fs + "/.snapshots/read/file", "rb") as handle:
        refused(store, program.BUSY, "snapshot", "destroy", "d@read")
        assert posix.outcome(os.rmdir, fs + "/.snapshots/read") == "EBUSY"
        assert handle.read() == b"content"
    refused(store, program.BUSY, "dataset", "destroy", "--snapshots", "d")
    assert get(point + "/file") == b"content"
    assert names(store) == ["mounted", "read", "free"]
    store.umount(point)
    cli(store, "snapshot", "destroy", "d@mounted", "d@read")
    assert names(store) == ["free"]


FAULTS = [
    ("snapshot-before-write", ["snapshot", "create", "d", "e@new"]), ("destroy-before-write", ["snapshot", "destroy", "d@v1"]),
    ("rollback-before-write", ["rollback", "d@v1"]), ("clone-before-write", ["clone", "d@v1", "copy"]),
    ("restore-before-exchange", ["rollback", "d@v1", "--path", "train"]),
]  # fmt: skip


@pytest.mark.sanitize
@pytest.mark.kinds("fault")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
@pytest.mark.parametrize("mounted", [True, False])
def test_full_disk_in_the_middle_changes_nothing(store, fault, mounted):
    place = Place(store, False)
    point, args = fault
    make(store, "v1")
    place.change(b"second")
    before, scan = state(store), place.scan("d")
    store.expected.append("ENOSPC|No space|space")
    environment = {"CORPUSFS_FAULT": f"{point}:enospc"}
    if mounted:
        store.mount(place.point, env=environment)
        refused(store, program.NO_SPACE, *args)
        store.umount()
    else:
        refused(store, program.NO_SPACE, *args, env=environment)
    found = place.scan("d")
    if point.startswith("restore"):  # was built beside the path
        found["."].pop("mtime"), scan["."].pop("mtime")
    assert state(store) == before and tree.differences(scan, found) == []
    cli(store, *args)


@pytest.mark.timeout(120)
def test_snapshots_on_a_disk_that_is_really_full(small):  # noqa: F811
    """Each command does all or nothing; destroying is possible, so that there is a way out."""
    store, filler = small
    store.init()
    point = store.mount(store.area + "/mnt")
    store.create("d")
    fs = point + "/d"
    put(fs + "/file", os.urandom(20 * MIB))
    make(store, "v1")
    put(fs + "/file", os.urandom(20 * MIB))
    cli(store, "sync")
    fill(filler, 1 * MIB)
    expected = {"v1": tree.scan(fs + "/.snapshots/v1"), None: tree.scan(fs)}
    for args in (["snapshot", "create", "d@v2"], ["clone", "d@v1", "copy"], ["snapshot", "hold", "d@v1", "tag"], ["snapshot", "release", "d@v1", "tag"],
                 ["snapshot", "rename", "d@v1", "v0"], ["snapshot", "rename", "d@v0", "v1"]):  # fmt: skip
        before = state(store)
        result = store.run("-s", store.path, *args)
        assert result.code in (program.OK, program.NO_SPACE) or args[1] in ("release", "rename"), (args, result)
        if result.code:
            assert state(store) == before and len(result.err.splitlines()) == 1, (args, result)
    assert tree.differences(expected["v1"], tree.scan(fs + "/.snapshots/v1")) == []
    found = tree.scan(fs)
    assert tree.differences(expected[None], found) == []
    result = store.run("-s", store.path, "snapshot", "destroy", "d@v1")
    assert result.code == program.OK, result
    os.unlink(filler)
    make(store, "after")
    store.umount()
    store.mount(point)
    assert tree.differences(expected[None], tree.scan(fs)) == []


def test_thousands_of_snapshots_go_in_one_command(fs, store):
    names = [f"s{number}" for number in range(5000)]
    for name in names:
        os.mkdir(f"{fs}/.snapshots/{name}")
    store.ok("-s", store.path, "snapshot", "destroy", *(f"d@{name}" for name in names[1:]))
    assert os.listdir(fs + "/.snapshots") == ["s0"]
