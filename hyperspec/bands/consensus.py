"""What several strategies agree on: one list of windows with what speaks for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperspec.bands.diagnostics import Pick
from hyperspec.spectra.axis import SpectralAxis


@dataclass(frozen=True)
class WindowSupport:
    """A stretch of the axis, and who picks it.

    Args:
        start_nm: Lower end.
        stop_nm: Upper end.
        strategies: Choices with a band in it, such as ``fngbs 10``.
        expected: How many of the choices would have one if each picked at random.
        steadiness: Share of the resamples, over all choices that were resampled, that pick in it;
            NaN without any.
    """

    start_nm: float
    stop_nm: float
    strategies: tuple[str, ...]
    expected: float
    steadiness: float

    @property
    def support(self) -> float:
        """Choices beyond what chance expects."""
        return len(self.strategies) - self.expected


def consensus(picks: Sequence[Pick], axis: SpectralAxis, width_nm: float) -> list[WindowSupport]:
    """Lay windows side by side over the axis and count what picks in each, the best first.

    Choices of all bands say nothing and are passed over. The last window ends at the last band.

    Args:
        picks: Choices with their resamples.
        axis: The axis that they chose from.
        width_nm: Width of the windows in nanometres, above 0.
    """
    nm, good = axis.wavelengths_nm, axis.good
    low, high = axis.range_nm
    chosen = [pick for pick in picks if len(pick.selection) < int(good.sum())]
    found = []
    for place in range(max(math.ceil((high - low) / width_nm - 1e-9), 1)):
        start = low + place * width_nm
        stop = min(start + width_nm, high)
        last = stop >= high
        inside = np.flatnonzero((nm >= start) & ((nm <= stop) if last else (nm < stop)))
        held = int(good[inside].sum())
        who = tuple(
            f"{pick.selection.strategy} {len(pick.selection)}"
            for pick in chosen
            if np.isin(pick.selection.indices, inside).any()
        )
        expected = sum(_chance(len(pick.selection), held, int(good.sum())) for pick in chosen)
        again = [
            bool(np.isin(one.indices, inside).any()) for pick in chosen for one in pick.resampled
        ]
        steady = float(np.mean(again)) if again else math.nan
        found.append(WindowSupport(float(start), float(stop), who, expected, steady))
    return sorted(found, key=lambda one: (-one.support, one.start_nm))


def _chance(count: int, held: int, total: int) -> float:
    """Return the chance that ``count`` of ``total`` bands, drawn at random, meet ``held``."""
    if count > total - held:
        return 1.0
    return 1 - math.comb(total - held, count) / math.comb(total, count)
