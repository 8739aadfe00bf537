"""Random zips, for comparing import with unzip."""

import io
import os
import random
import stat
import struct
import subprocess
import time
import zipfile

from harness import tars

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


class Unseekable(io.RawIOBase):
    """Makes zipfile write sizes and checksums behind the data."""

    def __init__(self, handle):
        super().__init__()
        self.handle = handle

    def writable(self):
        return True

    def write(self, data):
        return self.handle.write(data)


class Member:
    """Of a directory the name ends with a slash. exact: its time stands in an extra field, too, to the second and not to two of them."""

    def __init__(self, name, data, mode, when, method=zipfile.ZIP_STORED, exact=False):
        self.name, self.data, self.mode, self.time, self.method, self.exact = name, data, mode, when, method, exact

    def add_to(self, archive):
        info = zipfile.ZipInfo(self.name, time.gmtime(self.time)[:6])
        info.create_system, info.external_attr, info.compress_type = 3, self.mode << 16, self.method
        if self.exact:
            info.extra = struct.pack("<HHBl", 0x5455, 5, 1, self.time)
        archive.writestr(info, self.data)


def write(path, members, streamed=False):
    with open(path, "wb") as handle, zipfile.ZipFile(Unseekable(handle) if streamed else handle, "w") as archive:
        for member in members:
            member.add_to(archive)
    return path


def extract(path, target):
    """unzip's way, as root; of two members of one name the last wins."""
    os.makedirs(target, exist_ok=True)
    done = subprocess.run(["unzip", "-o", "-q", path, "-d", target], env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}, capture_output=True,
                          timeout=600, check=False)
    assert done.returncode == 0, done


class Chance:
    """A seed's random members: few names and few times, so that they come again."""

    FILES = ("a", "b", "d/a", "d/b", "d/e/a", "f/g/h/a", "\u00fc", "dir \u00e4/x")
    DIRECTORIES = ("d/", "d/e/", "f/", "empty/")
    LINKS = ("s", "d/s")  # never anything else

    def __init__(self, seed):
        self.random, self.top = random.Random(seed), f"{seed:06d}"

    def member(self, kind):
        chance = self.random
        when = tars.EPOCH + chance.randrange(60)
        more = {"when": when, "exact": chance.random() < 0.5}
        if not more["exact"]:
            more["when"] -= when % 2
        if kind == "d":
            return Member(f"{self.top}/{chance.choice(self.DIRECTORIES)}", b"", stat.S_IFDIR | chance.choice((0o755, 0o700, 0o711)), **more)
        if kind == "s":
            return Member(f"{self.top}/{chance.choice(self.LINKS)}", chance.choice((b"a", b"d", b"nowhere", b"../a")), stat.S_IFLNK | 0o777, **more)
        data = bytes([chance.randrange(65, 68)]) * chance.choice((0, 1, 1, 5, 600, 70000))
        if chance.random() < 0.1:
            data = chance.randbytes(100000)
        return Member(f"{self.top}/{chance.choice(self.FILES)}", data, stat.S_IFREG | chance.choice((0o644, 0o644, 0o600, 0o755, 0o444)),
                      method=chance.choice(METHODS), **more)

    def members(self):
        found = [self.member(self.random.choices("fds", (70, 20, 10))[0]) for _ in range(self.random.randint(1, 12))]
        # Of links and directories that are there twice unzip takes any: it makes them when all else is there.
        once = {member.name: member for member in found if not stat.S_ISREG(member.mode)}
        return [member for member in found if once.get(member.name, member) is member]

    def archives(self):
        """Three to be extracted one after the other: often the same again."""
        rounds = [self.members()]
        for _ in range(2):
            rounds.append(rounds[-1] if self.random.random() < 0.4 else self.members())
        return rounds
