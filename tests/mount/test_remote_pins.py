"""What is pinned in the cache of a mount stays there, whatever else is read, also for later mounts; status lists it, and unpin lets it go."""

import os
import random
import re
import subprocess
import sys

import pytest

from harness import files, posix, procs, program
from harness.lazy import MEMORY, cold, used

SIZE = MEMORY + ",cache_size=16M"


def read_all(root, wanted):
    for name, data in wanted.items():
        assert files.get(f"{root}/{name}") == data, name
        cold(f"{root}/{name}")


def await_pins(remotes, point, paths):
    """Waits until the mount has read what is pinned, which it does by and by."""
    procs.poll(lambda: [row["path"] for row in remotes.json("status", point)["pins"]] == paths, 30, f"{paths} are pinned")


@pytest.fixture
def distant(remotes, rest, area):
    """50 MiB of files behind restic's REST protocol. Returns what they hold."""
    chance = random.Random(6)
    wanted = {f"{folder}/{number}": chance.randbytes(1 << 20) for folder in ("keep", "rest") for number in range(8 if folder == "keep" else 40)}
    for name, data in wanted.items():
        os.makedirs(f"{area}/tree/{os.path.dirname(name)}", exist_ok=True)
        files.put(f"{area}/tree/{name}", data)
    remotes.run("import", area + "/tree", "d/big")
    remotes.store.expected.append("backups")
    remotes.add("base", rest.url("r"), "--single-writer")
    remotes.publish("d", "--init")
    return wanted


@pytest.mark.sanitize
@pytest.mark.timeout(240)
def test_what_is_pinned_is_there_while_the_place_is_away_whatever_was_read(distant, rest, remotes, lazy, area):
    mount = lazy(SIZE)
    done = remotes.json("warm", "--pin", mount.root + "/big/keep")
    assert done["files"] == 8 and done["bytes"] == 8 << 20 and done["failed"] == 0
    read_all(mount.root + "/big", distant)
    status = remotes.json("status", mount.point)
    assert status["cache_evicted"] > 0 and status["pinned_missing"] == 0 and 8 << 20 <= status["pinned_bytes"] < 9 << 20
    assert [(row["path"], row["files"], row["bytes"]) for row in status["pins"]] == [("/d/big/keep", 8, 8 << 20)]
    mount.umount()
    assert used(area + "/cached") <= 16 << 20
    rest.stop()
    mount = lazy(SIZE + ",timeout=1")
    assert "keep" in os.listdir(mount.root + "/big")
    read_all(mount.root + "/big", {name: data for name, data in distant.items() if name.startswith("keep/")})
    text = remotes.run("status", mount.point).out
    assert "pinned in it" in text and "/d/big/keep" in text and "not there" not in text
    rest_of_it = (f"{mount.root}/big/{name}" for name in distant if name.startswith("rest/"))
    assert any(posix.outcome(files.get, path) != "ok" for path in rest_of_it), "all of it is in the cache, and nothing had to go"
    mount.umount()


@pytest.mark.timeout(240)
def test_pinned_without_a_mount_and_unpinned_in_one(big, remotes, lazy, area):
    options = f"cache={area}/cached,cache_size=32M"
    assert "and stay" in remotes.run("warm", "--pin", "base:d/big/long", "-o", options).out
    assert "and stay" in remotes.run("warm", "--pin", "base:d/big/3", "-o", options).out
    mount = lazy(MEMORY + ",cache_size=32M")
    await_pins(remotes, mount.point, ["/d/big/long", "/d/big/3"])
    before = remotes.json("status", mount.point)["fetched_bytes"]
    read_all(mount.root + "/big", {"long": big["long"]})
    assert remotes.json("status", mount.point)["fetched_bytes"] - before < 1 << 20
    remotes.run("unpin", mount.root + "/big/long")
    assert "nothing is pinned by this path" in remotes.run("unpin", mount.root + "/big/long", code=program.NOT_FOUND).err
    assert [row["path"] for row in remotes.json("status", mount.point)["pins"]] == ["/d/big/3"]
    mount.umount()
    remotes.run("warm", "--pin", "base:d/big/3", "-o", options)
    remotes.run("unpin", "base:d/big/3", "-o", options)
    remotes.run("warm", "--pin", "base:d/big", "-o", f"cache={area}/cached")
    remotes.run("unpin", "--all", "base:d", "-o", options)
    mount = lazy(MEMORY + ",cache_size=32M")
    assert remotes.json("status", mount.point)["pins"] == []
    assert re.search(r"pinned in it +-\n", remotes.run("status", mount.point).out)


