"""Drills: what they find stays known."""

import json
import os

from harness import files, program
from harness.repository import PASSWORD, SECRETS, Repository, restic


def damage(repository):
    """The largest pack, for good."""
    big = max(repository.packs(), key=os.path.getsize)
    os.chmod(big, 0o600)
    with open(big, "r+b") as handle:
        handle.write(b"damage")


def planned(repository, area, *options, dataset="d"):
    files.put(area + "/secret", PASSWORD.encode() + b"\n")
    repository.run("backup", "schedule", dataset, repository.path, "--password-file", area + "/secret", "--full", "monthly", "--drill", "monthly",
                   *options)


def drill_of(store, dataset="d"):
    rows = json.loads(store.ok("-s", store.path, "status", "--json"))["backups"]
    return next(row for row in rows if row["kind"] == "drill" and row["dataset"] == dataset)


def test_a_drill_by_hand_that_finds_damage_is_told_by_status_until_one_goes_well(repository, store, area):
    repository.backup("d")
    planned(repository, area)
    repository.run("backup", "drill", repository.path)
    assert not drill_of(store)["late"]
    kept = {path: files.get(path) for path in repository.packs()}
    damage(repository)
    repository.run("backup", "drill", repository.path, code=program.DAMAGED)
    row = drill_of(store)
    assert row["late"] and "damaged" in row["failure"]
    assert "LATE" in store.ok("-s", store.path, "status")
    for path, data in kept.items():
        files.put(path, data)
    repository.run("backup", "drill", repository.path)
    assert not drill_of(store)["late"]


def test_a_drill_with_a_wrong_password_says_nothing_of_the_backups(repository, store, area):
    repository.backup("d")
    planned(repository, area)
    repository.run("backup", "drill", repository.path)
    repository.run("backup", "drill", repository.path, code=program.PERMISSION, secrets={"CORPUSFS_PASSWORD": "wrong"})
    assert not drill_of(store)["late"]


def test_a_drill_by_hand_counts_for_what_came_back(repository, store, area):
    store.create("e")
    for dataset in ("d", "e"):
        repository.backup(dataset)
        planned(repository, area, dataset=dataset)
    repository.run("backup", "drill", repository.path + "@e", "--memory")
    assert drill_of(store, "e")["time"] > 0 and "time" not in drill_of(store, "d")


# --- into memory ---


def test_a_drill_into_memory_knows_the_identity_and_writes_nothing(repository, store, area):
    """Further names, holes, links, devices and names of any bytes are part of it."""
    first = repository.backup("d")
    files.put(store.mount() + "/d/new", b"new" * 500000)
    last = repository.backup("d", kind="incremental")
    os.mkdir(area + "/scratch")
    rows = json.loads(repository.run("backup", "drill", repository.path, "--memory", "--json", secrets={**SECRETS, "TMPDIR": area + "/nowhere"}).out)
    assert [(row["backup"], row["identity"]) for row in rows] == [(last["backup"], last["identity"]), (first["backup"], first["identity"])]
    assert all(row["same"] and row["seconds"] > 0 for row in rows)
    normal = repository.json("backup", "drill", f"{repository.path}@{last['backup']}", "--scratch", area + "/scratch")[0]
    assert {key: rows[0][key] for key in ("files", "bytes")} == {key: normal[key] for key in ("files", "bytes")}
    assert "--scratch" in repository.run("backup", "drill", repository.path, "--memory", "--scratch", area, code=program.USAGE).err


def test_a_drill_into_memory_reads_what_restic_backed_up(store, source, area):
    restic(area + "/made", "init")
    restic(area + "/made", "backup", source)
    made = Repository(store, area + "/made", init=False)
    (row,) = made.json("backup", "drill", made.path, "--memory")
    assert not row["same"] and "identity" not in row and row["files"] > 50


def test_a_drill_into_memory_notices_damage(repository):
    row = repository.backup("d")
    damage(repository)
    refused = repository.run("backup", "drill", repository.path, "--memory", code=program.DAMAGED).err
    assert row["backup"][:8] in refused and "damaged" in refused and len(refused.splitlines()) == 1


def test_a_drill_into_memory_counts_for_the_schedule(repository, store, area):
    repository.backup("d")
    planned(repository, area)
    assert "time" not in drill_of(store)
    repository.run("backup", "drill", repository.path, "--memory")
    assert drill_of(store)["time"] > 0 and not drill_of(store)["late"]


def test_a_drill_by_the_clock_needs_no_room_when_it_goes_into_memory(repository, store, area):
    repository.backup("d")
    nowhere = {"TMPDIR": area + "/nowhere"}
    planned(repository, area)
    assert store.run("-s", store.path, "tick", env=nowhere).code != 0 and drill_of(store)["late"]
    planned(repository, area, "--memory")
    assert "into memory" in repository.run("backup", "schedule", "d").out
    repository.run("backup", "schedule", "d", "--off")
    planned(repository, area, "--memory")
    assert "drilled" in store.ok("-s", store.path, "tick", env=nowhere)
    assert drill_of(store)["time"] > 0 and not drill_of(store)["late"]


def test_a_drill_by_the_clock_takes_an_older_backup_too_and_none_of_another_dataset(repository, store, area):
    store.create("e")
    first = repository.backup("d")["backup"]
    before = repository.packs()
    repository.backup("e")
    repository.backup("d")
    planned(repository, area, "--memory")
    for path in before:
        os.remove(path)
    ticked = store.run("-s", store.path, "tick")
    assert ticked.code == program.DAMAGED and first[:8] in ticked.err
    assert first[:8] in drill_of(store)["failure"]


def test_a_drill_by_the_clock_is_of_the_dataset_whatever_had_or_has_its_name(repository, store, area):
    first = repository.backup("d")["backup"]
    before = repository.packs()
    store.ok("-s", store.path, "dataset", "rename", "d", "renamed")
    store.create("d")
    for _ in range(2):
        repository.backup("d")
    for path in before:
        os.remove(path)
    planned(repository, area, "--memory")
    assert "drilled" in store.ok("-s", store.path, "tick")
    assert not drill_of(store)["late"]
    planned(repository, area, "--memory", dataset="renamed")
    ticked = store.run("-s", store.path, "tick")
    assert ticked.code == program.DAMAGED and first[:8] in ticked.err
