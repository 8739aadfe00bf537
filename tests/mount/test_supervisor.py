"""The daemon dies and the mount lives: another goes on, and who uses the mount sees a pause, not an error."""

import ctypes
import errno
import fcntl
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from harness import posix, procs, program, succession
from harness.succession import Workers, await_successor, kill, shoot, successor

KILLS = 40


def log_count(store, event):
    return procs.read(store.path + "/log").decode().count(f" {event} ")


def test_what_is_open_goes_on(supervised, store):
    """Files, a removed file, a directory that is being read, and a working directory."""
    fs = supervised
    for number in range(3000):
        with open(f"{fs}/{number}", "xb"):
            pass
    fd, gone = os.open(fs + "/open", os.O_RDWR | os.O_CREAT), os.open(fs + "/gone", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"before ")
    os.write(gone, b"before ")
    os.unlink(fs + "/gone")
    os.mkdir(fs + "/dir")
    inside = subprocess.Popen([sys.executable, "-c", "import os, sys; sys.stdin.readline(); open('file', 'x').close(); print(os.listdir())"],
                              cwd=fs + "/dir", stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    listing = os.scandir(fs)
    names = [next(listing).name for _ in range(5)]
    kill(store)
    os.write(fd, b"after")
    os.write(gone, b"after")
    assert os.pread(fd, 100, 0) == b"before after" == os.pread(gone, 100, 0)
    names += [entry.name for entry in listing]
    assert sorted(names) == sorted([*map(str, range(3000)), "open", "dir"])
    assert inside.communicate(b"\n", timeout=30)[0] == b"['file']\n"
    assert os.fstat(gone).st_nlink == 0
    for handle in (fd, gone):
        os.close(handle)
    assert procs.read(fs + "/open") == b"before after"


def test_times_that_were_set_after_writing_stay(supervised, store):
    fs = supervised
    with open(fs + "/file", "wb") as handle:
        handle.write(b"content")
    os.utime(fs + "/file", (1000, 2000))
    with open(fs + "/later", "wb") as handle:
        handle.write(b"content")
    later = os.stat(fs + "/later").st_mtime_ns
    kill(store)
    store.umount()
    point = store.mount() + "/d"
    assert (os.stat(point + "/file").st_atime, os.stat(point + "/file").st_mtime) == (1000, 2000)
    assert abs(os.stat(point + "/later").st_mtime_ns - later) < 1e9


def test_lengths_and_holes_come_back_in_their_order(supervised, store):
    """Truncation, allocation and punching between writes that are not committed yet."""
    fs, rng = supervised, random.Random(7)
    reference = store.area + "/reference"
    for turn in range(20):
        with open(f"{fs}/{turn}", "w+b", buffering=0) as ours, open(f"{reference}", "w+b", buffering=0) as theirs:
            for _ in range(rng.randrange(1, 12)):
                change(rng, ours.fileno(), theirs.fileno())
            if turn % 4 == 3:
                kill(store)
                change(rng, ours.fileno(), theirs.fileno())
            size = os.fstat(theirs.fileno()).st_size
            assert os.fstat(ours.fileno()).st_size == size
            assert os.pread(ours.fileno(), size + 1, 0) == os.pread(theirs.fileno(), size + 1, 0)


def change(rng, *fds):
    kind, offset, size = rng.randrange(6), rng.randrange(300000), rng.randrange(1, 200000)
    data = rng.randbytes(size)
    for fd in fds:
        if kind < 3:
            os.pwrite(fd, data, offset)
        elif kind == 3:
            os.ftruncate(fd, offset)
        elif kind == 4:
            fallocate(fd, 3, offset, size)  # punch a hole, keep the size
        else:
            fallocate(fd, 0, offset, size)


def fallocate(fd, mode, offset, size):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size)):
        code = ctypes.get_errno()
        raise OSError(code, errno.errorcode[code])


