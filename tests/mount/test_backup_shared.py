"""A repository that is shared: between backups, with people who know restic's words, and between several stores at once."""

import itertools
import os
import signal
import subprocess
import threading

import pytest

from harness import files, procs, program
from harness.repository import PASSWORD, SECRETS, Repository, call_restic, restic, restic_check
from harness.store import Store


def test_a_full_backup_shares_only_when_told_to(repository):
    first = repository.backup("d")
    assert repository.backup("d")["stored"] > first["stored"] // 2
    assert repository.backup("d", options=["--share"])["stored"] < first["stored"] // 20
    assert repository.verify()["problem_count"] == 0


def test_the_list_shows_on_what_each_backup_is_based(repository):
    full = repository.backup("d")["backup"]
    first, second = (repository.backup("d", kind="incremental")["backup"] for _ in range(2))
    differential = repository.backup("d", kind="differential")["backup"]
    rows = {row["backup"]: (row["type"], row.get("base")) for row in repository.backups()}
    assert rows == {full: ("full", None), first: ("incremental", full), second: ("incremental", first), differential: ("differential", full)}
    line = next(line for line in repository.run("backup", "list", repository.path).out.splitlines() if line.startswith(second[:8]))
    assert first[:8] in line


def test_restic_s_variables_give_the_password_and_ours_come_first(repository, area):
    files.put(area + "/password", PASSWORD.encode() + b"\n")
    silent = {"CORPUSFS_PASSWORD": "", "RESTIC_PASSWORD": ""}
    ways = [{"RESTIC_PASSWORD": PASSWORD}, {"RESTIC_PASSWORD_FILE": area + "/password"}, {"RESTIC_PASSWORD_COMMAND": f"cat {area}/password"},
            {"CORPUSFS_PASSWORD": PASSWORD, "RESTIC_PASSWORD": "wrong"}, {"CORPUSFS_PASSWORD_FILE": area + "/password", "RESTIC_PASSWORD": "wrong"},
            {"CORPUSFS_PASSWORD_COMMAND": f"cat {area}/password", "RESTIC_PASSWORD_FILE": "/nowhere"}]  # fmt: skip
    for way in ways:
        repository.run("backup", "list", repository.path, secrets=silent | way)
    repository.run("backup", "list", repository.path, secrets=silent | {"RESTIC_PASSWORD": "wrong"}, code=program.PERMISSION)


def test_several_stores_back_up_into_one_repository_at_once(repository, run, area):
    """Each of them with two commands at the same time; the repository keeps all."""
    other = Store(area, run.mark, run.home, name="other").init()
    other.create("e")
    point = other.mount(area + "/beside")
    files.put(point + "/e/noise", os.urandom(30 << 20))
    repository.store.mount()
    files.put(area + "/password", PASSWORD.encode() + b"\n")
    beside = Repository(other, repository.path, init=False)
    try:
        running = [one.store.begin("-s", one.store.path, "backup", dataset, repository.path, "--password-file", area + "/password")
                   for one, dataset in ((repository, "d"), (beside, "e")) for _ in range(2)]  # fmt: skip
        assert [process.wait(60) for process in running] == [0] * 4
    finally:
        other.close()
    assert sorted(row["dataset"] for row in repository.backups()) == ["d", "d", "e", "e"]
    assert repository.verify()["problem_count"] == 0
    restic_check(repository)


def test_several_datasets_are_backed_up_as_of_one_instant_while_they_are_written(repository, store):
    """What is written is a name in d, then the same one in e, and so on: each state in between is that of some instant."""
    point = store.mount()
    store.create("e")
    done = threading.Event()

    def write():
        for number in itertools.count():
            for dataset in "de":
                files.put(f"{point}/{dataset}/number{number}", b"")
            if done.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        procs.poll(lambda: len(os.listdir(point + "/e")) > 20, 60 * program.scale(), "names come")
        rows = [repository.backup("d", "e") for _ in range(3)]
    finally:
        done.set()
        writer.join()
    counts = []
    for turn, row in enumerate(rows):
        for one in row:
            repository.run("restore", f"{repository.path}@{one['backup']}", f"{one['dataset']}{turn}")
        counts.append([sum(name.startswith("number") for name in os.listdir(f"{point}/{dataset}{turn}")) for dataset in "de"])
    assert all(here - there in (0, 1) for here, there in counts), counts
    assert counts[0] != counts[1] != counts[2], "it was written meanwhile"


def test_restic_adds_beside_a_backup_of_ours_and_removes_nothing(repository, store, source):
    with store.stopped_at("backup-before-snapshot-file", "-s", store.path, "backup", "d", repository.path, env=SECRETS) as ours:
        done = call_restic(repository, "prune")
        assert done.returncode != 0 and "already locked" in done.stderr
        restic(repository, "backup", source)
    assert ours.code == 0, ours.err
    assert sorted(row["type"] for row in repository.backups()) == ["full", "restic"]
    restic_check(repository)


def whole_locks(repository):
    return [name for name in os.listdir(repository.path + "/locks") if len(name) == 64]


def locked_by_restic(repository, *args):
    """A restic that has put its lock, and is stopped."""
    environment = {**os.environ, **SECRETS, "RESTIC_CACHE_DIR": repository.path + "-cache"}
    while True:
        other = subprocess.Popen(["restic", "-r", repository.path, *args], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        procs.poll(lambda: whole_locks(repository) or other.poll() is not None, 60 * program.scale(), "it locks", 0.001)  # noqa: B023
        other.send_signal(signal.SIGSTOP)
        procs.poll(lambda: procs.has_stopped(other.pid), 60 * program.scale(), "it stops, or has ended")  # noqa: B023
        if other.poll() is None and whole_locks(repository):
            return other
        other.kill()
        other.wait()
        repository.run("backup", "unlock", repository.path, "--all")


@pytest.mark.timeout(180)
def test_we_add_beside_a_restic_that_adds_and_not_beside_one_that_removes(repository, store, source, area):
    repository.backup("d")
    files.put(area + "/noise", os.urandom(32 << 20))
    for args, code in ((["backup", source, area + "/noise"], 0), (["check", "--read-data"], program.BUSY)):
        other = locked_by_restic(repository, *args)
        try:
            done = repository.run("backup", "d", repository.path, "--type", "incremental", code=code)
            assert code == 0 or f"process {other.pid}" in done.err
        finally:
            other.send_signal(signal.SIGCONT)
            other.wait(60 * program.scale())
    assert repository.verify()["problem_count"] == 0
    restic_check(repository)
