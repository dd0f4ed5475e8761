"""Views and features from the planes' narrow type, beside the way over a float32 batch."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from views_presets import PRESETS

from hyperspec.datasets.loading.packed_planes import StoredPlanes
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.losses.config import NtXentConfig
from hyperspec.models.config import HeadConfig, ResNetConfig, TinyConfig
from hyperspec.models.encoder import Encoder, build_encoder
from hyperspec.models.heads import build_head
from hyperspec.models.stems.concrete import FixedProjection
from hyperspec.training import simclr as modules
from hyperspec.training.builders import placed
from hyperspec.training.optimizer import Optimisation
from hyperspec.training.parts import Parts
from hyperspec.training.rounding import Rounding
from hyperspec.training.simclr import SimCLR, streams
from hyperspec.transforms.augment import Views
from hyperspec.transforms.normalisation.normalisation import PerBand

BANDS, SIZE = 40, 16
ROWS = torch.tensor([3, 0, 5, 3])


def bank() -> SimpleNamespace:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(6, BANDS, SIZE, SIZE, generator=generator).half()
    masks = torch.rand(6, 1, SIZE, SIZE, generator=generator) > 0.4
    return SimpleNamespace(
        stored=lambda rows: StoredPlanes(images, rows.tolist()),
        masks=lambda rows: masks[rows],
        batch=lambda rows, dtype=torch.float32: (images[rows].to(dtype), masks[rows]),
        to_device=lambda images, masks, dtype=torch.float32: (images.to(dtype), masks),
        bands=range(BANDS),
        source=SimpleNamespace(size=SIZE),
    )


def module_of(preset: str, reduced: bool, stem_channels: int = 4) -> SimCLR:
    torch.manual_seed(0)
    nm = np.linspace(400, 1000, BANDS)
    reduction, channels = None, BANDS
    if reduced:
        channels = 8
        matrix = np.repeat(np.eye(channels), BANDS // channels, axis=1) / (BANDS // channels)
        reduction = FixedProjection(matrix)
    encoder = build_encoder(
        TinyConfig(stem="projection", stem_channels=stem_channels, norm="batch"),
        np.linspace(400, 1000, channels),
    )
    statistics = np.random.default_rng(0)
    parts = Parts(
        encoder,
        build_head(HeadConfig(dim=8), encoder.num_features, unit=True),
        NtXentConfig().build(),
        Views(PRESETS[preset], nm, SIZE, fill=np.full(BANDS, 0.5)),
        PerBand(statistics.uniform(1, 3, channels), statistics.uniform(-1, 1, channels)),
        reduction,
    )
    return SimCLR(parts, bank(), Optimisation(1e-3))  # type: ignore[arg-type]


def made(
    module: SimCLR, batch: Batch, chosen: Tensor, short: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(7)
    module.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=short):
        views, _ = module.views_of(batch, chosen)
    both = torch.cat(views)
    weights = torch.randn(both.shape, generator=torch.Generator().manual_seed(3))
    (both * weights).sum().backward()
    return both.detach(), {
        name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("preset", ["none", "light", "default"])
def test_views_and_gradients_are_those_of_the_long_way(
    preset: str, reduced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_of(preset, reduced)
    assert streams(module.embedder, module.views)
    batch, chosen = Batch(ROWS), torch.tensor([0, 2, 3])
    short, short_gradients = made(module, batch, chosen)
    monkeypatch.setattr(modules, "streams", lambda *_: False)
    long, long_gradients = made(module, batch, chosen)
    torch.testing.assert_close(short, long, atol=1e-5, rtol=1e-5)
    assert short_gradients.keys() == long_gradients.keys() == {"encoder.projection.weight"}
    scale = long_gradients["encoder.projection.weight"].abs().max()
    for name, gradient in long_gradients.items():
        torch.testing.assert_close(
            short_gradients[name] / scale, gradient / scale, atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("reduced", [False, True])
def test_images_are_shortened_where_the_normalisation_bears_it_alone(
    reduced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding grows by mean over deviation: of a nearly constant band nothing else is left."""
    monkeypatch.setattr(modules, "streams", lambda *_: False)
    module = module_of("light", reduced)
    batch, chosen = Batch(ROWS), torch.arange(4)
    with torch.autocast("cpu", torch.bfloat16):
        assert module._pixel_type() == torch.bfloat16
        assert module.views_of(batch, chosen)[0][0].dtype == torch.bfloat16
    constant = module_of("light", reduced)
    normalisation = constant.normalisation
    assert isinstance(normalisation, PerBand)
    normalisation.scale.fill_(1e5)
    normalisation.offset.sub_(0.5e5)
    constant.rounding = Rounding.of(normalisation, constant.reduction, constant.views)
    exact, gradients = made(constant, batch, chosen)
    short, short_gradients = made(constant, batch, chosen, short=True)
    torch.testing.assert_close(short, exact)
    for name, gradient in gradients.items():
        torch.testing.assert_close(short_gradients[name], gradient)


