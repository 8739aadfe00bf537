"""Stores of objects on the network, on loopback: Ceph's S3 gateway, and rclone as a server of restic's REST protocol."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

from harness import procs

HERE = os.path.dirname(os.path.abspath(__file__))
S3_SECRETS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret"}


def free_port(count=1):
    """The first of so many neighbours that nobody listens on. The system gives out ports above 32768 by itself."""
    for base in range(21000 + os.getpid() % 500 * 20, 32000, 50):
        sockets = []
        try:
            for port in range(base, base + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


class Rest:
    """rclone serve restic over a directory."""

    def __init__(self, directory, mark, options=()):
        self.directory, self.mark, self.options = directory, mark, options
        self.port = free_port()
        os.makedirs(directory, exist_ok=True)
        self.start()

    def start(self):
        env = {**os.environ, procs.MARK: self.mark, "RCLONE_CONFIG": "/dev/null"}
        command = ["rclone", "serve", "restic", self.directory, "--addr", f"127.0.0.1:{self.port}", *self.options]
        with open(self.directory + ".log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        procs.poll(self.answers, 30, "rclone serves")

    def answers(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            assert self.process.poll() is None, procs.read(self.directory + ".log").decode()
            return False
        return True

    def url(self, name):
        return f"rest:http://127.0.0.1:{self.port}/{name}/"

    def stop(self):
        self.process.kill()
        self.process.wait(20)


class S3:
    """Ceph: a monitor, an OSD in memory and radosgw."""

    def __init__(self, directory, mark):
        self.directory, self.port = directory, free_port(45)
        self.env = {**os.environ, procs.MARK: mark, "STORE": "memstore", "SIZE": str(1 << 30)}
        self.control("start", self.directory, str(self.port))

    def control(self, *args):
        for attempt in range(2):
            done = subprocess.run([HERE + "/start-rgw.sh", *args], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=150, check=False)
            if done.returncode == 0 or attempt == 1:
                break
            time.sleep(1)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()

    def url(self, name):
        return f"s3:http://127.0.0.1:{self.port}/test/{name}"

    def stop(self):
        self.control("stop", self.directory)
