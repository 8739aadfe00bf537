"""corpusfs doctor: what it sees of the system, of a store, and of mounts whose daemons are well or not."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from harness import procs, program


def findings(store, *words, code=0):
    result = store.run(*words, "doctor", "--json") if words and words[0] == "-s" else store.run("doctor", "--json", *words)
    assert result.code == code, result
    rows = json.loads(result.out)
    assert {row["state"] for row in rows} <= {"ok", "slow", "note", "bad"} and all(row["mend"] for row in rows if row["state"] != "ok")
    return rows


def at(rows, area, what):
    return [(row["state"], row["value"], row["mend"]) for row in rows if row["area"] == area and row["what"] == what]


def test_doctor_says_what_it_sees(store):
    point = store.mount()
    rows = findings(store, point)
    seen = {row["what"] for row in rows}
    assert {"kernel", "libfuse", "RocksDB", "/dev/fuse", "read-ahead", "free space", "filesystem"} <= seen
    assert at(rows, point, "daemon")[0][0] == "ok"
    assert store.run("doctor", "/").code == program.NOT_FOUND
    store.umount()
    assert at(findings(store, store.path), "store", "path")[0][1] == store.path, "it is named as for status"


@pytest.mark.parametrize("how", ["mountpoint", "store", "system"])
def test_a_daemon_that_died_is_bad_and_what_is_advised_helps(store, how):
    point = store.mount()
    store.die()
    words = {"mountpoint": [point], "store": ["-s", store.path], "system": []}[how]
    state, value, mend = at(findings(store, *words, code=program.FAILED), point, "daemon")[0]
    assert state == "bad" and "died" in value and f"corpusfs umount {point}" in mend
    assert store.run("umount", point).code == program.FAILED, "what was not synced is lost"
    store.points.remove(point)
    assert not procs.fuse_mounts(point)
    assert at(findings(store, "-s", store.path), point, "daemon") == []


def test_a_dead_mount_is_found_when_its_store_is_gone(blank):
    store = blank.init()
    point = store.mount()
    store.die()
    shutil.rmtree(store.path)
    assert at(findings(store, point, code=program.FAILED), point, "daemon")[0][0] == "bad"
    store.clear()


def test_a_daemon_that_does_not_answer_is_bad(store):
    point = store.mount()
    os.kill(store.pid, signal.SIGSTOP)
    try:
        for words in ([point], ["-s", point]):
            state, value, mend = at(findings(store, *words, code=program.FAILED), point, "daemon")[0]
            assert state == "bad" and "does not answer" in value and f"corpusfs umount --force {point}" in mend
    finally:
        os.kill(store.pid, signal.SIGCONT)
    assert at(findings(store, point), point, "daemon")[0][0] == "ok"


def test_a_detached_mount_is_told(fs, store):
    point = store.points[0]
    other = store.mount(options="ro")
    with open(fs + "/file", "wb"):
        subprocess.run(["umount", "-l", point], check=True, timeout=20, stdin=subprocess.DEVNULL)
        store.points.remove(point)
        rows = findings(store, "-s", store.path)
        state, value, _ = at(rows, point, "mount")[0]
        assert state == "note" and value.startswith("detached; 1 file")
        assert at(rows, other, "daemon")[0][0] == "ok"
