"""import of directories: what is there already, names that belong to us, any depth."""

import json
import os
import random
import subprocess

import pytest

from harness import program, tree
from test_import import exported, imported, problems, read


@pytest.mark.parametrize("form", ["directory", "tar"])
def test_directories_of_snapshots_of_another_system_do_not_come_in(store, area, form):
    """In the root of a dataset the name leads to its own snapshots: a real one could not be removed. Below, it is a name like others."""
    for place in ("", "/sub"):
        os.makedirs(f"{area}/in{place}/.snapshots/7/snapshot")
        with open(f"{area}/in{place}/file", "wb"):
            pass
    if form == "tar":
        subprocess.run(["tar", "-cf", area + "/a.tar", "-C", area + "/in", "."], check=True, timeout=60)
    point = store.mount()
    done = imported(store, area + ("/a.tar" if form == "tar" else "/in"), "d", code=1)
    assert ".snapshots" in set(problems(done)) and "sub/.snapshots" not in set(problems(done))
    assert sorted(os.listdir(point + "/d")) == ["file", "sub"] and sorted(os.listdir(point + "/d/sub")) == [".snapshots", "file"]
    assert os.listdir(point + "/d/sub/.snapshots/7") == ["snapshot"]
    subprocess.run(["rm", "-r", point + "/d/sub"], check=True, timeout=60)


@pytest.mark.sanitize
def test_files_that_were_one_in_the_dataset_become_two(store, area):
    os.makedirs(area + "/in")
    for name in "abcd":
        with open(f"{area}/in/{name}", "wb") as handle:
            handle.write(b"same")
    for first, second in ("ab", "cd"):
        os.unlink(f"{area}/in/{second}")
        os.link(f"{area}/in/{first}", f"{area}/in/{second}")
    for name in "abcd":
        os.utime(f"{area}/in/{name}", ns=(10**18, 10**18))
    imported(store, area + "/in", "d")
    for first, second in ("ac", "bd"):
        os.unlink(f"{area}/in/{second}")
        os.link(f"{area}/in/{first}", f"{area}/in/{second}")
    imported(store, area + "/in", "d")
    tree.assert_same(area + "/in", exported(store, "d", area))


def test_a_second_name_is_not_linked_to_what_stood_under_the_first_before(store, area):
    """The first name of a file with two was not read: what the dataset has under it is another file, and the second name keeps its own."""
    os.makedirs(area + "/in")
    for name in "ab":
        with open(f"{area}/in/{name}", "wb") as handle:
            handle.write(b"old " + name.encode())
    imported(store, area + "/in", "d")
    os.unlink(area + "/in/b")
    with open(area + "/in/a", "wb") as handle:
        handle.write(b"new content")
    os.link(area + "/in/a", area + "/in/b")
    done = imported(store, area + "/in", "d", code=1, env={"CORPUSFS_FAULT": "import-before-read:eio"})
    assert sorted(problems(done)) == ["a", "b"] and "the file that it is a hard link of is missing" in problems(done).values()
    out = exported(store, "d", area)
    assert [read(f"{out}/{name}") for name in "ab"] == [b"old a", b"old b"]
    imported(store, area + "/in", "d")
    tree.assert_same(area + "/in", exported(store, "d", area, "out2"))


def test_more_names_of_a_file_that_is_there_are_linked_to_it(store, area):
    os.makedirs(area + "/in")
    with open(area + "/in/a", "wb") as handle:
        handle.write(b"content")
    os.utime(area + "/in/a", ns=(10**18, 10**18))
    imported(store, area + "/in", "d")
    for name in "bc":
        os.link(area + "/in/a", f"{area}/in/{name}")
    imported(store, area + "/in", "d")
    tree.assert_same(area + "/in", exported(store, "d", area))


def test_a_new_owner_comes_in(store, area):
    os.makedirs(area + "/in")
    with open(area + "/in/f", "wb"):
        imported(store, area + "/in", "d")
    os.chown(area + "/in/f", 1234, 1234)
    imported(store, area + "/in", "d")
    tree.assert_same(area + "/in", exported(store, "d", area))


@pytest.mark.timeout(300)
def test_a_source_may_be_as_deep_as_a_disk_allows(store, area):
    """Far deeper than any path may be long, and than there are descriptors."""
    os.mkdir(area + "/deep")
    os.close(tree.make_deep(area + "/deep", 35000, 1000))
    try:
        result = subprocess.run(["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", store.binary, "-s", store.path, "import", "--json", area + "/deep", "d"],
                                stdout=subprocess.PIPE, env=program.environment(store.run_mark, store.logs), timeout=280, check=False)
        assert result.returncode == 0
        done = json.loads(result.stdout)
        assert (done["directories"], done["files"]) == (35000, 35)
    finally:
        subprocess.run(["rm", "-rf", area + "/deep"], check=True, timeout=100)


MIB = 1 << 20
LENGTHS = (1, 16383, 16384, 16385, 100_001, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 8 * MIB, 13 * MIB + 7, 24 * MIB)


def make_cold(path):
    """Files of all kinds of lengths, of which nothing is in memory; one has a hole."""
    os.mkdir(path)
    for length in LENGTHS:
        with open(f"{path}/{length}", "wb") as handle:
            handle.write(random.Random(length).randbytes(length))
    with open(path + "/hole", "wb") as handle:
        handle.write(b"x" * 100_000)
        handle.seek(5 * MIB)
        handle.write(b"y" * 9 * MIB)
    for name in os.listdir(path):
        with open(f"{path}/{name}", "rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(path):
    out = subprocess.run(["fincore", "-bno", "RES", path], check=True, timeout=60, capture_output=True, text=True).stdout
    return int(out.split()[0]) if out.split() else 0


@pytest.mark.sanitize
def test_what_is_in_memory_in_part_or_not_at_all_comes_in_whole(store, area):
    make_cold(area + "/in")
    for name in os.listdir(area + "/in")[::2]:
        with open(f"{area}/in/{name}", "rb") as handle:
            os.pread(handle.fileno(), 1, os.stat(f"{area}/in/{name}").st_size // 2)
    imported(store, area + "/in", "d")
    tree.assert_same(area + "/in", exported(store, "d", area))


def test_import_does_not_fill_the_memory_with_what_it_reads(store, area):
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 5):
        pytest.skip("this kernel cannot tell what is in memory (cachestat, since 6.5)")
    make_cold(area + "/in")
    try:
        os.close(os.open(area + "/in/1", os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this filesystem does not read past the page cache")
    cold = [name for name in sorted(os.listdir(area + "/in")) if cached(f"{area}/in/{name}") == 0]
    imported(store, area + "/in", "d")
    assert cold and [name for name in cold if name not in ("1", "16383", "hole") and cached(f"{area}/in/{name}")] == []


@pytest.mark.parametrize("nth, path, text", [(2, "f", "could not be listed"), (3, "f", "attribute user.x was left out: it could not be read")])
def test_attributes_that_cannot_be_read_are_told(store, area, nth, path, text):
    """First the directory's are listed, then the file's, then its one is read."""
    os.makedirs(area + "/in")
    with open(area + "/in/f", "wb") as handle:
        handle.write(b"content")
    os.setxattr(area + "/in/f", "user.x", b"value")
    done = imported(store, area + "/in", "d", code=1, env={"CORPUSFS_FAULT": f"import-before-attribute:eio:{nth}"})
    assert list(problems(done)) == [path] and text in problems(done)[path] and done["files"] == 1
