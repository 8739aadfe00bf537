"""Repositories that are damaged, locked, or left by programs that were killed."""

import glob
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from harness import files, procs, program, rot, tree
from harness.repository import SECRETS, Repository, restic_check


def flip(path, chance):
    os.chmod(path, 0o600)
    with open(path, "r+b") as handle:
        at = chance.randrange(os.path.getsize(path))
        handle.seek(at)
        byte = handle.read(1)[0]
        handle.seek(at)
        handle.write(bytes([byte ^ 1 << chance.randrange(8)]))


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_every_damaged_file_is_named_and_no_wrong_byte_comes_back(repository, source, area, seed):
    repository.backup("d")
    chance = random.Random(seed)
    good = tree.scan(source)
    shutil.copytree(repository.path, area + "/good")
    for number, path in enumerate(sorted(glob.glob(repository.path + "/*/*") + glob.glob(repository.path + "/data/*/*"))):
        if not os.path.isfile(path):
            continue
        flip(path, chance)
        found = repository.store.run("-s", repository.store.path, "backup", "verify", repository.path, "--data", env=SECRETS)
        assert found.code != 0, f"{path} is damaged, and verify is content"
        repository.store.run("restore", repository.path, f"{area}/out{number}", env=SECRETS)
        if os.path.isdir(f"{area}/out{number}"):
            for name, row in tree.scan(f"{area}/out{number}").items():
                if "content" in row:
                    assert row["content"] == good[name]["content"], f"{name} is wrong after damage of {path}"
        shutil.rmtree(f"{area}/out{number}", ignore_errors=True)
        shutil.copy(f"{area}/good/{os.path.relpath(path, repository.path)}", path)
    assert repository.verify()["problem_count"] == 0


def test_repository_that_cannot_be_written_to_is_read(repository, store, source, area):
    """A disk that is mounted read-only, after a disaster for example; and a user who may only look. Locks that somebody has left half written are no matter."""
    repository.backup("d")
    for number, content in enumerate((b"", os.urandom(300))):
        files.put(f"{repository.path}/locks/{number:064}", content)
    assert "damaged" in repository.run("backup", "prune", repository.path, code=program.DAMAGED).err
    os.mkdir(area + "/disk")
    for options in (["--bind", repository.path, area + "/disk"], ["-o", "remount,bind,ro", area + "/disk"]):
        subprocess.run(["mount", *options], check=True)
    try:
        disk = Repository(store, area + "/disk", init=False)
        assert disk.verify()["problem_count"] == 0
        assert disk.json("restore", area + "/disk", "again")["same"]
        disk.restore(area + "/out")
        tree.assert_same(source, area + "/out")
        disk.run("import", "restic:" + area + "/disk", "imported")
        repository.run("backup", "unlock", repository.path, "--all")
        assert "Read-only" in disk.run("backup", "d", area + "/disk", code=program.PERMISSION).err
    finally:
        subprocess.run(["umount", area + "/disk"], check=True)
    for path in (area, os.path.dirname(area)):
        os.chmod(path, 0o755)
    subprocess.run(["chmod", "-R", "a+rX", repository.path], check=True)
    os.mkdir(area + "/users")
    os.chown(area + "/users", 12345, 12345)
    done = store.run("restore", repository.path, area + "/users/out", "--path", "a/b", env=SECRETS, user=12345)
    assert os.listdir(area + "/users/out") and "lock" not in done.err, done.err


def test_keep_going_leaves_out_what_is_damaged_and_names_it(repository, other, source, area):
    repository.backup("d")
    big = max(repository.packs(), key=os.path.getsize)
    os.chmod(big, 0o600)
    with open(big, "r+b") as handle:
        handle.seek(1000)
        handle.write(b"damage")
    for target in (area + "/out", "back"):
        failed = other.run("-s", other.path, "restore", repository.path, target, env=SECRETS)
        assert failed.code == program.DAMAGED and "with --keep-going the rest comes" in failed.err and f"verify {repository.path} --data" in failed.err, failed
    assert "back is restored in part; the same command with --over --keep-going goes on" in failed.err
    done = repository.json("restore", repository.path, area + "/rest", "--keep-going", code=program.FAILED)
    assert done["problem_count"] >= 1
    left, right = tree.scan(source), tree.scan(area + "/rest")
    missing = set(left) - set(right)
    assert missing and missing <= {"./" + row["path"] for row in done["problems"]} | {name for name in left if "same as" in left[name]}
    assert all(row.get("content") == left[name].get("content") for name, row in right.items())


