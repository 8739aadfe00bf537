"""Comparing what import makes of an archive with what another program has extracted from it, seed by seed."""

import os

from harness import tars, tree

DIRECTORY = "0o4"  # how its mode begins


def made_now(when):
    """Directories that no member told of are of the time at which they were made."""
    return when > (tars.EPOCH + 100) * 10**9


def scan(root, files_only):
    found = tree.scan(root)
    found.pop(".", None)
    for name, row in found.items():
        if "mode" in row:
            row["acls"] = tree.xattrs(f"{root}/{name}", keep=lambda name: name.startswith("system.posix_acl"))
        if row.get("mode", "").startswith(DIRECTORY):
            del row["nlink"]
        if files_only and ("target" in row or row.get("mode", "").startswith(DIRECTORY)):
            row["mode"], row["mtime"] = row["mode"][:4], 0
        if made_now(row.get("mtime", 0)):
            row["mtime"] = "now"
    return found


def as_import_has_it(left, right):
    """A directory that the program put something into after its own member has the time of that; import gives it the time that the archive says."""
    return {name: {**row, "mtime": right.get(name, {}).get("mtime")} if row.get("mode", "").startswith(DIRECTORY) and row["mtime"] == "now"
            else row for name, row in left.items()}


def check_same(extracted, imported, seeds, files_only=False):
    """Each seed has a directory of its own. files_only: the program gives modes and times to files, and to others now and then."""
    for seed in seeds:
        top = f"{seed:06d}"
        left, right = (scan(f"{root}/{top}", files_only) if os.path.lexists(f"{root}/{top}") else {} for root in (extracted, imported))
        found = tree.differences(as_import_has_it(left, right), right)
        assert not found, f"seed {seed}: the program (left) and import (right) differ:\n" + "\n".join(found)
