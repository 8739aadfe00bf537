"""Repositories of backups, made by the program under test or by restic, and trees to back up."""

import contextlib
import glob
import json
import os
import random
import re
import subprocess

from harness import procs, program, servers

PASSWORD = "correct horse"
SECRETS = {"CORPUSFS_PASSWORD": PASSWORD, "RESTIC_PASSWORD": PASSWORD}


class Repository:
    def __init__(self, store, path, init=True):
        self.store, self.path = store, path
        if init:
            self.run("backup", "init", path)

    def run(self, *args, code=0, secrets=None):
        result = self.store.run("-s", self.store.path, *args, env=secrets or SECRETS)
        assert result.code == code, f"{args}: exit {result.code}\n{result.out}{result.err}"
        return result

    def json(self, *args, code=0):
        return json.loads(self.run(*args, "--json", code=code).out)

    def backup(self, *datasets, kind="full", code=0, options=()):
        rows = self.json("backup", *datasets, self.path, "--type", kind, *options, code=code)
        return rows[0] if len(datasets) == 1 else rows

    def restore(self, target, name=None, *options, code=0):
        return self.run("restore", self.path + (f"@{name}" if name else ""), target, *options, code=code)

    def give(self, user, area, *paths):
        """The repository, and `paths` in the area, belong to the user, who can come to them."""
        for path in (self.path, *paths):
            subprocess.run(["chown", "-R", str(user), path], check=True)
        for path in (area, os.path.dirname(area)):
            os.chmod(path, 0o755)

    def backups(self):
        return self.json("backup", "list", self.path)

    def verify(self, code=0):
        return self.json("backup", "verify", self.path, "--data", code=code)

    def packs(self):
        return set(glob.glob(self.path + "/data/*/*"))


class NetRepository(Repository):
    """Of which a directory knows nothing."""

    def __init__(self, store, url, secrets, cache, init=True):
        self.secrets, self.cache = {**SECRETS, **secrets}, cache
        super().__init__(store, url, init)

    def run(self, *args, code=0, secrets=None):
        return super().run(*args, code=code, secrets=secrets or self.secrets)

    def restic(self, *args):
        return restic(self.path, *args, cache=self.cache, secrets=self.secrets)


def call_restic(repository, *args, cache=None, secrets=None):
    path = repository if isinstance(repository, str) else repository.path
    cache = cache or os.path.dirname(path) + "/restic-cache"
    env = {**os.environ, **SECRETS, **(secrets or {}), "RESTIC_CACHE_DIR": cache, "RESTIC_PROGRESS_FPS": "0"}
    return subprocess.run(["restic", "-r", path, *args], env=env, capture_output=True, text=True, timeout=120, check=False)


def restic(repository, *args, code=0, **options):
    done = call_restic(repository, *args, **options)
    assert done.returncode == code, f"restic {args}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def restic_check(repository, cache=None, outage=False):
    """
    Debian's restic reads all that is in the repository. A mount that has just been unmounted takes its lock back a moment later. After an
    outage it may have given that up: such a lock is stale, and any client's unlock removes it.
    """
    options = {"cache": cache, "secrets": servers.S3_SECRETS}

    def checked():
        done = call_restic(repository, "check", "--read-data", **options)
        if done.returncode == 0 or "already locked" not in done.stderr:
            return done
        if outage:
            # daemons are left to us: restic takes one that nobody has reaped for a living one
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(re.search(r"PID (\d+)", done.stderr).group(1)), os.WNOHANG)
            call_restic(repository, "unlock", **options)
        return None

    done = procs.poll(checked, 30 * program.scale(), "nobody locks the repository", 0.2)
    assert done.returncode == 0 and "no errors were found" in done.stdout, done.stdout + done.stderr


def fill(root, seed=1, count=60):
    """Files, directories and links of all kinds that a backup carries."""
    chance = random.Random(seed)
    for folder in ("a", "a/b", "a/b/c", "empty", "d ä\n"):
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    for number in range(count):
        with open(f"{root}/a/{number}", "wb") as handle:
            handle.write(chance.randbytes(chance.choice([0, 1, 100, 3000, 70000, 300000])) + b"text " * chance.choice([0, 40000]))
    os.chmod(root + "/a/1", 0o4711)
    os.chown(root + "/a/2", 1234, 5678)
    os.setxattr(root + "/a/3", "user.note", b"\0binary\xff")
    os.setxattr(root + "/a/b", "user.dir", b"yes")
    os.link(root + "/a/4", root + "/a/b/four")
    os.link(root + "/a/4", root + "/0 first by name")
    os.symlink("../a/1", root + "/a/soft")
    os.mkfifo(root + "/fifo")
    os.mknod(root + "/null", 0o020666, os.makedev(1, 3))
    os.utime(root + "/a/5", ns=(123456789, -987654321))
    with open(os.fsencode(root) + b"/not utf-8 \xff\"\\", "wb") as handle:
        handle.write(b"x")
    with open(root + "/holes", "wb") as handle:
        handle.truncate(40 << 20)
        handle.seek(30 << 20)
        handle.write(chance.randbytes(70000))
    subprocess.run(["setfacl", "-m", "u:1234:rw", root + "/a/6"], check=True)
