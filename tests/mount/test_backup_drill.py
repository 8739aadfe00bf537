"""Drills: what they find stays known."""

import json
import os

from harness import files, program
from harness.repository import PASSWORD


def damage(repository):
    """The largest pack, for good."""
    big = max(repository.packs(), key=os.path.getsize)
    os.chmod(big, 0o600)
    with open(big, "r+b") as handle:
        handle.write(b"damage")


def planned(repository, area):
    files.put(area + "/secret", PASSWORD.encode() + b"\n")
    repository.run("backup", "schedule", "d", repository.path, "--password-file", area + "/secret", "--full", "monthly", "--drill", "monthly")


def drill_of(store):
    rows = json.loads(store.ok("-s", store.path, "status", "--json"))["backups"]
    return next(row for row in rows if row["kind"] == "drill")


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
