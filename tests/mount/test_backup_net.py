"""Repositories on the network: an S3 server (Ceph's gateway), and restic's REST protocol (rclone)."""

import glob
import http.server
import json
import os
import random
import threading
import time

import pytest

from harness import files, procs, program, servers, tree
from harness.repository import SECRETS, NetRepository, Repository, restic


@pytest.fixture
def filled(store, source):
    store.ok("-s", store.path, "import", source, "d")
    return store


def live(repository, filled, source, area):
    """A full and an incremental backup, looked at by restic, verified, restored, pruned."""
    filled.ok("-s", filled.path, "snapshot", "create", "d@1")
    first = repository.backup("d@1")
    assert first["type"] == "full"
    os.mkdir(area + "/more")
    with open(area + "/more/file", "wb") as handle:
        handle.write(random.Random(1).randbytes(3 << 20))
    filled.ok("-s", filled.path, "import", area + "/more", "d/added")
    second = repository.backup("d", kind="incremental")
    assert {row["backup"] for row in repository.backups()} == {first["backup"], second["backup"]}
    assert "no errors were found" in repository.restic("check", "--read-data")
    repository.restic("restore", first["backup"], "--target", area + "/out")
    tree.assert_same(source, area + "/out/d")
    assert repository.verify()["hurt"] == 0
    repository.restore("again", first["backup"])
    assert filled.ok("-s", filled.path, "diff", "d@1", "again") == ""
    repository.run("restore", repository.path, area + "/directory")
    assert os.path.getsize(area + "/directory/added/file") == 3 << 20
    point = area + "/backups"
    os.mkdir(point)
    repository.run("backup", "mount", repository.path, point)
    try:
        with open(point + "/latest/d/added/file", "rb") as handle:
            assert handle.read() == random.Random(1).randbytes(3 << 20)
    finally:
        repository.run("umount", point)
    repository.run("backup", "forget", repository.path, second["backup"])
    repository.run("backup", "prune", repository.path)
    assert [row["backup"] for row in repository.backups()] == [first["backup"]]
    assert "no errors were found" in repository.restic("check", "--read-data")
    result = repository.run("backup", "init", repository.path, code=program.EXISTS)
    assert "already" in result.err


@pytest.mark.timeout(120)
def test_life_of_a_repository_behind_the_rest_protocol(rest, filled, source, area):
    live(NetRepository(filled, rest.url("r"), {}, area + "/cache"), filled, source, area)


