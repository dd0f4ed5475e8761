"""Stages of a progressive training, as the config gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
