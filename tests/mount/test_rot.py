"""Bits that flip on the disk: what is hurt answers EIO, everything else goes on, and good bytes that come in heal it."""

import errno
import json
import mmap
import os
import signal
import subprocess

import pytest

from harness import files, posix, procs, program, rot
from harness.rot import noise, reads
from harness.repository import Repository


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


def test_damaged_small_files_are_removed_and_written_anew_and_collecting_goes_on(fs, store):
    """Their content lies side by side in tables of records."""
    expect_damage(store)
    wanted = {number: noise(number, 1500) for number in range(60)}
    for number, data in wanted.items():
        files.put(f"{fs}/{number}", data)
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.ok("-s", store.path, "gc")
    store.umount()
    assert rot.content(store, wanted[30], 500) == 1
    store.mount()
    bad = [number for number, data in wanted.items() if not reads(f"{fs}/{number}", data)]
    assert 30 in bad and 5 <= len(bad) <= 40
    os.unlink(f"{fs}/{bad[0]}")
    put_synced(f"{fs}/{bad[1]}", b"new")
    os.truncate(f"{fs}/{bad[2]}", 0)
    put_synced(fs + "/over", b"over")
    os.rename(fs + "/over", f"{fs}/{bad[3]}")
    put_synced(f"{fs}/{bad[4]}", noise("long"))
    wanted.update({bad[1]: b"new", bad[2]: b"", bad[3]: b"over", bad[4]: noise("long")})
    for number in wanted.keys() - bad:
        files.put(f"{fs}/{number}", b"changed")
        wanted[number] = b"changed"
    for _ in range(2):
        store.ok("-s", store.path, "gc")
        problems = json.loads(store.run("-s", store.path, "check", "--json").out)["problems"]
        assert {problem["rule"] for problem in problems} <= {"K0"}, "more than that a table is damaged"
        assert [number for number in wanted if number != bad[0] and not reads(f"{fs}/{number}", wanted[number])] == bad[5:]
        assert not os.path.exists(f"{fs}/{bad[0]}")
        store.umount()
        store.mount()
        posix.outcome(os.rmdir, fs + "/.snapshots/v1")


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
    with open(path, "wb", buffering=0) as handle:
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


