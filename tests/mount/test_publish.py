"""Published datasets: versions in a repository that several machines share, mounted and brought back on others."""

import glob
import json
import os
import shutil
import signal
import urllib.request

import pytest

from harness import files, procs, program, rot, tree
from harness.between import Between, serving
from harness.publishing import at_once, change, differences, life, mounted, same
from harness.repository import restic, restic_check

KILLED = -signal.SIGKILL


@pytest.fixture
def base(remotes, area):
    """A directory as the remote "base", made by publishing d@1 as the first version."""
    remotes.add("base", area + "/repository")
    remotes.run("snapshot", "create", "d@1")
    remotes.publish("d@1", "--init")
    return area + "/repository"


def same_in_the_end(source, point):
    """Whoever waits for an answer for a short time only gets some errors from a slow server."""
    def is_same():
        try:
            return not differences(source, point)
        except OSError:
            return False

    procs.poll(is_same, 60, f"{point} is as {source}")


@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_life_in_a_directory(remotes, elsewhere, source, area):
    remotes.add("base", area + "/repository")
    life(remotes, elsewhere, area + "/repository", area, source)


@pytest.mark.parametrize("kind", ["locks", "snapshots", "index"])
def test_what_a_server_is_still_writing_is_waited_for(remotes, rest, kind):
    """Some show the beginning of it: that is no damage."""
    class Writing(Between):
        port, asked = rest.port, 0

        def do_HEAD(self):
            if f"/{kind}/" not in self.path or Writing.asked >= 3:
                self.do_GET()
                return
            Writing.asked += 1
            self.send_response(200)
            self.send_header("Content-Length", str(10 * Writing.asked))
            self.end_headers()

    remotes.add("base", rest.url("r"), "--single-writer")
    remotes.publish("d", "--init")
    remotes.store.run("-s", remotes.store.path, "publish", "d", "base", "--unchanged", env={**remotes.env, "CORPUSFS_FAULT": "backup-before-snapshot-file"})
    with serving(Writing) as port:
        remotes.add("slow", f"rest:http://127.0.0.1:{port}/r/", "--single-writer")
        assert len(remotes.json("backup", "list" if kind == "snapshots" else "verify", "slow:")) > 0
    assert Writing.asked >= 3


@pytest.mark.timeout(120)
def test_life_behind_the_rest_protocol(remotes, elsewhere, rest, source, area):
    remotes.add("base", rest.url("r"), "--single-writer")
    life(remotes, elsewhere, rest.url("r"), area, source)


@pytest.mark.timeout(240)
def test_life_in_s3(remotes, elsewhere, s3, source, area):
    credentials = remotes.write("credentials", "aws_access_key_id = testkey\naws_secret_access_key = testsecret\n")
    remotes.add("base", s3.url("some/where"), "--credentials-file", credentials)
    life(remotes, elsewhere, s3.url("some/where"), area, source)
    at_once(remotes, s3.url("some/where"), area, "fresh")
    for text in (remotes.store.log(), procs.command_lines("corpusfs")):
        assert "testsecret" not in text


@pytest.mark.timeout(240)
def test_who_was_paused_in_s3_while_another_one_published_does_not(remotes, elsewhere, s3, area):
    """A conditional write decides: no clock, and nobody who remembers."""
    remotes.add("base", s3.url("some/where"), "--credentials-file",
                remotes.write("credentials", "aws_access_key_id = testkey\naws_secret_access_key = testsecret\n"))
    remotes.publish("d", "--init")
    elsewhere.run("restore", "base:d", "d")
    change(elsewhere, "d", "theirs")
    change(remotes, "d", "ours")
    with remotes.store.stopped_at("head-before-put", "-s", remotes.store.path, "publish", "d", "base", "--unchanged", env=remotes.env) as paused:
        elsewhere.publish("d")
    assert paused.code == program.EXISTS and "was published meanwhile" in paused.err, paused.err
    assert [(row["number"], row["head"]) for row in remotes.versions()] == [(1, False), (2, True)]
    mounted(elsewhere, "base:d", area + "/point", lambda point: os.stat(point + "/theirs"))
    restic_check(s3.url("some/where"), area + "/cache")


