#!/usr/bin/python3
"""Measures corpusfs beside what people use instead, on the same disk, in the same run.

Every row is run several times, the ways of keeping data taking turns; medians are compared. Cold means: pages dropped and daemon
restarted (btrfs: mounted again). "and sync" means: until it is on disk. Runs as root; leaves nothing behind but the data, which it
makes once. The table goes to standard output and, with JSON and a plot, into the directory of results.
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
import signal
import sys
import time

import backups
import verdict
import plot
import remotes
import rows
import snapshots
import ways
from data import Data
from machine import Failed, Machine, facts, procs

QUICK_SCALE, QUICK_SECONDS, FULL_SECONDS = 0.05, 235, 2990
# Those that are slow and far from the figures they are compared with, or only there to be seen, take fewer turns.
TURNS = {"restic": 1, "borg": 1, "bindfs": 1, "btrfs": 1, "restic-mount": 1, "grown": 2}
CLEANING = 10  # seconds kept for the end
MAX_LOAD = 0.5  # above it others were at work when the run started


class Named(ways.Way):
    """A way that is only a name: another door to corpusfs, or a number to compare with."""

    def __init__(self, name, machine, data, corpusfs):
        self.name = name
        super().__init__(machine, data)
        self.corpusfs = corpusfs


class Bench:
    clock = staticmethod(time.monotonic)

    def __init__(self, machine, data, program, deadline, budget=ways.BUDGET):
        self.machine, self.data, self.program, self.deadline, self.budget = machine, data, program, deadline, budget
        self.samples, self.reasons, self.spaces, self.sizes, self.closing = {}, {}, {}, {}, []
        self.peak = None
        corpusfs = ways.Corpusfs(machine, data, program)
        found = [
            ways.Ext4(machine, data), corpusfs, ways.Btrfs(machine, data), ways.Bindfs(machine, data), ways.Restic(machine, data),
            ways.Borg(machine, data), ways.Snapshot(machine, data, corpusfs), ways.Grown(machine, data, corpusfs),
            ways.Alone(machine, data, program),
        ]
        found += [Named(name, machine, data, corpusfs) for name in ("import", "export", "plain", "budget")]
        self.ways = {way.name: way for way in found}
        for name in ("import", "export"):
            if f"\n  {name} " not in corpusfs.commands():
                self.ways[name].missing = lambda name=name: f"this corpusfs has no {name}"

    def size(self, kind):
        if kind not in self.sizes:
            self.sizes[kind] = self.data.size(kind)
        return self.sizes[kind]

    def note(self, key, way, value):
        self.samples.setdefault(key, {}).setdefault(way, []).append(value)

    def measure(self, measure, runs, only=None, limits=None):
        """All runs of one measure, the ways taking turns; some take fewer turns, as `limits` has it."""
        names = [name for name in measure.ways if only is None or name in only]
        for turn in range(measure.runs or runs):
            shift = turn % max(len(names), 1)
            for name in names[shift:] + names[:shift]:
                if (measure.key, name) not in self.reasons and turn < (limits or {}).get(name, runs):
                    self.once(measure, self.ways[name])

    def once(self, measure, way):
        reason = way.missing()
        if not reason and self.clock() > self.deadline:
            reason = "out of time"
        try:
            value = None if reason else measure.function(self, way)
        except (Failed, AssertionError, OSError) as problem:
            reason = str(problem)
            print(f"bench: {measure.key} by {way.name}: {reason}", file=sys.stderr)
            self.recover()
        if reason:
            self.reasons[measure.key, way.name] = reason
        elif isinstance(value, dict):
            for part, number in value.items():
                if measure.key == "lookups":
                    self.note(measure.key, part, number)
                else:
                    self.note(f"{measure.key}.{part}", way.name, number)
        else:
            self.note(measure.key, way.name, value)

    def recover(self):
        """After a failure: every mount of ours is taken away, so that the next step starts with a living one."""
        for way in self.ways.values():
            try:
                way.close()
            except (Failed, AssertionError, OSError):
                procs.detach(way.home)
        procs.detach(self.machine.home)
        procs.kill_marked(self.machine.mark, 10)

    def close(self):
        for call in [way.close for way in self.ways.values()] + self.closing:
            call()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data, within 4 minutes; the full run takes half an hour")
    parser.add_argument("--rows", metavar="PATTERN", help="only rows whose name matches: images-*,cp-*")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--ways", metavar="NAMES", help="only these ways of keeping data: ext4,corpusfs")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each row, by every way (3, fewer by slow ways)")
    parser.add_argument("--scale", type=float, metavar="F", help="size of the data; 1 is full, 0.05 quick")
    parser.add_argument("--million", action="store_true", help="snapshots of a dataset with a million files, too")
    parser.add_argument("--data", default="/var/tmp/corpusfs-bench", metavar="DIR", help="where everything lies (%(default)s)")
    parser.add_argument("--results", metavar="DIR", help="where the results go (results in --data)")
    parser.add_argument("--program", metavar="FILE", default=shutil.which("corpusfs"), help="the corpusfs to measure (the installed one)")
    parser.add_argument("--driver", metavar="FILE", help="the bench's driver; beside --program's build by default")
    return parser.parse_args()


def wanted(all_rows, pattern):
    patterns = pattern.split(",") if pattern else ["*"]
    return [row for row in all_rows if any(fnmatch.fnmatch(row.key, p) for p in patterns)]


def relevant(chosen, measure):
    """Does a row need this measure, or a part of it?"""
    return any(row.measure == measure.key or row.measure.startswith(measure.key + ".") for row in chosen)


def perform(bench, options):
    full = not options.quick
    sizes = (1000, 10000) if options.quick else (1000, 10000, 100000, snapshots.MILLION) if options.million else (1000, 10000, 100000)
    more, more_rows = snapshots.prepare(bench, bench.program, sizes)
    of_backups, backup_rows = backups.prepare(bench, bench.program)
    of_remotes, remote_rows = remotes.prepare(bench, bench.program)
    all_rows, all_measures = rows.rows(full) + more_rows + backup_rows + remote_rows, more + rows.measures(full) + of_backups + of_remotes
    all_measures.sort(key=lambda measure: measure.key == "memory")  # last: its long day ends with the time there is
    chosen = wanted(all_rows, options.rows)
    if options.list:
        print("\n".join(row.key for row in all_rows))
        return None
    only = set(options.ways.split(",")) if options.ways else None
    for measure in all_measures:
        if relevant(chosen, measure):
            start = bench.clock()
            bench.measure(measure, options.runs or 3, only and only | {"plain", "budget"}, None if options.runs else TURNS)
            print(f"bench: {measure.key}: {bench.clock() - start:.0f} s", file=sys.stderr)
    for what in snapshots.OPERATIONS:
        if f"time.{what}" in bench.samples:
            bench.note(f"time.{what}", "limit", snapshots.LIMIT_MS)
    units = {}
    results = []
    for row in chosen:
        measure = next(m for m in all_measures if row.measure == m.key or row.measure.startswith(m.key + "."))
        units[row.measure] = measure.unit[row.measure.rpartition(".")[2]] if isinstance(measure.unit, dict) else measure.unit
        for way in measure.ways:
            if (measure.key, way) in bench.reasons:
                bench.reasons[row.measure, way] = bench.reasons[measure.key, way]
        results.append({**verdict.verdict(row, bench.samples, bench.reasons), "measure": row.measure, "unit": units[row.measure]})
    return results, units


def points(results):
    """Of each row that is a rate and has ext4 to compare with: (title, figure, {way: ratio to ext4}). corpusfs stands for the row's way."""
    found = []
    for result in results:
        base = result["values"].get("ext4")
        if not base or result["unit"] == "bytes" or result["way"] == "grown" or result["way"] not in result["values"]:
            continue
        ratios = {way: value / base for way, value in result["values"].items() if way in plot.COLOURS}
        for way in ("btrfs", "bindfs") if result["way"] in ("import", "export") else ("restic", "borg"):
            ratios.pop(way, None)
        ratios["corpusfs"] = result["values"][result["way"]] / base
        figure = next((check["figure"] for check in result["checks"] if check["against"] == "ext4"), None)
        found.append((result["title"], figure, ratios))
    return found


