"""The right answer, written beside the data: windows, factors, noise and what an oracle reaches."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.testing.synthetic.design import WINDOW_ORDER, Design
from hyperspec.testing.synthetic.oracle import (
    NUM_KNOWN,
    NUM_TEST,
    RGB_NM,
    band_sets,
    oracle_accuracies,
)
from hyperspec.testing.synthetic.sensor import (
    NOISE_FACTOR_BLUE_END,
    NOISE_FACTOR_RED_END,
    NOISE_REFLECTANCE,
)
from hyperspec.testing.synthetic.settings import SynthSettings

JsonValue = str | float | int | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


def build_truth(
    settings: SynthSettings, design: Design, axis: SpectralAxis
) -> dict[str, JsonValue]:
    """Return what is known of a synthetic set, as plain values.

    Args:
        settings: What the set was made with.
        design: Its variant.
        axis: Its spectral axis.
    """
    low, high = axis.range_nm
    accuracies = oracle_accuracies(design, axis, settings.seed)
    species: dict[str, JsonValue] = {
        s.name: asdict(s.factors) if design.informative else None for s in design.species
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
            "what": (
                "Bayes classifier on the mean spectrum of one side in the given bands, which knows "
                "the windows and the distribution of everything else; scored on fresh specimens."
            ),
            "num_known": NUM_KNOWN,
            "num_test": NUM_TEST,
            "rgb_nm": list(RGB_NM),
            "accuracy": {name: round(value, 4) for name, value in accuracies.items()},
            "windows_met": {
                name: _windows_met(design, axis, bands.tolist())
                for name, bands in band_sets(axis).items()
            },
        },
    }


def write_truth(path: Path, settings: SynthSettings, design: Design, axis: SpectralAxis) -> None:
    """Write :func:`build_truth` as JSON."""
    text = json.dumps(build_truth(settings, design, axis), indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _windows_met(design: Design, axis: SpectralAxis, bands: list[int]) -> list[JsonValue]:
    """Return the windows of which at least one band feels half the depth or more."""
    nm = axis.wavelengths_nm[bands]
    return [w.name for w in design.windows if w.spectrum(nm).max() >= w.absorbance / 2]
