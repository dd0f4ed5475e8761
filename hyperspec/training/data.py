"""What a run works on: specimens, their split, training statistics, the chosen bands."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands import Learned, Strategy
from hyperspec.config.plain import to_plain
from hyperspec.config.schema import Train
from hyperspec.datasets.catalogue.confounding import chosen_confounders, examine
from hyperspec.datasets.catalogue.records import OWN_COLUMNS, Catalogue
from hyperspec.datasets.config import Data, FolderData, TilesData, scan_folder
from hyperspec.datasets.grouping import Grouping
from hyperspec.datasets.preparation.preparation import PrepareSettings, TileSettings
from hyperspec.datasets.splits import Split, grouped_split
from hyperspec.datasets.store.on_the_fly import DirectSource
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.datasets.store.source import SpecimenSource
from hyperspec.datasets.store.tiles import TileSource
from hyperspec.evaluation.embeddings import Held
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import ConfigError, SplitError

log = logging.getLogger(__name__)
# Columns of a catalogue's table that are no label: what a file is, and how large.
_NOT_LABELS = frozenset(OWN_COLUMNS) - {"view", "date"}


@dataclass(frozen=True)
class Material:
    """Specimens, their split, the training part's statistics, and the chosen bands.

    ``confounders`` are the columns that should not tell the label, a value for each row.
    """

    source: SpecimenSource
    split: Split
    statistics: SpectralStatistics
    selection: BandSelection
    confounders: dict[str, list[str | None]] = field(default_factory=dict)

    @cached_property
    def labels(self) -> list[str | None]:
        """Label of each row; None where unknown."""
        return column(self.source, "label")

    @cached_property
    def specimens(self) -> list[str]:
        """Key of the specimen of each row."""
        return [str(key) for key in self.source.table["specimen"]]

    @cached_property
    def views(self) -> list[str | None]:
        """View of each row, such as D and V; None where unknown."""
        return column(self.source, "view")

    @cached_property
    def files(self) -> list[str]:
        """File of each row."""
        return [str(name) for name in self.source.table["file"]]

    @cached_property
    def classes(self) -> list[str]:
        """The labels that occur outside of what is held out, sorted: those that probes name."""
        rows = np.concatenate(list(self.split.parts().values()))
        return sorted({label for row in rows if (label := self.labels[row]) is not None})


def column(source: SpecimenSource, name: str) -> list[str | None]:
    """Return a text column of a source's table, None where a value is missing."""
    values = source.table[name]
    return [None if gone else str(v) for v, gone in zip(values, values.isna(), strict=True)]


def held_rows(
    material: Material,
    features: NDArray[np.floating],
    rows: NDArray[np.intp],
    labels: Sequence[str | None] | None = None,
) -> Held:
    """Return features of some rows, ``(N, F)``, with what is known of these.

    ``labels`` are those of all rows; by default the material's own.
    """
    own = material.labels if labels is None else labels
    known = (material.specimens, material.files, material.split.groups)
    return Held.of(features, rows, own, *known)


def label_columns(source: SpecimenSource) -> dict[str, list[str | None]]:
    """Return what a source's table says of the animals and their scans, a value for each row."""
    names = [str(name) for name in source.table.columns if name not in _NOT_LABELS]
    return {name: column(source, name) for name in names}


def gather(data: Data, strategy: Strategy, *, absent_ok: bool = False) -> Material:
    """Read what the config names, split it, and choose the bands.

    ``absent_ok`` passes over labels to hold out that the folder does not have.

    Raises:
        HyperspecError: If cubes, labels, split or bands do not fit; the message says where.
    """
    source = open_source(data)
    split = split_source(source, data, absent_ok=absent_ok)
    labels, columns = column(source, "label"), label_columns(source)
    # From the training part alone: a test proves that held-out cubes change none of it.
    statistics = source.statistics(split.train.tolist(), [labels[row] for row in split.train])
    if isinstance(strategy, Learned):
        selection = strategy.candidates(source.axis)  # all of them, until training has chosen
    else:
        selection = strategy.select(source.axis, statistics)
    confounders = chosen_confounders(columns, labels, data.confounders)
    return Material(source, split, statistics, selection, confounders)


