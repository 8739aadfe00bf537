"""What people are told who mistype a name, forget a word, or ask for what cannot be: what is wrong, and what they may have meant."""

import json
import os
import shlex
import signal
import subprocess

import pytest

from harness import program


@pytest.fixture
def named(store):
    store.create("train")
    store.ok("-s", store.path, "snapshot", "create", "train@v1.0")
    return store


def told(store, *args, code=program.USAGE, **options):
    """Without what names the store in commands."""
    result = store.run("-s", store.path, *args, **options)
    assert result.code == code and len(result.err.splitlines()) == 1, result
    return result.err.replace(f"corpusfs -s {store.path} ", "corpusfs ")


@pytest.mark.parametrize("command", [
    "dataset show {}", "dataset rename {} x", "dataset destroy {}", "dataset set {} --level 3", "snapshot create {}@n", "snapshot list {}",
    "snapshot show {}@v1.0", "snapshot rename {}@v1.0 x", "snapshot destroy {}@v1.0", "snapshot hold {}@v1.0 t", "snapshot release {}@v1.0 t",
    "snapshot schedule {} --daily 1", "rollback {}@v1.0", "rollback {}@v1.0 --path p", "clone {}@v1.0 x", "diff {}", "diff {}@v1.0",
    "versions {}/p", "du {}", "du {}@v1.0", "export {} x.tar", "export {}@v1.0 x.tar", "warm {}",
])  # fmt: skip
def test_a_mistyped_dataset_is_guessed(named, command):
    text = told(named, *command.format("trian").split(), code=program.NOT_FOUND, cwd=named.area)
    assert 'there is no dataset "trian"; did you mean "train"?' in text


@pytest.mark.parametrize("command", [
    "snapshot show {}", "snapshot rename {} x", "snapshot destroy {}", "snapshot hold {} t", "snapshot release {} t", "rollback {}",
    "rollback {} --path p", "clone {} x", "diff {}", "du {}", "export {} x.tar", "warm {}",
])  # fmt: skip
def test_a_mistyped_snapshot_is_guessed(named, command):
    text = told(named, *command.format("train@v10").split(), code=program.NOT_FOUND, cwd=named.area)
    assert 'there is no snapshot "train@v10"; did you mean "train@v1.0"?' in text


def test_a_mistyped_source_of_a_mount_is_guessed(named):
    os.mkdir(named.area + "/mnt")
    for source, meant in (("trian", '"train"'), ("train@v10", '"train@v1.0"')):
        result = named.run("mount", f"{named.path}:{source}", named.area + "/mnt")
        assert result.code == program.NOT_FOUND and f"did you mean {meant}?" in result.err


def test_a_name_like_no_other_is_answered_with_where_the_names_are(named):
    assert "corpusfs dataset list" in told(named, "dataset", "show", "elsewhere", code=program.NOT_FOUND)
    assert "corpusfs snapshot list train" in told(named, "rollback", "train@elsewhere", code=program.NOT_FOUND)


def test_what_is_advised_can_be_copied_into_a_shell(store):
    place = store.area + "/my store's"
    hint = store.run("-s", place, "status").err
    command = hint.split("; ", 1)[1].replace("corpusfs", store.binary, 1).replace(" makes one", "").strip()
    assert subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=60).returncode == 0
    assert store.run("-s", place, "status").code == 0
    store.create("two words")
    assert "corpusfs snapshot list 'two words'" in told(store, "rollback", "two words@x", code=program.NOT_FOUND)


def test_a_command_that_is_advised_finds_the_same_store(named):
    """However the store was named."""
    path = named.path
    point = named.mount()
    with_store, without = f"; destroy them first, or together with the dataset: corpusfs -s {path} dataset", "together with the dataset: corpusfs dataset"
    for args, options, words in (
        (["-s", path, "dataset", "destroy", "train"], {}, with_store),
        (["dataset", "destroy", point + "/train"], {}, with_store),
        (["dataset", "destroy", "train"], {"env": {"CORPUSFS_STORE": path}}, without),
        (["dataset", "destroy", "train"], {"cwd": point}, without),
        (["-s", path, "dataset", "destroy", "train"], {"cwd": point}, without),
        (["-s", path, "dataset", "set", "train"], {}, f"corpusfs -s {path} dataset set train --quota"),
        (["-s", path, "snapshot", "create", "train"], {}, f"corpusfs -s {path} snapshot create train@NAME"),
        (["-s", path, "rollback", "train"], {}, f"corpusfs -s {path} snapshot list train"),
    ):
        result = named.run(*args, **options)
        assert result.code != 0 and words in result.err, result


