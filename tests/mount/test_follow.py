"""Mounts that follow a published dataset: they move to each new version at one instant, whatever was looked at before, and stay while the place is away."""

import os
import re
import threading
import urllib.parse

import pytest

from harness import files, posix, procs, program
from harness.between import Between, Silent, serving
from harness.publishing import change, same, told


@pytest.fixture
def point(area):
    os.mkdir(area + "/point")
    return area + "/point"


class Following:
    """A mount that follows d."""

    def __init__(self, remotes, point, options="", remote="base", fault=None):
        self.remotes, self.point, self.log = remotes, point, point + ".log"
        env = {"CORPUSFS_FAULT": fault} if fault else None
        remotes.run("backup", "mount", f"{remote}:d", point, "--log", self.log, "-o", "follow" + options, env=env)

    def status(self):
        return self.remotes.json("status", self.point)

    def shows(self, number):
        procs.poll(lambda: self.status()["version"] == number, 60, f"the mount shows version {number}")

    def problem(self):
        procs.poll(lambda: "follow_problem" in self.status(), 60, "the mount knows that something is wrong")
        return self.status()["follow_problem"]

    def umount(self):
        """Its process has ended when this returns, whatever the place does."""
        assert "has not ended" not in self.remotes.run("umount", self.point).out


@pytest.fixture
def following(remotes, point):
    made = []

    def mount(*args, **options):
        made.append(Following(remotes, point, *args, **options))
        return made[-1]

    yield mount
    if os.path.ismount(point):
        made[-1].umount()


def publish_tree(remotes, area, number, names):
    """Version `number` of d: each file, wherever it is, has the number in it."""
    root = f"{area}/tree{number}"
    for name in names:
        os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
        files.put(f"{root}/{name}", b"%d" % number)
    remotes.run("import", root, f"t{number}")
    remotes.publish(f"t{number}", "--as", "d", "--force", *(["--init"] if number == 1 else []))


@pytest.fixture
def numbered(remotes, rest, area):
    """A function that publishes a version of d with these files."""
    remotes.add("base", rest.url("r"), "--single-writer")
    return lambda number, names: publish_tree(remotes, area, number, names)


@pytest.mark.sanitize
def test_moves_with_all_that_is_remembered(numbered, following, point):
    numbered(1, ["stays", "goes", "sub/stays", "sub/goes", "becomes/dir"])
    mount = following()
    # the kernel remembers names, that there are none, attributes, lists and content
    assert sorted(os.listdir(point)) == ["becomes", "goes", "stays", "sub"] and not os.path.exists(point + "/comes")
    assert files.get(point + "/stays") == files.get(point + "/sub/stays") == b"1"
    held, inside = os.open(point + "/stays", os.O_RDONLY), os.open(point + "/sub", os.O_RDONLY)
    before = os.stat(point + "/stays").st_ino
    try:
        numbered(2, ["stays", "comes", "sub/stays", "sub/comes", "becomes"])
        mount.shows(2)
        assert sorted(os.listdir(point)) == ["becomes", "comes", "stays", "sub"] and not os.path.exists(point + "/goes")
        assert files.get(point + "/comes") == files.get(point + "/stays") == files.get(point + "/sub/stays") == files.get(point + "/becomes") == b"2"
        assert os.stat(point + "/stays").st_ino != before
        # who has something open, or stands in it, has the version of then
        assert os.pread(held, 10, 0) == b"1" and sorted(os.listdir(inside)) == ["goes", "stays"]
        for name in ("stays", "goes"):
            fd = os.open(name, os.O_RDONLY, dir_fd=inside)
            assert os.read(fd, 10) == b"1"
            os.close(fd)
        with pytest.raises(FileNotFoundError):
            os.stat("comes", dir_fd=inside)
    finally:
        os.close(held)
        os.close(inside)
    assert b"moved version=2" in procs.read(mount.log)


def test_attributes_of_the_root_are_those_of_the_version(numbered, remotes, following, point, area):
    numbered(1, ["one"])
    mount = following()
    assert os.stat(point).st_mode & 0o777 == 0o755 and posix.outcome(os.getxattr, point, "user.kind") == "ENODATA"
    os.makedirs(area + "/tree2")
    os.setxattr(area + "/tree2", "user.kind", b"second")
    os.chmod(area + "/tree2", 0o750)
    remotes.run("import", area + "/tree2", "t2")
    remotes.publish("t2", "--as", "d", "--force")
    mount.shows(2)
    assert os.stat(point).st_mode & 0o777 == 0o750 and os.getxattr(point, "user.kind") == b"second" and os.listdir(point) == []


