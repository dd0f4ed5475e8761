"""The ranked table and the table of failures, for a terminal, a text file and a page."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hyperspec.evaluation.metrics import CLASSIFIERS, CONTROLS, Metric, natural_direction
from hyperspec.evaluation.statistics.intervals import MIN_SPECIMENS
from hyperspec.evaluation.statistics.variance import MIN_SEEDS
from hyperspec.report.cohorts import objective_name
from hyperspec.report.left_out import by_setting, num_trainings
from hyperspec.report.load import SweepData
from hyperspec.report.summary import Point, Score, Summary, setting_text
from hyperspec.report.variants import settings
from hyperspec.tracking.contract import MetricName
from hyperspec.utils.text import duration

_TEXT_WIDTH = 400  # characters of a table in a text file
_LONG_HEAD = 10  # characters up to which a setting's name is one line
_FIRST = ("untrained", "mean_spectrum")  # of runs before 0.2.0, which kept no validation scores


@dataclass(frozen=True)
class Grid:
    """A table as text, whoever draws it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_text: int
    """Leading columns of text; the others, and ranks, are numbers and stand to the right."""

    def is_text(self, index: int) -> bool:
        """Say whether a column is text."""
        return index < self.num_text and self.columns[index] != "#"


def ranking(summary: Summary) -> Grid:
    """Return the points, best objective first."""
    scored = summary.columns
    even = [one for one in scored if any(("", one.key) in p.balanced for p in summary.points)]
    columns = ["#", "strategy", "bands", *summary.extra_names, "seeds"]
    columns.append(summary.objective_name)
    columns += [f"{summary.part} {metric.title} [95%]" for metric in scored]
    columns += [f"{summary.part} {metric.title}, balanced" for metric in even]
    shown = _controls_of(summary)
    columns += [
        CONTROLS[control] + ("" if control in CLASSIFIERS else f" {metric.title}")
        for control, metric in shown
    ]
    columns.append("time per job")
    rows = []
    for rank, point in enumerate(summary.points, 1):
        row = [*_setting(summary, rank, point), str(point.num_seeds), number(point.objective)]
        row += [with_interval(point.scores.get(metric.key)) for metric in scored]
        row += [number(point.balanced.get(("", metric.key), math.nan)) for metric in even]
        row += [_of_control(point, control, one) for control, one in shown]
        rows.append((*row, duration(point.seconds)))
    title = f"Ranked by {summary.objective_name}{_chance(summary)}"
    if any(control for p in summary.points for control, _ in p.balanced):
        title += "; controls with balanced accuracy in brackets"
    return Grid(title, tuple(columns), tuple(rows), num_text=2)


def _controls_of(summary: Summary) -> list[tuple[str, Metric]]:
    """Return the controls that some point has, with each probe; a classifier once."""
    return [
        (control, metric)
        for place, metric in enumerate(summary.columns)
        for control in CONTROLS
        if any((control, metric.key) in p.controls for p in summary.points)
        and not (place and control in CLASSIFIERS)
    ]


def _of_control(point: Point, control: str, metric: Metric) -> str:
    even = point.balanced.get((control, metric.key))
    text = _mean(point.controls.get((control, metric.key)), 3)
    return text if even is None else f"{text} ({even:.3f})"


def _chance(summary: Summary) -> str:
    """Say what blind guesses reach; empty without labels."""
    words = [] if math.isnan(summary.chance) else [f"; chance {summary.chance:.3f}"]
    if not math.isnan(summary.majority):
        words.append(f"; most frequent label {summary.majority:.3f} of the {summary.part} part")
    return "".join(words)


