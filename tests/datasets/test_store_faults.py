"""What may happen to a pack, with real processes: nothing is lost, nothing stale is used."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.store.packed import Store
from hyperspec.spectra.axis import SpectralAxis

AXIS = SpectralAxis.linear(400, 700, 60)
SIZE = 48
COUNT = 10

# The same command every time. {hook} runs between scan and pack.
JOB = """
import json, logging, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO)
from hyperspec.datasets.store import packed as packing
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.utils.errors import HyperspecError
root, cache = map(Path, sys.argv[1:])
prepared, original = [], Preparer.prepare
def counting(self, record):
    prepared.append(record.file)
    return original(self, record)
Preparer.prepare = counting
catalogue = scan(root, cache_dir=cache)
{hook}
try:
    store = packing.pack(catalogue, PrepareSettings(size=SIZE), cache, num_threads=1)
except HyperspecError as error:
    sys.exit(f"error: {error}")
print(json.dumps({"folder": str(store.folder), "prepared": sorted(prepared)}))
""".replace("SIZE", str(SIZE))


def write_cube(path, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    disc = (y - 48) ** 2 + (x - 48) ** 2 < 40**2
    values = np.where(disc, rng.uniform(1000, 4000, 60)[:, None, None], 100)
    return write_envi(path, values + rng.normal(0, 9, (60, 96, 96)), AXIS, dtype=np.uint16)


@pytest.fixture
def root(tmp_path):
    for seed in range(COUNT):
        write_cube(tmp_path / "data" / f"cube{seed}.bil", seed)
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def start(root, cache, hook="", **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", JOB.replace("{hook}", hook), str(root), str(cache)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment, **options,
    )  # fmt: skip


def finish(process):
    """Return the folder of the store and what was prepared for it; fails on an error."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    answer = json.loads(out)
    return Store.open(Path(answer["folder"]), verify=True), answer["prepared"]


