"""Backups in a repository, and their way back. Debian's restic is the judge of what we write, and writes what we read."""

import json
import os
import pty
import random
import shutil
import signal
import subprocess
import termios

import pytest

from harness import procs, program, tree
from harness.repository import PASSWORD, SECRETS, Repository, restic, restic_check


def exported(repository, place, area):
    target = f"{area}/export-{place.replace('@', '-')}"
    repository.run("export", place, target)
    return target


def disk_bytes(path):
    return os.stat(path).st_blocks * 512


# --- restic reads what we write ---


def test_restic_finds_no_fault_and_restores_all_that_it_keeps(repository, source, area):
    repository.backup("d")
    restic_check(repository)
    restic(repository, "restore", "latest", "--target", area + "/out")
    tree.assert_same(source, area + "/out/d")
    assert json.load(open(area + "/out/.corpusfs/backup.json"))["type"] == "full"


def test_restic_lists_and_compares_backups(repository, store):
    first = repository.backup("d")["backup"]
    point = store.mount()
    os.remove(point + "/d/a/7")
    second = repository.backup("d", kind="incremental")["backup"]
    assert "/d/a/7" in restic(repository, "diff", first, second)
    assert "type=incremental" in restic(repository, "snapshots", "--json")


def test_repository_made_by_restic_is_used_as_it_is(store, source, area):
    restic(area + "/made", "init")
    store.ok("-s", store.path, "import", source, "d")
    repository = Repository(store, area + "/made", init=False)
    repository.backup("d")
    restic_check(repository)
    repository.restore("again")


def test_programs_are_told_the_same_of_a_backup_by_every_command(repository):
    full = repository.backup("d")["backup"]
    repository.backup("d", kind="incremental")
    rows = {row["backup"]: row for row in repository.backups()}
    shown = repository.json("backup", "show", f"{repository.path}@{full}")
    # What stands in the snapshot file is listed, and what is in the description is shown besides.
    assert rows[full].items() <= shown.items() and set(shown) - set(rows[full]) == {
        "tags", "user", "files", "directories", "bytes", "unchanged", "left_out"}  # fmt: skip
    gone = {key: value for key, value in rows[full].items() if key != "holds"}  # what is held stays
    assert repository.json("backup", "forget", repository.path, "--keep-last", "1", "--dry-run") == [gone]
    drilled = repository.json("backup", "drill", f"{repository.path}@{full}")[0]
    assert {key: drilled[key] for key in ("backup", "dataset", "taken", "taken_ns", "identity", "incomplete")}.items() <= rows[full].items()
    assert abs(rows[full]["taken_ns"] / 1e9 - rows[full]["taken"]) < 1e-3
    assert "verified" not in repository.json("backup", "verify", repository.path), "of content nothing was read"
    (of,) = {row["dataset_id"] for row in rows.values()}
    assert repository.verify()["verified"] == {of: max(row["taken"] for row in rows.values())}


# --- the way back ---


def test_dataset_comes_back_with_its_identity(repository, source, area):
    identity = repository.backup("d")["identity"]
    done = repository.json("restore", repository.path, "again")
    assert done["identity"] == identity and done["same"] and done["problem_count"] == 0
    tree.assert_same(source, exported(repository, "again", area))
    assert disk_bytes(area + "/export-again/holes") < 1 << 20


def test_dataset_comes_back_in_a_new_store(repository, source, area):
    repository.backup("d")
    other = area + "/other"
    repository.store.ok("init", other)
    result = repository.store.run("-s", other, "restore", repository.path, "back", "--json", env=SECRETS)
    done = json.loads(result.out)
    assert done["same"] and done["local"] == 0 and done["fetched"] > 1 << 20
    repository.store.ok("-s", other, "export", "back", area + "/back")
    tree.assert_same(source, area + "/back")


def test_chunks_that_the_store_has_are_not_fetched(repository):
    repository.backup("d")
    done = repository.json("restore", repository.path, "again")
    assert done["local"] > 20 * done["fetched"]


def test_directory_comes_back_equal_and_is_not_written_twice(repository, source, area):
    identity = repository.backup("d")["identity"]
    assert f"what was restored has the identity of the backup: {identity}" in repository.restore(area + "/out").out
    tree.assert_same(source, area + "/out")
    assert disk_bytes(area + "/out/holes") < 1 << 20
    before = os.stat(area + "/out/a/8").st_ino
    assert f"what was restored has the identity of the backup: {identity}" in repository.restore(area + "/out").out
    assert os.stat(area + "/out/a/8").st_ino == before
    tree.assert_same(source, area + "/out")