def test_a_restore_that_fails_at_its_first_file_says_what_it_leaves(repository, other, store, area):
    """An empty dataset."""
    store.create("one")
    files.put(store.mount() + "/one/file", random.Random(6).randbytes(3 << 20))
    store.umount()
    repository.backup("one")
    big = max(repository.packs(), key=os.path.getsize)
    os.chmod(big, 0o600)
    with open(big, "r+b") as handle:
        handle.write(b"damage")
    failed = other.run("-s", other.path, "restore", repository.path, "back", env=SECRETS)
    assert failed.code == program.DAMAGED and "at its first member, in member file" in failed.err, failed
    assert "back is restored in part; the same command with --over --keep-going goes on" in failed.err
    assert "back" in other.ok("-s", other.path, "dataset", "list")


def test_what_stands_in_a_directory_s_place_is_named_and_so_is_what_was_in_it(repository, area):
    repository.backup("d")
    os.mkdir(area + "/out")
    files.put(area + "/out/a", b"in its place")
    done = repository.json("restore", repository.path, area + "/out", code=program.FAILED)
    paths = {row["path"] for row in done["problems"]}
    assert {"a", "a/1", "a/b", "a/b/c"} <= paths
    assert "1" not in os.listdir(area + "/out") and "c" not in os.listdir(area + "/out")
    assert open(area + "/out/a", "rb").read() == b"in its place"
    assert os.path.exists(area + "/out/holes")


def test_drill_fails_where_a_backup_does_not_come_back(repository, area):
    repository.backup("d")
    big = max(repository.packs(), key=os.path.getsize)
    os.chmod(big, 0o600)
    with open(big, "r+b") as handle:
        handle.write(b"damage")
    os.mkdir(area + "/scratch")
    said = repository.run("backup", "drill", repository.path, "--scratch", area + "/scratch", code=program.DAMAGED).err
    assert f"backup {repository.backups()[0]['backup'][:8]} in {repository.path} is damaged" in said, said
    assert os.listdir(area + "/scratch") == []


def test_every_file_with_a_damaged_chunk_is_left_out_and_named(repository, store, area):
    """Two files share the chunk: the first one that meets the damage must not make the second believe that it is in the repository."""
    data = random.Random(4).randbytes(200000)
    point = store.mount()
    for name in ("one", "two", "three"):
        files.put(f"{point}/d/{name}", data)
    store.umount()
    assert rot.content(store, data, 100000) > 0
    done = repository.backup("d", code=program.FAILED)
    assert {"one", "two", "three"} <= {row["path"] for row in done["problems"]}
    assert repository.verify()["problem_count"] == 0


@pytest.fixture(name="halves")
def _halves(repository, store):
    """Two backups: a complete one, and a newer one without a file that was damaged meanwhile."""
    whole = repository.backup("d")["backup"]
    data = random.Random(4).randbytes(200000)
    files.put(store.mount() + "/d/hurt", data)
    store.umount()
    assert rot.content(store, data, 100000) > 0
    return whole, repository.backup("d", code=program.FAILED)["backup"]


def test_incomplete_backup_is_marked_and_not_taken_for_the_newest(repository, halves, area):
    whole, half = halves
    assert {row["backup"]: row["incomplete"] for row in repository.backups()} == {whole: False, half: True}
    for number, name in enumerate((None, "d")):
        done = repository.restore(f"{area}/out{number}", name)
        assert whole[:8] in done.err and half[:8] in done.err and not os.path.exists(f"{area}/out{number}/hurt")
    done = repository.restore(area + "/half", half, code=program.FAILED)
    assert f"{half[:8]} is incomplete" in done.err
    assert "incomplete" in repository.restore("again", half, code=program.FAILED).err
    repository.run("backup", "forget", repository.path, whole)
    assert repository.json("restore", repository.path, area + "/only", code=program.FAILED)["incomplete"]


