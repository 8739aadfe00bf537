"""Bits that flip in the tables of metadata: what is hurt is named, nothing is wrong, and repair keeps all that can be read."""

import collections
import errno
import functools
import glob
import json
import os
import random
import re

import pytest

from harness import files, posix, procs, program, rot
from harness.damaged import synced

DIRS, FILES = 24, 30


def noise(seed, size=3000):
    return random.Random(seed).randbytes(size)


def content(directory, number):
    return noise(f"{directory}/{number}", 3000 if number % 2 else 500)


@functools.cache
def all_contents():
    return {content(directory, number) for directory in range(DIRS) for number in range(FILES)}


@pytest.fixture(name="filled")
def _filled(store):
    """A store that is not mounted: 24 directories of 30 small files in d, and in its snapshot v1."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    store.create("d")
    point = store.mount()
    for directory in range(DIRS):
        os.mkdir(f"{point}/d/{directory}")
        for number in range(FILES):
            files.put(f"{point}/d/{directory}/{number}", content(directory, number))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    return store


def run_json(store, *args):
    return json.loads(store.run("-s", store.path, *args, "--json").out)


def damaged_tables(store):
    """What is in each table of metadata, by its path; found by damaging it."""
    found = {}
    for path in rot.tables(store):
        rot.flip(path, 10)
        found.update({path: row["holds"] for row in run_json(store, "repair")["tables"] if row["table"] == os.path.basename(path)})
        rot.undo()
    return found


def read_all(root):
    """How many files have their content, and the errnos of all that fails. What has lost its name has the content of some file."""
    whole, failures = 0, set()

    def failed(problem):
        failures.add(problem.errno)

    for path, _, names in os.walk(root, onerror=failed):
        for name in names:
            try:
                found, directory = files.get(f"{path}/{name}"), os.path.basename(path)
                named = directory.isdigit() and name.isdigit()
                assert found == content(int(directory), int(name)) if named else found in all_contents(), f"{path}/{name} is wrong"
                whole += 1
            except OSError as problem:
                failed(problem)
    return whole, failures


def the_table(store, holds):
    return max((path for path, found in damaged_tables(store).items() if found == holds), key=os.path.getsize)


NAMES = "names, attributes and layout of files"


@pytest.mark.sanitize
@pytest.mark.timeout(240)
def test_flipped_bit_in_a_table_of_names_is_told_of_and_repaired(filled):
    store = filled
    table = the_table(store, NAMES)
    rot.flip(table, int(os.path.getsize(table) * 0.4))
    found = store.run("-s", store.path, "check")
    assert found.code == program.DAMAGED and os.path.basename(table) in found.out and "Bad message" not in found.out + found.err
    assert "K0" in {problem["rule"] for problem in json.loads(store.run("-s", store.path, "check", "--json").out)["problems"]}
    assert store.run("-s", store.path, "scrub").code == program.DAMAGED
    hurt = store.run("-s", store.path, "damage", "--json")
    assert hurt.code == program.DAMAGED
    hurt = json.loads(hurt.out)
    assert [(row["table"], row["holds"], row["lost"]) for row in hurt["tables"]] == [(os.path.basename(table), NAMES, 1)]
    assert {(row["dataset"], row["snapshot"]) for row in hurt["places"]} == {("d", ""), ("d", "v1")}
    assert all(row["lost"] == "metadata" and row["path"] for row in hurt["places"])

    point = store.mount()
    before, failures = read_all(point + "/d")
    assert failures == {errno.EIO} and before < DIRS * FILES
    assert "corpusfs repair" in store.ok("-s", store.path, "status")
    store.umount()
    (line,) = [line for line in store.log().splitlines() if " error damaged-table " in line]
    assert os.path.basename(table) in line and "corpusfs damage" in line

    bits = {path: files.get(path) for path in rot.tables(store)}
    assert os.path.basename(table) in store.ok("-s", store.path, "repair")
    assert {path: files.get(path) for path in rot.tables(store)} == bits
    kept = run_json(store, "repair", "--apply")["kept"]
    assert {os.path.basename(path): files.get(path) for path in glob.glob(kept + "/*.sst")} == {os.path.basename(p): b for p, b in bits.items()}
    point = store.mount()
    after, failures = read_all(point + "/d")
    assert failures <= {errno.EIO} and before < after < DIRS * FILES
    assert run_json(store, "status")["damage"]["tables"] is False
    assert run_json(store, "damage")["tables"] == []
    store.ok("-s", store.path, "scrub")
    files.put(point + "/d/new", noise("new"))
    store.ok("-s", store.path, "gc")
    assert files.get(point + "/d/new") == noise("new")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_log_that_is_damaged_beside_a_missing_table_is_repaired_with_it(filled, place):
    store = filled
    point = store.mount()
    for number in range(20):
        synced(f"{point}/d/new{number}", noise(number))
    store.kill()
    log = max(glob.glob(store.path + "/db*/*.log"), key=os.path.getsize)
    rot.flip(log, os.path.getsize(log) // 2)
    found = sorted(rot.tables(store), key=os.path.getsize)
    lost = found[int(place * (len(found) - 1))]
    os.unlink(lost)
    said = run_json(store, "repair", "--apply")
    assert os.path.basename(lost) in [row["table"] for row in said["tables"]] and log in said["lost"], said
    assert "nothing" in store.ok("-s", store.path, "repair", "--apply")
    store.mount(point)
    if os.path.isdir(point + "/d"):
        for path in glob.glob(point + "/d/new*"):
            os.unlink(path)
        assert read_all(point + "/d")[1] <= {errno.EIO}
        synced(point + "/d/after", b"after")


@pytest.mark.timeout(240)
def test_every_table_that_is_damaged_is_found_and_told_in_plain_words(filled):
    store = filled
    assert NAMES in damaged_tables(store).values()
    holds = damaged_tables(store)
    for table in rot.tables(store):
        rot.flip(table, os.path.getsize(table) // 3)
        said = ""
        for command in ("check", "scrub", "damage", "status"):
            result = store.run("-s", store.path, command)
            said += result.out + result.err
            if command == ("scrub" if table not in holds else "check"):
                assert result.code == program.DAMAGED, (table, result)
        assert "Bad message" not in said and "EBADMSG" not in said, said
        result = store.run("mount", store.path, store.area + "/mnt")
        if result.code == 0:
            store.note(store.area + "/mnt")
            assert read_all(store.area + "/mnt/d")[1] <= {errno.EIO}
            store.umount()
        rot.undo()
    store.ok("-s", store.path, "repair", "--apply")
    store.ok("-s", store.path, "check")


def test_check_does_not_say_that_nothing_is_missing_after_a_table_of_names_was_given_up(filled):
    store = filled
    assert "before-repair" not in store.ok("-s", store.path, "check")
    os.unlink(the_table(store, NAMES))
    out = store.ok("-s", store.path, "repair", "--apply")
    assert "compare with a backup" in out
    (kept,) = [name for name in os.listdir(store.path) if name.startswith("before-repair-")]
    result = store.run("-s", store.path, "check")
    assert kept in result.out and "compare with a backup" in result.out
    assert json.loads(store.run("-s", store.path, "check", "--json").out)["repairs"] == [kept]


@pytest.mark.parametrize("way", ["missing", "short"])
def test_table_that_is_missing_or_short_is_repaired(filled, way):
    store = filled
    table = the_table(store, "content of small files")
    if way == "missing":
        os.unlink(table)
    else:
        os.truncate(table, os.path.getsize(table) // 2)
    assert store.run("-s", store.path, "dataset", "list").code == program.DAMAGED
    looked = run_json(store, "repair")["tables"]
    assert looked[0]["state"].startswith("missing" if way == "missing" else "damaged")
    assert [(row["table"], row["missing"]) for row in looked] == [(os.path.basename(table), way == "missing")]
    store.ok("-s", store.path, "repair", "--apply")
    whole, failures = read_all(store.mount() + "/d")
    odd = DIRS * FILES // 2  # larger ones, which are elsewhere
    assert failures == {errno.EIO} and (whole == odd if way == "missing" else odd < whole < 2 * odd)


def test_damage_lists_the_small_files_that_are_hurt_and_no_others(filled):
    table = the_table(filled, "content of small files")
    rot.flip(table, os.path.getsize(table) // 2)
    root = filled.mount() + "/d"
    names = [f"{directory}/{number}" for directory in range(DIRS) for number in range(FILES)]
    hurt = {name for name in names if posix.outcome(files.get, f"{root}/{name}") == "EIO"}
    rows = run_json(filled, "damage")["places"]
    assert hurt and {row["path"] for row in rows if not row["snapshot"]} == hurt == {row["path"] for row in rows if row["snapshot"]}


@pytest.mark.parametrize("fault", ["mend-before-tables", "mend-before-table", "mend-before-exchange"])
def test_repair_of_tables_that_dies_is_done_again(filled, fault):
    store = filled
    tables = sorted(damaged_tables(store), key=os.path.getsize)[-2:]
    for table in tables:
        rot.flip(table, os.path.getsize(table) // 4)
    assert store.run("-s", store.path, "repair", "--apply", env={"CORPUSFS_FAULT": f"{fault}:kill"}).code < 0
    assert len(run_json(store, "repair")["tables"]) == 2
    store.ok("-s", store.path, "repair", "--apply")
    assert run_json(store, "repair")["tables"] == []
    assert read_all(store.mount() + "/d")[1] <= {errno.EIO}


def test_what_has_lost_its_name_is_in_lost_found(filled):
    """A block of names is gone: link counts are right again, and each file that is left can be found, changed and removed."""
    store = filled
    table = the_table(store, NAMES)
    size = os.path.getsize(table)
    for place in (size // 5, size // 2):
        rot.flip(table, place)
    repaired = run_json(store, "repair", "--apply")
    assert repaired["heads"] and repaired["undo"].startswith("before-repair-")
    heads = [row for row in run_json(store, "check")["problems"] if not row["snapshot"]]
    # names that stand for nothing any more stay; what of a file's layout is lost is not read as zeros
    assert {row["name"] for row in heads} <= {"entry", "allocated"}, heads
    assert run_json(store, "repair")["heads"] == []
    root = store.mount() + "/d"
    assert any(row["text"].endswith("lost+found") or "lost+found/#" in row["text"] for row in repaired["heads"])
    for name in os.listdir(root + "/lost+found"):
        path = f"{root}/lost+found/{name}"
        assert os.stat(path).st_nlink == (2 if os.path.isdir(path) else 1)
        os.rename(path, f"{root}/found-{name}")
    assert os.listdir(root + "/lost+found") == []
    assert repaired["undo"] in os.listdir(root + "/.snapshots")


@pytest.mark.parametrize("fault", ["mend-before-tables", "mend-before-table", "mend-before-exchange"])
def test_repair_of_tables_that_fails_leaves_nothing_that_looks_like_the_database(filled, fault):
    store = filled
    table = max(damaged_tables(store), key=os.path.getsize)
    rot.flip(table, os.path.getsize(table) // 4)
    before = sorted(os.listdir(store.path))
    assert store.run("-s", store.path, "repair", "--apply", env={"CORPUSFS_FAULT": f"{fault}:enospc"}).code == program.NO_SPACE
    assert sorted(os.listdir(store.path)) == before
    store.ok("-s", store.path, "repair", "--apply")
    assert run_json(store, "repair")["tables"] == []


def test_lost_list_of_datasets_is_made_anew(filled):
    """The catalogue is small: one rotten block of it may be all of it."""
    store = filled
    for table, holds in damaged_tables(store).items():
        if holds == "the list of datasets and snapshots":
            os.unlink(table)
    assert store.run("-s", store.path, "dataset", "list").code == program.DAMAGED
    (recovered,) = run_json(store, "repair", "--apply")["recovered"]
    point = store.mount()
    assert sorted(os.listdir(point)) == [recovered]
    assert read_all(f"{point}/{recovered}") == (DIRS * FILES, set())
    store.ok("-s", store.path, "check")
    store.create("d")
    files.put(point + "/d/new", noise("new"))
    files.put(f"{point}/{recovered}/0/0", content(0, 0))
    store.ok("-s", store.path, "snapshot", "create", "d@v1", f"{recovered}@v1")
    store.ok("-s", store.path, "scrub")
    store.ok("-s", store.path, "gc")
    store.umount()
    store.ok("-s", store.path, "check")
    point = store.mount()
    assert files.get(point + "/d/.snapshots/v1/new") == noise("new")
    assert read_all(f"{point}/{recovered}/.snapshots/v1") == (DIRS * FILES, set())


def test_what_stands_for_damaged_content_is_not_removed_once_the_list_of_both_is_lost(store):
    """No extent names the good copy. Which chunk it stands for was in the catalogue."""
    store.expected += [r" error damaged ", r" error damaged-table ", r" error gc "]
    data = noise("rots", 200000)
    store.create("d")
    point = store.mount()
    files.put(point + "/d/file", data)
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    assert rot.content(store, data, 100000) == 1
    point = store.mount()
    files.put(point + "/d/again", data)
    store.ok("-s", store.path, "sync")
    os.unlink(point + "/d/again")
    store.umount()
    assert files.get(store.mount() + "/d/file") == data
    store.umount()
    for table, holds in damaged_tables(store).items():
        if holds == "the list of datasets and snapshots":
            os.unlink(table)
    (recovered,) = run_json(store, "repair", "--apply")["recovered"]
    store.mount()
    result = store.run("-s", store.path, "gc")
    assert result.code != 0 and " scrub" in result.err
    assert store.run("-s", store.path, "scrub").code == program.DAMAGED
    assert store.run("-s", store.path, "gc").code == result.code
    store.umount()
    assert rot.tables_with(store, data[100000:100064]), "the good copy is gone"
    store.mount()
    os.unlink(f"{point}/{recovered}/file")
    store.ok("-s", store.path, "scrub")
    store.ok("-s", store.path, "gc")


def test_of_a_damaged_list_of_datasets_what_is_left_is_kept(filled):
    """In the middle lie the digests: what is listed before and behind them goes on, and numbers are not given out again."""
    store = filled
    table = the_table(store, "the list of datasets and snapshots")
    rot.flip(table, os.path.getsize(table) // 2)
    assert run_json(store, "repair", "--apply")["recovered"] == []
    store.ok("-s", store.path, "check")
    point = store.mount()
    assert read_all(f"{point}/d") == read_all(f"{point}/d/.snapshots/v1") == (DIRS * FILES, set())
    store.create("e")
    store.ok("-s", store.path, "snapshot", "create", "d@v2", "e@v2")
    store.umount()
    store.ok("-s", store.path, "check")


def test_lost_index_of_changes_is_made_anew(filled):
    store = filled
    point = store.mount()
    files.put(point + "/d/3/3", noise("other"))
    store.ok("-s", store.path, "snapshot", "create", "d@v2")
    before = store.ok("-s", store.path, "diff", "d@v1", "d@v2")
    assert "3/3" in before
    store.umount()
    for table, holds in damaged_tables(store).items():
        if holds == "what changed when":
            os.unlink(table)
    store.ok("-s", store.path, "repair", "--apply")
    assert store.ok("-s", store.path, "diff", "d@v1", "d@v2") == before
    store.ok("-s", store.path, "check")


LONG = range(12)


@pytest.fixture(name="with_content")
def _with_content(store):
    """A store that is not mounted, with 12 files in d, whose content lies in several tables."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    store.create("d")
    for half in (LONG[:6], LONG[6:]):
        point = store.mount()
        for number in half:
            files.put(f"{point}/d/{number}", noise(number, 200000))
        store.umount()
    return store


