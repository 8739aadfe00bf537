"""The daemon dies and the mount lives: another goes on, and who uses the mount sees a pause, not an error."""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness import procs, program

KILLS = 60


def possible():
    major, minor = (int(number) for number in os.uname().release.split(".")[:2])
    return (major, minor) >= (6, 9)


@pytest.fixture
def supervised(store):
    """The directory of dataset `d` in a supervised mount."""
    if not possible():
        pytest.skip("this kernel sends no request again (before Linux 6.9), so there is no supervisor")
    point = store.mount(options="allow_other,dev,suid,supervise")
    assert store.supervisor
    store.create("d")
    return point + "/d"


def kill(store, number=signal.SIGKILL):
    """Kills the daemon; returns when another serves."""
    before = store.pid
    os.kill(before, number)
    procs.poll(lambda: successor(store, before), 30 * program.scale(), f"another daemon goes on\n{store.log()}")


def successor(store, before):
    children = [int(pid) for pid in procs.read(f"/proc/{store.supervisor}/task/{store.supervisor}/children").split()]
    found = [pid for pid in children if pid != before and procs.read(f"/proc/{pid}/comm").strip() == b"corpusfsd"]
    if found:
        store.pid = found[-1]
    return found


def log_count(store, event):
    return procs.read(store.path + "/log").decode().count(f" {event} ")


def test_what_is_open_goes_on(supervised, store):
    """Files, a removed file, a directory that is being read, and a working directory."""
    fs = supervised
    for number in range(3000):
        with open(f"{fs}/{number}", "xb"):
            pass
    fd, gone = os.open(fs + "/open", os.O_RDWR | os.O_CREAT), os.open(fs + "/gone", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"before ")
    os.write(gone, b"before ")
    os.unlink(fs + "/gone")
    os.mkdir(fs + "/dir")
    inside = subprocess.Popen([sys.executable, "-c", "import os, sys; sys.stdin.readline(); open('file', 'x').close(); print(os.listdir())"],
                              cwd=fs + "/dir", stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    listing = os.scandir(fs)
    names = [next(listing).name for _ in range(5)]
    kill(store)
    os.write(fd, b"after")
    os.write(gone, b"after")
    assert os.pread(fd, 100, 0) == b"before after" == os.pread(gone, 100, 0)
    names += [entry.name for entry in listing]
    assert sorted(names) == sorted([*map(str, range(3000)), "open", "dir"])
    assert inside.communicate(b"\n", timeout=30)[0] == b"['file']\n"
    assert os.fstat(gone).st_nlink == 0
    for handle in (fd, gone):
        os.close(handle)
    assert procs.read(fs + "/open") == b"before after"


def test_times_that_were_set_after_writing_stay(supervised, store):
    fs = supervised
    with open(fs + "/file", "wb") as handle:
        handle.write(b"content")
    os.utime(fs + "/file", (1000, 2000))
    with open(fs + "/later", "wb") as handle:
        handle.write(b"content")
    later = os.stat(fs + "/later").st_mtime_ns
    kill(store)
    store.umount()
    point = store.mount() + "/d"
    assert (os.stat(point + "/file").st_atime, os.stat(point + "/file").st_mtime) == (1000, 2000)
    assert abs(os.stat(point + "/later").st_mtime_ns - later) < 1e9


def test_lengths_and_holes_come_back_in_their_order(supervised, store):
    """Truncation, allocation and punching between writes that are not committed yet."""
    fs, rng = supervised, random.Random(7)
    reference = store.area + "/reference"
    for turn in range(20):
        with open(f"{fs}/{turn}", "w+b", buffering=0) as ours, open(f"{reference}", "w+b", buffering=0) as theirs:
            for _ in range(rng.randrange(1, 12)):
                change(rng, ours.fileno(), theirs.fileno())
            if turn % 4 == 3:
                kill(store)
                change(rng, ours.fileno(), theirs.fileno())
            size = os.fstat(theirs.fileno()).st_size
            assert os.fstat(ours.fileno()).st_size == size
            assert os.pread(ours.fileno(), size + 1, 0) == os.pread(theirs.fileno(), size + 1, 0)


def change(rng, *fds):
    kind, offset, size = rng.randrange(6), rng.randrange(300000), rng.randrange(1, 200000)
    data = rng.randbytes(size)
    for fd in fds:
        if kind < 3:
            os.pwrite(fd, data, offset)
        elif kind == 3:
            os.ftruncate(fd, offset)
        elif kind == 4:
            fallocate(fd, 3, offset, size)  # punch a hole, keep the size
        else:
            fallocate(fd, 0, offset, size)


def fallocate(fd, mode, offset, size):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size)):
        code = ctypes.get_errno()
        raise OSError(code, errno.errorcode[code])


