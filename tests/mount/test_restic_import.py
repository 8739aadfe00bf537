"""What restic backed up comes into a dataset: `import restic:REPO[@SNAPSHOT]`. Debian's restic writes what we read."""

import json
import os
import random
import shutil
import subprocess

import pytest

from harness import program, tree
from harness.files import stats_below
from harness.repository import PASSWORD, SECRETS, restic


@pytest.fixture
def made(area):
    """A repository that restic made."""
    restic(area + "/made", "init")
    return area + "/made"


def import_from(store, place, target, *options, code=0, env=SECRETS, **more):
    result = store.run("-s", store.path, "import", "restic:" + place, target, *options, env=env, **more)
    assert result.code == code, f"exit {result.code}\n{result.out}{result.err}"
    return result


def exported(store, dataset, area):
    target = f"{area}/export-{dataset}"
    store.ok("-s", store.path, "export", dataset, target)
    return target


def newest(repository):
    return json.loads(restic(repository, "snapshots", "latest", "--json"))[0]["id"]


def text(path, content=None):
    if content is None:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    with open(path, "w", encoding="utf-8") as handle:
        return handle.write(content)


@pytest.mark.sanitize
def test_all_kinds_of_files_come_in_as_they_were_backed_up(store, source, area, made):
    os.setxattr(source + "/a/7", "trusted.note", b"root's")
    restic(made, "backup", source)
    result = json.loads(import_from(store, made, "d", "--json").out)
    assert result["problem_count"] == 0 and result["backup"] == newest(made)
    tree.assert_same(source, exported(store, "d", area))
    assert os.getxattr(area + "/export-d/a/7", "trusted.note") == b"root's"


def test_zeros_for_holes_take_no_room(store, area, made):
    def stored():
        return sum(info.st_size for _, info in stats_below(store.path))

    os.mkdir(area + "/tree")
    with open(area + "/tree/holes", "wb") as handle:
        handle.truncate(200 << 20)
        handle.seek(100 << 20)
        handle.write(b"in the middle")
    restic(made, "backup", area + "/tree")
    before = stored()
    import_from(store, made, "d")
    tree.assert_same(area + "/tree", exported(store, "d", area))
    assert stored() - before < 20 << 20


def test_snapshot_is_chosen_by_digits_newest_host_or_tag(store, area, made):
    os.mkdir(area + "/tree")
    names = {}
    for number, options in enumerate([["--host", "one"], ["--host", "two", "--tag", "good"], ["--host", "two"]]):
        text(area + "/tree/file", str(number))
        restic(made, "backup", area + "/tree", *options)
        names[number] = newest(made)
    point = store.mount()

    def holds(dataset, *options, at="@latest"):
        import_from(store, made + at, dataset, *options)
        return text(f"{point}/{dataset}/file")

    assert holds("a") == "2" and holds("b", "--host", "one") == "0" and holds("c", "--tag", "good") == "1"
    assert holds("d", at="@" + names[1][:9]) == "1" and holds("e", at="") == "2"
    assert holds("f", "--host", "two", "--tag", "good", at="") == "1"
    assert 'with tag "bad"' in import_from(store, made + "@latest", "g", "--tag", "bad", code=program.NOT_FOUND).err
    assert import_from(store, made + "@" + names[0][:9], "g", "--host", "two", code=program.NOT_FOUND).err
    assert not os.path.exists(point + "/g")


def test_names_that_lead_to_the_directory_are_taken_off_only_where_nothing_else_is(store, area, made):
    os.makedirs(area + "/top/tree/tree")
    text(area + "/top/tree/tree/file", "x")
    text(area + "/top/tree/beside", "x")
    point = store.mount()

    def brought(dataset, *options):
        import_from(store, made + "@latest", dataset, *options)
        return sorted(os.path.relpath(os.path.join(at, name), f"{point}/{dataset}") for at, _, names in os.walk(f"{point}/{dataset}") for name in names)

    restic(made, "backup", area + "/top/tree")
    assert brought("one") == ["beside", "tree/file"]
    assert brought("whole", "--path", "/") == [f"{area}/top/tree/beside".lstrip("/"), f"{area}/top/tree/tree/file".lstrip("/")]
    assert brought("part", "--path", f"{area}/top/tree/tree") == ["file"]
    restic(made, "backup", area + "/top/tree/tree", area + "/top/tree/beside")
    assert len(brought("two")) == 2 and os.path.exists(f"{point}/two{area}/top/tree/tree/file")
    restic(made, "backup", area + "/top/tree/beside")
    assert brought("file") == [f"{area}/top/tree/beside".lstrip("/")]
    assert "has no" in import_from(store, made, "none", "--path", "nothing", "--tag", "no", code=program.NOT_FOUND).err


def test_relative_path_comes_in_as_restic_has_it(store, area, made):
    os.makedirs(area + "/top/tree")
    text(area + "/top/tree/file", "x")
    here = os.getcwd()
    os.chdir(area + "/top")
    try:
        restic(made, "backup", "tree")
    finally:
        os.chdir(here)
    import_from(store, made, "d")
    assert text(store.mount() + "/d/tree/file") == "x"


def test_import_that_is_run_again_passes_over_what_is_there(store, source, area, made):
    restic(made, "backup", source)
    point = store.mount()
    import_from(store, made, "d/deep/down")
    tree.assert_same(source, point + "/d/deep/down")
    before = os.stat(point + "/d/deep/down/a/8").st_ino
    os.remove(point + "/d/deep/down/a/9")
    result = json.loads(import_from(store, made, "d/deep/down", "--json").out)
    assert result["files"] == 2, "and the file with several names, as of an archive"
    assert os.stat(point + "/d/deep/down/a/8").st_ino == before
    tree.assert_same(source, point + "/d/deep/down")


