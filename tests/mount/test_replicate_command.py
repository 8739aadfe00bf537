"""Replication, and the command at its other end: how it ends, and what it says that is no receiver."""

import os
import shlex
import signal
import subprocess

import pytest

from harness import files, procs, program
from harness.replication import cli, identity, names, replicated, to


def test_a_replica_that_follows_gets_what_is_taken(store, other, run):
    point = store.mount()
    store.create("d")
    environment = program.environment(run.mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
    with subprocess.Popen([store.binary, "-s", store.path, "replicate", "d", "--follow", "--to", to(other)], env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        for name in ("one", "two"):
            files.put(f"{point}/d/f", name.encode())
            cli(store, "snapshot", "create", f"d@{name}")
            assert follower.stdout.readline() == f"d@{name} is there\n"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30 * program.scale()) == -signal.SIGINT, follower.stderr.read()
    procs.poll(lambda: other.run("-s", other.path, "dataset", "list").code == 0, 30, "the other end has gone")
    assert names(other) == ["one", "two"]


@pytest.mark.parametrize("fault", [None, "receive-frame:kill:2"])
def test_a_replica_that_follows_ends_with_its_command_and_goes_on_later(store, other, run, fault):
    """It dies while nothing is sent, or amid a stream."""
    point = store.mount()
    store.create("d")
    files.put(f"{point}/d/f", b"one")
    cli(store, "snapshot", "create", "d@one")
    if fault:
        replicated(store, other)
    command = f"echo $$ >{store.area}/pid; exec env " + to(other, fault)
    environment = program.environment(run.mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
    with subprocess.Popen([store.binary, "-s", store.path, "replicate", "d", "--follow", "--to", command], env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        if fault:
            files.put(f"{point}/d/f", b"two")
            cli(store, "snapshot", "create", "d@two")
        else:
            assert follower.stdout.readline() == "d@one is there\n"
            os.kill(int(files.get(store.area + "/pid")), signal.SIGKILL)
        assert follower.wait(30 * program.scale()) == program.FAILED
        said = follower.stderr.read()
        assert "the command has ended" in said and "run the same command again" in said and len(said.splitlines()) == 1, said
    assert names(other) == ["one"], "nothing came half"
    if not fault:
        files.put(f"{point}/d/f", b"two")
        cli(store, "snapshot", "create", "d@two")
    assert replicated(store, other) == "d@two is there\n"
    assert identity(other, "two") == identity(store, "two")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_replication_to_a_silent_command_can_be_ended(store, run, number):
    store.create("d")
    cli(store, "snapshot", "create", "d@one")
    begun = store.area + "/begun"
    environment = program.environment(run.mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
    with subprocess.Popen(["env", "--default-signal=INT", store.binary, "-s", store.path, "replicate", "d", "--to", f"touch {begun}; exec sleep 100000"],
                          env=environment, stderr=subprocess.PIPE, text=True) as process:
        procs.poll(lambda: os.path.exists(begun), 30, "the command runs")
        process.send_signal(number)
        try:
            assert process.wait(30 * program.scale()) == -number
        finally:
            process.kill()
            run_children = procs.read(f"/proc/{process.pid}/task/{process.pid}/children").split()
            for pid in run_children:
                os.kill(int(pid), signal.SIGKILL)
        assert process.stderr.read().startswith("corpusfs: interrupted; ")


def test_commands_that_are_no_receivers_are_told(store):
    store.create("d")
    cli(store, "snapshot", "create", "d@one")
    for command in ("false", "echo hello", "exec cat", "no-such-program-here"):
        result = store.run("-s", store.path, "replicate", "d", "--to", command + " 2>/dev/null </dev/null")
        assert result.code == program.FAILED and len(result.err.splitlines()) == 1, result
    name, number = '"name": "one"', f'"id": "{"0" * 64}"'
    for state in ('"snapshots": [{}]', f'"snapshots": [{{{name}}}], "at": "one"', f'"snapshots": [{{{number}}}], "at": "one"',
                  f'"snapshots": [{{{name}, "id": 7}}]', '"snapshots": [[]]', '"snapshots": {}', '"at": "one"'):
        command = "echo " + shlex.quote(f'{{"exists": true, "replica": true, {state}}}')
        result = store.run("-s", store.path, "replicate", "d", "--to", command + " </dev/null")
        assert result.code == program.FAILED and "said something else" in result.err and len(result.err.splitlines()) == 1, (state, result)
    assert store.run("-s", store.path, "replicate", "d").code == program.USAGE
    assert store.run("-s", store.path, "replicate", "e", "--to", "true").code == program.FAILED
