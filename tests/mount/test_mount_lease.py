"""Mounts with a lease: this machine is the writer as long as it is mounted, and what it cannot publish any more cannot be written either."""

import json
import os
import signal
import threading

import pytest

from harness import files, posix, procs, program, succession
from harness.between import Between, Silent, serving
from harness.publishing import change, told


class Leased:
    """Dataset d of a machine, mounted with a lease."""

    def __init__(self, machine, options="lease=base", name="point", env=None, code=0):
        self.machine, self.store, self.point = machine, machine.store, f"{machine.store.path}.{name}"
        os.makedirs(self.point, exist_ok=True)
        if env:
            options = self.store.at_a_fault(options)
        self.result = machine.run("mount", f"{machine.store.path}:d", self.point, "-o", options, env=env, code=code)
        if code == 0:
            self.store.note(self.point)
        else:
            assert not os.path.ismount(self.point)

    def lease(self):
        rows = self.machine.json("status")["leases"]
        return rows[0] if rows else None

    def write(self, name="new", data=b"x"):
        return posix.outcome(files.put, f"{self.point}/{name}", data)

    def is_lost(self):
        """Waits until it is."""
        self.store.expected.append("is the writer of d no more")
        procs.poll(lambda: self.write("probe") == "EROFS", 30, "it is read-only")
        assert self.lease()["state"] == "lost"
        return self.lease()["why"]

    def umount(self):
        self.store.umount(self.point)


@pytest.fixture
def there(published, remotes, elsewhere):
    """Another machine, with the version that was published."""
    elsewhere.run("restore", "base:d", "d")
    change(elsewhere, "d", "theirs")
    return elsewhere


def takes_over(machine):
    """It becomes the writer, and publishes, as soon as the lease of the one before has ended."""
    procs.poll(lambda: machine.store.run("-s", machine.store.path, "publish", "d", "base", "--unchanged", "--lease", "600", env=machine.env).code == 0, 60,
               "the lease ends")


@pytest.mark.sanitize
@pytest.mark.timeout(180)
def test_who_mounts_with_a_lease_is_the_writer(published, remotes, there):
    mount = Leased(remotes)
    assert "in term 1" in mount.result.out
    lease = mount.lease()
    assert (lease["dataset"], lease["as"], lease["place"], lease["state"], lease["term"]) == ("d", "d", "base:", "had", 1) and 30 < lease["left_s"] <= 60
    assert "the writer of base:d" in remotes.run("status").out
    # nobody else is, nor mounts so; and who could not has nothing mounted
    told(there.publish("d", code=program.BUSY), 'the writer of "d" is', " s more")
    told(Leased(there, code=program.BUSY).result, 'the writer of "d" is', " s more")
    # what is published goes by this lease, whatever is said
    for version, options in ((2, []), (3, ["--lease", "30"])):
        assert mount.write(f"v{version}") == "ok"
        assert json.loads(remotes.publish("d", *options, "--json").out)["term"] == 1
        assert published.numbers()[-1] == version
    told(remotes.publish("d", "--release", code=program.BUSY), "is mounted")
    # as another dataset it has no lease
    assert "term" not in json.loads(remotes.publish("d", "--as", "other", "--json").out)
    mount.umount()
    assert "writer" not in remotes.versions()[-1]
    assert json.loads(there.publish("d", "--lease", "60", "--force", "--json").out)["term"] == 3


@pytest.mark.timeout(180)
def test_who_was_paused_for_longer_writes_and_publishes_nothing(published, remotes, there):
    mount = Leased(remotes, "lease=base,lease_time=5")
    assert mount.write("before", b"kept") == "ok"
    held = os.open(mount.point + "/before", os.O_RDWR)
    try:
        os.kill(mount.store.pid, signal.SIGSTOP)
        takes_over(there)
        os.kill(mount.store.pid, signal.SIGCONT)
        told(remotes.publish("d", code=program.BUSY), "no more")
        mount.is_lost()
        assert posix.outcome(os.pwrite, held, b"new", 0) == "EROFS" and posix.outcome(os.truncate, mount.point + "/before", 0) == "EROFS"
        assert files.get(mount.point + "/before") == b"kept"
    finally:
        os.close(held)
    assert "READ-ONLY" in remotes.run("status").out and "no more" in mount.store.log()
    for command in (["import", remotes.area + "/source", "d/more"], ["rollback", "d@" + remotes.json("snapshot", "list", "d")[0]["name"]]):
        told(remotes.store.run("-s", remotes.store.path, *command, env=remotes.env), "lease")
    mount.umount()
    there.publish("d", "--release")
    again = Leased(remotes)
    assert files.get(again.point + "/before") == b"kept" and again.write() == "ok"
    told(remotes.publish("d", code=program.EXISTS), "was published meanwhile")
    assert published.numbers() == [1, 2]