@pytest.mark.sanitize
@pytest.mark.parametrize("way", ["missing", "short"])
def test_what_a_lost_table_of_content_had_is_told_at_once_and_healed_by_a_copy(with_content, way):
    """Without a scrub, and before anybody has read it."""
    store = with_content
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    table = rot.tables_with(store, noise(3, 200000)[100000:100064])[0]
    if way == "missing":
        os.unlink(table)
    else:
        os.truncate(table, os.path.getsize(table) // 2)
    assert "corpusfs damage" in store.ok("-s", store.path, "repair", "--apply")
    hurt = store.run("-s", store.path, "damage", "--json")
    assert hurt.code == program.DAMAGED
    told = {(row["snapshot"], row["path"]) for row in json.loads(hurt.out)["places"]}
    point = store.mount()
    lost = [number for number in LONG if not rot.reads(f"{point}/d/{number}", noise(number, 200000))]
    assert lost and len(lost) < len(LONG) and told == {(view, str(number)) for view in ("", "v1") for number in lost}
    for number in lost:
        files.put(f"{point}/d/again-{number}", noise(number, 200000))
    store.ok("-s", store.path, "sync")
    for number in LONG:
        assert rot.reads(f"{point}/d/.snapshots/v1/{number}", noise(number, 200000))
    assert run_json(store, "damage")["places"] == []


def test_lost_index_of_equal_content_is_made_anew(with_content):
    """What comes again is not stored again."""
    store = with_content
    for table, held in damaged_tables(store).items():
        if held == "where equal content is stored":
            os.unlink(table)
    store.ok("-s", store.path, "repair", "--apply")
    before = sum(map(os.path.getsize, rot.tables(store)))
    point = store.mount()
    for number in LONG:
        files.put(f"{point}/d/again-{number}", noise(number, 200000))
    store.umount()
    assert sum(map(os.path.getsize, rot.tables(store))) - before < 200000
    store.ok("-s", store.path, "check")
    point = store.mount()
    for number in LONG:
        assert files.get(f"{point}/d/again-{number}") == noise(number, 200000)


def test_healed_content_ends_with_a_sound_store(store):
    """The table of the chunk that rotted is written without it, and nothing is damaged any more."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    store.create("d")
    point = store.mount()
    for number in range(8):
        files.put(f"{point}/d/{number}", noise(number, 200000))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    assert rot.content(store, noise(3, 200000), 100000) == 1
    point = store.mount()
    assert store.run("-s", store.path, "scrub").code == program.DAMAGED
    with open(point + "/d/again", "wb", buffering=0) as handle:
        handle.write(noise(3, 200000))
        os.fsync(handle.fileno())
    assert run_json(store, "status")["damage"] == {"chunks": 0, "healed": 1, "tables": True, "unneeded": False}
    store.umount()
    assert len(run_json(store, "repair", "--apply")["tables"]) == 1
    point = store.mount()
    assert run_json(store, "status")["damage"]["tables"] is False
    store.ok("-s", store.path, "scrub")
    store.ok("-s", store.path, "check")
    for number in range(8):
        assert files.get(f"{point}/d/.snapshots/v1/{number}") == noise(number, 200000)


def test_check_lists_the_first_problems_of_each_rule_and_counts_the_others(filled):
    """One lost directory may mean a million names."""
    store = filled
    table = the_table(store, NAMES)
    size = os.path.getsize(table)
    for tenth in range(1, 10, 2):
        rot.flip(table, size * tenth // 10)
    store.ok("-s", store.path, "repair", "--apply")
    problems = run_json(store, "check")["problems"]
    counts = collections.Counter(row["rule"] for row in problems)
    assert counts.most_common(1)[0][1] > 50, counts

    def rows(*options):
        text = store.run("-s", store.path, "check", *options).out
        return collections.Counter(line.split()[0] for line in text.splitlines() if re.match(r"K\d+ ", line)), text

    some, text = rows()
    assert some == {rule: min(count, 50) for rule, count in counts.items()}
    for rule, count in counts.items():
        assert (f"and {count - 50} more of rule {rule}\n" in text) == (count > 50)
    every, text = rows("--all")
    assert every == counts and "more of rule" not in text


def test_scrub_looks_at_content_whose_layout_a_damaged_table_hides(filled):
    data = noise("last", 300000)
    files.put(filled.mount() + "/d/last", data)
    filled.umount()
    rot.layout(filled)
    assert rot.content(filled, data) == 1
    assert run_json(filled, "scrub")["damaged"] == 2, "a block of the table, and a chunk"


@pytest.mark.parametrize("holds, rules", [("content of small files", {"K4"}), (NAMES, {"K6"})])
def test_check_names_the_files_that_a_repair_could_not_keep(filled, holds, rules):
    table = the_table(filled, holds)
    rot.flip(table, os.path.getsize(table) // 2)
    assert "can be written again" not in filled.ok("-s", filled.path, "repair"), "it can be now"
    filled.ok("-s", filled.path, "repair", "--apply")
    problems = [row for row in run_json(filled, "check")["problems"] if row["rule"] in rules and row["path"]]
    assert problems
    point = filled.mount()
    for row in problems:
        root = f"{point}/d" + (f"/.snapshots/{row['snapshot']}" if row["snapshot"] else "")
        assert posix.outcome(files.get, f"{root}/{row['path']}") == "EIO", row
    # who sees the error finds out what it is
    told = filled.ok("-s", filled.path, "damage")
    assert "corpusfs check" in told and os.path.basename(glob.glob(filled.path + "/before-repair-*")[0]) in told and "no damage is known" not in told
    if holds == "content of small files":
        logged = procs.read(filled.path + "/log").decode()
        assert all(f'path="{row["path"]}"' in logged for row in problems), "each read that failed is in the log"
