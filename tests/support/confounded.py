"""Two species with equal spectra, scanned in eight sessions whose lamps differ."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis

NUM_SESSIONS, NUM_BANDS = 8, 24
AXIS = SpectralAxis.linear(400, 800, NUM_BANDS)


def write_confounded(folder: Path, *, share: float = 0.75, size: int = 64, seed: int = 0) -> Path:
    """Write cubes in two views and ``labels.csv`` with file, species, specimen, view, session.

    Each session has as many specimens as the others, ``share`` of them of one species: the one or
    the other in turn. A session's lamp tilts and bends all its spectra alike; specimens differ in
    brightness and a little in slope, without regard to their species.
    """
    random = np.random.default_rng(seed)
    x = np.linspace(-1, 1, NUM_BANDS)
    tilt, bend, twist = random.normal(0, 0.3, (3, NUM_SESSIONS))
    rows = []
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(size):
        session, place = i % NUM_SESSIONS, i // NUM_SESSIONS
        own = place < share * size / NUM_SESSIONS
        species = "ab"[(session % 2) ^ (not own)]
        gain, slope = random.normal(0, [0.2, 0.03])
        lamp = np.exp(tilt[session] * x + bend[session] * x**2 + twist[session] * x**3)
        spectrum = 3000 * np.exp(gain + slope * x) * (1 + 0.3 * np.sin(3 * x)) * lamp
        for view in "DV":
            noise = random.normal(1, 0.02, (NUM_BANDS, 6, 6))
            file = f"{species}_{i}{view}.bil"
            write_envi(folder / file, (spectrum[:, None, None] * noise).astype(np.uint16), AXIS)
            rows.append((file, species, str(i), view, f"s{session}"))
    with (folder / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "species", "specimen", "view", "session"))
        table.writerows(rows)
    return folder
