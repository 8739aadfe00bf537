"""What is measured, and what it must reach. Rates (more is better) except where the unit is bytes, ms or s/GiB."""

import json
import os
import resource
from collections import namedtuple

from machine import procs
from verdict import Row

# function(bench, way) gives a number, or a dictionary of numbers for the measures key.NAME.
Measure = namedtuple("Measure", "key unit ways function runs", defaults=[None])

READERS = ("ext4", "corpusfs", "btrfs", "bindfs")
SNAPSHOT = ("ext4", "snapshot")
READER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reader.py")
COLD_UNITS = {"rate": "MB/s", "p50": "us", "p99": "us", "disk": "bytes a byte"}
PREAD_UNITS = {**COLD_UNITS, "rate": "reads/s"}
FRAME = 64 << 20  # beside its budgets: code, stacks, RocksDB's tables
DAY = 10_000_000  # requests of a long day, at full size


def per_second(result, what):
    return result[what] / max(result["seconds"], 1e-6)


def read(kind, seed, processes):
    """MB/s of reading all files of a kind again, in their order or, with a seed, in a random one."""
    def function(bench, way):
        args = ("read", way.library(kind), bench.data.listing(kind), seed, processes, 0)
        bench.machine.driver(*args)
        return per_second(bench.machine.driver(*args), "bytes") / 1e6
    return function


def read_cold(kind, seed, processes, share=1.0, free_mib=None, fresh=False):
    """
    Reading what is in no cache: MB/s, microseconds per file, and bytes from the disk per byte wanted. `share` of the files; with no more
    memory free than `free_mib`; `fresh`: of a snapshot that was taken a moment ago, whose identity is computed beside (else: was, before).
    """
    def function(bench, way):
        root = way.take_fresh(kind) if fresh else way.library(kind)
        if not fresh:
            way.cold()
        count = 0 if share == 1 else max(50, int(len(bench.data.names_of(kind)) * share))
        with bench.machine.memory_left(free_mib and int(free_mib * bench.data.scale)):
            before = bench.machine.disk_read(bench.data.root)
            result = bench.machine.driver("read", root, bench.data.listing(kind), seed, processes, count)
            disk = bench.machine.disk_read(bench.data.root) - before
        return {"rate": per_second(result, "bytes") / 1e6, "p50": result["p50"], "p99": result["p99"], "disk": disk / result["bytes"]}
    return function


def python(what, kind, cold):
    """Samples a second as a Python program takes them: tests/bench/reader.py."""
    def function(bench, way):
        args = ("/usr/bin/python3", READER, what, way.library(kind), bench.data.listing(kind))
        if cold:
            way.cold()
        else:
            bench.machine.run(*args, limit=180)
        return float(bench.machine.run(*args, limit=180)[1])
    return function


def busy(measured):
    """The same beside as many busy processes as there are processors."""
    def function(bench, way):
        with bench.machine.busy():
            return measured(bench, way)
    return function


def pread(processes):
    """4 KiB at random places: reads a second, microseconds for each, bytes from the disk per byte wanted."""
    def function(bench, way):
        root = way.library("shards")
        way.cold()
        before = bench.machine.disk_read(bench.data.root)
        result = bench.machine.driver("pread", root, bench.data.listing("shards"), bench.data.preads, 9, processes)
        disk = bench.machine.disk_read(bench.data.root) - before
        return {"rate": per_second(result, "ops"), "p50": result["p50"], "p99": result["p99"], "disk": disk / result["bytes"]}
    return function


def walk(cold):
    def function(bench, way):
        root = way.library("tiny")
        if cold:
            way.cold()
        else:
            bench.machine.driver("walk", root)
        return per_second(bench.machine.driver("walk", root), "ops")
    return function


def names(bench, way):
    """Renames and unlinks each of many files in one directory."""
    root, count = way.scratch(), bench.data.names
    bench.machine.driver("create", root, count)
    way.sync()
    return {what: per_second(bench.machine.driver(what, root, count), "ops") for what in ("rename", "unlink")}


