"""Export to archives: GNU tar, bsdtar, Python and unzip read what comes out, and nothing is short without a word."""

import io
import os
import random
import shutil
import signal
import stat
import subprocess
import tarfile
import zipfile
import zlib

import pytest

from harness import procs, program, tree

TARS = ["tar", "tar.zst", "tar.gz"]


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(data)


def export(store, *args, code=0, **options):
    result = store.run("-s", store.path, "export", *args, **options)
    assert result.code == code, f"exit {result.code}\n{result.out}{result.err}"
    return result


def take_in(store, root, name="d"):
    store.ok("-s", store.path, "import", root, name)


@pytest.mark.kinds("form")
@pytest.mark.parametrize("form", TARS + ["zip"])
def test_an_export_that_fails_never_says_that_it_exported(fs, store, form):
    write(fs + "/f", os.urandom(1 << 20))
    result = export(store, "d", "/dev/full", "--format", form, code=program.NO_SPACE)
    assert "exported" not in result.out + result.err and "No space left" in result.err


def untar(path, out, *options):
    os.makedirs(out, exist_ok=True)
    words = ["tar", "--xattrs", "--xattrs-include=*", "-xpf", path, "-C", out, *options]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    assert done.returncode == 0, done
    return out


def bsdtar(path, out):
    """libarchive's tar, which Debian has under another name."""
    os.makedirs(out, exist_ok=True)
    done = subprocess.run(["bsdtar", "-xpf", path, "-C", out], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return out


def with_sparse(path, size, pieces):
    with open(path, "wb") as handle:
        handle.truncate(size)
        for offset, data in pieces:
            handle.seek(offset)
            handle.write(data)


# --- what a tar carries ---


@pytest.fixture
def odd(area):
    """Names, numbers and attributes at the edges of the format."""
    root = area + "/in"
    names = [b"n" * 99, b"n" * 100, b"m" * 101, b"d" * 90 + b"/" + b"f" * 200, b"p" * 150 + b"/" + b"q" * 99, b"x/" * 60 + b"y", b"two\nlines",
             b"= %3D", b"dir \xc3\xa4/\xc3\xb6", b"raw \xff\xfe", b"raw \xff/" + b"\xfe" * 200, b" space ", b"back\\slash"]
    for number, name in enumerate(names):
        path = os.fsencode(root) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as handle:
            handle.write(b"%d" % number * number)
    os.symlink("t" * 100, root + "/soft-100")
    os.symlink("t" * 101, root + "/soft-101")
    os.symlink(b"\xff" * 150, os.fsencode(root) + b"/soft-raw")
    os.link(os.fsencode(root) + b"/" + b"x/" * 60 + b"y", root + "/linked")
    os.mkfifo(root + "/fifo")
    os.mknod(root + "/null", 0o020666, os.makedev(1, 3))
    os.mknod(root + "/big device", 0o060666, os.makedev(4095, 1048575))
    os.chown(root + "/fifo", 2097151, 2097152)
    os.chown(root + "/linked", 4000000000, 4000000001)
    os.chmod(root + "/null", 0o7751)
    for name, value in (("user.a", b""), ("user.=b%3D%", b"\x00\n="), ("user.big", b"v" * 3000), ("user.\xe4", b"x")):
        os.setxattr(root + "/linked", name, value)
    with_sparse(root + "/holes", 9 << 30, [(0, b"a"), (1 << 20, b"b" * 70000), ((9 << 30) - 5, b"e" * 5)])
    with_sparse(root + "/only hole", 1 << 20, [])
    with_sparse(root + "/end hole", 1 << 20, [(5000, b"x" * 9000)])
    times = [0, 1, -1, -250000000, -1250000000, 10**9 - 1, 2**31 * 10**9, -2**31 * 10**9, 8**11 * 10**9 + 5, 13569465600125000000 % 2**62]
    for number, when in enumerate(times):
        write(f"{root}/times/{number}", b"t")
        os.utime(f"{root}/times/{number}", ns=(when, when))
    return root


def same_but_huge(left, right):
    """Compares without reading gigabytes of zeros."""
    for root in (left, right):
        data = [(os.lseek(fd, 0, os.SEEK_DATA), os.pread(fd, 100, (1 << 20) + 69990), os.pread(fd, 10, (9 << 30) - 7), os.stat(fd).st_size)
                for fd in [os.open(root + "/holes", os.O_RDONLY)]]
        assert data == [(0, b"b" * 10 + bytes(90), b"\0\0eeeee", 9 << 30)], root
        assert os.stat(root + "/holes").st_blocks < 2000, root
        os.unlink(root + "/holes")
        os.utime(root, (0, 0))
    tree.assert_same(left, right)


def punched(path):
    """Data that begins and ends anywhere, with holes between."""
    chance = random.Random(7)
    with_sparse(path, 300001, [(at, chance.randbytes(length)) for at, length in ((100, 7), (9001, 77), (30003, 4096), (70001, 20000), (290000, 99))])


@pytest.mark.parametrize("reader", [untar, bsdtar])
def test_data_that_begins_and_ends_anywhere_is_read_by_others(fs, store, area, reader):
    """Ours, and what GNU tar makes of the mount."""
    punched(fs + "/sparse")
    write(fs + "/behind", b"behind" * 5000)
    export(store, "d", area + "/ours.tar")
    subprocess.run(["tar", "-cSf", area + "/theirs.tar", "-C", fs, "sparse", "behind"], check=True, timeout=60)
    for name in ("ours", "theirs"):
        out = reader(f"{area}/{name}.tar", f"{area}/{name}")
        for path in ("sparse", "behind"):
            assert open(f"{out}/{path}", "rb").read() == open(f"{fs}/{path}", "rb").read(), (name, path)
    assert os.stat(area + "/ours/sparse").st_blocks * 512 < 100000


@pytest.mark.parametrize("target", ["out", "out.tar", "out.zip"])
def test_a_small_file_that_was_made_longer_is_exported_with_its_beginning(fs, store, area, target):
    """Its bytes are in no chunk, and what is behind them is a hole."""
    for name, size in (("a", 2000), ("b", 4096), ("c", 100000), ("d", 1)):
        write(f"{fs}/{name}", b"O")
        store.ok("-s", store.path, "sync")
        os.truncate(f"{fs}/{name}", size)
    store.ok("-s", store.path, "snapshot", "create", "d@v")
    for source in ("d", "d@v"):
        export(store, source, f"{area}/{source}-{target}")
        out = f"{area}/{source}-out"
        if target != "out":
            bsdtar(f"{area}/{source}-{target}", out)
        for name in "abcd":
            data = open(f"{out}/{name}", "rb").read()
            assert data == b"O".ljust(os.stat(f"{fs}/{name}").st_size, b"\0"), (source, name)


@pytest.mark.parametrize("reader", [untar, bsdtar])
def test_tars_are_read_by_others(store, area, odd, reader):
    if reader is bsdtar:
        # libarchive 3.6 takes times before 1970 for times after it, and does not know how GNU tar writes '=' in a name.
        for number in range(2, 5):
            os.utime(f"{odd}/times/{number}", (5, 5))
        os.removexattr(odd + "/linked", "user.=b%3D%")
    take_in(store, odd)
    export(store, "d", area + "/a.tar")
    assert os.path.getsize(area + "/a.tar") < 1 << 20
    same_but_huge(odd, reader(area + "/a.tar", area + "/out"))


@pytest.mark.sanitize
def test_tars_are_read_by_python_and_by_import(store, area, odd):
    take_in(store, odd)
    export(store, "d", area + "/a.tar")
    with tarfile.open(area + "/a.tar") as archive:
        members = {member.name: member for member in archive.getmembers()}
        assert members["./holes"].size == 9 << 30 and members["./holes"].issparse()
        assert members["./times/3"].mtime == -0.25 and members["./times/4"].mtime == -1.25
        assert members["./fifo"].gid == 2097152 and members["./linked"].uid == 4000000000
        assert archive.extractfile("./end hole").read() == bytes(5000) + b"x" * 9000 + bytes((1 << 20) - 14000)
    store.ok("-s", store.path, "import", area + "/a.tar", "again")
    export(store, "again", area + "/out")
    same_but_huge(odd, area + "/out")


@pytest.mark.parametrize("form", TARS)
@pytest.mark.parametrize("reader", [lambda path, out: untar(path, out, "--acls"), bsdtar], ids=["tar", "bsdtar"])
def test_acls_come_out_of_tars_as_they_are(store, area, form, reader):
    """Without them, what they restrict would be open to the group."""
    write(area + "/in/secret", b"1")
    write(area + "/in/dir/f", b"2")
    os.chmod(area + "/in/secret", 0o600)
    subprocess.run(["setfacl", "-m", "u:nobody:rw,g:daemon:r,g:12345:-", area + "/in/secret"], check=True, timeout=60)
    subprocess.run(["setfacl", "-m", "u:nobody:rwx", "-m", "d:u:54321:r-x,d:g::-", area + "/in/dir"], check=True, timeout=60)
    take_in(store, area + "/in")
    export(store, "d", f"{area}/a.{form}")
    out = reader(f"{area}/a.{form}", area + "/out")
    for name in ("secret", "dir", "dir/f"):
        wanted, has = (subprocess.run(["getfacl", "-cpn", f"{root}/{name}"], capture_output=True, text=True, timeout=60, check=True).stdout
                       for root in (area + "/in", out))
        assert wanted == has, name


def test_a_zip_gives_the_group_no_more_than_the_acl_did(store, area):
    write(area + "/in/secret", b"1")
    os.chmod(area + "/in/secret", 0o600)
    subprocess.run(["setfacl", "-m", "u:nobody:rw", area + "/in/secret"], check=True, timeout=60)
    assert stat.S_IMODE(os.stat(area + "/in/secret").st_mode) == 0o660
    take_in(store, area + "/in")
    export(store, "d", area + "/a.zip")
    with zipfile.ZipFile(area + "/a.zip") as archive:
        assert stat.S_IMODE(archive.getinfo("./secret").external_attr >> 16) == 0o600


# --- checksums ---


@pytest.mark.timeout(120)
@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
def test_every_flipped_byte_is_noticed(store, area, form):
    for number in range(3):
        write(f"{area}/in/{number}", random.Random(number).randbytes(300) + b"text " * 100)
    take_in(store, area + "/in")
    export(store, "d", f"{area}/a.{form}")
    with open(f"{area}/a.{form}", "rb") as handle:
        good = handle.read()
    chance = random.Random(1)
    tries = 60 // program.scale()
    for number, at in enumerate(sorted({*range(20), *chance.sample(range(len(good)), tries), *range(len(good) - 10, len(good))})):
        bad = bytearray(good)
        bad[at] ^= 1 << chance.randrange(8)
        write(f"{area}/bad.{form}", bytes(bad))
        result = store.run("-s", store.path, "import", f"{area}/bad.{form}", f"bad{number}")
        if result.code != 0:
            continue
        # Bytes that mean nothing for what comes out may be anything.
        export(store, f"bad{number}", area + "/out")
        for name in ("0", "1", "2"):
            assert tree.digest(f"{area}/out/{name}") == tree.digest(f"{area}/in/{name}"), f"byte {at} of {len(good)}"
        shutil.rmtree(area + "/out")


def test_zstd_has_a_checksum(store, area):
    write(area + "/in/f", b"text " * 1000)
    take_in(store, area + "/in")
    export(store, "d", area + "/a.tar.zst")
    done = subprocess.run(["zstd", "-lv", area + "/a.tar.zst"], capture_output=True, text=True, timeout=60, check=True)
    assert "Check: XXH64" in done.stdout, done.stdout


# --- zip ---


@pytest.mark.sanitize
def test_zips_are_read_by_others(store, area):
    write(area + "/in/dir \u00e4/f", b"1")
    write(area + "/in/empty", b"")
    write(area + "/in/text", b"text " * 100000)
    write(area + "/in/noise", random.Random(1).randbytes(3 << 20))
    os.symlink("text", area + "/in/soft")
    os.chmod(area + "/in/text", 0o755)
    with_sparse(area + "/in/holes", 100 << 20, [(0, b"a" * 5000), (40 << 20, b"b" * 70000), ((100 << 20) - 5, b"e" * 5)])
    with_sparse(area + "/in/hole", 5 << 20, [])
    os.utime(area + "/in/noise", (1234567890, 987654321))
    take_in(store, area + "/in")
    export(store, "d", area + "/a.zip")
    assert os.path.getsize(area + "/a.zip") < 4 << 20
    with zipfile.ZipFile(area + "/a.zip") as archive:
        assert archive.testzip() is None
        for name in ("holes", "hole", "noise", "text", "empty", "dir \u00e4/f"):
            with open(f"{area}/in/{name}", "rb") as handle:
                assert zlib.crc32(handle.read()) == archive.getinfo("./" + name).CRC, name
    for words in (["unzip", "-q", area + "/a.zip", "-d", area + "/out"], ["bsdtar", "-xf", area + "/a.zip", "-C", area + "/bsd"]):
        os.makedirs(area + "/bsd", exist_ok=True)
        subprocess.run(words, check=True, timeout=60)
    for root in (area + "/out", area + "/bsd"):
        for name in ("holes", "noise", "text", "empty", "dir \u00e4/f"):
            assert tree.digest(f"{root}/{name}") == tree.digest(f"{area}/in/{name}"), name
        assert os.readlink(root + "/soft") == "text" and os.stat(root + "/text").st_mode & 0o777 == 0o755
        assert os.stat(root + "/noise").st_mtime == 987654321


@pytest.mark.timeout(120)
def test_a_long_hole_in_a_zip_is_not_compressed_byte_by_byte(store, area):
    """A quarter of a TiB: to deflate it takes half an hour."""
    size = 256 << 30
    write(area + "/in/after", b"x")
    with_sparse(area + "/in/a", size, [(0, b"begin"), (size - 3, b"end")])
    take_in(store, area + "/in")
    export(store, "d", area + "/a.zip", limit=100)
    assert os.path.getsize(area + "/a.zip") < size // 900
    with zipfile.ZipFile(area + "/a.zip") as archive:
        assert archive.getinfo("./a").file_size == size and archive.read("./after") == b"x"
        with archive.open("./a") as handle:
            assert handle.read(1 << 20) == b"begin" + bytes((1 << 20) - 5)


@pytest.mark.timeout(400)
def test_a_file_of_more_than_4_gib_in_a_zip(store, area):
    size = 5 << 30
    with_sparse(area + "/in.raw", size, [(0, b"begin"), (size - 3, b"end")])
    os.mkdir(area + "/in")
    os.rename(area + "/in.raw", area + "/in/a")
    write(area + "/in/b", b"after")
    take_in(store, area + "/in")
    export(store, "d", area + "/a.zip")
    done = subprocess.run(f"unzip -p '{area}/a.zip' ./a | tail -c 5 | od -c | head -1", shell=True, capture_output=True, text=True, timeout=300, check=True)
    assert "e   n   d" in done.stdout and not done.stderr, done
    with zipfile.ZipFile(area + "/a.zip") as archive:
        assert archive.getinfo("./a").file_size == size and archive.read("./b") == b"after"


def test_a_zip_of_more_than_65535_members(store, area):
    with tarfile.open(area + "/in.tar", "w") as archive:
        for number in range(70000):
            archive.addfile(tarfile.TarInfo(f"{number // 1000}/{number}"))
    take_in(store, area + "/in.tar")
    export(store, "d", area + "/a.zip")
    with zipfile.ZipFile(area + "/a.zip") as archive:
        assert len([name for name in archive.namelist() if not name.endswith("/")]) == 70000


def test_years_that_a_zip_cannot_hold_are_told(store, area):
    years = {"1950": -631152000, "1979": 300000000, "1999": 930000000, "2100": 4120000000, "2200": 7280000000}
    point = store.mount()
    store.create("d")
    for name, when in years.items():
        write(f"{point}/d/{name}", b"x")
        os.utime(f"{point}/d/{name}", (when, when))
    result = export(store, "d", area + "/a.zip", code=1)
    lines = [line for line in result.err.splitlines() if "time of change" in line]
    assert len(lines) == 2 and "1950" in lines[0] and "2200" in lines[1], result.err
    assert "before 1980" in result.err
    with zipfile.ZipFile(area + "/a.zip") as archive:
        seen = {name: archive.getinfo("./" + name).date_time[0] for name in years}
    assert seen == {"1950": 1980, "1979": 1980, "1999": 1999, "2100": 2100, "2200": 2107}
    subprocess.run(["unzip", "-q", area + "/a.zip", "-d", area + "/out"], check=True, timeout=60)
    assert [os.stat(f"{area}/out/{name}").st_mtime for name in ("1979", "1999")] == [years["1979"], years["1999"]]


# --- targets that fail ---


@pytest.mark.kinds("form")
@pytest.mark.parametrize("form", TARS + ["zip"])
@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_a_full_target_is_told_and_no_archive_is_left(store, area, form, mounted):
    for number in range(4):
        write(f"{area}/in/{number}", random.Random(number).randbytes(1 << 20))
    take_in(store, area + "/in")
    if mounted:
        store.mount()
    os.mkdir(area + "/small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", area + "/small"], check=True, timeout=60)
    try:
        result = export(store, "d", f"{area}/small/a.{form}", code=program.NO_SPACE)
        assert os.listdir(area + "/small") == [] and len(result.err.splitlines()) == 1
    finally:
        subprocess.run(["umount", area + "/small"], check=True, timeout=60)
    full = subprocess.run(f"'{store.binary}' -s '{store.path}' export --format {form} d - >/dev/full", shell=True, capture_output=True, text=True,
                          env=program.environment(store.run_mark, store.logs), timeout=60, check=False)
    assert full.returncode == program.NO_SPACE, full


