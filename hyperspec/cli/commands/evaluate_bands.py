"""``hyperspec evaluate --bands``: encoders on band sets that they were not trained on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hyperspec.cli.commands.data_words import restored_from
from hyperspec.cli.commands.options import words_of
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from hyperspec.bands import Strategy
    from hyperspec.inference.restore import Restored
    from hyperspec.spectra.selection import BandSelection


def run_matrix(words: argparse.Namespace) -> int:
    """Evaluate every encoder on its own bands and on each set, print and write the matrix."""
    from rich.console import Console
    from rich.table import Table

    from hyperspec.evaluation.cross_band import cross_table, write_cross

    strategies = parse_sets(words.bands)
    scores: dict[tuple[str, str], np.ndarray] = {}
    for path in words.checkpoints:
        restored = restored_from(words, path)
        if restored.embedder.reduction is not None:
            raise ConfigError(
                f"'{path}' was trained with bands={restored.trained.strategy}, whose channels are "
                "sums of bands; --bands compares encoders of single bands."
            )
        own = f"{restored.trained.strategy}:{len(restored.trained)}"
        name = own if own not in {encoder for encoder, _ in scores} else f"{own} ({path})"
        for label, strategy in strategies.items():
            there = restored.material
            selection = strategy.select(there.source.axis, there.statistics)
            if restored.material.selection.indices == selection.indices:
                scores[name, label] = knn_correct(restored, words)
                continue
            scores[name, label] = knn_correct(on_bands(restored, selection), words)
        specimens = [there.specimens[row] for row in there.split.parts()[words.part]]
    table = cross_table(scores, specimens, num_resamples=words.resamples, seed=words.seed)
    shown = Table(box=None, pad_edge=False)
    for title in ("trained on", "evaluated on", f"{words.part} k-NN top-1", "95% interval"):
        shown.add_column(title, no_wrap=True)
    for row in table:
        shown.add_row(
            row.encoder, row.bands, f"{row.value:.3f}", f"[{row.low:.3f}, {row.high:.3f}]"
        )
    Console().print(shown, highlight=False, markup=False)
    for path in write_cross(table, words.out, f"{words.part} k-NN top-1, 95% intervals"):
        print(f"wrote {path}")
    return 0


def parse_sets(text: str) -> dict[str, Strategy]:
    """Return strategies by their words, such as ``uniform:10``; ``rgb`` and ``full`` have no n.

    Raises:
        ConfigError: If a word names no strategy.
    """
    from hyperspec.cli.commands.bands import build_strategies

    found = {}
    for word in words_of(text, "--bands"):
        name, _, count = word.partition(":")
        made = build_strategies(name, count or "1", [], None, option="--bands")
        if bool(count) != hasattr(made[0], "n"):
            raise ConfigError(
                f"--bands holds '{word}'; give NAME:N for strategies with a number of bands and "
                "NAME for the others, such as uniform:10,rgb."
            )
        found[word] = made[0]
    return found


def on_bands(restored: Restored, selection: BandSelection) -> Restored:
    """Return an encoder on other bands; see :func:`hyperspec.inference.band_curve.on_bands`.

    Raises:
        ConfigError: If the encoder's stem is tied to its own bands.
    """
    from hyperspec.inference.band_curve import on_bands as embedder_on_bands
    from hyperspec.models.stems.wavelength import WavelengthProjection
    from hyperspec.transforms.config import CrossModalViews

    embedder, config = restored.embedder, restored.config
    if isinstance(config.views, CrossModalViews):
        raise ConfigError(
            "The encoder was trained with views=cross_modal: it belongs to its windows' bands and "
            f"cannot take bands={selection.strategy} with {len(selection)}. Leave --bands out."
        )
    if not isinstance(embedder.encoder.projection, WavelengthProjection):
        raise ConfigError(
            f"The encoder was trained with model.stem={config.model.stem}, whose weights belong to "
            f"its own {len(restored.trained)} bands; it cannot take bands={selection.strategy} "
            f"with {len(selection)}. Train with model.stem=wavelength, or evaluate each encoder "
            "on its own bands."
        )
    moved = embedder_on_bands(embedder, config.data.normalisation, restored.material, selection)
    there = replace(restored.material, selection=selection)
    return replace(restored, embedder=moved, material=there)


def knn_correct(restored: Restored, words: argparse.Namespace) -> np.ndarray:
    """Return for each labelled row of the part whether k-NN names it rightly, NaN without label."""
    import numpy as np

    from hyperspec.evaluation.evaluators.knn import knn_probe
    from hyperspec.inference.assessment import Embedded

    embedded = Embedded(restored)
    columns: Sequence[str] = words_of(words.labels_column, "--labels-column")
    if len(columns) > 1:
        raise ConfigError("--bands takes one --labels-column.")
    train = embedded.held("train", columns[0]).labelled()
    held = embedded.held(words.part, columns[0])
    known = [i for i, label in enumerate(held.labels) if label is not None]
    rows = held.labelled()
    k = restored.config.evaluation.k if words.k is None else words.k
    result = knn_probe(train.features, train.labels, rows.features, rows.labels, k=k)
    correct = np.full(len(held.labels), np.nan)
    correct[known] = result.correct
    return correct
