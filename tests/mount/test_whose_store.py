"""Whose a store is, and who may do what with it: links and files that somebody else put there, root, owners, strangers."""

import errno
import json
import os
import shutil
import socket
import stat
import struct
import threading

import pytest

from harness import posix, procs, program, tars

NOBODY = 65534
STRANGER = 12345


def refused(result, code):
    assert result.code == code, result
    assert len(result.err.splitlines()) == 1, result.err
    return result.err


@pytest.fixture
def theirs(device, blank, area):
    """A store that user nobody owns, in a directory of nobody's."""
    home = area + "/home"
    os.mkdir(home)
    os.chown(home, NOBODY, NOBODY)
    blank.path = home + "/store"
    blank.binary = shutil.copy(blank.binary, area + "/corpusfs")
    os.chmod(blank.binary, 0o755)
    blank.init(user=NOBODY)
    return blank


@pytest.fixture
def victim(area):
    """Files of root's in a directory of root's, and a function that says whether they are as they were."""
    place = area + "/victim"
    os.mkdir(place)
    for name in ("one", "two"):
        with open(f"{place}/{name}", "w", encoding="ascii") as handle:
            handle.write(name)
    os.chmod(place + "/one", 0o600)

    def state():
        found = os.lstat(place + "/one")
        contents = {name: open(f"{place}/{name}", encoding="ascii").read() for name in os.listdir(place)}
        return contents, stat.S_IMODE(found.st_mode), found.st_uid, os.lstat(place).st_uid

    before = state()
    return place, lambda: state() == before


def replace(path, target):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


