"""What a tar means is what GNU tar does with it, member by member: random archives, extracted by both one after the other."""

import gzip
import io
import json
import os
import random
import subprocess
import tarfile

import pytest

from harness import extracted, program, tars, tree

SEEDS = int(os.environ.get("CORPUSFS_TAR_SEEDS", 600 // program.scale()))
FIRST = int(os.environ.get("CORPUSFS_TAR_FIRST_SEED", 1))
AT_ONCE = 100  # in one archive
FORMATS = (tarfile.PAX_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)


def run_import(store, archive, dataset, *options, code=None):
    result = store.run("-s", store.path, "import", *options, archive, dataset)
    assert result.code in ((0, 1) if code is None else (code,)), result
    return result


@pytest.mark.timeout(3000 if "CORPUSFS_TAR_SEEDS" in os.environ else 400)
@pytest.mark.sanitize
@pytest.mark.soak
def test_random_archives_are_extracted_as_tar_does(store, area, others, rounds):
    """CORPUSFS_TAR_SEEDS=N tries more, CORPUSFS_TAR_FIRST_SEED=N others."""
    point = store.mount(options="allow_other,acl")
    start = FIRST + SEEDS * others
    end = start + SEEDS * rounds
    for first in range(start, end, AT_ONCE):
        seeds = range(first, min(first + AT_ONCE, end))
        archives = [tars.Chance(seed, 0.02).archives() for seed in seeds]
        for number in range(3):
            form = FORMATS[(first + number) % len(FORMATS)]
            members = [member for each in archives for member in each[number] if form == tarfile.PAX_FORMAT or not member.holes]
            path = tars.write(f"{area}/{first}-{number}.tar", members, form)
            tars.extract(path, f"{area}/tar-{first}")
            run_import(store, path, f"d{first}")
            extracted.check_same(f"{area}/tar-{first}", f"{point}/d{first}", seeds)
            os.unlink(path)
        store.ok("-s", store.path, "dataset", "destroy", f"d{first}")
        subprocess.run(["rm", "-rf", f"{area}/tar-{first}"], check=True, timeout=60)


# --- what GNU tar writes ---


def make_tree(root, long_names):
    """Something of everything that any tar carries."""
    chance = random.Random(8)
    os.makedirs(root + "/dir/empty")
    names = ["a", "dir/b", "dir/" + "n" * 90] + (["dir/" + "long" * 50, "dir/" + "/".join(["deep" * 20] * 4)] if long_names else [])
    for number, name in enumerate(names):
        os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
        with open(f"{root}/{name}", "wb") as handle:
            handle.write(chance.randbytes(chance.randrange(3000)))
        os.chmod(f"{root}/{name}", 0o640 + number)
    for name, stretches in (("few", 3), ("many", 90), ("end", 1)):
        with open(f"{root}/{name}", "wb") as handle:
            for number in range(stretches):
                handle.seek(number * 131072 + 65536)
                handle.write(chance.randbytes(4096))
            handle.truncate(131072 * (stretches + 1) if name != "many" else handle.tell())
    os.symlink("t" * (90 if not long_names else 300), root + "/soft")
    os.link(root + "/dir/b", root + "/hard")
    os.mkfifo(root + "/fifo")
    for folder, folders, files in os.walk(root, topdown=False):
        for name in folders + files + ["."]:
            when = chance.randrange(1 << 32) * 10**9
            os.utime(f"{folder}/{name}", ns=(when, when), follow_symlinks=False)


@pytest.mark.sanitize
@pytest.mark.parametrize("options", [
    ["--format=v7"], ["--format=ustar"], ["--format=oldgnu", "-S"], ["--format=gnu", "-S"], ["--format=posix"],
    ["--format=posix", "-S", "--sparse-version=0.0"], ["--format=posix", "-S", "--sparse-version=0.1"],
    ["--format=posix", "-S", "--sparse-version=1.0"], ["--format=posix", "--pax-option=globexthdr.name=x,comment=nothing"],
], ids=" ".join)
def test_every_format_of_tar_comes_in(store, area, options):
    make_tree(area + "/in", options[0] in ("--format=oldgnu", "--format=gnu", "--format=posix"))
    if options == ["--format=v7"]:
        os.unlink(area + "/in/fifo")
    subprocess.run(["tar", *options, "-cf", area + "/a.tar", "-C", area + "/in", "."], check=True, timeout=60)
    run_import(store, area + "/a.tar", "d", code=0)
    point = store.mount()
    left, right = tree.scan(area + "/in"), tree.scan(point + "/d")
    if "--format=posix" not in options:
        for row in [*left.values(), *right.values()]:
            row.pop("mtime", None)
    assert not tree.differences(left, right)
    assert os.stat(point + "/d/many").st_blocks < os.stat(point + "/d/many").st_size // 512 or "-S" not in options


def test_an_archive_behind_the_end_of_another_one_is_told_of(store, area):
    """tar leaves it out, too, without a word."""
    whole = b""
    for name in ("first", "second"):
        with open(f"{area}/{name}", "wb") as handle:
            handle.write(name.encode())
        subprocess.run(["tar", "-cf", area + "/a.tar", "-C", area, name], check=True, timeout=60)
        with open(area + "/a.tar", "rb") as handle:
            whole += handle.read()
    for name, data in (("more", whole), ("more.gz", gzip.compress(whole)), ("zeros", whole[: len(whole) // 2] + bytes(100000))):
        with open(f"{area}/{name}", "wb") as handle:
            handle.write(data)
        for source, options in ((f"{area}/{name}", {}), ("-", {"data": data})):
            result = store.run("-s", store.path, "import", source, "d", **options)
            assert result.code == 0 and ("more follows the end" in result.err) == (name != "zeros"), result
    assert os.listdir(store.mount() + "/d") == ["first"]


def write_tar(path, rows):
    """rows: name, type, content, pax records."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, content, records in rows:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.pax_headers = kind, len(content), records
            archive.addfile(info, io.BytesIO(content))


def test_what_a_tar_tells_and_import_does_not_know_is_told(store, area):
    label = {"RHT.security.selinux": "system_u:object_r:etc_t:s0"}
    write_tar(area + "/a.tar", [("plain", b"0", b"1", {"comment": "nothing", "SCHILY.ino": "7"}), ("a", b"0", b"1", {**label, "VENDOR.thing": "x"}),
                                ("b", b"0", b"1", {"VENDOR.thing": "y"}), ("odd", b"A", b"data", {}),
                                ("holes", b"0", b"1", {"SUN.holesdata": " 0 8192"})])
    done = json.loads(store.run("-s", store.path, "import", "--json", area + "/a.tar", "d").out)
    told = {row["path"]: row["text"] for row in done["problems"]}
    assert list(told) == ["odd", "holes"] and "type is not known" in told["odd"] and "Solaris" in told["holes"]
    assert done["notes"] == ["a: attribute VENDOR.thing was left out, here and 1 times more: import does not know it"]
    point = store.mount()
    assert sorted(os.listdir(point + "/d")) == ["a", "b", "odd", "plain"]
    assert os.getxattr(point + "/d/a", "security.selinux") == label["RHT.security.selinux"].encode() + b"\0"


def records(key, value, count=1):
    """Of a pax header; the length counts itself."""
    rest = len(key) + len(value) + 3
    length = next(rest + digits for digits in range(1, 9) if len(str(rest + digits)) == digits)
    return f"{length} {key}={value}\n".encode() * count


def test_headers_that_describe_all_members_are_bounded(store, area):
    """Comments are dropped, however many there are; of what each member would have to hold there is a limit, and of attributes."""
    comments = [("global", b"g", records("comment", "c" * 1000), {}) for _ in range(3000)]
    write_tar(area + "/fine.tar", [*comments, ("global", b"g", records("uid", "77"), {}), ("a", b"0", b"1", {})])
    run_import(store, area + "/fine.tar", "d", code=0)
    assert os.stat(store.mount() + "/d/a").st_uid == 77
    store.umount()
    many = b"".join(records(f"SCHILY.xattr.user.{number}", "x") for number in range(20000))
    for name, rows, text in (("long", [("global", b"g", records("uid", "77"), {}) for _ in range(15000)], "global pax headers say of all members is too long"),
                             ("many", [("header", b"x", many, {})], "a member has too many extended attributes")):
        write_tar(f"{area}/{name}.tar", [*rows, ("b", b"0", b"1", {})])
        result = store.run("-s", store.path, "import", f"{area}/{name}.tar", "d")
        assert result.code != 0 and text in result.err, result
