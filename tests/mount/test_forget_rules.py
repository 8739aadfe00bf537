"""What rules keep is what restic keeps by the same rules. Those after Debian's keep the oldest as well where a rule has room left."""

import datetime
import json
import os
import random

import pytest

from harness.repository import Repository, restic

TIMES = ["2018-12-30 12:00", "2018-12-31 12:00", "2019-12-29 23:00", "2019-12-30 01:00", "2020-12-27 23:00", "2020-12-28 01:00", "2020-12-31 23:59",
         "2021-01-01 00:00", "2021-01-03 23:59", "2021-01-04 00:00", "2021-01-04 00:20", "2021-01-04 05:00"]  # fmt: skip
RULES = [("weekly", 2), ("weekly", 4), ("weekly", 20), ("yearly", 2), ("yearly", 3), ("yearly", 9), ("hourly", 2), ("hourly", 9), ("daily", 3), ("monthly", 2),
         ("monthly", 9), ("last", 3)]  # fmt: skip
UTC = {"TZ": "UTC"}


@pytest.fixture(name="made")
def _made(store, area):
    """A repository with a backup of each of the times, and a few more beside them, by restic."""
    chance = random.Random(7)
    moments = [datetime.datetime.fromisoformat(text) for text in TIMES]
    moments += [chance.choice(moments) + datetime.timedelta(hours=chance.randrange(-300, 300)) for _ in range(4)]
    os.mkdir(area + "/source")
    restic(area + "/made", "init")
    for moment in sorted(set(moments)):
        restic(area + "/made", "backup", "--time", moment.strftime("%Y-%m-%d %H:%M:%S"), area + "/source", secrets=UTC)
    return Repository(store, area + "/made", init=False)


@pytest.mark.timeout(180)
def test_what_rules_let_go_is_what_restic_lets_go(made):
    rows = made.backups()
    oldest = {min(rows, key=lambda row: row["taken"])["backup"]}
    differ = set()
    for rules in [[rule] for rule in RULES] + [[("hourly", 2), ("weekly", 2), ("yearly", 2)], [("last", 1), ("daily", 2), ("monthly", 3)]]:
        options = [text for period, number in rules for text in (f"--keep-{period}", str(number))]
        ours = {row["backup"] for row in made.json("backup", "forget", made.path, "--dry-run", *options)}
        (group,) = json.loads(restic(made, "forget", "--dry-run", "--json", *options, secrets=UTC))
        theirs = {row["id"] for row in group["remove"] or []}
        assert theirs <= ours <= theirs | oldest and len(ours) < len(rows), rules
        differ.add(frozenset(ours))
    assert len(differ) > 6, "the rules are no test if they all let the same go"