def test_directories_that_are_there_lose_attributes_that_restic_did_not_back_up(store, source, area, made):
    """The target, too; the names that are there and were not backed up stay as they are."""
    restic(made, "backup", source)
    point = store.mount(options="allow_other,acl")
    import_from(store, made, "d/deep")
    os.mkdir(point + "/d/deep/mine")
    for path in ("deep", "deep/a", "deep/a/b", "deep/empty", "deep/a/6", "deep/a/8", "deep/mine"):
        path = os.path.join(point, "d", path)
        os.setxattr(path, "user.foreign", b"x")
        subprocess.run(["setfacl", "-m", "u:4321:rwx", path], check=True)
        if os.path.isdir(path):
            subprocess.run(["setfacl", "-m", "d:u:4321:rwx", path], check=True)
    import_from(store, made, "d/deep")
    assert os.getxattr(point + "/d/deep/mine", "user.foreign") == b"x"
    for path in ("deep", "deep/a", "deep/a/b", "deep/empty"):
        assert not [name for name in os.listxattr(f"{point}/d/{path}") if "foreign" in name or "posix_acl" in name]
    shutil.rmtree(point + "/d/deep/mine")
    shutil.copystat(source, point + "/d/deep")
    tree.assert_same(source, point + "/d/deep")


def test_users_import_is_the_users_and_what_only_root_may_is_left_out(blank, source, area, made):
    os.setxattr(source + "/a/7", "trusted.note", b"root's")
    os.setxattr(source + "/a/8", "user.note", b"everybody's")
    os.makedirs(source + "/.snapshots/own")
    restic(made, "backup", source)
    for path in (area, os.path.dirname(area)):
        os.chmod(path, 0o755)
    os.mkdir(area + "/mine")
    for path in (area + "/mine", made):
        os.chown(path, 12345, 12345)
        for at, folders, names in os.walk(path):
            for name in folders + names:
                os.chown(f"{at}/{name}", 12345, 12345)
    store = area + "/mine/store"
    assert blank.run("init", store, user=12345).code == 0
    done = blank.run("-s", store, "import", "restic:" + made, "d", "--json", env=SECRETS, user=12345)
    assert done.code == program.FAILED, done.err
    result = json.loads(done.out)
    assert {row["path"] for row in result["problems"]} == {"null", ".snapshots", ".snapshots/own"}
    assert any("trusted.note" in note for note in result["notes"])
    assert blank.run("-s", store, "export", "d", area + "/mine/out", user=12345).code == 0
    assert os.getxattr(area + "/mine/out/a/8", "user.note") == b"everybody's"
    assert {os.lstat(f"{at}/{name}").st_uid for at, _, names in os.walk(area + "/mine/out") for name in names} == {12345}


def test_damaged_repository_ends_the_import_and_no_wrong_byte_comes_in(store, area, made):
    os.mkdir(area + "/tree")
    for number in range(40):
        with open(f"{area}/tree/{number:02}", "wb") as handle:
            handle.write(random.Random(number).randbytes(1 << 20))
    restic(made, "backup", area + "/tree")
    packs = [os.path.join(at, name) for at, _, names in os.walk(made + "/data") for name in names]
    with open(sorted(packs, key=os.path.getsize)[-1], "r+b") as handle:
        handle.seek(1000)
        handle.write(b"damage")
    failed = import_from(store, made, "d", code=program.DAMAGED)
    assert "damaged in the repository" in failed.err and "what came before is complete" in failed.err and "--keep-going" in failed.err
    point = store.mount()
    there = os.listdir(point + "/d")
    assert len(there) < 40
    for name in there:
        assert tree.digest(f"{point}/d/{name}") == tree.digest(f"{area}/tree/{name}"), name


def test_repository_of_the_first_format_version_is_read(store, source, area):
    restic(area + "/old", "init", "--repository-version", "1")
    restic(area + "/old", "backup", source)
    import_from(store, area + "/old", "d")
    tree.assert_same(source, exported(store, "d", area))


def test_backup_of_ours_comes_in_with_its_holes(repository, store, source, area):
    repository.backup("d")
    import_from(store, repository.path + "@d", "e")
    target = exported(store, "e", area)
    tree.assert_same(source, target)
    assert os.stat(target + "/holes").st_blocks * 512 < 1 << 20


def test_what_is_wrong_is_said_in_a_line(store, source, area, made):
    restic(made, "backup", source)
    with open(area + "/password", "w", encoding="ascii") as handle:
        handle.write(PASSWORD + "\n")
    import_from(store, made, "d", "--password-file", area + "/password", env={"HOME": "/"})
    assert "password is wrong" in import_from(store, made, "e", code=program.PERMISSION, env={"CORPUSFS_PASSWORD": "wrong"}).err
    assert "no backup" in import_from(store, made + "@12345678", "e", code=program.NOT_FOUND).err
    assert import_from(store, area + "/nothing", "e", code=program.NOT_FOUND).err.count("\n") == 1
    refused = store.run("-s", store.path, "import", source, "e", "--tag", "x")
    assert refused.code == program.USAGE and "--tag goes with a repository only" in refused.err
    point = store.mount()
    shutil.copytree(made, point + "/d/repository")
    assert "lies in a mount of the same store" in import_from(store, point + "/d/repository", "e", code=program.USAGE).err
    assert not os.path.exists(point + "/e")
