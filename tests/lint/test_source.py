"""The rules of the tree that a machine can check."""

import os
import re
import subprocess

import pytest

from lint import allowed
from lint.sources import files, includes, path, report, report_changes, sources, starts_with, text, without_comments

TOP = {"fs", "lib", "tests", "packaging", "meson.build", "meson_options.txt", "README.md", "LICENSE", "CONTRIBUTING.md", ".ci"}
BANNED = ("strcpy", "strcat", "strncpy", "strncat", "sprintf", "vsprintf", "gets", "atoi", "atol", "atoll", "atof", "alloca", "strtok")


def test_top_level_holds_only_what_is_allowed():
    report([f"{name}: does not belong at the top" for name in {n.split("/")[0] for n in files()} - TOP if not name.startswith(".")])


def test_ci_holds_only_run():
    report([name for name in files() if name.startswith(".ci/") and name != ".ci/run"])


def test_what_is_compared_changes_nothing():
    """MIN and MAX evaluate one of the two twice."""
    def arguments(code, at):
        depth, end = 1, at
        while depth:
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        return code[at:end - 1]

    report([
        f"{name}: {found.group(1)}({compared}) reads twice" for name in sources() for code in [without_comments(text(name))]
        for found in re.finditer(r"(?<!define )\b(MIN|MAX)\(", code) for compared in [arguments(code, found.end())]
        if re.search(r"\bread_\w+\(|\bnext_random\(|\+\+|--", compared)
    ])


def test_included_files_exist():
    report([
        f"{name}: includes {i}" for name in sources() for i in includes(name)
        if i.startswith(("lib/", "fs/", "tests/")) and not os.path.exists(path(i))
    ])


def test_headers_include_each_other_without_circles():
    problems, done = [], set()

    def visit(name, path):
        if name in path:
            problems.append(" -> ".join(path[path.index(name):] + [name]))
        elif name not in done:
            for included in includes(name):
                if included in known:
                    visit(included, path + [name])
            done.add(name)

    known = {name for name in sources("lib/", "fs/") if name.endswith(".h")}
    for name in sorted(known):
        visit(name, [])
    report(problems)


DOORS = [("rocksdb/", "lib/kv/"), ("fuse", "fs/fuse/"), ("fuse3/", "fs/fuse/"), ("zstd", "lib/chunk/"), ("gsl/", "lib/backup/loss_model.c"),
         ("curl/", "lib/repository/transfers.c"), ("expat", "lib/repository/s3_answer.c")]


@pytest.mark.parametrize("header, folder", DOORS)
def test_foreign_interface_has_one_door(header, folder):
    pattern = re.compile(re.escape(header) if header.endswith("/") else re.escape(header) + r"\w*\.h$")
    report([f"{name}: includes {i}" for name in sources("lib/", "fs/") if not name.startswith(folder) for i in includes(name) if pattern.match(i)])


def test_column_families_are_named_by_those_who_own_their_records():
    """Above lib/tree the tree's records are read with lib/tree/records/{scan,all_versions,touched}.h; the catalogue's have one file."""
    places = [folder + "/" for folder in ("lib/store", "lib/reclaim", "lib/identity", "lib/history", "lib/transfer", "lib/ops", "fs")]
    family = re.compile(r"\bKV_(?!MESSAGE_MAX|ACCEPT_|GIVES_ROOM|DAMAGED|CONTENT_DAMAGED)\w+")
    report([
        f"{name}:{number}: {found.group()}"
        for name in sources(*places) if name != "lib/store/catalog_records.c"
        for number, line in enumerate(without_comments(text(name)).splitlines(), 1) if (found := family.search(line))
    ])


def test_openssl_is_included_by_one_file_for_each_use():
    users = {name for name in sources("lib/", "fs/") if any(i.startswith("openssl/") for i in includes(name))}
    assert users <= {"lib/chunk/digest.c", "lib/repository/seal.c"}


