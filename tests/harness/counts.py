"""What tests that play at random have tried, for packaging/selftest --soak, which adds it up."""

import json
import os


def note(counts):
    """One line of JSON in $CORPUSFS_COUNTS: numbers, by what they count."""
    if path := os.environ.get("CORPUSFS_COUNTS"):
        with open(path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({what: number for what, number in counts.items() if number}) + "\n")
