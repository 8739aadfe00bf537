"""The random model (model.py) with snapshots: heads are compared with ext4, and each snapshot with what it was when it was taken.

Of each snapshot two things are kept: a copy on ext4 of the tree as it was, from which rollback, clone and restore know what the head must be,
and a scan with times of the snapshot itself, which may never change. Steps are methods do_*; what a step means for the model is applied
when the product has acknowledged it, so a step that was interrupted leaves either the model before or the model after.
"""

import os
import random
import shutil
import subprocess

from harness import counts, model, posix, procs, program, tree
from harness.snapshots import cli, rows

LIMIT = 5  # snapshots of one dataset; more are destroyed
BYTES = 200000


class SmallGenerator(model.Generator):
    """Files small enough to be copied at each snapshot; set-id bits, other users and open directories are
    the matter of the model without snapshots."""

    def next(self):
        while True:
            operation = super().next()
            if operation[-1] == "alice" or operation[0] in ("fstat", "chown", "mkfifo"):
                continue
            if operation[0] != "open" or operation[3] & (os.O_RDWR | os.O_WRONLY):
                break
        if operation[0] in ("open", "mkdir", "mkfifo", "chmod"):
            operation[-1] &= 0o777
        return operation

    def offset(self):
        return super().offset() % BYTES

    def length(self):
        return super().length() % 60000 + 1


class Snapshot:
    """`copied` is a directory on ext4, `seen` the scan of the snapshot when it was new."""

    def __init__(self, copied, seen=None):
        self.copied, self.seen = copied, seen


