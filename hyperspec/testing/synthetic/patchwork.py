"""Scenes of patches with a class each, and spectra that tell place, class, or both."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis

AXIS = SpectralAxis.linear(400, 800, 8)
PATCH = 16  # pixels: fields of a landscape


def write_patchwork(
    root: Path,
    seed: int,
    *,
    separation: float = 0.0,
    place: float = 0.05,
    patches: int = 12,
    num_classes: int = 3,
) -> Path:
    """Write ``scene.bil`` and its map of labels, ``scene_labels.npy``.

    Each patch has a class and a spectrum of its own (soil, moisture, slope). A new place has
    another one, so that ``place`` alone says nothing about the class of another patch.

    Args:
        root: Folder.
        seed: Of the scene; the spectra of the classes are the same for all.
        separation: Distance of the classes' mean spectra in reflectance; 0: the truth is chance.
        place: Standard deviation of the patches' own spectra.
        patches: Patches a side.
        num_classes: Classes, which occur about equally often.
    """
    rng, bands = np.random.default_rng(seed), len(AXIS)
    classes = rng.permutation(np.arange(patches**2) % num_classes).reshape(patches, patches)
    means = np.random.default_rng(99).normal(size=(num_classes, bands))
    means *= separation / np.linalg.norm(means, axis=1, keepdims=True)
    own = 0.4 + means[classes] + rng.normal(0, place, (patches, patches, bands))
    values = np.kron(own.transpose(2, 0, 1), np.ones((1, PATCH, PATCH)))
    values += rng.normal(0, 0.02, values.shape)
    stored = np.rint(values.clip(0.001) * 10_000)
    write_envi(root / "scene.bil", stored, AXIS, dtype="u2", scale_factor=10_000)
    labels = np.kron(classes + 1, np.ones((PATCH, PATCH), int)).astype("u1")
    np.save(root / "scene_labels.npy", labels)
    return root
