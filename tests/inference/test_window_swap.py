"""Windows exchanged between images: the quick way gives what whole images give."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from hyperspec.evaluation.importance.perturbation import Importance, Mode, band_importance
from hyperspec.inference import window_swap
from hyperspec.inference.window_swap import PartReplacer, WindowSwapper
from hyperspec.models.config import TinyConfig
from hyperspec.models.encoder import build_encoder
from hyperspec.training.embedder import Embedder
from hyperspec.transforms.normalisation.normalisation import PerBand
from hyperspec.transforms.normalisation.pixelwise import Normalisation, Snv, UnitLength

NM = np.linspace(400.0, 700.0, 13)[np.random.default_rng(0).permutation(13)]  # in any order
NUM, SIZE = 6, 16
ROWS = np.arange(NUM)
DONORS = np.roll(ROWS, 2)
WINDOW = np.flatnonzero((NM > 480) & (NM < 560))


@dataclass
class Bank:
    images: Tensor
    shown: Tensor

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.images[rows].clone(), self.shown[rows]


def bank(gain: float = 1.0) -> Bank:
    random = np.random.default_rng(1)
    level = (
        random.uniform(0.3, 0.9, (NUM, 1, 1, 1)) * np.linspace(1, gain, NUM)[:, None, None, None]
    )
    texture = random.uniform(0.8, 1.2, (NUM, 13, SIZE, SIZE))
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.linspace(5, 7, NUM)[:, None, None]
    shown = np.hypot(y - 7.5, x - 7.5) < radius
    return Bank(torch.from_numpy(level * texture).float(), torch.from_numpy(shown)[:, None])


def embedder_of(normalisation: Normalisation, stem: str = "projection") -> Embedder:
    torch.manual_seed(0)
    channels = None if stem == "inflate" else 4
    encoder = build_encoder(TinyConfig(stem=stem, stem_channels=channels, norm="group"), NM)
    return Embedder(encoder, normalisation, bank())  # type: ignore[arg-type]


def by_hand(embedder: Embedder) -> Tensor:
    """The same with whole images, their donors' windows written into them band by band."""
    images, masks = embedder.bank.batch(torch.from_numpy(ROWS))
    x = (images * masks).double()
    means = x.sum((2, 3)) / masks.sum((2, 3))
    order = np.argsort(NM)
    inside = np.flatnonzero(np.isin(order, WINDOW))
    left, right = order[inside[0] - 3 : inside[0]], order[inside[-1] + 1 : inside[-1] + 4]
    changed = x.clone()
    for host, donor in zip(ROWS, DONORS, strict=True):
        ends = [float(means[host, s].mean() / means[donor, s].mean()) for s in (left, right)]
        for band in WINDOW:
            gain = np.interp(NM[band], [NM[left].mean(), NM[right].mean()], ends)
            given = torch.where(masks[donor, 0], x[donor, band], means[donor, band]) * gain
            changed[host, band] = torch.where(masks[host, 0], given, 0.0)
    with torch.no_grad():
        return embedder(changed.float(), masks)


