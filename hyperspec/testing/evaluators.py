"""What every evaluator promises, as a check that one from elsewhere can be put to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hyperspec.evaluation.embeddings import Embeddings, Held
from hyperspec.evaluation.evaluators import EVALUATORS, Scores
from hyperspec.evaluation.metrics import METRICS
from hyperspec.evaluation.statistics.intervals import Interval
from hyperspec.testing.demand import demand
from hyperspec.utils.errors import HyperspecError

_RANGE = re.compile(r"(-?[\d.]+) to (-?[\d.]+)")
_CLASSES, _WIDTH = 4, 6
_SLACK = 1e-6  # rounding at the ends of a range, and of a rotation


def check_evaluator(name: str, *, rotation: bool = True, order: bool = True) -> None:
    """Check a registered evaluator on made features of two rows per specimen.

    Every value has a row in the table of metrics that names the evaluator, is finite and within
    that row's range; the same each time; the same for features that are rotated and rows in another
    order; nothing that it was given is changed. A part that is too small to be scored is left out
    or refused with an error of the package.

    Args:
        name: Of the evaluator, as ``evaluation.evaluators`` has it.
        rotation: Whether rotating all features changes nothing.
        order: Whether the order of rows changes nothing.

    Raises:
        AssertionError: If a promise is broken; the message says which.
    """
    part, train = _held(1, 24), _held(2, 48)
    before = [held.matrix.tobytes() for held in (part, train)]
    known = _checked(name, part, train)
    demand(bool(known), f"the evaluator '{name}' scores a part of 24 rows with labels and views")
    _same(_checked(name, part, train), known, f"'{name}' gives the same values each time")
    kept = [held.matrix.tobytes() for held in (part, train)] == before
    demand(kept, f"the evaluator '{name}' changes no features")
    if rotation:
        turn = np.linalg.qr(np.random.default_rng(3).normal(size=(_WIDTH, _WIDTH)))[0]
        turned = [replace(held, features=held.matrix @ turn) for held in (part, train)]
        _same(_checked(name, *turned), known, f"'{name}' is the same for rotated features")
    if order:
        mixed = _taken(part, np.arange(24)[::-1])
        _same(_checked(name, mixed, train), known, f"'{name}' is the same for any order of rows")
    for few in (1, 2, 3):
        _small(name, _taken(part, np.arange(few)), train)
        _small(name, part, _taken(train, np.arange(few)))
    _small(name, part, None)


def _checked(name: str, part: Held, train: Held | None) -> dict[str, float]:
    """Return the values of an evaluator, each held against its row."""
    found = EVALUATORS[name].run(Embeddings(part, train))
    values = found.values if isinstance(found, Scores) else found
    said = {}
    for metric, value in values.items():
        row = METRICS.get(metric)
        demand(
            row is not None and row.evaluator == name,
            f"the evaluator '{name}' has a row for what it measures; there is none of '{metric}'",
        )
        number = value.mean if isinstance(value, Interval) else float(value)
        demand(bool(np.isfinite(number)), f"'{metric}' is finite; it is {number}")
        ends = _RANGE.match(row.range) if row is not None else None
        if ends is not None:
            low, high = float(ends[1]), float(ends[2])
            inside = low - _SLACK <= number <= high + _SLACK
            demand(inside, f"'{metric}' lies within {ends[0]}; it is {number:g}")
        said[metric] = number
    if isinstance(found, Scores) and found.predictions is not None:
        fits = len(found.predictions) == sum(label is not None for label in part.labels)
        demand(fits, f"the evaluator '{name}' predicts each labelled row")
    return said


def _same(found: Mapping[str, float], known: Mapping[str, float], promise: str) -> None:
    alike = found.keys() == known.keys()
    alike = alike and all(abs(found[key] - known[key]) <= _SLACK * 10 for key in known)
    demand(alike, f"the evaluator {promise}: {dict(known)}, then {dict(found)}")


def _small(name: str, part: Held, train: Held | None) -> None:
    try:
        _checked(name, part, train)
    except HyperspecError:
        return
    except (ValueError, IndexError, ZeroDivisionError, KeyError) as error:
        raise AssertionError(
            f"the evaluator '{name}' leaves out or refuses a part of {len(part.files)} rows; it "
            f"raised {type(error).__name__}: {error}"
        ) from error


def _held(seed: int, num_rows: int) -> Held:
    """Return features that tell the classes apart, though not of every row."""
    random = np.random.default_rng(seed)
    labels = [i // 2 % _CLASSES for i in range(num_rows)]
    centres = 1.5 * np.eye(_CLASSES, _WIDTH)
    features = centres[labels] + random.normal(size=(num_rows, _WIDTH))
    specimens = [f"{seed}/{i // 2}" for i in range(num_rows)]
    return Held(features, ["abcd"[i] for i in labels], specimens, [f"{i}" for i in range(num_rows)])


def _taken(held: Held, rows: NDArray[np.intp]) -> Held:
    def of(values: Sequence[str | None]) -> list[str | None]:
        return [values[i] for i in rows]

    specimens, files = ([str(one) for one in of(v)] for v in (held.specimens, held.files))
    return Held(held.matrix[rows], of(held.labels), specimens, files)