PLACES = {  # what is replaced by a link -> the victim's directory, or a file in it
    "ingest": "", "db": "", "db.opening": "", "lock": "/one", "log": "/one", "socket": "/one", "ballast": "/one", "corpusfs": "/one",
    "corpusfs.tmp": "/one", "damaged": "/one", "owner.free": "/one", "unfinished": "/one",
    "db/CURRENT": "/one", "db/LOG": "/one", "db/LOCK": "/one", "db/IDENTITY": "/one", "db/000099.sst": "/one",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_link_in_a_store_is_not_followed(store, victim, place):
    """Here the store is root's own, so that only the way in which its files are opened stands between the link and its target."""
    store.create("d")
    target, untouched = victim
    replace(f"{store.path}/{place}", target + PLACES[place])
    point = store.area + "/mnt"
    os.mkdir(point)
    store.run("-s", store.path, "status")
    if store.run("mount", store.path, point).code == 0:
        store.note(point)
        os.mkdir(point + "/made")
        store.umount()
    assert untouched(), place


@pytest.mark.parametrize("place", ["ingest", "lock", "corpusfs", "db"])
def test_the_link_is_named(store, victim, place):
    replace(f"{store.path}/{place}", victim[0] + PLACES[place])
    assert place in refused(store.run("-s", store.path, "status"), program.DAMAGED)


@pytest.mark.parametrize("place", ["lock", "corpusfs", "log", "db/CURRENT"])
def test_a_fifo_in_a_store_is_not_waited_for(store, place):
    path = f"{store.path}/{place}"
    if os.path.exists(path):
        os.unlink(path)
    os.mkfifo(path)
    os.mkdir(store.area + "/mnt")
    refused(store.run("mount", store.path, store.area + "/mnt", limit=20), program.DAMAGED)
    os.unlink(path)


def test_init_follows_no_link(blank, victim):
    target, untouched = victim
    for place in ("unfinished", "ingest", "db", "lock", "corpusfs.tmp"):
        os.mkdir(blank.path)
        open(blank.path + "/unfinished", "wb").close()
        replace(f"{blank.path}/{place}", target + PLACES.get(place, "/one"))
        blank.run("init", blank.path)
        assert untouched(), place
        shutil.rmtree(blank.path)


def commands_of_root(store):
    point = store.area + "/mnt"
    os.makedirs(point, exist_ok=True)
    return ["mount", store.path, point], ["-s", store.path, "status"], ["-s", store.path, "dataset", "create", "x"], ["-s", store.path, "gc"]


def test_root_refuses_a_store_that_others_can_write(theirs, victim):
    target, untouched = victim
    replace(theirs.path + "/ingest", target)
    replace(theirs.path + "/lock", target + "/one")
    for command in commands_of_root(theirs):
        text = refused(theirs.run(*command), program.PERMISSION)
        assert str(NOBODY) in text and "--as-owner" in text
    assert untouched() and not theirs.daemons()


@pytest.mark.parametrize("what", ["group", "all", "above", "database", "file"])
def test_root_refuses_what_others_can_replace(store, what):
    if what == "group":
        os.chmod(store.path, 0o770)
    elif what == "all":
        os.chmod(store.path, 0o707)
    elif what == "above":
        os.chown(store.area, NOBODY, NOBODY)
    elif what == "database":
        os.chmod(store.path + "/db", 0o777)
    elif what == "file":
        os.chown(store.path + "/db/CURRENT", NOBODY, NOBODY)
    refused(store.run("-s", store.path, "status"), program.PERMISSION)


def test_root_makes_no_store_where_others_can_write(theirs):
    target = os.path.dirname(theirs.path) + "/new"
    refused(theirs.run("init", target), program.PERMISSION)
    assert not os.path.exists(target)
    theirs.ok("--as-owner", "init", target)
    assert {os.lstat(os.path.join(where, name)).st_uid for where, dirs, names in os.walk(target) for name in dirs + names} == {NOBODY}


def test_root_acts_as_the_owner_when_told_to(theirs):
    theirs.ok("-s", theirs.path, "--as-owner", "dataset", "create", "d")
    assert "d" in theirs.ok("--as-owner", "-s", theirs.path, "dataset", "list")
    assert os.lstat(theirs.path + "/lock").st_uid == NOBODY
    assert theirs.run("-s", theirs.path, "--as-owner", "status", user=STRANGER).code == program.PERMISSION


def mount_as_owner(store, point, options="as_owner"):
    os.makedirs(point, exist_ok=True)
    os.chown(point, NOBODY, NOBODY)
    store.ok("mount", store.path, point, "-o", options)
    store.note(point)


def test_root_s_mount_as_the_owner_is_the_owner_s(theirs, victim):
    """The daemon has the owner's rights and no others, so what the owner puts into the store harms the owner alone."""
    target, untouched = victim
    replace(theirs.path + "/log", target + "/one")
    assert theirs.run("mount", theirs.path, theirs.path + "/../mnt", "-o", "as_owner").code != program.OK
    os.unlink(theirs.path + "/log")
    point = os.path.dirname(theirs.path) + "/mnt"
    mount_as_owner(theirs, point)
    status = procs.read(f"/proc/{theirs.pid}/status").decode()
    for line in ("Uid", "Gid"):
        assert f"{line}:" + f"\t{NOBODY}" * 4 in status
    assert "CapEff:\t0000000000000000" in status
    assert untouched()


CAPABILITY = (b"\1\0\0\2" + b"\xff\xff\xff\xff\0\0\0\0" * 2).decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_what_only_root_may_set_does_not_come_in_by_the_owner_s_archive(theirs, mounted):
    """Neither by root as the owner nor by the owner, whoever has mounted the store."""
    home = os.path.dirname(theirs.path)
    tars.write(home + "/a.tar", [tars.Member("tool", mode=0o6755, **{"SCHILY.xattr.security.capability": CAPABILITY, "SCHILY.xattr.user.note": "kept",
                                                                     "SCHILY.xattr.trusted.overlay.opaque": "y"})])
    if mounted:
        mount_as_owner(theirs, home + "/mnt")
    theirs.ok("-s", theirs.path, "import", home + "/a.tar", "d", user=NOBODY)
    theirs.ok("-s", theirs.path, "--as-owner", "import", home + "/a.tar", "e")
    if not mounted:
        mount_as_owner(theirs, home + "/mnt")
    for dataset in ("d", "e"):
        look = f"import os; path = '{home}/mnt/{dataset}/tool'; print(os.listxattr(path), os.stat(path).st_uid, os.stat(path).st_gid)"
        told = program.call(["/usr/bin/python3", "-c", look], os.environ, theirs.logs, user=NOBODY)
        assert told.out.strip() == f"['user.note'] {NOBODY} {NOBODY}", told


def test_where_the_owner_may_not_mount_it_is_said_why(theirs):
    point = theirs.area + "/mnt"
    os.mkdir(point)
    result = theirs.run("mount", "--as-owner", theirs.path, point)
    assert result.code == program.PERMISSION and f"chown {NOBODY} {point}" in result.err, result
    os.chown(point, NOBODY, NOBODY)
    with open("/etc/fuse.conf", encoding="ascii") as lines:
        if any(line.strip() == "user_allow_other" for line in lines):
            pytest.skip("/etc/fuse.conf allows allow_other")
    result = theirs.run("mount", "--as-owner", theirs.path, point, "-o", "allow_other")
    assert result.code == program.PERMISSION and "user_allow_other" in result.err and "chown" not in result.err, result


class ClaimsToBeRoots:
    """A FUSE filesystem that a user has mounted for everybody. Its directory has a file of any name, and all belongs to root, as it says."""

    HEADER = struct.Struct("=IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, padding
    LOOKUP, GETATTR, STATFS, INIT, OPENDIR = 1, 3, 17, 26, 27

    def __init__(self, point, source):
        self.point, self.fd = point, os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fd},rootmode=40000,user_id={NOBODY},group_id={NOBODY},allow_other".encode()
        posix.check(posix.LIBC.mount(source, os.fsencode(point), b"fuse", 6, options))  # MS_NOSUID | MS_NODEV, as fusermount3
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def attributes(node):
        mode = stat.S_IFDIR | 0o755 if node == 1 else stat.S_IFREG | 0o644
        return struct.pack("=6Q3I7I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)  # mode, links, uid, gid, ...

    def answer(self, opcode, node):
        if opcode == self.INIT:
            return struct.pack("=4I48x", 7, 31, 0, 0)
        if opcode == self.GETATTR:
            return struct.pack("=QII", 0, 0, 0) + self.attributes(node)
        if opcode == self.LOOKUP:
            return struct.pack("=4Q2I", 2, 0, 0, 0, 0, 0) + self.attributes(2)
        return {self.STATFS: bytes(80), self.OPENDIR: bytes(16)}.get(opcode)

    def serve(self):
        while True:
            try:
                _, opcode, unique, node, *_ = self.HEADER.unpack(os.read(self.fd, 1 << 20)[: self.HEADER.size])
                body = self.answer(opcode, node)
                os.write(self.fd, struct.pack("=IiQ", 16 + len(body or b""), 0 if body is not None else -errno.ENOENT, unique) + (body or b""))
            except OSError:
                return

    def close(self):
        procs.detach(self.point)
        os.close(self.fd)


@pytest.mark.parametrize("source", [b"theirs", b"user_id=0", b"x,user_id=0"])  # mountinfo has it beside what the kernel says
def test_root_believes_no_filesystem_of_a_user_that_says_whose_its_files_are(store, area, source):
    point = area + "/theirs"
    os.mkdir(point)
    theirs = ClaimsToBeRoots(point, source)
    try:
        for command in (["-s", point, "status"], ["mount", point, area + "/mnt"], ["init", point]):
            assert f"user {NOBODY} has mounted" in refused(store.run(*command, limit=20), program.PERMISSION), command
    finally:
        theirs.close()


def ask(store, request):
    """One request over the control socket, as the user that the socket belongs to would write it by hand."""
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(store.path + "/socket")
        lines = one.makefile("rw")
        assert "hello" in json.loads(lines.readline())
        lines.write(json.dumps(request) + "\n")
        lines.flush()
        return json.loads(lines.readline())


def test_the_owner_s_daemon_mounts_only_where_the_owner_may(theirs, victim):
    home = os.path.dirname(theirs.path)
    mount_as_owner(theirs, home + "/mnt")
    for name in ("private", "private/place"):
        os.mkdir(f"{theirs.area}/{name}", 0o700)
    with posix.as_user(NOBODY):
        for place in (theirs.area + "/private/place", victim[0], "/usr"):
            answer = ask(theirs, {"op": "mount.start", "args": {"mountpoint": place, "read_only": True, "extra": "suid,dev"}})
            assert "error" in answer, answer
            assert not procs.fuse_mounts(place)
        os.mkdir(home + "/second")
        assert "result" in ask(theirs, {"op": "mount.start", "args": {"mountpoint": home + "/second", "read_only": True, "extra": "suid,dev"}})
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        options = next(line.split()[5].split(",") for line in lines if line.split()[4] == home + "/second")
    assert {"nosuid", "nodev"} <= set(options)
    theirs.points.insert(0, home + "/second")


def test_root_s_daemon_talks_to_root_only(store):
    """Also when the directory changes hands under it: what the daemon may, whoever talks to it may."""
    store.mount()
    os.chmod(store.area, 0o755)
    os.chown(store.path, NOBODY, NOBODY)
    os.chown(store.path + "/socket", NOBODY, NOBODY)
    with posix.as_user(NOBODY):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(store.path + "/socket")
            assert json.loads(one.makefile("r").readline())["error"]["code"] == "EACCES"
    os.chown(store.path, 0, 0)


def test_a_stranger_s_socket_is_not_believed(store, device):
    """Who can put a socket there could tell a command that everything is on disk."""
    os.chmod(store.area, 0o755)
    place = store.area + "/elsewhere"
    os.mkdir(place)
    os.chown(place, STRANGER, STRANGER)
    listener = socket.socket(socket.AF_UNIX)
    with posix.as_user(STRANGER):
        listener.bind(place + "/socket")
        listener.listen()
    os.link(place + "/socket", store.path + "/socket")
    refused(store.run("-s", store.path, "status"), program.PERMISSION)
    os.unlink(store.path + "/socket")
    os.symlink(place + "/socket", store.path + "/socket")
    store.ok("-s", store.path, "status")
    listener.close()
