"""
Every example of packaging/corpusfs.1 that is for a shell is run as it stands there, those of one place after the other in one shell. `ssh` to another
machine is a shell in a directory of its name, and servers are those of the harness: their names alone are replaced.
"""

import os
import re

import pytest

from harness import procs, program, servers
from harness.repository import PASSWORD

# How they begin, and why they are not run.
NOT_RUN = {
    "corpusfs init STORE": "the synopsis, which test_manual.py compares with the program",
    "echo Y > /sys/module/fuse/parameters/enable_uring": "it would change the kernel of the machine",
    "/srv/corpus  ": "lines of /etc/fstab; test_mount_options.py mounts by such lines",
    "[Service]": "a unit of systemd; test_service.py plays its part",
    "index, all machines": "a table",
}
SSH = """#!/bin/sh
cd "$AREA/$1" && shift && exec sh -c "$*"
"""
# /mnt is empty in the script's own view, so that /mnt/backup and the like are nobody's.
SETUP = """set -eu
mount -t tmpfs none /mnt
exec bash -euxo pipefail script
"""
BEGIN = """mkdir -p FIRST HOST /mnt/data
corpusfs init FIRST/STORE
corpusfs init HOST/STORE
export CORPUSFS_STORE=$PWD/FIRST/STORE
corpusfs mount $CORPUSFS_STORE /mnt/data
mkdir -p /mnt/data/words/train
head -c 3000000 /dev/urandom >/mnt/data/words/train/a.tar
corpusfs snapshot create words@v1
head -c 3000000 /dev/urandom >/mnt/data/words/train/b.tar
corpusfs snapshot create words@v2
"""
# What has happened before an example, and what must be so when it has been run, by its first line.
BEFORE = {
    "token=": """head -c 3000000 /dev/urandom >/mnt/data/words/train/c.tar
corpusfs snapshot create words@v3
(set +o pipefail; corpusfs send words@v3 --from v2 | head -c 2000000 | (! ssh HOST corpusfs -s STORE receive words))
""",
    "ssh HOST corpusfs -s STORE promote": "echo too late >/mnt/data/words/late\n",
    "corpusfs restore /mnt/backup@words": "mv /mnt/data/words/train/a.tar a.tar\n",
}
AFTER = {
    "corpusfs send words@v1": "test \"$(ssh HOST corpusfs -s STORE snapshot list words --json | grep -c '\"name\": \"v[12]\"')\" = 2\n",
    "token=": "ssh HOST corpusfs -s STORE snapshot show words@v3\n",
    "corpusfs replicate": "ssh HOST corpusfs -s STORE dataset show words\n",
    "ssh HOST corpusfs -s STORE promote": """test ! -e /mnt/data/words/late
grep -q 'too late' /mnt/data/words/.snapshots/before-rollback-*/late
ls /mnt/data/words/.snapshots/v4
touch /mnt/data/words/written
""",
    "export CORPUSFS_PASSWORD_FILE": """cmp /mnt/data/words/train/a.tar /mnt/data/words-again/train/a.tar
cmp /mnt/data/words/train/a.tar /mnt/plain/words/train/a.tar
""",
    "corpusfs restore /mnt/backup@words": "cmp a.tar /mnt/data/words/train/a.tar\n",
}
END = "corpusfs umount /mnt/data\n"


def examples():
    """What stands between .nf and .fi, as it is read."""
    text = procs.read(program.PROJECT + "/packaging/corpusfs.1").decode()
    for found in re.findall(r"^\.nf\n(.*?)^\.fi$", text, re.M | re.S):
        lines = [line for line in found.splitlines() if not line.startswith(".R")]
        assert not [line for line in lines if line.startswith(".")], found
        yield "\n".join(line.replace("\\-", "-").replace("\\e", "\\").removeprefix("    ") for line in lines) + "\n"


def needs(example):
    """A server, or only a machine."""
    return "etcd" if "--etcd" in example else "s3" if "s3:" in example else "machine"