def test_drill_of_an_incomplete_backup_fails(repository, halves, area):
    os.mkdir(area + "/scratch")
    done = repository.run("backup", "drill", repository.path, "--scratch", area + "/scratch", code=program.FAILED)
    assert f"{halves[1][:8]} is incomplete" in done.err and halves[0][:8] in done.out
    repository.run("backup", "drill", f"{repository.path}@{halves[0]}", "--scratch", area + "/scratch")


def test_restore_over_that_ends_half_way_says_how_to_go_back(repository, store, area):
    shared = store.mount()
    files.put(shared + "/d/big", os.urandom(20 << 20))
    repository.backup("d")
    os.remove(shared + "/d/big")
    files.put(shared + "/d/mine", b"not in the backup")
    before = tree.scan(shared + "/d")
    store.umount()
    store.ok("-s", store.path, "dataset", "set", "d", "--quota", "24M")
    ended = repository.restore("d", None, "--over", code=program.NO_SPACE)
    command = shlex.split(ended.err.strip().splitlines()[-1].rpartition("; ")[2])
    assert command[0] == "corpusfs" and command[-1].startswith("d@before-restore-"), ended.err
    store.ok(*command[1:])
    store.ok("-s", store.path, "dataset", "set", "d", "--quota", "none")
    assert tree.scan(store.mount() + "/d") == before


def test_error_of_several_names_the_dataset_and_what_is_done_is_shown(repository, store):
    store.create("e")
    repository.backup("d")
    result = repository.run("backup", "d", "e", repository.path, "--type", "incremental", "--json", code=program.NOT_FOUND)
    assert [row["dataset"] for row in json.loads(result.out)] == ["d"]
    assert '"e"' in result.err and '"d"' not in result.err


def test_snapshot_that_a_killed_backup_holds_goes_as_the_hint_says(repository, store):
    killed = {**SECRETS, "CORPUSFS_FAULT": "backup-before-snapshot-file"}
    assert store.run("-s", store.path, "backup", "d", repository.path, env=killed).code == -signal.SIGKILL
    name = json.loads(store.ok("-s", store.path, "snapshot", "list", "d", "--json"))[0]["name"]
    refused = store.run("-s", store.path, "snapshot", "destroy", f"d@{name}")
    assert refused.code == program.BUSY
    command = shlex.split(refused.err.strip().partition("; ")[2])
    store.ok("-s", store.path, *command[1:])
    store.ok("-s", store.path, "snapshot", "destroy", f"d@{name}")


def test_lost_lock_ends_a_backup_before_it_is_one(repository, store):
    """Who takes a lock away may go on to remove what the backup relies on."""
    with store.stopped_at("backup-before-snapshot-file", "-s", store.path, "backup", "d", repository.path, env=SECRETS) as other:
        assert glob.glob(repository.path + "/index/*")
        assert repository.json("backup", "unlock", repository.path, "--all")["removed"] == 1
    assert "lock" in other.err and other.code != 0
    assert repository.backups() == []


def test_lock_that_is_lost_after_the_last_look_leaves_no_backup(repository, store):
    with store.stopped_at("backup-after-lock-check", "-s", store.path, "backup", "d", repository.path, env=SECRETS) as other:
        assert repository.json("backup", "unlock", repository.path, "--all")["removed"] == 1
        repository.run("backup", "prune", repository.path)
        assert repository.packs() == set()
    assert "lock" in other.err and other.code != 0
    assert repository.backups() == []
    assert repository.verify()["problem_count"] == 0


def test_lost_lock_ends_pruning_before_packs_go(repository):
    """Others may have taken them for theirs meanwhile."""
    first = repository.backup("d")
    repository.backup("d")
    repository.run("backup", "forget", repository.path, first["backup"])
    packs, indexes = repository.packs(), glob.glob(repository.path + "/index/*")
    command = ["-s", repository.store.path, "backup", "prune", repository.path]
    with repository.store.stopped_at("backup-prune-before-packs", *command, env=SECRETS) as other:
        assert not set(indexes) & set(glob.glob(repository.path + "/index/*")), "the old index is gone"
        assert repository.json("backup", "unlock", repository.path, "--all")["removed"] == 1
    assert "lock" in other.err and other.code != 0
    assert repository.packs() >= packs, "nothing was removed"
    repository.run("backup", "prune", repository.path)
    assert repository.verify()["problem_count"] == 0 and len(repository.packs()) < len(packs)