def test_part_of_a_backup_comes_back(repository, source, area):
    repository.backup("d")
    repository.restore(area + "/part", None, "--path", "a/b")
    assert sorted(os.listdir(area + "/part")) == ["c", "four"]
    repository.restore("one", None, "--path", "a/8")
    tree.assert_same(source + "/a/8", exported(repository, "one", area) + "/8")
    assert "has no" in repository.restore("none", None, "--path", "a/nothing", code=program.NOT_FOUND).err


def test_restore_over_a_dataset_makes_it_the_backup_and_keeps_what_was_there(repository, store, source, area):
    repository.backup("d")
    point = store.mount()
    shutil.rmtree(point + "/d/a/b")
    os.remove(point + "/d/a/1")
    os.mkdir(point + "/d/a/1")
    with open(point + "/d/a/9", "r+b") as handle:
        handle.write(b"corrupt")
    os.makedirs(point + "/d/new/deep")
    with open(point + "/d/new/deep/file", "w", encoding="ascii") as handle:
        handle.write("new")
    assert "already" in repository.restore("d", code=program.EXISTS).err
    done = repository.json("restore", repository.path, "d", "--over")
    assert done["same"] and done["guard"]
    tree.await_same(source, point + "/d")
    assert open(f"{point}/d/.snapshots/{done['guard']}/new/deep/file", encoding="ascii").read() == "new"


@pytest.mark.parametrize("path", ["a/b", "a/1"])
def test_part_of_a_backup_does_not_take_the_place_of_the_whole_dataset(repository, store, source, path):
    repository.backup("d")
    point = store.mount()
    before = os.listdir(point + "/d/.snapshots")
    result = repository.restore("d", None, "--over", "--path", path, code=program.USAGE)
    assert f"MOUNTPOINT/d/DIRECTORY --path {path}" in result.err, result
    assert os.listdir(point + "/d/.snapshots") == before
    tree.await_same(source, point + "/d")
    os.remove(point + "/d/a/1")
    repository.restore(point + "/d/a", None, "--path", "a/1")
    tree.await_same(source + "/a/1", point + "/d/a/1")


def test_times_that_restic_cannot_say_come_back(repository, store):
    point = store.mount()
    os.utime(point + "/d/a/1", ns=(0, 300000000000 * 10**9 % 2**62))
    os.utime(point + "/d/a/2", (-70000000000, -70000000000))
    repository.backup("d")
    repository.restore("again")
    for name in ("1", "2"):
        assert os.stat(f"{point}/again/a/{name}").st_mtime_ns == os.stat(f"{point}/d/a/{name}").st_mtime_ns
    restic_check(repository)


def test_sockets_and_the_longest_names_come_back(repository, store, area):
    point = store.mount()
    long = "n" * 255
    os.makedirs(f"{point}/d/{long}/{long}")
    with open(f"{point}/d/{long}/{long}/" + "ä" * 127, "wb") as handle:
        handle.write(b"deep")
    os.mknod(point + "/d/socket", 0o140600)
    repository.backup("d")
    repository.restore(area + "/out")
    tree.assert_same(point + "/d", area + "/out")
    assert repository.json("restore", repository.path, "again")["same"]
    restic(repository, "restore", "latest", "--target", area + "/restic")
    assert open(f"{area}/restic/d/{long}/{long}/" + "ä" * 127, "rb").read() == b"deep"


def test_what_the_store_leaves_uncompressed_is_compressed_where_it_saves_a_little(repository, store):
    chance = random.Random(9)
    data = bytes(chance.choices(range(130), k=3 << 20))
    store.create("e")
    with open(store.mount() + "/e/file", "wb") as handle:
        handle.write(data)
    done = repository.backup("e")
    assert done["added"] >= len(data) and done["stored"] < 0.92 * len(data)
    restic_check(repository)


# --- types ---