@pytest.mark.timeout(240)
def test_of_two_versions_each_is_its_own_pin(big, remotes, area):
    options = f"cache={area}/cached"
    remotes.run("snapshot", "create", "d@v1")
    remotes.publish("d@v1")
    remotes.run("warm", "--pin", "base:d@v1/big", "-o", options)
    files.put(area + "/big/later", b"later" * 100)
    remotes.run("import", area + "/big", "d/big")
    remotes.publish("d")
    remotes.run("warm", "--pin", "base:d/big", "-o", options)
    os.mkdir(area + "/point")
    remotes.run("mount", "base:d", area + "/point", "-o", options)
    try:
        await_pins(remotes, area + "/point", ["/d/big"] * 2)
        status = remotes.json("status", area + "/point")
        assert len({row["backup"] for row in status["pins"]}) == 2
        assert [row["files"] for row in status["pins"]] == [len(big), len(big) + 1]
        # what they share is there once
        assert status["pinned_bytes"] < sum(map(len, big.values())) * 1.1
        remotes.run("unpin", area + "/point/big")
        left = remotes.json("status", area + "/point")
        assert [row["files"] for row in left["pins"]] == [len(big)] and left["pinned_missing"] == 0
    finally:
        told = remotes.run("umount", area + "/point").out
    assert "which was read-only" in told and "on disk" not in told


def test_more_than_fits_is_refused_before_anything_is_fetched(big, remotes, lazy, area):
    mount = lazy(SIZE)
    remotes.run("warm", "--pin", mount.root + "/big/3")
    before = remotes.json("status", mount.point)
    refused = remotes.run("warm", "--pin", mount.root + "/big", code=program.NO_SPACE)
    assert "seven eighths of the cache" in refused.err and "goes again" not in refused.err
    after = remotes.json("status", mount.point)
    assert after["pins"] == before["pins"] and after["pinned_bytes"] == before["pinned_bytes"]
    assert after["fetched_bytes"] - before["fetched_bytes"] < 1 << 20
    assert "does not go with" in remotes.run("warm", "--pin", "--follow-order", "/dev/null", mount.root, code=program.USAGE).err
    assert "in a remote only" in remotes.run("warm", "--pin", "d", code=program.USAGE).err
    assert "lies in no mount" in remotes.run("unpin", area, code=program.NOT_FOUND).err
    mount.umount()
    mount = lazy("allow_other")
    name = "user.corpusfs.pin"
    command = [sys.executable, "-c", f"import os; os.getxattr({mount.root + '/big'!r}, {name!r})"]
    others = subprocess.run(command, user=65534, capture_output=True, text=True, check=False)
    assert "Operation not permitted" in others.stderr and procs.alive(mount.pid)


@pytest.mark.timeout(240)
def test_what_other_pins_lack_is_no_failure_of_this_one(big, remotes, lazy, area):
    mount = lazy(MEMORY)
    remotes.run("warm", "--pin", mount.root + "/big/3")
    mount.umount()
    for name in os.listdir(area + "/cached"):
        if re.fullmatch("[0-9a-f]{8}", name):
            os.remove(f"{area}/cached/{name}")
    mount = lazy(MEMORY)
    await_pins(remotes, mount.point, ["/d/big/3"])
    assert "of it are not there" in remotes.run("status", mount.point).out
    assert "and stay" in remotes.run("warm", "--pin", mount.root + "/big/long").out
    assert "of it are not there" in remotes.run("status", mount.point).out
    mount.umount()
    options = f"cache={area}/cached"
    assert "and stay" in remotes.run("warm", "--pin", "base:d/big/long", "-o", options).out


def test_what_cannot_be_pinned_whole_is_told(big, remotes, lazy, area):
    packs = sorted((f"{root}/{name}" for root, _, names in os.walk(area + "/repository/data") for name in names), key=os.path.getsize)
    os.remove(packs[-1])
    mount = lazy(MEMORY)
    told = remotes.run("warm", "--pin", mount.root, code=program.FAILED).err
    assert "something that is pinned is not in the cache" in told and "cannot be had" in told
    assert "of it are not there" in remotes.run("status", mount.point).out
