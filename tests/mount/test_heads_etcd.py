"""What is the newest version of a dataset, where etcd says so: whoever publishes at once, whatever dies, and whoever does not ask it."""

import json
import os
import shutil
import subprocess
import threading
import urllib.request

import pytest

from harness import files, procs, program
from harness.between import Between, serving
from harness.publishing import Agreed, at_once, change, life, mounted, same, told
from harness.repository import restic, restic_check
from harness.servers import Etcd

KILLED = -9


@pytest.mark.sanitize
@pytest.mark.timeout(180)
def test_life(agreed, remotes, elsewhere, source, area):
    life(remotes, elsewhere, agreed.url, area, source)
    keys = agreed.etcd.keys()
    assert sorted(key.split("/")[2] for key in keys) == ["heads", "heads", "made"] and len({key.split("/")[1] for key in keys}) == 1
    # nobody learns from etcd what datasets are called, or who publishes them
    told = b"".join(keys.values())
    assert b"mine" not in told and b"published" not in told and b"backup" not in told
    assert len(agreed.copies()) == 4


@pytest.mark.timeout(180)
def test_of_several_at_once_one_publishes(agreed, remotes, area):
    remotes.run("backup", "init", "base:")
    at_once(remotes, agreed.url, area, "fresh")
    assert agreed.copies() == [row.split(b"\n")[0].decode() for key, row in agreed.etcd.keys().items() if "/heads/" in key]


def test_test_tells_what_etcd_does(published, remotes):
    result = remotes.json("remote", "test", "base")
    assert result["writes"] and not result["conditional"] and result["leases"]
    assert (result["etcd"]["members"], result["etcd"]["answering"], result["etcd"]["writes"]) == (3, 3, True)
    published.etcd.kill((published.etcd.leader() + 1) % 3)
    told = remotes.run("remote", "test", "base").out
    assert "2 of 3" in told and "lets a single one through" in told and "etcd gives the lease of a writer" in told
    assert published.etcd.endpoints() in remotes.run("remote", "show", "base").out


class Writer(threading.Thread):
    """A machine that publishes again and again, whatever others publish."""

    def __init__(self, machine, tree, number):
        super().__init__()
        self.machine, self.tree, self.number, self.done, self.failures, self.ends = machine, tree, number, [], [], False

    def run(self):
        count = 0
        while not self.ends:
            count += 1
            name = f"w{self.number}-{count}"
            os.mkdir(f"{self.tree}/{name}")
            files.put(f"{self.tree}/{name}/file", os.urandom(1000))
            for args in (["import", f"{self.tree}/{name}", f"d/{name}"], ["snapshot", "create", f"d@{name}"]):
                self.machine.store.ok("-s", self.machine.store.path, *args)
            result = self.machine.store.run("-s", self.machine.store.path, "publish", f"d@{name}", "base", "--force", "--json", env=self.machine.env)
            if result.code == 0:
                self.done.append((json.loads(result.out)["number"], name))
            else:
                self.failures.append((result.code, result.err))


@pytest.mark.timeout(300)
def test_leader_dies_under_two_who_publish(published, remotes, elsewhere, area):
    """Each publish that was acknowledged is there, under its number, and no number was given twice."""
    etcd = published.etcd
    elsewhere.run("restore", "base:d", "d")
    writers = []
    for number, machine in enumerate((remotes, elsewhere)):
        os.mkdir(f"{area}/tree{number}")
        writers.append(Writer(machine, f"{area}/tree{number}", number))
    for writer in writers:
        writer.start()
    try:
        for count in range(2, 8, 2):
            procs.poll(lambda wanted=count: min(len(writer.done) for writer in writers) >= wanted or not all(w.is_alive() for w in writers), 100,
                       "both publish", 0.05)
            if count < 6:
                leader = etcd.leader()
                etcd.kill(leader)
                etcd.leader()
                etcd.again(leader)
    finally:
        for writer in writers:
            writer.ends = True
        for writer in writers:
            writer.join()
    assert all(len(writer.done) >= 6 for writer in writers)
    # who loses against the other is told, and who waits too long for another leader; nothing else fails
    assert all(code == program.EXISTS or "etcd does not answer" in err for writer in writers for code, err in writer.failures), \
        [writer.failures for writer in writers]
    acknowledged = dict(entry for writer in writers for entry in writer.done)
    assert len(acknowledged) == sum(len(writer.done) for writer in writers)
    versions = {row["number"]: row["name"] for row in remotes.versions()}
    assert all(versions[number] == name for number, name in acknowledged.items())
    assert published.numbers() == sorted(versions) == list(range(1, len(versions) + 1))
    last = remotes.versions()[-1]["name"]
    remotes.run("restore", f"base:d@{last}", area + "/out")
    assert os.path.getsize(f"{area}/out/{last}/file") == 1000
    restic_check(published.url, area + "/cache")


