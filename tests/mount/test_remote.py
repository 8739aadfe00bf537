"""Remotes: names of repositories, with where their secrets come from."""

import fcntl
import json
import os
import signal
import stat
import subprocess

import pytest

from harness import program
from harness.repository import PASSWORD, Repository, restic, restic_check

NOBODY = 65534
WITH_SECRETS = ["rest:who:secret@host/r/", "s3:who:secret@host/b", "rest:http:/who:secret@host/", "rest:http:who:secret@host/",
                "rest:http://who:a/secret@host/", "rest:secret@host/r", "https://who:secret@host/r", "sftp:secret@host:/r", "who:secret@host"]


@pytest.mark.sanitize
def test_name_stands_for_a_repository_wherever_one_is_named(remotes, store, area):
    remotes.add("base", area + "/repository")
    remotes.run("backup", "init", "base:")
    first = json.loads(remotes.run("backup", "d", "base:", "--json").out)[0]["backup"]
    assert [row["backup"] for row in remotes.json("backup", "list", "base:")] == [first]
    assert remotes.json("backup", "show", "base:@" + first[:8])["backup"] == first
    remotes.run("restore", "base:", "again")
    remotes.run("restore", "base:@d", area + "/directory")
    remotes.run("import", "restic:base:@" + first[:8], "third")
    store.ok("-s", store.path, "snapshot", "create", "d@1", "again@1")
    assert store.ok("-s", store.path, "diff", "d@1", "again@1") == ""
    os.mkdir(area + "/point")
    remotes.run("backup", "mount", "base:@" + first[:8], area + "/point")
    assert os.listdir(area + "/point/d")
    remotes.run("umount", area + "/point")
    assert "backup list base:" in remotes.run("backup", "show", "base:@none", code=program.NOT_FOUND).err
    restic_check(area + "/repository")


def test_list_and_show_tell_where_secrets_are_and_none(remotes, area):
    remotes.add("base", area + "/repository")
    remotes.run("remote", "add", "cloud", "s3:https://host.invalid/bucket", "--password-command", "cat " + remotes.password, "--profile", "train",
                "--region", "eu-1")
    assert remotes.json("remote", "list") == [{"name": "base", "url": area + "/repository"}, {"name": "cloud", "url": "s3:https://host.invalid/bucket"}]
    assert remotes.password in remotes.run("remote", "show", "base").out
    assert remotes.json("remote", "show", "cloud")["profile"] == "train"
    with open(remotes.file, encoding="ascii") as handle:
        assert PASSWORD not in handle.read()
    assert stat.S_IMODE(os.stat(remotes.file).st_mode) == 0o600
    assert "already" in remotes.run("remote", "add", "base", area + "/other", code=program.EXISTS).err
    remotes.run("remote", "remove", "base")
    assert [row["name"] for row in remotes.json("remote", "list")] == ["cloud"]
    assert "remote list" in remotes.run("remote", "test", "base", code=program.NOT_FOUND).err
    assert "neither" in remotes.run("backup", "list", "base:", code=program.NOT_FOUND).err


@pytest.mark.parametrize(
    "args",
    [("s3", "/r"), ("rest", "/r"), ("", "/r"), ("a/b", "/r"), ("a:b", "/r"), ("-a", "/r"), ("a" * 65, "/r"), ("a", "rest:http://who:secret@host/r/"),
     ("a", "/r", "--region", "x"), ("a", "/r", "--password-file", "x", "--password-command", "y"),
     ("a", "s3:h/b", "--credentials-file", "x", "--credentials-command", "y"), *(("a", name) for name in WITH_SECRETS)],
)
def test_what_cannot_be_a_remote(remotes, args):
    result = remotes.run("remote", "add", *args, code=program.USAGE)
    assert "secret" not in result.err and len(result.err.splitlines()) == 1
    assert remotes.json("remote", "list") == []


@pytest.mark.parametrize("name", WITH_SECRETS)
def test_secret_in_a_name_stands_in_no_message(remotes, area, name):
    point = area + "/point"
    os.mkdir(point)
    for args in (["backup", "list", name], ["backup", "init", name], ["publish", "d", name, "--init"], ["backup", "mount", name, point],
                 ["backup", "schedule", "d", name, "--password-file", remotes.password, "--full", "daily"]):
        result = remotes.store.run("-s", remotes.store.path, *args, env={**remotes.env, "CORPUSFS_PASSWORD": PASSWORD})
        assert result.code in (program.USAGE, program.NOT_FOUND), f"{args}: {result.code} {result.err}"
        assert "secret" not in result.out + result.err, args
    assert not os.path.exists(name.partition("@")[0])


@pytest.mark.parametrize("name", ["s3:host:9000/bucket/a@b", "s3:[::1]:9000/a@b", "rest:http://host/a@b/", "s3:https://host/b/c:d@e"])
def test_signs_behind_the_host_are_no_secret(remotes, name):
    remotes.add("base", name)
    assert remotes.json("remote", "list") == [{"name": "base", "url": name}]


