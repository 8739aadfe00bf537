"""What changed, which versions there were, what takes space, one path set back, snapshots by the clock: as commands on a running mount."""

import json
import os
import threading
import time

import pytest

from harness import procs, program, tree


def write(path, data):
    with open(path, "wb") as handle:
        handle.write(data)


def read(path):
    with open(path, "rb") as handle:
        return handle.read()


class Case:
    """A store with dataset d mounted; commands get the store."""

    def __init__(self, store, fs):
        self.store, self.d = store, fs

    def run(self, *args):
        return self.store.run("-s", self.store.path, *args)

    def ok(self, *args):
        return self.store.ok("-s", self.store.path, *args)

    def snap(self, name):
        os.mkdir(f"{self.d}/.snapshots/{name}")

    def path(self, name):
        return f"{self.d}/{name}"


@pytest.fixture
def case(store, fs):
    return Case(store, fs)


def change_everything(case):
    """Between v1 and now one of each kind."""
    os.mkdir(case.path("dir"))
    os.mkdir(case.path("old"))
    for name in ("same", "gone", "changed", "mode", "moved", "dir/inside", "old/child"):
        write(case.path(name), name.encode() * 3)
    case.snap("v1")
    os.unlink(case.path("gone"))
    write(case.path("changed"), b"changed now")
    os.chmod(case.path("mode"), 0o600)
    os.rename(case.path("moved"), case.path("dir/moved"))
    os.rename(case.path("old"), case.path("new"))
    write(case.path("fresh"), b"12345")


EXPECTED = ["M changed", "R moved -> dir/moved", "+ fresh", "- gone", "m mode", "R old/ -> new/"]


def test_diff_tells_one_of_each_kind(case):
    change_everything(case)
    assert case.ok("diff", "d@v1").splitlines() == EXPECTED
    assert case.ok("diff", "d").splitlines() == EXPECTED
    assert case.ok("diff", "d@v1", "d").splitlines() == EXPECTED
    case.snap("v2")
    assert case.ok("diff", "d@v1", "d@v2").splitlines() == EXPECTED
    assert case.ok("diff", "d@v2", "d") == ""


def test_diff_without_a_mount_says_the_same(case):
    change_everything(case)
    case.store.umount()
    assert case.ok("diff", "d@v1").splitlines() == EXPECTED


def test_diff_the_other_way_round(case):
    change_everything(case)
    lines = case.ok("diff", "d", "d@v1").splitlines()
    assert sorted(lines) == sorted(["M changed", "R dir/moved -> moved", "- fresh", "+ gone", "m mode", "R new/ -> old/"])


def test_diff_of_one_path(case):
    change_everything(case)
    assert case.ok("diff", "d@v1", "--path", "dir").splitlines() == ["R moved -> dir/moved"]
    assert case.ok("diff", "d@v1", "--path", "same") == ""


def test_a_path_in_neither_is_told(case):
    change_everything(case)
    for args in (("diff", "d@v1"), ("rollback", "d@v1", "-n"), ("diff", "d@v1", "--stat"), ("diff", "d@v1", "d", "--exit-code")):
        result = case.run(*args, "--path", "no/such")
        assert result.code == program.NOT_FOUND and '"no/such"' in result.err and result.out == ""
    for path in ("gone", "fresh", "/dir/", "dir//inside", ""):
        assert case.run("diff", "d@v1", "--path", path).code == 0
    assert case.ok("diff", "d@v1", "--path", "/dir/").splitlines() == ["R moved -> dir/moved"]


def test_diff_as_sums_and_as_json(case):
    change_everything(case)
    assert "1 added, 1 removed, 1 modified, 2 renamed, 1 metadata only" in case.ok("diff", "d@v1", "--stat")
    value = json.loads(case.ok("diff", "d@v1", "--json"))
    assert value["a"] == "d@v1" and value["b"] == "d"
    assert value["counts"] == {"added": 1, "removed": 1, "modified": 1, "renamed": 2, "metadata": 1}
    fresh = [entry for entry in value["entries"] if entry["path"] == "fresh"][0]
    assert fresh["kind"] == "added" and fresh["b"]["size"] == 5 and "a" not in fresh


def test_diff_exit_codes(case):
    change_everything(case)
    case.snap("v2")
    assert case.run("diff", "d@v1", "d@v2").code == 0
    assert case.run("diff", "d@v1", "d@v2", "--exit-code").code == 1
    assert case.run("diff", "d@v2", "d", "--exit-code").code == 0
    assert case.run("diff", "d@v9").code == program.NOT_FOUND
    assert case.run("diff", "nothing").code == program.NOT_FOUND


