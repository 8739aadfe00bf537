"""Replication, failover and the way back: what is lost is what no snapshot had carried over, and two that were both written are never joined."""

import json
import os
import random
import signal
import time

import pytest

from harness import files, procs, program, tree
from harness.replication import cli, cut_off, identity, names, replicate, replicated, to


def scan(path):
    """Without the time of the root itself: in .snapshots it is that of the snapshot."""
    found = tree.scan(path)
    found["."].pop("mtime")
    return found


def show(store):
    return json.loads(cli(store, "dataset", "show", "d", "--json"))


def write_at_random(point, rng, count=6):
    for _ in range(count):
        path = f"{point}/d/{rng.choice('abc')}"
        choice = rng.randrange(5)
        if choice == 0 and os.path.exists(path):
            os.rename(path, f"{point}/d/{rng.choice('xyz')}")
        elif choice == 1 and os.path.exists(path):
            os.remove(path)
        elif choice == 2:
            os.makedirs(f"{point}/d/dir/{rng.randrange(3)}", exist_ok=True)
        else:
            files.put(path, rng.randbytes(rng.randrange(50000)))


def test_snapshots_follow_one_by_one(store, other):
    point = store.mount()
    store.create("d")
    for name in ("one", "two"):
        files.put(f"{point}/d/f", name.encode())
        cli(store, "snapshot", "create", f"d@{name}")
    assert replicated(store, other) == "d@one is there\nd@two is there\n"
    assert "has all" in replicated(store, other)
    files.put(f"{point}/d/f", b"three")
    cli(store, "snapshot", "create", "d@three")
    shown = show(store)
    assert shown["replicated_snapshot"] == "two" and shown["replicated_behind"] == 1 and to(other) == shown["replicated_to"]
    assert "1 snapshot behind" in store.ok("status", store.path)
    assert replicated(store, other) == "d@three is there\n"
    assert show(store)["replicated_behind"] == 0
    assert names(other) == ["one", "two", "three"]
    assert all(identity(other, name) == identity(store, name) for name in names(other))
    assert show(other)["replica"] and not show(store)["replica"]


def common(here, there):
    """What both have, in the order in which `here` made it. Who was the first once has more: what was lost."""
    return [name for name in names(here) if name in names(there)]


def fail_over(here, there, rng):
    """`here` is lost with what was written after the last snapshot; `there` goes on. Returns the mountpoints."""
    last = common(here, there)[-1]
    wanted = identity(here, last)
    point = here.points[-1]
    kept = scan(f"{point}/d/.snapshots/{last}")
    write_at_random(point, rng)
    here.kill()
    cli(there, "promote", "d")
    at = there.mount(f"{there.area}/{os.path.basename(there.path)}-mnt")
    assert scan(at + "/d") == kept and identity(there, last) == wanted, "just what came after the last snapshot is lost"
    return at


def write_and_replicate(here, there, point, rng, turn):
    """Snapshots, rollbacks, the collector; and replication that is cut off. There is at least what was replicated whole, and no snapshot in part."""
    for number in range(rng.randrange(1, 4)):
        write_at_random(point, rng)
        if rng.randrange(4) == 0:
            cli(here, "rollback", f"d@{rng.choice(names(here))}")
            replicated(here, there)
        cli(here, "snapshot", "create", f"d@s{turn}.{number}")
        if rng.randrange(2):
            cut_off(here, there, rng)
        if rng.randrange(4) == 0:
            cli(rng.choice((here, there)), "gc")
    assert {name: identity(there, name) for name in common(here, there)} == {name: identity(here, name) for name in common(here, there)}


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_failover_and_the_way_back(store, other, seed, others):
    rng = random.Random(seed + others)
    here, there = store, other
    point = here.mount(f"{here.area}/{os.path.basename(here.path)}-mnt")
    here.create("d")
    write_at_random(point, rng)
    cli(here, "snapshot", "create", "d@s0")
    replicated(here, there)
    for turn in range(1, 4):
        write_and_replicate(here, there, point, rng, turn)
        last = common(here, there)[-1]
        at = fail_over(here, there, rng)
        write_at_random(at, rng)
        cli(there, "snapshot", "create", f"d@s{turn}")
        # What was lost is still on the disk that comes back: a fork, until that side is given up.
        result = replicate(there, here)
        assert result.code == program.DAMAGED and "fork" in result.err and f'"{last}"' in result.err, result
        said = cli(here, "demote", "d", "--to", last)
        assert "is kept as" in said
        time.sleep(1)  # what a rollback on the other side keeps has another second in its name
        cut_off(there, here, rng)
        replicated(there, here)
        assert identity(here, f"s{turn}") == identity(there, f"s{turn}")
        here, there, point = there, here, at
    assert set(names(store)) & set(names(other)) >= {"s0", "s1", "s2", "s3"}
    for end in (store, other):
        cli(end, "check")


