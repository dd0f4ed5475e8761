"""What whole sweeps conclude of sets whose truth is known, over seeds of their making.

    python benchmarks/bench_verdicts.py [--kinds planted,null,shuffled,confounded] [--sets 10] \
        [--words data.size=32 epochs=20]

Each set is trained on by 50 and by 408 bands, three seeds, in four rotations, and the sentences of
its report are kept. Words for ``hyperspec train`` make it shorter; the record holds them. Right is:
of ``planted`` that 50 bands do as well as 408 and that training is not said to gain anything (a
linear probe on mean spectra does as well there); of ``null`` (species alike) and ``shuffled``
(labels dealt anew over specimens) that nothing is claimed; of ``confounded`` (two alike, each
scanned to three quarters in four of eight sessions, whose lamps differ) with
``data.split.group=session`` that nothing is claimed either. A record of each kind is written anew
after each set.

The default margin of 2 points cannot be met by fewer than some 150 specimens, even where all are
named rightly; fix a wider one beforehand (``--words sweep.margin=0.05``) for fewer.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import record

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.open import open_cube
from hyperspec.report.load import load_sweep
from hyperspec.report.paired_tests import compare
from hyperspec.report.summary import summarise
from hyperspec.report.verdict import Verdict, conclude
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

KINDS = ("planted", "null", "shuffled", "confounded")
SESSIONS = 8


def make(folder: Path, kind: str, seed: int, specimens: int) -> None:
    """Make a set of eight species."""
    variant = "null" if kind in ("null", "confounded") else "planted"
    synthesise(folder, SynthSettings(variant=variant, num_specimens=specimens, seed=seed))
    if kind not in ("shuffled", "confounded"):
        return
    path = folder / "labels.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    random = np.random.default_rng(seed)
    animals = sorted({(row["species"], row["specimen"]) for row in rows})
    dealt = random.permutation([name for name, _ in animals])
    species = dict(zip(animals, dealt.tolist(), strict=True))
    names = sorted({name for name, _ in animals})
    kinds = {name: place % 2 for place, name in enumerate(names)}
    sessions = {animal: _session(kinds[animal[0]], random) for animal in animals}
    for row in rows:
        animal = (row["species"], row["specimen"])
        # The name of the animal stays one of its own, whatever species it is said to be.
        row["specimen"] = f"{animal[0]} {animal[1]}"
        if kind == "shuffled":
            row["species"] = species[animal]
        else:
            row["species"] = ("first", "second")[kinds[animal[0]]]
            row["session"] = f"s{sessions[animal]}"
            _light(folder / row["file"], sessions[animal])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _session(kind: int, random: np.random.Generator) -> int:
    """Three of four animals of a kind are scanned in one of the sessions that are its own."""
    other = random.random() < 0.25
    return 2 * int(random.integers(SESSIONS // 2)) + (kind ^ int(other))


def _light(path: Path, session: int) -> None:
    """Scan a cube under a session's lamp: a tilt of up to 10% to either end."""
    with open_cube(path) as cube:
        values, axis = cube.read_raw(), cube.axis
    tilt = 0.1 * (session - (SESSIONS - 1) / 2) / ((SESSIONS - 1) / 2)
    lamp = 1 + tilt * np.linspace(-1, 1, len(values))
    lit = np.clip(values * lamp[:, None, None], 0, np.iinfo(values.dtype).max)
    write_envi(path, lit.round().astype(values.dtype), axis, header_suffix=".bil.hdr")


def run(folder: Path, kind: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train on one set; return what its report says."""
    specimens, begun = folder / "specimens", time.monotonic()
    make(specimens, kind, seed, options.specimens)
    words = ["experiment=demo", "-m", "bands.n=50,408", "seed=0,1,2", "data.split.rotate=4"]
    words += [f"data.root={specimens}", f"data.split.seed={seed}", "hydra.sweep.dir=sweep"]
    if options.jobs > 1:
        words += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={options.jobs}"]
    words += ["evaluation.controls=[untrained,mean_spectrum,lda]", "tracking.log_model=none"]
    words += ["data.split.group=session"] if kind == "confounded" else []
    words += ["sweep.report=false", *options.words]
    command = [sys.executable, "-m", "hyperspec", "train", *words]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    data = load_sweep(f"sqlite:///{folder / 'mlflow.db'}", [str(folder / "sweep")])
    summary = summarise(data)
    found = conclude(data, summary, compare(data, summary))
    return {
        "kind": kind,
        "seed": seed,
        "right": is_right(kind, found),
        "training": found.training.test.verdict if found.training and found.training.test else None,
        "fewest": found.bands.fewest[0] if found.bands and found.bands.fewest else None,
        "sentences": found.sentences,
        "seconds": round(time.monotonic() - begun),
    }


def is_right(kind: str, found: Verdict) -> bool:
    """Say whether a verdict is what the set was made for."""
    training = found.training.test if found.training else None
    fewest = found.bands.fewest if found.bands else None
    if kind == "planted":
        gain = training is not None and training.verdict == "better"
        return fewest is not None and fewest[0] == 50 and not gain
    if found.beats_guessing is False:
        return True  # the report says that it can judge nothing
    return fewest is None and (training is None or training.verdict == "undecided")


def main() -> None:
    """Run the sets and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--specimens", type=int, default=12, help="of each species")
    parser.add_argument("--words", nargs="*", default=[], help="for hyperspec train")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    for kind in options.kinds.split(","):
        rows = []
        for seed in range(options.sets):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(run(Path(folder), kind, seed, options))
            print(json.dumps(rows[-1]), flush=True)
            right = sum(row["right"] for row in rows)
            found = {"kind": kind, "sets": len(rows), "right": right, "words": options.words}
            packages = record.context(("hyperspec-sweeps", "torch"))
            record.write(f"verdicts_{kind}", packages | found | {"rows": rows})


if __name__ == "__main__":
    main()
