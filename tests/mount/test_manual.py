"""packaging/corpusfs.1: every command stands in it as it is, and its text says what it is for."""

import re

import pytest

from harness import program

PAGE = program.PROJECT + "/packaging/corpusfs.1"


@pytest.fixture(scope="module")
def page():
    with open(PAGE, encoding="utf-8") as handle:
        text = handle.read().replace("\\-", "-")
    synopsis, rest = re.match(r".*\n\.SH SYNOPSIS\n\.nf\n(.*?)\n\.fi\n(.*)", text, re.S).groups()
    return [line.removeprefix("corpusfs ") for line in synopsis.splitlines()], re.sub(r"\\f[BIR]|[\"\n]|\.BR? ", " ", rest)


def commands(store):
    """Each with its operands, as the help says."""
    lines = re.findall(r"^  ([a-z].*?)(?:  .*)?$", store.ok("help"), re.M)
    names = [line for line in lines if not line.startswith("-")]
    for name in names:
        words = [word for word in name.split() if re.fullmatch("[a-z][a-z-]*", word)]
        usage = store.ok("help", *words).splitlines()[0]
        yield " ".join(words), usage.removeprefix("usage: corpusfs ").replace(" [OPTIONS]", "")


def test_the_synopsis_is_what_the_program_takes(blank, page):
    assert sorted(page[0]) == sorted(usage for _, usage in commands(blank))


def test_the_text_says_something_of_each_command(blank, page):
    words = re.sub(r"\s+", " ", page[1])
    assert [name for name, _ in commands(blank) if f"corpusfs {name}" not in words] == []


def test_the_page_has_an_example_for_fstab(page):
    assert re.search(r"^\S+ +/mnt/corpus +fuse\.corpusfs +\S+ +0 0", open(PAGE, encoding="utf-8").read(), re.M)


def test_commands_and_options_that_the_text_names_are_there(blank, page):
    helps = {name: blank.ok("help", *name.split()) for name, _ in commands(blank)}
    with open(PAGE, encoding="utf-8") as handle:
        lines = re.findall(r"^(?:\.BR?|\s).*corpusfs .*$", handle.read().replace("\\-", "-"), re.M)
    missing, seen = [], 0
    for phrase in re.findall(r"\bcorpusfs (?:-s \S+ )?((?:-{0,2}[a-z][a-z-]* ?)+)", "\n".join(lines)):
        words = phrase.split()
        name = next((" ".join(words[:count]) for count in (3, 2, 1) if " ".join(words[:count]) in helps), None)
        seen += 1
        missing += [f"corpusfs {phrase}"] if not name else [f"{name} {word}" for word in words if word.startswith("--") and word not in helps[name]]
    assert not missing and seen > 100
