"""`corpusfs restart`: another daemon goes on with the mounts because somebody wants it, and the command says truthfully whether it does."""

import array
import glob
import json
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import time

import pytest

from harness import procs, program
from harness.succession import Workers, await_successor, kill, shoot


def status(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))


def restart(store, *operand):
    before = store.pid
    told = store.ok("restart", *(operand or [store.path]))
    await_successor(store, before)
    assert f"as process {store.pid}" in told
    return told


@pytest.mark.sanitize
@pytest.mark.timeout(180)
def test_with_processes_at_work(supervised, store):
    """Writers, mappings, removed files, working directories: none meets an error, all that they were told is there."""
    workers = Workers(supervised, store.area)
    try:
        for turn in range(12 // program.scale()):
            time.sleep(0.1)
            restart(store)
            if turn % 4 == 3:
                store.ok("-s", store.path, "snapshot", "create", f"d@s{turn}")
            workers.check()
    finally:
        workers.stop()
    workers.finish()
    assert status(store)["crashes"] == 0
    store.umount()
    workers.compare(store.mount() + "/d")
    assert store.ok("-s", store.path, "check")


def test_a_mapping_stays(supervised, store):
    with open(supervised + "/file", "w+b") as handle:
        handle.truncate(1 << 20)
        with mmap.mmap(handle.fileno(), 1 << 20) as mapped:
            mapped[5000:5004] = b"here"
            restart(store, os.path.dirname(supervised))
            assert mapped[5000:5004] == b"here" and mapped[700000] == 0
            mapped[700000:700005] = b"there"
            mapped.flush()
    assert procs.read(supervised + "/file")[700000:700005] == b"there"
    store.umount()
    assert procs.read(store.mount() + "/d/file")[5000:5004] == b"here"


def test_all_mounts_go_on(supervised, store):
    """Of the whole store, of a snapshot, and a place that is bound to the first."""
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    points = [store.mount(dataset="d@s", options="supervise"), store.mount(dataset="d")]
    handles = [os.open(point + "/file", os.O_RDONLY) for point in points]
    restart(store)
    assert {row["mountpoint"] for row in status(store)["mounts"]} == {os.path.dirname(supervised), *points}
    assert [os.pread(handle, 20, 0) for handle in handles] == [b"content"] * 2
    for handle in handles:
        os.close(handle)


def test_the_next_daemon_is_the_program_that_asks(supervised, store):
    """A crash after it is followed by the same, although another lies at the path by then."""
    other = store.area + "/corpusfs"
    shutil.copy(store.binary, other)
    own, store.binary = store.binary, other
    restart(store)
    assert os.path.samefile(f"/proc/{store.pid}/exe", other)
    os.rename(other, other + ".old")
    shutil.copy("/bin/false", other)
    store.binary = own
    kill(store)
    assert os.path.samefile(f"/proc/{store.pid}/exe", other + ".old")
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")


def test_a_program_that_does_not_come_up_is_followed_by_the_one_before(supervised, store):
    """Here the loader of programs, which is what runs the command."""
    loaders = glob.glob("/lib64/ld-linux-*.so.*") + glob.glob("/lib/ld-linux-*.so.*")
    if not loaders:
        pytest.skip("the loader of programs was not found")
    store.expected.append(" died ")
    own, store.binary, before = store.binary, loaders[0], store.pid
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")
    told = store.run(own, "restart", store.path)
    store.binary = own
    assert told.code == program.FAILED and "did not come up" in told.err, told
    await_successor(store, before)
    assert procs.read(supervised + "/file") == b"content"
    assert os.path.samefile(f"/proc/{store.pid}/exe", own)
    assert status(store)["fell_back"]
    restart(store)
    assert not status(store)["fell_back"]


def ask_as_another_version(store, heritage):
    """One request over the control socket; returns the answer."""
    with socket.socket(socket.AF_UNIX) as client, open(store.binary, "rb") as handle:
        client.connect(f"/proc/self/fd/{os.open(store.path, os.O_PATH)}/socket")
        stream = client.makefile("rb")
        assert json.loads(stream.readline())["hello"]
        request = json.dumps({"op": "daemon.restart", "args": {"heritage": heritage}}) + "\n"
        client.sendmsg([request.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle.fileno()]))])
        return json.loads(stream.readline())


