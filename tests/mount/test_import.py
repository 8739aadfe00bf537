"""import: what archives hold besides names and content, what damaged ones leave, and sources that are unlike others."""

import json
import os
import random
import signal
import stat
import struct
import subprocess
import tarfile
import zipfile

import pytest

from harness import procs, program, tars, zips
from harness.tars import Member


def imported(store, *args, code=0, **options):
    result = store.run("-s", store.path, "import", "--json", *args, **options)
    assert result.code == code, f"exit {result.code}\n{result.out}{result.err}"
    return json.loads(result.out)


def exported(store, dataset, area, name="out"):
    store.ok("-s", store.path, "export", dataset, f"{area}/{name}")
    return f"{area}/{name}"


def read(path):
    with open(path, "rb") as handle:
        return handle.read()


def problems(done):
    return {row["path"]: row["text"] for row in done["problems"]}


# --- one tar, one meaning ---


def test_a_link_keeps_what_its_file_was_when_it_was_made(store, area):
    tars.write(area + "/a.tar", [Member("a", data=b"old"), Member("b", "l", "a"), Member("a", data=b"newer")])
    imported(store, area + "/a.tar", "d")
    out = exported(store, "d", area)
    assert read(out + "/a") == b"newer" and read(out + "/b") == b"old"


def test_a_file_takes_the_place_of_a_link(store, area):
    tars.write(area + "/a.tar", [Member("a", data=b"one"), Member("b", "l", "a"), Member("b", data=b"second")])
    imported(store, area + "/a.tar", "d")
    out = exported(store, "d", area)
    assert read(out + "/a") == b"one" and read(out + "/b") == b"second"


@pytest.mark.parametrize("size", [10, 5 << 20], ids=["small", "big"])
def test_an_appended_member_wins_each_time(store, area, size):
    """Also when both have the same size and time, so that nothing but their content tells them apart."""
    tars.write(area + "/a.tar", [Member("a", data=b"1" * size), Member("b", "l", "a"), Member("a", data=b"2" * size)])
    for number in range(3):
        imported(store, area + "/a.tar", "d")
        out = exported(store, "d", area, f"out{number}")
        assert read(out + "/a") == b"2" * size and read(out + "/b") == b"1" * size


@pytest.mark.parametrize("form, option", [("tar", None), ("tar.gz", "gzip")])
def test_what_is_there_is_passed_over_and_stays_the_same_file(store, area, form, option):
    point = store.mount()
    tars.write(area + "/a.tar", [Member("small", data=b"1"), Member("big", data=b"2" * (5 << 20)), Member("d", "d"), Member("d/s", "s", "x")])
    if option:
        subprocess.run([option, area + "/a.tar"], check=True, timeout=60)
    imported(store, f"{area}/a.{form}", "d")
    before = [os.lstat(f"{point}/d/{name}").st_ino for name in ("small", "big", "d/s")]
    again = imported(store, f"{area}/a.{form}", "d")
    assert again["files"] == 0 and again["skipped"] == 3
    assert [os.lstat(f"{point}/d/{name}").st_ino for name in ("small", "big", "d/s")] == before


def test_other_content_of_the_same_size_and_time_comes_in(store, area):
    for number in (b"1", b"2"):
        tars.write(area + "/a.tar", [Member("a", data=number)])
        imported(store, area + "/a.tar", "d")
    assert read(exported(store, "d", area) + "/a") == b"2"


def test_what_cannot_be_linked_leaves_nothing(store, area):
    tars.write(area + "/a.tar", [Member("a", data=b"A"), Member("dir", "d"), Member("new/one", "l", "left/out/file"),
                                 Member("a", "l", "dir"), Member("out", "l", "../../etc/passwd")])
    done = imported(store, area + "/a.tar", "d", code=1)
    assert set(problems(done)) == {"new/one", "a", "out"}
    out = exported(store, "d", area)
    assert sorted(os.listdir(out)) == ["a", "dir"] and read(out + "/a") == b"A"


