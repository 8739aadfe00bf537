"""A rollback, seen by who stands in the dataset, shows it alone at another place, or has it by a handle: each goes on in the head that it has then."""

import ctypes
import os
import subprocess
import threading

import pytest

from harness import posix, procs, program, succession
from harness.files import get, put
from harness.snapshots import cli, names

MANY, ALICE = 5000, 61001


def bind(store, source, name, *options):
    """As an administrator does it, past corpusfs."""
    place = f"{store.area}/{name}"
    os.mkdir(place)
    subprocess.run(["mount", "--bind", source, place], check=True, timeout=60)
    if options:
        subprocess.run(["mount", "-o", ",".join(["remount", "bind", *options]), place], check=True, timeout=60)
    return place


def unbind(*places):
    for place in places:
        subprocess.run(["umount", "-l", place], check=True, timeout=60)


@pytest.fixture
def places(fs, store):
    """All that shows dataset d: its directory in the mount of the store, and binds of that; the last is read-only."""
    put(fs + "/file", b"old")
    os.mkdir(fs + "/.snapshots/v")
    made = [fs, store.mount(dataset="d"), bind(store, fs, "outside"), bind(store, fs, "read-only", "ro")]
    yield made
    unbind(*made[2:])


class Standing:
    """A process whose working directory it is: the daemon knows nothing of that."""

    def __init__(self, place, script):
        self.process = subprocess.Popen(["sh", "-c", f"read line; pwd -P; {script}"], cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)  # fmt: skip

    def go_on(self):
        return self.process.communicate("\n", timeout=60)[0].splitlines()


@pytest.mark.sanitize
def test_all_places_show_the_head_that_there_is(places, store):
    handles, mode = [os.open(place, os.O_PATH | os.O_DIRECTORY) for place in places], os.stat(places[0]).st_mode
    for number in range(3):
        put(places[number] + "/file", b"newer %d" % number)
        put(places[number] + "/more", b"more")
        os.chmod(places[number], 0o700)
        assert [get(place + "/file") for place in places] == [b"newer %d" % number] * 4
        assert [sorted(os.listdir(place)) for place in places] == [["file", "more"]] * 4
        standing = [Standing(place, "cat file; echo; ls -l") for place in places]
        cli(store, "rollback", "--no-guard", "d@v")
        for turn in range(2):
            assert [get(place + "/file") for place in places] == [b"old"] * 4, turn
            assert [os.listdir(place) for place in places] == [["file"]] * 4
            assert {os.stat(place).st_mode for place in places} == {mode}
            assert {posix.outcome(os.stat, place + "/more") for place in places} == {"ENOENT"}
            assert len({os.stat(place).st_ino for place in places}) == 1
            for handle in handles:
                found = os.open("file", os.O_RDONLY, dir_fd=handle)
                assert os.read(found, 100) == b"old"
                os.close(found)
            posix.drop_caches()
        for place, process in zip(places, standing):
            told = process.go_on()
            assert told[:2] == [place, "old"] and told[-1].endswith(" file"), told
    assert posix.outcome(put, places[-1] + "/file", b"x") == "EROFS"
    assert [len(procs.mounts(place)) for place in places[1:]] == [1] * 3
    for handle in handles:
        os.close(handle)


def test_what_was_open_before_is_stale_and_below_one_is_in_what_was(places, store):
    os.mkdir(places[0] + "/dir")
    for place in places:
        below = os.open(place + "/dir", os.O_PATH | os.O_DIRECTORY)
        with open(place + "/file", "rb") as handle:
            cli(store, "rollback", "--no-guard", "d@v")
            assert posix.outcome(os.fsync, handle) == "ESTALE"
            refused = "EROFS" if place == places[-1] else "ESTALE"
            assert posix.outcome(posix.linkat_fd, handle.fileno(), place + "/link") == refused
        assert posix.outcome(os.stat, "x", dir_fd=below) == "ESTALE"
        assert posix.outcome(os.rename, "x", place + "/x", src_dir_fd=below) == refused
        os.close(below)
        os.mkdir(places[0] + "/dir")


