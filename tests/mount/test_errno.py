"""Every errno that these calls give, by comparison: the same call as the same user on the mount and on ext4 must end the same, and where
it succeeds both trees must be the same afterwards. One test per call and user; it lists all paths on which the two differ."""

import os
import shutil
import socket
import stat

import pytest

from harness import posix, tree

ALICE, BOB = 61001, 61002
TEAM = 61100
USERS = {
    "root": (0, 0, ()),
    "alice": (ALICE, ALICE, ()),
    "alice_in_team": (ALICE, ALICE, (TEAM,)),
    "bob": (BOB, BOB, ()),
}
NAME_255, NAME_256 = "n" * 255, "n" * 256
PATH_LONG = "/".join(["d" * 200] * 21)

# name in the tree -> what it is: (kind, mode, owner, group, extra)
TREE = {
    "file": ("file", 0o644, 0, 0),
    "alices": ("file", 0o644, ALICE, ALICE),
    "bobs_secret": ("file", 0o600, BOB, BOB),
    "team_file": ("file", 0o660, 0, TEAM),
    "setid": ("file", 0o6755, ALICE, ALICE),
    "empty": ("dir", 0o755, 0, 0),
    "dir": ("dir", 0o755, 0, 0),
    "dir/file": ("file", 0o644, 0, 0),
    "dir/sub": ("dir", 0o755, 0, 0),
    "home": ("dir", 0o755, ALICE, ALICE),
    "home/file": ("file", 0o600, ALICE, ALICE),
    "home/roots": ("file", 0o600, 0, 0),
    "home/dir": ("dir", 0o700, ALICE, ALICE),
    "home/rootdir": ("dir", 0o755, 0, 0),
    "home/link": ("link", "file"),
    "closed": ("dir", 0o600, 0, 0),
    "closed/file": ("file", 0o666, 0, 0),
    "team": ("dir", 0o2770, 0, TEAM),
    "team/file": ("file", 0o664, BOB, TEAM),
    "open": ("dir", 0o777, 0, 0),
    "open/bobs": ("file", 0o644, BOB, BOB),
    "open/dir": ("dir", 0o755, BOB, BOB),
    "sticky": ("dir", 0o1777, 0, 0),
    "sticky/alices": ("file", 0o644, ALICE, ALICE),
    "sticky/bobs": ("file", 0o644, BOB, BOB),
    "sticky/alicedir": ("dir", 0o755, ALICE, ALICE),
    "sticky/bobdir": ("dir", 0o777, BOB, BOB),
    "bobsticky": ("dir", 0o1777, BOB, BOB),
    "bobsticky/alices": ("file", 0o666, ALICE, ALICE),
    "link": ("link", "file"),
    "linkdir": ("link", "dir"),
    "dangling": ("link", "nowhere"),
    "loop1": ("link", "loop2"),
    "loop2": ("link", "loop1"),
    "selfdir": ("link", "selfdir/x"),
    "fifo": ("fifo", 0o666, 0, 0),
    "socket": ("socket", 0o666, 0, 0),
    "null": ("device", 0o666, 0, 0),
}
PATHS = list(TREE) + [
    "missing", "missing/file", "file/x", "link/x", "dangling/x", "loop1/x", "fifo/x", "closed/missing", "home/new", "open/new", "sticky/new",
    "team/new", "dir/new", "file/",
    "dir/", "empty/", "missing/", "link/", "linkdir/", "dangling/", "loop1/", "new/", ".", "..", "dir/.", "empty/.",
    "dir/..", "empty/..", "dir/../file", "linkdir/file", "linkdir/", "",
    NAME_255, NAME_256, "dir/" + NAME_256, NAME_256 + "/x", PATH_LONG, "./file", "dir//file",
]  # fmt: skip
SECOND = [
    "file", "alices", "empty", "dir", "dir/sub", "home/file", "home/roots", "home/dir", "home/rootdir", "closed/file", "open/bobs", "open/dir",
    "sticky/alices", "sticky/bobs", "sticky/alicedir", "sticky/bobdir", "bobsticky/alices", "link", "linkdir", "dangling", "loop1", "fifo",
    "missing", "missing/x", "file/x", "loop1/x", "dir/new", "dir/sub/new", "home/new", "open/new", "sticky/new", "team/new", "new", "new/", "file/", "empty/",
    ".", "..", "dir/.", "", NAME_255, NAME_256, "linkdir/new", "closed/new",
]  # fmt: skip
READ_ONLY_TREE = {"stat", "lstat", "readlink", "listdir", "access_r", "access_w", "access_x", "open_r", "open_dir", "statvfs", "getxattr", "chdir"}


