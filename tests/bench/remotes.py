"""Data sets that are elsewhere: published in a bucket of Ceph's S3 gateway, which runs on this machine and in its memory, and mounted
from there; beside rclone, restic and s3fs, which read the same bucket. All of them share the processors with the server."""

import contextlib
import json
import os
import shutil
import socket
import time

from machine import Failed, procs
from rows import Measure, per_second
from verdict import Row
from ways import Store, Way, import_tar

from harness.servers import S3, S3_SECRETS

TOOLS = ("ceph-mon", "ceph-osd", "radosgw", "rclone", "restic", "s3fs")
PASSWORD = "bench"
FIRST_BYTE_S, PUBLISH_S = 1.0, 5.0
RESTIC_BYTES = 16 << 20  # it reads 1.5 MB a second, as it asks for each blob by itself
MEMORY = 8 << 30  # that the server may fill at full size
PICTURES = 4  # of so many images one is in the bucket, in a repository and as an object of its own
READERS, SHARE = 4, 0.4  # read so much of them at random
MOUNTS, EACH = 16, 64 << 20  # machines that mount one snapshot at once, and what each reads


class Place:
    """The server; a store that publishes, each data set in a repository of its own; and the remotes of who mounts."""

    def __init__(self, bench, program):
        self.machine, self.data, self.program = bench.machine, bench.data, program
        self.home = bench.machine.home + "/remote"
        self.store, self.server, self.point = Store(bench.machine, program, self.home), None, self.home + "/point"
        self.env = {"XDG_CONFIG_HOME": self.home + "/config", "HOME": self.home}
        self.taken = set()

    def missing(self):
        absent = [tool for tool in TOOLS if not shutil.which(tool)]
        return f"{', '.join(absent)}: not installed" if absent else None

    def write(self, name, text):
        with open(f"{self.home}/{name}", "w", encoding="ascii") as handle:
            handle.write(text)
        return f"{self.home}/{name}"

    def answers(self):
        """Whether the server is there: after a failure, everything that the bench has started is ended."""
        with socket.socket() as one:
            return bool(self.server) and one.connect_ex(("127.0.0.1", self.server.port)) == 0

    def start(self):
        if self.answers():
            return
        self.taken.clear()
        self.machine.remove(self.home + "/config")
        self.machine.remove(self.home + "/server")
        self.server = S3(self.home + "/server", self.machine.mark, max(1 << 30, int(MEMORY * self.data.scale)))
        self.store.init()
        self.machine.run("mkdir", "-p", self.point)
        self.password = self.write("password", PASSWORD + "\n")
        self.keys = self.write("keys", "".join(f"{name.lower()} = {value}\n" for name, value in S3_SECRETS.items()))

    def rclone(self, *args):
        """Seconds."""
        env = {"RCLONE_CONFIG": "/dev/null", "RCLONE_CACHE_DIR": self.home + "/rclone", "RCLONE_S3_PROVIDER": "Ceph",
               "RCLONE_S3_ENDPOINT": f"http://127.0.0.1:{self.server.port}", "RCLONE_S3_ACCESS_KEY_ID": S3_SECRETS["AWS_ACCESS_KEY_ID"],
               "RCLONE_S3_SECRET_ACCESS_KEY": S3_SECRETS["AWS_SECRET_ACCESS_KEY"], "AWS_CA_BUNDLE": ""}  # rclone fails where one is named
        return self.machine.run("env", *(f"{name}={value}" for name, value in env.items()), "rclone", *args, limit=300)[0]

    def pictures(self, name):
        """Some of the images: in a repository, and each as an object below plain/."""
        folder = self.home + "/pictures"
        self.machine.remove(folder)
        names = self.data.names_of("images")[::PICTURES]
        for each in names:
            os.makedirs(os.path.dirname(f"{folder}/{each}"), exist_ok=True)
            os.link(f"{self.data.path('images')}/{each}", f"{folder}/{each}")
        self.write("pictures.list", "".join(each + "\n" for each in names))
        self.store.run("import", folder, name, limit=300)
        self.rclone("copy", "--transfers", "16", folder, ":s3:test/plain")

    def publish(self, name, first=False):
        """Seconds."""
        if first:
            self.run("remote", "add", name, self.server.url(name), "--password-file", self.password, "--credentials-file", self.keys)
        return self.run("-s", self.store.path, "publish", name, name, *(["--init"] if first else []), limit=600)[0]

    def run(self, *args, **options):
        return self.machine.run(self.program, *args, env=self.env, **options)

    def take(self, name, fill):
        """A data set that is published, once."""
        self.start()
        if name not in self.taken:
            self.store.stop()
            fill(name)
            self.publish(name, True)
            self.taken.add(name)

    def shards(self, name):
        """In a repository, and the first one as an object, too."""
        self.store.run("import", self.data.path("shards"), name, limit=300)
        self.rclone("copyto", f"{self.data.path('shards')}/{self.data.names_of('shards')[0]}", ":s3:test/shard")

    def mount(self, name):
        """Where nothing of it is known yet. Returns seconds."""
        self.umount()
        self.machine.remove(self.home + "/cache")
        return self.run("mount", f"{name}:{name}", self.point, "-o", f"cache={self.home}/cache")[0]

    def umount(self):
        if self.machine.mounted(self.point):
            self.run("umount", self.point, limit=60)

    def close(self):
        self.umount()
        self.store.stop()

    def stop(self):
        self.close()
        if self.server:
            self.server.stop()