class Losing(Between):
    """Passes on what etcd is asked, and loses so many answers to transactions that put another value."""

    losing = 0

    def send_body(self, data):
        if type(self).losing > 0 and b'"VALUE"' in self.asked:
            type(self).losing -= 1
            self.close_connection = True
            return
        super().send_body(data)


@pytest.mark.parametrize("lost", [1, 1000])
@pytest.mark.timeout(120)
def test_answer_that_is_lost_is_found_out(published, remotes, elsewhere, lost):
    """With 1000, none is ever answered, and reading tells what became of it."""
    handler = type("handler", (Losing,), {"port": published.etcd.ports()[0], "losing": lost})
    change(remotes, "d", "more")
    with serving(handler) as port:
        published.add("lossy", f"127.0.0.1:{port}")
        remotes.publish("d", name="lossy")
    assert handler.losing < lost
    assert published.numbers() == [1, 2]
    elsewhere.run("restore", "base:d", "d")
    elsewhere.publish("d")
    assert published.numbers() == [1, 2, 3] and len(published.copies()) == 3


def test_who_dies_before_the_copy_has_published(published, remotes, elsewhere, area):
    change(remotes, "d", "more")
    result = remotes.store.run("-s", remotes.store.path, "publish", "d", "base", "--unchanged", env={**remotes.env, "CORPUSFS_FAULT": "head-before-copy"})
    assert result.code == KILLED
    assert remotes.heads() == {"d": 2} and len(published.copies()) == 1
    elsewhere.run("restore", "base:d", "d")
    assert os.path.basename(elsewhere.json("snapshot", "list", "d")[0]["name"]) == remotes.versions()[-1]["name"]
    remotes.run("backup", "unlock", "base:")
    elsewhere.publish("d")
    assert published.numbers() == [1, 2, 3] and len(published.copies()) == 3
    # who published it knows that it did
    remotes.publish("d", code=program.EXISTS)
    remotes.publish("d", "--force")
    restic_check(published.url, area + "/cache")


@pytest.mark.parametrize("is_first", [True, False])
def test_place_that_lets_nobody_through_is_asked_again(agreed, remotes, is_first):
    """As S3 may, when several put one object at once: the mark, or the copy of the head before."""
    class Refusing(Between):
        port, refused = agreed.rest.port, False

        def do_POST(self):
            if "/heads/" not in self.path or Refusing.refused:
                self.do_GET()
                return
            Refusing.refused = True
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(409)
            self.send_header("Content-Length", "0")
            self.end_headers()

    remotes.run("backup", "init", "base:")
    if not is_first:
        remotes.store.run("-s", remotes.store.path, "publish", "d", "base", "--unchanged", env={**remotes.env, "CORPUSFS_FAULT": "head-before-copy"})
        remotes.run("backup", "unlock", "base:")
        change(remotes, "d", "more")
    with serving(Refusing) as port:
        remotes.add("busy", f"rest:http://127.0.0.1:{port}/r/", "--etcd", agreed.etcd.endpoints())
        remotes.publish("d", name="busy")
    assert Refusing.refused and agreed.numbers() == ([1] if is_first else [1, 2]) and len(agreed.copies()) == len(agreed.numbers())


