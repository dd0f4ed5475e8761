"""Ours beside the plain recipe, in alternation: `make bench`.

    python benchmarks/bench_recipe.py --parts steps,embedding,start,sweep

Both train the same ResNet-18 on the same synthetic cubes with the same split, batch, steps, rates,
augmentations and probes; `plain_recipe/recipe.py` is the other side, once with plain NT-Xent and
once with lightly's loss and head. Parts, each also alone:
  steps      (a) loading a batch, (b) two views, (c) a training step, at 50 and 408 bands
  embedding  (e) features of a folder of new cubes
  start      (f) from the start of a process to the end of its first step
  sweep      (d) six band counts: one of our sweeps, and a shell loop of six recipe processes,
             start-up and evaluation included; accuracies with the interval of their difference
Each part is written as it grows, into the day's record in benchmarks/results; parts that are not
asked for stay as they are there.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import recipe_parts
import record
from draw_recipe import draw
from recipe_sweep import measure_sweep

from hyperspec.training.precision import cpu_has_bf16

PARTS = ("steps", "embedding", "start", "sweep")
PACKAGES = ("torch", "torchvision", "kornia", "rasterio", "numpy", "lightly")


def keep(name: str, part: str, content: object) -> Path:
    """Put a part into the day's record, beside the parts that are there."""
    path = record.RESULTS / f"{name}_{datetime.now(UTC):%Y-%m-%d}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found[part] = {**record.context(PACKAGES), "found": content}
    return record.write(name, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="of " + ",".join(PARTS))
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 224], help="px, of steps")
    parser.add_argument("--sweep-sizes", type=int, nargs="*", default=[32], help="px, of sweeps")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the sweeps")
    parser.add_argument("--epochs", type=int, default=50, help="of the sweeps, on both sides")
    parser.add_argument(
        "--others",
        default=None,
        help="sweeps beside ours: kornia,joblib,lightly,bf16 (all that are there)",
    )
    parser.add_argument("--folder", type=Path, help="on the disk to measure (a temporary one)")
    parser.add_argument("--beside", type=Path, help="another checkout, in turn with ours in start")
    parser.add_argument("--name", default="recipe", help="of the record")
    words = parser.parse_args()
    asked = words.parts.split(",")
    if unknown := sorted(set(asked) - set(PARTS)):
        parser.error(f"--parts has {unknown[0]}; choose among {', '.join(PARTS)}")
    there = ["kornia", "joblib", *(["lightly"] if find_spec("lightly") else [])]
    there += ["bf16"] if cpu_has_bf16() else []
    others = words.others.split(",") if words.others else there
    if unknown := sorted(set(others) - set(there)):
        parser.error(f"--others has {unknown[0]}; there are {', '.join(there)}")
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="bench-recipe-", dir=words.folder) as name:
        folder = Path(name)
        ways: dict[str, Callable[[], Iterable[object]]] = {
            "embedding": lambda: [recipe_parts.measure_embedding(folder, words.repeats)],
            "start": lambda: [recipe_parts.measure_start(folder, words.repeats, words.beside)],
        }
        for size in words.sweep_sizes:
            ways[f"sweep {size} px"] = functools.partial(
                measure_sweep, folder, words.seeds, others, words.epochs, size
            )
        for size in words.sizes:
            ways[f"steps {size} px"] = functools.partial(
                recipe_parts.measure_steps, folder, size, words.repeats
            )
        for part in [key for word in asked for key in ways if key.split()[0] == word]:
            for found in ways[part]():
                path = keep(words.name, part, found)
                print(f"wrote {path}", flush=True)
    print(f"wrote {draw(path)}")


if __name__ == "__main__":
    main()
