"""Backups and drills by the clock: made by a tick and by the daemon, and told by status."""

import json
import os
import random
import signal
import time

import pytest

from harness import files, procs, program, rot
from harness.repository import PASSWORD, SECRETS, Repository, restic_check


@pytest.fixture
def secret(area):
    with open(area + "/secret", "w", encoding="ascii") as handle:
        handle.write(PASSWORD + "\n")
    return area + "/secret"


def schedule(repository, secret, *options, dataset="d", code=0):
    return repository.run("backup", "schedule", dataset, repository.path, "--password-file", secret, *options, code=code)


def status(store):
    rows = json.loads(store.ok("-s", store.path, "status", "--json"))["backups"]
    return {(row["dataset"], row["kind"]): row for row in rows}


def tick(store, code=0):
    result = store.run("-s", store.path, "tick")
    assert result.code == code, result
    return result


def test_a_tick_makes_what_is_due_once(repository, store, secret):
    schedule(repository, secret, "--full", "weekly", "--incremental", "hourly", "--drill", "monthly")
    assert "full of d" in tick(store).out
    assert "drilled" in tick(store).out, "the drill comes when there is a backup"
    assert tick(store).out == "" or "incremental" in tick(store).out, "nothing more, unless an hour has just begun"
    assert [row["type"] for row in repository.backups()][0] == "full"
    rows = status(store)
    assert all(row["time"] > 0 and not row["late"] for key, row in rows.items() if key[1] != "incremental"), rows
    assert rows["d", "drill"]["seconds"] > 0
    text = store.ok("-s", store.path, "status")
    assert "came back in" in text and "LATE" not in text


def test_a_drill_by_hand_counts(repository, store, secret):
    schedule(repository, secret, "--full", "weekly", "--drill", "weekly")
    tick(store)
    repository.run("backup", "drill", repository.path)
    assert status(store)["d", "drill"]["time"] > 0
    assert tick(store).out == ""


def test_a_backup_by_hand_counts(repository, store, secret):
    store.ok("-s", store.path, "snapshot", "create", "d@old")
    schedule(repository, secret, "--full", "monthly")
    repository.backup("d@old")
    assert "time" not in status(store)["d", "full"], "an older snapshot is not what the schedule promises"
    made = repository.backup("d")
    assert status(store)["d", "full"]["time"] > 0
    assert tick(store).out == ""
    assert made["backup"] in [row["backup"] for row in repository.backups()] and len(repository.backups()) == 2


def test_backups_that_are_there_when_it_is_planned_count(repository, store, source, secret, area):
    store.ok("-s", store.path, "import", source, "e")
    full, incremental = repository.backup("d"), repository.backup("d", kind="incremental")
    schedule(repository, secret, "--full", "monthly", "--incremental", "daily")
    taken = {row["backup"]: int(row["taken"]) for row in repository.backups()}
    rows = status(store)
    assert rows["d", "full"]["time"] == taken[full["backup"]] and rows["d", "incremental"]["time"] == taken[incremental["backup"]]
    assert not any(row["late"] for row in rows.values())
    assert tick(store).out == "", "nothing is made again"
    schedule(repository, secret, "--full", "monthly", dataset="e")
    assert "time" not in status(store)["e", "full"], "another dataset's are not its own"
    assert "full of e" in tick(store).out
    other = Repository(store, area + "/other")
    schedule(other, secret, "--full", "monthly")
    assert "time" not in status(store)["d", "full"], "nor are those of another repository"


def test_an_incomplete_backup_does_not_count_when_it_is_planned(repository, store, secret):
    """What could not be read is not in it."""
    data = random.Random(4).randbytes(200000)
    files.put(store.mount() + "/d/hurt", data)
    store.umount()
    assert rot.content(store, data, 100000) > 0
    repository.backup("d", code=program.FAILED)
    schedule(repository, secret, "--full", "monthly")
    assert "time" not in status(store)["d", "full"]


def test_the_daemon_makes_what_is_due(repository, store, secret):
    schedule(repository, secret, "--full", "monthly")
    store.mount()
    for _ in range(300):
        if status(store)["d", "full"].get("time"):
            break
        time.sleep(0.1)
    assert [row["type"] for row in repository.backups()] == ["full"]


