"""Streams between stores by command: mounted or not, cut, killed on either side, and who may write what came in."""

import json
import os
import re
import signal

import pytest

from harness import files, program, rot, tree

KILLED = -signal.SIGKILL


def cli(store, *args, **options):
    return store.ok("-s", store.path, *args, **options)


def command(store, *args):
    """Words for a shell."""
    return " ".join([store.binary, "-s", store.path, *args])


def shell(store, line, env=None):
    """Runs a line of shell, which fails if any part of a pipe does."""
    environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path, **(env or {})})
    return program.call(["bash", "-c", f"set -o pipefail; {line}"], environment, store.logs)


def shell_ok(store, line):
    result = shell(store, line)
    assert result.code == 0, f"{line}: {result}"
    return result.out


def send(store, name, path, *args):
    shell_ok(store, f"{command(store, 'send', name, *args)} > {path}")


def receive(store, path, dataset="d", env=None):
    return shell(store, f"exec {command(store, 'receive', dataset)} < {path}", env)


def identity(store, name):
    return json.loads(cli(store, "snapshot", "show", name, "--json"))["identity"]


def scan(path):
    """Without the time of the root itself: in .snapshots it is that of the snapshot."""
    found = tree.scan(path)
    found["."].pop("mtime")
    return found


def mount(other):
    return other.mount(other.area + "/there")


def fill(point):
    os.makedirs(f"{point}/d/a/b")
    files.put(f"{point}/d/a/text", b"text" * 1000)
    files.put(f"{point}/d/a/b/random", os.urandom(300000))
    os.link(f"{point}/d/a/text", f"{point}/d/linked")
    os.symlink("nowhere", f"{point}/d/symlink")
    os.mkfifo(f"{point}/d/fifo")
    os.setxattr(f"{point}/d/a", "user.key", b"value\0")
    with open(f"{point}/d/sparse", "wb") as handle:
        handle.truncate(16 << 20)
        handle.seek(5 << 20)
        handle.write(b"middle")


def change(point):
    os.rename(f"{point}/d/a", f"{point}/d/moved")
    os.rename(f"{point}/d/moved/text", f"{point}/d/a")
    os.remove(f"{point}/d/fifo")
    os.mkdir(f"{point}/d/fifo")
    files.put(f"{point}/d/fifo/new", b"new")
    os.utime(f"{point}/d/symlink", ns=(1, 2), follow_symlinks=False)
    with open(f"{point}/d/moved/b/random", "r+b") as handle:
        handle.seek(100000)
        handle.write(b"changed")


def two_snapshots(store):
    """d@one and d@two, in a store that is mounted; the mountpoint."""
    point = store.mount()
    store.create("d")
    fill(point)
    cli(store, "snapshot", "create", "d@one")
    change(point)
    cli(store, "snapshot", "create", "d@two")
    return point


@pytest.mark.sanitize
def test_a_pipe_between_mounted_stores(store, other):
    here, there = two_snapshots(store), mount(other)
    said = shell_ok(store, f"{command(store, 'send', 'd@one')} | {command(other, 'receive', 'd')}")
    assert said.startswith("received d@one: ")
    assert scan(there + "/d") == scan(here + "/d/.snapshots/one")
    said = shell_ok(store, f"{command(store, 'send', 'd@two', '--from', 'one')} | {command(other, 'receive', 'd')}")
    assert said.startswith("received d@two since one: ")
    assert scan(there + "/d") == scan(here + "/d/.snapshots/two")
    assert scan(there + "/d/.snapshots/one") == scan(here + "/d/.snapshots/one")
    assert os.stat(there + "/d/sparse").st_blocks < 100  # of 32768
    assert identity(store, "d@two") == identity(other, "d@two")
    assert sorted(os.listdir(there)) == ["d"], "what streams are built in is not seen"
    assert [row["name"] for row in json.loads(cli(other, "snapshot", "list", "--json"))] == ["one", "two"]


