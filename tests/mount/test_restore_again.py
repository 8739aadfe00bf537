"""A backup is restored over what an earlier restore has made: attributes that are others by now are those of the backup again."""

import mmap
import os
import struct
import subprocess

import pytest

from harness import files, program, tree
from harness.repository import SECRETS, Repository


def attributes(root):
    """All extended attributes with ACLs, and owners, modes and times."""
    dump = subprocess.run(["getfattr", "-R", "-d", "-h", "-m", "-", "--absolute-names", "."], cwd=root, check=True, capture_output=True).stdout
    return dump, tree.scan(root)


@pytest.fixture(name="made")
def _made(store, source, area):
    """A repository with a backup that has ACLs of all kinds, and what is restored of it, in area/out."""
    for path, acl in (("a", "u:1234:rwx,d:u:1234:rwx"), ("empty", "d:g:77:rx"), ("a/7", "g:78:rw")):
        subprocess.run(["setfacl", "-m", acl, f"{source}/{path}"], check=True)
    os.setxattr(source + "/a/8", "trusted.note", b"kept")
    store.ok("-s", store.path, "import", source, "d")
    repository = Repository(store, area + "/repository")
    repository.backup("d")
    repository.restore(area + "/out")
    return repository


def spoil(out):
    """Owners, attributes, ACLs, modes of files and directories. Content, size and time of change of files stay."""
    for path in ("a/1", "a/6", "a/8", "a/b", "a/b/c", "empty", "a", "."):
        path = os.path.join(out, path)
        before = os.stat(path)
        for name in os.listxattr(path):
            os.removexattr(path, name)
        os.setxattr(path, "user.foreign", b"x")
        os.setxattr(path, "trusted.foreign", b"x")
        subprocess.run(["setfacl", "-m", "u:4321:rwx", path], check=True)
        if os.path.isdir(path):
            subprocess.run(["setfacl", "-m", "d:u:4321:rwx", path], check=True)
        os.chown(path, 4321, 8765)
        os.chmod(path, 0o755)
        os.utime(path, ns=(1, before.st_mtime_ns))
    os.setxattr(out + "/a/3", "user.note", b"another")
    os.setxattr(out + "/a/9", "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))  # cap_net_raw+ep


@pytest.mark.sanitize
def test_attributes_are_those_of_the_backup_again(made, area):
    out = area + "/out"
    wanted = attributes(out)
    spoil(out)
    assert attributes(out) != wanted
    inode, taken = os.stat(out + "/a/3").st_ino, os.stat(out + "/a/1").st_ino
    done = made.json("restore", made.path, out)
    assert done["skipped"] > 50 and done["problem_count"] == 0 and done["same"]
    dump, found = attributes(out)
    assert not tree.differences(wanted[1], found)
    assert dump == wanted[0]
    assert os.stat(out + "/a/3").st_ino == inode and os.stat(out + "/a/1").st_ino == taken, "content that is there is not written again"


@pytest.mark.parametrize("same", [True, False])
def test_other_names_of_a_file_that_is_there_keep_what_they_have(made, area, same):
    """A name outside of what is restored: the file gives way to a new one, also where only its attributes are others by now."""
    out, elsewhere = area + "/out", area + "/elsewhere"
    wanted = attributes(out)
    os.mkdir(elsewhere)
    for name in ("1", "3", "4", "6"):
        os.link(f"{out}/a/{name}", f"{elsewhere}/{name}")
        before = os.stat(f"{elsewhere}/{name}")
        os.chown(f"{elsewhere}/{name}", 4321, 8765)
        os.setxattr(f"{elsewhere}/{name}", "user.mine", b"x")
        if not same:
            with open(f"{elsewhere}/{name}", "r+b") as handle:
                handle.write(b"other")
            os.utime(f"{elsewhere}/{name}", ns=(before.st_atime_ns, before.st_mtime_ns))
    kept = attributes(elsewhere)
    assert made.json("restore", made.path, out)["same"]
    found = attributes(out)
    assert not tree.differences(wanted[1], found[1]) and found[0] == wanted[0]
    after = attributes(elsewhere)
    assert after[0] == kept[0]
    for name in ("1", "3", "4", "6"):
        there = os.stat(f"{elsewhere}/{name}")
        assert (there.st_uid, there.st_gid, there.st_nlink) == (4321, 8765, 1), "the file has this name alone now"
        assert files.get(f"{elsewhere}/{name}").startswith(b"other") != same or there.st_size == 0
    assert os.stat(out + "/a/4").st_ino == os.stat(out + "/a/b/four").st_ino == os.stat(out + "/0 first by name").st_ino


def test_root_sets_what_a_user_could_not(made, area):
    """The plain case: a user has restored first, and owners are wanted then."""
    made.give(12345, area)
    os.mkdir(area + "/users")
    os.chown(area + "/users", 12345, 12345)
    made.store.run("restore", made.path, area + "/users/out", env=SECRETS, user=12345)
    assert os.stat(area + "/users/out/a/1").st_uid == 12345
    inode = os.stat(area + "/users/out/a/2").st_ino
    assert made.json("restore", made.path, area + "/users/out")["skipped"] > 50
    assert attributes(area + "/users/out") == attributes(area + "/out")
    assert os.stat(area + "/users/out/a/2").st_ino == inode


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_a_file_that_its_owner_may_still_write_to_is_made_anew(made, area, how):
    """What root restored as another user's, with set-id bits perhaps, must not be changed by who owned it before."""
    path = area + "/out/a/1"
    os.chown(path, 12345, 12345)
    before = os.stat(path)
    with open(path, "r+b", buffering=0) as handle:
        data = mmap.mmap(handle.fileno(), 0) if how == "mapped" else None
        if data:
            handle.close()
        made.restore(area + "/out")
        if data:
            data[0] ^= 1
            data.close()
        else:
            handle.write(b"evil")
    after = os.stat(path)
    assert after.st_ino != before.st_ino and (after.st_uid, after.st_mode & 0o7777) == (0, 0o4711)
    assert files.get(path) == files.get(area + "/source/a/1")


def test_a_user_who_restores_again_keeps_what_is_there(made, area):
    made.give(12345, area)
    os.mkdir(area + "/users")
    os.chown(area + "/users", 12345, 12345)
    for number in range(2):
        done = made.store.run("restore", made.path, area + "/users/out", "--path", "a", "--json", env=SECRETS, user=12345)
        assert done.code in (program.OK, program.FAILED), done
        inodes = {name: os.stat(f"{area}/users/out/{name}").st_ino for name in ("1", "2", "3")}
        assert number == 0 or inodes == first
        first = inodes


@pytest.mark.sanitize
def test_directories_of_a_dataset_that_is_restored_over_lose_what_the_backup_has_not(made, store, area):
    """The root, too; files and directories come without what they would inherit from an ACL that is to go."""
    point = store.mount(options="allow_other,acl")
    for path in ("d", "d/a", "d/a/b", "d/empty", "d/a/6", "d/a/8"):
        path = os.path.join(point, path)
        os.setxattr(path, "user.foreign", b"x")
        os.setxattr(path, "trusted.foreign", b"x")
        subprocess.run(["setfacl", "-m", "u:4321:rwx", path], check=True)
        if os.path.isdir(path):
            subprocess.run(["setfacl", "-m", "d:u:4321:rwx", path], check=True)
        os.chown(path, 4321, 8765)
    os.setxattr(point + "/d/a/b", "user.dir", b"another")
    store.umount()
    assert made.json("restore", made.path, "d", "--over")["same"]
    seen = attributes(store.mount(options="allow_other,acl") + "/d")
    store.umount()
    wanted = attributes(area + "/source")
    assert not tree.differences(wanted[1], seen[1])
    assert sorted(seen[0].split(b"\n\n")) == sorted(wanted[0].split(b"\n\n"))


@pytest.mark.parametrize("path", ["a/b", "/a/b/"])
def test_part_of_a_backup_does_not_take_the_place_of_a_dataset_with_another_name_now(made, store, area, path):
    store.ok("-s", store.path, "dataset", "rename", "d", "renamed")
    point = store.mount()
    before = os.listdir(point + "/renamed/.snapshots")
    result = made.restore("renamed", None, "--over", "--path", path, code=program.USAGE)
    assert 'dataset "renamed" would become what is in "a/b"' in result.err and "MOUNTPOINT/renamed/DIRECTORY --path a/b" in result.err, result
    assert os.listdir(point + "/renamed/.snapshots") == before
    tree.await_same(area + "/source", point + "/renamed")


def test_a_slash_alone_is_all_of_a_backup(made, store, area):
    point = store.mount()
    os.remove(point + "/d/a/1")
    done = made.json("restore", made.path, "d", "--over", "--path", "/")
    assert done["same"] and done["identity"]
    assert made.json("restore", made.path, area + "/again", "--path", "//")["same"]
    tree.await_same(area + "/source", point + "/d")