@pytest.mark.sanitize
@pytest.mark.soak
@pytest.mark.timeout(300)
def test_killed_again_and_again_under_load(supervised, store, seed, rounds):
    """Every process ends without an error, and all that it was told is there, byte for byte; also after the store was opened anew."""
    fs, chance = supervised, random.Random(seed)
    workers = Workers(fs, store.area, seed)
    try:
        for turn in range(KILLS * rounds // program.scale()):
            time.sleep(chance.choice([0.0, 0.01, 0.1, 0.3]) * chance.random())
            kill(store)
            # not too often before it has answered anything, which would be given up
            if turn % 3 or chance.random() < 0.3:
                assert not os.path.exists(f"{fs}/nothing{turn}")
            if turn % 8 == 7:
                store.run("-s", store.path, "snapshot", "create", f"d@s{turn}")
            workers.check()
    finally:
        workers.stop()
    workers.finish()
    store.umount()
    workers.compare(store.mount() + "/d")
    assert store.ok("-s", store.path, "check")


def test_locks_stay(supervised, store):
    """POSIX locks are the kernel's: it keeps them whoever serves the mount."""
    with open(supervised + "/file", "w", encoding="ascii") as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX)
        kill(store)
        script = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", script, supervised + "/file"], stderr=subprocess.DEVNULL, timeout=30).returncode != 0


def test_nobody_takes_the_store_while_one_daemon_follows_another(supervised, store):
    """The lock is held by the supervisor; commands wait for the next daemon."""
    shoot(store)
    assert "d" in store.ok("-s", store.path, "dataset", "list")
    procs.poll(lambda: successor(store, store.pid), 30, "another daemon goes on")
    assert log_count(store, "died") == 1
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")


@pytest.mark.timeout(150)
def test_what_dies_again_and_again_is_given_up(supervised, store):
    """Here before it serves anything: the mounts end, nobody waits for ever, and the log says why."""
    store.expected += ["not-resumed", "gave-up"]
    # nobody can open it any more
    os.rename(store.path + "/corpusfs", store.path + "/hidden")
    shoot(store)
    procs.poll(lambda: not procs.alive(store.supervisor), 90, "the supervisor gives up")
    with pytest.raises(OSError) as told:
        os.stat(supervised + "/file")
    assert told.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    store.ended(1)
    assert "gave-up" in store.log()
    os.rename(store.path + "/hidden", store.path + "/corpusfs")
    store.clear()
    assert "gave-up" in store.ok("-s", store.path, "status")
    store.mount()
    assert "gave-up" not in store.ok("-s", store.path, "status")