def test_what_fails_is_told_everywhere_and_tried_again_when_it_can(repository, store, secret):
    schedule(repository, secret, "--full", "daily")
    os.rename(secret, secret + ".gone")
    failed = tick(store, code=program.NOT_FOUND)
    assert secret in failed.err
    assert secret in status(store)["d", "full"]["failure"]
    assert "LATE" in store.ok("-s", store.path, "status")
    doctor = store.run("-s", store.path, "doctor")
    assert "full of d" in doctor.out and secret in doctor.out
    assert tick(store).out == "", "not again within the quarter of an hour"
    os.rename(secret + ".gone", secret)
    schedule(repository, secret, "--full", "daily")
    assert status(store)["d", "full"]["late"], "what failed stays known"


def test_rules_let_go_of_this_dataset_s_backups_only(repository, store, secret, source):
    store.ok("-s", store.path, "import", source, "e")
    store.ok("-s", store.path, "snapshot", "create", "d@old")
    schedule(repository, secret, "--full", "daily", "--keep-last", "1")
    for dataset in ("d@old", "d@old", "e", "e"):
        repository.backup(dataset)
    tick(store)
    assert sorted(row["dataset"] for row in repository.backups()) == ["d", "e", "e"]
    repository.verify()


def test_backup_that_was_made_is_not_made_again_because_older_ones_stay(repository, store, secret):
    store.ok("-s", store.path, "snapshot", "create", "d@old")
    schedule(repository, secret, "--full", "daily", "--keep-last", "1")
    repository.backup("d@old")
    result = store.run("-s", store.path, "tick", env={"CORPUSFS_FAULT": "backup-prune-before-index:eio"})
    assert result.code != 0 and "the backup was made, but" in result.err
    row = status(store)["d", "full"]
    assert row["late"] and "could not be let go" in row["failure"], "somebody should look"
    assert row["tried"] >= row["time"] > 0, "it was made, so no other is due"


def test_room_that_could_not_be_given_back_is_told(repository, store, secret):
    """
    Dataset e shares with the backup that goes, so that what it needs of its packs is written anew: the beginning of a file, of which all is the same
    and thus one blob or two, in whatever packs; the rest fills more packs than those.
    """
    store.create("e")
    point = store.mount()
    files.put(point + "/d/big", b"x" * (1 << 20) + random.Random(100).randbytes(64 << 20))
    files.put(point + "/e/part", b"x" * (512 << 10))
    store.umount()
    store.ok("-s", store.path, "snapshot", "create", "d@old")
    schedule(repository, secret, "--full", "daily", "--keep-last", "1")
    repository.backup("d@old")
    repository.backup("e", options=["--share"])
    os.remove(store.mount() + "/d/big")
    store.umount()
    # The first try has no room, what goes whole has, and then nothing that is to be written anew.
    full = ",".join(f"backup-prune-before-index:enospc:{passed}" for passed in (1, *range(3, 20)))
    result = store.run("-s", store.path, "tick", env={"CORPUSFS_FAULT": full})
    told = "the backup was made, but older ones could not be let go with all their room"
    if result.code == 0:  # what stayed is needed, all but a little of each pack: which pack a blob comes into is not ours to say
        left = repository.json("backup", "prune", repository.path, "--dry-run")
        assert left["packs_removed"] == left["packs_rewritten"] == left["bytes_freed"] == 0, left
        return
    assert result.code == program.NO_SPACE and told in result.err
    row = status(store)["d", "full"]
    assert row["late"] and told in row["failure"] and row["tried"] >= row["time"] > 0
    assert not repository.json("backup", "prune", repository.path)["no_room"], "what was left goes the next time"
    restic_check(repository)


def test_what_to_do_about_a_failure_is_a_command_that_can_be_copied(repository, store, secret):
    schedule(repository, secret, "--full", "daily")
    files.put(repository.path + "/locks/" + 64 * "7", b"no lock")
    told = tick(store, code=program.DAMAGED).err
    assert f"corpusfs backup unlock --all {repository.path}" in told and "REPOSITORY" not in told


