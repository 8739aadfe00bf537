"""Snapshots while others change something: who stands among them or lists them goes on, and who was there a moment ago hinders nobody."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from harness import posix, procs, program
from harness.files import get, put
from harness.snapshots import cli, names


@pytest.fixture
def standing(fs):
    """A descriptor of .snapshots, of which the daemon knows nothing: as the working directory of a process."""
    fd = os.open(fs + "/.snapshots", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def listed(standing):
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=standing)
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def test_what_the_kernel_still_remembers_of_before_a_rollback_keeps_no_dataset(store):
    """It is made to forget that in the background, however long it takes. What it is not told of, it asks anew."""
    store.create("d")
    point = store.mount(env={"CORPUSFS_FAULT": "let-go-before-name:eio,let-go-before-name:sleep4000"})
    os.mkdir(point + "/d/dir")
    put(point + "/d/dir/1", b"content")
    put(point + "/d/dir/2", b"content")
    cli(store, "snapshot", "create", "d@s")
    put(point + "/d/dir/1", b"other")
    cli(store, "rollback", "--no-guard", "d@s")
    assert get(point + "/d/dir/1") == b"content"
    cli(store, "dataset", "destroy", "d", "--snapshots")
    assert os.listdir(point) == []


def test_who_stands_in_the_snapshots_goes_on_over_rollbacks(fs, store, standing):
    """Nothing is open there, so nobody but the kernel knows of it."""
    put(fs + "/file", b"old")
    os.mkdir(fs + "/.snapshots/old")
    put(fs + "/file", b"new")
    for number in range(3):
        cli(store, "rollback", "--no-guard", "d@old")
        posix.drop_caches()
        os.mkdir(f"new{number}", dir_fd=standing)
        assert listed(standing) == sorted(os.listdir(fs + "/.snapshots")) == [*(f"new{n}" for n in range(number + 1)), "old"]
        fd = os.open("old/file", os.O_RDONLY, dir_fd=standing)
        assert os.read(fd, 10) == b"old" == get(fs + "/file")
        os.close(fd)
    os.rename("new0", "renamed", src_dir_fd=standing, dst_dir_fd=standing)
    os.rmdir("new1", dir_fd=standing)
    assert names(store) == ["old", "renamed", "new2"]
    cli(store, "dataset", "destroy", "--snapshots", "d")
    assert posix.outcome(listed, standing) in ("ESTALE", "ENOENT")


def test_a_mount_that_begins_during_a_rollback_shows_what_came_back(store):
    """It waits for the rollback, and its kernel remembers nothing yet that it could be told to forget."""
    store.create("d")
    store.create("e")
    fs = store.mount() + "/d"
    put(fs + "/file", b"old")
    os.mkdir(fs + "/.snapshots/old")
    put(fs + "/file", b"new")
    store.umount()
    store.mount(dataset="e", env={"CORPUSFS_FAULT": "rollback-before-write:sleep2000"})
    back = threading.Thread(target=cli, args=(store, "rollback", "--no-guard", "d@old"))
    back.start()
    time.sleep(0.7)
    fs = store.mount(dataset="d", options="allow_other,dev,suid,nosupervise")
    back.join()
    assert get(fs + "/file") == b"old"


@pytest.mark.races
def test_who_lists_the_snapshots_finds_all_while_the_dataset_gets_other_names(fs, store, standing):
    point, problems = os.path.dirname(fs), []
    for number in range(3):
        os.mkdir(f"{fs}/.snapshots/{number}")
    done = threading.Event()

    def look():
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=standing)
        try:
            while not done.is_set():
                assert sorted(os.listdir(fd)) == ["0", "1", "2"]
        except (OSError, AssertionError) as problem:
            problems.append(problem)
        os.close(fd)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    for _ in range(400 // program.scale()):
        os.rename(point + "/d", point + "/e")
        os.rename(point + "/e", point + "/d")
    done.set()
    for looker in lookers:
        looker.join()
    assert not problems, problems


def waiting(point):
    """How many requests the kernel has not got an answer for."""
    return int(procs.read(f"{procs.CONNECTIONS}/{procs.fuse_mounts(point)[0].device}/waiting"))


def test_a_snapshot_is_destroyed_of_the_dataset_in_which_it_was_found(store):
    """What waits behind a slow snapshot is done after the dataset has got another name, and yet to the same dataset."""
    point = store.mount(env={"CORPUSFS_FAULT": "snapshot-before-write:sleep2000:2"})
    for dataset in ("d", "slow"):
        store.create(dataset)
    os.mkdir(point + "/d/.snapshots/v")
    fd = os.open(point + "/d/.snapshots", os.O_RDONLY | os.O_DIRECTORY)
    os.stat("v", dir_fd=fd)
    outcomes = {}
    calls = {"mkdir": lambda: os.mkdir(point + "/slow/.snapshots/late"), "rename": lambda: os.rename(point + "/d", point + "/other"),
             "rmdir": lambda: os.rmdir("v", dir_fd=fd)}  # fmt: skip
    threads = []
    for name, call in calls.items():
        before = waiting(point)
        threads.append(threading.Thread(target=lambda name=name, call=call: outcomes.update({name: posix.outcome(call)})))
        threads[-1].start()
        procs.poll(lambda name=name, before=before: waiting(point) > before or name in outcomes, 20, f"the daemon has the {name}")
    for thread in threads:
        thread.join()
    os.close(fd)
    assert outcomes == {"mkdir": "ok", "rename": "ok", "rmdir": "ok"}
    assert names(store, "other") == [] and names(store, "slow") == ["late"]


def test_a_snapshot_in_which_everything_was_closed_a_moment_ago_is_destroyed(store):
    """close(2) does not wait until the daemon knows of it."""
    late = ",".join(f"close-before-release:sleep100:{number}" for number in range(1, 100))
    point = store.mount(env={"CORPUSFS_FAULT": late})
    store.create("d")
    put(point + "/d/file", b"content")
    snapshots = point + "/d/.snapshots"
    for number in range(3):
        for name in (f"{number}/file", str(number)):
            os.mkdir(f"{snapshots}/{number}")
            os.close(os.open(f"{snapshots}/{name}", os.O_RDONLY))
            os.rmdir(f"{snapshots}/{number}")
    os.mkdir(snapshots + "/last")
    os.close(os.open(snapshots + "/last/file", os.O_RDONLY))
    cli(store, "dataset", "destroy", "--snapshots", "d")


@pytest.mark.parametrize("what", ["snapshot", "dataset"])
def test_nobody_else_waits_while_one_who_removes_waits_for_a_reader(store, what):
    """Were others held up, the reader would let go only when it is too late. A busy machine may take that long, too: then once more."""
    point = store.mount()
    for dataset in ("d", "other"):
        store.create(dataset)
    victim = f"{point}/d/.snapshots/v" if what == "snapshot" else f"{point}/empty"
    os.mkdir(victim)
    for number in range(5):
        outcome = []
        reader = os.open(victim, os.O_RDONLY | os.O_DIRECTORY)
        before = waiting(point)
        remover = threading.Thread(target=lambda outcome=outcome: outcome.append(posix.outcome(os.rmdir, victim)))
        remover.start()
        procs.poll(lambda before=before, outcome=outcome: waiting(point) > before or outcome, 20, "the daemon has the rmdir")
        os.mkdir(f"{point}/other/.snapshots/{number}")
        os.close(reader)
        remover.join()
        if outcome == ["ok"]:
            return
        assert outcome == ["EBUSY"]
    raise AssertionError("it was refused each time")


def test_a_daemon_that_dies_when_a_file_is_closed_has_it(store):
    point = store.mount(env={"CORPUSFS_FAULT": "close-before-release:kill"})
    store.create("d")
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
        handle.flush()
        os.fsync(handle.fileno())
    store.ended(-signal.SIGKILL)
    store.clear()
    point = store.mount()
    os.mkdir(point + "/d/.snapshots/v")
    assert get(point + "/d/.snapshots/v/file") == b"content"
    os.rmdir(point + "/d/.snapshots/v")


@pytest.mark.parametrize("place", ["dir", "root", "root of a mount"])
def test_who_only_looks_keeps_no_snapshot_waiting(store, place):
    """The first listing takes longer than a snapshot waits for anybody, and fails then."""
    store.create("d")
    slow = {"CORPUSFS_FAULT": "list-before-names:sleep12000,list-before-names:eio:2"}
    listed = store.mount(dataset="d", env=slow) if place == "root of a mount" else store.mount(env=slow) + "/d"
    if place == "dir":
        listed += "/dir"
        os.mkdir(listed)
    outcomes = []
    lister = threading.Thread(target=lambda: outcomes.append(posix.outcome(os.listdir, listed)))
    lister.start()
    procs.poll(lambda: unanswered(store), 10, "the listing has begun")
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    lister.join()
    assert outcomes == ["EIO"]


@pytest.mark.parametrize("alone", [True, False])
def test_what_a_listing_of_the_root_tells_is_not_remembered_after_a_rollback(store, alone):
    """It has begun before, and is answered with names and attributes of then, for the kernel to keep. A rollback that waited too long gives up."""
    store.create("d")
    slow = {"CORPUSFS_FAULT": "list-before-names:sleep4000"}
    root = store.mount(dataset="d", env=slow) if alone else store.mount(env=slow) + "/d"
    put(root + "/file", b"old")
    os.mkdir(root + "/.snapshots/v")
    put(root + "/file", b"newer")
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    procs.poll(lambda: not unanswered(store), 10, "all before has ended")
    lister = threading.Thread(target=posix.outcome, args=(os.listdir, handle))
    lister.start()
    procs.poll(lambda: unanswered(store), 10, "the listing has begun")
    result = store.run("-s", store.path, "rollback", "--no-guard", "d@v")
    lister.join()
    wanted = b"old" if result.code == 0 else b"newer"
    assert os.stat("file", dir_fd=handle).st_size == len(wanted)
    assert get(root + "/file") == wanted and os.listdir(root) == ["file"]
    os.close(handle)


def list_where_others_come_first(handle):
    """On a processor that others keep busy, who are preferred: whoever lists runs on when the answer has come, but not at once."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    posix.outcome(os.listdir, handle)


