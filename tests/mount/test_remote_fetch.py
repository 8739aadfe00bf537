"""How a mount of what is elsewhere fetches: what belongs together comes together, all of it before it is needed, and status tells."""

import glob
import http.client
import http.server
import json
import os
import random
import re
import shutil
import subprocess
import threading

import pytest

from harness import files, procs, program
from harness.lazy import MEMORY, Lazy, cold, same


# --- what is told, and what is asked for before ---


def status(remotes, point):
    return remotes.json("status", point)


def test_status_tells_what_came_from_where(big, remotes, lazy, area):
    mount = lazy(MEMORY + ",cache_size=32M")
    assert files.get(mount.root + "/big/long") == big["long"]
    first = status(remotes, mount.point)
    assert first["fetched_bytes"] >= 12 << 20 and first["cache_bytes"] >= 12 << 20 and first["cache_limit"] == 32 << 20
    assert 0 < first["fetch_ms_50"] <= first["fetch_ms_99"] and 3 <= first["fetches"] < first["fetched_blobs"]
    cold(mount.root + "/big/long")
    assert files.get(mount.root + "/big/long") == big["long"]
    second = status(remotes, mount.root + "/big")
    assert second["fetched_bytes"] == first["fetched_bytes"] and second["cache_hits"] > 100
    text = remotes.run("status", mount.point).out
    assert re.search(r"from the cache +[1-9]", text) and "ms" in text
    assert "user.corpusfs" not in str(os.listxattr(mount.root))
    plain = Lazy(remotes, area + "/plain", "allow_other")
    assert files.get(plain.root + "/big/long") == big["long"]
    assert status(remotes, plain.point)["fetched_bytes"] >= 12 << 20 and "cache_limit" not in status(remotes, plain.point)
    assert "no cache" in remotes.run("warm", plain.point, code=program.UNSUPPORTED).err
    plain.umount()


@pytest.mark.timeout(240)
def test_warm_brings_all_so_that_nothing_is_fetched_later(served, remotes, lazy, source, area):
    mount = lazy(MEMORY + ",timeout=10")
    wanted = sum(os.path.getsize(f"{source}/a/{name}") for name in os.listdir(source + "/a") if os.path.isfile(f"{source}/a/{name}"))
    some = remotes.json("warm", mount.root + "/a/4")
    assert some["files"] == 1 and some["bytes"] == os.path.getsize(source + "/a/4")
    part = remotes.json("warm", mount.root + "/a")
    assert part["bytes"] >= wanted and part["failed"] == 0
    all_of_it = remotes.json("warm", mount.point)
    assert all_of_it["files"] > part["files"] and all_of_it["bytes"] > part["bytes"]
    before = status(remotes, mount.point)["fetched_bytes"]
    again = remotes.json("warm", mount.point)
    assert again["bytes"] == all_of_it["bytes"] and status(remotes, mount.point)["fetched_bytes"] == before
    served.stop()
    same(source, mount.root)
    assert "are in the cache" in remotes.run("warm", mount.root).out
    mount.umount()
    shutil.rmtree(area + "/cached")
    served.start()
    mount = lazy(MEMORY + ",timeout=5")
    os.listdir(mount.root + "/a")
    served.stop()
    refused = remotes.run("warm", mount.root + "/a/4", code=program.FAILED)
    assert "does not answer" in refused.err


def test_warm_of_all_backups_passes_over_what_holds_none(served, remotes, area):
    point = area + "/all"
    os.mkdir(point)
    remotes.run("backup", "mount", "base:", point, "-o", f"{MEMORY},cache={area}/cached")
    try:
        done = remotes.json("warm", point)
        assert done["files"] > 30 and done["failed"] == 0
        assert remotes.json("warm", point + "/times")["files"] == 0
        assert remotes.json("warm", point + "/latest")["bytes"] == done["bytes"]
    finally:
        remotes.run("umount", point)


def test_warm_tells_what_cannot_be_had_and_what_does_not_fit(big, remotes, lazy, area):
    packs = sorted(glob.glob(area + "/repository/data/*/*"), key=os.path.getsize)
    mount = lazy(MEMORY + ",cache_size=4M")
    result = remotes.run("warm", mount.root)
    assert "note: the cache holds" in result.err
    mount.umount()
    os.remove(packs[-1])
    shutil.rmtree(area + "/cached")
    mount = lazy(MEMORY)
    result = remotes.run("warm", mount.root, code=program.FAILED)
    assert "cannot be had" in result.err and "are in the cache" in result.out