def test_a_replica_is_read_only_until_promoted(store, other):
    two_snapshots(store)
    there = mount(other)
    shell_ok(store, f"{command(store, 'send', 'd@one')} | {command(other, 'receive', 'd')}")
    for attempt in (
        lambda: files.put(there + "/d/new", b"x"),
        lambda: os.remove(there + "/d/linked"),
        lambda: os.rename(there + "/d/linked", there + "/d/other"),
        lambda: os.chmod(there + "/d/linked", 0o600),
        lambda: open(there + "/d/linked", "r+b"),
        lambda: os.truncate(there + "/d/linked", 0),
        lambda: os.mkdir(there + "/d/.snapshots/mine"),
    ):
        with pytest.raises(OSError, match="Read-only"):
            attempt()
    assert other.run("-s", other.path, "snapshot", "create", "d@mine").code == program.PERMISSION
    for command_ in (["rollback", "d@one"], ["rollback", "d@one/linked"], ["import", other.logs, "d"], ["import", other.logs, "d/sub"]):
        refused = other.run("-s", other.path, *command_)
        assert refused.code == program.PERMISSION and 'dataset "d" is a replica' in refused.err and "promote d" in refused.err, refused
    assert json.loads(cli(other, "dataset", "show", "d", "--json"))["replica"]
    cli(other, "promote", "d")
    files.put(there + "/d/new", b"x")
    cli(other, "demote", "d")
    with pytest.raises(OSError, match="Read-only"):
        files.put(there + "/d/more", b"x")
    assert files.get(there + "/d/new") == b"x"


def test_what_is_no_stream_is_called_that_and_no_more(store):
    files.put(store.area + "/text", b"no stream at all\n" * 1000)
    result = receive(store, store.area + "/text")
    assert result.code == program.DAMAGED and "no stream of corpusfs" in result.err and "stored there" not in result.err, result


def test_what_a_writer_has_open_is_in_the_replica_that_a_dataset_becomes(fs, store):
    with open(fs + "/open", "wb", buffering=0) as handle:
        handle.write(b"before")
        cli(store, "demote", "d")
        with pytest.raises(OSError, match="Read-only"):
            handle.write(b"after")
    assert files.get(fs + "/open") == b"before"
    store.umount()
    assert files.get(store.mount() + "/d/open") == b"before"


def test_a_fork_is_named_and_given_up_only_when_asked(store, other):
    here, there = two_snapshots(store), mount(other)
    shell_ok(store, f"{command(store, 'send', 'd@one')} | {command(other, 'receive', 'd')}")
    cli(other, "promote", "d")
    files.put(there + "/d/theirs", b"x")
    cli(other, "demote", "d")
    send(store, "d@two", store.area + "/two", "--from", "d@one")
    result = receive(other, store.area + "/two")
    assert result.code == program.DAMAGED and "fork" in result.err and "demote d --to" in result.err, result
    said = cli(other, "demote", "d", "--to", "one")
    kept = re.search(r"kept as d@(\S+)", said).group(1)
    assert receive(other, store.area + "/two").code == 0
    assert scan(there + "/d") == scan(here + "/d/.snapshots/two")
    assert files.get(f"{there}/d/.snapshots/{kept}/theirs") == b"x"


def test_streams_for_another_dataset_or_base_are_refused(store, other):
    two_snapshots(store)
    send(store, "d@one", store.area + "/one")
    send(store, "d@two", store.area + "/two", "--from", "one")
    assert receive(other, store.area + "/two").code == program.NOT_FOUND
    assert receive(other, store.area + "/one").code == 0
    assert receive(other, store.area + "/one").code == program.EXISTS
    assert receive(other, store.area + "/one", "again").code == 0
    assert receive(other, store.area + "/two", "nowhere").code == program.NOT_FOUND
    cli(other, "promote", "again")
    assert receive(other, store.area + "/two", "again").code == program.PERMISSION
    for number, bad in enumerate((b"", b"no stream at all", open(store.area + "/two", "rb").read(1000))):
        path = f"{store.area}/bad{number}"
        files.put(path, bad)
        result = receive(other, path)
        assert result.code != 0 and len(result.err.splitlines()) == 1, result
    assert receive(other, store.area + "/two").code == 0


def test_words_that_make_no_sense_are_told(store):
    point = two_snapshots(store)
    for args in (["send"], ["send", "d"], ["send", "d@one", "--from", "other@one"], ["send", "d@one", "--resume", "x"], ["send", "--resume", "x"],
                 ["send", "d@one", "--from", "two"]):
        result = store.run("-s", store.path, *args)
        assert result.code == program.USAGE and len(result.err.splitlines()) == 1, result
    assert store.run("-s", store.path, "send", "d@three").code == program.NOT_FOUND
    assert store.run("-s", store.path, "receive", "d", "--token").code == program.NOT_FOUND
    assert "no unfinished" in cli(store, "receive", "d", "--abort")
    assert scan(point + "/d") == scan(point + "/d/.snapshots/two")


