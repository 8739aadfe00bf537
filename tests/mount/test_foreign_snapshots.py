"""Trees that hold a directory .snapshots of their own, by every way in: the dataset's snapshots stay what they are."""

import json
import os
import shutil
import subprocess

import pytest

from harness import posix, tree
from harness.snapshots import names


def put(path, data=b"x"):
    with open(path, "wb") as handle:
        handle.write(data)


@pytest.fixture
def source(area):
    """As snapper has it: with files, empty directories, modes of all kinds."""
    root = area + "/source"
    os.makedirs(root + "/.snapshots/7/snapshot/etc")
    os.makedirs(root + "/.snapshots/8")
    os.makedirs(root + "/sub/.snapshots/9")
    for name in ("file", ".snapshots/7/info.xml", ".snapshots/7/snapshot/etc/passwd", "sub/.snapshots/9/inside", "sub/.snapshots/list"):
        put(f"{root}/{name}", name.encode())
    os.chmod(root + "/.snapshots/8", 0o700)
    return root


@pytest.fixture(params=["hidden", "visible"])
def dataset(store, request):
    """A dataset that was empty when it got a snapshot, and has another one since."""
    root = store.mount(options="allow_other,snapdir=" + request.param) + "/d"
    store.create("d")
    os.mkdir(root + "/.snapshots/empty")
    put(root + "/file")
    os.mkdir(root + "/.snapshots/mine")
    return root


COPIES = {
    "rsync": ["rsync", "-a", "{source}/", "{d}/"],
    "rsync_delete": ["rsync", "-a", "--delete", "{source}/", "{d}/"],
    "rsync_plain": ["rsync", "-r", "--delete-after", "{source}/", "{d}/"],
    "cp_archive": ["cp", "-a", "{source}/.", "{d}/"],
    "cp": ["cp", "-r", "{source}/.", "{d}/"],
    "cp_umask": ["sh", "-c", "umask 0; cp -r {source}/. {d}/"],
    "cp_directory": ["cp", "-r", "{source}/.snapshots", "{d}/"],
    "tar": ["sh", "-c", "tar -C {source} -c . | tar -C {d} -x"],
    "tar_user": ["sh", "-c", "tar -C {source} -c . | tar -C {d} -x --no-same-owner --no-same-permissions"],
    "mv": ["sh", "-c", "mv {source}/.snapshots/* {d}/.snapshots/"],
    "install": ["install", "-d", "{d}/.snapshots/7"],
    "import": ["{binary}", "-s", "{store}", "import", "{source}", "d"],
}


@pytest.mark.parametrize("how", COPIES)
def test_copying_a_tree_leaves_snapshots_alone_and_says_what_it_left_out(dataset, source, store, how):
    places = {"source": source, "d": dataset, "binary": store.binary, "store": store.path}
    done = subprocess.run([word.format(**places) for word in COPIES[how]], capture_output=True, text=True, timeout=60)
    assert names(store) == ["empty", "mine"] and sorted(os.listdir(dataset + "/.snapshots")) == ["empty", "mine"], done
    assert done.returncode != 0 and ".snapshots" in done.stderr, done
    if how not in ("mv", "install", "cp_directory"):
        assert tree.differences(tree.scan(source + "/sub", times=False), tree.scan(dataset + "/sub", times=False)) == []


REMOVALS = {
    "rsync": ["rsync", "-a", "--delete", "{source}/", "{d}/"],
    "rm": ["rm", "-r", "{d}/.snapshots"],
    "rm_one": ["rm", "-rf", "{d}/.snapshots/empty"],
    "find": ["find", "{d}/.snapshots/empty", "-delete"],
    "python": ["python3", "-c", "import shutil; shutil.rmtree('{d}/.snapshots/empty')"],
}


