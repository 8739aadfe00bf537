"""Nobody waits for ever: for a daemon that is stopped, for one that is stuck, for what takes long."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib

import pytest

from harness import files, procs, program
from harness.between import Between, serving
from harness.repository import SECRETS, NetRepository, Repository
from harness.terminal import on_terminal

STUCK = "commit-before-store:sleep600000"

WRITER = """
import os, random, sys
try:
    os.makedirs(sys.argv[1], exist_ok=True)
    while True:
        with open(f"{sys.argv[1]}/{random.randrange(50)}", "wb") as handle:
            handle.write(os.urandom(100000))
        os.listdir(sys.argv[1])
except OSError:
    pass
"""


@pytest.fixture
def load(fs):
    """Programs that write all the time."""
    running = [subprocess.Popen([sys.executable, "-c", WRITER, f"{fs}/{number}"], stdin=subprocess.DEVNULL) for number in range(3)]
    procs.poll(lambda: len(os.listdir(fs)) == 3, 20, "they write")
    yield running
    for process in running:
        process.kill()
        process.wait(20)


def synced(path):
    with open(path, "wb") as handle:
        handle.write(b"synced")
        os.fsync(handle.fileno())


def forced(store, point, expect, **options):
    # with a slash, as shells complete it
    result = store.run("umount", "--force", point + "/", limit=60, **options)
    assert result.code == expect, result
    assert not procs.fuse_mounts(point)
    store.points.remove(point)
    return result


@pytest.mark.timeout(120)
def test_commands_end_and_say_that_the_daemon_is_stopped(fs, store, load):
    os.kill(store.pid, signal.SIGSTOP)
    try:
        point = store.points[0]
        named = (["-s", which, *words] for which in (store.path, point) for words in (["status"], ["snapshot", "create", "d@s"]))
        for command in (["umount", point], ["umount", point + "/"], ["sync", point], *named):
            result = store.run(*command, limit=30)
            assert result.code == program.FAILED and "it is stopped" in result.err and f"umount --force {point}" in result.err, result
            assert f"kill -CONT {store.pid}" in result.err, "nothing is lost with that"
    finally:
        os.kill(store.pid, signal.SIGCONT)
    store.ok("-s", store.path, "status")


def test_a_stopped_daemon_is_unmounted_by_force_and_loses_nothing(fs, store, load):
    with open(fs + "/written", "wb") as handle:
        handle.write(b"written")
    os.kill(store.pid, signal.SIGSTOP)
    assert "everything is on disk" in forced(store, store.points[0], program.OK).out
    assert [process.wait(20) for process in load] == [0, 0, 0]
    store.ended()
    assert procs.read(store.mount() + "/d/written") == b"written"


@pytest.mark.timeout(90)
def test_a_mount_whose_store_was_moved_is_said_to_be_that_and_nothing_is_lost(fs, store):
    point, moved = store.points[0], store.path + "-moved"
    files.put(fs + "/file", b"written")
    os.rename(store.path, moved)
    try:
        for command in (["umount", point], ["status", point]):
            result = store.run(*command)
            assert result.code == program.FAILED and "is not where it was mounted from" in result.err, result
        result = forced(store, point, program.FAILED)
        assert "the log in the store says" in result.err and "lost" not in result.err, result
        store.ended()
    finally:
        os.rename(moved, store.path)
    assert files.get(store.mount(point) + "/d/file") == b"written"


def test_a_stuck_daemon_is_killed_by_force_and_the_loss_is_told(store):
    store.create("d")
    synced(store.mount() + "/d/synced")
    store.umount()
    point, other = store.mount(env={"CORPUSFS_FAULT": STUCK}), store.mount(options="ro")
    writer = subprocess.Popen(["sh", "-c", f"echo lost >{point}/d/lost; sync {point}/d/lost"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    procs.poll(lambda: os.path.exists(point + "/d/lost"), 20, "it writes")
    result = forced(store, point, program.FAILED)
    assert "is lost" in result.err and other in result.err, result
    assert writer.wait(20) != 0
    store.ended(-signal.SIGKILL)
    assert store.run("umount", other).code == program.OK
    store.points.remove(other)
    assert procs.read(store.mount() + "/d/synced") == b"synced"


@pytest.fixture(name="stuck")
def _stuck(store):
    """A mount that can commit nothing, ever; its daemon answers all else."""
    store.create("d")
    files.put(store.mount(env={"CORPUSFS_FAULT": STUCK}) + "/d/file", b"never committed")
    yield store
    if store.points:
        store.kill()


@pytest.mark.timeout(120)
@pytest.mark.kinds("command")
@pytest.mark.parametrize("command", [["sync"], ["snapshot", "create", "d@s"], ["export", "d", "OUT"], ["import", "IN", "d/in"]])
def test_commands_end_when_the_daemon_gives_no_sign_that_it_works(stuck, area, command):
    os.mkdir(area + "/in")
    files.put(area + "/in/file", b"content")
    args = [{"OUT": area + "/out", "IN": area + "/in"}.get(word, word) for word in command]
    result = stuck.run("-s", stuck.path, *args, env={"CORPUSFS_PATIENCE": "2"})
    assert result.code == program.FAILED and "no sign of life for" in result.err and "umount --force" in result.err, result
    stuck.ok("-s", stuck.path, "status")


@pytest.mark.timeout(120)
def test_beats_of_the_store_s_lock_are_no_sign_that_it_works(stuck):
    """However long they add up."""
    result = stuck.run("-s", stuck.path, "sync", env={"CORPUSFS_PATIENCE": "20"})
    assert result.code == program.FAILED and "no sign of life for" in result.err, result


@pytest.mark.timeout(120)
def test_a_command_that_is_asked_to_end_does_so_though_the_daemon_does_not_let_go(stuck):
    path = Repository(stuck, stuck.area + "/repository").path
    environment = program.environment(stuck.run_mark, stuck.logs, SECRETS)
    for seconds in ("3", "10", "30"):  # on a busy machine it may not have asked the daemon so soon
        result = program.call(["timeout", seconds, stuck.binary, "-s", stuck.path, "backup", "d", path, "--type", "full"], environment, stuck.logs)
        if "may still do it" in result.err:
            break
    assert result.code == 124 and "may still do it" in result.err, result
    forced(stuck, stuck.points[0], program.FAILED)
    stuck.ended(-signal.SIGKILL)


@pytest.mark.timeout(120)
def test_on_a_terminal_a_command_says_that_it_waits(stuck):
    told = on_terminal(stuck, 200, "sync", env={"CORPUSFS_PATIENCE": "8"}, code=program.FAILED)
    assert f"waiting for the daemon of {stuck.path} (process {stuck.pid}), which has not answered for" in told, told
    assert "Ctrl-C to stop" in told and told.index("Ctrl-C") < told.index("no sign of life"), told


def test_who_gives_an_archive_slowly_is_waited_for(fs, store):
    """Longer than for a daemon that gives no sign of life."""
    program_text = f"( sleep 10; tar -C {store.area}/source -c . ) | {store.binary} -s {store.path} import - d"
    os.mkdir(store.area + "/source")
    files.put(store.area + "/source/name", b"content")
    environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_PATIENCE": "6"})
    result = program.call(["sh", "-c", program_text], environment, store.logs)
    assert result.code == 0 and procs.read(fs + "/name") == b"content", result


class SlowUploads(Between):
    """Takes packs by 24 KiB in a tenth of a second."""

    def do_POST(self):
        coming, body = self.rfile, bytearray()
        while len(body) < int(self.headers["Content-Length"]):
            body += coming.read(min(24 << 10, int(self.headers["Content-Length"]) - len(body)))
            time.sleep(0.1 if "/data/" in self.path else 0)
        self.rfile = io.BytesIO(body)
        self.do_GET()
        self.rfile = coming


@pytest.mark.timeout(120)
def test_an_upload_that_takes_long_is_waited_for(fs, store, rest, area):
    """Longer than for a daemon that gives no sign of life."""
    files.put(fs + "/file", random.Random(1).randbytes(2500000))
    with serving(type("Slow", (SlowUploads,), {"port": rest.port}), is_narrow=True) as port:
        repository = NetRepository(store, f"rest:http://127.0.0.1:{port}/r/", {"CORPUSFS_PATIENCE": "7"}, area + "/cache")
        assert repository.backup("d")["type"] == "full"


def oldest(store, point):
    """Of the requests that wait for an answer, as `status` knows it without asking the mount."""
    status = json.loads(store.ok("-s", store.path, "status", "--json"))
    return next(row for row in status["mounts"] if row["mountpoint"] == point)


@pytest.mark.timeout(90)
def test_a_request_that_takes_long_is_told_with_its_age_and_where_it_waits(store):
    store.create("d")
    point = store.mount(env={"CORPUSFS_FAULT": "commit-before-store:sleep25000:1"})
    with open(point + "/d/file", "wb", buffering=0) as handle:
        handle.write(b"content")
        waiting = threading.Thread(target=lambda: os.fsync(handle.fileno()))
        waiting.start()
        row = procs.poll(lambda: (found := oldest(store, point))["oldest_ms"] > 1000 and found, 20, "somebody waits")
        assert row["oldest_op"] == "FSYNC" and row["waiting"] >= 1 and row["oldest_where"].startswith("thread "), row
        assert "FSYNC" in store.ok("-s", store.path, "status")
        procs.poll(lambda: "FSYNC" in store.log() and "waits for" in store.log(), 30, "it is logged")
        waiting.join()
    assert store.log().count("waits for") == 1
    procs.poll(lambda: oldest(store, point)["oldest_op"] == "", 20, "nobody waits any more")


# A reader of whole files, which knows the sum of each. Ended, it prints how many it has read, and what was not as it must be.
READER = """
import errno, json, os, signal, sys, zlib
sums, count, wrong, kept = json.loads(sys.argv[2]), 0, [], None

