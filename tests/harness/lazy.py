"""Mounts of what is in a remote, with a cache on a local disk."""

import os
import re
import signal
import subprocess

from harness import procs, program, tree

MEMORY = "cache=1M"  # so that what is read comes from the disk


class Lazy:
    """A mount of dataset d as it was published in a remote, with a cache."""

    def __init__(self, remotes, point, options, code=0):
        os.makedirs(point, exist_ok=True)
        self.remotes, self.point, self.log_path = remotes, point, point + ".log"
        self.root = point + "/d"
        self.result = remotes.run("backup", "mount", "base:@latest", point, "--log", self.log_path, "-o", options, code=code)
        found = re.findall(r"\bpid=(\d+)", self.log())
        self.pid = int(found[-1]) if found else None

    def log(self):
        return procs.read(self.log_path).decode()

    def gone(self):
        procs.poll(lambda: not procs.alive(self.pid), 30 * program.scale(), "the process of the mount leaves")

    def umount(self):
        self.remotes.run("umount", self.point)
        self.gone()

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.gone()
        self.pid = None
        subprocess.run(["umount", "-l", self.point], check=False)


def cold(path):
    """The kernel forgets the file's pages."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def segments(directory):
    return sorted(name for name in os.listdir(directory) if re.fullmatch("[0-9a-f]{8}", name))


def used(directory):
    return sum(os.path.getsize(f"{directory}/{name}") for name in segments(directory))


def same(source, root):
    found = [tree.scan(path) for path in (source, root)]
    for row in found[0].values():
        if row.get("mode", "").startswith("0o4"):
            row["nlink"] = 1
    assert not tree.differences(*found)