def test_a_step_takes_one_basis_for_both_views(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, real = [], torch.linalg.qr
    monkeypatch.setattr(torch.linalg, "qr", lambda *a, **w: calls.append(1) or real(*a, **w))
    for straight in (True, False):
        monkeypatch.setattr(modules, "streams", lambda *_, s=straight: s)
        made(module_of("default", False), Batch(ROWS), torch.arange(4))
    assert len(calls) == 2


def test_batches_that_a_loader_has_read_give_the_same_views() -> None:
    module = module_of("default", False)
    here, _ = made(module, Batch(ROWS), torch.arange(4))
    images, masks = module.bank.batch(ROWS)
    read, _ = made(module, Batch(ROWS, images.half(), masks), torch.arange(4))
    torch.testing.assert_close(here, read, atol=0, rtol=0)


@pytest.mark.parametrize("reduced", [False, True])
def test_features_are_those_of_the_long_way(reduced: bool) -> None:
    module = module_of("default", reduced)
    short = module.embedder.embed(ROWS, chunk=3)
    long = replace(module.embedder, direct=False).embed(ROWS, chunk=3)
    torch.testing.assert_close(short, long, atol=1e-5, rtol=1e-5)


def test_what_is_no_linear_map_of_the_stored_planes_takes_the_long_way() -> None:
    assert PRESETS["strong"].mix_max > 0
    module = module_of("strong", False)
    assert not streams(module.embedder, module.views)
    assert not module.embedder.direct


def test_autocast_shortens_nothing_before_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of("default", False)
    batch, chosen = Batch(ROWS), torch.arange(4)
    whole, gradients = made(module, batch, chosen)
    features = module.embedder.embed(ROWS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert streams(module.embedder, module.views)
        rounded = module.embedder.embed(ROWS)
    same, others = made(module, batch, chosen, short=True)
    monkeypatch.setattr(modules, "streams", lambda *_: False)
    long, _ = made(module, batch, chosen, short=True)
    torch.testing.assert_close(same, whole, atol=0, rtol=0)
    torch.testing.assert_close(others, gradients, atol=0, rtol=0)
    # The backbone is rounded to 8 bits; the long way rounds the projection already.
    assert 0 < (rounded - features).abs().max() < 0.02 * features.abs().max()
    assert (long - whole).abs().max() > 1e-3 * whole.abs().max()


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("reduced", [False, True])
def test_pixels_that_are_shortened_once_give_the_same_views_bit_for_bit(
    read: bool, reduced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, batch = module_of("default", reduced), Batch(ROWS)
    if read:
        images, masks = module.bank.batch(ROWS)
        batch = Batch(ROWS, images.half(), masks)
    monkeypatch.setattr(modules, "streams", lambda *_: False)
    kinds = []
    project = Views.project_view

    def noted(self: Views, x: Tensor, *rest: Tensor) -> Tensor:
        kinds.append(x.dtype)
        return project(self, x, *rest)

    monkeypatch.setattr(Views, "project_view", noted)
    once, gradients = made(module, batch, torch.arange(4), short=True)
    monkeypatch.setattr(SimCLR, "_pixel_type", lambda _: torch.float32)
    twice, others = made(module, batch, torch.arange(4), short=True)
    assert kinds == [torch.bfloat16] * 2 + [torch.float32] * 2
    torch.testing.assert_close(once, twice, atol=0, rtol=0)
    torch.testing.assert_close(gradients, others, atol=0, rtol=0)


def test_views_that_read_pixels_get_float32() -> None:
    module = module_of("strong", False)
    with torch.autocast("cpu", torch.bfloat16):
        assert module._pixel_type() == torch.float32
    assert module_of("default", False)._pixel_type() == torch.float32


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("preset", ["default", "strong"])
def test_a_composed_projection_trains_alike(
    preset: str, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_of(preset, False, stem_channels=64).eval()
    if not streamed:
        monkeypatch.setattr(modules, "streams", lambda *_: False)

    def run() -> tuple[int, Tensor, dict[str, Tensor]]:
        torch.manual_seed(7)
        module.zero_grad()
        views, _ = module.views_of(Batch(ROWS), torch.arange(4))
        features = module.encoder.features(torch.cat(views))
        (features**2).sum().backward()
        gradients = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
        return views[0].shape[1], features.detach(), gradients

    channels, features, gradients = run()
    monkeypatch.setattr(Encoder, "composes", False)
    wide, expected, others = run()
    assert (channels, wide) == (BANDS, 64)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)
    for name, gradient in others.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(gradients[name], gradient, atol=1e-4 * scale, rtol=0)


@torch.no_grad()
def test_features_of_specimens_compose_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of("default", False, stem_channels=64)
    found = module.embedder.embed(ROWS)
    monkeypatch.setattr(Encoder, "composes", False)
    torch.testing.assert_close(found, module.embedder.embed(ROWS), atol=1e-5, rtol=1e-4)


def test_channels_last_changes_nothing_but_rounding() -> None:
    def run(last: bool) -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(0)
        module = module_of("default", False)
        module.encoder = build_encoder(ResNetConfig("resnet18"), np.linspace(400, 1000, BANDS))
        module = placed(module, torch.device("cpu")) if last else module
        # Batch statistics over eight maps of one pixel would magnify any rounding.
        module.eval()
        layouts = {
            p.is_contiguous(memory_format=torch.channels_last)
            for p in module.encoder.parameters()
            if p.ndim == 4 and p.shape[2] > 1
        }
        assert layouts == {last}
        torch.manual_seed(7)
        views, _ = module.views_of(Batch(ROWS), torch.arange(4))
        features = module.encoder.features(torch.cat(views))
        features.square().sum().backward()
        return features.detach(), [p.grad for p in module.parameters() if p.grad is not None]

    (one, gradients), (other, others) = run(False), run(True)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for gradient, same in zip(gradients, others, strict=True):
        torch.testing.assert_close(gradient, same, atol=1e-4 * float(gradient.abs().max()), rtol=0)
