"""Mounts of what is elsewhere, while the place there is slow or away: who reads and who unmounts waits for a bounded time."""

import os

import pytest

from harness import files
from harness.between import Between, serving


@pytest.fixture
def between(remotes, rest):
    """What stands between the remote "base", in which the dataset is published, and its server."""
    handler = type("OneBetween", (Between,), {"port": rest.port})
    with serving(handler) as port:
        remotes.add("base", f"rest:http://127.0.0.1:{port}/r/", "--single-writer")
        remotes.publish("d", "--init")
        yield handler


@pytest.fixture
def point(area):
    os.mkdir(area + "/point")
    return area + "/point"


@pytest.mark.timeout(120)
def test_place_that_trickles(remotes, between, source, point):
    remotes.store.expected.append("backups")
    remotes.run("mount", "base:d", point, "-o", "timeout=2")
    try:
        os.listdir(point)
        between.trickling = "/data/"
        with pytest.raises(OSError, match="Input/output error"):
            files.get(point + "/holes")
        assert os.statvfs(point).f_namemax == 255
        between.trickling = ""
        assert files.get(point + "/holes") == files.get(source + "/holes")
    finally:
        remotes.run("umount", point)