def test_a_schedule_is_shown_changed_and_ended(repository, store, secret):
    schedule(repository, secret, "--full", "weekly", "--keep-weekly", "4")
    shown = repository.run("backup", "schedule", "d").out
    assert repository.path in shown and "weekly" in shown and secret in shown
    assert json.loads(repository.run("backup", "schedule", "d", "--json").out)["keep"] == {"weekly": 4}
    store.ok("-s", store.path, "dataset", "rename", "d", "renamed")
    assert repository.path in repository.run("backup", "schedule", "renamed").out
    repository.run("backup", "schedule", "renamed", "--off")
    assert "no backups" in repository.run("backup", "schedule", "renamed").out
    assert status(store) == {}
    assert tick(store).out == ""


def test_what_cannot_work_is_refused_at_once(repository, secret, area):
    assert "--full" in schedule(repository, secret, code=program.USAGE).err
    assert "monthly" in schedule(repository, secret, "--full", "yearly", code=program.USAGE).err
    assert "password file" in repository.run("backup", "schedule", "d", repository.path, "--full", "daily", code=program.USAGE).err
    with open(area + "/wrong", "w", encoding="ascii") as handle:
        handle.write("something else\n")
    assert "password" in schedule(repository, area + "/wrong", "--full", "daily", code=program.PERMISSION).err
    assert "no dataset" in schedule(repository, secret, "--full", "daily", dataset="x", code=program.NOT_FOUND).err


# --- to a remote ---


@pytest.mark.kinds("where")
@pytest.mark.parametrize("where", ["directory", "server"])
def test_a_schedule_names_a_remote_which_has_the_password(remotes, rest, store, area, where):
    remotes.add("lab", area + "/repository" if where == "directory" else rest.url("r"))
    remotes.run("backup", "init", "lab:")
    remotes.run("backup", "schedule", "d", "lab:", "--full", "monthly", "--drill", "monthly", "--keep-last", "2")
    shown = remotes.run("backup", "schedule", "d").out
    assert "lab:" in shown and "password file" not in shown
    assert "full of d in lab:" in remotes.run("tick").out
    assert "drilled" in remotes.run("tick").out
    assert remotes.run("tick").out == ""
    assert status(store)["d", "full"]["repository"] == "lab:" and not status(store)["d", "full"]["late"]
    assert len(remotes.json("backup", "list", "lab:")) == 1


def test_a_backup_by_hand_to_the_remote_of_the_schedule_counts(remotes, area):
    remotes.add("lab", area + "/repository")
    remotes.run("backup", "init", "lab:")
    remotes.run("backup", "schedule", "d", "lab:", "--full", "monthly")
    remotes.run("backup", "d", "lab:")
    assert remotes.run("tick").out == ""


def test_the_daemon_knows_the_remotes_of_who_mounted(remotes, store, area):
    remotes.add("lab", area + "/repository")
    remotes.run("backup", "init", "lab:")
    remotes.run("backup", "schedule", "d", "lab:", "--full", "monthly")
    store.mount(env=remotes.env)
    procs.poll(lambda: status(store)["d", "full"].get("time"), 30 * program.scale(), "the backup is made")
    assert [row["type"] for row in remotes.json("backup", "list", "lab:")] == ["full"]


def test_remote_of_a_schedule_that_is_forgotten_is_told(remotes, store, area):
    remotes.add("lab", area + "/repository")
    remotes.run("backup", "init", "lab:")
    remotes.run("backup", "schedule", "d", "lab:", "--full", "monthly")
    remotes.run("remote", "remove", "lab")
    assert 'remote "lab"' in remotes.run("tick", code=program.NOT_FOUND).err
    assert 'remote "lab"' in status(store)["d", "full"]["failure"]


def test_schedule_takes_no_url_and_no_remote_without_a_password(remotes, area, rest):
    remotes.add("lab", area + "/repository")
    remotes.run("backup", "init", "lab:")
    refused = remotes.run("backup", "schedule", "d", rest.url("r"), "--full", "daily", "--password-file", remotes.password, code=program.USAGE)
    assert "remote add" in refused.err
    remotes.run("remote", "add", "bare", area + "/repository")
    assert "password file" in remotes.run("backup", "schedule", "d", "bare:", "--full", "daily", code=program.USAGE).err
    remotes.run("backup", "schedule", "d", "bare:", "--full", "daily", "--password-file", remotes.password)
    assert "full of d" in remotes.run("tick").out


