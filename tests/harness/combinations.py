"""Random histories of everything a store can do, in any order, against what each dataset, snapshot and backup must contain.

The model (`World`) is in memory. A file is a `File`, which several names may lead to; of each the versions are remembered that it had since it
was last known to be on disk, and of each dataset the names that it had. After kill -9 the names are those of one moment since then, and each
file has one of its versions (names are committed at once and in order, content later). Snapshots, backups and exports are exact.

Damage: as long as a flipped bit may be in the store, a read may answer EIO, where `corpusfs damage` says so; it never gives other bytes.
"""

import errno
import json
import mmap
import os
import random

from harness import posix, program
from harness.repository import SECRETS
from harness.snapshots import rows

KIB, MIB = 1 << 10, 1 << 20
PIECE = 256 * KIB  # one write(2) of at most so much is one request
FULL = (errno.ENOSPC, errno.EDQUOT)
HOLE_STEP = 16
INLINE_MAX = 2048  # content of smaller files is a record, of which a scrub finds out


class Stopped(Exception):
    """A merge met damage; nothing is written any more until the next mount (lib/kv/damage.h)."""


def files_below(root):
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".snapshots"]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(found)


def first_difference(found, wanted):
    return next((at for at, (one, other) in enumerate(zip(found, wanted)) if one != other), min(len(found), len(wanted)))


class File:
    def __init__(self, data=b""):
        self.data, self.versions = data, [data]

    def become(self, data):
        self.data = data
        self.versions.append(data)

    def settle(self):
        self.versions = [self.data]


class Contents(dict):
    """{path: bytes} at one moment, and which paths were one file."""

    def __init__(self, names):
        super().__init__({path: file.data for path, file in names.items()})
        self.same = {path: id(file) for path, file in names.items()}


class Dataset:
    def __init__(self, contents=None):
        files = {}
        self.names = {path: files.setdefault(contents.same[path], File(data)) for path, data in (contents or {}).items()}
        self.limited = False
        self.settle()

    def named(self):
        """The names are others than before."""
        self.history.append(dict(self.names))

    def settle(self):
        """All of it is on disk."""
        self.history = [dict(self.names)]
        for file in self.names.values():
            file.settle()

    def contents(self):
        return Contents(self.names)


def replaced(data, offset, new):
    """The bytes of a file after a write."""
    return data[:offset].ljust(offset, b"\0") + new + data[offset + len(new) :]


