#!/usr/bin/python3
"""Reads samples as a training program in Python does, and prints how many a second: reader.py memmap|open|loader|index ROOT LIST"""

import os
import random
import sys
import time

ROW = 32 * 32 * 3
ROWS = 4000
WORKERS = 2


def memmap(root, names):
    """Random rows of large arrays."""
    import numpy
    arrays = []
    for name in names:
        path = os.path.join(root, name)
        arrays.append(numpy.memmap(path, dtype=numpy.uint8, mode="r", shape=(os.stat(path).st_size // ROW, ROW)))
    for _ in range(ROWS):
        array = random.choice(arrays)
        int(array[random.randrange(len(array))].sum())
    return ROWS


def whole(root, names):
    """Whole files in random order, opened as Python opens files when it is told nothing."""
    random.shuffle(names)
    for name in names:
        with open(os.path.join(root, name), "rb") as handle:
            handle.read()
    return len(names)


def loader(root, names):
    """The same by the workers of a torch DataLoader."""
    import torch.utils.data

    class Files(torch.utils.data.Dataset):
        def __len__(self):
            return len(names)

        def __getitem__(self, index):
            with open(os.path.join(root, names[index]), "rb") as handle:
                return len(handle.read())

    return sum(len(batch) for batch in torch.utils.data.DataLoader(Files(), batch_size=64, shuffle=True, num_workers=WORKERS))


def index(root, names):
    """The index of a tree of files, as torchvision's ImageFolder makes it: names alone, class by class."""
    found = 0
    for entry in sorted(entry.name for entry in os.scandir(root) if entry.is_dir()):
        for path, _, files in sorted(os.walk(os.path.join(root, entry), followlinks=True)):
            found += sum(1 for name in sorted(files) if os.path.join(path, name))
    assert found == len(names), f"{found} of {len(names)} files were listed"
    return found


def main():
    what, root, listing = sys.argv[1:]
    with open(listing, encoding="ascii") as handle:
        names = handle.read().splitlines()
    random.seed(1)
    start = time.monotonic()
    count = {"memmap": memmap, "open": whole, "loader": loader, "index": index}[what](root, names)
    print(count / (time.monotonic() - start))


if __name__ == "__main__":
    main()
