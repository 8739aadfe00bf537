"""Comparisons of large and deep trees: neither the daemon nor the command holds the answer in memory."""

import json
import os
import subprocess
import tarfile

import pytest

from harness import procs, program, tree
from harness.snapshots import idle

FILES = 150_000
GROWTH_MAX = 96 << 20  # of the daemon, with what it reads into its cache
COMMAND_MAX = 400 << 20  # address space of the command, most of which are libraries


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "wb") as handle:
        handle.write(b"5")


def write_tar(path, count):
    with open(path, "wb") as out:
        for i in range(count):
            info = tarfile.TarInfo(f"d{i // 1000}/a-name-of-usual-length-{i}")
            out.write(info.tobuf(tarfile.USTAR_FORMAT))
        out.write(bytes(1024))


def small_command(store, *args):
    """The command with little address space; its output goes to a file."""
    environment = program.environment(store.run_mark, store.logs)
    return program.call(["prlimit", f"--as={COMMAND_MAX}", store.binary, "-s", store.path, *args], environment, store.logs)


@pytest.fixture
def many(store, fs, area):
    if program.sanitized():
        pytest.skip("a sanitizer's memory says nothing about ours")
    os.mkdir(f"{fs}/.snapshots/s")
    write_tar(f"{area}/many.tar", FILES)
    store.ok("-s", store.path, "import", f"{area}/many.tar", "d")
    # What the daemon does in the background is done, and takes no memory any more.
    assert os.getxattr(f"{fs}/.snapshots/s", "user.corpusfs.identity")
    idle(store)


@pytest.mark.timeout(180)
def test_a_long_answer_takes_little_memory(store, fs, many):
    store.ok("-s", store.path, "diff", "d@s", "--stat")
    before = procs.memory(store.pid)
    reset_peak(store.pid)
    result = small_command(store, "diff", "d@s", "--json")
    assert result.code == 0, result.err
    growth = procs.memory(store.pid, "VmHWM") - before
    assert growth < GROWTH_MAX, f"the daemon grew by {growth >> 20} MiB"
    value = json.loads(result.out)
    assert value["counts"]["added"] == FILES + FILES // 1000
    assert len(value["entries"]) == sum(value["counts"].values())
    result = small_command(store, "diff", "d@s")
    assert result.code == 0 and result.out.count("\n+ ") + result.out.startswith("+ ") == FILES + FILES // 1000


@pytest.fixture
def deep(store, fs):
    """How deep a tree is that was made after a snapshot, and its last directory."""
    depth = 20_000 // program.scale()
    os.mkdir(f"{fs}/.snapshots/s")
    here = tree.make_deep(fs, depth)
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    yield depth, here
    os.close(here)
    assert subprocess.run(["rm", "-rf", f"{fs}/d"], check=False, timeout=120).returncode == 0


@pytest.mark.timeout(180)
def test_what_lies_too_deep_is_told_together(store, fs, deep):
    depth, here = deep
    lines = store.ok("-s", store.path, "diff", "d@s").splitlines()
    assert len(lines) < 3000 and max(len(line) for line in lines) < 5000
    told = sum(line.startswith("+ ") for line in lines)
    below = [line for line in lines if line.startswith("> ")]
    assert len(below) == 1 and f"({depth + 1 - told} more, too deep" in below[0]
    assert json.loads(store.ok("-s", store.path, "diff", "d@s", "--stat", "--json"))["counts"]["added"] == depth + 1
    os.mkdir(f"{fs}/.snapshots/t")
    os.rename("bottom", "renamed", src_dir_fd=here, dst_dir_fd=here)
    entries = json.loads(store.ok("-s", store.path, "diff", "d@t", "--json"))["entries"]
    assert [(entry["kind"], entry["entries"]) for entry in entries] == [("below", 1)]
    assert store.ok("-s", store.path, "rollback", "d@t", "--dry-run").startswith("> d/d/")