class World:
    """A store that is mounted at `point`. `small`: its disk may be full at any time."""

    def __init__(self, store, seed, small=False):
        self.store, self.chance, self.small = store, random.Random(seed), small
        self.point, self.count, self.log = store.area + "/mnt", 0, []
        self.heads, self.snapshots, self.holds, self.backups = {}, {}, set(), {}
        self.flips, self.repository = 0, None
        self.hurt = set()
        self.reading = None  # the snapshot that a command beside the others reads
        self.payloads = [self.chance.randbytes(self.chance.choice((3000, 70000, 400000))) for _ in range(6)]

    # --- names and bytes

    def fresh(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def bytes(self, length):
        """Some of them are new, some were stored before, some are easy to compress."""
        kind = self.chance.randrange(10)
        if kind < 5:
            return self.chance.randbytes(length)
        if kind < 7:
            data = self.chance.choice(self.payloads)
            return (data * (length // len(data) + 1))[:length]
        if kind == 7:
            return bytes(length)
        return (b"%d words and words " % self.chance.randrange(40) * (length // 12 + 1))[:length]

    def length(self):
        return int(2 ** self.chance.uniform(0, self.chance.choice((11, 13, 17, 18, 20))))

    def dataset(self):
        return self.chance.choice(sorted(self.heads))

    def pick(self, dataset):
        names = sorted(self.heads[dataset].names)
        return self.chance.choice(names) if names else None

    def name(self):
        """Mostly in one of a few directories."""
        return self.chance.choice(("", "a/", "b/", "a/c/")) + self.chance.choice("klmnopqrstuvwxyz") + self.chance.choice("0123")

    def at(self, dataset, path):
        return f"{self.point}/{dataset}/{path}"

    def forgive(self, problem, dataset):
        """Whether an operation may fail like this."""
        if problem.errno in FULL:
            return self.small or self.heads[dataset].limited
        return problem.errno == errno.EIO and self.flips > 0

    # --- operations on files

    def touch_file(self, dataset, path, change):
        """Runs change(fd), which gives the bytes that the file has then; what an error leaves is looked up."""
        file = self.heads[dataset].names[path]
        fd = os.open(self.at(dataset, path), os.O_RDWR)
        try:
            for data in change(fd, file):
                file.become(data)
        except OSError as problem:
            assert self.forgive(problem, dataset), f"{dataset}/{path}: {problem}"
            self.adopt(fd, file)
        finally:
            os.close(fd)

    def adopt(self, fd, file):
        """After an error the file is what it is; damage is as before."""
        size = os.fstat(fd).st_size
        known = file.data[:size].ljust(size, b"\0")
        found = bytearray(known)
        for at in range(0, size, 4096):
            try:
                piece = os.pread(fd, 4096, at)
                found[at : at + len(piece)] = piece
            except OSError as problem:
                assert problem.errno == errno.EIO and self.flips, problem
        file.become(bytes(found))

    def write_at(self, fd, file, offset, data):
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            done = os.pwrite(fd, piece, offset + at)
            yield replaced(file.data, offset + at, piece[:done])
            if done < len(piece):
                return

    def do_put(self, dataset):
        path, head = self.name(), self.heads[dataset]
        if any(other.startswith(path + "/") for other in head.names):
            return
        if self.chance.random() < 0.5 and path in head.names:
            os.unlink(self.at(dataset, path))
            del head.names[path]
            head.named()
        os.makedirs(os.path.dirname(self.at(dataset, path)), exist_ok=True)
        try:
            os.close(os.open(self.at(dataset, path), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644))
        except OSError as problem:
            assert self.forgive(problem, dataset), problem
            return
        if path in head.names:
            head.names[path].become(b"")
        else:
            head.names[path] = File()
            head.named()
        data = self.bytes(self.length())
        self.touch_file(dataset, path, lambda fd, file: self.write_at(fd, file, 0, data))

    def on_file(self, dataset, change):
        path = self.pick(dataset)
        if path:
            self.touch_file(dataset, path, change)

    def offset(self, file, beyond=20000):
        offset = self.chance.randrange(len(file.data) + self.chance.choice((1, beyond)))
        return offset // 4096 * 4096 if self.chance.random() < 0.3 else offset

    def do_overwrite(self, dataset):
        def change(fd, file):
            for _ in range(self.chance.choice((1, 1, 8, 30))):
                if len(file.data) < 3 * MIB:
                    yield from self.write_at(fd, file, self.offset(file), self.bytes(min(self.length(), 40000)))

        self.on_file(dataset, change)

    def do_append(self, dataset):
        """Small files grow until they are chunks, a few bytes at a time."""
        def change(fd, file):
            for _ in range(self.chance.randrange(1, 30)):
                if len(file.data) < 3 * MIB:
                    yield from self.write_at(fd, file, len(file.data), self.bytes(self.chance.randrange(1, 1500)))

        self.on_file(dataset, change)

    def do_truncate(self, dataset):
        def change(fd, file):
            size = self.chance.choice((0, 1, 100, 4096, self.offset(file), self.offset(file)))
            os.ftruncate(fd, size)
            yield file.data[:size].ljust(size, b"\0")

        self.on_file(dataset, change)

    def do_fallocate(self, dataset):
        def change(fd, file):
            offset, length, mode = self.offset(file), self.length(), self.chance.choice((0, 1, 3, 3, 3, 16, 17))
            posix.fallocate(fd, mode, offset, length)
            data = file.data
            if mode & (posix.FALLOC_PUNCH_HOLE | posix.FALLOC_ZERO_RANGE):
                size = len(data) if mode & posix.FALLOC_KEEP_SIZE else max(len(data), offset + length)
                data = replaced(data, offset, bytes(length))[:size]
            elif not mode & posix.FALLOC_KEEP_SIZE:
                data = data.ljust(offset + length, b"\0")
            yield data

        self.on_file(dataset, change)

    def do_mmap(self, dataset):
        def change(fd, file):
            if not file.data or self.flips:  # a page that cannot be read is a signal
                return
            offset = self.chance.randrange(len(file.data))
            new = self.bytes(min(self.length(), len(file.data) - offset))
            with mmap.mmap(fd, len(file.data)) as area:
                area[offset : offset + len(new)] = new
                area.flush()
            os.fsync(fd)
            yield replaced(file.data, offset, new)
            file.settle()

        if not self.small and not self.heads[dataset].limited:
            self.on_file(dataset, change)

    def do_copy(self, dataset):
        """copy_file_range, also from a snapshot and from another dataset."""
        if self.snapshots and self.chance.random() < 0.4:
            origin = self.chance.choice(sorted(self.snapshots))
            contents, base = self.snapshots[origin], f"{self.point}/{origin[0]}/.snapshots/{origin[1]}"
        else:
            other = self.dataset()
            contents, base = self.heads[other].contents(), f"{self.point}/{other}"
        target = self.pick(dataset)
        if not contents or not target:
            return
        source = self.chance.choice(sorted(contents))
        data, same = contents[source], f"{base}/{source}" == self.at(dataset, target)

        def change(fd, file):
            start = self.chance.choice((0, 0, self.chance.randrange(len(data) + 1)))
            goal = self.chance.choice((0, start, self.offset(file)))
            length = min(len(data) - start, 3 * MIB, self.chance.choice((10**9, self.length())))
            if same and start < goal + length and goal < start + length or self.shares(dataset, target, data):
                return
            source_fd = os.open(f"{base}/{source}", os.O_RDONLY)
            try:
                while length > 0:
                    done = os.copy_file_range(source_fd, fd, length, start, goal)
                    assert 0 < done <= length
                    yield replaced(file.data, goal, data[start : start + done])
                    start, goal, length = start + done, goal + done, length - done
            finally:
                os.close(source_fd)
            os.fsync(fd)
            file.settle()

        self.touch_file(dataset, target, change)

    def shares(self, dataset, target, data):
        """Another name of the target may be the source."""
        file = self.heads[dataset].names[target]
        return file.data is data and sum(other is file for other in self.heads[dataset].names.values()) > 1

    def do_unlink(self, dataset):
        path = self.pick(dataset)
        if path:
            os.unlink(self.at(dataset, path))
            del self.heads[dataset].names[path]
            self.heads[dataset].named()

    def do_rename(self, dataset):
        old, new, head = self.pick(dataset), self.name(), self.heads[dataset]
        if not old or any(other.startswith(new + "/") for other in head.names):
            return
        os.makedirs(os.path.dirname(self.at(dataset, new)), exist_ok=True)
        os.rename(self.at(dataset, old), self.at(dataset, new))
        if head.names.get(new) is not head.names[old]:  # of two names of one file both stay
            head.names[new] = head.names.pop(old)
            head.named()

    def do_link(self, dataset):
        old, new, head = self.pick(dataset), self.name(), self.heads[dataset]
        if not old or new in head.names or any(other.startswith(new + "/") for other in head.names):
            return
        os.makedirs(os.path.dirname(self.at(dataset, new)), exist_ok=True)
        os.link(self.at(dataset, old), self.at(dataset, new))
        head.names[new] = head.names[old]
        head.named()

    def do_fsync(self, dataset):
        path = self.pick(dataset)
        if not path:
            return
        fd = os.open(self.at(dataset, path), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self.heads[dataset].names[path].settle()
        self.heads[dataset].history = [dict(self.heads[dataset].names)]

    FILES = {
        "put": 10, "overwrite": 10, "append": 5, "truncate": 4, "fallocate": 5, "mmap": 2, "copy": 6, "unlink": 4, "rename": 4, "link": 1, "fsync": 1,
    }  # fmt: skip

    def work(self, count):
        for _ in range(count):
            kind, dataset = self.chance.choices(list(self.FILES), list(self.FILES.values()))[0], self.dataset()
            self.log.append([kind, dataset])
            try:
                getattr(self, "do_" + kind)(dataset)
            except OSError as problem:
                assert problem.errno == errno.EIO and self.flips, f"{kind} in {dataset}: {problem}; after {self.log[-12:]}"
                raise Stopped from problem

    # --- comparing

    def read(self, path, data, cold):
        """Reads in pieces; the offsets where the answer was EIO."""
        bad, fd = [], os.open(path, os.O_RDONLY)
        try:
            assert os.fstat(fd).st_size == len(data), f"{path} has {os.fstat(fd).st_size} bytes, not {len(data)}; after {self.log[-12:]}"
            if cold:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for at in range(0, len(data), 128 * KIB):
                try:
                    found = os.pread(fd, 128 * KIB, at)
                except OSError as problem:
                    assert problem.errno == errno.EIO and self.flips, f"{path} at {at}: {problem}; after {self.log[-12:]}"
                    bad.append(at)
                    continue
                wanted = data[at : at + 128 * KIB]
                if len(found) < len(wanted) and self.flips:  # what is behind cannot be read
                    bad.append(at + len(found))
                    wanted = wanted[: len(found)]
                assert found == wanted, f"{path} is wrong from {at + first_difference(found, wanted)} on; after {self.log[-12:]}"
            self.look_for_holes(fd, path, data)
        finally:
            os.close(fd)
        return bad

    def look_for_holes(self, fd, path, data):
        at = 0
        for _ in range(HOLE_STEP):
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as problem:
                assert problem.errno == errno.ENXIO, f"SEEK_DATA in {path}: {problem}"
                begin = len(data)
            assert begin >= at and not data[at:begin].strip(b"\0"), f"{path}: SEEK_DATA skips data between {at} and {begin}; after {self.log[-12:]}"
            if begin >= len(data):
                return
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            assert begin < at <= len(data), f"{path}: SEEK_HOLE gives {at} after {begin}"

    def compare(self, root, contents, view=None):
        found = files_below(root)
        assert found == sorted(contents), f"{root}: names differ: {set(found) ^ set(contents)}; after {self.log[-12:]}"
        cold = self.chance.random() < 0.7
        for path, data in contents.items():
            if self.read(f"{root}/{path}", data, cold):
                assert view, f"{root}/{path} cannot be read"
                self.hurt.add((*view, path))

    def check(self):
        """Every head and every snapshot; the store's own check; and that what is hurt is known."""
        self.hurt = set()
        told = sorted((row["dataset"], row["name"]) for row in rows(self.store, "snapshot", "list"))
        assert told == sorted(self.snapshots), f"snapshots: {set(told) ^ set(self.snapshots)}; after {self.log[-12:]}"
        for dataset, head in self.heads.items():
            self.compare(f"{self.point}/{dataset}", head.contents(), (dataset, ""))
        for (dataset, name), contents in self.snapshots.items():
            self.compare(f"{self.point}/{dataset}/.snapshots/{name}", contents, (dataset, name))
        self.run("check", codes=(0, program.DAMAGED) if self.flips else (0,))
        result = self.run("damage", "--json", codes=(0, 7) if self.flips else (0,))
        listed = {(place["dataset"], place["snapshot"], place["path"]) for place in json.loads(result.out)["places"]}
        missing = {place for place in self.hurt - listed if len(self.contents_at(place)) > INLINE_MAX}
        assert not missing, f"not listed as damaged: {missing}; listed: {sorted(listed)}"

    def contents_at(self, place):
        dataset, name, path = place
        return (self.snapshots[dataset, name] if name else self.heads[dataset].contents())[path]

    # --- commands

    def run(self, *command, codes=(0,)):
        self.log.append(list(command))
        result = self.store.run("-s", self.store.path, *command, env=SECRETS)
        if result.code == program.DAMAGED and self.flips and "Bad message" in result.err:
            raise Stopped(result.err)
        assert result.code in codes, f"{command}: exit {result.code}\n{result.out}{result.err}after {self.log[-12:]}"
        return result

    def codes(self, *more):
        """What a command that reads or writes content may end with."""
        return (0, *more, *((1, 7) if self.flips else ()), *((8,) if self.small or any(head.limited for head in self.heads.values()) else ()))

    def settle(self):
        for head in self.heads.values():
            head.settle()
