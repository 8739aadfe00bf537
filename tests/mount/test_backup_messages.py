"""What people are told whose repository, password or backup is not what they thought: which one it is, and what can be done."""

import contextlib
import errno
import glob
import json
import os
import signal
import subprocess
import threading

from harness import files, procs, program, tree
from harness.repository import SECRETS


BIG = 5 << 20  # more than what is restored in one go


@contextlib.contextmanager
def busy(path):
    """Somebody writes there all the time."""
    done = threading.Event()

    def write():
        while not done.wait(0.5):
            files.put(path, os.urandom(1 << 20))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def told(repository, *args, code, secrets=None):
    result = repository.run(*args, code=code, secrets=secrets)
    assert len(result.err.splitlines()) == 1, result
    return result.err


def test_messages_name_the_repository_in_commands_that_can_be_copied(repository):
    path, away = repository.path, repository.store.area + "/away"
    os.mkdir(away)
    text = told(repository, "backup", "list", away, code=program.NOT_FOUND)
    assert f"{away}: there is no repository; corpusfs backup init {away} makes one" in text
    assert f"{path}: there is a repository already" in told(repository, "backup", "init", path, code=program.EXISTS)
    wrong = {"CORPUSFS_PASSWORD": "wrong"}
    assert f"{path}: the password is wrong" in told(repository, "backup", "list", path, code=program.PERMISSION, secrets=wrong)
    empty = repository.store.area + "/empty"
    with open(empty, "wb"):
        pass
    assert f"the password file {empty} has an empty first line" in told(repository, "backup", "list", path, "--password-file", empty, code=program.USAGE)
    listed = f"corpusfs backup list {path} shows"
    assert listed in told(repository, "backup", "show", path + "@none", code=program.NOT_FOUND)
    assert listed in told(repository, "restore", path + "@none", "new", code=program.NOT_FOUND)
    assert f"corpusfs backup key list {path} shows" in told(repository, "backup", "key", "remove", path, "none", code=program.NOT_FOUND)
    assert f"corpusfs backup forget {path} BACKUP" in told(repository, "backup", "forget", path, code=program.USAGE)


def test_a_dataset_without_backups_is_not_answered_with_silence(repository):
    assert 'no backup of "nothing"' in told(repository, "backup", "list", repository.path, "nothing", code=0)


