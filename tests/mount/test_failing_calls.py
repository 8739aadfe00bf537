"""One system call of a command fails, at any place: nothing wrong comes of it, nothing is called done that is not, and the same command goes on."""

import errno
import glob
import itertools
import json
import os
import random
import shutil
import subprocess

import pytest

from harness import files, posix, procs, program, rot, tree
from harness.damaged import synced
from harness.failures import Failures
from harness.repository import SECRETS, Repository, fill
from harness.store import Store

ROUNDS = 8
ERRORS = {
    "write": (errno.EIO, errno.ENOSPC, errno.EINTR, 0), "fdatasync": (errno.EIO,), "fsync": (errno.EIO,), "rename": (errno.EIO,),
    "fallocate": (errno.ENOSPC, errno.EOPNOTSUPP), "create": (errno.EIO, errno.ENOSPC, errno.EMFILE), "link": (errno.EIO, errno.EPERM),
    "read": (errno.EIO, errno.EINTR, 0), "direct": (errno.EIO,), "open": (errno.EIO, errno.EMFILE, errno.ENOMEM), "stat": (errno.EIO, errno.ENOMEM),
    "unlink": (errno.EIO,), "mkdir": (errno.EIO, errno.ENOSPC), "truncate": (errno.EIO,), "mmap": (errno.ENOMEM,), "list": (errno.EIO,),
}  # fmt: skip