def compact(summary: Summary) -> Grid:
    """Return the heart of the ranking, for a terminal of 80 characters, with the best control."""
    same_seeds = len({point.num_seeds for point in summary.points}) <= 1
    pairs = {(point.strategy, point.n) for point in summary.points}
    one = len(pairs) == 1 and bool(summary.extra_names)  # the title says what all rows share
    named = [_head(name) for name in summary.extra_names]
    columns = ["#", *([] if one else ["strategy", "bands"]), *named]
    columns += [] if same_seeds else ["seeds"]
    columns.append(summary.objective_name.replace("/", "/\n"))
    scored, best = summary.columns, summary.control
    if scored:
        columns += [f"{summary.part}\n{one.title}".replace(" probe", "") for one in scored]
        columns += ["best\ncontrol"] if best else ["untrained\nencoder", "mean\nspectrum"]
    rows = []
    for rank, point in enumerate(summary.points, 1):
        row = _setting(summary, rank, point)
        row = [row[0], *row[3:]] if one else row
        row += [] if same_seeds else [str(point.num_seeds)]
        row.append(number(point.objective))
        if scored:
            first = scored[0].key
            row.append(with_interval(point.scores.get(first), digits=2))
            row += [_mean(point.scores.get(one.key), 2) for one in scored[1:]]
            beside = [(best.name, best.row.key)] if best else [(one, first) for one in _FIRST]
            row += [_mean(point.controls.get(key), 2) for key in beside]
        rows.append(tuple(row))
    about = f"; controls by {scored[0].title}" if scored else ""
    if scored and best:
        about = f"; best control by validation: {best.words}"
    title = f"Ranked by {summary.objective_name}{about}"
    for strategy, n in pairs if one else ():
        title = f"{strategy}{f', {n} bands' if n else ''}, r{title[1:]}"
    return Grid(title, tuple(columns), tuple(rows), num_text=1 if one else 2)


def _setting(summary: Summary, rank: int, point: Point) -> list[str]:
    extra = [setting_text(point.extra.get(name, "-")) for name in summary.extra_names]
    return [str(rank), point.strategy, str(point.n or "?"), *extra]


def _head(name: str) -> str:
    """Return a setting's name as the head of a narrow column: parts of its key below each other."""
    return name.replace(".", ".\n") if len(name) > _LONG_HEAD else name


def _mean(score: Score | None, digits: int) -> str:
    return "-" if score is None or math.isnan(score.mean) else f"{score.mean:.{digits}f}"


def failures(data: SweepData) -> Grid:
    """Return the jobs that did not end well, with the reason."""
    return _ended(data, data.failed, "status", "Failed jobs")


def pruned(data: SweepData) -> Grid:
    """Return the jobs that a search stopped early, with the epoch and the reason."""
    epochs = [f"{at:.0f}" for at in data.pruned["pruned_at"].astype(float)]
    jobs = data.pruned.assign(epoch=["-" if epoch == "nan" else epoch for epoch in epochs])
    return _ended(data, jobs, "epoch", "Jobs that the search stopped early")


def left_out(data: SweepData) -> Grid:
    """Return the settings that a race did not run to the end, the best first.

    Beside the mean objective of their trainings stands the best of a setting that went on, over the
    same seeds and rotations.
    """
    title = "Settings that the race left out; no part of ranking, tests and pictures"
    value, turns = f"metrics.{MetricName.OBJECTIVE}", ["sweep_id", "seed", "rotation"]
    names = settings(data.jobs)
    less = natural_direction(objective_name(data.finished)) == "minimize"
    found = []
    for (strategy, n, *others), group in by_setting(data.left_out, names):
        same = data.finished.merge(group[turns].drop_duplicates(), on=turns)
        means = [float(one[value].mean()) for _, one in by_setting(same, names)]
        best, mean = (min if less else max)(means, default=math.nan), float(group[value].mean())
        row = [str(strategy), f"{n:g}", *map(str, others), str(num_trainings(group))]
        found.append((mean, (*row, number(mean), number(best))))
    found.sort(key=lambda pair: pair[0], reverse=not less)
    columns = ("strategy", "bands", *names, "trainings", "objective", "best of the same trainings")
    return Grid(title, columns, tuple(row for _, row in found), num_text=1)


