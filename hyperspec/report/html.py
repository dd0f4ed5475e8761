"""The report as one HTML file that opens anywhere: no script, no font, no picture from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from hyperspec.report.charts.figure import Section, figure_html
from hyperspec.report.charts.style import words
from hyperspec.report.cohort_report import CohortReport, opening, side_by_side
from hyperspec.report.glossary import glossary_html, hinted
from hyperspec.report.load import SweepData, SweepInfo
from hyperspec.report.paired_tests import Differences
from hyperspec.report.summary import Summary
from hyperspec.report.tables import Grid, caveat, failures, left_out, pruned, ranking
from hyperspec.report.theme import style, themed
from hyperspec.report.wording import (
    band_count_sentences,
    differences_grid,
    differences_note,
    main_sentences,
)
from hyperspec.tracking.health import shown
from hyperspec.utils.text import duration
from hyperspec.utils.version import __version__

_HERE = Path(__file__)
_BEST_FIRST = (
    "<details><summary>Above: each strategy at the setting that validation puts first. "
    "The same of {} other settings</summary><ul>{}</ul></details>\n"
)
_HEADING = re.compile(r'<section id="([\w-]+)">\n<h2>(.*?)</h2>')


def write_page(data: SweepData, cohorts: Sequence[CohortReport], path: Path) -> Path:
    """Write the page with its pictures inside it: each cohort of jobs by itself."""
    title = f"{_kind(cohorts)}: " + ", ".join(info.name for info in data.sweeps)
    parts = []
    beside = side_by_side(data, cohorts)
    if beside.rows:
        parts.append(_part("beside", beside.title, _table(beside)))
    for cohort in cohorts:
        parts += _cohort(cohort)
    ended = (("failed", failures(data)), ("stopped", pruned(data)), ("left-out", left_out(data)))
    for key, grid in ended:
        if grid.rows:
            parts.append(_part(key, grid.title, _table(grid, wrap=True)))
    runs = "\n".join(_sweep(data, info) for info in data.sweeps)
    parts.append(_part("sweeps", "How it was run", runs))
    parts.append(_part("words", "Words", glossary_html()))
    stores = ", ".join(dict.fromkeys(shown(info.uri) for info in data.sweeps))
    parts.append(
        f"<footer>hyperspec {escape(__version__)}. Read from MLflow at "
        f"<code>{escape(stores)}</code>; open it with <code>hyperspec ui</code>.</footer>"
    )
    head = _head(data, cohorts, title)
    contents = _contents(parts)
    parts.insert(0, f'<div class="top">\n<div>\n{head}\n</div>\n{contents}\n</div>')
    body, greys = themed("\n".join(parts))
    styles = style() + _HERE.with_name("report.css").read_text("utf-8") + greys
    html = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{styles}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n</body>\n</html>\n"
    )
    path.write_text(html, encoding="utf-8")
    return path


def _kind(cohorts: Sequence[CohortReport]) -> str:
    """Say what was varied: bands, or other settings of one choice of bands."""
    names = list(dict.fromkeys(name for one in cohorts for name in one.summary.extra_names))
    if not names or any(one.question for one in cohorts):
        return "Band sweeps"
    return f"Sweep of {' and '.join(words(name) for name in names)}"


def _head(data: SweepData, cohorts: Sequence[CohortReport], title: str) -> str:
    told = opening(cohorts)
    text = f"<h1>{escape(title)}</h1>\n"
    text += f'<p class="lead">{escape(told)}</p>\n' if told else ""
    if len(cohorts) == 1:  # of several each has its verdict above its own parts
        return f"{text}{_verdict(cohorts[0], _counts(data))}"
    return f"{text}<p>{escape(_counts(data))}</p>"


def _verdict(one: CohortReport, counts: str) -> str:
    found, summary = one.differences, one.summary
    every = band_count_sentences(found) if len(found.counts) > 1 else []  # one: the verdict's own
    first = main_sentences(found, summary) if every else []
    rest = [text for text in every if text not in first]
    seen: set[str] = set()
    return (
        "".join(f'<p class="lead">{hinted(text, seen)}</p>\n' for text in one.verdict.sentences)
        + f"<p>{escape(counts)}</p>\n"
        + (f'<ul class="lead">{_items(first)}</ul>\n' if first else "")
        + (_BEST_FIRST.format(len(rest), _items(rest)) if rest else "")
        + f'<p class="note">{hinted(caveat(summary), seen)}</p>'
    )


def _cohort(one: CohortReport) -> list[str]:
    """Return the parts of the page that are a cohort's own; the verdict first where it has one."""
    parts, end = [], one.suffix
    if one.cohort.letter:
        counts = f"{one.cohort.num_jobs} of the finished jobs."
        parts.append(_part(f"kind{end}", escape(one.cohort.title), _verdict(one, counts)))
    first, later = one.opening_sections
    parts += [_section(section) for section in first]
    if one.summary.points:
        grid, question = ranking(one.summary), one.question
        pictures = "\n".join(figure_html(chart) for chart in (*one.accuracy, *one.strategies))
        body = f'<div class="pictures">{pictures}</div>'
        parts += [_part(f"accuracy{end}", question, body)] if question else []
        parts.append(_part(f"ranking{end}", grid.title, _table(grid)))
    parts += _differences(one.differences, one.summary, f"differences{end}")
    return [*parts, *(_section(section) for section in later)]


