"""One plain word for one concept: words that explain nothing, and words that belong to one concept only."""

import os
import re

from lint import allowed
from lint.sources import files, python, report_changes, room, sources, text, without_comments

# What explains nothing. In names of anything, in comments and messages.
UNPLAIN = {"guise", "shelf", "crew"}
# The same, but only as a name: in a sentence they may be right.
UNPLAIN_NAMES = {"judge"}
UNPLAIN_STRUCTS = {"side", "slow", "why", "thing", "stuff"}
# Words with one meaning, and where that meaning is at home.
OWNED = {
    "gate": ("fs/fuse/", "tests/unit/test_gate.c", "tests/unit/test_writers.c"),
    "guard": ("lib/store/", "lib/format/", "lib/ops/snapshot_ops.c", "fs/cli/cmd_rollback.c",
              "lib/backup/", "lib/ops/backup_ops.c", "fs/cli/cmd_backup.c", "tests/"),
}


def parts(name):
    return set(re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))


def names(name):
    """Identifiers of a source and the words of its path."""
    code = without_comments(text(name)) if name.endswith((".c", ".h")) else re.sub(r'"[^"\n]*"|#[^\n]*', "", text(name))
    return set().union(parts(name), *map(parts, re.findall(r"[A-Za-z_]\w*", code)))


def checked():
    return [name for name in sources() + python() if not name.startswith("tests/lint/")]


def test_words_are_plain():
    found = set()
    for name in checked():
        used = names(name)
        found |= {(word, room(name)) for word in UNPLAIN_NAMES & used}
        found |= {(word, room(name)) for word in UNPLAIN if re.search(rf"(?<![a-z]){word}(?![a-z])", text(name), re.I)}
        found |= {(word, room(name)) for word in UNPLAIN_STRUCTS if re.search(rf"\bstruct {word}\b", text(name))}
        found |= {(word, room(name)) for word, homes in OWNED.items() if word in used and not name.startswith(homes)}
    report_changes(found, allowed.WORDS, "(word, room) that says nothing, or something else elsewhere")


def test_file_names_are_plain():
    words = {name: parts(os.path.basename(name)) for name in files()}
    report_changes({name for name, used in words.items() if used & (UNPLAIN | UNPLAIN_NAMES | UNPLAIN_STRUCTS)}, set(), "file name")
