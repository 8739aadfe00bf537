"""Names that stand for nothing any more, since the inode is lost: nobody takes them for absent, and they can be removed."""

import json
import os
import subprocess

import pytest

from harness import files, posix, rot


def problems(store):
    """Of the head, by check."""
    rows = json.loads(store.run("-s", store.path, "check", "--json").out)["problems"]
    return [row for row in rows if not row["snapshot"]]


@pytest.mark.sanitize
def test_names_that_stand_for_nothing_after_a_repair_can_be_removed(fs, store):
    """Files and directories of which it could keep the name alone. Whatever else somebody wants of them is EIO."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    for number in range(1000):
        os.mkdir(f"{fs}/directory{number}")
        files.put(f"{fs}/file{number}", b"")
    store.umount()
    rot.layout(store)
    store.ok("-s", store.path, "repair", "--apply")
    rows = problems(store)
    assert rows and all(row["rule"] == "K6" and "rm -f or rmdir removes the name" in row["text"] for row in rows)
    store.mount(os.path.dirname(fs))
    lost = {f"{fs}/{row['path']}" for row in rows}
    types = {entry.path: entry.is_dir(follow_symlinks=False) for entry in os.scandir(fs)}
    assert {types[path] for path in lost} == {False, True}
    for path in lost:
        for call in (os.lstat, os.listxattr, os.listdir if types[path] else files.get):
            assert posix.outcome(call, path) == "EIO", (call, path)
    assert {entry.path for entry in os.scandir(fs)} == types.keys(), "also when the kernel wants to know what each is"
    assert posix.outcome(os.unlink, next(path for path in lost if types[path])) == "EISDIR"
    subprocess.run(["rm", "-f", *(path for path in lost if not types[path])], check=True, timeout=60)
    subprocess.run(["rmdir", *(path for path in lost if types[path])], check=True, timeout=60)
    for _ in range(2):
        assert {entry.path for entry in os.scandir(fs)} == types.keys() - lost
        store.umount()
        assert not problems(store)
        store.mount(os.path.dirname(fs))
