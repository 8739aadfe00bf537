"""Snapshots in the mount, with plain tools: .snapshots, what may not be done in it, and mounts of snapshots."""

import datetime
import errno
import os
import stat
import subprocess

import pytest

from harness import posix, procs, tree
from harness.files import get, put
from harness.snapshots import cli, names, rows

ALICE, BOB = 61001, 61002


def tool(*command, cwd=None, code=0):
    """A plain tool; its output."""
    result = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50)
    assert result.returncode == code, f"{command}: exit {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout


def fill(root):
    """Every kind of file, with times and attributes that a copy must keep."""
    os.makedirs(root + "/train/deep/er")
    os.mkdir(root + "/val")
    for number in range(20):
        put(f"{root}/train/{number}", b"%d " % number * number**3)
    put(root + "/train/deep/er/file", os.urandom(200000))
    os.link(root + "/train/3", root + "/val/linked")
    os.symlink("../train/5", root + "/val/symlink")
    os.mkfifo(root + "/val/fifo", 0o640)
    os.setxattr(root + "/train/7", "user.label", b"seven")
    os.chmod(root + "/train/8", 0o4751)
    os.chown(root + "/train/9", ALICE, BOB)
    os.truncate(root + "/train/10", 5000000)
    os.utime(root + "/train/11", ns=(10**18 + 1, 10**18 + 123456789))
    os.utime(root + "/train/deep", ns=(10**18 + 2, 10**18 + 987654321))


def change(root):
    """A different state of the same."""
    put(root + "/train/1", b"changed")
    os.unlink(root + "/train/2")
    os.rename(root + "/train/deep", root + "/shallow")
    os.mkdir(root + "/later")
    put(root + "/later/file", b"later")
    os.chmod(root + "/val", 0o700)


@pytest.fixture
def taken(fs):
    """A dataset with snapshot v1 of `fill` and a head that is different; the scan of v1."""
    fill(fs)
    before = past(fs)
    tool("mkdir", fs + "/.snapshots/v1")
    change(fs)
    return before


def past(root):
    """The scan of a snapshot: its root shows when it was taken."""
    found = tree.scan(root)
    found["."].pop("mtime")
    return found


def untimed(scan):
    return {name: {key: value for key, value in row.items() if key != "mtime"} for name, row in scan.items()}


@pytest.mark.sanitize
def test_mkdir_takes_mv_renames_rmdir_destroys(fs, store, taken):
    assert tree.differences(taken, past(fs + "/.snapshots/v1")) == []
    second = past(fs)
    tool("mkdir", fs + "/.snapshots/v2")
    tool("mv", fs + "/.snapshots/v1", fs + "/.snapshots/first")
    assert sorted(os.listdir(fs + "/.snapshots")) == ["first", "v2"] and names(store) == ["first", "v2"]
    assert not os.path.exists(fs + "/.snapshots/v1")
    assert tree.differences(taken, past(fs + "/.snapshots/first")) == []
    tool("rmdir", fs + "/.snapshots/first")
    assert os.listdir(fs + "/.snapshots") == ["v2"] and names(store) == ["v2"]
    assert tree.differences(second, past(fs + "/.snapshots/v2")) == []
    tool("mkdir", fs + "/.snapshots/v1")
    assert tree.differences(second, past(fs + "/.snapshots/v1")) == []
    tool("rmdir", fs + "/.snapshots/v2", fs + "/.snapshots/v1")
    assert os.listdir(fs + "/.snapshots") == []


def test_a_name_that_is_used_again_shows_the_new_snapshot(fs):
    """The kernel may not answer from what it remembers."""
    for number in range(20):
        put(fs + "/file", b"%d" % number)
        os.mkdir(fs + "/.snapshots/v")
        assert get(fs + "/.snapshots/v/file") == b"%d" % number
        os.rename(fs + "/.snapshots/v", fs + "/.snapshots/w")
        assert posix.outcome(os.stat, fs + "/.snapshots/v") == "ENOENT"
        assert get(fs + "/.snapshots/w/file") == b"%d" % number
        os.rmdir(fs + "/.snapshots/w")