def test_diff_shows_the_bytes_that_differ(case):
    block = os.urandom(1 << 20)
    write(case.path("big"), block)
    case.snap("v1")
    with open(case.path("big"), "r+b") as handle:
        handle.seek(500_000)
        handle.write(bytes(255 - byte for byte in block[500_000:500_010]))
        handle.seek(1 << 20)
        handle.write(b"tail")
    value = json.loads(case.ok("diff", "d@v1", "--content", "--json"))
    assert [entry["ranges"] for entry in value["entries"]] == [[[500_000, 10], [1 << 20, 4]]]
    assert "bytes 500000-500009 (10)" in case.ok("diff", "d@v1", "--content")


@pytest.mark.sanitize
def test_diff_beside_a_running_writer(case):
    """What changes meanwhile may be told or not; it is no error, and what was there before is told."""
    write(case.path("steady"), b"1")
    case.snap("v1")
    write(case.path("steady"), b"22")
    stop = threading.Event()

    def churn():
        number = 0
        while not stop.is_set():
            top = case.path(f"w{number % 7}")
            os.makedirs(f"{top}/a/b", exist_ok=True)
            write(f"{top}/a/b/{number}", b"x")
            os.rename(f"{top}/a", f"{top}/c")
            os.system(f"rm -rf {top}")
            number += 1

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        for _ in range(20):
            assert "M steady" in case.ok("diff", "d@v1").splitlines()
            assert "M steady" in case.ok("diff", "d", "d@v1").splitlines()
    finally:
        stop.set()
        writer.join()


def test_the_same_bytes_again_are_no_modification(case):
    data = os.urandom(300_000)
    write(case.path("f"), data)
    case.snap("v1")
    write(case.path("f"), data)
    assert case.ok("diff", "d@v1").splitlines() == ["m f"]


def test_diff_of_a_clone_and_of_unrelated_datasets(case):
    write(case.path("a"), b"a")
    case.snap("v1")
    case.ok("clone", "d@v1", "c")
    write(case.path("b"), b"b")
    assert case.ok("diff", "d", "c").splitlines() == ["- b"]
    case.store.create("other")
    other = os.path.dirname(case.d) + "/other"
    os.system(f"cp -a {case.d}/a {other}/a")
    assert case.ok("diff", "d@v1", "other").splitlines() == []


def test_names_that_break_lines_are_shown_on_one(case):
    case.snap("v1")
    write(case.d.encode() + b"/a\nb", b"1")
    write(case.d.encode() + b"/\xff", b"1")
    assert sorted(case.ok("diff", "d").splitlines()) == ["+ \\xff", "+ a\\x0ab"]


def test_lines_of_versions_fit_a_terminal_however_many_snapshots_there_are(case):
    write(case.path("f"), b"1")
    for number in range(20):
        case.snap(f"a-name-{number:02}")
    text = case.ok("versions", "d/f")
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert len(json.loads(case.ok("versions", "d/f", "--json"))[0]["snapshots"]) == 20


def test_versions_of_a_file_also_when_it_is_deleted(case):
    case.snap("empty")
    write(case.path("f"), b"one")
    case.snap("v1")
    case.snap("v2")
    write(case.path("f"), b"second")
    case.snap("v3")
    os.unlink(case.path("f"))
    rows = json.loads(case.ok("versions", "d/f", "--json"))
    assert [(row["snapshots"], row.get("size"), row["head"]) for row in rows] == [
        (["empty"], None, True), (["v1", "v2"], 3, False), (["v3"], 6, False)]
    assert case.ok("versions", "/d/f") == case.ok("versions", "d//f")
    for way in (case.path("f"), case.path(".snapshots/v3/f"), case.path(".snapshots/gone/f")):
        assert json.loads(case.store.ok("versions", way, "--json")) == rows
    assert case.run("versions", "d/never").code == program.NOT_FOUND
    assert case.run("versions", "d").code == program.USAGE


def test_versions_follow_a_renamed_file(case):
    os.mkdir(case.path("sub"))
    write(case.path("f"), b"one")
    case.snap("v1")
    os.rename(case.path("f"), case.path("sub/g"))
    rows = json.loads(case.ok("versions", "d/f", "--json"))
    assert [(row["path"], row["snapshots"], row["head"]) for row in rows] == [("f", ["v1"], False), ("sub/g", [], True)]


