"""Bands chosen by the training itself: the option, and what its numbers mean. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from hyperspec.bands.base import CountedStrategy, Vector
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection, ascending
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError, ConfigError

FEWEST_EPOCHS = 4  # two to anneal over, one to train on the result, one to spare


@dataclass
class Learned(CountedStrategy):
    """N selectors over all good bands, trained jointly with the contrastive loss, then made hard.

    Each selector is a concrete (Gumbel-softmax) relaxation of a choice among the bands, whose
    temperature falls from epoch to epoch. After the search the n chosen bands are an ordinary
    selection, on which the training goes on.

    Source: Maddison, Mnih, Teh 2017, "The Concrete Distribution"; Jang, Gu, Poole 2017,
        "Categorical Reparameterization with Gumbel-Softmax"; temperature schedule of Balin, Abid,
        Zou 2019, "Concrete Autoencoders", section 3.
    """

    name: ClassVar[str] = "learned"

    search_share: float = 0.5
    """Share of ``epochs`` that the search takes, above 0 and below 1."""

    restart: bool = False
    """After the search: false goes on with the trained encoder for the rest of the epochs; true
    starts a new one and trains it for all of ``epochs``, as any other choice of bands is, so that
    the search comes on top."""

    start_temperature: float = 10.0
    """Temperature of the first epoch, above the last one's: selectors mix many bands."""

    end_temperature: float = 0.1
    """Temperature of the search's last epoch, above 0: selectors are almost hard."""

    lr: float = 1.0
    """Learning rate of the selectors' logits (AdamW), constant, above 0. They must travel many
    units within the search, a thousand times farther than a network's weights: in 50 steps on 408
    synthetic bands 0.3 left selectors at three quarters of the full entropy, 1 at a third."""

    duplicate_penalty: float = 1.0
    """Weight of the penalty on bands that several selectors want, 0 or above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.search_share < 1:
            raise BandError(
                f"bands.search_share is {self.search_share}; give a share of the epochs above 0 "
                "and below 1, for example 0.5."
            )
        if not 0 < self.end_temperature < self.start_temperature < float("inf"):
            raise BandError(
                f"bands.start_temperature is {self.start_temperature} and bands.end_temperature "
                f"{self.end_temperature}; the temperature falls, so give a start above the end and "
                "an end above 0, for example 10 and 0.1."
            )
        if not 0 < self.lr < float("inf"):
            raise BandError(f"bands.lr is {self.lr}; give a rate above 0, for example 1.")
        if not 0 <= self.duplicate_penalty < float("inf"):
            raise BandError(
                f"bands.duplicate_penalty is {self.duplicate_penalty}; give 0 or a weight above."
            )

    def search_epochs(self, epochs: int) -> int:
        """Return how many of a run's epochs the search takes: at least 2, leaving at least 1.

        Raises:
            ConfigError: If there are too few to anneal over.
        """
        if epochs < FEWEST_EPOCHS:
            raise ConfigError(
                f"epochs is {epochs}, but bands=learned needs {FEWEST_EPOCHS} at least: it anneals "
                "over the first and trains on the chosen bands in the rest. Raise epochs, or take "
                "a strategy that needs no training."
            )
        return min(max(round(self.search_share * epochs), 2), epochs - 1)

    def temperature(self, epoch: int, epochs: int) -> float:
        """Return the temperature of an epoch of a search over ``epochs``: a geometric fall.

        Source: Balin, Abid, Zou 2019, "Concrete Autoencoders", section 3: T0 (TB / T0)^(b / B).
        """
        done = min(epoch / max(epochs - 1, 1), 1.0)
        factor: float = (self.end_temperature / self.start_temperature) ** done
        return self.start_temperature * factor

    def final_epochs(self, epochs: int) -> int:
        """Return how many epochs the training on the chosen bands takes."""
        return epochs if self.restart else epochs - self.search_epochs(epochs)

    def candidates(self, axis: SpectralAxis) -> BandSelection:
        """Return what the search reads: every good band.

        Raises:
            BandError: If the axis has fewer than n.
        """
        self.check_axis(axis)
        order, _ = self._arranged(axis, None)
        return BandSelection(ascending(order), axis, self.name, asdict(self))

    def chosen(self, axis: SpectralAxis, indices: Sequence[int]) -> BandSelection:
        """Return the search's result as an ordinary selection, in channel order."""
        assert len(indices) == self.n, f"{len(indices)} of {self.n} bands"
        return BandSelection(ascending(indices), axis, self.name, asdict(self))

    def _choose(
        self, wavelengths_nm: Vector, statistics: SpectralStatistics | None
    ) -> Sequence[int]:
        raise BandError(
            "bands=learned is chosen by training, so nothing can be told beforehand. Run "
            f"`hyperspec train bands=learned bands.n={self.n}`; its bands.json holds the choice, "
            "which bands=list bands.nm=[...] takes up again."
        )
