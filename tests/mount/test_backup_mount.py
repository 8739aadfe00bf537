"""Backups as directories: `backup mount`. What is read is what was backed up, or an error; and nobody waits for who does not answer."""

import contextlib
import errno
import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading

import pytest

from harness import procs, program, tree
from harness.repository import SECRETS, Repository, restic

HALF = 128 << 10


class Mount:
    """A mount of a repository's backups, by a process that is not the store's."""

    def __init__(self, store, place, point, *options, code=0):
        os.makedirs(point, exist_ok=True)
        self.store, self.point, self.log_path = store, point, point + ".log"
        env = {**SECRETS, "CORPUSFS_TEST_STORE": "backups"}
        self.result = store.run("backup", "mount", place, point, "--log", self.log_path, *options, env=env)
        assert self.result.code == code, self.result.err
        self.pid = int(re.findall(r"\bpid=(\d+)", self.log())[-1]) if code == 0 else None

    def log(self):
        return procs.read(self.log_path).decode()

    def gone(self):
        procs.poll(lambda: not procs.alive(self.pid), 30 * program.scale(), "the process of the mount leaves")

    def umount(self):
        done = self.store.run("umount", self.point)
        assert done.code == 0, done.err
        self.gone()
        assert not procs.fuse_mounts(self.point)


@pytest.fixture
def look(store, area):
    """A function that mounts the backups of a repository, or one of them."""
    made = []

    def mount(place, *options):
        made.append(Mount(store, place, f"{area}/look{len(made)}", *options))
        return made[-1]

    yield mount
    for one in made:
        if procs.alive(one.pid):
            os.kill(one.pid, signal.SIGTERM)
            one.gone()
        assert "ERROR" not in one.log()


@pytest.fixture
def made(area):
    """A repository that restic made."""
    restic(area + "/made", "init")
    return area + "/made"


def damage(path, at, data=b"damage"):
    os.chmod(path, 0o600)
    with open(path, "r+b") as handle:
        handle.seek(at)
        handle.write(data)


def biggest(repository):
    return max(glob.glob(repository + "/data/*/*"), key=os.path.getsize)


def assert_looks_as(wanted, seen):
    """Subdirectories are not counted: a directory has one link."""
    left, right = tree.scan(wanted), tree.scan(seen)
    for row in left.values():
        if row.get("mode", "").startswith("0o4"):
            row["nlink"] = 1
    assert left == right


# --- what is seen ---


@pytest.mark.sanitize
def test_a_backup_looks_as_what_was_backed_up(repository, source, look):
    first = repository.backup("d")["backup"]
    mount = look(repository.path)
    assert_looks_as(source, mount.point + "/latest/d")
    assert_looks_as(source, f"{mount.point}/ids/{first[:8]}/d")
    assert json.load(open(mount.point + "/latest/.corpusfs/backup.json", encoding="utf-8"))["type"] == "full"
    mount.umount()
    assert os.listdir(repository.path + "/locks") == []


def test_what_restic_backed_up_looks_as_it_was(store, source, made, look):
    restic(made, "backup", source)
    mount = look(made)
    assert_looks_as(source, mount.point + "/latest" + source)


def test_what_restic_backs_up_of_a_mount_comes_back(repository, store, source, made, look, area):
    """Its inode numbers take all of 64 bits."""
    repository.backup("d")
    point = look(repository.path).point + "/latest/d"
    assert max(os.stat(f"{point}/a/{number}").st_ino for number in range(60)) >= 1 << 63
    restic(made, "backup", point)
    again = Repository(store, made, init=False)
    assert again.verify()["problem_count"] == 0
    again.restore(area + "/out", None, "--path", point.lstrip("/"))
    assert_looks_as(area + "/out", point)


def test_access_control_lists_are_there_and_count(repository, source, look, area):
    repository.backup("d")
    mount = look(repository.path, "-o", "allow_other")
    point = mount.point + "/latest/d"
    command = ["getfacl", "-n", "-R", "."]
    wanted, found = (subprocess.run(command, cwd=place, capture_output=True, check=True).stdout for place in (source, point))
    assert b"user:1234:rw-" in wanted and sorted(found.split(b"\n\n")) == sorted(wanted.split(b"\n\n"))


