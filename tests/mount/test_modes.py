"""Modes, owners and what falls with them: set-id bits, capabilities, groups of new files, umask; compared with ext4."""

import mmap
import os
import stat
import struct

import pytest

from harness import posix, tree

ALICE, TEAM = 61001, 61100
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service+ep


def pwrite(path, data=b"x"):
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, data, 0)
    finally:
        os.close(fd)


def with_fd(path, function, flags=os.O_RDWR):
    fd = os.open(path, flags)
    try:
        function(fd)
    finally:
        os.close(fd)


def map_write(path):
    def change(fd):
        with mmap.mmap(fd, 0) as area:
            area[0:1] = b"y"
            area.flush()

    with_fd(path, change)


def copy_into(path):
    source = os.open(path + ".source", os.O_RDONLY)
    try:
        with_fd(path, lambda fd: os.copy_file_range(source, fd, 5, 0, 0))
    finally:
        os.close(source)


CHANGES = {
    "write": pwrite,
    "write_nothing": lambda path: pwrite(path, b""),
    "write_direct": lambda path: with_fd(path, lambda fd: os.writev(fd, [mmap.mmap(-1, 4096)]), os.O_RDWR | os.O_DIRECT),
    "append": lambda path: with_fd(path, lambda fd: os.write(fd, b"x"), os.O_WRONLY | os.O_APPEND),
    "mmap": map_write,
    "truncate": lambda path: os.truncate(path, 3),
    "truncate_same": lambda path: os.truncate(path, 10000),
    "ftruncate": lambda path: with_fd(path, lambda fd: os.ftruncate(fd, 20000)),
    "open_trunc": lambda path: with_fd(path, lambda fd: None, os.O_WRONLY | os.O_TRUNC),
    "fallocate": lambda path: with_fd(path, lambda fd: posix.fallocate(fd, 0, 0, 20000)),
    "punch_hole": lambda path: with_fd(path, lambda fd: posix.fallocate(fd, 3, 0, 4096)),
    "zero_range": lambda path: with_fd(path, lambda fd: posix.fallocate(fd, 16, 0, 4096)),
    "copy_file_range": copy_into,
    "chown_same": lambda path: os.chown(path, ALICE, ALICE),
    "chown_nothing": lambda path: os.chown(path, -1, -1),
    "chgrp_own": lambda path: os.chown(path, -1, ALICE),
    "chgrp_team": lambda path: os.chown(path, -1, TEAM),
    "chmod_same": lambda path: os.chmod(path, stat.S_IMODE(os.stat(path).st_mode)),
    "utime": lambda path: os.utime(path, ns=(1, 1)),
    "setxattr": lambda path: os.setxattr(path, "user.x", b"1"),
    "link": lambda path: os.link(path, path + ".two"),
    "rename": lambda path: os.rename(path, path + ".two") or os.rename(path + ".two", path),
}
MODES = [0o4777, 0o2777, 0o6777, 0o6755, 0o2767, 0o6745, 0o1777, 0o644, 0o2666, 0o4666, 0o6666, 0o2676, 0o2646, 0o2667, 0o6777, 0o7777]
STRANGERS = 61200
OWNERS = {"own": (ALICE, ALICE), "team": (ALICE, TEAM), "own_strange": (ALICE, STRANGERS), "root": (0, 0), "root_team": (0, TEAM), "strange": (0, STRANGERS)}


@pytest.mark.sanitize
@pytest.mark.kinds("change")
@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("user", [0, ALICE])
@pytest.mark.parametrize("change", CHANGES)
def test_set_id_bits_fall_as_on_ext4(pair, change, user, owner):
    wrong = []
    for mode in MODES:
        results = []
        for root in pair:
            path = f"{root}/{mode:o}"
            for name in (path, path + ".source"):
                with open(name, "wb") as handle:
                    handle.write(bytes(10000))
            os.chown(path, *OWNERS[owner])
            os.chmod(path, mode)
            os.chmod(root, 0o777)
            if change == "chown_nothing":
                posix.answered(root)  # it is allowed to anybody while the file is open for writing
            with posix.as_user(user, user, (TEAM,)):
                result = posix.outcome(CHANGES[change], path)
            results.append((result, oct(os.stat(path).st_mode)))
        if results[0] != results[1]:
            wrong.append(f"{mode:o}: {results[0]}, ext4: {results[1]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("user", [0, ALICE])
@pytest.mark.parametrize("change", [name for name in CHANGES if name != "mmap"])
def test_capabilities_fall_as_on_ext4(pair, change, user):
    """But for writes through a mapping, which the kernel sends as it sends others: there they fall, which is the safe side."""
    results = []
    for root in pair:
        path = root + "/file"
        for name in (path, path + ".source"):
            with open(name, "wb") as handle:
                handle.write(bytes(10000))
        os.chown(path, ALICE, ALICE)
        os.chmod(path, 0o777)
        os.setxattr(path, "security.capability", CAPABILITY)
        with posix.as_user(user, user, (TEAM,)):
            result = posix.outcome(CHANGES[change], path)
        results.append((result, posix.outcome(os.getxattr, path, "security.capability")))
    assert results[0] == results[1]


def test_set_id_bits_fall_on_a_descriptor_that_was_open_before(pair):
    results = []
    for root in pair:
        path = root + "/file"
        with open(path, "wb") as handle:
            handle.write(bytes(100))
        os.chmod(path, 0o777)
        with posix.as_user(ALICE):
            fd = os.open(path, os.O_RDWR)
            os.write(fd, b"1")
        os.chmod(path, 0o6777)
        with posix.as_user(ALICE):
            os.write(fd, b"2")
        results.append(oct(os.stat(path).st_mode))
        os.close(fd)
        results.append(oct(os.stat(path).st_mode))
    assert results[:2] == results[2:]


CREATE = {
    "open": lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o6777)),
    "mkdir": lambda path: os.mkdir(path, 0o7777),
    "mkfifo": lambda path: os.mkfifo(path, 0o6777),
    "mknod": lambda path: os.mknod(path, 0o6777),
    "symlink": lambda path: os.symlink("x", path),
}


