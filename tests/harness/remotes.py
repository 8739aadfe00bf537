"""Remotes: the command line of a user who has some, and what is published in them."""

import json

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
        """Another version, whether anything has changed or not."""
        return self.run("publish", view, name, *options, *([] if "--release" in options else ["--unchanged"]), code=code, **more)

    def versions(self, name="base"):
        return self.json("remote", "list", name)

    def heads(self, name="base"):
        return {row["dataset"]: row["number"] for row in self.versions(name) if row["head"]}

    def of(self, store):
        """The same remotes, for the commands of another machine's store."""
        return Remotes(store, self.area)
