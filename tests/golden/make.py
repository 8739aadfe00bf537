#!/usr/bin/python3
"""Makes a golden store: a small one of the format as this program writes it, with every kind of record, and the listing of what is in it.

    CORPUSFS_BUILD=build tests/golden/make.py        as root: writes tests/golden/format-N.tar.zst and format-N.listing

tests/mount/test_golden.py opens each golden store ever after and compares. A store that was released with a format is never made again:
a change of the format that it cannot bear needs another number, and code that opens the old one.

The store is that of a daemon which was killed: its log was not replayed, a file that was unlinked while open waits to be removed, and a
destroyed snapshot waits to be pruned.
"""

import os
import random
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE)]

from golden import listing  # noqa: E402
from harness import posix, procs, program  # noqa: E402

OPTIONS = "allow_other,dev,suid,acl,nosupervise"
LEFT_OUT = ("ballast", "lock", "log", "socket")  # not content: made anew when they are missing
SECONDS_1969, SECONDS_2200 = -1_000_000, 7_258_118_400


def text(lines, seed):
    """Lines that compress, and of which no two chunks are the same."""
    numbers = random.Random(seed)
    return "".join(f"{seed} line {number} of sample {numbers.randrange(10)}\n" for number in range(lines)).encode()


def noise(length, seed):
    return random.Random(seed).randbytes(length)


class Maker:
    def __init__(self, area):
        self.area, self.store, self.point = area, area + "/store", area + "/mnt"
        os.mkdir(self.point)

    def corpusfs(self, *args, fault=None, code=0):
        env = {key: value for key, value in os.environ.items() if key != "CORPUSFS_FAULT"}
        if fault:
            env["CORPUSFS_FAULT"] = fault
        with tempfile.TemporaryFile("w+") as out:
            done = subprocess.run([program.binary(), *args], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False)
            out.seek(0)
            said = out.read()
        assert code is None or done.returncode == code, f"corpusfs {' '.join(args)}: exit {done.returncode}\n{said}"
        return said

    def on(self, *args, **options):
        return self.corpusfs("-s", self.store, *args, **options)

    def mount(self, **options):
        self.corpusfs("mount", self.store, self.point, "-o", OPTIONS, **options)

    def umount(self):
        self.corpusfs("umount", self.point)

    def write(self, path, data):
        with open(f"{self.point}/{path}", "wb") as handle:
            handle.write(data)


def make_contents(maker):
    """Every way in which content is stored: inline, small and bulk chunks, packed and plain, shared, holes, allocated zeros."""
    for length in (0, 1, 100, 2048, 2049):
        maker.write(f"data/sizes-{length}", text(100, length)[:length])
    maker.write("data/small.bin", noise(30_000, 1))
    maker.write("data/small.txt", text(8_000, 2))
    maker.write("data/bulk.txt", text(44_000, 3))
    maker.write("data/bulk-again.txt", text(44_000, 3))
    maker.write("plain/bulk.txt", text(40_000, 4))
    for name, places in (("sparse-start", [0]), ("sparse-both", [0, 5 << 20]), ("sparse-middle", [3 << 20])):
        with open(f"{maker.point}/data/{name}", "wb") as handle:
            for place in places:
                os.pwrite(handle.fileno(), text(50, place), place)
            os.truncate(handle.fileno(), 10 << 20)
    with open(f"{maker.point}/data/allocated", "wb") as handle:
        os.posix_fallocate(handle.fileno(), 0, 300_000)
        os.pwrite(handle.fileno(), b"in the middle", 150_000)


