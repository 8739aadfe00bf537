"""System calls of a program that fail (tests/crash/fail.c)."""

import mmap
import struct

from harness import counts, program


class Failures:
    """Of the program that is started with `environment`: calls on files below `inside`."""

    # of kinds: "read" is pread(2), too, and "direct" one past the page cache, "rename" is renameat(2), "link" is symlinkat(2), "open" makes no
    # file and "create" does
    CALLS = ["write", "fdatasync", "fsync", "rename", "fallocate", "create", "link", "read", "open", "stat", "unlink", "mkdir", "truncate", "mmap", "list",
             "direct"]  # fmt: skip
    ORDER = struct.Struct("=IIiiI256si")
    SEEN = struct.Struct(f"={1 + len(CALLS)}I")
    COUNT = 1000

    def __init__(self, path, inside):
        with open(path, "wb") as handle:
            handle.write(self.ORDER.pack(0, 0, 0, 0, 0, inside.encode(), -1) + bytes(self.SEEN.size))
        with open(path, "r+b") as handle:
            self.page = mmap.mmap(handle.fileno(), self.ORDER.size + self.SEEN.size)
        self.inside, self.environment = inside, {"LD_PRELOAD": f"{program.build()}/tests/crash/libcrash-fail.so", "CORPUSFS_FAIL": path}

    def begin(self, call):
        self.page[:4] = struct.pack("=I", call)

    def order(self, call, error, skip, times, at=-1):
        """After `skip` calls `times` of them fail with `error`; 0: reads and writes are short. `at`: only what reads this byte of a file."""
        self.page[4 : self.ORDER.size] = self.ORDER.pack(0, error, skip, times, 0, self.inside.encode(), at)[4:]
        self.begin(1 + self.CALLS.index(call))

    def stop(self):
        """Returns how many calls have failed since the order, and notes them."""
        self.begin(0)
        failed = self.ORDER.unpack(self.page[: self.ORDER.size])[4]
        self.page[: self.ORDER.size] = self.ORDER.pack(0, 0, 0, 0, 0, self.inside.encode(), -1)
        counts.note({"injected failures": failed})
        return failed

    def count(self):
        """From now on; none fails."""
        self.order("write", 0, 0, 0)
        self.page[self.ORDER.size :] = bytes(self.SEEN.size)
        self.begin(self.COUNT)

    def counted(self):
        """{call: how many there were}"""
        self.begin(0)
        return dict(zip(self.CALLS, self.SEEN.unpack(self.page[self.ORDER.size :])[1:]))
