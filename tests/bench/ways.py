"""The ways of keeping data that are compared: each one directory to read from, and a fresh one to write into."""

import json
import os
import shutil

from machine import Failed, procs

BUDGET = 512 << 20  # cache= and write_buffer= of a store that is told nothing, together


class Way:
    """library(kind): a directory that holds the data. scratch(): an empty directory. sync(): until what was written is on disk.
    space(): bytes on disk that scratch takes up more than when it was empty."""

    name = None

    def __init__(self, machine, data):
        self.machine, self.data = machine, data
        self.home = f"{machine.home}/{self.name}"
        os.makedirs(self.home, exist_ok=True)

    def missing(self):
        """Why it cannot be measured here, or None."""
        return None

    def ready(self):
        """Mounted, and library() holds everything."""

    def cold(self):
        """As after a boot: nothing in any cache."""
        self.machine.drop()

    def take_fresh(self, kind):
        """As library(kind), of data that came in a moment ago; cold."""
        self.cold()
        return self.library(kind)

    def close(self):
        """Unmounted, no process left."""


class Ext4(Way):
    """A plain directory of the disk that everything else lies on, too."""

    name = "ext4"
    current, count = None, 0

    def library(self, kind):
        return self.data.path(kind)

    def scratch(self):
        return self.next_scratch(self.home)

    def next_scratch(self, parent):
        """A name that was not used before: no layer above can remember anything of it."""
        if self.current:
            self.machine.remove(self.current)
        self.count += 1
        self.current = f"{parent}/scratch-{self.count}"
        os.mkdir(self.current)
        return self.current

    def sync(self):
        self.machine.run("sync", "-f", self.home, limit=180)

    def space(self):
        return self.machine.space(self.current)


class Bindfs(Ext4):
    """FUSE that does nothing: what any FUSE filesystem pays."""

    name = "bindfs"

    def __init__(self, machine, data):
        super().__init__(machine, data)
        self.lower, self.point = self.home + "/lower", self.home + "/mnt"
        for path in (self.lower, self.point, self.lower + "/data"):
            os.makedirs(path, exist_ok=True)

    def missing(self):
        return None if shutil.which("bindfs") else "bindfs is not installed"

    def ready(self):
        if not self.machine.mounted(self.point):
            if not self.machine.mounted(self.lower + "/data"):
                self.machine.run("mount", "--bind", self.data.root, self.lower + "/data")
            self.machine.run("bindfs", self.lower, self.point)

    def cold(self):
        self.close()
        self.machine.drop()
        self.ready()

    def close(self):
        self.machine.umount(self.point)

    def library(self, kind):
        return f"{self.point}/data/{kind}"

    def scratch(self):
        self.ready()
        return f"{self.point}/{os.path.basename(self.next_scratch(self.lower))}"


class Btrfs(Way):
    """btrfs with zstd:1 on a loop device past the page cache of the file below."""

    name = "btrfs"

    def __init__(self, machine, data):
        super().__init__(machine, data)
        self.image, self.point = self.home + "/image", self.home + "/mnt"
        os.makedirs(self.point, exist_ok=True)
        self.filled = set()

    def missing(self):
        if not shutil.which("mkfs.btrfs"):
            return "btrfs-progs is not installed"
        return None if b"\tbtrfs\n" in procs.read("/proc/filesystems") else "the kernel has no btrfs"

    def mount(self):
        if self.machine.mounted(self.point):
            return
        if not os.path.exists(self.image):
            size = 4 * (self.data.images * 115000 + 4 * self.data.shard + 2 * self.data.lines + self.data.write) + (1 << 30)
            with open(self.image + ".new", "wb") as handle:
                handle.truncate(size)
            self.machine.run("mkfs.btrfs", "-q", self.image + ".new")
            os.rename(self.image + ".new", self.image)
        device = self.machine.run("losetup", "--find", "--show", "--direct-io=on", self.image)[1].strip()
        try:
            self.machine.run("mount", "-o", "compress=zstd:1,noatime", device, self.point)
        finally:
            self.machine.run("losetup", "-d", device)  # for good once it is unmounted

    def ready(self):
        self.mount()

    def library(self, kind):
        self.mount()
        if kind not in self.filled:
            self.machine.run("cp", "-r", self.data.path(kind), self.point, limit=180)
            self.sync()
            self.filled.add(kind)
        return f"{self.point}/{kind}"

    def cold(self):
        self.close()
        self.machine.drop()
        self.mount()

    def close(self):
        self.machine.umount(self.point)

    def scratch(self):
        self.mount()
        self.machine.run("rm", "-rf", self.point + "/scratch", limit=120)
        self.machine.run("mkdir", self.point + "/scratch")
        self.sync()
        self.before = self.used()
        return self.point + "/scratch"

    def used(self):
        return int(self.machine.run("df", "--block-size=1", "--output=used", self.point)[1].split()[1])

    def sync(self):
        self.machine.run("sync", "-f", self.point, limit=180)

    def space(self):
        self.sync()
        return self.used() - self.before


