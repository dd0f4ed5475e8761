"""``hyperspec evaluate``: every measure of a trained encoder on held-out specimens."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.checkpoint_options import add_checkpoint, restored_from
from hyperspec.cli.commands.data_options import words_of
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from hyperspec.inference.assessment import Assessment, Embedded


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a trained encoder on a folder",
        description="Embed a folder with a trained encoder and measure its held-out specimens: "
        "k-NN, linear probe, retrieval, clusters, alignment, uniformity, effective rank, with "
        "bootstrap intervals over specimens.",
        epilog="With --bands: the same encoder on other bands (model.stem=wavelength only).",
    )
    add_checkpoint(parser, several=True)
    add = parser.add_argument
    add("--labels-column", default="label", metavar="A,B,...", help="label columns (label)")
    add("--part", choices=["validation", "test"], default="test")
    add("--hold-out", metavar="A,B,...", help="genera (first word of a label) or labels that are "
        "scored as a part of their own, and on which no probe is fitted (what training held "
        "out)")  # fmt: skip
    add(
        "--bands", metavar="A:N,B:N,...", help="matrix over band sets, such as uniform:10,random:50"
    )
    add("--picture", choices=["pca", "umap"], default="pca", help="umap needs the extra 'umap'")
    add("--k", type=int, help="neighbours of the k-NN probe (as in training)")
    add("--resamples", type=int, default=2000, help="bootstrap resamples of specimens (2000)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("evaluation"), metavar="DIR", help="folder to write")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Measure, print, draw and write."""
    from rich.console import Console

    if words.bands is not None:
        from hyperspec.cli.commands.evaluate_bands import run_matrix

        return run_matrix(words)
    if len(words.checkpoints) > 1:
        raise ConfigError(
            f"hyperspec evaluate was given {len(words.checkpoints)} checkpoints; several are "
            "compared with --bands only. Evaluate them one by one."
        )
    from hyperspec.datasets.splits import HELD_OUT
    from hyperspec.inference.assessment import Embedded, assess

    out = () if words.hold_out is None else tuple(words_of(words.hold_out, "--hold-out"))
    restored = restored_from(words, words.checkpoints[0])
    embedded = Embedded(restored, out)
    columns = words_of(words.labels_column, "--labels-column")
    parts = [words.part, HELD_OUT] if HELD_OUT in embedded.parts else [words.part]
    k = restored.config.evaluation.k if words.k is None else words.k
    console = Console()
    words.out.mkdir(parents=True, exist_ok=True)
    print(_summary(embedded))
    record: dict[str, object] = {}
    for part in parts:
        found = assess(embedded, part, columns, k=k, num_resamples=words.resamples, seed=words.seed)
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
    from rich.table import Table

    from hyperspec.evaluation.metrics import metric_of

    rows = embedded.held(found.part)
    table = Table(box=None, pad_edge=False, title_justify="left", title=(
        f"\n{found.part}: {len(rows.files)} images of {len(set(rows.specimens))} specimens"
    ))  # fmt: skip
    for name in ("labels", "measure"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("range", style="dim", no_wrap=True)
    for column, measures in [*found.by_column.items(), ("-", found.shape)]:
        for one in measures:
            ends = f"[{one.low:.3f}, {one.high:.3f}]" if np.isfinite(one.low) else ""
            table.add_row(column, one.name, f"{one.value:.3f}", ends, metric_of(one.name).range)
    console.print(table, highlight=False, markup=False)


def _write(
    found: Assessment, embedded: Embedded, words: argparse.Namespace, record: dict[str, object]
) -> None:
    from hyperspec.evaluation.pictures import draw_plane, to_plane
    from hyperspec.evaluation.scores import as_metrics

    record |= as_metrics(found.shape, f"{found.part}/")
    for column, measures in found.by_column.items():
        record |= as_metrics(measures, f"{found.part}/{column}/")
    for column, table in found.predictions.items():
        table.to_csv(words.out / f"{found.part}_{column}_predictions.csv", index=False)
    try:
        points, title = to_plane(embedded.held(found.part).matrix, words.picture, seed=words.seed)
    except ImportError:
        print("umap-learn is not installed (pip install 'hyperspec-sweeps[umap]'): PCA instead.")
        points, title = to_plane(embedded.held(found.part).matrix)
    for column in found.by_column or ["label"]:
        labels = embedded.held(found.part, column).labels
        figure = draw_plane(points, labels, f"{found.part}, by {column}. {title}")
        name = f"{found.part}_{column}_{title.split(maxsplit=1)[0].strip(':').lower()}.png"
        figure.savefig(words.out / name, dpi=150, metadata={"Software": None})
