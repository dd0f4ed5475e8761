"""What a probe said of each row, and how right it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = Sequence[str] | NDArray[np.str_]


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
