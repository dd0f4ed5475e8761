"""What evaluators are given: frozen features of a part with what is known of each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.statistics.intervals import Interval, mean_interval

Floats: TypeAlias = NDArray[np.float64]
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Held:
    """Frozen features of one part with what is known of each row.

    Args:
        features: Features of the backbone (not of the projection head), ``(N, F)``.
        labels: Label of each row, ``(N,)``; None where unknown. Those rows are not probed.
        specimens: Unique specimen key of each row, ``(N,)``.
        files: File of each row, ``(N,)``, by which predictions of several runs are joined.
        groups: Group of each row, ``(N,)``, where the split keeps more than specimens together,
            such as sessions: the unit of intervals then. None where that is the specimen.

    Raises:
        ValueError: If lengths differ.
    """

    features: ArrayLike
    labels: Sequence[str | None]
    specimens: Sequence[str]
    files: Sequence[str]
    groups: Sequence[str] | None = None

    def __post_init__(self) -> None:
        matrix = np.asarray(self.features, np.float64)
        lengths = {len(matrix), len(self.labels), len(self.specimens), len(self.files)}
        lengths |= set() if self.groups is None else {len(self.groups)}
        if matrix.ndim != 2 or len(lengths) != 1:
            raise ValueError(
                f"features of shape {matrix.shape}, {len(self.labels)} labels, "
                f"{len(self.specimens)} specimens and {len(self.files)} files do not fit together."
            )
        object.__setattr__(self, "features", matrix)

    @classmethod
    def of(
        cls,
        features: ArrayLike,
        rows: NDArray[np.intp],
        labels: Sequence[str | None],
        specimens: Sequence[str],
        files: Sequence[str],
        groups: Sequence[str] | None = None,
    ) -> Held:
        """Return some rows' features with what is known of them, out of the lists of all rows."""
        return cls(
            features,
            [labels[row] for row in rows],
            [specimens[row] for row in rows],
            [files[row] for row in rows],
            None if groups is None else [groups[row] for row in rows],
        )

    @property
    def matrix(self) -> Floats:
        """The features in double precision, ``(N, F)``."""
        return np.asarray(self.features, np.float64)

    @property
    def has_views(self) -> bool:
        """Whether some specimen has two rows."""
        return len(set(self.specimens)) < len(self.specimens)

    def labelled(self) -> Labelled:
        """Return the rows whose label is known."""
        rows = [i for i, label in enumerate(self.labels) if label is not None]
        return Labelled(
            self.matrix[rows],
            np.asarray([str(self.labels[i]) for i in rows], dtype=np.str_),
            [self.specimens[i] for i in rows],
            [self.files[i] for i in rows],
            None if self.groups is None else [self.groups[i] for i in rows],
        )


@dataclass(frozen=True, eq=False)
class Labelled:
    """The rows of a part whose label is known, as in :class:`Held`."""

    features: Floats
    labels: NDArray[np.str_]
    specimens: list[str]
    files: list[str]
    groups: list[str] | None = None


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A held-out part, and what an evaluator may fit on.

    Args:
        part: What is scored.
        train: The training part; None where its labels are not those of the part, whose rows can
            then only name each other.
        k: Neighbours of probes that have some.
        seed: Seed of folds and clusters.
        fits: What was fitted on the training part so far, for all parts that are scored.
    """

    part: Held
    train: Held | None = None
    k: int = 5
    seed: int = 0
    fits: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def rows(self) -> Labelled:
        """The part's rows with a label."""
        return self.part.labelled()

    @cached_property
    def known(self) -> Labelled | None:
        """The training rows with a label; None where there is none."""
        rows = None if self.train is None else self.train.labelled()
        return rows if rows is not None and len(rows.labels) else None

    def averaged(self, values: ArrayLike, specimens: Sequence[str]) -> Interval:
        """Return the mean of scores ``(N,)``, NaN where there is none, with its 95% interval.

        The interval is over ``specimens`` ``(N,)``, the specimen of each row, or over their groups
        where the split keeps groups of specimens together.
        """
        units = specimens
        if self.part.groups is not None:
            group_of = dict(zip(self.part.specimens, self.part.groups, strict=True))
            units = [group_of[specimen] for specimen in specimens]
        return mean_interval(values, units)

    def fitted(self, name: str, fit: Callable[[], Made]) -> Made:
        """Return what an evaluator fits on the training part, made once for all parts."""
        if name not in self.fits:
            self.fits[name] = fit()
        made: Made = self.fits[name]
        return made


def normalised(features: ArrayLike) -> Floats:
    """Return rows, ``(..., F)``, at unit length in double precision; rows of zeros stay zeros."""
    values = np.asarray(features, np.float64)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0, lengths, 1.0))


def specimen_means(
    values: Floats, labels: Sequence[str | None], specimens: Sequence[str], *, what: str
) -> dict[str, Floats]:
    """Return the mean of each specimen's rows by label, ``(G, F)`` each, in order of name.

    Raises:
        ValueError: If lengths differ; ``what`` says of what.
    """
    if values.ndim != 2 or not len(values) == len(labels) == len(specimens):
        raise ValueError(
            f"{what} of shape {values.shape}, {len(labels)} labels and {len(specimens)} specimens "
            "do not fit together."
        )
    rows: dict[str, dict[str, list[int]]] = {}
    for row, (label, specimen) in enumerate(zip(labels, specimens, strict=True)):
        if label is not None:
            rows.setdefault(label, {}).setdefault(specimen, []).append(row)
    # Sorted, so that the order of rows cannot change the last digit of a sum.
    return {
        label: np.stack([values[own[name]].mean(0) for name in sorted(own)])
        for label, own in sorted(rows.items())
    }
