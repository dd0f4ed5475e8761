"""Do intervals cover, and do verdicts hold? Whole sweeps with known truth, run through the package.

`make bench-truth` writes `benchmarks/results/truth_<date>.json` with every cell and prints what
`docs/evaluation.md` shows. `--quick` is the short form that the slow tests run.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import context, write
from truth_model import Cell, Learner, draw_pair, learn, rule_010
from truth_sweeps import claims_per_report, what_decides_holds

from hyperspec.evaluation.statistics.intervals import accuracy_ends, difference_ends
from hyperspec.evaluation.statistics.variance import MIN_SEEDS, mean_squares

Floats = NDArray[np.float64]
SPECIMENS = (8, 12, 30, 64, 100, 250, 500)
IMAGES = (1, 2, 8)
ACCURACIES = (0.5, 0.8, 0.95)
SEEDS = (1, 2, 3, 5)
SPREADS = (0.0, 0.02, 0.045, 0.09)
MARGINS = (0.02, 0.05, 0.1)
FEW = 12  # specimens up to which 0.90 to 0.98 is tolerated
FIGURES = ("accuracy_covered", "difference_covered", "false_different")
FIGURES += tuple(f"false_equal_{margin:g}" for margin in MARGINS)
EFFECT = 0.1  # difference that power is told of
TRIALS = 2000
AGAIN = 4  # times as many trials, drawn anew, for cells that miss a goal at first
_AT_ONCE = 4_000_000  # scores drawn at once, 16 MB a setting


def cells(quick: bool) -> Iterator[Cell]:
    """The grid; two seeds and one are scored on those seeds, whose spread then does not matter."""
    sizes = (8, 30, 250) if quick else SPECIMENS
    for rotations, specimens, images, accuracy, seeds in itertools.product(
        (1, 4), sizes, (2,) if quick else IMAGES, ACCURACIES, (1, 3) if quick else SEEDS
    ):
        for spread in SPREADS if seeds >= MIN_SEEDS else SPREADS[:1] + SPREADS[2:3]:
            yield Cell(specimens, images, accuracy, seeds, spread, rotations)


def measure(cell: Cell, trials: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return what happens in a cell: shares of trials, and median widths."""
    found: dict[str, list[Floats]] = {}
    block = max(50, min(trials, _AT_ONCE // cell.size))
    for start in range(0, trials, block):
        for name, values in _block(cell, min(block, trials - start), rng).items():
            found.setdefault(name, []).append(values)
    told: dict[str, Any] = vars(cell) | {"trials": trials}
    for name, parts in found.items():
        values = np.concatenate(parts)
        told[name] = round(float(np.median(values) if "width" in name else values.mean()), 4)
    return told


def _block(cell: Cell, num: int, rng: np.random.Generator) -> dict[str, Floats]:
    gaps = (0.0, EFFECT, *MARGINS) if cell.seeds >= MIN_SEEDS else (0.0,)
    first, others = draw_pair(cell, gaps, num, rng)
    parts = mean_squares(first.scores, cell.folds)
    low, high = accuracy_ends(parts, 0.95)
    truth = first.expected if parts.over_seeds else first.of_these_seeds
    found = {
        "accuracy_covered": (low <= truth) & (truth <= high),
        "accuracy_width": high - low,
    }
    for gap, (other, disagreement) in zip(gaps, others, strict=True):
        gaps_seen = mean_squares(first.scores - other.scores, cell.folds)
        low, high = difference_ends(gaps_seen, disagreement, 0.95)
        inner = difference_ends(gaps_seen, disagreement, 0.90)
        if not gap:
            true = 0.0 if parts.over_seeds else first.of_these_seeds - other.of_these_seeds
            found["difference_covered"] = (low <= true) & (true <= high)
            found["difference_width"] = high - low
        if not gap and parts.over_seeds:
            found |= _equal(inner, 0.05, low, high)
        elif gap == EFFECT:
            found["power"] = low > 0
        if gap in MARGINS:
            found[f"false_equal_{gap:g}"] = (-gap < inner[0]) & (inner[1] < gap)
    return found


def _equal(
    inner: tuple[Floats, Floats], margin: float, low: Floats, high: Floats
) -> dict[str, Floats]:
    within = (-margin < inner[0]) & (inner[1] < margin)
    return {"called_equal": within, "false_different": ((low > 0) | (high < 0)) & ~within}


def before(trials: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the same figures of 0.1.0's crossed bootstrap, on the cells that the issue names."""
    found = []
    for cell in (
        Cell(500, 2, 0.8, 3, 0.045),
        Cell(100, 2, 0.8, 3, 0.09),
        Cell(250, 2, 0.8, 2, 0.045),
        Cell(64, 2, 0.8, 3, 0.0),
        Cell(30, 2, 0.8, 3, 0.02),
        Cell(12, 2, 0.8, 1, 0.0),
    ):
        first, ((other, disagreement),) = draw_pair(cell, (0.0,), trials, rng)
        told = vars(cell) | {"trials": trials}
        for rule in ("0.1.0", "now"):
            if rule == "now":
                ends = accuracy_ends(mean_squares(first.scores), 0.95)
                gaps = difference_ends(
                    mean_squares(first.scores - other.scores), disagreement, 0.95
                )
            else:
                (ends,) = rule_010(first.scores, (0.95,))
                (gaps,) = rule_010(first.scores - other.scores, (0.95,))
                ends, gaps = ends.T, gaps.T
            truth = first.of_these_seeds if cell.seeds < MIN_SEEDS else first.expected
            told[f"accuracy_covered, {rule}"] = float(
                ((ends[0] <= truth) & (truth <= ends[1])).mean()
            )
            if rule == "now" and cell.seeds == 2:
                told["verdict, now"] = "none: two seeds"
                continue
            told[f"difference_covered, {rule}"] = float(((gaps[0] <= 0) & (gaps[1] >= 0)).mean())
            told[f"difference_width, {rule}"] = float(np.median(gaps[1] - gaps[0]))
        found.append({k: round(v, 4) if isinstance(v, float) else v for k, v in told.items()})
    return found


def learner(quick: bool, trials: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return coverage and width where the scores come from something that learns."""
    found = []
    sizes = (64,) if quick else (48, 64, 100, 256)
    for size, seeds, rotations, drawn in itertools.product(
        sizes, (3,) if quick else (3, 5), (1, 4), (True, False)
    ):
        case = Learner(size, seeds, rotations, drawn)
        first, second, folds = learned(case, trials, rng)
        # What this learner reaches with so many specimens: over all trials and both settings.
        truth = (first.mean() + second.mean()) / 2
        low, high = accuracy_ends(mean_squares(first, folds), 0.95)
        parts = mean_squares(first - second, folds)
        half = np.sqrt(parts.squared_half_width(0.95))
        found.append(
            vars(case)
            | {
                "trials": trials,
                "accuracy": round(float(truth), 4),
                "accuracy_covered": round(float(((low <= truth) & (truth <= high)).mean()), 4),
                "difference_covered": round(float((abs(parts.mean) <= half).mean()), 4),
                "accuracy_width": round(float(np.median(high - low)), 4),
                "difference_width": round(float(np.median(2 * half)), 4),
            }
        )
    return found


def learned(
    case: Learner, trials: int, rng: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    block = max(20, 40_000 // (case.specimens * case.seeds))
    blocks = [learn(case, min(block, trials - s), rng) for s in range(0, trials, block)]
    first, second = (np.concatenate([b[i] for b in blocks]) for i in (0, 1))
    return first, second, blocks[0][2]


def rotations_narrow(trials: int, rng: np.random.Generator) -> dict[str, float]:
    """Return median widths with 64 specimens in all: one split tests 16, four rotations all."""
    found = {}
    for accuracy, spread in itertools.product((0.5, 0.8), (0.0, 0.045)):
        one = measure(Cell(16, 2, accuracy, 3, spread), trials, rng)
        four = measure(Cell(64, 2, accuracy, 3, spread, 4), trials, rng)
        for name in ("accuracy_width", "difference_width"):
            key = f"{name}, accuracy {accuracy:g}, seed sd {spread:g}"
            found[key] = round(four[name] / one[name], 3)
    return found


def misses(told: dict[str, Any]) -> list[str]:
    """Return the figures of a cell that miss the goals by which verdicts must hold."""
    least = 0.90 if told["specimens"] <= FEW else 0.93
    low = [name for name, v in told.items() if name.endswith("_covered") and v < least]
    return low + [name for name, v in told.items() if name.startswith("false_") and v > 0.06]


def grid(quick: bool, trials: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Measure every cell; the worst of a thousand is bad luck, so what misses is drawn anew."""
    found = []
    for number, cell in enumerate(cells(quick)):
        told = measure(cell, trials, rng)
        found.append(measure(cell, AGAIN * trials, rng) if misses(told) else told)
        if number % 100 == 0:
            print(f"{number} cells", flush=True)
    return found


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Return lines of a table: lowest, median and highest figure of each group of cells."""
    lines = ["| cells | figure | lowest | median | highest | outside the goal |", "|" + "---|" * 6]
    for few, rotations in itertools.product((True, False), (1, 4)):
        own = [r for r in rows if (r["specimens"] <= FEW) == few and r["rotations"] == rotations]
        name = f"{'8, 12' if few else '30 to 500'} specimens, "
        name += "four rotations" if rotations > 1 else "one split"
        for figure in FIGURES:
            values = [r[figure] for r in own if figure in r]
            if not values:
                continue
            low, high = (0.90, 0.98) if few else (0.93, 0.97)
            if not figure.endswith("_covered"):
                low, high = 0.0, 0.06
            outside = f"{sum(v < low for v in values)} below, {sum(v > high for v in values)} above"
            three = (f"{v:.3f}" for v in (min(values), float(np.median(values)), max(values)))
            lines.append(
                f"| {name} | {figure} | {' | '.join(three)} | {outside} of {len(values)} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--trials", type=int, default=TRIALS)
    words = parser.parse_args()
    rng = np.random.default_rng(16)
    begin = time.perf_counter()
    some = max(words.trials // 2, 100)
    rows = grid(words.quick, words.trials, rng)
    names = list(dict.fromkeys(name for row in rows for name in row))
    record = {
        "context": context(("numpy", "scipy")),
        "summary": summary(rows),
        "missed": [vars_of(row) | {n: row[n] for n in misses(row)} for row in rows if misses(row)],
        "width_of_four_rotations_by_one_split": rotations_narrow(some, rng),
        "learner": learner(words.quick, some, rng),
        "0.1.0": before(some, rng),
        "claims_per_report": claims_per_report(max(some // 8, 20), rng),
        "what_decides": what_decides_holds(some, rng),
        "seconds": round(time.perf_counter() - begin),
        "cells": [",".join(names), *(",".join(str(row.get(n, "")) for n in names) for row in rows)],
    }
    print("\n".join(record["summary"]))
    print(write("truth_quick" if words.quick else "truth", record))


def vars_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in (*Cell.__dataclass_fields__, "trials")}


if __name__ == "__main__":
    main()
