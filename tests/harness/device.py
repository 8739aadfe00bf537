"""/dev/fuse with the mode that udev gives it; containers and small machines often have a stricter one."""

import contextlib
import fcntl
import os
import stat

DEVICE = "/dev/fuse"
DOOR, USERS = "/run/corpusfs-test-device.door", "/run/corpusfs-test-device.users"


@contextlib.contextmanager
def open_to_all():
    """Tests of several processes use it at once: the first notes the mode that was, the last puts it back. Who comes or goes holds the door."""
    with open(DOOR, "w", encoding="ascii") as door, open(USERS, "a+", encoding="ascii") as users:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if os.fstat(users.fileno()).st_size == 0:
            users.write(f"{stat.S_IMODE(os.stat(DEVICE).st_mode):o}")
            users.flush()
        os.chmod(DEVICE, 0o666)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(door, fcntl.LOCK_EX)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                users.seek(0)
                os.chmod(DEVICE, int(users.read(), 8))
                users.truncate(0)
            fcntl.flock(users, fcntl.LOCK_UN)
            fcntl.flock(door, fcntl.LOCK_UN)
