"""The daemon is killed at random moments under load: writers, snapshots, rollbacks, and whatever else works on the store meanwhile."""

import os
import random
import subprocess

import pytest

from harness import program, tree
from harness.crash import Stage, work_for_some_time

KILLS = 8


@pytest.fixture
def stage(run, area, seed):
    made = Stage(area, run, seed, disk=False)
    yield made
    made.close()


class Others:
    """Commands beside the witnesses, each of which may be the one in which the daemon dies: imports, clones, destroys, collections."""

    def __init__(self, stage, source):
        self.stage, self.source, self.count, self.imported, self.process, self.command = stage, source, 0, [], None, None

    def begin(self):
        self.count += 1
        kind = self.stage.chance.choice(["import", "import", "gc", "destroy", "clone"])
        name = self.stage.chance.choice(self.imported) if self.imported else None
        if kind == "import" or (kind != "gc" and not name):
            self.command = ["import", "--all", self.source, f"i{self.count}"]
        elif kind == "clone":
            self.command = ["clone", f"{name}@made", f"i{self.count}"]
        elif kind == "destroy":
            self.command = ["dataset", "destroy", "--snapshots", name]
        else:
            self.command = ["gc"]
        store = self.stage.store
        self.process = subprocess.Popen([store.binary, "-s", store.path, *self.command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env=program.environment(store.run_mark, store.logs))  # fmt: skip

    def end(self):
        """After the daemon is mounted again: what was acknowledged is done; what was not may be done, and is cleared away."""
        done, store = self.process.wait(60) == 0, self.stage.store
        kind, name = self.command[0], self.command[-1]
        if kind == "dataset":
            self.imported.remove(name)
            assert not done or not os.path.exists(f"{self.stage.point}/{name}"), f"{name} was destroyed, and is there"
            store.run("-s", store.path, *self.command)
        elif kind in ("import", "clone") and done:
            # An import says that it is done when all is on disk.
            found = tree.differences(tree.scan(f"{self.stage.point}/{name}"), tree.scan(self.source))
            assert not found, "\n".join(found)
            store.ok("-s", store.path, "snapshot", "create", f"{name}@made")
            self.imported.append(name)
        elif kind in ("import", "clone"):
            store.run("-s", store.path, "dataset", "destroy", "--snapshots", name)


def make_source(path):
    chance = random.Random(5)
    for number in range(60):
        os.makedirs(f"{path}/{number % 7}", exist_ok=True)
        with open(f"{path}/{number % 7}/{number}", "wb") as handle:
            handle.write(chance.randbytes(int(2 ** chance.uniform(3, 19))))


@pytest.mark.races
@pytest.mark.soak
@pytest.mark.timeout(180)
def test_kill_9_under_load(stage, area, rounds):
    make_source(area + "/source")
    others = Others(stage, area + "/source")
    for _ in range(KILLS * rounds * rounds // program.scale()):
        stage.load()
        others.begin()
        work_for_some_time(stage.chance)
        stage.kill()
        stage.stop()
        stage.mount()
        stage.check()
        others.end()
    print(stage.counts)
