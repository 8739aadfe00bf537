"""One way to name things in every command: DATASET[@NAME][/PATH], a path in a mount, a path relative to the current directory."""

import json
import os
import subprocess

import pytest

from harness import procs, program
from harness.repository import SECRETS, Repository


@pytest.fixture
def words(store):
    """The mount of a store with dataset words, in it train/a in two versions, the first one in snapshot v1; and dataset other."""
    mount = store.mount()
    for dataset in ("words", "other"):
        os.mkdir(f"{mount}/{dataset}")
    os.mkdir(f"{mount}/words/train")
    write(f"{mount}/words/train/a", "one")
    os.mkdir(f"{mount}/words/.snapshots/v1")
    write(f"{mount}/words/train/a", "two!")
    return mount


def write(path, text):
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)


def read(path):
    with open(path, encoding="utf-8") as handle:
        return handle.read()


WAYS = [  # (where one stands, what one says), all of them train/a of dataset words
    ("", "words/train/a"), ("", "./words/train/a"), ("/words", "train/a"), ("/words", "./train/a"), ("/words/train", "a"),
    ("/words/train", "../train/a"), ("/words", "words/train/a"), ("/other", "../words/train/a"), ("/other", "words/train//a"),
    ("/words", ".snapshots/v1/train/a"), ("/words/.snapshots/v1/train", "a"),
]


@pytest.mark.parametrize("here, place", WAYS)
def test_versions(store, words, here, place):
    rows = json.loads(store.ok("versions", place, "--json", cwd=words + here))
    assert [(row["path"], row["size"]) for row in rows] == [("train/a", 3), ("train/a", 4)]


def test_a_path_tells_the_store(store, words, area):
    for place in (f"{words}/words/train/a", f"{words}/words/.snapshots/v1/train/a"):
        assert len(json.loads(store.ok("versions", place, "--json", cwd=area))) == 2
    assert len(json.loads(store.ok("-s", store.path, "versions", "words/train/a", "--json", cwd=area))) == 2
    result = store.run("-s", area, "versions", f"{words}/words/train/a")
    assert result.code == program.USAGE and "lies in the store" in result.err


def test_a_path_from_outside_without_a_dot_is_no_dataset(store, words, area):
    name = os.path.relpath(words, area)
    for env in ({"CORPUSFS_STORE": store.path}, {}):
        commands = ["diff", f"{name}/words/.snapshots/v1", f"{name}/words"], ["versions", f"{name}/words/train/a"], ["import", store.logs, f"{name}/words/sub"]
        for command in commands:
            result = store.run(*command, cwd=area, env=env)
            assert result.code == program.USAGE and f'there is no dataset "{name}"' in result.err and f"./{name}/words" in result.err, result
    assert sorted(os.listdir(words)) == ["other", "words"]
    store.ok("import", store.logs, f"./{name}/words/sub", cwd=area, env={"CORPUSFS_STORE": store.path})
    assert os.path.isdir(words + "/words/sub")


@pytest.mark.parametrize("here, places", [
    ("", ["words@v1", "words"]), ("/words", [".snapshots/v1", "."]), ("/words", [".@v1", "."]), ("/other", ["../words@v1", "../words"]),
    ("", ["words/.snapshots/v1/train", "words/train"]), ("/words", ["words@v1/train"]), ("/words/train", ["../.snapshots/v1/train"]),
    ("/words", ["words@v1", "--path", "train"]), ("/words/train", ["words@v1", "--path", "./a"]), ("/words", [".", "--path", "/train/"]),
])
def test_diff(store, words, here, places):
    assert store.ok("diff", *places, cwd=words + here).splitlines() == ["M train/a"]


def test_diff_refuses_what_is_no_one_path(store, words):
    for places in (["words@v1/train", "words/other"], ["words@v1/train", "--path", "elsewhere"], ["words@v1", "--path", "../other/x"]):
        assert store.run("diff", *places, cwd=words + "/words").code == program.USAGE
    result = store.run("diff", "words@v1/trian", cwd=words)
    assert result.code == program.NOT_FOUND and '"trian"' in result.err


@pytest.mark.parametrize("here, args", [
    ("", ["words@v1", "--path", "train/a"]), ("", ["words@v1/train/a"]), ("/words", [".snapshots/v1/train/a"]),
    ("/words/train", ["words@v1", "--path", "./a"]), ("/words/train", ["../.snapshots/v1", "--path", "./a"]),
])
def test_rollback_of_a_path(store, words, here, args):
    assert store.ok("rollback", *args, "-n", cwd=words + here).splitlines() == ["M train/a"]
    store.ok("rollback", *args, cwd=words + here)
    assert read(f"{words}/words/train/a") == "one"
    assert os.listdir(f"{words}/words/.snapshots") == ["v1"]


def test_rollback_of_a_dataset_that_one_stands_in(store, words):
    store.ok("rollback", ".snapshots/v1", cwd=words + "/words")
    assert read(f"{words}/words/train/a") == "one"


