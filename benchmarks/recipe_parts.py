"""Loading, views, steps, embedding and start-up of both sides, in alternation."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from plain_recipe import recipe
from recipe_sides import (
    Ours,
    Plain,
    alternate,
    config_of,
    in_blocks,
    plain_cubes,
    show,
    summary,
    timed,
    write_split,
)

from hyperspec.cubes.discover import frame_kind
from hyperspec.cubes.synthetic import SynthSettings, synthesise
from hyperspec.embedding import CubeEmbedder
from hyperspec.pipeline import prepare

PARTS = ("load", "views", "train")


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


def sides(folder: Path, size: int, n: int) -> tuple[Ours, Plain]:
    root, batch = specimens(folder, size), batch_of(size)
    words = [f"data.size={size}", f"bands.n={n}", f"batch_size={batch}"]
    config = config_of(root, *words, f"data.cache_dir={folder}/cache")
    material = prepare(config)
    write_split(folder / "split.csv", material)
    return Ours(config, material, batch), Plain(
        plain_cubes(root, folder / "split.csv", n, size), batch
    )


def measure_steps(folder: Path, sizes: list[int], repeats: int) -> list[dict[str, Any]]:
    """Time loading, views and whole steps at 50 and 408 bands (parts a, b, c)."""
    return [measure_at(folder, size, n, repeats) for size in sizes for n in (50, 408)]


def measure_at(folder: Path, size: int, n: int, repeats: int) -> dict[str, Any]:
    ours, plain = sides(folder, size, n)
    where = f"{n} bands, {size} px, batch {batch_of(size)}"
    both: dict[str, Ours | Plain] = {"ours": ours, "plain": plain}
    loading = summary(in_blocks(both, "load", repeats, 4))
    show(f"(a) loading a float32 batch, {where}", loading)
    plain.start(1)
    images, batch = plain.load(), ours.draw()
    plain.stop()
    ways = {"ours": lambda: ours.make(batch), "plain": lambda: plain.make(images)}
    with torch.no_grad():
        views = summary(alternate(ways, repeats))
    show(f"(b) two views (ours: from the store, projected), {where}", views)
    for side in both.values():
        side.parts.clear()
    seconds = in_blocks(both, "step", repeats, 2)
    steps, parts = summary(seconds), {name: side.parts for name, side in both.items()}
    show(f"(c) training step, ResNet-18, {where}", steps)
    medians = {
        name: dict(zip(PARTS, torch.tensor(v).median(0).values.tolist(), strict=True))
        for name, v in parts.items()
    }
    for name, each in medians.items():
        print(f"      {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in each.items()))
    return {
        "bands": n, "size": size, "batch": batch_of(size), "loading": loading, "views": views,
        "step": steps, "step_parts": medians, "all_s": seconds,
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
            [sys.executable, "-m", "hyperspec.train", *words, f"data.root={root}", "epochs=1",
             f"data.cache_dir={folder}/cache", "evaluation.controls=false",
             f"hydra.run.dir={out}"],
            folder,
        )  # fmt: skip
        embedder = CubeEmbedder(out / "last.ckpt")
        config = config_of(root, f"data.size={size}", f"bands.n={n}")
        write_split(
            folder / "split.csv",
            prepare(config_of(root, *words[2:], f"data.cache_dir={folder}/cache")),
        )
        train = plain_cubes(root, folder / "split.csv", n, size)
        mean, sd = recipe.moments(torch.utils.data.DataLoader(train, 8))
        views = recipe.Views(size, mean, sd)
        backbone = recipe.build(n, "kornia", config.loss.temperature)[0].eval()
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


def measure_start(folder: Path, repeats: int) -> dict[str, Any]:
    """Time a process from its start to the end of its first step, tracking included (part f)."""
    root = specimens(folder, 64)
    cache = f"data.cache_dir={folder}/cache"
    config = config_of(root, "data.size=64", "bands.n=50", cache)
    write_split(folder / "split.csv", prepare(config))
    first, script = Path(__file__).parent / "first_step.py", Path(recipe.__file__)
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(repeats + 1):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            _, _, text = timed(
                [sys.executable, str(first), "experiment=demo", "model=resnet18", cache,
                 f"data.root={root}", "data.size=64", "bands.n=50"],
                Path(name),
            )  # fmt: skip
            out = Path(name) / "plain.json"
            timed(
                [sys.executable, str(script), "--root", str(root), "--split",
                 str(folder / "split.csv"), "--bands", "50", "--size", "64", "--epochs", "1",
                 "--out", str(out)],
                Path(name),
            )  # fmt: skip
            found = {
                "ours": float(text.split("FIRST STEP", 1)[1].split()[0]),
                "plain": float(json.loads(out.read_text())["seconds_to_first_step"]),
            }
        if turn:
            for side, seconds in found.items():
                times[side].append(seconds)
    result = summary(times)
    show("(f) start of a job to the end of its first step, 50 bands, 64 px", result)
    return {"seconds": result}
