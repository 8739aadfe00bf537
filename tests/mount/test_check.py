"""corpusfs check: mounted, not mounted, and beside those who write. What it finds is for tests/unit/test_check.c."""

import json
import os
import threading

import pytest

from harness import files


def check(store):
    return json.loads(store.ok("-s", store.path, "check", "--json"))


@pytest.mark.sanitize
def test_check_of_a_store_that_is_mounted_or_not(store):
    point = store.mount()
    store.create("d")
    os.mkdir(point + "/d/dir")
    files.put(point + "/d/dir/file", os.urandom(300000))
    os.link(point + "/d/dir/file", point + "/d/link")
    store.ok("-s", store.path, "snapshot", "create", "d@v1")
    mounted = check(store)
    store.umount()
    unmounted = check(store)
    # digests of the snapshot may come meanwhile
    assert mounted["records"] <= unmounted["records"]
    for found in (mounted, unmounted):
        assert found == {"problems": [], "views": 2, "inodes": 6, "records": found["records"], "found": 0, "unreadable": 0, "repairs": []}
    assert "all is as it must be" in store.ok("-s", store.path, "check")


def test_check_beside_writers_sees_one_moment(store):
    root = store.mount() + "/d"
    store.create("d")
    stop = threading.Event()

    def change(number):
        while not stop.is_set():
            os.mkdir(f"{root}/{number}")
            files.put(f"{root}/{number}/file", os.urandom(20000))
            os.link(f"{root}/{number}/file", f"{root}/{number}/link")
            os.rename(f"{root}/{number}", f"{root}/other-{number}")
            os.unlink(f"{root}/other-{number}/link")
            os.unlink(f"{root}/other-{number}/file")
            os.rmdir(f"{root}/other-{number}")
            with open(f"{root}/open-{number}", "wb") as unnamed:
                os.unlink(f"{root}/open-{number}")
                unnamed.write(os.urandom(20000))

    writers = [threading.Thread(target=change, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    try:
        for number in range(10):
            assert check(store)["found"] == 0
            store.ok("-s", store.path, "snapshot", "create", f"d@{number}")
            if number % 3 == 2:
                store.ok("-s", store.path, "snapshot", "destroy", f"d@{number - 1}")
                store.ok("-s", store.path, "gc")
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert check(store)["views"] == 8