def runnable(place):
    return [example for example in examples() if not example.startswith(tuple(NOT_RUN)) and needs(example) == place]


def pick(table, example):
    found = [text for begin, text in table.items() if example.startswith(begin)]
    return found[0] if found else ""


@pytest.fixture
def shell(run, area):
    """A function that runs examples where the store, the other machine and their dataset are."""
    if area.startswith("/mnt/"):
        pytest.skip("the tests' own directory is below /mnt")
    for folder in ("bin", "logs", "home/.aws"):
        os.makedirs(f"{area}/{folder}")
    os.symlink(program.binary(), area + "/bin/corpusfs")
    for name, text in (("bin/ssh", SSH), ("home/.corpora", PASSWORD + "\n"), ("home/.etcd", "user = who\npassword = testsecret\n"), ("setup", SETUP),
                       ("home/.aws/credentials", "[lab]\n" + "".join(f"{key.lower()} = {value}\n" for key, value in servers.S3_SECRETS.items()))):
        with open(f"{area}/{name}", "w", encoding="ascii") as handle:
            handle.write(text)
    os.chmod(area + "/bin/ssh", 0o755)
    extra = {"PATH": f"{area}/bin:{os.environ['PATH']}", "HOME": area + "/home", "XDG_CONFIG_HOME": area + "/home/.config", "AREA": area,
             "RESTIC_CACHE_DIR": area + "/cache"}

    def call(script, seconds):
        with open(area + "/script", "w", encoding="utf-8") as handle:
            handle.write(BEGIN + script + END)
        result = program.call(procs.apart(["bash", "setup"]), program.environment(run.mark, area + "/logs", extra), area + "/logs", seconds, cwd=area)
        assert result.code == 0, result.out[-3000:] + result.err[-5000:]

    return call


def test_each_example_is_run_or_it_is_said_why_not():
    all_of_them = list(examples())
    for begin in NOT_RUN:
        assert len([example for example in all_of_them if example.startswith(begin)]) == 1, begin
    run = [example for place in ("machine", "s3", "etcd") for example in runnable(place)]
    assert len(run) + len(NOT_RUN) == len(all_of_them)
    for example in run:
        assert re.search(r"\bcorpusfs ", example), example
    for begin in (*BEFORE, *AFTER):
        assert len([example for example in run if example.startswith(begin)]) == 1, begin
    for command in ("backup", "backup drill", "restore", "send", "receive", "replicate", "promote", "demote"):
        assert re.search(rf"corpusfs (-s STORE )?{command} ", "".join(run)), command


@pytest.mark.timeout(240)
@pytest.mark.namespaces
def test_examples_for_two_machines(shell):
    shell("".join(pick(BEFORE, example) + example + pick(AFTER, example) for example in runnable("machine")), 230)


@pytest.mark.timeout(240)
@pytest.mark.namespaces
def test_example_for_a_server_of_s3(shell, s3):
    text = "".join(runnable("s3"))
    assert "s3:https://s3.example.org/corpora" in text
    shell("(export CORPUSFS_PASSWORD_FILE=~/.corpora AWS_PROFILE=lab; corpusfs backup init " + s3.url("corpora") + ")\n"
          + text.replace("s3:https://s3.example.org/corpora", s3.url("corpora")), 200)


@pytest.mark.timeout(240)
@pytest.mark.namespaces
def test_example_for_etcd(shell, rest, etcd, etcd_users):
    """etcd with users has no TLS here, so the authority's file is left out; test_heads_etcd.py has TLS."""
    text = "".join(runnable("etcd"))
    for old, new in (("rest:https://store.example.org/corpora/", rest.url("corpora")), ("--etcd-ca-file ~/.etcd-ca.pem ", ""),
                     ("a.example.org:2379,b.example.org:2379,c.example.org:2379", etcd.endpoints())):
        assert old in text, old
        text = text.replace(old, new)
    shell(f"(export CORPUSFS_PASSWORD_FILE=~/.corpora; corpusfs backup init {rest.url('corpora')})\n" + text + "corpusfs remote list lab\n", 200)
