"""Random histories (combinations.py), continued: what is done to a store as a whole, and its ends."""

import json
import os
import shutil
import subprocess
import tarfile

from harness import counts, program, rot
from harness.combinations import Dataset, File, Stopped, World, files_below
from harness.repository import SECRETS
from harness.snapshots import rows

LIMIT = 8  # datasets; and snapshots for each


class Steps(World):
    """Steps are do_*; each does something that may not fail, or says what may."""

    # --- snapshots and datasets

    def new_dataset(self, name, contents=None):
        self.heads[name] = Dataset(contents)

    def do_create(self):
        if len(self.heads) < LIMIT:
            name = self.fresh("d")
            self.run("dataset", "create", name)
            self.new_dataset(name)

    def settle_some(self, datasets):
        for dataset in datasets:
            self.heads[dataset].settle()

    def do_snapshot(self):
        if len(self.snapshots) > LIMIT * len(self.heads):
            return self.do_destroy()
        chosen = self.chance.sample(sorted(self.heads), min(len(self.heads), self.chance.choice((1, 1, 2))))
        name = self.fresh("s")
        result = self.run("snapshot", "create", *(f"{dataset}@{name}" for dataset in chosen), codes=self.codes())
        if result.code == 0:
            self.settle_some(chosen)
            for dataset in chosen:
                self.snapshots[dataset, name] = self.heads[dataset].contents()
        return None

    def choose(self):
        return self.chance.choice(sorted(self.snapshots)) if self.snapshots else None

    def do_destroy(self):
        place = self.choose()
        if place:
            result = self.run("snapshot", "destroy", "@".join(place), codes=(0, program.BUSY))
            assert (result.code != 0) == (place in self.holds) or (result.code != 0 and place == self.reading), result
            if result.code == 0:
                del self.snapshots[place]

    def do_hold(self):
        place = self.choose()
        if place in self.holds:
            held = [row["holds"] for row in rows(self.store, "snapshot", "list") if (row["dataset"], row["name"]) == place][0]
            for tag in held:
                self.run("snapshot", "release", "@".join(place), tag)
            self.holds.remove(place)
        elif place:
            self.run("snapshot", "hold", "@".join(place), "mine")
            self.holds.add(place)

    def relist(self, dataset):
        """Snapshots that a command took or let go."""
        told = {(row["dataset"], row["name"]): row["holds"] for row in rows(self.store, "snapshot", "list") if row["dataset"] == dataset}
        for place in [place for place in self.snapshots if place[0] == dataset and place not in told]:
            assert place in self.holds, f"{place} is gone"
            del self.snapshots[place]
            self.holds.discard(place)
        new = [place for place in told if place not in self.snapshots]
        self.holds |= {place for place in told if told[place]}
        return new

    def replace_head(self, dataset, contents, guarded):
        """The guard keeps what was there."""
        new = self.relist(dataset)
        assert len(new) == guarded, f"guards: {new}"
        for place in new:
            self.snapshots[place] = self.heads[dataset].contents()
        limited = self.heads[dataset].limited
        self.new_dataset(dataset, contents)
        self.heads[dataset].limited = limited

    def do_rollback(self):
        place = self.choose()
        if place:
            guarded = self.chance.random() < 0.5
            result = self.run("rollback", *([] if guarded else ["--no-guard"]), "@".join(place), codes=self.codes())
            if result.code == 0:
                self.replace_head(place[0], self.snapshots[place], guarded)

    def do_rollback_path(self):
        place = self.choose()
        paths = sorted(self.snapshots[place]) if place else []
        if not paths:
            return
        path, head = self.chance.choice(paths), self.heads[place[0]]
        if any(other.startswith(path + "/") or path.startswith(other + "/") for other in head.names):
            return
        result = self.run("rollback", "@".join(place), "--path", path, codes=self.codes())
        if result.code == 0:
            self.new_names(place[0], {path: self.snapshots[place][path]})

    def new_names(self, dataset, contents):
        """Files that came as new ones."""
        for path, data in contents.items():
            self.heads[dataset].names[path] = File(data)
        self.heads[dataset].named()

    def do_clone(self):
        place = self.choose()
        if place and len(self.heads) < LIMIT:
            name = self.fresh("c")
            self.run("clone", "@".join(place), name)
            self.new_dataset(name, self.snapshots[place])

    def do_dataset_destroy(self):
        dataset = self.dataset()
        if len(self.heads) < 3:
            return
        held = any(place[0] == dataset and place in self.holds for place in self.snapshots)
        result = self.run("dataset", "destroy", "--snapshots", dataset, codes=(0, program.BUSY) if held else (0,))
        if result.code == 0:
            del self.heads[dataset]
            for place in [place for place in self.snapshots if place[0] == dataset]:
                del self.snapshots[place]
                self.holds.discard(place)

    def do_rename_dataset(self):
        old, new = self.dataset(), self.fresh("r")
        self.run("dataset", "rename", old, new)
        self.heads[new] = self.heads.pop(old)
        for place in [place for place in self.snapshots if place[0] == old]:
            self.snapshots[new, place[1]] = self.snapshots.pop(place)
            if place in self.holds:
                self.holds.remove(place)
                self.holds.add((new, place[1]))

    def do_set(self):
        dataset = self.dataset()
        self.run("dataset", "set", dataset, "--level", str(self.chance.choice((0, 1, 3, 9))))
        self.heads[dataset].limited = self.chance.random() < 0.2
        self.run("dataset", "set", dataset, "--quota", "3M" if self.heads[dataset].limited else "none")

    # --- in and out

    def do_import(self):
        """Files and directories, or an archive; under a directory that nobody else writes to."""
        dataset, source = self.dataset(), f"{self.store.area}/{self.fresh('import')}"
        contents = {self.name().replace("/", "_"): self.bytes(self.length()) for _ in range(self.chance.randrange(1, 12))}
        os.mkdir(source)
        for path, data in contents.items():
            with open(f"{source}/{path}", "wb") as handle:
                handle.write(data)
        taken = source
        if self.chance.random() < 0.5:
            taken = source + ".tar"
            with tarfile.open(taken, "w") as archive:
                archive.add(source, arcname=".")
        result = self.run("import", "--all", taken, f"{dataset}/imported", codes=self.codes(1) if self.heads[dataset].limited or self.small else (0,))
        if result.code == 0:
            self.new_names(dataset, {f"imported/{path}": data for path, data in contents.items()})
            self.run("sync")
            self.settle()
        else:
            self.adopt_imported(dataset, contents)
        shutil.rmtree(source)
        if taken != source:
            os.unlink(taken)

    def adopt_imported(self, dataset, contents):
        """Of an import that ended early: each file is there as a whole, or as it was before."""
        root, head = f"{self.point}/{dataset}/imported", self.heads[dataset]
        for path in files_below(root) if os.path.isdir(root) else ():
            with open(f"{root}/{path}", "rb") as handle:
                data = handle.read()
            before = head.names.get("imported/" + path)
            if before is None or before.data != data:
                assert data == contents.get(path), f"{root}/{path} is neither what it was nor what was imported"
                self.new_names(dataset, {"imported/" + path: data})

    def somewhere(self):
        """A head or a snapshot: how commands call it, and what is in it."""
        if self.snapshots and self.chance.random() < 0.6:
            place = self.choose()
            return "@".join(place), self.snapshots[place]
        dataset = self.dataset()
        return dataset, self.heads[dataset].contents()

    def do_export(self):
        source, contents = self.somewhere()
        base = f"{self.store.area}/{self.fresh('export')}"
        target = base + self.chance.choice(("", ".tar", ".tar.zst", ".zip"))
        result = self.run("export", source, target, codes=(0, 1, 7) if self.flips else (0,))
        if result.code == 0 and target.endswith(("zst", "zip")):
            subprocess.run(["bsdtar", "-xf", target, "-C", self.unpacked(base)], check=True, timeout=50)
        elif result.code == 0 and target != base:
            subprocess.run(["tar", "-xf", target, "-C", self.unpacked(base)], check=True, timeout=50)
        if result.code == 0:
            self.compare(base, contents)
        for path in {base, target}:
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.unlink(path)

    @staticmethod
    def unpacked(base):
        os.mkdir(base)
        return base

    def do_backup(self):
        if self.repository is None:
            self.repository = self.store.area + "/repository"
            self.run("backup", "init", self.repository)
        source, contents = self.somewhere()
        dataset = source.partition("@")[0]
        kind = self.chance.choice(("full", "differential", "incremental"))
        result = self.run("backup", source, self.repository, "--type", kind, "--json", codes=self.codes() if kind == "full" else (3, *self.codes()))
        for place in self.relist(dataset):
            self.snapshots[place] = self.heads[dataset].contents()
        if source == dataset:
            self.heads[dataset].settle()
        if result.code == 0:
            self.backups[json.loads(result.out)[0]["backup"]] = contents

    def do_restore(self):
        if not self.backups:
            return
        backup = self.chance.choice(sorted(self.backups))
        dataset, over = self.dataset(), self.chance.random() < 0.5 or len(self.heads) >= LIMIT
        if over and not self.heads[dataset].limited:
            result = self.run("restore", f"{self.repository}@{backup}", dataset, "--over", codes=self.codes())
            if result.code == 0:
                self.replace_head(dataset, self.backups[backup], True)
            else:
                self.after_broken_restore(dataset)
        elif not over:
            name = self.fresh("b")
            result = self.run("restore", f"{self.repository}@{backup}", name, codes=self.codes())
            if result.code == 0:
                self.new_dataset(name, self.backups[backup])
            elif os.path.isdir(f"{self.point}/{name}"):
                self.run("dataset", "destroy", "--snapshots", name)

    def after_broken_restore(self, dataset):
        """The guard keeps what was there; the head is set back to it."""
        new = self.relist(dataset)
        for place in new:
            self.snapshots[place] = self.heads[dataset].contents()
            if self.run("rollback", "--no-guard", "@".join(place), codes=self.codes()).code == 0:
                self.new_dataset(dataset, self.snapshots[place])

    def restore_all(self):
        """What is left of the backups, into directories."""
        for backup, contents in sorted(self.backups.items()):
            target = f"{self.store.area}/{self.fresh('restored')}"
            self.run("restore", f"{self.repository}@{backup}", target + "/")
            self.compare(target, contents)
            shutil.rmtree(target)

    def do_forget(self):
        if not self.backups:
            return
        backup = self.chance.choice(sorted(self.backups))
        self.run("backup", "forget", self.repository, backup)
        del self.backups[backup]
        self.run("backup", "prune", self.repository)
        self.run("backup", "verify", self.repository, "--data")

    # --- care

    def do_gc(self):
        self.run("gc", codes=(0, program.BUSY))

    def do_scrub(self):
        self.run("scrub", codes=(0, program.BUSY, program.DAMAGED) if self.flips else (0, program.BUSY))

    def do_check(self):
        self.run("check", codes=(0, program.DAMAGED) if self.flips else (0,))

    def do_sync(self):
        self.run("sync", codes=self.codes())
        self.settle()

    def do_beside(self):
        """Something long goes on while files change."""
        self.reading = self.choose()
        snapshot = "@".join(self.reading) if self.reading else self.dataset()
        export = ["export", snapshot, self.store.area + "/beside.tar"]
        command = self.chance.choice((["gc"], ["gc"], ["gc"], ["scrub"], ["check"], ["du"], ["warm", snapshot], export))
        self.log.append(["beside", *command])
        with self.store.begin("-s", self.store.path, *command, env=SECRETS) as process:
            while process.poll() is None:
                self.work(2)
                if self.chance.random() < 0.3:
                    self.chance.choice((self.do_snapshot, self.do_destroy, self.do_clone, self.do_rollback, self.do_set))()
                if self.chance.random() < 0.02:
                    self.do_kill()
                    process.wait(60)
                    break
            else:
                assert process.returncode in (0, 1, 4, 7, 8) if self.flips or self.small else (0, 4), f"{command}: exit {process.returncode}"
        self.reading = None
        if os.path.exists(self.store.area + "/beside.tar"):
            os.unlink(self.store.area + "/beside.tar")

    # --- ends

    def mount(self):
        self.store.mount(self.point, options=f"allow_other,dev,suid,{self.chance.choice(('write_buffer=16M', 'cache=16M', 'snapdir=visible'))}")

    def offline(self):
        """What commands do without a daemon."""
        for _ in range(self.chance.randrange(3)):
            self.chance.choice((self.do_gc, self.do_scrub, self.do_check, self.do_snapshot, self.do_destroy, self.do_clone, self.do_rollback))()

    def do_remount(self):
        self.log.append(["remount"])
        self.umount()
        self.offline()
        self.mount()

    def umount(self):
        """All that was written is on disk afterwards, unless it says that it could not be."""
        if self.flips and self.store.run("-s", self.store.path, "sync").code == program.DAMAGED:
            raise Stopped
        self.store.umount()
        self.settle()

    def after_stop(self):
        """What was not on disk is lost, and what a command was in the middle of is done or not done."""
        if not self.store.points:
            self.mount()
        self.do_kill()
        for dataset in self.heads:
            for place in self.relist(dataset):
                for row in rows(self.store, "snapshot", "list"):
                    for tag in row["holds"] if (row["dataset"], row["name"]) == place else ():
                        self.run("snapshot", "release", "@".join(place), tag)
                self.run("snapshot", "destroy", "@".join(place))
                self.holds.discard(place)

    def do_kill(self):
        self.log.append(["kill"])
        self.store.kill()
        if self.chance.random() < 0.3:
            self.offline_after_kill()
        self.mount()
        for dataset, head in self.heads.items():
            self.reconcile(dataset, head)

    def offline_after_kill(self):
        self.run("check", codes=(0, program.DAMAGED) if self.flips else (0,))
        self.run("gc")

    def reconcile(self, dataset, head):
        """What was on disk is there, and of the rest what belongs together."""
        root = f"{self.point}/{dataset}"
        found = files_below(root)
        moments = [names for names in head.history if sorted(names) == found]
        assert moments, f"{dataset}: no moment had these names; missing of the last: {set(head.names) - set(found)}, more: {set(found) - set(head.names)}"
        bad = None
        for names in reversed(moments):
            bad = self.none_of_its_versions(root, names)
            if not bad:
                return
        raise AssertionError(f"{dataset}/{bad} has none of the contents that it had since it was synced; after {self.log[-12:]}")

    def none_of_its_versions(self, root, names):
        """The first file with other bytes; else the model goes on from here."""
        contents = {}
        for path, file in names.items():
            contents[path] = next((data for data in reversed(file.versions) if self.is_same(f"{root}/{path}", data)), None)
            if contents[path] is None:
                return path
        head = next(head for head in self.heads.values() if names in head.history)
        head.names = names
        for path, file in names.items():
            file.data = contents[path]
        head.settle()
        return None

    def is_same(self, path, data):
        """As far as it can be read."""
        fd = os.open(path, os.O_RDONLY)
        try:
            if os.fstat(fd).st_size != len(data):
                return False
            for at in range(0, len(data), 4096 if self.flips else 1 << 20):
                size = 4096 if self.flips else 1 << 20
                try:
                    if os.pread(fd, size, at) != data[at : at + size]:
                        return False
                except OSError:
                    assert self.flips
            return True
        finally:
            os.close(fd)

    # --- damage

    def do_damage(self):
        """A flipped bit in content that is stored plainly, while nobody has the store open."""
        places = [data for contents in self.snapshots.values() for data in contents.values()]
        places += [data for head in self.heads.values() for data in head.contents().values()]
        places = [data for data in places if len(data) > 100000]
        if not places or self.flips > 3:
            return
        data = self.chance.choice(places)
        self.log.append(["damage"])
        self.umount()
        self.flips += rot.content(self.store, data, self.chance.randrange(len(data) - 64))
        self.mount()

    def do_heal(self):
        """Good copies come in, by repair --from or by copying; what cannot be healed so is replaced."""
        if not self.flips:
            return
        self.check()
        good = self.store.area + "/good"
        os.mkdir(good)
        for number, (dataset, name, path) in enumerate(sorted(self.hurt)):
            with open(f"{good}/{number}", "wb") as handle:
                handle.write(self.contents_at((dataset, name, path)))
        if self.chance.random() < 0.7:
            self.run("repair", "--from", good, "--apply", codes=(0, program.DAMAGED))
            self.check()
        shutil.rmtree(good)
        self.replace_hurt()

    def replace_hurt(self):
        for dataset, name, path in sorted(self.hurt):
            if name:
                if (dataset, name) in self.holds:
                    return
                if (dataset, name) in self.snapshots:
                    self.run("snapshot", "destroy", f"{dataset}@{name}")
                    del self.snapshots[dataset, name]
            elif path in self.heads[dataset].names:
                file = self.heads[dataset].names[path]
                for other in [other for other, same in self.heads[dataset].names.items() if same is file]:
                    os.unlink(self.at(dataset, other))
                    del self.heads[dataset].names[other]
                self.heads[dataset].named()
        self.do_sync()
        self.check()
        if not self.hurt and self.run("gc", codes=(0, program.BUSY)).code == 0 and self.run("scrub", codes=(0, program.BUSY, program.DAMAGED)).code == 0:
            self.flips = 0

    KINDS = {
        "create": 1, "snapshot": 8, "destroy": 5, "hold": 1, "rollback": 3, "rollback_path": 2, "clone": 3, "dataset_destroy": 1, "rename_dataset": 1,
        "set": 1, "import": 2, "export": 1, "backup": 6, "restore": 4, "forget": 2, "gc": 5, "scrub": 1, "check": 1, "sync": 2, "beside": 3,
        "remount": 2, "kill": 2, "damage": 1, "heal": 2,
    }  # fmt: skip

    def step(self):
        try:
            self.one_step()
        except Stopped:
            self.log.append(["stopped"])
            self.after_stop()

    def one_step(self):
        self.work(self.chance.randrange(12))
        kind = self.chance.choices(list(self.KINDS), list(self.KINDS.values()))[0]
        if kind == "damage" and self.small:
            kind = "gc"
        self.log.append([kind])
        getattr(self, "do_" + kind)()

    def play(self, steps):
        for name in ("d", "e"):
            self.run("dataset", "create", name)
            self.new_dataset(name)
        for number in range(steps):
            self.step()
            if number % 4 == 3:
                self.check()
        self.check()
        self.restore_all()
        counts.note({"operations compared with a model": steps})
        try:
            self.do_remount()
        except Stopped:
            self.after_stop()
        self.check()