# --- what is interrupted ---


@pytest.fixture(name="slow")
def _slow(repository, store, secret):
    """A dataset of several packs, a backup of which is due; a mount in which it sleeps when the first one is put, and is just there."""
    files.put(store.mount() + "/d/big", random.Random(5).randbytes(48 << 20))
    store.umount()
    schedule(repository, secret, "--full", "monthly")
    store.mount(env={"CORPUSFS_FAULT": "object-before-rename:sleep8000:3"})
    procs.poll(repository.packs, 30 * program.scale(), "the first pack is there")


def assert_interrupted(repository, store):
    row = status(store)["d", "full"]
    assert row["interrupted"] > 0 and "time" not in row and "failure" not in row and "running" not in row
    assert "interrupted" in store.ok("-s", store.path, "status")
    assert repository.backups() == []


def assert_made_by_the_next_mount(repository, store):
    store.mount()
    procs.poll(lambda: status(store)["d", "full"].get("time"), 30 * program.scale(), "the backup is made")
    row = status(store)["d", "full"]
    assert "interrupted" not in row and "running" not in row
    assert [row["type"] for row in repository.backups()] == ["full"]
    assert repository.verify()["problem_count"] == 0


@pytest.mark.timeout(120)
def test_a_backup_that_umount_interrupts_ends_clean_and_is_made_by_the_next_mount(repository, store, slow):
    assert status(store)["d", "full"]["running"] > 0
    assert "being made since" in store.ok("-s", store.path, "status")
    store.umount()
    assert os.listdir(repository.path + "/locks") == []
    assert_interrupted(repository, store)
    assert json.loads(store.ok("-s", store.path, "snapshot", "list", "d", "--json")) == [], "what was taken for it is let go"
    restic_check(repository)
    assert_made_by_the_next_mount(repository, store)


@pytest.mark.timeout(120)
def test_a_backup_whose_daemon_is_killed_ends_with_it_and_is_made_by_the_next_mount(repository, store, slow):
    store.kill()
    procs.poll(lambda: not store.daemons(), 30 * program.scale(), "who waited for the daemon ends")
    assert_interrupted(repository, store)
    assert_made_by_the_next_mount(repository, store)


@pytest.mark.timeout(120)
def test_a_tick_that_is_interrupted_leaves_what_is_due_to_the_next_one(repository, store, secret):
    files.put(store.mount() + "/d/big", random.Random(5).randbytes(48 << 20))
    store.umount()
    schedule(repository, secret, "--full", "monthly")
    with store.stopped_at("object-before-rename", "-s", store.path, "tick", nth=3) as ticking:
        os.kill(ticking.pid, signal.SIGTERM)
    assert ticking.code == -signal.SIGTERM
    assert os.listdir(repository.path + "/locks") == []
    assert_interrupted(repository, store)
    assert "full of d" in tick(store).out
    assert "interrupted" not in status(store)["d", "full"]


@pytest.mark.timeout(120)
def test_an_incremental_backup_goes_on_with_what_an_interrupted_one_has_put(repository, store):
    repository.backup("d")
    files.put(store.mount() + "/d/big", random.Random(5).randbytes(80 << 20))
    store.umount()
    before = repository.packs()
    making = store.begin("-s", store.path, "backup", "d", repository.path, "--type", "incremental",
                         env={**SECRETS, "CORPUSFS_FAULT": "object-before-rename:sleep8000:4"})  # fmt: skip
    procs.poll(lambda: len(repository.packs() - before) >= 2, 30 * program.scale(), "two packs are there")
    making.send_signal(signal.SIGINT)
    assert making.wait(30 * program.scale()) == -signal.SIGINT
    put = sum(map(os.path.getsize, repository.packs() - before))
    assert repository.backup("d", kind="incremental")["added"] < (80 << 20) - put // 2
    restic_check(repository)
