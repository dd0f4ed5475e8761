"""What readers of mean spectra, of image statistics, of pixels and of images reach on ``spots``.

Each learns from fresh specimens of known species by linear discriminants with shrinkage (Ledoit &
Wolf 2004) and is scored on others. The first two see what the controls of the same names see. The
others know the windows: in each pixel they take a band inside against the nearest one outside. The
reader of pixel pairs sees whether both windows are met in the same pixels; the reader of images
also how strongly each follows the distance from the wings' roots and the direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.testing.synthetic.design import Design
from hyperspec.testing.synthetic.mosaic import NUM_RAYS, NUM_RINGS
from hyperspec.testing.synthetic.scene import Optics, Traits, render
from hyperspec.testing.synthetic.sensor import noise_profile
from hyperspec.testing.synthetic.wings import outline

Array = NDArray[np.float64]

READERS = ("mean_spectrum", "image_stats", "pixel_pairs", "image")
NUM_KNOWN, NUM_TEST = 240, 240  # sides that the readers learn from, and are scored on
SIZE = 32  # pixels: stripes are to be seen
FLOOR = 0.005  # of reflectance, before its logarithm
_FREE = 0.05  # share of a window's depth that a band outside it may feel


@dataclass(frozen=True)
class Side:
    """The specimen's pixels of one simulated side.

    Args:
        values: Reflectance with noise, ``(P, C)``.
        waves: Cosine and sine of the phase of rings and of rays, ``(4, P)``.
        species: Its number.
    """

    values: NDArray[np.float32]
    waves: Array
    species: int


def spots_accuracies(
    design: Design, axis: SpectralAxis, seed: np.random.SeedSequence, bands: dict[str, list[int]]
) -> dict[str, dict[str, float]]:
    """Return each reader's accuracy, 0 to 1, by name of the band set.

    Args:
        design: Of the variant ``spots``.
        axis: Of the cubes.
        seed: Of fresh specimens, which are none of the set's.
        bands: Band sets by name.
    """
    optics = Optics(design, axis.wavelengths_nm)
    children = seed.spawn(NUM_KNOWN + NUM_TEST)
    sides = [_simulate(design, optics, i, child) for i, child in enumerate(children)]
    species = np.array([side.species for side in sides])
    found = {}
    for name, chosen in bands.items():
        pairs = _pairs(design, optics, chosen)
        features = [_features(side, chosen, pairs) for side in sides]
        found[name] = {
            reader: _score(np.array([one[reader] for one in features]), species)
            for reader in READERS
        }
    return found


def _simulate(design: Design, optics: Optics, number: int, seed: np.random.SeedSequence) -> Side:
    rng, species = np.random.default_rng(seed), number % len(design.species)
    traits = Traits.draw(design, design.factors(species, rng), rng)
    dorsal = number // len(design.species) % 2 == 0
    image, coverage = render(traits, optics, SIZE, rng, dorsal=dorsal)
    inside = coverage > 0.5
    values = image[inside]
    noise = noise_profile(optics.wavelengths_nm).astype(np.float32)
    values = values + noise * rng.standard_normal(values.shape, dtype=np.float32)
    wing = outline(traits.shape, SIZE, dorsal=dorsal)
    turns = (NUM_RINGS * wing.radius[inside], NUM_RAYS * wing.angle[inside] / 2)
    waves = [f(2 * np.pi * turn) for turn in turns for f in (np.cos, np.sin)]
    return Side(values, np.array(waves), species)


def _pairs(design: Design, optics: Optics, bands: list[int]) -> list[tuple[int, int]] | None:
    """Return the places of a band inside each window and of the nearest one outside both.

    None if a window is missed: whether both lie in the same scales cannot be seen then.
    """
    nm, found = optics.wavelengths_nm[bands], []
    felt = [w.spectrum(nm) / w.absorbance for w in design.windows]
    outside = np.flatnonzero(np.max(felt, axis=0) < _FREE)
    for window, depth in zip(design.windows, felt, strict=True):
        inside = np.flatnonzero(depth >= 0.5)
        if not inside.size or not outside.size:
            return None
        at = inside[np.abs(nm[inside] - window.centre_nm).argmin()]
        found.append((int(at), int(outside[np.abs(nm[outside] - nm[at]).argmin()])))
    return found


def _features(
    side: Side, bands: list[int], pairs: list[tuple[int, int]] | None
) -> dict[str, Array]:
    values = side.values[:, bands].astype(np.float64)
    statistics = [f(axis=0) for f in (values.mean, values.std, values.min, values.max)]
    found = {
        "mean_spectrum": np.log(np.maximum(statistics[0], FLOOR)),
        "image_stats": np.concatenate(statistics),
        "pixel_pairs": np.zeros(1),
        "image": np.zeros(1),
    }
    if pairs is not None:
        logs = np.log(np.maximum(values, FLOOR))
        contrast = np.array([logs[:, at] - logs[:, beside] for at, beside in pairs])
        contrast -= contrast.mean(1, keepdims=True)
        contrast /= contrast.std(1, keepdims=True) + 1e-12
        together = (contrast[0] * contrast[1]).mean(keepdims=True)
        waves = side.waves - side.waves.mean(1, keepdims=True)
        follows = ((contrast @ waves.T / waves.shape[1]) ** 2).reshape(2, 2, 2).sum((0, 2))
        found["pixel_pairs"] = together
        found["image"] = np.concatenate([together, np.sqrt(follows)])
    return found


def _score(features: Array, species: NDArray[np.intp]) -> float:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    known = slice(0, NUM_KNOWN)
    if not features[known].std(0).any():
        return 1 / len(np.unique(species))  # nothing is seen
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    model.fit(features[known], species[known])
    return float((model.predict(features[NUM_KNOWN:]) == species[NUM_KNOWN:]).mean())
