"""A backup that lacks what could not be read is a base all the same, and what it lacks is looked for again until it is there."""

import json
import os
import random

import pytest

from harness import files, program, rot, tree

DATA = random.Random(4).randbytes(200000)


HURT = "deep/down/hurt"


@pytest.fixture(name="good", autouse=True)
def _good(store):
    """A file far down, whose content is damaged."""
    point = store.mount()
    os.makedirs(point + "/d/deep/down")
    files.put(point + "/d/deep/down/hurt", DATA)
    files.put(point + "/d/deep/beside", b"beside")
    good = tree.scan(point + "/d")
    store.umount()
    assert rot.content(store, DATA, 100000) > 0
    store.expected.append("damage")
    return good


def assert_lacks(done):
    assert [row["path"] for row in done["problems"]] == [HURT] and done["problem_count"] == 1, done


@pytest.mark.parametrize("kind", ["incremental", "differential"])
def test_an_incomplete_backup_is_a_base_and_what_it_lacks_is_told_each_time(repository, store, area, good, kind):
    first = repository.backup("d", code=program.FAILED)
    assert_lacks(first)
    for number in range(2):
        files.put(f"{store.mount()}/d/new{number}", os.urandom(1000))
        done = repository.backup("d", kind=kind, code=program.FAILED)
        assert_lacks(done)
        assert done["base"] == (first["backup"] if kind == "differential" or number == 0 else last["backup"])
        assert done["compared"] and done["unchanged"] > 3 and done["files"] == (number + 1 if kind == "differential" else 1), done
        last = done
    repository.restore(area + "/out", last["backup"], code=program.FAILED)
    found = tree.scan(area + "/out")
    assert set(good) - set(found) == {"./" + HURT} and found["./deep/beside"]["content"] == good["./deep/beside"]["content"]


@pytest.mark.parametrize("kind", ["incremental", "differential"])
def test_what_was_healed_comes_into_the_next_backup_though_nobody_changed_it(repository, store, area, kind):
    assert_lacks(repository.backup("d", code=program.FAILED))
    store.create("e")
    files.put(store.mount() + "/e/copy", DATA)
    store.umount()
    done = repository.backup("d", kind=kind)
    assert done["problem_count"] == 0 and done["compared"] and done["unchanged"] > 3, done
    assert not repository.backups()[-1]["incomplete"]
    assert json.loads(repository.restore(area + "/out", done["backup"], "--json").out)["same"]
    tree.assert_same(store.mount() + "/d", area + "/out")


def test_a_differential_one_is_based_on_the_last_complete_full_one(repository, store):
    os.remove(f"{store.mount()}/d/{HURT}")
    whole = repository.backup("d")["backup"]
    other = random.Random(5).randbytes(9 << 20)
    files.put(f"{store.mount()}/d/{HURT}", other)
    store.umount()
    assert rot.content(store, other, 1000000) > 0
    assert_lacks(repository.backup("d", code=program.FAILED))
    assert repository.backup("d", kind="differential", code=program.FAILED)["base"] == whole
