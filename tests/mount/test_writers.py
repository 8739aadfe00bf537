"""Who is the writer of a dataset, by a lease and a term in etcd: nobody else publishes, and nobody does whose term is over."""

import json
import threading

import pytest

from harness import procs, program
from harness.between import Between, serving
from harness.publishing import change, told

KILLED = -9


def publish_as_writer(machine, seconds=60, code=0, **more):
    return machine.publish("d", "--lease", str(seconds), "--json", code=code, **more)


def term(result):
    return json.loads(result.out)["term"]


@pytest.fixture
def there(published, remotes, elsewhere):
    """Another machine, with the version that was published."""
    elsewhere.run("restore", "base:d", "d")
    change(elsewhere, "d", "theirs")
    change(remotes, "d", "ours")
    return elsewhere


def test_who_publishes_nothing_new_becomes_the_writer_all_the_same(published, remotes, elsewhere):
    elsewhere.run("restore", "base:d", "d")
    told_of = json.loads(remotes.run("publish", "d", "base", "--lease", "60", "--json").out)
    assert (told_of["term"], told_of["was_there"], published.numbers()) == (1, True, [1])
    told(elsewhere.run("publish", "d", "base", code=program.BUSY), 'the writer of "d" is', "since")
    # with nothing to publish, too, its term has ended when another one has it
    remotes.publish("d", "--release")
    assert json.loads(elsewhere.run("publish", "d", "base", "--lease", "60", "--json").out)["term"] > 1
    assert published.numbers() == [1]


def takes_over(machine, code=0, **more):
    """It becomes the writer as soon as the lease of the one before has ended."""
    results = []

    def tries():
        results.append(machine.store.run("-s", machine.store.path, "publish", "d", "base", "--unchanged", "--lease", "60", "--json",
                                         env={**machine.env, **more}))
        assert results[-1].code in (code, program.BUSY), results[-1].err
        return results[-1].code == code

    procs.poll(tries, 60, "the lease ends")
    return results[-1]


@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_while_there_is_a_writer_nobody_else_publishes(published, remotes, there):
    assert term(publish_as_writer(remotes)) == 1
    for options in ([], ["--lease", "60"], ["--force"], ["--dry-run"]):
        told(there.publish("d", *options, code=program.BUSY), 'the writer of "d" is', "since")
    # he himself says that he is it; and has another term each time
    told(remotes.publish("d", code=program.BUSY), "by a lease")
    change(remotes, "d", "more")
    assert term(publish_as_writer(remotes)) == 2
    assert published.numbers() == [1, 2, 3]
    # other datasets have writers of their own
    there.publish("d", "--as", "other")
    # nobody learns from etcd who he is
    assert not [value for key, value in published.etcd.keys().items() if "/writers/" in key and b"host" in value]


@pytest.mark.timeout(180)
def test_after_the_lease_another_one_takes_over(published, remotes, there):
    publish_as_writer(remotes, 5)
    result = takes_over(there, program.EXISTS)
    # he is it now, but does not come from the newest version
    assert "was published meanwhile" in result.err
    told(remotes.publish("d", code=program.BUSY), 'the writer of "d" is')
    assert term(there.publish("d", "--lease", "60", "--force", "--json")) == 3
    assert published.numbers() == [1, 2, 3]


@pytest.mark.parametrize("lease, says", [(["--lease", "5"], "its term, 1, is over"), ([], "another machine has become the writer")])
@pytest.mark.timeout(180)
def test_who_was_paused_while_another_became_the_writer_does_not_publish(published, remotes, there, lease, says):
    """Also when the new writer has not published yet: it is its right that is over, not its version that is old."""
    command = ["-s", remotes.store.path, "publish", "d", "base", "--unchanged", *lease]
    with remotes.store.stopped_at("head-before-transaction", *command, env=remotes.env) as paused:
        assert takes_over(there, KILLED, CORPUSFS_FAULT="head-before-transaction:kill").code == KILLED
    assert paused.code == program.BUSY and says in paused.err and len(paused.err.splitlines()) == 1, paused.err
    assert published.numbers() == [1]
    there.run("backup", "unlock", "base:")
    assert term(publish_as_writer(there)) == (3 if lease else 2)
    assert published.numbers() == [1, 2]


class Losing(Between):
    """Passes on what etcd is asked, and loses the first answer to who becomes the writer."""

    lost = False

    def send_body(self, data):
        if b'"lease"' in self.asked and not self.lost:
            type(self).lost = self.close_connection = True
            return
        super().send_body(data)


class LosingRelease(Losing):
    """The first answer to who gives it up."""

    def send_body(self, data):
        if b"request_delete_range" in self.asked and not self.lost:
            type(self).lost = self.close_connection = True
            return
        Between.send_body(self, data)


@pytest.mark.timeout(120)
def test_who_has_become_the_writer_finds_that_out_when_the_answer_was_lost(published, remotes, there):
    handler = type("handler", (Losing,), {"port": published.etcd.ports()[0]})
    with serving(handler) as port:
        published.add("lossy", f"127.0.0.1:{port}")
        assert term(publish_as_writer(remotes, name="lossy")) == 1
    assert handler.lost and published.numbers() == [1, 2]


