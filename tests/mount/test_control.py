"""The control socket: clients that are many, slow, or gone, and answers that come in rows."""

import fcntl
import json
import os
import resource
import signal
import socket
import struct
import termios
import time

import pytest

from harness import procs, program

FILES = 4000


class Client:
    """Talks to the daemon by hand."""

    def __init__(self, store):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        here = os.open(store.path, os.O_PATH)
        self.socket.connect(f"/proc/self/fd/{here}/socket")
        self.socket.settimeout(30)
        os.close(here)
        self.lines = self.socket.makefile("rb")

    def send(self, op, **args):
        self.socket.sendall(json.dumps({"op": op, "args": args}).encode() + b"\n")

    def receive(self):
        return json.loads(self.lines.readline())

    def unread(self):
        """Bytes that have come."""
        return struct.unpack("i", fcntl.ioctl(self.socket, termios.FIONREAD, bytes(4)))[0]

    def ask_without_reading(self, most):
        """Sends up to so many requests, each when the one before was answered. Returns how many were."""
        for i in range(most):
            before = self.unread()
            self.send("dataset.paint")
            try:
                procs.poll(lambda before=before: self.unread() > before, 5, "an answer comes")
            except AssertionError:
                return i
        return most

    def close(self):
        self.lines.close()
        self.socket.close()


@pytest.fixture
def client(store, fs):
    made = Client(store)
    assert made.receive()["hello"] == "corpusfs"
    yield made
    made.close()


@pytest.fixture
def many(fs):
    """A snapshot, and after it more differences than the socket holds."""
    os.mkdir(f"{fs}/.snapshots/s")
    for i in range(FILES):
        os.mknod(f"{fs}/a-file-with-a-long-name-{i:05}")


def test_rows_come_before_the_result(client, many):
    client.send("diff", a="d@s")
    rows, message = 0, client.receive()
    while "row" in message:
        assert message["row"]["kind"] in ("added", "metadata", "modified")
        rows, message = rows + 1, client.receive()
    assert message["result"]["counts"]["added"] == FILES and "entries" not in message["result"]
    assert rows == FILES + sum(count for kind, count in message["result"]["counts"].items() if kind != "added")
    client.send("dataset.list")
    assert client.receive()["row"]["name"] == "d" and client.receive() == {"result": {}}


def test_who_hangs_up_in_the_middle_ends_what_he_asked_for(client, many, store):
    client.send("diff", a="d@s")
    assert "row" in client.receive()
    assert store.run("-s", store.path, "snapshot", "destroy", "d@s").code == program.BUSY
    client.close()
    procs.poll(lambda: store.run("-s", store.path, "snapshot", "destroy", "d@s").code == 0, 20, "nobody reads the snapshot any more")


def test_who_does_not_read_holds_nobody_up(client, many, store):
    """Neither other commands nor the end of the daemon: the answer that nobody takes is dropped."""
    client.send("diff", a="d@s")
    assert "row" in client.receive()
    store.ok("-s", store.path, "status")
    store.ok("umount", store.points[-1])
    store.points.clear()
    store.ended()


def test_requests_that_are_not_waited_for_hold_nobody_up(client, store):
    client.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        while True:
            client.send("dataset.list")
    store.ok("umount", store.points[-1])
    store.points.clear()
    store.ended()


def test_a_refusal_that_is_not_waited_for_holds_nobody_up(client, store):
    """The socket holds so many answers, and no more: what is said to nonsense does not fit."""
    first = Client(store)
    first.receive()
    fit = first.ask_without_reading(100000)
    first.close()
    assert client.ask_without_reading(fit) == fit
    client.socket.sendall(b"nonsense\n")
    store.ok("umount", store.points[-1])
    store.points.clear()
    store.ended()


def test_idle_clients_make_room_for_others(store, fs):
    idle = [Client(store) for _ in range(200)]
    assert "d" in store.ok("-s", store.path, "dataset", "list")
    # The newest are still served; who was idle for the longest has heard the end.
    idle[-1].receive()
    idle[-1].send("dataset.list")
    assert idle[-1].receive()["row"]["name"] == "d"
    idle[0].receive()
    assert idle[0].lines.readline() == b""
    for each in idle:
        each.close()


