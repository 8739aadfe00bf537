"""Real trees and real programs: what goes in through plain tools comes out equal."""

import contextlib
import os
import random
import sqlite3
import subprocess

import pytest

from harness import posix, program, tree

LIMIT = 100


def shell(command, cwd=None, limit=LIMIT):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit * program.scale()
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def make_tree(root):
    """A small tree with one of everything that tools have to carry."""
    chance = random.Random(7)
    for folder in ("plain", "plain/deep/er", "modes", "links"):
        os.makedirs(f"{root}/{folder}")
    for number in range(200):
        with open(f"{root}/plain/{number}", "wb") as handle:
            handle.write(chance.randbytes(int(2 ** chance.uniform(0, 19))))
    for number, mode in enumerate((0o000, 0o444, 0o755, 0o4755, 0o2755, 0o600)):
        with open(f"{root}/modes/{mode:o}", "wb") as handle:
            handle.write(b"mode")
        os.chown(f"{root}/modes/{mode:o}", number * 1000, number * 100)
        os.chmod(f"{root}/modes/{mode:o}", mode)
    os.mkdir(root + "/modes/sticky")
    os.chmod(root + "/modes/sticky", 0o1777)
    for number in range(5):
        os.link(root + "/plain/1", f"{root}/links/hard{number}")
    os.symlink("../plain/2", root + "/links/soft")
    os.symlink("/nowhere at all", root + "/links/dangling")
    os.mkfifo(root + "/links/fifo")
    os.mknod(root + "/links/null", 0o020666, os.makedev(1, 3))
    with open(root + "/plain/sparse", "wb") as handle:
        handle.truncate(50 << 20)
        for offset in (1 << 20, 30 << 20):
            handle.seek(offset)
            handle.write(chance.randbytes(100000))
    os.setxattr(root + "/plain/3", "user.note", b"\x00binary\xff")
    os.setxattr(root + "/plain/deep", "user.dir", b"yes")
    with open(root + "/plain/ name with\nnewline", "wb") as handle:
        handle.write(b"x")
    for folder, names, files in os.walk(root, topdown=False):
        for name in names + files:
            when = chance.randrange(1 << 60)
            posix.utimensat(f"{folder}/{name}", divmod(when, 10**9), divmod(when, 10**9), posix.AT_SYMLINK_NOFOLLOW)


@pytest.fixture
def source(area):
    path = area + "/source"
    os.mkdir(path)
    make_tree(path)
    return path


def remount(store):
    store.umount()
    store.mount(store.area + "/mnt")


@pytest.mark.sanitize
@pytest.mark.timeout(120)
@pytest.mark.parametrize("copy", [
    "cp -a --sparse=always {source}/. {target}/",
    "tar -C {source} --sparse --xattrs --numeric-owner -cf - . | tar -C {target} --xattrs --numeric-owner -xpf -",
    "rsync -aHAXS --numeric-ids {source}/ {target}/",
    "cd {source} && find . -depth -print0 | cpio --null -pdmu --quiet {target}" if os.path.exists("/usr/bin/cpio") else "cp -a {source}/* {target}/",
], ids=["cp", "tar", "rsync", "other"])  # fmt: skip
def test_tree_with_everything_is_carried_in_and_out(fs, store, source, area, copy):
    target, back = fs + "/tree", area + "/back"
    os.mkdir(target)
    os.mkdir(back)
    shell(copy.format(source=source, target=target))
    remount(store)
    wanted, found = tree.scan(source), tree.scan(target)
    for name in (".", ) + (("./plain", "./plain/deep") if "cpio" in copy else ()):
        wanted.pop(name), found.pop(name)
    if "cpio" in copy:
        for rows in (wanted, found):
            for row in rows.values():
                row.pop("xattrs", None), row.pop("mtime", None)
    assert tree.differences(wanted, found) == []
    if "cpio" not in copy and "/*" not in copy:
        assert os.stat(target + "/plain/sparse").st_blocks * 512 < 2 << 20
    shell(f"cp -a {target}/. {back}/")
    found_back = tree.scan(back)
    found_back.pop(".")
    assert tree.differences(tree.scan(target) | {".": None}, found_back | {".": None}) == []


@pytest.mark.timeout(120)
def test_second_rsync_has_nothing_to_do(fs, store, source):
    command = f"rsync -aHAX --numeric-ids --itemize-changes --delete {source}/ {fs}/"
    assert shell(command) != ""
    assert shell(command) == ""
    remount(store)
    assert shell(command) == ""
    assert shell(command.replace("rsync", "rsync --checksum")) == ""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("place, parts", [("/usr/include", ("linux", "c++", "rocksdb", "openssl")), ("/usr/share", ("perl", "perl5", "zoneinfo", "mime"))])
