"""Which strategy's bands tell the classes of Indian Pines, pixel by pixel?

    python experiments/indian_pines/bands.py --out indian_pines [--seeds 0,1,2,3,4] [--counts 5,10]

Support vectors (RBF kernel; bands standardised over the training pixels) are fitted on 10% of each
class's labelled pixels and tested on all others, in two ways: training pixels drawn at random, as
nearly all published figures are, and drawn from half of the scene's blocks, tested on the other
half, where no test pixel lies beside a training pixel. Strategies without labels see all pixels of
the scene, as published ones do; those with labels see those of the training pixels alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scene
from numpy.typing import NDArray
from scipy.stats import t
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hyperspec.bands import STRATEGIES, Full
from hyperspec.bands.base import Strategy
from hyperspec.spectra.statistics import SpectralStatistics

SHARE = 0.1  # of each class's labelled pixels, for training
BLOCK = 16  # pixels a side
PENALTY = 1000.0  # C; gamma is 1 / number of bands
LEAST = 5  # training pixels of a class, so that Oats (20 pixels) has some

Pixels = NDArray[np.intp]


def random_split(classes: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Return training and test pixels: a share of each class, and all others that have one."""
    names = np.unique(classes[classes >= 0])
    drawn = [_draw(np.flatnonzero(classes == name), classes, rng) for name in names]
    train = np.concatenate(drawn)
    return train, np.setdiff1d(np.flatnonzero(classes >= 0), train)


