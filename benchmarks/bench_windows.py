"""How often planted windows are found, and others claimed, over generator seeds.

    python benchmarks/bench_windows.py [--kinds planted,null] [--sets 10] [--bands 136] \
        [--size 16] [--epochs 20] [--words data.normalisation=snv]

Each set of eight species is trained on by all bands, one encoder, small and short so that many
sets can be looked at; its windows are exchanged as at the end of a sweep, and the stretches that
stand out are compared with those that were planted (``truth.json``). A planted window is found
where the middle of a stretch lies within it, to a quarter of a window's width; a stretch that
meets no planted window is false. On ``null`` every stretch is false. The record, one for each
``--kinds``, is written anew after each set.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record

from hyperspec.cli.train import main as train
from hyperspec.evaluation.importance.standing_out import find_standing_out
from hyperspec.evaluation.importance.swaps import read_swaps
from hyperspec.inference.restore import restore
from hyperspec.inference.window_importance import measure_windows
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

KINDS = ("planted", "null")


def look(folder: Path, kind: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Make a set, train, exchange windows; return what stands out beside the truth."""
    begun, specimens = time.monotonic(), folder / f"{kind}-{seed}"
    made = SynthSettings(
        variant=kind,
        num_specimens=options.specimens,
        size=options.size,
        num_bands=options.bands,
        seed=seed,
    )
    synthesise(specimens, made)
    out = folder / f"run-{kind}-{seed}"
    words = ["experiment=demo", "bands=full", f"data.root={specimens}", f"data.size={options.size}"]
    words += [f"epochs={options.epochs}", f"seed={seed}", f"data.split.seed={seed}"]
    words += ["evaluation.controls=false", "evaluation.evaluators=[knn,linear]"]
    words += [f"hydra.run.dir={out}", f"tracking.uri=sqlite:///{folder / 'mlflow.db'}"]
    if train([*words, *options.words]) != 0:
        raise SystemExit(f"the training on {specimens} failed")
    trained = time.monotonic()
    measured = measure_windows(restore(out / "last.ckpt"), options.width)
    assert measured is not None, "labelled specimens"
    read = read_swaps(measured.swaps)
    assert read is not None, "it was measured"
    grid, (told, lost) = read
    found = find_standing_out(grid, told[None], lost[None], measured.swaps["specimen"].tolist())
    truth = json.loads((specimens / "truth.json").read_text())["windows"] if kind != "null" else {}
    ends = {
        name: (one["centre_nm"] - one["fwhm_nm"] / 2, one["centre_nm"] + one["fwhm_nm"] / 2)
        for name, one in truth.items()
    }
    slack = options.width / 4
    stretches = [(s.start_nm, s.stop_nm) for s in found.stretches]
    return {
        "kind": kind,
        "seed": seed,
        "found": {
            name: any(low - slack <= (a + b) / 2 <= high + slack for a, b in stretches)
            for name, (low, high) in ends.items()
        },
        "false": [
            s
            for s in stretches
            if not any(s[0] < high and low < s[1] for low, high in ends.values())
        ],
        "stretches": [
            [round(s.start_nm, 1), round(s.stop_nm, 1), round(s.lost.mean, 3), s.p]
            for s in found.stretches
        ],
        "windows": len(found.windows),
        "seconds_training": round(trained - begun, 1),
        "seconds_windows": round(time.monotonic() - trained, 1),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count sets in which both windows were found, and false stretches by set and by window."""
    told: dict[str, Any] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        told[kind] = {
            "sets": len(own),
            "all planted found": sum(all(row["found"].values()) for row in own)
            * bool(own[0]["found"]),
            "sets with a false stretch": sum(bool(row["false"]) for row in own),
            "false stretches": sum(len(row["false"]) for row in own),
            "stretches": sum(len(row["stretches"]) for row in own),
            "nothing stands out": sum(not row["stretches"] for row in own),
        }
    return told


def main() -> None:
    """Look at all sets and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--kinds", default="planted,null")
    add("--sets", type=int, default=10)
    add("--first", type=int, default=100, help="seed of the first set")
    add("--specimens", type=int, default=16, help="per species")
    add("--bands", type=int, default=136)
    add("--size", type=int, default=16)
    add("--epochs", type=int, default=20)
    add("--width", type=float, default=20.0, help="of windows, nm")
    add("--words", nargs="*", default=[])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    name = f"windows_{options.kinds.replace(',', '_')}"
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.sets):
            for kind in options.kinds.split(","):
                os.chdir(folder)
                rows.append(look(Path(folder), kind, seed, options))
                os.chdir(before)
                print(rows[-1], file=sys.stderr, flush=True)
                content = record.context(("numpy", "torch", "scikit-learn"))
                content |= {"options": vars(options), "summary": summary(rows), "sets": rows}
                path = record.write(name, content)
    print(json.dumps(content["summary"], indent=1))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