@pytest.mark.timeout(120)
def test_of_several_at_once_one_publishes(remotes, base, area):
    at_once(remotes, base, area, "fresh")


def test_place_that_does_not_keep_writers_apart_must_have_one(remotes, rest):
    remotes.add("base", rest.url("r"))
    assert "--single-writer" in remotes.publish("d", "--init", code=program.UNSUPPORTED).err
    assert remotes.versions() == []
    remotes.publish("d", "--single-writer")
    assert remotes.heads() == {"d": 1}


@pytest.mark.parametrize("point", ["backup-before-snapshot-file", "head-before-put", "head-after-put"])
def test_publish_that_dies_leaves_the_old_version_or_the_new_one(remotes, base, point, area):
    change(remotes, "d", "more")
    result = remotes.store.run("-s", remotes.store.path, "publish", "d", "base", "--unchanged", env={**remotes.env, "CORPUSFS_FAULT": point})
    assert result.code == KILLED
    expected = 2 if point == "head-after-put" else 1
    assert remotes.heads() == {"d": expected}
    remotes.run("restore", "base:d", area + "/out")
    assert os.path.exists(area + "/out/more") == (expected == 2)
    remotes.run("backup", "unlock", "base:")
    remotes.publish("d")
    assert remotes.heads() == {"d": expected + 1}
    assert [row["name"] for row in remotes.json("snapshot", "list", "d") if row["holds"]] == [remotes.versions()[-1]["name"]]
    restic_check(base, area + "/cache")


def test_what_a_lost_pack_had_is_published_again(remotes, base, source, area):
    os.remove(max(glob.glob(base + "/data/*/*"), key=os.path.getsize))
    assert "it is not there" in remotes.run("backup", "rebuild-index", "base:", "--drop-missing", code=program.FAILED).err
    change(remotes, "d", "more")
    assert "in no index any more" in remotes.publish("d").err
    remotes.run("restore", "base:d", area + "/out")
    shutil.rmtree(area + "/out/more")
    shutil.copystat(source, area + "/out")
    tree.assert_same(source, area + "/out")
    restic_check(base, area + "/cache")
    change(remotes, "d", "again")
    assert remotes.publish("d").err == ""


def test_version_that_came_keeps_its_backup_whatever_is_told(remotes, base, area):
    change(remotes, "d", "more")
    result = remotes.publish("d", code=program.FAILED, env={"CORPUSFS_FAULT": "head-after-put:eio"})
    assert "not known" in result.err
    assert [(row["number"], row["gone"]) for row in remotes.versions()] == [(1, False), (2, False)]
    remotes.run("restore", "base:d", area + "/out")
    assert os.path.exists(area + "/out/more")
    remotes.publish("d")
    assert remotes.heads() == {"d": 3}
    restic_check(base, area + "/cache")


def test_only_what_publishing_took_itself_goes(remotes, base):
    remotes.run("snapshot", "create", "d@published-1.0")
    remotes.publish("d@published-1.0")
    remotes.publish("d")
    taken = remotes.versions()[-1]["name"]
    remotes.publish("d")
    names = [row["name"] for row in remotes.json("snapshot", "list", "d")]
    assert "published-1.0" in names and taken not in names and remotes.versions()[-1]["name"] in names


def test_copy_of_a_store_does_not_count_what_the_original_published(remotes, base, run):
    twin = run.store(remotes.area, "twin")
    shutil.copytree(remotes.store.path, twin.path)
    change(remotes, "d", "more")
    remotes.publish("d")
    twins = remotes.of(twin)
    assert "meanwhile" in twins.publish("d", code=program.EXISTS).err
    assert remotes.heads() == {"d": 2}
    remotes.publish("d")
    twins.publish("d", "--force")
    assert "meanwhile" in remotes.publish("d", code=program.EXISTS).err
    twins.publish("d")


