"""Commands whose standard error is a terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import termios

from harness import program


def on_terminal(store, columns, *args, env=None, code=0):
    """What the command writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = program.environment(store.run_mark, store.logs, env)
    process = subprocess.Popen(
        [store.binary, "-s", store.path, *args], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    told = b""
    try:
        while piece := os.read(ours, 65536):
            told += piece
    except OSError:  # the end of a terminal
        pass
    os.close(ours)
    assert process.wait(60) == code, told
    return told.decode()