# Each process writes its own files, records what it did, and compares what it sees at once and at its end.
WORKER = """
import hashlib, mmap, os, random, sys
root, seed, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng, there, count = random.Random(seed), {}, 0
os.mkdir(f"{root}/w{seed}")
os.chdir(f"{root}/w{seed}")
opened, content = None, b""
held = os.open("held", os.O_RDWR | os.O_CREAT)
os.unlink("held")
held_content = bytearray()
def compare(found, name):
    wanted = there[name]
    bad = [i for i in range(min(len(found), len(wanted))) if found[i] != wanted[i]]
    assert found == wanted, (name, count, len(found), len(wanted), bad[:1], bad[-1:], len(bad), found[bad[0]:bad[0] + 20] if bad else b"")
while not os.path.exists(end):
    count += 1
    kind = rng.randrange(12)
    if kind < 4 or not there:
        name, data = f"f{count}", rng.randbytes(rng.choice([10, 3000, 70000, 400000]))
        with open(name, "xb") as handle:
            handle.write(data)
        there[name] = data
    elif kind == 4:
        old, new = rng.choice(list(there)), f"r{count}"
        os.rename(old, new)
        there[new] = there.pop(old)
    elif kind == 5 and len(there) > 1:
        old, new = rng.sample(list(there), 2)
        os.rename(old, new)
        there[new] = there.pop(old)
    elif kind == 6:
        name = rng.choice(list(there))
        os.unlink(name)
        del there[name]
    elif kind == 7:
        name = rng.choice(list(there))
        os.link(name, f"l{count}")
        os.unlink(name)
        there[f"l{count}"] = there.pop(name)
    elif kind == 8:
        os.mkdir(f"d{count}")
        os.symlink("target", f"d{count}/link")
        assert os.readlink(f"d{count}/link") == "target"
        os.unlink(f"d{count}/link")
        os.rmdir(f"d{count}")
    elif kind == 9:
        name = rng.choice(list(there))
        data = there[name] + bytes(8192)
        with open(name, "r+b") as handle:
            handle.truncate(len(data))
            with mmap.mmap(handle.fileno(), len(data)) as mapped:
                mapped[len(data) - 4096:len(data) - 4091] = b"mmap!"
            handle.truncate(len(data) - 100)
        os.rename(name, name + "m")
        del there[name]
        name += "m"
        data = bytearray(data)
        data[len(data) - 4096:len(data) - 4091] = b"mmap!"
        there[name] = bytes(data[:-100])
    elif kind == 10:
        os.setxattr(".", "user.count", str(count).encode())
        assert os.getxattr(".", "user.count") == str(count).encode()
        os.removexattr(".", "user.count")
        data = rng.randbytes(1000)
        os.pwrite(held, data, len(held_content))
        held_content += data
    else:
        name = rng.choice(list(there))
        with open(name, "rb") as handle:
            compare(handle.read(), name)
            if rng.randrange(3) == 0:
                os.fsync(handle.fileno())
assert os.pread(held, len(held_content) + 1, 0) == held_content, "the removed file"
assert sorted(os.listdir(".")) == sorted(there), set(os.listdir(".")) ^ set(there)
for name, data in there.items():
    with open(name, "rb") as handle:
        compare(handle.read(), name)
with open(end + f".{seed}", "w") as handle:
    for name, data in there.items():
        print(name, hashlib.sha256(data).hexdigest(), file=handle)
print(count)
"""


@pytest.mark.sanitize
@pytest.mark.soak
@pytest.mark.timeout(300)
def test_killed_again_and_again_under_load(supervised, store, seed, rounds):
    """Every process ends without an error, and all that it was told is there, byte for byte; also after the store was opened anew."""
    fs, end, chance = supervised, store.area + "/end", random.Random(seed)
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, fs, str(100 * seed + number), end],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for number in range(4)]  # fmt: skip
    try:
        for turn in range(KILLS * rounds // program.scale()):
            time.sleep(chance.choice([0.0, 0.01, 0.1, 0.3]) * chance.random())
            kill(store)
            # not too often before it has answered anything, which would be given up
            if turn % 3 or chance.random() < 0.3:
                assert not os.path.exists(f"{fs}/nothing{turn}")
            if turn % 8 == 7:
                store.run("-s", store.path, "snapshot", "create", f"d@s{turn}")
            failed = [worker for worker in workers if worker.poll() is not None]
            assert not failed, failed[0].communicate()[1].decode()
    finally:
        with open(end, "w", encoding="ascii"):
            pass
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err.decode()
        assert int(out) > 0
    store.umount()
    point = store.mount() + "/d"
    for number in range(4):
        base = f"{point}/w{100 * seed + number}"
        lines = procs.read(f"{end}.{100 * seed + number}").decode().splitlines()
        names = {line.split()[0]: line.split()[1] for line in lines}
        assert sorted(os.listdir(base)) == sorted(names)
        for name, digest in names.items():
            assert hashlib.sha256(procs.read(f"{base}/{name}")).hexdigest() == digest, name
    assert store.ok("-s", store.path, "check")


def test_locks_stay(supervised, store):
    """POSIX locks are the kernel's: it keeps them whoever serves the mount."""
    with open(supervised + "/file", "w", encoding="ascii") as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX)
        kill(store)
        script = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", script, supervised + "/file"], stderr=subprocess.DEVNULL, timeout=30).returncode != 0