class Model:
    """Datasets of a store, `heads` {name: directory on ext4} and `snapshots` {(dataset, name): Snapshot}. The store is mounted at `point`."""

    def __init__(self, store, reference, seed):
        self.store, self.reference, self.chance = store, reference, random.Random(seed)
        self.point, self.count, self.log = store.area + "/mnt", 0, []
        self.heads, self.snapshots, self.duels, self.generators = {}, {}, {}, {}

    # --- heads

    def directory(self):
        self.count += 1
        return f"{self.reference}/{self.count}"

    def copy(self, source):
        target = self.directory()
        subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True, stdin=subprocess.DEVNULL, timeout=50)
        return target

    def create(self, name):
        self.store.create(name)
        self.heads[name] = self.directory()
        os.mkdir(self.heads[name], 0o755)
        for root in (f"{self.point}/{name}", self.heads[name]):
            os.chmod(root, 0o777)

    def duel(self, dataset):
        if dataset not in self.duels:
            self.duels[dataset] = model.Duel(f"{self.point}/{dataset}", self.heads[dataset], f"{self.store.area}/operations.{self.count}.{dataset}")
            generator = self.generators[dataset] = SmallGenerator(self.chance.random())
            for folder, folders, files in os.walk(self.heads[dataset]):
                inside = os.path.relpath(folder, self.heads[dataset]) + "/"
                generator.directories += [(inside + name).removeprefix("./") for name in folders]
                generator.files += [(inside + name).removeprefix("./") for name in files]
        return self.duels[dataset]

    def close(self, dataset=None):
        """Ends the open files of one or all datasets."""
        for name in [dataset] if dataset else list(self.duels):
            duel = self.duels.pop(name, None)
            for player in duel.players if duel else ():
                for fd in player.slots.values():
                    posix.outcome(os.close, fd)
                player.slots = {}

    def work(self, dataset=None, count=None):
        """Random operations on a head."""
        dataset = dataset or self.chance.choice(sorted(self.heads))
        self.duel(dataset).run(self.generators[dataset], count or self.chance.randrange(5, 40))

    # --- checks

    def head_differences(self, dataset):
        return tree.differences(tree.scan(f"{self.point}/{dataset}", times=False), tree.scan(self.heads[dataset], times=False))

    def check_head(self, dataset):
        found = self.head_differences(dataset)
        assert not found, f"head of {dataset} (left) and ext4 differ after {self.log[-8:]}:\n" + "\n".join(found)

    def look(self, dataset, name):
        """The scan of a snapshot, which is compared with the copy on ext4 when it is new."""
        path, snapshot = f"{self.point}/{dataset}/.snapshots/{name}", self.snapshots[dataset, name]
        if snapshot.seen is None:
            found = tree.differences(tree.scan(path, times=False), tree.scan(snapshot.copied, times=False))
            assert not found, f"{dataset}@{name} (left) is not what was there when it was taken, after {self.log[-8:]}:\n" + "\n".join(found)
            snapshot.seen = tree.scan(path)
        found = tree.differences(snapshot.seen, tree.scan(path))
        assert not found, f"{dataset}@{name} changed (left: as it was), after {self.log[-8:]}:\n" + "\n".join(found)

    def names(self):
        return sorted(self.heads), sorted(self.snapshots)

    def told(self):
        """What the store says there is."""
        heads = sorted(row["name"] for row in rows(self.store, "dataset", "list"))
        return heads, sorted((row["dataset"], row["name"]) for row in rows(self.store, "snapshot", "list"))

    def check(self):
        assert self.told() == self.names(), f"after {self.log[-8:]}"
        for dataset in self.heads:
            self.check_head(dataset)
        for dataset, name in self.snapshots:
            self.look(dataset, name)

    # --- steps: what to run, and what the model is afterwards

    def plan(self, kind):
        """(command, apply): arguments of the program, and a function that does the same to the model; None when there is nothing to do it with."""
        return getattr(self, "plan_" + kind)()

    def fresh(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def plan_snapshot(self):
        datasets = sorted(self.heads)
        chosen = self.chance.sample(datasets, self.chance.choice((1, 1, 2)) if len(datasets) > 1 else 1)
        name = self.fresh("s")

        def apply(_):
            for dataset in chosen:
                self.snapshots[dataset, name] = Snapshot(self.copy(self.heads[dataset]))

        return ["snapshot", "create", *(f"{dataset}@{name}" for dataset in chosen)], apply

    def choose(self):
        return self.chance.choice(sorted(self.snapshots)) if self.snapshots else (None, None)

    def plan_rename(self):
        dataset, name = self.choose()
        if not dataset:
            return None
        new = self.fresh("r")

        def apply(_):
            self.snapshots[dataset, new] = self.snapshots.pop((dataset, name))

        return ["snapshot", "rename", f"{dataset}@{name}", new], apply

    def plan_destroy(self):
        dataset, name = self.choose()
        if not dataset:
            return None

        def apply(_):
            shutil.rmtree(self.snapshots.pop((dataset, name)).copied)

        return ["snapshot", "destroy", f"{dataset}@{name}"], apply

    def plan_rollback(self):
        dataset, name = self.choose()
        if not dataset:
            return None
        guard = self.chance.random() < 0.5

        def apply(told):
            """The guard's name is known from the answer, or from the list when there was none."""
            self.close(dataset)
            if guard:
                found = [other for at, other in told if at == dataset and (at, other) not in self.snapshots]
                assert len(found) == 1 and found[0].startswith("before-rollback-"), f"no guard: {told}"
                self.snapshots[dataset, found[0]] = Snapshot(self.heads[dataset])
            self.heads[dataset] = self.copy(self.snapshots[dataset, name].copied)

        return ["rollback", *([] if guard else ["--no-guard"]), f"{dataset}@{name}"], apply

    def plan_restore(self):
        """One path at the dataset's root; hard links that lead out of it are cut."""
        dataset, name = self.choose()
        entries = sorted(os.listdir(self.snapshots[dataset, name].copied)) if dataset else []
        if not entries:
            return None
        path = self.chance.choice(entries)

        def apply(_):
            self.close(dataset)
            target = f"{self.heads[dataset]}/{path}"
            if os.path.isdir(target) and not os.path.islink(target):
                shutil.rmtree(target)
            elif os.path.lexists(target):
                os.unlink(target)
            subprocess.run(["cp", "-a", f"{self.snapshots[dataset, name].copied}/{path}", target], check=True, stdin=subprocess.DEVNULL, timeout=50)

        return ["rollback", f"{dataset}@{name}", "--path", path], apply

    def plan_clone(self):
        dataset, name = self.choose()
        if not dataset or len(self.heads) >= 4:
            return None
        new = self.fresh("c")

        def apply(_):
            self.heads[new] = self.copy(self.snapshots[dataset, name].copied)

        return ["clone", f"{dataset}@{name}", new], apply

    def plan_dataset_rename(self):
        dataset, new = self.chance.choice(sorted(self.heads)), self.fresh("d")

        def apply(_):
            self.close(dataset)
            self.heads[new] = self.heads.pop(dataset)
            for at, name in [key for key in self.snapshots if key[0] == dataset]:
                self.snapshots[new, name] = self.snapshots.pop((at, name))

        return ["dataset", "rename", dataset, new], apply

    def plan_dataset_destroy(self):
        dataset = self.chance.choice(sorted(self.heads))
        if len(self.heads) < 3:
            return None

        def apply(_):
            self.close(dataset)
            self.heads.pop(dataset)
            for key in [key for key in self.snapshots if key[0] == dataset]:
                self.snapshots.pop(key)

        return ["dataset", "destroy", "--snapshots", dataset], apply

    KINDS = {"snapshot": 6, "rename": 2, "destroy": 3, "rollback": 3, "restore": 2, "clone": 2, "dataset_rename": 1, "dataset_destroy": 1}

    def step(self, kind=None):
        """One random step, by the command or by plain tools where there are some, acknowledged and checked in part."""
        kind = kind or self.chance.choices(list(self.KINDS), list(self.KINDS.values()))[0]
        if kind == "snapshot" and len(self.snapshots) >= LIMIT * len(self.heads):
            kind = "destroy"
        found = self.plan(kind)
        if not found:
            return
        command, apply = found
        self.prepare(kind, command)
        self.log.append(command)
        if not self.by_tool(kind, command):
            cli(self.store, *command)
        apply(self.told()[1])
        if kind == "snapshot":
            for dataset, name in list(self.snapshots):
                if name == command[2].partition("@")[2]:
                    self.look(dataset, name)
        if kind == "restore":  # the kernel may remember link counts of names outside of the path for a second
            dataset = command[1].partition("@")[0]
            procs.poll(lambda: self.head_differences(dataset) == [], 20 * program.scale(),
                       f"the head of {dataset} is as it should be after {self.log[-8:]}", 0.05)  # fmt: skip
        if kind in ("rollback", "restore", "clone", "dataset_rename"):
            target = command[-1] if kind in ("clone", "dataset_rename") else next(word for word in command if "@" in word).partition("@")[0]
            self.check_head(target)

    def prepare(self, kind, command):
        """Open files are left open for a snapshot; what replaces a head or needs it idle ends them."""
        if kind in ("dataset_rename", "dataset_destroy", "rollback", "restore"):
            for dataset in list(self.duels):
                if any(word.partition("@")[0] == dataset for word in command):
                    self.close(dataset)

    def by_tool(self, kind, command):
        if self.chance.random() < 0.5 or kind not in ("snapshot", "rename", "destroy") or len(command) > 4:
            return False
        dataset, _, name = command[2].partition("@")
        base = f"{self.point}/{dataset}/.snapshots/"
        if kind == "snapshot" and len(command) == 3:
            os.mkdir(base + name)
        elif kind == "rename":
            os.rename(base + name, base + command[3])
        elif kind == "destroy":
            os.rmdir(base + name)
        else:
            return False
        return True

    # --- ends and crashes

    def remount(self, env=None):
        self.close()
        if self.store.points:
            self.store.umount()
        self.store.mount(self.point, env=env)

    def sync(self):
        cli(self.store, "sync")

    def crash(self, command, apply):
        """Mounts again after a step that may have been interrupted; heads were synced before it. Checks that the step was done wholly or not
        at all and that nothing else changed; returns whether it was done, or None where both look the same."""
        self.log.append(["interrupted", *command])
        self.close()
        self.store.mount(self.point)
        self.sweep()
        told, done = self.told(), None
        if told != self.names():
            done = True
        elif command[0] == "rollback":
            dataset, name = next(word for word in command if "@" in word).split("@")
            now, target = tree.scan(f"{self.point}/{dataset}", times=False), tree.scan(self.snapshots[dataset, name].copied, times=False)
            done = bool(tree.differences(now, tree.scan(self.heads[dataset], times=False)))
            if not done and ("--path" in command or not tree.differences(now, target)):
                done = None
        else:
            done = False
        if done:
            apply(told[1])
        self.check()
        return done

    def sweep(self):
        """What a killed restore was building stays under a name of its own until the next one (lib/history/restore.h)."""
        for dataset in self.heads:
            for entry in os.scandir(f"{self.point}/{dataset}") if os.path.isdir(f"{self.point}/{dataset}") else ():
                if entry.name.startswith(".corpusfs-restore-"):
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)

    def adopt(self, dataset):
        """After a crash without a sync the head is what it is; the model goes on from there."""
        self.heads[dataset] = self.copy(f"{self.point}/{dataset}")


def died(store):
    """The daemon was killed, or killed itself at a fault point."""
    store.ended(-9)
    counts.note({"kills": 1})
    store.clear()
