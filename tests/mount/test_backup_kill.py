"""Backups, restores and prunes that die at every point that has a name, and repositories that are damaged in every region."""

import glob
import itertools
import json
import os
import random
import shutil
import signal
import time

import pytest

from harness import files, program, tree
from harness.repository import SECRETS, restic, restic_check

KILLED = -signal.SIGKILL
COUNTER = itertools.count()


def dies(repository, point, *args):
    """Whether the command came to the point, and died there."""
    result = repository.store.run("-s", repository.store.path, *args, env={**SECRETS, "CORPUSFS_FAULT": point})
    assert result.code in (0, KILLED), f"{point}: {result.code} {result.err}"
    return result.code == KILLED


def change(repository, number):
    """Another state of the dataset, without what was in the last one."""
    point = repository.store.mount()
    for old in glob.glob(point + "/d/big*"):
        os.remove(old)
    files.put(f"{point}/d/big{number}", os.urandom(3 << 20))
    repository.store.umount()


def check_all(repository, identities):
    """All backups that are listed are whole; those that were there before are there still."""
    assert repository.verify()["problem_count"] == 0
    listed = {row["backup"] for row in repository.backups()}
    assert set(identities) <= listed
    for name in listed:
        done = repository.json("restore", f"{repository.path}@{name}", f"again{next(COUNTER)}")
        assert done["same"] and done["identity"] == identities.get(name, done["identity"])


@pytest.mark.timeout(180)
@pytest.mark.kinds("point")
@pytest.mark.parametrize("point", ["object-before-rename:kill:2", "object-before-rename:kill:4", "object-after-rename:kill:1", "object-after-rename:kill:4",
                                   "backup-before-snapshot-file", "backup-after-lock-check", "backup-after-snapshot-file"])
def test_backup_that_dies_leaves_a_valid_repository(repository, point):
    rows = [repository.backup("d")]
    change(repository, 1)
    assert dies(repository, point, "backup", "d", repository.path, "--type", "incremental"), f"nothing comes to {point}"
    rows.append(repository.backup("d", kind="incremental"))
    check_all(repository, {row["backup"]: row["identity"] for row in rows})
    repository.run("backup", "unlock", repository.path)
    restic_check(repository)
    names = {row["name"] for row in json.loads(repository.store.ok("-s", repository.store.path, "snapshot", "list", "d", "--json"))}
    assert names == {row["snapshot"] for row in rows}, "snapshots of backups that died stay"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["full", "differential", "incremental"])
def test_a_backup_that_died_late_is_not_begun_anew(repository, kind):
    """Ten packs and some small ones; of the first ones an index file tells."""
    repository.backup("d")
    point = repository.store.mount()
    files.put(point + "/d/noise", os.urandom(160 << 20))
    repository.store.umount()
    earlier = repository.packs()
    late = 15 if kind == "full" else 10  # up to seven small packs come first
    assert dies(repository, f"object-before-rename:kill:{late}", "backup", "d", repository.path, "--type", kind)
    done = repository.backup("d", kind=kind)
    assert done["stored"] < 120 << 20, "of 160 MiB and what else there is"
    repository.run("backup", "unlock", repository.path)
    restic_check(repository)
    if kind != "full":
        return
    assert repository.backup("d", kind="differential")["stored"] < 1 << 20, "what it went on with is its own"
    for path in earlier:
        os.remove(path)
    assert repository.json("restore", f"{repository.path}@{done['backup']}", f"{repository.path}-out/")["problem_count"] == 0
    assert repository.backup("d")["stored"] > 160 << 20, "the next one shares nothing"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("point", ["backup-before-snapshot-file", "backup-after-snapshot-file"])
def test_a_full_backup_goes_on_with_what_is_no_backup_only(repository, point):
    """Killed just before it is one, and just after."""
    files.put(repository.store.mount() + "/d/noise", os.urandom(8 << 20))
    repository.store.umount()
    assert dies(repository, point, "backup", "d", repository.path)
    stored = repository.backup("d")["stored"]
    assert stored < 1 << 20 if point.startswith("backup-before") else stored > 8 << 20
    assert repository.backup("d")["stored"] > 8 << 20
    assert repository.verify()["problem_count"] == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("goes_on", [True, False])