def test_incremental_costs_what_changed(repository, store):
    full = repository.backup("d")
    point = store.mount()
    with open(point + "/d/a/b/c/new", "wb") as handle:
        handle.write(os.urandom(5000))
    done = repository.backup("d", kind="incremental")
    assert done["compared"] and done["base"] == full["backup"]
    assert done["files"] == 1 and done["stored"] < 40000 and done["directories"] == 3 < full["directories"], "a, a/b and a/b/c"
    repository.restore("again")
    restic_check(repository)


def test_change_through_one_name_is_in_the_backup_under_all_of_them(repository, store, area):
    """The directory of the other name was not touched."""
    point = store.mount()
    for folder in ("first", "last"):
        os.mkdir(f"{point}/d/{folder}")
    with open(point + "/d/first/file", "wb") as handle:
        handle.write(b"old" * 50000)
    os.link(point + "/d/first/file", point + "/d/last/file")
    repository.backup("d")
    with open(point + "/d/last/file", "r+b") as handle:
        handle.write(b"new" * 50000)
    done = repository.backup("d", kind="incremental")
    assert repository.json("restore", repository.path, "again")["same"]
    tree.assert_same(point + "/d", point + "/again")
    repository.restore(area + "/out", done["backup"])
    tree.assert_same(point + "/d", area + "/out")


def test_failed_backup_leaves_no_snapshot(repository, store, area):
    shutil.rmtree(repository.path + "/data")
    with open(repository.path + "/data", "w", encoding="ascii"):
        pass
    repository.run("backup", "d", repository.path, code=program.USAGE)
    assert json.loads(store.ok("-s", store.path, "snapshot", "list", "d", "--json")) == []


def test_access_control_lists_come_back(repository, store, source, area):
    repository.backup("d")
    repository.restore(area + "/out")
    restic(repository, "restore", "latest", "--target", area + "/restic")
    command = ["getfacl", "-n", "-R", "."]
    wanted = subprocess.run(command, cwd=source, capture_output=True, check=True).stdout
    assert b"user:1234:rw-" in wanted
    for place in (area + "/out", area + "/restic/d"):
        found = subprocess.run(command, cwd=place, capture_output=True, check=True).stdout
        assert sorted(found.split(b"\n\n")) == sorted(wanted.split(b"\n\n"))


def test_default_access_control_list_is_not_inherited_by_what_comes_back(repository, store, source, area):
    subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx", source + "/a/b", source], check=True)
    store.ok("-s", store.path, "import", source, "e")
    repository.backup("e")
    os.mkdir(area + "/out")
    subprocess.run(["setfacl", "-d", "-m", "u:4321:rwx", area + "/out"], check=True)
    repository.restore(area + "/out")
    command = ["getfacl", "-n", "-R", "."]
    wanted = subprocess.run(command, cwd=source, capture_output=True, check=True).stdout
    found = subprocess.run(command, cwd=area + "/out", capture_output=True, check=True).stdout
    assert b"default:user:1234:rwx" in wanted and sorted(found.split(b"\n\n")) == sorted(wanted.split(b"\n\n"))


def test_directory_that_may_not_be_written_comes_back_for_a_user_and_is_nobody_else_s_meanwhile(repository, store, area):
    point = store.mount()
    os.makedirs(point + "/d/closed/below")
    for name in ("one", "below/two"):
        with open(f"{point}/d/closed/{name}", "w", encoding="ascii") as handle:
            handle.write("content")
    os.chmod(point + "/d/closed/below", 0o555)
    os.chmod(point + "/d/closed", 0o555)
    os.utime(point + "/d/closed", ns=(10**18, 10**18))
    repository.backup("d")
    os.mkdir(area + "/out")
    repository.give(12345, area, area + "/out")
    for _ in range(2):
        done = store.run("restore", repository.path, area + "/out", "--path", "closed", env=SECRETS, user=12345)
        assert done.code == 0, done.err
        assert open(area + "/out/below/two", encoding="ascii").read() == "content"
        for path in ("", "/below"):
            assert os.stat(area + "/out" + path).st_mode & 0o7777 == 0o555
        assert os.stat(area + "/out").st_mtime_ns == 10**18


def test_full_shares_nothing_with_earlier_ones(repository, area):
    repository.backup("d")
    before = repository.packs()
    second = repository.backup("d")
    for path in before:
        os.chmod(path, 0o600)
        with open(path, "r+b") as handle:
            handle.write(b"\xff" * 64)
    assert repository.json("restore", repository.path + "@" + second["backup"], area + "/out")["problem_count"] == 0
    other = area + "/other"
    repository.store.ok("init", other)
    assert json.loads(repository.store.run("-s", other, "restore", repository.path + "@" + second["backup"], "d", "--json", env=SECRETS).out)["same"]