def test_what_commands_do_shows_in_the_mount(fs, store):
    put(fs + "/file", b"1")
    assert os.listdir(fs + "/.snapshots") == [] and posix.outcome(os.stat, fs + "/.snapshots/a") == "ENOENT"

    def shows(name, gone):
        procs.poll(lambda: os.listdir(fs + "/.snapshots") == name and posix.outcome(os.stat, fs + "/.snapshots/" + gone) == "ENOENT", 20, "the list is new")

    cli(store, "snapshot", "create", "d@a")
    shows(["a"], "b")
    assert get(fs + "/.snapshots/a/file") == b"1"
    cli(store, "snapshot", "rename", "d@a", "b")
    shows(["b"], "a")
    assert get(fs + "/.snapshots/b/file") == b"1"
    cli(store, "snapshot", "destroy", "d@b")
    shows([], "b")


def test_a_name_that_commands_use_again_never_shows_the_old_snapshot(fs, store):
    for number in range(10):
        put(fs + "/file", b"%d" % number)
        cli(store, "snapshot", "create", "d@v")
        assert get(fs + "/.snapshots/v/file") == b"%d" % number
        cli(store, "snapshot", "destroy", "d@v")


def test_ls_shows_when_each_was_taken(fs, store, taken):
    tool("mkdir", fs + "/.snapshots/v2")
    lines = tool("ls", "-l", "--time-style=+%s.%N", fs + "/.snapshots").splitlines()[1:]
    shown = {line.split()[-1]: float(line.split()[-2]) for line in lines}
    told = {row["name"]: row["taken"] for row in rows(store, "snapshot", "list", "d")}
    assert shown.keys() == told.keys() == {"v1", "v2"}
    for name in told:
        assert abs(shown[name] - told[name]) < 0.001
    assert abs(told["v2"] - datetime.datetime.now().timestamp()) < 60
    assert all(line.startswith("d") for line in lines)


def test_cp_diff_tar_and_rsync_read_them(fs, area, taken):
    v1, out = fs + "/.snapshots/v1", area + "/out"
    for command in (["cp", "-a", v1, out + "1"], ["rsync", "-aHAXS", v1 + "/", out + "2"]):
        tool(*command)
        assert tree.differences(*(untimed(scan) for scan in (taken, tree.scan(command[-1])))) == []
        assert os.stat(command[-1] + "/train/11").st_mtime_ns == 10**18 + 123456789
    os.mkdir(out + "3")
    tool("tar", "-C", v1, "--xattrs", "-cf", area + "/tar", ".")
    tool("tar", "-C", out + "3", "--xattrs", "-xpf", area + "/tar")
    assert tree.differences(*(untimed(scan) for scan in (taken, tree.scan(out + "3")))) == []
    assert os.path.getsize(area + "/tar") < 10 << 20
    assert tool("diff", "-r", "--no-dereference", "-x", "fifo", v1, out + "1") == ""
    told = tool("diff", "-rq", "--no-dereference", "-x", "fifo", ".snapshots/v1", ".", cwd=fs, code=1)
    for line in ("train/1 and", "Only in .snapshots/v1/train: 2", "Only in .snapshots/v1/train: deep", "Only in .: later", "Only in .: shallow"):
        assert line in told
    tool("cp", "-a", ".snapshots/v1/train/1", "train/1", cwd=fs)
    tool("cp", "-a", ".snapshots/v1/train/2", "train/2", cwd=fs)
    found = tree.scan(fs)
    assert all(found[name] == taken[name] for name in ("./train/1", "./train/2"))


@pytest.mark.parametrize("flags", [
    os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
])  # fmt: skip
def test_erofs_at_open(fs, store, taken, flags):
    point = store.mount(dataset="d@v1", options="allow_other")
    for root in (fs + "/.snapshots/v1", point):
        assert posix.outcome(os.open, root + "/train/5", flags) == "EROFS"
    assert get(fs + "/.snapshots/v1/train/5") == get(fs + "/train/5")


