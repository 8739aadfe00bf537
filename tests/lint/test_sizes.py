"""How long files, functions and lines may be, and how deep blocks may nest."""

import ast
import re

from lint import allowed
from lint.sources import files, python, report, report_changes, sources, text, without_comments

FILE_LINES, FUNCTION_LINES, NESTING, COLUMNS = 500, 60, 4, 160
TEXTS = (".c", ".h", ".py", ".build", "common", "quickstart", "selftest", "run", ".md")


def texts():
    return [name for name in files() if name != "LICENSE" and name.endswith(TEXTS)]


def c_functions(name):
    """(function, number of its first line, its lines without comments) of a C file: a brace at a line's start opens one."""
    lines, first = without_comments(text(name)).splitlines(), None
    for number, line in enumerate(lines):
        if line == "{":
            start = number - 1
            while start > 0 and re.match(r"\s", lines[start]):
                start -= 1
            first = start
            words = re.findall(r"(\w+)\s*\(", " ".join(lines[start:number]))
        elif line.startswith("}") and first is not None:
            if line == "}" and words:
                yield words[0] if words[0] != "__attribute__" else words[-1], first + 1, lines[first:number + 1]
            first = None


def python_functions(name):
    for node in ast.walk(ast.parse(text(name))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.end_lineno - node.lineno + 1


def nesting(lines):
    """How many blocks stand within each other in a function's body; the braces of initialisers are none."""
    deepest, open_braces = 0, []
    body = "\n".join(lines)
    for found in re.finditer(r"[{}]", body[body.index("\n{") + 2:]):
        if found.group() == "{":
            before = body[:body.index("\n{") + 2 + found.start()].rstrip()
            open_braces.append(before.endswith((")", "else", "do", ";", "{", "}", ":")) and not re.search(r"\(struct [\w ]+\)$", before))
            deepest = max(deepest, sum(open_braces))
        elif open_braces:
            open_braces.pop()
    return deepest


def test_files_are_short():
    found = {name for name in texts() if len(text(name).splitlines()) > FILE_LINES}
    report_changes(found, allowed.LONG_FILES, f"more than {FILE_LINES} lines")


def test_functions_are_short():
    found = {f"{name}: {function}" for name in sources() for function, _, lines in c_functions(name) if len(lines) > FUNCTION_LINES}
    found |= {f"{name}: {function}" for name in python() for function, lines in python_functions(name) if lines > FUNCTION_LINES}
    report_changes(found, allowed.LONG_FUNCTIONS, f"more than {FUNCTION_LINES} lines")


def test_blocks_nest_a_few_times():
    found = {f"{name}: {function}" for name in sources() for function, _, lines in c_functions(name) if nesting(lines) > NESTING}
    report_changes(found, allowed.DEEP_FUNCTIONS, f"more than {NESTING} blocks within each other")


def test_lines_are_short():
    report([f"{name}:{n}: {len(line)} columns" for name in texts() if not name.endswith(".md")
            for n, line in enumerate(text(name).splitlines(), 1) if len(line) > COLUMNS])
