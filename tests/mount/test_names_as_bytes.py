"""Names of files may be any bytes: each command takes them, shows them by one rule, and JSON carries them there and back."""

import json
import os
import re

import pytest

BAD = "caf\udce9"  # the byte 0xe9, as Python writes what is not UTF-8
SHOWN = "caf\\xe9"


def to_bytes(text):
    """lib/base/escape.h, the other way round."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m.group(1), 16)]), text.encode())


@pytest.fixture(params=["mounted", "free"])
def door(request, store, fs):
    """Commands through the daemon, and in their own process. The mount is there while the test makes its files."""
    def run(*args):
        if request.param == "free" and store.points:
            store.umount()
        return store.ok("-s", store.path, *args)
    return run


def write(path, text="1"):
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)


def test_rollback_of_a_path(door, store, fs):
    write(f"{fs}/{BAD}", "before")
    os.mkdir(f"{fs}/.snapshots/s")
    write(f"{fs}/{BAD}", "after")
    assert door("rollback", "d@s", "--path", BAD, "-n").splitlines() == [f"M {SHOWN}"]
    door("rollback", "d@s", "--path", BAD)
    assert door("diff", "d@s", "--path", BAD) == ""


def test_versions(door, store, fs):
    write(f"{fs}/{BAD}", "one")
    os.mkdir(f"{fs}/.snapshots/s")
    rows = json.loads(door("versions", f"d/{BAD}", "--json"))
    assert [row["path"] for row in rows] == [SHOWN]


def test_diff_tells_which_bytes_they_are(door, store, fs):
    os.mkdir(f"{fs}/.snapshots/s")
    names = [b"caf\xe9", b"\\xe9", b"back\\slash", b"two\nlines", "na\u00efve".encode(), b"\x9b[1m", b"\xed\xa0\x80"]
    for name in names:
        write(os.fsencode(fs) + b"/" + name)
    entries = json.loads(door("diff", "d@s", "--json"))["entries"]
    assert sorted(to_bytes(entry["path"]) for entry in entries if entry["kind"] == "added") == sorted(names)
    lines = door("diff", "d@s").splitlines()
    assert len(lines) == len(names) and f"+ {SHOWN}" in lines and "+ two\\x0alines" in lines and "+ \\x5cxe9" in lines


def test_import_and_export(door, store, fs, area):
    source = f"{area}/{BAD}"
    os.mkdir(source)
    write(f"{source}/{BAD}")
    door("import", source, f"d/{BAD}")
    door("export", f"d/{BAD}", f"{area}/out{BAD}")
    assert os.listdir(f"{area}/out{BAD}") == [BAD]
    door("warm", f"d/{BAD}")


def test_a_note(door, store, fs):
    door("snapshot", "create", "d@s", "--note", BAD)
    assert json.loads(door("snapshot", "show", "d@s", "--json"))["note"] == SHOWN
    assert SHOWN in door("snapshot", "list", "d")


def test_errors_name_what_was_meant(door, store, fs):
    door("dataset", "list")
    result = store.run("-s", store.path, "versions", f"d/{BAD}")
    assert result.code == 3 and SHOWN in result.err
    assert SHOWN in store.run("-s", store.path, "dataset", "show", BAD).err


def test_a_mountpoint(blank):
    blank.init()
    point = blank.mount(f"{blank.area}/{BAD}")
    assert [mount["mountpoint"] for mount in json.loads(blank.ok("-s", blank.path, "status", "--json"))["mounts"]] == [
        point.replace(BAD, SHOWN)]
    blank.umount(point)
