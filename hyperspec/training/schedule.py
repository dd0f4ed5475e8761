"""Progressive training: which bands in which epochs. Plain values, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperspec.spectra.selection import BandSelection
from hyperspec.utils.errors import ConfigError

_EXAMPLE = "[{until_epoch: 50, bands: 20}, {until_epoch: 200, bands: 408}]"


@dataclass
class StageSpec:
    """One stage of a progressive training (config key ``schedule``)."""

    until_epoch: int
    """Epochs from the start of the run to the end of the stage, 1 at least."""
    bands: int
    """Number of bands in the stage, 1 at least."""


def check_schedule(stages: Sequence[StageSpec], epochs: int) -> None:
    """Check what can be said of a schedule before any data are read.

    Args:
        stages: The stages in order; none for a training without stages.
        epochs: Epochs of the run.

    Raises:
        ConfigError: If epochs or counts do not ascend, or the last stage does not end the run.
    """
    for number, stage in enumerate(stages):
        for key, value in (("until_epoch", stage.until_epoch), ("bands", stage.bands)):
            before = 0 if number == 0 else getattr(stages[number - 1], key)
            if value <= before:
                least = "1 at least" if number == 0 else f"above the {before} of the stage before"
                raise ConfigError(
                    f"schedule[{number}].{key} is {value}; give a whole number, {least}. Stages "
                    f"ascend in epochs and in bands, for example schedule={_EXAMPLE}."
                )
    if stages and stages[-1].until_epoch != epochs:
        raise ConfigError(
            f"schedule[{len(stages) - 1}].until_epoch is {stages[-1].until_epoch}, but epochs is "
            f"{epochs}: the last stage ends the run. Set both to the same number."
        )


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
