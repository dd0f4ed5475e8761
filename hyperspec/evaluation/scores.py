"""Scores of frozen features on held-out specimens, under the names that every report uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.embedding_geometry import rankme
from hyperspec.evaluation.probes import ProbeResult, fit_linear_probe, knn_probe
from hyperspec.evaluation.retrieval import view_retrieval_top1
from hyperspec.evaluation.statistics.bootstrap import bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd

# How the parts of a split are called in metric names.
PREFIXES = {"validation": "val", "test": "test"}


@dataclass(frozen=True, eq=False)
class Held:
    """Frozen features of one part with what is known of each row.

    Args:
        features: Features of the backbone (not of the projection head), ``(N, F)``.
        labels: Label of each row, ``(N,)``; None where unknown. Those rows are not probed.
        specimens: Unique specimen key of each row, ``(N,)``.
        files: File of each row, ``(N,)``, by which predictions of several runs are joined.

    Raises:
        ValueError: If lengths differ.
    """

    features: ArrayLike
    labels: Sequence[str | None]
    specimens: Sequence[str]
    files: Sequence[str]

    def __post_init__(self) -> None:
        matrix = np.asarray(self.features, np.float64)
        lengths = {len(matrix), len(self.labels), len(self.specimens), len(self.files)}
        if matrix.ndim != 2 or len(lengths) != 1:
            raise ValueError(
                f"features of shape {matrix.shape}, {len(self.labels)} labels, "
                f"{len(self.specimens)} specimens and {len(self.files)} files do not fit together."
            )
        object.__setattr__(self, "features", matrix)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The features in double precision, ``(N, F)``."""
        return np.asarray(self.features, np.float64)

    @property
    def has_views(self) -> bool:
        """Whether some specimen has two rows."""
        return len(set(self.specimens)) < len(self.specimens)

    def labelled(self) -> _Labelled:
        """Return the rows whose label is known."""
        rows = [i for i, label in enumerate(self.labels) if label is not None]
        return _Labelled(
            self.matrix[rows],
            np.asarray([str(self.labels[i]) for i in rows], dtype=np.str_),
            [self.specimens[i] for i in rows],
            [self.files[i] for i in rows],
        )