def furnish(root):
    for name, (kind, *rest) in TREE.items():
        path = f"{root}/{name}"
        if kind == "link":
            os.symlink(rest[0], path)
            continue
        mode, uid, gid = rest
        if kind == "dir":
            os.mkdir(path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            os.mknod(path, stat.S_IFSOCK)
        elif kind == "device":
            os.mknod(path, stat.S_IFCHR, os.makedev(1, 3))
        else:
            with open(path, "wb") as handle:
                handle.write(name.encode())
        os.chown(path, uid, gid)
        os.chmod(path, mode)


def clear(root):
    for name in os.listdir(root):
        path = f"{root}/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def state(root):
    """The tree without what two filesystems may lay out differently."""
    found = tree.scan(root, times=False)
    found["."] = {}
    return found


def opener(flags):
    return lambda path: os.close(os.open(path, flags | os.O_NONBLOCK, 0o644))


def at(path):
    return (1000, 1), (2000, 2)


ONE_PATH = {
    "stat": os.stat,
    "lstat": os.lstat,
    "readlink": os.readlink,
    "listdir": os.listdir,
    "chdir": lambda path: (os.chdir(path), os.chdir("/")),
    "statvfs": os.statvfs,
    "access_r": lambda path: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)) if not os.access(path, os.R_OK) else None,
    "access_w": lambda path: None if os.access(path, os.W_OK) else os.stat(path + "/denied"),
    "access_x": lambda path: None if os.access(path, os.X_OK) else os.stat(path + "/denied"),
    "getxattr": lambda path: os.getxattr(path, "user.none"),
    "open_r": opener(os.O_RDONLY),
    "open_dir": opener(os.O_RDONLY | os.O_DIRECTORY),
    "open_w": opener(os.O_WRONLY),
    "open_rw": opener(os.O_RDWR),
    "open_append": opener(os.O_WRONLY | os.O_APPEND),
    "open_trunc": opener(os.O_WRONLY | os.O_TRUNC),
    "open_r_trunc": opener(os.O_RDONLY | os.O_TRUNC),
    "open_creat": opener(os.O_RDWR | os.O_CREAT),
    "open_creat_r": opener(os.O_RDONLY | os.O_CREAT),
    "open_excl": opener(os.O_RDWR | os.O_CREAT | os.O_EXCL),
    "open_creat_dir": opener(os.O_RDONLY | os.O_CREAT | os.O_DIRECTORY),
    "open_nofollow": opener(os.O_RDONLY | os.O_NOFOLLOW),
    "open_path": opener(os.O_PATH),
    "open_tmpfile": opener(os.O_TMPFILE | os.O_RDWR),
    "open_noatime": opener(os.O_RDONLY | os.O_NOATIME),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "mkdir": lambda path: os.mkdir(path, 0o755),
    "mkdir_bits": lambda path: os.mkdir(path, 0o7777),
    "mkfifo": lambda path: os.mkfifo(path, 0o644),
    "mknod_file": lambda path: os.mknod(path, stat.S_IFREG | 0o644),
    "mknod_char": lambda path: os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 3)),
    "mknod_block": lambda path: os.mknod(path, stat.S_IFBLK | 0o644, os.makedev(7, 0)),
    "mknod_socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o644),
    "bind": lambda path: bind(path),
    "symlink": lambda path: os.symlink("target", path),
    "symlink_empty": lambda path: os.symlink("", path),
    "symlink_4095": lambda path: os.symlink("t" * 4095, path),
    "symlink_4096": lambda path: os.symlink("t" * 4096, path),
    "chmod_644": lambda path: os.chmod(path, 0o644),
    "chmod_7777": lambda path: os.chmod(path, 0o7777),
    "chmod_0": lambda path: os.chmod(path, 0),
    "chown_root": lambda path: os.chown(path, 0, 0),
    "chown_bob": lambda path: os.chown(path, BOB, BOB),
    "chown_alice": lambda path: os.chown(path, ALICE, -1),
    "chgrp_alice": lambda path: os.chown(path, -1, ALICE),
    "chgrp_team": lambda path: os.chown(path, -1, TEAM),
    "chown_nothing": lambda path: os.chown(path, -1, -1),
    "lchown_alice": lambda path: os.lchown(path, ALICE, ALICE),
    "lchgrp_team": lambda path: os.lchown(path, -1, TEAM),
    "truncate_0": lambda path: os.truncate(path, 0),
    "truncate_grow": lambda path: os.truncate(path, 100000),
    "truncate_negative": lambda path: os.truncate(path, -1),
    "utime_set": lambda path: posix.utimensat(path, *at(path)),
    "utime_now": lambda path: os.utime(path),
    "utime_omit": lambda path: posix.utimensat(path, (0, posix.UTIME_OMIT), (0, posix.UTIME_OMIT)),
    "utime_omit_one": lambda path: posix.utimensat(path, (0, posix.UTIME_OMIT), (5, 5)),
    "utime_now_omit": lambda path: posix.utimensat(path, (0, posix.UTIME_NOW), (0, posix.UTIME_OMIT)),
    "utime_bad_nsec": lambda path: posix.utimensat(path, (0, 1000000000), (0, 0)),
    "utime_link": lambda path: posix.utimensat(path, *at(path), posix.AT_SYMLINK_NOFOLLOW),
    "setxattr": lambda path: os.setxattr(path, "user.a", b"b"),
    "setxattr_trusted": lambda path: os.setxattr(path, "trusted.a", b"b"),
    "setxattr_unknown": lambda path: os.setxattr(path, "nonsense.a", b"b"),
    "setxattr_link": lambda path: os.setxattr(path, "user.a", b"b", follow_symlinks=False),
    "removexattr": lambda path: os.removexattr(path, "user.none"),
}
TWO_PATHS = {
    "rename": os.rename,
    "rename_noreplace": lambda a, b: posix.renameat2(a, b, posix.RENAME_NOREPLACE),
    "rename_exchange": lambda a, b: posix.renameat2(a, b, posix.RENAME_EXCHANGE),
    "rename_both_flags": lambda a, b: posix.renameat2(a, b, posix.RENAME_EXCHANGE | posix.RENAME_NOREPLACE),
    "link": lambda a, b: os.link(a, b, follow_symlinks=False),
    "link_follow": os.link,
}