def test_restored_version_counts_while_the_dataset_comes_from_it(remotes, base, elsewhere):
    elsewhere.run("restore", "base:d", "d")
    change(elsewhere, "d", "theirs")
    elsewhere.publish("d")
    remotes.run("snapshot", "create", "d@old")
    guard = remotes.json("restore", "base:d", "d", "--over")["guard"]
    assert "does not come from it" in remotes.publish("d@old", code=program.EXISTS).err
    remotes.run("rollback", "d@" + guard, "--no-guard")
    assert "does not come from it" in remotes.publish("d", code=program.EXISTS).err
    remotes.run("restore", "base:d", "d", "--over")
    change(remotes, "d", "ours")
    remotes.publish("d")
    remotes.run("rollback", "d@old", "--no-guard")
    remotes.publish("d")
    assert remotes.heads() == {"d": 4}


def test_dry_run_writes_nothing(remotes, base, area):
    change(remotes, "d", "more")

    def state():
        found = {}
        for folder, _, names in os.walk(base):
            found.update({f"{folder}/{name}": os.stat(f"{folder}/{name}").st_mtime_ns for name in names})
        return found, remotes.json("snapshot", "list", "d")

    before = state()
    done = json.loads(remotes.publish("d", "--dry-run", "--json").out)
    assert state() == before
    assert done["number"] == 2 and 200000 < done["stored"] < 1 << 20
    real = json.loads(remotes.publish("d", "--json").out)
    # among it are times of either moment, as text without the zeros at its end
    assert abs(real["added"] - done["added"]) < 100


def test_version_has_one_name_and_never_changes(remotes, base):
    assert "already" in remotes.publish("d@1").out
    assert remotes.heads() == {"d": 1}
    change(remotes, "d", "more")
    remotes.run("snapshot", "destroy", "d@1", code=program.BUSY)
    remotes.run("snapshot", "rename", "d@1", "old")
    remotes.run("snapshot", "create", "d@1")
    assert "never changes" in remotes.publish("d@1", code=program.EXISTS).err
    assert "never changes" in remotes.publish("d@1", "--force", code=program.EXISTS).err
    assert remotes.heads() == {"d": 1}


def test_snapshot_that_cannot_be_read_is_not_called_published(remotes, base):
    data = change(remotes, "d", "more")
    remotes.run("snapshot", "rename", "d@1", "old")
    remotes.run("snapshot", "create", "d@1")
    assert rot.content(remotes.store, data, 100000) > 0
    assert "cannot be compared" in remotes.publish("d@1", code=program.FAILED).err


def test_head_is_not_forgotten(remotes, base, area):
    remotes.run("snapshot", "create", "d@2")
    remotes.publish("d@2")
    first, second = remotes.versions()
    assert "newest version" in remotes.run("backup", "forget", "base:", second["backup"], code=program.BUSY).err
    remotes.run("backup", "d", "base:")
    for option, word in (["--dry-run"], "is"), ([], "was"):
        told = remotes.run("backup", "forget", "base:", "--keep-last", "1", *option).out
        assert f"backup {first['backup'][:8]} {word} published as d@" in told, told
    assert [row["gone"] for row in remotes.versions()] == [True, False]
    remotes.run("backup", "prune", "base:")
    remotes.run("restore", "base:d", area + "/out")
    assert "gone" in remotes.run("restore", "base:d@1", area + "/old", code=program.NOT_FOUND).err
    # restic knows of no heads
    restic(base, "forget", second["backup"])
    assert "gone" in remotes.publish("d@2", code=program.NOT_FOUND).err
    assert "gone" in remotes.run("mount", "base:d", area, code=program.NOT_FOUND).err
    remotes.publish("d")
    remotes.run("restore", "base:d", area + "/new")
    restic_check(base, area + "/cache")


def test_prune_tells_which_versions_go(remotes, base):
    change(remotes, "d", "more")
    remotes.publish("d")
    first = remotes.versions()[0]
    for option, word in (["--dry-run"], "is"), ([], "was"):
        told = remotes.run("backup", "prune", "base:", "--keep-last", "1", *option).out
        assert f"backup {first['backup'][:8]} {word} published as d@1" in told, told
    assert [row["gone"] for row in remotes.versions()] == [True, False]


