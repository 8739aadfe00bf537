"""Who goes on when everything goes wrong: daemons that die at once, supervisors that are stopped or killed, commands in the middle."""

import os
import random
import signal
import subprocess
import time

import pytest

from harness import procs, program, succession, tree
from harness.crash import Stage, work_for_some_time
from harness.store import Store
from harness.succession import await_successor, kill, shoot


def crash(store):
    """One that looks like a failure of the daemon's own, after it has answered something."""
    os.listdir(store.points[0])
    kill(store, signal.SIGABRT)


def test_daemons_that_crash_one_after_the_other_are_started_after_longer_and_longer_pauses(supervised, store):
    """They answer something each time, so nobody gives up; but they must not keep a processor busy."""
    with open(supervised + "/file", "wb") as handle:
        handle.write(b"content")
    for _ in range(5):
        crash(store)
    os.listdir(supervised)
    begun = time.monotonic()
    kill(store, signal.SIGABRT)
    assert time.monotonic() - begun > 0.75
    assert procs.read(supervised + "/file") == b"content"


def crash_into_a_pause(store):
    """Until no daemon is there for more than three seconds."""
    for _ in range(7):
        crash(store)
    os.listdir(store.points[0])
    shoot(store, signal.SIGABRT)
    procs.poll(lambda: store.log().count(" died ") == 8, 20, "the supervisor pauses")


def test_a_supervisor_that_is_killed_when_no_daemon_is_there_ends_the_mounts(supervised, store):
    """Nobody waits for ever, and the store can be mounted at once."""
    crash_into_a_pause(store)
    os.kill(store.supervisor, signal.SIGKILL)
    store.ended(-signal.SIGKILL)
    with pytest.raises(OSError):
        os.stat(supervised + "/nothing")
    result = store.run("umount", store.points[0])
    assert result.code == program.FAILED and "is lost" in result.err, result
    store.points.clear()
    assert os.listdir(store.mount()) == ["d"]


def test_commands_wait_for_the_daemon_that_comes_after_a_pause(supervised, store):
    """Here of more than three seconds, which is what they wait for others who have the store."""
    for _ in range(7):
        crash(store)
    os.listdir(store.points[0])
    shoot(store, signal.SIGABRT)
    assert "d" in store.ok("-s", store.path, "dataset", "list")
    assert os.listdir(supervised) == []
    store.ok("umount", store.points[0])
    store.points.clear()
    store.ended()


def test_sigterm_in_a_pause_ends_it_with_everything_on_disk(supervised, store):
    with open(supervised + "/file", "wb") as handle:
        handle.write(b"content")
    crash_into_a_pause(store)
    os.kill(store.supervisor, signal.SIGTERM)
    store.points.clear()
    store.ended()
    assert procs.read(store.mount() + "/d/file") == b"content"


def test_a_supervisor_that_is_stopped_holds_nobody_up_for_ever(supervised, store):
    """It hears of mounts that come and go, when it goes on; the daemon does not wait for it."""
    os.kill(store.supervisor, signal.SIGSTOP)
    try:
        with open(supervised + "/file", "wb") as handle:
            handle.write(b"content")
        assert store.run("umount", store.points[0]).code == program.OK
        assert not procs.fuse_mounts(store.points[0])
        store.points.clear()
    finally:
        os.kill(store.supervisor, signal.SIGCONT)
    store.ended()
    assert procs.read(store.mount() + "/d/file") == b"content"


def test_umount_returns_when_the_supervisor_has_gone(supervised, store):
    """It has files of the store open, too, whose disk may be unmounted next."""
    supervisor, daemon = store.supervisor, store.pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        command = store.begin("umount", store.points[0])
        procs.poll(lambda: not procs.alive(daemon), 30, "the daemon ends")
        assert command.poll() is None
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert command.wait(20) == 0 and not procs.alive(supervisor)
    store.points.clear()
    store.ended()


def test_a_daemon_that_dies_in_the_middle_of_an_umount_is_followed_and_the_umount_ends_well(store):
    point = store.mount(options="allow_other,supervise", env={"CORPUSFS_FAULT": "mount-after-umount"})
    store.create("d")
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
    assert store.run("umount", point).code == program.OK
    store.points.clear()
    store.ended()
    assert procs.read(store.mount() + "/d/file") == b"content"


@pytest.mark.sanitize
def test_umount_waits_for_the_end_also_if_another_mount_has_got_the_number(store, area):
    """Device numbers of mounts are given away at once; the daemon took the next mount with its number for its own, which went on."""
    point = store.mount(options="allow_other,supervise", env={"CORPUSFS_FAULT": "mount-after-umount:sleep3000"})
    number, daemon, supervisor, others = os.stat(point).st_dev, store.pid, store.supervisor, []
    os.kill(supervisor, signal.SIGSTOP)
    command = store.begin("umount", point)
    try:
        procs.poll(lambda: not procs.fuse_mounts(point), 30, "the kernel has unmounted it")
        while number not in others:
            other = f"{area}/other{len(others)}"
            os.mkdir(other)
            subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True, timeout=60)
            others.append(os.stat(other).st_dev)
            assert len(others) < 100
        procs.poll(lambda: not procs.alive(daemon), 30, "the daemon ends")
        with pytest.raises(subprocess.TimeoutExpired):
            command.wait(2)
    finally:
        os.kill(supervisor, signal.SIGCONT)
        for place in range(len(others)):
            subprocess.run(["umount", f"{area}/other{place}"], check=True, timeout=60)
    assert command.wait(20) == 0 and not procs.alive(supervisor)
    store.points.clear()
    store.ended()


