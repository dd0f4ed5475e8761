"""The table of evaluators, and what one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hyperspec.evaluation.embeddings import Embeddings
from hyperspec.evaluation.metrics import METRICS, Metric
from hyperspec.evaluation.statistics.bootstrap import Interval
from hyperspec.utils.errors import ConfigError

Values: TypeAlias = Mapping[str, float | Interval]


@dataclass(frozen=True, eq=False)
class Scores:
    """What an evaluator found, where numbers are not all.

    Args:
        values: By metric a number, or a mean with its interval.
        predictions: Label that it gives to each labelled row of the part, ``(N,)``.
    """

    values: Values
    predictions: NDArray[np.str_] | None = None


Run: TypeAlias = Callable[[Embeddings], Values | Scores]


@dataclass(frozen=True)
class Evaluator:
    """One row of the table.

    Args:
        name: What ``evaluation.evaluators`` calls it.
        run: Scores a part. It leaves out what the part cannot be scored by.
        needs_labels: Whether it is run on parts with labels only.
        on_controls: Whether the untrained encoder and the mean spectrum are scored by it too.
        at_end_only: Whether it takes too long to be run while training.
    """

    name: str
    run: Run
    needs_labels: bool = False
    on_controls: bool = False
    at_end_only: bool = False


EVALUATORS: dict[str, Evaluator] = {}


def register_evaluator(
    name: str,
    *,
    metrics: Sequence[Metric] = (),
    needs_labels: bool = False,
    on_controls: bool = False,
    at_end_only: bool = False,
) -> Callable[[Run], Run]:
    """Add a function to the table of evaluators, and its metrics to theirs.

    Args:
        name: What ``evaluation.evaluators`` calls it.
        metrics: Rows of what it measures; the built-in ones stand in the table already.
        needs_labels: As in :class:`Evaluator`.
        on_controls: As in :class:`Evaluator`.
        at_end_only: As in :class:`Evaluator`.

    Raises:
        ConfigError: If another evaluator has that name, or another one's metric.
    """

    def register(run: Run) -> Run:
        taken = EVALUATORS.get(name)
        if taken is not None and _place(taken.run) != _place(run):
            raise ConfigError(
                f"There is an evaluator '{name}' already ({_place(taken.run)}); give "
                f"{_place(run)} another name."
            )
        for row in metrics:
            other = METRICS.get(row.name)
            if other is not None and other.evaluator != name:
                raise ConfigError(
                    f"The evaluator '{name}' brings the metric '{row.name}', which "
                    f"{other.evaluator or 'training'} measures already; give it another name."
                )
            if row.evaluator != name:
                raise ConfigError(
                    f"The row of '{row.name}' names the evaluator '{row.evaluator}'; it is "
                    f"brought by '{name}'."
                )
        METRICS.update({row.name: row for row in metrics})
        EVALUATORS[name] = Evaluator(name, run, needs_labels, on_controls, at_end_only)
        return run

    return register


def chosen(names: Sequence[str]) -> list[Evaluator]:
    """Return evaluators by name, each once.

    Raises:
        ConfigError: If there is none of that name.
    """
    for name in names:
        if name not in EVALUATORS:
            raise ConfigError(
                f"evaluation.evaluators names '{name}'; there are {', '.join(EVALUATORS)}. One of "
                "a module of yours exists once that module is imported."
            )
    return [EVALUATORS[name] for name in dict.fromkeys(names)]


def _place(run: Run) -> str:
    return f"{run.__module__}.{getattr(run, '__qualname__', run)}"
