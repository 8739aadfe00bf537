"""Directories on ext4, whose behaviour the mount is compared with. A loop device holds one where the temporary directory is none."""

import os
import subprocess


class Reference:
    def __init__(self, home):
        self.home, self.count, self.root = home, 0, None

    def directory(self):
        if self.root is None:
            self.root = self.home + "/ext4"
            os.mkdir(self.root)
            kind = subprocess.run(["stat", "-fc", "%T", self.home], capture_output=True, text=True, check=True).stdout.strip()
            if kind != "ext2/ext3":
                make_ext4(self.home + "/ext4.image", self.root, 2 << 30)
        self.count += 1
        path = f"{self.root}/{self.count}"
        os.mkdir(path, 0o755)
        return path


def make_ext4(image, point, size):
    """A small ext4 of its own, mounted on `point`."""
    with open(image, "wb") as handle:
        handle.truncate(size)
    quiet = {"stdin": subprocess.DEVNULL, "capture_output": True, "check": True, "timeout": 60}
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", image], **quiet)
    os.makedirs(point, exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, point], **quiet)
