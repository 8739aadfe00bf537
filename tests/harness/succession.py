"""A daemon that follows another: killed ones, and processes that use the mount all the time and look at everything they were told."""

import hashlib
import os
import signal
import subprocess
import sys

import pytest

from harness import counts, procs, program

IMPOSSIBLE = "this kernel sends no request again (before Linux 6.9), so there is no supervisor"


def possible():
    major, minor = (int(number) for number in os.uname().release.split(".")[:2])
    return (major, minor) >= (6, 9)


def needed():
    """For who needs one. Where there cannot be one, the test is skipped."""
    if not possible():
        pytest.skip(IMPOSSIBLE)


needs = pytest.mark.skipif(not possible(), reason=IMPOSSIBLE)


def shoot(store, number=signal.SIGKILL):
    """Kills the daemon, for another to go on; returns its pid."""
    store.expected.append(" died ")
    os.kill(store.pid, number)
    counts.note({"kills": 1})
    return store.pid


def kill(store, number=signal.SIGKILL):
    """The same; returns when another serves."""
    await_successor(store, shoot(store, number))


def await_successor(store, before):
    procs.poll(lambda: successor(store, before), 30 * program.scale(), f"another daemon goes on\n{store.log()}")


def successor(store, before):
    children = [int(pid) for pid in procs.read(f"/proc/{store.supervisor}/task/{store.supervisor}/children").split()]
    found = [pid for pid in children if pid != before and procs.read(f"/proc/{pid}/comm").strip() == b"corpusfsd"]
    if found:
        store.pid = found[-1]
    return found


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


class Workers:
    """Four processes at work in a directory, each in its own part of it."""

    def __init__(self, directory, area, seed=0):
        self.end, self.numbers = area + "/end", [100 * seed + number for number in range(4)]
        self.all = [subprocess.Popen([sys.executable, "-c", WORKER, directory, str(number), self.end],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for number in self.numbers]  # fmt: skip

    def check(self):
        """None has met an error."""
        failed = [worker for worker in self.all if worker.poll() is not None]
        assert not failed, failed[0].communicate()[1].decode()

    def stop(self):
        """Tells them to end; for `finally`."""
        with open(self.end, "w", encoding="ascii"):
            pass

    def finish(self):
        """Each ends without an error, after it has looked at all that it has."""
        for worker in self.all:
            out, err = worker.communicate(timeout=120)
            assert worker.returncode == 0, err.decode()
            assert int(out) > 0

    def compare(self, directory):
        """All that they had in the end is there."""
        for number in self.numbers:
            base = f"{directory}/w{number}"
            lines = procs.read(f"{self.end}.{number}").decode().splitlines()
            names = {line.split()[0]: line.split()[1] for line in lines}
            assert sorted(os.listdir(base)) == sorted(names)
            for name, digest in names.items():
                assert hashlib.sha256(procs.read(f"{base}/{name}")).hexdigest() == digest, name
