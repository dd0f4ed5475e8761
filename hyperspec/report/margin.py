"""The margin of a report's equivalence tests, and whether it was fixed before the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hyperspec.config.sweep import SweepConfig
from hyperspec.report.load import SweepInfo
from hyperspec.utils.errors import ConfigError


@dataclass(frozen=True)
class Margin:
    """Difference of accuracy that does not matter.

    Args:
        value: Between 0 and 1.
        origin: Where it comes from, as a sentence for readers.
        beforehand: Whether it was fixed before the first job of every sweep.
    """

    value: float
    origin: str
    beforehand: bool


def find_margin(sweeps: Sequence[SweepInfo], given: float | None = None) -> Margin:
    """Return the margin of a report on these sweeps.

    Without ``given`` it is what the sweeps were begun with; of several the smallest, which claims
    least.

    Args:
        sweeps: The sweeps.
        given: A margin that the reader of the report asks for.

    Raises:
        ConfigError: If the given one is not between 0 and 1.
    """
    kept = sorted({info.margin for info in sweeps if info.margin is not None})
    all_kept = bool(kept) and all(info.margin is not None for info in sweeps)
    if given is not None:
        check_margin(given)
    if given is not None and not (all_kept and kept == [given]):
        return _afterwards(given, kept)
    value = kept[0] if kept else SweepConfig.margin
    words = f"±{points(value)}"
    if not kept:
        return Margin(value, f"The margin, {words}, was not fixed beforehand: the default.", False)
    origin = f"The margin, {words}, was fixed before the first job (sweep.margin={value:g})."
    if len(kept) > 1:
        others = ", ".join(f"±{points(other)}" for other in kept[1:])
        origin = f"{origin[:-1]}; other sweeps here had {others}, and the smallest holds."
    if not all_kept:
        origin += " Some of the sweeps fixed none."
    return Margin(value, origin, all_kept)


def _afterwards(value: float, kept: list[float]) -> Margin:
    if kept:
        before = " and ".join(f"±{points(other)}" for other in kept)
        origin = (
            f"The margin, ±{points(value)}, was chosen for this report with --margin, after the "
            f"results; fixed before the first job was {before}."
        )
    else:
        origin = (
            f"The margin, ±{points(value)}, was chosen for this report with --margin; the sweep "
            "fixed none beforehand."
        )
    return Margin(value, origin, False)


def check_margin(margin: float) -> float:
    """Return the margin.

    Raises:
        ConfigError: If it is not between 0 and 1.
    """
    if 0 < margin < 1:
        return margin
    raise ConfigError(
        f"--margin is {margin:g}; give the largest difference of accuracy that does not matter, "
        "above 0 and below 1, for example 0.02 for 2 points."
    )


def points(value: float) -> str:
    """Return a difference of accuracy in points."""
    return f"{100 * value:g} point{'s' * (value != 0.01)}"
