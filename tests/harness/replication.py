"""Replication of the dataset "d" of one store to another, on this machine."""

import json
import shlex

from harness import procs


def cli(store, *args, **options):
    return store.ok("-s", store.path, *args, **options)


def names(store):
    return [row["name"] for row in json.loads(cli(store, "snapshot", "list", "d", "--json"))]


def identity(store, name):
    return json.loads(cli(store, "snapshot", "show", f"d@{name}", "--json"))["identity"]


def to(store, fault=None):
    """The command at the other end."""
    words = [f"CORPUSFS_TEST_STORE={store.path}"] + ([f"CORPUSFS_FAULT={fault}"] if fault else [])
    return " ".join(words + [shlex.join([store.binary, "-s", store.path, "receive", "d", "--serve"])])


def replicate(store, other, fault=None):
    return store.run("-s", store.path, "replicate", "d", "--to", to(other, fault))


def replicated(store, other):
    result = replicate(store, other)
    assert result.code == 0, result
    return result.out


def cut_off(store, other, chance):
    """It begins, and the receiver dies at a frame, or the line breaks behind a byte, or the sender dies there; or it has ended before that."""
    part = f"stdbuf -o0 head -c {int(1.4 ** chance.uniform(10, 40))}"
    how = chance.choice((f"{part} | {to(other)}", f"{{ {part}; kill -9 $PPID; }} | {to(other)}", to(other, f"receive-frame:kill:{chance.randrange(1, 9)}")))
    store.run("-s", store.path, "replicate", "d", "--to", how)
    procs.poll(lambda: other.run("-s", other.path, "dataset", "list").code == 0, 30, "the other end has gone")