@pytest.fixture
def busy_processor():
    """The last one."""
    loops = "for i in 1 2 3 4; do while :; do :; done & done; wait"
    with subprocess.Popen(["taskset", "--cpu-list", str(max(os.sched_getaffinity(0))), "sh", "-c", loops], process_group=0) as others:
        yield
        os.killpg(others.pid, signal.SIGKILL)


@pytest.mark.parametrize("alone", [True, False])
def test_what_a_listing_told_is_forgotten_by_a_rollback_though_its_caller_did_not_run(store, alone, busy_processor):
    """The kernel notes it when he runs again, after it has heard of the rollback. Nothing is known of the names before."""
    store.create("d")
    slow = {"CORPUSFS_FAULT": "list-before-names:sleep1000"}
    root = store.mount(dataset="d", env=slow) if alone else store.mount(env=slow) + "/d"
    put(root + "/file", b"old")
    os.mkdir(root + "/.snapshots/v")
    put(root + "/file", b"newer")
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    posix.drop_caches()
    procs.poll(lambda: not unanswered(store), 10, "all before has ended")
    lister = threading.Thread(target=list_where_others_come_first, args=(handle,))
    lister.start()
    procs.poll(lambda: unanswered(store), 10, "the listing has begun")
    cli(store, "rollback", "--no-guard", "d@v")
    lister.join()
    try:
        procs.poll(lambda: os.stat("file", dir_fd=handle).st_size == 3, 10, "what it was told is forgotten")
    finally:
        os.close(handle)


@pytest.fixture
def busy(store):
    """A mount whose worker is busy for a while when a snapshot is destroyed."""
    store.create("d")
    return store.mount(env={"CORPUSFS_FAULT": "destroy-before-write:sleep20000"}) + "/d"


def test_a_mount_ends_beside_another_whose_worker_is_busy(busy, store):
    os.mkdir(busy + "/.snapshots/s")
    other = store.mount(options="ro")
    remover = threading.Thread(target=os.rmdir, args=(busy + "/.snapshots/s",))
    remover.start()
    procs.poll(lambda: unanswered(store), 10, "it is being destroyed")
    store.umount(other)
    assert remover.is_alive(), "the other mount has waited for it"
    remover.join()


def unanswered(store):
    """Requests that wait for an answer."""
    return sum(row.get("waiting") or 0 for row in json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"])
