"""The public checks: all that the package has passes them, and each of them can fail."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.bands import STRATEGIES, CountedStrategy, StatisticsStrategy
from hyperspec.evaluation.evaluators import BUILT_IN, register_evaluator
from hyperspec.evaluation.metrics import Metric
from hyperspec.losses import OPTIONS, LossConfig, NtXentConfig
from hyperspec.models import EncoderConfig, ResNetConfig, TinyConfig
from hyperspec.models.config import STEMS
from hyperspec.models.stems.projection import Projection
from hyperspec.models.stems.wavelength import BandAttention, WavelengthProjection
from hyperspec.testing import check_encoder, check_evaluator, check_loss, check_stem, check_strategy

COUNTED = {name: kind for name, kind in STRATEGIES.items() if issubclass(kind, CountedStrategy)}


@pytest.mark.parametrize("kind", COUNTED.values(), ids=COUNTED.keys())
def test_every_strategy_passes(kind: type[CountedStrategy]) -> None:
    check_strategy(kind)


# Of the others, combined takes cells besides embeddings.
@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"combined"}))
def test_every_loss_passes(name: str) -> None:
    check_loss(OPTIONS[name]())


def test_a_loss_with_a_memory_passes() -> None:
    check_loss(NtXentConfig(queue_size=8))


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_passes_in_front_of_a_backbone(stem: str) -> None:
    check_encoder(TinyConfig(stem=stem))


@pytest.mark.slow
def test_a_residual_network_passes() -> None:
    check_encoder(ResNetConfig(norm="group"), num_bands=(5,))


@pytest.mark.parametrize(
    "build",
    [
        lambda nm: Projection(len(nm), 6),
        lambda nm: WavelengthProjection(nm, 6),
        lambda nm: BandAttention(len(nm), 6),
    ],
    ids=["projection", "wavelength", "attention"],
)
def test_every_stem_passes(build: Callable[[np.ndarray], nn.Module]) -> None:
    check_stem(build, 6)


# k-means and the folds of the linear probe see their rows in order, and its scaling sees axes.
ORDERED = {"clusters", "linear"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_evaluator_passes(name: str) -> None:
    check_evaluator(name, rotation=name not in ORDERED, order=name not in ORDERED)


# --- what must not pass ---


@dataclass
class FirstBands(StatisticsStrategy):
    """A strategy that keeps its promises, of which each broken one below loses one."""

    name: ClassVar[str] = "first"

    def _rank(self, wavelengths_nm, statistics):
        return np.argsort(-statistics.variance, kind="stable")[: self.n]


@dataclass
class Short(FirstBands):
    def _indices(self, axis, statistics):
        return super()._indices(axis, statistics)[:3]


@dataclass
class TakesBad(FirstBands):
    def _indices(self, axis, statistics):
        return tuple(range(self.n))


@dataclass
class Unsorted(FirstBands):
    def _indices(self, axis, statistics):
        return super()._indices(axis, statistics)[::-1]


@dataclass
class Chance(FirstBands):
    def _rank(self, wavelengths_nm, statistics):
        return np.random.permutation(len(wavelengths_nm))[: self.n]  # noqa: NPY002


@dataclass
class Spoils(FirstBands):
    def select(self, axis, statistics=None):
        found = super().select(axis, statistics)
        statistics.samples.setflags(write=True)
        statistics.samples[:] = 0
        return found


@dataclass
class ByChannel(FirstBands):
    def _indices(self, axis, statistics):
        return tuple(axis.good_indices[: self.n].tolist())


@dataclass
class Lenient(FirstBands):
    def __post_init__(self) -> None:
        """Take any n."""


@dataclass
class NeverAsks(CountedStrategy):
    name: ClassVar[str] = "never_asks"
    needs_statistics: ClassVar[bool] = True

    def _checked(self, axis, statistics):
        return statistics

    def _choose(self, wavelengths_nm, statistics):
        return range(self.n)


def test_the_sound_strategy_passes() -> None:
    check_strategy(FirstBands)


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Short, "exactly n bands"),
        (TakesBad, "good bands only"),
        (Unsorted, "in channel order"),
        (Chance, "the same bands each time"),
        (Spoils, "changes nothing"),
        (ByChannel, "the same nm for any order of channels"),
        (Lenient, "refuses bands.n=0"),
        (NeverAsks, "refuses to go without data"),
    ],
)
def test_a_strategy_that_breaks_a_promise_is_told(kind, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_strategy(kind)


@dataclass
class Sound(LossConfig):
    """A loss of one line, and what breaks it."""

    name: ClassVar[str] = "sound"
    flaw: str = ""

    def build(self) -> nn.Module:
        return Mean(self.flaw)


class Mean(nn.Module):
    def __init__(self, flaw: str) -> None:
        super().__init__()
        self.flaw, self.calls = flaw, 0

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        z0, z1 = (z.float() if z.dtype.itemsize < 4 else z for z in (z0, z1))
        if self.flaw == "in place":
            z0.mul_(2)
        if self.flaw == "chance":
            z0 = z0 + 0.1 * torch.randn_like(z0)
        if self.flaw == "single":
            z0, z1 = z0.float(), z1.float()
        if self.flaw == "apart":
            return -functional.mse_loss(z0, z1)
        if self.flaw == "order":
            return ((z0 - z1).square().sum(1) * torch.arange(len(z0))).mean()
        if self.flaw == "one-sided":
            return (z0 - z1).square().mean() + z0.square().mean()
        if self.flaw == "detached":
            return functional.mse_loss(z0, z1.detach())
        if self.flaw == "root":
            return (z0 - z0.mean(0)).square().sum().sqrt() * 0 + (z0 - z1).norm()
        return functional.mse_loss(z0, z1, reduction="none" if self.flaw == "each" else "mean")


def test_the_sound_loss_passes() -> None:
    check_loss(Sound())
    check_loss(Sound("one-sided"), symmetric=False)


@pytest.mark.parametrize(
    ("flaw", "promise"),
    [
        ("each", "gives one finite number"),
        ("in place", "changes no embedding"),
        ("chance", "the same value each time"),
        ("order", "any order of specimens"),
        ("one-sided", "views exchanged"),
        ("apart", "lower for aligned views"),
        ("single", "is torch.float64"),
        ("detached", "finite differences"),
    ],
)
def test_a_loss_that_breaks_a_promise_is_told(flaw: str, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_loss(Sound(flaw))


@dataclass
class Built(EncoderConfig):
    """A backbone of one convolution, and what breaks it."""

    names: ClassVar[tuple[str, ...]] = ("built",)

    name: str = "built"
    flaw: str = ""

    def build_stages(self, wavelengths_nm):
        features = 9 if self.flaw == "width" else 8
        first = nn.Conv2d(int(np.size(wavelengths_nm)), 8, 3, padding=1)
        last = {
            "nan": Scale(float("nan")),
            "deaf": Scale(0.0),
            "chance": Chanced(),
            "batch": nn.BatchNorm2d(8, track_running_stats=False),
            "half": Halved(),
        }.get(self.flaw, nn.ReLU())
        return OrderedDict(first=first, last=last), features


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Chanced(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True)


class Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.half()


def test_the_sound_encoder_passes() -> None:
    check_encoder(Built(), side=8)


@pytest.mark.parametrize(
    ("flaw", "promise"),
    [
        ("width", "per image"),
        ("nan", "finite gradient"),
        ("deaf", "reads its input"),
        ("chance", "deterministic"),
        ("batch", "each image by itself"),
        ("half", "keeps dtype"),
    ],
)
def test_an_encoder_that_breaks_a_promise_is_told(flaw: str, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_encoder(replace(Built(), flaw=flaw), side=8, num_bands=(3,))


def test_a_stem_of_other_channels_is_told() -> None:
    with pytest.raises(AssertionError, match=r"gives \(5, 8, 8\) per image"):
        check_stem(lambda nm: Projection(len(nm), 6), 5)


@pytest.mark.parametrize(
    ("flaw", "promise"),
    [
        ("", ""),
        ("no row", "there is none of 'other'"),
        ("nan", "is finite"),
        ("range", "lies within 0 to 1"),
        ("chance", "the same values each time"),
        ("in place", "changes no features"),
        ("first axis", "the same for rotated features"),
        ("first row", "the same for any order of rows"),
        ("few", "leaves out or refuses a part of 1 rows"),
    ],
)
def test_an_evaluator_that_breaks_a_promise_is_told(
    flaw: str, promise: str, evaluator_tables: None
) -> None:
    random = np.random.default_rng(0)

    @register_evaluator("mine", metrics=[Metric("norm", evaluator="mine", range="0 to 1")])
    def run(embeddings):
        matrix = embeddings.part.matrix
        if flaw == "few" and len(matrix) < 3:
            raise IndexError("too few")
        if flaw == "in place":
            matrix[0] = 0
        value = 1 / (1 + float((matrix**2).mean()))
        return {
            "no row": {"other": value},
            "nan": {"norm": float("nan")},
            "range": {"norm": value + 1},
            "chance": {"norm": random.random()},
            "first axis": {"norm": abs(float(matrix[:, 0].mean())) % 1},
            "first row": {"norm": 1 / (1 + float((matrix[0] ** 2).mean()))},
        }.get(flaw, {"norm": value})

    if not flaw:
        check_evaluator("mine")
        return
    with pytest.raises(AssertionError, match=promise):
        check_evaluator("mine")