class Noting(Between):
    """Stands in front of etcd, and notes what replaces a head."""

    replacing = None

    def send_body(self, data):
        if b'"failure"' in self.asked:
            self.replacing.append(data)
        super().send_body(data)


@pytest.mark.timeout(180)
def test_publishing_that_was_paused_is_refused_by_the_transaction(published, remotes, there):
    """The daemon stops right before it, and goes on with it when another one has published."""
    handler = type("handler", (Noting,), {"port": published.etcd.ports()[0], "replacing": []})
    with serving(handler) as port:
        published.add("watched", f"127.0.0.1:{port}")
        mount = Leased(remotes, "lease=watched,lease_time=5", env={"CORPUSFS_FAULT": "head-before-transaction:stop"})
        mount.store.expected.append("is the writer of d no more")
        assert mount.write() == "ok"
        publishing = remotes.store.begin("-s", remotes.store.path, "publish", "d", "watched", "--unchanged", env=remotes.env)
        procs.poll(lambda: procs.has_stopped(mount.store.pid), 60, "the daemon is about to publish")
        takes_over(there)
        assert not handler.replacing
        os.kill(mount.store.pid, signal.SIGCONT)
        procs.poll(lambda: handler.replacing, 60, "it has tried")
        assert publishing.wait(60) != 0 and b"succeeded" not in handler.replacing[0]
        mount.is_lost()
        assert published.numbers() == [1, 2]
        mount.umount()


@pytest.mark.timeout(180)
def test_etcd_that_is_away_for_longer_than_the_lease(published, remotes, there):
    handler = type("handler", (Silent,), {"port": published.etcd.ports()[0]})
    with serving(handler) as port:
        published.add("watched", f"127.0.0.1:{port}")
        mount = Leased(remotes, "lease=watched:d,lease_time=5")
        assert mount.write("before", b"kept") == "ok"
        # it is renewed, for more than once as long
        begun = mount.lease()["since"]
        procs.poll(lambda: mount.write("more") == "ok" and remotes.versions()[-1]["writer"]["until"] > begun + 12, 30, "the lease is renewed")
        assert mount.lease()["term"] == 1
        handler.silence = threading.Event()
        try:
            assert "etcd" in mount.is_lost()
            assert files.get(mount.point + "/before") == b"kept"
            mount.umount()
        finally:
            handler.silence.set()
            handler.silence = None
    takes_over(there)


@pytest.mark.timeout(120)
def test_lease_that_ends_while_another_is_asked_for(published, remotes):
    """Etcd does not answer, and who mounts another dataset with a lease waits for it."""
    handler = type("handler", (Silent,), {"port": published.etcd.ports()[0]})
    with serving(handler) as port:
        published.add("watched", f"127.0.0.1:{port}")
        remotes.store.create("other")
        mount = Leased(remotes, "lease=watched,lease_time=5")
        point = remotes.area + "/other"
        os.mkdir(point)
        handler.silence = threading.Event()
        try:
            asking = remotes.store.begin("mount", remotes.store.path + ":other", point, "-o", "lease=watched", env=remotes.env)
            assert "etcd" in mount.is_lost()
            assert asking.poll() is None
        finally:
            handler.silence.set()
            handler.silence = None
        asking.wait(60)
        if os.path.ismount(point):
            remotes.store.note(point)


