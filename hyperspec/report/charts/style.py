"""How strategies and scores look, the same in every chart of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from hyperspec.evaluation.metrics import in_words
from hyperspec.evaluation.pictures import COLOURS, MARKERS

BASELINES = ("uniform", "random")  # always in a comparison: same colours in every report
NEUTRAL = "#999999"
ACCENT = "#D55E00"
NARROW = 4.5
"""Inches of a chart that fits a screen of 400 px with readable letters."""

_WORDS = {
    "objective": "objective",
    "loss.temperature": "temperature",
    "lr": "learning rate",
    "n": "number of bands",
    "strategy": "strategy",
    "seed": "seed",
}
_MOST_COLUMNS = 4  # of a legend
_ROOM = 0.97  # of a figure's width
_LEGEND_ROW = 0.19  # inches
_ROWS_IN = 3  # rows of a legend that figures have room for
_MOST_WRITTEN = 8  # different values up to which an axis names each
_LOG_SPAN = 8.0  # values that span more are read on a log scale


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of a strategy."""

    colour: str
    marker: str
    line: str


def looks(strategies: Iterable[str]) -> Mapping[str, Look]:
    """Return the look of each strategy: baselines first, the others by name."""
    names = set(strategies)
    others = sorted(names - set(BASELINES))
    places = {name: place for place, name in enumerate(BASELINES) if name in names}
    places |= {name: len(BASELINES) + place for place, name in enumerate(others)}
    return {name: _look(place) for name, place in places.items()}


def _look(place: int) -> Look:
    line = "-" if place < len(COLOURS) else "--"
    return Look(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], line)


def darker_is_better() -> ListedColormap:
    """Return viridis from light to dark, without its palest end, which vanishes on white."""
    return ListedColormap(colormaps["viridis_r"](np.linspace(0.06, 1.0, 256)))


def shade(place: int, num: int) -> str:
    """Return the colour of one of so many curves that have an order, from light to dark."""
    return to_hex(darker_is_better()(0.15 + 0.85 * place / max(num - 1, 1)))


def spread(num: int, most: int) -> list[int]:
    """Return up to so many places of a sequence, the first and the last among them."""
    places: list[int] = np.linspace(0, num - 1, min(num, most)).round().astype(int).tolist()
    return places


def words(name: str) -> str:
    """Return a metric or a parameter as a reader says it; its own name where nobody does."""
    return _WORDS.get(name) or in_words(name)


def value_text(value: float) -> str:
    """Return a parameter's value as short as it is exact to three digits."""
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text else text.replace("e-0", "e-")


def spans_decades(values: Sequence[float]) -> bool:
    """Say whether positive values span so much that a log scale reads better."""
    known = [value for value in values if not math.isnan(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) >= _LOG_SPAN


def legend_below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Put a legend below a figure in as many columns as are wholly in it, and make room for it."""
    if not labels:
        return
    width = figure.bbox.width
    for columns in range(min(len(labels), _MOST_COLUMNS), 0, -1):
        legend = figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=8.5,
            columnspacing=1.2,
        )
        if columns == 1 or legend.get_window_extent().width <= _ROOM * width:
            break
        legend.remove()
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * max(rows - _ROWS_IN, 0))


def clean(ax: Axes) -> None:
    """Take away what carries no data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9)


def first_upper(text: str) -> str:
    """Return a sentence's beginning; unlike ``capitalize`` it leaves names such as k-NN alone."""
    return text[:1].upper() + text[1:]


def ticks(values: Sequence[float], gap: float = 0.12) -> list[tuple[float, float]]:
    """Return values to write at an axis and where each lies, 0 to 1.

    Few values are written themselves, many give way to round ones; on a log scale where they span
    decades. None prints over its neighbour.

    Args:
        values: What the axis shows.
        gap: Least distance, as a share of the axis.
    """
    known = sorted({value for value in values if not math.isnan(value)})
    is_log = spans_decades(known)
    low, high = known[0], known[-1]
    shown = known if len(known) <= _MOST_WRITTEN else _round_values(low, high, is_log)

    def place(value: float) -> float:
        if high == low:
            return 0.5
        if is_log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    kept: list[tuple[float, float]] = []
    for value in shown:
        if not kept or place(value) - kept[-1][1] >= gap:
            kept.append((value, place(value)))
    if kept and shown[-1] != kept[-1][0] and len(known) <= _MOST_WRITTEN:
        kept[-1] = (shown[-1], place(shown[-1]))  # the largest value tried is always named
    return kept


def _round_values(low: float, high: float, is_log: bool) -> list[float]:
    if is_log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [digit * 10.0**power for power in decades for digit in (1, 2, 5)]
    else:
        step = 10.0 ** math.floor(math.log10((high - low) / 4))
        step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6)
        found = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    inside = [float(f"{value:.6g}") for value in found if low <= value <= high]
    return inside or [low, high]


def label_axis(ax: Axes, values: Sequence[float], axis: str = "x") -> None:
    """Put an axis's ticks at values that occur, and take a log scale where they span decades."""
    shown = [value for value, _ in ticks(values)]
    which = ax.xaxis if axis == "x" else ax.yaxis
    if spans_decades(values):
        (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    which.set_major_locator(FixedLocator(shown))
    which.set_ticklabels([value_text(value) for value in shown])
    which.set_minor_locator(NullLocator())
