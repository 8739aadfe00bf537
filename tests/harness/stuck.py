"""What a process that does not end is doing, and how one ended that crashed: as much as the kernel says of it. Nothing here can hang."""

import os
import re
import signal
import subprocess

from harness import procs

CRASHES = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE}
LINES = ("State", "PPid", "Threads", "VmSize", "VmRSS", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
STACK = 16  # lines of a thread's


def text(path):
    return procs.read(path).decode(errors="replace").strip()


def family(pid):
    """The process, all that descend from it, and the others of its session."""
    parents, sessions = {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = text(f"/proc/{name}/stat").rpartition(") ")[2].split()
        if len(fields) > 3:
            parents[int(name)], sessions[int(name)] = int(fields[1]), int(fields[3])
    found = {pid, *(other for other, session in sessions.items() if session == pid)}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found & parents.keys())


class Memory:
    """What is mapped where."""

    def __init__(self, pid):
        found = re.findall(r"^(\w+)-(\w+) (\S+) (\w+) \S+ \d+ *(.*)$", text(f"/proc/{pid}/maps"), re.M)
        self.all = [(int(start, 16), int(end, 16), rights, int(offset, 16), path) for start, end, rights, offset, path in found]

    def place(self, address):
        """FILE+OFFSET, as addr2line(1) wants it of a library or a program that may lie anywhere."""
        for start, end, _, offset, path in self.all:
            if start <= address < end:
                return f"{path or 'memory'}+{address - start + offset:#x}"
        return f"{address:#x}"

    def summary(self):
        nameless = sum(end - start for start, end, _, _, path in self.all if not path)
        code = [f"    {start:#x} {path}" for start, _, rights, _, path in self.all if "x" in rights and path]
        return [f"  {len(self.all)} mappings, {nameless >> 20} MiB of them without a name; code lies at", *code]


def thread_state(base, memory):
    state = text(base + "/stat").rpartition(") ")[2][:1]
    lines = [f"  thread {os.path.basename(base)} {text(base + '/comm')} {state} in {text(base + '/wchan')}"]
    call = text(base + "/syscall").split()
    if len(call) > 2:
        lines.append(f"    system call {call[0]}({', '.join(call[1:-2])}) from {memory.place(int(call[-1], 16))}, stack at {call[-2]}")
    return lines + ["    " + line for line in text(base + "/stack").splitlines()[:STACK]]


def state(pid):
    memory = Memory(pid)
    rows = dict(line.split(":", 1) for line in text(f"/proc/{pid}/status").splitlines() if ":" in line)
    lines = [f"process {pid}: {text(f'/proc/{pid}/cmdline').replace(chr(0), ' ')}",
             "  " + ", ".join(f"{key} {' '.join(rows[key].split())}" for key in LINES if key in rows)]  # fmt: skip
    try:
        threads = sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError:
        threads = []
    for thread in threads:
        lines += thread_state(f"/proc/{pid}/task/{thread}", memory)
    return "\n".join(lines + memory.summary())


def states(pid):
    """Of a process and its family."""
    return "\n".join(state(one) for one in family(pid))


def crash(pid, code):
    """What the kernel has noted of a process that ended with this exit code: the address it was at, and in which file; "" if it did not crash."""
    if code not in CRASHES:
        return ""
    try:
        log = subprocess.run(["dmesg"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        log = ""
    lines = [line for line in log.splitlines() if f"[{pid}]" in line]
    return "\n".join(["", f"process {pid} crashed with signal {-code}", *lines[-4:], ""])