@pytest.mark.parametrize("again", [False, True])
def test_a_link_is_not_made_to_what_stood_under_the_name_of_a_member_that_did_not_come_in(store, area, again):
    """The symbolic link is too long; `x` twice ends the batch that it was in. With `again`, a later member of the name comes in."""
    tars.write(area + "/a.tar", [Member("a", data=b"old a"), Member("b", data=b"old b")])
    imported(store, area + "/a.tar", "d")
    more = [Member("a", data=b"new")] if again else []
    tars.write(area + "/b.tar", [Member("a", "s", "long/" * 1000), Member("x", data=b"1"), Member("x", data=b"2"), *more, Member("b", "l", "a")])
    done = imported(store, area + "/b.tar", "d", code=1)
    out = exported(store, "d", area)
    if again:
        assert list(problems(done)) == ["a"] and read(out + "/a") == read(out + "/b") == b"new"
    else:
        assert list(problems(done)) == ["a", "b"] and problems(done)["b"] == "the file that it is a hard link of is missing"
        assert read(out + "/a") == b"old a" and read(out + "/b") == b"old b"


@pytest.mark.sanitize
def test_names_lead_through_links_that_stay_inside(store, area):
    """As in tar: a link that leads up or away is made at the end, so nothing leads through it; one that was there may lead up."""
    tars.write(area + "/a.tar", [Member("d/x", data=b"1"), Member("safe", "s", "d"), Member("safe/f", data=b"2"), Member("q/up", "s", "../d"),
                                 Member("q/up/f", data=b"3"), Member("away", "s", area), Member("away/f", data=b"4"),
                                 Member("nothing", "s", "missing"), Member("nothing/f", data=b"5")])
    done = imported(store, area + "/a.tar", "d", code=1)
    assert set(problems(done)) == {"q/up/f", "away/f", "nothing/f"}
    tars.write(area + "/b.tar", [Member("q/up/g", data=b"6"), Member("q/up/../h", data=b"7")])
    done = imported(store, area + "/b.tar", "d", code=1)
    assert set(problems(done)) == {"q/up/../h"}
    out = exported(store, "d", area)
    assert read(out + "/d/f") == b"2" and sorted(os.listdir(out + "/d")) == ["f", "g", "x"]
    assert not os.path.exists(area + "/f")


def test_what_came_in_before_the_store_was_full_is_counted_and_shown_by_the_mount(store, area):
    """The names and the attributes of the old files are in the kernel's cache: who is not told of the new ones sees the old ones for a day."""
    names = [f"f{number}" for number in range(6)]
    point = store.mount(env={"CORPUSFS_FAULT": "bulk-before-replace:enospc:4"})
    tars.write(area + "/a.tar", [Member(name, data=b"old") for name in names])
    imported(store, area + "/a.tar", "d")
    assert [read(f"{point}/d/{name}") for name in names] == [b"old"] * 6
    tars.write(area + "/b.tar", [*(Member(name, data=b"new content") for name in names), Member("new", data=b"new content"),
                                 Member("link", "l", "f0"), Member("late", "l", "f5")])
    done = imported(store, area + "/b.tar", "d", code=program.NO_SPACE)
    assert [read(f"{point}/d/{name}") for name in names] == [b"new content"] * 3 + [b"old"] * 3
    assert (done["files"], done["links"], done["problems"]) == (4, 1, [])
    assert sorted(os.listdir(point + "/d")) == [*names, "link", "new"] and os.stat(point + "/d/f0").st_nlink == 2


def test_links_are_counted_in_the_mount_at_once(store, area):
    point = store.mount()
    tars.write(area + "/a.tar", [Member("a", data=b"1"), Member("x", data=b"2")])
    imported(store, area + "/a.tar", "d")
    assert os.stat(point + "/d/a").st_nlink == 1
    tars.write(area + "/b.tar", [Member("b", "l", "a"), Member("c", "l", "a")])
    imported(store, area + "/b.tar", "d")
    assert os.stat(point + "/d/a").st_nlink == 3
    tars.write(area + "/c.tar", [Member("b", data=b"other"), Member("c", "d")])
    imported(store, area + "/c.tar", "d")
    assert os.stat(point + "/d/a").st_nlink == 1


# --- names ---


