"""The write-ahead log of a store (lib/kv/log_file.h): its records, and which of them somebody was told to be on disk (lib/kv/synced.h)."""

import os
import struct

BLOCK, HEAD = 32768, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
SLOT = struct.Struct("<IIQQQQQq")


def _fragments(data):
    """Kind, bytes and end of each."""
    at = 0
    while at + HEAD <= len(data):
        if BLOCK - at % BLOCK < HEAD:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if kind not in (WHOLE, FIRST, MIDDLE, LAST):
            return
        at += HEAD + length
        yield kind, data[at - length : at], at


def records(path):
    """(number of its last change, where it ends) of each record."""
    with open(path, "rb") as handle:
        data = handle.read()
    head, found = b"", []
    for kind, part, end in _fragments(data):
        head = part[:12] if kind in (WHOLE, FIRST) else head
        if kind in (WHOLE, LAST):
            first, count = struct.unpack_from("<QI", head)
            found.append((first + count - 1, end))
    return found


def last_promised(database):
    """The number of the last change that somebody was told to be on disk."""
    with open(database + "/SYNCED", "rb") as handle:
        slots = [SLOT.unpack_from(handle.read(4096)) for _ in range(2)]
    return max((count, sequence) for _, _, count, _, _, sequence, _, _ in slots)[1]


def promised(path):
    """
    Where each record of the newest log ends that was promised. Background work, like that on the identity of a snapshot, is behind them at times:
    nobody was told that it is on disk, and damage to it is none.
    """
    last = last_promised(os.path.dirname(path))
    return [end for number, end in records(path) if number <= last]
