"""Train once, score on many sets of bands; train each set alone; write what was said of each image.

The same model, views, steps and seeds on both sides, without tracking: what `hyperspec train
experiment=one_shot_curve` and `experiment=one_shot_retrain` do, in one process and on small images.

    python experiments/one_shot/run.py OUT.csv [--seeds 0,1,2] [--specimens FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from hyperspec.bands import STRATEGIES, Full
from hyperspec.config import groups
from hyperspec.config.schema import Train
from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.inference.band_curve import on_bands
from hyperspec.spectra.selection import BandSelection
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.training.builders import assemble
from hyperspec.training.callbacks.band_sampling import BandSampling
from hyperspec.training.data import Material, gather
from hyperspec.training.datamodule import SpecimenData
from hyperspec.training.simclr import SimCLR
from hyperspec.training.trainer import quieten

CONF = Path(__file__).resolve().parents[2] / "conf"
COUNTS = (10, 20, 50, 100, 200, 408)
CHOSEN = ("uniform", "random", "mrmr")
RETRAINED = (10, 20, 50, 100)  # and 408, where all strategies agree


def configured(root: Path, words: list[str]) -> Train:
    groups.register()
    with initialize_config_dir(str(CONF)):
        config = compose(
            "train",
            [
                *("data=synthetic", f"data.root={root}", f"data.cache_dir={root.parent / 'cache'}"),
                *("data.size=16", "model=tiny", "model.stem=wavelength", "bands=full"),
                *("epochs=50", "lr=1e-3", "loss.temperature=0.2", *words),
            ],
        )
    return groups.to_train(config)


def train(config: Train, material: Material) -> SimCLR:
    import pytorch_lightning as pl

    pl.seed_everything(config.seed, verbose=False)
    module = assemble(config, material, torch.device("cpu"))
    minimum = config.model.sampling_minimum
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=config.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[] if minimum is None else [BandSampling(minimum, config.seed)],
    )
    trainer.fit(module, SpecimenData(module.bank, material.split, config.batch_size, config.seed))
    return module.eval()


def score(module: SimCLR, material: Material, k: int) -> np.ndarray:
    """Return for each test row whether k-NN names it rightly."""
    parts = {part: material.split.parts()[part] for part in ("train", "test")}
    features = {part: module.embed(torch.from_numpy(rows)).numpy() for part, rows in parts.items()}
    labels = {part: np.array([material.labels[r] for r in rows]) for part, rows in parts.items()}
    found = knn_probe(features["train"], labels["train"], features["test"], labels["test"], k=k)
    return np.asarray(found.correct)


def chosen(name: str, n: int, seed: int, material: Material) -> BandSelection:
    seeded = {"seed": seed} if name == "random" else {}
    return STRATEGIES[name](n=n, **seeded).select(material.source.axis, material.statistics)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--specimens", type=Path, default=Path("demo/specimens"))
    parser.add_argument("--minimum", type=int, default=8)
    parser.add_argument("--curve-only", action="store_true")
    parser.add_argument("extra", nargs="*")
    words = parser.parse_args()
    torch.set_num_threads(1)
    quieten()
    if not words.specimens.exists():
        synthesise(words.specimens)
    with words.out.open("a") as file:
        file.write("seed,kind,strategy,n,specimen,row,knn_correct\n")
        for seed in (int(text) for text in words.seeds.split(",")):
            run_seed(seed, words, file.write)
            file.flush()
    return 0


def run_seed(seed: int, words: argparse.Namespace, write: object) -> None:
    config = configured(words.specimens, [f"seed={seed}", *words.extra])
    once = configured(
        words.specimens, [f"seed={seed}", f"model.sampling_minimum={words.minimum}", *words.extra]
    )
    whole = gather(config.data, Full())
    rows = whole.split.parts()["test"]

    def keep(kind: str, name: str, n: int, correct: np.ndarray) -> None:
        lines = [
            f"{seed},{kind},{name},{n},{whole.specimens[row]},{row},{int(right)}\n"
            for row, right in zip(rows, correct, strict=True)
        ]
        write("".join(lines))  # type: ignore[operator]
        print(f"{time.strftime('%X')} {seed} {kind} {name} {n} {correct.mean():.3f}", flush=True)

    module = train(once, whole)
    for name in CHOSEN:
        for n in COUNTS:
            bands = chosen(name, n, seed, whole)
            with on_bands(module, config.data.normalisation, whole, bands):
                keep("one_shot", name, n, score(module, whole, config.evaluation.k))
    if words.curve_only:
        return
    for n in (*RETRAINED, 408):
        for name in CHOSEN if n < 408 else CHOSEN[:1]:
            there = dataclasses.replace(whole, selection=chosen(name, n, seed, whole))
            correct = score(train(config, there), there, config.evaluation.k)
            for told in (name,) if n < 408 else CHOSEN:
                keep("retrained", told, n, correct)


if __name__ == "__main__":
    sys.exit(main())