def test_a_user_receives_what_is_his(run, store, other):
    """A store of a user's own."""
    point = store.mount()
    store.create("d")
    files.put(point + "/d/mine", b"x")
    os.chown(point + "/d/mine", 1000, 1000)
    os.chown(point + "/d", 1000, 1000)
    cli(store, "snapshot", "create", "d@his")
    os.chown(point + "/d/mine", 0, 0)
    cli(store, "snapshot", "create", "d@roots")
    send(store, "d@his", store.area + "/his")
    send(store, "d@roots", store.area + "/roots", "--from", "his")
    place = store.area + "/home"
    os.mkdir(place)
    os.chown(place, 1000, 1000)
    os.chmod(store.area, 0o755)
    home = run.store(place)
    os.chmod(home.logs, 0o1777)
    home.ok("init", home.path, user=1000)
    with open(store.area + "/his", "rb") as handle:
        home.ok("-s", home.path, "receive", "d", data=handle.read(), user=1000)
    with open(store.area + "/roots", "rb") as handle:
        result = home.run("-s", home.path, "receive", "d", data=handle.read(), user=1000)
    assert result.code == program.PERMISSION and "only root" in result.err, result
    assert home.run("-s", home.path, "receive", "d", "--token", user=1000).code == program.NOT_FOUND
    home.close()


# --- killed on either side ---


def check_whole(store, other, there=None):
    assert identity(other, "d@two") == identity(store, "d@two")
    there = there or mount(other)
    assert scan(there + "/d") == scan(store.points[-1] + "/d/.snapshots/two")


def go_on(store, other):
    """With the token if there is one, else anew."""
    token = other.run("-s", other.path, "receive", "d", "--token")
    what = f"--resume {token.out.strip()}" if token.code == 0 else "d@two --from one"
    shell_ok(store, f"{command(store, 'send', what)} | {command(other, 'receive', 'd')}")
    return token.code == 0


@pytest.mark.kinds("point")
@pytest.mark.parametrize("point", ["receive-frame:kill:2", "receive-frame:kill:9", "receive-saved", "receive-built", "receive-before-write",
                                   "receive-after-write", "snapshot-after-write", "destroy-after-write"])
def test_a_receiver_that_dies_has_all_or_nothing(store, other, point):
    two_snapshots(store)
    send(store, "d@one", store.area + "/one")
    send(store, "d@two", store.area + "/two", "--from", "one")
    assert receive(other, store.area + "/one").code == 0
    path = store.area + "/two"
    if point == "receive-saved":  # a stream that is cut is kept as far as it came
        with open(path, "r+b") as handle:
            handle.truncate(os.path.getsize(path) - 30)
    assert receive(other, path, env={"CORPUSFS_FAULT": point}).code == KILLED
    names = [row["name"] for row in json.loads(cli(other, "snapshot", "list", "d", "--json"))]
    if point in ("receive-after-write", "destroy-after-write"):
        assert names == ["one", "two"]
    else:
        assert names == ["one"]
        assert identity(other, "d@one") == json.loads(cli(other, "snapshot", "show", "d@one", "--json"))["identity"]
        went_on = go_on(store, other)
        assert went_on == (point == "receive-saved")
    check_whole(store, other)
    cli(other, "check")


def test_a_receiver_that_dies_far_into_a_stream_goes_on_from_what_it_has(store, other):
    point = store.mount()
    store.create("d")
    files.put(point + "/d/big", os.urandom(90 << 20))
    files.put(point + "/d/other", b"other")
    cli(store, "snapshot", "create", "d@two")
    send(store, "d@two", store.area + "/two")
    frames = 90 * 16 // 2 + 400  # of about 64 KiB: the first 64 MiB are saved
    assert receive(other, store.area + "/two", env={"CORPUSFS_FAULT": f"receive-frame:kill:{frames}"}).code == KILLED
    token = cli(other, "receive", "d", "--token").strip()
    send(store, "", store.area + "/rest", "--resume", token)
    assert os.path.getsize(store.area + "/rest") < 40 << 20
    assert receive(other, store.area + "/rest").code == 0
    check_whole(store, other)