class Store:
    """One store of corpusfs with a dataset `d`, mounted read-write and, when a snapshot is named, that one beside it."""

    options = ()  # of mount

    def __init__(self, machine, program, home):
        self.machine, self.program = machine, program
        self.path, self.point, self.view = home + "/store", home + "/mnt", home + "/snapshot"
        for path in (home, self.point, self.view):
            os.makedirs(path, exist_ok=True)
        self.snapshot = None
        self.pid = None
        self.peaks = []

    def run(self, *args, **options):
        return self.machine.run(self.program, "-s", self.path, *args, **options)

    def init(self, options=()):
        self.stop()
        self.machine.remove(self.path)
        self.machine.run(self.program, "init", self.path, *options)
        self.snapshot = None

    def start(self):
        if self.pid and self.machine.mounted(self.point):
            return
        old = set(procs.marked(self.machine.mark))
        self.machine.run(self.program, "mount", self.path, self.point, *self.options)
        name = os.path.basename(self.program).encode()
        found = [pid for pid in set(procs.marked(self.machine.mark)) - old if name in procs.read(f"/proc/{pid}/comm") and not procs.is_supervisor(pid)]
        if len(found) != 1:
            raise Failed(f"one daemon is expected after mount, not {len(found)}")
        self.pid = found[0]
        if self.snapshot:
            self.machine.run(self.program, "mount", f"{self.path}:d@{self.snapshot}", self.view)

    def memory(self):
        """(VmRSS, VmHWM) of the daemon in bytes."""
        fields = dict(line.split(":", 1) for line in procs.read(f"/proc/{self.pid}/status").decode().splitlines() if ":" in line)
        return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))

    def stop(self):
        for point in (self.view, self.point):
            if self.machine.mounted(point):
                self.machine.run(self.program, "umount", point, limit=180)
        if self.pid:
            pid, self.pid = self.pid, None
            procs.poll(lambda: not procs.alive(pid), 60, f"the daemon of {self.path} ends")

    def sync(self):
        self.run("sync", limit=180)

    def wait_for_identity(self, snapshot):
        """So that nobody computes it while something is measured."""
        procs.poll(lambda: "identity" in json.loads(self.run("snapshot", "show", "--json", snapshot)[1]), 180, f"the identity of {snapshot} is known")


class Corpusfs(Way):
    """`program` is the binary. Its library is one store, filled by cp through the mount."""

    name = "corpusfs"

    def __init__(self, machine, data, program):
        super().__init__(machine, data)
        self.program = program
        self.store = Store(machine, program, self.home + "/library")
        self.fresh = Store(machine, program, self.home + "/scratch")
        self.filled = set()

    def fill(self, kind):
        if not self.filled:
            self.store.init()
        self.store.start()
        if not self.filled:
            self.machine.run("mkdir", "-p", self.store.point + "/d")
        self.machine.run("cp", "-r", self.data.path(kind), self.store.point + "/d", limit=300)
        self.filled.add(kind)
        self.store.run("snapshot", "create", f"d@{len(self.filled)}")
        self.store.wait_for_identity(f"d@{len(self.filled)}")
        self.store.stop()
        self.store.snapshot = str(len(self.filled))

    def library(self, kind):
        if kind not in self.filled:
            self.fill(kind)
        self.ready()
        return f"{self.store.point}/d/{kind}"

    def ready(self):
        self.fresh.stop()
        if self.filled:
            self.store.start()

    def cold(self):
        self.close()
        self.machine.drop()
        self.ready()

    def close(self):
        self.fresh.stop()
        self.store.stop()

    def scratch(self):
        self.close()
        self.fresh.init()
        self.empty = self.machine.space(self.fresh.path)
        self.fresh.start()
        self.machine.run("mkdir", self.fresh.point + "/d")
        self.fresh.sync()
        return self.fresh.point + "/d"

    def sync(self):
        self.fresh.sync()

    def space(self):
        self.fresh.stop()
        return self.machine.space(self.fresh.path) - self.empty

    def commands(self):
        """Names of all commands that this program has."""
        return self.machine.run(self.program, "help")[1]


