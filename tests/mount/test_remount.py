"""Mounting again while a session is about to end, or lives on in open files after a lazy umount."""

import json
import os
import signal
import subprocess

import pytest

from harness import files, procs, program

MIB = 1 << 20


def plain_umount(point, *options):
    subprocess.run(["umount", *options, point], check=True, timeout=60, stdin=subprocess.DEVNULL)


def rows(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"]


def detach(store, point):
    """A lazy umount; files are open."""
    plain_umount(point, "-l")
    store.points.remove(point)


@pytest.mark.parametrize("dataset", [None, "d"])
def test_mount_right_after_umount_waits_for_the_session_that_ends(fs, store, dataset):
    """Another mount keeps the daemon. What was written makes the end of the session take a moment."""
    point = store.points[0]
    store.mount(options="ro")
    for number in range(3):
        with open(fs + f"/{number}", "wb") as handle:
            for _ in range(48 // program.scale()):
                handle.write(os.urandom(MIB))
        plain_umount(point)
        store.points.remove(point)
        store.mount(point, dataset=dataset)
        assert os.path.getsize((point if dataset else fs) + f"/{number}") == 48 // program.scale() * MIB
        if dataset:
            store.umount(point)
            store.mount(point)


def test_status_says_that_a_mount_is_detached(fs, store):
    point = store.points[0]
    store.mount(options="ro")
    with open(fs + "/open", "wb"):
        detach(store, point)
        found = {row["mountpoint"]: row["detached"] for row in rows(store)}
        assert found[point] and not found[store.points[0]]
        text = store.ok("-s", store.path, "status")
        assert [line for line in text.splitlines() if point in line and "detached" in line], text
    procs.poll(lambda: point not in {row["mountpoint"] for row in rows(store)}, 10 * program.scale(), "the session ends")


@pytest.mark.parametrize("dataset", [None, "d"])
@pytest.mark.namespaces
def test_detached_mount_with_open_files_is_mounted_again(fs, store, dataset):
    """It is the same session: what is written to the open file shows at once, in whatever the kernel holds."""
    point = store.points[0]
    with open(fs + "/open", "w+b", buffering=0) as handle:
        handle.write(b"before")
        detach(store, point)
        store.mount(point, dataset=dataset)
        name = (point if dataset else fs) + "/open"
        with open(name, "rb") as again:
            assert again.read() == b"before"
            handle.write(b" and after")
            again.seek(0)
            assert again.read() == b"before and after"
        with open(name, "ab") as again:
            again.write(b", from both")
        assert os.pread(handle.fileno(), 100, 0) == b"before and after, from both"
    assert [row["detached"] for row in rows(store)] == [False]


@pytest.mark.namespaces
def test_umount_says_where_the_mount_is_in_use(fs, store):
    """Of the two places of one session only the first is used: it was detached, and the second is not said to be in use."""
    point, second = store.points[0], store.area + "/second"
    with open(fs + "/open", "wb"):
        assert store.ok("umount", "-l", point).startswith(f"detached {point}")
        store.points.remove(point)
        for options in ([], ["-l"]):
            store.mount(second)
            told = store.ok("umount", *options, second)
            assert told.startswith(f"unmounted {second}") and "detached before" in told
            store.points.remove(second)
    store.ended()


def test_detached_mount_of_one_dataset_does_not_block_others(fs, store):
    store.create("e")
    store.umount()
    point = store.mount(dataset="d")
    with open(point + "/open", "wb"):
        detach(store, point)
        refused = store.run("mount", store.path, point)
        assert refused.code == program.BUSY and "open" in refused.err, refused.err
        store.mount(store.area + "/other", dataset="e")


@pytest.mark.namespaces
def test_umount_returns_when_another_mount_namespace_has_the_mount_still(fs, store):
    """The session goes on there; what was written is on disk, and the daemon does not wait for ever."""
    with open(fs + "/file", "wb") as handle:
        handle.write(b"written")
    other = subprocess.Popen(procs.apart(["sleep", "1000"], keep=store.points[0]), stdin=subprocess.DEVNULL)
    try:
        procs.poll(lambda: procs.read(f"/proc/{other.pid}/comm").strip() == b"sleep", 20, "another mount namespace")
        point = store.points.pop()
        result = store.run("umount", point, limit=30)
        assert result.code == 0 and "still in use" in result.out, result
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait(20)
    store.ended()
    store.mount(point)
    with open(fs + "/file", "rb") as handle:
        assert handle.read() == b"written"


def test_a_dataset_that_was_renamed_is_mounted_by_its_new_name(store):
    """And not another one that has its old name now, whose files would be written in its place."""
    for name in ("d", "next"):
        store.create(name)
    first = store.mount(dataset="d")
    files.put(first + "/file", b"of d")
    for command in (["rename", "d", "old"], ["rename", "next", "d"]):
        store.ok("-s", store.path, "dataset", *command)
    again, other = store.mount(dataset="old"), store.mount(dataset="d")
    files.put(again + "/second", b"of d")
    files.put(other + "/file", b"of next")
    assert (os.listdir(other), files.get(first + "/second"), files.get(first + "/file")) == (["file"], b"of d", b"of d")
    shown = {row["mountpoint"]: row for row in rows(store)}
    assert [shown[point]["dataset"] for point in (first, again, other)] == ["old", "old", "d"]
    assert shown[again]["bound_to"] == first and "bound_to" not in shown[other]
