"""System calls of the daemon fail under load: what fails is told, and what was acknowledged is there, after a power cut too."""

import errno
import os
import random

import pytest

from harness import posix, procs, program
from harness.crash import Stage, work_for_some_time
from harness.damaged import synced

ROUNDS = 6
FAILURES = [
    ("write", errno.EIO), ("write", errno.ENOSPC), ("write", errno.EINTR), ("write", 0), ("fdatasync", errno.EIO), ("fsync", errno.EIO),
    ("fdatasync", errno.ENOSPC), ("rename", errno.EIO), ("fallocate", errno.ENOSPC), ("fallocate", errno.EOPNOTSUPP), ("create", errno.EIO),
    ("create", errno.ENOSPC), ("create", errno.EMFILE), ("link", errno.EIO), ("link", errno.EPERM),
    ("read", errno.EIO), ("read", errno.EINTR), ("read", 0), ("open", errno.EIO), ("open", errno.EMFILE), ("stat", errno.EIO), ("unlink", errno.EIO),
    ("truncate", errno.EIO), ("mmap", errno.ENOMEM), ("list", errno.EIO),
]  # fmt: skip


@pytest.fixture
def stage(run, area, seed):
    made = Stage(area, run, seed)
    made.store.expected.append(" error ")  # whatever the daemon says of it
    yield made
    made.close()


def one_round(stage, call, error):
    """Calls fail from some moment on, once or more often. Then the power fails, or the daemon dies, or it is unmounted."""
    stage.load()
    skip, times = stage.chance.randrange(40), stage.chance.choice((1, 1, 3, 100000))
    print(f"{call} fails with {error} after {skip} calls, {times} times")
    stage.failures.order(call, error, skip, times)
    work_for_some_time(stage.chance, 0.5)
    stage.look(*stage.cut())
    dies = stage.chance.random() < 0.4
    if dies:
        stage.kill()
        stage.stop()
    else:
        stage.stop()
    on_disk = not dies and stage.leave()
    stage.failures.stop()
    if on_disk:
        stage.look(*stage.cut(), accepted=True)
    stage.mount()
    stage.check(accepted=on_disk)


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_failing_system_calls_while_a_store_is_opened(stage, rounds):
    """After a kill, so that there is something to replay. It opens or says why not, and opens by itself when nothing fails any more."""
    chosen = stage.chance.sample(FAILURES, len(FAILURES))
    for number in range(max(ROUNDS * rounds // program.scale(), 3)):
        stage.load()
        work_for_some_time(stage.chance)
        stage.kill()
        stage.stop()
        call, error = chosen[number % len(chosen)]
        skip, times = stage.chance.randrange(12), stage.chance.choice((1, 3, 100000))
        print(f"{call} fails with {error} after {skip} calls, {times} times")
        stage.failures.order(call, error, skip, times)
        result = stage.store.run("mount", stage.store.path, stage.point, "-o", "allow_other", env=stage.failures.environment)
        stage.failures.stop()
        assert result.code == 0 or (0 < result.code < 10 and "corpusfs: " in result.err), result
        if result.code == 0:
            stage.store.note(stage.point)
            stage.leave()
        stage.mount()
        stage.check()
    print(stage.counts)


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_failing_system_calls_under_load(stage, rounds):
    chosen = stage.chance.sample(FAILURES, len(FAILURES))
    for number in range(max(ROUNDS * rounds // program.scale(), 3)):
        one_round(stage, *chosen[number % len(chosen)])
    print(stage.counts)


@pytest.mark.parametrize("error", [0, errno.EIO])
def test_what_notes_how_much_is_on_disk_is_never_torn(stage, error):
    """By writes that are short, or fail."""
    stage.failures.inside = stage.store.path + "/db/SYNCED"
    stage.failures.order("write", error, 0, 100000)
    for number in range(8):
        synced(f"{stage.point}/d/{number}", b"content")
    assert stage.failures.stop() > 0
    stage.kill()
    stage.mount()
    assert procs.read(stage.point + "/d/7") == b"content"


def test_an_owner_s_record_that_is_read_in_pieces_is_still_ours(stage):
    """Each commit looks at it, and once it was another's, all that was not on the disk would be lost."""
    (owner,) = [name for name in os.listdir(stage.store.path) if name.startswith("owner.")]
    stage.failures.inside = f"{stage.store.path}/{owner}"
    stage.failures.order("read", 0, 0, 100000)
    for number in range(8):
        synced(f"{stage.point}/d/{number}", b"content")
    assert stage.failures.stop() > 0
    assert stage.leave()


@pytest.mark.parametrize("call", ["fdatasync", "write"])
def test_a_disk_that_was_full_for_a_moment_is_written_again(stage, call):
    """By someone else, so that the engine meets it; without a remount, much content too."""
    path = stage.point + "/d/file"
    stage.failures.inside = stage.store.path + "/db"  # the owner's record is written every second, too
    with open(path, "wb") as handle:
        handle.write(b"x")
        handle.flush()
        stage.failures.order(call, errno.ENOSPC, 0, 1)
        with pytest.raises(OSError):
            os.fsync(handle.fileno())
    assert stage.failures.stop() == 1

    def write():
        with open(path, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        return True

    data = random.Random(1).randbytes(4 << 20)
    procs.poll(lambda: posix.outcome(write) == "ok", 40, "the store can be written again", 0.5)
    for _ in range(3):
        data = os.urandom(4 << 20)
        write()
    assert procs.alive(stage.store.pid)
    stage.kill()
    stage.mount()
    assert procs.read(path) == data
