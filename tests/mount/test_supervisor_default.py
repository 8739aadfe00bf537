"""Which mounts outlive their daemon: all that can, unless somebody says no; and that it is said which do not, and why."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from harness import posix, procs, program, succession
from harness.succession import Workers, kill, possible


def status(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))


def finding(store, point, area, what):
    rows = json.loads(store.run("doctor", point, "--json").out)
    return next((row["state"], row["value"], row["mend"]) for row in rows if (row["area"], row["what"]) == (area, what))


def mounted(store, *options, code=program.OK, **more):
    """By the command as a user types it; the mountpoint."""
    point = store.area + "/mnt"
    os.makedirs(point, exist_ok=True)
    result = store.run("mount", store.path, point, *options, **more)
    assert result.code == code, result
    if code == program.OK:
        assert result.err == "", result
        store.note(point)
    return point


@succession.needs
@pytest.mark.timeout(120)
def test_a_mount_without_any_option_goes_on_under_writers(store, seed):
    """What write(2) accepted is there, and nobody meets an error."""
    point = mounted(store)
    store.create("d")
    workers = Workers(point + "/d", store.area, seed)
    try:
        for turn in range(8):
            time.sleep(random.Random(turn).uniform(0, 0.2))
            kill(store)
            assert os.listdir(point) == ["d"]
            workers.check()
    finally:
        workers.stop()
    workers.finish()
    assert status(store)["crashes"] == 8
    store.umount()
    workers.compare(mounted(store) + "/d")


@succession.needs
@pytest.mark.parametrize("options", ["", "ro", "acl,cache=32M,write_buffer=32M,snapdir=visible"])
@pytest.mark.parametrize("part", [None, "d", "d@s"])
def test_it_is_so_for_every_kind_of_mount(fs, store, part, options):
    with open(fs + "/file", "wb") as handle:
        handle.write(b"content")
    os.mkdir(fs + "/.snapshots/s")
    store.umount()
    point = store.mount(dataset=part, options=options)
    row = status(store)["mounts"][0]
    # requests of a snapshot may come by io_uring, which no other daemon could go on with
    assert store.supervisor and status(store)["supervised"] and row["supervised"] != row["io_uring"]
    if row["io_uring"]:
        return
    path = point + ("/file" if part else "/d/file")
    with open(path, "rb") as handle:
        kill(store)
        assert handle.read() == b"content" and status(store)["crashes"] == 1


def test_nosupervise_is_heard_and_told(store):
    point = mounted(store, "-o", "nosupervise")
    assert store.supervisor is None and status(store)["unsupervised"] == "mounted with nosupervise"
    state, value, mend = finding(store, point, "store", "supervisor")
    assert state == "note" and "mounted with nosupervise" in value and "mount again" in mend
    refused = store.run("restart", store.path)
    assert refused.code == program.UNSUPPORTED and "mounted with nosupervise" in refused.err, refused
    os.kill(store.pid, signal.SIGKILL)
    store.ended(-signal.SIGKILL)
    procs.poll(lambda: posix.outcome(os.listdir, point) == "ENOTCONN", 20, "the mount has ended")
    told = store.run("umount", point)
    assert told.code == program.FAILED and "what was not is lost" in told.err, told
    store.points.clear()
    mounted(store, "-o", "nosupervise,supervise")
    assert bool(store.supervisor) == possible()


def test_in_the_foreground_there_is_none(store):
    point = store.area + "/mnt"
    os.mkdir(point)
    environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
    with subprocess.Popen([store.binary, "mount", "-f", store.path, point], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, start_new_session=True) as process:  # fmt: skip
        procs.poll(lambda: store.run("-s", store.path, "status").code == 0 and procs.fuse_mounts(point), 20, "mounted")
        told = procs.poll(lambda: status(store).get("unsupervised"), 20, "the daemon answers")
        store.ok("umount", point)
        assert told == "it runs in the foreground" and process.wait(20) == 0


OLD_KERNEL = {"CORPUSFS_FAULT": "supervise-kernel:enomem"}


def test_on_an_old_kernel_a_mount_goes_without_and_doctor_says_so(store):
    point = mounted(store, env=OLD_KERNEL)
    assert store.supervisor is None and status(store)["unsupervised"] == "the kernel is older than Linux 6.9"
    rows = json.loads(store.run("doctor", "--json", env=OLD_KERNEL).out)
    assert [(row["state"], row["value"]) for row in rows if row["what"] == "mounts outlive their daemon"] == [("note", "no: they end when it dies")]
    assert "older than Linux 6.9" in finding(store, point, "store", "supervisor")[1]
    store.umount()
    refused = store.run("mount", "-o", "supervise", store.path, point, env=OLD_KERNEL)
    assert refused.code == program.UNSUPPORTED and "needs Linux 6.9" in refused.err, refused


@succession.needs
def test_limits_of_the_caller_do_not_matter(store):
    """Few descriptors at once, small files, and children that nobody waits for."""
    point = store.area + "/mnt"
    os.mkdir(point)
    environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
    script = 'ulimit -Sn 20; ulimit -Sf 8; trap "" CHLD; exec "$@"'
    with subprocess.Popen(["bash", "-c", script, "bash", store.binary, "mount", store.path, point], env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # fmt: skip
        assert process.wait(60) == program.OK
    store.note(point)
    store.create("d")
    with open(point + "/d/file", "wb") as handle:
        handle.write(bytes(1000000))
    store.ok("sync", point)
    kill(store)
    assert os.path.getsize(point + "/d/file") == 1000000


@pytest.mark.parametrize("options", [pytest.param("supervise", marks=succession.needs), "nosupervise"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_what_the_caller_has_closed_is_not_missed(store, closed, options):
    """Else the next files that are opened have the numbers of the standard streams, and are taken for these or closed as these."""
    point = store.area + "/mnt"
    os.mkdir(point)
    environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})

    def call(*args):
        command = ["bash", "-c", f'exec "$@" {closed}', "bash", store.binary, *args]
        code = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=60)
        return code.returncode

    silent = program.FAILED if ">&-" in closed.replace("2>&-", "") else program.OK  # it has something to say
    assert call("-s", store.path, "dataset", "create", "d") == program.OK
    assert call("mount", store.path, point, "-o", options) == silent
    store.note(point)
    assert os.readlink(f"/proc/{store.pid}/fd/2") == store.path + "/log"
    assert all(os.readlink(f"/proc/{store.pid}/fd/{number}") == "/dev/null" for number in (0, 1))
    with open(point + "/d/file", "wb") as handle:
        handle.write(b"content")
    assert call("-s", store.path, "status") == silent
    os.kill(store.pid, signal.SIGTERM)
    store.points.clear()
    store.ended()
    assert procs.read(store.mount(point) + "/d/file") == b"content"