class Reader(threading.Thread):
    """Reads files of the root, one after another, each of which says of which version it is: none may be older than what anybody has read before."""

    def __init__(self, point, names, seen):
        super().__init__()
        self.point, self.names, self.seen, self.wrong, self.ends, self.count = point, names, seen, [], False, 0

    def run(self):
        while not self.ends:
            for name in self.names:
                before = self.seen[0]
                try:
                    found = int(files.get(f"{self.point}/{name}"))
                except OSError as error:
                    self.wrong.append(str(error))
                    return
                self.count += 1
                if found < before:
                    self.wrong.append(f"{name} of version {found} after one of version {before}")
                self.seen[0] = max(self.seen[0], found)


@pytest.mark.timeout(180)
def test_readers_see_one_instant(numbered, following, point):
    names = [f"file{number:03}" for number in range(300)] + [f"dir{number}/file" for number in range(20)]
    numbered(1, names)
    # with half of the names dropped, the first move stops for a while
    mount = following(fault="follow-between-names:sleep1500")
    seen = [1]
    readers = [Reader(point, names[start:] + names[:start], seen) for start in (0, 100, 200, 310)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, 6):
            numbered(number, names)
            mount.shows(number)
            procs.poll(lambda wanted=number: seen[0] == wanted or any(reader.wrong for reader in readers), 60, "somebody has read of the new version")
    finally:
        for reader in readers:
            reader.ends = True
        for reader in readers:
            reader.join()
    assert not any(reader.wrong for reader in readers) and all(reader.count > 1000 for reader in readers)


def test_what_the_kernel_cannot_be_told(numbered, remotes, following, point):
    """Nothing has moved then, and it is tried again."""
    numbered(1, ["stays"])
    remotes.store.expected.append("the kernel cannot be told")
    mount = following(fault="follow-between-names:eio")
    assert files.get(point + "/stays") == b"1"
    numbered(2, ["stays"])
    mount.shows(2)
    assert files.get(point + "/stays") == b"2"
    procs.poll(lambda: b"moved version=2" in procs.read(mount.log), 10, "it is noted that the mount has moved")
    log = procs.read(mount.log)
    assert log.index(b"version 1 stays, and no newer one is shown: the kernel cannot be told") < log.index(b"moved version=2")


@pytest.mark.timeout(120)
def test_place_that_is_away(served, remotes, following, point, source, area):
    mount = following(f",cache={area}/cached,timeout=5")
    same(source, point)
    served.stop()
    assert mount.problem() and mount.status()["version"] == 1
    asked = mount.status()["newest_asked"]
    same(source, point)
    assert "whether there is a newer one is not known" in remotes.run("status", point).out
    served.start()
    change(remotes, "d", "more")
    remotes.publish("d")
    mount.shows(2)
    procs.poll(lambda: "follow_problem" not in mount.status(), 30, "all is well again")
    assert mount.status()["newest_asked"] > asked and os.path.getsize(point + "/more/file") == 200000
    # what was followed is what a cache knows when the place is away
    mount.umount()
    served.stop()
    later = following(f",cache={area}/cached,timeout=1")
    assert later.status()["version"] == 2 and os.listdir(point + "/more") == ["file"]
    later.umount()
    served.start()


class Asked(Silent):
    """Notes what etcd is asked, and lets it be silent."""

    questions = None

    def send_body(self, data):
        self.questions.append(self.asked)
        super().send_body(data)


@pytest.fixture
def watched(published):
    """The remote "watched" is "base", with what stands in front of etcd."""
    handler = type("handler", (Asked,), {"port": published.etcd.ports()[0], "questions": []})
    with serving(handler) as port:
        published.add("watched", f"127.0.0.1:{port}")
        yield handler


@pytest.mark.timeout(120)
def test_etcd_is_asked_for_one_key(watched, remotes, following):
    remotes.publish("d", "--as", "other")
    mount = following(remote="watched")
    watched.questions.clear()
    change(remotes, "d", "more")
    remotes.publish("d")
    mount.shows(2)
    assert watched.questions and not any(b"range_end" in question for question in watched.questions)


