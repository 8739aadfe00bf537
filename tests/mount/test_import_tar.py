"""What a tar means is what GNU tar does with it, member by member: random archives, extracted by both one after the other."""

import os

import pytest

from harness import program, tars, tree

SEEDS = int(os.environ.get("CORPUSFS_TAR_SEEDS", 300 // program.scale()))
FIRST = int(os.environ.get("CORPUSFS_TAR_FIRST_SEED", 1))
AT_ONCE = 100  # in one archive
DIRECTORY = "0o4"  # how its mode begins


def run_import(store, archive, dataset, *options, code=None):
    result = store.run("-s", store.path, "import", *options, archive, dataset)
    assert result.code in ((0, 1) if code is None else (code,)), result
    return result


def made_now(when):
    """Directories that no member told of are of the time at which they were made."""
    return when > (tars.EPOCH + 100) * 10**9


def scan(root):
    found = tree.scan(root)
    found.pop(".", None)
    for row in found.values():
        if row.get("mode", "").startswith(DIRECTORY):
            del row["nlink"]
        if made_now(row.get("mtime", 0)):
            row["mtime"] = "now"
    return found


def as_import_has_it(left, right):
    """A directory that tar put something into after its own members has the time of that; import gives it the time that the archive says."""
    return {name: {**row, "mtime": right.get(name, {}).get("mtime")} if row.get("mode", "").startswith(DIRECTORY) and row["mtime"] == "now"
            else row for name, row in left.items()}


def check_same(extracted, imported, seeds):
    for seed in seeds:
        top = f"{seed:06d}"
        left, right = (scan(f"{root}/{top}") if os.path.lexists(f"{root}/{top}") else {} for root in (extracted, imported))
        found = tree.differences(as_import_has_it(left, right), right)
        assert not found, f"seed {seed}: tar (left) and import (right) differ:\n" + "\n".join(found)


@pytest.mark.timeout(3000 if "CORPUSFS_TAR_SEEDS" in os.environ else 120)
@pytest.mark.sanitize
def test_random_archives_are_extracted_as_tar_does(store, area):
    """CORPUSFS_TAR_SEEDS=N tries more, CORPUSFS_TAR_FIRST_SEED=N others."""
    point = store.mount()
    for first in range(FIRST, FIRST + SEEDS, AT_ONCE):
        seeds = range(first, min(first + AT_ONCE, FIRST + SEEDS))
        archives = [tars.Chance(seed, 0.02).archives() for seed in seeds]
        for number in range(3):
            path = tars.write(f"{area}/{first}-{number}.tar", [member for each in archives for member in each[number]])
            tars.extract(path, f"{area}/tar-{first}")
            run_import(store, path, f"d{first}")
            check_same(f"{area}/tar-{first}", f"{point}/d{first}", seeds)
            os.unlink(path)
        store.ok("-s", store.path, "dataset", "destroy", f"d{first}")