def test_system_tree_round_trips(fs, store, place, parts):
    """As much of one as there is time for."""
    names = []
    for part in filter(os.path.isdir, (f"{place}/{part}" for part in parts)):
        shell(f"cp -a {part} {fs}/")
        names.append((part, f"{fs}/{os.path.basename(part)}"))
    remount(store)
    for part, copy in names:
        tree.assert_same(part, copy)
        shell(f"diff -r --no-dereference {part} {copy}")


@pytest.mark.sanitize
@pytest.mark.timeout(240)
def test_git_works_inside_the_mount(fs, store, area):
    origin = area + "/origin"
    os.mkdir(origin)
    git = "git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main -c gc.auto=0"
    chance = random.Random(3)
    shell(f"{git} init -q", origin)
    for commit in range(10):
        for number in range(20):
            os.makedirs(f"{origin}/dir{number % 4}", exist_ok=True)
            with open(f"{origin}/dir{number % 4}/{commit % 3}-{number}", "wb") as handle:
                handle.write(chance.randbytes(chance.randrange(20000)))
        shell(f"{git} add -A && {git} commit -qm {commit}", origin)
    shell(f"git clone -q --no-hardlinks {origin} work", fs)
    shell(f"git fsck --full --strict && {git} checkout -qb side HEAD~3 && echo x > new && {git} add new && {git} commit -qm side", fs + "/work")
    shell(f"{git} merge -q main -m merge && {git} gc -q --prune=now && git fsck --full && test -z \"$(git status --porcelain)\"", fs + "/work")
    remount(store)
    shell("git fsck --full --strict && test -z \"$(git status --porcelain)\"", fs + "/work")


@pytest.mark.sanitize
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_sqlite_works_inside_the_mount(fs, store, mode):
    path, chance, total = fs + "/base.db", random.Random(mode), 0
    base = sqlite3.connect(path)
    assert base.execute(f"PRAGMA journal_mode={mode}").fetchone()[0] == mode.lower()
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB)")
    for _ in range(20):
        with base:
            for _ in range(100 // program.scale()):
                total += 1
                base.execute("INSERT INTO t (name, data) VALUES (?, ?)", (f"name{total}", chance.randbytes(chance.randrange(3000))))
        with base:
            base.execute("UPDATE t SET data = ? WHERE id % 7 = 0", (chance.randbytes(1000),))
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM t").fetchone()[0] == total
    base.execute("BEGIN IMMEDIATE")
    other.execute("PRAGMA busy_timeout=0")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    base.rollback()
    sums = base.execute("SELECT count(*), sum(length(data)) FROM t").fetchone()
    other.close()
    base.close()
    remount(store)
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert base.execute("SELECT count(*), sum(length(data)) FROM t").fetchone() == sums
    base.execute("VACUUM")
    assert base.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    base.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_sqlite_keeps_what_was_committed_after_kill_9(fs, store, mode):
    base = sqlite3.connect(fs + "/base.db", isolation_level=None)
    base.execute(f"PRAGMA journal_mode={mode}")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)")
    for number in range(200):
        base.execute("INSERT INTO t VALUES (?, ?)", (number, os.urandom(1000)))
    store.kill()
    with contextlib.suppress(sqlite3.Error):
        base.close()
    store.mount(store.area + "/mnt")
    again = sqlite3.connect(fs + "/base.db")
    assert again.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert again.execute("SELECT count(*) FROM t").fetchone()[0] == 200
    again.close()


@pytest.mark.timeout(180)
def test_program_is_built_and_run_inside_the_mount(fs):
    os.makedirs(fs + "/src")
    for number in range(30):
        with open(f"{fs}/src/part{number}.c", "w", encoding="ascii") as handle:
            handle.write(f"#include <stdio.h>\nint part{number}(void);\nint part{number}(void) {{ return {number}; }}\n")
    with open(fs + "/src/main.c", "w", encoding="ascii") as handle:
        handle.write("#include <stdio.h>\n" + "".join(f"int part{n}(void);\n" for n in range(30)))
        handle.write("int main(void) { printf(\"%d\\n\", " + " + ".join(f"part{n}()" for n in range(30)) + "); return 0; }\n")
    with open(fs + "/src/Makefile", "w", encoding="ascii") as handle:
        handle.write("sum: $(patsubst %.c,%.o,$(wildcard *.c))\n\tcc -o $@ $^\n%.o: %.c\n\tcc -c -o $@ $<\n")
    shell("make -j2", fs + "/src")
    assert shell("./sum", fs + "/src").strip() == str(sum(range(30)))
    assert "up to date" in shell("make", fs + "/src")
    shell("touch part3.c && make | grep -c 'cc -c' | grep -qx 1", fs + "/src")


def test_plain_tools_leave_nothing_behind(fs, source):
    shell(f"cp -r {source} {fs}/a; mv {fs}/a {fs}/b; du -s {fs} >/dev/null; find {fs} -type f -exec cat {{}} + >/dev/null; rm -rf {fs}/b")
    assert os.listdir(fs) == []
