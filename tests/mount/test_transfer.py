"""import, export, warm: what goes in comes out equal, and what cannot is named."""

import io
import json
import os
import random
import signal
import socket
import stat
import subprocess
import tarfile
import time
import zipfile

import pytest

from harness import program, tree

COUNT = 300  # files of the larger trees


def make_tree(root, special=True):
    """One of everything that has to be carried."""
    chance = random.Random(3)
    for folder in ("small", "small/deep/er", "links", "empty", "dir \u00e4"):
        os.makedirs(f"{root}/{folder}")
    for number in range(COUNT):
        with open(f"{root}/small/{number}", "wb") as handle:
            handle.write(chance.randbytes(int(2 ** chance.uniform(0, 18))))
    with open(root + "/big", "wb") as handle:
        handle.write(chance.randbytes(9 << 20))
    os.chmod(root + "/big", 0o4755)
    with open(root + "/holes", "wb") as handle:
        handle.truncate(40 << 20)
        for offset in (0, 1 << 20, 30 << 20):
            handle.seek(offset)
            handle.write(chance.randbytes(70000))
    for name in ("one", "two"):
        os.link(root + "/small/1", f"{root}/links/{name}")
    os.symlink("../small/2", root + "/links/soft")
    os.symlink("/nowhere at all", root + "/links/dangling")
    os.setxattr(root + "/small/3", "user.note", b"\x00binary\xff")
    os.setxattr(root + "/small/deep", "user.dir", b"yes")
    os.chown(root + "/small/4", 1234, 5678)
    os.chmod(root + "/empty", 0o1777)
    with open(os.fsencode(root) + b"/not utf-8 \xff\xfe", "wb") as handle:
        handle.write(b"x")
    if special:
        os.mkfifo(root + "/links/fifo")
        os.mknod(root + "/links/null", 0o020666, os.makedev(1, 3))
    set_times(root)


def set_times(root):
    chance = random.Random(4)
    for folder, names, files in os.walk(os.fsencode(root), topdown=False):
        for name in sorted(names + files) + [b"."]:
            when = chance.randrange(1 << 60)
            os.utime(os.path.join(folder, name), ns=(when, when), follow_symlinks=False)


@pytest.fixture
def source(area):
    root = area + "/source"
    make_tree(root)
    return root


def imported(store, *args, code=0, **options):
    result = store.run("-s", store.path, "import", "--json", *args, **options)
    assert result.code == code, f"exit {result.code}\n{result.out}{result.err}"
    return json.loads(result.out) if result.out else result


def export(store, *args, code=0):
    result = store.run("-s", store.path, "export", *args)
    assert result.code == code, f"exit {result.code}\n{result.out}{result.err}"
    return result


def same(store, place, source, area, name="copy"):
    export(store, place, f"{area}/{name}")
    tree.assert_same(source, f"{area}/{name}")
    return f"{area}/{name}"


def disk_bytes(path):
    return os.stat(path).st_blocks * 512


# --- round trips ---


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_directory_goes_in_and_out_equal(store, source, area, mounted):
    if mounted:
        store.mount()
    done = imported(store, source, "d/sub")
    assert done["problem_count"] == 0 and done["links"] == 2
    copy = same(store, "d/sub", source, area)
    assert disk_bytes(copy + "/holes") < 2 << 20


def test_what_was_imported_is_seen_in_the_mount(store, source):
    point = store.mount()
    store.create("d")
    assert os.listdir(point + "/d") == [] and not os.path.exists(point + "/d/big")
    imported(store, source, "d")
    tree.await_same(source, point + "/d")


@pytest.mark.parametrize("form", ["tar", "tar.zst", "tar.gz"])
def test_tar_carries_everything(store, source, area, form):
    imported(store, source, "d")
    export(store, "d", f"{area}/a.{form}")
    assert not os.path.exists(f"{area}/a.{form}.part")
    imported(store, f"{area}/a.{form}", "again")
    same(store, "again", source, area)


