"""What a mounted store holds, as lines of text: one per object of each head and snapshot, and one per snapshot record."""

import json
import os
import stat

from harness import tree


def quote(name):
    """A name on one line, whatever its bytes."""
    return "".join(chr(b) if 0x20 < b < 0x7f and b not in b"%\\" else f"%{b:02x}" for b in os.fsencode(name))


def describe(path):
    info = os.lstat(path)
    fields = [f"{info.st_mode:06o}", f"{info.st_uid}:{info.st_gid}", f"mtime={info.st_mtime_ns}"]
    if not stat.S_ISDIR(info.st_mode):
        fields.append(f"nlink={info.st_nlink}")
    if stat.S_ISREG(info.st_mode):
        fields += [f"size={info.st_size}", f"sha256={tree.digest(path)}"]
    elif stat.S_ISLNK(info.st_mode):
        fields.append(f"target={quote(os.readlink(path))}")
    elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        fields.append(f"device={os.major(info.st_rdev)}:{os.minor(info.st_rdev)}")
    fields += [f"{quote(name)}={value.hex()}" for name, value in tree.xattrs(path, keep=lambda name: not name.startswith("user.corpusfs."))]
    return " ".join(fields)


def view(root):
    """Lines of one head or snapshot. The times of its root change with what is done beside it."""
    lines = []
    waiting = ["."]
    while waiting:
        name = waiting.pop()
        path = os.path.join(root, name)
        if name != ".":
            lines.append(f"{quote(name[2:])} {describe(path)}")
        if stat.S_ISDIR(os.lstat(path).st_mode):
            waiting += [f"{name}/{child}" for child in sorted(os.listdir(path), reverse=True)]
    return sorted(lines)


def snapshots(call, store):
    """Lines of what is recorded of each snapshot. `call` runs corpusfs with arguments and returns what it prints."""
    rows = json.loads(call("-s", store, "snapshot", "list", "--json"))
    rows = rows.get("snapshots", rows) if isinstance(rows, dict) else rows
    names = [f"{row['dataset']}@{row['name']}" for row in rows]
    shown = [json.loads(call("-s", store, "snapshot", "show", name, "--json")) for name in names]
    kept = ("taken", "note", "holds", "guard", "scheduled", "identity")
    return [f"snapshot {name} " + json.dumps({key: row[key] for key in kept if key in row}, sort_keys=True) for name, row in zip(names, shown)]


def everything(call, store, point):
    lines = snapshots(call, store)
    for dataset in sorted(os.listdir(point)):
        lines += [f"{dataset} {line}" for line in view(f"{point}/{dataset}")]
        for name in sorted(os.listdir(f"{point}/{dataset}/.snapshots")):
            lines += [f"{dataset}@{name} {line}" for line in view(f"{point}/{dataset}/.snapshots/{name}")]
    return lines
