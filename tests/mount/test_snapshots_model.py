"""The random model with snapshots (harness/model_snapshots.py): across remounts, and across kill -9 in the middle of every operation."""

import os
import random
import subprocess
import threading

import pytest

from harness import posix, procs, program
from harness.model_snapshots import Model, died

OPERATIONS = 120


@pytest.fixture
def made(run, store):
    """A function that makes the model for a seed, with two datasets and some snapshots."""
    models = []

    def make(seed, steps=3):
        store.mount(store.area + "/mnt")
        model = Model(store, run.reference.directory(), seed)
        models.append(model)
        for name in ("d", "e"):
            model.create(name)
            model.work(name, OPERATIONS // program.scale())
        for _ in range(steps):
            model.step("snapshot")
            model.work()
        return model

    yield make
    if models:
        store.ok("-s", store.path, "check")
    for model in models:
        model.close()


@pytest.mark.sanitize
@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(6))
def test_random_snapshots(made, seed, others, steps):
    model = made(seed + others)
    for number in range(3 * steps):
        for _ in range(10):
            model.work()
            model.step()
        model.check()
        if number % 3 == 1:
            posix.drop_caches()
        else:
            model.remount()
        model.check()
        result = model.store.run("-s", model.store.path, "gc")
        assert result.code in (program.OK, program.BUSY), result
        model.check()


# Where the daemon dies, in which step, and at which pass of the point.
POINTS = [
    ("snapshot-before-write", "snapshot", False), ("snapshot-after-write", "snapshot", True),
    ("destroy-before-write", "destroy", False), ("destroy-after-write", "destroy", True),
    ("rollback-before-write", "rollback", False), ("rollback-after-write", "rollback", True),
    ("clone-before-write", "clone", False), ("clone-after-write", "clone", True),
    ("restore-before-exchange", "restore", False), ("restore-after-exchange", "restore", None),
    ("destroy-before-write", "dataset_destroy", False), ("destroy-after-write", "dataset_destroy", True),
]  # fmt: skip


def plan(model, kind):
    """A step of this kind that has something to do."""
    for _ in range(50):
        found = model.plan(kind)
        if found:
            return found
        model.step("clone" if kind == "dataset_destroy" else "snapshot")
    raise AssertionError(f"no {kind} is possible")


@pytest.mark.sanitize
@pytest.mark.kinds("point", "kind")
@pytest.mark.parametrize("mounted", [True, False], ids=["mounted", "not mounted"])
@pytest.mark.parametrize("point, kind, done", POINTS, ids=[f"{point}-{kind}" for point, kind, _ in POINTS])
def test_kill_at_a_fault_point(made, store, point, kind, done, mounted, steps):
    """What was synced or acknowledged is there, and the step was done wholly or not at all."""
    model = made(POINTS.index((point, kind, done)) * 2 + mounted, 2)
    for _ in range(steps):
        command, apply = plan(model, kind)
        model.close()
        store.umount()
        if mounted:
            store.mount(model.point, env={"CORPUSFS_FAULT": point})
            result = store.run("-s", store.path, *command)
            died(store)
        else:
            result = store.run("-s", store.path, *command, env={"CORPUSFS_FAULT": point})
        assert result.code != 0, f"{command} did not come to {point}"
        assert model.crash(command, apply) in (done, None) or done is None
        model.work()
        model.step()
        model.check()


CONTENT = ["commit-before-store", "commit-before-write", "commit-after-write", "chunks-before-ingest", "chunks-after-ingest", "kv.ingest.before",
           "kv.ingest.after", "transaction-before-write"]  # fmt: skip


@pytest.mark.sanitize
@pytest.mark.kinds("point")
@pytest.mark.parametrize("point", CONTENT)
def test_kill_while_a_snapshot_brings_content_in(made, store, point, steps):
    """New content of open files is committed by the snapshot itself; the daemon dies in that."""
    model = made(300 + CONTENT.index(point), 2)
    for number in range(2 * steps):
        model.remount(env={"CORPUSFS_FAULT": f"{point}:kill:{1 + number}"})
        command, apply = model.plan("snapshot")
        fds, data = [], random.Random(number).randbytes(700000)

        def put(root):
            fds.append(os.open(root + "/fresh", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644))
            assert os.pwrite(fds[-1], data, 0) == len(data)

        for dataset, reference in model.heads.items():
            for root in (f"{model.point}/{dataset}", reference):
                told = posix.outcome(put, root)
                if told != "ok":  # the mount ends a moment before the process has gone
                    procs.poll(lambda: is_dead(store), 20 * program.scale(), f"the daemon has died, for {told}")
        acknowledged = not is_dead(store) and store.run("-s", store.path, *command).code == 0
        # A command that finds the daemon dead takes the snapshot itself, of what was committed.
        by_daemon = acknowledged and not is_dead(store)
        for fd in fds:
            posix.outcome(os.close, fd)
        if not acknowledged:
            procs.poll(lambda: is_dead(store), 20 * program.scale(), "the daemon has died")
            died(store)
        else:
            store.kill()
        resume(model, command, apply, acknowledged, whole=by_daemon or not acknowledged)


def is_dead(store):
    return not procs.alive(store.pid)


def resume(model, command, apply, acknowledged, whole=True):
    """After a crash with changes that were not synced: heads are what they are, snapshots are exact. Not `whole`: the new ones
    lack what was lost, and go."""
    model.close()
    model.store.mount(model.point)
    told, old = model.told(), set(model.snapshots)
    if told != model.names():
        apply(told[1])
        assert told == model.names(), f"{command} was done in part: {told}"
    else:
        assert not acknowledged, f"{command} was acknowledged and is gone"
    for dataset, name in [] if whole else set(model.snapshots) - old:
        model.store.ok("-s", model.store.path, "snapshot", "destroy", f"{dataset}@{name}")
        del model.snapshots[dataset, name]
    for dataset, name in model.snapshots:
        model.look(dataset, name)
    for dataset in model.heads:
        model.adopt(dataset)
    model.check()


@pytest.mark.sanitize
@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(400, 404))
def test_kill_9_at_any_time(made, store, seed, others, steps):
    """While a program writes and steps are taken; every snapshot that was acknowledged is exact, an interrupted step is done or not done."""
    seed += others
    model = made(seed)
    chance = random.Random(seed)
    for _ in range(5 * steps):
        for _ in range(chance.randrange(3)):
            model.work()
            model.step()
        kind = chance.choice(["snapshot", "snapshot", "destroy", "rename", "clone", "rollback", "dataset_rename"])
        command, apply = model.plan(kind) or model.plan("snapshot")
        model.sync()
        model.close()
        with subprocess.Popen([store.binary, "-s", store.path, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env=program.environment(store.run_mark, store.logs)) as process:  # fmt: skip
            killer = threading.Timer(chance.uniform(0, 0.03 * program.scale()), store.die)
            killer.start()
            acknowledged = process.wait(50 * program.scale()) == 0
            killer.join()
        died(store)
        done = model.crash(command, apply)
        assert done is not False or not acknowledged, f"{command} was acknowledged and is not done"