def bind(path):
    """A socket's name, made by bind(2): relative, as addresses hold 107 bytes."""
    if len(path) > 4000:
        return os.stat(path)
    parent, name = os.path.split(path)
    os.chdir(parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            if len(os.fsencode(name)) < 100:
                made.bind(name or ".")
    finally:
        os.chdir("/")
    return None


def compare(pair, user, calls, same_state):
    """calls: (label, function of a root). Lists what ended differently."""
    uid, gid, groups = USERS[user]
    wrong, furnished = [], False
    pair = [f"{root}/top" for root in pair]  # what is done to ".." stays within the test, too
    for root in pair:
        os.mkdir(root)
    for label, function in calls:
        if not furnished:
            for root in pair:
                for path in (root, os.path.dirname(root)):
                    os.chown(path, 0, 0)
                    os.chmod(path, 0o755)
                clear(root)
                furnish(root)
            furnished = True
        results = []
        for root in pair:
            with posix.umask(0o022), posix.as_user(uid, gid, groups):
                results.append(posix.outcome(function, root))
        if results[0] != results[1]:
            wrong.append(f"{label}: {results[0]}, ext4: {results[1]}")
        if "ok" in results and not same_state:
            wrong += [f"after {label}: {line}" for line in tree.differences(state(pair[0]), state(pair[1]), 3)]
            furnished = False
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong)


def short(path):
    return path if len(path) < 40 else f"{path[:10]}...({len(path)})"


@pytest.mark.parametrize("user", ["root", "alice", "alice_in_team"])
@pytest.mark.parametrize("call", ONE_PATH)
def test_call_on_one_path(pair, call, user):
    function = ONE_PATH[call]
    calls = [(f"{call} {short(path)!r}", lambda root, path=path: function(f"{root}/{path}" if path else "")) for path in PATHS]
    compare(pair, user, calls, call in READ_ONLY_TREE)


@pytest.mark.parametrize("first", SECOND[:-6], ids=short)
@pytest.mark.parametrize("user", ["root", "alice"])
@pytest.mark.parametrize("call", TWO_PATHS)
def test_call_on_two_paths(pair, call, user, first):
    function = TWO_PATHS[call]
    calls = [
        (f"{call} {short(first)!r} {short(path)!r}", lambda root, path=path: function(f"{root}/{first}", f"{root}/{path}" if path else ""))
        for path in SECOND
    ]
    compare(pair, user, calls, False)


def test_rename_and_link_to_another_dataset_are_refused(fs, store):
    store.create("other")
    other = os.path.dirname(fs) + "/other"
    open(fs + "/file", "w", encoding="ascii").close()
    os.mkdir(fs + "/dir")
    for name in ("file", "dir"):
        assert posix.outcome(os.rename, f"{fs}/{name}", other + "/x") == "EXDEV"
        assert posix.outcome(posix.renameat2, f"{fs}/{name}", other + "/x", posix.RENAME_NOREPLACE) == "EXDEV"
    assert posix.outcome(os.link, fs + "/file", other + "/x") == "EXDEV"
    assert os.listdir(other) == []


def test_rename_and_link_to_another_filesystem_are_refused(pair):
    mounted, reference = pair
    open(mounted + "/file", "w", encoding="ascii").close()
    if os.stat(mounted).st_dev != os.stat(reference).st_dev:
        assert posix.outcome(os.rename, mounted + "/file", reference + "/x") == "EXDEV"
        assert posix.outcome(os.link, mounted + "/file", reference + "/x") == "EXDEV"


def test_running_program_cannot_be_written(pair):
    import subprocess

    results = []
    for root in pair:
        shutil.copy("/usr/bin/sleep", root + "/sleep")
        with subprocess.Popen([root + "/sleep", "100"]) as process:
            results.append([posix.outcome(os.open, root + "/sleep", flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC)])
            results[-1].append(posix.outcome(os.truncate, root + "/sleep", 1))
            process.kill()
    assert results[0] == results[1] and "ETXTBSY" in results[0]
