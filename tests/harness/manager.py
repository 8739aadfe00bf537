"""A service manager as corpusfs sees it: it keeps descriptors (FDSTORE of sd_notify(3)) and passes them to what it starts (sd_listen_fds(3))."""

import fcntl
import os
import select
import socket
import threading

from harness import procs, program

OUT_OF_THE_WAY = 200


class Manager:
    """Keeps what a service sends, by name, until close()."""

    def __init__(self, area):
        self.path, self.kept, self.seen, self.main = area + "/notify", {}, 0, None
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.thread = threading.Thread(target=self.receive)
        self.thread.start()

    def receive(self):
        while True:
            data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            said = dict(line.split("=", 1) for line in data.decode().splitlines())
            if "STOP" in said:
                return
            if "FDSTOREREMOVE" in said:
                self.forget(said["FDNAME"])
            if "FDSTORE" in said:
                assert len(fds) == 1, data
                self.forget(said["FDNAME"])
                self.kept[said["FDNAME"]] = fcntl.fcntl(fds[0], fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
            for fd in fds:
                os.close(fd)
            if "MAINPID" in said:
                self.main = int(said["MAINPID"])
            if "MARK" in said:
                self.seen += 1

    def say(self, text):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(text.encode(), self.path)

    def forget(self, name):
        if name in self.kept:
            os.close(self.kept.pop(name))

    def names(self):
        """Of what is kept, when all that was sent has been looked at. As systemd does, it lets go of connections that have ended."""
        wanted = self.seen + 1
        self.say("MARK=1")
        procs.poll(lambda: self.seen >= wanted, 20, "the manager has read all")
        for name in [name for name in self.kept if name.startswith("fuse.")]:
            polled = select.poll()
            polled.register(self.kept[name], 0)
            if polled.poll(0):
                self.forget(name)
        return sorted(self.kept)

    def start(self, store, *args):
        """The service's command: corpusfs ARGS..., with all that is kept."""
        names = self.names()
        fds = [self.kept[name] for name in names]
        moves = " ".join(f"{3 + i}<&{fd} {fd}<&-" for i, fd in enumerate(fds))
        script = f'LISTEN_PID=$$ exec "$@" {moves}' if fds else 'exec "$@"'
        passed = {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(names)} if fds else {}
        passed |= {"CORPUSFS_TEST_STORE": store.path, "NOTIFY_SOCKET": self.path, "FDSTORE": "512"}
        environment = program.environment(store.run_mark, store.logs, passed)
        return program.call(["bash", "-c", script, "bash", store.binary, *args], environment, store.logs, keep=fds)

    def close(self):
        self.say("STOP=1")
        self.thread.join(20)
        self.socket.close()
        for name in list(self.kept):
            self.forget(name)
