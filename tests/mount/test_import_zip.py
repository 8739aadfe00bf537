"""What a zip means is what unzip does with it: random archives, extracted by both one after the other.
But for modes and times of directories, which unzip sets where it has made them for their own sake, and times of links."""

import os
import subprocess

import pytest

from harness import extracted, program, zips

SEEDS = int(os.environ.get("CORPUSFS_ZIP_SEEDS", 200 // program.scale()))
FIRST = int(os.environ.get("CORPUSFS_ZIP_FIRST_SEED", 1))
AT_ONCE = 100  # in one archive


@pytest.mark.sanitize
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.timeout(3000 if "CORPUSFS_ZIP_SEEDS" in os.environ else 120)
def test_random_zips_are_extracted_as_unzip_does(store, area):
    """CORPUSFS_ZIP_SEEDS=N tries more, CORPUSFS_ZIP_FIRST_SEED=N others."""
    point = store.mount(env={"TZ": "UTC"})
    for first in range(FIRST, FIRST + SEEDS, AT_ONCE):
        seeds = range(first, min(first + AT_ONCE, FIRST + SEEDS))
        archives = [zips.Chance(seed).archives() for seed in seeds]
        for number in range(3):
            members = [member for each in archives for member in each[number]]
            path = zips.write(f"{area}/{first}-{number}.zip", members, streamed=(first + number) % 2 == 1)
            zips.extract(path, f"{area}/zip-{first}")
            result = store.run("-s", store.path, "import", path, f"d{first}", env={"TZ": "UTC"})
            assert result.code == 0, result
            extracted.check_same(f"{area}/zip-{first}", f"{point}/d{first}", seeds, files_only=True)
            os.unlink(path)
        store.ok("-s", store.path, "dataset", "destroy", f"d{first}")
        subprocess.run(["rm", "-rf", f"{area}/zip-{first}"], check=True, timeout=60)
