"""A bank of some bands shares the planes of the one it was made from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_plane_cache import BANDS, CPU, write_cubes

from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.on_the_fly import DirectSource


@pytest.mark.parametrize("mode", ["device", "pinned", "mmap"])
def test_a_narrowed_bank_gives_its_bands_without_reading_again(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cubes(tmp_path, 3, 8)
    source = DirectSource(scan(tmp_path), PrepareSettings(size=8, mask="none"))
    whole = PlaneBank(source, BANDS, CPU, Residency(mode, ""))
    rows = torch.tensor([2, 0])
    expected = source.planes(rows.tolist(), [5, 30]).astype(np.float32)
    if mode != "mmap":
        monkeypatch.setattr(type(source), "planes", None)
    few = whole.narrowed([3, 5, 30]).narrowed([5, 30])
    images, masks = few.batch(rows)
    np.testing.assert_array_equal(images.numpy(), expected)
    assert masks.shape == (2, 1, 8, 8)
    assert few.bands == (5, 30)
    assert whole.bands == tuple(BANDS)
    with pytest.raises(ValueError, match="has no band 7"):
        whole.narrowed([7])
