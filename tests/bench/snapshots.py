"""What snapshots cost, by the number of files in the dataset: ms of a call or a command, which must not depend on it."""

import statistics
import time

from verdict import Row
from rows import Measure
from ways import Store, Way, import_tar

LIMIT_MS = 20
CALLS = 9
MILLION = 1000000
OPERATIONS = ("snapshot", "rollback", "clone", "destroy")


class Sized(Way):
    """One dataset of so many files; all sizes lie in one store."""

    def __init__(self, machine, data, store, count):
        self.name = f"{count}"
        super().__init__(machine, data)
        self.count, self.store, self.dataset = count, store, f"d{count}"
        self.listing = f"{self.home}/list"
        self.filled = False

    def fill(self):
        """Returns the dataset's directory, mounted."""
        if not self.filled:
            if "\n  import " in self.machine.run(self.store.program, "help")[1]:
                self.store.stop()
                import_tar(self.machine, self.store, self.count, self.dataset, 100)
                self.store.start()
            else:
                self.store.start()
                self.machine.driver("fill", f"{self.store.point}/{self.dataset}", self.count, 100, 8, limit=600)
            with open(self.listing, "w", encoding="ascii") as handle:
                handle.writelines(f"{i // 1000:04}/{i:07}.json\n" for i in range(self.count))
            self.store.sync()
            self.filled = True
        self.store.start()
        return f"{self.store.point}/{self.dataset}"

    def close(self):
        self.store.stop()


def milliseconds(values):
    return statistics.median(values) * 1000


def operations(bench, way):
    root = way.fill()
    result = {}
    result["snapshot"] = milliseconds(bench.machine.driver("mkdirs", root + "/.snapshots", "s", CALLS)["seconds"])
    result["rollback"] = milliseconds([way.store.run("rollback", f"{way.dataset}@s{i:06}")[0] for i in range(CALLS)])
    result["clone"] = milliseconds([way.store.run("clone", f"{way.dataset}@s000000", f"{way.dataset}-{i}")[0] for i in range(CALLS)])
    for i in range(CALLS):
        way.store.run("dataset", "destroy", f"{way.dataset}-{i}")
    result["destroy"] = milliseconds(bench.machine.driver("rmdirs", f"{way.store.point}/{way.dataset}/.snapshots", "s", CALLS)["seconds"])
    return result


def difference(bench, way):
    """Microseconds for each changed file, 1% of them."""
    root = way.fill()
    name = f"{way.dataset}@before-{time.monotonic_ns()}"
    way.store.run("snapshot", "create", name)
    changed = bench.machine.driver("append", root, way.listing, 100)["ops"]
    way.store.sync()
    best = min(way.store.run("diff", name, way.dataset)[0] for _ in range(3))
    return best * 1e6 / changed


def lookups(bench, way):
    """Lookups in random order that the kernel has no answer to and the daemon has in memory, before and after a thousand snapshots."""
    root = way.fill()

    def rate():
        found = []
        for _ in range(4):
            bench.machine.drop(2)
            result = bench.machine.driver("stat", root, way.listing, 3, 1)
            found.append(result["ops"] / result["seconds"])
        return statistics.median(found[1:])

    before = rate()
    for part in range(10):
        bench.machine.driver("append", root, way.listing, 50 + part)
        bench.machine.driver("mkdirs", root + "/.snapshots", f"h{part}-", 100, limit=240)
    way.store.sync()
    return {"none": before, "thousand": rate()}


def prepare(bench, program, sizes):
    """Adds the ways for these sizes; returns (measures, rows)."""
    store = Store(bench.machine, program, bench.machine.home + "/sizes")
    bench.closing.append(store.stop)
    ways = [Sized(bench.machine, bench.data, store, count) for count in sizes]
    for way in ways:
        bench.ways[way.name] = way
    store.init()
    names = tuple(way.name for way in ways)
    few, many = names[0], names[-1]
    measures = [
        Measure("time", "ms", names, operations, 1),
        Measure("diff", "us/file", names[1:] or names, difference, 1),
        Measure("lookups", "lookups/s", (names[1] if len(names) > 1 else few,), lookups, 1),
    ]
    rows = [
        Row(what, f"{what} at {many} files", "time." + what, many, [("limit", "<=", 1.0), (few, "<=", 2.0)]) for what in OPERATIONS
    ]
    rows.append(Row("diff", f"diff of 1% changed among {many} files", "diff", many, [(names[1] if len(names) > 1 else few, "<=", 1.5)]))
    rows.append(Row("lookups", "lookups in a dataset with 1,000 snapshots", "lookups", "thousand", [("none", ">=", 0.83)]))
    return measures, rows
