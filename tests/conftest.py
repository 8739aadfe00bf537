"""What all tiers share: limits, the watchdog, stores and mounts of a test's own."""

import collections
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import device as fuse_device  # noqa: E402
from harness import procs, program, servers, succession  # noqa: E402
from harness.lazy import Lazy  # noqa: E402
from harness.publishing import Agreed  # noqa: E402
from harness.reference import Reference  # noqa: E402
from harness.remotes import Remotes  # noqa: E402
from harness.repository import Repository, fill  # noqa: E402
from harness.store import Store  # noqa: E402

DEFAULT_LIMIT = 60
FEW_CASES = 3  # of one test
GRACE = 20  # seconds between a test's own limit and the watchdog's


def limit_of(item):
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker and marker.args else DEFAULT_LIMIT


# Whoever starts us in the background has the shell make us, and all that we start, deaf to it. A worker of xdist that was given to another thread than
# the first ends here, and xdist makes another one: without signals the limit of a test would end the worker. (execnet before 2.1, with -v, by chance.)
signal.signal(signal.SIGINT, signal.default_int_handler)


def root_is_a_mount():
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as handle:
        return any(line.split()[4] == "/" for line in handle)


def pytest_runtest_setup(item):
    if item.get_closest_marker("namespaces") and not root_is_a_mount():
        pytest.skip("the root directory is no mount point (a chroot): no namespace of its own can be made")


def pytest_addoption(parser):
    parser.addoption("--snapshot-steps", type=int, default=1, metavar="FACTOR", help="how much more the random tests of snapshots do (default 1)")
    parser.addoption("--seed", type=int, default=1, metavar="NUMBER", help="of the tests that play at random (default 1)")
    parser.addoption("--rounds", type=int, default=1, metavar="FACTOR", help="how much more the tests of crashes do (default 1)")
    parser.addoption("--every", type=int, default=1, metavar="N", help=f"of a test with more than {FEW_CASES} cases each Nth only (default 1)")


@pytest.fixture
def seed(request):
    return request.config.getoption("--seed")


@pytest.fixture
def others(request):
    """What is added to the seeds that a test names, so that --seed gives it others."""
    return 1000 * (request.config.getoption("--seed") - 1)


@pytest.fixture
def rounds(request):
    return request.config.getoption("--rounds")


@pytest.fixture(scope="session")
def steps(request):
    """A factor for amounts of work in tests of snapshots."""
    return request.config.getoption("--snapshot-steps")


def stay(cases, every):
    """Every so manyth, counted for each kind on its own: one of each is among them, and what it is combined with takes turns."""
    marker = cases[0].get_closest_marker("kinds")
    kinds = collections.defaultdict(list)
    for case in cases:
        kinds[tuple(id(case.callspec.params[name]) for name in marker.args) if marker else None].append(case)
    for number, alike in enumerate(kinds.values()):
        yield from alike[number % min(every, len(alike))::every]


def leave_out(config, items, every):
    """Of each test with many cases all but every so manyth, and no kind of what it is about."""
    tests, left = collections.defaultdict(list), set()
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item)
    for cases in tests.values():
        if len(cases) > FEW_CASES:
            left.update(set(cases) - set(stay(cases, every)))
    config.hook.pytest_deselected(items=list(left))
    items[:] = [item for item in items if item not in left]


def pytest_collection_modifyitems(config, items):
    leave_out(config, items, config.getoption("--every"))
    factor = program.scale() if any("/mount/" in str(item.path) for item in items) else 1
    for item in items:
        more = config.getoption("--rounds") if item.get_closest_marker("soak") else 1
        if factor * more > 1:
            item.add_marker(pytest.mark.timeout(limit_of(item) * factor * more), append=False)


