#!/usr/bin/python3
"""Random sequences of operations, played on the mount and on ext4: every result, every errno and whole trees must be equal.

An operation is a list of plain values that names files by path and descriptors by slot, so that any part of a sequence can be played
alone: a failing log is shortened by leaving lines out. A failure names its log; to replay and to shorten it by hand:

    tests/harness/model.py LOG MOUNTED REFERENCE            plays the log in two empty directories, tells the first difference
    tests/harness/model.py LOG MOUNTED REFERENCE --shrink   leaves out what is not needed for it; writes LOG.short
"""

import errno
import hashlib
import json
import mmap
import os
import random
import shutil
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import counts, posix, tree  # noqa: E402

SLOTS = 4
ALICE = 61001
NAMES = "abcdefghijkl"
FLAGS = [
    os.O_RDWR, os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_CREAT, os.O_RDWR | os.O_CREAT,
    os.O_RDWR | os.O_CREAT | os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR | os.O_CREAT | os.O_APPEND, os.O_RDONLY | os.O_DIRECTORY,
    os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW,
]  # fmt: skip
MODES = [0o644, 0o600, 0o755, 0o777, 0o000, 0o4755, 0o2755, 0o1777, 0o444]


def noise(seed, length):
    """Content of a write: some of it compressible, some repeated elsewhere, so that cutting and sharing have something to do."""
    if seed % 4 == 0:
        return (b"%d." % seed * (length // 2 + 1))[:length]
    return random.Random(seed % 50).randbytes(length)


class Generator:
    """Makes operations; learns from the results which paths exist, so that most have something to do. Errors are results, too."""

    def __init__(self, seed, prefix=""):
        self.chance, self.prefix = random.Random(seed), prefix
        self.files, self.directories = [], []  # paths that exist, as far as known

    def any(self):
        return self.prefix + "/".join(self.chance.choice(NAMES) for _ in range(self.chance.choice((1, 1, 2, 2, 3))))

    def path(self):
        """Mostly one that exists."""
        places = self.files[-30:] * 3 + self.directories[-8:]
        return self.chance.choice(places) if places and self.chance.random() < 0.85 else self.any()

    def fresh(self):
        """Mostly a new name in a directory that exists."""
        parent = self.chance.choice(self.directories[-8:] + [self.prefix.rstrip("/")])
        path = (parent + "/" if parent else "") + self.chance.choice(NAMES)
        return path if path.count("/") < 5 and self.chance.random() < 0.9 else self.path()

    def learn(self, operation, result):
        """Errors are names such as ENOENT."""
        name, args = operation[0], operation[1:]
        good = not (isinstance(result, str) and result.startswith("E"))
        paths = [value for value in args if isinstance(value, str) and value.startswith(self.prefix) and value != "alice"]
        gone = paths[:1] if good and name in ("unlink", "rmdir", "rename") else paths if result in ("ENOENT", "ENOTDIR", "ELOOP") else []
        known = self.files + self.directories
        if good and name in ("open", "mkdir", "mkfifo", "link", "symlink", "rename"):
            path = {"open": args[1] if name == "open" else None, "link": paths[-1], "rename": paths[-1]}.get(name, paths[0])
            places = self.directories if name == "mkdir" or (name == "rename" and paths[0] in self.directories) else self.files
            if path not in known:
                places.append(path)
        for path in gone:
            for places in (self.files, self.directories):
                if path in places:
                    places.remove(path)

    def opened(self):
        flags = self.chance.choice(FLAGS)
        return [self.fresh() if flags & os.O_CREAT and self.chance.random() < 0.6 else self.path(), flags]

    def offset(self):
        limit = self.chance.choice((100, 5000, 70000, 300000, 2000000))
        return self.chance.choice((self.chance.randrange(limit), self.chance.randrange(limit) // 4096 * 4096))

    def length(self):
        return int(2 ** self.chance.uniform(0, self.chance.choice((8, 13, 17, 19))))

    def next(self):
        chance, slot = self.chance, self.chance.randrange(SLOTS)
        seed = chance.randrange(1 << 20)
        kinds = [
            (16, lambda: ["open", slot, *self.opened(), chance.choice(MODES)]),
            (2, lambda: ["close", slot]),
            (8, lambda: ["write", slot, self.length(), seed]),
            (12, lambda: ["pwrite", slot, self.offset(), self.length(), seed]),
            (8, lambda: ["pread", slot, self.offset(), self.length()]),
            (5, lambda: ["mmap", slot, self.offset(), self.length(), seed]),
            (5, lambda: ["ftruncate", slot, self.offset()]),
            (3, lambda: ["truncate", self.path(), self.offset()]),
            (4, lambda: ["fallocate", slot, chance.choice((0, 1, 3, 16, 17)), self.offset(), self.length()]),
            (4, lambda: ["copy", slot, chance.randrange(SLOTS), self.offset(), self.offset(), self.length()]),
            (2, lambda: ["fsync", slot]),
            (4, lambda: ["fstat", slot]),
            (5, lambda: ["mkdir", self.fresh(), chance.choice(MODES)]),
            (2, lambda: ["rmdir", self.path()]),
            (4, lambda: ["unlink", self.path()]),
            (8, lambda: ["rename", self.path(), self.fresh() if chance.random() < 0.7 else self.path(), chance.choice((0, 0, 0, 1, 2))]),
            (5, lambda: ["link", self.path(), self.fresh()]),
            (3, lambda: ["symlink", self.fresh(), chance.choice(NAMES) * chance.choice((1, 1, 100, 3000))]),
            (2, lambda: ["readlink", self.path()]),
            (4, lambda: ["chmod", self.path(), chance.choice(MODES)]),
            (3, lambda: ["chown", self.path(), chance.choice((-1, 0, ALICE)), chance.choice((-1, 0, ALICE))]),
            (3, lambda: ["utime", self.path(), chance.randrange(1 << 61), chance.randrange(1 << 61)]),
            (3, lambda: ["setxattr", self.path(), "user." + chance.choice(NAMES), chance.choice((0, 5, 300)), seed]),
            (2, lambda: ["removexattr", self.path(), "user." + chance.choice(NAMES)]),
            (4, lambda: ["listdir", self.path()]),
            (4, lambda: ["stat", self.path()]),
            (5, lambda: ["read", self.path()]),
            (1, lambda: ["mkfifo", self.fresh(), chance.choice(MODES)]),
        ]
        operation = chance.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]()
        return operation + (["alice"] if chance.random() < 0.1 else [])


def facts(info):
    directory = info.st_mode & 0o170000 == 0o040000
    return [oct(info.st_mode), info.st_uid, info.st_gid, info.st_nlink, None if directory else info.st_size]


def digest(data):
    return f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:16]}"


class Player:
    """Plays operations below one root; returns what can be compared."""

    def __init__(self, root):
        self.root, self.slots = root, {}

    def play(self, operation):
        name, *args = operation
        user = args.pop() if args and args[-1] == "alice" else None
        try:
            if user:
                with posix.as_user(ALICE):
                    return getattr(self, "do_" + name)(*args)
            return getattr(self, "do_" + name)(*args)
        except OSError as problem:
            return errno.errorcode.get(problem.errno, problem.errno)

    def close(self):
        for fd in self.slots.values():
            os.close(fd)
        self.slots = {}

    def at(self, path):
        return f"{self.root}/{path}"

    def fd(self, slot):
        if slot not in self.slots:
            raise OSError(errno.EBADF, "empty slot")
        return self.slots[slot]

    def do_open(self, slot, path, flags, mode):
        fd = os.open(self.at(path), flags | os.O_NONBLOCK, mode)
        self.do_close(slot)
        self.slots[slot] = fd

    def do_close(self, slot):
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def do_write(self, slot, length, seed):
        return os.write(self.fd(slot), noise(seed, length))

    def do_pwrite(self, slot, offset, length, seed):
        return os.pwrite(self.fd(slot), noise(seed, length), offset)

    def do_pread(self, slot, offset, length):
        return digest(os.pread(self.fd(slot), length, offset))

    def do_mmap(self, slot, offset, length, seed):
        fd = self.fd(slot)
        size = os.fstat(fd).st_size
        if offset >= size or os.fstat(fd).st_mode & 0o170000 != 0o100000:
            return "beyond"
        with mmap.mmap(fd, size) as area:
            length = min(length, size - offset)
            area[offset : offset + length] = noise(seed, length)
        return length

    def do_ftruncate(self, slot, size):
        os.ftruncate(self.fd(slot), size)

    def do_truncate(self, path, size):
        os.truncate(self.at(path), size)

    def do_fallocate(self, slot, mode, offset, length):
        posix.fallocate(self.fd(slot), mode, offset, length)

    def do_copy(self, source, target, offset_in, offset_out, length):
        return os.copy_file_range(self.fd(source), self.fd(target), length, offset_in, offset_out)

    def do_fsync(self, slot):
        os.fsync(self.fd(slot))

    def do_fstat(self, slot):
        return facts(os.fstat(self.fd(slot)))

    def do_mkdir(self, path, mode):
        os.mkdir(self.at(path), mode)

    def do_mkfifo(self, path, mode):
        os.mkfifo(self.at(path), mode)

    def do_rmdir(self, path):
        os.rmdir(self.at(path))

    def do_unlink(self, path):
        os.unlink(self.at(path))

    def do_rename(self, old, new, flags):
        posix.renameat2(self.at(old), self.at(new), flags)

    def do_link(self, old, new):
        os.link(self.at(old), self.at(new), follow_symlinks=False)

    def do_symlink(self, path, target):
        os.symlink(target, self.at(path))

    def do_readlink(self, path):
        return os.readlink(self.at(path))

    def do_chmod(self, path, mode):
        os.chmod(self.at(path), mode)

    def do_chown(self, path, uid, gid):
        os.lchown(self.at(path), uid, gid)

    def do_utime(self, path, atime, mtime):
        os.utime(self.at(path), ns=(atime, mtime))
        return os.stat(self.at(path)).st_mtime_ns

    def do_setxattr(self, path, name, length, seed):
        os.setxattr(self.at(path), name, noise(seed, length))

    def do_removexattr(self, path, name):
        os.removexattr(self.at(path), name)

    def do_listdir(self, path):
        return sorted(os.listdir(self.at(path)))

    def do_stat(self, path):
        return facts(os.lstat(self.at(path)))

    def do_read(self, path):
        fd = os.open(self.at(path), os.O_RDONLY | os.O_NONBLOCK)
        try:
            return digest(os.read(fd, 4 << 20))
        finally:
            os.close(fd)


class Duel:
    """Two players and the log of what they played."""

    def __init__(self, mounted, reference, log):
        self.players, self.log, self.count = (Player(mounted), Player(reference)), log, 0
        with open(log, "w", encoding="ascii"):
            pass

    def play(self, operation):
        with open(self.log, "a", encoding="ascii") as handle:
            handle.write(json.dumps(operation) + "\n")
        self.count += 1
        ours, theirs = (player.play(operation) for player in self.players)
        assert ours == theirs, f"operation {self.count} {operation}: {ours}, ext4: {theirs}; replay: tests/harness/model.py {self.log}"
        return theirs

    def run(self, generator, count):
        for _ in range(count):
            operation = generator.next()
            generator.learn(operation, self.play(operation))
        counts.note({"operations compared with a model": count})

    def compare(self):
        found = tree.differences(*(tree.scan(player.root, times=False) for player in self.players))
        assert not found, f"after operation {self.count} the trees differ; log: {self.log}\n" + "\n".join(found)

    def close(self):
        for player in self.players:
            player.close()


def empty(root):
    for entry in os.scandir(root):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def replay(operations, mounted, reference, log):
    """The first difference as text, or None."""
    for root in (mounted, reference):
        empty(root)
        os.chmod(root, 0o755)
    duel = Duel(mounted, reference, log)
    try:
        for operation in operations:
            duel.play(operation)
        duel.compare()
        return None
    except AssertionError as problem:
        return str(problem)
    finally:
        duel.close()


def shrink(operations, fails):
    """Leaves out ever smaller parts as long as the rest still fails."""
    size = len(operations) // 2
    while size:
        start = 0
        while start < len(operations):
            shorter = operations[:start] + operations[start + size :]
            if fails(shorter):
                operations = shorter
            else:
                start += size
        size //= 2
    return operations


def main():
    log, mounted, reference = sys.argv[1:4]
    with open(log, encoding="ascii") as lines:
        operations = [json.loads(line) for line in lines]
    print(replay(operations, mounted, reference, log + ".replay"))
    if "--shrink" in sys.argv:
        operations = shrink(operations, lambda part: replay(part, mounted, reference, log + ".replay") is not None)
        with open(log + ".short", "w", encoding="ascii") as handle:
            handle.writelines(json.dumps(operation) + "\n" for operation in operations)
        print(f"{len(operations)} operations left in {log}.short")


if __name__ == "__main__":
    main()