def test_tar_is_read_by_tar(store, source, area):
    imported(store, source, "d")
    export(store, "d", area + "/a.tar")
    os.mkdir(area + "/plain")
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", area + "/a.tar", "-C", area + "/plain"], check=True, timeout=60)
    tree.assert_same(source, area + "/plain")


def test_tar_made_by_tar_comes_in(store, source, area):
    subprocess.run(
        ["tar", "--format=posix", "--xattrs", "--xattrs-include=*", "-S", "-cf", area + "/a.tar", "-C", source, "."], check=True, timeout=60
    )
    imported(store, area + "/a.tar", "d")
    same(store, "d", source, area)


def test_zip_carries_names_content_and_modes(store, area):
    make_tree(area + "/source", special=False)
    os.unlink(os.fsencode(area) + b"/source/not utf-8 \xff\xfe")
    imported(store, area + "/source", "d")
    export(store, "d", area + "/a.zip")
    imported(store, area + "/a.zip", "again")
    export(store, "again", area + "/copy")
    found = [
        line for line in tree.differences(tree.scan(area + "/source", times=False), tree.scan(area + "/copy", times=False), 1000)
        if not any(word in line for word in (": xattrs:", ": nlink:", ": uid:", ": gid:", "links/", "small/1:"))
    ]
    assert not found, found