def test_differential_needs_its_full_and_no_other(repository, store, area):
    full = repository.backup("d")
    point = store.mount()
    before = repository.packs()
    with open(point + "/d/first", "wb") as handle:
        handle.write(os.urandom(300000))
    repository.backup("d", kind="incremental")
    between = repository.packs() - before
    with open(point + "/d/second", "wb") as handle:
        handle.write(os.urandom(300000))
    last = repository.backup("d", kind="differential")
    assert last["base"] == full["backup"] and last["compared"]
    for path in between:
        os.chmod(path, 0o600)
        with open(path, "r+b") as handle:
            handle.write(b"\xff" * 64)
    repository.restore(area + "/out", last["backup"])
    tree.assert_same(point + "/d", area + "/out")


def test_several_datasets_are_backed_up_as_of_one_instant(repository, store):
    store.ok("-s", store.path, "clone", "d@" + repository.backup("d")["snapshot"], "e")
    rows = repository.backup("d", "e")
    assert len({row["snapshot"] for row in rows}) == 1
    assert {row["dataset"] for row in repository.backups()} == {"d", "e"}


def test_only_snapshots_that_later_backups_need_stay(repository, store):
    full = repository.backup("d")["snapshot"]
    last = [repository.backup("d", kind="incremental")["snapshot"] for _ in range(3)][-1]
    names = {row["name"] for row in json.loads(store.ok("-s", store.path, "snapshot", "list", "d", "--json"))}
    assert names == {full, last}


def test_there_must_be_a_base(repository):
    assert "full" in repository.run("backup", "d", repository.path, "--type", "differential", code=program.NOT_FOUND).err


@pytest.mark.timeout(180)
def test_file_of_holes_of_two_tebibytes_is_backed_up_and_comes_back(repository, store):
    point = store.mount()
    with open(point + "/d/huge", "wb") as handle:
        handle.truncate(2 << 40)
        handle.seek(1 << 40)
        handle.write(b"in the middle")
    repository.backup("d", kind="full")
    assert repository.json("restore", repository.path, "again")["same"]
    with open(point + "/again/huge", "rb") as handle:
        handle.seek((1 << 40) - 5)
        assert handle.read(30) == bytes(5) + b"in the middle" + bytes(12)
    assert os.stat(point + "/again/huge").st_size == 2 << 40


# --- restic writes what we read ---


def test_what_restic_backed_up_is_listed_verified_and_restored(store, source, area):
    restic(area + "/made", "init")
    restic(area + "/made", "backup", source)
    repository = Repository(store, area + "/made", init=False)
    assert [row["type"] for row in repository.backups()] == ["restic"]
    assert repository.verify()["problem_count"] == 0
    repository.restore("back", None, "--path", source.lstrip("/"))
    tree.assert_same(source, exported(repository, "back", area))
    repository.restore(area + "/out", None, "--path", source.lstrip("/"))
    tree.assert_same(source, area + "/out")


def test_both_programs_take_turns_on_one_repository(repository, store, source, area):
    repository.backup("d")
    restic(repository, "backup", source)
    point = store.mount()
    os.remove(point + "/d/a/9")
    repository.backup("d", kind="incremental")
    restic(repository, "forget", "--keep-last", "1", "--prune", "--group-by", "paths")
    repository.verify()
    repository.run("backup", "prune", repository.path)
    restic_check(repository)
    repository.restore("again", "d")
    tree.assert_same(point + "/d", exported(repository, "again", area))
    restic(repository, "restore", "latest", "--path", source, "--target", area + "/out")
    tree.assert_same(source, area + "/out" + source)


# --- drills ---


def test_drill_restores_the_newest_and_another_and_leaves_nothing(repository, store, area):
    first = repository.backup("d")
    with open(store.mount() + "/d/new", "w", encoding="ascii") as handle:
        handle.write("new")
    last = repository.backup("d", kind="incremental")
    os.mkdir(area + "/scratch")
    rows = repository.json("backup", "drill", repository.path, "--scratch", area + "/scratch")
    assert [row["backup"] for row in rows] == [last["backup"], first["backup"]]
    assert all(row["same"] and row["seconds"] > 0 for row in rows)
    assert [row["identity"] for row in rows] == [last["identity"], first["identity"]]
    assert os.listdir(area + "/scratch") == []