def calls(root):
    """Every call that changes something, below a directory that `fill` made."""
    with_fd = lambda call: lambda: on_fd(root + "/train/5", call)  # noqa: E731
    return {
        "create": lambda: os.close(os.open(root + "/new", os.O_CREAT | os.O_WRONLY)),
        "create_read": lambda: os.close(os.open(root + "/new", os.O_CREAT | os.O_RDONLY)),
        "tmpfile": lambda: os.close(os.open(root, os.O_TMPFILE | os.O_RDWR)),
        "mkdir": lambda: os.mkdir(root + "/new"),
        "mkdir_deep": lambda: os.mkdir(root + "/train/new"),
        "mknod": lambda: os.mknod(root + "/new", stat.S_IFREG | 0o600),
        "mkfifo": lambda: os.mkfifo(root + "/new"),
        "symlink": lambda: os.symlink("x", root + "/new"),
        "link": lambda: os.link(root + "/train/5", root + "/new"),
        "unlink": lambda: os.unlink(root + "/train/5"),
        "rmdir": lambda: os.rmdir(root + "/train/deep/er"),
        "rename": lambda: os.rename(root + "/train/5", root + "/train/new"),
        "exchange": lambda: posix.renameat2(root + "/train/5", root + "/train/6", posix.RENAME_EXCHANGE),
        "chmod": lambda: os.chmod(root + "/train/5", 0o600),
        "chmod_root": lambda: os.chmod(root, 0o700),
        "chown": lambda: os.chown(root + "/train/5", 1, 1),
        "utime": lambda: os.utime(root + "/train/5", ns=(1, 1)),
        "truncate": lambda: os.truncate(root + "/train/5", 0),
        "setxattr": lambda: os.setxattr(root + "/train/5", "user.x", b"x"),
        "removexattr": lambda: os.removexattr(root + "/train/7", "user.label"),
        "fchmod": with_fd(lambda fd: os.fchmod(fd, 0o600)),
        "fsetxattr": with_fd(lambda fd: os.setxattr(fd, "user.x", b"x")),
    }


def on_fd(path, call):
    fd = os.open(path, os.O_RDONLY)
    try:
        call(fd)
    finally:
        os.close(fd)


@pytest.mark.sanitize
def test_every_changing_call_inside_gives_erofs(fs, store, taken):
    point = store.mount(dataset="d@v1", options="allow_other")
    for root in (fs + "/.snapshots/v1", point):
        told = {name: posix.outcome(call) for name, call in calls(root).items()}
        assert {name: result for name, result in told.items() if result != "EROFS"} in ({}, {"tmpfile": "EOPNOTSUPP"})
        assert tree.differences(taken, past(root)) == []
    assert posix.outcome(os.rename, fs + "/train/5", fs + "/.snapshots/v1/train/new") in ("EROFS", "EXDEV")
    assert posix.outcome(os.rename, fs + "/.snapshots/v1/train/5", fs + "/new") in ("EROFS", "EXDEV")
    assert posix.outcome(os.link, fs + "/.snapshots/v1/train/5", fs + "/new") in ("EROFS", "EXDEV")
    assert posix.outcome(os.link, fs + "/train/5", fs + "/.snapshots/v1/new") in ("EROFS", "EXDEV")


def test_history_has_no_history(fs, taken):
    assert posix.outcome(os.stat, fs + "/.snapshots/v1/.snapshots") == "ENOENT"


