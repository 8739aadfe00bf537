"""A store of a test's own, its mounts and its daemon. close() must find nothing wrong: exit code, log, sanitizer reports."""

import contextlib
import glob
import os
import re
import signal
import subprocess
import time
import types

from harness import procs, program, stuck

REPORTS = re.compile(r"ERROR: AddressSanitizer|runtime error:|LeakSanitizer|ThreadSanitizer|\bassertion\b.*\bfailed\b", re.I)
ERROR_LINE = re.compile(r"^\S+ error |^\S+ warning died ")  # as fs/daemon/process/log.h says; a daemon that died, although another goes on
CRASHED = re.compile(r" died .*\bpid=(\d+) signal=(SEGV|BUS|ILL|FPE)\b")  # which no test does to one


class Store:
    """`area` is a directory (str) that exists; everything of the store lies in it. `home` gets the numbers of its FUSE connections."""

    def __init__(self, area, run, home, name="store", path=None):
        self.area, self.home, self.run_mark = area, home, run
        self.path = path or f"{area}/{name}"
        self.logs = f"{area}/log"
        os.makedirs(self.logs, exist_ok=True)
        os.chmod(self.logs, 0o1777)
        self.expected = []  # patterns of such lines that the test provokes
        self.points = []
        self.pid = self.supervisor = None
        self.binary = program.binary()

    def run(self, *args, env=None, **options):
        """corpusfs ARGS...: Result(code, out, err)."""
        environment = program.environment(self.run_mark, self.logs, {"CORPUSFS_TEST_STORE": self.path, **(env or {})})
        return program.call([self.binary, *args], environment, self.logs, **options)

    def begin(self, *args, env=None, output=subprocess.DEVNULL):
        """The same without waiting for its end, and silent: a Popen."""
        environment = program.environment(self.run_mark, self.logs, env)
        return subprocess.Popen([self.binary, *args], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, text=True)

    @contextlib.contextmanager
    def stopped_at(self, point, *args, env=None, nth=1, inside=()):
        """
        A command that is stopped at a fault point, when it comes there for the nth time, as long as the block runs: its `pid`; afterwards `code`
        and `err` of what this gives are there. `inside`: a command that runs it, or that runs one which does.
        """
        def own_pid(process):
            return procs.innermost(process.pid) if inside else process.pid

        result = types.SimpleNamespace()
        environment = program.environment(self.run_mark, self.logs, {**(env or {}), "CORPUSFS_FAULT": f"{point}:stop:{nth}"})
        command = [*inside, self.binary, *args]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                procs.poll(lambda: procs.has_stopped(own_pid(process)), 30 * program.scale(), f"it comes to {point}")
                result.pid = own_pid(process)
                yield result
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(own_pid(process), signal.SIGCONT)
                result.err = process.communicate(timeout=60 * program.scale())[1].decode()
                result.code = process.returncode

    def ok(self, *args, **options):
        result = self.run(*args, **options)
        assert result.code == 0, f"corpusfs {' '.join(args)}: exit {result.code}\n{result.out}{result.err}"
        return result.out

    def init(self, **options):
        self.ok("init", self.path, **options)
        return self

    def mount(self, point=None, dataset=None, options="allow_other,dev,suid", **more):
        """Mounts and returns the mountpoint."""
        point = point or f"{self.area}/mnt{len(self.points) or ''}"
        os.makedirs(point, exist_ok=True)
        source = self.path if dataset is None else f"{self.path}:{dataset}"
        if "CORPUSFS_FAULT" in (more.get("env") or {}):
            options = self.at_a_fault(options)
        self.ok("mount", source, point, *(["-o", options] if options else []), **more)
        self.note(point)
        return point

    def at_a_fault(self, options):
        """Who lets the daemon die at a fault point wants to see it dead, and not that another goes on; unless that is what he asks for."""
        if "supervise" in (options or "").split(","):
            self.expected.append(" died ")
            return options
        return f"{options},nosupervise" if options else "nosupervise"

    def note(self, point):
        """Takes charge of a mountpoint; remembers its connection, so that the watchdog can end it even when it is detached."""
        self.points.append(point)
        found = [m for m in procs.fuse_mounts(point) if m.point == point]
        assert found, f"mount returned, and nothing is mounted on {point}"
        with open(self.home + "/connections", "a", encoding="ascii") as handle:
            handle.write(f"{found[-1].device}\n")
        self.find_daemon()

    def find_daemon(self):
        """Sets `pid`, of the daemon, and `supervisor`, of the process that goes on without it, or None."""

        def one():
            """What a daemon that was killed had started, to write back or to abort, ends by itself, a moment after it."""
            found = self.daemons()
            return found if len(found) == 1 else None

        pids = procs.poll(one, 10 * program.scale(), "there is one daemon of the store, and nothing else")
        self.pid, self.supervisor = pids[0], None
        if procs.is_supervisor(self.pid):
            self.supervisor = self.pid
            children = procs.read(f"/proc/{self.pid}/task/{self.pid}/children").split()
            assert len(children) == 1, f"one daemon per supervisor, not {children}"
            self.pid = int(children[0])

    def daemons(self):
        """Daemons of this store, or their supervisors; without what they themselves have started."""
        wanted = f"CORPUSFS_TEST_STORE={self.path}".encode()
        found = [pid for pid in procs.marked(self.run_mark) if wanted in procs.read(f"/proc/{pid}/environ").split(b"\0")]
        return [pid for pid in found if procs.parent(pid) not in found]

    def create(self, dataset):
        self.ok("-s", self.path, "dataset", "create", dataset)

    def umount(self, point=None):
        point = point or self.points[-1]
        self.ok("umount", point)
        assert not procs.fuse_mounts(point), f"{point} is still mounted after umount"
        self.points.remove(point)
        if not self.points:
            self.ended()

    def ended(self, expect=0):
        """The daemon leaves by itself, with this exit code or -signal, and its supervisor with it. We are its reaper."""
        pid, self.pid, self.supervisor = self.supervisor or self.pid, None, None
        if pid is None:
            return
        code = self.reap(pid, 30 * program.scale())
        assert code == expect, f"the daemon ended with {code}, not {expect}{stuck.crash(pid, code)}\n{self.log()}"

    @staticmethod
    def reap(pid, seconds):
        def gone():
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                return (None,) if not procs.alive(pid) else False
            return (os.waitstatus_to_exitcode(status),) if found else False

        return procs.poll(gone, seconds, f"daemon {pid} ends\n{procs.stacks([pid]) if procs.alive(pid) else ''}")[0]

    def die(self, number=signal.SIGKILL):
        """Kills the daemon without warning, and before it who could go on; dead mounts are left."""
        if self.supervisor:
            os.kill(self.supervisor, signal.SIGKILL)
            assert self.reap(self.supervisor, 10) == -signal.SIGKILL
            self.supervisor = None
        os.kill(self.pid, number)
        self.ended(-number)

    def kill(self, number=signal.SIGKILL):
        """The same, and clears the dead mounts away."""
        self.die(number)
        self.clear()

    def clear(self):
        for point in reversed(self.points):
            procs.detach(point)
        self.points = []

    def log(self):
        """All that the daemon and the commands wrote, sanitizers too."""
        texts = []
        for path in sorted(glob.glob(self.logs + "/*.err") + glob.glob(self.logs + "/sanitizer*") + glob.glob(self.path + "/log*")):
            text = procs.read(path).decode(errors="replace")
            if text:
                texts.append(f"{os.path.basename(path)}:\n{text}")
        return "\n".join(texts)

    def surprises(self):
        """Sanitizer reports, and lines of the daemon's log that tell of an error or a crash that no test expected, or none may expect."""
        found = []
        for path in glob.glob(self.logs + "/sanitizer*"):
            found.append(procs.read(path).decode(errors="replace")[:6000])
        for path in glob.glob(self.logs + "/*.err") + glob.glob(self.path + "/log*"):
            for line in procs.read(path).decode(errors="replace").splitlines():
                if crashed := CRASHED.search(line):
                    found.append(line + stuck.crash(int(crashed[1]), -signal.Signals[f"SIG{crashed[2]}"]))
                elif REPORTS.search(line) or (path.startswith(self.path + "/log") and ERROR_LINE.search(line)):
                    if not any(re.search(pattern, line) for pattern in self.expected):
                        found.append(line)
        return found

    def leave(self, point):
        """Unmounts, and waits a while for processes that were killed and have not yet let go of their files."""
        end = time.monotonic() + 20 * program.scale()
        while True:
            try:
                return self.umount(point)
            except AssertionError as problem:
                if " is in use" not in str(problem):
                    raise
                if time.monotonic() > end:
                    raise AssertionError(f"{problem}\nheld by: {procs.holders(point)}") from None
            time.sleep(0.2)

    def close(self):
        """Ends everything; AssertionError if anything was not as it should be."""
        problems = []
        try:
            for point in list(reversed(self.points)):
                self.leave(point)
        except Exception as problem:  # pylint: disable=broad-except
            problems.append(str(problem))
            problems.append(procs.stacks(self.daemons()))
            self.clear()
        end = time.monotonic() + 20 * program.scale()
        while self.daemons() and time.monotonic() < end:
            time.sleep(0.02)
        for pid in self.daemons():
            problems.append(f"process {pid} was left: {procs.stacks([pid])}")
            os.kill(pid, signal.SIGKILL)
            self.reap(pid, 20)
        problems += self.surprises()
        assert not problems, "\n".join(problems)
