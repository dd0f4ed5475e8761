"""The right answer, written beside the data: windows, factors, noise and what an oracle reaches.

The oracle is a reader who knows the windows. It sees a side's mean spectrum over the specimen in
the chosen bands, as the control ``mean_spectrum`` does, but it knows the optics: in the logarithm
of reflectance a window is a known shift, and what nuisances do (pattern, pigment amounts, light) is
a Gaussian whose mean and covariance it has from many specimens without windows, beside that of the
noise. Under those it is the Bayes classifier. It is scored on fresh specimens. Glints and the
Gaussian's misfit are what it does not know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.testing.synthetic import spots_oracle
from hyperspec.testing.synthetic.design import PIGMENT_GROUPS, WINDOW_ORDER, Design, Factors
from hyperspec.testing.synthetic.scene import Optics, Traits, render
from hyperspec.testing.synthetic.sensor import (
    NOISE_FACTOR_BLUE_END,
    NOISE_FACTOR_RED_END,
    NOISE_REFLECTANCE,
    noise_profile,
)
from hyperspec.testing.synthetic.settings import SynthSettings

Array = NDArray[np.float64]

NUM_KNOWN = 160  # sides per pigment group from which the oracle knows the nuisances
NUM_TEST = 320  # fresh sides that it is scored on, 40 of each species
ORACLE_SIZE = 20  # pixels: means over a pattern need no finer grid
ORACLE_KEY = 1_000_003  # spawn key apart from those of species and specimens
ORACLE_NUM_BANDS = (5, 10, 20, 50, 100, 200, 408)
RGB_NM = (650.0, 550.0, 450.0)


@dataclass(frozen=True)
class Samples:
    """Simulated sides: log mean reflectance ``(N, C)``, its noise ``(N, C)``, species ``(N,)``."""

    log_mean: Array
    noise: Array
    species: NDArray[np.intp]


def uniform_indices(num_bands: int, n: int) -> NDArray[np.intp]:
    """Return n bands spread evenly over an evenly spaced axis, both ends included."""
    if n == 1:
        return np.array([(num_bands - 1) // 2])
    return np.rint(np.linspace(0, num_bands - 1, n)).astype(np.intp)


def band_sets(axis: SpectralAxis) -> dict[str, NDArray[np.intp]]:
    """Return the band sets that are scored: ``uniform_<n>`` and ``rgb``."""
    counts = sorted({min(n, len(axis)) for n in ORACLE_NUM_BANDS})
    sets = {f"uniform_{n}": uniform_indices(len(axis), n) for n in counts}
    rgb = dict.fromkeys(axis.nearest(nm) for nm in RGB_NM)
    return sets | {"rgb": np.array(list(rgb))}


def oracle_accuracies(design: Design, axis: SpectralAxis, seed: int) -> dict[str, float]:
    """Return the oracle's accuracy, 0 to 1, by name of the band set.

    The specimens drawn here from the set's seed are none of the set's.
    """
    if not design.informative:
        # Factors are drawn without regard to the species, so every posterior is the prior.
        return dict.fromkeys(band_sets(axis), 1 / len(design.species))
    optics = Optics(design, axis.wavelengths_nm)
    root = np.random.SeedSequence(seed, spawn_key=(ORACLE_KEY,))
    known_seed, test_seed = root.spawn(2)
    known = [
        _simulate(design, optics, [Factors(group, False, False)] * NUM_KNOWN, child)
        for group, child in zip(PIGMENT_GROUPS, known_seed.spawn(2), strict=True)
    ]
    test = _simulate_species(design, optics, test_seed)
    return {
        name: _score(design, optics, known, test, bands) for name, bands in band_sets(axis).items()
    }


def _simulate_species(design: Design, optics: Optics, seed: np.random.SeedSequence) -> Samples:
    species = np.arange(NUM_TEST) % len(design.species)
    draw_seed, image_seed = seed.spawn(2)
    rng = np.random.default_rng(draw_seed)
    factors = [design.factors(int(s), rng) for s in species]
    samples = _simulate(design, optics, factors, image_seed)
    noise = np.random.default_rng(draw_seed.spawn(1)[0]).standard_normal(samples.noise.shape)
    return Samples(samples.log_mean + samples.noise * noise, samples.noise, species)


def _simulate(
    design: Design, optics: Optics, factors: list[Factors], seed: np.random.SeedSequence
) -> Samples:
    """Render one side, upper and lower by turns, of a new specimen for each set of factors."""
    noise = noise_profile(optics.wavelengths_nm)
    means, noises = [], []
    for i, (wanted, child) in enumerate(zip(factors, seed.spawn(len(factors)), strict=True)):
        rng = np.random.default_rng(child)
        traits = Traits.draw(design, wanted, rng)
        image, coverage = render(traits, optics, ORACLE_SIZE, rng, dorsal=i % 2 == 0)
        inside = coverage > 0.5
        mean = image[inside].mean(0, dtype=np.float64)
        means.append(np.log(mean))
        noises.append(noise / np.sqrt(inside.sum()) / mean)
    return Samples(np.array(means), np.array(noises), np.zeros(len(factors), np.intp))


def _score(
    design: Design, optics: Optics, known: list[Samples], test: Samples, bands: NDArray[np.intp]
) -> float:
    """Return the share of fresh sides whose species has the highest posterior."""
    scores = np.empty((len(test.species), len(design.species)))
    for group, samples in zip(PIGMENT_GROUPS, known, strict=True):
        values = samples.log_mean[:, bands]
        covariance = np.cov(values, rowvar=False).reshape(len(bands), len(bands))
        covariance += np.diag(np.mean(samples.noise[:, bands] ** 2, axis=0))
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        log_det = 2 * np.log(np.diag(whiten)).sum()
        for k, species in enumerate(design.species):
            if species.factors.pigment != group:
                continue
            mean = values.mean(0) + np.log(optics.transmission(species.factors)[bands])
            distance = (test.log_mean[:, bands] - mean) @ whiten.T
            scores[:, k] = log_det - (distance**2).sum(1)
    return float(np.mean(np.argmax(scores, axis=1) == test.species))


JsonValue = str | float | int | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


def build_truth(
    settings: SynthSettings, design: Design, axis: SpectralAxis
) -> dict[str, JsonValue]:
    """Return what is known of a synthetic set, as plain values."""
    low, high = axis.range_nm
    species: dict[str, JsonValue] = {
        s.name: {**s.factors.shown()} if design.informative else None for s in design.species
    }
    return {
        "variant": design.variant,
        "seed": settings.seed,
        "num_specimens_per_species": settings.num_specimens,
        "size_pixels": settings.size,
        "axis": {"num_bands": len(axis), "start_nm": round(low, 4), "stop_nm": round(high, 4)},
        "windows": {
            w.name: {
                "centre_nm": w.centre_nm,
                "fwhm_nm": w.fwhm_nm,
                "absorbance": w.absorbance,
                "shape": f"exp(-ln 2 * |2 (nm - centre) / fwhm| ** {WINDOW_ORDER})",
            }
            for w in design.windows
        },
        "species": species,
        "pigment_log_sd": design.pigment_log_sd,
        "noise": {
            "reflectance_sd": NOISE_REFLECTANCE,
            "factor_at_start": NOISE_FACTOR_BLUE_END,
            "factor_at_stop": NOISE_FACTOR_RED_END,
        },
        "chance": 1 / len(design.species),
        "oracle": {
            **_oracle(design, axis, settings.seed),
            "windows_met": {
                name: _windows_met(design, axis, bands.tolist())
                for name, bands in band_sets(axis).items()
            },
        },
    }


def _oracle(design: Design, axis: SpectralAxis, seed: int) -> dict[str, JsonValue]:
    if design.variant == "spots":
        fresh = np.random.SeedSequence(seed, spawn_key=(ORACLE_KEY,))
        bands = {name: found.tolist() for name, found in band_sets(axis).items()}
        reached = spots_oracle.spots_accuracies(design, axis, fresh, bands)
        by_reader: dict[str, JsonValue] = {
            name: {reader: round(value, 4) for reader, value in found.items()}
            for name, found in reached.items()
        }
        return {
            "what": (
                "Linear discriminants on one side in the given bands: what a mean spectrum tells, "
                "statistics of each band (mean, deviation, extremes), pixels seen one by one, and "
                "the image; the last two know the windows. Scored on fresh specimens."
            ),
            "num_known": spots_oracle.NUM_KNOWN,
            "num_test": spots_oracle.NUM_TEST,
            "rgb_nm": list(RGB_NM),
            "accuracy": by_reader,
        }
    reached_by_bands: dict[str, JsonValue] = {
        name: round(value, 4) for name, value in oracle_accuracies(design, axis, seed).items()
    }
    return {
        "what": (
            "Bayes classifier on the mean spectrum of one side in the given bands, which knows "
            "the windows and the distribution of everything else; scored on fresh specimens."
        ),
        "num_known": NUM_KNOWN,
        "num_test": NUM_TEST,
        "rgb_nm": list(RGB_NM),
        "accuracy": reached_by_bands,
    }


def write_truth(path: Path, settings: SynthSettings, design: Design, axis: SpectralAxis) -> None:
    """Write :func:`build_truth` as JSON."""
    text = json.dumps(build_truth(settings, design, axis), indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _windows_met(design: Design, axis: SpectralAxis, bands: list[int]) -> list[JsonValue]:
    """Return the windows of which at least one band feels half the depth or more."""
    nm = axis.wavelengths_nm[bands]
    return [w.name for w in design.windows if w.spectrum(nm).max() >= w.absorbance / 2]