def test_a_dataset_with_held_snapshots_is_destroyed_after_the_command_that_is_named(named):
    named.ok("-s", named.path, "snapshot", "hold", "train@v1.0", "paper")
    text = told(named, "dataset", "destroy", "train", "--snapshots", code=program.BUSY)
    assert text.rstrip().endswith('is held by "paper"; corpusfs snapshot release train@v1.0 paper')


def test_all_holds_of_a_dataset_are_named_at_once(named):
    for name, tag in (("v1.0", "paper"), ("v1.0", "two words"), ("held", "other")):
        if name == "held":
            named.ok("-s", named.path, "snapshot", "create", "train@held")
        named.ok("-s", named.path, "snapshot", "hold", f"train@{name}", tag)
    text = told(named, "dataset", "destroy", "train", "--snapshots", code=program.BUSY)
    assert '2 snapshots of dataset "train" are held' in text
    for command in text.split("; ", 1)[1].strip().split(" && "):
        named.ok(*shlex.split(command)[1:], env={"CORPUSFS_STORE": named.path})
    for number in range(20):
        named.ok("-s", named.path, "snapshot", "create", f"train@{number}-{'n' * 40}")
        named.ok("-s", named.path, "snapshot", "hold", f"train@{number}-{'n' * 40}", "tag")
    text = told(named, "dataset", "destroy", "train", "--snapshots", code=program.BUSY)
    assert "20 snapshots" in text and text.rstrip().endswith("corpusfs snapshot list train")


def test_a_refused_export_leaves_no_dataset(named):
    point = named.mount()
    assert "same store" in told(named, "export", "train", point + "/new", code=program.USAGE)
    assert not os.path.exists(point + "/new")


def test_a_mistyped_remote_is_told_where_their_names_are(named):
    os.mkdir(named.area + "/mnt")
    result = named.run("mount", "naz:train", named.area + "/mnt")
    assert result.code == program.NOT_FOUND and "corpusfs remote list" in result.err, result


def test_who_has_lost_the_daemon_is_told_how_to_go_on(named):
    named.mount(env={"CORPUSFS_FAULT": "snapshot-before-write:kill"})
    assert "died during snapshot.create" in (text := told(named, "snapshot", "create", "train@new", code=program.FAILED)) and "do it again" in text
    named.ended(-signal.SIGKILL)
    named.clear()


def test_a_guard_says_what_it_is(named):
    named.ok("-s", named.path, "rollback", "train@v1.0")
    assert "taken before a rollback" in [row["note"] for row in json.loads(named.ok("-s", named.path, "snapshot", "list", "train", "--json"))]


def test_an_archive_that_cannot_be_written_there_is_told_why(named):
    point = named.mount()
    assert "there are datasets only" in told(named, "export", "train", point + "/x.tar", code=program.PERMISSION)
    named.ok("-s", named.path, "export", "train", named.area + "/x.tar")
    assert "remove it" in told(named, "export", "train", named.area + "/x.tar", code=program.EXISTS)


@pytest.mark.parametrize("command, meant", [
    ("exprot", '"export"'), ("dataset lst", '"dataset list"'), ("schedule", '"snapshot schedule"'), ("dataset show train --jsn", "--json"),
    ("snapsot list", '"snapshot"'), ("snapshots", '"snapshot"'), ("bakcup", '"backup"'),
])  # fmt: skip
def test_a_mistyped_command_is_guessed(named, command, meant):
    assert f"did you mean {meant}?" in told(named, *command.split())


@pytest.mark.parametrize("command, words", [
    ("snapshot", ["missing", "corpusfs snapshot -h"]),
    ("snapshot rename train@v1.0 other@v2", ["stays", "corpusfs clone train@v1.0"]),
    ("snapshot schedule train --off --daily 2", ["--off"]),
    ("snapshot create train", ["needs a name", "corpusfs snapshot create train@NAME"]),
    ("backup /etc train", ["the repository comes last"]),
    ("import /dev/null train", ["/dev/null is empty"]),
    ("import - train", ["standard input is empty"]),
    ("export train x.tar.xz", [".tar.zst", "x.tar.xz/"]),
    ("export train x.RAR", [".tar.zst", "x.RAR/"]),
])  # fmt: skip
def test_what_is_missing_or_cannot_be_is_said(named, command, words):
    text = told(named, *command.split(), cwd=named.area)
    assert all(word in text for word in words), text
    assert sorted(os.listdir(named.area)) == ["log", "store"]