def _items(texts: Sequence[str]) -> str:
    return "".join(f"<li>{escape(text)}</li>" for text in texts)


def _part(key: str, title: str, body: str) -> str:
    return f'<section id="{key}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def _contents(parts: Sequence[str]) -> str:
    """Return links to the parts; their titles up to the first question or colon."""
    found = (_HEADING.search(part) for part in parts)
    links = "".join(
        f'<a href="#{match[1]}">{re.split(r"(?<=[?])|[:;,]", match[2])[0]}</a>\n'
        for match in found
        if match is not None
    )
    return f'<nav aria-label="Parts of this report">{links}</nav>'


def _section(section: Section) -> str:
    told = f"<p>{hinted(section.intro)}</p>"
    if section.note:
        told += f'\n<p class="note">{escape(section.note)}</p>'
    shown = "" if section.charts else " open"
    grids = "".join(
        f"\n<details{shown}><summary>{escape(grid.title)}</summary>"
        f"{_table(grid, wrap=True)}</details>"
        for grid in section.grids
    )
    pictures = "\n".join(figure_html(chart) for chart in section.charts)
    if len(section.charts) == 1:  # beside its words, where the screen is wide
        body = f'<div class="beside">\n<div>{told}{grids}</div>\n{pictures}\n</div>'
    else:
        body = f'{told}\n<div class="pictures">{pictures}</div>{grids}'
    return _part(section.key, section.title, body)


def _differences(found: Differences, summary: Summary, key: str) -> list[str]:
    grid, note = differences_grid(found), differences_note(found, summary)
    if not grid.rows and not note and not found.counts:
        return []
    body = f'<div class="verdicts">{_table(grid)}</div>' if grid.rows else ""
    body += f'<p class="note">{escape(note)}</p>' if note else ""
    return [_part(key, grid.title, body)]


def _counts(data: SweepData) -> str:
    total, done, failed = len(data.jobs), len(data.finished), len(data.failed)
    stopped, out = len(data.pruned), len(data.left_out)
    text = f"{total} jobs: {done} finished, {failed} failed"
    text += f", {stopped} stopped early by the search" if stopped else ""
    text += f", {out} of settings that the race left out" if out else ""
    running = total - done - failed - stopped - out
    return text + (f", {running} still running." if running else ".")


def _table(grid: Grid, wrap: bool = False) -> str:
    kinds = [' class="text"' if grid.is_text(i) else "" for i in range(len(grid.columns))]

    def cells(tag: str, row: tuple[str, ...]) -> str:
        pairs = zip(kinds, row, strict=True)
        text = hinted if tag == "th" else escape
        return "".join(f"<{tag}{kind}>{text(cell)}</{tag}>" for kind, cell in pairs)

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in grid.rows)
    # Focusable, so that a wide table scrolls with the keyboard too.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(grid.title)}">'
        f"<table{' class=wrap' if wrap else ''}>\n<thead><tr>{cells('th', grid.columns)}</tr>"
        f"</thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _sweep(data: SweepData, info: SweepInfo) -> str:
    jobs = data.jobs[data.jobs["sweep_id"] == info.run_id]
    fixed: Mapping[str, str] = {
        column.removeprefix("params."): str(jobs[column].dropna().iloc[0])
        for column in sorted(jobs.columns)
        if column.startswith("params.") and jobs[column].nunique() == 1
    }
    rows = tuple(fixed.items())
    settings = Grid(f"Settings shared by all jobs of {info.name}", ("setting", "value"), rows, 2)
    when = info.start.strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"<h3>{escape(info.name)}</h3>\n<p>{escape(info.status)}, begun {when}, "
        f"{len(jobs)} jobs, {duration(info.seconds)}; run <code>{escape(info.run_id)}</code></p>\n"
        f"<pre>{escape(info.command or 'no command logged')}</pre>\n"
        f"<details><summary>{len(rows)} settings shared by all its jobs</summary>\n"
        f"{_table(settings, wrap=True)}</details>"
    )
