"""The picture that a sweep is made for: accuracy against number of bands.

Where one picture of all strategies is a thicket, each by itself too, over all others in grey.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from hyperspec.evaluation.metrics import CONTROLS, Metric
from hyperspec.report.charts.figure import Chart, new_figure, to_png
from hyperspec.report.charts.style import (
    BASELINES,
    NARROW,
    NEUTRAL,
    Look,
    clean,
    label_axis,
    legend_below,
    looks,
)
from hyperspec.report.summary import Point, Summary

_CONTROL_STYLES = {"untrained": ("--", "x", "#444444"), "mean_spectrum": (":", "+", "#777777")}
_BEST_STYLE = ("-.", "1", "#222222")  # of the control that validation likes best, if it is another
_SIGNS = {"x": "\N{MULTIPLICATION SIGN}", "+": "+", "1": "Y"}
_APART = 0.02  # from chance, below which two lines would be one
_WIDE = 6.4  # inches of each of several panels
_MOST = 7  # strategies up to which each has its own colour and interval
_SHOWN = 3  # strategies that stay coloured beyond, besides baselines and single points
_MUTED = "#c4c4c4"
_COLUMNS = 3  # panels of single strategies beside each other


def draw(summary: Summary, scores: Sequence[Metric] | None = None) -> Figure:
    """Draw one panel per accuracy, or the objective when there are no labels.

    Per strategy and number of bands the best setting by the objective is shown; strategies with a
    single number of bands are points. Of many strategies only the baselines and the best by the
    objective keep their colours.
    """
    panels: list[Metric | None] = list(summary.accuracies if scores is None else scores) or [None]
    figure = new_figure(NARROW if len(panels) == 1 else _WIDE * len(panels), 5.4)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    points = best_per_count(summary)
    for ax, score in zip(axes, panels, strict=True):
        _panel(ax, summary, points, score)
    title = "Accuracy against number of bands" if summary.accuracies else "Objective against bands"
    if len(panels) > 1:  # a single one stands in a page that says this above it
        figure.suptitle(f"{title}\n{_subtitle(summary)}", fontsize=12)
    legend_below(figure, *axes[0].get_legend_handles_labels())
    return figure


def save(summary: Summary, path: Path) -> Path:
    """Draw all panels side by side and write a PNG."""
    path.write_bytes(to_png(Chart(path.stem, alt_text(summary), draw(summary))))
    return path


def charts(summary: Summary) -> tuple[Chart, ...]:
    """Return one chart per accuracy, so that a narrow screen shows them one below the other."""
    panels = [[score] for score in summary.accuracies] or [[]]
    return tuple(
        Chart(
            "accuracy-" + ("".join(score.key for score in scores) or "objective"),
            alt_text(summary, scores),
            draw(summary, scores),
        )
        for scores in panels
    )


def best_per_count(summary: Summary) -> list[Point]:
    """Return for each strategy and number of bands the first (best) point, by number of bands."""
    best: dict[tuple[str, int], Point] = {}
    for point in summary.points:
        if point.n > 0:
            best.setdefault((point.strategy, point.n), point)
    return sorted(best.values(), key=lambda p: (p.strategy, p.n))


def alt_text(summary: Summary, scores: Sequence[Metric] | None = None) -> str:
    """Say in words what the picture shows, for readers who do not see it."""
    scores = summary.accuracies if scores is None else scores
    titles = {score.key: score.title for score in scores}
    what = " and ".join(f"{summary.part} {title} accuracy" for title in titles.values())
    lines = [f"Chart of {what or summary.objective_name} against number of bands (log scale)."]
    for point in best_per_count(summary):
        known = point.scores
        values = [f"{title} {known[k].mean:.2f}" for k, title in titles.items() if k in known]
        values = values if scores else [f"{point.objective:.3f}"]
        lines.append(f"{point.strategy}, {point.n} bands: {', '.join(values) or 'not scored'}.")
    for control, label in CONTROLS.items():
        seen = [
            score.mean
            for point in summary.points
            for (name, key), score in point.controls.items()
            if name == control and key in titles
        ]
        if seen:
            lines.append(f"Control {label}: {min(seen):.2f} to {max(seen):.2f}.")
    if not math.isnan(summary.chance):
        lines.append(f"Chance: {summary.chance:.2f}.")
    if not math.isnan(summary.majority):
        lines.append(f"Most frequent label: {summary.majority:.2f}.")
    return " ".join(lines)


def _subtitle(summary: Summary) -> str:
    if summary.num_seeds == 1:
        seeds = "illustrative: one seed"
    else:
        seeds = f"means over {summary.num_seeds} seeds, 95% intervals"
    if summary.extra_names:
        seeds += f"; best of {', '.join(summary.extra_names)} by {summary.objective_name}"
    return seeds


def _panel(ax: Axes, summary: Summary, points: Sequence[Point], score: Metric | None) -> None:
    seen = looks(p.strategy for p in summary.points)
    strategies = sorted({p.strategy for p in points}, key=_by_fame)
    rest = muted(summary)
    words = f"{len(rest)} other strategies"
    curves = {s: [p for p in points if p.strategy == s] for s in strategies}
    for strategy in (name for name in strategies if name in rest):
        _draw_muted(ax, curves[strategy], score, words)
        words = ""  # one entry of the legend for all
    for strategy in (name for name in strategies if name not in rest):
        _draw_strategy(ax, curves[strategy], score, seen[strategy])
    if score is not None:
        reference = max(strategies, key=lambda s: len(curves[s]), default="")
        styles = dict(_CONTROL_STYLES)
        if summary.control is not None:
            styles.setdefault(summary.control.name, _BEST_STYLE)
        for control, style in styles.items():
            _control(ax, points, reference, control, score, style)
        if not math.isnan(summary.chance):
            ax.axhline(summary.chance, color=NEUTRAL, lw=1, label="chance")
            if summary.majority > summary.chance + _APART:
                label = "most frequent label"
                ax.axhline(summary.majority, color=NEUTRAL, lw=1, ls=(0, (1, 4)), label=label)
        ax.set_ylim(0, 1.03)
        ax.set_title(f"{summary.part} accuracy, {score.title}", fontsize=11)
        ax.set_ylabel("share of images named rightly", fontsize=9)
    else:
        ax.set_ylabel(f"{summary.objective_name} (no labels)")
    _count_axis(ax, sorted({p.n for p in points}))
    ax.grid(axis="y", color="#dddddd", lw=0.8)
    clean(ax)
    ax.tick_params(labelleft=True)


def _by_fame(strategy: str) -> tuple[int, str]:
    """Sort baselines before the others."""
    if strategy in BASELINES:
        return BASELINES.index(strategy), strategy
    return len(BASELINES), strategy


def muted(summary: Summary) -> set[str]:
    """Return the strategies that are drawn in grey, so that the others can be told apart.

    None of up to seven. Of more, baselines, strategies of a single number of bands, and those that
    the validation objective puts first keep their colours.
    """
    ranked = list(dict.fromkeys(p.strategy for p in summary.points))
    if len(ranked) <= _MOST:
        return set()
    pairs = {(point.strategy, point.n) for point in summary.points}
    counts = Counter(strategy for strategy, _ in pairs)
    others = [s for s in ranked if s not in BASELINES and counts[s] > 1]
    return set(others[_SHOWN:])


def _draw_muted(ax: Axes, points: Sequence[Point], score: Metric | None, label: str = "") -> None:
    """Draw a strategy as a thin grey line, behind the others."""
    rows = _rows(points, score)
    x, y = [row[0] for row in rows], [row[1] for row in rows]
    ax.plot(x, y, color=_MUTED, lw=1, zorder=1.5, label=label or None)


def _rows(points: Sequence[Point], score: Metric | None) -> list[tuple[int, float, float, float]]:
    """Return number of bands, mean and the ends of its interval, of each point."""
    if score is None:
        return [(p.n, p.objective, math.nan, math.nan) for p in points]
    scored = [(p.n, p.scores[score.key]) for p in points if score.key in p.scores]
    return [(n, s.mean, s.low, s.high) for n, s in scored]


def _draw_strategy(
    ax: Axes, points: Sequence[Point], score: Metric | None, look: Look, size: float = 6.0
) -> None:
    """Draw a strategy's points, by number of bands, with their intervals; markers in points."""
    rows = _rows(points, score)
    if not rows:
        return
    x, y, low, high = (list(column) for column in zip(*rows, strict=True))
    style = look.line if len(rows) > 1 else "none"
    colour = look.colour
    ax.plot(
        x,
        y,
        marker=look.marker,
        ms=size if len(rows) > 1 else 1.5 * size,
        ls=style,
        lw=size / 3,
        color=colour,
        # A lone point is hollow, so that it does not hide the curve that it lies on.
        mfc=colour if len(rows) > 1 else "none",
        mew=2,
        label=points[0].strategy,
    )
    if len(rows) > 1:
        ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    elif not math.isnan(low[0]):
        # A percentile interval need not hold its mean in the middle, nor, rounded, at all.
        reach = [[max(y[0] - low[0], 0)], [max(high[0] - y[0], 0)]]
        ax.errorbar(x, y, yerr=reach, color=colour, capsize=4, lw=1.5, ls="none")


