"""What each setting scores on each set, and by how much it differs from today's defaults.

    python experiments/defaults/table.py --sweeps defaults/sweeps/* --out defaults

Accuracies are test k-NN and the linear probe, over seeds, rotations and specimens with 95%
intervals; differences are paired by seed and specimen and corrected for all settings of a table
(Holm); a table for each set and number of bands. Sweeps of one set are those whose study has one
name.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hyperspec.evaluation.statistics.intervals import Interval
from hyperspec.evaluation.statistics.paired import Equivalence, corrected
from hyperspec.report.load import SweepData, load_sweep
from hyperspec.report.pairing import Pairs
from hyperspec.report.summary import Point, Score, summarise

DEFAULTS = {
    "data.normalisation": "zscore",
    "loss": "nt_xent",
    "views": "default",
    "model.stem": "projection",
    "loss.temperature": "0.1",
    "model.stem_channels": "32",
}
MARGIN = 0.02


def name_of(point: Point) -> str:
    """Return what differs from the defaults, as it is typed; empty for the defaults."""
    extra = {key: value for key, value in point.extra.items() if value not in ("nan", "-", "")}
    changed = [
        f"{key}={extra[key]}" for key in DEFAULTS if extra.get(key) not in (None, DEFAULTS[key])
    ]
    return " ".join(changed)


def tables(name: str, data: SweepData) -> dict[str, dict[str, tuple[Point, Equivalence | None]]]:
    """Return :func:`rows` by title: a table for each number of bands."""
    points = summarise(data).points
    counts = sorted({point.n for point in points})
    titles = {n: f"{name}, {n} bands" if len(counts) > 1 else name for n in counts}
    return {
        title: rows(data, [point for point in points if point.n == n])
        for n, title in titles.items()
    }


def rows(data: SweepData, settings: Sequence[Point]) -> dict[str, tuple[Point, Equivalence | None]]:
    """Return each setting with its comparison, the defaults first, then by k-NN."""
    points = {name_of(point): point for point in settings}
    pairs = Pairs(data, MARGIN)
    own = points.pop("")
    names = sorted(points, key=lambda name: -points[name].scores["knn"].mean)
    tests = [pairs.test(points[name], own) for name in names]
    whole = [test for test in tests if test is not None]
    right = iter(corrected(whole))
    found = {
        name: (points[name], test and next(right)) for name, test in zip(names, tests, strict=True)
    }
    return {"": (own, None), **found}


def cell(score: Score | Interval | None, sign: str = "") -> str:
    """Return a mean with its 95% interval."""
    if score is None:
        return "–"
    mean, low, high = (f"{value:{sign}.2f}" for value in (score.mean, score.low, score.high))
    return f"{mean} [{low}, {high}]"


def markdown(sets: dict[str, dict[str, tuple[Point, Equivalence | None]]]) -> str:
    """Return a table for each set."""
    parts = []
    for title, found in sets.items():
        lines = [
            f"### {title}",
            "",
            "| setting | test k-NN | linear probe | k-NN − defaults | verdict |",
        ]
        lines.append("| --- | --- | --- | --- | --- |")
        own = found[""][0]
        for control in ("untrained", "mean_spectrum"):
            scores = [own.controls.get((control, key)) for key in ("knn", "linear")]
            lines.append(f"| ({control}) | {cell(scores[0])} | {cell(scores[1])} | | |")
        for name, (point, test) in found.items():
            scores = [point.scores.get(key) for key in ("knn", "linear")]
            gap = "–" if test is None else cell(test.difference, "+")
            label = f"`{name}`" if name else "**defaults**"
            verdict = "" if test is None else test.verdict
            lines.append(f"| {label} | {cell(scores[0])} | {cell(scores[1])} | {gap} | {verdict} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sweeps", nargs="+", type=Path, required=True, help="folders of sweeps")
    parser.add_argument("--uri", help="MLflow tracking URI")
    parser.add_argument("--out", type=Path, default=Path("defaults"))
    words = parser.parse_args()
    sets: dict[str, list[str]] = {}
    for folder in words.sweeps:
        sets.setdefault(folder.name.partition("-")[0], []).append(str(folder))
    found = {}
    for name, own in sorted(sets.items()):
        found |= tables(name, load_sweep(words.uri, own))
    words.out.mkdir(parents=True, exist_ok=True)
    (words.out / "tables.md").write_text(markdown(found), encoding="utf-8")
    print(f"wrote {words.out / 'tables.md'}")


if __name__ == "__main__":
    main()
