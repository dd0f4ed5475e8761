"""The stem's weights over wavelengths, as they are kept with a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hyperspec.inference.attention import attention_weights, log_attention
from hyperspec.models.stems.wavelength import BandAttention

NM = np.array([700.0, 400.0, 550.0])


class Specimens:
    def batch(self, rows: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        images = rows[:, None, None, None] * torch.tensor([0.1, 0.0, -0.1])[:, None, None]
        return images.expand(-1, -1, 2, 2), torch.ones(len(rows), 1, 2, 2)


def module(stage: nn.Module) -> Any:
    stages = nn.Sequential(stage, nn.Identity())
    return SimpleNamespace(
        encoder=SimpleNamespace(backbone=SimpleNamespace(stages=stages)),
        bank=Specimens(),
        prepare=lambda images, masks: images * masks,
        at_once=lambda *_: 64,
    )


def trained() -> BandAttention:
    torch.manual_seed(0)
    stem = BandAttention(3, 2)
    nn.init.normal_(stem.excite.weight)
    return stem


def test_weights_are_those_of_the_stem_and_one_at_the_start() -> None:
    rows = torch.arange(130)  # more than one chunk
    found = attention_weights(module(trained()), rows)
    assert found is not None
    torch.testing.assert_close(found, trained().band_weights(Specimens().batch(rows)[0]).detach())
    fresh = attention_weights(module(BandAttention(3, 2)), rows)
    assert fresh is not None
    assert torch.equal(fresh, torch.ones(130, 3))
    assert attention_weights(module(nn.Conv2d(3, 2, 1)), rows) is None


def test_table_and_picture_are_in_order_of_wavelength(tmp_path: Path) -> None:
    kept: dict[str, Any] = {}
    run: Any = SimpleNamespace(
        log_figure=lambda figure, name: kept.update({name: figure}),
        log_text=lambda text, name: kept.update({name: text}),
    )
    material: Any = SimpleNamespace(
        split=SimpleNamespace(test=np.arange(40)), selection=SimpleNamespace(wavelengths_nm=NM)
    )
    log_attention(material, module(trained()), run)
    table = np.genfromtxt(kept["evaluation/attention.csv"].splitlines(), delimiter=",", names=True)
    assert table["wavelength_nm"].tolist() == [400, 550, 700]
    weights = attention_weights(module(trained()), torch.arange(40))
    assert weights is not None
    expected = weights.numpy()[:, [1, 2, 0]]
    assert table["weight"] == pytest.approx(expected.mean(0), abs=1e-5)
    assert table["weight_q05"] == pytest.approx(np.quantile(expected, 0.05, axis=0), abs=1e-5)
    assert table["weight_q95"] == pytest.approx(np.quantile(expected, 0.95, axis=0), abs=1e-5)
    kept["pictures/attention.png"].savefig(tmp_path / "attention.png")
    assert (tmp_path / "attention.png").stat().st_size > 5_000
    kept.clear()
    log_attention(material, module(nn.Conv2d(3, 2, 1)), run)
    assert not kept