@pytest.mark.parametrize("is_mark", [True, False])
def test_what_is_being_written_is_waited_for(agreed, remotes, is_mark):
    """Of some servers others see the beginning of it: of the mark, or of the copy of the head before."""
    class Writing(Between):
        port, asked = agreed.rest.port, 0

        def do_HEAD(self):
            if "/heads/" not in self.path or ("636f7270" in self.path) != is_mark or Writing.asked == 3:
                self.do_GET()
                return
            Writing.asked += 1
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    remotes.run("backup", "init", "base:")
    remotes.store.run("-s", remotes.store.path, "publish", "d", "base", "--unchanged", env={**remotes.env, "CORPUSFS_FAULT": "head-before-copy"})
    remotes.run("backup", "unlock", "base:")
    change(remotes, "d", "more")
    with serving(Writing) as port:
        remotes.add("slow", f"rest:http://127.0.0.1:{port}/r/", "--etcd", agreed.etcd.endpoints())
        remotes.publish("d", name="slow")
    assert Writing.asked == 3 and agreed.numbers() == [1, 2] and len(agreed.copies()) == 2


@pytest.mark.parametrize("point", ["head-before-put", "head-before-transaction"])
def test_who_was_stopped_meanwhile_publishes_nothing(published, remotes, elsewhere, point):
    elsewhere.run("restore", "base:d", "d")
    change(remotes, "d", "more")
    before = len(remotes.json("backup", "list", "base:"))
    with remotes.store.stopped_at(point, "-s", remotes.store.path, "publish", "d", "base", "--unchanged", "--force", env=remotes.env) as paused:
        elsewhere.publish("d")
    assert paused.code == program.EXISTS
    told(paused, "meanwhile", "--force")
    by = {row["number"]: row["by"].split("/")[0] for row in remotes.versions()}
    assert published.numbers() == [1, 2] and by[1] != by[2] and len(remotes.json("backup", "list", "base:")) == before + 1


def test_first_one_in_etcd_hides_none_that_came_meanwhile(agreed, remotes, elsewhere, source):
    """From who does not ask etcd, while there is no mark yet."""
    agreed.remotes.add("plain", agreed.url, "--single-writer")
    remotes.run("backup", "init", "base:")
    elsewhere.run("import", source, "d")
    with remotes.store.stopped_at("head-before-put", "-s", remotes.store.path, "publish", "d", "base", "--unchanged", env=remotes.env) as paused:
        elsewhere.publish("d", name="plain")
    assert paused.code == program.EXISTS
    told(paused, "version 1", "meanwhile")
    assert agreed.numbers() == [1] and len(agreed.copies()) == 1
    elsewhere.publish("d")
    assert agreed.numbers() == [1, 2]


def test_who_was_overtaken_by_a_higher_number_is_told(published, remotes, elsewhere):
    """Numbers may be left out, after a store knew of a version that is lost. That nothing has come of one's own is certain all the same."""
    elsewhere.run("restore", "base:d", "d")
    (key,) = [key for key in published.etcd.keys() if "/heads/" in key]
    elsewhere.run("snapshot", "hold", "d@" + elsewhere.json("snapshot", "list", "d")[0]["name"], f"published:{key.split('/')[-1][:12]}:4")
    change(remotes, "d", "more")
    before = len(remotes.json("backup", "list", "base:"))
    with remotes.store.stopped_at("head-before-put", "-s", remotes.store.path, "publish", "d", "base", "--unchanged", env=remotes.env) as paused:
        elsewhere.publish("d")
    assert paused.code == program.EXISTS
    told(paused, "version 5", "meanwhile")
    assert published.numbers() == [1, 5] and len(remotes.json("backup", "list", "base:")) == before + 1


def test_higher_number_overtakes_nobody(published, remotes, elsewhere):
    """The other way round: the version in between is one that this does not come from."""
    elsewhere.run("restore", "base:d", "d")
    (key,) = [key for key in published.etcd.keys() if "/heads/" in key]
    elsewhere.run("snapshot", "hold", "d@" + elsewhere.json("snapshot", "list", "d")[0]["name"], f"published:{key.split('/')[-1][:12]}:4")
    change(remotes, "d", "more")
    before = len(remotes.json("backup", "list", "base:"))
    with elsewhere.store.stopped_at("head-before-put", "-s", elsewhere.store.path, "publish", "d", "base", "--unchanged", env=elsewhere.env) as paused:
        remotes.publish("d")
    assert paused.code == program.EXISTS
    told(paused, "version 2", "meanwhile")
    assert published.numbers() == [1, 2] and len(remotes.json("backup", "list", "base:")) == before + 1