def test_what_was_written_on_both_sides_is_never_joined(store, other):
    point = store.mount()
    store.create("d")
    files.put(point + "/d/f", b"both")
    cli(store, "snapshot", "create", "d@common")
    replicated(store, other)
    cli(other, "promote", "d")
    at = other.mount(other.area + "/there")
    files.put(at + "/d/f", b"there")
    cli(other, "snapshot", "create", "d@theirs")
    files.put(point + "/d/f", b"here")
    cli(store, "snapshot", "create", "d@ours")
    for one, two in ((store, other), (other, store)):
        result = replicate(one, two)
        assert result.code == program.DAMAGED and "fork" in result.err and '"common"' in result.err, result
    cli(other, "demote", "d")
    assert replicate(store, other).code == program.DAMAGED
    assert files.get(point + "/d/f") == b"here" and files.get(at + "/d/f") == b"there"
    cli(other, "demote", "d", "--to", "common")
    replicated(store, other)
    assert files.get(at + "/d/f") == b"here" and files.get(at + "/d/.snapshots/theirs/f") == b"there"


def test_a_file_without_a_name_that_is_closed_is_no_change(store, other):
    """Nobody has written: neither side is a fork, and the way back is free."""
    point = store.mount()
    store.create("d")
    files.put(point + "/d/f", bytes(100_000))
    os.mkdir(point + "/d/sub")
    with open(point + "/d/f", "r+b") as unnamed:
        os.remove(point + "/d/f")
        cli(store, "snapshot", "create", "d@common")
        replicated(store, other)
        unnamed.write(b"written to what nobody can find")
    cli(other, "promote", "d")
    cli(other, "snapshot", "create", "d@theirs")
    cli(store, "demote", "d")
    replicated(other, store)
    assert "theirs" in names(store)
    # what takes a name away is a change
    cli(store, "promote", "d")
    os.rmdir(point + "/d/sub")
    cli(store, "demote", "d")
    cli(other, "snapshot", "create", "d@next")
    result = replicate(other, store)
    assert result.code == program.DAMAGED and "fork" in result.err, result


def test_what_a_replica_gave_up_is_sent_again_when_it_is_removed_there(store, other):
    point = store.mount()
    store.create("d")
    for name in ("one", "two"):
        files.put(point + "/d/f", name.encode())
        cli(store, "snapshot", "create", "d@" + name)
    replicated(store, other)
    cli(other, "demote", "d", "--to", "one")
    result = replicate(store, other)
    assert result.code != 0 and '"d@two" already' in result.err and "snapshot destroy d@two" in result.err, result
    cli(other, "snapshot", "destroy", "d@two")
    replicated(store, other)
    assert identity(other, "two") == identity(store, "two")