def _control(
    ax: Axes,
    points: Sequence[Point],
    reference: str,
    control: str,
    score: Metric,
    look: tuple[str, str, str],
) -> None:
    """Draw a control as a line for one strategy, and as small marks for the others."""
    style, marker, colour = look
    known = [p for p in points if (control, score.key) in p.controls]
    own = [p for p in known if p.strategy == reference]
    rest = [p for p in known if p.strategy != reference]
    if not own:
        return
    label = CONTROLS[control] + (f" ({reference}; {_SIGNS[marker]} others)" if rest else "")
    single = marker if len(own) == 1 else ""
    for group, line, mark, text in ((own, style, single, label), (rest, "none", marker, None)):
        x, y = [p.n for p in group], [p.controls[control, score.key].mean for p in group]
        ax.plot(x, y, ls=line, marker=mark, ms=6, lw=1.6, color=colour, label=text)


def _count_axis(ax: Axes, counts: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_xlabel("number of bands (log scale)")
    shown: list[int] = []
    for count in counts:  # counts closer than 15% would print over each other
        if not shown or count / shown[-1] > 1.15:
            shown.append(count)
    if shown:
        ax.xaxis.set_major_locator(FixedLocator([float(c) for c in shown]))
        ax.set_xticklabels([str(c) for c in shown])
        ax.set_xlim(shown[0] / 1.25, counts[-1] * 1.25)
    ax.xaxis.set_minor_locator(NullLocator())


def small_multiples(summary: Summary) -> tuple[Chart, ...]:
    """Return a chart per accuracy; none where the picture of all shows every strategy in colour."""
    scores: list[Metric | None] = [*summary.accuracies] or [None]
    return tuple(_small_chart(summary, score) for score in scores) if muted(summary) else ()


def _small_chart(summary: Summary, score: Metric | None) -> Chart:
    what = f"{summary.part} {score.title} accuracy" if score else summary.objective_name
    alt = f"The same {what} as small charts, one per strategy, over the grey lines of all others."
    name = score.key if score else "objective"
    return Chart(f"strategies-{name}", alt, draw_small(summary, score))


def draw_small(summary: Summary, score: Metric | None) -> Figure:
    """Draw one small panel per strategy; without an accuracy the objective."""
    points, seen = best_per_count(summary), looks(p.strategy for p in summary.points)
    curves = {s: [p for p in points if p.strategy == s] for s in sorted(seen, key=_by_fame)}
    num_rows = math.ceil(len(curves) / _COLUMNS)
    figure = new_figure(NARROW, 0.7 + 1.25 * num_rows)
    axes = figure.subplots(num_rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    counts = sorted({p.n for p in points})
    for ax, (strategy, own) in zip(axes, curves.items(), strict=False):
        for other in curves.values():
            _draw_muted(ax, other, score)
        _draw_strategy(ax, own, score, seen[strategy], size=4.0)
        ax.set_title(strategy, fontsize=8.5, pad=3)
        ax.set_xscale("log")
        label_axis(ax, [counts[0], counts[-1]])
        clean(ax)
        ax.tick_params(labelsize=8)
    for ax in axes[len(curves) :]:
        ax.set_axis_off()
    figure.supxlabel("number of bands (log scale)", fontsize=9)
    what = f"{summary.part} accuracy, {score.title}" if score else summary.objective_name
    figure.supylabel(what, fontsize=9)
    return figure
