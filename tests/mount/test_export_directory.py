"""Export to a directory: what the target does not take, what an interrupted one leaves, and how the next one goes on."""

import fcntl
import json
import os
import random
import signal
import stat
import subprocess

import pytest

from harness import procs, program, tree

OURS = ".corpusfs"


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(data)


def export(store, *args, code=0, **options):
    result = store.run("-s", store.path, "export", "--json", *args, **options)
    assert result.code == code, f"exit {result.code}\n{result.out}{result.err}"
    return json.loads(result.out) if result.out else result


def take_in(store, root, name="d"):
    store.ok("-s", store.path, "import", root, name)


def told(done):
    return {row["path"]: row["text"] for row in done["problems"]}


def rubbish(root):
    """Names of ours that are left anywhere below."""
    return [name for _, folders, files in os.walk(root) for name in folders + files if name.startswith(OURS)]


@pytest.fixture
def mounted_at(area):
    """mounted_at(KIND, ...): a directory on such a filesystem."""
    points = []

    def mount(name, *words):
        os.makedirs(f"{area}/{name}", exist_ok=True)
        subprocess.run(["mount", *words, f"{area}/{name}"], check=True, timeout=60)
        points.append(f"{area}/{name}")
        return points[-1]

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", "-l", point], check=True, timeout=60)


def make_disk(area, mounted_at, *options, size=64 << 20):
    with open(area + "/image", "wb") as handle:
        handle.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", *options, area + "/image"], check=True, timeout=60)
    return mounted_at("disk", "-o", "loop", area + "/image")


# --- what the target does not take ---


def test_a_file_whose_attribute_is_refused_is_kept_and_told(store, area, mounted_at):
    write(area + "/in/plain", b"1")
    write(area + "/in/marked", b"2")
    write(area + "/in/dir/f", b"3")
    os.setxattr(area + "/in/marked", "user.note", b"x")
    os.setxattr(area + "/in/dir", "user.note", b"x")
    os.utime(area + "/in/marked", ns=(10**18, 10**18 + 7))
    take_in(store, area + "/in")
    out = mounted_at("ram", "-t", "ramfs", "none") + "/out"
    done = export(store, "d", out, code=1)
    assert done["files"] == 3 and told(done).keys() == {"marked", "dir"}
    assert all("user.note" in text for text in told(done).values())
    assert sorted(os.listdir(out)) == ["dir", "marked", "plain"] and tree.digest(out + "/marked") == tree.digest(area + "/in/marked")
    assert os.stat(out + "/marked").st_mtime_ns == 10**18 + 7


def test_an_acl_that_is_refused_leaves_nobody_with_more_rights(store, area, mounted_at):
    write(area + "/in/f", b"secret")
    os.chmod(area + "/in/f", 0o600)
    subprocess.run(["setfacl", "-m", "u:nobody:rw", area + "/in/f"], check=True, timeout=60)
    assert stat.S_IMODE(os.stat(area + "/in/f").st_mode) == 0o660
    take_in(store, area + "/in")
    out = mounted_at("ram", "-t", "ramfs", "none") + "/out"
    done = export(store, "d", out, code=1)
    assert told(done).keys() == {"f"}
    assert stat.S_IMODE(os.stat(out + "/f").st_mode) == 0o600


def test_a_default_acl_of_the_target_does_not_reach_the_files(store, area):
    write(area + "/in/f", b"secret")
    write(area + "/in/dir/g", b"secret")
    os.mkfifo(area + "/in/fifo")
    os.mkdir(area + "/out")
    subprocess.run(["setfacl", "-d", "-m", "u:nobody:rwx", area + "/out"], check=True, timeout=60)
    take_in(store, area + "/in")
    export(store, "d", area + "/out")
    for name in ("f", "dir", "dir/g", "fifo"):
        assert not [x for x in os.listxattr(f"{area}/out/{name}") if "acl" in x], name


def test_times_that_the_target_cannot_hold_are_told(store, area, mounted_at):
    """ext4 with short inodes counts seconds of 32 bits, and says yes to any."""
    write(area + "/in/late", b"1")
    write(area + "/in/now", b"2")
    os.utime(area + "/in/late", (2**32, 2**33))
    os.utime(area + "/in/now", ns=(10**18, 10**18 + 123456789))
    take_in(store, area + "/in")
    out = make_disk(area, mounted_at, "-I", "128") + "/out"
    done = export(store, "d", out, code=1)
    assert told(done).keys() == {"late"} and "time of change" in told(done)["late"]
    assert sorted(os.listdir(out)) == ["late", "now"]