@pytest.mark.parametrize("forked", [False, True])
def test_file_that_is_open_without_a_name_goes_away_after_a_failover_and_back(store, other, forked):
    """It is in the snapshot that both have, and so in every head that begins there."""
    point = store.mount()
    store.create("d")
    files.put(point + "/d/f", bytes(100_000))
    with open(point + "/d/f", "rb"):
        os.remove(point + "/d/f")
        cli(store, "snapshot", "create", "d@common")
        replicated(store, other)
        cli(other, "promote", "d")
        at = other.mount(other.area + "/there")
        files.put(at + "/d/new", b"new")
        cli(other, "snapshot", "create", "d@theirs")
        if not forked:
            cli(store, "demote", "d")
            replicated(other, store)
            assert files.get(point + "/d/new") == b"new"
    if forked:
        files.put(point + "/d/mine", b"mine")
        cli(store, "demote", "d", "--to", "common")
        replicated(other, store)
    for one in (store, other):
        cli(one, "check")
    cli(store, "promote", "d")
    cli(store, "snapshot", "create", "d@later")
    store.umount()
    for one in (store, other):
        cli(one, "gc")
        cli(one, "check")


def test_replication_goes_on_after_either_side_has_died(store, other):
    point = store.mount()
    store.create("d")
    for name in ("one", "two"):
        write_at_random(point, random.Random(name))
        cli(store, "snapshot", "create", f"d@{name}")
    store.umount()
    assert replicate(store, other, "receive-frame:kill:3").code != 0
    killed = store.run("-s", store.path, "replicate", "d", "--to", to(other), env={"CORPUSFS_FAULT": "export-write:kill:1"})
    assert killed.code == -signal.SIGKILL
    procs.poll(lambda: other.run("-s", other.path, "dataset", "list").code == 0, 30, "the other end has gone")
    replicated(store, other)
    assert names(other) == ["one", "two"] and identity(other, "two") == identity(store, "two")


@pytest.mark.parametrize("fault", ["rollback-before-write:eio", "rollback-before-write:kill", "rollback-after-write:kill"])
def test_a_replica_that_goes_back_can_be_written_at_no_moment(store, other, fault):
    mount = store.mount()
    store.create("d")
    for name in ("one", "two"):
        files.put(mount + "/d/f", name.encode())
        cli(store, "snapshot", "create", f"d@{name}")
    replicated(store, other)
    assert other.run("-s", other.path, "demote", "d", "--to", "one", env={"CORPUSFS_FAULT": fault}).code != 0
    assert show(other)["replica"]
    cli(other, "demote", "d", "--to", "one")
    assert show(other)["replica"]
    at = other.mount(other.area + "/there")
    assert files.get(at + "/d/f") == b"one"
    with pytest.raises(OSError):
        files.put(at + "/d/f", b"mine")


@pytest.mark.parametrize("options", [[], ["--to", "one"]])
def test_a_demotion_that_dies_is_done_again_and_ends_what_is_held(store, other, options):
    point = store.mount()
    store.create("d")
    files.put(point + "/d/f", b"one")
    cli(store, "snapshot", "create", "d@one")
    replicated(store, other)
    if options:
        files.put(point + "/d/f", b"mine")
    store.umount()
    assert store.run("-s", store.path, "demote", "d", *options, env={"CORPUSFS_FAULT": "demote-before-end"}).code == -signal.SIGKILL
    assert show(store)["replica"] and holds(store)["one"] == ["replication"]
    cli(store, "demote", "d", *options)
    assert show(store)["replica"] and show(store).get("replicated_to") is None and holds(store)["one"] == []


def test_a_dataset_that_is_no_replica_is_told_with_what_makes_it_one(store, other):
    store.create("d")
    cli(store, "snapshot", "create", "d@one")
    replicated(store, other)
    cli(other, "promote", "d")
    result = replicate(store, other)
    assert result.code != 0 and "no replica" in result.err and "corpusfs demote d" in result.err, result
    cli(other, "demote", "d")
    replicated(store, other)


