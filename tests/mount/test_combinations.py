"""Everything a store can do, in random order, against what must be in it (harness/combinations.py). `--seed` and `--rounds` try more."""

import random

import pytest

from harness import procs, program
from harness.combinations_store import Steps
from harness.reference import make_ext4
from harness.store import Store

STEPS = 30


def play(store, seed, rounds, small=False):
    """The seed stands in what a failed test prints."""
    print(f"seed {seed}")
    store.expected += [r" error (damaged|gc|scrub|stopped|mount|close)", *(["space|ENOSPC"] if small else [])]
    average = random.Random(seed).choice(("16K", "64K", "64K", "1M"))
    store.ok("init", "--chunk", average, store.path)
    world = Steps(store, seed, small)
    world.mount()
    world.play(STEPS * rounds // program.scale())


@pytest.mark.sanitize
@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", range(3))
def test_random_histories(blank, number, seed, rounds):
    play(blank, 100 * seed + number, rounds)


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_random_histories_on_a_small_disk(run, area, seed, rounds):
    disk = area + "/disk"
    make_ext4(area + "/image", disk, 300 << 20)
    store = Store(area, run.mark, run.home, path=disk + "/store")
    try:
        play(store, 100 * seed + 50, rounds, small=True)
        store.close()
    finally:
        procs.detach(disk)
