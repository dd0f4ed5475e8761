"""Draw a record of `bench_recipe.py`: how many times sooner, part by part.

python benchmarks/draw_recipe.py benchmarks/results/recipe_DATE.json
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

OURS, PLAIN = "#0b6e4f", "#b8b8b8"
# Beside each, the recipe in float32, one job after the other.
WAYS = {"ours": "", "ours bf16": ", bf16", "ours joblib": ", a job per core"}


def rows_of(found: dict[str, Any]) -> list[tuple[str, float, float, float]]:
    """Return label, plain and our seconds, and ratio of each measurement."""
    rows = []

    def add(label: str, summary: dict[str, dict[str, float]]) -> None:
        plain = summary["plain"]["median"]
        for name, word in WAYS.items():
            if name in summary:
                ours = summary[name]["median"]
                rows.append((label + word, plain, ours, plain / ours))

    steps = [row for part in found if part.startswith("steps") for row in found[part]["found"]]
    if steps:
        for key, word in (
            ("loading", "loading"),
            ("views", "two views"),
            ("step", "training step"),
        ):
            for row in steps:
                add(f"{word}, {row['bands']} bands, {row['size']} px", row[key])
    for sweep in [found[part]["found"] for part in found if part.startswith("sweep")]:
        runs = sweep["runs"]
        seconds = {
            name: statistics.median(run[name]["seconds"] for run in runs) for name in runs[0]
        }
        for library in [name for name in seconds if name not in WAYS]:
            ways = {name: {"median": seconds[name]} for name in WAYS if name in seconds}
            label = f"sweep of 6 counts, {sweep['size']} px ({library})"
            add(label, {"plain": {"median": seconds[library]}, **ways})
    if "embedding" in found:
        for row in found["embedding"]["found"]:
            add(f"embedding {row['files']} cubes, {row['bands']} bands", row["seconds"])
    if "start" in found:
        add("start of a job to its first step", found["start"]["found"]["seconds"])
    return rows


def draw(path: Path) -> Path:
    """Draw a record and return the picture's path, beside it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = json.loads(path.read_text())
    rows = rows_of(found)[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.33 * len(rows) + 1.3), layout="constrained")
    for place, (_, plain, ours, ratio) in enumerate(rows):
        axes.barh(place, ratio - 1, left=1, color=OURS if ratio >= 1 else PLAIN, height=0.7)
        axes.annotate(
            f"{ratio:.1f}x   {_seconds(plain)} → {_seconds(ours)}",
            (max(ratio, 1), place), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=9)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    marks = [0.5, 1, 2, 5, 10, 20, 50, 100]
    axes.set_xticks(marks, [f"{mark:g}x" for mark in marks])
    axes.minorticks_off()
    axes.set_xlim(min(0.5, *(row[3] for row in rows)), 20 * max(row[3] for row in rows))
    axes.set_xlabel("times as fast as the plain recipe (plain seconds → ours)")
    machine = next(iter(found.values()))["machine"]
    axes.set_title(f"{machine['cores']} cores, {machine['processor']}", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    picture = path.with_suffix(".png")
    figure.savefig(picture, dpi=120)
    plt.close(figure)
    return picture


def _seconds(value: float) -> str:
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"


if __name__ == "__main__":
    print(draw(Path(sys.argv[1])))
