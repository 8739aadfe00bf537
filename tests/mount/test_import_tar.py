"""What a tar means is what GNU tar does with it, member by member: random archives, extracted by both one after the other."""

import gzip
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
