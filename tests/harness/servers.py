"""Servers on loopback: Ceph's S3 gateway, rclone with restic's REST protocol, and etcd."""

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from harness import procs

HERE = os.path.dirname(os.path.abspath(__file__))
S3_SECRETS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret"}


RANGES = range(21000, 32000, 50)  # of ports; the system gives out those above 32768 by itself
mine = {}  # first port of a range that is this process's own, for as long as it lives: the socket that says so


def take_range(base):
    """A server binds its ports some seconds after it was started, so that nobody listens yet does not say that nobody will."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0corpusfs-test-ports-{base}")
    except OSError:
        claim.close()
        return False
    mine[base] = claim
    return True


def is_free(base, count):
    sockets = []
    try:
        for port in range(base, base + count):
            sockets.append(socket.socket())
            sockets[-1].bind(("127.0.0.1", port))
    except OSError:
        return False
    finally:
        for one in sockets:
            one.close()
    return True


def free_port(count=1):
    """The first of so many neighbours that nobody listens on, and no other process of the tests will."""
    for base in (*mine, *RANGES):
        if (base in mine or take_range(base)) and is_free(base, count):
            return base
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


def control(script, env, *args):
    for attempt in range(2):
        done = subprocess.run([f"{HERE}/{script}", *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=150, check=False)
        if done.returncode == 0 or attempt == 1:
            break
        time.sleep(1)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


class S3:
    """Ceph: a monitor, an OSD in memory, of which it takes `size` bytes at most, and radosgw."""

    def __init__(self, directory, mark, size=1 << 30):
        self.directory, self.port = directory, free_port(45)
        self.env = {**os.environ, procs.MARK: mark, "STORE": "memstore", "SIZE": str(size)}
        control("start-rgw.sh", self.env, "start", self.directory, str(self.port))

    def url(self, name):
        return f"s3:http://127.0.0.1:{self.port}/test/{name}"

    def stop(self):
        control("start-rgw.sh", self.env, "stop", self.directory)


class Etcd:
    """Three members of etcd, one of which may be killed and come back. certificates: a directory with those of an authority, of servers and of who asks."""

    def __init__(self, directory, mark, certificates=None):
        self.directory, self.port, self.count, self.token = directory, free_port(6), 3, None
        self.env = {**os.environ, procs.MARK: mark, **({"CERTS": certificates} if certificates else {})}
        self.tls = None
        if certificates:
            self.tls = ssl.create_default_context(cafile=certificates + "/ca.pem")
            self.tls.load_cert_chain(certificates + "/client.pem")
        control("start-etcd.sh", self.env, "start", directory, str(self.port), str(self.count))

    def ports(self):
        return [self.port + 2 * number for number in range(self.count)]

    def endpoints(self):
        return ",".join(f"127.0.0.1:{port}" for port in self.ports())

    def ask(self, path, question, port=None):
        """What a member says, through its door for JSON. 64-bit numbers are strings in it."""
        url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port or self.port}/v3/{path}"
        headers = {"Authorization": self.token} if self.token else {}
        request = urllib.request.Request(url, json.dumps(question).encode(), headers)
        with urllib.request.urlopen(request, timeout=10, context=self.tls) as answer:
            return json.load(answer)

    def keys(self):
        """All keys and what they hold."""
        rows = self.ask("kv/range", {"key": "AA==", "range_end": "AA=="}).get("kvs", [])
        return {base64.b64decode(row["key"]).decode(): base64.b64decode(row.get("value", "")) for row in rows}

    def put(self, key, value):
        self.ask("kv/put", {"key": base64.b64encode(key.encode()).decode(), "value": base64.b64encode(value).decode()})

    def remove(self, key):
        self.ask("kv/deleterange", {"key": base64.b64encode(key.encode()).decode()})

    def clear(self):
        """Removes all keys. False: it is not as it was started: a member is missing, knows no leader, or wants to know who asks."""
        states = [os.path.exists(f"{self.directory}/{number}.pid") and self.status(number) for number in range(self.count)]
        if not all(state and "leader" in state for state in states):
            return False
        try:
            self.ask("kv/deleterange", {"key": "AA==", "range_end": "AA=="})
        except OSError:
            return False
        return True

    def status(self, number):
        """None: it does not answer. In it, leader is missing while it knows of none."""
        try:
            return self.ask("maintenance/status", {}, self.ports()[number])
        except OSError:
            return None

    def leads(self, number):
        status = self.status(number)
        return bool(status) and status.get("leader") == status["header"]["member_id"]

    def leader(self):
        """The number of the member that leads, once there is one."""
        found = []
        procs.poll(lambda: found.extend(number for number in range(self.count) if self.leads(number)) or found, 30, "etcd has a leader")
        return found[0]

    def kill(self, number):
        """Returns when it is gone."""
        path = f"{self.directory}/{number}.pid"
        pid = int(procs.read(path))
        os.kill(pid, signal.SIGKILL)
        os.remove(path)
        procs.poll(lambda: not procs.alive(pid), 20, "a member of etcd is gone")

    def again(self, number):
        control("start-etcd.sh", self.env, "node", self.directory, str(number))

    def stop(self):
        """At once: who is asked to end looks for somebody to lead first."""
        for number in range(self.count):
            if os.path.exists(f"{self.directory}/{number}.pid"):
                self.kill(number)
