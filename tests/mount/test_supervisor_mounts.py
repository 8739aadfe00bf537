"""All kinds of mounts outlive their daemon: a user's own, several places of one session, what was detached, full disks, those that are forced."""

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from harness import posix, procs, program, succession, superblock
from harness.reference import make_ext4
from harness.store import Store
from harness.succession import await_successor, kill, shoot

NOBODY = 65534
MIB = 1 << 20


def put(path, data):
    with open(path, "wb", buffering=0) as handle:
        handle.write(data)


def forced(store, point, expect):
    result = store.run("umount", "--force", point, limit=60)
    assert result.code == expect, result
    assert not procs.fuse_mounts(point)
    store.points.remove(point)
    return result


@pytest.fixture
def theirs(device, blank, area):
    """A store that user nobody owns, mounted by that user with a supervisor; the file descriptors of the tests are root's."""
    succession.needed()
    os.chown(area, NOBODY, NOBODY)
    blank.binary = shutil.copy(blank.binary, area + "/corpusfs")
    os.chmod(blank.binary, 0o755)
    blank.init(user=NOBODY)
    os.mkdir(area + "/mnt")
    os.chown(area + "/mnt", NOBODY, NOBODY)
    result = blank.run("mount", "-o", "supervise", blank.path, area + "/mnt", user=NOBODY)
    assert result.code == 0, result
    blank.note(area + "/mnt")
    assert blank.run("-s", blank.path, "dataset", "create", "d", user=NOBODY).code == 0
    return blank


