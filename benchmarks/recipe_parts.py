"""Loading, views, steps, embedding and start-up of both sides, in alternation."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from plain_recipe import recipe
from recipe_process import Process
from recipe_sides import (
    Ours,
    Plain,
    alternate,
    in_blocks,
    material_of,
    plain_cubes,
    show,
    summary,
    timed,
)

from hyperspec.cubes.frames import frame_kind
from hyperspec.inference.cube_embedder import CubeEmbedder
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.training.precision import cpu_has_bf16

PARTS = ("load", "views", "train")
READ_AHEAD = 4  # batches that wait for the recipe, which must not be taken for its reading


def batch_of(size: int) -> int:
    return 64 if size < 100 else 8


def specimens(folder: Path, size: int) -> Path:
    """Make cubes somewhat larger than the views, enough to fill a batch from the training part."""
    root = folder / f"cubes{size}"
    if not root.exists():
        # 16 images per specimen number (8 species, 2 views); 0.4 of the numbers train. Three is the
        # least that gives each part a specimen of each species.
        num, side = (12, 96) if size < 100 else (3, 256)
        synthesise(root, SynthSettings(num_specimens=num, size=side))
    return root


def sides(folder: Path, size: int, n: int) -> dict[str, Process]:
    """Start each side in a process of its own, on the same cubes, split and batch."""
    root, batch = specimens(folder, size), batch_of(size)
    words = [f"data.size={size}", f"bands.n={n}", f"batch_size={batch}"]
    material_of(root, folder, *words)
    found = {
        "ours": Process(Ours, root, folder, words, batch),
        "plain": Process(Plain, root, folder, n, size, batch),
    }
    if cpu_has_bf16():  # it takes many times as long where it is emulated
        found["ours bf16"] = Process(Ours, root, folder, words, batch, True)
    return found


def measure_steps(folder: Path, size: int, repeats: int) -> Iterator[list[dict[str, Any]]]:
    """Time loading, views and whole steps at 50 and 408 bands (parts a, b, c).

    Yields:
        What was found so far.
    """
    rows: list[dict[str, Any]] = []
    for n in (50, 408):
        rows.append(measure_at(folder, size, n, repeats))
        yield rows


def measure_at(folder: Path, size: int, n: int, repeats: int) -> dict[str, Any]:
    where = f"{n} bands, {size} px, batch {batch_of(size)}"
    every = sides(folder, size, n)
    two = {name: side for name, side in every.items() if name in ("ours", "plain")}
    try:
        loading = summary(in_blocks(two, "load", repeats, 4, lead=READ_AHEAD + 1))
        show(f"(a) loading a float32 batch, {where}", loading)
        views = summary(in_blocks(two, "views", repeats, 2))
        show(f"(b) two views (ours: from the store, projected), {where}", views)
        seconds = in_blocks(every, "step", repeats, 2)
        steps = summary(seconds)
        show(f"(c) training step, ResNet-18, {where}", steps)
        medians = {
            name: dict(zip(PARTS, side.parts(), strict=True)) for name, side in every.items()
        }
        peaks = {name: side.peak_mb() for name, side in every.items()}
    finally:
        for side in every.values():
            side.close()
    for name, each in medians.items():
        parts = ", ".join(f"{k} {v:.3f}" for k, v in each.items())
        print(f"      {name}: {parts} s; peak memory {peaks[name]:.0f} MB", flush=True)
    return {
        "bands": n, "size": size, "batch": batch_of(size), "loading": loading, "views": views,
        "step": steps, "step_parts": medians, "peak_memory_mb": peaks, "all_s": seconds,
    }  # fmt: skip


def measure_embedding(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Time features of a folder of new cubes, files in, array out (part e)."""
    root, size = specimens(folder, 64), 64
    new = folder / "new_cubes"
    if not new.exists():
        synthesise(new, SynthSettings(num_specimens=4, size=80, seed=1))
    files = sorted(path for path in new.glob("*.bil") if frame_kind(path) is None)
    rows = []
    for n in (50, 408):
        words = ["experiment=demo", "model=resnet18", f"data.size={size}", f"bands.n={n}"]
        out = folder / f"embedder{n}"
        timed(
            [sys.executable, "-m", "hyperspec.cli.train", *words, f"data.root={root}", "epochs=1",
             f"data.cache_dir={folder}/cache", "evaluation.controls=false",
             f"hydra.run.dir={out}"],
            folder,
        )  # fmt: skip
        embedder = CubeEmbedder(out / "last.ckpt")
        material_of(root, folder, *words[2:])
        train = plain_cubes(root, folder / "split.csv", n, size)
        mean, sd = recipe.moments(torch.utils.data.DataLoader(train, 8))
        views = recipe.Views(size, mean, sd)
        backbone = recipe.build(n, "kornia", 0.2)[0].eval()
        cubes = recipe.Cubes(files, [0] * len(files), train.bands, size)

        def plainly(cubes: Any = cubes, backbone: Any = backbone, views: Any = views) -> Any:
            loader = torch.utils.data.DataLoader(cubes, 64, num_workers=2)
            return recipe.features(backbone, views, loader)

        def ours(embedder: Any = embedder) -> Any:
            return embedder(files)

        found = summary(alternate({"ours": ours, "plain": plainly}, repeats))
        show(f"(e) embedding {len(files)} new cubes, {n} bands, {size} px", found)
        rows.append({"bands": n, "size": size, "files": len(files), "seconds": found})
    return rows


def measure_start(folder: Path, repeats: int, beside: Path | None = None) -> dict[str, Any]:
    """Time a process from its start to the end of its first step, tracking included (part f).

    In seconds, and in those of the processor, without the recipe's reading processes; ``beside`` is
    another checkout, whose code takes its turn as ``before``.
    """
    root = specimens(folder, 64)
    cache = f"data.cache_dir={folder}/cache"
    material_of(root, folder, "data.size=64", "bands.n=50")
    codes = {"ours": Path(__file__).parents[1], **({"before": beside} if beside else {})}
    seconds: dict[str, list[float]] = {name: [] for name in (*codes, "plain")}
    processor: dict[str, list[float]] = {name: [] for name in seconds}
    for turn in range(repeats + 1):
        found: dict[str, tuple[float, float]] = {}
        for name, code in codes.items():
            with tempfile.TemporaryDirectory(dir=folder) as run:
                _, _, text = timed(
                    ["env", f"PYTHONPATH={code}", sys.executable,
                     str(Path(__file__).with_name("first_step.py")), "experiment=demo",
                     "model=resnet18", cache, f"data.root={root}", "data.size=64", "bands.n=50"],
                    Path(run),
                )  # fmt: skip
            took, spent, *_ = text.split("FIRST STEP", 1)[1].split()
            found[name] = float(took), float(spent)
        out = folder / "plain.json"
        timed(
            [sys.executable, str(recipe.__file__), "--root", str(root), "--split",
             str(folder / "split.csv"), "--bands", "50", "--size", "64", "--epochs", "1",
             "--out", str(out)],
            folder,
        )  # fmt: skip
        told = json.loads(out.read_text())
        found["plain"] = told["seconds_to_first_step"], told["processor_to_first_step"]
        if turn:
            for name, (took_s, spent_s) in found.items():
                seconds[name].append(took_s)
                processor[name].append(spent_s)
    result = {"seconds": summary(seconds), "processor": summary(processor)}
    for what, rows in result.items():
        show(f"(f) start of a job to the end of its first step, 50 bands, 64 px, {what}", rows)
    return result