def write(bench, way):
    """MB/s of write(2)s of 8 KiB, and sync."""
    root = way.scratch()
    bench.machine.settle()
    result = bench.machine.driver("write", root + "/file", bench.data.write, 8192)
    return result["bytes"] / 1e6 / (result["seconds"] + timed(bench, way.sync))


def timed(bench, call):
    start = bench.clock()
    call()
    return bench.clock() - start


def copy_in(kind):
    """MB/s of a kind's bytes: cp -r through the mount and sync; or the repository's or our own import, and sync."""
    def function(bench, way):
        source = bench.data.path(kind)
        if way.name in ("restic", "borg"):
            way.init()
            bench.data.warm(kind)
            bench.machine.settle()
            seconds = way.save(source, "v1") + timed(bench, way.sync)
        elif way.name == "import":
            seconds = import_in(bench, way.corpusfs, source, kind)
        else:
            target = way.scratch()
            bench.data.warm(kind)
            bench.machine.settle()
            seconds = bench.machine.run("cp", "-r", source, target, limit=180)[0] + timed(bench, way.sync)
            bench.spaces.setdefault((kind, way.name), way.space())
        return bench.size(kind) / 1e6 / seconds
    return function


def import_in(bench, way, source, kind):
    """On disk when it returns; the store is mounted nowhere."""
    way.close()
    way.fresh.init()
    bench.data.warm(kind)
    bench.machine.settle()
    return way.fresh.run("import", source, "d/" + kind, limit=180)[0]


def processor_seconds(way):
    """Of all that the bench has started and that has ended, and of the way's daemon."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = used.ru_utime + used.ru_stime
    if way.name == "corpusfs":
        fields = procs.read(f"/proc/{way.fresh.pid}/stat").rpartition(b")")[2].split()
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def processor_in(kind, cold=False):
    """Seconds of a processor, in all processes, for each GiB that comes in: by cp -r and sync, or by import. Disks differ, this does not."""
    def function(bench, way):
        if way.name == "budget":
            return 1.0
        source, target = bench.data.path(kind), None
        if way.name == "import":
            way.corpusfs.close()
            way.corpusfs.fresh.init()
        else:
            target = way.scratch()
        bench.data.warm(kind)
        bench.machine.settle()
        if cold:
            bench.machine.drop()
        before = processor_seconds(way)
        if way.name == "import":
            way.corpusfs.fresh.run("import", source, "d/" + kind, limit=180)
        else:
            bench.machine.run("cp", "-r", source, target, limit=180)
            way.sync()
        return (processor_seconds(way) - before) / (bench.size(kind) / (1 << 30))
    return function


def copy_out(kind):
    """MB/s from a repository or a store into a new directory, and sync; ext4: cp -r and sync."""
    def function(bench, way):
        target = bench.ways["ext4"].scratch() + "/out"
        if way.name in ("restic", "borg"):
            way.init()
            way.save(bench.data.path(kind), "v1")
            bench.machine.run("mkdir", target)
        elif way.name == "export":
            way.corpusfs.library(kind)
            way.corpusfs.close()
        bench.machine.drop()
        if way.name in ("restic", "borg"):
            seconds = way.restore(target)
        elif way.name == "export":
            seconds = way.corpusfs.store.run("export", "d/" + kind, target, limit=180)[0]
        else:
            seconds = bench.machine.run("cp", "-r", bench.data.path(kind), target, limit=180)[0]
        return bench.size(kind) / 1e6 / (seconds + timed(bench, bench.ways["ext4"].sync))
    return function


def space(kind):
    """Bytes on disk of a kind in a store of its own; "plain" is the sum of the files' sizes."""
    def function(bench, way):
        if way.name == "plain":
            return bench.size(kind)
        if (kind, way.name) not in bench.spaces:
            bench.machine.run("cp", "-r", bench.data.path(kind), way.scratch(), limit=180)
            way.sync()
            bench.spaces[kind, way.name] = way.space()
        return bench.spaces[kind, way.name]
    return function