def test_a_replica_follows_a_rollback(store, other):
    point = store.mount()
    store.create("d")
    files.put(point + "/d/f", b"good")
    cli(store, "snapshot", "create", "d@good")
    replicated(store, other)
    files.put(point + "/d/f", b"BAD")
    cli(store, "snapshot", "create", "d@bad")
    cli(store, "rollback", "d@good")
    assert "has all" in replicated(store, other), "what was left is not sent"
    assert names(other) == ["good"] and show(store)["replicated_behind"] == 0
    cli(store, "rollback", "d@bad")
    replicated(store, other)
    assert names(other) == ["good", "bad"]
    cli(store, "rollback", "d@good")
    assert show(store)["replicated_behind"] == 1
    assert "d@after-rollback-" in replicated(store, other)
    assert show(store)["replicated_behind"] == 0 and "has all" in replicated(store, other)
    cli(other, "promote", "d")
    assert files.get(other.mount(other.area + "/there") + "/d/f") == b"good"


def test_a_fork_is_not_to_go_back_to_what_was_left(store, other):
    point = store.mount()
    store.create("d")
    for name in ("good", "bad"):
        files.put(point + "/d/f", name.encode())
        cli(store, "snapshot", "create", f"d@{name}")
    replicated(store, other)
    cli(store, "rollback", "d@good")
    cli(other, "promote", "d")
    files.put(other.mount(other.area + "/there") + "/d/f", b"there")
    result = replicate(store, other)
    assert result.code == program.DAMAGED and "fork" in result.err and "corpusfs demote d --to good" in result.err, result


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(1, 4))
def test_a_replica_ends_at_what_the_dataset_is_after_random_histories(store, other, seed, others):
    rng = random.Random(seed + others)
    point = store.mount()
    store.create("d")
    for turn in range(12):
        choice = rng.randrange(6)
        known = names(store)
        if choice < 2:
            write_at_random(point, rng, 3)
        elif choice == 2 and known:
            cli(store, "rollback", f"d@{rng.choice(known)}", *rng.choice([[], ["--no-guard"]]))
        else:
            cli(store, "snapshot", "create", f"d@s{turn}")
        if rng.randrange(2) == 0 and names(store):
            replicated(store, other)
            assert show(store)["replicated_behind"] == 0
    files.put(point + "/d/end", b"bad")
    cli(store, "snapshot", "create", "d@end")
    if rng.randrange(2) == 0:
        replicated(store, other)
    cli(store, "rollback", f"d@{rng.choice(names(store)[:-1])}")
    replicated(store, other)
    cli(other, "promote", "d")
    assert scan(other.mount(other.area + "/there") + "/d") == scan(point + "/d")
    for end in (store, other):
        cli(end, "check")


def holds(store):
    return {row["name"]: row["holds"] for row in json.loads(cli(store, "snapshot", "list", "d", "--json"))}


def test_what_the_next_stream_begins_at_is_held(store, other):
    store.create("d")
    cli(store, "snapshot", "create", "d@one")
    assert replicate(store, other, "receive-frame:kill").code != 0
    assert holds(store) == {"one": ["replication"]}, "it is on its way"
    replicated(store, other)
    cli(store, "snapshot", "create", "d@two")
    cli(store, "snapshot", "hold", "d@two", "mine")
    replicated(store, other)
    assert holds(store) == {"one": [], "two": ["mine", "replication"]}
    cli(store, "snapshot", "create", "d@three")
    result = store.run("-s", store.path, "snapshot", "destroy", "d@two")
    assert result.code == program.BUSY and '"replication"' in result.err, result
    replicated(store, other)
    assert holds(store) == {"one": [], "two": ["mine"], "three": ["replication"]}


