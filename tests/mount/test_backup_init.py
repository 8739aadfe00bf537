"""Several who make a repository at one place at the same moment: it is that of one of them, and the others are told."""

import glob
import json
import os
import shutil
import subprocess

from harness import program
from harness.repository import SECRETS, Repository, restic

OTHER = {"CORPUSFS_PASSWORD": "other", "RESTIC_PASSWORD": "other"}


def init_with_others(store, place, point, others):
    """What is said to who makes one and stops at the fault point, while others come in between."""
    with store.stopped_at(point, "backup", "init", place, env=SECRETS) as mine:
        others()
    assert mine.code == program.EXISTS and len(mine.err.splitlines()) == 1, mine
    return mine.err


def test_who_comes_last_with_the_config_has_no_repository_and_leaves_no_key(store, area):
    place = area + "/new"
    said = init_with_others(store, place, "repository-before-config", lambda: restic(place, "init", secrets=OTHER))
    assert "somebody else made a repository there at the same moment" in said
    assert len(os.listdir(place + "/keys")) == 1
    assert json.loads(restic(place, "snapshots", "--json", secrets=OTHER)) == []
    store.ok("backup", "list", place, env=OTHER)


def test_of_several_who_make_one_at_once_one_has_it(store, area):
    place = area + "/new"
    env = {**program.environment(store.run_mark, store.logs), **SECRETS}
    makers = [subprocess.Popen([store.binary, "backup", "init", place], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(4)]
    said = [(maker.communicate(timeout=60)[1].decode(), maker.returncode) for maker in makers]
    codes = sorted(code for _, code in said)
    assert codes == [program.OK] + 3 * [program.EXISTS], said
    assert len(os.listdir(place + "/keys")) == 1
    store.ok("backup", "list", place, env=SECRETS)


def test_who_finds_another_config_in_place_of_his_own_has_no_repository(store, area):
    """As restic puts it there, which has looked for one long before."""
    place, other = area + "/new", area + "/other"
    restic(other, "init", secrets=OTHER)

    def others():
        for name in ("config", *(os.path.relpath(path, other) for path in glob.glob(other + "/keys/*"))):
            shutil.copy(f"{other}/{name}", f"{place}/{name}.tmp")
            os.replace(f"{place}/{name}.tmp", f"{place}/{name}")

    said = init_with_others(store, place, "repository-after-config", others)
    assert "somebody else made a repository there" in said and "the password that it was made with" in said
    assert os.listdir(place + "/keys") == os.listdir(other + "/keys")
    assert json.loads(restic(place, "snapshots", "--json", secrets=OTHER)) == []
    store.ok("backup", "list", place, env=OTHER)


def test_key_of_another_repository_keeps_nobody_out(store, area):
    """As it is left where both had the same password, and one was too late to see that."""
    mine = Repository(store, area + "/mine")
    strangers = [Repository(store, f"{area}/other{number}") for number in range(4)]
    for stranger in strangers:
        for path in glob.glob(stranger.path + "/keys/*"):
            shutil.copy(path, mine.path + "/keys")
    assert mine.backups() == []
    for path in glob.glob(mine.path + "/keys/*"):
        if not any(os.path.exists(f"{stranger.path}/keys/{os.path.basename(path)}") for stranger in strangers):
            os.remove(path)
    said = mine.run("backup", "list", mine.path, code=program.DAMAGED).err
    assert "sealed with another key than the one that the password opens" in said


def test_who_cannot_look_whose_it_is_leaves_a_repository_that_his_password_opens(store, area):
    place = area + "/new"
    failed = store.run("backup", "init", place, env={**SECRETS, "CORPUSFS_FAULT": "repository-after-config:eio"})
    assert failed.code == program.FAILED and "config cannot be read" in failed.err, failed
    store.ok("backup", "list", place, env=SECRETS)
    assert json.loads(restic(place, "snapshots", "--json")) == []
