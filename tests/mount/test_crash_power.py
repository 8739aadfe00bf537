"""The power fails under load, at any moment: what was synced is there, nothing is there in half (the rules: tests/crash/check.c)."""

import pytest

from harness import program
from harness.crash import Stage, work_for_some_time

CUTS = 6


@pytest.fixture
def stage(run, area, seed):
    made = Stage(area, run, seed, mib=600 if seed % 2 else 2048)  # a small disk runs full
    yield made
    made.close()


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_power_cuts_under_load(stage, rounds):
    for number in range(max(CUTS * rounds // program.scale(), 2)):
        stage.load()
        work_for_some_time(stage.chance)
        disk, acknowledged, begun = stage.cut()
        if stage.chance.random() < 0.25:
            disk = stage.cut_again(disk)
        stage.look(disk, acknowledged, begun)
        if number % 20 == 19:  # room for what is written next
            stage.store.run("-s", stage.store.path, "gc")
