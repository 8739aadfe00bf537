"""Filling the cache of a mount that is not made yet: what is fetched before is not fetched later, and the cache is one process's at a time."""

import glob
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest

from harness import files, procs, program
from harness.between import Between, serving
from harness.lazy import same


@pytest.fixture
def point(area, remotes):
    os.mkdir(area + "/point")
    yield area + "/point"
    if procs.fuse_mounts(area + "/point"):
        remotes.run("umount", area + "/point")


@pytest.mark.sanitize
@pytest.mark.timeout(240)
def test_what_was_warmed_is_there_for_a_mount_while_the_place_is_away(served, remotes, point, source, area):
    options = f"cache={area}/cached,cache_size=100M,timeout=5"
    part = remotes.json("warm", "base:d/a", "-o", options)
    wanted = sum(os.path.getsize(f"{source}/a/{name}") for name in os.listdir(source + "/a") if os.path.isfile(f"{source}/a/{name}"))
    assert part["bytes"] >= wanted and part["failed"] == 0
    one = remotes.json("warm", "base:d/a/4", "-o", options)
    assert one["files"] == 1 and one["bytes"] == os.path.getsize(source + "/a/4")
    done = remotes.json("warm", "base:d", "-o", options)
    assert done["files"] > part["files"] and done["bytes"] > part["bytes"]
    served.stop()
    assert "are in the cache" in remotes.run("warm", "base:d", "-o", options).out
    remotes.run("mount", "base:d", point, "-o", options)
    same(source, point)
    remotes.run("umount", point)
    shutil.rmtree(area + "/cached")
    assert "cannot be reached" in remotes.run("warm", "base:d", "-o", options, code=program.FAILED).err


@pytest.mark.timeout(240)
def test_of_a_version_by_its_name(served, remotes, store, point, source, area):
    remotes.run("snapshot", "create", "d@v1")
    remotes.publish("d@v1")
    files.put(source + "/a/later", b"later" * 1000)
    remotes.run("import", source, "d")
    remotes.publish("d")
    first = remotes.json("warm", "base:d@v1", "-o", f"cache={area}/first")
    last = remotes.json("warm", "base:d", "-o", f"cache={area}/last")
    assert last["bytes"] == first["bytes"] + 5000 and last["files"] == first["files"] + 1
    refused = remotes.run("warm", "base:d@v1/a/later", "-o", f"cache={area}/first", code=program.NOT_FOUND)
    assert "base:d@v1/a/later: No such file" in refused.err


def test_cache_is_for_a_mount_or_for_warm(big, remotes, point, area):
    options = f"cache={area}/cached"
    remotes.run("mount", "base:d", point, "-o", options)
    refused = remotes.run("warm", "base:d", "-o", options, code=program.BUSY)
    assert "in use by another mount" in refused.err and "name a path in the mount" in refused.err
    assert remotes.json("warm", point)["failed"] == 0
    remotes.run("umount", point)


def test_what_it_must_be_told(big, remotes, area):
    for args, words, code in (
        (["base:d"], "of which cache is not said", program.USAGE), (["base:", "-o", f"cache={area}/c"], "which dataset", program.USAGE),
        (["base:@latest", "-o", f"cache={area}/c"], "which dataset", program.USAGE),
        (["base:none", "-o", f"cache={area}/c"], "none", program.NOT_FOUND), (["base:d/none", "-o", f"cache={area}/c"], "No such file", program.NOT_FOUND),
        (["base:d", "-o", f"cache={area}/c", "--follow-order", "/dev/null"], "name a path in one", program.USAGE),
        (["base:d", "-o", f"cache={area}/c,rw"], "read only", program.USAGE),
        (["d", "-o", f"cache={area}/c"], "-o and --pin are for what is in a remote", program.USAGE),
    ):
        refused = remotes.run("warm", *args, code=code)
        assert words in refused.err, (args, refused.err)


def test_what_cannot_be_had_is_told(big, remotes, area):
    packs = sorted(glob.glob(area + "/repository/data/*/*"), key=os.path.getsize)
    os.remove(packs[-1])
    result = remotes.run("warm", "base:d", "-o", f"cache={area}/cached", code=program.FAILED)
    assert "what=" in result.err and "cannot be had" in result.err and "the log" not in result.err
    small = remotes.run("warm", "base:d", "-o", f"cache={area}/small,cache_size=4M", code=program.FAILED)
    assert "note: the cache holds" in small.err


@pytest.mark.timeout(120)
def test_interrupted_goes_on_and_leaves_no_lock(remotes, rest, area):
    """A second run asks for no pack that came before."""
    asked, goes_on = [], threading.Event()

    def slowly(handler):
        if "/data/" in handler.path and handler.command == "GET":
            asked.append((handler.path, handler.headers["Range"]))
            if len(asked) > 3:
                goes_on.wait(60)
        Between.do_GET(handler)

    remotes.store.expected.append("backups")
    with open(area + "/long", "wb") as handle:
        handle.write(os.urandom(60 << 20))
    os.mkdir(area + "/tree")
    os.rename(area + "/long", area + "/tree/long")
    remotes.run("import", area + "/tree", "d/long")
    handler = type("Slow", (Between,), {"port": rest.port})
    with serving(handler) as port:
        remotes.add("base", f"rest:http://127.0.0.1:{port}/r/", "--single-writer")
        remotes.publish("d", "--init")
        handler.do_GET = slowly
        command = [remotes.store.binary, "warm", "base:d", "-o", f"cache={area}/cached"]
        warm = subprocess.Popen(command, env={**os.environ, **remotes.env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            procs.poll(lambda: len(asked) > 3, 60, "it fetches")
            warm.send_signal(signal.SIGINT)
            goes_on.set()
            _, err = warm.communicate(timeout=60)
        finally:
            goes_on.set()
            warm.kill()
            warm.wait()
        assert warm.returncode == -signal.SIGINT and "run the same command again" in err
        assert not os.listdir(area + "/rest/r/locks")
        before = set(asked)
        asked.clear()
        done = json.loads(remotes.run("warm", "base:d", "-o", f"cache={area}/cached", "--json").out)
        assert done["bytes"] >= 60 << 20 and asked and not before & set(asked)
        asked.clear()
        remotes.run("warm", "base:d", "-o", f"cache={area}/cached")
        assert not asked
