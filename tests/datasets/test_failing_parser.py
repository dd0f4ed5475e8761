"""NumPy's files are read where Python's parser fails for reasons of its own (gh-106905)."""

import ast

import numpy as np
import pytest
from test_store import NAMES, SETTINGS, look, write_specimen
from test_store_damage import everything

from hyperspec.cubes import open_cube
from hyperspec.cubes.mask_image import read_mask
from hyperspec.datasets.catalogue import label_map
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.npy import read_npy

PARSE = ast.literal_eval


@pytest.fixture
def failing(monkeypatch):
    """Let one header of ten fail, as threads that parse at one time may on Python 3.11.7."""
    calls, rng = [], np.random.default_rng(0)

    def parse(text):
        if isinstance(text, str) and "'descr'" in text:
            calls.append(rng.random() < 0.1)
            if calls[-1] or len(calls) == 1:
                raise SystemError("AST constructor recursion depth mismatch (before=48, after=39)")
        return PARSE(text)

    monkeypatch.setattr(ast, "literal_eval", parse)
    return calls


def test_a_store_is_read(tmp_path, request):
    for seed, name in enumerate(NAMES):
        write_specimen(tmp_path / "data" / f"{name}.bil", seed)
    store = pack(look(tmp_path / "data"), SETTINGS, tmp_path / "cache")
    wanted, folder = everything(store), store.folder
    calls = request.getfixturevalue("failing")
    again = Store.open(folder)
    assert everything(again) == wanted
    assert all(again.shards.is_intact(key) for key in again._keys)
    assert sum(calls) > 3


def test_cubes_masks_and_labels_are_read(tmp_path, failing):
    values = np.arange(24).reshape(4, 6)
    np.save(tmp_path / "x.npy", values)
    axis = SpectralAxis.linear(400, 700, 3)
    np.save(tmp_path / "cube.npy", cube := np.arange(60.0).reshape(4, 5, 3))
    with open_cube(tmp_path / "cube.npy", axis) as opened:
        np.testing.assert_array_equal(opened.read(), cube.transpose(2, 0, 1))
    np.testing.assert_array_equal(label_map._values(tmp_path / "x.npy")[0], values)
    np.save(tmp_path / "mask.npy", values > 9)
    assert read_mask(tmp_path / "mask.npy", (4, 6)).specimen.sum() == 14
    assert len(failing) > 3


def test_one_that_always_fails_says_so():
    def read():
        raise SystemError("broken")

    with pytest.raises(SystemError, match="broken"):
        read_npy(read)
