"""Damaged content is healed from wherever the same bytes are: other stores, files, archives, backups; and that can be undone."""

import glob
import json
import os
import re
import socket
import subprocess
import tarfile
import threading
import zipfile

import pytest

from harness import files, program, rot
from harness.repository import SECRETS, Repository, restic
from harness.rot import noise, reads


HURT = (3, 7)


@pytest.fixture(name="rotten")
def _rotten(store):
    """A mounted store with files 0 to 9 in d, of which two are hurt; snapshot v1 has them too."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    store.create("d")
    point = store.mount()
    for number in range(10):
        files.put(f"{point}/d/{number}", noise(number))
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    store.umount()
    for number in HURT:
        assert rot.content(store, noise(number), 100000) == 1
    store.mount(point)
    for number in HURT:
        assert not reads(f"{point}/d/{number}", noise(number))
    return point + "/d"


def repair(store, *args, code=0, env=None):
    result = store.run("-s", store.path, "repair", *args, "--json", env=env)
    assert result.code == code, f"{args}: exit {result.code}\n{result.out}{result.err}"
    return json.loads(result.out)


def source_dir(area, numbers=HURT):
    os.makedirs(area + "/files/below", exist_ok=True)
    for number in numbers:
        files.put(f"{area}/files/below/copy-{number}", noise(number))
    return area + "/files"


def as_directory(store, area):
    return [source_dir(area)]


def as_file(store, area):
    source_dir(area)
    return [f"{area}/files/below/copy-{number}" for number in HURT]


def as_tar(store, area):
    with tarfile.open(area + "/all.tar", "w") as archive:
        archive.add(source_dir(area), "x")
    return [area + "/all.tar"]


def as_packed_tar(store, area):
    with tarfile.open(area + "/all.tgz", "w:gz") as archive:
        archive.add(source_dir(area), "x")
    return [area + "/all.tgz"]


def as_zip(store, area):
    with zipfile.ZipFile(area + "/all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in HURT:
            archive.writestr(f"x/{number}", noise(number))
    return [area + "/all.zip"]


def as_restic(store, area):
    repository = Repository(store, area + "/repository")
    restic(repository, "backup", source_dir(area))
    return [repository.path]


@pytest.mark.kinds("make")
@pytest.mark.parametrize("make", [as_directory, as_file, as_tar, as_packed_tar, as_zip, as_restic])
def test_content_is_healed_from(rotten, store, area, make):
    sources = [word for name in make(store, area) for word in ("--from", name)]
    looked = repair(store, *sources, env=SECRETS)
    assert (looked["hurt"], looked["healed"], looked["left"], looked["undo"]) == (2, 2, 0, None)
    assert not reads(rotten + "/7", noise(7))
    done = repair(store, *sources, "--apply", env=SECRETS)
    assert (done["healed"], done["left"]) == (2, 0)
    for number in HURT:
        assert reads(f"{rotten}/{number}", noise(number)) and reads(f"{rotten}/.snapshots/v1/{number}", noise(number))
    store.ok("-s", store.path, "scrub")
    store.ok("-s", store.path, "check")


def test_content_is_healed_from_a_backup_of_the_store_itself(store, area):
    store.expected += [r" error damaged ", r" error damaged-table "]
    store.create("d")
    point = store.mount()
    files.put(point + "/d/file", noise(1))
    repository = Repository(store, area + "/repository")
    repository.backup("d")
    store.umount()
    assert rot.content(store, noise(1), 100000) == 1
    store.mount(point)
    assert not reads(point + "/d/file", noise(1))
    assert repair(store, "--from", repository.path, "--apply", env=SECRETS)["healed"] == 1
    assert reads(point + "/d/file", noise(1))


def other_store(store, area, numbers=HURT):
    """Another store, not mounted, with these files under other names."""
    path = area + "/other"
    store.ok("init", path)
    store.ok("-s", path, "import", source_dir(area, numbers), "elsewhere")
    return path


@pytest.mark.sanitize
@pytest.mark.parametrize("mounted", [False, True])
def test_content_is_healed_from_another_store(rotten, store, area, mounted):
    other = other_store(store, area)
    point = area + "/point"
    if mounted:
        os.mkdir(point)
        store.ok("mount", other, point)
    try:
        assert repair(store, "--from", other)["healed"] == 2
        assert repair(store, "--from", other, "--apply")["left"] == 0
    finally:
        if mounted:
            store.ok("umount", point)
    for number in HURT:
        assert reads(f"{rotten}/{number}", noise(number))


def test_another_store_that_is_damaged_there_too_gives_nothing(rotten, store, area):
    other = other_store(store, area, [7])
    (table,) = rot.tables_in(other)[-1:]
    assert any(rot.flip(name, at) is None for name in rot.tables_in(other) if (at := files.get(name).find(noise(7)[100000:100064])) >= 0), table
    rot.forget()
    assert repair(store, "--from", other, "--apply", code=program.DAMAGED)["healed"] == 0
    assert not reads(rotten + "/7", noise(7))


def test_each_source_is_asked_for_what_those_before_it_do_not_have(rotten, store, area):
    os.makedirs(area + "/first")
    files.put(area + "/first/some", noise(3))
    files.put(area + "/wrong", noise("wrong"))
    with tarfile.open(area + "/second.tar", "w") as archive:
        archive.add(source_dir(area, (3, 7)), "x")
    sources = ["--from", area + "/wrong", "--from", area + "/first", "--from", area + "/second.tar"]
    looked = repair(store, *sources)
    assert [row["chunks"] for row in looked["sources"]] == [0, 1, 1]
    found = {place["path"]: place["source"] for place in looked["places"] if not place["snapshot"]}
    assert found == {"3": area + "/first", "7": area + "/second.tar"}
    result = store.run("-s", store.path, "repair", *sources, "--apply")
    assert result.code == 0 and "2 of 2 damaged chunks were healed" in result.out and "to undo: " in result.out, result


def promise(listener):
    """A daemon that says of all pieces that it has them, and gives nothing."""
    while True:
        try:
            peer = listener.accept()[0]
        except OSError:
            return
        with peer, peer.makefile("rb") as lines:
            peer.sendall(json.dumps({"hello": "corpusfs", "version": "0", "pid": os.getpid()}).encode() + b"\n")
            for line in lines:
                answers = [{"row": piece} for piece in json.loads(line)["args"]["sought"]] + [{"result": {}}]
                peer.sendall(b"".join(json.dumps(answer).encode() + b"\n" for answer in answers))


def test_a_source_that_does_not_give_what_it_promised_keeps_no_other_from_being_asked(rotten, store, area):
    liar = area + "/liar"
    store.ok("init", liar)
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(liar, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        listener.listen()
        server = threading.Thread(target=promise, args=(listener,))
        server.start()
        try:
            done = repair(store, "--from", liar, "--from", source_dir(area), "--apply")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()
    assert [row["chunks"] for row in done["sources"]] == [0, 2] and done["left"] == 0
    for number in HURT:
        assert reads(f"{rotten}/{number}", noise(number))


def test_healing_that_fails_names_the_file_that_undoes_it(rotten, store, area):
    store.umount()
    failed = store.run("-s", store.path, "repair", "--from", source_dir(area), "--apply", env={"CORPUSFS_FAULT": "repair-before-heal:eio"})
    (undo,) = glob.glob(store.path + "/undo-repair-*")
    assert failed.code == program.FAILED and failed.err.count(undo) == 1, failed
    assert repair(store, "--undo", undo)["undone"] == 0


def test_wrong_bytes_under_the_right_name_are_never_taken(rotten, store, area):
    os.makedirs(area + "/source/d")
    for number in HURT:
        data = bytearray(noise(number))
        data[100000] ^= 1
        files.put(f"{area}/source/d/{number}", bytes(data))
    done = repair(store, "--from", area + "/source", "--apply", code=program.DAMAGED)
    assert done["healed"] == 0 and done["left"] == 2 and done["undo"] is None
    assert not glob.glob(store.path + "/undo-repair-*")
    assert not reads(rotten + "/7", noise(7))


@pytest.mark.sanitize
def test_repair_is_undone(rotten, store, area):
    source = source_dir(area)
    undo = repair(store, "--from", source, "--apply")["undo"]
    assert reads(rotten + "/7", noise(7)) and os.path.dirname(undo) == store.path
    assert repair(store, "--undo", undo)["undone"] == 2
    rot.forget()
    assert reads(rotten + "/7", noise(7)), "only with --apply"
    assert repair(store, "--undo", undo, "--apply")["undone"] == 2
    store.umount()
    store.mount(os.path.dirname(rotten))
    assert not reads(rotten + "/7", noise(7))
    assert repair(store, "--undo", undo, "--apply")["undone"] == 0
    assert repair(store, "--from", source, "--apply")["left"] == 0
    assert reads(rotten + "/7", noise(7)) and reads(rotten + "/3", noise(3))
    store.ok("-s", store.path, "check")


def test_undo_that_names_another_chunk_is_passed_over(rotten, store, area):
    undo = repair(store, "--from", source_dir(area), "--apply")["undo"]
    with open(undo, encoding="ascii") as handle:
        text = handle.read()
    with open(undo, "w", encoding="ascii") as handle:
        handle.write(re.sub(r'"index": *"[0-9a-f]{16}"', '"index":"00000000000000ff"', text))
    assert repair(store, "--undo", undo, "--apply")["undone"] == 0
    assert reads(rotten + "/7", noise(7))


def test_undo_of_another_store_or_of_nonsense_is_refused(rotten, store, area):
    undo = repair(store, "--from", source_dir(area), "--apply")["undo"]
    store.ok("init", area + "/other")
    result = store.run("-s", area + "/other", "repair", "--undo", undo, "--apply")
    assert result.code != 0 and "another store" in result.err
    files.put(area + "/nonsense", b"nonsense\n")
    assert store.run("-s", store.path, "repair", "--undo", area + "/nonsense", "--apply").code != 0
    assert reads(rotten + "/7", noise(7))


def test_repair_that_is_killed_has_changed_nothing_and_is_run_again(rotten, store, area):
    source = source_dir(area)
    store.umount()
    dead = store.run("-s", store.path, "repair", "--from", source, "--apply", env={"CORPUSFS_FAULT": "repair-before-heal:kill"})
    assert dead.code != 0
    (undo,) = glob.glob(store.path + "/undo-repair-*")
    assert repair(store, "--undo", undo)["undone"] == 0
    assert repair(store, "--from", source, "--apply")["left"] == 0
    store.mount(os.path.dirname(rotten))
    assert reads(rotten + "/7", noise(7))


def test_archive_on_standard_input_and_source_that_is_not_there(rotten, store, area):
    with tarfile.open(area + "/all.tar", "w") as archive:
        archive.add(source_dir(area), "x")
    with open(area + "/all.tar", "rb") as archive:
        done = subprocess.run([store.binary, "-s", store.path, "repair", "--from", "-", "--apply"], stdin=archive, capture_output=True, check=False)
    assert done.returncode == 0, done
    assert reads(rotten + "/7", noise(7))
    assert store.run("-s", store.path, "repair", "--from", area + "/nowhere").code == program.NOT_FOUND
    assert store.run("-s", store.path, "repair", "--from", store.path).code != 0


def test_import_again_heals_a_file_with_known_damage(rotten, store, area):
    """Of the directory that it came from, with the times as they are there."""
    source = source_dir(area)
    store.ok("-s", store.path, "import", source, "e")
    for name in HURT:
        assert reads(f"{rotten}/../e/below/copy-{name}", noise(name))
    store.umount()
    for number in HURT:
        assert rot.content(store, noise(number), 100000) >= 1
    store.mount(os.path.dirname(rotten))
    for number in HURT:
        assert not reads(f"{rotten}/../e/below/copy-{number}", noise(number))
    again = json.loads(store.ok("-s", store.path, "import", source, "e", "--json"))
    assert again["files"] == len(HURT) and again["skipped"] == 0
    for number in HURT:
        assert reads(f"{rotten}/../e/below/copy-{number}", noise(number)) and reads(f"{rotten}/{number}", noise(number))
    again = json.loads(store.ok("-s", store.path, "import", source, "e", "--json"))
    assert again["files"] == 0 and again["skipped"] == len(HURT)


@pytest.mark.sanitize
def test_restore_over_heals_what_is_damaged(store, area):
    """Files that have the backup's size and time; also one of more than 4 MiB, whose content imports do not compare."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    store.create("d")
    point = store.mount()
    sizes = {"small": 20000, "medium": 200000, "long": 5 << 20, "whole": 200000}
    for name, size in sizes.items():
        files.put(f"{point}/d/{name}", noise(name, size))
    repository = Repository(store, area + "/repository")
    repository.backup("d")
    store.umount()
    hurt = ("small", "medium", "long")
    for name in hurt:
        assert rot.content(store, noise(name, sizes[name]), 10000) == 1
    store.mount(point)
    for name in hurt:
        assert not reads(f"{point}/d/{name}", noise(name, sizes[name]))
    done = repository.json("restore", repository.path, "d", "--over")
    assert done["same"]
    for name, size in sizes.items():
        assert reads(f"{point}/d/{name}", noise(name, size)), name
    repository.run("damage")