def test_a_sender_that_dies_leaves_what_goes_on(store, other):
    point = store.mount()
    store.create("d")
    for number in range(6):
        files.put(f"{point}/d/f{number}", os.urandom(1 << 20))
    cli(store, "snapshot", "create", "d@two")
    store.umount()
    result = shell(store, f"CORPUSFS_FAULT=export-write:kill:4 {command(store, 'send', 'd@two')} > {store.area}/cut")
    assert result.code == 128 + signal.SIGKILL
    result = receive(other, store.area + "/cut")
    assert result.code == program.NOT_FOUND and "send --resume" in result.err
    assert json.loads(cli(other, "dataset", "list", "--json")) == []
    store.mount()
    assert go_on(store, other)
    check_whole(store, other)


def test_a_daemon_that_dies_while_it_receives(store, other):
    two_snapshots(store)
    send(store, "d@one", store.area + "/one")
    send(store, "d@two", store.area + "/two", "--from", "one")
    assert receive(other, store.area + "/one").code == 0
    other.mount(other.area + "/there", env={"CORPUSFS_FAULT": "receive-frame:kill:8"})
    assert receive(other, store.area + "/two").code != 0
    other.ended(KILLED)
    other.clear()
    there = mount(other)
    assert not go_on(store, other)
    check_whole(store, other, there)


def test_dropping_what_is_unfinished_gives_its_room_back(store, other):
    two_snapshots(store)
    send(store, "d@one", store.area + "/one")
    with open(store.area + "/one", "r+b") as handle:
        handle.truncate(os.path.getsize(store.area + "/one") - 30)
    assert receive(other, store.area + "/one").code == program.NOT_FOUND
    assert cli(other, "receive", "d", "--token").startswith("corpusfs-")
    cli(other, "receive", "d", "--abort")
    assert other.run("-s", other.path, "receive", "d", "--token").code == program.NOT_FOUND
    cli(other, "gc")
    assert json.loads(cli(other, "gc", "--json"))["chunks"] == 0
    cli(other, "check")


@pytest.mark.sanitize
def test_what_follows_the_end_of_a_stream_is_told(store, other, area):
    """Two streams in one file; and bytes of something else."""
    two_snapshots(store)
    send(store, "d@one", area + "/one")
    send(store, "d@two", area + "/two", "--from", "one")
    files.put(area + "/rest", b"rest")
    for number, behind in enumerate(("two", "rest")):
        result = shell(other, f"cat {area}/one {area}/{behind} > {area}/all; exec {command(other, 'receive', f'd{number}')} < {area}/all")
        assert result.code == program.FAILED and result.out.startswith(f"received d{number}@one: "), result
        assert "something follows the end of the stream" in result.err
    assert receive(other, area + "/two", "d0").code == 0
    assert identity(store, "d@two") == identity(other, "d0@two")


@pytest.mark.parametrize("word", ["promote", "demote"])
def test_a_promotion_that_dies_was_done_or_not(store, word):
    store.create("d")
    if word == "promote":
        cli(store, "demote", "d")
    assert store.run("-s", store.path, word, "d", env={"CORPUSFS_FAULT": "replica-before-write"}).code == KILLED
    assert json.loads(cli(store, "dataset", "show", "d", "--json"))["replica"] == (word == "promote")
    cli(store, word, "d")
    assert json.loads(cli(store, "dataset", "show", "d", "--json"))["replica"] == (word == "demote")


def test_what_comes_in_heals_what_is_damaged(store, other):
    """The store's own copy is known to be damaged: it is not taken for the one that comes."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    for each, dataset in ((store, "mine"), (other, "d")):
        each.create(dataset)
        files.put(f"{each.mount()}/{dataset}/file", rot.noise(7))
        each.umount()
    cli(other, "snapshot", "create", "d@one")
    send(other, "d@one", other.area + "/one")
    assert rot.content(store, rot.noise(7), 100000) == 1
    point = store.mount()
    assert not rot.reads(point + "/mine/file", rot.noise(7))
    assert receive(store, other.area + "/one").code == 0
    rot.forget()
    assert rot.reads(point + "/d/file", rot.noise(7)) and rot.reads(point + "/mine/file", rot.noise(7))
    assert json.loads(cli(store, "scrub", "--json"))["damaged"] == 0
