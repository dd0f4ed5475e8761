"""``hyperspec bands --filters``: which filters of a catalogue to order."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspec.cli.commands.words import table_of, words_of, write_text
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from hyperspec.bands import Filters
    from hyperspec.spectra.axis import SpectralAxis
    from hyperspec.spectra.band_projection import BandProjection
    from hyperspec.spectra.statistics import SpectralStatistics

# Columns of the list; those of the catalogue come first.
COLUMNS = ("strategy", "n", "name", "centre_nm", "width_nm", "white_photons")


def choose_filters(
    words: argparse.Namespace, axis: SpectralAxis, statistics: SpectralStatistics | None
) -> int:
    """Choose filters by each strategy and number, print and draw them; return the exit status.

    Raises:
        BandError: If the catalogue cannot be read, or does not hold so many that fit.
        ConfigError: If a strategy or a number is none.
    """
    from rich.console import Console

    chosen = [
        (asked, asked.select(axis, statistics)) for asked in _asked(words, statistics is not None)
    ]
    console = Console()
    if not console.is_terminal:
        console.width = 140  # a file has no edge
    table = table_of(["strategy", "filter"], ("n", "centre nm", "width nm", "white photons"))
    for row in (rows := [row for asked, found in chosen for row in listed(asked, found)]):
        table.add_row(
            str(row["strategy"]),
            str(row["name"]),
            str(row["n"]),
            f"{row['centre_nm']:.1f}",
            f"{row['width_nm']:.1f}",
            f"{row['white_photons']:.0f}" if row["white_photons"] else "-",
        )
    console.print(table, highlight=False)
    print("\nTo train on one of these lists:")
    for asked, _ in chosen:
        given = f"bands=filters bands.catalogue={words.filters} bands.n={asked.n}"
        print(f"  {given} bands.strategy={asked.strategy}")
    if words.csv is not None:
        words.csv.parent.mkdir(parents=True, exist_ok=True)
        with words.csv.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if words.json is not None:
        write_text(words.json, json.dumps([found.to_dict() for _, found in chosen], indent=1))
    draw(chosen, axis, words.out)
    print(f"wrote {words.out}")
    return 0


def _asked(words: argparse.Namespace, has_data: bool) -> list[Filters]:
    from hyperspec.bands import STRATEGIES, CountedStrategy, Filters

    if words.option:
        raise ConfigError(
            "--option sets a strategy's own parameter, but --filters takes their defaults. Leave "
            "--option out."
        )
    counted = {n: kind for n, kind in STRATEGIES.items() if issubclass(kind, CountedStrategy)}
    names = words_of(words.strategy, "--strategy")
    if words.strategy in ("all", "classic"):
        classic = words.strategy == "classic"
        names = [n for n, k in counted.items() if k.classic == classic and not k.supervised]
    if not has_data:
        names = [name for name in names if name in counted and not counted[name].needs_statistics]
        if not names:
            raise ConfigError(
                f"--strategy={words.strategy} needs data, but no FOLDER was given. Give one, or "
                "--strategy uniform."
            )
    try:
        sizes = [int(word) for word in words_of(words.n, "--n")]
    except ValueError:
        raise ConfigError(f"--n is '{words.n}'; give whole numbers such as 4,6,8.") from None
    return [Filters(n, name, catalogue=str(words.filters)) for name in names for n in sizes]


def listed(asked: Filters, found: BandProjection) -> list[dict[str, Any]]:
    """Return a row per filter of a choice."""
    params = found.params
    photons = params.get("white_photons") or [None] * len(found)
    columns = (params["filters"], params["centres_nm"], params["widths_nm"], photons)
    return [
        dict(zip(COLUMNS, (asked.strategy, asked.n, *row), strict=True))
        for row in zip(*columns, strict=True)
    ]


def draw(chosen: Sequence[tuple[Filters, BandProjection]], axis: SpectralAxis, path: Path) -> None:
    """Draw what each list passes against wavelength, one strip per list."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.8 + 0.9 * len(chosen)), layout="constrained")
    grid = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (asked, found) in zip(grid, chosen, strict=True):
        order = np.argsort(found.bands_nm, kind="stable")
        for row in found.matrix:
            axes.fill_between(found.bands_nm[order], (row / row.max())[order], alpha=0.5, lw=0.8)
        label = f"{asked.strategy}\n{asked.n}"
        axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
        axes.set(yticks=[], ylim=(0, 1.05))
        axes.spines[["top", "right", "left"]].set_visible(False)
    grid[-1].set_xlim(*axis.range_nm)
    grid[-1].set_xlabel("wavelength (nm)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})
