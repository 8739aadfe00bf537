"""Machines that publish in one repository: in turn, and at once."""

import json
import os
import shutil
import subprocess

from harness import files, program, tree
from harness.repository import restic_check


def change(machine, dataset, name):
    """Another state of the dataset. Returns what is in the new file."""
    data = os.urandom(200000)
    os.makedirs(f"{machine.area}/new/{name}", exist_ok=True)
    files.put(f"{machine.area}/new/{name}/file", data)
    machine.run("import", f"{machine.area}/new/{name}", f"{dataset}/{name}")
    return data


def mounted(machine, what, point, check, options=()):
    os.makedirs(point, exist_ok=True)
    machine.run("mount", what, point, *options)
    try:
        check(point)
    finally:
        machine.run("umount", point)


def differences(source, point):
    """A mount of backups gives directories one link."""
    found = [tree.scan(root) for root in (source, point)]
    for row in found[0].values():
        if row.get("mode", "").startswith("0o4"):
            row["nlink"] = 1
    return tree.differences(*found)


def same(source, point):
    assert not differences(source, point)


def life(here, there, place, area, source):
    """Two machines that publish in turn, and one that is refused."""
    assert "backup init" in here.publish(code=program.NOT_FOUND).err
    here.publish("d", "--init")
    first = here.versions()[0]
    assert (first["dataset"], first["number"], first["head"], first["gone"]) == ("d", 1, True, False)
    mounted(there, "base:d", area + "/point", lambda point: same(source, point))
    restored = there.json("restore", "base:d", "d")
    assert restored["same"] and restored["backup"] == first["backup"] and restored["snapshot"] == first["name"]
    change(there, "d", "theirs")
    there.run("snapshot", "create", "d@v2")
    done = json.loads(there.publish("d@v2", "--json").out)
    assert (done["number"], done["before"]) == (2, 1) and done["added"] < 1 << 20
    # what came in between
    change(here, "d", "ours")
    refused = here.publish("d", code=program.EXISTS)
    assert "v2" in refused.out and "--force" in refused.err and len(refused.err.splitlines()) == 1
    assert here.heads() == {"d": 2} and len(here.json("backup", "list", "base:")) == 2
    assert all(not row["name"].startswith("published-") or row["name"] == first["name"] for row in here.json("snapshot", "list", "d"))
    mounted(here, "base:d@v2", area + "/point", lambda point: os.stat(point + "/theirs"))
    here.publish("d", "--as", "mine")
    here.publish("d", "--force")
    assert here.heads() == {"d": 3, "mine": 1}
    there.publish("d", code=program.EXISTS)
    for version, name in ((first["name"], None), ("v2", "theirs")):
        here.run("restore", f"base:d@{version}", f"{area}/{version}")
        assert name is None or os.path.getsize(f"{area}/{version}/{name}/file") == 200000
    restic_check(place, area + "/cache")


def at_once(remotes, place, area, name):
    """Several machines publish the first version of one dataset."""
    stores = []
    for number in range(4):
        path = f"{area}/machine{number}"
        remotes.run("init", path)
        files.put(area + "/small", os.urandom(1000))
        os.makedirs(f"{area}/tree{number}")
        shutil.move(area + "/small", f"{area}/tree{number}/small")
        remotes.store.ok("-s", path, "import", f"{area}/tree{number}", "d")
        stores.append(path)
    env = {**os.environ, **remotes.env}
    before = len(remotes.json("backup", "list", "base:"))
    begun = [subprocess.Popen([remotes.store.binary, "-s", path, "publish", "d", "base", "--as", name], env=env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) for path in stores]
    results = [(one.communicate(timeout=100)[1], one.returncode) for one in begun]
    assert sorted(code for _, code in results) == [0] + [program.EXISTS] * 3, results
    winner = stores[[code for _, code in results].index(0)]
    assert remotes.heads()[name] == 1 and len(remotes.json("backup", "list", "base:")) == before + 1
    head = next(row for row in remotes.versions() if row["dataset"] == name)
    assert head["by"].split("/")[0] == json.loads(remotes.store.ok("-s", winner, "status", "--json"))["uuid"]
    remotes.run("restore", f"base:{name}", f"{area}/won-{name}")
    tree.assert_same(f"{area}/won-{name}", f"{area}/tree{stores.index(winner)}")
    restic_check(place, area + "/cache")


def told(result, *words):
    """One line says so."""
    assert len(result.err.splitlines()) == 1, result.err
    for word in words:
        assert word in result.err, result.err


class Agreed:
    """A remote behind restic's REST protocol, which keeps nobody apart, with heads in etcd."""

    def __init__(self, remotes, rest, etcd):
        self.remotes, self.rest, self.etcd, self.url = remotes, rest, etcd, rest.url("r")
        remotes.store.expected.append("backups")
        self.add("base")

    def add(self, name, members=None, *options):
        self.remotes.add(name, self.url, "--etcd", members or self.etcd.endpoints(), *options)

    def copies(self):
        """Names of the objects among the heads in the repository, but for the mark."""
        return [name for name in sorted(os.listdir(self.rest.directory + "/r/heads")) if not name.startswith("636f727065746364")]

    def numbers(self, dataset="d"):
        return [row["number"] for row in self.remotes.versions() if row["dataset"] == dataset and not row["damaged"] and not row["gone"]]
