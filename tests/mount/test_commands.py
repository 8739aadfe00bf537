"""The commands: what they print, and what they do with bad input: one clear line on stderr, a named exit code, nothing changed."""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import subprocess
import time

import pytest

from harness import procs, program, superblock


def digest(root):
    """All of a directory but what a mere look at it may touch."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = f"{folder}/{name}"
            found[os.path.relpath(path, root)] = hashlib.sha256(procs.read(path)).hexdigest() if os.path.isfile(path) else ""
    return found


def refused(result, *codes):
    """One line on stderr, nothing on stdout, the exit code."""
    assert result.code in codes, result
    assert result.out == "" and len(result.err.splitlines()) == 1 and result.err.startswith("corpusfs: "), result
    return result.err


def test_help_lists_the_commands_and_goes_to_stdout(blank):
    for args in (["help"], ["--help"]):
        result = blank.run(*args)
        assert result.code == 0 and result.err == ""
        for name in ("init", "mount", "umount", "sync", "status", "dataset", "version", "help"):
            assert name in result.out
    assert all(len(line) <= 80 for line in blank.ok("help").splitlines())
    assert "-o" in blank.ok("help", "mount")


def test_version_names_the_program(blank):
    assert blank.ok("version").startswith("corpusfs ")


def test_status_and_lists_are_json_on_request(fs, store):
    status = json.loads(store.ok("-s", store.path, "status", "--json"))
    assert status["mounts"][0]["mountpoint"] == store.points[0]
    rows = json.loads(store.ok("-s", store.path, "dataset", "list", "--json"))
    assert [row["name"] for row in rows] == ["d"]
    assert json.loads(store.ok("-s", store.path, "dataset", "show", "d", "--json"))["name"] == "d"
    assert store.ok("-s", store.path, "status") and "d" in store.ok("-s", store.path, "dataset", "list")


@pytest.mark.sanitize
def test_times_are_local_for_people_and_utc_for_programs(store):
    zone = {"TZ": "FAR-05:30"}  # east of Greenwich
    store.create("d")
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    store.ok("-s", store.path, "scrub")

    def local(seconds):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds + 5 * 3600 + 1800))

    def told(*args):
        return store.run("-s", store.path, *args, env=zone).out

    status = json.loads(told("status", "--json"))
    assert f"last scrub     {local(status['scrub']['last_end'])}, 0 damaged" in told("status")
    assert local(status["created"]) in told("status")
    assert local(json.loads(told("snapshot", "list", "--json"))[0]["taken"]) in told("snapshot", "list")
    assert [row["time"] for row in json.loads(told("doctor", store.path, "--json")) if row["what"] == "last scrub"] == [status["scrub"]["last_end"]]
    assert f"last scrub: {local(status['scrub']['last_end'])}" in told("doctor", store.path)


def test_same_commands_work_mounted_or_not(store):
    def names():
        return [row["name"] for row in json.loads(store.ok("-s", store.path, "dataset", "list", "--json"))]

    def steps():
        store.create("one")
        store.create("two")
        assert sorted(names()) == ["one", "two"]
        store.ok("-s", store.path, "dataset", "rename", "two", "three")
        assert sorted(names()) == ["one", "three"]
        for name in ("one", "three"):
            store.ok("-s", store.path, "dataset", "destroy", name)
        assert names() == []
        store.ok("-s", store.path, "sync")

    steps()
    store.mount()
    steps()


BAD_NAMES = ["", ".", "..", ".snapshots", "a/b", "/", "x" * 256, b"\xff\xfe"]


@pytest.mark.sanitize
@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_bad_dataset_names_are_refused(store, name, mounted):
    if mounted:
        store.mount()
    store.create("good")
    refused(store.run("-s", store.path, "dataset", "create", name), program.USAGE)
    refused(store.run("-s", store.path, "dataset", "rename", "good", name), program.USAGE)
    assert [row["name"] for row in json.loads(store.ok("-s", store.path, "dataset", "list", "--json"))] == ["good"]


def test_names_at_the_limit_are_taken(store):
    for name in ("x" * 255, "ä" * 127, "a b", "a.b"):
        store.ok("-s", store.path, "dataset", "create", "--", name)


@pytest.mark.parametrize("args, code", [
    (["create", "d"], program.EXISTS), (["show", "none"], program.NOT_FOUND), (["destroy", "none"], program.NOT_FOUND),
    (["rename", "none", "x"], program.NOT_FOUND), (["rename", "d", "e"], program.EXISTS), (["nonsense"], program.USAGE), ([], program.USAGE),
    (["create"], program.USAGE), (["create", "a", "b", "c"], program.USAGE), (["list", "--nonsense"], program.USAGE),
])  # fmt: skip
def test_bad_dataset_commands_are_refused(store, args, code):
    for name in ("d", "e"):
        store.create(name)
    refused(store.run("-s", store.path, "dataset", *args), code)
    assert len(json.loads(store.ok("-s", store.path, "dataset", "list", "--json"))) == 2


@pytest.mark.parametrize("args", [["nonsense"], ["--nonsense"], ["mount"], ["init"], ["init", "a", "b"], ["umount"],
                                  ["status", "one", "more"], ["-s"], []], ids=repr)
def test_wrong_usage_is_told(blank, args):
    result = blank.run(*args)
    assert result.code == program.USAGE and result.out == "" and result.err.startswith(("corpusfs", "usage")), result


def test_no_store_is_named(blank):
    refused(blank.run("status", cwd="/"), program.USAGE, program.NOT_FOUND)


def test_missing_store(blank):
    refused(blank.run("-s", blank.area + "/none", "status"), program.NOT_FOUND)


@pytest.mark.parametrize("command", [["status"], ["dataset", "list"], ["dataset", "create", "x"], ["mount"]], ids="-".join)
@pytest.mark.parametrize("what", ["empty", "other files", "file"])
def test_not_a_store(blank, what, command):
    if what == "file":
        open(blank.path, "wb").close()
    else:
        os.mkdir(blank.path)
    if what == "other files":
        open(blank.path + "/corpus", "wb").close()
    before = digest(blank.area)
    if command == ["mount"]:
        os.mkdir(blank.area + "/mnt")
        result = blank.run("mount", blank.path, blank.area + "/mnt")
    else:
        result = blank.run("-s", blank.path, *command)
    refused(result, program.DAMAGED, *([program.USAGE] if what == "file" else []))
    assert {name: row for name, row in digest(blank.area).items() if not name.startswith(("log", "mnt"))} == {
        name: row for name, row in before.items() if not name.startswith("log")
    }


def damage_superblock(change):
    def damage(path):
        with open(path + "/corpusfs", "r+b") as handle:
            data = handle.read()
            handle.seek(0)
            handle.truncate()
            handle.write(change(data))

    return damage


def remove(pattern):
    def damage(path):
        found = glob.glob(path + pattern)
        assert found
        for name in found[:1]:
            os.unlink(name)

    return damage


DAMAGES = {
    "superblock truncated": (damage_superblock(lambda data: data[: len(data) // 2]), (program.DAMAGED,)),
    "superblock empty": (damage_superblock(lambda data: b""), (program.DAMAGED,)),
    "superblock garbage": (damage_superblock(lambda data: os.urandom(300)), (program.DAMAGED,)),
    "superblock zeros": (damage_superblock(lambda data: bytes(4096)), (program.DAMAGED,)),
    "superblock huge": (damage_superblock(lambda data: data * 10000), (program.DAMAGED,)),
    "superblock bit": (damage_superblock(lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:]), (program.DAMAGED, program.UNSUPPORTED)),
    "no CURRENT": (remove("/db/CURRENT"), (program.DAMAGED,)),
    "no MANIFEST": (remove("/db/MANIFEST-*"), (program.DAMAGED,)),
    "an SST missing": (remove("/db/*.sst"), (program.DAMAGED,)),
    "no db": (lambda path: shutil.rmtree(path + "/db"), (program.DAMAGED,)),
}


@pytest.mark.sanitize
@pytest.mark.kinds("damage")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_store_is_refused_and_left_alone(store, damage):
    point = store.mount()
    store.create("d")
    for number in range(20):
        with open(f"{point}/d/{number}", "wb") as handle:
            handle.write(os.urandom(300000))
    store.umount()
    function, codes = DAMAGES[damage]
    function(store.path)
    before = digest(store.path)
    for command in (["-s", store.path, "dataset", "list"], ["-s", store.path, "dataset", "create", "x"], ["mount", store.path, point]):
        refused(store.run(*command), *codes)
        assert not procs.fuse_mounts(point)
        after = digest(store.path)
        for scan in (before, after):
            scan.pop("lock", None), scan.pop("log", None)
        assert after == before, command


@pytest.mark.parametrize("line, newer", [(b"format 1", b"format 999"), (b"\nincompat 0", b"\nincompat 999")])
def test_newer_format_is_refused(store, line, newer):
    superblock.rewrite(store.path + "/corpusfs", lambda body: body)
    store.ok("-s", store.path, "dataset", "list")
    superblock.rewrite(store.path + "/corpusfs", lambda body: body.replace(line, newer))
    before = digest(store.path)
    for command in (["-s", store.path, "dataset", "list"], ["mount", store.path, store.area]):
        refused(store.run(*command), program.UNSUPPORTED)
    assert digest(store.path) == before


def test_locked_store_is_refused_and_says_by_whom(store):
    with subprocess.Popen(["flock", store.path + "/lock", "-c", f"echo $$ > {store.path}/lock; echo ready; exec sleep 100"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"ready\n"
        line = refused(store.run("-s", store.path, "dataset", "list"), program.BUSY)
        holder.kill()
        assert any(word.strip("(),;").isdigit() for word in line.split()), line
        for pid in lock_holders(store.path + "/lock"):
            os.kill(pid, 9)


def lock_holders(path):
    inode = os.stat(path).st_ino
    with open("/proc/locks", encoding="ascii") as lines:
        return [int(line.split()[4]) for line in lines if line.split()[5].endswith(f":{inode}") and int(line.split()[4]) > 0]


def test_init_leaves_what_is_there_alone(blank):
    os.mkdir(blank.path)
    open(blank.path + "/precious", "wb").close()
    refused(blank.run("init", blank.path), program.EXISTS, program.BUSY)
    assert os.listdir(blank.path) == ["precious"]


def test_init_over_a_store_is_refused(store):
    store.create("d")
    before = digest(store.path)
    refused(store.run("init", store.path), program.EXISTS, program.BUSY)
    assert digest(store.path) == before


def test_init_in_an_empty_directory_and_below_a_missing_one(blank):
    os.mkdir(blank.path)
    blank.init()
    refused(blank.run("init", blank.area + "/none/store"), program.NOT_FOUND)
    assert not os.path.exists(blank.area + "/none")


@pytest.mark.parametrize("what", ["missing", "file", "not empty", "busy", "in the store"])
def test_bad_mountpoints(store, what):
    point = store.area + "/mnt"
    codes = {"missing": program.NOT_FOUND, "file": program.USAGE, "not empty": program.BUSY, "busy": program.BUSY, "in the store": program.USAGE}
    if what == "file":
        open(point, "wb").close()
    elif what == "not empty":
        os.makedirs(point + "/x")
    elif what == "busy":
        store.mount(point)
    elif what == "in the store":
        point = store.path
    refused(store.run("mount", store.path, point), codes[what])
    assert len(procs.fuse_mounts(store.area)) == (1 if what == "busy" else 0)
    if what != "busy":
        assert not store.daemons()


@pytest.mark.parametrize("options", ["nonsense", "ro,nonsense", "cache=x", "snapdir=nonsense", "allow_other=1"])
def test_unknown_mount_options(store, options):
    os.mkdir(store.area + "/mnt")
    refused(store.run("mount", store.path, store.area + "/mnt", "-o", options), program.USAGE)
    assert not store.daemons() and not procs.fuse_mounts(store.area)


def test_mounting_what_is_not_there(store):
    os.mkdir(store.area + "/mnt")
    refused(store.run("mount", store.path + ":none", store.area + "/mnt"), program.NOT_FOUND)
    procs.poll(lambda: not store.daemons(), 30, "no daemon stays")


def test_no_fuse_device(store):
    point = store.area + "/mnt"
    os.mkdir(point)
    # not the propagation of all mounts: the root of a chroot is none
    script = 'mount --make-rprivate /dev && mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$0" "$@"'
    environment = program.environment(store.run_mark, store.logs)
    apart = ["unshare", "-m", "--propagation", "unchanged", "bash", "-c", script]
    result = program.call([*apart, store.binary, "mount", store.path, point], environment, store.logs)
    assert "/dev/fuse" in refused(result, program.UNSUPPORTED)


def test_no_permission(store):
    store.binary = shutil.copy(store.binary, store.area + "/corpusfs")
    os.mkdir(store.area + "/mnt")
    for command in (["-s", store.path, "dataset", "create", "x"], ["mount", store.path, store.area + "/mnt"], ["init", store.area + "/new"]):
        refused(store.run(*command, user=65534), program.PERMISSION)
    assert not os.path.exists(store.area + "/new")


def test_umount_by_somebody_else_is_refused(store):
    store.binary = shutil.copy(store.binary, store.area + "/corpusfs")
    os.chmod(store.binary, 0o755)
    store.create("d")
    for dataset in ("d", None):
        point = store.mount(dataset=dataset, options="ro,allow_other")
        refused(store.run("umount", point, user=65534), program.PERMISSION)
        assert procs.fuse_mounts(point)


def test_umount_and_sync_of_what_is_no_mount(store):
    os.mkdir(store.area + "/dir")
    refused(store.run("umount", store.area + "/dir"), program.NOT_FOUND)
    refused(store.run("umount", store.area + "/none"), program.NOT_FOUND)
    refused(store.run("umount", "/proc"), program.USAGE)
    refused(store.run("sync", store.area + "/dir"), program.NOT_FOUND)


def test_a_lock_that_nobody_holds_is_no_lock(store):
    with open(store.path + "/lock", "ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
    store.ok("-s", store.path, "dataset", "list")