def growth(bench, way):
    """Bytes that the second version of the lines adds while the first is kept."""
    if way.name == "corpusfs":
        root = way.scratch()
        bench.machine.run("cp", "-r", bench.data.path("lines"), root, limit=180)
        before = way.space()
        bench.spaces["lines", "corpusfs"] = before
        way.fresh.start()
        way.fresh.run("snapshot", "create", "d@v1")
        bench.machine.run("cp", bench.data.path("lines2") + "/train.jsonl", root + "/lines/train.jsonl", limit=180)
        return way.space() - before
    way.init()
    way.save(bench.data.path("lines"), "v1")
    before = way.space()
    way.save(bench.data.path("lines2"), "v2")
    return way.space() - before


def requests(store):
    return sum(mount["requests"] for mount in json.loads(store.run("status", "--json")[1])["mounts"])


def long_day(bench, way, root):
    """Imports, exports, and a mount that nothing is known of walked and read again and again, until there were so many requests."""
    target, turn = way.home + "/out", 0
    while requests(way.fresh) < DAY * bench.data.scale and bench.clock() < bench.deadline:
        way.fresh.run("import", bench.data.path("tiny"), f"i{turn}", limit=300)
        for path in (target + ".tar", target):
            way.fresh.run("export", f"i{turn}", path, limit=300)
            bench.machine.remove(path)
        for _ in range(10):
            bench.machine.drop()
            bench.machine.driver("walk", root)
            bench.machine.driver("read", root + "/tiny", bench.data.listing("tiny"), 1, 4, 0)
        way.fresh.run("dataset", "destroy", f"i{turn}", limit=180)
        turn += 1


def memory(bench, way):
    """The daemon after copying everything in, reading, walking, a long day and removing, in one life."""
    if way.name == "budget":
        return bench.budget + FRAME
    root = way.scratch()
    for kind in ("shards", "images", "tiny"):
        bench.machine.run("cp", "-r", bench.data.path(kind), root, limit=300)
    for kind in ("shards", "images"):
        bench.machine.drop()
        bench.machine.driver("read", f"{root}/{kind}", bench.data.listing(kind), 1, 4, 0)
    bench.machine.driver("walk", root)
    long_day(bench, way, root)
    bench.machine.run("rm", "-rf", root + "/tiny", limit=120)
    way.sync()
    now, peak = way.fresh.memory()
    bench.peak = peak
    return now


