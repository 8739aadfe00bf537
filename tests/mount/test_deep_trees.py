"""Trees of any depth: every command goes down and comes back, with few descriptors, little memory and no stack that could overflow."""

import json
import os
import subprocess

import pytest

from harness import program, tree
from harness.repository import SECRETS, Repository

DEPTH = 8_000 // program.scale()
LIMITED = ["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh"]


def cli(store, *args):
    """With as many descriptors as a shell has."""
    environment = program.environment(store.run_mark, store.logs, SECRETS)
    result = program.call([*LIMITED, store.binary, "-s", store.path, *args], environment, store.logs)
    assert result.code == 0, f"{args}: exit {result.code}\n{result.out[-2000:]}{result.err[-2000:]}"
    return result.out


def identity(store, name):
    return json.loads(cli(store, "snapshot", "show", name, "--json"))["identity"]


def remove(path):
    subprocess.run(["rm", "-rf", path], check=True, timeout=200)


@pytest.fixture
def deep(store, fs):
    """Directory d of dataset d, and snapshot v with it: at the bottom is a file of two names."""
    here = tree.make_deep(fs, DEPTH, 1000)
    os.close(os.open("a", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.link("a", "b", src_dir_fd=here, dst_dir_fd=here)
    os.close(here)
    cli(store, "snapshot", "create", "d@v")
    return fs + "/d"


@pytest.mark.sanitize
@pytest.mark.timeout(300)
def test_what_is_in_the_store_is_looked_at_copied_and_set_back(store, deep):
    wanted = identity(store, "d@v")
    for words in (["check"], ["du"], ["scrub"], ["warm", "d"], ["diff", "d@v"], ["clone", "d@v", "copy"], ["snapshot", "create", "copy@v"]):
        cli(store, *words)
    assert identity(store, "copy@v") == wanted
    remove(deep)
    cli(store, "rollback", "d@v", "--path", "d")
    cli(store, "snapshot", "create", "d@back")
    assert identity(store, "d@back") == wanted
    for name in ("copy@v", "d@v", "d@back"):
        cli(store, "snapshot", "destroy", name)
    remove(deep)
    cli(store, "gc")
    cli(store, "check")


@pytest.mark.timeout(300)
def test_what_goes_out_comes_back(store, deep, area):
    wanted = identity(store, "d@v")
    for name in ("out", "out.tar"):
        cli(store, "export", "d@v", f"{area}/{name}")
        cli(store, "import", f"{area}/{name}", name.replace(".", "-"))
        cli(store, "snapshot", "create", name.replace(".", "-") + "@v")
        assert identity(store, name.replace(".", "-") + "@v") == wanted
    remove(area + "/out")


@pytest.mark.sanitize
@pytest.mark.timeout(300)
def test_backups_are_made_verified_and_restored(store, deep, area):
    wanted = identity(store, "d@v")
    repository = Repository(store, area + "/repository")
    cli(store, "backup", "d", repository.path)
    cli(store, "backup", "verify", repository.path, "--data")
    (drilled,) = json.loads(cli(store, "backup", "drill", repository.path, "--memory", "--json"))
    assert drilled["same"] and drilled["identity"] == wanted
    cli(store, "restore", repository.path, "again")
    cli(store, "restore", repository.path, area + "/out")
    try:
        cli(store, "import", area + "/out", "directory")
    finally:
        remove(area + "/out")
    for dataset in ("again", "directory"):
        cli(store, "snapshot", "create", dataset + "@v")
        assert identity(store, dataset + "@v") == wanted


@pytest.mark.timeout(300)
def test_streams_arrive(store, other, deep):
    wanted = identity(store, "d@v")
    line = f"'{store.binary}' -s '{store.path}' send d@v | '{other.binary}' -s '{other.path}' receive d"
    program.call(["bash", "-c", "set -o pipefail; " + line], program.environment(store.run_mark, store.logs), store.logs)
    assert identity(other, "d@v") == wanted
