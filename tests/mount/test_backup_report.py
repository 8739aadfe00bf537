"""The chance of losing data: what goes into it is shown with where it comes from, and records of drills and verifications count."""

import json
import os
import re

import pytest

from harness import program
from harness.repository import SECRETS


@pytest.fixture
def other(repository, area):
    """A second repository with a backup of the dataset."""
    repository.run("backup", "init", area + "/other")
    repository.run("backup", "d", area + "/other")
    return area + "/other"


def report(repository, *args, code=0):
    return repository.json("backup", "report", "d", *args, code=code)


def inputs(result):
    return {row["input"]: (row["value"], row["from"]) for row in result["inputs"]}


def schedule(repository, area):
    with open(area + "/password", "w", encoding="ascii") as handle:
        handle.write("correct horse\n")
    repository.run("backup", "schedule", "d", repository.path, "--password-file", area + "/password", "--full", "monthly", "--drill", "weekly")


def test_each_copy_makes_it_smaller_and_one_elsewhere_most(repository, other):
    alone = report(repository)
    repository.backup("d")
    beside = report(repository, repository.path)
    apart = report(repository, "vault:" + repository.path)
    three = report(repository, "vault:" + repository.path, "cellar:" + other)
    assert [len(result["copies"]) for result in (alone, beside, apart, three)] == [1, 2, 2, 3]
    assert alone["loss_per_year"] > beside["loss_per_year"] > apart["loss_per_year"] > three["loss_per_year"] > 0
    for result in (alone, beside, apart, three):
        assert result["low"] < result["loss_per_year"] < result["high"]
        best = min((row for row in result["changes"] if row["change"].startswith("one more copy")), key=lambda row: row["loss_per_year"])
        assert result["best_copy"] == best and best["loss_per_year"] < result["loss_per_year"]
    assert "site" not in beside["best_copy"], "where nothing stands yet"


def test_a_remote_is_no_site_and_the_directory_that_it_names(repository, area):
    def run(*args, code=0):
        return repository.run(*args, code=code, secrets={**SECRETS, "CORPUSFS_REMOTES": area + "/remotes"})

    repository.backup("d")
    run("remote", "add", "nas", repository.path)
    for name, site in ("nas:", "here"), ("attic:nas:", "attic"):
        assert [row["site"] for row in json.loads(run("backup", "report", "d", name, "--json").out)["copies"]] == ["here", site]
    assert "are one copy" in run("backup", "report", "d", repository.path, "attic:nas:", code=program.USAGE).err


@pytest.mark.sanitize
def test_two_mirrored_disks_have_the_chance_that_is_in_the_books(repository):
    """Two disks of 3 failures in 100 years, 8 days of repair, nothing else: 2 * 0.03^2 * 8 / 365.25, to first order."""
    repository.backup("d")
    result = report(repository, "vault:" + repository.path, "--disk-rate", "0.03", "--site-rate", "0", "--rot-rate", "0", "--repair-days", "7",
                    "--restore-hours", "24", "--site", "office")
    assert abs(result["loss_per_year"] / (2 * 0.03**2 * 8 / 365.25) - 1) < 0.03
    assert [row["site"] for row in result["copies"]] == ["office", "vault"]
    assert inputs(result)["disk-rate"] == (0.03, "given") and inputs(result)["check-days"][1] == "assumed"


def test_inputs_are_known_from_schedules_and_drills(repository, store, area):
    repository.backup("d")
    schedule(repository, area)
    store.ok("-s", store.path, "scrub", "schedule", "weekly")
    assert inputs(report(repository))["restore-hours"][1] == "assumed"
    repository.run("backup", "drill", repository.path)
    seen = inputs(report(repository))
    assert seen["check-days"] == (7, "known") and seen["scrub-days"] == (7, "known") and seen["restore-hours"] == (0.1, "known")
    assert inputs(report(repository, "--check-days", "2"))["check-days"] == (2, "given")


def test_a_scrub_that_is_not_planned_is_told(repository):
    repository.backup("d")
    repository.run("scrub", "schedule", "off")
    assert re.search(r"scrub-days +\S+ +none is planned", repository.run("backup", "report", "d", repository.path).out)
    assert re.search(r"scrub-days +\S+ +given", repository.run("backup", "report", "d", repository.path, "--scrub-days", "7").out)


