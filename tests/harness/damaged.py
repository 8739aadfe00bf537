"""A store whose database is damaged: what is in its files, what is refused, what can be read."""

import glob
import os
import random

from harness import files, procs, program


def noise(seed, size=100000):
    return random.Random(seed).randbytes(size)


def synced(path, data):
    with open(path, "wb", buffering=0) as handle:
        handle.write(data)
        os.fsync(handle.fileno())


def refused(store, point, named):
    """Neither mounted nor opened; one line names the file."""
    for command in (["mount", store.path, point], ["-s", store.path, "dataset", "list"]):
        result = store.run(*command)
        assert result.code == program.DAMAGED and named in result.err and result.err.count("\n") == 1, result
    assert not procs.fuse_mounts(point)


def contents(path):
    """Of each file in a directory, or the errno of reading it."""
    found = {}
    for name in sorted(os.listdir(path)):
        try:
            found[name] = files.get(f"{path}/{name}")
        except OSError as problem:
            found[name] = problem.errno
    return found


def database(store):
    return glob.glob(store.path + "/db*")[0]


def listing(path):
    return {name: files.get(f"{path}/{name}") for name in os.listdir(path) if name not in ("LOCK", "LOG")}