@pytest.mark.kinds("content")
@pytest.mark.parametrize("content", ["", "[]", "{", '{"remotes": {"a": {}}}', '{"remotes": {"a": {"url": 7}}}', '{"remotes": []}'])
def test_file_that_is_damaged_is_told_and_left_alone(remotes, content):
    os.makedirs(os.path.dirname(remotes.file))
    with open(remotes.file, "w", encoding="ascii") as handle:
        handle.write(content)
    for args in (["remote", "list"], ["remote", "add", "b", "/r"], ["backup", "list", "a:"], ["remote", "remove", "a"]):
        assert remotes.file in remotes.run(*args, code=program.DAMAGED).err
    with open(remotes.file, encoding="ascii") as handle:
        assert handle.read() == content


def test_file_that_others_could_change_runs_no_command(remotes, area):
    remotes.run("remote", "add", "base", area + "/repository", "--password-command", f"touch {area}/ran; echo secret")
    os.chmod(remotes.file, 0o620)
    assert "chmod" in remotes.run("backup", "list", "base:", code=program.PERMISSION).err
    os.chmod(remotes.file, 0o600)
    os.chown(remotes.file, NOBODY, NOBODY)
    assert "CORPUSFS_REMOTES" in remotes.run("backup", "list", "base:", code=program.PERMISSION).err
    assert not os.path.exists(area + "/ran")
    os.chown(remotes.file, 0, 0)
    remotes.run("backup", "init", "base:")
    assert os.path.exists(area + "/ran")


def test_own_password_goes_before_that_of_the_environment(remotes, area):
    remotes.add("base", area + "/repository")
    remotes.run("backup", "init", "base:", env={"CORPUSFS_PASSWORD": "of another"})
    remotes.run("backup", "list", "base:", env={"CORPUSFS_PASSWORD": "of another"})
    wrong = remotes.write("wrong", "wrong\n")
    assert "password is wrong" in remotes.run("backup", "list", "base:", "--password-file", wrong, code=program.PERMISSION).err


def test_added_by_several_at_once(remotes, store):
    begun = [subprocess.Popen([store.binary, "remote", "add", f"r{i}", f"/{i}"], env={**os.environ, **remotes.env}, stdout=subprocess.DEVNULL)
             for i in range(12)]
    assert [one.wait(60) for one in begun] == [0] * 12
    assert len(remotes.json("remote", "list")) == 12


