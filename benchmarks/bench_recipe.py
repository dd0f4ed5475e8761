"""Ours beside the plain recipe: loading, views, training step, and a whole band-count sweep.

    python benchmarks/bench_recipe.py                   # `make bench`

Both train the same ResNet-18 on the same synthetic cubes with the same split, batch, steps, rates,
augmentations and probes; `plain_recipe/recipe.py` is the other side. All is timed in alternation:
  step    per batch in one process: reading the chosen bands, making two views, forward, backward
          and optimizer step; ours with the `projection` stem, at 64 and 224 px
  sweep   six band counts: one of our sweeps, and a shell loop of six recipe processes, start-up
          and evaluation included; the k-NN accuracies of both stand beside the times
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from hydra import compose, initialize_config_dir
from plain_recipe import recipe

import hyperspec
from hyperspec import schema
from hyperspec.assembly import assemble
from hyperspec.cubes.synthetic import SynthSettings, synthesise
from hyperspec.material import Material
from hyperspec.pipeline import prepare
from hyperspec.training.module import SimCLR
from hyperspec.training.optimisation import build_optimizer

COUNTS = (10, 20, 50, 100, 200, 408)
CONF = Path(hyperspec.__file__).parents[1] / "conf"
PARTS = ("load", "views", "train")
CPU = torch.device("cpu")


def config_of(root: Path, *words: str) -> schema.Train:
    schema.register()
    with initialize_config_dir(str(CONF)):
        return schema.to_train(
            compose("train", ["experiment=demo", "model=resnet18", f"data.root={root}", *words])
        )


def write_split(path: Path, material: Material) -> None:
    parts = {"train": material.split.train, "test": material.split.test}
    rows = [
        f"{material.files[row]},{material.labels[row]},{part}"
        for part, chosen in parts.items()
        for row in chosen
    ]
    path.write_text("\n".join(["file,label,part", *rows, ""]))


class Ours:
    """Steps of our training, with the planes read from the store as a run reads them."""

    def __init__(self, config: schema.Train, material: Material, batch: int) -> None:
        self.module: SimCLR = assemble(config, material, CPU)
        named = [*self.module.encoder.named_parameters(), *self.module.head.named_parameters()]
        self.optimizer = build_optimizer(named, self.module.optimisation)
        self.rows, self.batch = torch.as_tensor(material.split.train), batch

    def step(self) -> list[float]:
        """Do one step; return the seconds of its parts."""
        module, chosen = self.module, self.rows[torch.randperm(len(self.rows))[: self.batch]]
        clock = [time.perf_counter()]
        images, masks = module.bank.batch(chosen)
        clock.append(time.perf_counter())
        made = [module.view(images, masks, module.views.draw(self.batch)) for _ in range(2)]
        clock.append(time.perf_counter())
        features = module.encoder.features(torch.cat(made))
        self.optimizer.zero_grad()
        module.loss(*module.head(features).chunk(2)).backward()
        self.optimizer.step()
        clock.append(time.perf_counter())
        return np.diff(clock).tolist()


class Plain:
    """Steps of the recipe, with two reading processes."""

    def __init__(self, cubes: recipe.Cubes, batch: int) -> None:
        mean, sd = recipe.moments(torch.utils.data.DataLoader(cubes, 8))
        self.views = recipe.Views(cubes.size, mean, sd)
        self.backbone, self.head, self.loss = recipe.build(len(cubes.bands), "kornia", 0.2)
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, 1e-3)
        endless = torch.utils.data.RandomSampler(cubes, num_samples=10**6, replacement=True)
        self.batches = iter(
            torch.utils.data.DataLoader(cubes, batch, sampler=endless, num_workers=2)
        )

    def step(self) -> list[float]:
        """Do one step; return the seconds of its parts."""
        clock = [time.perf_counter()]
        images, _ = next(self.batches)
        clock.append(time.perf_counter())
        with torch.no_grad():
            one, two = self.views(images), self.views(images)
        clock.append(time.perf_counter())
        self.optimizer.zero_grad()
        self.loss(self.head(self.backbone(one)), self.head(self.backbone(two))).backward()
        self.optimizer.step()
        clock.append(time.perf_counter())
        return np.diff(clock).tolist()


def measure_steps(folder: Path, size: int, batch: int, repeats: int) -> list[dict[str, Any]]:
    """Time steps of both at 50 and 408 bands; the first of each is left out."""
    root = folder / f"cubes{size}"
    # Half a batch of each part more than needed at 64 px; few at 224 px, where a cube has 54 MB.
    specimens = 20 if size < 100 else 3
    side = size + size // 4
    synthesise(root, SynthSettings(num_specimens=specimens, size=side))
    rows = []
    for n in (50, 408):
        words = [f"data.size={size}", f"bands.n={n}", f"batch_size={batch}"]
        config = config_of(root, *words, f"data.cache_dir={folder}/cache")
        material = prepare(config)
        write_split(folder / "split.csv", material)
        cubes = recipe.read_split(
            argparse.Namespace(root=root, split=folder / "split.csv", bands=n, size=size)
        )["train"]
        sides = {"ours": Ours(config, material, batch), "plain": Plain(cubes, batch)}
        times: dict[str, list[list[float]]] = {name: [] for name in sides}
        for _ in range(repeats + 1):
            for name, side_ in sides.items():
                times[name].append(side_.step())
        median = {
            name: dict(zip(PARTS, np.median(values[1:], axis=0).tolist(), strict=True))
            for name, values in times.items()
        }
        total = {k: statistics.median(sum(v) for v in values[1:]) for k, values in times.items()}
        ratio = total["plain"] / total["ours"]
        print(
            f"step, ResNet-18, {n} bands, {size} px, batch {batch}: plain {total['plain']:.2f} s, "
            f"ours {total['ours']:.2f} s: {ratio:.1f} x  ("
            + ", ".join(
                f"{part} {median['plain'][part]:.3f} | {median['ours'][part]:.3f}" for part in PARTS
            )
            + ")",
            flush=True,
        )
        rows.append(
            {"bands": n, "size": size, "batch": batch, "median_s": median, "total_s": total,
             "ratio": ratio, "all_s": times}
        )  # fmt: skip
    return rows


def measure_sweep(folder: Path, seeds: list[int], library: str) -> dict[str, Any]:
    """Time one of our sweeps over six band counts, and six processes of the recipe, per seed."""
    root = folder / "specimens"
    synthesise(root, SynthSettings())
    material = prepare(config_of(root, "data.cache_dir=" + str(folder / "cache")))
    write_split(folder / "split.csv", material)
    script = Path(recipe.__file__)
    found: dict[str, Any] = {"seeds": seeds, "library": library, "ours": [], "plain": []}
    for seed in seeds:
        # A cache of its own: what our sweep prepares once is part of its time.
        counts = ",".join(map(str, COUNTS))
        seconds = timed(
            [sys.executable, "-m", "hyperspec.train", "experiment=demo", "model=resnet18", "-m",
             f"bands.n={counts}", f"data.root={root}", "evaluation.controls=false",
             f"seed={seed}", f"data.cache_dir={folder}/cache{seed}",
             f"tracking.experiment=seed{seed}"],
            folder,
        )  # fmt: skip
        found["ours"].append({"seconds": seconds, "scores": our_scores(folder, f"seed{seed}")})
        start = time.perf_counter()
        results = []
        for n in COUNTS:
            out = folder / f"plain_{n}.json"
            timed(
                [sys.executable, str(script), "--root", str(root), "--split",
                 str(folder / "split.csv"), "--bands", str(n), "--seed", str(seed),
                 "--library", library, "--out", str(out)],
                folder,
            )  # fmt: skip
            results.append({"bands": n, **json.loads(out.read_text())})
        found["plain"].append({"seconds": time.perf_counter() - start, "scores": results})
        ratio = found["plain"][-1]["seconds"] / seconds
        print(
            f"sweep of 6 band counts, seed {seed}: plain ({library}) "
            f"{found['plain'][-1]['seconds']:.0f} s, ours {seconds:.0f} s: {ratio:.1f} x",
            flush=True,
        )
        for mine, theirs in zip(found["ours"][-1]["scores"], results, strict=True):
            print(
                f"  n = {theirs['bands']:3}: test k-NN plain {theirs['knn_top1']:.2f}, "
                f"ours {mine['knn_top1']:.2f}",
                flush=True,
            )
    return found


def timed(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - start


def our_scores(folder: Path, experiment: str) -> list[dict[str, float]]:
    """Return scores and training seconds of a sweep's jobs by number of bands."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs(
        [client.get_experiment_by_name(experiment).experiment_id], "tags.`hyperspec.kind` = 'job'"
    )
    return sorted(
        (
            {
                "bands": int(run.data.params["bands.n"]),
                "knn_top1": run.data.metrics["test/knn_top1"],
                "linear_top1": run.data.metrics["test/linear_top1"],
                "train_seconds": run.data.metrics["cost/train_seconds"],
            }
            for run in runs
        ),
        key=lambda row: row["bands"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 224])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the sweeps")
    parser.add_argument("--library", choices=("kornia", "lightly"), default="kornia")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (a temporary one)")
    words = parser.parse_args()
    warnings.filterwarnings("ignore")
    content = record.context(("torch", "torchvision", "kornia", "rasterio", "numpy"))
    with tempfile.TemporaryDirectory(prefix="bench-recipe-", dir=words.folder) as name:
        content["steps"] = [
            row
            for size in words.sizes
            for row in measure_steps(Path(name), size, 64 if size < 100 else 16, words.repeats)
        ]
        content["sweep"] = measure_sweep(Path(name), words.seeds, words.library)
    print(f"wrote {record.write('recipe', content)}")


if __name__ == "__main__":
    main()