def split_source(source: SpecimenSource, data: Data, *, absent_ok: bool = False) -> Split:
    """Deal the rows of a source into parts, as its config says.

    Raises:
        HyperspecError: If labels or specimens do not allow it.
    """
    labels, columns = column(source, "label"), label_columns(source)
    specimens = [str(key) for key in source.table["specimen"]]
    group = data.split.group
    try:
        return grouped_split(
            labels,
            specimens,
            fractions=data.split.fractions,
            seed=data.split.seed,
            keys=[str(name) for name in source.table["file"]],
            hold_out=data.split.hold_out,
            absent_ok=absent_ok,
            rotation=data.split.turn,
            columns=columns,
            grouping=None if group is None else Grouping.of(group, specimens, columns),
        )
    except SplitError as error:
        if data.label_map is None:
            raise
        raise SplitError(f"{error} {_of_blocks(labels, specimens)}") from error


def scorable(source: SpecimenSource, split: Split) -> dict[str, bool]:
    """Say what the validation part can be scored by, as ``resolve_objective`` asks it."""
    rows = source.table.iloc[split.validation]
    specimens = [str(key) for key in rows["specimen"]]
    seen = zip(specimens, rows["view"], rows["view"].isna(), strict=True)
    named = {(specimen, str(view)) for specimen, view, gone in seen if not gone}
    return {
        "labels_available": bool(rows["label"].notna().any()),
        # Named views only: overlapping tiles of a scene share pixels, and finding those again
        # would say nothing about the encoder.
        "views_available": len({specimen for specimen, _ in named}) < len(named),
        "images_available": 1 < len(set(specimens)) < len(specimens),
    }


def _of_blocks(labels: Sequence[str | None], blocks: Sequence[str]) -> str:
    """Say how many blocks of a scene hold each class, and what helps where these are too few."""
    held = Counter(label for label, _ in set(zip(labels, blocks, strict=True)) if label is not None)
    fewest = ", ".join(
        f"{label}: {n}" for label, n in sorted(held.items(), key=lambda x: x[1])[:12]
    )
    return (
        "Of a scene the specimens are blocks of about two tiles a side. The classes with the "
        f"fewest blocks: {fewest or 'none, no tile has a label (data.labels.share)'}. Make no "
        "label of rare ones (data.labels.unlabelled=[0,...]), take smaller tiles (data.tile), or "
        "let whole blocks be dealt until every class is in every part (data.split.group=block)."
    )


def open_source(data: Data, *, quiet: bool = False) -> SpecimenSource:
    """Scan the folder and open its specimens: packed, read anew, or cut from a scene.

    ``quiet`` does not say again what there is to say of them.
    """
    catalogue = scan_folder(data)
    for problem in () if quiet else catalogue.problems:
        log.log(logging.INFO if problem.severity == "note" else logging.WARNING, "%s", problem)
    catalogue.raise_errors()
    if not quiet and isinstance(data, FolderData):
        for problem in examine(catalogue, data.confounders, data.split.group)[1]:
            log.warning("%s", problem)
    source = _prepared(data, catalogue)
    for line in () if quiet else source.calibration:
        log.info("calibration: %s", line)
    return source


def _prepared(data: Data, catalogue: Catalogue) -> Store | DirectSource | TileSource:
    if isinstance(data, TilesData):
        return TileSource(catalogue, TileSettings.of(data), data.label_map)
    if not isinstance(data, FolderData):
        raise ConfigError(f"data is {type(data).__name__}; choose data=folder or data=tiles.")
    settings = PrepareSettings.of(data)
    if data.store == "none":
        return DirectSource(catalogue, settings)
    if data.store != "auto":
        raise ConfigError(f"data.store is '{data.store}'; choose auto or none.")
    return pack(catalogue, settings, data.cache_dir, verify=data.verify)


def facts_of(config: Train, material: Material) -> dict[str, Any]:
    """Return what a checkpoint carries besides weights, as plain values."""
    return {
        "bands": material.selection.to_dict(),
        "config": to_plain(config),
        "data_hash": material.source.hash,
        "split_hash": material.split.hash,
    }