def test_head_is_kept_whatever_numbers_other_datasets_have(remotes, base):
    """Heads are listed dataset by dataset; here the next one's first number is higher than the number of the head before it."""
    remotes.publish("d", "--as", "other")
    first, last = [row["dataset"] for row in remotes.versions()]
    old = max(os.listdir(base + "/heads"))
    remotes.publish("d", "--as", last)
    os.remove(f"{base}/heads/{old}")
    assert remotes.heads() == {first: 1, last: 2}
    for row in remotes.versions():
        assert "newest version" in remotes.run("backup", "forget", "base:", row["backup"], code=program.BUSY).err
    remotes.run("backup", "d", "base:")
    remotes.run("backup", "forget", "base:", "--keep-last", "1")
    assert [row["gone"] for row in remotes.versions()] == [False, False]


def test_heads_that_are_damaged_or_moved_are_told(remotes, base, elsewhere, area):
    change(remotes, "d", "more")
    remotes.publish("d")
    old, new = sorted(os.listdir(base + "/heads"))
    third = f"{base}/heads/{new[:-1]}3"
    shutil.copy(f"{base}/heads/{old}", third)
    for victim in (third, f"{base}/heads/{new}"):
        if victim != third:
            os.remove(third)
            rot.flip(victim, 40)
        assert [row["damaged"] for row in remotes.versions()][-1]
        for args in (["mount", "base:d", area], ["restore", "base:d", area + "/out"]):
            assert "damaged" in remotes.run(*args, code=program.DAMAGED).err
        remotes.run("restore", "base:d@1", area + "/old")
    elsewhere.run("restore", "base:d@1", "d")
    elsewhere.publish("d", code=program.EXISTS)
    remotes.publish("d")
    assert remotes.heads() == {"d": 3}
    remotes.run("restore", "base:d", area + "/again")


def test_junk_of_the_highest_number_is_told_with_a_way_out(remotes, base):
    junk = os.listdir(base + "/heads")[0][:48] + f"{1 << 62:016x}"
    files.put(f"{base}/heads/{junk}", b"junk")
    told = remotes.publish(code=program.FAILED).err
    assert "highest number" in told and "heads/" + junk in told
    remotes.publish("d", "--as", "other")
    os.remove(f"{base}/heads/{junk}")
    remotes.publish("d")
    assert remotes.heads() == {"d": 2, "other": 1}


def test_mount_stays_on_its_version(remotes, base, source, area):
    def check(point):
        change(remotes, "d", "more")
        remotes.publish("d")
        same(source, point)
        assert sorted(os.listxattr(point + "/a/b")) == sorted(os.listxattr(source + "/a/b"))
        with pytest.raises(OSError):
            files.put(point + "/new", b"x")

    mounted(remotes, "base:d", area + "/point", check)
    mounted(remotes, "base:d", area + "/point", lambda point: os.stat(point + "/more"))


def test_mount_names_what_there_is_not(remotes, base, area):
    os.mkdir(area + "/point")
    assert "corpusfs publish x base:" in remotes.run("mount", "base:x", area + "/point", code=program.NOT_FOUND).err
    assert "version" in remotes.run("mount", "base:d@x", area + "/point", code=program.NOT_FOUND).err
    assert "which dataset" in remotes.run("mount", "base:", area + "/point", code=program.USAGE).err
    assert "timeout" in remotes.run("mount", "base:d", area + "/point", "-o", "timeout=x", code=program.USAGE).err
    assert "published" in remotes.run("import", "restic:base:d", "e", code=program.USAGE).err