@pytest.mark.sanitize
def test_names_that_look_the_same_are_two(store, area):
    """One é is one character, the other an e and an accent; libraries like to make one of them the other."""
    names = ["nfc-\u00e9", "nfc-e\u0301", "\u1112\u1161\u11ab"]
    tars.write(area + "/a.tar", [Member(name, data=name.encode()) for name in names])
    with zipfile.ZipFile(area + "/a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, name)
    for form in ("tar", "zip"):
        assert imported(store, f"{area}/a.{form}", form)["files"] == 3
        out = exported(store, form, area, "out-" + form)
        assert sorted(os.listdir(out)) == sorted(names)
        assert all(read(f"{out}/{name}") == name.encode() for name in names)


def test_names_may_be_any_bytes(store, area):
    name = b"\xff\xfe not utf-8"
    tars.write(area + "/a.tar", [Member(os.fsdecode(name), data=b"1")])
    imported(store, area + "/a.tar", "d")
    assert os.listdir(os.fsencode(exported(store, "d", area))) == [name]


# --- times and modes ---


def test_times_before_1970_keep_their_fractions(store, area):
    times = [-0.25, -1.25, -315619199.75, 0.5, 13569465600.125]
    for number, when in enumerate(times):
        with open(f"{area}/{number}", "wb"):
            os.utime(f"{area}/{number}", ns=(int(when * 10**9),) * 2)
    names = [str(number) for number in range(len(times))]
    subprocess.run(["tar", "--format=posix", "-cf", area + "/a.tar", "-C", area, *names], check=True, timeout=60)
    imported(store, area + "/a.tar", "d")
    point = store.mount()
    assert [os.stat(f"{point}/d/{name}").st_mtime_ns for name in names] == [int(when * 10**9) for when in times]


def test_a_symbolic_link_s_mode_is_0777(store, area):
    point = store.mount()
    tars.write(area + "/a.tar", [Member("s", "s", "target", mode=0o644)])
    imported(store, area + "/a.tar", "d")
    assert stat.S_IMODE(os.lstat(point + "/d/s").st_mode) == 0o777


def test_a_directory_that_is_told_twice_is_what_was_told_last(store, area):
    point = store.mount()
    tars.write(area + "/a.tar", [Member("d", "d", time=1000000000, mode=0o700), Member("d/x"), Member("d", "d", time=1500000000, mode=0o711)])
    imported(store, area + "/a.tar", "d")
    info = os.stat(point + "/d/d")
    assert (info.st_mtime, stat.S_IMODE(info.st_mode)) == (1500000000, 0o711)


# --- attributes ---


def acl_of(path):
    return subprocess.run(["getfacl", "-cp", path], stdout=subprocess.PIPE, check=True, timeout=60, text=True).stdout.split()


ACL = "user::rw-\nuser:nobody:rw-\ngroup::---\nmask::rw-\nother::---\n"
BINARY_ACL = (b"\2\0\0\0" + b"\1\0\6\0\xff\xff\xff\xff" + b"\2\0\6\0\xfe\xff\0\0" + b"\4\0\0\0\xff\xff\xff\xff" + b"\x10\0\6\0\xff\xff\xff\xff" +
              b"\x20\0\0\0\xff\xff\xff\xff")


def as_header(value):
    return value.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("header, value", [("SCHILY.acl.access", ACL), ("SCHILY.xattr.system.posix_acl_access", as_header(BINARY_ACL))])
def test_acls_come_in_as_text_and_as_attributes(store, area, header, value):
    tars.write(area + "/a.tar", [Member("f", mode=0o660, **{header: value})])
    point = store.mount(options="acl")
    imported(store, area + "/a.tar", "d")
    assert acl_of(point + "/d/f") == ACL.split()


def test_default_acls_come_in_and_are_inherited(store, area):
    point = store.mount(options="acl")
    tars.write(area + "/a.tar", [Member("d", "d", **{"SCHILY.acl.default": "u::rwx,u:nobody:r-x,g::r-x,m::r-x,o::---"})])
    imported(store, area + "/a.tar", "d")
    os.mkdir(point + "/d/d/below")
    assert "default:user:nobody:r-x" in acl_of(point + "/d/d/below")


@pytest.mark.parametrize("header", ["SCHILY.acl.default", "SCHILY.xattr.system.posix_acl_default", "SCHILY.acl.access"])
def test_an_acl_that_is_none_is_left_out_and_told(store, area, header):
    point = store.mount(options="acl")
    tars.write(area + "/a.tar", [Member("d", "d", **{header: "garbage"}), Member("d/f", data=b"1")])
    done = imported(store, area + "/a.tar", "d", code=1)
    assert "no valid ACL" in problems(done)["d"]
    with open(point + "/d/d/new", "wb") as handle:
        handle.write(b"usable")
    os.mkdir(point + "/d/d/below")


@pytest.mark.sanitize
def test_nobody_gets_more_rights_when_a_name_is_not_known(store, area):
    point = store.mount(options="acl")
    tars.write(area + "/a.tar", [Member("f", mode=0o660, **{"SCHILY.acl.access": ACL.replace("nobody", "nobody-has-this")})])
    done = imported(store, area + "/a.tar", "d", code=1)
    assert "nobody-has-this" in problems(done)["f"]
    assert "group::---" in acl_of(point + "/d/f")


@pytest.mark.sanitize
def test_attributes_that_linux_does_not_list_are_left_out_and_told(store, area):
    point = store.mount()
    tars.write(area + "/a.tar", [Member(f"f{number}", **{"SCHILY.xattr.com.apple.quarantine": "0081;0", "SCHILY.xattr.user.kept": "yes"})
                                 for number in range(20)] + [Member("s", "s", "x", **{"SCHILY.xattr.user.of-a-link": "no"})])
    done = imported(store, area + "/a.tar", "d", code=1)
    assert done["problem_count"] == 2 and done["files"] == 21
    assert "com.apple.quarantine" in problems(done)["f0"] and "19 times more" in problems(done)["f0"]
    assert os.listxattr(point + "/d/f1") == ["user.kept"]
    subprocess.run(["rsync", "-aX", point + "/d/", area + "/copy/"], check=True, timeout=60)
    assert os.getxattr(area + "/copy/f1", "user.kept") == b"yes"


CAPABILITY = as_header(b"\1\0\0\2" + b"\xff\xff\xff\xff\0\0\0\0" * 2)


def test_a_user_imports_what_he_could_have_set_himself(run, area):
    os.chown(area, 12345, 12345)
    tars.write(area + "/a.tar", [
        Member("tool", mode=0o6755, **{"SCHILY.xattr.security.capability": CAPABILITY, "SCHILY.xattr.trusted.overlay.opaque": "y",
                                       "SCHILY.xattr.user.note": "mine", "SCHILY.acl.access": ACL}),
        Member("null", "c", 3), Member(".", "d", owner=4321), Member("d", "d", owner=4321)])
    store = run.store(area)
    store.ok("init", store.path, user=12345)
    done = imported(store, area + "/a.tar", "d", code=1, user=12345)
    assert set(problems(done)) == {"null"} and len(done["notes"]) == 2
    subprocess.run(["chown", "-R", "0:0", area], check=True, timeout=60)
    point = store.mount()
    for name in ("tool", ".", "d"):
        info = os.stat(f"{point}/d/{name}")
        assert (info.st_uid, info.st_gid) == (12345, 12345)
    assert not [name for name in os.listxattr(point + "/d/tool") if name.startswith(("security.", "trusted."))]
    assert os.getxattr(point + "/d/tool", "user.note") == b"mine"
    store.close()


def test_root_imports_capabilities_that_are_valid(store, area):
    tars.write(area + "/a.tar", [Member("good", **{"SCHILY.xattr.security.capability": CAPABILITY}),
                                 Member("bad", **{"SCHILY.xattr.security.capability": "what?"})])
    done = imported(store, area + "/a.tar", "d", code=1)
    assert set(problems(done)) == {"bad"}
    point = store.mount()
    assert len(os.getxattr(point + "/d/good", "security.capability")) == 20
    assert os.listxattr(point + "/d/bad") == []


# --- damage ---


def packed(area, how):
    """A compressed tar with 300,000 bytes in it, and its name."""
    body = random.Random(5).randbytes(300000)
    tars.write(area + "/a.tar", [Member("points.bin", data=body), Member("last", data=b"x")])
    subprocess.run([how, area + "/a.tar"], check=True, timeout=60)
    return next(f"{area}/{name}" for name in os.listdir(area) if name.startswith("a.tar."))


@pytest.mark.kinds("how")
@pytest.mark.parametrize("how", ["gzip", "xz", "bzip2", "zstd"])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_one_flipped_byte_leaves_everything_as_it_was(store, area, how, piped):
    path = packed(area, how)
    size = os.path.getsize(path)
    imported(store, path, "sound")
    tars.write(area + "/before.tar", [Member("points.bin", data=b"before")])
    imported(store, area + "/before.tar", "d")
    data = bytearray(read(path))
    for at in [size // 3, size // 2, size - 7, size - 3]:
        data[at] ^= 16
        with open(area + "/flipped", "wb") as handle:
            handle.write(data)
        for dataset in ("d", "new"):
            result = store.run("-s", store.path, "import", "-" if piped else area + "/flipped", dataset, data=bytes(data) if piped else None)
            assert result.code == program.DAMAGED and "nothing was imported" in result.err, (at, result)
        data[at] ^= 16
    assert store.run("-s", store.path, "dataset", "show", "new").code == program.NOT_FOUND
    assert read(exported(store, "d", area) + "/points.bin") == b"before"
    assert os.path.getsize(exported(store, "sound", area, "sound") + "/points.bin") == 300000


def test_a_hole_in_a_tar_is_not_taken_for_its_end(store, area):
    tars.write(area + "/a.tar", [Member("one", data=b"1"), Member("two", data=b"2"), Member("three", data=b"3")])
    data = bytearray(read(area + "/a.tar"))
    data[1024:1536] = bytes(512)
    with open(area + "/a.tar", "wb") as handle:
        handle.write(data)
    result = store.run("-s", store.path, "import", area + "/a.tar", "d")
    assert result.code == program.DAMAGED and "after member one" in result.err
    assert os.listdir(exported(store, "d", area)) == ["one"]


@pytest.mark.sanitize
def test_a_tar_that_may_have_been_cut_off_is_told(store, area):
    tars.write(area + "/a.tar", [Member("one", data=b"1"), Member("two", data=b"2")])
    os.truncate(area + "/a.tar", 1024)
    done = imported(store, area + "/a.tar", "d", code=1)
    assert done["files"] == 1 and "cut off" in done["problems"][0]["text"]


def test_a_zip_with_a_wrong_checksum_leaves_no_wrong_file(store, area):
    with zipfile.ZipFile(area + "/a.zip", "w") as archive:
        archive.writestr("one", b"1" * 1000)
        archive.writestr("two", b"2" * 1000)
    data = bytearray(read(area + "/a.zip"))
    data[data.index(b"2222")] ^= 1
    with open(area + "/a.zip", "wb") as handle:
        handle.write(data)
    result = store.run("-s", store.path, "import", area + "/a.zip", "d")
    assert result.code == program.DAMAGED and "in member two" in result.err
    assert os.listdir(exported(store, "d", area)) == ["one"]


def test_an_interrupted_import_says_how_to_go_on(store, area):
    point = store.mount()
    tars.write(area + "/a.tar", [Member(f"big{number}", data=bytes([number]) * (5 << 20)) for number in range(4)])
    data = read(area + "/a.tar")
    with open(area + "/err", "wb") as err:
        process = subprocess.Popen([store.binary, "-s", store.path, "import", "-", "d"], stdin=subprocess.PIPE, stdout=err, stderr=err,
                                   env=program.environment(store.run_mark, store.logs))
    process.stdin.write(data[:11 << 20])
    procs.poll(lambda: os.path.exists(point + "/d/big1"), 20, "two files are there")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == -signal.SIGINT
    assert b"run the same command again to go on" in read(area + "/err")
    process.stdin.close()
    assert sorted(os.listdir(point + "/d")) == ["big0", "big1"] and read(point + "/d/big1") == b"\1" * (5 << 20)
    done = imported(store, area + "/a.tar", "d")
    assert (done["files"], done["skipped"]) == (2, 2)


# --- zips ---


def make_zip(path, method=zipfile.ZIP_DEFLATED, out=None):
    with zipfile.ZipFile(out or path, "w", method) as archive:
        script = zipfile.ZipInfo("run.sh", (2001, 9, 9, 1, 46, 40))
        script.external_attr, script.compress_type = (stat.S_IFREG | 0o755) << 16, method
        archive.writestr(script, b"#!/bin/sh\n" * 1000)
        link = zipfile.ZipInfo("dir/link", (2001, 9, 9, 1, 46, 40))
        link.external_attr, link.create_system = (stat.S_IFLNK | 0o777) << 16, 3
        archive.writestr(link, "../run.sh")
        with archive.open("streamed", "w", force_zip64=True) as member:
            member.write(b"zip64" * 100)
    return path


@pytest.mark.sanitize
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2], ids=["stored", "deflated", "bzip2"])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_a_zip_keeps_links_and_modes(store, area, method, piped):
    path = make_zip(area + "/a.zip", method)
    done = imported(store, "-" if piped else path, "d", data=read(path) if piped else None)
    assert done["files"] == 3
    out = exported(store, "d", area)
    assert read(out + "/run.sh") == b"#!/bin/sh\n" * 1000 and os.access(out + "/run.sh", os.X_OK)
    assert os.readlink(out + "/dir/link") == "../run.sh" and read(out + "/streamed") == b"zip64" * 100


