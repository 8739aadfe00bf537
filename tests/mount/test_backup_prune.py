"""Backups that go by rules, and their room, in one command."""

import os
import signal

import pytest

from harness import files, program, tree
from harness.repository import SECRETS, restic_check


def room(repository):
    return sum(map(os.path.getsize, repository.packs()))


def test_prune_forgets_first_what_the_rules_do_not_keep(repository, store, area):
    point = store.mount()
    made = []
    for _ in range(3):
        files.put(point + "/d/big", os.urandom(8 << 20))
        made.append(repository.backup("d")["backup"])
    before = room(repository)
    would = repository.json("backup", "prune", repository.path, "--keep-last", "1", "--dry-run")
    assert sorted(row["backup"] for row in would["forgotten"]) == sorted(made[:2]) and would["bytes_freed"] > 16 << 20
    assert len(repository.backups()) == 3 and room(repository) == before
    text = repository.run("backup", "prune", repository.path, "--keep-last", "1").out
    assert made[0][:8] in text and "freed" in text
    assert [row["backup"] for row in repository.backups()] == [made[2]] and before - room(repository) > 16 << 20
    restic_check(repository)
    repository.restore(area + "/out")
    tree.assert_same(point + "/d", area + "/out")


def back_up_in_part(repository, store):
    """
    The newest backup needs a part of the packs of one that was forgotten: the beginning of a file, of which all is the same and thus one blob or two,
    in whatever packs; the rest fills more packs than those.
    """
    point = store.mount()
    files.put(point + "/d/big", b"x" * (1 << 20) + os.urandom(64 << 20))
    first = repository.backup("d")["backup"]
    os.truncate(point + "/d/big", 512 << 10)
    repository.backup("d", kind="incremental")
    repository.run("backup", "forget", repository.path, first)
    would = repository.json("backup", "prune", repository.path, "--dry-run")
    assert would["packs_removed"] > 0 and would["packs_rewritten"] > 0
    return point, would


def test_prune_frees_what_it_can_on_a_disk_that_is_full(repository, store, area):
    """The lock is the first thing that it puts, then comes a pack that is written anew."""
    point, would = back_up_in_part(repository, store)
    before = room(repository)
    done = repository.run("backup", "prune", repository.path, secrets={**SECRETS, "CORPUSFS_FAULT": "object-before-rename:enospc:2"})
    assert not done.err and before - room(repository) > would["bytes_freed"] - (1 << 20), "what goes whole makes room for the rest"
    restic_check(repository)
    assert repository.json("backup", "prune", repository.path)["packs_rewritten"] == 0
    repository.restore(area + "/out")
    tree.assert_same(point + "/d", area + "/out")


def test_prune_comes_in_with_the_room_of_what_a_dead_writer_left(repository, store):
    """There is none for its lock."""
    full = {**SECRETS, "CORPUSFS_FAULT": "object-before-rename:enospc:1"}
    back_up_in_part(repository, store)
    before = repository.packs()
    left = f"{os.path.dirname(min(before))}/{'a' * 64}-tmp-0123456789abcdef"
    files.put(left, bytes(1 << 20))
    assert "is full" in repository.run("backup", "prune", repository.path, code=program.NO_SPACE, secrets=full).err
    assert repository.packs() == before | {left}
    os.utime(left, (0, 0))
    repository.run("backup", "prune", repository.path, secrets=full)
    assert not os.path.exists(left) and before - repository.packs()
    restic_check(repository)


@pytest.mark.parametrize("number", [1, 2])
def test_prune_that_dies_while_it_takes_back_what_has_no_room_loses_nothing(repository, store, area, number):
    """Before it removes the new index file, and before it removes the new pack."""
    point, would = back_up_in_part(repository, store)
    before = room(repository)
    fault = {"CORPUSFS_FAULT": f"backup-prune-before-index:enospc,backup-prune-remove:kill:{number}"}
    repository.run("backup", "prune", repository.path, code=-signal.SIGKILL, secrets={**SECRETS, **fault})
    assert repository.verify()["problem_count"] == 0 and room(repository) > before
    repository.run("backup", "unlock", repository.path)
    restic_check(repository)
    repository.run("backup", "prune", repository.path)
    assert before - room(repository) > would["bytes_freed"] - (1 << 20)
    restic_check(repository)
    repository.restore(area + "/out")
    tree.assert_same(point + "/d", area + "/out")


def test_prune_without_rules_forgets_nothing(repository):
    for _ in range(2):
        repository.backup("d")
    assert repository.json("backup", "prune", repository.path)["forgotten"] == [] and len(repository.backups()) == 2
    assert "--keep-last" in repository.run("backup", "prune", repository.path, "--keep-last", "0", code=program.USAGE).err
    assert len(repository.backups()) == 2


def test_prune_that_cannot_be_done_forgets_nothing(repository, store):
    """Of the newest backup a pack is lost; the older ones are whole."""
    for _ in range(2):
        repository.backup("d")
    earlier = set(repository.packs())
    files.put(store.mount() + "/d/big", os.urandom(8 << 20))
    made = repository.backup("d")["backup"]
    os.remove(max(set(repository.packs()) - earlier, key=os.path.getsize))
    before = repository.packs()
    refused = repository.run("backup", "prune", repository.path, "--keep-last", "1", code=program.DAMAGED).err
    assert "nothing is removed" in refused and "forgotten by then" not in refused
    assert len(repository.backups()) == 3 and repository.backups()[-1]["backup"] == made and repository.packs() == before