def test_a_listing_that_the_kernel_has_begun_from_its_memory_ends_with_an_error_too(places, store):
    """The daemon was never asked for its beginning."""
    for number in range(MANY // program.scale()):
        put(f"{places[0]}/more{number}", b"")
    os.mkdir(places[0] + "/.snapshots/old")
    for number in range(0, MANY // program.scale(), 2):
        os.unlink(f"{places[0]}/more{number}")
    for place in places:
        assert len(os.listdir(place)) == len(os.listdir(place)) == 1 + MANY // program.scale() // 2
        with os.scandir(place) as listing:
            next(listing)
            cli(store, "rollback", "d@old")
            with pytest.raises(OSError, match="Stale file handle"):
                for _ in listing:
                    pass
        assert len(os.listdir(place)) == 1 + MANY // program.scale()
        cli(store, "rollback", "d@" + next(name for name in names(store) if name.startswith("before")))
        for name in names(store):
            if name.startswith("before"):
                cli(store, "snapshot", "destroy", f"d@{name}")


def test_what_the_kernel_remembers_of_the_root_is_that_of_the_head(store):
    """In every session that shows it: what may be done there, and what it is labelled with."""
    point = store.mount(options="allow_other,acl")
    store.create("d")
    roots = [point + "/d", store.mount(dataset="d", options="allow_other,acl,ro")]
    os.chmod(roots[0], 0o755)
    os.setxattr(roots[0], "user.state", b"old")
    put(roots[0] + "/file", b"old")
    os.mkdir(roots[0] + "/.snapshots/v")

    def seen(root):
        with posix.as_user(ALICE, ALICE):
            allowed = posix.outcome(os.listdir, root), posix.outcome(os.stat, root + "/file")
        return *allowed, os.getxattr(root, "user.state")

    assert len({os.stat(root).st_dev for root in roots}) == 2
    for _ in range(3):
        os.setxattr(roots[0], "user.state", b"new")
        subprocess.run(["setfacl", "-m", f"u:{ALICE}:-", roots[0]], check=True, timeout=60)
        procs.poll(lambda: {seen(root) for root in roots} == {("EACCES", "EACCES", b"new")}, 20, "both show what was done")
        cli(store, "rollback", "--no-guard", "d@v")
        assert [seen(root) for root in roots] == [("ok", "ok", b"old")] * 2
        assert [os.listxattr(root) for root in roots] == [["user.state"]] * 2
        assert [get(root + "/file") for root in roots] == [b"old"] * 2


@pytest.mark.parametrize("made", ["by mkdir", "by command", "as a clone", "by import"])
def test_datasets_that_came_after_the_mount(fs, store, made):
    point, new = os.path.dirname(fs), os.path.dirname(fs) + "/new"
    os.mkdir(fs + "/.snapshots/v")
    os.mkdir(store.area + "/source")
    make = {"by mkdir": lambda: os.mkdir(new), "by command": lambda: store.create("new"), "as a clone": lambda: cli(store, "clone", "d@v", "new"),
            "by import": lambda: cli(store, "import", store.area + "/source", "new")}  # fmt: skip
    make[made]()
    os.mkdir(new + "/.snapshots/v")
    before = sorted(os.listdir(new))
    os.mkdir(new + "/dir")
    standing, bound = Standing(new, "ls"), bind(store, new, "bound")
    cli(store, "rollback", "new@v")
    assert sorted(os.listdir(bound)) == sorted(os.listdir(new)) == before
    assert sorted(standing.go_on()) == sorted([new, *before])
    os.rename(new, point + "/renamed")
    put(point + "/renamed/added", b"x")
    assert get(bound + "/added") == b"x"
    cli(store, "rollback", "renamed@v")
    assert sorted(os.listdir(bound)) == before
    unbind(bound)


def test_a_dataset_of_the_same_name_is_another(places, store):
    """What shows one that is destroyed shows nothing any more, whatever comes."""
    stands = Standing(places[0], "ls")
    cli(store, "rollback", "d@v")
    store.umount(places[1])
    cli(store, "dataset", "destroy", "--snapshots", "d")
    for _ in range(2):
        for place in places[2:]:
            assert posix.outcome(os.listdir, place) in ("ESTALE", "ENOENT")
            assert posix.outcome(get, place + "/file") in ("ESTALE", "ENOENT")
        if not os.path.exists(places[0]):
            store.create("d")
            put(places[0] + "/file", b"of another")
    assert get(places[0] + "/file") == b"of another"
    assert "file" not in stands.go_on()


def test_a_handle_of_a_dataset_is_that_of_its_head(supervised, store):
    """It outlives rollbacks, what the kernel remembers, and the daemon; that of a file is of the head that the file was in."""
    put(supervised + "/file", b"old")
    os.mkdir(supervised + "/.snapshots/v")
    handle, file = posix.name_to_handle(supervised), posix.name_to_handle(supervised + "/file")
    point = os.path.dirname(supervised)

    def listed(handle):
        mount = os.open(point, os.O_RDONLY)
        try:
            fd = posix.open_by_handle(mount, handle, os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(mount)
        assert os.stat("..", dir_fd=fd).st_ino == os.stat(point).st_ino
        found = sorted(os.listdir(fd))
        os.close(fd)
        return found

    for turn in range(3):
        put(f"{supervised}/more", b"more")
        posix.drop_caches()
        assert listed(handle) == ["file", "more"]
        cli(store, "rollback", "--no-guard", "d@v")
        if turn:
            succession.kill(store)
        posix.drop_caches()
        assert listed(handle) == ["file"]
        assert posix.outcome(listed, file) == "ESTALE"
    cli(store, "dataset", "destroy", "--snapshots", "d")
    store.create("d")
    posix.drop_caches()
    assert posix.outcome(listed, handle) == "ESTALE"


def test_the_root_of_a_head_has_no_handle_by_the_head(store):
    """The kernel would take it for a second directory, of which nobody tells it."""
    fs = store.mount(options="allow_other,snapdir=visible") + "/d"
    store.create("d")
    put(fs + "/file", b"")
    os.mkdir(fs + "/.snapshots/v")
    point = os.open(os.path.dirname(fs), os.O_RDONLY)

    def by_view(path):
        """The handle of the root directory of the view that a file is in: its node id in two words, the greater first (node.h)."""
        handle = posix.name_to_handle(path)
        words = (ctypes.c_uint32 * 2).from_buffer(handle.data)
        words[0], words[1] = words[0] & 0xFFFFFF00, 1
        return handle

    def listed(handle):
        posix.drop_caches()
        fd = posix.open_by_handle(point, handle, os.O_RDONLY | os.O_DIRECTORY)
        found = os.listdir(fd)
        os.close(fd)
        return found

    assert listed(by_view(fs + "/.snapshots/v/file")) == ["file"]
    assert posix.outcome(listed, by_view(fs + "/file")) == "ESTALE"
    os.close(point)


def test_who_stands_there_goes_on_with_the_next_daemon(supervised, store):
    put(supervised + "/file", b"old")
    os.mkdir(supervised + "/.snapshots/v")
    bound = store.mount(dataset="d")
    snapshots = os.open(bound + "/.snapshots", os.O_PATH | os.O_DIRECTORY)
    root = os.open(supervised, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(3):
        put(bound + "/file", b"newer %d" % number)
        cli(store, "rollback", "--no-guard", "d@v")
        succession.kill(store)
        assert get(bound + "/file") == get(supervised + "/file") == b"old"
        assert os.listdir(root) == os.listdir(bound) == ["file"]
        os.mkdir(str(number), dir_fd=snapshots)
        assert names(store) == ["v", *(str(n) for n in range(number + 1))]
    os.close(snapshots)
    os.close(root)


@pytest.mark.parametrize("alone", [True, False])
def test_a_listing_that_was_begun_before_a_rollback_ends_with_an_error_by_the_next_daemon_too(store, alone):
    succession.needed()
    store.create("d")
    if not alone:
        store.mount()
    place = store.mount(dataset="d")
    for number in range(MANY // program.scale()):
        put(f"{place}/{number}", b"")
    os.mkdir(place + "/.snapshots/old")
    for number in range(0, MANY // program.scale(), 2):
        os.unlink(f"{place}/{number}")
    with os.scandir(place) as listing:
        next(listing)
        cli(store, "rollback", "d@old")
        succession.kill(store)
        with pytest.raises(OSError, match="Stale file handle"):
            for _ in listing:
                pass
    assert len(os.listdir(place)) == MANY // program.scale()


def test_what_the_kernel_was_not_told_of_a_rollback_the_next_daemon_tells(store):
    """The daemon has died between the two."""
    succession.needed()
    fault = {"CORPUSFS_FAULT": "rollback-after-write:kill"}
    fs = store.mount(options="allow_other,dev,suid,supervise", env=fault) + "/d"
    store.create("d")
    put(fs + "/file", b"old")
    bound = store.mount(dataset="d")
    os.mkdir(bound + "/.snapshots/v")
    mode = os.stat(bound).st_mode
    os.chmod(bound, 0o700)
    put(bound + "/more", b"")
    root = os.open(bound, os.O_RDONLY | os.O_DIRECTORY)
    assert os.fstat(root).st_mode != mode and sorted(os.listdir(root)) == ["file", "more"]
    before = store.pid
    store.run("-s", store.path, "rollback", "d@v")
    succession.await_successor(store, before)
    procs.poll(lambda: os.fstat(root).st_mode == os.stat(bound).st_mode == mode, 20, "the mode is the snapshot's")
    assert os.listdir(root) == os.listdir(bound) == os.listdir(fs) == ["file"]
    # before Linux 6.16 a name has its second
    procs.poll(lambda: posix.outcome(os.stat, bound + "/more") == "ENOENT", 20, "what came after the snapshot is gone")
    assert get(bound + "/file") == b"old"
    os.close(root)


@pytest.mark.races
def test_who_comes_to_the_root_during_rollbacks_meets_no_error(places, store, steps):
    """He waits, and is answered by the head that comes."""
    done, problems = threading.Event(), []

    def look(place):
        count = 0
        while not done.is_set():
            count += 1
            found = posix.outcome(os.stat, f"{place}/none{count}"), posix.outcome(os.stat, place), posix.outcome(os.listxattr, place)
            if found != ("ENOENT", "ok", "ok"):
                problems.append((place, found))
                return

    lookers = [threading.Thread(target=look, args=(place,)) for place in places]
    for looker in lookers:
        looker.start()
    for _ in range(20 * steps // program.scale()):
        cli(store, "rollback", "--no-guard", "d@v")
    done.set()
    for looker in lookers:
        looker.join()
    assert not problems, problems
