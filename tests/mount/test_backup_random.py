"""Random histories of a dataset, backed up by random types, forgotten and pruned by either program, and restored at every point."""

import os
import random

import pytest

from harness import tree
from harness.repository import restic, restic_check

STEPS = 10


class History:
    """Of dataset d, mounted at `point`. What a backup or a snapshot has to give back is what a program saw in the mount when it was made."""

    def __init__(self, repository, store, area, seed):
        self.repository, self.area, self.chance = repository, area, random.Random(seed)
        self.root = store.mount() + "/d"
        self.backups, self.snapshots, self.count, self.log = {}, {}, 0, []

    def fresh(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def paths(self, wanted):
        """Below the root, without symlinks; wanted: os.path.isfile or isdir."""
        found = [os.path.join(folder, name) for folder, folders, names in os.walk(self.root) for name in folders + names]
        return sorted(path for path in found if wanted(path) and not os.path.islink(path))

    def folder(self):
        return self.chance.choice([self.root, *self.paths(os.path.isdir)])

    def new(self):
        return f"{self.folder()}/{self.fresh('n')}"

    # --- what changes a dataset: each may find nothing to do

    def write(self, path):
        with open(path, self.chance.choice(["ab", "wb", "r+b"])) as handle:
            if self.chance.random() < 0.4:
                handle.seek(self.chance.randrange(400_000))
            handle.write(self.chance.randbytes(self.chance.choice([0, 10, 5000, 200_000])))

    def create(self, _path):
        with open(self.new(), "wb") as handle:
            handle.write(self.chance.randbytes(self.chance.choice([0, 100, 3000, 150_000])))

    def mkdir(self, _path):
        os.mkdir(self.new())

    def symlink(self, _path):
        os.symlink(self.fresh("to"), self.new())

    def link(self, path):
        os.link(path, self.new())

    def remove(self, path):
        os.remove(path)

    def rename(self, path):
        """Sometimes over what is there."""
        os.rename(path, self.new() if self.chance.random() < 0.6 else self.chance.choice(self.paths(os.path.isfile)))

    def truncate(self, path):
        os.truncate(path, self.chance.randrange(500_000))

    def attribute(self, path):
        if self.chance.random() < 0.3 and os.listxattr(path):
            os.removexattr(path, os.listxattr(path)[0])
        else:
            os.setxattr(path, "user." + self.chance.choice("xyz"), self.chance.randbytes(self.chance.choice([1, 300])))

    def owner(self, path):
        os.chown(path, self.chance.randrange(3), self.chance.randrange(3))
        os.chmod(path, self.chance.choice([0o600, 0o755, 0o4711]))

    def swap(self, path):
        """The content goes to a new file, which takes the name: as editors write."""
        with open(path, "rb") as old, open(path + ".new", "wb") as new:
            new.write(old.read())
        os.replace(path + ".new", path)

    FILES = ["write", "write", "create", "create", "link", "link", "remove", "rename", "truncate", "attribute", "owner", "swap", "mkdir", "symlink"]

    def move_folder(self):
        """Under another one, or to another name; never into itself."""
        path, target = self.chance.choice(self.paths(os.path.isdir)), self.new()
        if not target.startswith(path + "/"):
            os.rename(path, target)

    def change(self):
        kind = self.chance.choice(self.FILES + ["move_folder"] * 2)
        self.log.append(kind)
        if kind == "move_folder":
            return self.move_folder()
        chosen = self.paths(os.path.isfile)
        return getattr(self, kind)(self.chance.choice(chosen)) if chosen else self.create(None)

    # --- the store and the repository

    def run(self, *args):
        self.log.append(args)
        return self.repository.run(*args)

    def store_step(self):
        kind = self.chance.randrange(5)
        if kind < 2:
            name = self.fresh("s")
            self.run("snapshot", "create", "d@" + name)
            self.snapshots[name] = tree.scan(self.root)
        elif kind == 2 and self.snapshots:
            name = self.chance.choice(sorted(self.snapshots))
            self.run("rollback", "d@" + name, *self.chance.choice([[], ["--no-guard"]]))
            assert not (found := tree.differences(self.snapshots[name], tree.scan(self.root))), found
        elif kind == 3 and self.snapshots:
            name = self.chance.choice(sorted(self.snapshots))
            self.run("snapshot", "destroy", "d@" + name)
            del self.snapshots[name]
        else:
            self.run("gc")

    def back_up(self):
        kind = self.chance.choice(["full", "incremental", "incremental", "differential"]) if self.backups else "full"
        self.log.append(kind)
        self.backups[self.repository.backup("d", kind=kind)["backup"]] = tree.scan(self.root)

    def repository_step(self):
        if self.chance.random() < 0.3:
            victim = self.chance.choice(sorted(self.backups))
            fulls = [row["backup"] for row in self.repository.backups() if row["type"] == "full"]
            if len(self.backups) > 1 and [victim] != fulls:
                self.run("backup", "forget", self.repository.path, victim)
                del self.backups[victim]
        if self.chance.random() < 0.3:
            if self.chance.random() < 0.7:
                self.run("backup", "prune", self.repository.path)
            else:
                restic(self.repository, "prune")
            self.log.append("pruned")

    def restore(self, backup):
        target = f"{self.area}/{self.fresh('back')}"
        assert self.repository.json("restore", f"{self.repository.path}@{backup}", target + "/")["same"]
        self.compare(backup, target)

    def compare(self, backup, target):
        found = tree.differences(self.backups[backup], tree.scan(target))
        assert not found, f"{backup} (left) and what came back (right) differ, after {self.log}:\n" + "\n".join(found)


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_random_histories_come_back_whole(repository, store, area, seed, rounds):
    history = History(repository, store, area, seed)
    for _ in range(STEPS * rounds):
        for _ in range(history.chance.randrange(25)):
            history.change()
        if history.chance.random() < 0.5:
            history.store_step()
        history.back_up()
        history.repository_step()
        history.restore(history.chance.choice(sorted(history.backups)))
    assert {row["backup"] for row in repository.backups()} == set(history.backups)
    restic_check(repository)
    for backup in history.backups:
        history.restore(backup)
    last = list(history.backups)[-1]
    restic(repository, "restore", last, "--target", area + "/out")
    history.compare(last, area + "/out/d")
