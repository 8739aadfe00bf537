"""Bits that flip on the disk: what is hurt answers EIO, everything else goes on, and good bytes that come in heal it."""

import errno
import os
import random

import pytest

from harness import files, rot


def noise(seed, size=200000):
    return random.Random(seed).randbytes(size)


def reads(path, data):
    """Whether the file has this content; False: a read answers EIO."""
    try:
        assert files.get(path) == data
        return True
    except OSError as problem:
        assert problem.errno == errno.EIO, problem
        return False


def expect_damage(store):
    store.expected += [r" error damaged ", r" error damaged-table "]


@pytest.fixture(name="rotten")
def _rotten(store):
    """A mounted store with 40 files of noise in d, of which file 7 is hurt; snapshot v1 has them too."""
    expect_damage(store)
    store.create("d")
    point = store.mount()
    for number in range(40):
        files.put(f"{point}/d/{number}", noise(number))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    assert rot.content(store, noise(7), 100000) == 1
    return store.mount(point) + "/d"


def test_collector_passes_what_is_damaged_and_writing_goes_on(rotten, store):
    assert not reads(rotten + "/7", noise(7))
    for number in range(0, 40, 2):
        os.unlink(f"{rotten}/{number}")
    store.ok("-s", store.path, "snapshot", "destroy", "d@v1")
    store.ok("-s", store.path, "gc")
    with open(rotten + "/new", "wb") as handle:
        handle.write(noise("new"))
        os.fsync(handle.fileno())
    assert reads(rotten + "/new", noise("new")) and reads(rotten + "/9", noise(9)) and not reads(rotten + "/7", noise(7))


def test_store_whose_last_chunk_is_damaged_opens(store):
    expect_damage(store)
    store.create("d")
    point = store.mount()
    files.put(point + "/d/file", noise(1, 30000))
    store.umount()
    assert rot.content(store, noise(1, 30000), 15000) == 1
    assert not reads(store.mount() + "/d/file", noise(1, 30000))
    files.put(store.points[-1] + "/d/next", noise(2))
    store.umount()
    assert reads(store.mount() + "/d/next", noise(2))


def put_synced(path, data):
    with open(path, "wb") as handle:
        handle.write(data)
        os.fsync(handle.fileno())


def test_good_copy_heals_all_snapshots(rotten, store):
    assert not reads(rotten + "/7", noise(7))
    put_synced(rotten + "/again", noise(7))
    for _ in range(2):
        for name in ("again", "7", ".snapshots/v1/7"):
            assert reads(f"{rotten}/{name}", noise(7)), name
        store.umount()
        store.mount(os.path.dirname(rotten))


def test_copy_of_what_nobody_has_read_since_heals_it(rotten):
    put_synced(rotten + "/again", noise(7))
    assert reads(rotten + "/again", noise(7)) and reads(rotten + "/.snapshots/v1/7", noise(7))


def test_content_that_rots_under_the_daemon_is_healed_by_a_copy(fs, store):
    expect_damage(store)
    put_synced(fs + "/file", noise(1))
    assert reads(fs + "/file", noise(1))
    os.unlink(fs + "/file")
    store.ok("-s", store.path, "snapshot", "create", "d@empty")
    put_synced(fs + "/first", noise(1))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    fs = store.mount() + "/d"
    assert reads(fs + "/first", noise(1))
    assert rot.content(store, noise(1), 100000) == 1
    put_synced(fs + "/second", noise(1))
    rot.forget()
    assert reads(fs + "/second", noise(1)) and reads(fs + "/.snapshots/v1/first", noise(1))


def test_import_heals(rotten, store, area):
    os.mkdir(area + "/source")
    files.put(area + "/source/again", noise(7))
    store.ok("-s", store.path, "import", area + "/source", "d/imported")
    assert reads(rotten + "/imported/again", noise(7)) and reads(rotten + "/7", noise(7))


def test_what_stands_for_a_damaged_chunk_stays_while_a_snapshot_needs_it(rotten, store):
    put_synced(rotten + "/again", noise(7))
    os.unlink(rotten + "/again")
    os.unlink(rotten + "/7")
    store.ok("-s", store.path, "gc")
    rot.forget()
    assert reads(rotten + "/.snapshots/v1/7", noise(7))
    store.ok("-s", store.path, "snapshot", "destroy", "d@v1")
    store.ok("-s", store.path, "gc")
    put_synced(rotten + "/7", noise(7))
    assert reads(rotten + "/7", noise(7))


def test_replacement_that_rots_is_healed_too(rotten, store):
    put_synced(rotten + "/again", noise(7))
    store.umount()
    assert rot.content(store, noise(7), 100000) == 1
    store.mount(os.path.dirname(rotten))
    assert not reads(rotten + "/7", noise(7))
    put_synced(rotten + "/third", noise(7))
    assert reads(rotten + "/7", noise(7)) and reads(rotten + "/.snapshots/v1/7", noise(7))


def test_only_the_chunk_that_is_damaged_answers_eio(fs, store):
    expect_damage(store)
    data = noise("long", 3 << 20)
    put_synced(fs + "/long", data)
    store.umount()
    assert rot.content(store, data, 1500000) == 1
    bad = []
    with open(store.mount(store.area + "/mnt") + "/d/long", "rb") as handle:
        for at in range(0, len(data), 4096):
            try:
                assert os.pread(handle.fileno(), 4096, at) == data[at : at + 4096]
            except OSError as problem:
                assert problem.errno == errno.EIO
                bad.append(at)
    assert bad and bad[0] <= 1500000 <= bad[-1] + 4096 and bad[-1] - bad[0] <= 262144


def damaged_lines(store):
    return [line for line in store.log().splitlines() if " error damaged " in line]


def test_log_says_once_which_file_is_damaged_and_where(rotten, store):
    for _ in range(3):
        assert not reads(rotten + "/7", noise(7))
        rot.forget()
    (line,) = damaged_lines(store)
    assert " dataset=d snapshot= " in line and 'path="7"' in line
    offset = int(line.split(" offset=")[1].split()[0])
    assert 0 < offset <= 100000 < offset + 262144


def test_log_names_the_snapshot_that_was_read(rotten, store):
    assert not reads(rotten + "/.snapshots/v1/7", noise(7))
    (line,) = damaged_lines(store)
    assert " dataset=d snapshot=v1 " in line
