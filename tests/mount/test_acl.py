"""POSIX access control lists with -o acl: the same as on ext4, as getfacl, access checks and modes show them."""

import os
import subprocess

import pytest

from harness import posix, program
from harness.repository import SECRETS, Repository

ALICE, TEAM = 61001, 61100


@pytest.fixture
def acl_pair(run, store):
    point = store.mount(options="allow_other,acl")
    store.create("d")
    for root in (point + "/d", reference := run.reference.directory()):
        os.chmod(root, 0o755)
    return point + "/d", reference


def facl(root):
    """getfacl of all below, without what differs by name."""
    done = subprocess.run(["getfacl", "-Rnp", "."], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    return sorted(done.stdout.split("\n\n"))


def set_acl(path, *args):
    return subprocess.run(["setfacl", *args, path], capture_output=True, timeout=30).returncode


def touch(path, mode=0o666):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))


def probe(path, groups=()):
    with posix.as_user(ALICE, ALICE, groups):
        return [os.access(path, bits) for bits in (os.R_OK, os.W_OK, os.X_OK)] + [
            posix.outcome(os.open, path, flags) for flags in (os.O_RDONLY, os.O_WRONLY)
        ]


def user_entry(root):
    touch(root + "/file", 0o600)
    return set_acl(root + "/file", "-m", f"u:{ALICE}:rw"), probe(root + "/file")


def group_entry(root):
    touch(root + "/file", 0o600)
    return set_acl(root + "/file", "-m", f"g:{TEAM}:r"), probe(root + "/file"), probe(root + "/file", (TEAM,))


def mask_by_chmod(root):
    result = user_entry(root)
    os.chmod(root + "/file", 0o640)
    return result, probe(root + "/file"), oct(os.stat(root + "/file").st_mode)


def denied_by_entry(root):
    touch(root + "/file", 0o666)
    return set_acl(root + "/file", "-m", f"u:{ALICE}:-"), probe(root + "/file")


def defaults(root):
    os.mkdir(root + "/dir")
    result = [set_acl(root + "/dir", "-m", f"d:u:{ALICE}:rwx,d:g::r,d:o::-")]
    for mask in (0o022, 0o077, 0):
        with posix.umask(mask):
            touch(f"{root}/dir/file{mask}")
            os.mkdir(f"{root}/dir/sub{mask}")
            os.mkfifo(f"{root}/dir/fifo{mask}")
            touch(f"{root}/dir/sub{mask}/below", 0o640)
        result.append(probe(f"{root}/dir/file{mask}"))
    os.symlink("x", root + "/dir/link")
    return result


def umask_without_default(root):
    os.mkdir(root + "/dir")
    with posix.umask(0o027):
        touch(root + "/dir/file")
        os.mkdir(root + "/dir/sub")
    return [oct(os.stat(f"{root}/dir/{name}").st_mode) for name in ("file", "sub")]


def removed(root):
    return user_entry(root), set_acl(root + "/file", "-b"), probe(root + "/file"), os.listxattr(root + "/file")


def chmod_group_bits(root):
    user_entry(root)
    results = []
    for mode in (0o777, 0o700, 0o070, 0o007):
        os.chmod(root + "/file", mode)
        results.append((oct(os.stat(root + "/file").st_mode), probe(root + "/file")))
    return results


def set_group_id_falls(root):
    touch(root + "/file", 0o600)
    os.chown(root + "/file", ALICE, TEAM)
    os.chmod(root + "/file", 0o2770)
    with posix.as_user(ALICE):
        result = set_acl(root + "/file", "-m", "g::rw")
    return result, oct(os.stat(root + "/file").st_mode)


def not_the_owner(root):
    touch(root + "/file", 0o666)
    with posix.as_user(ALICE):
        return set_acl(root + "/file", "-m", f"u:{ALICE}:rw")


def default_on_a_file(root):
    touch(root + "/file")
    return set_acl(root + "/file", "-d", "-m", f"u:{ALICE}:rw")


def equivalent_to_a_mode(root):
    touch(root + "/file")
    return set_acl(root + "/file", "-m", "u::rwx,g::rx,o::x"), oct(os.stat(root + "/file").st_mode), os.listxattr(root + "/file")


def copied(root):
    user_entry(root)
    subprocess.run(["cp", "-a", root + "/file", root + "/copy"], check=True, timeout=30)
    return probe(root + "/copy")


def garbage(root):
    touch(root + "/file")
    return [posix.outcome(os.setxattr, root + "/file", "system.posix_acl_access", value) for value in (b"", b"x", bytes(4), b"\2\0\0\0" + bytes(9))]


CASES = [user_entry, group_entry, mask_by_chmod, denied_by_entry, defaults, umask_without_default, removed, chmod_group_bits, set_group_id_falls,
         not_the_owner, default_on_a_file, equivalent_to_a_mode, copied, garbage]  # fmt: skip


@pytest.mark.sanitize
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_acl_is_as_on_ext4(acl_pair, store, case):
    mounted, reference = (case(root) for root in acl_pair)
    assert mounted == reference
    assert facl(acl_pair[0]) == facl(acl_pair[1])
    store.umount()
    store.mount(store.area + "/mnt", options="allow_other,acl")
    assert facl(acl_pair[0]) == facl(acl_pair[1])


def test_without_the_option_there_are_no_acls(d):
    touch(d + "/file")
    assert posix.outcome(os.setxattr, d + "/file", "system.posix_acl_access", b"\2\0\0\0") == "ENOTSUP"
    assert set_acl(d + "/file", "-m", f"u:{ALICE}:rw") != 0


def test_who_brings_in_acls_is_told_which_mounts_obey_them(run, store, other, area):
    source, note = run.reference.directory(), "note: 1 file or directory has access control lists, which a mount obeys only with -o acl"
    for name in ("with", "without"):
        touch(f"{source}/{name}")
    assert set_acl(source + "/with", "-m", f"u:{ALICE}:rw") == 0
    assert store.run("-s", store.path, "import", source, "d").err.count(note) == 1
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    line = f"{store.binary} -s {store.path} send d@v1 | {store.binary} -s {other.path} receive d"
    sent = program.call(["bash", "-c", line], program.environment(store.run_mark, store.logs, {}), store.logs)
    assert sent.code == 0 and sent.err.count(note) == 1, sent
    repository = Repository(store, area + "/repository")
    repository.backup("d")
    restored = other.run("-s", other.path, "restore", repository.path, "again", env=SECRETS)
    assert restored.code == 0 and restored.err.count(note) == 1, restored
    os.unlink(source + "/with")
    assert "access control" not in store.run("-s", store.path, "import", source, "e").err