def make_objects(maker):
    """Every kind of object, name, attribute and time."""
    top = maker.point + "/data"
    os.mkdir(top + "/links")
    maker.write("data/links/first", b"one file, three names\n")
    os.link(top + "/links/first", top + "/links/second")
    os.link(top + "/links/first", top + "/third")
    os.symlink("links/first", top + "/short-link")
    os.symlink("x/" * 2000 + "end", top + "/long-link")
    os.mkfifo(top + "/fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(top + "/socket")
    os.mknod(top + "/char", 0o20600, os.makedev(1, 3))
    os.mknod(top + "/block", 0o60660, os.makedev(7, 300))
    os.makedirs(top + "/deep/" + "/".join("abcdefghij"))
    for number in range(40):
        maker.write(f"data/deep/{number:03}", b"%d" % number)
    for name in (b"n" * 255, b"not utf-8 \xff\xfe", b"new\nline", b"%percent", b"-rf"):
        with open(os.fsencode(top) + b"/" + name, "wb") as handle:
            handle.write(name)
    for name, mode, owner in (("setuid", 0o4755, 0), ("setgid", 0o2755, 12345), ("owned", 0o600, 65534)):
        maker.write("data/" + name, b"#!/bin/true\n")
        os.chown(f"{top}/{name}", owner, owner)
        os.chmod(f"{top}/{name}", mode)
    os.mkdir(top + "/sticky")
    os.chmod(top + "/sticky", 0o1777)
    maker.write("data/attributes", b"")
    for name, value in (("user.short", b"value"), ("user.empty", b""), ("user.long", noise(3000, 5)), ("trusted.own", b"\0\1\2"),
                        ("security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))):
        os.setxattr(f"{top}/attributes", name, value)
    os.mkdir(top + "/acl")
    maker.write("data/acl/file", b"acl")
    subprocess.run(["setfacl", "-m", "u:12345:rw,g:23456:r", top + "/acl/file"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:12345:rwx", top + "/acl"], check=True)
    for name, seconds in (("before-1970", SECONDS_1969), ("after-2106", SECONDS_2200)):
        maker.write("data/" + name, b"")
        posix.utimensat(f"{top}/{name}", (seconds, 1), (seconds, 123_456_789))


def change_contents(maker):
    """After the first snapshot: extents cut in two, shortened, shared, removed; names moved."""
    top = maker.point + "/data"
    with open(top + "/bulk.txt", "r+b") as handle:
        handle.seek(500_000)
        handle.write(noise(30_000, 6))
        handle.truncate(800_000)
    with open(top + "/bulk-again.txt", "rb") as source, open(top + "/shared", "wb") as target:
        assert os.copy_file_range(source.fileno(), target.fileno(), 400_000, 100_000, 0) == 400_000
    with open(top + "/allocated", "r+b") as handle:
        posix.fallocate(handle.fileno(), posix.FALLOC_PUNCH_HOLE | posix.FALLOC_KEEP_SIZE, 4096, 100_000)
    os.unlink(top + "/small.bin")
    os.rename(top + "/small.txt", top + "/deep/moved.txt")
    os.rename(top + "/deep/000", top + "/deep/001")
    os.removexattr(top + "/attributes", "user.short")
    with open(top + "/sizes-2048", "ab") as handle:
        handle.write(b"no longer inline")


def make_history(maker):
    """Snapshots with all they record, clones, a rollback and what it keeps, a schedule, identities."""
    make_contents(maker)
    make_objects(maker)
    maker.on("snapshot", "create", "data@first", "--note", "as it began: \u00e9, \u4e2d")
    maker.on("snapshot", "hold", "data@first", "golden")
    maker.on("snapshot", "hold", "data@first", "second-tag")
    change_contents(maker)
    maker.on("snapshot", "create", "data@both", "plain@both")
    maker.on("clone", "data@first", "clone")
    maker.write("clone/only-here", b"in the clone\n")
    os.unlink(maker.point + "/clone/sizes-100")
    maker.on("snapshot", "create", "clone@own")
    maker.on("dataset", "create", "back")
    maker.write("back/file", b"before\n")
    maker.on("snapshot", "create", "back@good")
    maker.write("back/file", b"spoilt\n")
    maker.on("rollback", "back@good")
    maker.write("back/later", b"after the rollback\n")
    maker.on("dataset", "create", "empty")
    maker.on("snapshot", "schedule", "plain", "--monthly", "100")
    maker.on("tick")
    for name in ("data@first", "data@both", "clone@own", "plain@both"):
        maker.on("snapshot", "show", name)


def leave_unfinished(maker):
    """Ends with the daemon's death: the log holds the last writes, an orphan and a destroyed snapshot wait."""
    maker.on("snapshot", "create", "data@doomed")
    maker.write("data/late", b"only in the log\n")
    orphan = os.open(f"{maker.point}/data/deep/039", os.O_RDWR)
    os.pwrite(orphan, text(10_000, 7), 0)
    os.fsync(orphan)
    os.unlink(f"{maker.point}/data/deep/039")
    maker.on("snapshot", "create", "data@with-orphan")
    maker.corpusfs("sync", maker.point)
    maker.on("snapshot", "destroy", "data@doomed", code=None)
    gone = time.monotonic() + 30
    while procs.fuse_mounts(maker.point) and time.monotonic() < gone:
        try:
            os.stat(maker.point)
        except OSError:
            break
    os.close(orphan)
    procs.detach(maker.point)


def archive(store, path):
    names = [f"--exclude=./{name}" for name in LEFT_OUT]
    subprocess.run(["tar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", *names, "-I", "zstd -19", "-cf", path, "-C", store, "."], check=True)


def list_again(maker, source):
    """The listing, of the archive as a test will find it."""
    maker.store = maker.area + "/again"
    os.mkdir(maker.store)
    subprocess.run(["tar", "-I", "zstd", "-xf", source, "-C", maker.store], check=True)
    maker.mount()
    try:
        return listing.everything(maker.corpusfs, maker.store, maker.point)
    finally:
        maker.umount()


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else HERE
    with tempfile.TemporaryDirectory(prefix="corpusfs-golden.", dir="/var/tmp") as area:
        maker = Maker(area)
        maker.corpusfs("init", maker.store)
        with open(maker.store + "/corpusfs", encoding="ascii") as handle:
            number = handle.read().split("\nformat ")[1].split("\n")[0]
        maker.mount()
        try:
            maker.on("dataset", "create", "data")
            maker.on("dataset", "create", "plain", "--level", "0")
            make_history(maker)
            maker.umount()
            maker.on("gc")
            maker.mount(fault="destroy-after-write")
            leave_unfinished(maker)
            archive(maker.store, f"{target}/format-{number}.tar.zst")
            lines = list_again(maker, f"{target}/format-{number}.tar.zst")
        finally:
            procs.detach(maker.point)
    with open(f"{target}/format-{number}.listing", "w", encoding="ascii") as handle:
        handle.writelines(line + "\n" for line in lines)
    print(f"format {number}: {len(lines)} lines")


if __name__ == "__main__":
    main()