def test_permissions_are_those_of_the_backup(store, area, made, look):
    os.mkdir(area + "/tree")
    for name, mode, owner in (("mine", 0o600, 12345), ("other", 0o600, 54321), ("shared", 0o660, 54321), ("open", 0o644, 0)):
        with open(f"{area}/tree/{name}", "w", encoding="ascii") as handle:
            handle.write(name)
        os.chown(f"{area}/tree/{name}", owner, owner)
        os.chmod(f"{area}/tree/{name}", mode)
    subprocess.run(["setfacl", "-m", "u:12345:r", area + "/tree/shared"], check=True)
    restic(made, "backup", area + "/tree")
    mount = look(made, "-o", "allow_other")
    for path in (area, os.path.dirname(area)):
        os.chmod(path, 0o755)
    script = f"cd {mount.point}/latest{area}/tree && for name in mine other shared open; do cat $name 2>/dev/null || echo no $name; done"
    seen = program.call(["sh", "-c", script], dict(os.environ), store.logs, user=12345)
    assert seen.out == "mineno other\nsharedopen", seen.out
    alone = look(made)
    assert program.call(["ls", alone.point], dict(os.environ), store.logs, user=12345).code != 0


def test_all_backups_are_there_by_name_and_by_time(repository, store, look):
    point = store.mount()
    names = []
    for number in range(3):
        with open(point + "/d/number", "w", encoding="ascii") as handle:
            handle.write(str(number))
        names.append(repository.backup("d", kind="incremental" if names else "full")["backup"])
    mount = look(repository.path)
    assert sorted(os.listdir(mount.point)) == ["ids", "latest", "times"]
    assert os.readlink(mount.point + "/latest") == f"ids/{names[2][:8]}"
    assert sorted(os.listdir(mount.point + "/ids")) == sorted(name[:8] for name in names)
    times = sorted(os.listdir(mount.point + "/times"))
    assert len(times) == 3 and all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", name) for name in times)
    told = {row["backup"]: row["taken"] for row in repository.backups()}
    for number, name in enumerate(names):
        assert open(f"{mount.point}/ids/{name[:8]}/d/number", encoding="ascii").read() == str(number)
        assert abs(os.stat(f"{mount.point}/ids/{name[:8]}").st_mtime - told[name]) < 1e-3
    for name in times:
        assert os.path.exists(f"{mount.point}/times/{name}/d/number")
    # A file and its copy in another backup are two files, and names of one file are one.
    first, second = (os.stat(f"{mount.point}/ids/{name[:8]}/d/a/1").st_ino for name in names[:2])
    assert first != second
    assert os.path.samefile(f"{mount.point}/latest/d/a/4", f"{mount.point}/latest/d/a/b/four")
    with pytest.raises(FileNotFoundError):
        os.stat(mount.point + "/ids/12345678")


def test_backup_that_is_made_meanwhile_comes(repository, store, look):
    first = repository.backup("d")["backup"]
    mount = look(repository.path)
    assert os.listdir(mount.point + "/ids") == [first[:8]]
    with open(store.mount() + "/d/new", "w", encoding="ascii") as handle:
        handle.write("new")
    second = repository.backup("d", kind="incremental")["backup"]
    procs.poll(lambda: os.readlink(mount.point + "/latest") == f"ids/{second[:8]}", 30 * program.scale(), "the new backup is the latest", step=0.2)
    assert open(mount.point + "/latest/d/new", encoding="ascii").read() == "new"
    assert sorted(os.listdir(mount.point + "/ids")) == sorted([first[:8], second[:8]]) and len(os.listdir(mount.point + "/times")) == 2
    assert not os.path.exists(f"{mount.point}/ids/{first[:8]}/d/new")


def test_one_backup_is_the_root_of_its_mount(repository, source, look):
    name = repository.backup("d")["backup"]
    repository.backup("d")
    mount = look(f"{repository.path}@{name[:10]}")
    assert sorted(os.listdir(mount.point)) == [".corpusfs", "d"]
    assert_looks_as(source, mount.point + "/d")


def test_empty_repository_shows_no_backups(repository, look):
    mount = look(repository.path)
    assert os.listdir(mount.point + "/ids") == [] and not os.path.lexists(mount.point + "/latest")