def test_without_its_supervisor_a_daemon_goes_on_alone(supervised, store):
    supervisor = store.supervisor
    os.kill(supervisor, signal.SIGKILL)
    assert store.reap(supervisor, 10) == -signal.SIGKILL
    store.supervisor = None
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")
    procs.poll(lambda: log_count(store, "alone"), 30, "the daemon says that it is alone")
    assert procs.read(supervised + "/file") == b"content"
    assert [row["supervised"] for row in json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"]] == [False]
    os.mkdir(store.area + "/second")
    refused = store.run("mount", "-o", "ro,supervise", store.path, store.area + "/second")
    assert refused.code == program.UNSUPPORTED and "its supervisor has gone" in refused.err, refused
    os.kill(store.pid, signal.SIGKILL)
    store.ended(-signal.SIGKILL)
    with pytest.raises(OSError):
        os.stat(supervised + "/file")
    store.clear()


def test_sync_after_a_daemon_has_died_is_of_what_was_written_before(supervised, store):
    """All is on disk when it says so: a crash of everything afterwards loses nothing."""
    data = random.Random(3).randbytes(3 << 20)
    with open(supervised + "/file", "wb") as handle:
        handle.write(data)
    kill(store)
    store.ok("-s", store.path, "sync")
    store.kill()
    assert procs.read(store.mount() + "/d/file") == data


@pytest.mark.parametrize("whom", ["daemon", "supervisor"])
def test_sigterm_ends_it_with_everything_on_disk(supervised, store, whom):
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")
    os.kill(store.pid if whom == "daemon" else store.supervisor, signal.SIGTERM)
    store.points.clear()
    store.ended()
    assert log_count(store, "died") == 0
    assert procs.read(store.mount() + "/d/file") == b"content"


def read(directory):
    with open(directory + "/file", "rb", buffering=0) as handle:
        handle.read(100)


def take_snapshot(directory):
    os.mkdir(directory + "/.snapshots/s", 0o777)


def make_dataset(directory):
    os.mkdir(directory + "2")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("ask, fault", [(read, "read-before-chunks"), (take_snapshot, "snapshot-before-write"), (make_dataset, "dataset-create-before-write")])
def test_a_request_of_which_daemons_die_is_answered_with_an_error(store, ask, fault):
    """While others are answered all the time, so that nobody gives up."""
    succession.needed()
    point = store.mount()
    store.create("d")
    with open(point + "/d/file", "wb") as handle:
        handle.write(random.Random(1).randbytes(300000))
    store.umount()
    store.expected.append("is answered with an error")
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": fault + ":abort"})
    done = threading.Event()

    def ask_others():
        number = 0
        while not done.wait(0.002):
            number += 1
            assert not os.path.exists(f"{point}/d/nothing{number}")

    others = threading.Thread(target=ask_others)
    others.start()
    try:
        with pytest.raises(OSError) as told:
            ask(point + "/d")
        assert told.value.errno == errno.EIO
    finally:
        done.set()
        others.join()
    assert "is answered with an error" in store.log()
    procs.poll(lambda: successor(store, 0), 30, "a daemon serves")
    assert (os.listdir(point), os.listdir(point + "/d"), os.listdir(point + "/d/.snapshots")) == (["d"], ["file"], [])


def test_a_name_in_a_dataset_that_cannot_be_opened_is_no_reason_to_die(store):
    """Each daemon meets an error of the disk when it opens the dataset for the first time. The kernel knows a directory of it by then."""
    succession.needed()
    store.create("d")
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": "head-before-open:eio"})
    posix.outcome(os.stat, point + "/d")
    os.mkdir(point + "/d/dir")
    place = os.open(point + "/d/dir", os.O_PATH | os.O_DIRECTORY)
    kill(store)
    serves = store.pid
    found = [posix.outcome(os.stat, f"none{number}", dir_fd=place) for number in range(3)]
    os.close(place)
    assert set(found) <= {"EIO", "ENOENT"} and found[-1] == "ENOENT"
    assert successor(store, 0) == [serves]


def crashes(result):
    return json.loads(result.out)["crashes"] if result.code == program.OK else 0


def test_what_was_done_and_not_answered_is_done_once(store):
    """Every daemon dies right after its first change. Who asked is answered by the next one, as if nothing had been."""
    succession.needed()
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": "transaction-after-write:kill,catalog-after-write:kill"})
    os.mkdir(point + "/a")
    os.rename(point + "/a", point + "/d")
    os.mkdir(point + "/d/.snapshots/s", 0o777)
    os.rename(point + "/d/.snapshots/s", point + "/d/.snapshots/t")
    os.chdir(point + "/d")
    try:
        os.mkdir("dir")
        os.mknod("pipe", 0o600 | stat.S_IFIFO)
        os.symlink("target", "link")
        os.close(os.open("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.link("file", "second")
        os.rename("second", "third")
        os.setxattr("third", "user.x", b"1", os.XATTR_CREATE)
        os.removexattr("file", "user.x")
        os.unlink("pipe")
        os.rmdir("dir")
        assert sorted(os.listdir(".")) == ["file", "link", "third"] and os.stat("file").st_nlink == 2
        assert os.listdir(".snapshots") == ["t"]
        with pytest.raises(FileExistsError):
            os.mkdir("file")
    finally:
        os.chdir("/")
    os.rmdir(point + "/d/.snapshots/t")
    for name in ("file", "link", "third"):
        os.unlink(f"{point}/d/{name}")
    os.rmdir(point + "/d")
    assert os.listdir(point) == []
    # What is left of the dataset is removed in the background: who does that may be the one that is asked.
    procs.poll(lambda: crashes(store.run("-s", store.path, "status", "--json")) >= 17, 30, "a daemon serves")
    procs.poll(lambda: store.run("umount", point).code == 0 or not os.path.ismount(point), 30, "a daemon ends that has nothing left to do")
    store.points.remove(point)


def test_a_daemon_that_has_much_to_remove_before_it_serves_lives(store):
    """Somebody looks meanwhile what its mounts wait for."""
    succession.needed()
    store.create("d")
    # the first one dies in the second batch of versions, and the next has the rest to remove
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": "orphan-batch:sleep3000:1,orphan-batch:kill:2"})
    with open(point + "/d/file", "wb", buffering=0) as handle:
        for number in range(6000):
            os.pwrite(handle.fileno(), b"x", number << 16)
        os.fsync(handle.fileno())
    before = store.pid
    os.unlink(point + "/d/file")
    await_successor(store, before)
    assert os.listdir(point + "/d") == []
    assert status(store)["crashes"] == 1


# In a process of its own: whoever has the file open waits for the next daemon when he closes it, a child before it begins, too.
WRITE_AND_KILL = """
import os, signal, sys
handle = open(sys.argv[1], "wb", buffering=0)
handle.write(b"content")
os.kill(int(sys.argv[2]), signal.SIGKILL)
print("done", flush=True)
sys.stdin.read()
"""


def kill_before_commit(store, tries):
    """Kills the daemon when it has accepted a file's content; the disk gives so many errors to the next one. Returns who has the file open."""
    succession.needed()
    away = ",".join(f"replay-before-change:eio:{number}" for number in range(1, tries + 1))
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": f"{away},commit-before-store:sleep3000"})
    store.create("d")
    writer = subprocess.Popen([sys.executable, "-c", WRITE_AND_KILL, point + "/d/file", str(store.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"done\n"
    return writer


def test_a_disk_that_is_away_for_a_moment_takes_nothing(store):
    """The daemon that goes on waits for it, and whoever asks is told."""
    writer = kill_before_commit(store, 8)
    asked = store.run("-s", store.path, "status")
    assert asked.code == program.OK and "waits for the disk" in asked.err, asked
    writer.communicate(timeout=30)
    procs.poll(lambda: successor(store, 0), 30, "a daemon serves")
    assert procs.read(store.points[0] + "/d/file") == b"content"
    assert log_count(store, "replay-waits") > 0 and log_count(store, "not-replayed") == 0
    store.umount()
    assert procs.read(store.mount() + "/d/file") == b"content"


def test_a_signal_ends_the_wait_for_a_disk_and_what_is_lost_is_told(store):
    """By the log, and by how the daemon ends."""
    store.expected += [" error not-replayed ", " error mount .*commit at the end of ", " error close "]
    writer = kill_before_commit(store, 90)
    procs.poll(lambda: log_count(store, "replay-waits"), 30, "the next daemon waits for the disk")
    os.kill(store.supervisor, signal.SIGTERM)
    store.points.clear()
    store.ended(expect=1)
    writer.communicate(timeout=30)
    assert log_count(store, "not-replayed") == 1
    assert procs.read(store.mount() + "/d/file") == b""


def test_what_is_lost_with_a_crash_is_told_to_sync(store):
    """The disk is away for longer than anybody waits."""
    store.expected.append(" error not-replayed ")
    writer = kill_before_commit(store, 90)
    procs.poll(lambda: log_count(store, "not-replayed"), 60 * program.scale(), "the next daemon waits for the disk no more")
    writer.communicate(timeout=30)
    procs.poll(lambda: successor(store, 0), 30 * program.scale(), "a daemon serves")
    result = store.run("-s", store.path, "sync")
    assert result.code != program.OK and "is lost" in result.err, result
    store.ok("-s", store.path, "sync")


def status(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))


def test_where_there_is_no_memory_for_it_a_mount_goes_without(store):
    """And says so, once it is asked; nothing else is different."""
    succession.needed()
    point, env = store.area + "/mnt", {"CORPUSFS_FAULT": "supervise-memory:enomem"}
    os.mkdir(point)
    refused = store.run("mount", "-o", "supervise", store.path, point, env=env)
    assert refused.code != program.OK and "there can be no supervisor: there is no memory for it" in refused.err, refused
    store.ok("mount", store.path, point, env=env)
    store.note(point)
    store.create("d")
    assert not store.supervisor and status(store)["unsupervised"] == "there is no memory for it"
    assert "supervised     no (there is no memory for it)" in store.ok("-s", store.path, "status")
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
    store.umount()
    assert procs.read(store.mount() + "/d/file") == b"content"


def test_what_is_kept_for_the_next_daemon_is_counted(supervised, store):
    """In the memory that status shows."""
    with open(supervised + "/file", "wb", buffering=0) as handle:
        for _ in range(48):
            handle.write(os.urandom(1 << 20))

    def is_counted():
        resident, shared = map(int, procs.read(f"/proc/{store.pid}/statm").split()[1:3])
        return status(store)["memory_bytes"] - (resident - shared) * os.sysconf("SC_PAGESIZE") > 20 << 20

    procs.poll(is_counted, 8, "the journal is counted, whatever is given back between the two looks")


def test_status_tells_of_the_supervisor_and_of_crashes(supervised, store):
    assert "supervised     yes" in store.ok("-s", store.path, "status")
    kill(store)
    assert (status(store)["supervised"], status(store)["crashes"]) == (True, 1)


def test_a_daemon_in_the_foreground_cannot_be_supervised(store):
    os.mkdir(store.area + "/point")
    result = store.run("mount", "-f", "-o", "supervise", store.path, store.area + "/point")
    assert result.code != program.OK and "foreground" in result.err, result
