"""What the harness knows of the system: processes, mounts, FUSE connections. Nothing here touches a mounted path, so nothing can hang."""

import glob
import os
import re
import signal
import subprocess
import time
from collections import namedtuple

CONNECTIONS = "/sys/fs/fuse/connections"
MARK = "CORPUSFS_TEST_RUN"

Mount = namedtuple("Mount", "device point kind root")


def poll(condition, seconds, what, step=0.01):
    """
    Waits until condition() is true and returns its value; AssertionError after `seconds`, and after a look that began when they were over.
    It looks often at first, and then each `step`.
    """
    end, pause = time.monotonic() + seconds, min(0.001, step)
    while True:
        late = time.monotonic() > end
        value = condition()
        if value:
            return value
        if late:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)
        pause = min(2 * pause, step)


def unescape(text):
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), text)


def mounts(below=None, source="/proc/self/mountinfo"):
    """Mounts at or below a directory, in mount order. `device` is the minor number: for FUSE, the connection's number."""
    found = []
    with open(source, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, right = line.split(" - ", 1)
            fields = left.split()
            point = unescape(fields[4])
            if below is None or point == below or point.startswith(below.rstrip("/") + "/"):
                found.append(Mount(int(fields[2].split(":")[1]), point, right.split()[0], unescape(fields[3])))
    return found


def fuse_mounts(below):
    return [m for m in mounts(below) if m.kind.startswith("fuse")]


def apart(command, keep=None):
    """The command in a mount namespace of its own. Of all FUSE mounts it has `keep` only: others could not end while it runs."""
    script = """for point in $(awk '/ - fuse\\./ && $5 != ENVIRON["KEEP"] { print $5 }' /proc/self/mountinfo); do umount -l "$point"; done
exec "$@\""""
    return ["env", f"KEEP={keep or ''}", "unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *command]


def fusectl():
    """Makes the connections visible; False if this process may not."""
    if not os.path.isdir(CONNECTIONS):
        return False
    if not any(m.point == CONNECTIONS for m in mounts(CONNECTIONS)):
        subprocess.run(["mount", "-t", "fusectl", "none", CONNECTIONS], stdin=subprocess.DEVNULL, capture_output=True)
    return any(m.point == CONNECTIONS for m in mounts(CONNECTIONS))


def abort(connection):
    """Ends a connection from outside: whoever waits for its daemon gets an error and goes on."""
    try:
        with open(f"{CONNECTIONS}/{connection}/abort", "w") as handle:
            handle.write("1")
        return True
    except OSError:
        return False


def detach(below):
    """Aborts and lazily unmounts everything that is mounted below a directory."""
    for mount in reversed(mounts(below)):
        if mount.kind.startswith("fuse"):
            abort(mount.device)
        subprocess.run(["umount", "-l", mount.point], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)


def read(path):
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except OSError:
        return b""


def memory(pid, key="VmRSS"):
    """A line of /proc/PID/status, in bytes."""
    return int(re.search(rb"^" + key.encode() + rb":\s+(\d+) kB", read(f"/proc/{pid}/status"), re.M).group(1)) << 10


def alive(pid):
    state = read(f"/proc/{pid}/stat").rpartition(b") ")[2][:1]
    return bool(state) and state not in b"ZX"


def stop(pid, seconds=20):
    """SIGSTOP, and returns when no thread of it runs any more: one that has not yet heard of it still takes requests, and answers them never."""
    os.kill(pid, signal.SIGSTOP)
    poll(lambda: has_stopped(pid), seconds, f"all threads of {pid} stop")


def has_stopped(pid):
    return all(read(path).rpartition(b") ")[2][:1] in (b"T", b"Z", b"X", b"") for path in glob.glob(f"/proc/{pid}/task/*/stat"))


def parent(pid):
    fields = read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def innermost(pid):
    """The last of a chain of processes, each of which has begun the next one."""
    children = [int(name) for name in os.listdir("/proc") if name.isdigit() and parent(int(name)) == pid]
    return innermost(children[0]) if children else pid


def is_supervisor(pid):
    """Whether it is the process that starts daemons."""
    return read(f"/proc/{pid}/comm").strip() == b"corpusfs-super"


def marked(value):
    """Living processes whose environment carries the run's mark."""
    wanted = f"{MARK}={value}".encode()
    return [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit() and int(name) != os.getpid() and wanted in read(f"/proc/{name}/environ").split(b"\0") and alive(name)
    ]


def kill_marked(value, seconds=20):
    """SIGKILLs all of a run's processes until none is left; returns those that would not die."""
    end = time.monotonic() + seconds
    while True:
        left = marked(value)
        if not left or time.monotonic() > end:
            return left
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.05)


def stacks(pids):
    """What these processes and their threads are doing, as the kernel sees it; the whole stack of those that cannot be interrupted."""
    lines = []
    for pid in pids:
        lines.append(f"process {pid}: {read(f'/proc/{pid}/cmdline').replace(bytes(1), b' ').decode(errors='replace')}")
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            base = f"/proc/{pid}/task/{thread}"
            state = read(base + "/stat").rpartition(b") ")[2][:1].decode()
            lines.append(f"  thread {thread} {read(base + '/comm').decode().strip()} {state} in {read(base + '/wchan').decode()}")
            if state == "D":
                lines += ["    " + line for line in read(base + "/stack").decode().splitlines()[:12]]
    return "\n".join(lines)


def command_lines(program):
    """What ps(1) shows of the processes whose names begin like this, whoever started them."""
    pids = [name for name in os.listdir("/proc") if name.isdigit() and read(f"/proc/{name}/comm").startswith(program.encode())]
    return "\n".join(read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace") for pid in pids)


def holders(point):
    """Processes that have something below a mountpoint open, mapped, or as a directory of theirs: "pid name path"."""
    found = []
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        links = [f"/proc/{pid}/cwd", f"/proc/{pid}/root", *glob.glob(f"/proc/{pid}/fd/*"), *glob.glob(f"/proc/{pid}/map_files/*")]
        for link in links:
            try:
                path = os.readlink(link)
            except OSError:
                continue
            if path == point or path.startswith(point + "/"):
                found.append(f"{pid} {read(f'/proc/{pid}/comm').decode().strip()} {path}")
    return found