def test_mount_without_a_mountpoint_says_so(named):
    for source in (named.path, named.path + ":train"):
        result = named.run("mount", source)
        assert result.code == program.USAGE and "the mountpoint is missing" in result.err, result


def test_an_empty_pipe_is_said_to_be_empty(named):
    assert "standard input: it is empty" in told(named, "import", "-", "train", code=program.DAMAGED, data=b"")


def test_a_dataset_with_snapshots_is_destroyed_by_the_command_that_is_named(named):
    text = told(named, "dataset", "destroy", "train", code=program.BUSY)
    assert text.rstrip().endswith("corpusfs dataset destroy train --snapshots")


def test_a_directory_that_is_called_like_an_archive_is_made_when_it_is_meant(named):
    os.mkdir(named.area + "/there.rar")
    for target in ("/there.rar", "/new.7z/", "/data.v1.0"):
        named.ok("-s", named.path, "export", "train", named.area + target)
        assert os.path.isdir(named.area + target)
    named.ok("-s", named.path, "export", "train", named.area + "/UPPER.TAR")
    subprocess.run(["tar", "-tf", named.area + "/UPPER.TAR"], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_the_directory_that_an_export_needs_is_named(named):
    for target in ("/none/x.tar", "/none/x"):
        text = told(named, "export", "train", named.area + target, code=program.NOT_FOUND)
        assert f"mkdir -p {named.area}/none" in text


def test_a_single_file_is_not_exported_to_a_directory(named):
    with open(named.area + "/f", "wb") as handle:
        handle.write(b"x")
    subprocess.run(["tar", "-cf", named.area + "/f.tar", "-C", named.area, "f"], check=True, timeout=60)
    named.ok("-s", named.path, "import", named.area + "/f.tar", "train")
    text = told(named, "export", "train/f", named.area + "/x")
    assert "train/f is not a directory" in text and "/x.tar" in text
    assert not os.path.exists(named.area + "/x")


def test_a_zip_says_that_it_holds_no_fifos(named):
    os.mkdir(named.area + "/src")
    os.mkfifo(named.area + "/src/p")
    named.ok("-s", named.path, "import", named.area + "/src", "train")
    result = named.run("-s", named.path, "export", "train", named.area + "/x.zip")
    assert result.code == program.FAILED and "a zip holds no fifos" in result.err, result


def test_what_is_no_store_is_called_none_whoever_can_write_there(named):
    os.mkdir(named.area + "/open")
    os.chmod(named.area + "/open", 0o777)
    result = named.run("-s", named.area + "/open", "status")
    assert result.code == program.DAMAGED and "is not a store" in result.err and "--as-owner" not in result.err, result


def test_status_of_a_mountpoint_where_nothing_is_mounted_says_so(named):
    os.mkdir(named.area + "/point")
    for command in (("status", named.area + "/point"), ("status", named.area)):
        result = named.run(*command)
        assert result.code == program.DAMAGED and "nothing is mounted there" in result.err and "corpusfs mount STORE" in result.err, result


def test_what_cannot_become_a_store_is_not_advised_to_be_made_one(named):
    point = named.mount()
    for path in (named.area + "/file", point + "/train/file"):
        with open(path, "w", encoding="utf-8"):
            pass
    os.mkdir(named.area + "/empty")
    for path, advised in ((named.area + "/file", False), (named.area, False), (named.area + "/empty", True), (named.area + "/new", True)):
        result = named.run("-s", path, "dataset", "list")
        assert result.code != 0 and (f"corpusfs init {path}" in result.err) == advised, result
    text = named.run("status", point + "/train/none").err
    assert "there is no store at" in text and "init" not in text
    for path in (point + "/train", point + "/train/file"):
        assert f"store          {named.path}" in named.ok("status", path)
    result = named.run("mount", point + "/train", named.area + "/empty")
    assert result.code == program.USAGE and f"corpusfs mount {named.path} DIRECTORY" in result.err, result


def test_no_store_is_made_in_a_mount(named):
    point = named.mount()
    for path in (point + "/new", point + "/train", point + "/train/new"):
        result = named.run("init", path)
        assert result.code == program.USAGE and "lies in a mount of the store" in result.err, result
    assert os.listdir(point) == ["train"] and os.listdir(point + "/train") == []


def test_a_mistyped_dataset_is_guessed_within_another_one_too(named):
    point = named.mount()
    os.mkdir(point + "/train/sub")
    for here in (point, point + "/train"):
        result = named.run("dataset", "destroy", "trian", cwd=here)
        assert result.code == program.NOT_FOUND and 'there is no dataset "trian"; did you mean "train"?' in result.err, result
    result = named.run("dataset", "destroy", "sub", cwd=point + "/train")
    assert result.code == program.USAGE and '"sub" does not name a dataset' in result.err, result


def test_one_of_something_is_not_called_several(named):
    os.mkdir(named.area + "/src")
    with open(named.area + "/src/file", "w", encoding="ascii") as handle:
        handle.write("x")
    assert "imported 1 file, 0 directories, " in named.ok("-s", named.path, "import", named.area + "/src", "train")


def test_an_empty_argument_is_called_that(named):
    for command in (["init", ""], ["mount", named.path, ""], ["dataset", "show", ""]):
        assert "an argument is empty" in told(named, *command)


def test_a_standard_output_without_room_is_called_that(named):
    line = f"exec {named.binary} -s {named.path} export train - >/dev/full"
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, timeout=60, check=False, env=program.environment(named.run_mark, named.logs, {}))
    assert done.returncode == program.NO_SPACE, done
    assert b"standard output: No space left" in done.stderr and b"the disk of standard output is full" in done.stderr, done


