"""Importance against wavelength with intervals: a table, a CSV file and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperspec.evaluation.importance.perturbation import Importance
from hyperspec.evaluation.pictures import COLOURS
from hyperspec.evaluation.statistics.intervals import Interval, mean_interval
from hyperspec.evaluation.statistics.paired import paired_interval
from hyperspec.utils.csv_text import csv_text
from hyperspec.utils.errors import ConfigError

_COLOURS = dict(zip(("mean", "interpolation", "permutation", "gradient"), COLOURS, strict=False))
_TITLES = {
    "change": "embedding change (1 - cosine)",
    "drop": "drop of accuracy",
    "gradient": "attribution (cosine)",
}


def importance_table(results: Sequence[Importance]) -> pd.DataFrame:
    """Return importance per window with 95% intervals over specimens, and over seeds if several.

    Args:
        results: Importance of one encoder, or of one encoder per seed: same mode, windows and rows.

    Returns:
        One row per window, ascending: centre_nm, start_nm, stop_nm, num_bands, mode, change,
        change_low, change_high, and with a probe drop, drop_low, drop_high.

    Raises:
        ValueError: If results differ in mode, windows or rows.
    """
    first = results[0]
    for other in results[1:]:
        same_windows = np.array_equal(other.windows.centres_nm, first.windows.centres_nm)
        if not same_windows or (other.mode, other.specimens) != (first.mode, first.specimens):
            raise ValueError("Importance of several seeds must share mode, windows and rows.")
    windows, half = first.windows, first.windows.width_nm / 2
    rows = []
    for i, centre in enumerate(windows.centres_nm):
        row: dict[str, float | int | str] = {
            "centre_nm": float(centre),
            "start_nm": float(centre - half),
            "stop_nm": float(centre + half),
            "num_bands": len(windows.bands(i)),
            "mode": first.mode,
        }
        changes = [one.change[i] for one in results]
        row |= _columns("change", mean_interval(changes, first.specimens, binary=False))
        drops = [one.drop[i] for one in results if one.drop is not None]
        if len(drops) == len(results):
            row |= _columns("drop", paired_interval(drops, np.zeros_like(drops), first.specimens))
        rows.append(row)
    return pd.DataFrame(rows)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def write_importance(
    table: pd.DataFrame,
    folder: Path,
    *,
    regions_nm: Sequence[tuple[float, float]] = (),
    range_nm: tuple[float, float] | None = None,
) -> tuple[Path, Path]:
    """Write ``importance.csv`` and ``importance.png`` and return their paths.

    Args:
        table: Rows of :func:`importance_table`, of one mode or of several put together.
        folder: Folder to write to; made when absent.
        regions_nm: Stretches to shade, start and stop in nanometres (planted windows, where known).
        range_nm: Lowest and highest band, where the picture ends; a window's part beyond them
            holds nothing. By default the outermost centres.
    """
    folder.mkdir(parents=True, exist_ok=True)
    csv, picture = folder / "importance.csv", folder / "importance.png"
    csv.write_text(csv_text(table, float_format="%.6g"), encoding="utf-8")
    figure = draw_importance(table, regions_nm=regions_nm, range_nm=range_nm)
    figure.savefig(picture, dpi=150, metadata={"Software": None})
    return csv, picture


def draw_importance(
    table: pd.DataFrame,
    *,
    regions_nm: Sequence[tuple[float, float]] = (),
    range_nm: tuple[float, float] | None = None,
) -> Figure:
    """Draw embedding change, the probe's drop where there is one, and attributions against nm.

    The arguments are those of :func:`write_importance`.
    """
    centres = table["centre_nm"]
    low, high = range_nm or (float(centres.min()), float(centres.max()))
    table = table.assign(centre_nm=centres.clip(low, high))
    occluded, attributed = table[table["mode"] != "gradient"], table[table["mode"] == "gradient"]
    panels = [("change", "change", occluded)]
    if "drop" in table.columns:
        panels.append(("drop", "drop", occluded))
    panels.append(("gradient", "change", attributed))
    panels = [panel for panel in panels if len(panel[2])]
    width = float((table["stop_nm"] - table["start_nm"]).iloc[0])
    figure = Figure(figsize=(8, 1 + 2.4 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
    for axes, (name, column, rows) in zip(grid[:, 0], panels, strict=True):
        _draw_panel(axes, rows, column, _TITLES[name], regions_nm, width)
    what = f"What windows of {width:g} nm carry, at their centres; shaded: 95% intervals"
    grid[0, 0].set_title(what, fontsize=9, loc="left")
    room = 0.02 * (high - low) or width / 2
    grid[-1, 0].set_xlim(low - room, high + room)  # marked stretches end there too
    grid[-1, 0].set_xlabel("wavelength (nm)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if len(occluded):
        figure.legend(
            handles,
            [f"replaced by {label}" for label in labels],
            loc="outside lower center",
            ncols=len(labels),
            fontsize=8,
            frameon=False,
        )
    return figure


def _draw_panel(
    axes: Axes,
    table: pd.DataFrame,
    column: str,
    title: str,
    regions_nm: Sequence[tuple[float, float]],
    width_nm: float,
) -> None:
    for start, stop in regions_nm:
        axes.axvspan(start, stop, color="0.9", lw=0)
    for mode, rows in table.groupby("mode", sort=False):
        colour = _COLOURS[str(mode)]
        # No line over a gap: where no band was read, nothing is known.
        gaps = np.flatnonzero(np.diff(rows["start_nm"]) > width_nm + 1e-6) + 1
        names = ("centre_nm", f"{column}_low", f"{column}_high", column)
        broken = (np.insert(rows[name].to_numpy(float), gaps, np.nan) for name in names)
        nm, low, high, mean = broken
        axes.fill_between(nm, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(nm, mean, ".-", color=colour, ms=4, lw=1, label=str(mode))
    axes.axhline(0, color="0.6", lw=0.6, zorder=0)
    axes.set_ylabel(title, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


@dataclass(frozen=True)
class Contrast:
    """Importance inside a stretch against the median elsewhere.

    Args:
        mode: How importance was measured.
        start_nm: Lower end of the stretch.
        stop_nm: Upper end.
        inside: Mean over the windows whose centre lies in the stretch (the nearest window where
            none does), with its interval.
        difference: Inside minus the median of the windows that meet no stretch, each specimen on
            its own, with its interval.
        share_below: Share of the windows elsewhere whose mean importance is lower, 0 to 1.
    """

    mode: str
    start_nm: float
    stop_nm: float
    inside: Interval
    difference: Interval
    share_below: float


def contrast_regions(
    results: Sequence[Importance], regions_nm: Sequence[tuple[float, float]]
) -> list[Contrast]:
    """Compare stretches of the axis, from and to in nanometres, with what lies outside all of them.

    The results are those of one encoder, or of one encoder per seed, in one mode.

    Raises:
        ConfigError: If no window lies outside the stretches.
    """
    first = results[0]
    centres, half = first.windows.centres_nm, first.windows.width_nm / 2
    elsewhere = np.ones(len(centres), bool)
    for start, stop in regions_nm:
        elsewhere &= (centres + half < start) | (centres - half > stop)
    if not elsewhere.any():
        raise ConfigError(
            "--mark covers the whole axis, so nothing is left to compare with. Mark less, or "
            "choose narrower windows."
        )
    changes = np.stack([one.change for one in results])
    found = []
    for start, stop in regions_nm:
        within = (centres >= start) & (centres <= stop)
        if not within.any():
            within[np.abs(centres - (start + stop) / 2).argmin()] = True
        inside = changes[:, within].mean(1)
        gap = inside - np.median(changes[:, elsewhere], axis=1)
        means = changes.mean((0, 2))
        mean, difference = (
            mean_interval(values, first.specimens, binary=False) for values in (inside, gap)
        )
        below = float((means[elsewhere] < means[within].mean()).mean())
        found.append(Contrast(first.mode, start, stop, mean, difference, below))
    return found
