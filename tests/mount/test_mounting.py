"""Mounting and ending a mount: whatever way it ends, nothing that was written is lost; several mounts share one daemon."""

import json
import os
import shutil
import signal
import stat
import subprocess
import time

import pytest

from harness import posix, procs, program, tree


def fill(root, count=60):
    """Files of all sizes, written and closed, none of them synced."""
    for number in range(count):
        with open(f"{root}/{number}", "wb") as handle:
            handle.write(os.urandom(int(2 ** (number / 3))))
    os.makedirs(root + "/dir/sub", exist_ok=True)
    os.rename(root + "/3", root + "/dir/sub/moved")
    os.link(root + "/4", root + "/dir/linked")


def by_command(store, point):
    store.umount(point)


def by_signal(number):
    def end(store, point):
        os.kill(store.pid, number)
        store.ended()
        store.points.remove(point)
        assert not procs.fuse_mounts(point)

    return end


def by_tool(*command):
    def end(store, point):
        subprocess.run([*command, point], check=True, timeout=60, stdin=subprocess.DEVNULL)
        store.points.remove(point)
        store.ended()

    return end


ENDS = {
    "corpusfs_umount": by_command,
    "sigterm": by_signal(signal.SIGTERM),
    "sigint": by_signal(signal.SIGINT),
    "umount": by_tool("umount"),
    "fusermount3": by_tool("fusermount3", "-u"),
    "umount_lazy": by_tool("umount", "-l"),
}


@pytest.mark.sanitize
@pytest.mark.kinds("how")
@pytest.mark.parametrize("how", ENDS)
def test_nothing_is_lost_when_the_mount_ends_right_after_writing(fs, store, how):
    fill(fs)
    before = tree.scan(fs)
    with open(fs + "/last", "wb") as handle:
        handle.write(b"last" * 50000)
    ENDS[how](store, store.points[0])
    store.mount(store.area + "/mnt")
    assert os.stat(fs + "/last").st_size == 200000
    os.unlink(fs + "/last")
    found = tree.scan(fs)
    for scan in (before, found):
        scan["."].pop("mtime")
    assert tree.differences(before, found) == []


def test_umount_with_open_files_is_refused_and_changes_nothing(fs, store):
    with open(fs + "/file", "wb") as handle:
        handle.write(b"x")
        result = store.run("umount", store.points[0])
        assert result.code == program.BUSY and len(result.err.splitlines()) == 1
        handle.write(b"y")
    with open(fs + "/file", "rb") as handle:
        assert handle.read() == b"xy"


def test_files_open_for_writing_at_sigterm_keep_what_was_written(fs, store):
    fd = os.open(fs + "/file", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"written" * 100000)
    by_signal(signal.SIGTERM)(store, store.points[0])
    posix.outcome(os.close, fd)
    store.mount(store.area + "/mnt")
    with open(fs + "/file", "rb") as handle:
        assert handle.read() == b"written" * 100000


def test_several_mounts_share_one_daemon_and_one_state(fs, store):
    """One of them writes; the kernel cannot keep the caches of two writers equal."""
    whole = store.points[0]
    read, part = store.mount(options="ro,allow_other"), store.mount(dataset="d", options="ro,allow_other")
    with open(fs + "/file", "wb") as handle:
        handle.write(b"one")
    for path in (read + "/d/file", part + "/file"):
        procs.poll(lambda path=path: procs.read(path) == b"one", 20, "the file shows in the other mount")
    store.umount(whole)
    assert procs.alive(store.pid)
    with open(part + "/file", "rb") as handle:
        assert handle.read() == b"one"
    store.umount(part)
    store.umount(read)


def bound(store):
    second = store.area + "/second"
    os.makedirs(second, exist_ok=True)
    store.ok("mount", store.path + ":d", second)
    return second


def test_second_mount_for_writing_has_the_options_that_it_asks_for_or_is_not_made(fs, store):
    second = store.area + "/second"
    os.makedirs(second, exist_ok=True)
    for option in ("snapdir=visible", "snapdir=off", "acl", "noexec", "nosuid", "sync"):
        result = store.run("mount", store.path + ":d", second, "-o", option)
        assert result.code == program.BUSY and f"without {option}" in result.err and not procs.mounts(second), result
    store.ok("mount", store.path + ":d", second, "-o", "snapdir=hidden,allow_other,suid,exec,async")
    store.ok("umount", second)