def test_what_would_be_lost_now_is_counted_from_the_newest_backup_that_was_verified(repository, store, area):
    first = repository.backup("d")["backup"]
    schedule(repository, area)
    taken = {row["backup"]: row["taken"] for row in repository.backups()}
    assert "newest_verified" not in report(repository) and "no drill or verification of one is known" in repository.run("backup", "report", "d").out
    repository.run("backup", "drill", repository.path)
    assert report(repository)["newest_verified"] == taken[first]
    os.makedirs(area + "/more")
    with open(area + "/more/new", "wb") as handle:
        handle.write(b"new")
    store.ok("-s", store.path, "import", area + "/more", "d/more")  # not by a mount, whose daemon would make what is due
    second = repository.backup("d", kind="incremental")["backup"]
    taken = {row["backup"]: row["taken"] for row in repository.backups()}
    result = report(repository)
    assert result["newest_verified"] == taken[first] and result["newest_backup"] == taken[second]
    assert "newer backups were not drilled or verified" in repository.run("backup", "report", "d").out
    repository.verify()
    assert report(repository)["newest_verified"] == taken[second]
    for path in repository.packs():
        os.chmod(path, 0o600)
        with open(path, "r+b") as handle:
            handle.write(b"\xff" * 64)
    repository.backup("d")
    repository.verify(code=program.FAILED)
    assert report(repository)["newest_verified"] == taken[second], "a verification that failed verified nothing"


def test_what_was_verified_is_known_where_nothing_is_scheduled(repository, other, store):
    first, second = repository.backup("d")["backup"], repository.backup("d", kind="incremental")["backup"]
    taken = {row["backup"]: row["taken"] for row in repository.backups()}
    said = repository.run("backup", "report", "d").out
    assert "nothing is known here" in said and "corpusfs backup report d REPO" in said
    repository.run("backup", "drill", f"{repository.path}@{first}")
    assert report(repository, repository.path)["newest_verified"] == taken[first]
    repository.verify()
    assert report(repository, repository.path)["newest_verified"] == taken[second]
    assert "newest_verified" not in report(repository, other), "that was in another repository"
    repository.run("backup", "forget", repository.path, second)
    assert "newest_verified" not in report(repository, repository.path)
    repository.verify()
    assert report(repository, repository.path)["newest_verified"] == taken[first]


def an_older_and_a_newer(repository, store, area):
    """Two backups of a dataset with a schedule, and {backup: when its snapshot was taken}."""
    store.ok("-s", store.path, "snapshot", "create", "d@old")
    first = repository.backup("d@old")["backup"]
    second = repository.backup("d")["backup"]
    schedule(repository, area)
    taken = {row["backup"]: row["taken"] for row in repository.backups()}
    return first, second, taken


def test_a_drill_by_hand_of_an_older_backup_takes_nothing_from_the_newer_one(repository, store, area):
    first, second, taken = an_older_and_a_newer(repository, store, area)
    repository.run("backup", "drill", f"{repository.path}@{first}")
    assert report(repository)["newest_verified"] == taken[first]
    repository.run("backup", "drill", f"{repository.path}@{second}")
    repository.run("backup", "drill", f"{repository.path}@{first}")
    assert report(repository)["newest_verified"] == taken[second]


def test_a_backup_that_is_gone_is_not_the_newest_that_was_verified(repository, store, area):
    first, second, taken = an_older_and_a_newer(repository, store, area)
    repository.verify()
    assert report(repository)["newest_verified"] == taken[second]
    repository.run("backup", "forget", repository.path, second)
    result = report(repository)
    assert result["newest_backup"] == taken[first] and "newest_verified" not in result
    assert "no drill or verification of one is known" in repository.run("backup", "report", "d").out
    repository.verify()
    assert report(repository)["newest_verified"] == taken[first]


def test_copies_are_of_the_dataset_whatever_had_or_has_its_name(repository, store):
    repository.backup("d")
    store.ok("-s", store.path, "dataset", "rename", "d", "renamed")
    assert len(repository.json("backup", "report", "renamed", repository.path)["copies"]) == 2
    store.create("d")
    refused = repository.run("backup", "report", "d", repository.path, code=program.NOT_FOUND).err
    assert "no complete backup" in refused and len(refused.splitlines()) == 1
    repository.backup("d")
    assert len(report(repository, repository.path)["copies"]) == 2


def test_text_claims_no_more_than_a_digit_and_shows_what_it_assumed(repository):
    repository.backup("d")
    text = repository.run("backup", "report", "d", "vault:" + repository.path).out
    assert "chance that data is lost within a year: about 1 in 2000\n" in text
    assert "the further copy that helps most: one more copy" in text and "assumed" in text
    assert "are on one filesystem" in text


def test_what_is_no_copy_or_no_number_is_refused(repository, area):
    assert "no complete backup" in report_error(repository, repository.path, code=program.NOT_FOUND)
    repository.backup("d")
    assert "are one copy" in report_error(repository, repository.path, "vault:" + repository.path + "/")
    assert "--disk-rate is a number" in report_error(repository, "--disk-rate", "often")
    assert "above 0" in report_error(repository, "--scrub-days", "0")
    assert report_error(repository, area + "/nothing", code=program.NOT_FOUND)


def report_error(repository, *args, code=program.USAGE):
    return repository.run("backup", "report", "d", *args, code=code).err
