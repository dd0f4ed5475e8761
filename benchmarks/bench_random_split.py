"""How much a random split of tiles flatters, on scenes whose truth is known: docs/evaluation.md.

    python benchmarks/bench_random_split.py [--scenes 20]

Each patch of a scene has a class and a spectrum of its own; a class has a mean spectrum too, more
or less far from the others'. k-NN (k = 5) of the tiles' mean spectra is fitted on the training part
of a scene and tested on its test part, by blocks and by a random split. The truth is the same k-NN
on a second scene of the same kind, which shares no patch with the first.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import record

from hyperspec.datasets.catalogue.label_map import MapLabels
from hyperspec.datasets.config import TilesData
from hyperspec.datasets.splits import grouped_split
from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.evaluation.random_split import random_split_scores
from hyperspec.evaluation.scores import evaluate_features
from hyperspec.testing.synthetic.patchwork import PATCH, write_patchwork
from hyperspec.training.data import column, open_source

SEPARATIONS = (0.0, 0.1, 0.2)  # of the classes; a patch's own spectrum varies by 0.05 per band
STRIDES = (PATCH // 4, PATCH // 2)  # tiles that overlap by half, and that only touch


def tiles_of(root: Path, stride: int) -> Held:
    """Return the mean spectra of a scene's tiles with what is known of these."""
    labels = MapLabels(share=1.0)
    words = {"pattern": "*", "mask": "none", "tile": PATCH // 2, "stride": stride}
    source = open_source(TilesData(root=str(root), labels=labels, **words))
    files, blocks = ([str(x) for x in source.table[name]] for name in ("file", "specimen"))
    planes = source.planes(range(len(source)))
    return Held(planes.mean(axis=(2, 3)), column(source, "label"), blocks, files)


def scores(separation: float, stride: int, seed: int) -> tuple[float, float, float]:
    """Return the accuracy on new places, by blocks, and by a random split."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (
            tiles_of(
                write_patchwork(Path(folder) / str(i), seed + i, separation=separation), stride
            )
            for i in range(2)
        )
    split = grouped_split(first.labels, first.specimens, seed=seed)
    parts = {
        name: Held.of(first.matrix[rows], rows, first.labels, first.specimens, first.files)
        for name, rows in split.parts().items()
    }
    own = evaluate_features(parts, ["knn"], prefixes={"test": "test/"}).metrics
    random = random_split_scores(parts, ["knn"], own, k=5)
    train, new = parts["train"].labelled(), second.labelled()
    truth = knn_probe(train.features, train.labels, new.features, new.labels, k=5)
    return float(truth.correct.mean()), own["test/knn_top1"], random["random_split/knn_top1"]


def main() -> None:
    """Draw scenes, print a row per kind, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=20)
    options = parser.parse_args()
    rows = []
    for separation in SEPARATIONS:
        for stride in STRIDES:
            found = [scores(separation, stride, 2 * seed) for seed in range(options.scenes)]
            means, sds = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
            row = {"separation": separation, "stride": stride}
            for place, name in enumerate(("new places", "blocks", "random")):
                row |= {name: float(means[place]), f"{name}, sd": float(sds[place])}
            rows.append(row)
            print({key: round(value, 3) for key, value in row.items()}, flush=True)
    print(record.write("random_split", record.context(("numpy",)) | {"rows": rows}))


if __name__ == "__main__":
    main()