@pytest.mark.sanitize
@pytest.mark.kinds("call")
@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
@pytest.mark.parametrize("parent", [0o777, 0o2777, 0o3777])
@pytest.mark.parametrize("call", CREATE)
def test_new_objects_have_the_owner_group_and_mode_of_ext4(pair, call, parent, mask):
    results = []
    for root in pair:
        os.mkdir(root + "/dir")
        os.chown(root + "/dir", 0, TEAM)
        os.chmod(root + "/dir", parent)
        for user, groups in ((0, ()), (ALICE, ()), (ALICE, (TEAM,))):
            path = f"{root}/dir/{user}{len(groups)}"
            with posix.umask(mask), posix.as_user(user, user, groups):
                result = posix.outcome(CREATE[call], path)
            info = os.lstat(path)
            results.append((result, oct(info.st_mode), info.st_uid, info.st_gid))
    half = len(results) // 2
    assert results[:half] == results[half:]


def test_link_counts_of_directories_follow_their_subdirectories(fs):
    assert os.stat(fs).st_nlink == 2
    for name in ("a", "b", "a/c"):
        os.mkdir(f"{fs}/{name}")
    assert (os.stat(fs).st_nlink, os.stat(fs + "/a").st_nlink) == (4, 3)
    os.rename(fs + "/a/c", fs + "/c")
    assert (os.stat(fs).st_nlink, os.stat(fs + "/a").st_nlink) == (5, 2)
    os.rename(fs + "/b", fs + "/c")
    assert os.stat(fs).st_nlink == 4
    os.rmdir(fs + "/c")
    assert os.stat(fs).st_nlink == 3


def test_link_counts_of_files_follow_their_names(fs):
    open(fs + "/a", "wb").close()
    for count in range(2, 50):
        os.link(fs + "/a", f"{fs}/{count}")
        assert os.stat(fs + "/a").st_nlink == os.stat(f"{fs}/{count}").st_nlink == count
    with open(fs + "/a", "rb") as handle:
        for name in os.listdir(fs):
            os.unlink(f"{fs}/{name}")
        assert os.fstat(handle.fileno()).st_nlink == 0


def test_blocks_count_what_is_stored_and_not_the_holes(fs):
    with open(fs + "/file", "wb") as handle:
        handle.truncate(1 << 30)
    assert os.stat(fs + "/file").st_blocks == 0
    with open(fs + "/file", "r+b") as handle:
        handle.seek(1 << 29)
        handle.write(os.urandom(1 << 20))
        os.fsync(handle.fileno())
    assert 2048 <= os.stat(fs + "/file").st_blocks < 4096
    os.truncate(fs + "/file", 0)
    assert os.stat(fs + "/file").st_blocks == 0


def test_inode_numbers_are_stable(fs, store):
    for name in ("a", "b"):
        open(f"{fs}/{name}", "wb").close()
    os.mkdir(fs + "/dir")
    before = {name: os.stat(f"{fs}/{name}").st_ino for name in os.listdir(fs)}
    assert len(set(before.values())) == 3
    with os.scandir(fs) as entries:
        assert {entry.name: entry.inode() for entry in entries} == before
    store.umount()
    store.mount(store.area + "/mnt")
    assert {name: os.stat(f"{fs}/{name}").st_ino for name in os.listdir(fs)} == before


def test_devices_fifos_and_sockets_are_kept(fs, store):
    os.mkfifo(fs + "/fifo", 0o640)
    os.mknod(fs + "/socket", stat.S_IFSOCK | 0o600)
    os.mknod(fs + "/char", stat.S_IFCHR | 0o620, os.makedev(4095, 0xFFFFF))
    os.mknod(fs + "/block", stat.S_IFBLK | 0o660, os.makedev(7, 255))
    before = tree.scan(fs)
    store.umount()
    store.mount(store.area + "/mnt")
    assert tree.differences(before, tree.scan(fs)) == []
    assert os.stat(fs + "/char").st_rdev == os.makedev(4095, 0xFFFFF)
