"""Importance against wavelength with intervals: a table, a CSV file and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyperspec.evaluation.comparison import paired_bootstrap
from hyperspec.evaluation.importance import Importance
from hyperspec.evaluation.intervals import Interval, crossed_bootstrap

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLOURS = {"mean": "C0", "interpolation": "C1", "permutation": "C2"}


def importance_table(
    results: Sequence[Importance], *, num_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return importance per window with 95% intervals over specimens, and over seeds if several.

    Args:
        results: Importance of one encoder, or of one encoder per seed: same mode, windows and rows.
        num_resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        One row per window, ascending: centre_nm, start_nm, stop_nm, num_bands, mode, change,
        change_low, change_high, and with a probe drop, drop_low, drop_high.

    Raises:
        ValueError: If results differ in mode, windows or rows.
    """
    import pandas as pd

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
        change = crossed_bootstrap(
            [one.change[i] for one in results],
            first.specimens,
            num_resamples=num_resamples,
            seed=seed,
            binary=False,
        )
        row |= _columns("change", change)
        drops = [one.drop[i] for one in results if one.drop is not None]
        if len(drops) == len(results):
            lost = np.stack(drops)
            drop = paired_bootstrap(
                lost, np.zeros_like(lost), first.specimens, num_resamples=num_resamples, seed=seed
            )
            row |= _columns("drop", drop)
        rows.append(row)
    return pd.DataFrame(rows)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def write_importance(
    table: pd.DataFrame,
    folder: Path,
    *,
    regions_nm: Sequence[tuple[float, float]] = (),
) -> tuple[Path, Path]:
    """Write ``importance.csv`` and ``importance.png`` and return their paths.

    Args:
        table: Rows of :func:`importance_table`, of one mode or of several put together.
        folder: Folder to write to; made when absent.
        regions_nm: Stretches to shade, start and stop in nanometres (planted windows, where known).
    """
    folder.mkdir(parents=True, exist_ok=True)
    csv, picture = folder / "importance.csv", folder / "importance.png"
    table.to_csv(csv, index=False, float_format="%.6g")
    figure = draw_importance(table, regions_nm=regions_nm)
    figure.savefig(picture, dpi=150, metadata={"Software": None})
    return csv, picture


def draw_importance(
    table: pd.DataFrame, *, regions_nm: Sequence[tuple[float, float]] = ()
) -> Figure:
    """Draw embedding change, and below it the probe's drop where there is one, against nm.

    Args:
        table: Rows of :func:`importance_table`, of one mode or of several put together.
        regions_nm: Stretches to shade, start and stop in nanometres.
    """
    from matplotlib.figure import Figure

    panels = {"change": "embedding change (1 - cosine)"}
    if "drop" in table.columns:
        panels["drop"] = "drop of accuracy"
    figure = Figure(figsize=(8, 1 + 2.6 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
    for axes, (name, title) in zip(grid[:, 0], panels.items(), strict=True):
        for start, stop in regions_nm:
            axes.axvspan(start, stop, color="0.9", lw=0)
        for mode, rows in table.groupby("mode", sort=False):
            nm, colour = rows["centre_nm"], _COLOURS[str(mode)]
            axes.fill_between(
                nm, rows[f"{name}_low"], rows[f"{name}_high"], color=colour, alpha=0.2, lw=0
            )
            axes.plot(nm, rows[name], ".-", color=colour, ms=4, lw=1, label=str(mode))
        axes.axhline(0, color="0.6", lw=0.6, zorder=0)
        axes.set_ylabel(title, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    width = float((table["stop_nm"] - table["start_nm"]).iloc[0])
    grid[0, 0].set_title(
        f"windows of {width:g} nm, shades are 95% intervals", fontsize=9, loc="left"
    )
    grid[0, 0].legend(fontsize=7, frameon=False, title="replaced by", title_fontsize=7)
    grid[-1, 0].set_xlabel("wavelength (nm)")
    return figure