def test_du_tells_what_destroying_frees(case):
    write(case.path("a"), os.urandom(1 << 20))
    case.snap("v1")
    write(case.path("a"), os.urandom(2 << 20))
    case.snap("v2")
    os.unlink(case.path("a"))
    case.snap("v3")
    usage = {row.get("snapshot"): row for row in json.loads(case.ok("du", "d", "--json"))["usage"]}
    assert usage["v1"]["logical"] == 1 << 20 and usage["v2"]["logical"] == 2 << 20 and usage[None]["logical"] == 0
    assert 1 << 20 <= usage["v1"]["unique"] < 1.01 * (1 << 20)
    assert usage["v2"]["cumulative"] == usage["v1"]["unique"] + usage["v2"]["unique"]
    freed = json.loads(case.ok("du", "d@v1%v2", "--json"))["freed"]
    assert freed == usage["v2"]["cumulative"]
    assert "would free 3.0 MiB" in case.ok("du", "d@v1%v2")
    assert "UNIQUE" in case.ok("du")
    assert case.run("du", "d@v1%nothing").code == program.NOT_FOUND


def build(root):
    """A subtree with all that a tree can have."""
    os.mkdir(root)
    os.makedirs(root + "/deep/er")
    write(root + "/small", b"small")
    write(root + "/deep/big", os.urandom(700_000))
    write(root + "/empty", b"")
    with open(root + "/sparse", "wb") as handle:
        handle.write(os.urandom(100_000))
        handle.truncate(5_000_000)
    os.symlink("small", root + "/link")
    os.link(root + "/deep/big", root + "/deep/er/same")
    os.mkfifo(root + "/pipe")
    os.setxattr(root + "/small", "user.note", b"kept")
    os.setxattr(root + "/deep", "user.dir", b"kept too")
    os.chmod(root + "/small", 0o640)
    os.chown(root + "/small", 12, 34)
    os.chmod(root + "/deep", 0o2750)
    os.chmod(root + "/empty", 0o4755)
    os.utime(root + "/small", ns=(10**18, 10**18 + 1))
    os.utime(root + "/link", ns=(10**18, 10**18 + 2), follow_symlinks=False)
    os.utime(root + "/deep", ns=(10**18, 10**18 + 3))


def names(path):
    return sorted(os.listdir(path))


def test_a_subtree_comes_back_as_it_was(case):
    build(case.path("t"))
    write(case.path("beside"), b"1")
    case.snap("v1")
    before = tree.scan(case.path("t"))
    write(case.path("t/small"), b"spoiled")
    os.unlink(case.path("t/deep/big"))
    os.rename(case.path("t/link"), case.path("t/elsewhere"))
    write(case.path("t/extra"), b"extra")
    write(case.path("beside"), b"2")
    assert names(case.path("t"))[0] == "deep"
    out = case.ok("rollback", "d@v1", "--path", "t")
    assert "t is as in d@v1" in out
    assert tree.differences(before, tree.scan(case.path("t"))) == []
    assert read(case.path("beside")) == b"2"
    assert names(case.d) == ["beside", "t"]
    assert json.loads(case.ok("du", "d", "--json"))["usage"][1]["unique"] < 4096 + 1


def test_a_file_comes_back_at_once_in_all_mounts(case):
    other = case.store.mount(options="allow_other,ro") + "/d"
    write(case.path("f"), b"before")
    case.snap("v1")
    write(case.path("f"), b"after!")
    procs.poll(lambda: read(other + "/f") == b"after!", 20, "the other mount sees the change")
    case.ok("rollback", "d@v1", "--path", "/f")
    assert read(case.path("f")) == b"before" and read(other + "/f") == b"before"
    os.unlink(case.path("f"))
    procs.poll(lambda: not os.path.exists(other + "/f"), 20, "the other mount sees that it is gone")
    case.ok("rollback", "d@v1", "--path", "f")
    assert read(case.path("f")) == b"before" and read(other + "/f") == b"before"
    assert names(case.d) == names(other) == ["f"]


def test_directories_that_are_missing_above_are_made(case):
    os.makedirs(case.path("a/b/c"))
    os.setxattr(case.path("a"), "user.x", b"1")
    os.chmod(case.path("a/b"), 0o711)
    write(case.path("a/b/c/f"), b"wanted")
    write(case.path("a/b/other"), b"not wanted")
    case.snap("v1")
    os.system(f"rm -rf {case.path('a')}")
    case.ok("rollback", "d@v1", "--path", "a/b/c/f")
    assert read(case.path("a/b/c/f")) == b"wanted"
    assert names(case.path("a/b")) == ["c"]
    assert os.getxattr(case.path("a"), "user.x") == b"1"
    assert os.stat(case.path("a/b")).st_mode & 0o777 == 0o711


