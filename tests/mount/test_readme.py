"""Every command of README.md, run as it stands there, in one shell from top to bottom: on a machine of its own as far as it can see."""

import os
import re
import shutil
import subprocess

import pytest

from harness import procs, program

# The directories that the commands write to are empty in the script's own view. The list of packages below /var/lib is read.
SETUP = """set -eu
mkdir dpkg
mount --bind /var/lib/dpkg dpkg
for place in /mnt /var/lib /usr/local /tmp; do
	case $PWD/ in $place/*) ;; *) mount -t tmpfs none $place ;; esac
done
mkdir -p /var/lib/dpkg
mount --bind dpkg /var/lib/dpkg
exec bash -eux script
"""


def blocks():
    """The indented blocks of the text."""
    text = procs.read(program.PROJECT + "/README.md").decode()
    return [re.sub(r"^    ", "", found, flags=re.M) for found in re.findall(r"(?:^    .*\n)+", text, re.M)]


@pytest.fixture
def shell(run, area):
    """A function that runs a script beside a copy of the sources, with empty directories in the places that the commands write to."""
    os.mkdir(area + "/corpusfs")
    for name in os.listdir(program.PROJECT):
        if name.startswith((".", "build")):
            continue
        source, target = f"{program.PROJECT}/{name}", f"{area}/corpusfs/{name}"
        (shutil.copytree if os.path.isdir(source) else shutil.copy2)(source, target)
    os.makedirs(area + "/logs")
    environment = program.environment(run.mark, area + "/logs", {"PATH": "/usr/local/bin:" + os.environ["PATH"], "XDG_CONFIG_HOME": area + "/config"})

    def call(script, seconds):
        for name, text in (("setup", SETUP), ("script", script)):
            with open(f"{area}/{name}", "w", encoding="utf-8") as handle:
                handle.write(text)
        command = procs.apart(["bash", "setup"])
        return program.call(command, environment, area + "/logs", seconds, cwd=area)

    return call


@pytest.mark.timeout(600)
@pytest.mark.namespaces
def test_every_command_of_the_readme_works_as_it_stands(shell):
    script = blocks()
    assert len(script) >= 3 and "packaging/quickstart" in script[0]
    result = shell("".join(script), 560)
    assert result.code == 0, result.out[-3000:] + result.err[-3000:]
    lines = result.out.splitlines()
    assert any("fs.h" in line for line in lines), "the difference is not shown\n" + result.out
    assert not [line for line in lines if "Traceback" in line]


def test_readme_has_ten_commands():
    numbered = re.findall(r"# (\d+)\.", "".join(blocks()))
    assert numbered == [str(number) for number in range(1, 11)]
