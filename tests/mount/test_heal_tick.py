"""Damaged content comes back by itself from where the store's own backups are: a schedule's repository, and remotes that datasets were published in."""

import glob
import json
import os
import signal

import pytest

from harness import files, procs, program, rot, servers
from harness.repository import PASSWORD, SECRETS
from harness.rot import reads

COUNT = 6


def noise(number):
    return rot.noise(f"of its own: {number}")


def status(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))


def damaged(store):
    return status(store)["damage"]["chunks"]


def healing(store):
    return status(store)["healing"]


@pytest.fixture(name="kept")
def _kept(remotes, store):
    """Remotes of a store, not mounted, with files of noise in d."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    point = store.mount()
    for number in range(COUNT):
        files.put(f"{point}/d/noise-{number}", noise(number))
    store.umount()
    return remotes


def hurt(store, *numbers, known=True):
    """Rots what is stored of the files; `known`: the store has found that."""
    for number in numbers:
        assert rot.content(store, noise(number), 100000) == 1
    if known:
        assert store.run("-s", store.path, "scrub").code == program.DAMAGED


def assert_whole(store):
    point = store.points[-1] if store.points else store.mount()
    rot.forget()
    for number in range(COUNT):
        assert reads(f"{point}/d/noise-{number}", noise(number)), number


def schedule(kept, place):
    kept.run("backup", "init", place, env=SECRETS)
    kept.run("backup", "schedule", "d", place, "--full", "monthly", "--password-file", kept.password)
    assert "full of d" in kept.run("tick").out


@pytest.mark.sanitize
def test_a_tick_heals_from_the_repository_of_a_schedule(kept, store, area):
    schedule(kept, area + "/repository")
    assert healing(store) == {}
    hurt(store, 2, 4)
    assert damaged(store) == 2
    assert kept.run("tick").out.startswith("healed 2 of 2 damaged chunks")
    last = healing(store)["last"]
    assert last["chunks"] == 2 and last["bytes"] > 0 and last["from"] == area + "/repository" and damaged(store) == 0
    assert f"2 chunks from {area}/repository" in store.ok("-s", store.path, "status")
    assert kept.run("tick").out == ""
    assert_whole(store)
    (undo,) = glob.glob(store.path + "/undo-repair-*")
    assert json.loads(store.ok("-s", store.path, "repair", "--undo", undo, "--json"))["undone"] == 2, "what any repair leaves"
    store.ok("-s", store.path, "check")


@pytest.mark.kinds("where")
@pytest.mark.parametrize("where", ["directory", "server", "s3"])
def test_the_daemon_heals_from_where_a_dataset_was_published(kept, store, area, rest, where, request):
    env = servers.S3_SECRETS if where == "s3" else {}
    place = {"directory": area + "/repository", "server": rest.url("r")}.get(where) or request.getfixturevalue("s3").url("r")
    kept.add("lab", place)
    kept.run("publish", "d", "lab", "--init", "--single-writer", env=env)
    hurt(store, 3)
    store.mount(env={**kept.env, **env})
    procs.poll(lambda: damaged(store) == 0, 60 * program.scale(), "the daemon has healed it")
    assert_whole(store)
    procs.poll(lambda: ' info healed chunks=1 ' in store.log(), 30 * program.scale(), "the log says so")
    assert PASSWORD not in store.log() and "testsecret" not in store.log()
    assert healing(store)["last"]["from"] == "lab:"


def test_a_dataset_that_was_restored_from_a_remote_is_healed_from_there(kept, elsewhere, other, area):
    kept.add("lab", area + "/repository")
    kept.run("publish", "d", "lab", "--init", "--single-writer")
    elsewhere.run("restore", "lab:d", "d")
    hurt(other, 1)
    assert "healed 1 of 1" in elsewhere.run("tick").out
    assert_whole(other)


def test_without_backups_nothing_is_tried(kept, store, area):
    kept.add("lab", area + "/repository")
    kept.run("backup", "init", "lab:")
    kept.run("publish", "d", "lab", "--dry-run")
    hurt(store, 1)
    assert kept.run("tick").out == "" and healing(store) == {} and damaged(store) == 1


def test_remote_that_nobody_can_open_unasked_is_passed_over(kept, store, area):
    kept.run("remote", "add", "lab", area + "/repository")
    kept.run("publish", "d", "lab", "--init", "--single-writer", env=SECRETS)
    hurt(store, 1)
    kept.run("tick")
    assert damaged(store) == 1 and "failure" not in healing(store)


@pytest.mark.sanitize
def test_a_server_that_is_away_is_told_and_asked_again(kept, store, rest):
    kept.add("lab", rest.url("r"))
    kept.run("publish", "d", "lab", "--init", "--single-writer")
    hurt(store, 1)
    rest.stop()
    away = kept.run("tick", code=program.FAILED)
    assert "in lab:" in away.err and "cannot be reached" in away.err
    assert "lab:" in healing(store)["failure"] and "cannot be reached" in healing(store)["failure"]
    assert "cannot be reached" in store.run("-s", store.path, "doctor").out
    assert kept.run("tick").out == "", "not again within a quarter of an hour"
    rest.start()
    hurt(store, 2)
    assert "healed 2 of 2" in kept.run("tick").out, "what is found since is looked for at once, and the rest with it"
    assert "failure" not in healing(store)
    assert_whole(store)


@pytest.mark.timeout(120)
def test_reads_never_wait_for_a_server_that_is_away(kept, store, rest):
    kept.add("lab", rest.url("r"))
    kept.run("publish", "d", "lab", "--init", "--single-writer")
    hurt(store, 1)
    rest.stop()
    store.expected += [r' error backup text="a scheduled backup, a drill or healing failed"']
    point = store.mount(env=kept.env)
    procs.poll(lambda: "tried" in healing(store), 30 * program.scale(), "the daemon looks")
    assert not reads(point + "/d/noise-1", noise(1))
    assert reads(point + "/d/noise-2", noise(2))
    store.umount()


@pytest.mark.sanitize
def test_bytes_that_rotted_in_the_repository_too_are_not_taken(kept, store, area):
    schedule(kept, area + "/repository")
    hurt(store, 1)
    for pack in glob.glob(area + "/repository/data/*/*"):
        os.chmod(pack, 0o600)
        for at in range(1000, os.path.getsize(pack) - 1000, 5000):
            rot.flip(pack, at)
    told = kept.run("tick", code=program.DAMAGED)
    assert "cannot be read there either" in told.err and "cannot be read there either" in healing(store)["failure"]
    assert damaged(store) == 1 and "last" not in healing(store) and not glob.glob(store.path + "/undo-repair-*")
    assert not reads(store.mount() + "/d/noise-1", noise(1))


@pytest.mark.sanitize
def test_another_place_is_asked_for_what_the_first_has_not(kept, store, area):
    schedule(kept, area + "/repository")
    kept.add("lab", area + "/published")
    kept.run("publish", "d", "lab", "--init", "--single-writer")
    os.rename(area + "/repository", area + "/gone")
    hurt(store, 1)
    told = kept.run("tick", code=program.NOT_FOUND)
    assert "healed 1 of 1" in told.out and "lab:" in told.out and area + "/repository" in told.err
    assert_whole(store)


def test_a_tick_that_is_killed_leaves_the_store_whole_and_another_heals(kept, store, area):
    schedule(kept, area + "/repository")
    hurt(store, 1)
    dead = store.run("-s", store.path, "tick", env={**kept.env, "CORPUSFS_FAULT": "repair-before-heal:kill"})
    assert dead.code == -signal.SIGKILL
    assert damaged(store) == 1 and "not ended" in healing(store)["failure"]
    store.ok("-s", store.path, "check")
    assert kept.run("tick").out == "", "a try that kills is not made again at once"
    hurt(store, 2)
    assert "healed 2 of 2" in kept.run("tick").out
    assert_whole(store)


def test_a_tick_that_is_interrupted_leaves_it_to_the_next_one(kept, store, area):
    schedule(kept, area + "/repository")
    hurt(store, 1)
    with store.stopped_at("object-before-rename", "-s", store.path, "tick") as ticking:  # as it locks the repository
        os.kill(ticking.pid, signal.SIGTERM)
    assert ticking.code == -signal.SIGTERM
    assert os.listdir(area + "/repository/locks") == []
    assert damaged(store) == 1 and "failure" not in healing(store)
    assert "healed 1 of 1" in kept.run("tick").out, "at once"
    assert_whole(store)


def test_a_backup_that_is_due_finds_whole_what_was_healed_before(kept, store, area):
    kept.add("lab", area + "/published")
    kept.run("publish", "d", "lab", "--init", "--single-writer")
    kept.run("backup", "init", area + "/repository", env=SECRETS)
    kept.run("backup", "schedule", "d", area + "/repository", "--full", "monthly", "--password-file", kept.password)
    hurt(store, 1)
    told = kept.run("tick").out
    assert "healed 1 of 1" in told and "full of d" in told
    assert status(store)["backups"][0]["time"] > 0
