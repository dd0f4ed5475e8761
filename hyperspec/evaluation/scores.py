"""The one path from features to scores, under the names that every report uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperspec.evaluation.embeddings import Embeddings, Held, Labelled
from hyperspec.evaluation.evaluators import Scores, chosen
from hyperspec.evaluation.metrics import CLASSIFIERS, METRICS
from hyperspec.evaluation.statistics.bootstrap import Interval

PREFIXES: Mapping[str, str] = {"validation": "val/", "test": "test/"}
Predictions: TypeAlias = dict[str, NDArray[np.str_]]


@dataclass(frozen=True)
class Measure:
    """One number about a part's features.

    Args:
        name: Of the metric, a key of :data:`hyperspec.evaluation.metrics.METRICS`.
        value: The number.
        low: Lower end of its 95% interval over specimens; NaN where there is none. Measures of the
            whole cloud (NMI, ARI, uniformity, RankMe, balanced accuracies) have none: a resample
            repeats rows, which moves them by itself.
        high: Upper end.
    """

    name: str
    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Scores by metric name, and what was said of each held-out row.

    Args:
        metrics: ``val/...`` and ``test/...`` (or ``control_val/...`` and ``control/...``) with
            ``_low`` and ``_high`` ends of 95% intervals over specimens.
        predictions: By part (``validation``, ``test``) a table of file, specimen, label, and for
            each probe the predicted label and 0 or 1; empty without labels.
    """

    metrics: dict[str, float]
    predictions: dict[str, pd.DataFrame] = field(default_factory=dict)


def measure(embeddings: Embeddings, evaluators: Sequence[str]) -> tuple[list[Measure], Predictions]:
    """Run evaluators on one part.

    Args:
        embeddings: The part, and what they may fit on.
        evaluators: Their names; those that need labels are passed over without any.

    Returns:
        The measures in the order of reports, and by evaluator the predicted label of each labelled
        row.

    Raises:
        ConfigError: If there is no such evaluator, k does not fit the rows, or the training part
            has one label only.
        ValueError: If features are not finite.
    """
    found: list[Measure] = []
    predictions: Predictions = {}
    for one in chosen(evaluators):
        if one.needs_labels and not len(embeddings.rows.labels):
            continue
        result = one.run(embeddings)
        scores = result if isinstance(result, Scores) else Scores(result)
        found += [_measure(name, value) for name, value in scores.values.items()]
        if scores.predictions is not None:
            predictions[one.name] = scores.predictions
    places = {name: place for place, name in enumerate(METRICS)}
    return sorted(found, key=lambda one: places.get(one.name, len(places))), predictions


def as_metrics(measures: Sequence[Measure], prefix: str) -> dict[str, float]:
    """Return measures by metric name, with ``_low`` and ``_high`` where there is an interval."""
    found = {}
    for one in measures:
        found[f"{prefix}{one.name}"] = one.value
        if np.isfinite(one.low):
            found |= {f"{prefix}{one.name}_low": one.low, f"{prefix}{one.name}_high": one.high}
    return found


def evaluate_features(
    parts: Mapping[str, Held],
    evaluators: Sequence[str],
    *,
    k: int = 5,
    seed: int = 0,
    num_resamples: int = 2000,
    prefixes: Mapping[str, str] = PREFIXES,
) -> EvaluationResult:
    """Fit probes on the training part and score the held-out parts.

    Args:
        parts: ``train`` and one or both of ``validation`` and ``test``.
        evaluators: Names of what scores them.
        k: Neighbours of the k-NN probe.
        seed: Seed of folds, clusters and resampling.
        num_resamples: Bootstrap resamples.
        prefixes: What stands before the metrics of each part that is scored; by default ``val/``
            and ``test/``.

    Raises:
        ConfigError: If k does not fit the training part, or it has one label only.
        ValueError: If features are not finite.
    """
    metrics: dict[str, float] = {}
    predictions = {}
    train, fits = parts["train"], dict[str, object]()
    for name in prefixes.keys() & parts.keys():
        embeddings = Embeddings(parts[name], train, k, seed, num_resamples, fits)
        found, said = measure(embeddings, evaluators)
        metrics |= as_metrics(found, prefixes[name])
        if said:
            predictions[name] = prediction_table(embeddings.rows, said)
    return EvaluationResult(dict(sorted(metrics.items())), predictions)


def control_table(controls: Mapping[str, EvaluationResult]) -> pd.DataFrame | None:
    """Return what each control said of each row of the test part, side by side.

    Args:
        controls: By name of the control its scores, all on the same test part.

    Returns:
        Columns file, specimen, label, and for each control and probe ``<control>_<probe>`` and
        ``<control>_<probe>_correct``, or ``<control>`` and ``<control>_correct`` of a classifier:
        see :func:`hyperspec.evaluation.metrics.control_column`. None without labels.

    Raises:
        ValueError: If the controls were scored on different rows.
    """
    known = ["file", "specimen", "label"]
    found = {
        name: result.predictions["test"]
        for name, result in controls.items()
        if "test" in result.predictions
    }
    if not found:
        return None
    first = next(iter(found.values()))
    parts = [first[known]]
    for name, table in found.items():
        if table["file"].tolist() != first["file"].tolist():
            raise ValueError(f"The control {name} was scored on other rows than the one before it.")
        said = table.drop(columns=known)
        parts.append(said if name in CLASSIFIERS else said.add_prefix(f"{name}_"))
    return pd.concat(parts, axis=1)


def _measure(name: str, value: float | Interval) -> Measure:
    if isinstance(value, Interval):
        return Measure(name, value.mean, value.low, value.high)
    return Measure(name, float(value))


def prediction_table(rows: Labelled, said: Predictions) -> pd.DataFrame:
    """Return file, specimen and label of each row, what each probe said, and 0 or 1."""
    known = {"file": rows.files, "specimen": rows.specimens, "label": rows.labels}
    correct = {f"{name}_correct": (one == rows.labels).astype(int) for name, one in said.items()}
    return pd.DataFrame({**known, **said, **correct})
