"""Programs that walk trees: those that trust link counts, those that keep 32 bits of an inode number, those that look for a number."""

import json
import os
import stat
import subprocess
import sys

import pytest

from harness import procs

NLINK_FIND = "use File::Find; $File::Find::dont_use_nlink = 0; find(sub { print \"$File::Find::name\\n\" if -f }, $ARGV[0]);"


@pytest.fixture(params=["hidden", "visible"])
def full(store, request):
    """The root of a mount with datasets, directories and snapshots of them."""
    point = store.mount(options="allow_other,snapdir=" + request.param)
    for dataset in ("a", "b"):
        os.makedirs(f"{point}/{dataset}/dir/deep/deeper")
        os.mkdir(f"{point}/{dataset}/empty")
        for place in ("", "/dir", "/dir/deep/deeper"):
            with open(f"{point}/{dataset}{place}/file", "w", encoding="ascii") as handle:
                handle.write(dataset + place)
        os.link(f"{point}/{dataset}/file", f"{point}/{dataset}/second")
        for name in ("s1", "s2"):
            os.mkdir(f"{point}/{dataset}/.snapshots/{name}")
    return point


def directories(root):
    """The directory, those below it, and their .snapshots, which a listing may leave out."""
    for path, names, _ in os.walk(root):
        yield path
        if ".snapshots" not in names and ".snapshots" not in path and os.path.exists(path + "/.snapshots"):
            yield from directories(path + "/.snapshots")


def test_link_counts_are_those_of_ext4_or_say_that_nobody_counts(full):
    for path in directories(full):
        subdirectories = sum(entry.is_dir(follow_symlinks=False) for entry in os.scandir(path))
        assert os.stat(path).st_nlink in (1, 2 + subdirectories), path


def test_walkers_that_trust_link_counts_find_every_file(full):
    for root in (full, full + "/a", full + "/a/.snapshots", full + "/a/.snapshots/s1"):
        found = subprocess.run(["perl", "-e", NLINK_FIND, root], capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        expected = [f"{path}/{name}" for path, _, names in os.walk(root) for name in names]
        assert sorted(found) == sorted(expected) and found, root


def test_files_of_several_views_differ_in_32_bits_of_their_numbers(full):
    """An archive of cpio's newc format takes files of one device and number for hard links of each other."""
    numbers = {os.stat(f"{path}/{name}").st_ino for top in directories(full) for path, _, names in os.walk(top) for name in names}
    assert len(numbers) == 2 * 3 * 3 and len({number & 0xffffffff for number in numbers}) == len(numbers)


def test_a_file_is_found_by_its_number(full):
    for path in (full + "/a/dir/file", full + "/b/.snapshots/s2/dir/deep/deeper/file", full + "/b/dir"):
        number = os.stat(path).st_ino
        above = path.split("/.snapshots/")[0].rsplit("/", 1)[0] if "/.snapshots/" not in path else full + "/b/.snapshots"
        found = subprocess.run(["find", above, "-inum", str(number)], capture_output=True, text=True, check=True, timeout=60).stdout
        assert found.split() == [path]


def test_listings_and_attributes_name_the_same_numbers(full):
    for path in directories(full):
        for entry in os.scandir(path):
            info = os.stat(entry.path, follow_symlinks=False)
            assert entry.inode() == info.st_ino and entry.is_dir(follow_symlinks=False) == stat.S_ISDIR(info.st_mode), entry.path


FILES = 1200  # of a directory: more than one answer holds with attributes


@pytest.fixture
def listed(store):
    """Six directories of a mount that has just come up, a function that counts its requests, and one that makes the kernel forget the mount."""
    point = store.mount()
    store.create("d")
    for number in range(6):
        os.mkdir(f"{point}/d/{number}")
        for file in range(FILES):
            os.close(os.open(f"{point}/d/{number}/{file}", os.O_CREAT | os.O_WRONLY))
    def remount():
        store.umount()
        store.mount(point)

    def requests():
        return json.loads(store.ok("-s", store.path, "status", "--json"))["mounts"][0]["requests"]

    remount()
    return [f"{point}/d/{number}" for number in range(6)], requests, remount


def look_at_files(directory):
    assert {os.lstat(f"{directory}/{name}").st_size for name in os.listdir(directory)} == {0}


def test_who_looks_at_the_files_that_he_lists_gets_them_with_their_names(listed):
    directories, requests, remount = listed

    def cost():
        """Of four directories that the kernel knows nothing of."""
        remount()
        for directory in directories[:2]:
            look_at_files(directory)
        before = requests()
        for directory in directories[2:]:
            look_at_files(directory)
        return requests() - before

    procs.poll(lambda: cost() < 4 * FILES / 5, 30, "few requests, unless somebody makes the kernel forget meanwhile")


def test_who_wants_only_names_gets_only_names(listed):
    directories, requests, _ = listed
    subprocess.run([sys.executable, "-c", "import os, sys; [os.listdir(path) for path in sys.argv[1:]]", *directories], check=True)
    before = requests()
    look_at_files(directories[-1])
    assert requests() - before >= FILES


def test_ls_does_not_ask_about_each_file_whether_it_has_a_label(listed):
    directories, requests, _ = listed

    def cost():
        before = requests()
        subprocess.run(["ls", "-l", directories[0]], stdout=subprocess.DEVNULL, check=True)
        return requests() - before

    cost()
    procs.poll(lambda: cost() < FILES / 5, 30, "few requests, unless somebody makes the kernel forget meanwhile")


def test_a_label_that_came_from_elsewhere_is_kept(fs):
    for name in ("with", "without"):
        os.close(os.open(f"{fs}/{name}", os.O_CREAT | os.O_WRONLY))
    try:
        os.setxattr(fs + "/with", "security.selinux", b"system_u:object_r:etc_t:s0")
    except OSError:
        pytest.skip("the kernel keeps labels of its own")
    assert os.getxattr(fs + "/with", "security.selinux") == b"system_u:object_r:etc_t:s0"
    assert os.listxattr(fs + "/with") == ["security.selinux"]
    assert os.listxattr(fs + "/without") == []