def test_a_file_open_at_the_time_stays_as_it_is_for_who_has_it(case):
    write(case.path("f"), b"before")
    case.snap("v1")
    write(case.path("f"), b"after!")
    with open(case.path("f"), "rb") as handle:
        case.ok("rollback", "d@v1", "--path", "f")
        assert handle.read() == b"after!"
    assert read(case.path("f")) == b"before"


def test_a_path_that_is_not_in_the_snapshot_is_told(case):
    case.snap("v1")
    write(case.path("f"), b"new")
    result = case.run("rollback", "d@v1", "--path", "f")
    assert result.code == program.NOT_FOUND and '"f"' in result.err
    assert read(case.path("f")) == b"new" and names(case.d) == ["f"]
    assert case.run("rollback", "d@v1", "--path", "/").code == program.USAGE
    os.mkdir(case.path("g"))
    write(case.path("g/h"), b"1")
    case.snap("v2")
    os.system(f"rm -r {case.path('g')}")
    write(case.path("g"), b"a file now")
    result = case.run("rollback", "d@v2", "--path", "g/h")
    assert result.code != 0 and "not a directory any more" in result.err
    assert read(case.path("g")) == b"a file now"


def test_a_dry_run_shows_and_changes_nothing(case):
    change_everything(case)
    before = tree.scan(case.d)
    lines = case.ok("rollback", "d@v1", "--dry-run").splitlines()
    assert sorted(lines) == sorted(["M changed", "R dir/moved -> moved", "- fresh", "+ gone", "m mode", "R new/ -> old/"])
    assert case.ok("rollback", "d@v1", "--dry-run", "--path", "changed").splitlines() == ["M changed"]
    assert tree.differences(before, tree.scan(case.d)) == []
    case.ok("rollback", "d@v1")
    assert case.ok("diff", "d@v1") == ""


@pytest.mark.parametrize("point", ["restore-before-exchange", "restore-after-exchange"])
def test_a_killed_restore_leaves_the_old_or_the_new(case, point):
    build(case.path("t"))
    case.snap("v1")
    wanted = tree.scan(case.path("t"))
    write(case.path("t/small"), b"spoiled")
    spoiled = tree.scan(case.path("t"))
    case.store.umount()
    result = case.store.run("-s", case.store.path, "rollback", "d@v1", "--path", "t", env={"CORPUSFS_FAULT": point})
    assert result.code == -9
    case.store.mount()
    found = tree.scan(case.path("t"))
    assert tree.differences(found, spoiled) == [] or tree.differences(found, wanted) == []
    case.ok("rollback", "d@v1", "--path", "t")
    assert tree.differences(wanted, tree.scan(case.path("t"))) == []
    assert names(case.d) == ["t"]


def test_a_schedule_is_set_shown_and_turned_off(case):
    case.ok("snapshot", "schedule", "d", "--hourly", "24", "--daily", "7")
    case.ok("snapshot", "schedule", "d", "--weekly", "4")
    shown = json.loads(case.ok("snapshot", "schedule", "d", "--json"))
    assert shown == {"hourly": 24, "daily": 7, "weekly": 4, "monthly": 0}
    hour = time.time() // 3600
    lines = case.ok("tick").splitlines()
    assert len(lines) == 3 and all(line.startswith("took d@auto-") for line in lines)
    more = case.ok("tick").splitlines()
    assert not more or time.time() // 3600 > hour
    count = 3 + len(more)
    assert len(names(case.path(".snapshots"))) == count
    case.ok("snapshot", "schedule", "d", "--off")
    assert case.ok("tick") == "" and len(names(case.path(".snapshots"))) == count
    assert case.run("snapshot", "schedule", "nothing").code == program.NOT_FOUND
    assert case.run("snapshot", "schedule", "d", "--daily", "many").code == program.USAGE
    assert case.run("snapshot", "schedule", "d", "--daily", "-1").code == program.USAGE


@pytest.mark.timeout(120)
def test_a_restore_beside_running_writers(case):
    """Who writes elsewhere in the dataset is not disturbed, and loses nothing."""
    build(case.path("t"))
    os.mkdir(case.path("w"))
    case.snap("v1")
    end, count = time.monotonic() + 5, 0
    while time.monotonic() < end and count < 40:
        write(case.path(f"w/{count}"), str(count).encode() * 1000)
        case.ok("rollback", "d@v1", "--path", "t")
        count += 1
    for i in range(count):
        assert read(case.path(f"w/{i}")) == str(i).encode() * 1000
