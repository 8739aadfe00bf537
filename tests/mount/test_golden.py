"""Stores that earlier versions made (tests/golden): what is in them stays what it was, and they work on."""

import glob
import json
import os
import subprocess

import pytest

from golden import listing
from harness import posix, procs, program

GOLDEN = sorted(glob.glob(os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/golden/*.tar.zst"))


@pytest.fixture(params=GOLDEN, ids=os.path.basename)
def golden(blank, request):
    """The store, unpacked and not opened yet, and the lines of what is in it."""
    os.mkdir(blank.path)
    subprocess.run(["tar", "-I", "zstd", "-xf", request.param, "-C", blank.path], check=True)
    with open(request.param.replace(".tar.zst", ".listing"), encoding="ascii") as handle:
        return blank, handle.read().splitlines()


def compare(store, point, expected, left_out=()):
    """The lines but those that start with one of `left_out`. The schedule of the store may have taken a snapshot that is not in them."""
    found = listing.everything(store.ok, store.path, point)
    known = {line.split()[1] for line in expected if line.startswith("snapshot ")}
    fresh = {line.split()[1] for line in found if line.startswith("snapshot ")} - known
    skipped = tuple(f"{name} " for name in (*left_out, *fresh)) + tuple(f"snapshot {name} " for name in (*left_out, *fresh))
    wanted = [line for line in expected if not line.startswith(skipped)]
    found = [line for line in found if not line.startswith(skipped)]
    lacking, surplus = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    assert not lacking and not surplus, "\n".join(["not there:", *lacking[:10], "there instead:", *surplus[:10]])


def test_there_is_a_golden_store_of_this_format(store):
    format_line = procs.read(store.path + "/corpusfs").decode().splitlines()[1]
    assert f"{format_line.replace(' ', '-')}.tar.zst" in [os.path.basename(path) for path in GOLDEN]


def test_golden_store_holds_what_it_held(golden):
    store, expected = golden
    point = store.mount(options="allow_other,dev,suid,acl")
    compare(store, point, expected)
    store.umount()
    compare(store, store.mount(options="allow_other,dev,suid,acl,ro"), expected)


@pytest.mark.sanitize
def test_golden_store_works_on(golden, area):
    """Old chunks are found again, old snapshots can be gone back to, and what is collected is only what nothing needs."""
    store, expected = golden
    point = store.mount(options="allow_other,dev,suid,acl")
    with open(point + "/plain/new", "wb") as handle:
        handle.write(procs.read(point + "/data/bulk-again.txt"))
    store.ok("-s", store.path, "snapshot", "create", "plain@new")
    store.ok("-s", store.path, "rollback", "data@first", "--no-guard")
    store.ok("-s", store.path, "snapshot", "destroy", "data@with-orphan")
    store.ok("-s", store.path, "gc")
    changed = ("data", "data@with-orphan", "plain", "plain@new")
    compare(store, point, expected, left_out=changed)
    first = [line.partition(" ")[2] for line in expected if line.startswith("data@first ")]
    assert listing.view(point + "/data") == first
    assert procs.read(point + "/plain/new") == procs.read(point + "/data/bulk-again.txt")
    store.kill()
    point = store.mount(options="allow_other,dev,suid,acl")
    compare(store, point, expected, left_out=changed)
    store.ok("-s", store.path, "export", "plain@both", area + "/out.tar")


def test_golden_schedule_level_and_holds_are_kept(golden):
    store, _ = golden
    assert '"monthly": 100' in store.ok("-s", store.path, "snapshot", "schedule", "plain", "--json")
    assert '"level": 0' in store.ok("-s", store.path, "dataset", "show", "plain", "--json")
    held = store.run("-s", store.path, "snapshot", "destroy", "data@first")
    assert held.code == program.BUSY and "golden" in held.err, held


def test_golden_identities_are_those_of_plain_copies(golden):
    """The definition of an identity does not change: packaging/corpusfs-identity knows it, too."""
    store, expected = golden
    point = store.mount(options="allow_other,ro")
    known = {line.split()[1]: json.loads(line.split(" ", 2)[2])["identity"] for line in expected if line.startswith("snapshot ")}
    for name in ("data@first", "data@both", "clone@own", "plain@both"):
        path = f"{point}/{name.replace('@', '/.snapshots/')}"
        found = subprocess.run([program.PROJECT + "/packaging/corpusfs-identity", path], capture_output=True, text=True, check=True)
        assert found.stdout.split()[0] == known[name], name


def test_golden_holes_are_holes(golden):
    store, _ = golden
    point = store.mount(options="ro")
    with open(point + "/data/sparse-both", "rb") as handle:
        assert os.lseek(handle.fileno(), 0, os.SEEK_HOLE) < 1 << 20
        assert 4 << 20 < os.lseek(handle.fileno(), 1 << 20, os.SEEK_DATA) <= 5 << 20
    assert os.stat(point + "/data/sparse-both").st_blocks * 512 < 1 << 20
    assert posix.outcome(os.stat, point + "/data/deep/039") == "ENOENT"
