"""Remotes: the command line of a user who has some, and what is published in them."""

import json
import os
import subprocess

from harness import procs, servers
from harness.repository import PASSWORD


class Remotes:
    """The command line of a user who has remotes, and nothing in the environment that would open a repository."""

    def __init__(self, store, area):
        self.store, self.area = store, area
        self.file, self.password = area + "/config/corpusfs/remotes", self.write("password", PASSWORD + "\n")
        self.env = {"XDG_CONFIG_HOME": area + "/config", "HOME": area + "/home"}

    def write(self, name, text):
        with open(f"{self.area}/{name}", "w", encoding="ascii") as handle:
            handle.write(text)
        return f"{self.area}/{name}"

    def run(self, *args, code=0, env=None, **options):
        result = self.store.run("-s", self.store.path, *args, env={**self.env, **(env or {})}, **options)
        assert result.code == code, f"{args}: exit {result.code}\n{result.out}{result.err}"
        assert PASSWORD not in result.out + result.err and "testsecret" not in result.out + result.err
        return result

    def json(self, *args, code=0):
        return json.loads(self.run(*args, "--json", code=code).out)

    def add(self, name, url, *options):
        return self.run("remote", "add", name, url, "--password-file", self.password, *options)

    def publish(self, view="d", *options, code=0, name="base", **more):
        return self.run("publish", view, name, *options, code=code, **more)

    def versions(self, name="base"):
        return self.json("remote", "list", name)

    def heads(self, name="base"):
        return {row["dataset"]: row["number"] for row in self.versions(name) if row["head"]}

    def of(self, store):
        """The same remotes, for the commands of another machine's store."""
        return Remotes(store, self.area)


def restic(place, cache, *args):
    env = {**os.environ, **servers.S3_SECRETS, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": cache}
    return subprocess.run(["restic", "-r", place, *args], env=env, capture_output=True, text=True, timeout=100, check=False)


def restic_check(place, cache, outage=False):
    """
    Debian's restic reads all that is in the repository. A mount that has just been unmounted takes its lock back a moment later. After an
    outage it may have given that up: such a lock is stale, and any client's unlock removes it.
    """

    def checked():
        done = restic(place, cache, "check", "--read-data")
        if done.returncode == 0 or "already locked" not in done.stderr:
            return done
        if outage:
            restic(place, cache, "unlock")
        return None

    done = procs.poll(checked, 30, "nobody locks the repository", 0.2)
    assert done.returncode == 0 and "no errors were found" in done.stdout, done.stdout + done.stderr
