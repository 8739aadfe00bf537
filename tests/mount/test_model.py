"""Random operations on the mount and on ext4 (harness/model.py): equal results, equal trees, also across remounts and kill -9."""

import os

import pytest

from harness import posix, program, tree
from harness.model import Duel, Generator

ROUNDS, OPERATIONS = 4, 1500


@pytest.fixture
def duel(run, fs, store, area):
    made = Duel(fs, run.reference.directory(), area + "/operations")
    for player in made.players:
        os.chmod(player.root, 0o777)
    yield made
    store.ok("-s", store.path, "check")
    made.close()


@pytest.mark.sanitize
@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(12))
def test_random_operations_equal_ext4(duel, store, seed, others):
    generator = Generator(seed + others)
    for number in range(ROUNDS):
        for _ in range(6):
            duel.run(generator, OPERATIONS // 6 // program.scale())
            duel.compare()
        if number % 2:
            duel.close()
            store.umount()
            store.mount(store.area + "/mnt")
        duel.compare()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(100, 104))
def test_random_operations_equal_ext4_while_caches_are_dropped(duel, seed):
    generator = Generator(seed)
    for _ in range(10):
        duel.run(generator, OPERATIONS // 10)
        posix.drop_caches()
        duel.compare()


def sync_all(root):
    """fsync of every file and directory, as a careful program does it."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            path = f"{folder}/{name}"
            if os.path.isfile(path) and not os.path.islink(path):
                fsync(path)
        fsync(folder)


def fsync(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@pytest.mark.sanitize
@pytest.mark.timeout(120)
@pytest.mark.kinds("how")
@pytest.mark.parametrize("how", ["fsync", "sync"])
@pytest.mark.parametrize("seed", range(200, 204))
def test_what_was_synced_is_there_after_kill_9(duel, store, seed, how):
    """Then operations go on in one subtree only: everything else must be exact, and the subtree readable."""
    mounted = duel.players[0].root
    generator = Generator(seed)
    duel.run(generator, OPERATIONS // program.scale())
    for player in duel.players:
        player.play(["mkdir", "busy", 0o777])
    if how == "fsync":
        sync_all(mounted)
    else:
        store.ok("sync", os.path.dirname(mounted))
    expected = tree.scan(mounted, times=True)
    busy = Generator(seed + 1, "busy/")
    duel.close()
    duel.run(busy, 500 // program.scale())
    fds = [fd for player in duel.players for fd in player.slots.values()]
    duel.players[0].slots, duel.players[1].slots = {}, {}
    store.kill()
    for fd in fds:
        posix.outcome(os.close, fd)
    store.mount(store.area + "/mnt")
    found = tree.scan(mounted, times=True)
    keep = lambda scan: {name: row for name, row in scan.items() if name != "." and not name.startswith("./busy")}  # noqa: E731
    # Links and renames between the subtree and the rest were not possible: the generator's paths stay below busy/.
    assert tree.differences(keep(expected), keep(found)) == []
