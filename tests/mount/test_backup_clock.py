"""Clocks that are wrong, or were: what is the newest backup, whose lock counts, how far a replica is behind."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from harness import files, procs, program
from harness.repository import PASSWORD, SECRETS, Repository, restic_check

HOUR = 3600
DAY = 24 * HOUR
# the first process of a container neither stops nor kills itself
CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"]
ELSEWHERE = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c", 'hostname elsewhere; "$@"; exit $?', "sh"]


def clock(seconds):
    """The environment of a command whose clock is so far ahead."""
    return {"LD_PRELOAD": f"{program.build()}/tests/crash/libcrash-clock.so", "CORPUSFS_CLOCK": str(seconds)}


def last_scrub(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))["scrub"]["last_end"]


def test_a_scrub_is_due_though_the_clock_was_far_ahead_when_the_last_one_ended(store):
    store.ok("-s", store.path, "scrub", "schedule", "daily")
    store.ok("-s", store.path, "scrub", env=clock(10000 * HOUR))
    assert last_scrub(store) > time.time() + 9000 * HOUR
    store.mount()
    procs.poll(lambda: last_scrub(store) < time.time() + HOUR, 30, "the daemon scrubs by the clock as it is now")


def snapshots(store):
    return [row["name"] for row in json.loads(store.ok("-s", store.path, "snapshot", "list", "d", "--json"))]


def test_nothing_is_backed_up_by_a_clock_that_has_gone_back(repository, store):
    ahead = json.loads(repository.run("backup", "d", repository.path, "--json", secrets={**SECRETS, **clock(2 * HOUR)}).out)[0]["backup"]
    before = snapshots(store)
    for kind in ("full", "incremental", "differential"):
        refused = repository.run("backup", "d", repository.path, "--type", kind, code=program.FAILED).err
        assert len(refused.splitlines()) == 1 and ahead[:8] in refused and "clock" in refused and f"forget {repository.path}" in refused
    assert [row["backup"] for row in repository.backups()] == [ahead] and snapshots(store) == before
    assert os.listdir(repository.path + "/locks") == []
    assert repository.json("restore", repository.path, "again")["same"], "what is there can be had"


def warnings(told):
    """Without the note that what came back has access control lists."""
    return [line for line in told.splitlines() if "access control lists" not in line]


def test_the_way_out_where_the_backup_had_the_wrong_time(repository, store, area):
    ahead = json.loads(repository.run("backup", "d", repository.path, "--json", secrets={**SECRETS, **clock(2 * HOUR)}).out)[0]["backup"]
    store.ok("-s", store.path, "snapshot", "create", "d@now")
    told = repository.run("backup", "d@now", repository.path, "--json")
    kept = json.loads(told.out)[0]["backup"]
    assert len(told.err.splitlines()) == 1 and ahead[:8] in told.err and kept[:8] in told.err, "which one passes for the newest is said"
    assert repository.json("backup", "show", repository.path)["backup"] == ahead
    for target in ("again", area + "/out/"):
        (told,) = warnings(repository.run("restore", repository.path, target).err)
        assert ahead[:8] in told and kept[:8] in told
    for backup, target in (ahead, "named"), ("d@now", "other"):
        assert not warnings(repository.run("restore", f"{repository.path}@{backup}", target).err)
    repository.run("backup", "forget", repository.path, ahead)
    made = repository.backup("d", kind="incremental")
    assert made["base"] == kept and {row["backup"] for row in repository.backups()} == {kept, made["backup"]}
    repository.run("backup", "prune", repository.path)
    restic_check(repository)


def test_another_dataset_is_backed_up_whatever_the_time_of_this_one(repository, store):
    store.create("e")
    repository.run("backup", "d", repository.path, secrets={**SECRETS, **clock(2 * HOUR)})
    assert repository.backup("e")["backup"]


def test_a_lock_of_a_process_of_this_machine_that_lives_counts_whatever_the_clock_says(repository, store):
    """Its holder, which is stopped, notices when it goes on that somebody took it away."""
    later, ago = {**SECRETS, **clock(HOUR)}, {**SECRETS, **clock(-HOUR)}
    with store.stopped_at("backup-before-snapshot-file", "-s", store.path, "backup", "d", repository.path, env=SECRETS) as holder:
        assert "0 minutes ago" in repository.run("backup", "prune", repository.path, code=program.BUSY).err
        assert "ahead of this machine's clock" in repository.run("backup", "prune", repository.path, code=program.BUSY, secrets=ago).err
        assert json.loads(repository.run("backup", "unlock", repository.path, "--json", secrets=ago).out)["removed"] == 0
        assert "60 minutes ago" in repository.run("backup", "prune", repository.path, code=program.BUSY, secrets=later).err
        assert json.loads(repository.run("backup", "unlock", repository.path, "--json", secrets=later).out)["removed"] == 0
        assert json.loads(repository.run("backup", "unlock", repository.path, "--all", "--json").out)["removed"] == 1
    assert holder.code != 0 and "lock" in holder.err
    assert repository.backups() == []


@pytest.mark.namespaces
def test_a_lock_of_a_process_that_lives_in_another_container_counts(repository, store):
    """It has the name of this machine, and pids of its own."""
    with store.stopped_at("backup-before-snapshot-file", "-s", store.path, "backup", "d", repository.path, env=SECRETS, inside=CONTAINER) as other:
        packs = repository.packs()
        assert packs
        refused = repository.run("backup", "prune", repository.path, code=program.BUSY)
        assert "unlock --all" in refused.err
        assert repository.json("backup", "unlock", repository.path)["removed"] == 0
        assert repository.packs() == packs
    assert other.code == 0, other.err
    assert len(repository.backups()) == 1 and repository.verify()["problem_count"] == 0


@pytest.mark.namespaces
def test_who_waits_whether_an_old_lock_of_another_machine_is_renewed_says_so(repository, store):
    """Who only reads does not wait."""
    ago = {**SECRETS, **clock(-HOUR), "CORPUSFS_FAULT": "backup-before-snapshot-file"}
    command = [*ELSEWHERE, store.binary, "-s", store.path, "backup", "d", repository.path]
    assert program.call(command, program.environment(store.run_mark, store.logs, ago), store.logs).code == 128 + signal.SIGKILL
    assert len(os.listdir(repository.path + "/locks")) == 1
    repository.verify()
    for command in (["backup", "forget", repository.path, "--keep-last", "1"], ["backup", "prune", repository.path]):
        waiting = store.begin("-s", store.path, *command, env=SECRETS, output=subprocess.PIPE)
        told = waiting.stderr.readline()
        assert "on elsewhere" in told and "6 minutes" in told
        waiting.send_signal(signal.SIGINT)
        waiting.communicate(timeout=30 * program.scale())
        assert waiting.returncode == -signal.SIGINT
    assert len(os.listdir(repository.path + "/locks")) == 1, "who was interrupted removes nothing"
    assert repository.json("backup", "unlock", repository.path)["removed"] == 1


def test_the_lag_of_a_replica_is_the_age_of_the_oldest_snapshot_that_it_has_not(store, other):
    to = f"CORPUSFS_TEST_STORE={other.path} {store.binary} -s {other.path} receive d --serve"
    point = store.mount()
    store.create("d")
    taken = {}
    for name in ("one", "two", "three"):
        files.put(point + "/d/f", name.encode())
        taken[name] = time.time()
        store.ok("-s", store.path, "snapshot", "create", f"d@{name}")
        if name == "one":
            store.ok("-s", store.path, "replicate", "d", "--to", to)
    store.umount()

    def show(ahead, *options):
        return store.ok("-s", store.path, "dataset", "show", "d", *options, env=clock(ahead))

    begun = time.time()
    shown = json.loads(show(HOUR, "--json"))
    assert shown["replicated_snapshot"] == "one" and shown["replicated_behind"] == 2
    assert int(begun) + HOUR - taken["two"] - 2 <= shown["replicated_lag"] <= time.time() + HOUR - taken["two"] + 2
    seconds = int(re.search(r"^age of the oldest, s +(\d+)$", show(HOUR), re.M).group(1))
    assert shown["replicated_lag"] <= seconds <= time.time() + HOUR - taken["two"] + 2
    assert json.loads(show(-HOUR, "--json"))["replicated_lag"] == 0, "a clock that went back"
    store.ok("-s", store.path, "replicate", "d", "--to", to)
    shown = json.loads(show(HOUR, "--json"))
    assert shown["replicated_behind"] == shown["replicated_lag"] == 0


# --- what was missed ---


@pytest.fixture(name="drilled")
def _drilled(repository, store, area):
    """Its dataset has a backup and a weekly drill, which was just done."""
    files.put(area + "/secret", PASSWORD.encode() + b"\n")
    repository.run("backup", "schedule", "d", repository.path, "--password-file", area + "/secret", "--full", "monthly", "--drill", "weekly")
    assert "full of d" in store.ok("-s", store.path, "tick")
    assert "drilled" in store.ok("-s", store.path, "tick")
    return repository


def test_a_drill_that_was_missed_is_told_everywhere(drilled, store, area):
    other = Repository(store, area + "/elsewhere")
    for ahead, late in ((10 * DAY, False), (11 * DAY, True)):
        rows = json.loads(store.ok("-s", store.path, "status", "--json", env=clock(ahead)))["backups"]
        assert [row["late"] for row in rows if row["kind"] == "drill"] == [late]
        (line,) = [line for line in store.ok("-s", store.path, "status", env=clock(ahead)).splitlines() if "drill weekly" in line]
        assert ("LATE" in line) == late, line
        (line,) = [line for line in store.run("-s", store.path, "doctor", env=clock(ahead)).out.splitlines() if "drill of d" in line]
        assert ("late" in line, "in time" in line) == (late, not late), line
        for command in (["list", drilled.path], ["report", "d"]):
            told = drilled.run("backup", *command, secrets={**SECRETS, **clock(ahead)}).err
            assert ("drill of d is late, weekly" in told) == late, told
            assert len(told.splitlines()) == late
        assert drilled.run("backup", "list", other.path, secrets={**SECRETS, **clock(ahead)}).err == "", "of another repository nothing is said"


def test_the_daemon_s_log_has_what_is_late(drilled, store, area):
    def lines():
        return [line for line in procs.read(store.path + "/log").decode().splitlines() if " late " in line and "kind=drill" in line]

    store.expected.append("a drill or healing failed")
    os.rename(area + "/secret", area + "/gone")
    store.mount(env=clock(11 * DAY))
    procs.poll(lines, 30 * program.scale(), "it is told")
    assert len(lines()) == 1 and " warning late " in lines()[0] and 'dataset="d"' in lines()[0] and "every=weekly" in lines()[0]


@pytest.mark.timeout(150)
def test_what_can_still_be_made_is_not_called_late_in_the_log(drilled, store):
    def drills():
        return [row["time"] for row in json.loads(store.ok("-s", store.path, "status", "--json"))["backups"] if row["kind"] == "drill"]

    before = drills()
    store.mount(env=clock(11 * DAY))
    procs.poll(lambda: drills() != before, 90 * program.scale(), "the drill is made")
    store.umount()
    assert " late " not in procs.read(store.path + "/log").decode()
