"""Drills: what they find stays known."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

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


# --- by hand, where no schedule plans drills ---


def drills(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))["drills"]


def doctor(store, repository):
    (line,) = [line for line in store.run("-s", store.path, "doctor").out.splitlines() if f"drill of {repository.path}" in line]
    return line


def told(store, repository):
    """By commands that look at the repository."""
    lines = [repository.run("backup", *command).err for command in (["list", repository.path], ["report", "d", repository.path])]
    assert lines[0] == lines[1]
    return lines[0]


@pytest.mark.sanitize
def test_how_a_drill_by_hand_went_is_told_until_a_later_one(repository, store):
    repository.backup("d")
    assert drills(store) == [] and told(store, repository) == ""
    repository.run("backup", "drill", repository.path, "--memory")
    (row,) = drills(store)
    assert row["repository"] == repository.path and row["failure"] is None and row["tried"] == row["time"] > 0 and row["seconds"] > 0
    assert re.search(rf"^drill +{repository.path}: last .* came back in [0-9.]+ s$", store.ok("-s", store.path, "status"), re.M)
    assert "came back" in doctor(store, repository) and told(store, repository) == ""
    kept = {path: files.get(path) for path in repository.packs()}
    damage(repository)
    for name in ("", "@d"):
        repository.run("backup", "drill", repository.path + name, "--memory", code=program.DAMAGED)
        (failed,) = drills(store)
        assert "damaged" in failed["failure"] and {key: failed[key] for key in ("time", "seconds")} == {key: row[key] for key in ("time", "seconds")}
    assert re.search(rf"^drill +{repository.path}: last .* came back in [0-9.]+ s, then FAILED .*: .*damaged", store.ok("-s", store.path, "status"), re.M)
    assert "damaged" in doctor(store, repository)
    assert told(store, repository) == f"corpusfs: note: the last drill of {repository.path} failed: {failed['failure']}\n"
    for path, data in kept.items():
        files.put(path, data)
    repository.run("backup", "drill", repository.path, "--memory")
    assert [row["failure"] for row in drills(store)] == [None] and "FAILED" not in store.ok("-s", store.path, "status")
    assert "came back" in doctor(store, repository) and told(store, repository) == ""


def test_what_is_told_of_drills_of_a_repository_that_is_gone_can_be_ended(repository, store):
    repository.backup("d")
    damage(repository)
    repository.run("backup", "drill", repository.path, "--memory", code=program.DAMAGED)
    shutil.rmtree(repository.path)
    assert "damaged" in doctor(store, repository)
    assert "--forget" in repository.run("backup", "drill", repository.path, "--forget", "--memory", code=program.USAGE).err
    repository.run("backup", "drill", repository.path, "--forget")
    assert drills(store) == [] and "drill of" not in store.run("-s", store.path, "doctor").out
    assert repository.path in repository.run("backup", "drill", repository.path, "--forget", code=program.NOT_FOUND).err


def test_how_drills_went_is_told_once_where_a_schedule_plans_them(repository, store, area):
    repository.backup("d")
    planned(repository, area)
    repository.run("backup", "drill", repository.path, "--memory")
    assert drill_of(store)["time"] > 0 and drills(store) == []
    repository.run("backup", "schedule", "d", "--off")
    assert [row["repository"] for row in drills(store)] == [repository.path]


def test_a_drill_by_the_clock_that_went_well_ends_what_one_by_hand_had_found(repository, store, area):
    repository.backup("d")
    kept = {path: files.get(path) for path in repository.packs()}
    damage(repository)
    repository.run("backup", "drill", repository.path, "--memory", code=program.DAMAGED)
    for path, data in kept.items():
        files.put(path, data)
    planned(repository, area, "--memory")
    assert "drilled" in store.ok("-s", store.path, "tick")
    repository.run("backup", "schedule", "d", "--off")
    assert [row["failure"] for row in drills(store)] == [None]


# --- scratch space ---


@pytest.fixture(name="scratch")
def _scratch(repository, area):
    """With a backup to be drilled."""
    repository.backup("d")
    os.mkdir(area + "/scratch")
    return area + "/scratch"


def drill(repository, scratch):
    assert repository.json("backup", "drill", repository.path, "--scratch", scratch)[0]["same"]


def leave(repository, scratch):
    """A drill is killed; what it leaves."""
    before = set(os.listdir(scratch))
    killed = repository.store.run("-s", repository.store.path, "backup", "drill", repository.path, "--scratch", scratch,
                                  env={**SECRETS, "CORPUSFS_FAULT": "drill-restored:kill"})
    assert killed.code == -signal.SIGKILL
    (left,) = set(os.listdir(scratch)) - before
    return f"{scratch}/{left}"


@pytest.mark.sanitize
def test_what_a_killed_drill_has_left_goes_with_the_next_one(repository, scratch):
    assert os.listdir(leave(repository, scratch) + "/store")
    os.mkdir(scratch + "/corpusfs-drill-empty0", 0o700)  # it was killed before it had a lock
    drill(repository, scratch)
    assert os.listdir(scratch) == []


def test_drills_at_one_time_leave_each_other_alone(repository, store, scratch):
    with store.stopped_at("drill-restored", "-s", store.path, "backup", "drill", repository.path, "--scratch", scratch, env=SECRETS) as first:
        (name,) = os.listdir(scratch)
        held = sorted(os.listdir(f"{scratch}/{name}/store"))
        drill(repository, scratch)
        assert os.listdir(scratch) == [name] and sorted(os.listdir(f"{scratch}/{name}/store")) == held
    assert first.code == 0, first.err
    assert os.listdir(scratch) == []


def test_a_drill_removes_nothing_but_what_a_drill_of_its_user_has_left(repository, scratch, area):
    """Others may write there, as in /var/tmp, and know what the directory is called."""
    left = leave(repository, scratch)
    os.rename(left, area + "/kept")
    os.symlink(area + "/kept", scratch + "/corpusfs-drill-link00")
    os.symlink("kept-by-name", scratch + "/corpusfs-drill-link01")
    os.mkdir(scratch + "/corpusfs-drill-other0", 0o700)
    files.put(scratch + "/corpusfs-drill-other0/lock", b"")
    os.chown(scratch + "/corpusfs-drill-other0", 12345, 12345)
    os.mkdir(scratch + "/corpusfs-drill-shared", 0o777)
    os.chmod(scratch + "/corpusfs-drill-shared", 0o777)
    files.put(scratch + "/corpusfs-drill-shared/lock", b"")
    os.mkdir(scratch + "/corpusfs-drill-bare00", 0o700)
    files.put(scratch + "/corpusfs-drill-bare00/store", b"without a lock")
    files.put(scratch + "/corpusfs-drill-file00", b"file")
    os.mkdir(scratch + "/corpusfs-drill-longer-name", 0o700)
    before = sorted(os.listdir(scratch)), sorted(os.listdir(area + "/kept"))
    drill(repository, scratch)
    assert (sorted(os.listdir(scratch)), sorted(os.listdir(area + "/kept"))) == before
    assert os.listdir(scratch + "/corpusfs-drill-other0") == os.listdir(scratch + "/corpusfs-drill-shared") == ["lock"]


def test_a_link_in_what_was_left_is_removed_and_not_what_it_names(repository, scratch, area):
    left = leave(repository, scratch)
    os.mkdir(area + "/elsewhere")
    files.put(area + "/elsewhere/file", b"kept")
    os.symlink(area + "/elsewhere", left + "/store/link")
    drill(repository, scratch)
    assert os.listdir(scratch) == [] and files.get(area + "/elsewhere/file") == b"kept"


def test_what_is_mounted_in_what_was_left_stays(repository, scratch):
    left = leave(repository, scratch)
    os.mkdir(left + "/store/point")
    subprocess.run(["mount", "-t", "tmpfs", "none", left + "/store/point"], check=True)
    try:
        files.put(left + "/store/point/file", b"kept")
        drill(repository, scratch)
        assert files.get(left + "/store/point/file") == b"kept"
    finally:
        subprocess.run(["umount", left + "/store/point"], check=True)
    drill(repository, scratch)
    assert os.listdir(scratch) == []


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