class Place:
    """A store with a dataset, what that was made of, and a repository with a backup of it: all below a directory in which calls fail."""

    def __init__(self, area, run, seed):
        self.area, self.run_mark, self.home, self.chance = area, run, area + "/inside", random.Random(seed)
        self.numbers = itertools.count()
        self.source = self.home + "/source"
        os.makedirs(self.source)
        fill(self.source, count=20)
        files.put(self.source + "/big", rot.noise(1, 3 << 20))
        self.store = Store(area, run.mark, run.home, path=self.home + "/store").init()
        self.store.expected.append(" error ")  # whatever is said of it
        self.failures = Failures(area + "/failures", self.home)
        self.ok("import", self.source, "d")
        self.ok("snapshot", "create", "d@s")
        self.wanted = tree.scan(self.source)

    def ok(self, *args):
        return self.store.ok("-s", self.store.path, *args, env=SECRETS)

    def fresh(self, kind):
        return f"{kind}{next(self.numbers)}"

    def copy_of(self, template):
        path = f"{self.home}/{self.fresh('copy')}"
        shutil.copytree(template, path, symlinks=True)
        return path

    def check_directory(self, path):
        assert not tree.differences(self.wanted, tree.scan(path))
        shutil.rmtree(path)

    def check_what_is_in(self, path):
        contents = {name: (row["content"], self.wanted[name].get("content")) for name, row in tree.scan(path).items() if "content" in row}
        assert contents and all(wanted in (None, found) for found, wanted in contents.values())
        shutil.rmtree(path)

    def check_dataset(self, name, store=None):
        out = f"{self.area}/{self.fresh('out')}"
        self.store.ok("-s", store or self.store.path, "export", name, out)
        self.check_directory(out)

    def run(self, args):
        environment = {**SECRETS, **self.failures.environment}
        return self.store.run(*(args if args[0] == "-s" else ["-s", self.store.path, *args]), env=environment)

    # --- commands: what each does, and what must be when it says that it is done

    def take_in(self):
        name = self.fresh("taken")
        return ["import", self.source, name], lambda: self.check_dataset(name)

    def take_in_archive(self):
        name, archive = self.fresh("taken"), self.home + "/source.tar"
        if not os.path.exists(archive):
            subprocess.run(["tar", "--xattrs", "-C", self.source, "-cf", archive, "."], check=True, timeout=60)
        return ["import", archive, name], lambda: self.check_dataset(name)

    def give_out(self):
        path = f"{self.home}/{self.fresh('out')}"
        return ["export", "d@s", path], lambda: self.check_directory(path)

    def give_out_archive(self):
        path = f"{self.home}/{self.fresh('out')}.tar.zst"

        def check():
            name = self.fresh("again")
            self.ok("import", path, name)
            self.check_dataset(name)
            os.unlink(path)

        return ["export", "d@s", path], check

    def repository(self):
        if not os.path.exists(self.home + "/empty"):
            Repository(self.store, self.home + "/empty")
            Repository(self.store, self.home + "/repository").backup("d")
        return self.home + "/repository"

    def back_up(self):
        self.repository()
        path = self.copy_of(self.home + "/empty")

        def check():
            out = f"{self.area}/{self.fresh('out')}/"
            self.ok("restore", path, out)
            self.check_directory(out)
            shutil.rmtree(path)

        return ["backup", "d", path, "--type", "full"], check

    def restore(self):
        path = f"{self.home}/{self.fresh('out')}/"
        return ["restore", self.repository(), path], lambda: self.check_directory(path)

    def restore_dataset(self):
        name = self.fresh("restored")
        return ["restore", self.repository(), name], lambda: self.check_dataset(name)

    def snapshot(self):
        name = f"d@{self.fresh('s')}"
        return ["snapshot", "create", name], lambda: self.check_dataset(name)

    def collect(self):
        name = self.fresh("gone")
        files.put(self.source + "/more", os.urandom(2 << 20))
        self.ok("import", self.source, name)
        os.unlink(self.source + "/more")
        self.ok("dataset", "destroy", name)
        return ["gc"], lambda: self.check_dataset("d@s")

    def scrub(self):
        return ["scrub", "--restart"], lambda: None

    def check(self):
        return ["check"], lambda: None

    def heal(self):
        """A store in which a chunk of the big file is damaged, and known to be."""
        template = self.home + "/hurt"
        if not os.path.exists(template):
            shutil.copytree(self.store.path, template)
            hurt = Store(self.area, self.run_mark.mark, self.run_mark.home, path=template)
            assert rot.content(hurt, rot.noise(1, 3 << 20), 1 << 20) == 1
            assert hurt.run("-s", template, "scrub").code == program.DAMAGED
        path = self.copy_of(template)

        def check():
            self.check_dataset("d@s", path)
            shutil.rmtree(path)

        return ["-s", path, "repair", "--from", self.source, "--apply"], check

    def mend(self):
        """A store whose list of tables is damaged."""
        path = self.copy_of(self.store.path)
        (manifest,) = glob.glob(path + "/db*/MANIFEST-*")
        rot.flip(manifest, os.stat(manifest).st_size // 2)

        def check():
            self.store.ok("-s", path, "check")
            self.check_dataset("d@s", path)
            shutil.rmtree(path)

        return ["-s", path, "repair", "--apply"], check


@pytest.fixture
def place(area, run, seed):
    made = Place(area, run, seed)
    yield made
    made.failures.stop()
    made.store.close()


COMMANDS = ["take_in", "take_in_archive", "give_out", "give_out_archive", "back_up", "restore", "restore_dataset", "snapshot", "collect", "scrub",
            "check", "heal", "mend"]  # fmt: skip


def one_round(place, command, calls):
    call = place.chance.choice(sorted(calls))
    error, skip = place.chance.choice(ERRORS[call]), place.chance.randrange(calls[call])
    args, check = getattr(place, command)()
    place.failures.order(call, error, skip, 1)
    result = place.run(args)
    failed = place.failures.stop()
    print(f"{call} {skip} of {calls[call]} failed {failed} times with {error}: exit {result.code} {result.err}")
    assert 0 <= result.code < 10 and (result.code == 0 or "corpusfs: " in result.err), result
    if result.code == 0:
        check()
        return failed
    if command == "give_out" and " problem" in result.out:  # what could not be given out is named
        place.check_what_is_in(args[-1])
        return failed
    again = place.run(args)
    if command == "restore_dataset" and again.code == program.EXISTS:  # what came before is complete, as was said
        again = place.run([*args, "--over"])
    assert again.code == 0 or (command == "snapshot" and again.code == program.EXISTS), f"after {result}: {again}"
    check()
    return failed


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.kinds("command")
@pytest.mark.parametrize("command", COMMANDS)
def test_one_call_of_a_command_fails(place, rounds, command):
    args, check = getattr(place, command)()
    place.failures.count()
    result = place.run(args)
    calls = {call: number for call, number in place.failures.counted().items() if number > 0}
    assert result.code == 0 and "read" in calls, result
    check()
    assert sum(one_round(place, command, calls) for _ in range(max(ROUNDS * rounds // program.scale(), 2))) > 0
    place.ok("check")
    place.ok("scrub", "--restart")
    assert json.loads(place.ok("damage", "--json"))["chunks"] == 0, "what could not be read for a moment is damaged no more"
    place.check_dataset("d@s")


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_a_prune_that_cannot_look_at_a_backup_removes_nothing_of_it(place, skip):
    """Two backups that have nothing in common."""
    os.mkdir(place.home + "/other")
    files.put(place.home + "/other/big", rot.noise(2, 3 << 20))
    place.ok("import", place.home + "/other", "e")
    path = place.repository()
    place.ok("backup", "e", path, "--type", "full")
    place.failures.inside = path + "/snapshots"
    place.failures.order("stat", errno.EIO, skip, 1)
    result = place.run(["backup", "prune", path])
    failed = place.failures.stop()
    assert (result.code == 0 and not failed) or (result.code == program.FAILED and "corpusfs: " in result.err), result
    assert json.loads(place.ok("backup", "verify", path, "--data", "--json"))["problem_count"] == 0


@pytest.mark.parametrize("skip", [0, 3])
def test_a_check_that_cannot_list_what_repairs_have_left_says_so(place, skip):
    """The daemon does the rest."""
    place.store.mount(place.area + "/mnt")
    os.mkdir(place.store.path + "/before-repair-1")
    assert "before-repair-1" in place.ok("check")
    place.failures.order("list", errno.EIO, skip, 1)
    result = place.run(["check"])
    assert place.failures.stop() == 1 and "what repairs have left" in result.err and result.code == program.FAILED, result


def test_an_export_that_goes_on_tells_where_it_cannot_list_what_is_there(place):
    """What else stands in the target is told of, or that it was not looked for."""
    out = place.home + "/out"
    assert place.store.run("-s", place.store.path, "export", "d@s", out, env={"CORPUSFS_FAULT": "export-write:enospc"}).code == program.NO_SPACE
    for number in range(10):
        files.put(f"{out}/mine{number}", b"mine")
    place.failures.inside = out
    place.failures.order("list", errno.EIO, 6, 1)
    result = place.run(["export", "d@s", out])
    assert place.failures.stop() == 1 and "already cannot be listed" in result.err and result.code == program.FAILED, result


# --- a daemon

def entries(path):
    """{path: content}; errors instead of what could not be read. A listing is whole or fails."""
    found = {}

    def visit(folder):
        for name in os.listdir(folder):
            at = os.path.join(folder, name)
            try:
                if os.path.islink(at):
                    found[at[len(path) :]] = os.readlink(at)
                elif os.path.isdir(at):
                    visit(at)
                elif os.path.isfile(at):
                    found[at[len(path) :]] = files.get(at)
            except OSError as problem:
                found[at[len(path) :]] = problem

    visit(path)
    return found


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_calls_of_a_daemon_fail_while_its_files_are_read_and_written(place, rounds):
    """What is read is right or an error, what was synced is there; and when nothing fails any more, all of it can be read again."""
    wanted = entries(place.source)
    point = place.store.mount(area_mount := place.area + "/mnt", env=place.failures.environment)
    failed = 0
    for number in range(max(2 * ROUNDS * rounds // program.scale(), 4)):
        call = place.chance.choice(["read", "direct", "open", "stat", "mmap", "list"])
        error, times = place.chance.choice(ERRORS[call]), place.chance.choice([1, 3, 100000])
        posix.drop_caches()
        place.failures.order(call, error, place.chance.randrange(30), times)
        try:
            found = entries(point + "/d/.snapshots/s")
        except OSError as problem:
            found = {}
            print(problem)
        written = posix.outcome(lambda at=number: synced(f"{point}/d/new{at}", rot.noise(at)))
        failed += place.failures.stop()
        wrong = [name for name, content in found.items() if not isinstance(content, OSError) and wanted[name] != content]
        assert not wrong, f"{call} failed with {error}: {wrong}"
        posix.drop_caches()
        assert entries(point + "/d/.snapshots/s") == wanted, f"after {call} failed with {error}, {times} times"
        if written == "ok":
            assert files.get(f"{point}/d/new{number}") == rot.noise(number)
        if place.chance.random() < 0.3:
            place.store.kill()
            place.store.mount(area_mount, env=place.failures.environment)
            if written == "ok":
                assert files.get(f"{point}/d/new{number}") == rot.noise(number)
    assert failed > 0 and procs.alive(place.store.pid)
    place.store.umount()
    place.ok("check")
    place.ok("scrub", "--restart")
