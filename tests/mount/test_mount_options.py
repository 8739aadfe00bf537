"""What stands after -o, from a command line, from mount(8) and from /etc/fstab."""

import os
import subprocess

import pytest

from harness import posix, procs, program


def options_of(point):
    """Those that the kernel shows for the mountpoint."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        line = next(line for line in lines if line.split()[4] == point)
    return set(line.split()[5].split(","))


KERNEL = ["nosuid", "nodev", "noexec", "sync", "dirsync", "async", "suid", "dev", "exec"]
OTHERS = [
    "defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group", "comment=of the admin", "uhelper=udisks2",
    "x-systemd.automount", "x-gvfs-show", "X-mount.mkdir=0755",
]  # fmt: skip
TIMES = ["noatime", "nodiratime", "norelatime", "nostrictatime", "lazytime", "nolazytime", "relatime", "diratime"]


@pytest.mark.parametrize("options", [KERNEL, OTHERS, TIMES, ["rw", "nomand", "noiversion", "symfollow", "silent", "loud"]], ids=" ".join)
def test_options_of_mount8_are_taken(store, options):
    for option in options:
        point = store.mount(options=option)
        shown = options_of(point)
        assert "noatime" in shown and "relatime" not in shown, (option, shown)
        if option in ("nosuid", "nodev", "noexec"):
            assert option in shown
        store.umount(point)


def test_mount_options_reach_the_kernel(store):
    store.mount(options="allow_other,nosuid,nodev,noexec")
    assert {"nosuid", "nodev", "noexec"} <= options_of(store.points[0])


@pytest.mark.parametrize("option", ["atime", "strictatime", "diratime=1", "iversion", "user_xattr", "snapdir=1", "cache=much"])
def test_what_cannot_be_had_is_refused_in_one_line(store, option):
    result = store.run("mount", store.path, store.area + "/mnt", "-o", "rw," + option)
    assert result.code == program.USAGE and len(result.err.splitlines()) == 1, result
    assert option.split("=")[0] in result.err and ("access time" in result.err) == (option in ("atime", "strictatime"))


@pytest.mark.parametrize("option", ["relatime", "diratime"])
def test_what_makes_no_difference_is_said(store, option):
    point = store.area + "/mnt"
    os.mkdir(point)
    result = store.run("mount", store.path, point, "-o", option)
    store.note(point)
    assert result.code == 0 and option in result.err and "access time" in result.err


def test_reading_does_not_change_access_times(fs):
    with open(fs + "/file", "wb") as handle:
        handle.write(b"x")
    os.mkdir(fs + "/dir")
    os.symlink("file", fs + "/link")
    for name in ("file", "dir", "link"):
        os.utime(f"{fs}/{name}", (1000000000, 1000000000), follow_symlinks=False)
    posix.drop_caches()
    with open(fs + "/file", "rb") as handle:
        handle.read()
    os.listdir(fs + "/dir")
    os.readlink(fs + "/link")
    assert {os.lstat(f"{fs}/{name}").st_atime for name in ("file", "dir", "link")} == {1000000000}


OPTIONS = "rw,noatime,nofail,_netdev,x-systemd.requires=network.target,allow_other,dev,suid"


def prepared(store):
    store.create("d")
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    point = store.area + "/mnt"
    os.mkdir(point)
    return point, program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})


@pytest.mark.parametrize("part", ["", ":d", ":d@v1"])
@pytest.mark.parametrize("how", ["words", "fstab"])
def test_mount8_mounts_a_store(store, how, part):
    point, environment = prepared(store)
    source = f"{store.binary}#{store.path}{part}"
    with open(store.area + "/fstab", "w", encoding="ascii") as table:
        table.write(f"{source} {point} fuse {OPTIONS} 0 0\n")
    command = ["mount", "-T", store.area + "/fstab", point] if how == "fstab" else ["mount", "-t", "fuse", source, point, "-o", OPTIONS]
    result = program.call(command, environment, store.logs)
    assert result.code == 0 and result.out + result.err == "", result
    store.note(point)
    assert os.listdir(point) == ([] if part else ["d"])
    assert "noatime" in options_of(point)
    subprocess.run(["umount", point], check=True, timeout=60, stdin=subprocess.DEVNULL)
    store.points.remove(point)
    store.ended()


@pytest.mark.namespaces
def test_mount8_knows_the_program_by_its_type(store):
    """It looks for programs in the places of the system only: there the program is, in a mount namespace of the test's own."""
    point, environment = prepared(store)
    script = f"""set -e
mkdir {store.area}/bin
ln -s {store.binary} {store.area}/bin/corpusfs
mount --bind {store.area}/bin /usr/local/bin
mount -t fuse.corpusfs {store.path} {point} -o {OPTIONS}
ls {point}
umount {point}"""
    result = program.call(procs.apart(["sh", "-c", script]), environment, store.logs)
    assert result.code == 0 and (result.out, result.err) == ("d\n", ""), result
    procs.poll(lambda: not store.daemons(), 30, "the daemon leaves")


def test_what_is_neither_a_command_nor_a_mount_is_refused(store):
    for words in (["/nowhere"], ["/nowhere", "-o", "ro"], ["nothing", "/mnt"]):
        result = store.run(*words)
        assert result.code == program.USAGE and "there is no command" in result.err, result
    result = store.run(store.area + "/nowhere", store.area)
    assert result.code == program.NOT_FOUND and not procs.fuse_mounts(store.area)
