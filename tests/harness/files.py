"""Whole files in one call."""

import os


def create(path, data=b"", flags=0):
    """Its descriptor, open for reading and writing."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
    if data:
        os.write(fd, data)
    return fd


def put(path, data):
    with open(path, "wb") as handle:
        handle.write(data)


def stats_below(root):
    """(name, os.stat_result) of each file below a directory. A database removes files meanwhile: then all are looked at once more."""
    while True:
        try:
            return [(name, os.stat(os.path.join(folder, name))) for folder, _, names in os.walk(root) for name in names]
        except FileNotFoundError:
            continue


def get(path):
    with open(path, "rb") as handle:
        return handle.read()
