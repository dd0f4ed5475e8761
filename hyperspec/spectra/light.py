"""Illuminants as photons: daylight, the shade of a forest, an even light, or one from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.curves import read_curves
from hyperspec.utils.errors import BandError

Vector = NDArray[np.float64]
ILLUMINANTS = ("d65", "forest_shade", "flat")

# Transmission of a green leaf by nm: opaque in the ultraviolet, blue and red, where chlorophyll and
# carotenoids absorb, a tenth in the green, half beyond the red edge. Round textbook figures (Gates,
# Keegan, Schleter, Weidner 1965, "Spectral properties of plants"), from memory.
_LEAF_NM = (300, 400, 490, 520, 550, 580, 640, 680, 700, 720, 750, 800)
_LEAF = (0.0, 0.01, 0.02, 0.08, 0.12, 0.08, 0.04, 0.02, 0.12, 0.30, 0.45, 0.47)
_GAPS = 0.05  # share of the light that comes through gaps between the leaves


def photons(name: str, nm: Vector) -> Vector:
    """Return the photons of an illuminant per nanometre, relative, at wavelengths ``(L,)``.

    Args:
        name: ``d65`` (CIE daylight), ``forest_shade``, ``flat`` (equal photons) or the path of a
            CSV with the columns ``wavelength_nm`` and one of photons per nm (not of energy).
        nm: Wavelengths in nanometres; a file counts as 0 outside of its own.

    ``forest_shade`` is a model, not a measurement: D65 through one green leaf, and a twentieth of
    it through gaps. It has the features that Endler 1993, "The color of light in forests and its
    implications", describes (a peak in the green, little blue and red, much beyond 700 nm). Where a
    result turns on the light, measure it and give the file.

    Raises:
        BandError: If the name is none, and no file.
    """
    if name == "flat":
        return np.ones_like(nm)
    if name in ILLUMINANTS:
        import colour

        daylight = colour.SDS_ILLUMINANTS["D65"]
        # Energy to photons: each carries an energy in proportion to 1 / wavelength.
        light: Vector = np.interp(nm, daylight.wavelengths, daylight.values) * nm
        if name == "d65":
            return light
        return light * (_GAPS + (1 - _GAPS) * np.interp(nm, _LEAF_NM, _LEAF))
    if not Path(name).is_file():
        raise BandError(
            f"bands.illuminant is '{name}', which is neither {', '.join(ILLUMINANTS)} nor a file."
        )
    found = read_curves(Path(name), "bands.illuminant").at(nm)
    if len(found) != 1:
        raise BandError(
            f"bands.illuminant='{name}' has {len(found)} curves beside wavelength_nm; give one."
        )
    return np.asarray(found[0])
