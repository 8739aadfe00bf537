"""What a backup takes over from its base unseen, it takes over only while the repository's index names all that the base relies on."""

import glob
import json
import os

import pytest

from harness import program, tree
from harness.repository import restic, restic_check


def write(path, data):
    with open(path, "wb") as handle:
        handle.write(data)


def index_of(repository):
    """What the index files say of each pack."""
    packs = {}
    for name in glob.glob(repository.path + "/index/*"):
        for pack in json.loads(restic(repository, "cat", "index", os.path.basename(name)))["packs"]:
            packs[pack["id"]] = {blob["type"] for blob in pack["blobs"]}
    return packs


def own_packs(repository):
    """Those that the newest backup wrote, but for the last ones."""
    return json.loads(restic(repository, "dump", "latest", "/.corpusfs/backup.json"))["packs"]


def remove(repository, packs, kind):
    """The first of the packs that has blobs of this kind is gone."""
    types = index_of(repository)
    lost = next(name for name in packs if kind in types[name])
    os.remove(f"{repository.path}/data/{lost[:2]}/{lost}")
    return lost


def lose(repository, packs, kind):
    """The same, and the index is made anew of what is left."""
    lost = remove(repository, packs, kind)
    told = repository.json("backup", "rebuild-index", repository.path, "--drop-missing", code=program.FAILED)
    assert [row["path"] for row in told["problems"]] == ["pack/" + lost] and told["problem_count"] == 1


def assert_whole(repository, area, backup):
    repository.restore(f"{area}/{backup}", backup)
    tree.assert_same(repository.store.mount() + "/d", f"{area}/{backup}")


def back_up_what_is_lost(repository, store, area, base, take, why):
    """An incremental backup on one of the kind `base`, whose packs were taken away, and another on that."""
    point = store.mount()
    repository.backup("d")
    if base != "full":
        write(point + "/d/a/b/c/first", os.urandom(50000))
        repository.backup("d", kind=base)
    take(own_packs(repository))
    write(point + "/d/d ä\n/small", b"small")
    done = repository.backup("d", kind="incremental")
    assert not done["compared"] and why in done["doubt"], done
    assert_whole(repository, area, done["backup"])
    write(point + "/d/d ä\n/small", b"smaller")
    last = repository.backup("d", kind="incremental")
    assert last["compared"] and "doubt" not in last and last["files"] == 1, last
    assert_whole(repository, area, last["backup"])


@pytest.mark.parametrize("kind", ["data", "tree"])
@pytest.mark.parametrize("base", ["full", "differential", "incremental"])
def test_what_a_lost_pack_had_is_written_again(repository, store, area, kind, base):
    back_up_what_is_lost(repository, store, area, base, lambda packs: lose(repository, packs, kind), "index")
    if kind == "data":
        restic_check(repository)


@pytest.mark.parametrize("kind", ["data", "tree"])
@pytest.mark.parametrize("base", ["full", "incremental"])
def test_what_a_pack_had_is_written_again_while_the_index_still_names_it(repository, store, area, kind, base):
    back_up_what_is_lost(repository, store, area, base, lambda packs: remove(repository, packs, kind), "not there")
    for row in repository.backups()[:-2]:
        repository.run("backup", "forget", repository.path, row["backup"])
    repository.run("backup", "prune", repository.path)
    assert repository.verify()["problem_count"] == 0
    restic_check(repository)


@pytest.mark.parametrize("kind, options", [("differential", []), ("full", ["--share"])])
@pytest.mark.parametrize("cut", [False, True])
def test_no_type_relies_on_a_pack_that_is_gone_or_too_short(repository, store, area, kind, options, cut):
    point = store.mount()
    repository.backup("d")
    lost = max(repository.packs(), key=os.path.getsize)
    size = os.path.getsize(lost)
    if cut:
        os.chmod(lost, 0o600)
        os.truncate(lost, size // 2)
    else:
        os.remove(lost)
    write(point + "/d/d ä\n/small", b"small")
    done = repository.backup("d", kind=kind, options=options)
    assert done["stored"] > size // 2, done
    assert_whole(repository, area, done["backup"])


def test_what_the_backup_of_another_dataset_wrote_and_lost_is_written_again(repository, store, area):
    """No backup that the base comes from wrote it."""
    point = store.mount()
    data = os.urandom(3 << 20)
    store.ok("-s", store.path, "dataset", "create", "e")
    write(point + "/e/big", data)
    repository.backup("d")
    repository.backup("e")
    packs = own_packs(repository)
    os.mkdir(point + "/d/copy")
    write(point + "/d/copy/big", data)
    assert repository.backup("d", kind="incremental")["added"] < 1 << 20, "it relies on what the backup of e has"
    lose(repository, packs, "data")
    write(point + "/d/small", b"small")
    done = repository.backup("d", kind="incremental")
    assert done["doubt"] and done["added"] > 3 << 20, done
    assert_whole(repository, area, done["backup"])


def test_a_full_base_is_taken_over_from_after_a_prune_and_another_once_it_was_looked_at(repository, store, area):
    """What a full one wrote stays its own; where a later one's index files went, the index is all that is known."""
    point = store.mount()

    def changed(number, kind="incremental"):
        write(f"{point}/d/d ä\n/{number}", os.urandom(100000))
        return repository.backup("d", kind=kind)

    def prune(gone):
        repository.run("backup", "forget", repository.path, gone["backup"])
        repository.run("backup", "prune", repository.path)

    first = repository.backup("d")
    full = changed(1, "full")
    prune(first)
    second = changed(2)
    assert second["compared"] and "doubt" not in second, second
    third = changed(3)
    prune(full)
    last = changed(4)
    assert not last["compared"] and "made anew" in last["doubt"] and last["stored"] < 1 << 20, last
    assert changed(5)["compared"]
    prune(third)
    assert_whole(repository, area, changed(6)["backup"])
    said = repository.run("backup", "d", repository.path, "--type", "incremental").err
    assert said == "", said
    restic_check(repository)


def test_what_was_counted_stands_in_the_backup(repository, store):
    """With what it has in common with its base, which nobody looked at."""
    point = store.mount()
    keys = ("files", "directories", "unchanged", "bytes")
    for kind in ("full", "incremental"):
        done = repository.backup("d", kind=kind)
        described = json.loads(restic(repository, "dump", "latest", "/.corpusfs/backup.json"))["counts"]
        assert described == {**{key: done[key] for key in keys}, "left_out": 0}
        shown = repository.json("backup", "show", repository.path + "@latest")
        assert {key: shown[key] for key in described} == described
        assert (done["unchanged"] > 3) == (kind == "incremental") and done["files"] > 0
        write(point + "/d/a/b/c/new", b"new")
    said = repository.run("backup", "show", repository.path).out
    assert "unchanged" in said and "left out" in said, said
