"""The files of the project, their text, and the order of their rooms. A room is a folder that has sources."""

import functools
import os
import re
import subprocess

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENGINE = ("lib/", "fs/")


@functools.cache
def files():
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={PROJECT}", "-C", PROJECT, "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout
    return tuple(name for name in listed.split("\0") if name and os.path.exists(path(name)))


def path(name):
    return os.path.join(PROJECT, name)


@functools.cache
def text(name):
    with open(path(name), encoding="utf-8") as handle:
        return handle.read()


def starts_with(name, start):
    with open(path(name), "rb") as handle:
        return handle.read(len(start)) == start.encode()


def sources(*places):
    return [name for name in files() if name.endswith((".c", ".h")) and name.startswith(places or ("lib/", "fs/", "tests/"))]


def python():
    return [name for name in files() if name.endswith(".py")]


def includes(name):
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text(name), re.M)


def without_comments(code):
    """The code with its strings empty and its comments gone; lines keep their numbers."""
    code = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', code)
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: "\n" * m.group().count("\n"), code, flags=re.S)


@functools.cache
def rooms():
    """All rooms of lib and fs in their one order: that of the subdir() lines, from the outermost meson.build inwards."""

    def visit(folder):
        inner = re.findall(r"^subdir\('(\w+)'\)", text(folder + "/meson.build"), re.M)
        return [room for name in inner for room in visit(f"{folder}/{name}")] if inner else [folder]

    return tuple(visit("lib") + visit("fs"))


def room(name):
    return os.path.dirname(name)


def report(problems):
    assert not problems, "\n".join(sorted(problems))


def report_changes(found, allowed, what):
    """Fails at what was found and is not allowed, and at what is allowed and no longer found."""
    report([f"{what}: {each}" for each in set(found) - set(allowed)] +
           [f"no longer so, take it out of tests/lint/allowed.py: {each}" for each in set(allowed) - set(found)])
