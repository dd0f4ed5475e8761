"""Progressive training: which bands in which epochs. Plain values, no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyperspec.spectra.selection import BandSelection
from hyperspec.utils.errors import ConfigError


def nested_sets(largest: BandSelection, counts: Sequence[int]) -> list[BandSelection]:
    """Return the bands of each stage: every set holds the one before it.

    The last stage has the largest set; going back, each set is thinned to the next smaller count by
    keeping bands at even ranks in nm, both ends included (the middle one for a single band).

    Args:
        largest: The bands of the last stage.
        counts: Ascending numbers of bands, the last one that of ``largest``.

    Raises:
        ConfigError: If the last count is not that of ``largest``.
    """
    if counts[-1] != len(largest):
        raise ConfigError(
            f"schedule[{len(counts) - 1}].bands is {counts[-1]}, but bands={largest.strategy} "
            f"chose {len(largest)}: the last stage trains on all chosen bands. Set it to "
            f"{len(largest)}, or choose {counts[-1]} bands (bands=uniform bands.n={counts[-1]})."
        )
    sets = [largest]
    for count in reversed(counts[:-1]):
        sets.insert(0, thinned(sets[0], count))
    return sets


def thinned(selection: BandSelection, count: int) -> BandSelection:
    """Return a selection's bands at even ranks in nm, in the selection's channel order."""
    order = np.argsort(selection.wavelengths_nm, kind="stable")
    last = len(selection) - 1
    ranks = np.round(np.linspace(0, last, count)) if count > 1 else np.array([last // 2])
    kept = np.sort(order[ranks.astype(np.intp)])
    return BandSelection(
        tuple(selection.indices[place] for place in kept),
        selection.axis,
        selection.strategy,
        {**selection.params, "thinned_to": count},
    )