def test_repository_on_a_disk_that_is_read_only_is_looked_at(repository, source, area, look):
    repository.backup("d")
    os.mkdir(area + "/disk")
    for options in (["--bind", repository.path, area + "/disk"], ["-o", "remount,bind,ro", area + "/disk"]):
        subprocess.run(["mount", *options], check=True)
    try:
        mount = look(area + "/disk")
        assert_looks_as(source, mount.point + "/latest/d")
        mount.umount()
    finally:
        subprocess.run(["umount", "-l", area + "/disk"], check=True)


def test_nothing_can_be_changed(repository, look):
    repository.backup("d")
    mount = look(repository.path)
    for attempt in (lambda path: open(path + "/a/1", "ab"), lambda path: os.mkdir(path + "/new"), lambda path: os.remove(path + "/a/1"),
                    lambda path: os.chmod(path + "/a/1", 0o600), lambda path: os.rename(path + "/a/1", path + "/a/x")):
        with pytest.raises(OSError) as failed:
            attempt(mount.point + "/latest/d")
        assert failed.value.errno == errno.EROFS


def test_big_directory_is_listed_whole(store, area, made, look):
    os.mkdir(area + "/tree")
    wanted = [f"{number:05} {'x' * (number % 200)}" for number in range(4000)]
    for name in wanted:
        with open(f"{area}/tree/{name}", "w", encoding="ascii"):
            pass
    restic(made, "backup", area + "/tree")
    mount = look(made)
    assert sorted(os.listdir(f"{mount.point}/latest{area}/tree")) == wanted


def test_restic_mounts_what_we_wrote(repository, source, area):
    name = repository.backup("d")["backup"]
    os.mkdir(area + "/restic")
    env = {**os.environ, **SECRETS, "RESTIC_CACHE_DIR": area + "/restic-cache"}
    with open(area + "/restic.log", "wb") as log:
        process = subprocess.Popen(["restic", "-r", repository.path, "mount", area + "/restic"], env=env, stdout=log, stderr=log)
    try:
        procs.poll(lambda: procs.fuse_mounts(area + "/restic"), 60, "restic mounts")
        seen = tree.scan(f"{area}/restic/ids/{name[:8]}/d")
    finally:
        subprocess.run(["umount", "-l", area + "/restic"], check=False)
        process.wait(60)
    for name, row in tree.scan(source).items():
        # It tells names of one file apart, and opens what is special as nothing.
        for key in ("mode", "uid", "gid", "size", "content", "target", "mtime"):
            if key in row and not row["mode"].startswith("0o1"):
                assert seen[name][key] == row[key], (name, key)


# --- damage ---


def backup_of_noise(store, area, seed):
    """Of a dataset with one big file; and what is in that."""
    data = random.Random(seed).randbytes(4 << 20)
    store.create("e")
    with open(store.mount() + "/e/file", "wb") as handle:
        handle.write(data)
    store.umount()
    repository = Repository(store, area + "/repository")
    repository.backup("e")
    return repository, data


