"""Cubes beyond the memory: read by parts, with the numbers of the whole, or a word on the need."""

import numpy as np
import pytest

from hyperspec.cubes import cube as cubes
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.store.on_the_fly import DirectSource
from hyperspec.datasets.store.packed import pack
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils import memory_share
from hyperspec.utils.errors import CatalogueError
from hyperspec.utils.memory_share import band_groups, share_memory, whole_bytes

BANDS, LINES, SAMPLES = 12, 30, 26
AXIS = SpectralAxis.linear(400, 700, BANDS)
QUARTER = BANDS * LINES * SAMPLES  # bytes of a quarter of a cube as float32


@pytest.fixture(params=["bil", "bip", "bsq"])
def catalogue(tmp_path, request):
    root = tmp_path / "cubes"
    for seed in range(2):
        values = np.random.default_rng(seed).normal(300, 20, (BANDS, LINES, SAMPLES))
        values[:, 8:20, 7 + seed : 18] += 1500
        values[3, 2, 2] = 65535
        extra = {"data ignore value": "65535"}
        write_envi(root / f"x{seed}.bil", values, AXIS, dtype="u2", interleave=request.param,
                   extra=extra)  # fmt: skip
    rows = np.linspace(3000, 4000, SAMPLES)
    write_envi(root / "white.bil", np.broadcast_to(rows, (BANDS, 3, SAMPLES)), AXIS, dtype="u2")
    write_envi(root / "dark.bil", np.full((BANDS, 2, SAMPLES), 100, "u2"), AXIS)
    return scan(root)


@pytest.fixture
def little(monkeypatch):
    """Room for 3 bands of a frame at once; notes how many bytes each reading took."""
    monkeypatch.setattr(memory_share, "free_bytes", lambda: 0)
    monkeypatch.setattr(memory_share, "_LEAST_BYTES", whole_bytes((3, LINES, SAMPLES)))
    monkeypatch.setattr(cubes.blocks, "__defaults__", (4 * BANDS * SAMPLES * 7,))  # 7 lines
    sizes, read = [], Preparer.read

    def noted(*args):
        values = read(*args)
        sizes.append(values.nbytes)
        return values

    monkeypatch.setattr(Preparer, "read", noted)
    return sizes


SETTINGS = PrepareSettings(size=9, dtype="float32")


def numbers(source):
    rows = range(len(source))
    return source.planes(rows), source.masks(rows), source.statistics(rows).hash, source.hash


def test_packed_by_parts_equals_packed_whole(catalogue, tmp_path, request):
    whole = numbers(pack(catalogue, SETTINGS, tmp_path / "whole"))
    sizes = request.getfixturevalue("little")
    parts = numbers(pack(catalogue, SETTINGS, tmp_path / "parts"))
    assert 0 < max(sizes) <= QUARTER
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)
    sizes.clear()
    unpacked = numbers(DirectSource(catalogue, SETTINGS))
    assert 0 < max(sizes) <= QUARTER
    for one, other in zip(whole, unpacked, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_specimen_beyond_the_memory_says_what_it_needs(catalogue, tmp_path, little):
    with pytest.raises(CatalogueError, match=r"x0.bil: the 779 pixels of its specimen at 12 bands "
                       r"take 0.00 GB .*data=tiles"):  # fmt: skip
        pack(catalogue, PrepareSettings(size=9, mask="none"), tmp_path / "c")


def test_as_many_cubes_at_once_as_memory_holds(monkeypatch):
    monkeypatch.setattr(memory_share, "free_bytes", lambda: 10 * 10**9)
    small, large = (100, 100, 100), (400, 1000, 1000)  # 8 MB, 3.2 GB while they are prepared
    assert share_memory([small], 16) == (16, 500_000_000)
    assert share_memory([small, large], 16) == (2, 4_000_000_000)
    assert share_memory([(400, 2000, 2000)], 16) == (1, 8_000_000_000)
    assert share_memory([], 4)[0] == 4


def test_bands_come_in_groups_that_fit():
    assert list(band_groups([4, 1, 7], 100, None)) == [[4, 1, 7]]
    assert list(band_groups([4, 1, 7], 100, 1600)) == [[4, 1], [7]]
    assert list(band_groups(range(3), 100, 1)) == [[0], [1], [2]]  # one at least