@pytest.mark.timeout(180)
def test_head_that_cannot_be_locked_takes_nothing_new(published, remotes, there):
    """Who locks the first one never comes to its end, and so not to the second."""
    remotes.store.create("other")
    first = Leased(remotes, "lease=base,lease_time=5", env={"CORPUSFS_FAULT": "lease-before-lock:sleep900000:3"})
    held = os.open(first.point + "/held", os.O_RDWR | os.O_CREAT)
    second = remotes.area + "/second"
    os.mkdir(second)
    try:
        remotes.run("mount", remotes.store.path + ":other", second, "-o", "lease=base,lease_time=5")
        remotes.store.note(second)
        assert first.write("before", b"kept") == "ok" and posix.outcome(files.put, second + "/before", b"kept") == "ok"
        for name in ("d", "other"):
            there.store.run("-s", there.store.path, "publish", "d", "base", "--as", name, "--release", "--force", env=there.env)
        for point in (first.point, second):
            procs.poll(lambda point=point: posix.outcome(files.put, point + "/new", b"x") == "EROFS", 30, "it is read-only")
            assert files.get(point + "/before") == b"kept" and posix.outcome(os.mkdir, point + "/dir") == "EROFS"
            assert posix.outcome(os.unlink, point + "/before") == "EROFS"
        assert posix.outcome(os.pwrite, held, b"new", 0) == "EROFS" and posix.outcome(os.fsync, held) == "ok"
        assert all(row["read_only"] for row in remotes.json("status")["leases"])
        told(remotes.store.run("-s", remotes.store.path, "import", remotes.area + "/source", "other/more", env=remotes.env), "lease")
    finally:
        os.close(held)
        remotes.store.kill()


@pytest.mark.timeout(120)
def test_lease_that_ends_while_a_publish_asks_whether_it_may(published, remotes, there):
    mount = Leased(remotes, "lease=base,lease_time=5", env={"CORPUSFS_FAULT": "lease-before-join:eio,lease-before-join:sleep900000:2"})
    assert mount.write() == "ok"
    told(remotes.publish("d", code=program.FAILED), "who may publish")
    publishing = remotes.store.begin("-s", remotes.store.path, "publish", "d", "base", env=remotes.env)
    tasks = f"/proc/{mount.store.pid}/task/"
    procs.poll(lambda: any(b"nanosleep" in procs.read(f"{tasks}{task}/wchan") for task in os.listdir(tasks)), 30, "it asks")
    there.publish("d", "--release", "--force")
    assert "over" in mount.is_lost()
    mount.store.kill()
    assert publishing.wait(60) != 0


@pytest.mark.timeout(120)
def test_lease_that_has_ended_when_its_answer_is_read(published, remotes, there):
    """It takes longer than the lease is."""
    remotes.store.create("other")
    remotes.store.mount(dataset="other", options="nosupervise", env={"CORPUSFS_FAULT": "lease-after-answer:eio,lease-after-answer:sleep7000:2"})
    told(Leased(remotes, code=program.FAILED).result, "who may publish")
    mount = Leased(remotes, "lease=base,lease_time=5", code=program.BUSY)
    told(mount.result, "had ended when etcd's answer came", "mount it again")
    procs.poll(lambda: not mount.lease(), 30, "nothing is known of it")
    change(remotes, "d", "more")
    mount = Leased(remotes, "lease=base,lease_time=5")
    assert mount.write() == "ok" and mount.lease()["term"] == 3


@pytest.mark.timeout(120)
def test_lease_that_is_taken_away(published, remotes, there):
    mount = Leased(remotes, "lease=base,lease_time=6")
    there.publish("d", "--release", "--force")
    assert "term, 1, is over" in mount.is_lost()


@pytest.mark.timeout(120)
def test_daemon_that_goes_on_for_another_has_no_lease(published, remotes, there):
    succession.needed()
    mount = Leased(remotes)
    assert mount.write("before", b"kept") == "ok"
    told(remotes.run("restart", code=program.UNSUPPORTED), "lease", "unmount")
    mount.store.expected += [" died ", "another daemon goes on"]
    os.kill(mount.store.pid, signal.SIGKILL)
    procs.poll(lambda: mount.write("probe") == "EROFS", 60, "it is read-only")
    mount.store.find_daemon()
    assert mount.lease()["state"] == "none" and "another daemon goes on" in remotes.run("status").out
    assert files.get(mount.point + "/before") == b"kept"
    mount.umount()
    # it is this machine's lease still
    assert Leased(remotes).lease()["term"] == 2


@pytest.mark.timeout(120)
def test_daemon_that_goes_on_and_cannot_lock_the_head_at_once(published, remotes, there):
    """Each daemon cannot do so the first time."""
    succession.needed()
    remotes.store.create("other")
    remotes.store.mount(dataset="other", options="supervise", env={"CORPUSFS_FAULT": "lease-before-lock:enospc"})
    remotes.store.expected.append("cannot be made read-only")
    told(Leased(remotes, code=program.NO_SPACE).result, "cannot be made read-only")
    mount = Leased(remotes)
    assert mount.write("before", b"kept") == "ok"
    succession.kill(remotes.store)
    procs.poll(lambda: mount.write("probe") == "EROFS", 60, "it is read-only")
    assert mount.lease()["state"] == "none" and mount.lease()["read_only"] and "READ-ONLY" in remotes.run("status").out
    assert "cannot be made read-only" in mount.store.log()