def end(*_):
    print(json.dumps([count, wrong]), flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, end)
while True:
    try:
        for name in os.listdir(sys.argv[1]):
            with open(f"{sys.argv[1]}/{name}", "rb") as handle:
                content = handle.read()
            count += 1
            if zlib.crc32(content) != sums[name]:
                wrong.append(name)
            if kept is None:  # who looks finds that it has begun
                kept = os.open(sys.argv[1], os.O_RDONLY)
    except OSError as error:
        if error.errno != errno.ESTALE:  # its dataset was rolled back while the file was open
            wrong.append(str(error))
"""


@pytest.mark.timeout(120)
def test_everybody_is_answered_while_many_read_a_scrub_runs_and_snapshots_go_and_their_dataset_is_rolled_back(fs, store):
    point, results, scrubs, done = store.points[0], [], [], threading.Event()
    sums = {}
    for number in range(40):
        content = os.urandom(200000)
        sums[str(number)] = zlib.crc32(content)
        with open(f"{fs}/{number}", "wb") as handle:
            handle.write(content)
    for name in ("kept", "gone0", "gone1", "gone2"):
        os.mkdir(f"{fs}/.snapshots/{name}")
    places = [fs, f"{fs}/.snapshots/kept"]
    programs = [[sys.executable, "-c", READER, place, json.dumps(sums)] for place in places]
    readers = [subprocess.Popen(programs[number % 2], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for number in range(64)]

    def scrub():
        while not done.is_set():
            scrubs.append(store.run("-s", store.path, "scrub").code)

    def change(turn):
        results.append(store.run("-s", store.path, "snapshot", "destroy", f"d@gone{turn}").code)
        results.append(store.run("-s", store.path, "rollback", "d@kept").code)

    scrubbing = threading.Thread(target=scrub)
    scrubbing.start()
    try:
        procs.poll(lambda: len({line.split()[0] for line in procs.holders(point) if line.split()[2] in places}) == len(readers), 60, "all have begun", 0.5)
        for turn in range(3):
            changing = threading.Thread(target=change, args=(turn,))
            changing.start()
            for command in (["ls", "-l", point + "/d/.snapshots"], ["df", point]):
                result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30, check=False)
                # a name that was listed may be destroyed before it is looked at
                assert result.returncode == 0 or (command[0] == "ls" and result.returncode == 1), result
            assert store.run("umount", point, limit=30).code == program.BUSY
            changing.join()
    finally:
        done.set()
        for reader in readers:
            reader.terminate()
        read = [json.loads(reader.communicate(timeout=30)[0] or "null") for reader in readers]
        scrubbing.join(60)
    assert all(count > 0 and not wrong for count, wrong in read), read
    assert results == [program.OK] * 6 and scrubs and set(scrubs) == {program.OK}
