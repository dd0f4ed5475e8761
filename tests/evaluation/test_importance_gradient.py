"""Integrated gradients: completeness, a linear case in closed form, and the planted windows."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("captum")

from hyperspec.evaluation.importance.gradient import gradient_importance
from hyperspec.evaluation.importance.perturbation import band_importance
from hyperspec.evaluation.importance.report import (
    contrast_regions,
    draw_importance,
    importance_table,
)
from hyperspec.utils.errors import ConfigError

# captum's own uses of deprecated torch and numpy names
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
NM = np.linspace(400.0, 800.0, 41)  # every 10 nm


class Windowed(nn.Module):
    """Mean spectrum through weights that are large in one window only."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.full((3, len(NM)), 0.02)
        weight[0, 10:13], weight[1, 10:13] = 1.0, -1.0
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        inside = torch.ones_like(x[:, :1]) if mask is None else mask.to(x.dtype)
        return (x * inside).sum((2, 3)) / inside.sum((2, 3)) @ self.weight.T


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    spectra = 0.5 + 0.1 * random.normal(size=(10, len(NM)))
    spectra[::2, 10:13] *= 0.3
    images = np.repeat(np.repeat(spectra[:, :, None, None], 4, 2), 4, 3).astype(np.float32)
    masks = random.random((10, 4, 4)) < 0.7
    masks[:, 0, 0] = True
    images *= masks[:, None]
    return images, masks, [f"s{i // 2}" for i in range(10)], spectra.mean(0)


def test_attributions_sum_up_to_the_cosine_that_was_gained(data) -> None:
    images, masks, specimens, fill = data
    encoder = Windowed()
    found = gradient_importance(
        encoder, images, masks, NM, specimens, fill=fill, window_nm=10, step_nm=10, num_steps=64
    )
    # Windows of 10 nm at 10 nm bands hold their own band and share none but the borders.
    assert [len(found.windows.bands(i)) for i in range(41)] == [1] * 41
    weight = encoder.weight.detach().double().numpy()
    whole = np.stack([[images[i, :, masks[i]].mean(0) @ weight.T] for i in range(10)])[:, 0]
    painted = fill @ weight.T
    cosine = whole @ painted / np.linalg.norm(whole, axis=1) / np.linalg.norm(painted)
    np.testing.assert_allclose(found.change.sum(0), 1 - cosine, atol=2e-4)
    assert found.mode == "gradient"


def test_the_window_that_matters_stands_out_as_with_occlusion(data) -> None:
    images, masks, specimens, fill = data
    options = {"window_nm": 30.0, "step_nm": 10.0}
    gradient = gradient_importance(Windowed(), images, masks, NM, specimens, fill=fill, **options)
    occluded = band_importance(Windowed(), images, masks, NM, specimens, fill=fill, **options)
    for result in (gradient, occluded):
        assert result.change.mean(1).argmax() == 11  # the window around 510 nm
    tables = [importance_table([one]) for one in (gradient, occluded)]
    figure = draw_importance(__import__("pandas").concat(tables))
    titles = [axes.get_ylabel() for axes in figure.axes]
    assert titles == ["embedding change (1 - cosine)", "attribution (cosine)"]
    (contrast,) = contrast_regions([occluded], [(500.0, 520.0)])
    assert contrast.share_below == 1.0
    assert contrast.difference.low > 0
    elsewhere = (NM + 15 < 500) | (NM - 15 > 520)
    inside = occluded.change[(NM >= 500) & (NM <= 520)].mean(0)
    gap = inside - np.median(occluded.change[elsewhere], axis=0)
    assert contrast.inside.mean == pytest.approx(inside.mean())
    assert contrast.difference.mean == pytest.approx(gap.mean())


def test_a_stretch_between_windows_takes_the_nearest_one(data) -> None:
    images, masks, specimens, fill = data
    result = band_importance(
        Windowed(), images, masks, NM, specimens, fill=fill, window_nm=30, step_nm=30
    )
    (contrast,) = contrast_regions([result], [(515.0, 519.0)])  # centres at 490, 520, ...
    assert contrast.inside.mean == pytest.approx(result.change[4].mean())
    with pytest.raises(ConfigError, match="--mark covers the whole axis"):
        contrast_regions([result], [(300.0, 900.0)])


def test_without_captum_the_way_out_is_told(data, monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks, specimens, fill = data
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigError, match=r"pip install 'hyperspec-sweeps\[importance\]'"):
        gradient_importance(Windowed(), images, masks, NM, specimens, fill=fill)
