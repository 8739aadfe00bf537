"""The program under test: where its build is, and one way of running it."""

import functools
import glob
import itertools
import os
import select
import signal
import subprocess
import sys
from collections import namedtuple

from harness import procs, stuck

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
time_limit = 60  # seconds for a command: those of the test that runs (conftest.py)
_count = itertools.count()

# Exit codes, as `corpusfs help` names them.
OK, FAILED, USAGE, NOT_FOUND, BUSY, EXISTS, PERMISSION, DAMAGED, NO_SPACE, UNSUPPORTED = range(10)

Result = namedtuple("Result", "code out err")


def build():
    """$CORPUSFS_BUILD, or the build directory of the project that was written to last."""
    if os.environ.get("CORPUSFS_BUILD"):
        return os.path.abspath(os.environ["CORPUSFS_BUILD"])
    found = [path for path in glob.glob(PROJECT + "/build*/") if os.path.exists(path + "build.ninja")]
    return max(found, key=lambda path: os.stat(path).st_mtime).rstrip("/") if found else None


@functools.cache
def binary():
    """$CORPUSFS_BIN, or the program in the build directory; None if there is none."""
    if os.environ.get("CORPUSFS_BIN"):
        return os.path.abspath(os.environ["CORPUSFS_BIN"])
    places = [path for path in glob.glob(f"{build()}/**/corpusfs", recursive=True) if os.path.isfile(path) and os.access(path, os.X_OK)]
    return places[0] if places else None


@functools.cache
def sanitized():
    return any(name in procs.read(binary() or "") for name in (b"__asan_init", b"__tsan_init"))


def scale():
    """How much slower than a release this build is: limits are multiplied by it, amounts of work divided."""
    return 4 if sanitized() else 1


def environment(run, logs, extra=None):
    """The environment of everything a test starts: carries the run's mark, and has sanitizers report into files."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CORPUSFS_")}
    env[procs.MARK] = run
    env["CORPUSFS_FAULT_QUICK_KEYS"] = "1"
    for name in ("ASAN", "UBSAN", "TSAN", "LSAN"):
        options = [env.get(name + "_OPTIONS", ""), f"log_path={logs}/sanitizer", "exitcode=99"]
        env[name + "_OPTIONS"] = ":".join(filter(None, options))
    env.update(extra or {})
    return env


def wait(process, seconds):
    """As Popen.wait(), which looks again and again and sleeps up to 50 ms in between: the kernel says when the process has ended."""
    fd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()  # select() refuses descriptors above 1023, and a test may have many
        poll.register(fd, select.POLLIN)
        if not poll.poll(seconds * 1000):
            raise subprocess.TimeoutExpired(process.args, seconds)
    finally:
        os.close(fd)
    return process.wait()


def call(args, env, logs, limit=None, user=None, cwd=None, data=None, keep=()):
    """Runs a command to its end. Output goes through files: a daemon that it leaves behind must not keep us waiting on a pipe."""
    if user is not None:
        args = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"] + list(args)
    number = f"{os.getpid()}-{next(_count)}"
    out, err = f"{logs}/{number}.out", f"{logs}/{number}.err"
    with open(out, "wb") as stdout, open(err, "wb") as stderr, open(os.devnull, "rb") as null:
        process = subprocess.Popen(
            args, env=env, cwd=cwd, stdin=subprocess.PIPE if data is not None else null, stdout=stdout, stderr=stderr, start_new_session=True, pass_fds=keep
        )
        try:
            if data is not None:
                process.stdin.write(data)
                process.stdin.close()
            code = wait(process, limit or time_limit)
        except BaseException:
            # of the command's own limit or, often, the test's: what the command was at is told with the failure
            print(f"{args} did not end\n{stuck.states(process.pid)}", file=sys.stderr)
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started; a daemon is on its own
            process.wait(20)
            raise
    return Result(code, procs.read(out).decode(errors="replace"), procs.read(err).decode(errors="replace") + stuck.crash(process.pid, code))
