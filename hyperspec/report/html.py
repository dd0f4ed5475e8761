"""The report as one HTML file that opens anywhere: no script, no font, no picture from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from hyperspec import __version__
from hyperspec.report.charts.accuracy import charts
from hyperspec.report.charts.figure import Chart, Section, figure_html
from hyperspec.report.load import SweepData, SweepInfo
from hyperspec.report.paired_tests import Differences
from hyperspec.report.summary import Summary
from hyperspec.report.tables import Grid, caveat, failures, pruned, ranking
from hyperspec.report.verdict import Verdict
from hyperspec.report.wording import (
    band_count_sentences,
    differences_grid,
    differences_note,
    main_sentences,
)
from hyperspec.utils.text import duration

_ACCURACY = "How does accuracy change with the number of bands?"
_BEST_FIRST = (
    "<details><summary>Above: each strategy at the setting that validation puts first. "
    "The same of {} other settings</summary><ul>{}</ul></details>\n"
)
_HEADING = re.compile(r'<section id="([\w-]+)">\n<h2>(.*?)</h2>')
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1c1c1c;
  background: #fff; max-width: 1360px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { max-width: 60rem; margin: .5rem 0; }
nav { font-size: .9rem; } nav a { margin-right: 1rem; display: inline-block; }
a { color: #0056a0; }
.lead { font-size: 1.05rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; align-items: flex-start; }
figure { margin: 0; flex: 1 1 24rem; min-width: min(100%, 20rem); max-width: min(100%, 34rem); }
figure svg { display: block; width: 100%; height: auto; }
.note { border-left: 4px solid #0072B2; background: #f2f7fb; padding: .5rem .8rem; }
.scroll { overflow: auto; max-width: 100%; max-height: 36rem; border: 1px solid #ddd;
  border-radius: 4px; }
.scroll:focus { outline: 2px solid #0072B2; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums;
  width: 100%; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid #e5e5e5; text-align: right;
  white-space: nowrap; vertical-align: top; }
th { background: #f6f6f6; position: sticky; top: 0; white-space: normal; vertical-align: bottom; }
th.text, td.text { text-align: left; }
table.wrap td { white-space: normal; overflow-wrap: break-word; min-width: 6rem;
  max-width: 60rem; }
.verdicts td:last-child, .verdicts th:last-child { text-align: left; white-space: normal;
  min-width: 16rem; }
tbody tr:first-child td { border-top: 1px solid #bbb; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .85rem; }
pre { background: #f6f6f6; padding: .6rem .8rem; overflow-x: auto; border-radius: 4px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: .5rem 0; } summary { cursor: pointer; }
footer { margin-top: 2.5rem; color: #555; font-size: .85rem; overflow-wrap: anywhere; }
"""


def write_page(
    data: SweepData,
    summary: Summary,
    path: Path,
    found: Differences,
    verdict: Verdict,
    sections: Sequence[Section] = (),
    strategies: Sequence[Chart] = (),
) -> Path:
    """Write the page with its pictures inside it.

    Further sections follow (:mod:`hyperspec.report.charts`); charts of single strategies stand
    beside those of accuracy.
    """
    title = "Band sweeps: " + ", ".join(info.name for info in data.sweeps)
    parts = [_head(data, summary, found, verdict, title)]
    if summary.points:
        grid = ranking(summary)
        pictures = "\n".join(figure_html(chart) for chart in (*charts(summary), *strategies))
        parts.append(_part("accuracy", _ACCURACY, f'<div class="pictures">{pictures}</div>'))
        parts.append(_part("ranking", grid.title, _table(grid)))
    parts += _differences(found, summary)
    parts += [_section(section) for section in sections]
    for key, grid in (("failed", failures(data)), ("stopped", pruned(data))):
        if grid.rows:
            parts.append(_part(key, grid.title, _table(grid, wrap=True)))
    runs = "\n".join(_sweep(data, info) for info in data.sweeps)
    parts.append(_part("sweeps", "How it was run", runs))
    stores = ", ".join(dict.fromkeys(info.uri for info in data.sweeps))
    parts.append(
        f"<footer>hyperspec {escape(__version__)}. Read from MLflow at "
        f"<code>{escape(stores)}</code>; open it with <code>hyperspec ui</code>.</footer>"
    )
    parts.insert(1, _contents(parts))
    html = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )
    path.write_text(html, encoding="utf-8")
    return path


def _head(
    data: SweepData, summary: Summary, found: Differences, verdict: Verdict, title: str
) -> str:
    every = band_count_sentences(found) if len(found.counts) > 1 else []  # one: the verdict's own
    first = main_sentences(found, summary) if every else []
    rest = [text for text in every if text not in first]
    return (
        f"<h1>{escape(title)}</h1>\n"
        + "".join(f'<p class="lead">{escape(text)}</p>\n' for text in verdict.sentences)
        + f"<p>{escape(_counts(data))}</p>\n"
        + (f'<ul class="lead">{_items(first)}</ul>\n' if first else "")
        + (_BEST_FIRST.format(len(rest), _items(rest)) if rest else "")
        + f'<p class="note">{escape(caveat(summary))}</p>'
    )


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
    body = f"<p>{escape(section.intro)}</p>"
    if section.note:
        body += f'\n<p class="note">{escape(section.note)}</p>'
    pictures = "\n".join(figure_html(chart) for chart in section.charts)
    body += f'\n<div class="pictures">{pictures}</div>'
    shown = "" if section.charts else " open"
    for grid in section.grids:
        body += (
            f"\n<details{shown}><summary>{escape(grid.title)}</summary>{_table(grid, wrap=True)}"
        )
        body += "</details>"
    return _part(section.key, section.title, body)


def _differences(found: Differences, summary: Summary) -> list[str]:
    grid, note = differences_grid(found), differences_note(found, summary)
    if not grid.rows and not note and not found.counts:
        return []
    body = f'<div class="verdicts">{_table(grid)}</div>' if grid.rows else ""
    body += f'<p class="note">{escape(note)}</p>' if note else ""
    return [_part("differences", grid.title, body)]


def _counts(data: SweepData) -> str:
    total, done, failed = len(data.jobs), len(data.finished), len(data.failed)
    stopped = len(data.pruned)
    text = f"{total} jobs: {done} finished, {failed} failed"
    text += f", {stopped} stopped early by the search" if stopped else ""
    running = total - done - failed - stopped
    return text + (f", {running} still running." if running else ".")


def _table(grid: Grid, wrap: bool = False) -> str:
    kinds = [' class="text"' if grid.is_text(i) else "" for i in range(len(grid.columns))]

    def cells(tag: str, row: tuple[str, ...]) -> str:
        pairs = zip(kinds, row, strict=True)
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in pairs)

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
