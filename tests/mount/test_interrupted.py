"""Ctrl-C in long work that has nothing outside of the store: it ends in good order, and says what is left and how to go on."""

import json
import os
import signal
import subprocess

import pytest

from harness import files, procs, program

MIB = 1 << 20


def cli(store, *args):
    return store.ok("-s", store.path, *args)


@pytest.mark.parametrize("dry_run", [False, True])
def test_gc_says_that_what_was_removed_is_gone(fs, store, dry_run):
    files.put(fs + "/file", os.urandom(4 * MIB))
    store.ok("sync", fs)
    os.unlink(fs + "/file")
    store.umount()
    with store.stopped_at("gc-after-mark", "-s", store.path, "gc", *(["-n"] if dry_run else [])) as stopped:
        os.kill(stopped.pid, signal.SIGINT)
    assert stopped.code == -signal.SIGINT, stopped
    assert "interrupted; " + ("nothing was removed" if dry_run else "what was removed is gone; run the same command again") in stopped.err
    cli(store, "gc")
    cli(store, "check")


def test_send_says_where_to_go_on(fs, store):
    files.put(fs + "/file", os.urandom(4 * MIB))
    cli(store, "snapshot", "create", "d@v")
    store.umount()
    ours, theirs = os.pipe()
    process = subprocess.Popen([store.binary, "-s", store.path, "send", "d@v"], stdout=theirs, stderr=subprocess.PIPE,
                               env=program.environment(store.run_mark, store.logs))
    os.close(theirs)
    try:
        assert len(os.read(ours, 1)) == 1
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    finally:
        os.close(ours)
    assert process.returncode == -signal.SIGINT and b"interrupted; " in err and b"receive --token" in err, err


def has_read(pid):
    """Bytes."""
    return int(next((line.split()[1] for line in procs.read(f"/proc/{pid}/io").decode().splitlines() if line.startswith("rchar")), 0))


def test_scrub_of_a_store_that_is_not_mounted_goes_on_with_the_next_one(fs, store):
    """test_rot has one of a store that is."""
    files.put(fs + "/file", os.urandom(16 * MIB))
    cli(store, "sync")
    whole = json.loads(cli(store, "scrub", "--json"))["chunks"]
    store.umount()
    environment = program.environment(store.run_mark, store.logs)
    with open(store.area + "/err", "wb") as err:
        slow = subprocess.Popen([store.binary, "-s", store.path, "scrub", "--rate", "2M"], stdin=subprocess.DEVNULL, stderr=err, env=environment)
    procs.poll(lambda: has_read(slow.pid) > 4 * MIB, 40, "it is in the middle")
    slow.send_signal(signal.SIGINT)
    assert slow.wait(40) == -signal.SIGINT
    assert b"interrupted; the next corpusfs scrub goes on from here" in procs.read(store.area + "/err")
    seen = json.loads(cli(store, "status", "--json"))["scrub"]
    assert seen["phase"] == "content" and 0 < seen["chunks"] < whole
    assert json.loads(cli(store, "scrub", "--json"))["chunks"] == whole