def test_where_a_new_password_comes_from_is_said(repository):
    words = ["setsid", "-w", program.binary(), "backup", "key", "add", repository.path]
    done = subprocess.run(words, env={**os.environ, **SECRETS}, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode == program.USAGE and b"--new-password-file" in done.stderr, done


def test_a_full_disk_of_the_repository_is_not_taken_for_that_of_the_store(repository):
    secrets = {**SECRETS, "CORPUSFS_FAULT": "object-before-rename:enospc:2"}
    text = told(repository, "backup", "d", repository.path, code=program.NO_SPACE, secrets=secrets)
    assert "the disk of the repository is full" in text and "snapshot" not in text


def test_a_store_that_is_full_can_be_backed_up(repository):
    """The identity of its snapshot, which comes last in a full backup, cannot be kept there."""
    repository.run("backup", "d", repository.path, secrets={**SECRETS, "CORPUSFS_FAULT": "identity-before-write:enospc"})
    first = repository.backups()[0]
    assert first["identity"] and first["identity"] == repository.backup("d")["identity"]


def test_a_full_disk_of_the_repository_is_said_to_be_of_whatever_cannot_be_written(repository, area):
    full = {**SECRETS, "CORPUSFS_FAULT": "object-before-rename:enospc:1,object-before-rename:enospc:2"}
    files.put(area + "/password", b"another\n")
    for command in (["forget", repository.path, "none"], ["prune", repository.path], ["rebuild-index", repository.path], ["init", area + "/new"],
                    ["key", "add", repository.path, "--new-password-file", area + "/password"]):
        assert "the disk of the repository is full: make room on it" in told(repository, "backup", *command, code=program.NO_SPACE, secrets=full), command


def test_what_a_repository_on_a_full_disk_has_comes_back(repository, area):
    """There is no room for the lock of who only reads."""
    repository.backup("d")
    full = {**SECRETS, "CORPUSFS_FAULT": "object-before-rename:enospc"}
    assert repository.run("backup", "verify", repository.path, "--data", secrets=full).code == 0
    os.mkdir(area + "/out")
    repository.run("restore", repository.path, area + "/out", secrets=full)
    tree.assert_same(repository.store.mount() + "/d", area + "/out")


def test_identity_is_said_only_of_what_keeps_its_modes(repository, store, area):
    """A user keeps no set-id bits of another's files."""
    store.ok("-s", store.path, "dataset", "create", "small")
    point = store.mount()
    with open(point + "/small/file", "wb") as handle:
        handle.write(b"content")
    os.chmod(point + "/small/file", 0o4755)
    repository.backup("small")
    os.mkdir(area + "/out")
    repository.give(12345, area, area + "/out")
    for _ in range(2):
        done = store.run("restore", repository.path, area + "/out", env=SECRETS, user=12345)
        assert done.code == 0 and "restored" in done.out and "has the identity" not in done.out, done.out + done.err
        assert os.stat(area + "/out/file").st_mode & 0o7777 == 0o755


def test_a_damaged_backup_that_others_would_be_based_on_leads_to_a_full_one(repository):
    before = repository.packs()
    repository.backup("d")
    for path in repository.packs() - before:
        if os.path.getsize(path) < 4096:
            os.remove(path)
    for kind in ("incremental", "differential"):
        text = told(repository, "backup", "d", repository.path, "--type", kind, code=program.DAMAGED)
        assert "--type full" in text and f"corpusfs backup verify {repository.path}" in text
    made = repository.backup("d")["backup"]
    assert repository.backup("d", kind="incremental")["base"] == made


def test_an_interrupted_restore_says_what_is_left_and_goes_on(repository):
    """The signal comes while files do, of which a big one pauses: the lock is there, and the dataset is not whole."""
    point = repository.store.mount()
    files.put(f"{point}/d/big", os.urandom(BIG))
    repository.store.umount()
    repository.backup("d")
    fault = {**SECRETS, "CORPUSFS_FAULT": "import-before-link:sleep3000,import-before-link:sleep3000:2"}
    command = ["env", "--default-signal=INT", program.binary(), "-s", repository.store.path, "restore", repository.path, "again"]
    environment = program.environment(repository.store.run_mark, repository.store.logs, fault)
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        procs.poll(lambda: glob.glob(repository.path + "/locks/*"), 60 * program.scale(), "the restore has begun")
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60 * program.scale())[1]
    assert process.returncode == -signal.SIGINT and b"interrupted; " in err and b"--over" in err, err
    done = repository.json("restore", repository.path, "again", "--over")
    assert done["same"]


def test_an_interrupted_restore_over_names_the_snapshot_that_it_took(repository):
    """It lets go late: nobody gives it up while the daemon works."""
    store = repository.store
    point = store.mount()
    files.put(f"{point}/d/big", os.urandom(BIG))
    repository.backup("d")
    os.unlink(f"{point}/d/big")
    store.create("busy")
    store.umount()
    store.mount(point, env={"CORPUSFS_FAULT": "import-before-link:sleep12000"})
    command = ["env", "--default-signal=INT", program.binary(), "-s", store.path, "restore", repository.path, "d", "--over"]
    environment = program.environment(store.run_mark, store.logs, SECRETS)

    def guards():
        listed = json.loads(store.ok("-s", store.path, "snapshot", "list", "d", "--json"))
        return [row["name"] for row in listed if row["name"].startswith("before-restore")]

    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process, busy(point + "/busy/file"):
        procs.poll(guards, 60 * program.scale(), "the guard is taken")
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60 * program.scale())[1].decode()
    assert process.returncode == -signal.SIGINT and "interrupted; " in err, err
    (guard,) = guards()
    assert f"what was there before is d@{guard}" in err, err
    store.umount()
    assert repository.json("restore", repository.path, "d", "--over")["same"]