class Listed(Between):
    """Passes on what S3 is asked, and notes of which keys it is asked for lists."""

    passes_on, prefixes, is_away = None, None, False

    def do_GET(self):
        if self.is_away:
            self.close_connection = True
            return
        wanted = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self.prefixes.extend(wanted.get("prefix", []))
        super().do_GET()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET


@pytest.mark.timeout(180)
def test_s3_is_asked_for_the_heads_of_one_dataset(remotes, s3, following, point, area):
    named = "--credentials-file", remotes.write("credentials", "aws_access_key_id = testkey\naws_secret_access_key = testsecret\n")
    remotes.add("base", s3.url("some/where"), *named)
    publish_tree(remotes, area, 1, ["stays", "goes"])
    for name in ("other", "one-more"):
        remotes.publish("t1", "--as", name)
    handler = type("handler", (Listed,), {"port": s3.port, "prefixes": []})
    with serving(handler) as port:
        remotes.add("watched", s3.url("some/where").replace(str(s3.port), str(port)), *named)
        mount = following(remote="watched")
        assert sorted(os.listdir(point)) == ["goes", "stays"]
        handler.prefixes.clear()
        publish_tree(remotes, area, 2, ["stays", "comes"])
        # more of other datasets moves nobody
        remotes.publish("t2", "--as", "other", "--force")
        mount.shows(2)
        assert sorted(os.listdir(point)) == ["comes", "stays"] and files.get(point + "/stays") == b"2"
        of_heads = {prefix for prefix in handler.prefixes if "/heads/" in prefix}
        assert len(of_heads) == 1 and re.fullmatch("some/where/heads/[0-9a-f]{48}", of_heads.pop()), handler.prefixes
        # it is away for a while
        handler.is_away = True
        assert mount.problem() and mount.status()["version"] == 2
        handler.is_away = False
        publish_tree(remotes, area, 3, ["stays"])
        mount.shows(3)
        mount.umount()


@pytest.mark.timeout(120)
def test_umount_while_etcd_is_silent(watched, following, source, point):
    mount = following(remote="watched")
    watched.silence = threading.Event()
    try:
        assert "etcd does not answer" in mount.problem()
        same(source, point)
        mount.umount()
    finally:
        watched.silence.set()


@pytest.mark.timeout(120)
def test_member_of_etcd_that_is_silent(watched, published, remotes, following):
    """Another one is asked."""
    with serving(type("silent", (Asked,), {"questions": [], "silence": threading.Event()})) as port:
        published.add("half", f"127.0.0.1:{port},{published.etcd.endpoints()}")
        mount = following(remote="half")
        change(remotes, "d", "more")
        remotes.publish("d")
        mount.shows(2)
        mount.umount()


@pytest.mark.timeout(120)
def test_version_that_is_damaged_is_not_shown(served, remotes, following, point):
    mount = following()
    folder = served.directory + "/r/heads"
    name = os.listdir(folder)[0]
    files.put(f"{folder}/{name[:-1]}2", b"junk")
    assert "version 2" in mount.problem() and "damaged" in mount.problem()
    remotes.publish("d", "--force")
    mount.shows(3)
    # an old one in another's place
    files.put(f"{folder}/{name[:-1]}4", files.get(f"{folder}/{name[:-1]}3"))
    assert "version 4" in mount.problem() and os.listdir(point)


def test_what_cannot_be_followed(served, remotes, point, area):
    name = remotes.versions()[0]["name"]
    told(remotes.run("mount", f"base:d@{name}", point, "-o", "follow", code=program.USAGE), "stays what it is")
    told(remotes.run("backup", "mount", "base:", point, "-o", "follow", code=program.USAGE), "only what was published")
    told(remotes.run("warm", "base:d", "-o", f"follow,cache={area}/cached", code=program.USAGE), "mounts only")
    told(remotes.run("mount", remotes.store.path + ":d", point, "-o", "follow", code=program.USAGE), "remotes only")


def test_list_that_was_begun_is_of_one_version(numbered, following, point):
    names = [f"name{number:05}" for number in range(5000)]
    numbered(1, names)
    mount = following()
    with os.scandir(point) as entries:
        found = [next(entries).name]
        numbered(2, ["other"])
        mount.shows(2)
        found += [entry.name for entry in entries]
    assert sorted(found) == names and os.listdir(point) == ["other"]
