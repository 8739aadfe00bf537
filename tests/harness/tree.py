"""A whole tree as a value that can be compared: names, content, modes, owners, times, xattrs, hard links, holes' effect on content."""

import hashlib
import os
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