REFUSED = {
    "mkdir_existing": (lambda fs: os.mkdir(fs + "/.snapshots/v1"), "EEXIST"),
    "mkdir_at": (lambda fs: os.mkdir(fs + "/.snapshots/a@b"), "EINVAL"),
    "mkdir_snapshots": (lambda fs: os.mkdir(fs + "/.snapshots/.snapshots"), "EINVAL EEXIST"),
    "mkdir_control": (lambda fs: os.mkdir(fs + "/.snapshots/a\nb"), "EINVAL"),
    "mkdir_bytes": (lambda fs: os.mkdir(os.fsencode(fs) + b"/.snapshots/\xff\xfe"), "EINVAL EILSEQ"),
    "mkdir_long": (lambda fs: os.mkdir(fs + "/.snapshots/" + "x" * 256), "ENAMETOOLONG"),
    "rmdir_missing": (lambda fs: os.rmdir(fs + "/.snapshots/none"), "ENOENT"),
    "rmdir_itself": (lambda fs: os.rmdir(fs + "/.snapshots"), "EPERM EBUSY ENOTEMPTY EINVAL"),
    "rename_missing": (lambda fs: os.rename(fs + "/.snapshots/none", fs + "/.snapshots/x"), "ENOENT"),
    "rename_onto": (lambda fs: os.rename(fs + "/.snapshots/v1", fs + "/.snapshots/v2"), "EEXIST ENOTEMPTY"),
    "rename_bad": (lambda fs: os.rename(fs + "/.snapshots/v1", fs + "/.snapshots/a@b"), "EINVAL"),
    "rename_out": (lambda fs: os.rename(fs + "/.snapshots/v1", fs + "/x"), "EXDEV EPERM EROFS"),
    "rename_in": (lambda fs: os.rename(fs + "/train", fs + "/.snapshots/x"), "EXDEV EPERM EROFS"),
    "rename_itself": (lambda fs: os.rename(fs + "/.snapshots", fs + "/x"), "EPERM EBUSY EINVAL"),
    "rename_over_it": (lambda fs: os.rename(fs + "/train", fs + "/.snapshots"), "EPERM EBUSY EEXIST EINVAL ENOTEMPTY"),
    "exchange": (lambda fs: posix.renameat2(fs + "/.snapshots/v1", fs + "/.snapshots/v2", posix.RENAME_EXCHANGE), "EINVAL"),
    "create": (lambda fs: put(fs + "/.snapshots/file", b""), "EPERM EROFS EACCES"),
    "symlink": (lambda fs: os.symlink("x", fs + "/.snapshots/x"), "EPERM EROFS"),
    "link": (lambda fs: os.link(fs + "/train/1", fs + "/.snapshots/x"), "EPERM EROFS EXDEV"),
    "unlink": (lambda fs: os.unlink(fs + "/.snapshots/v1"), "EISDIR EPERM"),
    "mkdir_as_it": (lambda fs: os.mkdir(fs + "/.snapshots"), "EEXIST"),
    "create_as_it": (lambda fs: put(fs + "/.snapshots", b""), "EISDIR EEXIST EPERM"),
    "unlink_it": (lambda fs: os.unlink(fs + "/.snapshots"), "EISDIR EPERM"),
    "chmod_it": (lambda fs: os.chmod(fs + "/.snapshots", 0o700), "EPERM EROFS"),
}


@pytest.mark.sanitize
def test_bad_calls_are_refused_and_change_nothing(fs, store, taken):
    os.mkdir(fs + "/.snapshots/v2")
    before = tree.scan(fs)
    told = {name: posix.outcome(call, fs) for name, (call, _) in REFUSED.items()}
    assert {name: result for name, result in told.items() if result not in REFUSED[name][1].split()} == {}
    assert names(store) == ["v1", "v2"]
    assert tree.differences(before, tree.scan(fs)) == []
    assert tree.differences(taken, past(fs + "/.snapshots/v1")) == []


@pytest.mark.parametrize("snapdir", ["hidden", "visible", "off"])
def test_snapdir(store, snapdir):
    fs = store.mount(options=f"allow_other,dev,suid,snapdir={snapdir}") + "/d"
    store.create("d")
    os.mkdir(fs + "/train")
    cli(store, "snapshot", "create", "d@v1")
    listed = snapdir == "visible"
    assert sorted(os.listdir(fs)) == ([".snapshots"] if listed else []) + ["train"]
    assert posix.outcome(os.listdir, fs + "/.snapshots") == ("ENOENT" if snapdir == "off" else "ok")
    assert names(store) == ["v1"]
    if snapdir == "off":
        assert posix.outcome(os.mkdir, fs + "/.snapshots/v2") == "ENOENT"
    else:
        os.mkdir(fs + "/.snapshots/v2")
        assert names(store) == ["v1", "v2"]


@pytest.mark.sanitize
def test_who_may_write_the_root_may_take_and_destroy(fs, store):
    os.chown(fs, ALICE, ALICE)
    os.chmod(fs, 0o755)

    def tries(user, group=None):
        with posix.as_user(user, group):
            told = [posix.outcome(os.mkdir, fs + "/.snapshots/new"), posix.outcome(os.rename, fs + "/.snapshots/kept", fs + "/.snapshots/moved")]
            told.append(posix.outcome(os.rmdir, fs + "/.snapshots/" + ("moved" if told[1] == "ok" else "kept")))
        cli(store, "snapshot", "destroy", "d@*")
        cli(store, "snapshot", "create", "d@kept")
        return told

    cli(store, "snapshot", "create", "d@kept")
    allowed, denied = ["ok"] * 3, ["EACCES"] * 3
    assert tries(ALICE) == allowed
    assert tries(BOB) == denied
    assert tries(BOB, ALICE) == denied
    os.chmod(fs, 0o775)
    assert tries(BOB, ALICE) == allowed
    assert tries(BOB) == denied
    os.chmod(fs, 0o777)
    assert tries(BOB) == allowed
    os.chmod(fs, 0o555)
    assert tries(ALICE) == denied
    assert tries(0) == allowed