@pytest.mark.parametrize("how", REMOVALS)
def test_removing_a_tree_removes_no_snapshot(dataset, area, store, how):
    os.makedirs(area + "/source/.snapshots")
    words = [word.format(source=area + "/source", d=dataset) for word in REMOVALS[how]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert names(store) == ["empty", "mine"], done
    assert done.returncode != 0 or how == "rsync", done


def test_snapshots_are_taken_and_destroyed_by_hand(dataset, store):
    subprocess.run(["mkdir", dataset + "/.snapshots/a", dataset + "/.snapshots/b"], check=True, timeout=60)
    subprocess.run(["mkdir", "-p", dataset + "/.snapshots/c"], check=True, timeout=60)
    with posix.umask(0o077):
        os.mkdir(dataset + "/.snapshots/e")
    with posix.umask(0):
        os.makedirs(dataset + "/.snapshots/f", exist_ok=True)
    assert names(store) == ["empty", "mine", "a", "b", "c", "e", "f"]
    os.listdir(dataset + "/.snapshots/mine")
    for name in ("mine", "a", "b", "c", "e", "f"):
        os.rmdir(f"{dataset}/.snapshots/{name}")
    subprocess.run(["sh", "-c", "ls .snapshots/empty && rmdir .snapshots/empty"], cwd=dataset, check=True, timeout=60)
    assert names(store) == [] and os.listdir(dataset + "/.snapshots") == []


def test_a_mode_that_was_asked_for_takes_no_snapshot(dataset, store):
    for mode in (0o755, 0o700, 0o750, 0o775):
        assert posix.outcome(os.mkdir, dataset + "/.snapshots/x", mode) == "EPERM"
    assert names(store) == ["empty", "mine"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_new_files_have_the_modes_of_ext4_whatever_the_umask(pair, umask):
    """The kernel leaves it to the filesystem to apply it."""
    results = []
    for root in pair:
        with posix.umask(umask):
            os.mkdir(root + "/dir")
            os.mkdir(root + "/private", 0o700)
            os.close(os.open(root + "/file", os.O_CREAT | os.O_WRONLY, 0o666))
            os.close(os.open(root + "/program", os.O_CREAT | os.O_WRONLY, 0o755))
            os.mkfifo(root + "/fifo", 0o622)
            os.symlink("file", root + "/link")
            fd = os.open(root, os.O_TMPFILE | os.O_RDWR, 0o666)
            posix.linkat_fd(fd, root + "/unnamed")
            os.close(fd)
        results.append({name: oct(os.lstat(f"{root}/{name}").st_mode) for name in os.listdir(root)})
    assert results[0] == results[1] and len(results[0]) == 7


def test_new_datasets_have_the_mode_that_the_umask_leaves(fs):
    for umask, mode in ((0o022, 0o755), (0o077, 0o700), (0o002, 0o775)):
        with posix.umask(umask):
            os.mkdir(f"{os.path.dirname(fs)}/new{umask:o}")
        assert os.stat(f"{os.path.dirname(fs)}/new{umask:o}").st_mode & 0o7777 == mode


def test_below_the_root_it_is_a_name_like_others(fs, store):
    os.makedirs(fs + "/dir/.snapshots/x")
    put(fs + "/dir/.snapshots/x/file", b"data")
    assert os.listdir(fs + "/dir") == [".snapshots"] and os.listdir(fs + "/dir/.snapshots") == ["x"]
    os.rename(fs + "/dir/.snapshots", fs + "/dir/other")
    os.rename(fs + "/dir/other", fs + "/dir/.snapshots")
    assert posix.outcome(os.rename, fs + "/dir/.snapshots", fs + "/.snapshots") != "ok"
    os.mkdir(fs + "/.snapshots/v1")
    shutil.rmtree(fs + "/dir/.snapshots")
    assert os.listdir(fs + "/dir") == []
    with open(fs + "/.snapshots/v1/dir/.snapshots/x/file", "rb") as handle:
        assert handle.read() == b"data"
    put(fs + "/dir/.snapshots", b"a file")
    os.unlink(fs + "/dir/.snapshots")


def test_what_an_import_brought_below_the_root_can_be_removed(fs, source, store):
    result = store.run("-s", store.path, "import", "--json", source, "d")
    assert result.code != 0 and ".snapshots" in result.out + result.err
    assert sorted(os.listdir(fs)) == ["file", "sub"] and names(store) == []
    assert sorted(os.listdir(fs + "/sub/.snapshots")) == ["9", "list"]
    shutil.rmtree(fs + "/sub/.snapshots")
    assert os.listdir(fs + "/sub") == []
    assert json.loads(store.ok("-s", store.path, "snapshot", "list", "d", "--json")) == []
