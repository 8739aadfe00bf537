"""Snapshots by command, in short, and what a refusal is."""

import json

from harness import procs, program


def cli(store, *args):
    return store.ok("-s", store.path, *args)


def rows(store, *args):
    return json.loads(cli(store, *args, "--json"))


def names(store, dataset="d"):
    """Of the dataset's snapshots, in the order in which they were taken."""
    return [row["name"] for row in rows(store, "snapshot", "list", dataset)]


def state(store):
    """All that commands can change but the files."""
    snapshots = [(row["dataset"], row["name"], row["taken"], row["note"], row["holds"]) for row in rows(store, "snapshot", "list")]
    return sorted(row["name"] for row in rows(store, "dataset", "list")), snapshots


def refused(store, code, *args, **options):
    """One line on stderr, nothing on stdout, this exit code; returns the line."""
    result = store.run("-s", store.path, *args, **options)
    assert result.code == code, f"{args}: {result}"
    assert result.out == "" and len(result.err.splitlines()) == 1 and result.err.startswith("corpusfs: "), f"{args}: {result}"
    return result.err


def idle(store):
    """The daemon's collector has nothing left to do."""
    def is_quiet():
        result = store.run("-s", store.path, "gc", "--dry-run", "--json")
        if result.code == program.BUSY:
            return False
        assert result.code == 0, result
        found = json.loads(result.out)
        return found["versions"] == 0 and found["chunks"] == 0

    procs.poll(is_quiet, 40 * program.scale(), "the collector is done", 0.1)


def collected(store):
    """Collects until nothing is left to do; what was removed in all."""
    total = {"versions": 0, "chunks": 0, "bytes": 0}
    for _ in range(10):
        result = store.run("-s", store.path, "gc", "--json")
        if result.code == program.BUSY:  # the daemon's own collector is at it
            continue
        assert result.code == 0, result
        found = json.loads(result.out)
        for key in total:
            total[key] += found[key]
        if not any(found[key] for key in total):
            return total
    raise AssertionError(f"there is always something to collect: {total}")


def make(store, *wanted, dataset="d"):
    for name in wanted:
        cli(store, "snapshot", "create", f"{dataset}@{name}")
