"""How long importance by windows takes at all bands, beside embedding every window's images whole.

    python benchmarks/bench_importance.py [--model resnet18] [--bands 408] [--size 64] [--repeats 3]

An encoder behind the `projection` stem, trained for an epoch on synthetic specimens; windows of the
default width on the test images, replaced by the training mean. ``quick`` computes only what a
window's own bands change, as commands and runs do; ``whole`` reads, projects and embeds all bands
for each window. Both take turns, with the probe fitted in each; then the largest difference of
what a window changes in an embedding (1 - cosine).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import record

from hyperspec.inference import importance
from hyperspec.inference.restore import Restored, restore
from hyperspec.report.checkpoint_lookup import read_word
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings


def trained(folder: Path, model: str, bands: int, size: int) -> Restored:
    """Train for an epoch in a folder, and return the encoder with its specimens."""
    synthesise(folder / "specimens", SynthSettings(size=size * 5 // 4))
    subprocess.run(
        [sys.executable, "-m", "hyperspec.cli.train", "experiment=demo", f"model={model}",
         "data.root=specimens", f"data.size={size}", f"bands.n={bands}", "epochs=1",
         "warmup_steps=1", "evaluation.controls=false", "evaluation.importance=false"],
        cwd=folder, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    checkpoint, _ = read_word("latest", f"sqlite:///{folder}/mlflow.db").find()
    return restore(folder / checkpoint, root=str(folder / "specimens"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--bands", type=int, default=408)
    parser.add_argument("--size", type=int, default=64, help="px")
    parser.add_argument("--repeats", type=int, default=3)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-importance-") as name:
        restored = trained(Path(name), words.model, words.bands, words.size)
        width = restored.config.evaluation.importance_window_nm
        taken: dict[str, list[float]] = {"quick": [], "whole": []}
        change: dict[str, np.ndarray] = {}
        for _ in range(words.repeats):
            for way, seconds in taken.items():
                with mock.patch.object(
                    importance, "is_quick", importance.is_quick if way == "quick" else _never
                ):
                    start = time.perf_counter()
                    (found,) = importance.measure_importance(restored, ["mean"], window_nm=width)
                    seconds.append(time.perf_counter() - start)
                change[way] = found.change
        medians = {way: round(statistics.median(seconds), 2) for way, seconds in taken.items()}
        content = {
            "model": words.model,
            "bands": words.bands,
            "size": words.size,
            "images": len(restored.material.split.test),
            "windows": len(change["quick"]),
            "seconds": medians,
            "times_as_fast": round(medians["whole"] / medians["quick"], 1),
            "largest_difference_of_change": float(abs(change["quick"] - change["whole"]).max()),
        }
    for key, value in content.items():
        print(f"{key:38} {value}")
    context = record.context(("torch", "numpy", "scikit-learn"))
    print(record.write(f"importance_{words.model}", {**context, **content}))


def _never(*_: object) -> bool:
    return False


if __name__ == "__main__":
    main()