def test_damaged_blob_is_an_error_for_its_range_and_a_line_in_the_log(store, area, look):
    """Chunks of a big file are blobs: those that are good are read, before and behind the bad one."""
    repository, data = backup_of_noise(store, area, 3)
    damage(biggest(repository.path), os.path.getsize(biggest(repository.path)) // 2)
    mount = look(repository.path)
    good, bad = 0, []
    with open(mount.point + "/latest/e/file", "rb", buffering=0) as handle:
        for at in range(0, len(data), 4096):
            try:
                assert os.pread(handle.fileno(), 4096, at) == data[at:at + 4096]
                good += 1
            except OSError as failed:
                assert failed.errno == errno.EIO
                bad.append(at)
    assert 0 < len(bad) <= 80 and good > 900, "a chunk has 256 KiB at most"
    assert bad == list(range(bad[0], bad[-1] + 1, 4096))
    lines = [line for line in mount.log().splitlines() if " error " in line]
    assert len(lines) == 1 and 'of="file" what="damaged"' in lines[0]
    assert re.search(r"blob=[0-9a-f]{64} ", lines[0])


def test_pack_that_was_cut_short_gives_what_is_before_the_cut(store, area, look):
    """Blobs that come with one request do not go with the one that is not there."""
    repository, data = backup_of_noise(store, area, 4)
    os.truncate(biggest(repository.path), os.path.getsize(biggest(repository.path)) // 2)
    mount = look(repository.path)
    good = 0
    with open(mount.point + "/latest/e/file", "rb", buffering=0) as handle:
        for at in range(0, len(data), 1 << 16):
            try:
                assert os.pread(handle.fileno(), 4096, at) == data[at:at + 4096]
                good += 1
            except OSError as failed:
                assert failed.errno == errno.EIO
    assert 20 < good < 40


def test_backup_whose_description_is_damaged_is_told_of(repository, look):
    repository.backup("d")
    last = repository.backup("d")["backup"]
    damage(f"{repository.path}/snapshots/{last}", 20)
    mount = look(repository.path)
    assert len(os.listdir(mount.point + "/ids")) == 1
    assert "1 of 2 backups are not shown" in mount.result.err + mount.log()


def test_missing_pack_is_an_error_and_all_else_is_there(repository, source, look):
    repository.backup("d")
    os.remove(biggest(repository.path))
    mount = look(repository.path)
    good = bad = 0
    for name, row in tree.scan(source).items():
        if "content" in row:
            try:
                assert tree.digest(f"{mount.point}/latest/d/{name}") == row["content"], name
                good += 1
            except OSError as failed:
                assert failed.errno == errno.EIO
                bad += 1
    assert good > 0 and bad > 0
    assert sorted(os.listdir(mount.point + "/latest/d/a")) == sorted(os.listdir(source + "/a"))


def test_missing_directory_is_an_error_in_its_place(repository, source, look):
    """The packs of trees are gone."""
    repository.backup("d")
    content = biggest(repository.path)
    for path in repository.packs() - {content}:
        os.remove(path)
    mount = look(repository.path)
    with pytest.raises(OSError) as failed:
        list(os.walk(mount.point + "/latest/d", onerror=lambda error: (_ for _ in ()).throw(error)))
    assert failed.value.errno == errno.EIO
    assert os.listdir(mount.point + "/ids")


# --- nobody waits ---


def test_place_that_does_not_answer_keeps_nobody_from_the_rest(repository, store, area, look):
    """The repository lies in a filesystem whose daemon is stopped: who needs it waits; lists, df and the end of the mount do not."""
    repository.backup("d")
    shutil.copytree(repository.path, store.mount() + "/d/repository")
    store.umount()
    mount = look(store.mount() + "/d/repository")
    procs.stop(store.pid)
    reader = subprocess.Popen(["cat", mount.point + "/latest/d/a/1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        procs.poll(lambda: b"State:\tD" in procs.read(f"/proc/{reader.pid}/status") or procs.read(f"/proc/{reader.pid}/wchan") == b"request_wait_answer",
                   20, "somebody waits for the repository")
        for command in (["ls", "-l", mount.point, mount.point + "/ids", mount.point + "/times"], ["df", mount.point], ["stat", mount.point + "/latest"]):
            assert subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
        os.kill(mount.pid, signal.SIGTERM)
        mount.gone()
        assert not procs.fuse_mounts(mount.point)
        assert reader.wait(20) != 0, "who waited got an error"
    finally:
        os.kill(store.pid, signal.SIGCONT)
        reader.kill()
        reader.wait()


@pytest.mark.timeout(120)
def test_who_waits_gets_an_error_when_the_mount_goes_though_its_place_never_answers(repository, store, area, look):
    """The place has taken a request, and stops: no signal ends the thread that waits for it, nor the process of the mount as long as it is so."""
    with open(store.mount() + "/d/big", "wb") as handle:
        handle.write(random.Random(7).randbytes(24 << 20))
    repository.backup("d")
    shutil.copytree(repository.path, store.points[-1] + "/d/repository")
    store.umount()
    sleeps = ",".join(f"read-before-chunks:sleep1500:{number}" for number in range(1, 9))
    point = store.mount(env={"CORPUSFS_FAULT": sleeps})
    mount = look(point + "/d/repository")
    reader = subprocess.Popen(["cat", mount.point + "/latest/d/big"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        procs.poll(lambda: any(b") D " in procs.read(path) for path in glob.glob(f"/proc/{mount.pid}/task/*/stat")), 20, "the mount waits for the place",
                   step=0.005)
        procs.stop(store.pid)
        os.kill(mount.pid, signal.SIGTERM)
        assert reader.wait(20) != 0, "who waited got an error"
        assert not procs.fuse_mounts(mount.point)
    finally:
        os.kill(store.pid, signal.SIGCONT)
        reader.kill()
        reader.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_though_a_file_is_open(repository, look, number):
    repository.backup("d")
    mount = look(repository.path)
    handle = os.open(mount.point + "/latest/d/a/1", os.O_RDONLY)
    os.kill(mount.pid, number)
    mount.gone()
    assert not procs.fuse_mounts(mount.point)
    with contextlib.suppress(OSError):
        os.close(handle)


def test_mount_whose_process_was_killed_goes_with_umount(repository, store, look):
    repository.backup("d")
    mount = look(repository.path)
    os.kill(mount.pid, signal.SIGKILL)
    # A process whose first thread has ended looks gone while others still hold its connection.
    assert store.reap(mount.pid, 30 * program.scale()) == -signal.SIGKILL
    again = Mount(store, repository.path, mount.point)  # takes the place of what is dead
    assert os.listdir(mount.point) and len(procs.fuse_mounts(mount.point)) == 1
    os.kill(again.pid, signal.SIGKILL)
    assert store.reap(again.pid, 30 * program.scale()) == -signal.SIGKILL
    done = store.run("umount", mount.point)
    assert done.code == 0 and "read-only" in done.out, done.out + done.err
    assert not procs.fuse_mounts(mount.point)


def test_many_readers_at_once_see_the_same(repository, source, look):
    repository.backup("d")
    mount = look(repository.path, "-o", "cache=1M")
    wanted = {name: row["content"] for name, row in tree.scan(source).items() if "content" in row}
    wrong = []

    def read_all(seed):
        names = sorted(wanted)
        random.Random(seed).shuffle(names)
        for name in names:
            if tree.digest(f"{mount.point}/latest/d/{name}") != wanted[name]:
                wrong.append(name)

    readers = [threading.Thread(target=read_all, args=(seed,)) for seed in range(6)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_memory_has_a_limit(store, area, made, look):
    os.mkdir(area + "/tree")
    with open(area + "/tree/big", "wb") as handle:
        for number in range(10):
            handle.write(random.Random(number).randbytes(16 << 20))
    restic(made, "backup", area + "/tree")
    mount = look(made, "-o", "cache=4M")
    assert tree.digest(f"{mount.point}/latest{area}/tree/big") == tree.digest(area + "/tree/big")
    peak = int(re.search(rb"VmHWM:\s+(\d+) kB", procs.read(f"/proc/{mount.pid}/status")).group(1))
    assert peak < 110 << 10, f"{peak} KiB for 160 MiB of content"


# --- what is refused ---


def test_nothing_is_pruned_while_it_is_looked_at(repository, look):
    first = repository.backup("d")["backup"]
    repository.backup("d")
    mount = look(repository.path)
    assert "lock" in repository.run("backup", "forget", repository.path, first, code=program.BUSY).err
    mount.umount()
    repository.run("backup", "forget", repository.path, first)


def test_what_is_wrong_is_said_and_nothing_is_mounted(repository, store, area):
    repository.backup("d")

    def error(place, point, *options, code):
        return Mount(store, place, point, *options, code=code).result.err

    assert "no backup" in error(repository.path + "@12345678", area + "/point", code=program.NOT_FOUND)
    assert "rw" in error(repository.path, area + "/point", "-o", "rw", code=program.USAGE)
    assert "snapdir" in error(repository.path, area + "/point", "-o", "snapdir=off", code=program.USAGE)
    assert error(area + "/nothing", area + "/point", code=program.NOT_FOUND)
    wrong = store.run("backup", "mount", repository.path, area + "/point", env={"CORPUSFS_PASSWORD": "wrong", "CORPUSFS_TEST_STORE": "backups"})
    assert wrong.code == program.PERMISSION and "password is wrong" in wrong.err
    assert store.run("backup", "mount", repository.path, area + "/missing", env={**SECRETS, "CORPUSFS_TEST_STORE": "backups"}).code == program.NOT_FOUND
    assert not procs.fuse_mounts(area)
    assert os.listdir(repository.path + "/locks") == []
