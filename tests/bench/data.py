"""The data, made once for each size and kept: the same bytes on every machine."""

import os
import shutil

from machine import Failed

MIB = 1 << 20
KINDS = ("images", "shards", "lines", "tiny")
VERSION = 1  # of the driver's generators: a change makes the data anew


class Data:
    """`scale` 1 is the full size."""

    def __init__(self, machine, root, scale):
        self.machine, self.scale = machine, scale
        self.root = f"{root}/data-{VERSION}-{scale:g}"
        self.images = max(100, int(20000 * scale))
        self.tiny = max(1000, int(50000 * scale))
        self.shard = max(1, int(256 * scale)) * MIB
        self.lines = max(4, int(600 * scale)) * MIB
        self.write = max(8, int(1024 * scale)) * MIB
        self.preads = max(500, int(20000 * scale))
        self.names = max(500, int(20000 * scale))

    def make(self):
        """Makes what is missing; a part that was interrupted is made again."""
        os.makedirs(self.root, exist_ok=True)
        for kind, args in (
            ("images", ("images", self.path("images"), self.images)),
            ("shards", ("shards", self.path("shards"), 4, self.shard)),
            ("lines", ("lines", self.path("lines"), self.path("lines2"), self.lines)),
            ("tiny", ("fill", self.path("tiny"), self.tiny, 1024, 6)),
        ):
            if os.path.exists(self.listing(kind)):
                continue
            shutil.rmtree(self.path(kind), ignore_errors=True)
            self.machine.run(self.machine.driver_path, *map(str, args), limit=180)
            found = []
            for folder, _, names in os.walk(self.path(kind)):
                found += [os.path.relpath(os.path.join(folder, name), self.path(kind)) for name in names]
            with open(self.listing(kind) + ".new", "w", encoding="ascii") as handle:
                handle.writelines(name + "\n" for name in sorted(found))
            os.rename(self.listing(kind) + ".new", self.listing(kind))

    def path(self, kind):
        return f"{self.root}/{kind}"

    def listing(self, kind):
        """A file with the names of all files of a kind, relative to its directory."""
        return f"{self.root}/{kind}.list"

    def names_of(self, kind):
        with open(self.listing(kind), encoding="ascii") as handle:
            return handle.read().splitlines()

    def size(self, kind):
        total = 0
        with open(self.listing(kind), encoding="ascii") as handle:
            for line in handle:
                total += os.stat(f"{self.path(kind)}/{line.rstrip()}").st_size
        return total

    def warm(self, kind):
        """Into the page cache, so that copying it in measures the writing."""
        self.machine.driver("read", self.path(kind), self.listing(kind), 0, 2, 0)

    def need(self, times):
        """Fails early when the disk is too small for the run."""
        want = int(times * (self.images * 115000 + 4 * self.shard + 2 * self.lines + self.tiny * 5000 + self.write))
        free = shutil.disk_usage(os.path.dirname(self.root)).free
        if free < want:
            raise Failed(f"{self.root}: needs {want // MIB} MiB free, has {free // MIB} MiB; name another place with --data")
