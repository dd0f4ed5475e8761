"""The table of evaluators, what one is, and what probes have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.embeddings import Embeddings, Floats
from hyperspec.evaluation.metrics import METRICS, Metric
from hyperspec.evaluation.statistics.intervals import Interval
from hyperspec.utils.errors import ConfigError

_NUM_FOLDS = 4
Labels: TypeAlias = Sequence[str] | NDArray[np.str_]
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
        on_controls: Whether the controls' features are scored by it too.
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

    The arguments are those of :class:`Evaluator`, and the rows of what it measures, without its
    name; the built-in ones stand in the table already.

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
        METRICS.update({row.name: replace(row, evaluator=name) for row in metrics})
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


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """What a probe said of each scored row.

    Args:
        predictions: Predicted label of each row, ``(N,)``.
        correct: Whether it is the true one, ``(N,)``.
        balanced: Mean recall over the labels that occur among the scored rows, 0 to 1.
        C: Inverse regularisation strength of the linear probe; None for k-NN.
        converged: False when the linear probe's optimiser stopped at its iteration limit.
    """

    predictions: NDArray[np.str_]
    correct: NDArray[np.bool_]
    balanced: float
    C: float | None = None
    converged: bool = True

    @property
    def top1(self) -> float:
        """Share of rows that were named rightly, 0 to 1."""
        return float(self.correct.mean())


def balanced_accuracy(truth: Labels, predictions: Labels) -> float:
    """Return the mean recall over the labels that occur, 0 to 1."""
    names, codes = np.unique(np.asarray(truth), return_inverse=True)
    hits = np.asarray(truth) == np.asarray(predictions)
    return float(np.mean(np.bincount(codes, hits) / np.bincount(codes, minlength=len(names))))


def check_features(values: ArrayLike, labels: Labels) -> Floats:
    """Return features in double precision.

    Raises:
        ValueError: If they do not fit the labels, or are not finite.
    """
    features = np.asarray(values, np.float64)
    if features.ndim != 2 or len(features) != len(labels) or not features.size:
        raise ValueError(f"Features of shape {features.shape} do not fit {len(labels)} labels.")
    if not np.isfinite(features).all():
        wrong = int(np.flatnonzero(~np.isfinite(features).all(1))[0])
        raise ValueError(f"Features of row {wrong} are not finite; the encoder has diverged.")
    return features


def judge(
    predictions: NDArray[np.str_], truth: Labels, strength: float | None = None, ok: bool = True
) -> ProbeResult:
    """Compare predicted labels with the true ones."""
    correct = np.asarray(predictions == np.asarray(truth))
    return ProbeResult(predictions, correct, balanced_accuracy(truth, predictions), strength, ok)


def specimen_folds(
    codes: NDArray[np.intp], groups: Sequence[str], seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return folds of training rows to choose a setting by: rows to fit on, rows to score.

    Rows of one specimen are in one fold; folds are stratified by label, at most four.

    Args:
        codes: Label of each row as a number, ``(M,)``.
        groups: Specimen of each row, ``(M,)``.
        seed: Seed of the folds.

    Returns:
        Row numbers; empty where a label has a single specimen, so that nothing can be held out.
    """
    return list(_folds(tuple(codes.tolist()), tuple(groups), seed))


@lru_cache(maxsize=8)  # all probes of a run, and all runs of a split, ask for the same
def _folds(
    codes: tuple[int, ...], groups: tuple[str, ...], seed: int
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]:
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = int(np.bincount([code for code, _ in set(zip(codes, groups, strict=True))]).min())
    if fewest < 2:
        return ()
    folds = StratifiedGroupKFold(min(_NUM_FOLDS, fewest), shuffle=True, random_state=seed)
    return tuple(folds.split(codes, codes, groups))
