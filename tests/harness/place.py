"""A store with two datasets, and a way to their files whether it is mounted or not."""

import contextlib
import os

from harness import posix, tree
from harness.files import put


class Place:
    """A store with datasets d and e, and a way to their files whether it is mounted or not."""

    def __init__(self, store, mounted):
        self.store, self.mounted, self.point = store, mounted, store.area + "/mnt"
        if mounted:
            store.mount(self.point)
        for name in ("d", "e"):
            store.create(name)
        with self.files("d") as d:
            os.makedirs(d + "/train/deep")
            put(d + "/train/x", b"first" * 30000)
            put(d + "/train/deep/y", b"first y")
            put(d + "/top", b"first top")
            os.symlink("top", d + "/link")
        with self.files("e") as e:
            put(e + "/label", b"first label")

    @contextlib.contextmanager
    def files(self, name):
        if not self.mounted:
            self.store.mount(self.point)
        try:
            yield f"{self.point}/{name}"
        finally:
            if not self.mounted:
                self.store.umount()

    def scan(self, name):
        with self.files(name) as path:
            return tree.scan(path)

    def change(self, text):
        """Another state of d: changed, added, removed."""
        with self.files("d") as d:
            put(d + "/train/x", text * 20000)
            put(d + "/new " + text.decode(), text)
            posix.outcome(os.unlink, d + "/train/deep/y")
