"""Absorption of the wing's pigments, as decadic absorbance per unit of pigment.

A pigment of amount c absorbs ``A = c * shape(wavelength)``, and light that has passed it is weaker
by ``10 ** -A``. The shapes are sums of Gaussian bands or, for melanin, an exponential
decay: rough stand-ins for measured spectra, with their centres where the literature has them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.float64]

# (centre nm, FWHM nm, height). Heights are relative to the strongest band above 348 nm.
# Xanthommatin absorbs near 440 nm and, reduced, near 490 nm; another band lies below 380 nm.
OMMOCHROME_BANDS = ((372.0, 70.0, 0.85), (440.0, 90.0, 0.70), (492.0, 95.0, 1.00))
# Xanthopterin near 386 nm with a flank to the violet; leucopterin adds ultraviolet near 340 nm.
PTERIN_BANDS = ((340.0, 60.0, 0.70), (386.0, 62.0, 1.00), (425.0, 55.0, 0.55))
# Lutein in ethanol: 422, 445 and 474 nm.
CAROTENOID_BANDS = ((422.0, 30.0, 0.70), (445.0, 28.0, 1.00), (474.0, 28.0, 0.90))
MELANIN_DECAY_NM = 210.0
MELANIN_REFERENCE_NM = 450.0


def melanin(wavelengths_nm: Spectrum) -> Spectrum:
    """Return melanin's absorbance: an exponential decay, 1 at 450 nm.

    Source: Meredith and Sarna 2006, Pigment Cell Research 19:572 (no bands, close to exponential);
    in nymphaline scales: Stavenga, Leertouwer and Wilts 2014, J. Exp. Biol. 217:2171.
    """
    return np.exp(-(wavelengths_nm - MELANIN_REFERENCE_NM) / MELANIN_DECAY_NM)


def ommochrome(wavelengths_nm: Spectrum) -> Spectrum:
    """Return the absorbance of xanthommatin-like ommochromes (orange to red-brown wings).

    Source: Stavenga, Leertouwer and Wilts 2014, J. Exp. Biol. 217:2171; Figon and Casas 2019,
    Biological Reviews 94:156.
    """
    return _gaussian_sum(wavelengths_nm, OMMOCHROME_BANDS)


def pterin(wavelengths_nm: Spectrum) -> Spectrum:
    """Return the absorbance of xanthopterin with leucopterin (yellow and white pierid wings).

    Source: Wijnen, Leertouwer and Stavenga 2007, J. Insect Physiology 53:1206.
    """
    return _gaussian_sum(wavelengths_nm, PTERIN_BANDS)


def carotenoid(wavelengths_nm: Spectrum) -> Spectrum:
    """Return the three-fingered absorbance of lutein.

    Source: Britton, Liaaen-Jensen and Pfander 2004, Carotenoids Handbook (lutein in ethanol).
    """
    return _gaussian_sum(wavelengths_nm, CAROTENOID_BANDS)


PIGMENTS: dict[str, Callable[[Spectrum], Spectrum]] = {
    "melanin": melanin,
    "ommochrome": ommochrome,
    "pterin": pterin,
    "carotenoid": carotenoid,
}


def _gaussian_sum(
    wavelengths_nm: Spectrum, bands: tuple[tuple[float, float, float], ...]
) -> Spectrum:
    total = np.zeros_like(wavelengths_nm, dtype=np.float64)
    for centre_nm, fwhm_nm, height in bands:
        total += height * np.exp(-4 * np.log(2) * ((wavelengths_nm - centre_nm) / fwhm_nm) ** 2)
    return total