# --- forgetting and pruning ---


def test_forget_keeps_by_rules(repository, store):
    for _ in range(4):
        repository.backup("d", kind="full", options=["--share"])
    gone = repository.json("backup", "forget", repository.path, "--keep-last", "1", "--dry-run")
    assert len(gone) == 3 and len(repository.backups()) == 4
    repository.run("backup", "forget", repository.path, "--keep-last", "1")
    assert len(repository.backups()) == 1
    repository.run("backup", "forget", repository.path, code=program.USAGE)


def test_prune_frees_what_no_backup_names_and_nothing_else(repository, store, area):
    point = store.mount()
    with open(point + "/d/big", "wb") as handle:
        handle.write(os.urandom(8 << 20))
    first = repository.backup("d")["backup"]
    said = repository.run("backup", "prune", repository.path).out
    assert said == f"nothing to free: all {len(repository.packs())} packs stay as they are\n", "what is unused in them was not looked for to the last byte"
    os.remove(point + "/d/big")
    repository.backup("d", kind="incremental")
    repository.run("backup", "forget", repository.path, first)
    before = sum(os.path.getsize(path) for path in repository.packs())
    would = repository.json("backup", "prune", repository.path, "--dry-run")["bytes_freed"]
    assert would > 7 << 20 and sum(os.path.getsize(path) for path in repository.packs()) == before
    repository.run("backup", "prune", repository.path)
    assert before - sum(os.path.getsize(path) for path in repository.packs()) > 7 << 20
    restic_check(repository)
    repository.restore(area + "/out")
    tree.assert_same(point + "/d", area + "/out")


# --- passwords ---


def test_every_password_opens_the_repository_until_it_is_removed(repository):
    repository.backup("d")
    other = {"CORPUSFS_PASSWORD": "another"}
    repository.run("backup", "list", repository.path, code=program.PERMISSION, secrets=other)
    repository.run("backup", "key", "add", repository.path, secrets={**SECRETS, "CORPUSFS_NEW_PASSWORD": "another"})
    repository.run("backup", "list", repository.path, secrets=other)
    own = [row["key"] for row in repository.json("backup", "key", "list", repository.path) if row["current"]]
    assert "is that of the password" in repository.run("backup", "key", "remove", repository.path, own[0], code=program.USAGE).err
    repository.run("backup", "key", "remove", repository.path, own[0][:10], secrets=other)
    assert "password is wrong" in repository.run("backup", "list", repository.path, code=program.PERMISSION).err


def test_password_comes_from_a_file_or_a_command(repository, area):
    with open(area + "/password", "w", encoding="ascii") as handle:
        handle.write(PASSWORD + "\n")
    nothing = {"HOME": "/"}
    repository.run("backup", "list", repository.path, "--password-file", area + "/password", secrets=nothing)
    repository.run("backup", "list", repository.path, "--password-command", f"echo '{PASSWORD}'", secrets=nothing)
    repository.run("backup", "list", repository.path, "--password-command", "false", code=program.USAGE, secrets=nothing)


@pytest.mark.parametrize("key, number", [(b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)])
def test_terminal_shows_again_what_is_typed_when_the_question_is_broken_off(repository, key, number):
    terminal, keeper = pty.openpty()
    # Who starts the tests in the background of a script has these signals ignored, and children inherit that.
    command = ["env", "--default-signal=INT,QUIT", "setsid", "-c", program.binary(), "backup", "list", repository.path]
    with subprocess.Popen(command, env={"HOME": "/", "PATH": os.environ["PATH"]}, stdin=keeper, stdout=keeper, stderr=keeper) as other:
        asked = b""
        while b"password of the repository" not in asked:
            asked += os.read(terminal, 1000)
        procs.poll(lambda: not termios.tcgetattr(keeper)[3] & termios.ECHO, 20, "the terminal is silent")
        os.write(terminal, key)
    assert other.returncode == -number
    assert termios.tcgetattr(keeper)[3] & termios.ECHO
    os.close(keeper)
    os.close(terminal)