def together(machine, commands, each):
    """MB/s of commands that run side by side and get so many bytes each."""
    with contextlib.ExitStack() as stack:
        start = time.monotonic()
        started = [stack.enter_context(machine.helper("sh", "-c", 'exec "$@" >/dev/null', "sh", *command)) for command in commands]
        for process in started:
            machine.wait(process, 300)
            if process.returncode:
                raise Failed(f"{machine.name(commands[0])}: exit {process.returncode}")
        return len(commands) * each / 1e6 / (time.monotonic() - start)


class Reader(Way):
    """Somebody who reads what is in the bucket: rate() is MB/s of all shards, of which nothing is here."""

    def __init__(self, place, name):
        self.name, self.place = name, place
        super().__init__(place.machine, place.data)

    def missing(self):
        return self.place.missing()

    def close(self):
        self.place.close()

    def read_pictures(self, root):
        """MB/s of some in random order, by several readers."""
        self.machine.drop()
        listing = self.place.home + "/pictures.list"
        with open(listing, encoding="ascii") as handle:
            count = max(20, int(len(handle.readlines()) * SHARE))
        return per_second(self.machine.driver("read", root, listing, 9, READERS, count, limit=300), "bytes") / 1e6

    def read(self, root):
        return per_second(self.machine.driver("read", root, self.data.listing("shards"), 0, 1, 0, limit=300), "bytes") / 1e6


class Remote(Reader):
    def rate(self):
        self.place.mount("shards")
        self.machine.drop()
        return self.read(self.place.point)

    def rate_of_pictures(self):
        self.place.mount("pictures")
        return self.read_pictures(self.place.point)

    def rate_of_many(self):
        """MB/s of all machines together, each of which has its own mount and its own cache, and reads the beginning of the same shard."""
        home, first = self.place.home, self.data.names_of("shards")[0]
        points = [f"{home}/many/{number}" for number in range(MOUNTS)]
        self.machine.remove(home + "/many")
        try:
            for point in points:
                self.machine.run("mkdir", "-p", point + "/mnt")
                self.place.run("mount", "shards:shards", point + "/mnt", "-o", f"cache={point}/cache")
            self.machine.drop()
            return together(self.machine, [("head", "-c", str(EACH), f"{point}/mnt/{first}") for point in points], min(EACH, self.data.shard))
        finally:
            for point in points:
                if self.machine.mounted(point + "/mnt"):
                    self.place.run("umount", point + "/mnt", limit=60)
            self.machine.remove(home + "/many")

    def again(self):
        """All of it is in the cache on the disk, and in no memory."""
        self.rate()
        self.machine.drop()
        return self.read(self.place.point)


class Local(Reader):
    """A mount of the snapshot that was published, in the store that published it."""

    def again(self):
        store = self.place.store
        store.stop()
        self.machine.drop()
        self.place.run("mount", f"{store.path}:shards@{self.snapshot()}", self.place.point)
        try:
            return self.read(self.place.point)
        finally:
            self.place.umount()

    def snapshot(self):
        return json.loads(self.place.store.run("snapshot", "list", "shards", "--json")[1])[-1]["name"]


class Server(Reader):
    """Clients that do nothing with what they get."""

    def rate_of_many(self):
        size = min(EACH, self.data.shard)
        keys = self.place.write("curl", f'user = "{S3_SECRETS["AWS_ACCESS_KEY_ID"]}:{S3_SECRETS["AWS_SECRET_ACCESS_KEY"]}"\n')
        ask = ("curl", "-sf", "--config", keys, "--aws-sigv4", "aws:amz:us-east-1:s3", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
               "--range", f"0-{size - 1}", f"http://127.0.0.1:{self.place.server.port}/test/shard")
        return together(self.machine, [ask] * MOUNTS, size)


class Rclone(Reader):
    """It copies the repository's packs to the disk."""

    def rate(self):
        target = self.home + "/copy"
        self.machine.remove(target)
        self.machine.drop()
        seconds = self.place.rclone("copy", ":s3:test/shards/data", target)
        self.machine.remove(target)
        return self.data.size("shards") / 1e6 / seconds

    def rate_of_pictures(self):
        """By its mount, with its cache on the disk."""
        self.machine.remove(self.place.home + "/rclone")
        self.machine.run("mkdir", "-p", self.place.point)
        self.place.rclone("mount", "--daemon", "--vfs-cache-mode", "full", "--read-only", ":s3:test/plain", self.place.point)
        try:
            return self.read_pictures(self.place.point)
        finally:
            self.machine.umount(self.place.point)