def test_file_that_somebody_keeps_locked_is_told(remotes):
    os.makedirs(os.path.dirname(remotes.file))
    folder = os.open(os.path.dirname(remotes.file), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        assert "another process" in remotes.run("remote", "add", "base", "/r", code=program.BUSY).err
    finally:
        os.close(folder)
    remotes.add("base", "/r")


def test_link_in_the_place_of_the_file_stays_one(remotes, area):
    target = area + "/dotfiles/remotes"
    os.mkdir(area + "/dotfiles")
    remotes.add("first", "/r")
    os.rename(remotes.file, target)
    os.symlink(os.path.relpath(target, os.path.dirname(remotes.file)), remotes.file)
    remotes.add("second", "/s")
    remotes.run("remote", "remove", "first")
    with open(target, encoding="ascii") as handle:
        assert list(json.load(handle)["remotes"]) == ["second"]
    assert os.path.islink(remotes.file) and os.listdir(area + "/dotfiles") == ["remotes"]


def test_link_is_not_written_through_where_others_decide(remotes, area):
    target = area + "/dotfiles/remotes"
    os.mkdir(area + "/dotfiles")
    remotes.add("first", "/r")
    os.rename(remotes.file, target)
    os.symlink(target, remotes.file)
    os.chown(area + "/dotfiles", NOBODY, NOBODY)
    assert str(NOBODY) in remotes.run("remote", "add", "second", "/s", code=program.PERMISSION).err
    os.chown(area + "/dotfiles", 0, 0)
    os.chown(remotes.file, NOBODY, NOBODY, follow_symlinks=False)
    assert str(NOBODY) in remotes.run("remote", "add", "second", "/s", code=program.PERMISSION).err
    os.chown(remotes.file, 0, 0, follow_symlinks=False)
    assert [row["name"] for row in remotes.json("remote", "list")] == ["first"]
    os.remove(target)
    assert "leads to nothing" in remotes.run("remote", "add", "second", "/s", code=program.NOT_FOUND).err
    assert os.path.islink(remotes.file)


def test_publish_that_makes_the_repository_asks_for_its_password_once(remotes, area):
    remotes.run("remote", "add", "base", area + "/repository", "--password-command", f"echo asked >> {area}/asked; cat {remotes.password}")
    remotes.publish("d", "--init")
    with open(area + "/asked", encoding="ascii") as handle:
        assert handle.read() == "asked\n"


def test_test_of_a_directory(remotes, area):
    remotes.add("base", area + "/repository")
    assert "backup init" in remotes.run("remote", "test", "base", code=program.NOT_FOUND).err
    os.mkdir(area + "/repository")
    assert "backup init base:" in remotes.run("remote", "test", "base", code=program.NOT_FOUND).err
    remotes.run("backup", "init", "base:")
    result = remotes.json("remote", "test", "base")
    assert result["version"] == 2 and result["conditional"] and result["writes"] and result["ahead"] is None and result["leases"] is False
    assert "no leases of writers" in remotes.run("remote", "test", "base").out
    assert result["id"] == json.loads(restic(area + "/repository", "cat", "config"))["id"]
    assert os.listdir(area + "/repository/heads") == []
    restic_check(area + "/repository")


def test_test_that_was_killed_is_cleaned_up_by_a_later_one(remotes, area):
    remotes.add("base", area + "/repository")
    remotes.run("backup", "init", "base:")
    killed = remotes.store.run("remote", "test", "base", env={**remotes.env, "CORPUSFS_FAULT": "object-after-rename"})
    assert killed.code == -signal.SIGKILL
    heads = area + "/repository/heads"
    (left,) = [name for name in os.listdir(heads) if "tmp" not in name]
    # of who may still be at work
    remotes.run("remote", "test", "base")
    assert left in os.listdir(heads) and remotes.json("remote", "list", "base") == []
    os.rename(f"{heads}/{left}", f"{heads}/{left[:32]}{int(left[32:48], 16) - 4000:016x}{left[48:]}")
    remotes.run("remote", "test", "base")
    assert [name for name in os.listdir(heads) if "tmp" not in name] == []


def test_test_of_what_can_only_be_read(remotes, area):
    remotes.add("base", area + "/disk")
    repository = Repository(remotes.store, area + "/repository")
    os.mkdir(area + "/disk")
    for options in (["--bind", repository.path, area + "/disk"], ["-o", "remount,bind,ro", area + "/disk"]):
        subprocess.run(["mount", *options], check=True)
    try:
        result = remotes.json("remote", "test", "base")
    finally:
        subprocess.run(["umount", area + "/disk"], check=True)
    assert not result["writes"] and not result["conditional"]


def test_test_behind_the_rest_protocol(remotes, rest, area):
    credentials = remotes.write("credentials", "user = who\npassword = of-the-server\n")
    rest.stop()
    rest.options = ["--user", "who", "--pass", "of-the-server"]
    rest.start()
    remotes.add("base", rest.url("r"), "--credentials-command", "cat " + credentials)
    remotes.run("backup", "init", "base:")
    remotes.run("backup", "d", "base:")
    result = remotes.json("remote", "test", "base")
    assert result["writes"] and not result["conditional"] and abs(result["ahead"]) < 60
    remotes.add("other", rest.url("r"))
    assert "does not permit" in remotes.run("remote", "test", "other", code=program.PERMISSION).err
    rest.stop()
    assert "cannot be reached" in remotes.run("remote", "test", "base", code=program.FAILED).err
    restic_check(rest.directory + "/r")


@pytest.mark.timeout(240)
def test_test_of_s3(remotes, s3, area):
    credentials = remotes.write("credentials", "[train]\naws_access_key_id = testkey\naws_secret_access_key = testsecret\n"
                                "[wrong]\naws_access_key_id = testkey\naws_secret_access_key = no\n"
                                "[who]\naws_access_key_id = who\naws_secret_access_key = no\n")
    named = ["--credentials-file", credentials]
    remotes.add("base", s3.url("some/where"), *named, "--profile", "train")
    remotes.add("nowhere", s3.url("").replace("/test/", "/no-such-bucket/"), *named, "--profile", "train")
    remotes.add("no-profile", s3.url("some/where"), *named)
    for name in ("wrong", "who"):
        remotes.add(name, s3.url("some/where"), *named, "--profile", name)
    assert "backup init base:" in remotes.run("remote", "test", "base", code=program.NOT_FOUND).err
    remotes.run("backup", "init", "base:")
    remotes.run("backup", "d", "base:")
    # a profile that is named goes before the environment
    result = json.loads(remotes.run("remote", "test", "base", "--json", env={"AWS_ACCESS_KEY_ID": "no"}).out)
    assert result["conditional"] and result["writes"] and abs(result["ahead"]) < 60
    assert "backup init nowhere:" in remotes.run("remote", "test", "nowhere", code=program.NOT_FOUND).err
    assert "no credentials" in remotes.run("remote", "test", "no-profile", code=program.NOT_FOUND).err
    assert "secret is wrong" in remotes.run("remote", "test", "wrong", code=program.PERMISSION).err
    assert "InvalidAccessKeyId" in remotes.run("remote", "test", "who", code=program.PERMISSION).err
    restic_check(s3.url("some/where"), area + "/cache")