class Run:
    """One pytest process: its directory, its mark, its watchdog."""

    def __init__(self, worker):
        base = os.environ.get("TMPDIR") or "/var/tmp"
        self.home = tempfile.mkdtemp(prefix=f"corpusfs-test-{worker}.", dir=base)
        os.chmod(self.home, 0o755)
        self.mark = os.path.basename(self.home)
        self.failed = False
        self.count = 0
        self.reference = Reference(self.home)
        procs.fusectl()
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: the exit codes of daemons come to us
        script = os.path.join(os.path.dirname(os.path.abspath(procs.__file__)), "watchdog.py")
        with open(self.home + "/watchdog.log", "wb") as log:
            self.watchdog = subprocess.Popen(
                [sys.executable, script, self.home, str(os.getpid()), self.mark],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True,
            )

    def beat(self, text):
        with open(self.home + "/heartbeat.new", "w", encoding="utf-8") as handle:
            handle.write(text)
        os.rename(self.home + "/heartbeat.new", self.home + "/heartbeat")

    def area(self):
        self.count += 1
        path = f"{self.home}/{self.count}"
        os.mkdir(path, 0o755)
        return path

    def store(self, area, name="store"):
        return Store(area, self.mark, self.home, name)

    def remove(self, path):
        if not procs.mounts(path):
            shutil.rmtree(path, ignore_errors=True)

    def end(self):
        self.beat(f"{time.monotonic() + 60} end of the run")
        left = procs.kill_marked(self.mark)
        procs.detach(self.home)
        self.watchdog.kill()
        self.watchdog.wait()
        if not self.failed and not left:
            self.remove(self.home)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    program.time_limit = limit_of(item)
    current = getattr(item.config, "corpusfs_run", None)
    if current:
        current.beat(f"{time.monotonic() + limit_of(item) + GRACE} {item.nodeid}")
    yield
    current = getattr(item.config, "corpusfs_run", None)
    if current:
        current.beat("idle")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    setattr(item, "corpusfs_failed", report.failed or getattr(item, "corpusfs_failed", False))
    current = getattr(item.config, "corpusfs_run", None)
    if current and report.failed:
        current.failed = True


@pytest.fixture(scope="session")
def session_run(request, worker_id):
    """This process's run. Only tests that need a mount ask for it, so lint starts no watchdog."""
    assert os.geteuid() == 0, "tests on real mounts need root: they mount, and act as other users"
    assert program.binary(), "there is no program to test: build it, and name the build directory in $CORPUSFS_BUILD"
    current = Run(worker_id)
    request.config.corpusfs_run = current
    yield current
    request.config.corpusfs_run = None
    current.end()


@pytest.fixture
def run(session_run, request):
    node = request.node
    session_run.beat(f"{time.monotonic() + limit_of(node) + GRACE} {node.nodeid}")
    return session_run


@pytest.fixture
def area(run, request):
    """An empty directory of the test's own outside of every mount; kept when the test failed."""
    path = run.area()
    yield path
    if not getattr(request.node, "corpusfs_failed", False):
        run.remove(path)


@pytest.fixture
def blank(run, area):
    """A Store that is not made yet."""
    made = run.store(area)
    yield made
    made.close()


@pytest.fixture
def store(blank):
    """An empty store, not mounted."""
    return blank.init()


@pytest.fixture
def other(run, store):
    """A second empty store, beside `store`."""
    made = run.store(store.area, "other").init()
    yield made
    made.close()


@pytest.fixture
def third(run, store):
    """A third empty store."""
    made = run.store(store.area, "third").init()
    yield made
    made.close()


@pytest.fixture
def fs(store):
    """The directory of dataset `d` in a fresh mount; `store` is its store."""
    point = store.mount()
    store.create("d")
    return point + "/d"


@pytest.fixture
def supervised(store):
    """As `fs`, for tests of what goes on when the daemon dies."""
    succession.needed()
    point = store.mount()
    assert store.supervisor
    store.create("d")
    return point + "/d"


@pytest.fixture
def device():
    with fuse_device.open_to_all():
        yield


class Shared:
    """A mount that the tests of a module share; made again when a test broke it."""

    def __init__(self, run, options):
        self.run, self.options, self.store, self.count = run, options, None, 0

    def directory(self):
        if self.store is None:
            self.store = self.run.store(self.run.area()).init()
            self.point = self.store.mount(options=self.options)
            self.store.create("d")
        self.count += 1
        path = f"{self.point}/d/{self.count}"
        os.mkdir(path)
        os.chmod(path, 0o755)
        return path

    def check(self):
        """After a test: the daemon lives, and nobody reported anything."""
        store = self.store
        problems = store.surprises() if procs.alive(store.pid) else ["the daemon died", store.log()]
        if problems:
            self.store = None
            store.expected.append(".")
            store.clear()
        assert not problems, "\n".join(problems)

    def close(self):
        if self.store:
            self.store.close()


@pytest.fixture(scope="session")
def shared(session_run):
    made = Shared(session_run, "allow_other,dev,suid")
    yield made
    made.close()


@pytest.fixture
def d(run, shared):
    """An empty directory in a mount that tests share: for tests that need no store of their own."""
    yield shared.directory()
    shared.check()