def test_a_user_goes_on_with_a_mount_of_their_own(theirs):
    store, fs = theirs, theirs.area + "/mnt/d"
    script = f"cd {fs}; exec 3>file; echo before >&3; read line; echo after >&3; read line; cat file; mkdir dir; mv file dir; ls dir"
    with subprocess.Popen(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", "sh", "-ec", script],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:  # fmt: skip
        for _ in range(2):
            kill(store)
            shell.stdin.write(b"\n")
            shell.stdin.flush()
        out = shell.communicate(timeout=30)[0]
    assert shell.returncode == 0 and out == b"before\nafter\nfile\n"
    before = store.pid
    assert store.run("restart", store.path, user=NOBODY).code == 0
    await_successor(store, before)
    assert store.run("restart", store.path).code == 0, "root may, too"
    assert store.run("umount", store.area + "/mnt", user=NOBODY).code == 0
    store.points.clear()
    store.ended()


@pytest.mark.timeout(150)
def test_a_user_s_mount_is_given_up_without_the_right_to_abort_it(theirs):
    """The connection then ends with its last descriptor."""
    store = theirs
    store.expected += ["not-resumed", "gave-up"]
    os.rename(store.path + "/corpusfs", store.path + "/hidden")
    shoot(store)
    procs.poll(lambda: not procs.alive(store.supervisor), 90, "the supervisor gives up")
    store.ended(1)
    with posix.as_user(NOBODY), pytest.raises(OSError):
        os.stat(store.area + "/mnt/d")
    os.rename(store.path + "/hidden", store.path + "/corpusfs")
    result = store.run("umount", store.area + "/mnt", user=NOBODY)
    assert result.code == program.FAILED and "is lost" in result.err, result
    store.points.clear()


def test_who_may_not_start_the_program_again_mounts_without(device, blank, area):
    """Root acts as the owner of a store with a program that only root may start."""
    store, point = blank, area + "/mnt"
    os.chown(area, NOBODY, NOBODY)
    store.binary = shutil.copy(store.binary, area + "/corpusfs")
    os.chmod(store.binary, 0o700)
    os.mkdir(point)
    os.chown(point, NOBODY, NOBODY)
    store.ok("--as-owner", "init", store.path)
    store.ok("mount", "-o", "as_owner", store.path, point)
    store.note(point)
    assert store.supervisor is None
    if succession.possible():
        assert "this user may not start the program" in store.ok("--as-owner", "-s", store.path, "status")


def test_several_places_of_one_session(supervised, store):
    """Of the whole, of one dataset of it, and one that mount(8) bound; all of them end with the last."""
    first, second = store.points[0], store.mount(dataset="d")
    outside = store.area + "/outside"
    os.mkdir(outside)
    subprocess.run(["mount", "--bind", supervised, outside], check=True, timeout=60)
    handle = os.open(outside + "/file", os.O_RDWR | os.O_CREAT)
    os.write(handle, b"before ")
    kill(store)
    assert [procs.read(f"{place}/file") for place in (supervised, second, outside)] == [b"before "] * 3
    third = store.mount()
    store.umount(first)
    kill(store)
    os.write(handle, b"after")
    assert [procs.read(f"{place}/file") for place in (third + "/d", second, outside)] == [b"before after"] * 3
    store.umount(third)
    store.points.remove(second)
    assert store.run("umount", second).code == 0
    kill(store)
    assert procs.read(outside + "/file") == b"before after"
    os.close(handle)
    subprocess.run(["umount", outside], check=True, timeout=60)
    store.ended()
    assert procs.read(store.mount() + "/d/file") == b"before after"


def test_what_was_detached_and_is_open_goes_on_and_can_be_shown_again(supervised, store):
    point = store.points[0]
    with open(supervised + "/file", "wb", buffering=0) as handle:
        handle.write(b"before ")
        assert store.run("umount", "--lazy", point).code == 0
        store.points.clear()
        kill(store)
        handle.write(b"after")
        kill(store)
        assert procs.read(store.mount(point, options="allow_other") + "/d/file") == b"before after"
        store.find_daemon()


def test_a_daemon_that_was_stopped_is_unmounted_by_force_and_loses_nothing(supervised, store):
    put(supervised + "/file", b"content")
    os.kill(store.pid, signal.SIGSTOP)
    assert "everything is on disk" in forced(store, store.points[0], program.OK).out
    store.ended()
    assert procs.read(store.mount() + "/d/file") == b"content"


def test_a_stopped_daemon_that_is_killed_is_followed(supervised, store):
    """What waits for it meanwhile is answered by the next one."""
    put(supervised + "/file", b"content")
    os.kill(store.pid, signal.SIGSTOP)
    with subprocess.Popen(["cat", supervised + "/file"], stdout=subprocess.PIPE) as waits:
        kill(store)
        assert waits.communicate(timeout=30)[0] == b"content"


@pytest.mark.timeout(90)
def test_a_stuck_mount_is_ended_by_force_and_the_others_go_on(store):
    """The next daemon writes what was accepted; the ninth commit of each is stuck for ever."""
    succession.needed()
    store.create("d")
    store.create("e")
    point = store.mount(dataset="d", options="supervise", env={"CORPUSFS_FAULT": "commit-before-store:sleep600000:9"})
    other = store.mount(dataset="e", options="")
    handle = os.open(other + "/file", os.O_RDWR | os.O_CREAT)
    for _ in range(8):
        os.write(handle, b"before ")
        os.fsync(handle)
    writer = subprocess.Popen(["sh", "-c", f"echo kept >{point}/kept; sync {point}/kept"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    procs.poll(lambda: os.path.exists(point + "/kept"), 20, "it writes")
    before = store.pid
    told = forced(store, point, program.FAILED)
    assert "by the next daemon" in told.err, told
    assert writer.wait(20) != 0
    await_successor(store, before)
    os.write(handle, b"after")
    os.close(handle)
    assert procs.read(other + "/file") == 8 * b"before " + b"after"
    store.umount(other)
    assert procs.read(store.mount() + "/d/kept") == b"kept\n"


def content(number):
    return random.Random(number).randbytes(MIB)


def fill(directory, kept):
    """Files numbered from `kept` on, until there is no room; what they come to."""
    while posix.outcome(put, f"{directory}/{kept}", content(kept)) == "ok":
        kept += 1
        assert kept < 300
    return kept


@pytest.mark.timeout(120)
def test_a_full_disk(run, area):
    """A daemon that dies on one is followed: what was accepted is there, reads and deletes go on, writes do when there is room."""
    succession.needed()
    make_ext4(area + "/image", area + "/disk", 600 * MIB)
    store = Store(area, run.mark, run.home, path=area + "/disk/store").init()
    store.expected.append("space|ENOSPC")
    try:
        fs = store.mount(area + "/mnt", options="supervise") + "/d"
        store.create("d")
        info = os.statvfs(area + "/disk")
        with open(area + "/disk/filler", "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, info.f_bavail * info.f_bsize - 140 * MIB)
        kept = fill(fs, 0)
        for _ in range(3):
            kill(store)
            assert all(procs.read(f"{fs}/{number}") == content(number) for number in range(0, kept, 5))
            kept = fill(fs, kept) - 1
            os.unlink(f"{fs}/{kept}")
        os.unlink(area + "/disk/filler")
        kill(store)
        procs.poll(lambda: posix.outcome(put, f"{fs}/after", content(999)) == "ok", 30 * program.scale(), "writes resume", 0.2)
        assert store.run("-s", store.path, "sync").code == 0
        store.umount()
        fs = store.mount(area + "/mnt") + "/d"
        assert all(procs.read(f"{fs}/{number}") == content(number) for number in range(kept))
        assert procs.read(f"{fs}/after") == content(999)
        store.close()
    finally:
        store.clear()
        procs.detach(area + "/disk")


def test_a_store_that_was_moved_goes_on_where_it_is_now(supervised, store):
    """Another one with the same names and numbers lies where it was, and gets nothing of it."""
    aside = store.area + "/aside"
    other = Store(store.area, store.run_mark, store.home, name="other").init()
    other.create("d")
    os.close(os.open(other.mount(other.area + "/other-mnt", options="nosupervise") + "/d/file", os.O_CREAT | os.O_WRONLY))
    other.umount()
    with open(supervised + "/file", "wb", buffering=0) as handle:
        handle.write(b"before ")
        os.rename(store.path, aside)
        os.rename(other.path, store.path)
        kill(store)
        handle.write(b"after")
        os.fsync(handle)
        os.rename(store.path, other.path)
        os.rename(aside, store.path)
        kill(store)
        assert procs.read(supervised + "/file") == b"before after"
    store.umount()
    assert procs.read(store.mount() + "/d/file") == b"before after"
    assert procs.read(other.mount(other.area + "/other-mnt", options="nosupervise") + "/d/file") == b""
    other.close()


def test_a_store_that_can_only_be_read_goes_on_where_it_is_now(supervised, store):
    """The supervisor has its lock, too: nobody writes it while one daemon follows another, and it is found. At the end the lock is free."""
    put(supervised + "/file", b"content")
    store.umount()
    superblock.rewrite(store.path + "/corpusfs", lambda body: body.replace(b"ro-compat 0", b"ro-compat 4"))
    point, aside = store.mount(options="allow_other,ro"), store.area + "/aside"
    os.rename(store.path, aside)
    for _ in range(2):
        kill(store)
        posix.drop_caches()
        assert procs.read(point + "/d/file") == b"content"
    with open(aside + "/lock", "rb") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(aside, store.path)
        store.umount()
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_who_goes_on_with_a_store_that_can_only_be_read_accepts_nothing(supervised, store):
    """The mount was made for writing. What would be written could never be committed."""
    with open(supervised + "/file", "wb") as handle:
        handle.write(b"content")
        handle.flush()
        os.fsync(handle.fileno())
    superblock.rewrite(store.path + "/corpusfs", lambda body: body.replace(b"ro-compat 0", b"ro-compat 4"))
    kill(store)
    posix.drop_caches()
    assert procs.read(supervised + "/file") == b"content"
    assert posix.outcome(os.open, supervised + "/file", os.O_WRONLY) == "EROFS" == posix.outcome(os.mkdir, supervised + "/dir")
    store.umount()


def test_a_mount_stays_with_its_dataset_and_its_snapshot_whatever_they_are_called(store):
    succession.needed()
    for name in ("d", "next"):
        store.create(name)
    point = store.mount()
    for text in (b"first", b"second"):
        put(point + "/d/file", b"of d, " + text)
        os.mkdir(f"{point}/d/.snapshots/{text.decode()}")
    put(point + "/next/file", b"of next")
    store.umount()
    head = store.mount(dataset="d", options="allow_other,supervise")
    snapshot = store.mount(dataset="d@first", options="allow_other,supervise")
    for command in (["dataset", "rename", "d", "old"], ["dataset", "rename", "next", "d"],
                    ["snapshot", "rename", "old@first", "none"], ["snapshot", "rename", "old@second", "first"]):  # fmt: skip
        store.ok("-s", store.path, *command)
    for follow in (lambda: shoot(store), lambda: (store.pid, store.ok("restart", store.path))[0]):
        await_successor(store, follow())
        assert procs.read(head + "/file") == b"of d, second"
        assert procs.read(snapshot + "/file") == b"of d, first"
        shown = {row["mountpoint"]: row for row in json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"]}
        assert shown[head]["dataset"] == "old"
        assert (shown[snapshot]["dataset"], shown[snapshot]["snapshot"]) == ("old", "none")
        store.ok("-s", store.path, "dataset", "rename", "old", "older")
        store.ok("-s", store.path, "dataset", "rename", "older", "old")
    put(head + "/file", b"of d, third")
    store.umount(snapshot)
    store.umount(head)
    assert procs.read(store.mount() + "/old/file") == b"of d, third"


@succession.needs
@pytest.mark.parametrize("how", ["crash", "restart"])
def test_changes_that_the_kernel_was_not_told_of_are_told_by_the_next_daemon(store, how):
    """What a read-only mount has open shows what was changed elsewhere just before."""
    store.create("d")
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": "notice-before-kernel:sleep5000"})
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"old")
    other = store.mount(options="ro")
    with open(other + "/d/file", "rb", buffering=0) as seen, open(point + "/d/file", "r+b", buffering=0) as handle:
        assert seen.read() == b"old"
        handle.write(b"newer")
        if how == "crash":
            kill(store)
        else:
            store.ok("restart", store.path)
            store.find_daemon()
        procs.poll(lambda: os.pread(seen.fileno(), 10, 0) == b"newer" and os.fstat(seen.fileno()).st_size == 5, 30, "it shows")


@succession.needs
def test_changes_are_told_by_a_daemon_that_takes_long_until_it_serves(store):
    """It removes what nobody has open any more first."""
    store.create("d")
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": "orphan-before-remove:sleep3000"})
    put(point + "/d/file", b"old")
    put(point + "/d/gone", bytes(100_000))
    other = store.mount(options="ro")
    with open(other + "/d/file", "rb", buffering=0) as seen, open(point + "/d/file", "r+b", buffering=0) as handle:
        assert seen.read() == b"old"
        with open(point + "/d/gone", "rb"):
            os.unlink(point + "/d/gone")
        handle.write(b"newer")
        kill(store)
        procs.poll(lambda: os.pread(seen.fileno(), 10, 0) == b"newer" and os.fstat(seen.fileno()).st_size == 5, 30, "it shows")


def says_nothing_after(store, seconds, what):
    """Whether the next daemon does not log `what`, if this one has served for so long."""
    before, since = store.log(), time.monotonic()
    procs.poll(lambda: time.monotonic() > since + seconds, seconds + 30, "it has served")
    kill(store)
    procs.poll(lambda: store.log().count(" info started ") > before.count(" info started "), 30, "the next one has started")
    return store.log().count(what) == before.count(what)


@succession.needs
@pytest.mark.timeout(240)
def test_more_changes_than_a_daemon_can_leave_are_told_all_the_same(store):
    """What read-only mounts have open shows them, although nothing is known of them but that they may have been. It is told once."""
    store.create("d")
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": "notice-before-kernel:sleep120000:2"})
    put(point + "/d/file", b"old")
    places = store.mount(options="ro") + "/d", store.mount(dataset="d", options="ro")
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(open(point + "/d/file", "r+b", buffering=0))
        seen = [stack.enter_context(open(place + "/file", "rb")).fileno() for place in places]

        def show(content):
            return all(os.fstat(file).st_size == len(content) and os.pread(file, 100, 0) == content for file in seen)

        assert show(b"old")
        handle.write(b"newer")
        procs.poll(lambda: show(b"newer"), 60, "it shows")
        for number in range(2000):
            os.mknod(f"{point}/d/{number:0250}")
        for number in range(100):
            os.chmod(f"{point}/d/{number:0250}", 0o600)  # what has a place for no name has one for these
        handle.write(b" still")
        store.ok("-s", store.path, "snapshot", "create", "d@meanwhile")
        kill(store)
        procs.poll(lambda: show(b"newer still"), 60, "it shows, too")
        assert store.log().count("more had changed") == 1
        # two rounds of telling later it is forgotten; nothing is to be seen of them
        assert any(says_nothing_after(store, seconds, "more had changed") for seconds in (1, 2, 4, 8, 16))
        assert show(b"newer still")
