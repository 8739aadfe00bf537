"""How import and export meet what lies outside of the store: paths of the caller, his rights, pipes, and the store's own mounts."""

import os
import signal
import subprocess
import tarfile

import pytest

from harness import procs, program, tree
from harness.repository import SECRETS


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as handle:
        handle.write(text)


def read(path):
    with open(path, encoding="ascii") as handle:
        return handle.read()


def shell(store, script, **options):
    """A shell script with the program as $BIN and the store as $CORPUSFS_STORE."""
    env = {**program.environment(store.run_mark, store.logs), "BIN": store.binary, "CORPUSFS_STORE": store.path, **options.pop("env", {})}
    return subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def filled(store):
    """A mounted store with dataset d."""
    point = store.mount()
    store.create("d")
    write(point + "/d/sub/f", "content")
    write(point + "/d/g", "more")
    store.ok("-s", store.path, "sync")
    return point


# --- another mount namespace ---


@pytest.mark.namespaces
def test_import_reads_what_the_caller_sees(store, area):
    point = store.mount()
    write(area + "/batch/f", "outer")
    done = shell(store, f"unshare -m sh -c \"mount -t tmpfs none '{area}/batch' && echo -n inner >'{area}/batch/f' && '$BIN' import '{area}/batch' d\"")
    assert done.returncode == 0, done
    assert read(point + "/d/f") == "inner"


@pytest.mark.parametrize("name", ["out", "out.tar", "out.tar.zst", "out.zip"])
@pytest.mark.namespaces
def test_export_writes_where_the_caller_sees(store, filled, area, name):
    os.mkdir(area + "/place")
    done = shell(store, f"unshare -m sh -c \"mount -t tmpfs none '{area}/place' && '$BIN' export d '{area}/place/{name}' && ls '{area}/place'\"")
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[-1] == name and os.listdir(area + "/place") == []


@pytest.mark.namespaces
def test_a_mount_that_would_show_elsewhere_is_refused(store, filled, area):
    """The daemon mounts where it lives: in another mount namespace that is another directory, or does not show."""
    os.mkdir(area + "/second")
    mount = f"'{store.binary}' -s '{store.path}' mount -o ro '{store.path}' '{area}/second'"
    for before in ("true", f"mount -t tmpfs none '{area}/second'"):
        done = shell(store, f"unshare -m sh -c \"{before} && {mount}\"")
        assert done.returncode != 0 and "another mount namespace" in done.stderr, done
        assert not os.path.ismount(area + "/second")
    assert read(filled + "/d/g") == "more"
    store.mount(area + "/second", options="ro")


# --- pipes ---


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_import_reads_a_process_substitution_and_stdin(store, area, mounted):
    if mounted:
        store.mount()
    write(area + "/in/f", "content")
    subprocess.run(["tar", "-cf", area + "/a.tar", "-C", area + "/in", "f"], check=True, timeout=60)
    for number, words in enumerate((f"<(cat {area}/a.tar) d0", f"/dev/stdin d1 <{area}/a.tar", f"/dev/stdin d2 < <(cat {area}/a.tar)")):
        done = shell(store, f"\"$BIN\" import {words}")
        assert done.returncode == 0, done
        store.ok("-s", store.path, "export", f"d{number}", f"{area}/out{number}")
        assert read(f"{area}/out{number}/f") == "content"


def test_import_waits_for_who_writes_into_a_fifo(store, area):
    write(area + "/in/f", "content")
    os.mkfifo(area + "/fifo")
    done = shell(store, f"\"$BIN\" import {area}/fifo d & tar -cf {area}/fifo -C {area}/in f; wait $!")
    assert done.returncode == 0, done


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_export_writes_into_a_process_substitution(store, filled, area, mounted):
    if not mounted:
        store.umount()
    done = shell(store, f"\"$BIN\" export d >(cat >{area}/a.tar); r=$?; wait $!; exit $r")
    assert done.returncode == 0, done
    with tarfile.open(area + "/a.tar") as archive:
        assert sorted(archive.getnames()) == [".", "./g", "./sub", "./sub/f"]


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
def test_export_fails_when_its_reader_goes_away(store, filled, area, mounted):
    with open(filled + "/d/big", "wb") as handle:
        handle.write(os.urandom(8 << 20))
    if not mounted:
        store.umount()
    done = shell(store, "{ \"$BIN\" export d -; echo $? >" + area + "/code; } | head -c 1000 >/dev/null")
    assert "Broken pipe" in done.stderr, done
    assert int(read(area + "/code")) == program.FAILED


# --- into itself ---


def aliases(point, area):
    """Ways to a place in the dataset: as it is, through a link, a bind mount."""
    os.mkdir(area + "/bound")
    subprocess.run(["mount", "--bind", point + "/d", area + "/bound"], check=True, timeout=60)
    os.symlink(point + "/d", area + "/link")
    return [point + "/d", area + "/link", area + "/bound"]


