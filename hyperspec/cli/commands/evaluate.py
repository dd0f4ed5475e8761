"""``hyperspec evaluate``: every measure of a trained encoder on held-out specimens.

With ``--bands`` encoders are scored on band sets that they were not trained on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import (
    add_checkpoint,
    checkpoints_from,
    restored_from,
    table_of,
    words_of,
)
from hyperspec.utils.csv_text import csv_text
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.file_names import as_file_name
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from hyperspec.bands import Strategy
    from hyperspec.inference.assessment import Assessment, Embedded
    from hyperspec.inference.restore import Restored
    from hyperspec.spectra.selection import BandSelection


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a trained encoder on a folder",
        description="Embed a folder with a trained encoder and measure its held-out specimens: "
        "k-NN, linear probe, retrieval, clusters, alignment, uniformity, effective rank, with "
        "intervals over specimens.",
        epilog="With --bands: the same encoder on other bands (model.stem=wavelength only).",
    )
    add_checkpoint(parser, several=True)
    add = parser.add_argument
    add("--labels-column", default="label", metavar="A,B,...", help="label columns (label)")
    add("--part", choices=["validation", "test"], default="test")
    add("--hold-out", metavar="A,B,...", help="genera (first word of a label), labels or "
        "column=value that are scored as a part of their own, and on which no probe is fitted "
        "(what training held out)")  # fmt: skip
    add(
        "--bands", metavar="A:N,B:N,...", help="matrix over band sets, such as uniform:10,random:50"
    )
    add("--picture", choices=["pca", "umap"], default="pca", help="umap needs the extra 'umap'")
    add("--k", type=int, help="neighbours of the k-NN probe (as in training)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("evaluation"), metavar="DIR", help="folder to write")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Measure, print, draw and write."""
    from rich.console import Console

    if words.bands is None and len(words.checkpoints) > 1:
        raise ConfigError(
            f"hyperspec evaluate was given {len(words.checkpoints)} checkpoints; several are "
            "compared with --bands only. Evaluate them one by one."
        )
    words.checkpoints = checkpoints_from(words, words.checkpoints)
    if words.bands is not None:
        return run_matrix(words)
    out = () if words.hold_out is None else tuple(words_of(words.hold_out, "--hold-out"))
    columns = words_of(words.labels_column, "--labels-column")
    restored = restored_from(words, words.checkpoints[0])
    from hyperspec.datasets.splits import HELD_OUT
    from hyperspec.inference.assessment import Embedded, assess

    embedded = Embedded(restored, out)
    for column in columns:
        embedded.labels(column)  # a wrong name is told before the images are embedded
    parts = [words.part, HELD_OUT] if HELD_OUT in embedded.parts else [words.part]
    k = restored.config.evaluation.k if words.k is None else words.k
    console = Console()
    words.out.mkdir(parents=True, exist_ok=True)
    print(_summary(embedded))
    record: dict[str, object] = {}
    for part in parts:
        with progress(f"Scoring the {part} part"):
            found = assess(embedded, part, columns, k=k, seed=words.seed)
        _print(found, embedded, console)
        _write(found, embedded, words, record)
    (words.out / "evaluation.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {words.out}: {', '.join(sorted(p.name for p in words.out.iterdir()))}")
    return 0


def _summary(embedded: Embedded) -> str:
    restored = embedded.restored
    sizes = ", ".join(f"{part} {len(rows)}" for part, rows in embedded.parts.items())
    lines = [
        f"{len(restored.trained)} bands (bands={restored.trained.strategy}), "
        f"{embedded.features.shape[1]} features; images: {sizes}"
    ]
    if not restored.same_data:
        lines.append("These are not the data that the encoder was trained on, or split otherwise.")
    if embedded.held_out_names:
        lines.append(f"held out: {', '.join(embedded.held_out_names)}. {_seen(embedded)}")
    return "\n".join(lines)


def _seen(embedded: Embedded) -> str:
    if embedded.seen_in_training:
        return "The encoder was trained on specimens of them: what is unseen here is their labels."
    if embedded.unseen_by_config:
        return "Its training left them out (data.split.hold_out)."
    return "The encoder was trained on none of them, as far as its checkpoint tells."


