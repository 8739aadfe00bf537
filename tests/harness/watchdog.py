#!/usr/bin/python3
"""Watches one pytest process from outside of every mount, so that no hanging filesystem can hang the run.

    watchdog.py DIRECTORY PARENT RUN

DIRECTORY/heartbeat holds "DEADLINE NAME" (monotonic clock), renamed into place before each test, or "idle". On an overrun the stacks of
all the run's processes go to DIRECTORY/watchdog.report and the run's FUSE connections are aborted, which frees everybody who waits for
them; 20 s later its processes are killed, 20 s later the parent. When the parent is gone, what it left is aborted, detached and killed.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import procs  # noqa: E402


def heartbeat(directory):
    deadline, _, name = procs.read(directory + "/heartbeat").decode(errors="replace").partition(" ")
    return (None, "") if deadline in ("", "idle") else (float(deadline), name)


def connections(directory):
    """Numbers of the run's connections: those mounted, and those that the harness noted and somebody detached meanwhile."""
    noted = procs.read(directory + "/connections").split()
    elsewhere = {m.device for source in ("self", "1") for m in procs.mounts(source=f"/proc/{source}/mountinfo") if m.kind.startswith("fuse")}
    ours = {m.device for m in procs.fuse_mounts(directory)}
    return ours | {int(n) for n in noted if int(n) not in elsewhere}


def report(directory, parent, run, text):
    with open(directory + "/watchdog.report", "a", encoding="utf-8") as handle:
        handle.write(f"watchdog: {text}\n{procs.stacks([parent] + procs.marked(run))}\n")


def free(directory, text):
    for number in connections(directory):
        procs.abort(number)
    print(text, flush=True)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def watch(directory, parent, run):
    stage, overrun = 0, None
    while os.getppid() == parent:
        time.sleep(0.5)
        beat = heartbeat(directory)
        if beat != overrun:
            stage, overrun = 0, None
        if beat[0] is None or time.monotonic() < beat[0] + 20 * stage:
            continue
        overrun = beat
        stage += 1
        report(directory, parent, run, f"{beat[1]} is over its limit (step {stage})")
        if stage == 1:
            free(directory, "aborted connections")
        elif stage == 2:
            procs.kill_marked(run)
        else:
            kill(parent)


def main():
    directory, parent, run = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    procs.fusectl()
    watch(directory, parent, run)
    for number in connections(directory):
        procs.abort(number)
    procs.kill_marked(run)
    procs.detach(directory)


main()
