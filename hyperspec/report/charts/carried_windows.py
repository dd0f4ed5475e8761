"""Which wavelengths carry it: importance against nm, on mean spectra, the picks below."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hyperspec.report.carried import Carried
from hyperspec.report.charts.chosen_bands import choices
from hyperspec.report.charts.figure import Chart, Section, listed, new_figure
from hyperspec.report.charts.style import NARROW, clean, looks, spread
from hyperspec.report.load import SweepData
from hyperspec.report.tables import Grid
from hyperspec.report.verdict_wavelengths import (
    interval_words,
    stretch_words,
    wavelength_sentences,
)

_INTRO = (
    "Each window of {width:g} nm is exchanged between test specimens, its level matched to what "
    "lies beside it; the line is the share of the linear probe's answers that are lost, pale areas "
    "are 95% intervals. Marked stretches stand out: the window alone pushes other specimens "
    "towards its own label, or more is lost without it than without an ordinary one, by a test at "
    "5% of the largest of all windows. {behind}"
)
_MOST_ROWS, _MOST_CLASSES = 14, 12
_COLOURS = ("#0072B2", "#D55E00")


def section(data: SweepData, found: tuple[Carried, ...]) -> Section | None:
    """Return what the best setting and all bands lean on; None where it was not measured."""
    if not found:
        return None
    behind = " ".join(_behind(one) for one in found)
    intro = _INTRO.format(width=found[0].found.width_nm, behind=behind)
    note = " ".join(wavelength_sentences(found))
    return Section(
        "carried",
        "Which wavelengths carry it?",
        intro,
        (_chart(data, found),),
        tuple(_table(one) for one in found),
        note,
    )


def _name(one: Carried) -> str:
    return (
        one.point.strategy
        if one.point.strategy == "full"
        else (f"{one.point.strategy} {one.point.n}")
    )


def _behind(one: Carried) -> str:
    seeds, jobs = one.found.num_seeds, len(one.point.run_ids)
    text = f"{_name(one)}: {one.num_measured} encoder{'s' * (one.num_measured != 1)}"
    text += f" of {jobs}" if one.num_measured < jobs else ""
    return f"{text}, {seeds} seed{'s' * (seeds != 1)}, {one.found.num_specimens} tested specimens."


def _chart(data: SweepData, found: tuple[Carried, ...]) -> Chart:
    picks = choices(data)
    picks = [picks[place] for place in spread(len(picks), _MOST_ROWS)]
    spectra = _spectra(data, found)
    heights = [1.6] * (spectra is not None) + [2.2] + [0.4 + 0.16 * len(picks)] * bool(picks)
    figure = new_figure(NARROW, 0.8 + sum(heights))
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[
        :, 0
    ].tolist()
    below = panels.pop() if picks else None
    middle = panels.pop()
    for panel in (*panels, middle):
        for stretch in found[0].found.stretches if found[0].stands_out else ():
            panel.axvspan(stretch.start_nm, stretch.stop_nm, color="#E69F00", alpha=0.25, lw=0)
    if spectra is not None:
        _draw_spectra(panels[0], spectra)
    for one, colour in zip(found, _COLOURS, strict=False):
        _draw_importance(middle, one, colour)
    middle.set_ylabel("accuracy lost", size=9)
    middle.axhline(0, color="#888888", lw=0.8, zorder=0)
    middle.legend(fontsize=8, frameon=False)
    if below is not None:
        seen = looks({choice.strategy for choice in picks})
        for row, choice in enumerate(picks):
            nm = np.array(list(choice.shares))
            colour = seen[choice.strategy].colour
            below.vlines(nm, row - 0.38, row + 0.38, colors=colour, lw=1.2)
        below.set_yticks(range(len(picks)), [f"{c.strategy}  {c.n}" for c in picks], size=7)
        below.set_ylim(len(picks) - 0.4, -0.6)
    last = below if below is not None else middle
    last.set_xlabel("wavelength (nm)")
    for panel in figure.axes:
        clean(panel)
    alt = f"Accuracy lost without each window of wavelengths. {_alt(found)}"
    return Chart("carried", alt, figure)


def _alt(found: tuple[Carried, ...]) -> str:
    return listed(
        [
            f"{_name(one)}: {text}"
            for one, text in zip(found, wavelength_sentences(found), strict=True)
        ],
        2,
    )


def _draw_importance(ax: Axes, one: Carried, colour: str) -> None:
    windows = one.found.windows
    nm = [(window.start_nm + window.stop_nm) / 2 for window in windows]
    low, high = ([getattr(w.lost, end) for w in windows] for end in ("low", "high"))
    ax.fill_between(nm, low, high, color=colour, alpha=0.2, lw=0)
    ax.plot(nm, [w.lost.mean for w in windows], color=colour, lw=1.4, label=_name(one))


def _draw_spectra(ax: Axes, spectra: pd.DataFrame) -> None:
    nm = spectra["wavelength_nm"]
    names = [name for name in spectra if name != "wavelength_nm"]
    for place in spread(len(names), _MOST_CLASSES):
        ax.plot(nm, spectra[names[place]], color="#555555", lw=0.8, alpha=0.8)
    ax.set_ylabel("mean spectra\nby label", size=9)


def _spectra(data: SweepData, found: tuple[Carried, ...]) -> pd.DataFrame | None:
    for run_id in (run for one in found for run in one.point.run_ids):
        table = data.spectra(run_id)
        if table is not None:
            return table.astype(float)
    return None


def _table(one: Carried) -> Grid:
    inside = {
        window: stretch_words(stretch)
        for stretch in (one.found.stretches if one.stands_out else ())
        for window in one.found.windows
        if stretch.start_nm <= (window.start_nm + window.stop_nm) / 2 <= stretch.stop_nm
    }
    rows = tuple(
        (
            f"{window.start_nm:.0f}-{window.stop_nm:.0f}",
            interval_words(window.lost),
            interval_words(window.told),
            "-" if np.isnan(window.p) else f"{window.p:.4f}",
            inside.get(window, ""),
        )
        for window in one.found.windows
    )
    columns = ("nm", "accuracy lost [95%]", "told, log-odds [95%]", "corrected p", "stands out")
    return Grid(f"Windows of {_name(one)}", columns, rows, num_text=1)
