"""Content that was healed stays rotten where it lay: no file needs that, and what rots besides is damage as before."""

import json
import os
import signal
import subprocess

import pytest

from harness import files, procs, program, rot
from harness.rot import noise, reads

COUNT = 20
HEALED = {"chunks": 0, "healed": 1, "tables": False, "unneeded": True}


def put_synced(path, data):
    with open(path, "wb", buffering=0) as handle:
        handle.write(data)
        os.fsync(handle.fileno())


def ask(store, *command):
    return json.loads(store.run("-s", store.path, *command, "--json").out)


def damage(store):
    return ask(store, "status")["damage"]


def hurt(store, point, data, at):
    store.umount()
    assert rot.content(store, data, at) == 1
    store.mount(point)


@pytest.fixture(name="healed")
def _healed(store):
    """A mounted store with files of noise in d, and in its snapshot v1. File 7 was hurt and is healed by another one."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    store.create("d")
    point = store.mount()
    for number in range(COUNT):
        files.put(f"{point}/d/{number}", noise(number))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    hurt(store, point, noise(7), 100000)
    assert not reads(point + "/d/7", noise(7))
    put_synced(point + "/d/again", noise(7))
    return point


def test_another_file_that_rots_is_damage_until_it_is_healed(healed, store):
    store.ok("-s", store.path, "scrub")
    assert damage(store) == HEALED
    hurt(store, healed, noise(9), 100000)
    assert [number for number in range(COUNT) if not reads(f"{healed}/d/{number}", noise(number))] == [9]

    def is_damaged():
        (finding,) = [row for row in ask(store, "doctor") if row["what"] == "damage"]
        return damage(store) == {"chunks": 1, "healed": 1, "tables": False, "unneeded": False} and finding["state"] == "bad"

    assert is_damaged() and store.run("-s", store.path, "scrub").code == program.DAMAGED
    for number in range(10, COUNT):
        os.unlink(f"{healed}/d/{number}")
    store.ok("-s", store.path, "gc")
    store.umount()
    store.mount(healed)
    assert is_damaged()
    put_synced(healed + "/d/9", noise(9))
    assert damage(store) == {"chunks": 0, "healed": 2, "tables": False, "unneeded": True}
    store.ok("-s", store.path, "scrub")
    store.umount()
    assert "nothing is lost" in store.ok("-s", store.path, "repair", "--apply")
    store.mount(healed)
    assert all(reads(f"{healed}/d/.snapshots/v1/{number}", noise(number)) for number in range(COUNT))
    store.ok("-s", store.path, "scrub")
    store.ok("-s", store.path, "check")
    assert not damage(store)["unneeded"]


def test_what_rots_behind_a_scrub_that_was_stopped_is_found_by_the_next(healed, store):
    """The one that was stopped had seen it whole."""
    big = noise("big", 16 << 20)
    put_synced(healed + "/d/big", big)
    whole = ask(store, "scrub", "--restart")["chunks"]
    put_synced(healed + "/d/later", noise("later"))
    hurt(store, healed, noise("later"), 100000)
    assert not reads(healed + "/d/later", noise("later"))
    put_synced(healed + "/d/later again", noise("later"))
    slow = subprocess.Popen([store.binary, "-s", store.path, "scrub", "--rate", "2M"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    procs.poll(lambda: COUNT < ask(store, "status")["scrub"]["chunks"] < whole, 40, "it is in the middle")
    slow.send_signal(signal.SIGINT)
    assert slow.wait(40) == -signal.SIGINT
    hurt(store, healed, noise(1), 100000)
    result = store.run("-s", store.path, "scrub")
    assert result.code == program.DAMAGED and damage(store) == {"chunks": 1, "healed": 2, "tables": False, "unneeded": False}, result
    put_synced(healed + "/d/1 again", noise(1))
    store.ok("-s", store.path, "scrub")
    assert damage(store) == {"chunks": 0, "healed": 3, "tables": False, "unneeded": True}


def test_what_rotted_and_was_given_up_can_be_brought_in_again(healed, store):
    store.ok("-s", store.path, "scrub")
    for name in ("7", "again"):
        os.unlink(f"{healed}/d/{name}")
    store.ok("-s", store.path, "snapshot", "destroy", "d@v1")
    store.ok("-s", store.path, "gc")
    assert damage(store) == {"chunks": 0, "healed": 0, "tables": False, "unneeded": True}
    put_synced(healed + "/d/new", noise(7))
    for _ in range(2):
        rot.forget()
        assert reads(healed + "/d/new", noise(7))
        store.umount()
        store.mount(healed)
    store.ok("-s", store.path, "scrub")


SMALL = 150
SHA256_BEFORE = 32  # so many bytes before the content of a record


def small(number):
    return noise(number, 10000)


def places(store, at=5000):
    """Where the good copies of all small files lie."""
    found = []
    for path in rot.tables(store):
        with open(path, "rb") as handle:
            whole = handle.read()
        for number in range(SMALL):
            found += [(path, where, number) for where in [whole.find(small(number)[at : at + 64])] if where >= 0]
    assert len(found) == SMALL
    return found


def flip_all(found):
    for path, where, _ in found:
        rot.flip(path, where)


def unread(point):
    rot.forget()
    return [f"{name}/{number}" for name in ("d", "again") for number in range(SMALL)
            if os.path.exists(f"{point}/{name}/{number}") and not reads(f"{point}/{name}/{number}", small(number))]


def test_what_is_whole_again_is_read_where_what_stands_for_it_rots(store):
    """The last of the copies loses its own SHA-256, too: nothing tells whose twin it is."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    for name in ("d", "again"):
        store.create(name)
    point = store.mount()
    for number in range(SMALL):
        files.put(f"{point}/d/{number}", small(number))
    store.umount()
    first = places(store)
    flip_all(first)
    store.mount(point)
    assert len(unread(point)) == SMALL
    for number in range(SMALL):
        files.put(f"{point}/again/{number}", small(number))
    store.umount()
    copies = places(store)
    store.mount(point)
    assert not unread(point)
    store.umount()
    flip_all(first)
    flip_all(copies)
    (last,) = [(path, where) for path, where, number in copies if number == SMALL - 1]
    rot.flip(last[0], last[1] - 5000 - SHA256_BEFORE)
    store.mount(point)
    store.run("-s", store.path, "scrub")
    assert unread(point) == [f"again/{SMALL - 1}"]
    assert [damage(store)[kind] for kind in ("chunks", "healed")] == [1, SMALL - 1]


def test_damage_of_one_file_in_many_snapshots_is_one_line(fs, store):
    store.expected += [r" error damaged ", r" error damaged-table "]
    put_synced(fs + "/file", noise("rotten"))
    for number in range(12):
        store.ok("-s", store.path, "snapshot", "create", f"d@s{number}")
    store.umount()
    assert rot.content(store, noise("rotten"), 100000) == 1
    store.mount(os.path.dirname(fs))
    assert store.run("-s", store.path, "scrub").code == 7
    assert len(ask(store, "damage")["places"]) == 13
    lines = [line.split() for line in store.run("-s", store.path, "damage").out.splitlines() if " file" in line]
    many, head = sorted(lines, key=len, reverse=True)
    assert {many[1].rstrip(","), many[2]} <= {f"s{number}" for number in range(12)} and many[3:6] == ["and", "10", "more"], lines
    assert head[1] == "content", lines