def test_who_is_followed_at_once_has_published(published, remotes, elsewhere):
    """Another version comes from this one before its publisher has looked: neither was at the same time."""
    change(remotes, "d", "more")
    with remotes.store.stopped_at("head-before-copy", "-s", remotes.store.path, "publish", "d", "base", "--unchanged", env=remotes.env) as paused:
        elsewhere.run("restore", "base:d", "d")
        change(elsewhere, "d", "theirs")
        elsewhere.publish("d")
    assert paused.code == 0, paused.err
    assert published.numbers() == [1, 2, 3] and len(published.copies()) == 3
    # it is held here, and what was published after it is told
    assert [row["name"] for row in remotes.json("snapshot", "list", "d") if row["holds"]] == [remotes.versions()[1]["name"]]
    told(remotes.publish("d", code=program.EXISTS), "version 3", "meanwhile")


@pytest.mark.parametrize("point", ["backup-before-snapshot-file", "head-before-put", "head-before-transaction"])
def test_who_dies_before_has_not(published, remotes, point):
    change(remotes, "d", "more")
    result = remotes.store.run("-s", remotes.store.path, "publish", "d", "base", "--unchanged", env={**remotes.env, "CORPUSFS_FAULT": point})
    assert result.code == KILLED and remotes.heads() == {"d": 1}
    remotes.run("backup", "unlock", "base:")
    remotes.publish("d")
    assert remotes.heads() == {"d": 2}


@pytest.mark.timeout(120)
def test_who_does_not_ask_etcd_is_refused(published, remotes, area):
    remotes.add("plain", published.url, "--single-writer")
    backup = remotes.versions()[0]["backup"]
    os.mkdir(area + "/point")
    for args in (["remote", "list", "plain"], ["publish", "d", "plain"], ["publish", "d", "plain", "--force"], ["restore", "plain:d", area + "/out"],
                 ["mount", "plain:d", area + "/point"], ["backup", "forget", "plain:", "--keep-last", "1"]):
        told(remotes.run(*args, code=program.UNSUPPORTED), "--etcd")
    # all that needs no head works
    remotes.run("restore", "plain:@" + backup[:8], area + "/out")
    assert [row["backup"] for row in remotes.json("backup", "list", "plain:")] == [backup]
    assert published.numbers() == [1]


@pytest.mark.timeout(120)
def test_etcd_that_does_not_know_the_repository_is_refused(published, remotes, area):
    (made,) = [key for key in published.etcd.keys() if key.endswith("/made")]
    value = published.etcd.keys()[made]
    os.mkdir(area + "/point")
    cached = ["mount", "base:d", area + "/point", "-o", f"cache={area}/cached"]
    # what is in the cache is no answer
    remotes.run(*cached)
    remotes.run("umount", area + "/point")
    for change_it in (lambda: published.etcd.put(made, b"0" * 32), lambda: published.etcd.remove(made)):
        change_it()
        for args in (["remote", "list", "base"], ["publish", "d", "base", "--force"], cached):
            told(remotes.run(*args, code=program.DAMAGED), "another one", "heads/636f7270")
    published.etcd.put(made, value)
    assert published.numbers() == [1]
    # what it knew is lost for good
    for key in published.etcd.keys():
        published.etcd.remove(key)
    told(remotes.run("remote", "list", "base", code=program.DAMAGED), "lost")
    mark = published.url.removeprefix("rest:") + "heads/636f727065746364" + "0" * 48
    urllib.request.urlopen(urllib.request.Request(mark, method="DELETE"), timeout=20).close()
    assert published.numbers() == [1]
    remotes.publish("d")
    assert published.numbers() == [1, 2]


