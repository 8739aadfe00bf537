"""The superblock of a store, changed by hand (lib/format/superblock.h)."""

import ctypes


def rewrite(path, change):
    """Changes the text above the check, and makes the check right again."""
    with open(path, "rb") as handle:
        body = change(handle.read().rpartition(b"check ")[0])
    digest_of = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    digest_of.restype, digest_of.argtypes = ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_size_t)
    with open(path, "wb") as handle:
        handle.write(body + b"check %016x\n" % digest_of(body, len(body)))
