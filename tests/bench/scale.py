#!/usr/bin/python3
"""Counts what publishing and remote mounts ask of servers: the constants of the manual's section on scale. They are counts and bytes,
which a busy machine does not change; seconds are for orientation only.

    tests/bench/scale.py PROGRAM [FILES]      as root; 20,000 files

The servers are rclone with restic's REST protocol, Ceph's gateway, and etcd with three members, all on this machine, behind doors that count.
"""

import collections
import concurrent.futures
import http.client
import http.server
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import procs, program, servers  # noqa: E402
from harness.repository import PASSWORD  # noqa: E402

FOLDERS = ("config", "keys", "locks", "snapshots", "index", "heads", "data")
MANY_MOUNTS = 16
MIB = 1 << 20


class Door(http.server.BaseHTTPRequestHandler):
    """In front of a server: passes on all that it is asked, and counts requests, and bytes of content both ways, by method and folder."""

    protocol_version = "HTTP/1.1"
    port = 0

    def do_GET(self):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        link.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            link.putheader(name, value)
        link.endheaders(sent)
        answer = link.getresponse()
        data = answer.read()
        link.close()
        parts = self.path.partition("?")[0].split("/")
        folder = next((part for part in FOLDERS if part in parts), "?")
        if folder == "?" and "list-type" in self.path:
            folder = next((part for part in FOLDERS if part in self.path), "?")
        with self.lock:
            self.counts[f"{self.command} {folder}"] += 1
            self.sent[folder] += len(sent)
            self.came[folder] += len(data)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.headers["Content-Length"] if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *args):
        pass


def door_to(port):
    door = type("OneDoor", (Door,), {"port": port, "lock": threading.Lock()})
    door.counts, door.sent, door.came = collections.Counter(), collections.Counter(), collections.Counter()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return door, server.server_address[1]


def etcd_counts(etcd):
    """Requests that its members have answered, bytes, and entries of its log."""
    found = collections.Counter()
    for port in etcd.ports():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                name, _, value = line.rpartition(" ")
                if name.startswith("grpc_server_handled_total") and float(value):
                    found[name.partition('grpc_method="')[2].partition('"')[0]] += float(value)
                elif name.startswith("etcd_network_client_grpc_"):
                    found[name] += float(value)
                elif name == "etcd_server_proposals_committed_total" and port == etcd.port:
                    found["log entries"] = float(value)
    return found


class Scale:
    def __init__(self, home, binary):
        self.home, self.binary, self.mark = home, binary, f"scale-{os.getpid()}"
        self.env = {**os.environ, procs.MARK: self.mark, "XDG_CONFIG_HOME": home + "/config", "HOME": home}
        self.store = home + "/store"
        os.makedirs(home + "/logs")

    def run(self, *args):
        start = time.monotonic()
        done = program.call([self.binary, *args], self.env, self.home + "/logs", 300)
        assert done.code == 0, f"{args}: {done.out}{done.err}"
        return done.out, time.monotonic() - start

    def tool(self, *args):
        done = program.call(args, self.env, self.home + "/logs", 300)
        assert done.code == 0, f"{args}: {done.err}"

    def file(self, name, text):
        with open(f"{self.home}/{name}", "w", encoding="ascii") as handle:
            handle.write(text)
        return f"{self.home}/{name}"

    def counted(self, what, door, call, etcd=None):
        door.counts.clear()
        door.sent.clear()
        door.came.clear()
        before = etcd_counts(etcd) if etcd else None
        result = call()
        print(f"\n{what}:")
        print("   ", ", ".join(f"{name} {count}" for name, count in sorted(door.counts.items())))
        print("    sent", {k: v for k, v in door.sent.items() if v}, "came", {k: v for k, v in door.came.items() if v})
        if etcd:
            print("    etcd", {name: int(value) for name, value in (etcd_counts(etcd) - before).items()})
        sys.stdout.flush()
        return result


def main():
    binary, files = os.path.realpath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20000
    home = tempfile.mkdtemp(prefix="corpusfs-scale-", dir="/var/tmp")
    scale = Scale(home, binary)
    try:
        measure(scale, files)
    finally:
        procs.kill_marked(scale.mark, 10)
        procs.detach(home)
        shutil.rmtree(home, ignore_errors=True)


def rate(what, count, call):
    """Of a few clients in Python: what the server gives at least."""
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: call(), range(count)))
    print(f"\n{what}: {count / (time.monotonic() - start):.0f} requests a second, of 8 clients here")