@pytest.mark.timeout(180)
def test_etcd_is_away(published, remotes, source, area):
    etcd = published.etcd
    # without a majority, nobody knows what is the newest
    leader = etcd.leader()
    for number in range(3):
        if number != (leader + 1) % 3:
            etcd.kill(number)
    change(remotes, "d", "more")
    before = len(remotes.json("backup", "list", "base:"))
    told(remotes.run("remote", "list", "base", code=program.FAILED), "etcd does not answer")
    told(remotes.publish("d", code=program.FAILED), "etcd does not answer")
    assert [row["number"] for row in remotes.json("remote", "list", "base", "--stale-ok")] == [1]
    etcd.kill((leader + 1) % 3)
    os.mkdir(area + "/point")
    told(remotes.run("mount", "base:d", area + "/point", code=program.FAILED), "etcd does not answer", "127.0.0.1")
    mounted(remotes, "base:d", area + "/point", lambda point: same(source, point), ["-o", "stale_ok"])
    remotes.run("restore", "base:d", area + "/out", "--stale-ok")
    assert len(remotes.json("backup", "list", "base:")) == before
    for number in range(3):
        etcd.again(number)
    etcd.leader()
    remotes.publish("d")
    assert published.numbers() == [1, 2]


@pytest.mark.timeout(120)
def test_cache_is_no_answer_while_the_place_is_away(published, remotes, source, area):
    point, cached = area + "/point", f"cache={area}/cached,timeout=5"
    mounted(remotes, "base:d", point, lambda point: same(source, point), ["-o", cached])
    published.rest.stop()
    told(remotes.run("mount", "base:d", point, "-o", cached, code=program.FAILED), "stale_ok")
    mounted(remotes, "base:d", point, lambda point: os.stat(point + "/holes"), ["-o", cached + ",stale_ok"])
    published.rest.start()


def test_head_that_points_to_nothing(published, remotes, area):
    backup = remotes.versions()[0]["backup"]
    restic(published.url, "forget", backup, cache=area + "/cache")
    told(remotes.run("restore", "base:d", area + "/out", code=program.NOT_FOUND), backup[:8], "gone")
    assert os.listdir(area + "/out") == []
    remotes.publish("d")
    assert remotes.heads() == {"d": 2}


def test_key_that_is_damaged(published, remotes, elsewhere, area):
    """Whoever wants that dataset is told which key it is; all others go on."""
    (key,) = [key for key in published.etcd.keys() if "/heads/" in key]
    value = published.etcd.keys()[key]
    remotes.publish("d", "--as", "other")
    backup = next(row["backup"] for row in remotes.versions() if row["dataset"] == "other")
    for damaged in (b"", b"0" * 64 + b"\nx", value[:48] + b"f" * 16 + value[64:], value[:48] + b"0" * 16 + value[64:], b"nonsense"):
        published.etcd.put(key, damaged)
        assert [("number" in row, row["head"], key in row["why"]) for row in remotes.versions() if row["damaged"]] == [(False, True, True)]
    listed = remotes.run("remote", "list", "base")
    told(listed, key)
    assert "other" in listed.out and "damaged" in listed.out
    for args in (["publish", "d", "base", "--force"], ["restore", "base:d", area + "/out"], ["backup", "forget", "base:", backup[:8]]):
        told(remotes.run(*args, code=program.DAMAGED), key)
    change(remotes, "d", "more")
    remotes.publish("d", "--as", "other")
    elsewhere.run("restore", "base:other", "d")
    # the copy says which it is
    published.etcd.remove(key)
    assert remotes.heads() == {"d": 1, "other": 2}
    remotes.publish("d")
    assert remotes.heads() == {"d": 2, "other": 2}