@pytest.mark.sanitize
def test_restore_to_a_directory_mends_files_whose_bytes_changed_and_their_times_did_not(store, area):
    store.create("d")
    point = store.mount()
    for number in range(4):
        files.put(f"{point}/d/{number}", noise(number))
    with open(point + "/d/holes", "wb") as handle:
        handle.write(noise("holes", 100000))
        handle.truncate(1 << 20)
    repository = Repository(store, area + "/repository")
    repository.backup("d")
    target = area + "/target"
    repository.restore(target)
    before = os.stat(target + "/2")
    with open(target + "/2", "r+b") as handle:
        handle.seek(150000)
        handle.write(b"rot")
    os.utime(target + "/2", ns=(before.st_atime_ns, before.st_mtime_ns))
    done = repository.json("restore", repository.path, target)
    assert (done["files"], done["skipped"]) == (1, 4)
    assert files.get(target + "/2") == noise(2)
    done = repository.json("restore", repository.path, target)
    assert (done["files"], done["skipped"]) == (0, 5)


@pytest.mark.sanitize
@pytest.mark.parametrize("name, source", [("long", ""), ("other", "/other")])
def test_every_chunk_of_a_long_file_is_found_in_a_copy_of_it(store, area, name, source):
    """However it was written: where a pause was, it is cut, and a copy is not."""
    store.expected += [r" error damaged ", r" error damaged-table "]
    store.create("d")
    point = store.mount()
    data = noise("long", 24 << 20)
    with open(point + "/d/long", "wb", buffering=0) as handle:
        for at in range(0, len(data), 100000):
            handle.write(data[at : at + 100000])
            if at % 1700000 == 0:
                os.fsync(handle.fileno())
    os.mkdir(area + "/source")
    files.put(f"{area}/source/{name}", data)
    store.umount()
    for at in range(50000, len(data), 300000):
        rot.content(store, data, at)
    store.mount(point)
    assert store.run("-s", store.path, "scrub").code == program.DAMAGED
    done = repair(store, "--from", area + "/source" + source, "--apply")
    assert done["healed"] > 40 and done["left"] == 0
    assert reads(point + "/d/long", data)