def test_nobody_takes_the_store_while_one_daemon_follows_another(supervised, store):
    """The lock is held by the supervisor; commands wait for the next daemon."""
    os.kill(store.pid, signal.SIGKILL)
    assert "d" in store.ok("-s", store.path, "dataset", "list")
    procs.poll(lambda: successor(store, store.pid), 30, "another daemon goes on")
    assert log_count(store, "died") == 1
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")


def test_what_dies_again_and_again_is_given_up(supervised, store):
    """Here before it serves anything: the mounts end, nobody waits for ever, and the log says why."""
    store.expected += ["not-resumed", "gave-up"]
    # nobody can open it any more
    os.rename(store.path + "/corpusfs", store.path + "/hidden")
    os.kill(store.pid, signal.SIGKILL)
    procs.poll(lambda: not procs.alive(store.supervisor), 30, "the supervisor gives up")
    with pytest.raises(OSError) as told:
        os.stat(supervised + "/file")
    assert told.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    store.ended(1)
    assert "gave-up" in store.log()
    os.rename(store.path + "/hidden", store.path + "/corpusfs")
    store.clear()
    assert "gave-up" in store.ok("-s", store.path, "status")
    store.mount()
    assert "gave-up" not in store.ok("-s", store.path, "status")


def test_without_its_supervisor_a_daemon_goes_on_alone(supervised, store):
    supervisor = store.supervisor
    os.kill(supervisor, signal.SIGKILL)
    assert store.reap(supervisor, 10) == -signal.SIGKILL
    store.supervisor = None
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")
    procs.poll(lambda: log_count(store, "alone"), 10, "the daemon says that it is alone")
    assert procs.read(supervised + "/file") == b"content"
    os.kill(store.pid, signal.SIGKILL)
    store.ended(-signal.SIGKILL)
    with pytest.raises(OSError):
        os.stat(supervised + "/file")
    store.clear()


def test_sync_after_a_daemon_has_died_is_of_what_was_written_before(supervised, store):
    """All is on disk when it says so: a crash of everything afterwards loses nothing."""
    data = random.Random(3).randbytes(3 << 20)
    with open(supervised + "/file", "wb") as handle:
        handle.write(data)
    kill(store)
    store.ok("-s", store.path, "sync")
    store.kill()
    assert procs.read(store.mount() + "/d/file") == data


@pytest.mark.parametrize("whom", ["daemon", "supervisor"])
def test_sigterm_ends_it_with_everything_on_disk(supervised, store, whom):
    with open(supervised + "/file", "w", encoding="ascii") as handle:
        handle.write("content")
    os.kill(store.pid if whom == "daemon" else store.supervisor, signal.SIGTERM)
    store.points.clear()
    store.ended()
    assert log_count(store, "died") == 0
    assert procs.read(store.mount() + "/d/file") == b"content"


@pytest.mark.timeout(180)
def test_a_request_of_which_daemons_die_is_answered_with_an_error(store):
    """While others are answered all the time, so that nobody gives up."""
    if not possible():
        pytest.skip("this kernel sends no request again (before Linux 6.9), so there is no supervisor")
    point = store.mount()
    store.create("d")
    with open(point + "/d/file", "wb") as handle:
        handle.write(random.Random(1).randbytes(300000))
    store.umount()
    store.expected.append("is answered with an error")
    point = store.mount(options="supervise", env={"CORPUSFS_FAULT": "read-before-chunks:abort"})
    done = threading.Event()

    def ask_others():
        number = 0
        while not done.wait(0.002):
            number += 1
            assert not os.path.exists(f"{point}/d/nothing{number}")

    others = threading.Thread(target=ask_others)
    others.start()
    try:
        with open(point + "/d/file", "rb", buffering=0) as handle, pytest.raises(OSError) as told:
            handle.read(100)
        assert told.value.errno == errno.EIO
    finally:
        done.set()
        others.join()
    assert "is answered with an error" in store.log()
    procs.poll(lambda: successor(store, 0), 30, "a daemon serves")


def test_status_tells_of_the_supervisor_and_of_crashes(supervised, store):
    assert "supervised     yes" in store.ok("-s", store.path, "status")
    kill(store)
    status = json.loads(store.ok("-s", store.path, "status", "--json"))
    assert (status["supervised"], status["crashes"]) == (True, 1)


def test_a_daemon_in_the_foreground_cannot_be_supervised(store):
    os.mkdir(store.area + "/point")
    result = store.run("mount", "-f", "-o", "supervise", store.path, store.area + "/point")
    assert result.code != program.OK and "foreground" in result.err, result