def test_second_mount_for_writing_is_the_first_one_at_another_place(fs, store):
    second, point = bound(store), store.points[0]
    with open(second + "/file", "wb") as handle:
        handle.write(b"from the second")
        handle.flush()
        with open(fs + "/file", "rb") as other:
            assert other.read() == b"from the second", "one page cache"
    rows = {row["mountpoint"]: row for row in json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"]}
    assert set(rows) == {point, second} and rows[second]["bound_to"] == point
    with open(second + "/open", "wb"):
        assert store.run("umount", second).code == program.BUSY
    store.ok("umount", second)
    assert not procs.mounts(second) and procs.alive(store.pid)
    assert os.listdir(second) == [] and sorted(os.listdir(fs)) == ["file", "open"]
    store.umount()


@pytest.mark.parametrize("how", ["corpusfs", "by hand", "sigterm"])
def test_session_lasts_until_its_last_place_is_unmounted(fs, store, how):
    second, point = bound(store), store.points[0]
    if how == "sigterm":
        os.kill(store.pid, signal.SIGTERM)
    else:
        store.points.remove(point)
        store.ok("umount", point)
        assert procs.alive(store.pid) and not procs.mounts(point)
        with open(second + "/file", "wb") as handle:
            handle.write(b"late")
        rows = {row["mountpoint"]: row for row in json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"]}
        assert set(rows) == {second} and not rows[second]["detached"]
        if how == "corpusfs":
            store.ok("umount", second)
        else:
            subprocess.run(["umount", second], check=True, timeout=20, stdin=subprocess.DEVNULL)
    store.points = []
    store.ended()
    assert not procs.mounts(second)
    store.mount(point)
    assert os.listdir(fs) == ([] if how == "sigterm" else ["file"])


@pytest.mark.sanitize
def test_changes_show_in_a_read_only_mount_by_themselves(fs, store):
    """Notices tell of them: without those, what was looked at once would stay as it was for a day (fs/fuse/ops/request.h)."""
    limit = 20 * program.scale()
    read = store.mount(options="ro,allow_other") + "/d"
    for name in ("a", "b", "big"):
        with open(f"{fs}/{name}", "wb") as handle:
            handle.write(b"old" * (1 if name != "big" else 100000))
    assert sorted(procs.poll(lambda: len(os.listdir(read)) == 3 and os.listdir(read), limit, "new files show")) == ["a", "b", "big"]

    def seen(name):
        with open(f"{read}/{name}", "rb") as handle:
            return handle.read()

    for name in ("a", "big"):
        procs.poll(lambda name=name: seen(name)[:3] == b"old", limit, "first content shows")
    with open(fs + "/a", "r+b") as handle:
        handle.write(b"new")
    os.truncate(fs + "/big", 3)
    os.chmod(fs + "/b", 0o600)
    os.rename(fs + "/b", fs + "/c")
    procs.poll(lambda: seen("a") == b"new", limit, "changed content shows")
    procs.poll(lambda: seen("big") == b"old", limit, "a truncated file shows")
    procs.poll(lambda: sorted(os.listdir(read)) == ["a", "big", "c"], limit, "a renamed file shows")
    procs.poll(lambda: not os.path.exists(read + "/b"), limit, "its old name is gone")
    procs.poll(lambda: oct(os.stat(read + "/c").st_mode)[-3:] == "600", limit, "its new mode shows")
    os.unlink(fs + "/c")
    procs.poll(lambda: not os.path.exists(read + "/c"), limit, "a removed file is gone")


def test_read_only_mount_never_shows_a_mixture_within_a_page(fs, store):
    read = store.mount(options="ro,allow_other") + "/d"
    page = 4096
    fd = os.open(fs + "/file", os.O_RDWR | os.O_CREAT)
    os.write(fd, bytes([1]) * page * 4)
    procs.poll(lambda: os.path.exists(read + "/file") and os.stat(read + "/file").st_size == page * 4, 20, "the file shows")
    number, seen = 1, set()

    def look():
        """Whether it has for two seconds, and seen changes."""
        nonlocal number
        number = number % 250 + 1
        os.pwrite(fd, bytes([number]) * page * 4, 0)
        with open(read + "/file", "rb") as handle:
            data = handle.read()
        for start in range(0, len(data), page):
            assert len(set(data[start : start + page])) == 1
        seen.update(data[::page])
        return time.monotonic() > end and len(seen) > 1

    end = time.monotonic() + 2
    procs.poll(look, 30, "changes are seen", 0)
    os.close(fd)


def test_read_only_mount_refuses_every_change(fs, store):
    with open(fs + "/file", "wb") as handle:
        handle.write(b"x")
    os.mkdir(fs + "/dir")
    store.umount()
    root = store.mount(store.area + "/mnt", options="ro,allow_other") + "/d"
    calls = [
        (os.open, root + "/file", os.O_WRONLY), (os.open, root + "/new", os.O_CREAT | os.O_WRONLY), (os.open, root + "/file", os.O_RDONLY | os.O_TRUNC),
        (os.mkdir, root + "/new"), (os.rmdir, root + "/dir"), (os.unlink, root + "/file"), (os.rename, root + "/file", root + "/new"),
        (os.link, root + "/file", root + "/new"), (os.symlink, "x", root + "/new"), (os.chmod, root + "/file", 0o600),
        (os.chown, root + "/file", 1, 1), (os.truncate, root + "/file", 0), (os.utime, root + "/file"), (os.setxattr, root + "/file", "user.a", b""),
        (os.mkdir, os.path.dirname(root) + "/dataset"), (os.mkfifo, root + "/fifo"),
    ]  # fmt: skip
    wrong = [f"{call[0].__name__} {call[1:]}: {result}" for call in calls if (result := posix.outcome(*call)) != "EROFS"]
    assert not wrong, "\n".join(wrong)
    with open(root + "/file", "rb") as handle:
        assert handle.read() == b"x"
    assert os.listdir(root + "/dir") == [] and sorted(os.listdir(root)) == ["dir", "file"]


def requests(store, point):
    status = json.loads(store.ok("-s", store.path, "status", "--json"))
    return next(m["requests"] for m in status["mounts"] if m["mountpoint"] == point)


def test_warm_reads_of_a_read_only_mount_ask_nobody(fs, store):
    for number in range(20):
        with open(f"{fs}/{number}", "wb") as handle:
            handle.write(os.urandom(50000))
    store.umount()
    point = store.mount(store.area + "/mnt", options="ro,allow_other")

    def read_all():
        for number in range(20):
            fd = os.open(f"{point}/d/{number}", os.O_RDONLY)  # and not open(), whose isatty() sends an ioctl
            assert len(os.read(fd, 100000)) == 50000
            os.close(fd)

    def cost():
        """Whoever makes the kernel forget meanwhile, and the name of a dataset, which is asked for once in a second, cost some."""
        before = requests(store, point)
        for _ in range(5):
            read_all()
        return requests(store, point) - before

    read_all()
    procs.poll(lambda: cost() == 0, 30, "100 warm opens and reads need no request")


def test_foreground_mount_stays_and_ends_with_its_mount(store):
    point = store.area + "/mnt"
    os.mkdir(point)
    environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
    with open(store.logs + "/foreground.err", "wb") as log, subprocess.Popen(
        [store.binary, "mount", "-f", store.path, point], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    ) as process:
        procs.poll(lambda: procs.fuse_mounts(point), 10 * program.scale(), "mounted")
        os.mkdir(point + "/made")
        assert process.poll() is None
        store.ok("umount", point)
        assert process.wait(20) == 0
    assert not procs.fuse_mounts(point)
    store.mount(point)
    assert os.listdir(point) == ["made"]


def test_dead_mount_can_be_mounted_over_and_unmounted(fs, store):
    point = store.points[0]
    with open(fs + "/file", "wb") as handle:
        handle.write(b"x")
        os.fsync(handle.fileno())
    store.die()
    store.points.clear()
    assert posix.outcome(os.listdir, point) == "ENOTCONN"
    mounted = store.run("mount", store.path, point)
    assert mounted.code == 0 and "not synced is lost" in mounted.err, mounted
    store.note(point)
    assert os.listdir(fs) == ["file"]
    store.die()
    store.points.clear()
    assert store.run("umount", point).code == program.FAILED
    assert not procs.mounts(point)
    store.mount(point, options="ro")
    assert os.listdir(fs) == ["file"]
    store.die()
    store.points.clear()
    assert "nothing is lost" in store.ok("umount", point)


@pytest.mark.sanitize
@pytest.mark.parametrize("round_", range(5))
def test_mounts_that_come_and_go_at_once(store, round_):
    """Joining, leaving and starting race: each command must end well."""
    points = [f"{store.area}/p{number}" for number in range(4)]
    environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
    for point in points:
        os.mkdir(point)
        store.create(os.path.basename(point))
    script = 'for n in 1 2 3; do "$0" mount "$1:${2##*/}" "$2" && "$0" umount "$2" || exit; done'
    logs = [open(f"{store.logs}/race{number}.err", "wb") for number in range(4)]
    running = [
        subprocess.Popen(["bash", "-c", script, store.binary, store.path, point], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for point, log in zip(points, logs)
    ]
    codes = [process.wait(50 * program.scale()) for process in running]
    for log in logs:
        log.close()
    assert codes == [0] * 4, store.log()
    procs.poll(lambda: not store.daemons(), 20 * program.scale(), "the daemon leaves with its last mount")
    assert not procs.fuse_mounts(store.area)


def mount_twice_at_once(store, fault):
    """The second command comes while the mount of the first is starting. Their exit codes, in order of size, and what is mounted."""
    store.create("d")
    store.mount(dataset="d", options="ro", env={"CORPUSFS_FAULT": fault})
    points = [f"{store.area}/p{number}" for number in range(2)]
    environment = program.environment(store.run_mark, store.logs, {"CORPUSFS_TEST_STORE": store.path})
    running = []
    for point in points:
        os.mkdir(point)
        running.append(subprocess.Popen([store.binary, "mount", store.path + ":d", point], env=environment, stdin=subprocess.DEVNULL))
    codes = [process.wait(50 * program.scale()) for process in running]
    mounted = [point for point, code in zip(points, codes) if code == 0]
    for point in mounted:
        store.note(point)
    return sorted(codes), mounted


def test_two_mounts_for_writing_that_start_at_once_are_one(store):
    codes, points = mount_twice_at_once(store, "mount-before-session:sleep2000:2")
    assert codes == [program.OK, program.OK]
    rows = json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"]
    assert sum("bound_to" in row for row in rows) == 1, rows
    with open(points[0] + "/file", "wb", buffering=0) as handle:
        handle.write(b"from the first")
        assert procs.read(points[1] + "/file") == b"from the first", "one page cache"


def test_who_waited_for_a_mount_that_could_not_start_mounts(store):
    codes, points = mount_twice_at_once(store, "mount-before-session:sleep2000:2,mount-before-session:eio:2")
    assert codes == [program.OK, program.FAILED]
    assert os.listdir(points[0]) == []


NOBODY = 65534


@pytest.fixture
def theirs(device, blank, area):
    """A store that user nobody owns, and a function that runs shell commands as that user."""
    os.chown(area, NOBODY, NOBODY)
    blank.binary = shutil.copy(blank.binary, area + "/corpusfs")
    os.chmod(blank.binary, 0o755)
    blank.init(user=NOBODY)

    def shell(command, good=True):
        result = program.call(["bash", "-ec", command], {**os.environ, procs.MARK: blank.run_mark}, blank.logs, user=NOBODY)
        assert not good or result.code == 0, f"{command}: {result}"
        return result

    return blank, shell


def test_user_mounts_a_store_of_their_own(theirs):
    store, shell = theirs
    point = store.area + "/mnt"
    shell(f"mkdir {point}")
    result = store.run("mount", store.path, point, user=NOBODY)
    assert result.code == 0, result.err
    store.note(point)
    assert store.run("-s", store.path, "dataset", "create", "d", user=NOBODY).code == 0
    shell(f"cd {point}/d && echo hello >file && mkdir dir && mv file dir && cat dir/file && cp -a dir copy && rm -r dir")
    assert posix.outcome(os.listdir, point) == "EACCES", "root may not look into a user's mount without allow_other"
    assert store.run("umount", point, user=NOBODY).code == 0
    store.points.remove(point)
    store.ended()
    assert store.run("mount", store.path, point, user=NOBODY).code == 0
    store.note(point)
    assert shell(f"cat {point}/d/copy/file").out == "hello\n"
    shell(f"fusermount3 -u {point}")
    store.points.remove(point)
    store.ended()


@pytest.mark.timeout(90)
def test_user_ends_a_mount_of_their_own_by_force(theirs):
    store, shell = theirs
    point = store.area + "/mnt"
    shell(f"mkdir {point}")
    assert store.run("-s", store.path, "dataset", "create", "d", user=NOBODY).code == 0
    stuck = {"CORPUSFS_FAULT": "commit-before-store:sleep600000"}
    assert store.run("mount", "-o", "nosupervise", store.path, point, user=NOBODY, env=stuck).code == 0
    store.note(point)
    shell(f"echo lost >{point}/d/lost")
    result = store.run("umount", "--force", point, user=NOBODY)
    assert result.code == program.FAILED and "is lost" in result.err, result
    assert not procs.fuse_mounts(point)
    store.points.remove(point)
    store.ended(-signal.SIGKILL)


def test_another_user_may_not_use_the_socket(fs, store):
    os.chmod(store.area, 0o755)
    for args in (["-s", store.path, "dataset", "create", "x"], ["-s", store.path, "dataset", "destroy", "d"], ["umount", store.points[0]]):
        result = store.run(*args, user=NOBODY)
        assert result.code == program.PERMISSION, (args, result)
        assert len(result.err.splitlines()) == 1
    assert os.listdir(store.points[0]) == ["d"]


def test_mount_without_allow_other_is_for_its_user_only(store):
    point = store.mount(options=None)
    store.create("d")
    assert os.listdir(point) == ["d"]
    result = program.call(["ls", point], dict(os.environ), store.logs, user=NOBODY)
    assert result.code != 0 and "denied" in result.err.lower()


def test_store_of_the_current_directory_is_found(fs, store):
    assert "d" in program.call([store.binary, "dataset", "list"], program.environment(store.run_mark, store.logs), store.logs, cwd=fs).out
    result = store.run("dataset", "list", env={"CORPUSFS_STORE": store.path})
    assert result.code == 0 and "d" in result.out


def test_who_stands_in_a_directory_just_made_keeps_it(fs, store):
    """The notices that follow a change must not take names away that still stand."""
    point = store.points[0]
    os.mkdir(point + "/made")
    os.mkdir(fs + "/.snapshots/s")
    store.ok("-s", store.path, "dataset", "create", "other")
    os.mkdir(fs + "/dir")
    places = (point + "/made", fs + "/.snapshots/s", point + "/other", fs + "/dir", fs)
    standing = [subprocess.Popen(["sleep", "60"], cwd=place) for place in places]
    store.ok("-s", store.path, "dataset", "create", "third")
    os.mkdir(fs + "/.snapshots/t")
    store.ok("-s", store.path, "snapshot", "create", "d@u")
    time.sleep(1.5)
    found = [os.readlink(f"/proc/{process.pid}/cwd") for process in standing]
    for process in standing:
        process.kill()
        process.wait(20)
    assert found == list(places), "a deleted directory ends in (deleted)"


def test_names_gone_by_a_command_are_gone_in_the_mount(fs, store):
    point = store.points[0]
    for name in ("a", "b"):
        store.create(name)
        assert os.path.isdir(f"{point}/{name}")
    store.ok("-s", store.path, "dataset", "rename", "a", "c")
    store.ok("-s", store.path, "dataset", "destroy", "b")
    procs.poll(lambda: not os.path.exists(point + "/a") and os.path.isdir(point + "/c"), 20 * program.scale(), "renamed")
    procs.poll(lambda: not os.path.exists(point + "/b"), 20 * program.scale(), "gone")
    assert sorted(os.listdir(point)) == ["c", "d"]


def test_a_mount_lets_processors_sleep_when_it_is_told_to(store):
    point = store.mount(options="deep_idle")
    os.mkdir(point + "/d")
    for number in range(100):
        with open(f"{point}/d/{number}", "w", encoding="ascii") as handle:
            handle.write("x")
    assert len(os.listdir(point + "/d")) == 100
    assert store.run("mount", store.path, store.area + "/other", "-o", "deep_idle=yes").code == program.USAGE


def test_what_answers_is_of_the_ordinary_scheduling_class(fs, store):
    """Of a lower one, each request would wait behind whatever else keeps the processors busy."""
    with open(fs + "/file", "w", encoding="ascii") as handle:
        handle.write("x")
    threads = os.listdir(f"/proc/{store.pid}/task")
    assert len(threads) > 1
    assert {os.sched_getscheduler(int(thread)) for thread in threads} == {os.SCHED_OTHER}