@pytest.mark.timeout(240)
def test_life_of_a_repository_in_s3(s3, filled, source, area):
    repository = NetRepository(filled, s3.url("some/where"), servers.S3_SECRETS, area + "/cache")
    live(repository, filled, source, area)
    # a mount's daemon does it, too, and the key comes from a file
    with open(area + "/credentials", "w", encoding="ascii") as handle:
        handle.write("[other]\naws_access_key_id = no\n[default]\n# of the test\naws_access_key_id=testkey\naws_secret_access_key = testsecret\n")
    filled.mount()
    secrets = {**SECRETS, "AWS_SHARED_CREDENTIALS_FILE": area + "/credentials"}
    repository.run("backup", "d", repository.path, secrets=secrets)
    result = repository.run("backup", "list", repository.path, secrets={**secrets, "AWS_PROFILE": "nobody"}, code=program.NOT_FOUND)
    assert "profile" in result.err
    for wrong, words in (({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"), ({"AWS_ACCESS_KEY_ID": "who"}, "InvalidAccessKeyId")):
        result = repository.run("backup", "list", repository.path, secrets={**repository.secrets, **wrong}, code=program.PERMISSION)
        assert words in result.err and "testsecret" not in result.err
    result = repository.run("backup", "list", repository.path, secrets={**SECRETS, "HOME": area, "AWS_EC2_METADATA_DISABLED": "true"}, code=program.PERMISSION)
    assert "AWS_ACCESS_KEY_ID" in result.err
    nowhere = s3.url("").replace("/test/", "/no-such-bucket/")
    assert "NoSuchBucket" in repository.run("backup", "list", nowhere, code=program.NOT_FOUND).err
    repository.run("backup", "init", nowhere)
    assert "no errors were found" in NetRepository(filled, nowhere, servers.S3_SECRETS, area + "/cache", init=False).restic("check")
    for text in (filled.log(), procs.command_lines("corpusfs")):
        assert "testsecret" not in text


def test_directory_and_server_are_one_repository(rest, filled, area):
    repository = NetRepository(filled, rest.url("r"), {}, area + "/cache")
    repository.backup("d")
    beside = Repository(filled, rest.directory + "/r", init=False)
    assert beside.backups() == repository.backups()
    assert "no errors were found" in restic(beside, "check", "--read-data")
    victim = max(beside.packs(), key=os.path.getsize)
    os.chmod(victim, 0o600)
    with open(victim, "r+b") as handle:
        handle.seek(100)
        handle.write(b"damage")
    assert repository.verify(code=program.FAILED)["hurt"] == 1


@pytest.mark.timeout(120)
def test_server_that_goes_away_and_comes_back(rest, filled, area):
    repository = NetRepository(filled, rest.url("r"), {}, area + "/cache")
    rest.stop()
    result = repository.run("backup", "list", repository.path, code=program.FAILED)
    assert "cannot be reached" in result.err
    rest.start()

    def trouble():
        """Begins after the first answers, and ends: what takes a slow server for longer than it is up would never get there."""
        procs.poll(lambda: os.listdir(rest.directory + "/r/locks"), 30, "the backup has begun")
        for _ in range(4):
            rest.stop()
            rest.start()
            time.sleep(0.3)

    thread = threading.Thread(target=trouble)
    thread.start()
    try:
        repository.backup("d")
    finally:
        thread.join()
    assert repository.verify()["hurt"] == 0
    assert "no errors were found" in repository.restic("check", "--read-data")


def test_password_in_the_name_is_refused(filled):
    repository = Repository(filled, "rest:http://somebody:secret@127.0.0.1:1/r/", init=False)
    result = repository.run("backup", "list", repository.path, code=program.USAGE)
    assert "RESTIC_REST_PASSWORD" in result.err and "secret@" not in result.err


class Liar(http.server.BaseHTTPRequestHandler):
    """Gives the answer that the test has chosen, whatever is asked."""

    answer = (200, b"")

    def do_GET(self):
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *args):
        pass


class Folders(http.server.BaseHTTPRequestHandler):
    """restic's REST protocol over a directory. `missing`: what is answered where a folder is missing."""

    directory, calls_itself, missing = "", "", (404, b"")

    def version_string(self):
        return self.calls_itself

    def path_here(self):
        parts = self.path.partition("?")[0].strip("/").split("/")[1:]
        if parts[0] == "data" and len(parts) == 2:
            parts.insert(1, parts[1][:2])
        return os.path.join(self.directory, *parts)

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path_here()
        if self.path.endswith("/") and not os.path.isdir(path):
            self.answer(*self.missing)
        elif self.path.endswith("/"):
            names = glob.glob(path + "/??/*" if path.endswith("/data") else path + "/*")
            self.answer(200, json.dumps([{"name": os.path.basename(name), "size": os.path.getsize(name)} for name in names]).encode())
        elif not os.path.isfile(path):
            self.answer(404)
        elif self.headers["Range"]:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            self.send_response(206)
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("Content-Range", f"bytes {first}-{last}/{os.path.getsize(path)}")
            self.end_headers()
            self.wfile.write(procs.read(path)[first : last + 1])
        else:
            self.answer(200, procs.read(path))

    do_HEAD = do_GET

    def do_POST(self):
        files.put(self.path_here(), self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(200)

    def do_DELETE(self):
        os.remove(self.path_here())
        self.answer(200)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize("calls_itself, missing", [("", (404, b"")), ("rclone/v1.60.1", (200, b"[]"))])
def test_a_server_that_has_lost_the_folder_of_backups_keeps_what_they_need(filled, area, calls_itself, missing):
    beside = Repository(filled, area + "/r")
    first, second = beside.backup("d")["backup"], beside.backup("d")["backup"]
    handler = type("Handler", (Folders,), {"directory": beside.path, "calls_itself": calls_itself, "missing": missing})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            repository = Repository(filled, f"rest:http://127.0.0.1:{server.server_address[1]}/r/", init=False)
            repository.run("backup", "forget", repository.path, first)
            packs = beside.packs()
            os.rename(beside.path + "/snapshots", area + "/snapshots")
            refused = repository.run("backup", "prune", repository.path, code=program.NOT_FOUND)
            assert "snapshots" in refused.err and beside.packs() == packs
            os.rename(area + "/snapshots", beside.path + "/snapshots")
            repository.run("backup", "prune", repository.path)
            assert beside.packs() < packs and [row["backup"] for row in beside.backups()] == [second]
            repository.run("backup", "forget", repository.path, second)
            repository.run("backup", "prune", repository.path, code=program.NOT_FOUND if calls_itself else 0)
            assert bool(beside.packs()) == bool(calls_itself)
        finally:
            server.shutdown()
    beside.run("backup", "prune", beside.path)
    assert beside.packs() == set()


class Secretive(Liar):
    """Lists a bucket, and lets nobody read what is in it."""

    answer = (403, b"")

    def do_GET(self):
        if "list-type" in self.path:
            self.answer = (200, b"<ListBucketResult></ListBucketResult>")
        super().do_GET()


def test_a_config_that_may_not_be_read_is_not_missing(filled):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Secretive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            place = f"s3:http://127.0.0.1:{server.server_address[1]}/bucket/r"
            refused = filled.run("-s", filled.path, "backup", "list", place, env={**SECRETS, **servers.S3_SECRETS})
        finally:
            server.shutdown()
    assert refused.code == program.PERMISSION and "config cannot be read" in refused.err and "init makes one" not in refused.err, refused


KEY = b"<Contents><Key>keys/" + b"ab" * 32 + b"</Key><Size>1</Size></Contents>"
ENDLESS = b"<ListBucketResult>" + KEY + b"<NextContinuationToken>x</NextContinuationToken></ListBucketResult>"
ENTITY = b"<!DOCTYPE a [<!ENTITY b \"" + b"c" * 1000 + b"\">]><a>&b;</a>"


@pytest.mark.kinds("answer")
@pytest.mark.parametrize(
    "answer",
    [
        (200, b""), (200, b"\0" * 100), (200, b"[{\"name\": 7}]"), (200, json.dumps(["ab" * 32] * 3).encode()), (200, b"<a>" * 100000), (200, ENDLESS),
        (200, ENTITY), (404, b""), (418, b"<Error><Code>" + b"x" * 5000 + b"</Code></Error>"), (301, b""),
    ],
)
@pytest.mark.parametrize("kind", ["rest:http://127.0.0.1:{}/r/", "s3:http://127.0.0.1:{}/bucket/r"])
def test_server_that_lies(filled, answer, kind):
    handler = type("Handler", (Liar,), {"answer": answer})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            repository = Repository(filled, kind.format(server.server_address[1]), init=False)
            result = filled.run("-s", filled.path, "backup", "list", repository.path, env={**SECRETS, **servers.S3_SECRETS})
            assert result.code not in (0, 99) and result.code < 100 and result.err.startswith("corpusfs: "), result
        finally:
            server.shutdown()
