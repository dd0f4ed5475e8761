"""Which wavelengths the strategies chose."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib.axes import Axes

from hyperspec.report.charts.figure import Chart, Section, listed, new_axes
from hyperspec.report.charts.style import NARROW, clean, looks, spread
from hyperspec.report.load import SweepData
from hyperspec.report.summary import Summary
from hyperspec.report.tables import Grid

_COLUMN = "wavelengths_nm"
_MOST_ROWS = 36
_WRITTEN = 12  # bands up to which each wavelength is named
_TOLD = 24
# Where human sight ends (CIE): what lies outside is invisible to us, not to most insects.
_VISIBLE = (380.0, 750.0)


@dataclass(frozen=True)
class Choice:
    """The bands of one strategy at one number of bands.

    Args:
        strategy: Strategy.
        n: Number of bands.
        num_jobs: Jobs that chose.
        shares: By wavelength in nanometres, ascending, the share of the jobs that chose it.
    """

    strategy: str
    n: int
    num_jobs: int
    shares: dict[float, float]

    @property
    def text(self) -> str:
        """The wavelengths in words; many as their range."""
        nm = list(self.shares)
        bands = "1 band" if self.n == 1 else f"{self.n} bands"
        if len(nm) <= _WRITTEN:
            each = ", ".join(f"{value:.0f}" for value in nm)
            return f"{self.strategy}, {bands}: {each} nm"
        gap = float(np.median(np.diff(nm)))
        return f"{self.strategy}, {bands}: {nm[0]:.0f} to {nm[-1]:.0f} nm, {gap:.1f} nm apart"


def section(data: SweepData, summary: Summary) -> Section | None:
    """Return the chosen wavelengths, or None where no job has logged them."""
    found = choices(data)
    if not found:
        return None
    title = "Which wavelengths were chosen?"
    intro = (
        "One row per strategy and number of bands, one stroke per chosen band; pale strokes were "
        "chosen by some of the jobs only. What lies between the dashed lines humans can see."
    )
    note = ""
    if len(found) > _MOST_ROWS:
        note = f"The picture shows {_MOST_ROWS} of {len(found)} choices, evenly taken."
    chart = _chart([found[place] for place in spread(len(found), _MOST_ROWS)], summary)
    return Section("wavelengths", title, intro, (chart,), (_table(found),), note)


def choices(data: SweepData) -> list[Choice]:
    """Return what was chosen, by strategy and number of bands."""
    if _COLUMN not in data.jobs:
        return []
    jobs = data.jobs.dropna(subset=[_COLUMN, "n"])
    found = []
    for (strategy, n), group in jobs.groupby(["strategy", "n"], sort=True):
        chosen = [nm for nm in map(_read, group[_COLUMN]) if nm]
        counts = Counter(itertools.chain.from_iterable(chosen))
        if chosen:
            shares = {value: counts[value] / len(chosen) for value in sorted(counts)}
            found.append(Choice(str(strategy), int(float(str(n))), len(chosen), shares))
    return found


@cache
def _read(text: str) -> tuple[float, ...]:
    """Read ``[348.39,463.98]``; a list that MLflow's limit has cut names no bands."""
    if not text.endswith("]"):
        return ()
    inner = text.removeprefix("[").removesuffix("]")
    try:
        return tuple(float(part) for part in inner.split(",") if part.strip())
    except ValueError:
        return ()


def _chart(found: list[Choice], summary: Summary) -> Chart:
    figure, ax = new_axes(NARROW, 1.1 + 0.2 * len(found))
    seen = looks({point.strategy for point in summary.points} | {c.strategy for c in found})
    for row, choice in enumerate(found):
        colour = seen[choice.strategy].colour
        nm = np.array(list(choice.shares))
        alpha = np.array(list(choice.shares.values()))
        width = 1.8 if len(nm) <= 60 else 0.7
        ax.vlines(nm, row - 0.38, row + 0.38, colors=colour, alpha=0.15 + 0.85 * alpha, lw=width)
    ax.set_yticks(range(len(found)), [f"{c.strategy}  {c.n}" for c in found])
    ax.set_ylim(len(found) - 0.4, -0.6)
    every = [nm for choice in found for nm in choice.shares]
    low, high = min(every), max(every)
    margin = 0.02 * (high - low) or 5.0
    ax.set_xlim(low - margin, high + margin)
    _mark_sight(ax, low, high)
    for row, (above, below) in enumerate(itertools.pairwise(found)):
        if above.strategy != below.strategy:
            ax.axhline(row + 0.5, color="#dddddd", lw=0.8, zorder=0)
    ax.set_xlabel("wavelength (nm)")
    ax.set_ylabel("strategy and number of bands", size=9)
    clean(ax)
    ax.tick_params(axis="y", length=0, labelsize=8.5)
    alt = f"Chosen wavelengths. {listed([choice.text for choice in found], _TOLD)}."
    return Chart("wavelengths", alt, figure)


def _mark_sight(ax: Axes, low: float, high: float) -> None:
    edges = [low, *(nm for nm in _VISIBLE if low < nm < high), high]
    for nm in edges[1:-1]:
        ax.axvline(nm, color="#888888", lw=0.9, ls="--", zorder=0)
    for left, right in itertools.pairwise(edges):
        middle = (left + right) / 2
        kind = "UV" if middle < _VISIBLE[0] else "visible" if middle < _VISIBLE[1] else "infrared"
        if right - left > 0.05 * (high - low):
            ax.text(middle, -0.62, kind, ha="center", va="bottom", size=8.5, color="#555555")


def _table(found: list[Choice]) -> Grid:
    rows = []
    for choice in found:
        nm = ", ".join(
            f"{value:.1f}" + (f" ({100 * share:.0f}%)" if share < 1 else "")
            for value, share in choice.shares.items()
        )
        rows.append((choice.strategy, str(choice.n), str(choice.num_jobs), nm))
    columns = ("strategy", "bands", "jobs", "wavelengths in nm (share of the jobs where not all)")
    return Grid("Chosen wavelengths in nm", columns, tuple(rows), num_text=4)
