"""Mounts of what is elsewhere, while the place there is slow or away: who reads and who unmounts waits for a bounded time."""

import concurrent.futures
import os
import re
import threading
import time

import pytest

from harness import files, posix, procs, program
from harness.between import Between, serving


@pytest.fixture
def between(remotes, rest):
    """What stands between the remote "base", in which the dataset is published, and its server."""
    handler = type("OneBetween", (Between,), {"port": rest.port})
    with serving(handler) as port:
        remotes.add("base", f"rest:http://127.0.0.1:{port}/r/", "--single-writer")
        remotes.publish("d", "--init")
        yield handler


@pytest.fixture
def point(area):
    os.mkdir(area + "/point")
    return area + "/point"


@pytest.mark.timeout(120)
def test_place_that_trickles(remotes, between, source, point):
    remotes.store.expected.append("backups")
    remotes.run("mount", "base:d", point, "-o", "timeout=6")
    try:
        os.listdir(point)
        between.trickling = "/data/"
        with pytest.raises(OSError, match="Input/output error"):
            files.get(point + "/holes")
        assert os.statvfs(point).f_namemax == 255
        between.trickling = ""
        procs.poll(lambda: posix.outcome(files.get, point + "/holes") == "ok", 30, "it answers soon enough again")
        assert files.get(point + "/holes") == files.get(source + "/holes")
    finally:
        remotes.run("umount", point)


@pytest.mark.timeout(120)
def test_readers_of_one_file_wait_once(remotes, between, point):
    """The kernel lets one of them ask at a time. A machine that rests for a second between two of them lets more than one wait, but not each."""
    asked, goes_on = [], threading.Event()

    def held(handler):
        if "/data/" in handler.path:
            asked.append(handler.path)
            goes_on.wait(60)
        Between.do_GET(handler)

    def read_at_once(readers):
        asked.clear()
        with concurrent.futures.ThreadPoolExecutor(readers) as pool:
            assert all(said == "EIO" for said in pool.map(lambda _: posix.outcome(files.get, point + "/holes"), range(readers)))
        return 0 < len(asked) < readers

    remotes.store.expected.append("backups")
    remotes.run("mount", "base:d", point, "-o", "timeout=1")
    try:
        os.listdir(point)
        between.do_GET = held
        procs.poll(lambda: read_at_once(6), 60, "not each of them waits")
    finally:
        goes_on.set()
        remotes.run("umount", point)


def test_repository_is_not_locked_any_more_when_umount_returns(remotes, between, point):
    def slowly(handler):
        time.sleep(1)
        handler.do_GET()

    remotes.run("mount", "base:d", point)
    os.listdir(point)
    between.do_DELETE = slowly
    remotes.run("umount", point)
    remotes.run("backup", "prune", "base:")


@pytest.mark.timeout(120)
def test_place_that_says_no_is_not_away(remotes, between, point, area):
    options = f"cache={area}/cached,timeout=5"
    remotes.run("mount", "base:d", point, "-o", options)
    os.listdir(point)
    remotes.run("umount", point)
    between.do_HEAD = lambda handler: handler.send_error(403)
    refused = remotes.run("mount", "base:d", point, "-o", options, code=program.PERMISSION)
    assert "does not permit it" in refused.err
    between.do_HEAD = lambda handler: handler.send_error(503)
    result = remotes.run("backup", "mount", "base:@latest", point, "--log", area + "/mount.log", "-o", options)
    told = result.err + procs.read(area + "/mount.log").decode()
    assert "what is in the cache is shown" in told and "503" in told
    remotes.run("umount", point)


@pytest.mark.timeout(120)
def test_cache_is_free_when_the_mount_has_gone_whatever_its_process_waits_for(remotes, between, point, area):
    remotes.run("backup", "mount", "base:", point, "-o", f"cache={area}/cached,timeout=30")
    os.listdir(point)
    asked = []

    def silent(handler):
        if "/snapshots/" in handler.path:
            asked.append(handler.path)
            goes_on.wait(60)
        Between.do_GET(handler)

    goes_on = threading.Event()
    between.do_GET = silent
    try:
        procs.poll(lambda: os.listdir(point + "/ids") and asked, 30, "it looks for new backups")
        assert "has not ended" in remotes.run("umount", point).out
        remotes.run("backup", "mount", "base:@latest", point, "-o", f"cache={area}/cached,timeout=1")
        remotes.run("umount", point)
    finally:
        goes_on.set()
    procs.poll(lambda: not remotes.store.daemons(), 30, "its process ends while there is somebody to answer")


@pytest.mark.timeout(120)
def test_umount_where_the_lock_cannot_be_taken_back(remotes, between, point):
    remotes.run("mount", "base:d", point)
    os.listdir(point)
    between.silent = "/locks/"
    told = remotes.run("umount", point).out
    assert "has not ended" in told and not procs.fuse_mounts(point)
    pid = int(re.search(r"its process, (\d+)", told).group(1))
    assert procs.alive(pid)
    between.silent = ""
    procs.poll(lambda: not procs.alive(pid), 60, "the process of the mount leaves")
    remotes.run("backup", "prune", "base:")