def test_no_banned_function_is_called():
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    problems = []
    for name in sources():
        for number, line in enumerate(without_comments(text(name)).splitlines(), 1):
            if found := pattern.search(line):
                problems.append(f"{name}:{number}: {found.group(1)}")
    report(problems)


def test_commands_in_hints_are_quoted_for_a_shell():
    """error_hint_shell() does it."""
    pattern = re.compile(r'error_hint\([^;]*?"[^"]*\b(?:corpusfs|umount|mkdir|chown|fuser)\b[a-z -]* %s')
    report([f"{name}: {found.group()}" for name in sources("lib/", "fs/") if name not in ("fs/cli/command.c", "fs/cli/main.c")
            for found in pattern.finditer(text(name))])


def test_links_of_texts_lead_somewhere():
    problems = []
    for name in files():
        if name.endswith(".md"):
            targets = re.findall(r"\]\(([^)#:]+)\)", text(name))
            problems += [f"{name}: links to {to}" for to in targets if not os.path.exists(path(os.path.join(os.path.dirname(name), to)))]
    report(problems)


def test_readme_is_read_in_three_minutes():
    words = [word for line in text("README.md").splitlines() if not line.startswith("    ") for word in line.split()]
    assert len(words) <= 600


def test_no_white_space_at_line_ends():
    problems = []
    for name in files():
        if name.endswith((".c", ".h", ".py", ".md", ".build")) or name.startswith(("packaging/", ".ci/")):
            problems += [f"{name}:{n}" for n, line in enumerate(text(name).split("\n"), 1) if line != line.rstrip()]
            if text(name) and not text(name).endswith("\n"):
                problems.append(f"{name}: no newline at the end")
    report(problems)


def test_arrays_grow_in_one_way():
    users = {name for name in sources("lib/", "fs/") if re.search(r"\bx?realloc(array)?\(", without_comments(text(name)))}
    allowed_users = {"lib/base/array.c", "lib/base/buf.c", "lib/base/buf.h", "lib/tree/inodes/dirty.c"}  # bytes; dirty.c may run out of them
    report_changes(users - allowed_users, allowed.GROWN_BY_HAND, "grows an array by hand")


def test_commands_say_what_they_print():
    """say() keeps control characters in names from the terminal."""
    report([name for name in sources("fs/cli/cmd_", "fs/cli/remote_") if re.search(r"(?<!\w)f?printf\((?!stderr)", without_comments(text(name)))])


def test_every_header_says_what_it_is_for():
    report([name for name in sources("lib/", "fs/") if name.endswith(".h") and not text(name).startswith("/*")])


def test_every_header_is_guarded_by_its_path():
    problems = []
    for name in sources("lib/", "fs/"):
        if name.endswith(".h"):
            found = re.search(r"^#ifndef (\w+)\n#define \1$", text(name), re.M)
            if not found and "#pragma once" not in text(name):
                problems.append(f"{name}: no include guard")
    report(problems)


def test_no_unfinished_work_is_marked():
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    report([
        f"{name}:{n}" for name in sources("lib/", "fs/", "tests/unit/") for n, line in enumerate(text(name).splitlines(), 1)
        if pattern.search(line)
    ])


def scripts():
    return [name for name in files() if name.startswith(("packaging/", ".ci/")) and re.match(r"#!.*\bbash|# Functions", text(name))]


def test_shell_scripts_parse():
    problems = []
    for name in scripts():
        done = subprocess.run(["bash", "-n", path(name)], capture_output=True, text=True)
        if done.returncode:
            problems.append(done.stderr)
    report(problems)


def test_programs_are_executable():
    report([
        name for name in files()
        if starts_with(name, "#!") and not os.access(path(name), os.X_OK)
    ])


def test_python_files_compile():
    for name in files():
        if name.endswith(".py"):
            compile(text(name), name, "exec")