@pytest.mark.timeout(180)
def test_who_publishes_for_longer_than_his_lease_stays_the_writer(published, remotes, there):
    """The lease is renewed meanwhile."""
    slowly = {"CORPUSFS_FAULT": "backup-before-snapshot-file:sleep12000"}
    publishing = threading.Thread(target=remotes.publish, args=("d", "--lease", "5"), kwargs={"env": slowly})
    publishing.start()
    procs.poll(lambda: any("/writers/" in key for key in published.etcd.keys()), 30, "it is the writer")
    while publishing.is_alive():
        there.publish("d", code=program.BUSY)
    publishing.join()
    assert published.numbers() == [1, 2]


def writer_of(machine, dataset="d"):
    return next((row.get("writer") for row in machine.versions() if row["dataset"] == dataset and (row["head"] or "number" not in row)), None)


def release(machine, *options, code=0, **more):
    return machine.publish("d", "--release", *options, code=code, **more)


@pytest.mark.sanitize
@pytest.mark.timeout(120)
def test_lease_that_is_given_up_is_anybodys_at_once(published, remotes, there):
    assert json.loads(release(remotes, "--json").out) == {"dataset": "d", "released": False}
    publish_as_writer(remotes, 600)
    told(release(there, code=program.BUSY), 'the writer of "d" is', " s more", "--force")
    told(there.publish("d", code=program.BUSY), " s more")
    assert json.loads(release(remotes, "--json").out)["released"]
    assert "nobody was the writer" in release(remotes).out
    assert writer_of(remotes) is None
    assert term(there.publish("d", "--lease", "60", "--force", "--json")) == 3
    assert published.numbers() == [1, 2, 3]


@pytest.mark.timeout(120)
def test_lease_that_is_taken_away_leaves_no_right(published, remotes, there):
    """Whoever had it is about to publish, and nobody has become the writer since."""
    command = ["-s", remotes.store.path, "publish", "d", "base", "--unchanged", "--lease", "600"]
    with remotes.store.stopped_at("head-before-transaction", *command, env=remotes.env) as paused:
        release(there, code=program.BUSY)
        release(there, "--force")
    assert paused.code == program.BUSY and "its term, 1, is over" in paused.err and len(paused.err.splitlines()) == 1, paused.err
    assert published.numbers() == [1]
    assert term(publish_as_writer(remotes)) == 3


@pytest.mark.timeout(120)
def test_who_gives_the_lease_up_finds_that_out_when_the_answer_was_lost(published, remotes, there):
    publish_as_writer(remotes, 600)
    handler = type("handler", (LosingRelease,), {"port": published.etcd.ports()[0]})
    with serving(handler) as port:
        published.add("lossy", f"127.0.0.1:{port}")
        assert "any more" in release(remotes, name="lossy").out
    assert handler.lost and writer_of(remotes) is None


@pytest.mark.timeout(120)
def test_list_shows_the_writers(published, remotes, there):
    assert "WRITER OF" not in remotes.run("remote", "list", "base").out and writer_of(remotes) is None
    publish_as_writer(remotes, 600)
    # it has become the writer of what it could not publish then
    command = ["-s", there.store.path, "publish", "d", "base", "--unchanged", "--as", "fresh", "--lease", "300"]
    assert there.store.run(*command, env={**there.env, "CORPUSFS_FAULT": "head-before-transaction:kill"}).code == KILLED
    writer = writer_of(remotes)
    assert writer["term"] == 1 and 500 < writer["left_s"] <= 600 and abs(writer["until"] - writer["since"] - 600) < 60 and writer["host"]
    assert 200 < writer_of(remotes, "fresh")["left_s"] <= 300
    rows = remotes.run("remote", "list", "base").out.split("WRITER OF")[1].splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["d", "fresh"] and all(writer["host"] in row for row in rows)
    # who takes an older answer is not told who may write
    assert "WRITER OF" not in remotes.run("remote", "list", "base", "--stale-ok").out


def test_what_is_not_released(published, remotes):
    remotes.run("snapshot", "create", "d@v2")
    told(remotes.publish("d@v2", "--release", code=program.USAGE), "snapshot")
    told(release(remotes, "--lease", "60", code=program.USAGE), "--lease")
    told(remotes.publish("none", "--release", code=program.NOT_FOUND), "none")


def test_leases_need_etcd(served, remotes):
    told(release(remotes, code=program.UNSUPPORTED), "etcd")
    told(remotes.publish("d", "--lease", "60", code=program.UNSUPPORTED), "etcd")
    told(remotes.publish("d", "--lease", "4", code=program.USAGE), "--lease 4")
    told(remotes.publish("d", "--lease", "soon", code=program.USAGE), "--lease soon")


@pytest.mark.timeout(120)
def test_damaged_term_is_named(published, remotes, there):
    publish_as_writer(remotes)
    key = next(key for key in published.etcd.keys() if "/terms/" in key)
    published.etcd.put(key, b"junk")
    change(remotes, "d", "more")
    told(publish_as_writer(remotes, code=program.DAMAGED), key)