def test_a_program_that_takes_over_other_things_is_refused(supervised, store):
    before = store.pid
    answer = ask_as_another_version(store, 1000000)
    assert answer["error"]["code"] == "EXDEV", answer
    assert procs.alive(before) and os.listdir(supervised) == []


def test_is_refused_while_somebody_waits_for_a_command(supervised, store):
    """An import would be broken off; afterwards it is done."""
    slow = subprocess.Popen([store.binary, "-s", store.path, "import", "-", "d/file"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, env=program.environment(store.run_mark, store.logs))  # fmt: skip
    try:
        for number in range(3):
            member = tarfile.TarInfo(f"big{number}")
            member.size = 5 << 20
            slow.stdin.write(member.tobuf() + os.urandom(member.size))
        slow.stdin.flush()
        procs.poll(lambda: os.path.exists(supervised + "/file/big1"), 30, "the import has begun")
        told = store.run("restart", store.path)
        assert told.code == program.BUSY and "is running" in told.err, told
    finally:
        slow.kill()
        slow.wait(30)
    before = store.pid
    procs.poll(lambda: store.run("restart", store.path).code == program.OK, 30, "it is done")
    await_successor(store, before)


def test_without_a_supervisor_or_a_mount_it_says_so(store):
    told = store.run("restart", store.path)
    assert told.code == program.NOT_FOUND and "is not mounted" in told.err, told
    told = store.run("restart", store.area)
    assert told.code == program.NOT_FOUND and "is no store" in told.err and "corpusfs mount" not in told.err, told
    store.mount(options="nosupervise")
    told = store.run("restart", store.path)
    assert told.code == program.UNSUPPORTED and "has no supervisor" in told.err, told
    assert procs.alive(store.pid)


def test_a_daemon_that_is_alone_is_not_restarted(supervised, store):
    os.kill(store.supervisor, signal.SIGKILL)
    assert store.reap(store.supervisor, 10) == -signal.SIGKILL
    store.supervisor = None
    told = store.run("restart", store.path)
    assert told.code == program.UNSUPPORTED and "its supervisor has gone" in told.err, told
    assert os.listdir(supervised) == []


def test_with_random_kills_it_never_claims_what_is_not_so(supervised, store, seed):
    """A daemon that is killed around it: the exit code is 0 only if the next one has ended for it."""
    chance = random.Random(seed)
    with open(supervised + "/file", "wb") as handle:
        handle.write(b"content")
    for _ in range(6):
        before, restarts = store.pid, status(store)["restarts"]
        command = store.begin("restart", store.path)
        time.sleep(chance.uniform(0, 0.05))
        try:
            shoot(store)
        except ProcessLookupError:
            pass
        code = command.wait(60)
        await_successor(store, before)
        assert procs.read(supervised + "/file") == b"content"
        assert (code == 0) == (status(store)["restarts"] > restarts), code


def test_doctor_tells_of_the_supervisor(supervised, store):
    def finding(what):
        found = [row for row in json.loads(store.run("doctor", os.path.dirname(supervised), "--json").out) if row["what"] == what]
        return found[0]["state"], found[0]["value"]

    assert finding("supervisor")[0] == "ok" and finding("daemon")[0] == "ok"
    kill(store)
    assert finding("supervisor")[0] == "note" and "1 of its daemons died" in finding("supervisor")[1]
    os.kill(store.supervisor, signal.SIGSTOP)
    try:
        assert finding("supervisor")[0] == "bad"
    finally:
        os.kill(store.supervisor, signal.SIGCONT)