def test_every_source_is_built():
    """What a fresh clone would miss, or never compile."""
    problems = []
    for name in files():
        if not name.endswith("meson.build"):
            continue
        folder = os.path.dirname(name)
        place = folder + "/" if folder else ""
        problems += [f"{name}: {place}{part} has no meson.build" for part in re.findall(r"^\s*subdir\('([^']+)'\)", text(name), re.M)
                     if f"{place}{part}/meson.build" not in files()]
        if not name.startswith(("lib/", "fs/")):
            continue
        listed = set(re.findall(r"'(\w+\.c)'", text(name)))
        there = {n[len(place):] for n in files() if n.startswith(place) and re.fullmatch(r"\w+\.c", n[len(place):])}
        problems += [f"{name}: {place}{missing} is not there" for missing in sorted(listed - there)]
        problems += [f"{place}{forgotten}: not listed in {name}" for forgotten in sorted(there - listed)]
    report(problems)


def test_scripts_install_sections_that_exist():
    sections = set(re.findall(r"^\[(\w+)\]", text("packaging/debian-packages"), re.M))
    used = {word for name in scripts() for group in re.findall(r"^install_packages ([a-z ]+)$", text(name), re.M) for word in group.split()}
    assert used and used <= sections


def without_pauses(test):
    """Without the places where a test lets somebody wait at a fault point, and asks who has come there."""
    for name, value in re.findall(r'^#define (\w+) "([^"]+)"$', test, re.M):
        test = re.sub(rf"\b{name}\b", f'"{value}"', test)
    test = test.replace('" "', "")
    return re.sub(r'(?:fault_wait|fault_passes|stopped_at)\(f?"[^"]*"|^#define .*', "", test, flags=re.M)


def test_every_fault_point_says_what_it_leaves_and_has_a_test():
    rows = re.findall(r'^\tX\("([^"]+)", +"[^"]+", +"[^"]+"\)', text("lib/base/fault_points.h"), re.M)
    code = "".join(text(name) for name in sources("lib/", "fs/") if name != "lib/base/fault_points.h")
    used = set(re.findall(r'(?:fault_point|FAULT_AFTER|stop_here)\((?:\w+, )?"([^"]+)"', code))
    tests = "".join(
        without_pauses(text(name)) for name in files() if name.startswith(("tests/unit/test_", "tests/mount/")) and "test_fault" not in name)
    report_changes(used, set(rows), "(no row in lib/base/fault_points.h, or no such point) fault point")
    report([f"no test dies or fails at {row}" for row in rows if not re.search(rf'["=,]{re.escape(row)}(?:[",]|:(?!sleep|stop))', tests)])


def test_the_rules_of_check_are_those_of_the_manual_and_each_has_a_test():
    rules = re.findall(r"^ \*   (K\d+) +(\w+)", text("lib/verify/check_rules.h"), re.M)
    names = re.findall(r'"(\w+)"', re.search(r"names\[\] = \{(.*?)\}", text("lib/verify/check_report.c"), re.S).group(1))
    assert rules == [(f"K{number}", name) for number, name in enumerate(names)]
    listed = re.search(r"^These are the rules:\n(.*?)^What many snapshots share", text("packaging/corpusfs.1"), re.M | re.S).group(1)
    told = []
    for first, last in re.findall(r'^\.BR K(\d+)(?: "[^"]*" K(\d+))? ,$', listed, re.M):
        told += range(int(first), int(last or first) + 1)
    assert told == list(range(len(rules)))
    tests = "".join(text(name) for name in files() if name.startswith(("tests/unit/test_check", "tests/mount/test_")))
    report([f"no test breaks {rule}" for rule, _ in rules if f'"{rule}"' not in tests])


def test_every_unit_test_is_built():
    listed = set(re.findall(r"^\s*'(\w+)':", text("tests/unit/meson.build"), re.M))
    there = {name[len("tests/unit/test_"):-2] for name in files() if re.match(r"tests/unit/test_\w+\.c$", name)}
    assert there == listed