def measures(full):
    """All of them, in the order in which they are run."""
    grown = ("grown",) if full else ()
    writers = ("ext4", "corpusfs", "btrfs", "bindfs")
    return [
        Measure("shards-cold", COLD_UNITS, READERS + ("snapshot",) + grown, read_cold("shards", 0, 1)),
        Measure("shards-warm", "MB/s", READERS + grown, read("shards", 0, 1)),
        Measure("images-cold-1", COLD_UNITS, READERS + ("snapshot",) + grown, read_cold("images", 1, 1)),
        Measure("images-cold-4", COLD_UNITS, READERS + ("snapshot",) + grown, read_cold("images", 1, 4)),
        Measure("images-sample-1", COLD_UNITS, SNAPSHOT, read_cold("images", 2, 1, share=0.1)),
        Measure("images-sample-4", COLD_UNITS, SNAPSHOT, read_cold("images", 2, 4, share=0.1)),
        Measure("images-tight-1", COLD_UNITS, SNAPSHOT, read_cold("images", 3, 1, free_mib=1400), 1),
        Measure("images-fresh-1", COLD_UNITS, SNAPSHOT, read_cold("images", 4, 1, share=0.2, fresh=True), 2),
        Measure("images-listed-1", COLD_UNITS, SNAPSHOT, read_cold("images", 0, 1)),
        Measure("images-listed-4", COLD_UNITS, SNAPSHOT, read_cold("images", 0, 4)),
        Measure("images-busy-1", COLD_UNITS, SNAPSHOT, busy(read_cold("images", 5, 1, share=0.2))),
        Measure("images-warm-1", "MB/s", READERS + ("snapshot",) + grown, read("images", 1, 1)),
        Measure("images-warm-4", "MB/s", READERS + ("snapshot",) + grown, read("images", 1, 4)),
        Measure("pread-cold", PREAD_UNITS, READERS + ("snapshot",) + grown, pread(1)),
        Measure("pread-cold-4", PREAD_UNITS, SNAPSHOT, pread(4)),
        Measure("memmap-cold", "samples/s", SNAPSHOT, python("memmap", "shards", True)),
        Measure("open-warm", "samples/s", SNAPSHOT, python("open", "images", False)),
        Measure("loader-cold", "samples/s", SNAPSHOT, python("loader", "images", True)),
        Measure("index-cold", "names/s", ("ext4", "corpusfs", "snapshot"), python("index", "tiny", True)),
        Measure("walk-cold", "names/s", READERS + grown, walk(True)),
        Measure("walk-warm", "names/s", READERS + grown, walk(False)),
        Measure("names", "names/s", writers, names),
        Measure("write-8k", "MB/s", writers, write),
        Measure("write-kept", "MB/s", ("corpusfs", "alone"), write),
        Measure("in-shards", "MB/s", writers + ("import", "restic", "borg"), copy_in("shards")),
        Measure("in-images", "MB/s", writers + ("import", "restic", "borg"), copy_in("images")),
        Measure("in-tiny", "MB/s", writers + ("import", "restic", "borg"), copy_in("tiny")),
        Measure("processor-shards", "s/GiB", ("ext4", "corpusfs", "import", "budget"), processor_in("shards")),
        Measure("processor-images", "s/GiB", ("ext4", "corpusfs", "import", "budget"), processor_in("images")),
        Measure("processor-shards-cold", "s/GiB", ("import", "budget"), processor_in("shards", cold=True)),
        Measure("processor-images-cold", "s/GiB", ("import", "budget"), processor_in("images", cold=True)),
        Measure("growth", "bytes", ("corpusfs", "restic", "borg"), growth, 1),
        Measure("space-lines", "bytes", ("corpusfs", "btrfs", "plain"), space("lines"), 1),
        Measure("space-images", "bytes", ("corpusfs", "plain", "btrfs"), space("images"), 1),
        Measure("space-tiny", "bytes", ("corpusfs", "ext4", "btrfs", "plain"), space("tiny"), 1),
        Measure("out-images", "MB/s", ("ext4", "export", "restic", "borg"), copy_out("images"), 1),
        Measure("memory", "bytes", ("budget", "corpusfs"), memory, 1),
    ]


def cold_rows(key, title, measure, figure):
    """The rate, and what bounds it: the disk's bytes and the slowest files."""
    return [
        Row(key, title, measure + ".rate", "snapshot", [("ext4", ">=", figure)]),
        Row(key + "-disk", f"{title}: read from the disk for each byte wanted", measure + ".disk", "snapshot", [("ext4", "<=", 1.15)]),
        Row(key + "-p50", f"{title}: half of them take at most", measure + ".p50", "snapshot", []),
        Row(key + "-p99", f"{title}: 99 of 100 take at most", measure + ".p99", "snapshot", [("ext4", "<=", 1.5)]),
    ]


