"""The list of windows that ``hyperspec bands --consensus`` prints."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hyperspec.cli.commands.words import table_of

if TYPE_CHECKING:
    from rich.console import Console

    from hyperspec.bands.consensus import WindowSupport
    from hyperspec.bands.diagnostics import Pick
    from hyperspec.report.carried import Carried
    from hyperspec.spectra.axis import SpectralAxis

_SHOWN = 12


def print_consensus(
    picks: Sequence[Pick], axis: SpectralAxis, words: argparse.Namespace, console: Console
) -> None:
    """Print the windows that most choices pick in, beyond chance, the best first."""
    from hyperspec.bands.consensus import consensus

    found = consensus(picks, axis, words.window)
    leaning = _of_sweep(words)
    numbers = ("choices", "by chance", "of resamples", "accuracy lost")
    table = table_of(["nm"], numbers)
    table.add_column("encoders lean on it")
    table.add_column("picked by")
    for one in found[:_SHOWN]:
        table.add_row(*_cells(one, leaning))
    console.print(table, highlight=False)
    if len(found) > _SHOWN:
        print(f"{len(found) - _SHOWN} more windows have less support.")
    if words.sweep is None:
        print("What encoders lean on is told with --sweep: a sweep's folder, name, or latest.")


def _of_sweep(words: argparse.Namespace) -> Carried | None:
    if words.sweep is None:
        return None
    from hyperspec.report.carried import carried
    from hyperspec.report.cohorts import divide
    from hyperspec.report.load import load_sweep
    from hyperspec.report.summary import summarise
    from hyperspec.utils.errors import ConfigError

    for cohort in divide(load_sweep(words.uri, [words.sweep])):
        found = carried(cohort.data, summarise(cohort.data))
        if found:
            return found[-1]  # that of all bands, where it ran
    raise ConfigError(
        f"--sweep {words.sweep}: its jobs hold no windows of wavelengths. Run it again with "
        "evaluation.importance=auto: finished jobs are not trained anew."
    )


def _cells(one: WindowSupport, leaning: Carried | None) -> list[str]:
    lost, leans = "-", "-"
    if leaning is not None:
        meets = [
            w
            for w in leaning.found.windows
            if w.start_nm < one.stop_nm and one.start_nm < w.stop_nm
        ]
        most = max((w.lost.mean for w in meets), default=math.nan)
        lost = f"{most:.2f}"
        out = leaning.found.stretches if leaning.stands_out else ()
        hit = any(s.start_nm < one.stop_nm and one.start_nm < s.stop_nm for s in out)
        leans = "yes" if hit else "no"
    return [
        f"{one.start_nm:.0f}-{one.stop_nm:.0f}",
        str(len(one.strategies)),
        f"{one.expected:.1f}",
        "-" if math.isnan(one.steadiness) else f"{one.steadiness:.2f}",
        lost,
        leans,
        ", ".join(one.strategies),
    ]
