"""The report as one HTML file that opens anywhere: no script, no font, no picture from outside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from hyperspec import __version__
from hyperspec.sweeps.data import SweepData, SweepInfo
from hyperspec.sweeps.differences import Differences
from hyperspec.sweeps.figure import alt_text, to_png
from hyperspec.sweeps.summary import Summary
from hyperspec.sweeps.table import Grid, caveat, duration, failures, ranking
from hyperspec.sweeps.verdicts import band_count_sentences, differences_grid, differences_note

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1c1c1c;
  background: #fff; max-width: 1320px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.pictures img { flex: 1 1 20rem; min-width: 0; max-width: min(100%, 48rem); height: auto; }
.note { border-left: 4px solid #0072B2; background: #f2f7fb; padding: .5rem .8rem; }
.scroll { overflow-x: auto; max-width: 100%; border: 1px solid #ddd; border-radius: 4px; }
.scroll:focus { outline: 2px solid #0072B2; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums;
  width: 100%; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid #e5e5e5; text-align: right;
  white-space: nowrap; vertical-align: top; }
th { background: #f6f6f6; white-space: normal; vertical-align: bottom; }
th.text, td.text { text-align: left; }
table.wrap td { white-space: normal; overflow-wrap: break-word; min-width: 6rem;
  max-width: 60rem; }
tbody tr:first-child td { border-top: 1px solid #bbb; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .85rem; }
pre { background: #f6f6f6; padding: .6rem .8rem; overflow-x: auto; border-radius: 4px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: .5rem 0; } summary { cursor: pointer; }
footer { margin-top: 2.5rem; color: #555; font-size: .85rem; overflow-wrap: anywhere; }
"""


def write_page(data: SweepData, summary: Summary, path: Path, found: Differences) -> Path:
    """Write the page with its pictures inside it, one per probe so that narrow screens show them.

    Args:
        data: The sweeps.
        summary: Their points.
        path: File to write.
        found: Their paired comparisons.
    """
    title = "Band sweeps: " + ", ".join(info.name for info in data.sweeps)
    failed = failures(data)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_counts(data))}</p>",
        f'<p class="note">{escape(caveat(summary))}</p>',
    ]
    if summary.points:
        parts += [
            f'<div class="pictures">{_pictures(summary)}</div>',
            f"<h2>{escape(ranking(summary).title)}</h2>",
            _table(ranking(summary)),
        ]
    parts += _differences(found, summary)
    if failed.rows:
        parts += [f"<h2>{escape(failed.title)}</h2>", _table(failed, wrap=True)]
    parts += ["<h2>How it was run</h2>", *(_sweep(data, info) for info in data.sweeps)]
    stores = ", ".join(dict.fromkeys(info.uri for info in data.sweeps))
    parts.append(
        f"<footer>hyperspec {escape(__version__)}. Read from MLflow at "
        f"<code>{escape(stores)}</code>; open it with <code>hyperspec ui</code>.</footer>"
    )
    html = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )
    path.write_text(html, encoding="utf-8")
    return path


def _differences(found: Differences, summary: Summary) -> list[str]:
    grid, note = differences_grid(found), differences_note(found, summary)
    sentences = band_count_sentences(found)
    parts = [f"<h2>{escape(grid.title)}</h2>"] if grid.rows or sentences or note else []
    parts += [f"<p>{escape(sentence)}</p>" for sentence in sentences]
    parts += [_table(grid)] if grid.rows else []
    return parts + ([f'<p class="note">{escape(note)}</p>'] if note else [])


def _counts(data: SweepData) -> str:
    total, done, failed = len(data.jobs), len(data.finished), len(data.failed)
    text = f"{total} jobs: {done} finished, {failed} failed"
    return text + (f", {total - done - failed} still running." if total > done + failed else ".")


def _pictures(summary: Summary) -> str:
    panels = [[probe] for probe in summary.probes] or [[]]
    return "\n".join(_image(to_png(summary, p), alt_text(summary, p)) for p in panels)


def _image(png: bytes, text: str) -> str:
    content = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(text, quote=True)}" src="data:image/png;base64,{content}">'


def _table(grid: Grid, wrap: bool = False) -> str:
    def cells(tag: str, row: tuple[str, ...]) -> str:
        kinds = (' class="text"' if i < grid.num_text and i != _rank(grid) else "" for i in _n(row))
        return "".join(
            f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True)
        )

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in grid.rows)
    # Focusable, so that a wide table scrolls with the keyboard too.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(grid.title)}">'
        f"<table{' class=wrap' if wrap else ''}>\n<thead><tr>{cells('th', grid.columns)}</tr>"
        f"</thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _rank(grid: Grid) -> int:
    return grid.columns.index("#") if "#" in grid.columns else -1


def _n(row: tuple[str, ...]) -> range:
    return range(len(row))


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