def test_repository_whose_config_could_not_be_written_is_made_by_the_next_init(store, area):
    failing = {**SECRETS, "CORPUSFS_FAULT": "repository-before-config:enospc"}
    assert store.run("backup", "init", area + "/new", env=failing).code == program.NO_SPACE
    assert store.run("backup", "init", area + "/new", env=SECRETS).code == 0
    killed = {**SECRETS, "CORPUSFS_FAULT": "repository-before-config:kill"}
    assert store.run("backup", "init", area + "/other", env=killed).code == -signal.SIGKILL
    refused = store.run("backup", "init", area + "/other", env=SECRETS)
    assert refused.code == program.EXISTS and "remove the directory" in refused.err


def test_lost_index_is_made_anew(repository, source, area):
    repository.backup("d")
    for path in glob.glob(repository.path + "/index/*"):
        os.remove(path)
    repository.verify(code=program.FAILED)
    assert repository.json("backup", "rebuild-index", repository.path)["problem_count"] == 0
    assert repository.verify()["problem_count"] == 0
    restic_check(repository)
    repository.restore(area + "/out")
    tree.assert_same(source, area + "/out")


def test_pack_whose_header_is_damaged_is_still_named_by_the_new_index(repository, source, area):
    repository.backup("d")
    big = max(repository.packs(), key=os.path.getsize)
    os.chmod(big, 0o600)
    with open(big, "r+b") as handle:
        handle.seek(-20, os.SEEK_END)
        handle.write(b"damage")
    assert repository.json("backup", "rebuild-index", repository.path, code=program.FAILED)["problem_count"] == 1
    repository.restore(area + "/out")
    tree.assert_same(source, area + "/out")


@pytest.mark.parametrize("hurt", ["removed", "cut"])
def test_prune_believes_in_no_copy_that_is_not_there(repository, source, area, hurt):
    """Both copies of a blob belong to backups that are forgotten: prune keeps one, and it must be the one that is there."""
    rows = [repository.backup("d"), repository.backup("d")]
    whole = repository.packs()
    repository.backup("d", kind="incremental")
    for row in rows:
        repository.run("backup", "forget", repository.path, row["backup"])
    shutil.copytree(repository.path, area + "/good")
    index = [subprocess.run(["restic", "-r", repository.path, "cat", "index", os.path.basename(name)], env={**os.environ, **SECRETS}, capture_output=True,
                            check=True) for name in glob.glob(repository.path + "/index/*")]
    groups = [{pack["id"] for pack in json.loads(done.stdout)["packs"]} for done in index]
    for group in groups:
        victims = [path for path in whole if os.path.basename(path) in group]
        if not victims:
            continue
        for path in victims:
            os.chmod(path, 0o600)
            if hurt == "removed":
                os.remove(path)
            else:
                os.truncate(path, 30)
        repository.run("backup", "prune", repository.path)
        assert repository.verify()["problem_count"] == 0
        repository.restore(area + "/out")
        tree.assert_same(source, area + "/out")
        shutil.rmtree(area + "/out")
        shutil.rmtree(repository.path)
        shutil.copytree(area + "/good", repository.path)
    assert len(groups) >= 2


def test_prune_removes_nothing_when_blobs_of_a_backup_are_in_no_pack(repository):
    repository.backup("d")
    repository.backup("d", kind="full", options=["--share"])
    repository.run("backup", "forget", repository.path, repository.backups()[0]["backup"])
    big = max(repository.packs(), key=os.path.getsize)
    os.remove(big)
    before = repository.packs()
    refused = repository.run("backup", "prune", repository.path, code=program.DAMAGED)
    assert "nothing is removed" in refused.err and repository.packs() == before