def test_old_permissions_hold_in_snapshots(fs, store):
    os.mkdir(fs + "/secret")
    put(fs + "/secret/file", b"x")
    os.chmod(fs + "/secret", 0o700)
    os.mkdir(fs + "/.snapshots/v1")
    os.chmod(fs + "/secret", 0o755)
    with posix.as_user(BOB):
        assert posix.outcome(os.open, fs + "/secret/file", os.O_RDONLY) == "ok"
        assert posix.outcome(os.open, fs + "/.snapshots/v1/secret/file", os.O_RDONLY) == "EACCES"


@pytest.mark.sanitize
def test_many_snapshot_mounts_beside_the_live_one(fs, store):
    scans = []
    for number in range(6):
        put(fs + f"/{number}", b"%d" % number * 10000)
        put(fs + "/file", b"state %d" % number * 1000)
        scans.append(untimed(tree.scan(fs)))
        os.mkdir(f"{fs}/.snapshots/v{number}")
    points = [store.mount(dataset=f"d@v{number}", options="allow_other") for number in range(6)]
    points.append(store.mount(dataset="d@v0", options="allow_other"))
    put(fs + "/file", b"live")
    os.unlink(fs + "/0")
    for point, scan in zip(points, scans + scans[:1]):
        assert tree.differences(scan, untimed(tree.scan(point))) == []
        assert posix.outcome(os.listdir, point + "/.snapshots") == "ENOENT"
        assert " ro," in [line for line in open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") if f" {point} " in line][0]
    cli(store, "rollback", "d@v2")
    posix.drop_caches()
    for point, scan in zip(points, scans + scans[:1]):
        assert tree.differences(scan, untimed(tree.scan(point))) == []
    for point in points:
        store.umount(point)
    cli(store, "snapshot", "destroy", "d@%v5")
    assert tree.differences(scans[2], untimed(tree.scan(fs))) == []


def test_a_snapshot_mounted_alone(fs, store, taken):
    store.umount()
    point = store.mount(dataset="d@v1", options="allow_other")
    assert tree.differences(taken, past(point)) == []
    posix.drop_caches()
    assert tree.differences(taken, past(point)) == []


def test_a_file_and_its_past_are_two_files(fs, taken):
    """So that cp, diff, tar and find never take one for the other."""
    os.mkdir(fs + "/.snapshots/v2")
    paths = [fs + "/train/5", fs + "/.snapshots/v1/train/5", fs + "/.snapshots/v2/train/5"]
    infos = [os.stat(path) for path in paths]
    assert len({(info.st_dev, info.st_ino) for info in infos}) == 3
    folders = [fs, fs + "/.snapshots", fs + "/.snapshots/v1", fs + "/.snapshots/v2", fs + "/train"]
    assert len({os.stat(path).st_ino for path in folders}) == len(folders)
    for folder in folders[1:4]:
        for entry in os.scandir(folder):
            assert entry.inode() == os.stat(entry.path, follow_symlinks=False).st_ino
    tool("cp", paths[1], paths[0])
    tool("cp", "-a", fs + "/.snapshots/v1/.", fs + "/copy")


def test_dot_dot_leads_back(fs, taken):
    same = lambda a, b: os.path.samestat(os.stat(a), os.stat(b))  # noqa: E731
    assert same(fs + "/.snapshots/..", fs)
    assert same(fs + "/.snapshots/v1/..", fs + "/.snapshots")
    assert same(fs + "/.snapshots/v1/train/..", fs + "/.snapshots/v1")
    assert same(fs + "/.snapshots/.", fs + "/.snapshots")
    for path in ("/.snapshots", "/.snapshots/v1", "/.snapshots/v1/train/deep"):
        assert tool("/bin/pwd", "-P", cwd=fs + path) == fs + path + "\n"
        posix.drop_caches()
        assert tool("/bin/pwd", "-P", cwd=fs + path) == fs + path + "\n"
    assert tool("sh", "-c", "cd .snapshots/v1/train/deep && cd ../../../.. && ls -d later", cwd=fs) == "later\n"


def test_tools_do_not_walk_into_history(fs, area, taken):
    assert "snapshots" not in tool("find", fs)
    assert "snapshots" not in tool("ls", "-Ra", fs)
    before = int(tool("du", "-s", "--apparent-size", fs).split()[0])
    for number in range(5):
        os.mkdir(f"{fs}/.snapshots/more{number}")
    assert int(tool("du", "-s", "--apparent-size", fs).split()[0]) == before
    tool("cp", "-a", fs, area + "/copy")
    assert not os.path.exists(area + "/copy/.snapshots")
    tool("rm", "-rf", *(f"{fs}/{name}" for name in os.listdir(fs)))
    assert os.listdir(fs) == [] and len(os.listdir(fs + "/.snapshots")) == 6
    assert tree.differences(taken, past(fs + "/.snapshots/v1")) == []


def test_a_removed_directory_is_not_empty_for_its_history_only(fs, taken):
    """rmdir looks at files, not at the past; a dataset's directory is kept by its snapshots."""
    os.unlink(fs + "/later/file")
    os.rmdir(fs + "/later")
    for entry in os.listdir(fs):
        tool("rm", "-rf", f"{fs}/{entry}")
    assert posix.outcome(os.rmdir, fs) == "ENOTEMPTY"
    os.rmdir(fs + "/.snapshots/v1")
    os.rmdir(fs)


@pytest.mark.sanitize
def test_open_files_of_the_past_stay_readable_while_the_head_changes(fs, store, taken):
    fds = [os.open(f"{fs}/.snapshots/v1/train/{number}", os.O_RDONLY) for number in range(20)]
    for number in range(20):
        posix.outcome(os.unlink, f"{fs}/train/{number}")
    cli(store, "gc")
    posix.drop_caches()
    for number, fd in enumerate(fds):
        wanted = b"%d " % number * number**3
        size = taken[f"./train/{number}"]["size"]
        assert os.pread(fd, 10 << 20, 0) == wanted[:size] + bytes(max(0, size - len(wanted)))
        os.close(fd)


def test_read_only_mounts_take_no_snapshots(fs, store, taken):
    read = store.mount(options="ro,allow_other") + "/d"
    assert os.listdir(read + "/.snapshots") == ["v1"]
    assert tree.differences(taken, past(read + "/.snapshots/v1")) == []
    for call in (lambda: os.mkdir(read + "/.snapshots/v2"), lambda: os.rmdir(read + "/.snapshots/v1"),
                 lambda: os.rename(read + "/.snapshots/v1", read + "/.snapshots/v2")):  # fmt: skip
        assert posix.outcome(call) == errno.errorcode[errno.EROFS]
    assert names(store) == ["v1"]


def test_a_dataset_mounted_alone_has_its_snapshots(fs, store, taken):
    store.umount()
    point = store.mount(dataset="d")
    assert os.listdir(point + "/.snapshots") == ["v1"]
    assert tree.differences(taken, past(point + "/.snapshots/v1")) == []
    os.mkdir(point + "/.snapshots/v2")
    assert names(store) == ["v1", "v2"]


def test_files_read_at_random_are_whole_and_begun_when_they_are_looked_up(store, area):
    os.mkdir(area + "/in")
    for number in range(60):
        put(f"{area}/in/{number}", os.urandom(30000 + 1500 * number))
    if tool("stat", "-f", "-c", "%T", store.path).strip() == "tmpfs":
        pytest.skip("the store is in memory: there is no disk to begin")
    cli(store, "import", area + "/in", "d")
    cli(store, "snapshot", "create", "d@s")
    for name in os.listdir(store.path + "/db"):
        tool("dd", f"if={store.path}/db/{name}", "iflag=nocache", "count=0", "status=none")
    point = store.mount(dataset="d@s")
    for number in sorted(range(60), key=lambda number: number * 37 % 60):
        assert get(f"{point}/{number}") == get(f"{area}/in/{number}"), number
        if number % 7 == 0:
            os.stat(f"{point}/{(number + 1) % 60}")
    assert b"[aio]" in procs.read(f"/proc/{store.pid}/maps")
