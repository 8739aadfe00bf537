"""A whole tree as a value that can be compared: names, content, modes, owners, times, xattrs, hard links, holes' effect on content."""

import hashlib
import os
import random
import stat

from harness import procs, program


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def xattrs(path, keep=lambda name: name.startswith("user.") or name.startswith("security.capability")):
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return ()
    return tuple(sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in names if keep(name)))


def describe(path, times=True):
    """One object, without its links. Directory sizes and link counts of ext4 follow its own layout: only subdirectories are counted."""
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    row = {"mode": oct(info.st_mode), "uid": info.st_uid, "gid": info.st_gid, "nlink": info.st_nlink, "xattrs": xattrs(path)}
    if times:
        row["mtime"] = info.st_mtime_ns
    if stat.S_ISREG(info.st_mode):
        row["size"], row["content"] = info.st_size, digest(path)
    elif stat.S_ISLNK(info.st_mode):
        row["size"], row["target"] = info.st_size, os.readlink(path)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        row["device"] = info.st_rdev
    return row


def scan(root, times=True):
    """{relative path: description}; a further name of the same file is described by its first name."""
    found, first = {}, {}

    def visit(path, name):
        info = os.lstat(path)
        key = (info.st_dev, info.st_ino)
        if not stat.S_ISDIR(info.st_mode) and key in first:
            found[name] = {"same as": first[key]}
            return
        first[key] = name
        found[name] = describe(path, times)
        if stat.S_ISDIR(info.st_mode):
            for child in sorted(os.listdir(path)):
                visit(os.path.join(path, child), os.path.join(name, child))

    visit(root, ".")
    return found


def differences(left, right, limit=20):
    """Lines that say where two scans differ; empty if nowhere."""
    lines = []
    for name in sorted(left.keys() | right.keys()):
        if left.get(name) == right.get(name):
            continue
        if name not in left or name not in right:
            lines.append(f"{name}: only {'left' if name in left else 'right'}")
        else:
            keys = [k for k in left[name].keys() | right[name].keys() if left[name].get(k) != right[name].get(k)]
            lines += [f"{name}: {k}: {left[name].get(k)!r} != {right[name].get(k)!r}" for k in sorted(keys)]
        if len(lines) > limit:
            return lines[:limit] + ["..."]
    return lines


def await_same(left, right, seconds=30):
    """The right one becomes as the left one. Until then a file may be missing, or its content may not come."""
    def is_same():
        try:
            return not differences(scan(left), scan(right))
        except OSError:
            return False

    try:
        procs.poll(is_same, seconds * program.scale(), f"{right} becomes as {left}")
    except AssertionError:
        assert_same(left, right)


def assert_same(left, right, times=True):
    found = differences(scan(left, times), scan(right, times))
    assert not found, f"{left} (left) and {right} (right) differ:\n" + "\n".join(found)


def make_deep(top, depth, file_every=0):
    """Directories within each other, made without long paths; in every so manyth a file. A descriptor of the last one."""
    here = os.open(top, os.O_DIRECTORY)
    for level in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
        if file_every and level % file_every == 0:
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    return here


NAMES = [b"a", b"b", b"c", b"Dir", b"\xff\xfe", "\u00e4".encode(), "a\u0308".encode(), b"two\nlines", b" space ", b"back\\slash", b"-dash", b"n" * 255,
         b"=%3D", b"*?"]


def make_random(root, seed, times=(-(1 << 31), 1 << 33)):
    """What a filesystem may hold: names of any bytes, holes, hard links, odd modes, owners, times and attributes."""
    chance = random.Random(seed)
    folders, files = [os.fsencode(root)], []
    os.makedirs(root)
    for _ in range(chance.randint(3, 25)):
        path = os.path.join(chance.choice(folders), chance.choice(NAMES))
        kind = chance.choices(("file", "dir", "symlink", "fifo", "device", "link"), (45, 20, 12, 5, 5, 13))[0]
        if os.path.lexists(path):
            continue
        if kind == "link" and files:
            os.link(chance.choice(files), path)
            continue
        make_one(chance, kind, path)
        if kind == "dir":
            folders.append(path)
        elif kind in ("file", "link"):
            files.append(path)
    for folder, below, names in os.walk(os.fsencode(root), topdown=False):
        for name in below + names + [b"."]:
            when = chance.choice((chance.randrange(*times) * 10**9, chance.randrange(*times) * 10**9 + chance.randrange(10**9)))
            os.utime(os.path.join(folder, name), ns=(when, when), follow_symlinks=False)


def make_one(chance, kind, path):
    if kind == "dir":
        os.mkdir(path)
    elif kind == "symlink":
        os.symlink(chance.choice((b"a", b"../b", b"/nowhere", b"\xff", b"t" * 300)), path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, chance.choice((stat.S_IFCHR, stat.S_IFBLK)) | 0o600, os.makedev(chance.randrange(300), chance.randrange(300)))
    else:
        with open(path, "wb") as handle:
            for _ in range(chance.randrange(4)):
                handle.seek(chance.choice((0, 0, 1, 4095, 70000, 1 << 20)) + handle.tell())
                handle.write(chance.randbytes(chance.choice((1, 100, 4096, 5000, 70000))))
            if chance.random() < 0.3:
                handle.truncate(chance.choice((0, 1, 4096, 65536, 1 << 20)) + handle.tell())
    owner = chance.choice((0, 0, 1234, 3000000000))
    os.chown(path, owner, owner, follow_symlinks=False)
    if kind != "symlink":
        os.chmod(path, chance.choice((0o644, 0o755, 0o600, 0o400, 0o7777, 0o111)) | (0o700 if kind == "dir" else 0))
    if kind in ("file", "dir", "link") and chance.random() < 0.2:
        os.setxattr(path, "user." + chance.choice(("note", "x=y", "\u00e4")), chance.randbytes(chance.choice((0, 5, 2000))))