@dataclass(frozen=True, eq=False)
class _Labelled:
    features: NDArray[np.float64]
    labels: NDArray[np.str_]
    specimens: list[str]
    files: list[str]


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Scores by metric name, and what was said of each held-out row.

    Args:
        metrics: ``val/...`` and ``test/...`` (or ``control/...``) with ``_low`` and ``_high`` ends
            of 95% intervals over specimens.
        predictions: By part (``validation``, ``test``) a table of file, specimen, label, and for
            each probe the predicted label and 0 or 1; empty without labels.
    """

    metrics: dict[str, float]
    predictions: dict[str, pd.DataFrame] = field(default_factory=dict)


def evaluate_features(
    parts: Mapping[str, Held],
    *,
    k: int = 5,
    seed: int = 0,
    num_resamples: int = 2000,
    linear: bool = True,
) -> EvaluationResult:
    """Fit probes on the training part and score the held-out parts.

    With labels: ``<part>/knn_top1``, ``<part>/knn_balanced``, and the same for ``linear``. With or
    without: ``<part>/rankme`` and, where specimens have several views, ``view_retrieval_top1`` and
    ``view_retrieval_chance``. Top-1 scores have intervals.

    Args:
        parts: ``train`` and one or both of ``validation`` and ``test``.
        k: Neighbours of the k-NN probe.
        seed: Seed of the inner folds and of the resampling.
        num_resamples: Bootstrap resamples.
        linear: Whether to fit the linear probe too.

    Raises:
        ConfigError: If k does not fit the training part, or it has one label only.
        ValueError: If features are not finite.
    """
    metrics: dict[str, float] = {}
    for name in PREFIXES.keys() & parts.keys():
        metrics |= _label_free(PREFIXES[name], parts[name], num_resamples, seed)
    probed = _probe_parts(parts, k, seed, linear)
    predictions = {}
    for name, (rows, results) in probed.items():
        for probe, result in results.items():
            metrics |= _top1(f"{PREFIXES[name]}/{probe}", result, rows, num_resamples, seed)
        predictions[name] = _table(rows, results)
    return EvaluationResult(dict(sorted(metrics.items())), predictions)


def evaluate_control(
    name: str,
    parts: Mapping[str, Held],
    *,
    k: int = 5,
    seed: int = 0,
    num_resamples: int = 2000,
    linear: bool = True,
) -> EvaluationResult:
    """Score a control (``untrained``, ``mean_spectrum``) on the test part as encoders are scored.

    Args:
        name: Name of the control; metrics are ``control/<name>_knn_top1`` and so on.
        parts: ``train`` and ``test`` features of the control.
        k: Neighbours of the k-NN probe.
        seed: Seed of the inner folds and of the resampling.
        num_resamples: Bootstrap resamples.
        linear: Whether to fit the linear probe too.

    Raises:
        ConfigError: If k does not fit the training part, or it has one label only.
        ValueError: If features are not finite.
    """
    chosen = {part: parts[part] for part in ("train", "test")}
    metrics: dict[str, float] = {}
    predictions = {}
    for part, (rows, results) in _probe_parts(chosen, k, seed, linear).items():
        for probe, result in results.items():
            metrics |= _top1(f"control/{name}_{probe}", result, rows, num_resamples, seed)
        predictions[part] = _table(rows, results)
    return EvaluationResult(metrics, predictions)


def control_table(controls: Mapping[str, EvaluationResult]) -> pd.DataFrame | None:
    """Return what each control said of each row of the test part, side by side.

    Args:
        controls: By name of the control its scores, all on the same test part.

    Returns:
        Columns file, specimen, label, and for each control and probe ``<control>_<probe>`` and
        ``<control>_<probe>_correct``; None without labels.

    Raises:
        ValueError: If the controls were scored on different rows.
    """
    import pandas as pd

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
        parts.append(table.drop(columns=known).add_prefix(f"{name}_"))
    return pd.concat(parts, axis=1)


_Probed = dict[str, tuple[_Labelled, dict[str, ProbeResult]]]


def _probe_parts(parts: Mapping[str, Held], k: int, seed: int, linear: bool) -> _Probed:
    """Fit each probe once and score it on every held-out part that has labels."""
    train = parts["train"].labelled()
    held = {name: parts[name].labelled() for name in PREFIXES if name in parts}
    held = {name: rows for name, rows in held.items() if len(rows.labels)}
    if not len(train.labels) or not held:
        return {}
    model = None
    if linear:
        model = fit_linear_probe(train.features, train.labels, groups=train.specimens, seed=seed)
    found: _Probed = {}
    for name, rows in held.items():
        results = {"knn": knn_probe(train.features, train.labels, rows.features, rows.labels, k=k)}
        if model is not None:
            results["linear"] = model.score(rows.features, rows.labels)
        found[name] = (rows, results)
    return found


def _label_free(prefix: str, part: Held, num_resamples: int, seed: int) -> dict[str, float]:
    metrics = {f"{prefix}/rankme": rankme(part.matrix)}
    if part.has_views:
        found = view_retrieval_top1(part.matrix, part.specimens)
        metrics[f"{prefix}/view_retrieval_chance"] = found.chance
        metrics |= _with_ends(
            f"{prefix}/view_retrieval_top1", found.correct, part.specimens, num_resamples, seed
        )
    return metrics


def _top1(
    name: str, result: ProbeResult, rows: _Labelled, num_resamples: int, seed: int
) -> dict[str, float]:
    metrics = _with_ends(f"{name}_top1", result.correct, rows.specimens, num_resamples, seed)
    metrics[f"{name}_balanced"] = result.balanced
    if result.C is not None:
        metrics[f"{name}_C"] = result.C
    return metrics


def _with_ends(
    name: str, values: ArrayLike, specimens: Sequence[str], num_resamples: int, seed: int
) -> dict[str, float]:
    interval = bootstrap_interval(values, specimens, num_resamples=num_resamples, seed=seed)
    metrics = {name: interval.mean}
    if interval.method != "none":
        metrics |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return metrics


def _table(rows: _Labelled, results: Mapping[str, ProbeResult]) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, object] = {
        "file": rows.files,
        "specimen": rows.specimens,
        "label": rows.labels,
    }
    columns |= {probe: result.predictions for probe, result in results.items()}
    columns |= {f"{probe}_correct": result.correct.astype(int) for probe, result in results.items()}
    return pd.DataFrame(columns)