class S3fs(Reader):
    def rate_of_pictures(self):
        secret = self.place.write("s3fs", f"{S3_SECRETS['AWS_ACCESS_KEY_ID']}:{S3_SECRETS['AWS_SECRET_ACCESS_KEY']}\n")
        os.chmod(secret, 0o600)
        url = f"http://127.0.0.1:{self.place.server.port}"
        self.machine.run("env", "AWS_CA_BUNDLE=", "s3fs", "test:/plain", self.place.point, "-o", f"passwd_file={secret},url={url},use_path_request_style,ro")
        try:
            return self.read_pictures(self.place.point)
        finally:
            self.machine.umount(self.place.point)


class ResticMount(Reader):
    def rate(self):
        point = self.home + "/point"
        self.machine.run("mkdir", "-p", point)
        self.machine.drop()
        env = {**S3_SECRETS, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": self.home + "/cache"}
        env["RESTIC_REPOSITORY"] = self.place.server.url("shards")
        words = [f"{name}={value}" for name, value in env.items()]
        # what it says when it was unmounted is of no interest
        with self.machine.helper("env", *words, "sh", "-c", 'exec restic mount --quiet "$1" 2>/dev/null', "restic", point):
            try:
                procs.poll(lambda: self.machine.mounted(point), 60, "restic has mounted")
                first = self.data.names_of("shards")[0]
                seconds = self.machine.run("head", "-c", str(RESTIC_BYTES), f"{point}/snapshots/latest/shards/{first}", limit=120)[0]
                return min(RESTIC_BYTES, self.data.shard) / 1e6 / seconds
            finally:
                self.machine.umount(point)


def first_byte(place):
    """Seconds from the command to the first byte of a file, in a mount of many files of which nothing is known."""
    def function(bench, way):
        if way.name == "budget":
            return FIRST_BYTE_S
        count = max(5000, int(1_000_000 * bench.data.scale))
        place.take("many", lambda name: import_tar(bench.machine, place.store, count, name))
        bench.machine.drop()
        middle = count // 2
        return place.mount("many") + bench.machine.run("head", "-c", "1", f"{place.point}/{middle // 1000:04}/{middle:07}.json")[0]
    return function


def sequential(place):
    def function(bench, way):
        place.take("shards", place.shards)
        try:
            return way.rate()
        finally:
            way.close()
    return function


def second(place):
    def function(bench, way):
        place.take("shards", place.shards)
        try:
            return way.again()
        finally:
            way.close()
    return function


def pictures(place):
    def function(bench, way):
        place.take("pictures", place.pictures)
        try:
            return way.rate_of_pictures()
        finally:
            way.close()
    return function


def many(place):
    def function(bench, way):
        place.take("shards", place.shards)
        place.umount()
        return way.rate_of_many()
    return function


def publish_few(place):
    """Seconds of publishing after 1% of the files changed."""
    def function(bench, way):
        if way.name == "budget":
            return PUBLISH_S
        count = max(2000, int(100_000 * bench.data.scale))
        place.take("few", lambda name: import_tar(bench.machine, place.store, count, name))
        listing = place.write("few.list", "".join(f"{i // 1000:04}/{i:07}.json\n" for i in range(count)))
        place.store.start()
        bench.machine.driver("append", place.store.point + "/few", listing, 100)
        place.store.stop()
        bench.machine.drop()
        return place.publish("few")
    return function


def prepare(bench, program):
    """Adds the ways; returns (measures, rows)."""
    place = Place(bench, program)
    bench.closing.append(place.stop)
    for kind, name in ((Remote, "remote"), (Local, "local"), (Rclone, "rclone"), (ResticMount, "restic-mount"), (S3fs, "s3fs"),
                       (Server, "server")):
        bench.ways[name] = kind(place, name)
    measures = [
        Measure("remote-first", "s", ("remote", "budget"), first_byte(place)),
        Measure("remote-shards", "MB/s", ("remote", "rclone", "restic-mount"), sequential(place)),
        Measure("remote-second", "MB/s", ("remote", "local"), second(place)),
        Measure("remote-images", "MB/s", ("remote", "rclone", "s3fs"), pictures(place)),
        Measure("remote-many", "MB/s", ("remote", "server"), many(place)),
        Measure("remote-publish", "s", ("remote", "budget"), publish_few(place)),
    ]
    rows = [
        Row("remote-first", "first byte of a remote mount of 1,000,000 files (at scale 1)", "remote-first", "remote", [("budget", "<=", 1.0)]),
        Row("remote-shards", "sequential read of shards in a remote mount, with nothing cached", "remote-shards", "remote",
            [("rclone", ">=", 0.8), ("restic-mount", ">=", 3)]),
        Row("remote-second", "the same once more, from the cache on the disk", "remote-second", "remote", [("local", ">=", 0.95)]),
        Row("remote-images", "images of a remote mount in random order, with nothing cached, 4 readers", "remote-images", "remote",
            [("rclone", ">=", 1), ("s3fs", ">=", 1)]),
        Row("remote-many", "sixteen remote mounts of one snapshot at once, all that they read", "remote-many", "remote", [("server", ">=", 0.8)]),
        Row("remote-publish", "publish after 1% of 100,000 files changed (at scale 1)", "remote-publish", "remote", [("budget", "<=", 1.0)]),
    ]
    return measures, rows
