"""The control socket: clients that are many, slow, or gone, and answers that come in rows."""

import json
import os
import socket

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
    store.ok("umount", store.points[-1], limit=15)
    store.points.clear()
    store.ended()


def test_requests_that_are_not_waited_for_hold_nobody_up(client, store):
    client.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        while True:
            client.send("dataset.list")
    store.ok("umount", store.points[-1], limit=15)
    store.points.clear()
    store.ended()


def test_idle_clients_make_room_for_others(store, fs):
    idle = [Client(store) for _ in range(200)]
    assert "d" in store.ok("-s", store.path, "dataset", "list", limit=20)
    # The newest are still served; who was idle for the longest has heard the end.
    idle[-1].receive()
    idle[-1].send("dataset.list")
    assert idle[-1].receive()["row"]["name"] == "d"
    idle[0].receive()
    assert idle[0].lines.readline() == b""
    for each in idle:
        each.close()


def test_nonsense_is_refused_and_ends_the_connection(client):
    client.socket.sendall(b"[1, 2\n")
    assert client.receive()["error"]["code"] == "EBADMSG"
    assert client.lines.readline() == b""


def test_an_operation_that_is_not_there(client):
    client.send("dataset.paint")
    assert client.receive()["error"]["code"] == "EOPNOTSUPP"
