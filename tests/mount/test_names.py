"""Names and directories at their limits; listings while entries come and go."""

import os
import random
import threading

import pytest

from harness import posix, program


@pytest.mark.sanitize
@pytest.mark.parametrize("name", [
    b"\xff\xfe not utf-8", b" ", b"\n", b"-rf", b"a" * 255, "ä€😀".encode(), b"...", b"*?[", b"\x01", b"\\", "é".encode() * 127,
    b".hidden", b".snapshots2"
])  # fmt: skip
def test_name_is_kept_byte_for_byte(fs, store, name):
    path = os.fsencode(fs) + b"/" + name
    with open(path, "wb") as handle:
        handle.write(name)
    assert os.listdir(os.fsencode(fs)) == [name]
    store.umount()
    store.mount(store.area + "/mnt")
    assert os.listdir(os.fsencode(fs)) == [name]
    with open(path, "rb") as handle:
        assert handle.read() == name
    os.unlink(path)
    assert os.listdir(fs) == []


def test_case_and_normal_forms_are_different_names(d):
    names = ["a", "A", "\u00e9", "e\u0301", "ß", "ss"]
    for name in names:
        open(f"{d}/{name}", "wb").close()
    assert sorted(os.listdir(d)) == sorted(names)


def test_deep_directories(fs, store):
    fd = os.open(fs, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    assert posix.outcome(os.stat, fs + "/deep" * 1000) == "ENAMETOOLONG"
    for _ in range(1000):
        above = os.open("..", os.O_RDONLY, dir_fd=fd)
        os.rmdir("deep", dir_fd=above)
        os.close(fd)
        fd = above
    os.close(fd)
    assert os.listdir(fs) == []


def test_dot_and_dotdot_lead_where_they_should(d):
    os.makedirs(d + "/a/b")
    os.mkdir(d + "/c")
    os.rename(d + "/a/b", d + "/c/b")
    assert os.stat(d + "/c/b/..").st_ino == os.stat(d + "/c").st_ino
    assert os.stat(d + "/c/b/.").st_ino == os.stat(d + "/c/b").st_ino
    assert posix.outcome(os.rename, d + "/c", d + "/c/b/c") == "EINVAL"


@pytest.mark.sanitize
@pytest.mark.timeout(240)
def test_big_directory_lists_every_name_once_while_others_come_and_go(fs, store):
    count = 100000 // (10 * program.scale() if program.sanitized() else 1)
    for number in range(count):
        os.mknod(f"{fs}/stays{number}", 0o644)
    stop = threading.Event()

    def churn(seed):
        chance = random.Random(seed)
        while not stop.is_set():
            path = f"{fs}/goes{seed}-{chance.randrange(200)}"
            try:
                if chance.random() < 0.5:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                elif chance.random() < 0.5:
                    os.unlink(path)
                else:
                    os.rename(path, path + "x")
                    os.unlink(path + "x")
            except OSError:
                pass

    threads = [threading.Thread(target=churn, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            with os.scandir(fs) as entries:
                names = [entry.name for entry in entries]
            stays = [name for name in names if name.startswith("stays")]
            assert len(stays) == count and len(set(stays)) == count
            assert len(names) == len(set(names)), "a name was listed twice"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    store.umount()
    store.mount(store.area + "/mnt")
    assert sum(name.startswith("stays") for name in os.listdir(fs)) == count


def test_directory_can_be_emptied_while_it_is_read(d):
    for number in range(3000):
        os.mknod(f"{d}/{number}", 0o644)
    with os.scandir(d) as entries:
        for entry in entries:
            os.unlink(entry.path)
    assert os.listdir(d) == []


def test_rewound_directory_shows_what_is_new(d):
    fd = os.open(d, os.O_RDONLY)
    assert os.listdir(fd) == []
    os.mknod(d + "/new", 0o644)
    assert os.listdir(fd) == ["new"]
    os.unlink(d + "/new")
    assert os.listdir(fd) == []
    os.close(fd)


def test_listing_has_the_right_types(d):
    os.mkdir(d + "/dir")
    os.mknod(d + "/file", 0o644)
    os.symlink("x", d + "/link")
    os.mkfifo(d + "/fifo")
    with os.scandir(d) as entries:
        found = {e.name: (e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False), e.is_symlink()) for e in entries}
    assert found == {"dir": (True, False, False), "file": (False, True, False), "link": (False, False, True), "fifo": (False, False, False)}


def test_snapshots_directory_is_not_listed_and_cannot_be_made(fs):
    assert ".snapshots" not in os.listdir(fs)
    assert posix.outcome(os.mkdir, fs + "/.snapshots") in ("EEXIST", "EPERM")
    assert posix.outcome(os.mknod, fs + "/.snapshots", 0o644) in ("EEXIST", "EPERM")
    assert posix.outcome(os.rmdir, fs + "/.snapshots") != "ok"


def test_only_datasets_live_at_the_root(fs, store):
    root = os.path.dirname(fs)
    assert os.listdir(root) == ["d"]
    assert posix.outcome(os.open, root + "/file", os.O_CREAT | os.O_WRONLY) == "EPERM"
    assert posix.outcome(os.symlink, "x", root + "/link") == "EPERM"
    assert posix.outcome(os.mkfifo, root + "/fifo") == "EPERM"
    os.mkdir(root + "/made")
    assert sorted(os.listdir(root)) == ["d", "made"]
    os.rename(root + "/made", root + "/renamed")
    assert sorted(os.listdir(root)) == ["d", "renamed"]
    assert posix.outcome(os.rename, root + "/renamed", root + "/d") in ("EEXIST", "ENOTEMPTY")
    open(root + "/renamed/file", "wb").close()
    assert posix.outcome(os.rmdir, root + "/renamed") == "ENOTEMPTY"
    os.unlink(root + "/renamed/file")
    os.rmdir(root + "/renamed")
    assert os.listdir(root) == ["d"]
    assert posix.outcome(os.mkdir, root + "/.snapshots") != "ok"
    assert posix.outcome(os.mkdir, os.fsencode(root) + b"/\xff") in ("EINVAL", "EILSEQ")


def test_dataset_created_by_command_appears_at_once(fs, store):
    root = os.path.dirname(fs)
    assert posix.outcome(os.stat, root + "/second") == "ENOENT"
    store.create("second")
    os.stat(root + "/second")
    store.ok("-s", store.path, "dataset", "rename", "second", "third")
    assert sorted(os.listdir(root)) == ["d", "third"] and posix.outcome(os.stat, root + "/second") == "ENOENT"
    store.ok("-s", store.path, "dataset", "destroy", "third")
    assert os.listdir(root) == ["d"] and posix.outcome(os.stat, root + "/third") == "ENOENT"