def test_prune_removes_nothing_while_a_backup_is_damaged(repository):
    repository.backup("d")
    smallest = sorted(repository.packs(), key=os.path.getsize)[:2]
    for path in smallest:
        os.remove(path)
    before = repository.packs()
    assert repository.run("backup", "prune", repository.path, code=program.DAMAGED).err
    assert repository.packs() == before


def test_a_sample_is_as_large_as_it_is_said_and_chosen_at_random(repository, store):
    files.put(store.mount() + "/d/noise", os.urandom(40 << 20))
    repository.backup("d")
    count = len(repository.packs())
    assert count >= 4

    def verify(sample, code=0):
        return repository.json("backup", "verify", repository.path, "--data", "--sample", sample, code=code)

    assert [verify(sample)["packs_read"] for sample in ("1", "50%", "100")] == [1, (count + 1) // 2, count]
    assert "verified" not in verify("99%") and "verified" in verify("100%")
    for wrong in ("0", "101", "many", "5%5"):
        assert "--sample" in repository.run("backup", "verify", repository.path, "--sample", wrong, code=program.USAGE).err
    flip(max(repository.packs(), key=os.path.getsize), random.Random(1))
    codes = set()
    for _ in range(40):
        codes.add(store.run("-s", store.path, "backup", "verify", repository.path, "--sample", "50", env=SECRETS).code)
        if len(codes) == 2:
            break
    assert codes == {0, program.FAILED}, "now it is read, and now it is not"


def locks(repository):
    """Those that are there whole."""
    return [name for name in os.listdir(repository.path + "/locks") if len(name) == 64]


def stopped_with_a_lock(repository):
    """A process that holds a lock of the repository, and is stopped."""
    while True:
        other = subprocess.Popen(
            [program.binary(), "backup", "verify", repository.path, "--data"], env={**os.environ, **SECRETS}, stdout=subprocess.DEVNULL
        )
        while not locks(repository) and other.poll() is None:
            time.sleep(0.01)
        other.send_signal(signal.SIGSTOP)
        procs.poll(lambda: procs.has_stopped(other.pid), 60 * program.scale(), "it stops, or has ended")  # noqa: B023
        if other.poll() is None and locks(repository):
            return other
        other.kill()
        other.wait()
        repository.run("backup", "unlock", repository.path)


def test_what_is_no_repository_or_is_locked_is_said(repository, area):
    os.mkdir(area + "/empty")
    assert "no repository" in repository.run("backup", "list", area + "/empty", code=program.NOT_FOUND).err
    assert "already" in repository.run("backup", "init", repository.path, code=program.EXISTS).err
    repository.backup("d")
    other = stopped_with_a_lock(repository)
    try:
        refused = repository.run("backup", "prune", repository.path, code=program.BUSY)
        assert f"process {other.pid}" in refused.err
    finally:
        other.kill()
        other.wait()
    repository.run("backup", "prune", repository.path)
    assert repository.json("backup", "unlock", repository.path)["removed"] == 0, "prune has removed it"


# --- kills ---


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_killed_backups_and_prunes_leave_a_valid_repository(repository, store, area, seed, rounds):
    """The first one is kept: later ones may rely on it. What comes back is what was written in a round, of none earlier than in the backup before."""
    chance = random.Random(seed)
    written = []

    def change():
        point = store.mount()
        written.append(chance.randbytes(3 << 20))
        files.put(point + "/d/change", written[-1])
        store.umount()

    change()
    repository.backup("d")
    for number in range(12 * rounds):
        if number % 2:
            args = ["backup", "prune", repository.path]
        else:
            change()
            args = ["backup", "d", repository.path, "--type", chance.choice(["full", "differential", "incremental", "incremental"])]
        with subprocess.Popen(
            [store.binary, "-s", store.path, *args], env={**os.environ, **SECRETS}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as victim:
            time.sleep(chance.uniform(0.1, 0.9))
            victim.kill()
            assert victim.wait() in (0, -signal.SIGKILL), args
        listed = repository.backups()
        if number % 2 and len(listed) > 2:
            repository.run("backup", "forget", repository.path, chance.choice(listed[1:])["backup"])
    change()
    last = repository.backup("d", kind="incremental")
    repository.run("backup", "unlock", repository.path)
    assert repository.verify()["problem_count"] == 0
    restic_check(repository)
    repository.run("backup", "prune", repository.path)
    came = []
    for row in repository.backups():
        out = f"{area}/{row['backup'][:8]}"
        assert repository.json("restore", f"{repository.path}@{row['backup']}", out + "/")["problem_count"] == 0
        with open(out + "/change", "rb") as handle:
            came.append(written.index(handle.read()))
    assert came == sorted(came) and came[-1] == len(written) - 1 and last["files"] > 0
    restic_check(repository)


def test_a_repository_whose_config_cannot_be_read_is_one(repository, store, area):
    os.mkdir(area + "/users")
    os.chown(area + "/users", 12345, 12345)
    for path in (area, os.path.dirname(area)):
        os.chmod(path, 0o755)
    subprocess.run(["chmod", "-R", "a+rwX", repository.path], check=True)
    os.chmod(repository.path + "/config", 0o400)
    for args in (["backup", "list"], ["backup", "init"]):
        refused = store.run(*args, repository.path, env=SECRETS, user=12345)
        assert refused.code == program.PERMISSION and "config cannot be read" in refused.err and "init makes one" not in refused.err, refused


def test_a_damaged_snapshot_file_hides_no_other_backup_and_can_be_forgotten(repository, area):
    """Nobody knows whether it was the newest: an older one comes back only by its name."""
    first, last = (repository.backup("d", options=["--share"])["backup"] for _ in range(2))
    os.chmod(f"{repository.path}/snapshots/{last}", 0o600)
    files.put(f"{repository.path}/snapshots/{last}", b"")
    into = area + "/out"
    for command in (["restore", repository.path, into], ["backup", "show", repository.path], ["restore", f"{repository.path}@{last[:8]}", into]):
        failed = repository.run(*command, code=program.DAMAGED).err
        assert last[:8] in failed and "damaged" in failed and f"backup forget {repository.path} {last[:8]}" in failed, failed
    assert not os.path.exists(area + "/out") or not os.listdir(area + "/out")
    assert repository.json("restore", repository.path + "@" + first[:8], area + "/out")["same"]
    rows = {row["backup"]: row for row in repository.json("backup", "list", repository.path, code=program.DAMAGED)}
    assert rows[last] == {"backup": last, "damaged": True, "holds": []} and rows[first]["type"] == "full"
    listed = repository.run("backup", "list", repository.path, code=program.DAMAGED)
    assert f"{last[:8]}" in listed.out and "damaged" in listed.out and "forget" in listed.err
    for command in (["prune"], ["forget", "--keep-last", "1"], ["drill", "--memory"]):
        failed = repository.run("backup", command[0], repository.path, *command[1:], code=program.DAMAGED).err
        assert f"backup forget {repository.path} {last[:8]}" in failed
    for kind in ("incremental", "full"):
        said = repository.run("backup", "d", repository.path, "--type", kind).err
        assert f"snapshot file {last[:8]} in {repository.path} is damaged" in said and f"backup forget {repository.path} {last[:8]}" in said, said
    for row in repository.json("backup", "list", repository.path, code=program.DAMAGED):
        if row["backup"] not in (first, last):
            repository.run("backup", "forget", repository.path, row["backup"])
    assert [row["backup"] for row in repository.json("backup", "forget", repository.path, last[:8])] == [last]
    assert [row["backup"] for row in repository.backups()] == [first]
    assert repository.json("restore", repository.path, area + "/out")["backup"] == first
    repository.run("backup", "prune", repository.path)
    restic_check(repository)


def test_a_missing_base_may_be_that_of_a_damaged_snapshot_file(repository):
    only = repository.backup("d")["backup"]
    os.chmod(f"{repository.path}/snapshots/{only}", 0o600)
    files.put(f"{repository.path}/snapshots/{only}", b"")
    for kind in ("incremental", "differential"):
        failed = repository.run("backup", "d", repository.path, "--type", kind, code=program.NOT_FOUND).err
        assert f"snapshot file {only[:8]}, which is damaged" in failed and "--type full" in failed, failed
