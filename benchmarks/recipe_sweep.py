"""A whole sweep of six band counts: one of ours, and six processes of the plain recipe (part d)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plain_recipe import recipe
from recipe_sides import material_of, timed

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

COUNTS = (10, 20, 50, 100, 200, 408)


def measure_sweep(
    folder: Path,
    seeds: list[int],
    others: list[str],
    epochs: int,
    size: int = 32,
    device: str = "cpu",
) -> Iterator[dict[str, Any]]:
    """Time, per seed, our sweep and others, start-up and evaluation included.

    Args:
        folder: Where everything goes.
        seeds: Of the runs.
        others: ``kornia`` and ``lightly``, loops of the recipe; ``bf16``, our sweep in bf16;
            ``joblib``, our sweep with a job of one thread per core.
        epochs: Of each run.
        size: Lines and samples of the images that are trained on; the cubes are a quarter larger.
        device: ``cpu`` or ``cuda``, where hardware=gpu computes in bf16 anyway.

    Yields:
        What was found so far, after each seed: a seed takes long.
    """
    root = folder / f"specimens{size}"
    if not root.exists():
        synthesise(root, SynthSettings(size=size * 5 // 4))
    material_of(root, folder, f"data.size={size}")
    found: dict[str, Any] = {"seeds": [], "epochs": epochs, "size": size, "runs": []}
    for seed in seeds:
        runs = {"ours": ours(folder, root, seed, epochs, size, device, "32-true")}
        for other in others:
            if other == "bf16":
                runs["ours bf16"] = ours(folder, root, seed, epochs, size, device, "bf16-mixed")
            elif other == "joblib":
                runs["ours joblib"] = ours(
                    folder, root, seed, epochs, size, device, "32-true", "hydra/launcher=joblib"
                )
            else:
                runs[other] = plain(folder, root, seed, epochs, size, other, device)
        found["seeds"].append(seed)
        found["runs"].append(runs)
        for name, run in runs.items():
            ratio = run["seconds"] / runs["ours"]["seconds"]
            scores = " ".join(f"{row['bands']}:{row['knn_top1']:.2f}" for row in run["scores"])
            print(
                f"(d) {size} px, seed {seed}, {name:9} {run['seconds']:7.0f} s "
                f"({ratio:4.1f} x ours), {run['peak_memory_mb']:.0f} MB, test k-NN {scores}",
                flush=True,
            )
        found["accuracy"] = compare(found["runs"], [name for name in runs if name != "ours"])
        yield found


def ours(
    folder: Path,
    root: Path,
    seed: int,
    epochs: int,
    size: int,
    device: str,
    precision: str,
    *words: str,
) -> dict[str, Any]:
    # A cache of its own: what our sweep prepares once is part of its time.
    name, counts = f"seed{seed}-{size}px-{epochs}-{precision}", ",".join(map(str, COUNTS))
    name += "-joblib" if words else ""
    seconds, peak, _ = timed(
        [sys.executable, "-m", "hyperspec.cli.train", "experiment=demo", "model=resnet18", "-m",
         f"bands.n={counts}", f"data.root={root}", f"data.size={size}",
         "evaluation.controls=false", "evaluation.importance=false",  # which the recipe has not
         f"seed={seed}", f"epochs={epochs}", f"data.cache_dir={folder}/cache-{name}",
         f"tracking.experiment={name}",
         "hardware=gpu" if device == "cuda" else "hardware=cpu",
         *([] if device == "cuda" else [f"hardware.precision={precision}"]), *words],
        folder,
    )  # fmt: skip
    scores = our_scores(folder, name)
    return {"seconds": seconds, "peak_memory_mb": peak, "scores": scores}


def plain(
    folder: Path, root: Path, seed: int, epochs: int, size: int, library: str, device: str
) -> dict[str, Any]:
    script, results, total, highest = Path(recipe.__file__), [], 0.0, 0.0
    for n in COUNTS:
        out = folder / f"plain_{n}.json"
        seconds, peak, _ = timed(
            [sys.executable, str(script), "--root", str(root), "--split",
             str(folder / "split.csv"), "--bands", str(n), "--seed", str(seed),
             "--epochs", str(epochs), "--size", str(size), "--library", library,
             "--device", device, "--out", str(out)],
            folder,
        )  # fmt: skip
        results.append({"bands": n, **json.loads(out.read_text())})
        total, highest = total + seconds, max(highest, peak)
    return {"seconds": total, "peak_memory_mb": highest, "scores": results}


def our_scores(folder: Path, experiment: str) -> list[dict[str, float]]:
    """Return scores and training seconds of a sweep's jobs by number of bands."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs(
        [client.get_experiment_by_name(experiment).experiment_id], "tags.`hyperspec.kind` = 'job'"
    )
    rows = [
        {
            "bands": int(run.data.params["bands.n"]),
            "knn_top1": run.data.metrics["test/knn_top1"],
            "linear_top1": run.data.metrics["test/linear_top1"],
            "train_seconds": run.data.metrics["cost/train_seconds"],
        }
        for run in runs
    ]
    return sorted(rows, key=lambda row: row["bands"])


def compare(runs: list[dict[str, Any]], others: list[str]) -> list[dict[str, Any]]:
    """Return mean accuracy per band count and the interval of ours less another's over seeds."""
    import numpy as np
    from scipy import stats

    rows = []
    for other in others:
        for place, n in enumerate(COUNTS):
            for score in ("knn_top1", "linear_top1"):
                mine = np.array([run["ours"]["scores"][place][score] for run in runs])
                theirs = np.array([run[other]["scores"][place][score] for run in runs])
                gap = mine - theirs
                half = float("nan")
                if len(gap) > 1:
                    spread = gap.std(ddof=1) / len(gap) ** 0.5
                    half = float(stats.t.ppf(0.975, len(gap) - 1) * spread)
                rows.append(
                    {"other": other, "bands": n, "score": score, "ours": float(mine.mean()),
                     "theirs": float(theirs.mean()), "gap": float(gap.mean()), "half": half}
                )  # fmt: skip
                if score == "knn_top1":
                    print(
                        f"    {n:3} bands: k-NN ours {mine.mean():.2f}, {other} "
                        f"{theirs.mean():.2f}, difference {gap.mean():+.2f} +- {half:.2f} "
                        f"(95%, {len(gap)} seeds)",
                        flush=True,
                    )
    return rows