def test_a_daemon_that_dies_while_its_supervisor_is_stopped_is_followed_afterwards(supervised, store):
    with open(supervised + "/file", "wb") as handle:
        handle.write(b"content")
    os.kill(store.supervisor, signal.SIGSTOP)
    before = shoot(store)
    os.kill(store.supervisor, signal.SIGCONT)
    await_successor(store, before)
    assert procs.read(supervised + "/file") == b"content"


@pytest.fixture
def stage(run, area, seed):
    succession.needed()
    made = Stage(area, run, seed, disk=False, options="allow_other,dev,suid,supervise", fails=False)
    yield made
    made.close()


@pytest.mark.soak
@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_the_daemon_dies_in_the_middle_of_commands(stage, seed, rounds):
    """Snapshots, rollbacks, clones, destroys and collections beside witnesses, who meet no error: what write(2) accepted is there."""
    store, chance, snapshots = stage.store, random.Random(seed), []
    store.create("r")
    kept = f"{stage.point}/r/kept"
    with open(kept, "wb") as handle:
        handle.write(b"kept")
    store.ok("-s", store.path, "snapshot", "create", "r@first")
    os.makedirs(store.area + "/source/dir")
    with open(store.area + "/source/dir/file", "wb") as handle:
        handle.write(random.Random(1).randbytes(300000))
    stage.load()
    for turn in range(10 * rounds // program.scale()):
        with open(f"{stage.point}/r/new{turn}", "wb") as handle:
            handle.write(b"new")
        command = chance.choice([["snapshot", "create", f"d@own{turn}", f"e@own{turn}"], ["rollback", "--no-guard", "r@first"], ["gc"], ["sync"],
                                 ["clone", "r@first", f"c{turn}"], ["import", "--all", store.area + "/source", f"i{turn}"],
                                 ["snapshot", "destroy", *snapshots[:1]] if snapshots else ["gc"]])  # fmt: skip
        begun = store.begin("-s", store.path, *command)
        work_for_some_time(chance, 0.1)
        kill(store)
        done = begun.wait(60) == 0
        if command[:2] == ["snapshot", "create"] and done:
            snapshots.append(f"d@own{turn}")
        if command[:2] == ["snapshot", "destroy"]:
            snapshots = snapshots[1:]
        if command[0] == "rollback" and done:
            assert os.listdir(os.path.dirname(kept)) == ["kept"]
        if command[0] == "import" and done:
            assert not tree.differences(tree.scan(f"{stage.point}/i{turn}"), tree.scan(store.area + "/source"))
        assert procs.read(kept) == b"kept"
        if not all(witness.working() for witness in stage.witnesses.values()):
            stage.load()
    for witness in stage.witnesses.values():
        witness.stop()
    stage.check(accepted=True)
    for snapshot in snapshots:
        assert store.run("-s", store.path, "snapshot", "show", snapshot).code == 0


def tries(store):
    """The daemon is killed, and the next ones do not go on: what the first two of them say."""
    store.expected.append(" not-resumed ")
    shoot(store)
    return procs.poll(lambda: [line for line in store.log().splitlines() if " not-resumed " in line][1:], 30 * program.scale(), "they try")


def test_a_store_that_is_not_there_is_waited_for(run, area):
    """Its filesystem was taken away, and comes back."""
    succession.needed()
    here, there = area + "/here", area + "/there"
    os.mkdir(here)
    os.mkdir(there)
    subprocess.run(["mount", "--bind", here, there], check=True, timeout=60)
    store = Store(area, run.mark, run.home, path=there + "/store").init()
    try:
        point = store.mount(area + "/mnt")
        store.create("d")
        with open(point + "/d/file", "wb") as handle:
            handle.write(b"content")
        subprocess.run(["umount", "-l", there], check=True, timeout=60)
        store.path = here + "/store"
        assert "cannot open the store" in tries(store)[0]
        subprocess.run(["mount", "--bind", here, there], check=True, timeout=60)
        assert procs.read(point + "/d/file") == b"content"
        store.path = there + "/store"
        store.close()
    finally:
        store.clear()
        procs.detach(there)


def test_a_mount_that_cannot_go_on_for_now_is_tried_again(store):
    succession.needed()
    store.create("d")
    store.mount(dataset="d", options="supervise", env={"CORPUSFS_FAULT": "mount-resume:enomem"})
    assert "cannot go on yet" in tries(store)[0]
    os.kill(store.supervisor, signal.SIGKILL)
    store.ended(-signal.SIGKILL)
    store.clear()