def test_what_a_killed_full_backup_put_is_nothing_for_an_incremental_one(repository, goes_on):
    """The incremental one comes back without any of it, whether the full one becomes a backup or is given up."""
    first = repository.backup("d")
    change(repository, 1)
    earlier = repository.packs()
    assert dies(repository, "backup-before-snapshot-file", "backup", "d", repository.path)
    put = repository.packs() - earlier
    between = repository.backup("d", kind="incremental")
    assert between["stored"] > 3 << 20 and between["base"] == first["backup"]
    if goes_on:
        full = repository.backup("d")
        assert full["stored"] < 1 << 20
        check_all(repository, {row["backup"]: row["identity"] for row in (first, between, full)})
        repository.run("backup", "forget", repository.path, full["backup"])
    repository.run("backup", "prune", repository.path)
    assert not put & repository.packs(), "what nobody names is gone"
    check_all(repository, {row["backup"]: row["identity"] for row in (first, between)})
    repository.run("backup", "unlock", repository.path)
    restic_check(repository)


@pytest.mark.timeout(180)
@pytest.mark.kinds("point")
@pytest.mark.parametrize("point", ["object-before-rename:kill:2", "object-after-rename:kill:2", "backup-prune-before-index", "backup-prune-before-old-index",
                                   "backup-prune-before-packs", "backup-prune-remove:kill:1", "backup-prune-remove:kill:3"])
def test_prune_that_dies_loses_nothing(repository, point):
    first = repository.backup("d")
    change(repository, 1)
    second = repository.backup("d", kind="incremental")
    repository.run("backup", "forget", repository.path, first["backup"])
    assert dies(repository, point, "backup", "prune", repository.path), f"nothing comes to {point}"
    check_all(repository, {second["backup"]: second["identity"]})
    repository.run("backup", "prune", repository.path)
    check_all(repository, {second["backup"]: second["identity"]})
    repository.run("backup", "unlock", repository.path)
    restic_check(repository)


def test_what_a_killed_backup_had_begun_is_removed_when_it_is_old(repository):
    """A living writer's is younger."""

    def begun():
        return [f"{folder}/{name}" for folder, _, names in os.walk(repository.path) for name in names if "-tmp-" in name]

    assert dies(repository, "object-before-rename:kill:2", "backup", "d", repository.path)
    names = begun()
    assert names, "one at least: other threads may have begun theirs"
    repository.run("backup", "unlock", repository.path)
    done = repository.json("backup", "prune", repository.path)
    assert done["left"] == 0 and begun() == names
    for name in names:
        os.utime(name, (time.time() - 90000, time.time() - 90000))
    size = sum(map(os.path.getsize, names))
    assert f"would remove {len(names)} files" in repository.run("backup", "prune", repository.path, "--dry-run").out
    assert begun() == names
    done = repository.json("backup", "prune", repository.path)
    assert (done["left"], done["left_bytes"]) == (len(names), size) and not begun()
    repository.backup("d")
    restic_check(repository)


def test_rebuilding_the_index_that_dies_loses_nothing(repository):
    row = repository.backup("d")
    assert dies(repository, "rebuild-index-before-old", "backup", "rebuild-index", repository.path)
    check_all(repository, {row["backup"]: row["identity"]})
    repository.run("backup", "unlock", repository.path)
    restic_check(repository)


@pytest.mark.timeout(240)
def test_restore_that_dies_is_run_again_and_leaves_nothing_behind(repository, source, area):
    repository.backup("d")
    for number in (1, 7, 30):
        assert dies(repository, f"restore-before-rename:kill:{number}", "restore", repository.path, area + "/out")
    repository.restore(area + "/out")
    tree.assert_same(source, area + "/out")


@pytest.mark.timeout(180)
def test_what_a_killed_restore_has_restored_is_not_fetched_again(repository, area):
    """Each file has a pack of its own, and the packs of those that are there already are away."""
    many, pack_of = repository.store.mount() + "/d/many", {}
    os.mkdir(many)
    repository.backup("d")
    for number in range(8):
        earlier = repository.packs()
        files.put(f"{many}/{number}", os.urandom(300000))
        repository.backup("d", kind="incremental")
        pack_of[str(number)] = max(repository.packs() - earlier, key=os.path.getsize)
    args = ["--path", "many"]
    assert dies(repository, "restore-before-rename:kill:5", "restore", repository.path, area + "/out/", *args)
    there = {name for _, _, names in os.walk(area + "/out") for name in names if name in pack_of}
    assert 0 < len(there) < 8
    for name in there:
        os.rename(pack_of[name], f"{area}/{name}")
    assert repository.json("restore", repository.path, area + "/out/", *args)["problem_count"] == 0
    repository.run("restore", repository.path, area + "/other/", *args, code=program.DAMAGED)
    for name in there:
        os.rename(f"{area}/{name}", pack_of[name])
    repository.run("restore", repository.path, area + "/whole/", *args)
    tree.assert_same(area + "/whole", area + "/out")