def test_zip_made_elsewhere_comes_in(store, area):
    with zipfile.ZipFile(area + "/a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one/two.txt", "hello" * 1000)
    imported(store, area + "/a.zip", "d")
    export(store, "d", area + "/copy")
    with open(area + "/copy/one/two.txt", encoding="ascii") as handle:
        assert handle.read() == "hello" * 1000


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_standard_input_and_output_are_tars(store, source, area, mounted):
    if mounted:
        store.mount()
    data = subprocess.run(["tar", "--format=posix", "--xattrs", "-cf", "-", "-C", source, "."], stdout=subprocess.PIPE, check=True, timeout=60).stdout
    imported(store, "-", "d", data=data)
    same(store, "d", source, area)
    out = subprocess.run(
        [store.binary, "-s", store.path, "export", "d", "-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=60,
        env=program.environment(store.run_mark, store.logs),
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        assert "./big" in archive.getnames()


def test_snapshots_and_parts_can_be_exported(store, source, area):
    imported(store, source, "d")
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    with open(area + "/new.tar", "wb") as handle, tarfile.open(fileobj=handle, mode="w") as archive:
        info = tarfile.TarInfo("small/1")
        archive.addfile(info)
    imported(store, area + "/new.tar", "d")
    same(store, "d@s", source, area)
    same(store, "d@s/small/deep", source + "/small/deep", area, "part")


# --- again, and over what is there ---


def test_second_import_passes_over_what_is_there(store, source, area):
    first = imported(store, source, "d")
    again = imported(store, source, "d")
    assert again["files"] == 0 and again["skipped"] == first["files"]
    assert imported(store, "--all", source, "d")["files"] == first["files"]
    same(store, "d", source, area)


def test_changed_files_are_replaced(store, source, area):
    imported(store, source, "d")
    with open(source + "/small/7", "ab") as handle:
        handle.write(b"more")
    with open(source + "/big", "r+b") as handle:
        handle.write(b"other")
    os.unlink(source + "/links/soft")
    os.symlink("elsewhere", source + "/links/soft")
    set_times(source)
    os.utime(source + "/big")
    done = imported(store, source, "d")
    assert done["problem_count"] == 0
    same(store, "d", source, area)


def test_a_directory_is_never_replaced_by_a_file(store, area):
    os.makedirs(area + "/one/x/y")
    os.mkdir(area + "/two")
    for name in ("x", "ok"):
        with open(f"{area}/two/{name}", "w", encoding="ascii") as handle:
            handle.write("file")
    imported(store, area + "/one", "d")
    done = imported(store, area + "/two", "d", code=1)
    assert [row["path"] for row in done["problems"]] == ["x"] and done["files"] == 1


@pytest.mark.timeout(180)
def test_killed_import_is_run_again(store, source, area):
    chance = random.Random(1)
    for point in ("chunks-after-ingest", "bulk-content-stored", "import-batch-done", "import-before-link", "transaction-before-write:kill:7"):
        killed = store.run("-s", store.path, "import", "--all", source, "d", env={"CORPUSFS_FAULT": point})
        assert killed.code == -signal.SIGKILL, (point, killed)
        check_whole_files(store, source, area)
    for _ in range(3):
        process = subprocess.Popen(
            [store.binary, "-s", store.path, "import", "--all", source, "d"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=program.environment(store.run_mark, store.logs),
        )
        time.sleep(chance.uniform(0.01, 0.3))
        process.kill()
        process.wait(30)
        check_whole_files(store, source, area)
    assert imported(store, source, "d")["problem_count"] == 0
    same(store, "d", source, area)


def check_whole_files(store, source, area):
    """Whatever is there after a kill is complete."""
    listed = store.run("-s", store.path, "dataset", "show", "d")
    if listed.code == program.NOT_FOUND:
        return
    export(store, "d", area + "/part")
    for folder, _, files in os.walk(os.fsencode(area) + b"/part"):
        for name in files:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                original = os.path.join(os.fsencode(source), os.path.relpath(path, os.fsencode(area) + b"/part"))
                assert tree.digest(path) == tree.digest(original), path
    subprocess.run(["rm", "-rf", area + "/part"], check=True, timeout=60)


# --- bad input ---


def tar_of(path, *members):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_names_that_escape_are_named(store, area):
    bad = ["../out", "/../etc/passwd", "a/../../b", "n" * 300, "x/" + "n" * 256 + "/y", ".snapshots/s"]
    tar_of(area + "/a.tar", ("good", b"1"), *[(name, b"bad") for name in bad], ("./also/good", b"2"))
    done = imported(store, area + "/a.tar", "d", code=1)
    assert done["files"] == 2 and done["problem_count"] == len(bad)
    assert {row["path"] for row in done["problems"]} >= {"../out", "/../etc/passwd", "a/../../b"}
    export(store, "d", area + "/copy")
    assert sorted(os.listdir(area + "/copy")) == ["also", "good"]


def test_a_leading_slash_is_taken_off_and_told(store, area):
    tar_of(area + "/a.tar", ("/etc/passwd", b"1"), ("//deep//er", b"2"), ("plain", b"3"))
    done = imported(store, area + "/a.tar", "d")
    assert done["problem_count"] == 0 and done["notes"] == ["the leading / of 2 names was taken off"]
    export(store, "d", area + "/copy")
    assert sorted(os.listdir(area + "/copy")) == ["deep", "etc", "plain"]


def test_links_in_archives_do_not_lead_out(store, area):
    os.mkdir(area + "/outside")
    with tarfile.open(area + "/a.tar", "w") as archive:
        info = tarfile.TarInfo("way")
        info.type, info.linkname = tarfile.SYMTYPE, area + "/outside"
        archive.addfile(info)
        info = tarfile.TarInfo("way/file")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
        info = tarfile.TarInfo("hard")
        info.type, info.linkname = tarfile.LNKTYPE, "../../etc/passwd"
        archive.addfile(info)
    done = imported(store, area + "/a.tar", "d", code=1)
    assert done["problem_count"] == 2
    assert os.listdir(area + "/outside") == []


def test_later_member_of_the_same_name_wins(store, area):
    tar_of(area + "/a.tar", ("f", b"first"), ("g", b"x"), ("f", b"second!"), ("g", b"y" * 5000000))
    imported(store, area + "/a.tar", "d")
    export(store, "d", area + "/copy")
    with open(area + "/copy/f", "rb") as handle:
        assert handle.read() == b"second!"
    assert os.path.getsize(area + "/copy/g") == 5000000


def archive_that_ends_early(area, form, *options):
    os.mkdir(area + "/in")
    for number in range(20):
        with open(f"{area}/in/{number:02d}", "wb") as handle:
            handle.write(random.Random(number).randbytes(1 << 20))
    names = [f"{number:02d}" for number in range(20)]
    subprocess.run(["tar", *options, "-cf", f"{area}/a.{form}", "-C", area + "/in", *names], check=True, timeout=60)
    os.truncate(f"{area}/a.{form}", os.path.getsize(f"{area}/a.{form}") * 6 // 10)
    return f"{area}/a.{form}"


def test_damaged_tar_is_named_and_complete_members_stay(store, area):
    result = store.run("-s", store.path, "import", archive_that_ends_early(area, "tar"), "d")
    assert result.code == program.DAMAGED and "damaged after member" in result.err, result
    export(store, "d", area + "/copy")
    found = sorted(os.listdir(area + "/copy"))
    assert 8 <= len(found) < 13 and f"after member {found[-1]}" in result.err
    assert all(tree.digest(f"{area}/copy/{name}") == tree.digest(f"{area}/in/{name}") for name in found)


@pytest.mark.parametrize("form, option", [("tar.gz", "--gzip"), ("tar.zst", "--zstd")])
def test_damaged_compressed_tar_is_refused_and_nothing_is_done(store, area, form, option):
    result = store.run("-s", store.path, "import", archive_that_ends_early(area, form, option), "d")
    assert result.code == program.DAMAGED and "nothing was imported" in result.err, result
    assert store.run("-s", store.path, "dataset", "show", "d").code == program.NOT_FOUND


def test_what_is_no_archive_is_refused_and_nothing_is_done(store, area):
    with open(area + "/text", "w", encoding="ascii") as handle:
        handle.write("not an archive\n" * 1000)
    for name, code in (("text", program.DAMAGED), ("missing", program.NOT_FOUND)):
        assert store.run("-s", store.path, "import", f"{area}/{name}", "d").code == code
    assert store.run("-s", store.path, "dataset", "show", "d").code == program.NOT_FOUND


def test_unreadable_files_are_listed_and_the_rest_comes_in(run, area):
    """As a user: what may not be read, and device nodes, are named."""
    os.chmod(area, 0o777)
    os.makedirs(area + "/in/closed")
    for name in ("a", "b", "secret"):
        with open(f"{area}/in/{name}", "w", encoding="ascii") as handle:
            handle.write(name)
    os.chmod(area + "/in/secret", 0)
    os.chmod(area + "/in/closed", 0)
    os.mknod(area + "/in/null", 0o020666, os.makedev(1, 3))
    store = run.store(area)
    store.ok("init", store.path, user=12345)
    done = imported(store, area + "/in", "d", code=1, user=12345)
    assert {row["path"] for row in done["problems"]} == {"secret", "closed", "null"} and done["files"] == 2
    strict = store.run("-s", store.path, "import", "--strict", area + "/in", "e", user=12345)
    assert strict.code == program.FAILED and "stopped there" in strict.err and strict.err.count("Permission denied") <= 1, strict
    with tarfile.open(area + "/bad.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    strict = store.run("-s", store.path, "import", "--strict", area + "/bad.tar", "e", user=12345)
    assert strict.code == program.FAILED and strict.err.count("outside") == 1 and "stopped there" in strict.err, strict
    store.close()


def test_the_daemon_of_a_user_reads_only_what_the_user_may(run, area, device):
    """Also where root has mounted the store, and where root asks."""
    os.chmod(area, 0o777)
    os.mkdir(area + "/in")
    for name, mode in (("open", 0o644), ("secret", 0o600)):
        with open(f"{area}/in/{name}", "w", encoding="ascii") as handle:
            handle.write(name)
        os.chmod(f"{area}/in/{name}", mode)
    store = run.store(area)
    store.ok("init", store.path, user=65534)
    os.mkdir(area + "/mnt")
    os.chown(area + "/mnt", 65534, 65534)
    store.mount(options="as_owner")
    done = imported(store, area + "/in", "d", code=1, user=65534)
    assert [row["path"] for row in done["problems"]] == ["secret"]
    os.mkdir(area + "/private", 0o700)
    refused = store.run("-s", store.path, "export", "d", area + "/private/x", user=65534)
    assert refused.code == program.PERMISSION
    store.ok("-s", store.path, "export", "d", area + "/mine", user=65534)
    assert os.stat(area + "/mine/open").st_uid == 65534
    store.close()


@pytest.fixture
def small_disk(area):
    image, point = area + "/image", area + "/disk"
    with open(image, "wb") as handle:
        handle.truncate(200 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, timeout=60)
    os.mkdir(point)
    subprocess.run(["mount", "-o", "loop", image, point], check=True, timeout=60)
    yield point
    subprocess.run(["umount", "-l", point], check=True, timeout=60)


def test_full_store_says_so_and_keeps_what_is_complete(run, area, small_disk):
    os.mkdir(area + "/in")
    for number in range(300):
        with open(f"{area}/in/{number:03d}", "wb") as handle:
            handle.write(random.Random(number).randbytes(1 << 20))
    store = run.store(area)
    store.path = small_disk + "/store"
    store.init()
    result = store.run("-s", store.path, "import", area + "/in", "d")
    assert result.code == program.NO_SPACE and "the store is full" in result.err and "run the same command again" in result.err, result
    export(store, "d", area + "/copy")
    for name in os.listdir(area + "/copy"):
        assert tree.digest(f"{area}/copy/{name}") == tree.digest(f"{area}/in/{name}"), name
    store.close()


def test_a_stream_that_cannot_be_kept_is_refused_and_the_store_goes_on(run, area, small_disk):
    """A compressed tar from a pipe is kept on the store's disk while it is checked; what the store itself needs is left free."""
    with open(area + "/random", "wb") as handle:
        handle.write(random.Random(1).randbytes(200 << 20))
    store = run.store(area)
    store.path = small_disk + "/store"
    store.init()
    with subprocess.Popen(["tar", "--zstd", "-cf", "-", "-C", area, "random"], stdout=subprocess.PIPE) as source:
        result = subprocess.run([store.binary, "-s", store.path, "import", "-", "d"], stdin=source.stdout, stderr=subprocess.PIPE, text=True,
                                env=program.environment(store.run_mark, store.logs), timeout=60, check=False)
        source.stdout.close()
    assert result.returncode == program.NO_SPACE and "save it to a file elsewhere" in result.stderr, result
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 64 << 20
    tar_of(area + "/small.tar", ("f", b"1"))
    assert imported(store, area + "/small.tar", "d")["files"] == 1
    store.close()


def test_export_refuses_a_directory_that_is_not_empty(store, source, area):
    imported(store, source, "d")
    assert store.run("-s", store.path, "export", "d", source).code == program.BUSY
    with open(area + "/there.tar", "w", encoding="ascii"):
        pass
    assert store.run("-s", store.path, "export", "d", area + "/there.tar").code == program.EXISTS
    assert store.run("-s", store.path, "export", "none", area + "/x").code == program.NOT_FOUND


def test_import_from_the_store_s_own_mount_is_refused(store):
    point = store.mount()
    store.create("d")
    result = store.run("-s", store.path, "import", point + "/d", "e")
    assert result.code == program.USAGE and "mount of the same store" in result.err


def test_the_store_s_directory_is_not_imported_into_itself(store, area):
    done = imported(store, area, "d", code=1)
    assert "store" in {row["path"] for row in done["problems"]}


def test_sockets_come_in(store, area):
    os.mkdir(area + "/in")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(area + "/in/socket")
    imported(store, area + "/in", "d")
    same(store, "d", area + "/in", area)


# --- warm ---


def test_warm_reads_what_files_consist_of(store, source):
    imported(store, source, "d")
    done = json.loads(store.ok("-s", store.path, "warm", "--json", "d"))
    size = sum(os.stat(f"{source}/small/{number}").st_size for number in range(COUNT)) + (9 << 20) + 210000
    assert 0.95 * size < done["bytes"] < 1.05 * size + 100000
    assert json.loads(store.ok("-s", store.path, "warm", "--json", "d/small"))["bytes"] < done["bytes"]
