"""Whatever a dataset holds comes out as it is: random trees, as a directory and as archives that other programs extract."""

import os
import stat
import subprocess

import pytest

from harness import program, tree
from test_export_archives import untar

TREES = int(os.environ.get("CORPUSFS_EXPORT_SEEDS", 60 // program.scale()))
FIRST = int(os.environ.get("CORPUSFS_EXPORT_FIRST_SEED", 1))


@pytest.fixture
def source(area):
    """make(**options): a directory with the trees of all seeds."""
    def make(**options):
        os.mkdir(area + "/in")
        for seed in range(FIRST, FIRST + TREES):
            tree.make_random(f"{area}/in/{seed:06d}", seed, **options)
        os.utime(area + "/in", (10**9, 10**9))
        return area + "/in"

    return make


def take_in(store, root):
    store.ok("-s", store.path, "import", root, "d")


@pytest.mark.sanitize
@pytest.mark.timeout(600 if "CORPUSFS_EXPORT_SEEDS" in os.environ else 120)
@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_random_trees_come_out_in_directories_and_tars(store, area, source, mounted):
    """CORPUSFS_EXPORT_SEEDS=N tries more, CORPUSFS_EXPORT_FIRST_SEED=N others."""
    root = source()
    take_in(store, root)
    if mounted:
        tree.assert_same(root, store.mount() + "/d")
    store.ok("-s", store.path, "export", "d", area + "/out")
    tree.assert_same(root, area + "/out")
    for form in ("tar", "tar.gz", "tar.zst"):
        store.ok("-s", store.path, "export", "d", f"{area}/a.{form}")
        tree.assert_same(root, untar(f"{area}/a.{form}", f"{area}/out-{form}"))
    store.ok("-s", store.path, "import", area + "/a.tar", "again")
    store.ok("-s", store.path, "export", "again", area + "/again")
    tree.assert_same(root, area + "/again")


def as_a_zip_has_it(root):
    """Seconds, no owners and attributes, no further names, and of set-id bits nothing; no pipes and devices, no names that are not UTF-8."""
    found = {}
    for folder, below, names in os.walk(root):
        for name in below + names:
            path = os.path.join(folder, name)
            if any("\udc80" <= letter <= "\udcff" for letter in os.path.relpath(path, root)):
                continue
            info = os.lstat(path)
            if stat.S_ISREG(info.st_mode):
                found[os.path.relpath(path, root)] = (stat.S_IMODE(info.st_mode) & 0o777, info.st_mtime_ns // 10**9, tree.digest(path))
            elif stat.S_ISDIR(info.st_mode):
                found[os.path.relpath(path, root)] = (stat.S_IMODE(info.st_mode) & 0o777,)
            elif stat.S_ISLNK(info.st_mode):
                found[os.path.relpath(path, root)] = (os.readlink(path),)
    return found


@pytest.mark.timeout(600 if "CORPUSFS_EXPORT_SEEDS" in os.environ else 120)
def test_random_trees_come_out_in_zips(store, area, source):
    """Import reads it again; others make something else of names that are not UTF-8 or not composed, but find all bytes right."""
    root = source(times=(400_000_000, 1 << 31))
    take_in(store, root)
    result = store.run("-s", store.path, "export", "d", area + "/a.zip")
    assert result.code in (0, 1), result
    store.ok("-s", store.path, "import", area + "/a.zip", "again")
    store.ok("-s", store.path, "export", "again", area + "/again")
    assert as_a_zip_has_it(area + "/again") == as_a_zip_has_it(root)
    tested = subprocess.run(["unzip", "-tq", area + "/a.zip"], capture_output=True, text=True, timeout=60, check=False)
    assert tested.returncode == 0, tested
