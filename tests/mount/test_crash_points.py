"""Fault points that no other test dies at: what the table in lib/base/fault_points.h says of them."""

import os
import random

import pytest

from harness import procs


@pytest.mark.parametrize("point, command", [("dataset-create-before-write", ["dataset", "create", "e"]), ("lock.before-rename", ["dataset", "create", "e"])])
def test_who_dies_before_it_is_done_leaves_it_undone(store, point, command):
    store.create("d")
    assert store.run("-s", store.path, *command, env={"CORPUSFS_FAULT": point}).code == -9
    assert store.ok("-s", store.path, "dataset", "list").split().count("e") == 0
    store.ok("-s", store.path, *command)
    assert store.ok("-s", store.path, "dataset", "list").split().count("e") == 1


def test_half_a_file_of_chunks_is_cleared_away(store, area):
    os.mkdir(area + "/source")
    with open(area + "/source/file", "wb") as handle:
        handle.write(random.Random(1).randbytes(4 << 20))
    assert store.run("-s", store.path, "import", "--all", area + "/source", "d", env={"CORPUSFS_FAULT": "kv.sst.finish"}).code == -9
    store.ok("-s", store.path, "import", "--all", area + "/source", "d")
    assert procs.read(store.mount() + "/d/file") == procs.read(area + "/source/file")