@pytest.mark.timeout(120)
def test_mount_of_a_store_that_goes_away_and_comes_back(remotes, rest, source, area):
    remotes.add("base", rest.url("r"), "--single-writer")
    remotes.publish("d", "--init")
    point = area + "/point"
    os.mkdir(point)
    remotes.store.expected.append("backups")
    remotes.run("mount", "base:d", point, "-o", "timeout=1")
    try:
        names = procs.poll(lambda: sorted(names_in(point + "/a")), 60, "the directory comes")
        seen = procs.poll(lambda: procs.read(point + "/0 first by name"), 60, "the content comes")
        rest.stop()
        assert sorted(os.listdir(point + "/a")) == names and os.statvfs(point).f_namemax == 255
        with open(point + "/a/4", "rb") as handle:
            assert handle.read() == seen
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                files.get(point + "/holes")
        rest.start()
        same_in_the_end(source, point)
        rest.stop()
    finally:
        remotes.run("umount", point)
    rest.start()
    restic_check(rest.url("r"), area + "/cache", outage=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("slow", ["the higher number", "the lower number"])
def test_two_numbers_at_once_are_told(remotes, elsewhere, rest, area, slow):
    """After a repository was put back, who published the lost versions goes on from their numbers."""
    remotes.add("base", rest.url("r"), "--single-writer")
    remotes.publish("d", "--init")
    elsewhere.run("restore", "base:d", "d")
    shutil.copytree(rest.directory + "/r", area + "/old")
    for _ in range(2):
        remotes.publish("d")
    rest.stop()
    shutil.rmtree(rest.directory + "/r")
    shutil.copytree(area + "/old", rest.directory + "/r")
    rest.start()
    change(remotes, "d", "ours")
    change(elsewhere, "d", "theirs")
    last, first = (remotes, elsewhere) if slow == "the higher number" else (elsewhere, remotes)

    class FirstAnother(Between):
        port, done = rest.port, False

        def do_GET(self):
            if self.command == "POST" and "/heads/" in self.path and not FirstAnother.done:
                FirstAnother.done = True
                first.publish("d")
            super().do_GET()

        do_HEAD = do_POST = do_DELETE = do_GET

    with serving(FirstAnother) as port:
        remotes.add("slow", f"rest:http://127.0.0.1:{port}/r/", "--single-writer")
        refused = last.publish("d", name="slow", code=program.EXISTS)
    assert "at the same time" in refused.err and FirstAnother.done
    assert [(row["number"], row["gone"]) for row in remotes.versions()] == [(1, False), (2, False), (4, False)]
    restic_check(rest.url("r"), area + "/cache")


@pytest.mark.timeout(120)
def test_without_its_lock_nothing_is_published(remotes, rest, area):
    """Somebody may have pruned what the backup consists of."""
    remotes.add("base", rest.url("r"), "--single-writer")
    remotes.publish("d", "--init")
    change(remotes, "d", "more")

    class Thief(Between):
        port = rest.port

        def do_POST(self):
            for name in os.listdir(rest.directory + "/r/locks") if "/snapshots/" in self.path else []:
                urllib.request.urlopen(urllib.request.Request(f"{rest.url('r')[5:]}locks/{name}", method="DELETE"), timeout=60).close()
            self.do_GET()

    with serving(Thief) as port:
        remotes.add("slow", f"rest:http://127.0.0.1:{port}/r/", "--single-writer")
        refused = remotes.publish("d", name="slow", code=program.FAILED)
    assert "lock" in refused.err and "taken away" in refused.err
    assert remotes.heads() == {"d": 1} and len(remotes.json("backup", "list", "base:")) == 1
    remotes.publish("d")
    restic_check(rest.url("r"), area + "/cache")


@pytest.mark.timeout(120)
def test_mount_whose_index_comes_late(remotes, rest, source, area):
    between = type("OneBetween", (Between,), {"port": rest.port})
    with serving(between) as port:
        remotes.add("base", f"rest:http://127.0.0.1:{port}/r/", "--single-writer")
        remotes.publish("d", "--init")
        point = area + "/point"
        os.mkdir(point)
        between.silent = "/index/"
        remotes.run("mount", "base:d", point, "-o", "timeout=1")
        try:
            with pytest.raises(OSError, match="Input/output error"):
                os.listdir(point)
            assert os.statvfs(point).f_namemax == 255
            between.silent = ""
            same_in_the_end(source, point)
        finally:
            remotes.run("umount", point)


def names_in(directory):
    """Nothing as long as it cannot be read."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def test_what_is_damaged_is_not_published(remotes, base, source, area):
    data = change(remotes, "d", "more")
    assert rot.content(remotes.store, data, 100000) > 0
    result = remotes.publish("d", code=program.FAILED)
    assert "not published" in result.err
    assert remotes.heads() == {"d": 1} and len(remotes.json("backup", "list", "base:")) == 1
    restic_check(base, area + "/cache")
