"""Who else writes to the directory that a backup is restored into: another restore, an export, anybody."""

import glob
import os

import pytest

from harness import files, program, tree
from harness.repository import SECRETS


def temporaries(root):
    return [path for path in glob.glob(root + "/**/.corpusfs-restore-*", recursive=True, include_hidden=True) if os.path.isfile(path)]


@pytest.mark.sanitize
def test_one_restore_at_a_time_writes_to_a_directory(repository, store, source, area):
    """Each would take the other's files in the making for what a killed one has left."""
    first = repository.backup("d")["backup"]
    files.put(store.mount() + "/d/a/1", b"later")
    store.umount()
    second = repository.backup("d")["backup"]
    out = area + "/out"
    with store.stopped_at("restore-before-rename", "-s", store.path, "restore", f"{repository.path}@{first}", out, env=SECRETS) as held:
        for said, command in (("restore or export", ("restore", f"{repository.path}@{second}", out)), ("export or restore", ("export", "d", out))):
            refused = store.run("-s", store.path, *command, env=SECRETS)
            assert refused.code == program.BUSY and f"another {said} writes to {out}" in refused.err, refused
    assert held.code == 0, held.err
    tree.assert_same(source, out)
    repository.restore(out, second)
    assert files.get(out + "/a/1") == b"later"


def test_a_restore_into_a_part_of_the_target_of_another_is_noticed(repository, store, source, area):
    """It takes what it finds there for what a killed one has left. The first one says what it could not make, and makes it when it is run again."""
    repository.backup("d")
    out = area + "/out"
    with store.stopped_at("restore-before-rename", "-s", store.path, "restore", repository.path, out, env=SECRETS, nth=20) as held:
        assert any(os.path.dirname(path) == out + "/a" for path in temporaries(out))
        repository.restore(out + "/a", None, "--path", "a")
    assert held.code == program.FAILED and "somebody else changes its directory" in held.err, held.err
    repository.restore(out)
    tree.assert_same(source, out)


def test_what_somebody_put_in_the_place_of_a_file_in_the_making_is_not_taken_for_it(repository, store, source, area):
    repository.backup("d")
    out = area + "/out"
    with store.stopped_at("restore-before-rename", "-s", store.path, "restore", repository.path, out, env=SECRETS, nth=10) as held:
        put = temporaries(out)
        for path in put:
            os.unlink(path)
            files.put(path, b"foreign")
    assert put
    assert held.code == program.FAILED and "somebody else changes its directory" in held.err, held.err
    there, wanted = tree.scan(out), tree.scan(source)
    # Another thread may have stood between its look and its rename: that file is one of ours now, and the command has failed.
    taken = [path for path in put if not os.path.exists(path)]
    wrong = [name for name, row in there.items() if name in wanted and row.get("content") != wanted[name].get("content")]
    assert len(wrong) == len(taken) < len(put) and all(files.get(f"{out}/{name}") == b"foreign" for name in wrong)
    assert all(files.get(path) == b"foreign" for path in put if path not in taken), "what is not its own is not removed"


def test_files_that_are_called_as_those_in_the_making_come_back(store, repository, area):
    """Left by a restore that was killed, and backed up since."""
    point = store.mount()
    for folder in ("many", "more"):
        os.mkdir(f"{point}/d/{folder}")
        for name in [f".corpusfs-restore-{number}" for number in range(18)] + [f".corpusfs-restore-0123456789abcdef-{number:02}" for number in range(18)]:
            files.put(f"{point}/d/{folder}/{name}", os.urandom(3000))
        for number in range(300):
            files.put(f"{point}/d/{folder}/{number}", os.urandom(3000))
    store.ok("-s", store.path, "export", "d", area + "/wanted")
    store.umount()
    repository.backup("d")
    for _ in range(2):
        repository.restore(area + "/out")
        tree.assert_same(area + "/wanted", area + "/out")