def _print(found: Assessment, embedded: Embedded, console: Console) -> None:
    import numpy as np

    from hyperspec.evaluation.metrics import metric_of
    from hyperspec.evaluation.statistics.intervals import MIN_SPECIMENS

    rows = embedded.held(found.part)
    num = len(set(rows.specimens))
    title = f"\n{found.part}: {len(rows.files)} images of {num} specimens"
    if num < MIN_SPECIMENS:
        title += f"; so few that numbers say little: {MIN_SPECIMENS} are the least for an interval"
    table = table_of(["labels", "measure"], ["value", "95% interval"], title)
    table.add_column("range", style="dim", no_wrap=True)
    for column, measures in [*found.by_column.items(), ("-", found.shape)]:
        for one in measures:
            ends = f"[{one.low:.3f}, {one.high:.3f}]" if np.isfinite(one.low) else ""
            table.add_row(column, one.name, f"{one.value:.3f}", ends, metric_of(one.name).range)
    console.print(table, highlight=False, markup=False)


def _write(
    found: Assessment, embedded: Embedded, words: argparse.Namespace, record: dict[str, object]
) -> None:
    from hyperspec.evaluation.scores import as_metrics

    record |= as_metrics(found.shape, f"{found.part}/")
    for column, measures in found.by_column.items():
        record |= as_metrics(measures, f"{found.part}/{column}/")
    for column, table in found.predictions.items():
        path = words.out / f"{found.part}_{as_file_name(column)}_predictions.csv"
        path.write_text(csv_text(table), encoding="utf-8")
    _draw(found, embedded, words)


def _draw(found: Assessment, embedded: Embedded, words: argparse.Namespace) -> None:
    with progress("Drawing"):
        from hyperspec.evaluation.pictures import draw_plane, to_plane
    try:
        with progress("Drawing"):
            matrix = embedded.held(found.part).matrix
            points, title = to_plane(matrix, words.picture, seed=words.seed)
    except ImportError:
        print("umap-learn is not installed (pip install 'hyperspec-sweeps[umap]'): PCA instead.")
        points, title = to_plane(embedded.held(found.part).matrix)
    specimens = len(set(embedded.held(found.part).specimens))
    for column in found.by_column or ["label"]:
        labels = embedded.held(found.part, column).labels
        seen = f"{len(labels)} images of {specimens} specimens, {found.part} part, by {column}"
        figure = draw_plane(points, labels, f"{seen}. {title}")
        kind = title.split(maxsplit=1)[0].strip(":").lower()
        name = f"{found.part}_{as_file_name(column)}_{kind}.png"
        figure.savefig(words.out / name, dpi=150, metadata={"Software": None})


def run_matrix(words: argparse.Namespace) -> int:
    """Evaluate every encoder on its own bands and on each set, print and write the matrix."""
    from rich.console import Console

    from hyperspec.evaluation.cross_band import cross_table, write_cross

    strategies = parse_sets(words.bands)
    scores: dict[tuple[str, str], np.ndarray] = {}
    hashes: set[str] = set()
    for path in words.checkpoints:
        restored = restored_from(words, path)
        hashes.add(restored.material.split.hash)
        if len(hashes) > 1:
            raise ConfigError(
                f"'{path}' was trained on another split of {words.folder} than "
                f"'{words.checkpoints[0]}', so that their {words.part} parts cannot be compared. "
                "Give checkpoints of one split and one rotation (data.split.rotation)."
            )
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
            same = there.selection.indices == selection.indices
            with progress(f"Scoring {name} on {label}"):
                moved = restored if same else on_bands(restored, selection)
                scores[name, label] = knn_correct(moved, words)
        specimens = [there.specimens[row] for row in there.split.parts()[words.part]]
    table = cross_table(scores, specimens)
    measured = f"{words.part} k-NN top-1"
    shown = table_of(["trained on", "evaluated on", measured, "95% interval"])
    for row in table:
        shown.add_row(
            row.encoder, row.bands, f"{row.value:.3f}", f"[{row.low:.3f}, {row.high:.3f}]"
        )
    Console().print(shown, highlight=False, markup=False)
    for path in write_cross(table, words.out, f"{measured}, 95% intervals"):
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
    columns = words_of(words.labels_column, "--labels-column")
    if len(columns) > 1:
        raise ConfigError("--bands takes one --labels-column.")
    train = embedded.held("train", columns[0]).labelled()
    held = embedded.held(words.part, columns[0])
    rows = held.labelled()
    k = restored.config.evaluation.k if words.k is None else words.k
    result = knn_probe(train.features, train.labels, rows.features, rows.labels, k=k)
    correct = np.full(len(held.labels), np.nan)
    correct[[label is not None for label in held.labels]] = result.correct
    return correct