@pytest.mark.parametrize("point", ["restore-after-guard", "restore-after-clear", "import-batch-done"])
def test_restore_over_a_dataset_that_dies_keeps_what_was_there(repository, store, source, area, point):
    repository.backup("d")
    shared = store.mount()
    shutil.rmtree(shared + "/d/a")
    files.put(shared + "/d/mine", b"not in the backup")
    before = tree.scan(shared + "/d")
    store.umount()
    assert dies(repository, point, "restore", repository.path, "d", "--over")
    guards = [row["name"] for row in json.loads(store.ok("-s", store.path, "snapshot", "list", "d", "--json")) if row["name"].startswith("before-restore-")]
    assert len(guards) == 1
    store.ok("-s", store.path, "export", f"d@{guards[0]}", area + "/before")
    assert {name: row.get("content") for name, row in tree.scan(area + "/before").items()} == {name: row.get("content") for name, row in before.items()}
    assert repository.json("restore", repository.path, "d", "--over")["same"]
    store.ok("-s", store.path, "export", "d", area + "/after")
    tree.assert_same(source, area + "/after")


# --- damage ---


def flipped(at):
    def hurt(path):
        with open(path, "r+b") as handle:
            place = min(int(os.path.getsize(path) * at), os.path.getsize(path) - 1)
            handle.seek(place)
            byte = handle.read(1)[0]
            handle.seek(place)
            handle.write(bytes([byte ^ 0x10]))

    return hurt


HURTS = {
    "first": flipped(0),
    "middle": flipped(0.5),
    "last": flipped(1),
    "half": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "empty": lambda path: os.truncate(path, 0),
    "zeros": lambda path: open(path, "r+b").write(bytes(os.path.getsize(path))),
    "missing": os.remove,
}


def regions(repository):
    """A file of each region of a repository. A pack's last byte is in the length of its header, the byte at 0 in a blob."""
    with_trees = set()
    for name in glob.glob(repository.path + "/index/*"):
        for pack in json.loads(restic(repository, "cat", "index", os.path.basename(name)))["packs"]:
            if pack["blobs"][0]["type"] == "tree":
                with_trees.add(pack["id"])
    packs = sorted(repository.packs(), key=os.path.getsize)
    trees = [path for path in packs if os.path.basename(path) in with_trees]
    one = {name: glob.glob(f"{repository.path}/{name}/*")[0] for name in ("keys", "snapshots", "index", "holds")}
    return {"config": repository.path + "/config", **one, "pack of trees": trees[-1], "pack of data": packs[-1]}


@pytest.mark.timeout(300)
@pytest.mark.kinds("hurt")
@pytest.mark.parametrize("hurt", HURTS)
def test_damage_in_every_region_is_named_and_gives_no_wrong_byte(repository, source, area, hurt):
    held = repository.backup("d")["backup"]
    repository.run("backup", "hold", f"{repository.path}@{held}", "mine")
    good = tree.scan(source)
    for region, path in regions(repository).items():
        with open(path, "rb") as handle:
            kept = handle.read()
        os.chmod(path, 0o600)
        HURTS[hurt](path)
        found = repository.store.run("-s", repository.store.path, "backup", "verify", repository.path, "--data", env=SECRETS)
        said = found.out + found.err
        if hurt != "missing" or region not in ("snapshots", "holds"):
            assert found.code != 0, f"{region} is damaged ({hurt}), and verify is content"
            name = "repository" if region == "config" else "key" if region == "keys" else os.path.basename(path)[:8]
            assert name in said or (hurt, region) == ("missing", "index"), f"{region} ({hurt}): verify says {said}"
        for options in ([], ["--keep-going"]):
            out = f"{area}/out"
            result = repository.store.run("restore", repository.path, out, "--json", *options, env=SECRETS)
            came = tree.scan(out) if os.path.isdir(out) else {}
            for name, row in came.items():
                assert row.get("content") == good[name].get("content"), f"{name} is wrong after damage of {region} ({hurt})"
            missing = {name for name in good if name not in came}
            if "pack" in region:
                assert ("of d: " in said) == bool(missing), f"{region} ({hurt}): verify does not say which backup is hurt: {said}"
                assert ("no backup" in said) != bool(missing)
            assert not missing or region != "holds"
            if missing:
                assert result.code != 0, f"{missing} did not come back from a damaged {region} ({hurt}), and restore is content"
            if result.out.startswith("{") and options:
                named = {"./" + row["path"].replace("\\xff", "\udcff") for row in json.loads(result.out)["problems"]}
                unnamed = {name for name in missing if not any(name == other or name.startswith(other + "/") for other in named)}
                assert not {name for name in unnamed if "same as" not in good[name]}, f"not named: {unnamed}"
            shutil.rmtree(out, ignore_errors=True)
        if os.path.exists(path):
            os.remove(path)
        files.put(path, kept)
    assert repository.verify()["problem_count"] == 0


