"""Backups and the way back, beside restic and borg. Data of ours lies in a store; theirs is a directory. Cold, and until all is on disk."""

import json
import os
import shutil

from rows import Measure
from verdict import Row
from ways import Store, Way

WAYS = ("backup", "restic", "borg")
KINDS = ("images", "shards")
EVERY = 100  # one file of so many changes: 1%
UNITS = {"full": "MB/s", "full-processor": "s/GiB", "full-memory": "bytes", "space": "bytes", "restore": "MB/s", "restore-processor": "s/GiB",
         "restore-memory": "bytes"}

# Runs a command; its peak of memory (KiB) and its processor time (s) go into a file.
LAUNCHER = """
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump([used.ru_maxrss, used.ru_utime + used.ru_stime], open(sys.argv[1], "w"))
sys.exit(code)
"""


class Launched:
    """A machine whose commands are measured: the peak of their memory in bytes, and their processor time in seconds."""

    def __init__(self, machine):
        self.machine, self.report = machine, machine.home + "/launched"

    def __getattr__(self, name):
        return getattr(self.machine, name)

    def run(self, *args, **options):
        result = self.machine.run("/usr/bin/python3", "-c", LAUNCHER, self.report, *args, **options)
        with open(self.report, encoding="ascii") as handle:
            kib, self.processor = json.load(handle)
        self.peak = kib * 1024
        return result


class Backup(Way):
    """A store with a dataset `d`, and a repository. Not mounted while something is measured."""

    name = "backup"

    def __init__(self, machine, data, program):
        super().__init__(machine, data)
        self.program, self.store = program, Store(machine, program, self.home)
        self.repository, self.env = self.home + "/repository", {"CORPUSFS_PASSWORD": "bench"}

    def missing(self):
        return None if "\n  backup " in self.machine.run(self.program, "help")[1] else "this corpusfs has no backup"

    def init(self):
        self.store.init()
        self.machine.remove(self.repository)
        self.store.run("backup", "init", self.repository, env=self.env)

    def take_in(self, directory, what):
        for name in what:
            self.store.run("import", f"{directory}/{name}", "d" if name == "." else "d/" + name, limit=300)

    def save(self, directory, name, what=(".",), kind="full"):
        """Of what was taken in."""
        return self.store.run("backup", "d", self.repository, "--type", kind, env=self.env, limit=300)[0]

    def restore(self, target):
        return self.machine.run(self.program, "restore", self.repository, target, env=self.env, limit=300)[0]

    def sync(self):
        self.machine.run("sync", "-f", self.home, limit=180)

    def space(self):
        return self.machine.space(self.repository)

    def close(self):
        self.store.stop()


def launched(bench, way, call):
    """(seconds, with the sync that follows; processor time; peak of memory) of a command of the way."""
    machine, store = way.machine, getattr(way, "store", None)
    spy = Launched(machine)
    way.machine = spy
    if store:
        store.machine = spy
    try:
        start = bench.clock()
        call()
        peak, processor = spy.peak, spy.processor
    finally:
        way.machine = machine
        if store:
            store.machine = machine
    way.sync()
    return bench.clock() - start, processor, peak


def begin(bench, way, directory, what):
    way.init()
    if way.name == "backup":
        way.take_in(directory, what)
    bench.machine.drop()


def there_and_back(bench, way):
    """The first full backup of images and shards, and its restore into a new directory."""
    data, target = bench.data, way.home + "/out"
    gib = sum(map(bench.size, KINDS)) / (1 << 30)
    begin(bench, way, data.root, KINDS)
    seconds, processor, peak = launched(bench, way, lambda: way.save(data.root, "v1", KINDS))
    found = {"full": gib * 1073.741824 / seconds, "full-processor": processor / gib, "full-memory": peak, "space": way.space()}
    bench.machine.remove(target)
    os.mkdir(target)
    bench.machine.drop()
    seconds, processor, peak = launched(bench, way, lambda: way.restore(target))
    bench.machine.remove(target)
    return {**found, "restore": gib * 1073.741824 / seconds, "restore-processor": processor / gib, "restore-memory": peak}


def lines_space(bench, way):
    """Bytes of a repository with a full backup of the JSON lines."""
    begin(bench, way, bench.data.root, ("lines",))
    way.save(bench.data.root, "v1", ("lines",))
    return way.space()


def few_changed(bench, way):
    """Seconds of a backup after 1% of many small files changed, and what share that is of the first one."""
    if way.name == "budget":
        return {"share": 0.05}
    files = max(2000, int(100000 * bench.data.scale))
    source, listing = bench.machine.home + "/files", bench.machine.home + "/files.list"
    shutil.rmtree(source, ignore_errors=True)
    bench.machine.driver("fill", source, files, 1024, 8, limit=180)
    names = [os.path.relpath(f"{folder}/{name}", source) for folder, _, found in os.walk(source) for name in found]
    with open(listing, "w", encoding="ascii") as handle:
        handle.writelines(name + "\n" for name in sorted(names))
    begin(bench, way, source, (".",))
    first = launched(bench, way, lambda: way.save(source, "v1"))[0]
    if way.name == "backup":
        way.store.start()
        bench.machine.driver("append", way.store.point + "/d", listing, EVERY)
        way.store.stop()
    else:
        bench.machine.driver("append", source, listing, EVERY)
    bench.machine.drop()
    options = {"kind": "incremental"} if way.name == "backup" else {}
    seconds = launched(bench, way, lambda: way.save(source, "v2", **options))[0]
    return {"incremental": seconds, "share": seconds / first}


def prepare(bench, program):
    """Adds the way; returns (measures, rows)."""
    bench.ways["backup"] = Backup(bench.machine, bench.data, program)
    measures = [
        Measure("backup", UNITS, WAYS, there_and_back),
        Measure("backup-lines", "bytes", WAYS, lines_space, 1),
        Measure("backup-few", {"incremental": "s", "share": ""}, (*WAYS, "budget"), few_changed),
    ]
    rows = [
        Row("backup-full", "first full backup of images and shards, cold, and sync", "backup.full", "backup", [("restic", ">=", 3), ("borg", ">=", 3)]),
        Row("backup-full-processor", "its processor time for each GiB", "backup.full-processor", "backup", []),
        Row("backup-full-memory", "its peak of memory", "backup.full-memory", "backup", [("restic", "<=", 1.0)]),
        Row("backup-space", "size of the repository", "backup.space", "backup", [("restic", "<=", 1.05)]),
        Row("backup-restore", "restore into a directory, cold, and sync", "backup.restore", "backup", [("restic", ">=", 2), ("borg", ">=", 2)]),
        Row("backup-restore-processor", "its processor time for each GiB", "backup.restore-processor", "backup", []),
        Row("backup-restore-memory", "its peak of memory", "backup.restore-memory", "backup", [("restic", "<=", 1.0)]),
        Row("backup-lines", "size of a repository of JSON lines", "backup-lines", "backup", [("restic", "<=", 1.05)], "blobs of 64 KiB: 1.2"),
        Row("backup-incremental", "incremental backup after 1% of 100,000 files changed (at scale 1)", "backup-few.incremental", "backup",
            [("restic", "<=", 0.1), ("borg", "<=", 0.1)]),
        Row("backup-share", "incremental backup after 1% of 100,000 files changed, as a share of the first full backup",
            "backup-few.share", "backup", [("budget", "<=", 1.0)]),
    ]
    return measures, rows