def fail(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 1
    assert out == ""
    assert "Traceback" not in err
    return err


def shards_of(cache):
    """Return name, inode and time of change of each packed image."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (cache / "shards").glob("*.npy")
    }


def assert_right(store, root):
    """Compare a store with images prepared here and now from the folder as it is."""
    catalogue = scan(root)
    preparer = Preparer(catalogue, PrepareSettings(size=SIZE))
    assert list(store.table["file"]) == [record.file for record in catalogue.records]
    for row, record in enumerate(catalogue.records):
        expected = preparer.prepare(record)
        np.testing.assert_array_equal(store.planes([row])[0], expected.image.astype(np.float16))
        np.testing.assert_array_equal(store.masks([row])[0], expected.mask)
        assert store.statistics([row]).count == expected.statistics.count


# The fourth image is half written when the kill comes.
STOP_HALFWAY = """
from hyperspec.datasets.store import shards
known, saved = shards._save, []
def stop(file, image, dtype):
    saved.append(1)
    if len(saved) == 4:
        file.write(image[:5].astype(dtype).data)
        file.flush()
        print("halfway", flush=True)
        sys.stdin.readline()
    return known(file, image, dtype)
shards._save = stop
"""


def test_a_killed_pack_goes_on_where_it_was(root, cache):
    process = start(root, cache, STOP_HALFWAY)
    assert process.stdout.readline() == "halfway\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL
    done = shards_of(cache)
    assert len(done) == 3
    (half,) = (cache / "shards").glob(".*.npy.*.part")
    assert 0 < half.stat().st_size < 60 * SIZE * SIZE * 2
    assert not list((cache / "stores").glob("*/store.json"))
    store, prepared = finish(start(root, cache))
    assert len(prepared) == COUNT - len(done)
    after = shards_of(cache)
    assert {name: after[name] for name in done} == done
    assert len(after) == COUNT
    assert list((cache / "shards").glob(".*")) == []
    assert_right(store, root)


def test_packs_that_start_together_share_one_build(root, cache):
    processes = [start(root, cache) for _ in range(3)]
    answers = [finish(process) for process in processes]
    assert len({store.folder for store, _ in answers}) == 1
    # Each cube once, by whichever process came first.
    prepared = sorted(file for _, files in answers for file in files)
    assert prepared == [f"cube{i}.bil" for i in range(COUNT)]
    assert_right(answers[0][0], root)


def test_the_second_pack_says_that_it_waits(root, cache):
    hold = "packing._check_room = lambda *_: (print('holding', flush=True), sys.stdin.readline())"
    first = start(root, cache, hold)
    assert first.stdout.readline() == "holding\n"  # it has the lock
    second = start(root, cache)
    told = ""
    while "waiting" not in told and second.poll() is None:
        told = second.stderr.readline()
    assert "Another process is packing into" in told
    first.stdin.write("go on\n")
    first.stdin.flush()
    assert len(finish(first)[1]) == COUNT
    assert finish(second)[1] == []


def test_a_cube_replaced_under_a_finished_store_is_packed_anew(root, cache):
    before, _ = finish(start(root, cache))
    old = before.planes([3])
    path = root / "cube3.bil"
    status = path.stat()
    write_cube(path, 99)  # the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # and, as cp -p does, the same time
    after, prepared = finish(start(root, cache))
    assert prepared == ["cube3.bil"]
    assert after.hash != before.hash
    assert not np.array_equal(after.planes([3]), old)
    np.testing.assert_array_equal(before.planes([3]), old)  # under a job that still uses it
    assert_right(after, root)


@pytest.mark.parametrize("name", ["cube3.bil", "cube3.hdr", "cube3_mask.npy"])
def test_a_cube_replaced_between_scan_and_pack_is_refused(root, cache, tmp_path, name):
    np.save(root / "cube3_mask.npy", np.ones((96, 96), bool))
    process = start(root, cache, "print('scanned', flush=True); sys.stdin.readline()")
    assert process.stdout.readline() == "scanned\n"
    if name.endswith(".bil"):
        write_cube(root / name, 99)
    else:
        shutil.copy(root / name, tmp_path / name)  # the same content, but nobody has read it
        (tmp_path / name).replace(root / name)
    process.stdin.write("go on\n")
    process.stdin.flush()
    said = fail(process)
    assert "1 of 10 cubes could not be prepared" in said
    assert "cube3.bil, its header or its mask was changed after the folder was scanned" in said
    store, prepared = finish(start(root, cache))
    assert prepared == ["cube3.bil"]
    assert_right(store, root)


def test_truncated_planes_are_packed_anew(root, cache):
    finish(start(root, cache))
    done = shards_of(cache)
    name = sorted(done)[4]
    os.truncate(cache / "shards" / name, 4096)
    store, prepared = finish(start(root, cache))
    assert len(prepared) == 1
    assert {n: s for n, s in shards_of(cache).items() if n != name} == {
        n: s for n, s in done.items() if n != name
    }
    assert_right(store, root)


@pytest.fixture
def small_disk(tmp_path):
    """Return a disk of 100 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small disk needs root here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


# Once the room was found to suffice, something else fills the disk up to half of the images.
FILL = """
known = packing._check_room
def check_then_fill(cache, shards, count):
    known(cache, shards, count)
    import shutil
    free = shutil.disk_usage(cache).free
    with open(cache / "ballast", "wb") as file:
        file.write(bytes(free - count * shards.shard_bytes // 2))
packing._check_room = check_then_fill
"""


def test_a_full_disk_loses_nothing(root, small_disk):
    cache = small_disk / "cache"
    said = fail(start(root, cache, FILL))
    assert f"Packing into {cache} stopped: [Errno 28] No space left on device" in said
    assert "make room or choose another data.cache_dir, and start again" in said
    done = shards_of(cache)
    assert 1 <= len(done) < COUNT
    assert list(cache.rglob(".*.part")) == []
    (cache / "ballast").unlink()
    store, prepared = finish(start(root, cache))
    assert len(prepared) == COUNT - len(done)
    assert {name: s for name, s in shards_of(cache).items() if name in done} == done
    assert_right(store, root)


def test_a_disk_that_is_too_small_is_refused_beforehand(root, small_disk):
    (small_disk / "ballast").write_bytes(bytes(80 * 2**20))
    cache = small_disk / "cache"
    said = fail(start(root, cache))
    assert "error: Packing 10 cubes needs about 0.07 GB in" in said
    assert "which has 0.02 GB free" in said
    assert not (cache / "shards").exists()


def test_a_write_that_fails_loses_nothing(root, cache):
    """As a full disk, for machines where no disk can be mounted: files may not become so large."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    said = fail(start(root, cache, preexec_fn=limit))
    assert f"Packing into {cache} stopped: [Errno 27] File too large" in said
    assert shards_of(cache) == {}
    assert list(cache.rglob(".*.part")) == []
    store, prepared = finish(start(root, cache))
    assert len(prepared) == COUNT
    assert_right(store, root)
