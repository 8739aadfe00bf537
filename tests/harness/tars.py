"""Archives made by hand, and random ones for comparing import with GNU tar."""

import io
import os
import random
import subprocess
import tarfile

EPOCH = 1000000000
TYPES = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.LNKTYPE, "s": tarfile.SYMTYPE, "p": tarfile.FIFOTYPE, "c": tarfile.CHRTYPE}


class Member:
    """name, kind (a key of TYPES), data: content of a file, what a link links to, minor number of a device. holes: as GNU tar's sparse files."""

    def __init__(self, name, kind="f", data=b"", time=EPOCH, mode=None, holes=False, owner=0, **headers):
        self.name, self.kind, self.data, self.time, self.holes, self.owner, self.headers = name, kind, data, time, holes, owner, headers
        self.mode = mode if mode is not None else 0o755 if kind == "d" else 0o644

    def info(self):
        info = tarfile.TarInfo(self.name)
        info.mtime, info.mode, info.type, info.pax_headers = self.time, self.mode, TYPES[self.kind], dict(self.headers)
        info.uid = info.gid = self.owner
        if self.kind in "ls":
            info.linkname = self.data
        elif self.kind == "c":
            info.devmajor, info.devminor = 1, self.data
        return info

    def add_to(self, archive):
        info, body = self.info(), self.data if self.kind == "f" else b""
        if self.holes:
            # pax, version 1: the list of stretches stands in front of the data. The first half is a hole.
            hole = len(body)
            body = f"1\n{hole}\n{len(body)}\n".encode().ljust(512, b"\0") + body
            info.pax_headers.update({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": self.name,
                                     "GNU.sparse.realsize": str(2 * hole)})
            info.name = "GNUSparseFile.0/" + self.name
        info.size = len(body)
        archive.addfile(info, io.BytesIO(body))


def write(path, members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for member in members:
            member.add_to(archive)
    return path


def extract(path, target):
    """GNU tar's way, as root. Its exit code."""
    os.makedirs(target, exist_ok=True)
    return subprocess.run(["tar", "--numeric-owner", "--xattrs", "--acls", "-xpf", path, "-C", target], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=600, check=False).returncode


class Chance:
    """A seed's random members: few names, few sizes, few times, so that everything meets everything."""

    FILES = ("b", "c", "d/a", "d/b", "d/e/a", "f/a", "s/a", "d//b", "d/./a", "/b")
    STRANGE = ("d/../b", "n" * 255, "n" * 256, "d/" + "long/" * 60 + "a", "\udcff\n", " ", "-", "\\x41")
    ACLS = ("user::rw-,user:1234:rwx,group::r--,mask::rw-,other::---", "user::rwx,group::r-x,group:4321:-w-,mask::rwx,other::r--",
            "user::rw-,group::r--,other::r--")
    LINKS = ("a", "b", "c", "d", "d/a", "d/b", "f", "s", "/b", "d//b")
    PLACES = ("a", "d", "d/e", "f", "s", "./d")  # where directories may be, and anything else

    def __init__(self, seed, big):
        self.random = random.Random(seed)
        self.top, self.big = f"{seed:06d}", big

    def name(self, names=FILES + PLACES):
        picked = self.random.choice(names)
        return f"/{self.top}{picked}" if picked.startswith("/") else f"{self.top}/{picked}"

    def content(self):
        size = self.random.choice((0, 1, 1, 5, 5, 600, 70000) + ((BIG,) if self.random.random() < self.big else ()))
        return bytes([self.random.randrange(65, 68)]) * size

    def member(self):
        kind = self.random.choices("fldspch", (40, 22, 18, 12, 2, 2, 4))[0]
        name = self.name() if self.random.random() < 0.95 else self.name(self.STRANGE)
        more = {"time": EPOCH + self.random.randrange(2), "mode": self.random.choice((0o644, 0o644, 0o600, 0o4755))}
        if self.random.random() < 0.2:
            more["owner"] = 1234
        if self.random.random() < 0.2 and kind in "fdh":
            more["SCHILY.xattr.user.note"] = self.random.choice(("one", "two"))
        # Of a directory that is told of again without one, tar takes it away and import keeps it, as it does other attributes.
        if self.random.random() < 0.15 and kind in "fh":
            more["SCHILY.acl.access"] = self.random.choice(self.ACLS)
        if kind == "l":
            # Not to a directory: tar takes away what has the name before it finds that it cannot. Not where a directory may be missing:
            # tar makes it before it finds that what the link leads to is not there, and leaves it.
            # Not through its own name, which tar takes away before it looks the second time.
            name = self.name(self.LINKS)
            return Member(name, "l", self.name([file for file in self.FILES if file[:2] != name[-1] + "/"]), **more)
        if kind == "s":
            # Not those that lead up: tar puts something else in their place until the end.
            return Member(name, "s", self.random.choice(("d", "d/e", "a", "b", "nowhere", "s")), **more)
        if kind == "d":
            more["mode"] = self.random.choice((0o755, 0o700, 0o1777))
            return Member(self.name(self.PLACES), "d", **more)
        if kind == "c":
            return Member(name, "c", self.random.choice((3, 5)), **more)
        if kind == "h":
            return Member(name, "f", self.content() or b"x", holes=True, **more)
        return Member(name, kind, self.content() if kind == "f" else b"", **more)

    def members(self):
        top = Member(f"{self.top}/d", "d")
        return [top] + [self.member() for _ in range(self.random.randint(2, 14))]

    def archives(self):
        """Three to be extracted one after the other: often the same again, or with something appended, as `tar -r` does."""
        first = self.members()
        rounds = [first]
        for _ in range(2):
            how = self.random.random()
            rounds.append(rounds[-1] if how < 0.4 else rounds[-1] + self.members()[:4] if how < 0.75 else self.members())
        return rounds


BIG = (4 << 20) + 1000  # more than import reads at once


def write_empty_files(path, names):
    """An archive of empty files; names of at most 100 bytes. Faster than tarfile by far."""
    template = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)[100:512]
    rest = template[:48] + b" " * 8 + template[56:]
    base = sum(rest)
    with open(path, "wb") as out:
        for name in names:
            field = name.encode().ljust(100, b"\0")
            out.write(field + rest[:48] + b"%06o\0 " % (base + sum(field)) + rest[56:])
        out.write(bytes(1024))