def test_output_that_finds_no_room_is_a_failure_however_long_it_is(named):
    """What was written before the last buffer is gone, too."""
    for command in (["help"], ["-s", named.path, "dataset", "list"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([named.binary, *command], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
                                  env=program.environment(named.run_mark, named.logs, {}))
        assert done.returncode == program.FAILED and b"could not be written" in done.stderr, done


def test_who_makes_a_store_or_a_repository_is_told_how_to_make_the_way_to_it(named):
    for command in (["init"], ["backup", "init", "--password-command", "echo x"]):
        result = named.run(*command, named.area + "/no/way")
        assert result.code == program.NOT_FOUND and f"mkdir -p {named.area}/no/way" in result.err, result


def test_a_store_that_has_lost_its_superblock_is_not_called_no_store(named):
    os.remove(named.path + "/corpusfs")
    text = told(named, "status", code=program.DAMAGED)
    assert "superblock" in text and "is missing" in text and "init" not in text


def test_a_store_without_damage_says_so(named):
    assert "no damage is known" in named.ok("-s", named.path, "damage")


def test_doctor_looks_at_the_system_also_when_the_store_cannot_be_opened(named):
    os.remove(named.path + "/db/CURRENT")
    result = named.run("-s", named.path, "doctor")
    assert result.code == program.DAMAGED and "CURRENT" in result.err and "kernel" in result.out, result


def test_an_export_that_finds_no_room_says_where(named):
    named.ok("-s", named.path, "import", os.path.dirname(__file__), "train")
    result = named.run("-s", named.path, "export", "train", named.area + "/x", env={"CORPUSFS_FAULT": "export-write:enospc"})
    assert result.code == program.NO_SPACE and f"the disk of {named.area}/x is full" in result.err, result


def test_a_terminal_obeys_no_names(run, area, blank):
    """Also of what went well: whose name it is, is not always who types it."""
    store, point = area + "/\x1b[31mstore\u009b1m", area + "/\x1b]0;title\x07"
    os.mkdir(point)
    said = [blank.ok(*words) for words in (("init", store), ("mount", store, point), ("-s", store, "status"), ("-s", store, "doctor"), ("umount", point))]
    assert "\\x1b[31mstore\\xc2\\x9b1m" in said[0] and "\\x1b]0;title\\x07" in said[1] and "\\x1b]0;title\\x07" in said[4]
    assert not [text for text in said if any(control in text for control in "\x1b\x07\x9b")]