def report(bench, options, machine_facts, results, units, seconds):
    """Prints the table; writes table, JSON and plot."""
    directory = options.results or options.data + "/results"
    os.makedirs(directory, exist_ok=True)
    head = "{cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}, {filesystem}; {date}".format(**machine_facts)
    lines = [head, "", *verdict.table(results, units), ""]
    counts = {v: sum(r["verdict"] == v for r in results) for v in ("reached", "missed", "noisy", "skipped", "no figure")}
    lines.append(", ".join(f"{n} {v}" for v, n in counts.items() if n) + f", {seconds:.0f} s")
    unsteady = [r["title"] for r in results if r["spread"].get("ext4", 0) > verdict.NOISY]
    if unsteady:
        lines.append(f"ext4's own runs differ by more than {verdict.NOISY:.0%} in: " + "; ".join(unsteady))
    if machine_facts["load"] > MAX_LOAD:
        lines.append(f"Others were at work when this started (load {machine_facts['load']:.1f}): do not conclude from it.")
    if machine_facts["filesystem"] != "ext4":
        lines.append(f"What is called ext4 here is {machine_facts['filesystem']}.")
    if bench.peak:
        lines.append(f"The daemon's memory was {bench.peak / (1 << 20):.0f} MiB at its highest.")
    text = "\n".join(lines) + "\n"
    with open(directory + "/table.md", "w", encoding="utf-8") as handle:
        handle.write(text)
    with open(directory + "/results.json", "w", encoding="utf-8") as handle:
        json.dump({"machine": machine_facts, "scale": bench.data.scale, "seconds": seconds, "peak": bench.peak, "rows": results,
                   "samples": bench.samples}, handle, indent=1)
    print(text, end="")
    problem = plot.draw(points(results), head, directory + "/plot.png")
    print(f"bench: results in {directory}" + (f"; no plot: {problem}" if problem else ""))


