"""The combined loss on real encoders and views: one forward, any feature map, exact batches."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from views_presets import PRESETS

from hyperspec.datasets.loading.packed_planes import StoredPlanes
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.losses import CombinedConfig, LossConfig, NtXentConfig, VicRegConfig
from hyperspec.models import CellHead, build_encoder, build_head
from hyperspec.models.config import (
    ConvNextConfig,
    EncoderConfig,
    HeadConfig,
    ResNetConfig,
    TinyConfig,
    VitConfig,
)
from hyperspec.training.optimizer import Optimisation
from hyperspec.training.parts import Parts
from hyperspec.training.simclr import SimCLR
from hyperspec.transforms.augment import Views
from hyperspec.transforms.normalisation.normalisation import PerBand

NM = np.linspace(400, 800, 6)


class Specimens:
    """Stands for a bank: random images in memory."""

    def __init__(self, size: int, count: int = 8) -> None:
        generator = torch.Generator().manual_seed(1)
        self.images = torch.rand(count, NM.size, size, size, generator=generator)
        self.dtype = torch.float32
        self.bands, self.source = range(NM.size), SimpleNamespace(size=size)

    def batch(self, rows: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        images = self.images[rows].to(self.dtype)
        return images, torch.ones(len(rows), 1, *images.shape[2:], dtype=torch.bool)

    def stored(self, rows: Tensor) -> StoredPlanes:
        return StoredPlanes(self.images, rows.tolist())

    def masks(self, rows: Tensor) -> Tensor:
        return torch.ones(len(rows), 1, *self.images.shape[2:], dtype=torch.bool)


def module_of(
    model: EncoderConfig,
    loss: LossConfig,
    size: int = 32,
    micro_batch: int | None = None,
    views: str = "default",
) -> SimCLR:
    torch.manual_seed(0)
    encoder = build_encoder(model, NM)
    head = build_head(HeadConfig(dim=8), encoder.num_features, unit=loss.normalised)
    cells = None
    if isinstance(loss, CombinedConfig):
        cells = CellHead(encoder.num_features, 16, 8)
    parts = Parts(
        encoder,
        head,
        loss.build(),
        Views(PRESETS[views], NM, size),
        PerBand(np.full(NM.size, 2.0), np.full(NM.size, -1.0)),
        cell_head=cells,
    )
    module = SimCLR(parts, Specimens(size), Optimisation(1e-3), micro_batch)  # type: ignore[arg-type]
    logged: dict[str, Tensor] = {}
    module.log = lambda name, value, **_: logged.update({name: value})  # type: ignore[assignment,method-assign]
    module.log_dict = lambda values, **_: logged.update(values)  # type: ignore[assignment,method-assign]
    module.logged = logged  # type: ignore[assignment]
    return module


def step(module: SimCLR, rows: int = 8) -> Tensor:
    torch.manual_seed(5)
    loss = module.training_step(Batch(torch.arange(rows)), 0)
    loss.backward()
    return loss.detach()


MODELS: dict[str, Callable[[], EncoderConfig]] = {
    "tiny": TinyConfig,
    "resnet18": ResNetConfig,
    "convnext": ConvNextConfig,
    "vit": VitConfig,
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_backbones_feature_map_serves_both_terms(name: str) -> None:
    """One forward per view: the backbone runs once on both views together."""
    module = module_of(MODELS[name](), CombinedConfig(), size=32 if name != "resnet18" else 64)
    calls: list[int] = []
    module.encoder.backbone.register_forward_hook(lambda _m, given, _o: calls.append(len(given[0])))
    loss = step(module, rows=4)
    assert calls == [8]
    logged: dict[str, Any] = module.logged  # type: ignore[assignment]
    whole, local = (logged[f"train/loss_{part}"] for part in ("global", "local"))
    torch.testing.assert_close(loss, 0.6 * whole + 0.4 * local)
    assert logged["train/paired_cells"] > 0
    assert local > 0
    assert module.cell_head is not None
    for part in (module.encoder, module.head, module.cell_head):
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())


def test_the_optimizer_trains_the_head_over_cells() -> None:
    module = module_of(TinyConfig(), CombinedConfig())
    module.trainer = type("Trainer", (), {"estimated_stepping_batches": 10})()  # type: ignore[assignment]
    held = module.configure_optimizers()["optimizer"].param_groups  # type: ignore[index,union-attr]
    chosen = {id(p) for group in held for p in group["params"]}
    assert module.cell_head is not None
    assert {id(p) for p in module.cell_head.parameters()} <= chosen


class Dropped(nn.Module):
    """A backbone stage with dropout behind it."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage, self.dropout = stage, nn.Dropout2d(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.stage(x))


@pytest.mark.parametrize(
    "loss",
    [
        NtXentConfig(0.2),
        CombinedConfig(NtXentConfig(0.2, queue_size=9)),
        CombinedConfig(VicRegConfig(), 0.3, 0.7, local_pairs=None),
    ],
    ids=["nt_xent", "combined_queue", "combined_vicreg"],
)
@pytest.mark.parametrize("views", ["default", "strong"])
def test_micro_batches_are_exact_with_augmentation_and_dropout(
    loss: LossConfig, views: str
) -> None:
    """Against one graph over the same chunks: views are drawn per chunk either way."""

    def gradient(cached: bool) -> tuple[Tensor, Tensor]:
        module = module_of(TinyConfig(norm="group"), loss, micro_batch=3, views=views).double()
        module.bank.dtype = torch.float64  # type: ignore[attr-defined]
        stages = module.encoder.backbone.stages
        stages[1] = Dropped(stages[1])
        rows = torch.arange(8)
        for _ in range(2):  # by the second step a queue is filled
            module.zero_grad()
            if cached:
                value = step(module)
                continue
            torch.manual_seed(5)
            parts = [module.embed_views(Batch(rows), chunk) for chunk in rows.split(3)]
            value, _ = module.compare(*(torch.cat(same) for same in zip(*parts, strict=True)))
            value.backward()
        grads = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        return value.detach(), torch.cat(grads)

    value, found = gradient(cached=True)
    reference, expected = gradient(cached=False)
    torch.testing.assert_close(value, reference, rtol=1e-12, atol=0)
    assert expected.norm() > 1e-3
    assert (found - expected).norm() <= 1e-9 * expected.norm()


def test_mixed_precision_keeps_the_terms_in_float32() -> None:
    module = module_of(TinyConfig(), CombinedConfig())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = step(module)
    exact = step(module_of(TinyConfig(), CombinedConfig()))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