def test_no_directory_is_left_where_there_was_no_password_for_a_repository(store, area):
    environment = {name: value for name, value in os.environ.items() if "PASSWORD" not in name}
    words = ["setsid", "-w", program.binary(), "backup", "init"]
    done = subprocess.run([*words, area + "/new"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode == program.USAGE and not os.path.exists(area + "/new")
    os.mkdir(area + "/there")
    done = subprocess.run([*words, area + "/there"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode == program.USAGE and os.path.isdir(area + "/there"), "it was there before"


def test_lines_of_a_list_of_keys_fit_a_terminal(repository):
    text = repository.run("backup", "key", "list", repository.path).out
    host = os.uname().nodename
    assert all(len(line) - len(host) <= 80 for line in text.splitlines()), text
    (row,) = repository.json("backup", "key", "list", repository.path)
    assert len(row["key"]) == 64 and row["key"][:8] in text


def test_a_restore_into_a_directory_that_is_not_empty_says_so(repository, area):
    repository.backup("d")
    assert "not empty" not in repository.restore(area + "/out").out
    with open(area + "/out/mine", "xb"):
        pass
    assert "is not empty" in repository.restore(area + "/out").err and os.path.exists(area + "/out/mine")


def test_of_a_dataset_and_a_directory_of_one_name_it_is_said_which_is_meant(repository, store, area):
    repository.backup("d")
    os.makedirs(area + "/here/word")
    point = store.mount()

    def restore(target, folder, *options):
        result = store.run("-s", store.path, "restore", repository.path, target, *options, env=SECRETS, cwd=folder)
        assert result.code == 0, result.err
        return result.err

    assert "note: the dataset word is meant; the directory is ./word\n" in restore("word", area + "/here")
    assert os.listdir(area + "/here/word") == [] and sorted(os.listdir(point + "/word")) == sorted(os.listdir(point + "/d"))
    assert "is meant" not in restore("./word", area + "/here")
    assert sorted(os.listdir(area + "/here/word")) == sorted(os.listdir(point + "/d"))
    # where the directory is the dataset's, or there is none, there is one meaning only
    assert "is meant" not in restore("word", point, "--over")
    assert "is meant" not in restore("other", area + "/here")


def test_the_name_that_a_backup_s_description_has_is_no_dataset_s(repository, store):
    """Its files could not be found in the backup."""
    for command in (["dataset", "create", ".corpusfs"], ["dataset", "rename", "d", ".corpusfs"]):
        assert '".corpusfs" cannot be the name of a dataset' in told(repository, *command, code=program.USAGE)
    point = store.mount()
    try:
        os.mkdir(point + "/.corpusfs")
        assert False, "it was made"
    except OSError as problem:
        assert problem.errno == errno.EINVAL
    repository.backup("d")


def test_damaged_keys_and_a_missing_config_are_called_that(repository, area):
    repository.backup("d")
    key, = glob.glob(repository.path + "/keys/*")
    good = files.get(key)
    os.chmod(key, 0o600)
    for bad in (b"", good.replace(b'"data":"', b'"data":"AAAA', 1)):
        files.put(key, bad)
        assert "the repository's key file is damaged" in told(repository, "backup", "list", repository.path, code=program.DAMAGED)
    files.put(key, good)
    repository.run("backup", "list", repository.path)
    os.rename(repository.path + "/config", area + "/config")
    text = told(repository, "backup", "list", repository.path, code=program.DAMAGED)
    assert "the config of the repository is missing" in text and "init" not in text


def cures_of(repository):
    """What verify says that mends what it found."""
    result = repository.run("backup", "verify", repository.path, "--data", code=program.FAILED)
    return {cure for cure in ("rebuild-index", "backup forget", "new full backup", "--keep-going") if cure in result.err}


def test_verify_says_what_mends_what_it_finds(repository):
    first, second = (repository.backup("d", options=["--share"])["backup"] for _ in range(2))
    index = glob.glob(repository.path + "/index/*")[0]
    for path in (index, f"{repository.path}/snapshots/{first}"):
        os.chmod(path, 0o600)
    os.truncate(index, 0)
    other = os.path.dirname(index) + "/" + 64 * "e"
    files.put(other, b"damaged, too")
    assert cures_of(repository) == {"rebuild-index", "--keep-going"}
    said = repository.run("backup", "verify", repository.path, code=program.FAILED).err
    assert all(f"index file {os.path.basename(name)[:8]}: it is damaged" in said for name in (index, other)), said
    repository.run("backup", "rebuild-index", repository.path)
    assert repository.verify()["problem_count"] == 0
    big = max(repository.packs(), key=os.path.getsize)
    os.chmod(big, 0o600)
    files.put(big, b"damage")
    assert cures_of(repository) == {"new full backup", "--keep-going"}
    repository.backup("d")
    assert cures_of(repository) == {"new full backup"}, "no backup is hurt any more"
    files.put(f"{repository.path}/snapshots/{first}", b"")
    assert cures_of(repository) == {"new full backup", "backup forget"}
    result = repository.run("backup", "verify", repository.path, code=program.FAILED)
    assert f"corpusfs: snapshot file {first[:8]}: it is damaged, and its backup lost" in result.err
    repository.run("backup", "forget", repository.path, first)
    assert [row["backup"] for row in repository.backups()][0] == second


def test_no_index_is_blamed_for_a_pack_that_is_not_there(repository):
    repository.backup("d")
    for path in repository.packs():
        os.remove(path)
    said = repository.run("backup", "verify", repository.path, code=program.FAILED).err
    assert "the pack is not there that has tree blob" in said and "rebuild-index" not in said, said


def test_hints_name_what_they_are_of(repository, area):
    """A path, a mountpoint, a repository that is imported."""
    repository.backup("d")
    point = repository.store.mount()
    assert "by its path in the dataset" in told(repository, "restore", repository.path, area + "/out", "--path", point + "/d/a", code=program.NOT_FOUND)
    assert f"mkdir -p {area}/nowhere" in told(repository, "backup", "mount", repository.path, area + "/nowhere", code=program.NOT_FOUND)
    for path in repository.packs():
        os.remove(path)
    said = told(repository, "import", f"restic:{repository.path}@latest", "imported", code=program.DAMAGED)
    assert f"verify {repository.path} --data" in said and f"restore {repository.path} TARGET --keep-going" in said, said


def test_restore_over_a_replica_changes_nothing_and_says_so(repository, store, other):
    repository.backup("d")
    store.ok("-s", store.path, "snapshot", "create", "d@one")
    with subprocess.Popen([store.binary, "-s", store.path, "send", "d@one"], stdout=subprocess.PIPE) as sender:
        subprocess.run([store.binary, "-s", other.path, "receive", "replica"], stdin=sender.stdout, check=True)
    refused = other.run("-s", other.path, "restore", repository.path, "replica", "--over", env=SECRETS)
    assert refused.code == program.PERMISSION and "is a replica" in refused.err, refused
    assert "in part" not in refused.err and "before-restore" not in refused.err, refused
    assert [row["name"] for row in json.loads(other.ok("-s", other.path, "snapshot", "list", "replica", "--json"))] == ["one"]


def test_verify_without_the_folder_of_indexes_says_what_makes_it_anew(repository):
    repository.backup("d")
    for path in glob.glob(repository.path + "/index/*"):
        os.remove(path)
    os.rmdir(repository.path + "/index")
    assert f"corpusfs backup rebuild-index {repository.path}" in told(repository, "backup", "verify", repository.path, code=program.NOT_FOUND)