@pytest.mark.parametrize("form", TARS + ["zip"])
def test_a_target_that_cannot_be_written_is_told(store, area, form):
    write(area + "/in/f", random.Random(1).randbytes(3 << 20))
    take_in(store, area + "/in")
    for nth in (1, 2, 3):
        result = store.run("-s", store.path, "export", "d", f"{area}/a.{form}", env={"CORPUSFS_FAULT": f"export-write:eio:{nth}"})
        assert result.code == program.FAILED and "Input/output error" in result.err, result
        assert not [name for name in os.listdir(area) if name.startswith("a.")]


def test_what_stood_in_a_file_before_stays_when_an_export_fails(store, area):
    write(area + "/in/f", random.Random(1).randbytes(3 << 20))
    take_in(store, area + "/in")
    command = f"{{ echo before; '{store.binary}' -s '{store.path}' export d -; echo after; }} >'{area}/out'"
    subprocess.run(command, shell=True, env=program.environment(store.run_mark, store.logs, {"CORPUSFS_FAULT": "export-write:eio:2"}),
                   timeout=60, check=True)
    with open(area + "/out", "rb") as handle:
        assert handle.read() == b"before\nafter\n"


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_an_export_that_nobody_reads_can_be_ended(store, area, mounted):
    write(area + "/in/f", random.Random(1).randbytes(3 << 20))
    take_in(store, area + "/in")
    if mounted:
        store.mount()
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen([store.binary, "-s", store.path, "export", "d", "-"], stdout=writer, stderr=subprocess.PIPE,
                                   env=program.environment(store.run_mark, store.logs))
        os.close(writer)
        procs.poll(lambda: len(os.read(reader, 1)) == 1, 60, "the export has begun")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT and b"interrupted" in process.stderr.read()
        process.stderr.close()
        if mounted:
            store.umount()
    finally:
        os.close(reader)


def test_an_export_is_not_begun_again_in_the_middle_of_a_pipe(store, area):
    """The daemon leaves: a file would be written anew, a pipe has had half of it."""
    write(area + "/in/f", random.Random(1).randbytes(8 << 20))
    take_in(store, area + "/in")
    store.mount()
    process = subprocess.Popen([store.binary, "-s", store.path, "export", "d", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=program.environment(store.run_mark, store.logs))
    begun = os.read(process.stdout.fileno(), 512)
    store.umount()
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0 and err, (process.returncode, err)
    with pytest.raises(tarfile.ReadError):
        with tarfile.open(fileobj=io.BytesIO(begun + out)) as archive:
            archive.extractfile("./f").read()
