"""What the bench does to the machine: commands with time limits, mounts, caches; and the way back from all of it."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import procs  # noqa: E402

# Everything that is started carries this mark, whoever its parent is in the end.
MARK = "CORPUSFS_TEST_RUN"


class Failed(Exception):
    """A step failed or took too long; the message is for people."""


class Machine:
    """`home` is a directory for this run only. Nothing here touches a mounted path from this process, so nothing can hang it."""

    def __init__(self, home, driver):
        self.home, self.driver_path = home, driver
        self.mark = f"bench-{os.getpid()}"
        self.logs = home + "/log"
        os.makedirs(self.logs, exist_ok=True)
        self.env = dict(os.environ, LC_ALL="C.UTF-8", **{MARK: self.mark})
        self.env.pop("CORPUSFS_STORE", None)
        procs.fusectl()

    def run(self, *args, limit=60, cwd=None, env=None, stdin=None, codes=(0,)):
        """A command to its end: (seconds, standard output). Output goes to files: a daemon left behind would keep a pipe open."""
        out, err = self.logs + "/out", self.logs + "/err"
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            start = time.monotonic()
            process = subprocess.Popen(
                args, stdin=stdin or subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=cwd, env={**self.env, **(env or {})}, start_new_session=True
            )
            try:
                code = self.wait(process, limit)
            except BaseException as problem:
                self.stop(process)
                if isinstance(problem, subprocess.TimeoutExpired):
                    raise Failed(f"{self.name(args)}: not done after {limit} s") from None
                raise
            seconds = time.monotonic() - start
        if code not in codes:
            text = procs.read(err).decode(errors="replace").strip().splitlines()
            raise Failed(f"{self.name(args)}: exit {code}: {text[-1] if text else 'no message'}")
        return seconds, procs.read(out).decode(errors="replace")

    @staticmethod
    def wait(process, limit):
        """As process.wait(limit), which polls with growing pauses and so measures those: 16 ms, 32 ms."""
        handle = os.pidfd_open(process.pid)
        try:
            if not select.select([handle], [], [], limit)[0]:
                raise subprocess.TimeoutExpired(process.args, limit)
        finally:
            os.close(handle)
        return process.wait()

    @staticmethod
    def name(args):
        return " ".join([os.path.basename(args[0]), *args[1:4]])

    def stop(self, process):
        """Kills a command; if it hangs in a mount, the mount goes first."""
        for abort in (False, True):
            if abort:
                for mount in procs.fuse_mounts(self.home):
                    procs.abort(mount.device)
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except OSError:
                pass
            try:
                process.wait(5)
                return
            except subprocess.TimeoutExpired:
                pass

    def driver(self, *args, limit=120):
        """The driver's line of JSON."""
        return json.loads(self.run(self.driver_path, *map(str, args), limit=limit)[1])

    def drop(self, what=3):
        """Everybody's dirty pages to disk, then all clean ones out of memory."""
        self.run("sync", limit=120)
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as handle:
            handle.write(f"{what}\n")

    def disk_read(self, path):
        """Bytes that the disk below a path has given since the machine was started."""
        number = os.stat(path).st_dev
        fields = procs.read(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").split()
        return int(fields[2]) * 512

    @contextlib.contextmanager
    def memory_left(self, mib):
        """Keeps all memory but so much from everybody else. None: nothing is kept."""
        available = next(int(line.split()[1]) // 1024 for line in procs.read("/proc/meminfo").decode().splitlines() if line.startswith("MemAvailable"))
        if mib is None:
            yield
            return
        if available <= mib:
            raise Failed(f"only {available} MiB of memory are free")
        with self.helper(self.driver_path, "lock", str(available - mib)) as helper:
            if helper.stdout.readline() != b"locked\n":
                raise Failed("cannot lock memory")
            yield

    @contextlib.contextmanager
    def busy(self):
        """A process on each processor that always has something to do."""
        with contextlib.ExitStack() as stack:
            for _ in range(os.cpu_count()):
                stack.enter_context(self.helper("/bin/sh", "-c", "while :; do :; done"))
            yield

    @contextlib.contextmanager
    def helper(self, *args):
        process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.env, start_new_session=True)
        try:
            yield process
        finally:
            self.stop(process)
            process.stdin.close()
            process.stdout.close()

    def settle(self):
        """Before a measurement that ends with a sync: nobody else's dirty pages."""
        self.run("sync", limit=120)

    def space(self, path):
        """Bytes on disk below a directory."""
        return int(self.run("du", "-s", "--block-size=1", path)[1].split()[0])

    def mounted(self, point):
        return any(m.point == point for m in procs.mounts(point))

    def umount(self, point):
        if self.mounted(point):
            self.run("umount", point, limit=60)

    def remove(self, path):
        """rm -rf of a tree of our own that holds no mount."""
        if not procs.mounts(path):
            self.run("rm", "-rf", "--one-file-system", path, limit=180)

    def clean(self):
        """Ends everything this run or one killed before it started; called in every exit."""
        procs.kill_marked(self.mark, 10)
        procs.detach(self.home)
        procs.kill_marked(self.mark, 10)
        release_loops(self.home)
        if procs.mounts(self.home):  # never through a mount into the data
            print(f"bench: {self.home} holds a mount that does not go away", file=sys.stderr)
        else:
            shutil.rmtree(self.home, ignore_errors=True)


def release_loops(home):
    """Detaches loop devices whose file lies below a directory."""
    listed = subprocess.run(["losetup", "-n", "-O", "NAME,BACK-FILE"], capture_output=True, text=True, timeout=20).stdout
    for line in listed.splitlines():
        name, _, path = line.strip().partition(" ")
        if path.strip().startswith(home + "/"):
            subprocess.run(["losetup", "-d", name], capture_output=True, timeout=20)


def facts(path):
    """What the figures were made on."""
    cpu = [line.split(":", 1)[1].strip() for line in procs.read("/proc/cpuinfo").decode().splitlines() if line.startswith("model name")]
    memory = int(procs.read("/proc/meminfo").split()[1]) // 1024
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, timeout=20).stdout.strip()
    return {
        "cpu": cpu[0] if cpu else "unknown", "cores": os.cpu_count(), "memory_mib": memory, "kernel": os.uname().release,
        "filesystem": "ext4" if kind.startswith("ext") else kind, "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d %H:%M"),
    }