ROWS = [
    Row("shards-cold", "sequential read of shards, cold", "shards-cold.rate", "corpusfs", [("ext4", ">=", 0.95)], "btrfs 0.64, FUSE 0.5-0.8"),
    Row("shards-warm", "sequential read of shards, warm", "shards-warm", "corpusfs", [("ext4", ">=", 0.95)], "FUSE 0.55"),
    Row("images-cold-1", "images in random order, 1 reader, cold", "images-cold-1.rate", "corpusfs", [("ext4", ">=", 1.0)], "btrfs 0.75, FUSE 0.4-0.5"),
    Row("images-cold-4", "images in random order, 4 readers, cold", "images-cold-4.rate", "corpusfs", [("ext4", ">=", 1.0)], "borg 0.28, restic 0.15"),
    *cold_rows("shards-snapshot-cold", "shards in order, cold, snapshot mount", "shards-cold", 0.9),
    *cold_rows("images-snapshot-cold-1", "images in random order, cold, snapshot mount, 1 reader", "images-cold-1", 0.9),
    *cold_rows("images-snapshot-cold-4", "images in random order, cold, snapshot mount, 4 readers", "images-cold-4", 0.9),
    *cold_rows("images-sample-1", "a tenth of the images, chosen at random, cold, snapshot mount, 1 reader", "images-sample-1", 0.9),
    *cold_rows("images-sample-4", "a tenth of the images, chosen at random, cold, snapshot mount, 4 readers", "images-sample-4", 0.9),
    *cold_rows("images-tight-1", "images in random order with less memory than they take, 1 reader", "images-tight-1", 0.9),
    *cold_rows("images-fresh-1", "a fifth of the images of a snapshot that was just taken, cold, 1 reader", "images-fresh-1", 0.9),
    *cold_rows("images-listed-1", "images in the order of their names, cold, snapshot mount, 1 reader", "images-listed-1", 0.9),
    *cold_rows("images-listed-4", "images in the order of their names, cold, snapshot mount, 4 readers", "images-listed-4", 0.9),
    *cold_rows("images-busy-1", "a fifth of the images, cold, beside a busy process on each processor", "images-busy-1", 0.6),
    Row("images-snapshot-1", "images, warm, snapshot mount, 1 reader", "images-warm-1", "snapshot", [("ext4", ">=", 0.95)], "btrfs 0.9-1.0, FUSE 0.15"),
    Row("images-snapshot-4", "images, warm, snapshot mount, 4 readers", "images-warm-4", "snapshot", [("ext4", ">=", 0.95)]),
    Row("images-warm-1", "images, warm, read-write mount, 1 reader", "images-warm-1", "corpusfs", [("ext4", ">=", 0.3)], "FUSE 0.06-0.15"),
    Row("images-warm-4", "images, warm, read-write mount, 4 readers", "images-warm-4", "corpusfs", [("ext4", ">=", 0.3)]),
    Row("pread-cold", "random 4 KiB reads within shards, cold", "pread-cold.rate", "corpusfs", [("ext4", ">=", 0.9)], "FUSE 0.85, ZFS over FUSE 0.37"),
    *cold_rows("pread-snapshot-cold", "random 4 KiB reads within shards, cold, snapshot mount", "pread-cold", 0.9),
    *cold_rows("pread-snapshot-cold-4", "random 4 KiB reads within shards, cold, snapshot mount, 4 readers", "pread-cold-4", 0.9),
    Row("memmap-cold", "random rows of numpy.memmap, cold, snapshot mount", "memmap-cold", "snapshot", [("ext4", ">=", 0.9)]),
    Row("open-warm", "images by Python's open(), warm, snapshot mount", "open-warm", "snapshot", [("ext4", ">=", 0.7)]),
    Row("loader-cold", "images by a torch DataLoader with 2 workers, cold, snapshot mount", "loader-cold", "snapshot", [("ext4", ">=", 0.9)]),
    Row("index-cold", "index of tiny as torchvision's ImageFolder makes it, cold", "index-cold", "corpusfs", [("ext4", ">=", 0.8)]),
    Row("index-snapshot-cold", "index of tiny as torchvision's ImageFolder makes it, cold, snapshot mount", "index-cold", "snapshot", [("ext4", ">=", 0.8)]),
    Row("walk-cold", "walk and stat of tiny, cold", "walk-cold", "corpusfs", [("ext4", ">=", 0.8)], "FUSE 0.1-0.2"),
    Row("walk-warm", "walk and stat of tiny, warm", "walk-warm", "corpusfs", [("ext4", ">=", 0.8)], "FUSE 0.06-0.5"),
    Row("rename", "rename", "names.rename", "corpusfs", [("ext4", ">=", 0.1)], "FUSE 0.05-0.08"),
    Row("unlink", "unlink", "names.unlink", "corpusfs", [("ext4", ">=", 0.1)], "FUSE 0.05-0.08"),
    Row("cp-shards", "copy shards in through the mount and sync", "in-shards", "corpusfs", [("ext4", ">=", 1.0)], "btrfs 0.75, FUSE 0.1-0.35"),
    Row("cp-images", "copy images in through the mount and sync", "in-images", "corpusfs", [("ext4", ">=", 0.5)], "FUSE 0.1-0.3"),
    Row("cp-tiny", "copy tiny in through the mount and sync", "in-tiny", "corpusfs", [("ext4", ">=", 0.5)], "FUSE 0.1"),
    Row("write-8k", "8 KiB write(2)s of a large file and sync", "write-8k", "corpusfs", [("ext4", ">=", 1.0)]),
    Row("write-kept", "the same, against a mount that keeps nothing for when its daemon dies", "write-kept", "corpusfs", [("alone", ">=", 0.9)]),
    Row("import-shards", "import of shards", "in-shards", "import",
        [("ext4", ">=", 2.0), ("restic", ">=", 3), ("borg", ">=", 2)], "restic 0.22, borg 0.37"),
    Row("import-images", "import of images", "in-images", "import",
        [("ext4", ">=", 1.0), ("restic", ">=", 3), ("borg", ">=", 2)], "restic 0.47, borg 0.72"),
    Row("import-tiny", "import of tiny", "in-tiny", "import", [("ext4", ">=", 1.0), ("restic", ">=", 3), ("borg", ">=", 2)], "restic 0.5, borg 0.3"),
    Row("cp-shards-processor", "processor time of copying a GiB of shards in, all processes", "processor-shards", "corpusfs", [("budget", "<=", 2.2)]),
    Row("cp-images-processor", "processor time of copying a GiB of images in, all processes", "processor-images", "corpusfs", [("budget", "<=", 2.2)]),
    Row("import-shards-processor", "processor time of import of a GiB of shards", "processor-shards", "import", [("budget", "<=", 1.8)]),
    Row("import-images-processor", "processor time of import of a GiB of images", "processor-images", "import", [("budget", "<=", 1.8)]),
    Row("import-shards-cold-processor", "processor time of import of a GiB of shards that are not in memory",
        "processor-shards-cold", "import", [("budget", "<=", 1.8)]),
    Row("import-images-cold-processor", "processor time of import of a GiB of images that are not in memory",
        "processor-images-cold", "import", [("budget", "<=", 1.8)]),
    Row("growth", "growth by the second version of the JSON lines", "growth", "corpusfs",
        [("restic", "<=", 0.6), ("borg", "<=", 0.6)], "casync (64 KiB) 0.6"),
    Row("space-lines", "space used by JSON lines", "space-lines", "corpusfs", [("btrfs", "<=", 1.0)]),
    Row("space-images", "space used by images", "space-images", "corpusfs", [("plain", "<=", 1.02)]),
    Row("space-tiny", "space used by tiny", "space-tiny", "corpusfs", [("ext4", "<=", 0.3)], "borg 0.13"),
    Row("memory", "daemon memory after all of it", "memory", "corpusfs", [("budget", "<=", 1.0)]),
    Row("export-images", "export of images to a directory and sync", "out-images", "export", []),
]

GROWING = ("shards-cold.rate", "shards-warm", "images-cold-1.rate", "images-cold-4.rate", "images-warm-1", "images-warm-4",
           "pread-cold.rate", "walk-cold", "walk-warm")


def rows(full):
    """All rows; the full run also asks how they fare in a store with ten times as many files."""
    if not full:
        return ROWS
    titles = {"images-warm-1": "images, warm, 1 reader", "images-warm-4": "images, warm, 4 readers", "shards-warm": "sequential read of shards, warm"}
    named = {row.measure: titles.get(row.measure, row.title) for row in reversed(ROWS)
             if row.way == "corpusfs" or row.measure in titles}
    return ROWS + [Row("ten-" + key.split(".")[0], named[key] + ", ten times the files", key, "grown", [("corpusfs", ">=", 0.87)]) for key in GROWING]