def test_snapshots(store, words):
    here = words + "/words"
    store.ok("snapshot", "create", ".@v2", "../other@v2", cwd=here)

    def names(dataset):
        return [row["name"] for row in json.loads(store.ok("snapshot", "list", dataset, "--json", cwd=here))]

    assert names(".") == ["v1", "v2"] and names("../other") == ["v2"] and names("words") == ["v1", "v2"]
    store.ok("snapshot", "hold", ".snapshots/v2", "tag", cwd=here)
    assert json.loads(store.ok("snapshot", "show", f"{words}/words/.snapshots/v2", "--json"))["holds"] == ["tag"]
    store.ok("snapshot", "release", "words@v2", "tag", cwd=here)
    store.ok("snapshot", "rename", ".snapshots/v2", "w2", cwd=here)
    store.ok("clone", ".snapshots/w2", "copy", cwd=here)
    assert read(f"{words}/copy/train/a") == "two!"
    store.ok("snapshot", "destroy", ".@w*", "../other@v2", cwd=here)
    assert names(".") == ["v1"] and names("../other") == []


def test_datasets(store, words):
    here = words + "/words/train"
    assert json.loads(store.ok("dataset", "show", "..", "--json", cwd=here))["name"] == "words"
    assert json.loads(store.ok("du", "..", "--json", cwd=here))["usage"][0]["dataset"] == "words"
    store.ok("snapshot", "schedule", "../../other", "--daily", "3", cwd=here)
    assert json.loads(store.ok("snapshot", "schedule", "other", "--json", cwd=here))["daily"] == 3
    store.ok("dataset", "set", "..", "--level", "3", cwd=here)
    store.ok("dataset", "rename", "../../other", "another", cwd=here)
    store.ok("dataset", "destroy", "../../another", cwd=here)
    assert sorted(os.listdir(words)) == ["words"]
    for args in (["dataset", "destroy", "."], ["dataset", "show", "words@v1"], ["snapshot", "list", "a"], ["snapshot", "show", "words"]):
        assert store.run(*args, cwd=here).code == program.USAGE


def test_in_and_out(store, words, area):
    store.ok("export", ".snapshots/v1/train", f"{area}/out", cwd=words + "/words")
    assert read(f"{area}/out/a") == "one"
    store.ok("import", f"{area}/out", "../other/in", cwd=words + "/words")
    assert read(f"{words}/other/in/a") == "one"
    store.ok("import", f"{area}/out", "fresh", cwd=words + "/words")
    assert read(f"{words}/fresh/a") == "one"
    store.ok("warm", ".", cwd=words + "/words")


def test_streams_and_backups(store, words, area):
    here = words + "/words/train"
    repository = Repository(store, area + "/repository")
    for place in ("..", "../.snapshots/v1", "words@v1", "../../other"):
        store.ok("backup", place, repository.path, cwd=here, env=SECRETS)
    assert sorted(row["dataset"] for row in repository.backups()) == ["other", "words", "words", "words"]
    for number, place in enumerate(("../.snapshots/v1", "words@v1", f"{words}/words/.snapshots/v1")):
        with open(f"{area}/stream{number}", "wb") as out:
            subprocess.run([store.binary, "send", place], cwd=here, stdout=out, env=program.environment(store.run_mark, store.logs), check=True, timeout=60)
    assert len({procs.read(f"{area}/stream{number}") for number in range(3)}) == 1
    for args in (["send", "."], ["send", "words"], ["backup", "words/train", repository.path]):
        assert store.run(*args, cwd=here, env=SECRETS).code == program.USAGE


def test_a_mount_of_one_dataset_or_snapshot(store, words, area):
    one = store.mount(f"{area}/one", "words", "allow_other")
    past = store.mount(f"{area}/past", "words@v1", "allow_other")
    for here, place in ((one, "train/a"), (one + "/train", "a"), (past, "train/a"), (area, f"{past}/train/a"), (area, f"{one}/train/a")):
        assert len(json.loads(store.ok("versions", place, "--json", cwd=here))) == 2
    assert store.ok("diff", past, one, cwd=area).splitlines() == ["M train/a"]
    assert store.ok("diff", ".", cwd=past).splitlines() == ["M train/a"]
    store.ok("rollback", "./train/a", cwd=past)
    assert read(f"{one}/train/a") == "one"


def test_a_dataset_comes_before_a_file_of_its_name(store, words):
    os.mkdir(f"{words}/words/other")
    write(f"{words}/words/other/b", "file")
    write(f"{words}/other/c", "dataset")
    rows = json.loads(store.ok("versions", "other/c", "--json", cwd=words + "/words"))
    assert rows[-1]["path"] == "c"
    rows = json.loads(store.ok("versions", "./other/b", "--json", cwd=words + "/words"))
    assert rows[-1]["path"] == "other/b"


def test_what_lies_in_no_mount_is_told(store, words, area):
    write(f"{area}/file", "")
    for place in (f"{area}/file", "./file", "."):
        result = store.run("-s", store.path, "versions", place, cwd=area)
        assert result.code == program.USAGE and "does not lie in a mount" in result.err
