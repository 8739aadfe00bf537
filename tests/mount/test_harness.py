"""What the harness says of commands that hang or crash: a failure that comes once in ten thousand runs must tell all of it at once."""

import os
import signal
import subprocess

import pytest

from harness import procs, program, succession

ALONE = dict(os.environ)


def test_a_command_that_runs_into_its_limit_is_told_with_what_it_was_at(area, capsys):
    os.mkdir(area + "/log")
    with pytest.raises(subprocess.TimeoutExpired):
        program.call(["sh", "-c", "sleep 1234 & wait"], ALONE, area + "/log", limit=3)
    told = capsys.readouterr().err
    assert "sh -c sleep 1234 & wait" in told and ": sleep 1234" in told, told
    assert "nanosleep" in told and "libc.so.6+0x" in told and "State S (sleeping)" in told and "VmRSS" in told, told


def test_a_command_that_crashes_is_told_with_the_signal(area):
    os.mkdir(area + "/log")
    result = program.call(["sh", "-c", "kill -SEGV $$"], ALONE, area + "/log")
    assert result.code == -signal.SIGSEGV and "crashed with signal 11" in result.err, result
    assert program.call(["sh", "-c", "echo no >&2; exit 3"], ALONE, area + "/log") == (3, "", "no\n")


def test_a_daemon_that_crashes_is_noticed_though_another_goes_on(supervised, store):
    """Tests that kill daemons expect to read that they died, but not of this."""
    succession.kill(store)
    assert store.surprises() == []
    succession.kill(store, signal.SIGSEGV)
    assert os.listdir(supervised) == []
    found = store.surprises()
    assert len(found) == 1 and "signal=SEGV" in found[0] and "crashed with signal 11" in found[0], found
    store.surprises = lambda: []


def test_etcd_goes_on_without_its_leader(etcd):
    """And knows what was acknowledged, when the one that was killed is back too."""
    first = etcd.leader()
    etcd.put("a/key", b"value")
    etcd.kill(first)
    assert etcd.leader() != first
    etcd.again(first)
    procs.poll(lambda: (etcd.status(first) or {}).get("leader"), 30, "the one that was killed is back")
    assert etcd.keys() == {"a/key": b"value"}
