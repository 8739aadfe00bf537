"""Where the identity of what came back was not compared, a restore says so, and why."""

import os
import random

import pytest

from harness import files, program, rot
from harness.repository import SECRETS, Repository, restic


def told(repository, target, *options, name=None, code=0):
    """Why, as a line says it to people and the result to programs; None: it was compared."""
    said = repository.restore(target, name, *options, code=code).out.splitlines()
    lines = [line for line in said if "identity" in line]
    assert len(lines) == 1, said
    return lines[0].partition("its identity was not compared: ")[2] or None


@pytest.mark.sanitize
def test_a_part_has_no_identity_to_compare(repository, area):
    repository.backup("d")
    for target in ("whole", area + "/whole"):
        assert told(repository, target) is None
    for target in ("part", area + "/part"):
        assert told(repository, target, "--path", "a/b") == "it is a part of the backup"
    done = repository.json("restore", repository.path, area + "/other", "--path", "a/b")
    assert done["uncompared"] == "it is a part of the backup" and not done["same"]
    assert "uncompared" not in repository.json("restore", repository.path, area + "/all")


def test_what_did_not_come_back_whole_is_not_compared(repository, area):
    repository.backup("d")
    big = max(repository.packs(), key=os.path.getsize)
    os.chmod(big, 0o600)
    with open(big, "r+b") as handle:
        handle.seek(1000)
        handle.write(b"damage")
    # the store has all of it: what it has is not fetched
    assert told(repository, area + "/out", "--keep-going", code=program.FAILED) == "not all of it came back"
    assert told(repository, "d", "--over", "--keep-going") is None


def test_an_incomplete_backup_has_no_identity_to_compare(repository, store, area):
    data = random.Random(4).randbytes(200000)
    files.put(store.mount() + "/d/hurt", data)
    store.umount()
    assert rot.content(store, data, 100000) > 0
    repository.backup("d", code=program.FAILED)
    for target in ("back", area + "/out"):
        assert told(repository, target, code=program.FAILED) == "the backup is incomplete"


def test_what_restic_backed_up_has_no_identity(store, source, area):
    restic(area + "/made", "init")
    restic(area + "/made", "backup", source)
    made = Repository(store, area + "/made", init=False)
    for target in ("back", area + "/out"):
        assert told(made, target) == "the backup has none"


def test_a_user_who_may_not_keep_all_modes_is_told(repository, store, area):
    store.create("e")
    point = store.mount()
    files.put(point + "/e/tool", b"tool")
    os.chmod(point + "/e/tool", 0o4711)
    store.umount()
    repository.backup("e")
    os.mkdir(area + "/users")
    repository.give(12345, area, area + "/users")
    done = store.run("restore", repository.path, area + "/users/out", env=SECRETS, user=12345)
    assert done.code == 0 and "its identity was not compared: whoever restores may not keep all modes" in done.out, done
