"""A check on the screen, and as JSON for machines."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyperspec.datasets.catalogue.confounding import Association
from hyperspec.datasets.catalogue.records import Problem
from hyperspec.datasets.preparation.plan import several
from hyperspec.inspection.check import CheckReport, worst
from hyperspec.inspection.findings import Drift, Look, drift
from hyperspec.spectra.axis import SpectralAxis

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Raise it when a field changes its name or meaning.
JSON_VERSION = 1
# Of more files than this, only those with findings are listed.
MAX_ROWS = 40
MAX_PROBLEMS = 20
_MIN_FILE = 16  # characters of a line of the column of files
_MEASURED = ("missing_share", "saturated_share", "saturation_level", "low", "high", "brightness")
_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warn[/]", "error": "[bold red]ERR[/]"}
_VERDICT = {
    "ok": "[green]Nothing to mend.[/]",
    "warning": "[yellow]Usable, with warnings.[/]",
    "error": "[bold red]Mend the errors before training.[/]",
}
_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_report(report: CheckReport, console: Console, everything: bool = False) -> None:
    """Print table, problems and summary.

    Args:
        report: What was found.
        console: Where to print.
        everything: Show every cube and problem, however many.
    """
    from rich.markup import escape

    rows = _chosen(report, everything)
    if rows:
        console.print(_table(report, rows, console.width))
    if len(rows) < len(report.looks):
        console.print(_left_out(report, rows), style="dim", highlight=False)
        console.print()
    _print_problems(report.problems, report.root, console, everything)
    _print_calibration(report, console, everything)
    for line in summary(report):
        console.print(escape(line), highlight=False, soft_wrap=False)
    console.print(_VERDICT[report.severity])


def to_json(report: CheckReport) -> str:
    """Return the whole report as JSON; ``docs/checking.md`` names the fields."""
    catalogue = report.catalogue
    records = {} if catalogue is None else {r.file: r for r in catalogue.records}
    named = ("label", "specimen", "view")
    cubes = [
        _cube_fields(look, report)
        | {name: getattr(records.get(look.file), name, None) for name in named}
        for look in report.looks
    ]
    content = {
        "version": JSON_VERSION,
        "folder": str(report.root),
        "status": report.severity,
        "exit_status": report.exit_status,
        "num_files": len(report.looks),
        "num_bytes": sum(look.num_bytes for look in report.looks),
        "seconds": round(report.seconds, 4),
        "num_threads": report.num_threads,
        "axis": None if catalogue is None else _axis_fields(catalogue.axis),
        "expected": None if report.expected is None else _axis_fields(report.expected),
        "calibration": [
            {"done": words, "files": list(files)} for words, files in report.calibration.items()
        ],
        "confounders": [_association_fields(one) for one in report.associations],
        "cubes": cubes,
        "problems": [
            {"file": p.file, "severity": p.severity, "message": p.message} for p in report.problems
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False)


def _association_fields(one: Association) -> dict[str, object]:
    return {
        "columns": list(one.columns),
        "num_specimens": one.num_specimens,
        "num_values": one.num_values,
        "neighbours": one.neighbours,
        "accuracy": _finite(one.accuracy),
        "chance": _finite(one.chance),
        "p": _finite(one.p),
        "confounded": one.warned,
        "reason": one.reason,
    }


def _cube_fields(look: Look, report: CheckReport) -> dict[str, object]:
    seen = look.measure
    away = None if report.expected is None else _drift(look, report.expected)
    return {
        "file": look.file,
        "kind": look.kind,
        "status": worst(report.by_file.get(look.file, [])),
        "num_bytes": look.num_bytes,
        "shape": None if look.shape is None else list(look.shape),
        "dtype": look.dtype,
        "interleave": look.interleave,
        "axis": None if look.axis is None else _axis_fields(look.axis),
        "drift_nm": None
        if away is None
        else {"mean": away.mean_nm, "max": away.max_nm, "band": away.band},
        **{name: _finite(getattr(seen, name, None)) for name in _MEASURED},
        "seconds": None if seen is None else round(seen.seconds, 6),
        "mb_per_second": None if seen is None else round(seen.mb_per_second, 1),
        "checksum": look.digest,
    }


def _axis_fields(axis: SpectralAxis) -> dict[str, object]:
    low, high = axis.range_nm
    return {
        "num_bands": len(axis),
        "num_bad": len(axis) - len(axis.good_indices),
        "start_nm": low,
        "stop_nm": high,
        "hash": axis.hash,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _chosen(report: CheckReport, everything: bool) -> list[Look]:
    if everything or len(report.looks) <= MAX_ROWS:
        return list(report.looks)
    found = report.by_file
    bad = [look for look in report.looks if look.file in found]
    errors_first = sorted(bad, key=lambda look: worst(found[look.file]) != "error")
    return sorted(errors_first[:MAX_ROWS], key=lambda look: look.file)


def _left_out(report: CheckReport, rows: Sequence[Look]) -> str:
    shown = {look.file for look in rows}
    found = report.by_file
    hidden = [look for look in report.looks if look.file not in shown]
    odd = sum(look.file in found for look in hidden)
    parts = [f"{odd} more with findings"] if odd else []
    if len(hidden) > odd:
        parts.append(f"{counted(len(hidden) - odd, 'file')} without findings")
    return f"Not listed: {', '.join(parts)} (--all lists every file)."


def _table(report: CheckReport, rows: Sequence[Look], width: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    columns, gap = _fitted(_columns(report, rows), width)
    # The box itself has one space between columns.
    table = Table(box=SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False)
    table.add_column("")
    table.add_column("file", overflow="fold", min_width=_MIN_FILE)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for look, *cells in zip(rows, *columns.values(), strict=True):
        mark = _MARKS[worst(report.by_file.get(look.file, []))]
        table.add_row(mark, escape(look.file), *cells)
    return table


def _fitted(columns: dict[str, list[str]], width: int) -> tuple[dict[str, list[str]], int]:
    """Return the columns that a screen has room for, and the spaces between them.

    What is least a finding goes first; the JSON has everything.
    """
    kept = dict(columns)
    for gap, spare in ((2, None), (1, None), (1, "MB/s"), (1, "type"), (1, "shape")):
        if spare is not None:
            kept.pop(spare, None)
        cells = sum(max(len(text) for text in (name, *texts)) for name, texts in kept.items())
        # Edges, the mark, the file, and a gap before each column but the first.
        if 2 + 4 + _MIN_FILE + cells + gap * (len(kept) + 1) <= width:
            break
    return kept, gap


def _columns(report: CheckReport, rows: Sequence[Look]) -> dict[str, list[str]]:
    """Return the cells by column; shape and type only where they differ (else: the summary)."""
    columns = {}
    if len({look.shape for look in rows if look.shape is not None}) > 1:
        columns["shape"] = ["–" if x.shape is None else _shape(x.shape) for x in rows]
    if len({look.dtype for look in rows if look.dtype is not None}) > 1:
        columns["type"] = [look.dtype or "–" for look in rows]
    unit, divisor = _unit(float(np.median([look.num_bytes for look in rows])))
    columns[unit] = [_short(look.num_bytes / divisor) for look in rows]
    seen = [look.measure for look in rows]
    columns["MB/s"] = ["–" if m is None else f"{m.mb_per_second:.0f}" for m in seen]
    columns["nodata"] = ["–" if m is None else _percent(m.missing_share) for m in seen]
    columns["saturated"] = ["–" if m is None else _percent(m.saturated_share) for m in seen]
    if report.expected is not None:
        away = [_drift(look, report.expected) for look in rows]
        columns["drift nm"] = ["–" if d is None else f"{d.max_nm:.2f}" for d in away]
    return columns


def _drift(look: Look, expected: SpectralAxis) -> Drift | None:
    return None if look.axis is None or look.axis_given else drift(expected, look.axis)


def _print_problems(
    problems: Sequence[Problem], root: Path, console: Console, everything: bool
) -> None:
    from rich.padding import Padding

    for severity, colour in _COLOURS.items():
        some = [p for p in problems if p.severity == severity]
        if not some:
            continue
        console.print(f"[{colour}]{counted(len(some), severity)}[/]")
        shown = some if everything else some[:MAX_PROBLEMS]
        for problem in shown:
            console.print(Padding(_line(problem, root), (0, 0, 0, 2)), highlight=False)
        if len(shown) < len(some):
            console.print(f"  and {len(some) - len(shown)} more (--all, --out)", style="dim")
        console.print()


def _print_calibration(report: CheckReport, console: Console, everything: bool) -> None:
    """Say which frames serve which scans, and what is left out."""
    from rich.markup import escape
    from rich.padding import Padding

    lines = [
        f"[bold]{escape(several(files))}[/]: {escape(words)}"
        for words, files in report.calibration.items()
    ]
    left_out = {} if report.catalogue is None else report.catalogue.left_out
    lines += [f"[bold]{escape(f)}[/] is left out: {escape(why)}" for f, why in left_out.items()]
    if not lines:
        return
    console.print("Calibration (data.calibrate)")
    shown = lines if everything else lines[:MAX_PROBLEMS]
    for line in shown:
        console.print(Padding(line, (0, 0, 0, 2)), highlight=False)
    if len(shown) < len(lines):
        console.print(f"  and {len(lines) - len(shown)} more (--all, --out)", style="dim")
    console.print()


def _line(problem: Problem, root: Path) -> str:
    """Write the file once, and paths as they are seen from the folder."""
    from rich.markup import escape

    text = problem.message.replace(f"{root}{os.sep}", "")
    file = problem.file
    if file == ".":
        return f"[bold]the folder[/] {escape(text)}"
    for start in (f"{file}: ", f"{file} "):
        if text.startswith(start):
            text = text.removeprefix(start)
            return f"[bold]{escape(file)}[/]{start[len(file) :]}{escape(text)}"
    gap = (
        " " if text[:1].islower() and not text.split(" ", 1)[0].endswith((".hdr", ".HDR")) else ": "
    )
    return f"[bold]{escape(file)}[/]{gap}{escape(text)}"


def summary(report: CheckReport) -> list[str]:
    """Say in plain lines what the folder holds."""
    looks = report.looks
    kinds = Counter(look.kind for look in looks)
    total = sum(look.num_bytes for look in looks)
    parts = [counted(kinds["specimen"], "cube") + _alike(looks)]
    frames = {"white": kinds["white"], "dark": kinds["dark"] + kinds["white_dark"]}
    parts += [counted(number, f"{kind} frame") for kind, number in frames.items() if number]
    parts += [f"{kinds['left out']} left out"] if kinds["left out"] else []
    speed = total / max(report.seconds, 1e-9) / 1e6
    lines = [
        f"{', '.join(parts)}.",
        f"{_bytes(total)} read in {report.seconds:.1f} s "
        f"({speed:.0f} MB/s with {counted(report.num_threads, 'thread')}, checksums included).",
    ]
    catalogue = report.catalogue
    if catalogue is not None:
        low, high = catalogue.axis.range_nm
        bad = len(catalogue.axis) - len(catalogue.axis.good_indices)
        lines.append(
            f"Axis: {counted(len(catalogue.axis), 'band')}, {low:.1f} to {high:.1f} nm"
            + (f", {bad} marked bad." if bad else ".")
        )
        lines.append(_label_line([r.label for r in catalogue.records],
                                 len({r.specimen for r in catalogue.records})))  # fmt: skip
    if report.associations:
        lines.append("Confounders (does a column tell the label?)")
        lines += [f"  {one.text}" for one in report.associations]
    if report.expected is not None:
        away = [_drift(look, report.expected) for look in looks]
        known = [d.max_nm for d in away if d is not None]
        if known:
            lines.append(f"Largest drift from the expected sensor: {max(known):.3f} nm.")
    return lines


def _alike(looks: Sequence[Look]) -> str:
    """Say shape and type of the cubes where all have the same."""
    kinds = {(x.shape, x.dtype) for x in looks if x.kind == "specimen" and x.shape is not None}
    if len(kinds) != 1:
        return ""
    shape, dtype = kinds.pop()
    return f" of {_shape(shape)} (bands, lines, samples) {dtype}" if shape is not None else ""


def _label_line(labels: Sequence[str | None], num_specimens: int) -> str:
    known = Counter(label for label in labels if label is not None)
    specimens = counted(num_specimens, "specimen")
    if not known:
        return f"Labels: none; {specimens}."
    few, many = min(known.values()), max(known.values())
    each = f"{few}" if few == many else f"{few} to {many}"
    return f"Labels: {len(known)}, on {each} cubes each; {specimens}."


def counted(number: int, word: str) -> str:
    """Write a number of things: ``1 file``, ``2 files``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def _shape(shape: tuple[int, int, int]) -> str:
    return "×".join(map(str, shape))


def _percent(share: float) -> str:
    if share == 0:
        return "0"
    return "<.1%" if share < 0.001 else f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def _short(number: float) -> str:
    if 0 < number < 0.1:
        return "<0.1"
    return f"{number:.1f}" if number < 100 else f"{number:.0f}"


def _bytes(number: int) -> str:
    unit, divisor = _unit(number)
    return f"{number / divisor:.1f} {unit}" if divisor > 1 else f"{number} bytes"


def _unit(number: float) -> tuple[str, float]:
    """Return the unit in which a number of bytes is at least 1, and its size."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return unit, size
    return "bytes", 1