class Alone(Corpusfs):
    """Without a supervisor: what was written and not committed is lost with the daemon, so it is not kept twice."""

    name = "alone"

    def __init__(self, machine, data, program):
        super().__init__(machine, data, program)
        self.fresh.options = ("-o", "nosupervise")


class Snapshot(Way):
    """The library of corpusfs, through a mount of one of its snapshots."""

    name = "snapshot"

    def __init__(self, machine, data, corpusfs):
        super().__init__(machine, data)
        self.corpusfs = corpusfs

    def library(self, kind):
        self.corpusfs.library(kind)
        return f"{self.corpusfs.store.view}/{kind}"

    def cold(self):
        self.corpusfs.cold()

    def take_fresh(self, kind):
        """Nobody has read any of it but cp. So its identity is computed while it is read."""
        root, store = self.corpusfs.scratch(), self.corpusfs.fresh
        self.machine.run("cp", "-r", self.data.path(kind), root, limit=300)
        store.run("snapshot", "create", "d@fresh")
        store.stop()
        self.machine.drop()
        store.snapshot = "fresh"
        store.start()
        return f"{store.view}/{kind}"


class Grown(Way):
    """A copy of the library of corpusfs in which nine times as many files stand beside the data."""

    name = "grown"

    def __init__(self, machine, data, corpusfs):
        super().__init__(machine, data)
        self.corpusfs = corpusfs
        self.store = Store(machine, corpusfs.program, self.home)
        self.filled = None

    def fill(self):
        for kind in ("shards", "images", "tiny"):
            self.corpusfs.library(kind)
        self.corpusfs.close()
        self.store.stop()
        self.machine.remove(self.store.path)
        self.machine.run("cp", "-r", self.corpusfs.store.path, self.store.path, limit=300)
        files = 9 * (self.data.images + self.data.tiny)
        if "\n  import " in self.corpusfs.commands():
            import_tar(self.machine, self.store, files, "more")
        else:
            self.store.start()
            self.machine.run("mkdir", self.store.point + "/more")
            self.machine.driver("fill", self.store.point + "/more/f", files, 1024, 7, limit=400)
        self.store.stop()
        self.filled = True

    def library(self, kind):
        if not self.filled:
            self.fill()
        self.store.start()
        return f"{self.store.point}/d/{kind}"

    def cold(self):
        self.close()
        self.machine.drop()
        if self.filled:
            self.store.start()

    def close(self):
        self.store.stop()


def import_tar(machine, store, files, dataset, size=1024):
    """Many small files into a store that is not mounted, from a tar that is made on the way."""
    command = '"$1" tar "$2" "$3" 7 | "$4" -s "$5" import - "$6"'
    words = [machine.driver_path, str(files), str(size), store.program, store.path, dataset]
    machine.run("bash", "-c", "set -o pipefail; " + command, "import", *words, limit=400)


class Restic(Way):
    """A repository: data gets in and out, and cannot be worked on."""

    name = "restic"

    def __init__(self, machine, data):
        super().__init__(machine, data)
        self.repository = self.home + "/repository"
        self.env = {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": self.home + "/cache", "RESTIC_REPOSITORY": self.repository}

    def missing(self):
        return None if shutil.which("restic") else "restic is not installed"

    def init(self):
        self.machine.remove(self.repository)
        self.machine.run("restic", "init", env=self.env)

    def save(self, directory, name, what=(".",)):
        return self.machine.run("restic", "backup", "--quiet", *what, cwd=directory, env=self.env, limit=300)[0]

    def restore(self, target):
        return self.machine.run("restic", "restore", "latest", "--quiet", "--target", target, env=self.env, limit=180)[0]

    def sync(self):
        self.machine.run("sync", "-f", self.home, limit=180)

    def space(self):
        return self.machine.space(self.repository)


class Borg(Restic):
    """The same, without encryption."""

    name = "borg"

    def __init__(self, machine, data):
        super().__init__(machine, data)
        self.env = {"BORG_BASE_DIR": self.home + "/base", "BORG_REPO": self.repository, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}

    def missing(self):
        return None if shutil.which("borg") else "borgbackup is not installed"

    def init(self):
        self.machine.remove(self.repository)
        self.machine.remove(self.home + "/base")
        self.machine.run("borg", "init", "--encryption=none", env=self.env)

    def save(self, directory, name, what=(".",)):
        self.last = name
        return self.machine.run("borg", "create", "::" + name, *what, cwd=directory, env=self.env, limit=300)[0]

    def restore(self, target):
        return self.machine.run("borg", "extract", "::" + self.last, cwd=target, env=self.env, limit=180)[0]