@pytest.fixture
def starve(store, fs):
    """Lets the daemon open no more files; the function that it returns ends that."""
    before, fillers = resource.prlimit(store.pid, resource.RLIMIT_NOFILE), []

    def feed():
        resource.prlimit(store.pid, resource.RLIMIT_NOFILE, before)

    def numbers():
        return {int(name) for name in os.listdir(f"/proc/{store.pid}/fd")}

    def begin(no_gaps=False):
        """
        Threads that have files open for a moment may leave a number free below the limit: it is lowered until there is none for a while. `no_gaps`:
        idle clients fill them; one whose number is above the limit would leave room for nobody when it goes.
        """
        looks = 0
        while looks < 20:
            there = numbers()
            limit = min(set(range(len(there) + 1)) - there)
            if no_gaps and limit < max(there):
                feed()
                fillers.append(Client(store))
                looks = 0
                continue
            resource.prlimit(store.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
            time.sleep(0.01)
            looks = looks + 1 if set(range(limit)) <= numbers() else 0
        return feed

    yield begin
    feed()
    for each in fillers:
        each.close()


def test_an_idle_client_gives_its_descriptor_to_another(store, client, starve):
    starve(no_gaps=True)
    assert "d" in store.ok("-s", store.path, "dataset", "list")
    assert client.lines.readline() == b""


def ticks(pid):
    """What each thread has used of the processor."""
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        fields = procs.read(f"/proc/{pid}/task/{thread}/stat").decode().rsplit(")", 1)[-1].split()
        found[thread] = int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
    return found


def test_who_waits_for_a_descriptor_costs_no_processor(store, starve):
    feed = starve()
    waiting = Client(store)

    def busiest():
        """What the thread that uses the most takes in a second."""
        before = ticks(store.pid)
        time.sleep(1)
        return max(now - before.get(thread, 0) for thread, now in ticks(store.pid).items())

    procs.poll(lambda: busiest() < os.sysconf("SC_CLK_TCK") // 16, 20, "a second comes in which there is nothing else to do")
    feed()
    assert waiting.receive()["hello"] == "corpusfs"
    waiting.close()


def test_a_mount_with_too_few_descriptors_is_refused(store):
    os.mkdir(store.area + "/mnt")
    result = program.call(["prlimit", "--nofile=24:24", store.binary, "mount", store.path, store.area + "/mnt"],
                          program.environment(store.run_mark, store.logs, {}), store.logs)  # fmt: skip
    assert result.code == program.FAILED and "256 files open" in result.err and "ulimit -Hn" in result.err, result
    assert not procs.fuse_mounts(store.area + "/mnt")


def test_a_mount_with_too_few_addresses_is_refused(store):
    os.mkdir(store.area + "/mnt")
    result = program.call(["prlimit", f"--as={1 << 30}", store.binary, "mount", store.path, store.area + "/mnt"],
                          program.environment(store.run_mark, store.logs, {}), store.logs)  # fmt: skip
    assert result.code == program.FAILED and "4 GiB of addresses" in result.err and "ulimit -v" in result.err, result
    assert not procs.fuse_mounts(store.area + "/mnt")


def test_a_mount_with_too_few_threads_is_refused(store, device):
    """root has no limit, so somebody else does it, who has no process elsewhere: all of a user's count."""
    user = 100000 + os.getpid()
    os.mkdir(store.area + "/mnt")
    for folder, _, names in os.walk(store.path):
        for path in [folder, store.area + "/mnt"] + [f"{folder}/{name}" for name in names]:
            os.chown(path, user, user)
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "prlimit", "--nproc=20:20"]
    result = program.call([*words, store.binary, "mount", store.path, store.area + "/mnt"],
                          program.environment(store.run_mark, store.logs, {}), store.logs)  # fmt: skip
    assert result.code == program.FAILED and "start 48 threads" in result.err and "ulimit -u" in result.err, result
    assert not procs.fuse_mounts(store.area + "/mnt")


def test_nonsense_is_refused_and_ends_the_connection(client):
    client.socket.sendall(b"[1, 2\n")
    assert client.receive()["error"]["code"] == "EBADMSG"
    assert client.lines.readline() == b""


def test_an_operation_that_is_not_there(client):
    client.send("dataset.paint")
    assert client.receive()["error"]["code"] == "EOPNOTSUPP"


def test_what_was_passed_is_closed_before_the_answer(client):
    """Who has the answer may unmount the disk that the descriptor is of."""
    for _ in range(300):
        reader, writer = os.pipe2(os.O_NONBLOCK)
        socket.send_fds(client.socket, [json.dumps({"op": "dataset.list", "args": {}}).encode() + b"\n"], [writer])
        os.close(writer)
        while "result" not in client.receive():
            pass
        assert os.read(reader, 1) == b""  # while it is open elsewhere this is EAGAIN
        os.close(reader)


def test_a_daemon_that_leaves_keeps_its_hands_off_the_socket_of_another(store, fs):
    """It has lost the store: whoever has it now has put a socket of his own into its place."""
    os.rename(store.path + "/socket", store.path + "/before")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        here = os.open(store.path, os.O_PATH)
        other.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        os.kill(store.pid, signal.SIGTERM)
        store.points.clear()
        store.ended()
        assert os.path.exists(store.path + "/socket")
    os.unlink(store.path + "/before")