@pytest.mark.namespaces
def test_owners_that_the_target_refuses_are_told(store, area):
    """Root of a user namespace has one user to give files to."""
    write(area + "/in/f", b"1")
    write(area + "/in/mine", b"2")
    os.chown(area + "/in/f", 1234, 1234)
    take_in(store, area + "/in")
    command = f"unshare -r '{store.binary}' -s '{store.path}' export --json d '{area}/out'"
    done = subprocess.run(["sh", "-c", command], env=program.environment(store.run_mark, store.logs), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    assert told(json.loads(done.stdout)).keys() == {"f"} and "owner" in told(json.loads(done.stdout))["f"]
    assert sorted(os.listdir(area + "/out")) == ["f", "mine"]


def test_two_names_that_are_one_to_the_target_are_told(store, area, mounted_at):
    write(area + "/in/README", b"upper")
    write(area + "/in/readme", b"lower")
    write(area + "/in/Sub/f", b"1")
    write(area + "/in/sub/g", b"2")
    take_in(store, area + "/in")
    try:
        disk = make_disk(area, mounted_at, "-O", "casefold")
    except subprocess.CalledProcessError:
        pytest.skip("this kernel has no filesystem that takes upper and lower case for one")
    os.mkdir(disk + "/out")
    subprocess.run(["chattr", "+F", disk + "/out"], check=True, timeout=60)
    done = export(store, "d", disk + "/out", code=1)
    assert len(told(done)) == 2 and len(os.listdir(disk + "/out")) == 2
    kept = [name for name in ("README", "readme") if name in os.listdir(disk + "/out")]
    with open(f"{disk}/out/{kept[0]}", "rb") as handle:
        assert handle.read() == {"README": b"upper", "readme": b"lower"}[kept[0]]


def test_what_is_in_the_way_stays_and_is_told(store, area, mounted_at):
    write(area + "/in/lost+found", b"a file")
    write(area + "/in/f", b"1")
    take_in(store, area + "/in")
    disk = make_disk(area, mounted_at)
    done = export(store, "d", disk, code=1)
    assert told(done).keys() == {"lost+found"} and os.path.isdir(disk + "/lost+found")
    assert sorted(os.listdir(disk)) == ["f", "lost+found"]


def test_a_full_target_ends_the_export(store, area, mounted_at):
    for number in range(40):
        write(f"{area}/in/{number:02}", random.Random(number).randbytes(1 << 20))
    take_in(store, area + "/in")
    out = mounted_at("small", "-t", "tmpfs", "-o", "size=8m", "none") + "/out"
    result = store.run("-s", store.path, "export", "d", out)
    assert result.code == program.NO_SPACE and "no room is left" in result.err, result
    for name in os.listdir(out):
        assert tree.digest(f"{out}/{name}") == tree.digest(f"{area}/in/{name}"), name


@pytest.mark.parametrize("fault, code", [("eio", program.FAILED), ("enospc", program.NO_SPACE)])
def test_a_target_that_fails_ends_the_export(store, area, fault, code):
    for number in range(40):
        write(f"{area}/in/{number:02}", b"%d" % number)
    take_in(store, area + "/in")
    result = store.run("-s", store.path, "export", "d", area + "/out", env={"CORPUSFS_FAULT": f"export-write:{fault}:20"})
    lines = result.err.splitlines()
    assert result.code == code and len(lines) == 2 and "until then exported" in lines[1], result
    assert not rubbish(area + "/out") and len(os.listdir(area + "/out")) < 40


def test_a_new_disk_is_empty_enough(store, area, mounted_at):
    write(area + "/in/f", b"1")
    take_in(store, area + "/in")
    disk = make_disk(area, mounted_at)
    assert os.listdir(disk) == ["lost+found"]
    export(store, "d", disk)
    assert sorted(os.listdir(disk)) == ["f", "lost+found"]


# --- hard links ---


@pytest.mark.sanitize
def test_hard_links_over_directories_come_out_and_leave_nothing(store, area):
    for number in range(50):
        write(f"{area}/in/{number}/f", b"%d" % number)
        for other in range(number % 5):
            os.makedirs(f"{area}/in/x{other}", exist_ok=True)
            os.link(f"{area}/in/{number}/f", f"{area}/in/x{other}/{number}")
    take_in(store, area + "/in")
    done = export(store, "d", area + "/out")
    tree.assert_same(area + "/in", area + "/out")
    assert done["links"] == sum(number % 5 for number in range(50))
    export(store, "d/7", area + "/part")
    assert sorted(os.listdir(area + "/part")) == ["f"] and os.stat(area + "/part/f").st_nlink == 1


# --- names like ours ---


def test_names_that_look_like_ours_are_files_like_others(store, area):
    for name in (".corpusfs-links", ".corpusfs-export", ".corpusfs-part-5-0", "sub/.corpusfs-part-9-0"):
        write(f"{area}/in/{name}", name.encode())
    write(area + "/in/a", b"1")
    os.link(area + "/in/a", area + "/in/b")
    for number in range(30):
        write(f"{area}/in/.corpusfs-part-{number}-0", b"%d" % number)
    take_in(store, area + "/in")
    export(store, "d", area + "/out")
    tree.assert_same(area + "/in", area + "/out")


# --- interrupted, and again ---


@pytest.fixture
def many(area):
    for number in range(400):
        write(f"{area}/in/{number % 7}/{number % 3}/{number}", random.Random(number).randbytes(10000))
    os.link(area + "/in/0/0/0", area + "/in/linked")
    os.symlink("0", area + "/in/soft")
    os.chmod(area + "/in/1", 0o500)
    return area + "/in"


# All threads that write files pause after a while.
PAUSE = ",".join(f"export-before-rename:sleep1500:{number}" for number in range(100, 120))


def start_export(store, out, pause=True):
    with open(store.area + "/export.err", "wb") as errors:
        return subprocess.Popen(
            [store.binary, "-s", store.path, "export", "d@s", out], stdout=subprocess.DEVNULL, stderr=errors,
            env=program.environment(store.run_mark, store.logs, {"CORPUSFS_FAULT": PAUSE} if pause else None),
        )


def files_below(root):
    return sum(len(files) for _, _, files in os.walk(root))


def interrupt(store, out, number):
    """Ends an export with a signal when some files are there."""
    process = start_export(store, out)
    procs.poll(lambda: files_below(out) >= 90 or process.poll() is not None, 60 * program.scale(), "files are there")
    process.send_signal(number)
    assert process.wait(60) == -number, procs.read(store.area + "/export.err")
    assert files_below(out) < 400


def go_on(store, out, code=0):
    """The daemon may be at work for a moment after its client was killed."""
    def ended():
        result = store.run("-s", store.path, "export", "--json", "d@s", out)
        return "another export or restore writes" not in result.err and result

    result = procs.poll(ended, 60, "the first export has ended")
    assert result.code == code, result
    return json.loads(result.out)


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_export_goes_on(store, area, many, mounted, number):
    take_in(store, many)
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    if mounted:
        store.mount(env={"CORPUSFS_FAULT": PAUSE})
    out = area + "/out"
    interrupt(store, out, number)
    if number != signal.SIGKILL:
        message = procs.read(area + "/export.err").decode()
        assert "interrupted" in message and "run the same command again" in message
        assert not rubbish(out) and {name for name in os.listdir(out) if not os.path.lexists(f"{many}/{name}")} == set()
    done = go_on(store, out)
    assert done["skipped"] > 0 and done["problem_count"] == 0
    tree.assert_same(many, out)
    assert not rubbish(out) and not [name for name in os.listxattr(out) if "corpusfs" in name]
    assert store.run("-s", store.path, "export", "d@s", out).code == program.BUSY


@pytest.mark.sanitize
def test_an_export_that_died_goes_on(store, area, many):
    take_in(store, many)
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    out = area + "/out"
    for nth in (1, 30, 77):
        killed = store.run("-s", store.path, "export", "d@s", out, env={"CORPUSFS_FAULT": f"export-before-rename:kill:{nth}"})
        assert killed.code == -signal.SIGKILL, killed
        assert rubbish(out)
    done = export(store, "d@s", out)
    assert done["skipped"] > 50 and not rubbish(out)
    tree.assert_same(many, out)


def test_what_is_there_and_is_not_the_same_is_written_again(store, area, many):
    take_in(store, many)
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    out = area + "/out"
    interrupt(store, out, signal.SIGINT)
    changed = sorted(os.path.join(folder, name) for folder, _, files in os.walk(out) for name in files)[:3]
    os.truncate(changed[0], 5)
    os.utime(changed[1])
    os.unlink(changed[2])
    os.symlink("elsewhere", changed[2])
    write(out + "/mine", b"not of the source")
    write(out + "/.corpusfs-part-77-0", b"left by a kill")
    done = export(store, "d@s", out, code=1)
    assert told(done).keys() == {"mine"}
    os.unlink(out + "/mine")
    os.utime(out, ns=(os.stat(many).st_atime_ns, os.stat(many).st_mtime_ns))
    tree.assert_same(many, out)


def test_a_file_with_holes_is_written_again_as_a_power_cut_may_have_left_zeros(store, area):
    """Its length and its time were on the disk before its content."""
    for name in "ab":
        write(f"{area}/in/{name}", b"content" * 1000)
        os.truncate(f"{area}/in/{name}", 1 << 20)
    take_in(store, area + "/in")
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    out = area + "/out"
    assert store.run("-s", store.path, "export", "d@s", out, env={"CORPUSFS_FAULT": "export-before-rename:kill:2"}).code == -signal.SIGKILL
    there, = (f"{out}/{name}" for name in os.listdir(out) if len(name) == 1)
    before = os.stat(there)
    os.truncate(there, 0)
    os.truncate(there, 1 << 20)
    os.utime(there, ns=(before.st_atime_ns, before.st_mtime_ns))
    export(store, "d@s", out)
    tree.assert_same(area + "/in", out)


@pytest.mark.parametrize("target", ["out", "out.tar"])
def test_a_file_that_cannot_be_committed_is_told_and_the_others_go_out(store, area, target):
    for name in "ab":
        write(f"{area}/in/{name}", b"content")
    take_in(store, area + "/in")
    done = export(store, "d", f"{area}/{target}", code=1, env={"CORPUSFS_FAULT": "export-after-commit:eio"})
    assert len(told(done)) == 1 and done["files"] == 1


def test_only_the_same_export_goes_on(store, area, many):
    take_in(store, many)
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    store.ok("-s", store.path, "snapshot", "create", "d@other")
    out = area + "/out"
    interrupt(store, out, signal.SIGINT)
    for source in ("d", "d@other", "d@s/0"):
        result = store.run("-s", store.path, "export", source, out)
        assert result.code == program.BUSY and "another export" in result.err, result


@pytest.mark.parametrize("kind", ["ramfs", "disk"])
def test_an_export_goes_on_where_there_are_no_attributes(store, area, many, mounted_at, kind):
    take_in(store, many)
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    where = mounted_at("ram", "-t", "ramfs", "none") if kind == "ramfs" else make_disk(area, mounted_at, size=256 << 20)
    interrupt(store, where + "/out", signal.SIGINT)
    done = export(store, "d@s", where + "/out")
    assert done["skipped"] > 0 and not rubbish(where + "/out")
    tree.assert_same(many, where + "/out")


def test_two_exports_do_not_write_to_one_directory(store, area, many):
    take_in(store, many)
    os.mkdir(area + "/out")
    with open(area + "/lock", "wb"):
        pass
    fd = os.open(area + "/out", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        result = store.run("-s", store.path, "export", "d", area + "/out")
        assert result.code == program.BUSY and "another export" in result.err, result
    finally:
        os.close(fd)
    assert os.listdir(area + "/out") == []


def test_a_file_that_is_written_to_is_told(store, area):
    """Of a head: its size and holes are those of one moment, and if that passes while it is read, it is said."""
    point = store.mount()
    store.create("d")
    with open(point + "/d/f", "wb") as handle:
        handle.truncate(1 << 20)
        handle.seek(4 << 20)
        handle.write(b"x" * 100000)
        handle.flush()
        export(store, "d", area + "/out")
    assert tree.digest(area + "/out/f") == tree.digest(point + "/d/f")


def test_umount_during_an_export_does_not_lose_it(store, area, many):
    """The command goes on by itself when the daemon leaves."""
    take_in(store, many)
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    store.mount(env={"CORPUSFS_FAULT": PAUSE})
    out = area + "/out"
    process = start_export(store, out, pause=False)
    procs.poll(lambda: files_below(out) >= 90, 60 * program.scale(), "files are there")
    store.umount()
    assert process.wait(60) == 0, procs.read(area + "/export.err")
    tree.assert_same(many, out)
