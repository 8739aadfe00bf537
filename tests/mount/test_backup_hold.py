"""Holds on backups: what is held stays, whoever lets others go."""

import glob
import json
import os
import shlex

import pytest

from harness import files, program, servers
from harness.repository import NetRepository, Repository, restic, restic_check


@pytest.fixture(name="three")
def _three(repository, store):
    """Three backups of d, the oldest first."""
    return repository, make(repository, store)


def make(repository, store, count=3):
    names = []
    for number in range(count):
        files.put(store.mount() + "/d/changes", b"%d" % number * 100000)
        store.umount()
        names.append(repository.backup("d")["backup"])
    return names


def left(repository):
    return {row["backup"] for row in repository.backups()}


def held(repository):
    return {row["backup"]: row["holds"] for row in repository.backups() if row["holds"]}


@pytest.mark.sanitize
def test_what_is_held_goes_neither_by_name_nor_by_rules(three):
    repository, names = three
    repository.run("backup", "hold", f"{repository.path}@{names[0][:8]}", "paper 7")
    refused = repository.run("backup", "forget", repository.path, names[1], names[0], code=program.BUSY)
    assert "paper 7" in refused.err and f"corpusfs backup release {repository.path}@{names[0][:8]} 'paper 7'" in refused.err
    assert left(repository) == set(names), "all are looked at before the first one goes"
    repository.run("backup", "forget", repository.path, "--keep-last", "1")
    assert left(repository) == {names[0], names[2]}
    repository.run("backup", "prune", repository.path, "--keep-last", "1")
    assert left(repository) == {names[0], names[2]}
    restic_check(repository)
    repository.run("backup", "release", f"{repository.path}@{names[0][:8]}", "paper 7")
    repository.run("backup", "forget", repository.path, "--keep-last", "1")
    assert left(repository) == {names[2]}
    assert not os.listdir(repository.path + "/holds") and not os.listdir(repository.path + "/locks")


@pytest.mark.sanitize
def test_a_backup_may_have_several_holds_and_each_is_shown(three):
    repository, names = three
    place = f"{repository.path}@{names[1]}"
    for tag in ("one", "zwei ä"):
        repository.run("backup", "hold", place, tag)
    assert held(repository) == {names[1]: ["one", "zwei ä"]} or held(repository) == {names[1]: ["zwei ä", "one"]}
    assert sorted(repository.json("backup", "show", place)["holds"]) == ["one", "zwei ä"]
    assert "zwei ä" in repository.run("backup", "list", repository.path).out
    assert "already" in repository.run("backup", "hold", place, "one", code=program.EXISTS).err
    repository.run("backup", "release", place, "one")
    assert "not held" in repository.run("backup", "release", place, "one", code=program.NOT_FOUND).err
    repository.run("backup", "forget", repository.path, names[1], code=program.BUSY)
    repository.run("backup", "release", place, "zwei ä")
    repository.run("backup", "forget", repository.path, names[1])


def test_the_clock_s_rules_leave_what_is_held(three, store, area):
    repository, names = three
    files.put(area + "/secret", b"correct horse\n")
    repository.run("backup", "hold", f"{repository.path}@{names[0]}", "mine")
    repository.run("backup", "schedule", "d", repository.path, "--full", "hourly", "--keep-last", "1", "--password-file", area + "/secret")
    store.ok("-s", store.path, "tick", env={"LD_PRELOAD": f"{program.build()}/tests/crash/libcrash-clock.so", "CORPUSFS_CLOCK": "7200"})
    assert names[0] in left(repository) and names[1] not in left(repository) and len(left(repository)) == 2


@pytest.mark.parametrize("words, told", [(["{}", "tag"], "must be said"), (["{}@none", "tag"], "none"), (["{}@latest", ""], "empty"),
                                         (["{}@latest", "a\nb"], "tag"), (["{}@latest", "x" * 256], "tag")])  # fmt: skip
def test_what_cannot_be_held(three, words, told):
    repository, _ = three
    result = repository.store.run("-s", repository.store.path, "backup", "hold", *(word.format(repository.path) for word in words),
                                  env={"CORPUSFS_PASSWORD": "correct horse"})
    assert result.code in (program.USAGE, program.NOT_FOUND) and told in result.err, result
    assert held(repository) == {}


def test_what_restic_has_forgotten_is_told_and_released(three):
    repository, names = three
    repository.run("backup", "hold", f"{repository.path}@{names[0]}", "mine")
    restic(repository, "forget", names[0])
    listed = repository.run("backup", "list", repository.path)
    assert f'backup {names[0][:8]}, which "mine" holds, is gone' in listed.err
    repository.run("backup", "release", f"{repository.path}@{names[0][:8]}", "mine")
    assert "is gone" not in repository.run("backup", "list", repository.path).err


def damage(repository, name):
    os.chmod(f"{repository.path}/snapshots/{name}", 0o600)
    files.put(f"{repository.path}/snapshots/{name}", b"damage")


