"""A restored encoder's embeddings of a folder, and everything that is measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hyperspec.datasets.splits import HELD_OUT, named_rows
from hyperspec.evaluation.embeddings import Embeddings, Held
from hyperspec.evaluation.evaluators import BUILT_IN, chosen
from hyperspec.evaluation.metrics import metric_of
from hyperspec.evaluation.scores import Measure, measure
from hyperspec.inference.restore import Restored
from hyperspec.training.data import column, held_rows, label_columns
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress

_TECHNICAL = {"num_bands", "num_lines", "num_samples", "num_bytes", "axis_hash", "checksum"}


@dataclass(frozen=True, eq=False)
class Embedded:
    """All rows of a folder as one encoder sees them.

    Args:
        restored: Encoder, specimens and split.
        hold_out: Genera (first word of the label), whole labels or ``column=value`` that no probe
            is fitted on and no part is scored with; they are a part of their own, ``held_out``.
            Without any, what the training held out (``data.split.hold_out``) and the folder has is
            that part.
    """

    restored: Restored
    hold_out: tuple[str, ...] = ()

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """Backbone features of every row, ``(N, F)``."""
        rows = torch.arange(len(self.restored.material.source))
        with progress("Embedding images", len(rows)) as advance:
            found = self.restored.embedder.embed(rows, done=advance)
        return np.asarray(found.numpy(), np.float64)

    @cached_property
    def _out(self) -> NDArray[np.bool_]:
        """Rows of the specimens that ``hold_out`` names, ``(N,)``."""
        material = self.restored.material
        columns = label_columns(material.source)
        meant = np.zeros(len(material.labels), dtype=bool)
        for name in self.hold_out:
            meant |= named_rows(name, material.labels, columns, key="--hold-out")
        specimens = np.asarray(material.specimens)
        return np.isin(specimens, specimens[meant])

    @cached_property
    def parts(self) -> dict[str, NDArray[np.intp]]:
        """Rows of train, validation and test without what is held out, and of ``held_out``.

        Raises:
            SplitError: If a held-out name means no row.
            ConfigError: If nothing else is left.
        """
        material = self.restored.material
        out = self._out
        found = {part: rows[~out[rows]] for part, rows in material.split.parts().items()}
        if not all(rows.size for rows in found.values()):
            raise ConfigError(
                f"--hold-out {','.join(self.hold_out)} leaves nothing to fit probes on or to score."
            )
        held_out = np.flatnonzero(out) if self.hold_out else material.split.held_out
        if held_out.size:
            found[HELD_OUT] = held_out
        return found

    @property
    def held_out_names(self) -> tuple[str, ...]:
        """What the part ``held_out`` is made of; empty where there is none."""
        if HELD_OUT not in self.parts:
            return ()
        return self.hold_out or tuple(self.restored.config.data.split.hold_out)

    @property
    def unseen_by_config(self) -> bool:
        """Whether the run's config held out all that is held out here."""
        kept = self.restored.material.split.held_out
        return bool(np.isin(self.parts[HELD_OUT], kept).all())

    @property
    def seen_in_training(self) -> bool:
        """Whether the encoder was trained on specimens of what is held out."""
        rows = self.restored.material.split.train
        return self.restored.same_data and bool(self._out[rows].any())

    @property
    def label_columns(self) -> list[str]:
        """Columns of the table that can serve as labels."""
        usual = {"file", "specimen", *_TECHNICAL}
        return [str(c) for c in self.restored.material.source.table.columns if c not in usual]

    def labels(self, name: str) -> list[str | None]:
        """Return a label column, None where it is missing.

        Raises:
            ConfigError: If there is no such column; the message lists those there are.
        """
        if name not in self.label_columns:
            raise ConfigError(
                f"--labels-column names '{name}', which the folder's labels do not have. There "
                f"are: {', '.join(self.label_columns)}."
            )
        return column(self.restored.material.source, name)

    def held(self, part: str, name: str = "label") -> Held:
        """Return a part's features with one column as labels."""
        rows = self.parts[part]
        return held_rows(self.restored.material, self.features[rows], rows, self.labels(name))

    def table(self, features: NDArray[np.floating] | None = None) -> pd.DataFrame:
        """Return one row per image: file, specimen, label columns, part and embedding.

        Args:
            features: Embedding of every row, ``(N, F)``; by default :attr:`features`.
        """
        source = self.restored.material.source
        kept = [c for c in source.table.columns if c not in _TECHNICAL]
        table = source.table[kept].copy()
        part_of = np.full(len(table), "none", dtype=object)
        for name, rows in self.parts.items():
            part_of[rows] = name
        table["part"] = part_of
        embedding = self.features if features is None else features
        table["embedding"] = list(embedding.astype(np.float32))
        return table


@dataclass(frozen=True, eq=False)
class Assessment:
    """Measures of one part, and what the probes said.

    Args:
        part: ``validation``, ``test`` or ``held_out``.
        shape: Measures that need no labels.
        by_column: Measures of each label column.
        predictions: Of each label column: file, specimen, label, and each probe's answer.
    """

    part: str
    shape: list[Measure]
    by_column: dict[str, list[Measure]]
    predictions: dict[str, pd.DataFrame]


def assess(
    embedded: Embedded,
    part: str,
    columns: Sequence[str],
    *,
    k: int = 5,
    seed: int = 0,
) -> Assessment:
    """Measure one part by each label column, by all built-in evaluators and those of the config.

    Args:
        embedded: The encoder's view of the folder.
        part: ``validation``, ``test`` or ``held_out``.
        columns: Label columns; those without a label in the part are passed over.
        k: Neighbours of the k-NN probe.
        seed: Seed of folds and clusters.

    Raises:
        ConfigError: If a column does not exist or k does not fit.
    """
    names = list(dict.fromkeys([*BUILT_IN, *embedded.restored.config.evaluation.evaluators]))
    labelled = [one.name for one in chosen(names) if one.needs_labels]
    by_column, predictions = {}, {}
    for name in columns:
        held = embedded.held(part, name)
        rows = held.labelled()
        if not len(rows.labels):
            continue
        # What is held out has labels that the training part lacks: its rows name each other.
        train = None if part == HELD_OUT else embedded.held("train", name)
        given = Embeddings(held, train, k, seed)
        found, said = measure(given, labelled)
        by_column[name] = [one for one in found if metric_of(one.name).range]
        frame = {"file": rows.files, "specimen": rows.specimens, "label": rows.labels.tolist()}
        predictions[name] = pd.DataFrame({**frame, **said})
    given = Embeddings(embedded.held(part), seed=seed)
    shape, _ = measure(given, [name for name in names if name not in labelled])
    return Assessment(part, shape, by_column, predictions)
