"""Indian Pines (Baumgardner, Biehl & Landgrebe 2015): the scene, its classes, its axis.

The scene (145 x 145 pixels, 200 of AVIRIS' 220 bands, 16 classes) ships inside the package tensorly
(BSD), which the extra ``studies`` installs: nothing is downloaded when a study runs.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis

CHANNELS = 220
# Water vapour, left out of the corrected scene: channels from 1.
ABSORBED = (*range(104, 109), *range(150, 164), 220)
CLASSES = (
    *("Alfalfa", "Corn-notill", "Corn-mintill", "Corn", "Grass-pasture", "Grass-trees"),
    *("Grass-pasture-mowed", "Hay-windrowed", "Oats", "Soybean-notill", "Soybean-mintill"),
    *("Soybean-clean", "Wheat", "Woods", "Buildings-Grass-Trees-Drives", "Stone-Steel-Towers"),
)


def load() -> tuple[NDArray[np.float32], NDArray[np.int64], SpectralAxis]:
    """Return the scene ``(lines, samples, 200)``, its classes from 0 (-1 without), and its axis.

    The file has no wavelengths: they are taken as evenly spaced over 400 to 2500 nm, which is
    right to some 10 nm (the four spectrometers of AVIRIS overlap a little).
    """
    folder = files("tensorly.datasets") / "data"
    with (folder / "Indian_pines_corrected.npy").open("rb") as file:
        scene = np.load(file).astype(np.float32)
    with (folder / "Indian_pines_gt.npy").open("rb") as file:
        classes = np.load(file).astype(np.int64) - 1
    nm = np.linspace(400.0, 2500.0, CHANNELS)
    kept = [i for i in range(CHANNELS) if i + 1 not in ABSORBED]
    if scene.shape != (145, 145, len(kept)) or classes.max() != len(CLASSES) - 1:
        raise SystemExit(f"the scene is {scene.shape} with {classes.max() + 1} classes")
    return scene, classes, SpectralAxis(nm[kept])


def write(folder: Path) -> None:
    """Write the scene as ``scene.bil`` with its map of labels beside it."""
    scene, classes, axis = load()
    folder.mkdir(parents=True, exist_ok=True)
    write_envi(folder / "scene.bil", scene.transpose(2, 0, 1), axis, dtype="u2")
    np.save(folder / "scene_labels.npy", (classes + 1).astype("u1"))


if __name__ == "__main__":
    import sys

    write(Path(sys.argv[1]))