def test_a_base_that_was_destroyed_is_no_fork(store, other):
    point = store.mount()
    store.create("d")
    for name in ("one", "two"):
        files.put(f"{point}/d/f", name.encode())
        cli(store, "snapshot", "create", f"d@{name}")
    replicated(store, other)
    cli(store, "snapshot", "release", "d@two", "replication")
    cli(store, "snapshot", "destroy", "d@two")
    files.put(f"{point}/d/f", b"three")
    cli(store, "snapshot", "create", "d@three")
    result = replicate(store, other)
    assert result.code == program.NOT_FOUND and '"two"' in result.err and "not here any more" in result.err, result
    assert "fork" not in result.err and "corpusfs demote d --to one" in result.err, result
    cli(other, "demote", "d", "--to", "one")
    assert replicated(store, other) == "d@three is there\n"
    assert identity(other, "three") == identity(store, "three")
    cli(store, "snapshot", "release", "d@three", "replication")
    cli(store, "snapshot", "destroy", "d@one", "d@three")
    cli(store, "snapshot", "create", "d@four")
    result = replicate(store, other)
    assert result.code == program.NOT_FOUND and "nothing else is in common" in result.err, result


def test_a_dataset_that_is_a_replica_now_has_none(store, other):
    store.create("d")
    cli(store, "snapshot", "create", "d@one")
    replicated(store, other)
    cli(store, "demote", "d")
    assert "replicated_to" not in show(store) and holds(store) == {"one": []}
    assert "snapshots behind" not in store.ok("status", store.path)
    cli(other, "promote", "d")
    cli(other, "snapshot", "create", "d@two")
    assert replicated(other, store) == "d@two is there\n"


def test_a_dataset_of_which_only_what_a_rollback_left_has_a_snapshot_is_replicated(store, other):
    point = store.mount()
    store.create("d")
    files.put(point + "/d/f", b"good")
    cli(store, "snapshot", "create", "d@good")
    files.put(point + "/d/f", b"BAD")
    cli(store, "rollback", "d@good")
    cli(store, "snapshot", "destroy", "d@good")
    assert len(names(store)) == 1, "what was there before the rollback"
    assert replicated(store, other).startswith("d@after-rollback-")
    assert len(names(other)) == 1 and identity(other, names(other)[0]) == identity(store, names(other)[0])
    assert files.get(other.mount(other.area + "/there") + "/d/f") == b"good"
    assert "has all" in replicated(store, other)


def test_a_dataset_without_a_snapshot_is_not_said_to_be_replicated(store, other):
    store.create("d")
    result = replicate(store, other)
    assert result.code == program.NOT_FOUND and "no snapshot" in result.err and "corpusfs snapshot create d@NAME" in result.err, result
    assert not result.out
    cli(store, "snapshot", "create", "d@one")
    assert replicated(store, other) == "d@one is there\n"


@pytest.fixture(name="chain")
def _chain(store, other, third):
    """A replica of a replica; both have snapshots one and two."""
    point = store.mount()
    store.create("d")
    for name in ("one", "two"):
        files.put(f"{point}/d/f", name.encode())
        cli(store, "snapshot", "create", f"d@{name}")
    replicated(store, other)
    replicated(other, third)
    return store, other, third


def test_a_replica_that_goes_back_says_that_it_has_nothing_for_its_own_replica(chain):
    _, middle, last = chain
    cli(middle, "demote", "d", "--to", "one")
    result = replicate(middle, last)
    assert result.code == program.NOT_FOUND and '"two"' in result.err and "corpusfs demote d --to one" in result.err, result
    assert not result.out and identity(last, names(last)[-1]) == identity(last, "two")
    cli(last, "demote", "d", "--to", "one")
    assert "has all" in replicated(middle, last)


@pytest.mark.parametrize("options", [[], ["--to", "one"]])
def test_a_replica_that_is_demoted_keeps_what_its_own_replica_stands_at(chain, options):
    _, middle, last = chain
    cli(middle, "demote", "d", *options)
    assert "replication" in holds(middle)["two"] and to(last) == show(middle)["replicated_to"]
    assert middle.run("-s", middle.path, "snapshot", "destroy", "d@two").code == program.BUSY
