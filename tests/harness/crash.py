"""Crashes of all kinds under load: witnesses (tests/crash/witness.c) know what they wrote, disks (tests/crash/disk.c) forget it."""

import os
import random
import signal
import subprocess
import time

from harness import counts, procs, program
from harness.failures import Failures
from harness.store import Store

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": 60}


def tool(name):
    return f"{program.build()}/tests/crash/crash-{name}"


def quietly(*command):
    done = subprocess.run(command, check=False, **QUIET)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout.decode(errors='replace')}"
    return done.stdout.decode().strip()


class Disks:
    """Disk 0 with an ext4, mounted on area/disk; cuts of it are disks too."""

    def __init__(self, area, mib):
        self.area, self.home, self.count, self.attached = area, area + "/disks", 0, {}
        os.mkdir(self.home)
        quietly(tool("disk"), self.home, str(mib))
        self.attach(0, "disk", ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1"])

    def attach(self, number, name, make=None):
        """Mounts a disk on area/NAME; returns that."""
        point = f"{self.area}/{name}"
        os.makedirs(point, exist_ok=True)
        device = quietly("losetup", "-f", "--show", "--direct-io=on", f"{self.home}/{number}")
        self.attached[number] = device, point
        if make:
            quietly(*make, device)
        quietly("mount", device, point)
        return point

    def detach(self, number):
        device, point = self.attached.pop(number)
        quietly("umount", point)
        quietly("losetup", "-d", device)
        if number:
            os.unlink(f"{self.home}/{number}")

    def tell(self, text):
        with open(self.home + "/control", "wb", buffering=0) as handle:
            handle.write(text.encode())

    def cut(self, seed, of=0):
        """The number of a disk that is what a power cut at this moment leaves."""
        self.count = self.count % 60 + 1
        self.tell(f"cut {of} {self.count} {seed}")
        return self.count

    def close(self):
        for device, point in self.attached.values():
            subprocess.run(["umount", "-l", point], check=False, **QUIET)
            subprocess.run(["losetup", "-d", device], check=False, **QUIET)
        subprocess.run(["umount", "-l", self.home], check=False, **QUIET)


class Witness:
    """Works on one dataset in a process of its own; `ledger` lies on an ordinary disk."""

    def __init__(self, store, point, dataset, operations=100000):
        self.store, self.directory, self.operations, self.process = store, f"{point}/{dataset}", operations, None
        self.ledger = f"{store.area}/ledger.{dataset}"

    def begin(self, seed):
        """Works until it has done its operations, or the filesystem goes away."""
        with open(self.ledger, "wb"), open(self.ledger + ".err", "ab") as log:
            environment = program.environment(self.store.run_mark, self.store.logs, {"CORPUSFS_BIN": self.store.binary, "CORPUSFS_STORE": self.store.path})
            arguments = [tool("witness"), "write", self.directory, self.ledger, str(seed), str(self.operations)]
            # it takes the signal that asks it to end when it has a handler for it
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def working(self):
        return self.process is not None and self.process.poll() is None

    def written(self):
        return os.stat(self.ledger).st_size

    def end(self, seconds=30):
        code = self.process.wait(seconds * program.scale())
        self.process = None
        assert code == 0, f"the witness of {self.directory} ended with {code}\n{procs.read(self.ledger + '.err').decode()[-2000:]}"

    def stop(self):
        if self.process:
            self.process.terminate()
            self.end()

    def check(self, directory=None, acknowledged=None, begun=None, accepted=False):
        """Returns the number of operations that were looked at; AssertionError when something is not as it may be."""
        limits = [str(acknowledged), str(begun)] if begun is not None else []
        command = [tool("witness"), "accepted" if accepted else "check", directory or self.directory, self.ledger, *limits]
        done = subprocess.run(command, check=False, **{**QUIET, "timeout": 120})
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"exit {done.returncode}\n{text}\n{procs.read(self.ledger + '.err').decode()[-2000:]}"
        return int(text.split()[-2])


def work_for_some_time(chance, most=0.25):
    time.sleep(chance.uniform(0.005, most))


class Stage:
    """A store on a disk that forgets, a witness at work on each of two datasets, and copies of the disk as power cuts leave it."""

    def __init__(self, area, run, seed, disk=True, mib=2048, options="allow_other,dev,suid", fails=True):
        self.area, self.run, self.chance, self.options = area, run, random.Random(seed), options
        os.makedirs(area + "/disk")
        self.disks = Disks(area, mib) if disk else None
        self.store = Store(area, run.mark, run.home, path=area + "/disk/store").init()
        self.point = area + "/mnt"
        self.failures = Failures(area + "/failures", self.store.path)
        self.environment = self.failures.environment if fails else {}
        self.witnesses = {name: Witness(self.store, self.point, name, operations=3000) for name in ("d", "e")}
        self.mount()
        for name in self.witnesses:
            self.store.create(name)
        self.counts = {"power cuts": 0, "operations": 0, "kills": 0, "checks": 0, "scrubs": 0}

    def mount(self):
        self.store.mount(self.point, options=self.options, env=self.environment)

    def load(self):
        for witness in self.witnesses.values():
            if not witness.working():
                if witness.process:
                    witness.end()
                witness.begin(self.chance.randrange(1 << 30))

    def stop(self):
        for witness in self.witnesses.values():
            witness.stop()

    def look_whole(self, store):
        """All metadata is as it must be, and whatever anybody may read is whole."""
        store.ok("-s", store.path, "check")
        self.counts["checks"] += 1
        if program.scale() == 1 or self.chance.random() < 0.3:
            store.ok("-s", store.path, "scrub")
            self.counts["scrubs"] += 1

    def check(self, accepted=False):
        self.counts["operations"] += sum(witness.check(accepted=accepted) for witness in self.witnesses.values())
        self.look_whole(self.store)

    # --- power cuts

    def written(self):
        return {name: witness.written() for name, witness in self.witnesses.items()}

    def cut(self):
        """What a power cut at this moment leaves: the disk's number, and what the ledgers say of it."""
        acknowledged = self.written()
        number = self.disks.cut(self.chance.randrange(1 << 30))
        self.counts["power cuts"] += 1
        return number, acknowledged, self.written()

    def cut_again(self, number):
        """The power fails once more while the store is opened after the first cut."""
        point = self.disks.attach(number, "copy")
        store = Store(self.area, self.run.mark, self.run.home, path=point + "/store")
        with subprocess.Popen([store.binary, "-s", store.path, "gc"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env=program.environment(self.run.mark, store.logs)) as opener:  # fmt: skip
            time.sleep(self.chance.uniform(0, 0.15))
            second = self.disks.cut(self.chance.randrange(1 << 30), of=number)
            opener.wait(60)
        self.counts["power cuts"] += 1
        self.disks.detach(number)
        return second

    def look(self, number, acknowledged, begun, accepted=False):
        """The store opens by itself, and all is there that must be."""
        point = self.disks.attach(number, "copy")
        store = Store(self.area, self.run.mark, self.run.home, path=point + "/store")
        store.expected = self.store.expected  # its log was copied, too
        try:
            mounted = store.mount(self.area + "/seen")
            for name, witness in self.witnesses.items():
                self.counts["operations"] += witness.check(f"{mounted}/{name}", acknowledged[name], begun[name], accepted)
            self.look_whole(store)
        finally:
            store.close()
        self.disks.detach(number)

    # --- ends

    def kill(self):
        self.store.kill()
        self.counts["kills"] += 1

    def leave(self):
        """Unmounts, whether the store can be written or not; True when it said that all is on disk."""
        result = self.store.run("umount", self.point)
        assert result.code in (program.OK, program.FAILED, program.NO_SPACE), result
        procs.poll(lambda: not procs.fuse_mounts(self.point), 20 * program.scale(), f"{self.point} is unmounted after {result}")
        pid, self.store.pid, self.store.points = self.store.supervisor or self.store.pid, None, []
        self.store.supervisor = None
        code = self.store.reap(pid, 30 * program.scale())
        assert code in (0, 1), f"the daemon ended with {code}\n{self.store.log()}"
        assert result.code == 0 or result.err, result
        return result.code == 0

    def close(self):
        counts.note(self.counts)
        self.failures.stop()
        self.stop()
        try:
            self.store.close()
        finally:
            if self.disks:
                self.disks.close()
