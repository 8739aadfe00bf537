"""Answers that are late: who reads does not wait for the slowest of several requests, and a place that is slow as a whole is not asked twice."""

import os
import random
import re
import threading
import time
from collections import Counter

import pytest

from harness import files
from harness.between import Between, serving


class Late(Between):
    """Counts what is asked for by range, and keeps answers of packs back as `keep` says."""

    lock, asked = threading.Lock(), Counter()

    @staticmethod
    def keep(key):
        """Of what is asked."""

    def do_GET(self):
        key = (self.path, self.headers["Range"])
        if self.headers["Range"]:
            with self.lock:
                self.asked[key] += 1
            if "/data/" in self.path:
                self.keep(key)
        super().do_GET()


@pytest.fixture
def late(remotes, rest, area):
    """What stands between the remote "base", in which the dataset with 24 MiB more is published, and its server."""
    handler = type("OneLate", (Late,), {"port": rest.port, "lock": threading.Lock(), "asked": Counter()})
    os.mkdir(area + "/tree")
    files.put(area + "/tree/long", random.Random(8).randbytes(24 << 20))
    remotes.run("import", area + "/tree", "d/long")
    remotes.store.expected.append("backups")
    with serving(handler) as port:
        remotes.add("base", f"rest:http://127.0.0.1:{port}/r/", "--single-writer")
        remotes.publish("d", "--init")
        handler.asked.clear()
        yield handler


@pytest.mark.sanitize
@pytest.mark.timeout(240)
def test_what_does_not_come_is_asked_for_again(late, remotes, area):
    """The first answer of all comes only when the same was asked for once more."""
    first, held, again, came = threading.Lock(), [], threading.Event(), []

    def keep(key):
        if first.acquire(blocking=False):
            held.append(key)
            came.append(again.wait(20))
        elif held == [key]:
            again.set()

    late.keep = staticmethod(keep)
    os.mkdir(area + "/point")
    remotes.run("mount", "base:d", area + "/point", "-o", f"cache={area}/cached")
    try:
        assert files.get(area + "/point/long/long") == files.get(area + "/tree/long")
        assert remotes.json("status", area + "/point")["sent_again"] >= 1
        assert re.search(r"sent a second time +[1-9]", remotes.run("status", area + "/point").out)
    finally:
        again.set()
        remotes.run("umount", area + "/point")
    assert came == [True] and late.asked[held[0]] == 2


@pytest.mark.timeout(240)
def test_what_stops_in_the_middle_is_asked_for_again(late, remotes, area):
    first, held, again, came = threading.Lock(), [], threading.Event(), []

    def send_body(handler, data):
        key = (handler.path, handler.headers["Range"])
        if len(data) > 100000 and "/data/" in handler.path and first.acquire(blocking=False):
            held.append(key)
            handler.wfile.write(data[:50000])
            handler.wfile.flush()
            came.append(again.wait(20))
            data = data[50000:]
        elif held == [key]:
            again.set()
        Between.send_body(handler, data)

    late.send_body = send_body
    try:
        remotes.run("warm", "base:d/long/long", "-o", f"cache={area}/cached")
    finally:
        again.set()
    assert came == [True]


@pytest.mark.timeout(240)
def test_place_that_is_slow_is_not_asked_twice_for_all(late, remotes, area):
    again = threading.Event()

    def keep(key):
        """However late who asks finds that it is late: the first answers come only when something was asked for twice."""
        if late.asked[key] > 1:
            again.set()
        time.sleep(2.5)
        again.wait(20)

    late.keep = staticmethod(keep)
    remotes.run("warm", "base:d/long/long", "-o", f"cache={area}/cached")
    twice = sum(count - 1 for count in late.asked.values())
    assert len(late.asked) > 6 and 0 < twice <= 4 + sum(late.asked.values()) // 20, late.asked