@pytest.mark.kinds("hurt")
@pytest.mark.parametrize("hurt", HURTS)
def test_damage_of_a_lock_keeps_those_away_who_remove_and_no_reader(repository, source, area, hurt):
    repository.backup("d")
    lock = repository.path + "/locks/" + "ab" * 32
    with repository.store.stopped_at("backup-before-snapshot-file", "-s", repository.store.path, "backup", "d", repository.path, env=SECRETS):
        shutil.copy(glob.glob(repository.path + "/locks/*")[0], area + "/lock")
    shutil.copy(area + "/lock", lock)
    HURTS[hurt](lock)
    repository.restore(area + "/out")
    tree.assert_same(source, area + "/out")
    assert repository.verify()["problem_count"] == 0
    if hurt not in ("missing", "empty"):  # restic, too, counts an empty one for nothing
        assert "unlock" in repository.run("backup", "prune", repository.path, code=program.DAMAGED).err
        assert repository.json("backup", "unlock", repository.path, "--all")["removed"] == 1
    repository.run("backup", "prune", repository.path)


def object_of(repository, ident):
    return json.loads(restic(repository, "cat", "blob", ident))


def blobs_below(repository, *path):
    """Of the files below a directory of the newest backup: [id of a blob]."""
    nodes = object_of(repository, json.loads(restic(repository, "cat", "snapshot", repository.backups()[-1]["backup"]))["tree"])["nodes"]
    for name in path:
        nodes = object_of(repository, next(node["subtree"] for node in nodes if node["name"] == name))["nodes"]
    found = []
    while nodes:
        node = nodes.pop()
        nodes += object_of(repository, node["subtree"])["nodes"] if "subtree" in node else []
        found += node.get("content") or []
    return found


def places(repository):
    """Where blobs are: {id: (path of the pack, offset, length)}."""
    found = {}
    for name in glob.glob(repository.path + "/index/*"):
        for pack in json.loads(restic(repository, "cat", "index", os.path.basename(name)))["packs"]:
            path = f"{repository.path}/data/{pack['id'][:2]}/{pack['id']}"
            found.update({blob["id"]: (path, blob["offset"], blob["length"]) for blob in pack["blobs"]})
    return found


def test_damage_of_what_tells_where_names_of_large_directories_are_takes_no_name(repository, store, area):
    """It is a help: who finds it damaged reads the whole directory."""
    os.mkdir(area + "/large")
    for number in range(16000):
        os.mknod(f"{area}/large/{number:0150}")
    store.ok("-s", store.path, "import", area + "/large", "d/large")
    repository.backup("d")
    blobs = blobs_below(repository, ".corpusfs", "trees")
    assert len(blobs) >= 2
    where = places(repository)
    for blob in (blobs[0], blobs[-1]):
        path, offset, length = where[blob]
        os.chmod(path, 0o600)
        for at in (offset, offset + length // 2, offset + length - 1):
            flipped(at / os.path.getsize(path))(path)
        failed = repository.json("backup", "verify", repository.path, "--data", code=program.FAILED)
        assert os.path.basename(path) in json.dumps(failed["problems"]), failed
        done = store.run("restore", repository.path, area + "/out", env=SECRETS)
        assert done.code == 0 and len(os.listdir(area + "/out/large")) == 16000, done
        for at in (offset, offset + length // 2, offset + length - 1):
            flipped(at / os.path.getsize(path))(path)
        shutil.rmtree(area + "/out")
    assert repository.verify()["problem_count"] == 0


def test_damage_at_random_offsets_of_packs_is_found(repository, seed):
    repository.backup("d")
    chance = random.Random(seed)
    for path in sorted(repository.packs(), key=os.path.getsize)[-1:]:
        for _ in range(6):
            at = chance.random()
            os.chmod(path, 0o600)
            flipped(at)(path)
            repository.verify(code=program.FAILED)
            flipped(at)(path)
    assert repository.verify()["problem_count"] == 0