def block_split(
    classes: Pixels, width: int, rng: np.random.Generator
) -> tuple[Pixels, Pixels, list[int]]:
    """Return training and test pixels of different blocks, and the classes that both have.

    Halves of the blocks are drawn again until as many classes as possible have training pixels
    enough and test pixels; the others are left out.
    """
    rows, columns = np.divmod(np.arange(classes.size), width)
    shift = rng.integers(0, BLOCK, 2)
    blocks = (rows + shift[0]) // BLOCK * 1000 + (columns + shift[1]) // BLOCK
    names = np.unique(blocks)
    wanted = {int(k): _wanted(classes, int(k)) for k in np.unique(classes[classes >= 0])}
    best: tuple[list[int], NDArray[np.bool_]] = ([], np.zeros(classes.size, bool))
    for _ in range(200):
        inside = np.isin(blocks, rng.permutation(names)[: len(names) // 2])
        both = [
            k
            for k, number in wanted.items()
            if (inside & (classes == k)).sum() >= number and (~inside & (classes == k)).any()
        ]
        if len(both) > len(best[0]):
            best = (both, inside)
    both, inside = best
    train = [_draw(np.flatnonzero(inside & (classes == k)), classes, rng) for k in both]
    return np.concatenate(train), np.flatnonzero(~inside & np.isin(classes, both)), both


def _wanted(classes: Pixels, name: int) -> int:
    return max(round(SHARE * int((classes == name).sum())), LEAST)


def _draw(pixels: Pixels, classes: Pixels, rng: np.random.Generator) -> Pixels:
    return rng.choice(pixels, _wanted(classes, int(classes[pixels[0]])), replace=False)


def accuracies(
    values: NDArray[np.float32], classes: Pixels, train: Pixels, test: Pixels, bands: list[int]
) -> tuple[float, float]:
    """Return overall accuracy and the mean over classes (balanced)."""
    model = make_pipeline(StandardScaler(), SVC(C=PENALTY, gamma=1 / len(bands)))
    model.fit(values[train][:, bands], classes[train])
    right = model.predict(values[test][:, bands]) == classes[test]
    by_class = [right[classes[test] == k].mean() for k in np.unique(classes[test])]
    return float(right.mean()), float(np.mean(by_class))


def strategies(n: int, seed: int) -> Iterator[Strategy]:
    """Yield every strategy that has a number of bands."""
    for kind in STRATEGIES.values():
        if "n" in {field.name for field in fields(kind)}:
            words = {"n": n, "seed": seed} if kind.name == "random" else {"n": n}
            yield kind(**words)  # type: ignore[arg-type]


def study(seeds: list[int], counts: list[int]) -> Iterator[dict[str, object]]:
    """Yield a row for each seed, split, strategy and number of bands."""
    cube, map_of_classes, axis = scene.load()
    values, classes = cube.reshape(-1, cube.shape[2]), map_of_classes.ravel()
    span = {"histogram_range": (float(values.min()), float(values.max()))}
    everything = SpectralStatistics.from_spectra(values, axis, **span)  # type: ignore[arg-type]
    chosen: dict[tuple[str, int], list[int]] = {}  # what sees neither labels nor seeds
    for seed in seeds:
        rng = np.random.default_rng(seed)
        first, second, both = block_split(classes, cube.shape[1], rng)
        splits = {"random": random_split(classes, rng), "blocks": (first, second)}
        for split, (train, test) in splits.items():
            names = [scene.CLASSES[k] for k in classes[train]]
            labelled = SpectralStatistics.from_spectra(
                values[train],
                axis,
                labels=names,
                num_samples=len(train),  # a draw would leave rare classes a single pixel
                **span,  # type: ignore[arg-type]
            )
            common = {"seed": seed, "split": split, "train": len(train), "test": len(test)}
            common["classes"] = len(both) if split == "blocks" else len(scene.CLASSES)
            for n in (len(axis), *counts):
                some = [Full()] if n == len(axis) else strategies(n, seed)
                for strategy in some:
                    key = (strategy.name, n)
                    if strategy.supervised or strategy.name == "random" or key not in chosen:
                        known = labelled if strategy.supervised else everything
                        chosen[key] = [*strategy.select(axis, known).indices]
                    found = accuracies(values, classes, train, test, chosen[key])
                    scores = {"overall": found[0], "balanced": found[1]}
                    yield {**common, "strategy": strategy.name, "n": n, **scores}


def table(rows: list[dict[str, object]], split: str, score: str) -> str:
    """Return a Markdown table of means over seeds with their 95% intervals' half-widths."""
    some = [row for row in rows if row["split"] == split]
    counts = sorted({int(str(row["n"])) for row in some})
    found: dict[str, dict[int, list[float]]] = {}
    for row in some:
        by_count = found.setdefault(str(row["strategy"]), {})
        by_count.setdefault(int(str(row["n"])), []).append(float(str(row[score])))
    whole = counts.pop()  # all bands
    middle = counts[len(counts) // 2]
    order = sorted(found, key=lambda name: -np.mean(found[name].get(middle, [0.0])))
    lines = ["| | " + " | ".join(map(str, counts)) + " |", "|---" * (len(counts) + 1) + "|"]
    for name in order:
        if name != "full":
            lines.append(f"| {name} | " + " | ".join(_cell(found[name][n]) for n in counts) + " |")
    return "\n".join([*lines, "", f"All {whole} bands: {_cell(found['full'][whole])}."])


def _cell(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.3f} ± {half:.3f}"


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Draw overall accuracy against the number of bands, by random split and by blocks."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    names = list(dict.fromkeys(str(row["strategy"]) for row in rows))
    for plot, split in zip(axes, ("random", "blocks"), strict=True):
        some = [row for row in rows if row["split"] == split]
        for place, name in enumerate(name for name in names if name != "full"):
            mine = [row for row in some if row["strategy"] == name]
            counts = sorted({int(str(row["n"])) for row in mine})
            means = [np.mean([row["overall"] for row in mine if row["n"] == n]) for n in counts]
            dashes = ("-", "--", ":")[place // 10]
            plot.plot(counts, means, dashes, marker="o", ms=3, color=f"C{place % 10}", label=name)
        whole = np.mean([row["overall"] for row in some if row["strategy"] == "full"])
        plot.axhline(float(whole), color="0.5", lw=1)
        plot.text(counts[0], float(whole), "all bands", va="bottom", color="0.4")
        words = (
            "training pixels at random" if split == "random" else "training pixels of other blocks"
        )
        plot.set(title=words, xlabel="bands", xscale="log")
        plot.set_xticks(counts, [str(n) for n in counts])
        plot.minorticks_off()
    axes[0].set_ylabel("overall accuracy, support vectors")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the study; write ``bands.json``, ``tables.md`` and ``accuracy.png``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--counts", default="5,10,20,30,50")
    words = parser.parse_args()
    seeds, counts = ([int(x) for x in text.split(",")] for text in (words.seeds, words.counts))
    words.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in study(seeds, counts):
        rows.append(row)
        print(json.dumps(row), flush=True)
    (words.out / "bands.json").write_text(json.dumps(rows, indent=0) + "\n")
    parts = [
        f"## {title}\n\n{table(rows, split, score)}"
        for split, place in (("random", "training pixels at random"), ("blocks", "other blocks"))
        for score, title in (
            ("overall", f"Overall accuracy, {place}"),
            ("balanced", f"Mean over classes, {place}"),
        )
    ]
    (words.out / "tables.md").write_text("\n\n".join(parts) + "\n")
    draw(rows, words.out / "accuracy.png")


if __name__ == "__main__":
    main()