@pytest.mark.timeout(120)
def test_head_that_cannot_be_unlocked_at_once_is_later(published, remotes, there):
    """When the mount is gone, while another one keeps the daemon."""
    remotes.store.create("other")
    remotes.store.mount(dataset="other", options="nosupervise", env={"CORPUSFS_FAULT": "lease-before-unlock:enospc:2"})
    remotes.store.expected.append("cannot be made writable")
    mount = Leased(remotes, "lease=base,lease_time=6")
    there.publish("d", "--release", "--force")
    mount.is_lost()
    mount.umount()
    assert "cannot be made writable" in mount.store.log()
    procs.poll(lambda: not mount.lease(), 30, "nothing is known of it")
    change(remotes, "d", "more")


@pytest.mark.timeout(120)
def test_places_of_one_mount_share_the_lease(published, remotes):
    plain = Leased(remotes, "rw", name="plain")
    told(Leased(remotes, code=program.BUSY).result, "without a lease")
    plain.umount()
    first, second = Leased(remotes), Leased(remotes, name="second")
    Leased(remotes, "rw", name="third")
    first.umount()
    assert second.write() == "ok" and second.lease()["state"] == "had"


@pytest.mark.timeout(120)
def test_place_that_was_bound_without_the_option_keeps_the_lease(published, remotes, there):
    """When the one that was mounted with it is unmounted."""
    first, second = Leased(remotes, "lease=base,lease_time=6"), Leased(remotes, "rw", name="second")
    first.umount()
    assert second.lease()["state"] == "had"
    told(there.publish("d", code=program.BUSY), 'the writer of "d" is')
    # the thread that looks after the lease has looked, and renewed it
    begun = second.lease()["since"]
    procs.poll(lambda: remotes.versions()[-1]["writer"]["until"] > begun + 9, 30, "the lease is renewed")
    assert second.write() == "ok" and second.lease()["state"] == "had"
    third = Leased(remotes, "rw", name="third")
    there.publish("d", "--release", "--force")
    third.is_lost()
    second.umount()
    assert third.lease()["state"] == "lost" and third.write() == "EROFS"
    told(remotes.run("restart", code=program.UNSUPPORTED), "lease" if succession.possible() else "supervisor")
    third.umount()


@pytest.mark.timeout(120)
def test_umount_by_others_gives_the_lease_up(published, remotes, elsewhere):
    """While another mount keeps the daemon. The dataset is as any other then."""
    remotes.store.create("other")
    remotes.store.mount(dataset="other")
    mount = Leased(remotes, "lease=base:e,lease_time=600")
    procs.detach(mount.point)
    mount.store.points.remove(mount.point)
    procs.poll(lambda: not any("/writers/" in key for key in published.etcd.keys()), 30, "the lease is given up")
    procs.poll(lambda: not mount.lease(), 30, "nothing is known of it")
    change(remotes, "d", "more")


def test_what_cannot_have_a_lease(published, remotes, rest, area):
    point = area + "/empty"
    os.mkdir(point)
    for source, options, says in (
        ("", "lease=base", "one dataset"), (":d", "ro,lease=base", "read-only"), (":d", "lease=base,lease_time=4", "lease_time=4"),
        (":d", "lease_time=60", "without lease"), (":d", "lease=base:a/b", "a/b"), (":d", "lease=", "lease"),
    ):
        told(remotes.run("mount", remotes.store.path + source, point, "-o", options, code=program.USAGE), says)
    told(remotes.run("mount", remotes.store.path + ":d", point, "-f", "-o", "lease=base", code=program.USAGE), "-f")
    told(remotes.run("mount", remotes.store.path + ":d", point, "-o", "lease=none", code=program.NOT_FOUND), 'no remote "none"')
    told(remotes.run("mount", "base:d", point, "-o", "lease=base", code=program.USAGE), "lease")
    # etcd says who has one
    remotes.add("plain", rest.url("other"), "--single-writer")
    remotes.run("backup", "init", "plain:")
    told(remotes.run("mount", remotes.store.path + ":d", point, "-o", "lease=plain", code=program.UNSUPPORTED), "etcd")
    assert not os.path.ismount(point)
    procs.poll(lambda: not remotes.store.daemons(), 30, "nothing is left of it")