@pytest.mark.parametrize("size", [20000, 200000])
def test_what_was_healed_is_read_by_everybody(fs, store, area, size):
    """Whoever gives out content finds it where it is whole now: backup, identity, export, scrub, check."""
    expect_damage(store)
    put_synced(fs + "/file", noise("file", size))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    identity = show(store, "d@v1")["identity"]
    store.umount()
    assert rot.content(store, noise("file", size), size // 2) == 1
    fs = store.mount(os.path.dirname(fs)) + "/d"
    put_synced(fs + "/again", noise("file", size))
    os.unlink(fs + "/again")
    store.ok("-s", store.path, "snapshot", "create", "d@v2")
    assert show(store, "d@v2")["identity"] == identity
    store.ok("-s", store.path, "export", "d@v1", area + "/out")
    assert files.get(area + "/out/file") == noise("file", size)
    store.ok("-s", store.path, "export", "d@v1", area + "/out.tar.zst")
    repository = Repository(store, area + "/repository")
    assert repository.backup("d@v1")["identity"] == identity
    repository.restore(area + "/back")
    assert files.get(area + "/back/file") == noise("file", size)
    store.ok("-s", store.path, "scrub")
    store.ok("-s", store.path, "check")
    damage(store, 0)


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


def test_direct_read_ends_before_what_is_damaged(fs, store):
    expect_damage(store)
    data = noise("long", 3 << 20)
    put_synced(fs + "/long", data)
    store.umount()
    assert rot.content(store, data, 1500000) == 1
    fd = os.open(store.mount(store.area + "/mnt") + "/d/long", os.O_RDONLY | os.O_DIRECT)
    room = mmap.mmap(-1, 1 << 20)
    at, failed = 0, []
    while at < len(data):
        try:
            got = os.preadv(fd, [room], at)
            assert got > 0 and room[:got] == data[at : at + got], at
            at += got
        except OSError as problem:
            assert problem.errno == errno.EIO
            failed.append(at)
            at += 4096
    os.close(fd)
    assert failed and failed[0] <= 1500000 < failed[-1] + 4096 and failed[-1] - failed[0] <= 262144


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


def status(store):
    return json.loads(store.ok("-s", store.path, "status", "--json"))


def test_scrub_finds_what_nobody_has_read(rotten, store):
    result = store.run("-s", store.path, "scrub")
    assert result.code == 7 and " damage` says" in result.err
    store.umount()
    point = store.mount(os.path.dirname(rotten))
    assert status(store)["damage"]["chunks"] == 1 and status(store)["scrub"]["last_damaged"] == 1
    put_synced(point + "/d/again", noise(7))
    assert status(store)["damage"] == {"chunks": 0, "healed": 1, "tables": True, "unneeded": False}
    assert json.loads(store.ok("-s", store.path, "scrub", "--json"))["damaged"] == 0


def test_scrub_of_a_sound_store_counts_all_chunks(fs, store):
    for number in range(5):
        files.put(f"{fs}/{number}", noise(number))
    store.ok("-s", store.path, "sync")
    first = json.loads(store.ok("-s", store.path, "scrub", "--json"))
    assert first["damaged"] == 0 and first["chunks"] >= 15 and first["bytes"] > 1000000
    store.umount()
    assert json.loads(store.ok("-s", store.path, "scrub", "--json"))["chunks"] == first["chunks"]


def test_scrub_that_is_stopped_goes_on_from_there(fs, store):
    files.put(fs + "/file", noise(1, 16 << 20))
    store.ok("-s", store.path, "sync")
    whole = json.loads(store.ok("-s", store.path, "scrub", "--json"))["chunks"]
    slow = subprocess.Popen([store.binary, "-s", store.path, "scrub", "--rate", "2M"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    procs.poll(lambda: (now := status(store)["scrub"])["phase"] == "content" and 0 < now["chunks"] < whole, 40, "it is in the middle")
    slow.send_signal(signal.SIGINT)
    assert slow.wait(40) == -signal.SIGINT
    store.umount()
    store.mount(os.path.dirname(fs))
    seen = status(store)["scrub"]
    assert seen["phase"] == "content" and 0 < seen["chunks"] < whole
    assert json.loads(store.ok("-s", store.path, "scrub", "--json"))["chunks"] == whole
    assert status(store)["scrub"]["phase"] == ""


def test_scheduled_scrub_runs_in_the_daemon(fs, store):
    files.put(fs + "/file", noise(1))
    assert store.ok("-s", store.path, "scrub", "schedule") == "off\n"
    assert store.ok("-s", store.path, "scrub", "schedule", "weekly") == "weekly\n"
    procs.poll(lambda: status(store)["scrub"]["last_end"] > 0, 40, "the daemon has scrubbed")


def test_mark_of_damaged_tables_goes_when_they_are_whole_again(rotten, store):
    assert not reads(rotten + "/7", noise(7))
    assert os.path.exists(store.path + "/damaged")
    store.umount()
    rot.undo()
    store.mount(os.path.dirname(rotten))
    store.ok("-s", store.path, "scrub")
    assert not os.path.exists(store.path + "/damaged") and reads(rotten + "/7", noise(7))
    assert status(store)["damage"] == {"chunks": 0, "healed": 0, "tables": False, "unneeded": False}


def test_an_archive_without_a_damaged_file_is_not_made_and_a_directory_is(rotten, store):
    result = store.run("-s", store.path, "export", "d", store.area + "/out.tar")
    assert result.code != 0 and "7 cannot be read" in result.err and "the archive is not made" in result.err and " damage names" in result.err, result
    assert not [name for name in os.listdir(store.area) if name.startswith("out.tar")]
    result = store.run("-s", store.path, "export", "d", store.area + "/out")
    assert result.code == program.FAILED and sorted(os.listdir(store.area + "/out")) == sorted(set(os.listdir(rotten)) - {"7"}), result


def test_healed_content_keeps_no_other_table_from_being_merged(rotten, store):
    """Where it rotted the block stays until a repair, and nothing is damaged in what files need."""
    assert not reads(rotten + "/7", noise(7))
    put_synced(rotten + "/again", noise(7))
    healed = {"chunks": 0, "healed": 1, "tables": False, "unneeded": True}

    def is_healed():
        return status(store)["damage"] == healed and "none is merged" not in store.ok("-s", store.path, "status")

    store.ok("-s", store.path, "scrub")
    (finding,) = [row for row in json.loads(store.run("-s", store.path, "doctor", "--json").out) if row["what"] == "damage"]
    assert is_healed() and finding["state"] == "note", finding
    for number in range(8, 40):
        os.unlink(f"{rotten}/{number}")
    store.ok("-s", store.path, "snapshot", "destroy", "d@v1")
    store.ok("-s", store.path, "gc")
    assert is_healed() and reads(rotten + "/7", noise(7))
    store.umount()
    store.mount(os.path.dirname(rotten))
    assert is_healed()
    store.umount()
    repaired = store.ok("-s", store.path, "repair", "--apply")
    assert "nothing is lost" in repaired and "given up" not in repaired and "gone without a trace" not in repaired, repaired
    store.mount(os.path.dirname(rotten))
    assert not status(store)["damage"]["unneeded"] and reads(rotten + "/7", noise(7))


def show(store, snapshot):
    return json.loads(store.ok("-s", store.path, "snapshot", "show", "--json", snapshot))


def damage(store, code=7):
    result = store.run("-s", store.path, "damage", "--json")
    assert result.code == code, result.err
    return json.loads(result.out)


def test_damage_lists_every_file_that_is_hurt_and_where_it_is_whole(fs, store):
    expect_damage(store)
    put_synced(fs + "/good", noise("old"))
    os.mkdir(fs + "/dir")
    os.rename(fs + "/good", fs + "/dir/file")
    store.ok("-s", store.path, "snapshot", "create", "d@old")
    put_synced(fs + "/dir/file", noise("new"))
    os.link(fs + "/dir/file", fs + "/link")
    put_synced(fs + "/sound", noise("sound"))
    store.ok("-s", store.path, "snapshot", "create", "d@new")
    store.ok("-s", store.path, "clone", "d@new", "copy")
    store.umount()
    assert rot.content(store, noise("new"), 100000) == 1
    fs = store.mount(os.path.dirname(fs)) + "/d"
    assert damage(store, 0)["places"] == []
    assert store.run("-s", store.path, "scrub").code == 7
    told = store.run("-s", store.path, "damage").out
    assert "repair --from" in told and "more" not in told
    places = damage(store)["places"]
    assert {(p["dataset"], p["snapshot"], p["path"]) for p in places} == {
        (dataset, snapshot, path) for dataset, snapshot in (("d", ""), ("d", "new"), ("copy", "")) for path in ("dir/file", "link")
    }
    for place in places:
        assert place["offset"] <= 100000 < place["offset"] + place["length"]
    (command,) = {p["command"] for p in places if (p["dataset"], p["snapshot"], p["path"]) == ("d", "", "dir/file")}
    assert command == "corpusfs rollback d@old/dir/file"
    store.ok("-s", store.path, *command.split()[1:])
    assert files.get(fs + "/dir/file") == noise("old")
    assert not [p for p in damage(store)["places"] if (p["dataset"], p["snapshot"], p["path"]) == ("d", "", "dir/file")]


def test_what_is_whole_in_a_clone_only_comes_back_from_there(fs, store):
    expect_damage(store)
    point = os.path.dirname(fs)
    put_synced(fs + "/a file", noise("hurt"))
    store.ok("-s", store.path, "snapshot", "create", "d@v")
    store.ok("-s", store.path, "clone", "d@v", "copy")
    put_synced(point + "/copy/a file", noise("whole"))
    store.umount()
    assert rot.content(store, noise("hurt"), 100000) == 1
    store.mount(point)
    assert store.run("-s", store.path, "scrub").code == 7
    commands = {(p["dataset"], p["snapshot"]): p["command"] for p in damage(store)["places"]}
    assert commands.keys() == {("d", ""), ("d", "v")}
    subprocess.run(["sh", "-c", commands["d", ""]], cwd=point, stdin=subprocess.DEVNULL, check=True, timeout=60)
    assert files.get(fs + "/a file") == noise("whole")


@pytest.mark.sanitize
def test_every_damaged_file_can_be_removed_and_is_listed_no_more(fs, store):
    """Small and large ones: their content, their layout or all that is known of them is hurt."""
    expect_damage(store)
    for number in range(60):
        files.put(f"{fs}/small{number}", noise(number, 300))
        with open(f"{fs}/pieces{number}", "wb", buffering=0) as handle:
            for piece in range(150):
                os.pwrite(handle.fileno(), b"x", piece << 16)
    files.put(fs + "/content", noise("content"))
    store.umount()
    assert rot.content(store, noise("content"), 100000) == 1
    store.mount()
    assert not reads(fs + "/content", noise("content")) and [place["path"] for place in damage(store)["places"]] == ["content"]
    os.unlink(fs + "/content")
    assert damage(store, 0)["places"] == []
    store.umount()
    rot.layout(store)
    store.mount()
    hurt = {place["path"] for place in damage(store)["places"]}
    unknown = {name for name in os.listdir(fs) if posix.outcome(os.lstat, f"{fs}/{name}") == "EIO"}
    assert unknown and hurt >= unknown and len(os.listdir(fs)) == 120
    assert {posix.outcome(call, f"{fs}/{name}") for name in unknown for call in (files.get, lambda path: os.truncate(path, 0))} == {"EIO"}
    subprocess.run(["rm", "-f", *(f"{fs}/{name}" for name in hurt)], check=True, timeout=60)
    left = set(os.listdir(fs))
    assert len(left) == 120 - len(hurt)
    for _ in range(2):
        assert damage(store)["places"] == [] and set(os.listdir(fs)) == left
        store.umount()
        store.mount()
    store.umount()
    store.ok("-s", store.path, "repair", "--apply")
    store.mount()
    assert set(os.listdir(fs)) - {"lost+found"} == left
    subprocess.run(["rm", "-rf", fs + "/lost+found"], check=True, timeout=60)
    assert set(os.listdir(fs)) == left


def test_datasets_that_cannot_be_opened_are_listed(store):
    """Each look-up fails, of those behind the first one, too."""
    for name in "abc":
        store.create(name)
    point = store.mount(env={"CORPUSFS_FAULT": ",".join(f"head-before-open:eio:{number}" for number in range(1, 10))})
    with os.scandir(point) as found:
        assert sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found) == [(name, True) for name in "abc"]
    procs.poll(lambda: posix.outcome(os.stat, point + "/c") == "ok", 20, "the disk is well again")


def test_repair_finds_damaged_content_in_files_of_any_name(rotten, store, area):
    assert not reads(rotten + "/7", noise(7))
    os.makedirs(area + "/source/deep/er")
    files.put(area + "/source/wrong", noise("wrong"))
    assert store.run("-s", store.path, "repair", "--from", area + "/source", "--apply").code == 7
    files.put(area + "/source/deep/er/other-name", noise(7))
    looked = json.loads(store.ok("-s", store.path, "repair", "--from", area + "/source", "--json"))
    assert looked["healed"] == 1 and looked["left"] == 0
    assert not reads(rotten + "/7", noise(7))
    store.ok("-s", store.path, "repair", "--from", area + "/source", "--apply")
    for name in ("7", ".snapshots/v1/7"):
        assert reads(f"{rotten}/{name}", noise(7)), name
    damage(store, 0)


@pytest.mark.sanitize
def test_merge_that_meets_damage_does_not_stop_writing(store):
    """RocksDB takes no change any more then; the database is opened anew, and nobody who writes learns of it."""
    expect_damage(store)
    store.create("d")
    point = None
    for turn in range(3):
        point = store.mount(point)
        for number in range(60):
            files.put(f"{point}/d/{number}-{turn}", noise(f"{number}/{turn}", 400))
        store.umount()
    # the three hold what is merged when a fourth one comes, which closing makes
    for table in rot.tables(store):
        if os.path.getsize(table) > 20000:
            rot.flip(table, os.path.getsize(table) // 2)
    for turn in range(2):
        store.mount(point)
        for number in range(20):
            put_synced(f"{point}/d/new-{turn}-{number}", noise(f"new/{turn}/{number}", 400))
        if turn == 0:
            store.umount()
    tries = iter(range(10000))

    def is_noticed():
        number = next(tries)
        put_synced(f"{point}/d/more-{number}", noise(f"more/{number}", 400))
        reads(f"{point}/d/{number % 60}-{number % 3}", noise(f"{number % 60}/{number % 3}", 400))
        return status(store)["damage"]["tables"]

    procs.poll(is_noticed, 40 * program.scale(), "damage is noticed")
    assert "write_error" not in status(store)
    for number in range(20):
        assert reads(f"{point}/d/new-1-{number}", noise(f"new/1/{number}", 400))
    assert reads(f"{point}/d/more-0", noise("more/0", 400))
    put_synced(f"{point}/d/last", noise("last"))
    store.umount()
    assert reads(store.mount(point) + "/d/last", noise("last"))