@pytest.mark.timeout(120)
def test_users(agreed, etcd_users, remotes, area):
    named = {user: remotes.write(user, f"user = {user}\npassword = {password}\n")
             for user, password in (("who", "testsecret"), ("reader", "testsecret"), ("wrong", "testsecret"))}
    with open(named["wrong"], "w", encoding="ascii") as handle:
        handle.write("user = who\npassword = wrong\n")
    for user, path in named.items():
        agreed.add(user, None, "--etcd-credentials-file", path)
    remotes.run("backup", "init", "base:")
    told(remotes.publish("d", code=program.PERMISSION), "--etcd-credentials-file")
    told(remotes.publish("d", name="wrong", code=program.PERMISSION), '"who"')
    remotes.publish("d", name="who")
    assert remotes.heads("reader") == {"d": 1}
    remotes.run("restore", "reader:d", area + "/out")
    told(remotes.publish("d", name="reader", code=program.PERMISSION), "does not permit")
    remotes.publish("d", "--as", "led", "--lease", "60", name="who")
    told(remotes.publish("d", "--as", "led", "--lease", "60", name="reader", code=program.PERMISSION), "does not permit")
    result = remotes.json("remote", "test", "reader")
    assert result["etcd"]["writes"] is False and result["leases"] is False
    assert remotes.json("remote", "test", "who")["etcd"]["writes"] is True
    told(remotes.run("remote", "test", "wrong", code=program.PERMISSION), '"who"')
    for text in (remotes.store.log(), procs.command_lines("corpusfs"), procs.read(remotes.file).decode(), remotes.run("remote", "show", "who").out):
        assert "testsecret" not in text


def make_certificates(area):
    """An authority, and what it has signed: a server's certificate for 127.0.0.1, and one of a client with its key."""
    directory = area + "/certificates"
    os.mkdir(directory)

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)

    with open(directory + "/names", "w", encoding="ascii") as handle:
        handle.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=authority")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "names",
                "-out", name + ".pem")
    with open(directory + "/client.key", "rb") as own, open(directory + "/client.pem", "ab") as both:
        both.write(own.read())
    return directory


@pytest.mark.timeout(120)
@pytest.mark.skipif(not shutil.which("etcd"), reason="etcd is not installed")
def test_tls(remotes, rest, area, run):
    certificates = make_certificates(area)
    etcd = Etcd(area + "/etcd", run.mark, certificates)
    try:
        agreed = Agreed(remotes, rest, etcd)
        trusting = ["--etcd-ca-file", certificates + "/ca.pem"]
        agreed.add("safe", None, *trusting, "--etcd-client-file", certificates + "/client.pem")
        agreed.add("nameless", None, *trusting)
        agreed.add("trustless", "https://" + etcd.endpoints().replace(",", ",https://"), "--etcd-client-file", certificates + "/client.pem")
        remotes.publish("d", "--init", name="safe")
        assert remotes.heads("safe") == {"d": 1} and remotes.json("remote", "test", "safe")["etcd"]["answering"] == 3
        # base asks without TLS
        for name, said in (("nameless", "does not answer"), ("trustless", "certificate"), ("base", "does not answer")):
            told(remotes.run("remote", "list", name, code=program.FAILED), said)
    finally:
        etcd.stop()


@pytest.mark.parametrize("members, options, is_noted", [
    ("a:1", ["--etcd-credentials-file"], True), ("a:1", ["--etcd-credentials-file", "--etcd-ca-file"], False), ("a:1", [], False),
    ("https://a:1", ["--etcd-credentials-file"], False), ("127.0.0.1:1", ["--etcd-credentials-file"], False)])
def test_password_in_the_clear_is_noted(remotes, members, options, is_noted):
    done = remotes.add("a", "rest:http://h/", "--etcd", members, *(word for option in options for word in (option, "/x")))
    assert ("in the clear" in done.err) == is_noted and len(done.err.splitlines()) == is_noted


@pytest.mark.parametrize("args", [
    ("/directory", "--etcd", "a:1"), ("rest:http://h/", "--etcd-ca-file", "/x"), ("rest:http://h/", "--etcd-client-file", "/x"),
    ("rest:http://h/", "--etcd", ""), ("rest:http://h/", "--etcd", "a:x"), ("rest:http://h/", "--etcd", "http://who:testsecret@a:1"),
    ("rest:http://h/", "--etcd", "a:1", "--etcd-credentials-file", "x", "--etcd-credentials-command", "y")])
def test_what_cannot_be_added(remotes, args):
    told(remotes.run("remote", "add", "a", *args, code=program.USAGE), "etcd" if "command" not in args[-2] else "both")
    assert remotes.json("remote", "list") == []
