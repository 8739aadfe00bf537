"""Backups that go by rules, and their room, in one command."""

import os

from harness import files, program, tree
from harness.repository import restic_check


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