@pytest.mark.parametrize("name", ["inner", "inner.tar"])
def test_export_into_a_mount_of_the_store_is_refused(store, filled, area, name):
    second = store.mount(area + "/second", "d")
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    before = tree.scan(filled + "/d")
    try:
        for way in aliases(filled, area) + [second]:
            for source in ("d", "d@s"):
                result = store.run("-s", store.path, "export", source, f"{way}/{name}")
                assert result.code == program.USAGE and "mount of the same store" in result.err, result
                assert len(result.err) < 2000
    finally:
        subprocess.run(["umount", area + "/bound"], check=True, timeout=60)
    assert tree.scan(filled + "/d").keys() == before.keys()


def test_export_to_a_descriptor_in_a_mount_of_the_store_is_refused(store, filled):
    done = shell(store, f"\"$BIN\" export d - >{filled}/d/out.tar")
    assert done.returncode == program.USAGE and "mount of the same store" in done.stderr, done
    assert os.path.getsize(filled + "/d/out.tar") == 0


def test_a_stream_to_or_from_a_mount_of_the_store_is_refused(store, filled, area):
    """A pipe there is none: whoever reads it or writes into it is another process."""
    store.ok("-s", store.path, "snapshot", "create", "d@s")
    second = store.mount(area + "/second", "d")
    for way in (filled + "/d", second):
        done = shell(store, f"\"$BIN\" send d@s >{way}/out")
        assert done.returncode == program.USAGE and "mount of the same store" in done.stderr, done
        assert os.path.getsize(way + "/out") == 0
    done = shell(store, f"set -o pipefail; \"$BIN\" send d@s | cat >{filled}/d/out && \"$BIN\" receive e <{filled}/d/out")
    assert done.returncode == program.USAGE and "mount of the same store" in done.stderr, done
    done = shell(store, f"set -o pipefail; cat {filled}/d/out | \"$BIN\" receive e")
    assert done.returncode == 0 and read(filled + "/e/g") == "more", done


def test_backups_into_a_mount_of_the_store_are_refused(store, filled, area):
    os.mkdir(area + "/bound")
    subprocess.run(["mount", "--bind", filled + "/d", area + "/bound"], check=True, timeout=60)
    try:
        for way in (filled + "/d", area + "/bound"):
            words = ["backup", "init", way + "/repository"], ["backup", "d", way + "/repository"]
            results = [store.run("-s", store.path, *command, env=SECRETS) for command in words]
            assert results[1].code == program.USAGE and "mount of the same store" in results[1].err, results
    finally:
        subprocess.run(["umount", area + "/bound"], check=True, timeout=60)


def test_import_from_every_mount_of_the_store_is_refused(store, filled, area):
    try:
        for way in aliases(filled, area):
            result = store.run("-s", store.path, "import", way, "e")
            assert result.code == program.USAGE and "mount of the same store" in result.err, result
    finally:
        subprocess.run(["umount", area + "/bound"], check=True, timeout=60)


# --- what is left when it does not end well ---


def test_export_to_an_archive_takes_the_part_of_a_killed_one_over(store, filled, area):
    write(area + "/a.tar.part", "x" * 100000)
    store.ok("-s", store.path, "export", "d", area + "/a.tar")
    with tarfile.open(area + "/a.tar") as archive:
        assert "./g" in archive.getnames()
    assert sorted(name for name in os.listdir(area) if name.startswith("a.tar")) == ["a.tar"]


def test_export_to_an_archive_never_writes_to_what_another_has_put_there(store, filled, area):
    write(area + "/mine", "mine")
    os.symlink(area + "/mine", area + "/a.tar.part")
    os.link(area + "/mine", area + "/b.tar.part")
    write(area + "/c.tar.part", "")
    os.chown(area + "/c.tar.part", 12345, 12345)
    for name in ("a.tar", "b.tar", "c.tar"):
        assert store.run("-s", store.path, "export", "d", f"{area}/{name}").code != 0
        assert not os.path.exists(f"{area}/{name}") and os.path.lexists(f"{area}/{name}.part")
    assert read(area + "/mine") == "mine"


def test_failed_export_leaves_neither_archive_nor_directory(store, filled, area):
    for name in ("x", "x.tar", "x.zip"):
        assert store.run("-s", store.path, "export", "none", f"{area}/{name}").code == program.NOT_FOUND
    assert not [name for name in os.listdir(area) if name.startswith("x")]


def wait_for(path):
    procs.poll(lambda: os.path.exists(path), 30 * program.scale(), f"{path} is there")


@pytest.mark.parametrize("mounted", [False, True], ids=["not-mounted", "mounted"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_export_leaves_no_archive(store, filled, area, mounted, number):
    with open(filled + "/d/big", "wb") as handle:
        for _ in range(4):
            handle.write(os.urandom(16 << 20))
    if not mounted:
        store.umount()
    with open(area + "/err", "w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [store.binary, "-s", store.path, "export", "d", area + "/a.tar.gz"], stdout=errors, stderr=errors,
            env=program.environment(store.run_mark, store.logs),
        )
        wait_for(area + "/a.tar.gz.part")
        process.send_signal(number)
        assert process.wait(30) == -number, read(area + "/err")
    assert "interrupted" in read(area + "/err") and "run the same command again" in read(area + "/err")
    assert not [name for name in os.listdir(area) if name.startswith("a.tar")]