def _ended(data: SweepData, jobs: pd.DataFrame, about: str, title: str) -> Grid:
    names = ["sweep", "name", about, "reason"]
    rows = [
        (*map(str, job), str(reason) or "no reason logged")
        for *job, reason in jobs[names].itertuples(index=False, name=None)
    ]
    columns = ("sweep", "job", about, "reason")
    first = 0 if len(data.sweeps) > 1 else 1  # one sweep's name would be the same in every row
    return Grid(title, columns[first:], tuple(r[first:] for r in rows), num_text=4 - first)


def caveat(summary: Summary) -> str:
    """Say what the intervals mean, and what one seed does not show."""
    scores = [score for point in summary.points for score in point.scores.values()]
    kinds = {score.kind for score in scores}
    unit = summary.unit
    if not summary.points:
        return "No job has finished."
    if summary.num_seeds == 1:
        text = "Illustrative: one seed. Differences between points may be those of the seed."
    elif summary.num_seeds < MIN_SEEDS:
        text = f"Illustrative: {summary.num_seeds} seeds; {MIN_SEEDS} are the least to compare by."
    else:
        text = f"Means over {summary.num_seeds} seeds."
    if kinds == {"seeds and specimens"}:
        text += f" Intervals: 95%, over seeds and {unit}s."
    elif kinds - {"none"}:
        text += f" Intervals: 95%, over {unit}s, of the seeds that were run."
    few = [score.num_specimens for score in scores if score.has_few]
    if few:
        what = f"1 {unit} was" if min(few) == 1 else f"{min(few)} {unit}s were"
        text += (
            f" Only {what} tested: no verdict below {MIN_SPECIMENS} "
            f"(data.split.rotate=4 tests every {unit})."
        )
    return text


def to_rich(grid: Grid) -> Table:
    """Return a table for the terminal."""
    table = Table(
        title=grid.title,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for index, column in enumerate(grid.columns):
        justify: Literal["left", "right"] = "left" if grid.is_text(index) else "right"
        # Heads and numbers do not break inside of words: long texts give way before them.
        longest = max((len(word) for word in column.split()), default=1)
        table.add_column(column, justify=justify, overflow="fold", min_width=longest)
    for row in grid.rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    return table


def to_text(grid: Grid) -> str:
    """Return the table as plain text, wide enough for every column."""
    widths = [max(map(len, cells), default=0) or 1 for cells in zip(*grid.rows, strict=True)]
    # Rich sets the head, over one row as wide as all; of thousands of rows it takes minutes.
    lines = _rich_text(replace(grid, rows=(tuple("x" * width for width in widths),))).splitlines()
    places = list(re.finditer("x+", lines[-2])) if grid.rows else []
    simple = [len(place[0]) for place in places] == widths and all(
        cell.isascii() and cell.isprintable() and cell == cell.strip()
        for row in grid.rows
        for cell in row
    )
    if not simple:
        return _rich_text(grid)
    before = [0, *(place.end() for place in places)]
    gaps = [" " * (place.start() - end) for place, end in zip(places, before, strict=False)]
    kinds = [str.ljust if grid.is_text(i) else str.rjust for i in range(len(widths))]
    layout = list(zip(gaps, kinds, widths, strict=True))
    rows = (
        "".join(
            gap + align(cell, width) for (gap, align, width), cell in zip(layout, row, strict=True)
        ).rstrip()
        for row in grid.rows
    )
    return "\n".join([*lines[:-2], *rows, ""]) + "\n"


def _rich_text(grid: Grid) -> str:
    buffer = io.StringIO()
    # In a notebook a console would show the table there instead of writing it.
    console = Console(
        file=buffer, width=_TEXT_WIDTH, color_system=None, force_terminal=False, force_jupyter=False
    )
    console.print(to_rich(grid))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def number(value: float) -> str:
    """Return a score with three digits, or a dash for none."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def with_interval(score: Score | None, digits: int = 3) -> str:
    """Return a score with its interval; the score with so many digits, the ends with two."""
    if score is None:
        return "-"
    if math.isnan(score.low):
        return f"{score.mean:.{digits}f}"
    return f"{score.mean:.{digits}f} [{score.low:.2f}, {score.high:.2f}]"