@pytest.mark.parametrize(
    ("normalisation", "stem", "quick"),
    [
        (PerBand(np.linspace(0.5, 2, 13), np.linspace(-1, 1, 13)), "projection", True),
        (Snv(), "projection", True),
        (PerBand(np.linspace(0.5, 2, 13), np.linspace(-1, 1, 13)), "wavelength", True),
        (Snv(), "inflate", False),
        (UnitLength(), "projection", False),
    ],
)
def test_the_quick_way_is_that_of_whole_images(
    normalisation: Normalisation, stem: str, quick: bool
) -> None:
    embedder = embedder_of(normalisation, stem)
    swapper = WindowSwapper(embedder, ROWS, NM)
    assert swapper.quick is quick
    images, masks = embedder.bank.batch(torch.from_numpy(ROWS))
    with torch.no_grad():
        plain = embedder(images, masks)
    # float32: sums of 13 bands, then three blocks of a network whose features are about 1.
    torch.testing.assert_close(swapper.plain(), plain, atol=1e-5, rtol=1e-4)
    expected = by_hand(embedder)
    assert (expected - plain).abs().max() > 1e-3, "the exchange is seen"
    torch.testing.assert_close(swapper.swapped(WINDOW, DONORS), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(swapper.plain(), plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("normalisation", [PerBand(np.ones(13), np.zeros(13)), Snv()])
def test_images_in_any_order_are_those_in_order(normalisation: Normalisation) -> None:
    """Neighbours are read where they lie, others are copied: bands and images alike."""
    replacer = window_swap.WindowReplacer(embedder_of(normalisation), ROWS, NM)
    values = torch.linspace(0.2, 0.9, NUM)[:, None, None, None]
    for window in (np.arange(3, 7), np.array([9, 2, 5])):
        in_order = replacer.replaced(np.arange(NUM), window, values)
        assert (in_order - replacer.plain()).abs().max() > 1e-3
        mixed = np.roll(np.arange(NUM)[::-1], 2)
        found = replacer.replaced(mixed, window, values[torch.from_numpy(mixed)])
        torch.testing.assert_close(found, in_order[torch.from_numpy(mixed)], atol=1e-5, rtol=1e-4)


def test_how_bright_a_donor_is_changes_nothing() -> None:
    """Donors of the same shape, ten times as bright, give the same window."""
    embedder = embedder_of(PerBand(np.ones(13), np.zeros(13)))
    flat = Bank(torch.ones(NUM, 13, SIZE, SIZE), torch.ones(NUM, 1, SIZE, SIZE, dtype=torch.bool))
    flat.images *= torch.linspace(1, 3, NUM)[:, None, None, None]
    swapper = WindowSwapper(Embedder(embedder.encoder, embedder.normalisation, flat), ROWS, NM)  # type: ignore[arg-type]
    torch.testing.assert_close(swapper.swapped(WINDOW, DONORS), swapper.plain())


@pytest.mark.parametrize("where", ["first", "last", "all"])
def test_windows_at_the_ends_of_the_axis(where: str) -> None:
    embedder = embedder_of(Snv())
    swapper = WindowSwapper(embedder, ROWS, NM)
    order = np.argsort(NM)
    window = {"first": order[:2], "last": order[-2:], "all": order}[where]
    found = swapper.swapped(np.sort(window), DONORS)
    assert found.isfinite().all()
    if where == "all":  # nothing of the host is left but its outline
        assert (found - swapper.plain()).abs().max() > 1e-3
    own = swapper.swapped(np.sort(window), ROWS)
    torch.testing.assert_close(own, swapper.plain(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", ["mean", "interpolation", "permutation"])
@pytest.mark.parametrize(
    "normalisation", [PerBand(np.linspace(0.5, 2, 13), np.linspace(-1, 1, 13)), Snv()]
)
def test_importance_is_that_of_whole_images(
    normalisation: Normalisation, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = embedder_of(normalisation)
    embedder.bank.source = SimpleNamespace(size=SIZE)
    monkeypatch.setattr(
        window_swap, "MOST_BYTES", 4 * 4 * 13 * SIZE**2
    )  # two parts: 4 and 2 images
    images, masks = embedder.bank.batch(torch.from_numpy(ROWS))
    replacer = PartReplacer(embedder, ROWS, NM)
    assert [len(part) for part in replacer.parts()] == [4, 2]

    def measure(replacer: PartReplacer | None) -> Importance:
        return band_importance(
            embedder,
            images.numpy(),
            masks[:, 0].numpy(),
            NM,
            [f"s{row}" for row in ROWS],
            window_nm=80.0,
            mode=mode,
            fill=np.linspace(0.3, 0.6, 13),
            predict=lambda features: np.where(features[:, 0] > features[:, 1], "a", "b"),
            labels=["a", "b"] * 3,
            num_permutations=2,
            replacer=replacer,
        )

    quick, whole = measure(replacer), measure(None)
    assert whole.change.max() > 1e-4
    # Of cosines near 1, from float32 features.
    np.testing.assert_allclose(quick.change, whole.change, atol=2e-6)
    assert quick.drop is not None
    assert whole.drop is not None
    np.testing.assert_array_equal(quick.drop, whole.drop)