def find_driver(options):
    found = options.driver or os.path.join(os.path.dirname(os.path.realpath(options.program)), "../../tests/bench/bench-driver")
    if not os.access(found, os.X_OK):
        raise Failed(f"{found}: no such program; build it (ninja -C BUILD) or name it with --driver")
    return os.path.realpath(found)


def left_over(base):
    """Ends what a run that was killed left."""
    for name in os.listdir(base):
        if re.fullmatch(r"run-\d+", name) and not procs.alive(name[4:]):
            old = Machine(f"{base}/{name}", None)
            old.mark = "bench-" + name[4:]
            old.clean()


def main():
    options = arguments()
    start = time.monotonic()
    if os.geteuid() != 0:
        raise Failed("must run as root: it mounts, and drops caches")
    if not options.program or not os.access(options.program, os.X_OK):
        raise Failed("which corpusfs? name it with --program")
    driver = find_driver(options)
    os.makedirs(options.data, exist_ok=True)
    options.data = os.path.realpath(options.data)
    left_over(options.data)
    machine_facts = facts(options.data)
    machine = Machine(f"{options.data}/run-{os.getpid()}", driver)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        data = Data(machine, options.data, options.scale or (QUICK_SCALE if options.quick else 1))
        data.need(5 if options.quick else 7)
        if not options.list:
            data.make()
        bench = Bench(machine, data, os.path.realpath(options.program), start + (QUICK_SECONDS if options.quick else FULL_SECONDS) - CLEANING)
        done = perform(bench, options)
        bench.close()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        machine.clean()
    if done:
        report(bench, options, machine_facts, *done, time.monotonic() - start)


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"bench: {problem}")
