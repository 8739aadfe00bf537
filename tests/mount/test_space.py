"""What a store takes on the disk follows what is in it, and status says what a collection would give back."""

import json
import mmap
import os
import random
import subprocess

import pytest

from harness import posix
from harness.files import stats_below
from harness.snapshots import cli

MIB = 1 << 20
PART = 64 << 10
FILE, PIECE = 3 * MIB, 12288
# What the database keeps beside the content: lists of files, indexes, filters.
CONSTANT = MIB


def size(store):
    """Without the room that is kept for a full disk."""
    return sum(info.st_blocks * 512 for name, info in stats_below(store.path) if name != "ballast")


def garbage(store):
    text = cli(store, "status")
    return json.loads(cli(store, "status", "--json"))["dropped_bytes"], next(line for line in text.splitlines() if line.startswith("garbage"))


def pieces(path, count, chance, content):
    """At any place, so that parts of chunks are left."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    for number in range(count):
        length = chance.randrange(1, 2 * PIECE)
        at = chance.randrange(FILE - length)
        kind = chance.random()
        if kind < 0.9:
            content[at : at + length] = chance.randbytes(length)
            assert os.pwrite(fd, content[at : at + length], at) == length
        else:
            content[at : at + length] = bytes(length)
            posix.fallocate(fd, posix.FALLOC_PUNCH_HOLE | posix.FALLOC_KEEP_SIZE, at, length)
        if number % 3 == 0:
            os.fsync(fd)
    os.close(fd)


def sparse(path):
    """Every other 64 KiB of a MiB."""
    with open(path, "wb") as handle:
        for at in range(0, MIB, 2 * PART):
            os.pwrite(handle.fileno(), os.urandom(PART), at)
        os.fsync(handle.fileno())


def overwrite(fd, mapped, step, count):
    """Before the change is committed its blocks are asked for, so that the kernel has an answer to keep."""
    for at in range(0, count * step, step):
        if mapped:
            mapped[at : at + PART] = os.urandom(PART)
            mapped.flush(at, PART)
        else:
            os.pwrite(fd, os.urandom(PART), at)
        os.fstat(fd)


def test_what_is_in_the_log_only_is_on_disk(store):
    point = store.mount()
    store.create("d")
    with open(point + "/d/f", "wb") as handle:
        handle.write(os.urandom(2 * MIB))
        handle.flush()
        os.fsync(handle.fileno())

    def told():
        return json.loads(cli(store, "status", "--json"))["disk_bytes"]

    assert 2 * MIB <= told() <= size(store)
    assert "on disk        0 B" not in cli(store, "status")
    store.umount()
    assert 2 * MIB <= told() <= size(store)


@pytest.mark.sanitize
@pytest.mark.kinds("way")
@pytest.mark.parametrize("durable", ["fsync", "sync", "syncfs"])
@pytest.mark.parametrize("way", ["overwrite", "append", "map"])
def test_blocks_are_right_as_soon_as_a_file_is_on_disk(fs, store, way, durable):
    sparse(fs + "/file")
    step, count, parts = {"overwrite": (2 * PART, 8, 8), "append": (PART, 24, 24), "map": (PART, 12, 12)}[way]
    fd = os.open(fs + "/file", os.O_RDWR)
    mapped = mmap.mmap(fd, 0) if way == "map" else None
    overwrite(fd, mapped, step, count)
    if durable == "fsync":
        os.fsync(fd)
    elif durable == "sync":
        cli(store, "sync", fs)
    else:
        subprocess.run(["sync", "-f", fs + "/file"], check=True, timeout=60)
    blocks = os.stat(fs + "/file").st_blocks
    if mapped:
        mapped.close()
    os.close(fd)
    assert blocks * 512 == PART * (parts + (2 if way == "map" else 0)), blocks
    store.umount()
    store.mount(store.area + "/mnt")
    assert os.stat(fs + "/file").st_blocks == blocks


@pytest.mark.parametrize("how", ["dd", "cp", "small pieces", "made longer first", "overwritten"])
def test_du_is_right_right_after_a_sync(fs, area, how):
    """Whoever looked while it was written has an answer in the kernel's memory that must not stay."""
    size, path = 48 * MIB, fs + "/file"
    with open(area + "/data", "wb") as handle:
        handle.write(os.urandom(size))
    if how == "dd":
        writer = subprocess.Popen(["dd", "if=" + area + "/data", "of=" + path, "bs=1M", "status=none"])
    elif how == "cp":
        writer = subprocess.Popen(["cp", area + "/data", path])
    elif how == "small pieces":
        writer = subprocess.Popen(["dd", "if=" + area + "/data", "of=" + path, "bs=10007", "status=none"])
    else:
        with open(path, "wb") as handle:
            handle.truncate(size)
            if how == "overwritten":
                handle.write(os.urandom(size))
        writer = subprocess.Popen(["dd", "if=" + area + "/data", "of=" + path, "bs=1M", "conv=notrunc", "status=none"])
    while writer.poll() is None:
        subprocess.run(["du", "-a", fs], stdout=subprocess.DEVNULL, check=True, timeout=60)
    assert writer.returncode == 0
    subprocess.run(["sync", "-f", path], check=True, timeout=60)
    shown = subprocess.run(["du", "-k", path], stdout=subprocess.PIPE, check=True, timeout=60, text=True).stdout.split()[0]
    assert int(shown) == size >> 10


@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_space_follows_the_content_of_a_file(fs, store, steps):
    """Single dead chunks among living ones, parts of chunks, and overwritten records: none stays, whatever was mounted in between."""
    chance = random.Random(11)
    content = bytearray(chance.randbytes(FILE))
    with open(fs + "/file", "wb") as handle:
        for at in range(0, FILE, PIECE):
            os.write(handle.fileno(), content[at : at + PIECE])
            os.fsync(handle.fileno())
    for _ in range(3):
        pieces(fs + "/file", 300 * steps, chance, content)
        store.umount()
        store.mount(store.area + "/mnt")
    dropped, said = garbage(store)
    before = size(store)
    assert dropped > 2 * MIB and "MiB" in said, (dropped, said)
    cli(store, "gc")
    assert garbage(store) == (0, "garbage        none")
    with open(fs + "/file", "rb") as handle:
        assert handle.read() == content
    living = os.stat(fs + "/file").st_blocks * 512
    store.umount()
    left = size(store)
    assert left < 1.3 * living + CONSTANT, f"{left >> 10} KiB of {before >> 10} KiB are left for {living >> 10} KiB"
    store.mount(store.area + "/mnt")
    with open(fs + "/file", "rb") as handle:
        assert handle.read() == content