def test_warm_says_when_nothing_is_kept(big, remotes, lazy, area):
    os.mkdir(area + "/disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M,mode=700", "tmpfs", area + "/disk"], check=True)
    try:
        mount = lazy(MEMORY + ",cache_size=100M", cache=area + "/disk/cached")
        result = remotes.run("warm", mount.root + "/big/long", code=program.FAILED)
        assert "whose disk failed or is full" in result.err and "in the cache" not in result.out
        again = remotes.run("warm", mount.root + "/big/long", code=program.FAILED)
        assert "whose disk failed or is full" in again.err
        mount.umount()
    finally:
        subprocess.run(["umount", "-l", area + "/disk"], check=True)


@pytest.mark.timeout(240)
def test_warm_in_an_order_stays_ahead_of_the_reader_and_waits_for_him(big, remotes, lazy, area):
    mount = lazy()
    names = sorted(big)
    order = remotes.write("order", "\n".join(["big/" + name for name in names] + ["big/not there"]) + "\n")
    command = [remotes.store.binary, "warm", mount.root, "--follow-order", order, "--ahead", "2M", "--json"]
    warm = subprocess.Popen(command, env={**os.environ, **remotes.env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        total = sum(len(data) for data in big.values())
        procs.poll(lambda: status(remotes, mount.point)["fetched_bytes"] > 2 << 20, 30, "it has begun")
        ahead = []
        for name in names:
            ahead.append(status(remotes, mount.point)["fetched_bytes"] - status(remotes, mount.point)["read_bytes"])
            assert files.get(f"{mount.root}/big/{name}") == big[name], name
        out, err = warm.communicate(timeout=60)
    finally:
        warm.kill()
        warm.wait()
    assert max(ahead) < total - (2 << 20), "all was fetched at once"
    assert json.loads(out)["bytes"] == total and json.loads(out)["files"] == len(names)
    assert warm.returncode == 1 and "not there: No such file" in err
    # whom nobody sees reading, for the kernel has it all
    done = json.loads(remotes.run("warm", mount.root, "--follow-order", order, "--ahead", "32M", "--json", code=program.FAILED).out)
    assert done["bytes"] == total
    refused = remotes.run("warm", "d", "--follow-order", order, code=program.USAGE)
    assert "mounts of remotes" in refused.err


# --- how it fetches ---


class Counting(http.server.BaseHTTPRequestHandler):
    """A server in front of another, that counts."""

    protocol_version = "HTTP/1.1"
    port, packs, total = 0, 0, 0
    lock = threading.Lock()

    def do_GET(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection.request(self.command, self.path, body, {key: value for key, value in self.headers.items() if key in ("Range", "Accept")})
        answer = connection.getresponse()
        data = answer.read()
        with self.lock:
            if "/data/" in self.path:
                type(self).packs += 1
                type(self).total += len(data)
        self.send_response(answer.status)
        self.send_header("Content-Length", answer.headers["Content-Length"] if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    do_HEAD = do_POST = do_DELETE = do_GET

    def log_message(self, *args):
        pass


@pytest.mark.timeout(240)
def test_neighbours_come_together_and_once(remotes, rest, area):
    """12 MiB are some 190 blobs: they come with few requests, the first time, and with none the second time."""
    data = random.Random(9).randbytes(12 << 20)
    os.mkdir(area + "/tree")
    files.put(area + "/tree/long", data)
    remotes.run("import", area + "/tree", "d/long")
    remotes.store.expected.append("backups")
    remotes.add("base", rest.url("r"), "--single-writer")
    remotes.publish("d", "--init")
    handler = type("Handler", (Counting,), {"port": rest.port})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        remotes.add("near", f"rest:http://127.0.0.1:{server.server_address[1]}/r/")
        os.mkdir(area + "/point")
        counts, again = [], 0
        for _ in range(2):
            remotes.run("mount", "near:d", area + "/point", "-o", f"cache={area}/cached")
            assert files.get(area + "/point/long/long") == data
            again = again or status(remotes, area + "/point")["sent_again"]  # a busy machine answers late
            remotes.run("umount", area + "/point")
            counts.append((handler.packs, handler.total))
        server.shutdown()
    assert 3 <= counts[0][0] < 40 + again and 12 << 20 <= counts[0][1] < (14 + 8 * again) << 20
    assert counts[1] == counts[0]