def measure(scale, files):
    home, store = scale.home, scale.store
    rest, etcd = servers.Rest(home + "/rest", scale.mark), servers.Etcd(home + "/etcd", scale.mark)
    rate("etcd: the same key", 2000, lambda: etcd.ask("kv/range", {"key": "AA=="}))
    door, port = door_to(rest.port)
    password = scale.file("password", PASSWORD + "\n")
    scale.run("remote", "add", "base", f"rest:http://127.0.0.1:{port}/r/", "--password-file", password, "--etcd", etcd.endpoints())
    for folder in range(files // 1000):
        os.makedirs(f"{home}/many/{folder:04}")
        for number in range(1000):
            with open(f"{home}/many/{folder:04}/{number:07}.json", "wb") as handle:
                handle.write(os.urandom(1024))
    os.makedirs(home + "/large")
    with open(home + "/large/shard", "wb") as handle:
        for _ in range(64):
            handle.write(os.urandom(MIB))
    scale.run("init", store)
    scale.run("-s", store, "import", home + "/many", "many")
    scale.run("-s", store, "import", home + "/large", "large")
    for name in ("many", "large"):
        words = ("-s", store, "publish", name, "base", "--init")
        _, seconds = scale.counted(f"first publish of {name}", door, lambda words=words: scale.run(*words), etcd)
        print(f"    {seconds:.1f} s")
    sizes = {name: sum(os.path.getsize(os.path.join(root, one)) for root, _, found in os.walk(f"{home}/rest/r/{name}") for one in found)
             for name in ("index", "data", "snapshots", "heads")}
    print(f"\nin the repository: {sizes}; {files} files of 1 KiB in directories of 1000, and one of 64 MiB")
    os.makedirs(home + "/mnt/store")
    scale.run("mount", store, home + "/mnt/store")
    for number in range(0, files, 100):
        with open(f"{home}/mnt/store/many/{number // 1000:04}/{number % 1000:07}.json", "ab") as handle:
            handle.write(b"x")
    scale.run("umount", home + "/mnt/store")
    scale.counted("publish after 1% changed", door, lambda: scale.run("-s", store, "publish", "many", "base"), etcd)
    mounts(scale, door, etcd)
    buckets(scale, password)


def mounts(scale, door, etcd):
    home, points = scale.home, []

    def mount(what, options):
        points.append(f"{home}/mnt/{len(points)}")
        os.makedirs(points[-1])
        return scale.run("mount", what, points[-1], *options)

    def memory():
        pids = [pid for pid in procs.marked(scale.mark) if procs.read(f"/proc/{pid}/comm").startswith(b"corpusfs")]
        return [procs.memory(pid) // MIB for pid in pids if not procs.is_supervisor(pid)]

    one = scale.counted("one mount", door, lambda: mount("base:many", ["-o", f"cache={home}/cache"]), etcd)
    print(f"    {one[1]:.2f} s; MiB of memory", memory())
    scale.counted("its first listing and 1 byte of a file", door, lambda: scale.tool("head", "-c1", f"{points[0]}/0007/0000007.json"))
    scale.counted("all names and attributes", door, lambda: scale.tool("find", points[0], "-size", "+1G"))
    first, rest = f"{points[0]}/0000", f"{points[0]}/0001"
    scale.counted("1000 files in order", door, lambda: scale.tool("sh", "-c", f"cat {first}/* >/dev/null"))
    scale.counted("1000 files in random order", door, lambda: scale.tool("sh", "-c", f"ls {rest}/* | sort -R | xargs cat >/dev/null"))
    status = json.loads(scale.run("status", points[0], "--json")[0])
    print("   ", {name: status[name] for name in ("fetches", "fetched_blobs", "fetched_bytes", "memory_bytes")}, "MiB of memory", memory())
    scale.counted("mount of the other one", door, lambda: mount("base:large", []), etcd)
    scale.counted("64 MiB from one end to the other", door, lambda: scale.tool("cat", points[1] + "/shard"))
    scale.counted(f"{MANY_MOUNTS} more mounts", door, lambda: [mount("base:many", []) for _ in range(MANY_MOUNTS)], etcd)
    scale.counted("one more", door, lambda: mount("base:many", []), etcd)
    scale.counted("unmounting it", door, lambda: scale.run("umount", points.pop()))
    for point in points:
        scale.run("umount", point)


def buckets(scale, password):
    ceph = servers.S3(scale.home + "/ceph", scale.mark)
    door, port = door_to(ceph.port)
    keys = scale.file("keys", "".join(f"{name.lower()} = {value}\n" for name, value in servers.S3_SECRETS.items()))
    scale.run("remote", "add", "bucket", f"s3:http://127.0.0.1:{port}/test/r", "--password-file", password, "--credentials-file", keys)
    scale.counted("S3: first publish of large", door, lambda: scale.run("-s", scale.store, "publish", "large", "bucket", "--init"))
    os.makedirs(scale.home + "/mnt/s3")
    scale.counted("S3: a mount", door, lambda: scale.run("mount", "bucket:large", scale.home + "/mnt/s3"))
    scale.counted("S3: 64 MiB", door, lambda: scale.tool("cat", scale.home + "/mnt/s3/shard"))
    scale.counted("S3: umount", door, lambda: scale.run("umount", scale.home + "/mnt/s3"))
    ceph.stop()


if __name__ == "__main__":
    main()
