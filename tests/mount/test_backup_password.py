"""Passwords that are typed on a terminal."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import termios

import pytest

from harness import files, procs, program
from harness.repository import PASSWORD, SECRETS, Repository, restic_check


class Terminal:
    """A command with a terminal of its own and no password from elsewhere."""

    def __init__(self, *args):
        self.ours, self.theirs = pty.openpty()
        self.told = b""
        environment = {"HOME": "/", "PATH": os.environ["PATH"]}
        self.process = subprocess.Popen(["setsid", "-c", program.binary(), *args], env=environment, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs)

    def answer(self, question, text):
        """Waits until it is asked and the terminal is silent, and types."""
        while question not in self.told:
            self.told += os.read(self.ours, 1000)
        self.told = self.told.partition(question)[2]
        procs.poll(lambda: not termios.tcgetattr(self.theirs)[3] & termios.ECHO, 20 * program.scale(), "the terminal is silent")
        os.write(self.ours, text.encode() + b"\n")

    def end(self):
        """(exit code, what was told since the last question)"""
        code = self.process.wait(60 * program.scale())
        assert termios.tcgetattr(self.theirs)[3] & termios.ECHO, "the terminal is as it was"
        os.close(self.theirs)
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(self.ours, 1000):
                self.told += piece
        os.close(self.ours)
        return code, self.told.decode()


@pytest.fixture
def terminal():
    begun = []

    def begin(*args):
        begun.append(Terminal(*args))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_a_typed_password_opens_the_repository_and_is_not_shown(repository, terminal):
    backup = repository.backup("d")["backup"]
    asked = terminal("backup", "list", repository.path)
    asked.answer(b"password of the repository: ", PASSWORD)
    code, told = asked.end()
    assert code == 0 and backup[:8] in told and PASSWORD not in told


def test_a_password_that_is_typed_wrong_is_said_to_be(repository, terminal):
    asked = terminal("backup", "list", repository.path)
    asked.answer(b"password of the repository: ", "something else")
    code, told = asked.end()
    assert code == program.PERMISSION and "the password is wrong" in told and "something else" not in told


def test_a_new_repository_asks_twice(repository, terminal, area):
    asked = terminal("backup", "init", area + "/new")
    asked.answer(b"password of the repository: ", "once")
    asked.answer(b"the same again: ", "twice")
    code, told = asked.end()
    assert code == program.USAGE and "differ" in told and not os.path.exists(area + "/new")
    asked = terminal("backup", "init", area + "/new")
    asked.answer(b"password of the repository: ", "typed")
    asked.answer(b"the same again: ", "typed")
    assert asked.end()[0] == 0
    repository.run("backup", "list", area + "/new", secrets={"CORPUSFS_PASSWORD": "typed"})


def test_a_new_password_is_typed_twice_after_the_old_one(repository, terminal):
    asked = terminal("backup", "key", "add", repository.path)
    asked.answer(b"password of the repository: ", PASSWORD)
    asked.answer(b"new password: ", "another")
    asked.answer(b"the same again: ", "another")
    assert asked.end()[0] == 0
    repository.run("backup", "list", repository.path, secrets={"CORPUSFS_PASSWORD": "another"})


def test_nothing_typed_is_no_password(repository, terminal):
    asked = terminal("backup", "list", repository.path)
    asked.answer(b"password of the repository: ", "")
    code, told = asked.end()
    assert code == program.USAGE and "empty" in told


def test_two_who_remove_each_other_s_password_leave_one(repository, store, area):
    other = {"CORPUSFS_PASSWORD": "another"}
    (first,) = os.listdir(repository.path + "/keys")
    files.put(area + "/new", b"another\n")
    repository.run("backup", "key", "add", repository.path, "--new-password-file", area + "/new")
    (second,) = {*os.listdir(repository.path + "/keys")} - {first}
    with store.stopped_at("key-before-remove", "backup", "key", "remove", repository.path, second, env=SECRETS) as one:
        assert "locked" in repository.run("backup", "key", "remove", repository.path, first, secrets=other, code=program.BUSY).err
    assert one.code == 0, one.err
    assert os.listdir(repository.path + "/keys") == [first]
    repository.run("backup", "list", repository.path)


def test_a_removal_of_a_password_that_was_killed_is_done_again(repository, store, area):
    (first,) = os.listdir(repository.path + "/keys")
    files.put(area + "/new", b"another\n")
    repository.run("backup", "key", "add", repository.path, "--new-password-file", area + "/new")
    (second,) = {*os.listdir(repository.path + "/keys")} - {first}
    command = ["backup", "key", "remove", repository.path, second]
    assert store.run(*command, env={**SECRETS, "CORPUSFS_FAULT": "key-before-remove"}).code == -signal.SIGKILL
    assert {*os.listdir(repository.path + "/keys")} == {first, second}
    repository.run(*command)
    assert os.listdir(repository.path + "/keys") == [first]


def test_who_finds_his_own_password_removed_leaves_the_others(repository, store, area):
    """By somebody without a lock, as soon as its own stands there."""
    (first,) = os.listdir(repository.path + "/keys")
    files.put(area + "/new", b"another\n")
    repository.run("backup", "key", "add", repository.path, "--new-password-file", area + "/new")
    (second,) = {*os.listdir(repository.path + "/keys")} - {first}
    with store.stopped_at("object-after-rename", "backup", "key", "remove", repository.path, second, env=SECRETS) as one:
        assert os.listdir(repository.path + "/locks")
        os.remove(f"{repository.path}/keys/{first}")
    assert one.code == program.BUSY and "somebody has removed" in one.err
    repository.run("backup", "list", repository.path, secrets={"CORPUSFS_PASSWORD": "another"})


def test_the_key_of_a_repository_is_slow_to_try(repository, area):
    """As slow as restic's. Those of other tests are quick."""
    dear = Repository(repository.store, area + "/dear", init=False)
    dear.run("backup", "init", dear.path, secrets={**SECRETS, "CORPUSFS_FAULT_QUICK_KEYS": "0"})
    (name,) = os.listdir(dear.path + "/keys")
    key = json.load(open(f"{dear.path}/keys/{name}"))
    assert (key["kdf"], key["N"], key["r"], key["p"]) == ("scrypt", 1 << 16, 8, 1)
    assert dear.backups() == []
    restic_check(dear)