@pytest.fixture
def pair(run, d):
    """Two empty directories: on the mount, and on ext4, which says what POSIX and Linux do."""
    reference = run.reference.directory()
    yield d, reference
    shutil.rmtree(reference, ignore_errors=True)


@pytest.fixture
def source(area):
    fill(area + "/source")
    return area + "/source"


@pytest.fixture
def repository(store, source, area):
    """Of a store that has the source as dataset d."""
    store.ok("-s", store.path, "import", source, "d")
    return Repository(store, area + "/repository")


@pytest.fixture
def rest(area, run):
    server = servers.Rest(area + "/rest", run.mark)
    yield server
    server.stop()


@pytest.fixture
def s3(area, run):
    if not shutil.which("radosgw"):
        pytest.skip("radosgw is not installed")
    server = servers.S3(area + "/ceph", run.mark)
    yield server
    server.stop()


class SharedEtcd:
    """Members of etcd that tests share, without any keys; started again after a test that left them another way."""

    def __init__(self, run):
        self.run, self.server = run, None

    def get(self):
        if self.server and not self.server.clear():
            self.close()
        if not self.server:
            self.server = servers.Etcd(self.run.area(), self.run.mark)
        return self.server

    def close(self):
        if self.server:
            self.server.stop()
        self.server = None


@pytest.fixture(scope="session")
def shared_etcd(session_run):
    made = SharedEtcd(session_run)
    yield made
    made.close()


@pytest.fixture
def etcd(shared_etcd):
    if not shutil.which("etcd"):
        pytest.skip("etcd is not installed")
    return shared_etcd.get()


@pytest.fixture
def etcd_users(etcd):
    """root; who, who may publish; reader, who may not. All have the same password."""
    for user in ("root", "who", "reader"):
        etcd.ask("auth/user/add", {"name": user, "password": "testsecret"})
    for role, kind in (("root", None), ("writes", "READWRITE"), ("reads", "READ")):
        etcd.ask("auth/role/add", {"name": role})
        if kind:
            # corpusfs/ to corpusfs0
            etcd.ask("auth/role/grant", {"name": role, "perm": {"permType": kind, "key": "Y29ycHVzZnMv", "range_end": "Y29ycHVzZnMw"}})
    for user, role in (("root", "root"), ("who", "writes"), ("reader", "reads")):
        etcd.ask("auth/user/grant", {"user": user, "role": role})
    etcd.ask("auth/enable", {})


@pytest.fixture
def remotes(store, source, area):
    store.ok("-s", store.path, "import", source, "d")
    return Remotes(store, area)


@pytest.fixture
def elsewhere(remotes, other):
    """Another machine: the same remotes, and a store of its own."""
    return remotes.of(other)


@pytest.fixture
def agreed(remotes, rest, etcd):
    return Agreed(remotes, rest, etcd)


@pytest.fixture
def published(agreed, remotes):
    """The first version of d is published."""
    remotes.publish("d", "--init")
    return agreed


@pytest.fixture
def lazy(remotes, area):
    """A function that mounts, with the cache in a directory of the test."""
    made = []

    def mount(options="", code=0, cache=area + "/cached"):
        made.append(Lazy(remotes, f"{area}/lazy{len(made)}", f"cache={cache}" + (f",{options}" if options else ""), code))
        return made[-1]

    yield mount
    for one in made:
        if one.pid and procs.alive(one.pid):
            os.kill(one.pid, signal.SIGTERM)
            one.gone()


@pytest.fixture
def served(remotes, rest):
    """Dataset d, published behind restic's REST protocol."""
    remotes.store.expected.append("backups")
    remotes.add("base", rest.url("r"), "--single-writer")
    remotes.publish("d", "--init")
    return rest


@pytest.fixture
def big(remotes, area):
    """40 MiB of files of all sizes, published in a directory. Returns what they hold."""
    chance = random.Random(5)
    os.mkdir(area + "/big")
    wanted = {str(number): chance.randbytes(chance.choice([100, 5000, 300000, 2 << 20])) for number in range(40)}
    wanted["long"] = chance.randbytes(12 << 20)
    for name, data in wanted.items():
        with open(f"{area}/big/{name}", "wb") as handle:
            handle.write(data)
    remotes.run("import", area + "/big", "d/big")
    remotes.store.expected.append("backups")
    remotes.add("base", area + "/repository")
    remotes.publish("d", "--init")
    return wanted