def test_a_damaged_backup_that_is_held_is_released_and_forgotten(three):
    repository, names = three
    repository.run("backup", "hold", f"{repository.path}@{names[0]}", "mine")
    damage(repository, names[0])
    (row,) = [row for row in repository.json("backup", "list", repository.path, code=program.DAMAGED) if row["backup"] == names[0]]
    assert row == {"backup": names[0], "damaged": True, "holds": ["mine"]}
    refused = repository.run("backup", "forget", repository.path, names[0][:8], code=program.BUSY)
    repository.run(*shlex.split(refused.err.rpartition("corpusfs ")[2]))
    repository.run("backup", "forget", repository.path, names[0][:8])
    assert left(repository) == set(names[1:])


def test_a_hold_of_a_backup_that_is_gone_is_released_beside_a_damaged_one(three):
    repository, names = three
    repository.run("backup", "hold", f"{repository.path}@{names[0]}", "mine")
    restic(repository, "forget", names[0])
    damage(repository, names[1])
    assert "is damaged" in repository.run("backup", "release", f"{repository.path}@{names[1][:8]}", "mine", code=program.DAMAGED).err
    repository.run("backup", "release", f"{repository.path}@{names[0][:8]}", "mine")
    assert not os.listdir(repository.path + "/holds")


@pytest.mark.sanitize
def test_while_a_hold_is_damaged_nothing_is_forgotten(three):
    repository, names = three
    repository.run("backup", "hold", f"{repository.path}@{names[0]}", "mine")
    (path,) = glob.glob(repository.path + "/holds/*")
    os.chmod(path, 0o600)
    with open(path, "r+b") as handle:
        handle.seek(20)
        handle.write(b"damage")
    for command in (["forget", repository.path, names[1]], ["forget", repository.path, "--keep-last", "1"], ["prune", repository.path, "--keep-last", "1"]):
        told = repository.run("backup", *command, code=program.DAMAGED)
        assert os.path.basename(path) in told.err and "remove that file" in told.err
    assert left(repository) == set(names)
    assert "not known what is held" in repository.run("backup", "list", repository.path).err
    os.remove(path)
    repository.run("backup", "forget", repository.path, names[1])


def test_a_hold_that_is_killed_holds_or_does_not(three, store):
    repository, names = three
    place = f"{repository.path}@{names[0]}"
    for nth in (1, 2):
        dead = store.run("-s", store.path, "backup", "hold", place, "mine",
                         env={"CORPUSFS_PASSWORD": "correct horse", "CORPUSFS_FAULT": f"object-before-rename:kill:{nth}"})
        assert dead.code != 0 and held(repository) == {}
        repository.run("backup", "unlock", "--all", repository.path)
    repository.run("backup", "hold", place, "mine")
    assert held(repository) == {names[0]: ["mine"]}
    restic_check(repository)


@pytest.mark.kinds("where")
@pytest.mark.parametrize("where", ["rest", "s3"])
def test_holds_on_servers(store, source, area, where, request):
    server = request.getfixturevalue(where)
    store.ok("-s", store.path, "import", source, "d")
    repository = NetRepository(store, server.url("r"), servers.S3_SECRETS, area + "/cache")
    names = make(repository, store, 2)
    assert held(repository) == {}
    repository.run("backup", "hold", f"{repository.path}@{names[0]}", "mine")
    assert held(repository) == {names[0]: ["mine"]}
    repository.run("backup", "forget", repository.path, "--keep-last", "1")
    assert left(repository) == set(names)
    repository.run("backup", "release", f"{repository.path}@{names[0]}", "mine")
    repository.run("backup", "forget", repository.path, "--keep-last", "1")
    assert left(repository) == {names[1]}
    assert "no errors were found" in repository.restic("check")


def test_a_published_version_is_held_after_it_is_the_newest_no_more(remotes, store, area):
    remotes.add("lab", area + "/repository")
    first = json.loads(remotes.run("publish", "d", "lab", "--init", "--json").out)
    remotes.run("backup", "hold", f"lab:d@{first['name']}", "trained on")
    files.put(store.mount() + "/d/more", b"more")
    store.umount()
    remotes.publish("d", name="lab")
    told = remotes.run("backup", "forget", "lab:", first["backup"], code=program.BUSY)
    assert "trained on" in told.err and "lab:@" in told.err
    remotes.run("backup", "prune", "lab:", "--keep-last", "1")
    remotes.run("restore", f"lab:d@{first['name']}", "again")
    assert not os.path.exists(store.mount() + "/again/more")


def test_a_repository_that_has_no_holds_has_no_folder_of_them(repository):
    assert isinstance(repository, Repository) and not os.path.exists(repository.path + "/holds")
    repository.run("backup", "list", repository.path)
    assert not os.path.exists(repository.path + "/holds")
