"""What a restore or an export says is there stays there when the power fails, on whatever disks the target's directories are; big files too."""

import os
import random
import subprocess

import pytest

from harness import crash, files, tree
from harness.repository import Repository


@pytest.fixture(name="disks")
def _disks(area):
    """A disk that forgets what was not synced, on area/disk."""
    made = crash.Disks(area, 1024)
    yield made
    made.close()


@pytest.fixture(name="mounted")
def _mounted(area, disks):
    """The disk once more, in a directory of the target."""
    os.makedirs(area + "/out/a")
    subprocess.run(["mount", "--bind", area + "/disk", area + "/out/a"], check=True)
    yield area + "/out/a"
    subprocess.run(["umount", "-l", area + "/out/a"], check=True)


@pytest.fixture(name="plain")
def _plain(store, area):
    """A repository with a backup of the dataset `plain`, which is area/source."""
    for number in range(50):
        os.makedirs(f"{area}/source/a/{number % 7}", exist_ok=True)
        files.put(f"{area}/source/a/{number % 7}/{number}", os.urandom(20000))
    os.link(area + "/source/a/1/1", area + "/source/a/linked")
    os.symlink("a", area + "/source/symlink")
    store.ok("-s", store.path, "import", area + "/source", "plain")
    repository = Repository(store, area + "/repository")
    repository.backup("plain")
    return repository


def test_a_restore_syncs_every_disk_of_its_target(plain, area, disks, mounted, seed):
    os.rmdir(mounted + "/lost+found")
    subprocess.run(["sync", "-f", mounted], check=True)
    plain.restore(area + "/out")
    number = disks.cut(seed)
    tree.assert_same(area + "/source/a", disks.attach(number, "copy"))
    disks.detach(number)


@pytest.mark.parametrize("way", ["restore", "export"])
def test_what_comes_into_a_mount_is_on_its_disk(plain, store, run, area, disks, seed, way):
    """Linux does not tell the daemon of a FUSE filesystem to sync: each file is synced."""
    target = run.store(area, "target")
    target.path = area + "/disk/store"
    target.init()
    target.create("e")
    point = target.mount(area + "/there")
    if way == "restore":
        plain.restore(point + "/e/out")
    else:
        store.ok("-s", store.path, "export", "plain", point + "/e/out")
    number = disks.cut(seed)
    target.close()
    copy = run.store(area, "after")
    copy.path = disks.attach(number, "copy") + "/store"
    seen = copy.mount(area + "/seen")
    tree.assert_same(area + "/source/a", seen + "/e/out/a")
    copy.close()
    disks.detach(number)


def test_big_files_come_back_whole(store, area):
    """They are written past the page cache, in blocks: around the sizes at which that begins, and of its buffer."""
    chance, mib = random.Random(6), 1 << 20
    for name, size in {"less": mib - 1, "one": mib, "more": mib + 1, "two": 2 * mib, "odd": 2 * mib + 4097, "many": 9 * mib + 511}.items():
        os.makedirs(area + "/big", exist_ok=True)
        files.put(f"{area}/big/{name}", chance.randbytes(size))
    files.put(area + "/big/text", b"some text that shrinks " * 200000)
    store.ok("-s", store.path, "import", area + "/big", "big")
    repository = Repository(store, area + "/repository")
    repository.backup("big")
    repository.restore(area + "/out")
    tree.assert_same(area + "/big", area + "/out")
    # Once more over what is there, of which a byte is another now.
    before = os.stat(area + "/out/many")
    with open(area + "/out/many", "r+b") as handle:
        handle.seek(5 * mib)
        handle.write(b"x")
    os.utime(area + "/out/many", ns=(before.st_atime_ns, before.st_mtime_ns))
    repository.restore(area + "/out")
    tree.assert_same(area + "/big", area + "/out")