def test_a_zip_of_what_shrinks_to_nearly_nothing_comes_in(store, area):
    """Of a long run the last bytes of a member may stand for more than is taken out of it at once."""
    sizes = [(1 << 20) + more for more in (-1, 0, 1, 100, 258, 259)] + [(2 << 20) + 2, (3 << 20) + 77]
    with zipfile.ZipFile(area + "/a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for size in sizes:
            archive.writestr(str(size), bytes(size))
    imported(store, area + "/a.zip", "d")
    out = exported(store, "d", area)
    assert [os.path.getsize(f"{out}/{size}") for size in sizes] == sizes


def test_a_zip_s_times_may_be_exact_and_before_1970(store, area):
    def extra(kind, data):
        return struct.pack("<HH", kind, len(data)) + data

    ntfs = struct.pack("<LHHQQQ", 0, 1, 24, *[int((11644473600 - 1.25) * 10**7)] * 3)
    with zipfile.ZipFile(area + "/a.zip", "w") as archive:
        for name, more in (("ntfs", extra(0x000A, ntfs)), ("unix", extra(0x5455, struct.pack("<Bl", 1, -5)))):
            info = zipfile.ZipInfo(name)
            info.extra = more
            archive.writestr(info, name)
    imported(store, area + "/a.zip", "d")
    point = store.mount()
    assert [os.stat(f"{point}/d/{name}").st_mtime_ns for name in ("ntfs", "unix")] == [-1250000000, -5000000000]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_a_zip_with_one_name_the_last_wins(store, area):
    with zipfile.ZipFile(area + "/a.zip", "w") as archive:
        for data in (b"1", b"2"):
            archive.writestr(zipfile.ZipInfo("a"), data)
    for number in range(2):
        imported(store, area + "/a.zip", "d")
        assert read(exported(store, "d", area, f"out{number}") + "/a") == b"2"


@pytest.mark.sanitize
def test_a_zip_that_was_written_as_a_stream_or_has_a_program_in_front(store, area):
    with open(area + "/a.zip", "wb") as handle:
        make_zip(None, out=zips.Unseekable(handle))
    with open(area + "/a.exe", "wb") as handle:
        handle.write(b"MZ" + bytes(5000) + read(area + "/a.zip"))
    for name in ("a.zip", "a.exe"):
        imported(store, f"{area}/{name}", name)
        assert read(exported(store, name, area, name + "-out") + "/run.sh") == b"#!/bin/sh\n" * 1000


def test_a_zip_in_a_gzip_is_refused(store, area):
    make_zip(area + "/a.zip")
    subprocess.run(["gzip", area + "/a.zip"], check=True, timeout=60)
    result = store.run("-s", store.path, "import", area + "/a.zip.gz", "d")
    assert result.code == program.DAMAGED and "decompress it first" in result.err


@pytest.mark.timeout(120)
def test_an_archive_may_be_deep(store, area):
    """Its names are as long as it is deep: it is read in a time that follows their length, not its square."""
    with tarfile.open(area + "/a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for level in range(1, 10_001):
            info = tarfile.TarInfo("/".join(["d"] * level))
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
    done = imported(store, area + "/a.tar", "d")
    assert done["directories"] == 10_000
