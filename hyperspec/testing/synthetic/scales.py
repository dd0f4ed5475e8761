"""The colours of wing scales: absorption by pigments, interference in lamellae of chitin.

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


CHITIN_INDEX = 1.56
"""Refractive index of wing chitin (Vukusic et al. 1999, Proc. R. Soc. B 266:1403), no unit."""


def film_reflectance(
    wavelengths_nm: NDArray[np.float64],
    thickness_nm: float,
    *,
    index: float = CHITIN_INDEX,
    num_lamellae: int = 1,
    gap_nm: float = 0.0,
    angle_deg: float = 0.0,
) -> NDArray[np.float64]:
    """Return the reflectance of a stack of equal films in air, both polarisations averaged, 0 to 1.

    The films are added from the lowest upwards by Airy's summation of all internal reflections:
    ``r = (r_top + r_below * e) / (1 + r_top * r_below * e)`` with ``e = exp(2i * phase)``. For
    one film this is Airy's formula ``F sin^2(p) / (1 + F sin^2(p))``. Wavelengths ``(C,)``,
    thickness of a film and gaps of air are in nanometres; there is 1 film or more; the angle of
    incidence is in air, 0 to below 90 degrees.

    Source: Airy 1833; Born and Wolf, Principles of Optics, section 1.6.4 (recursion over
    layers).
    """
    cos_air = np.cos(np.radians(angle_deg))
    cos_film = np.sqrt(1 - (np.sin(np.radians(angle_deg)) / index) ** 2)
    into_film = np.exp(4j * np.pi * index * thickness_nm * cos_film / wavelengths_nm)
    into_gap = np.exp(4j * np.pi * gap_nm * cos_air / wavelengths_nm)
    surfaces = (
        (cos_air - index * cos_film) / (cos_air + index * cos_film),  # s-polarised, air to chitin
        (cos_film - index * cos_air) / (cos_film + index * cos_air),  # p-polarised, same sign
    )
    total = np.zeros(wavelengths_nm.shape)
    for surface in surfaces:
        below = np.zeros(wavelengths_nm.shape, dtype=np.complex128)
        for _ in range(num_lamellae):
            below = below * into_gap
            inside = (below - surface) / (1 - surface * below)  # chitin to air: opposite sign
            below = _airy(surface, inside, into_film)
        total += np.abs(below) ** 2 / 2
    return total


def peak_thickness(peak_nm: float, index: float = CHITIN_INDEX) -> tuple[float, float]:
    """Return the film and gap thicknesses in nanometres of a quarter-wave stack at a peak."""
    return peak_nm / (4 * index), peak_nm / 4


def iridescence(
    wavelengths_nm: NDArray[np.float64], peak_nm: float, num_lamellae: int, angle_deg: float = 0.0
) -> NDArray[np.float64]:
    """Return the reflectance of a quarter-wave stack with its peak at a wavelength.

    More lamellae of chitin give a brighter and narrower peak; at an angle (degrees) it moves to
    shorter wavelengths.
    """
    film_nm, gap_nm = peak_thickness(peak_nm)
    return film_reflectance(
        wavelengths_nm, film_nm, num_lamellae=num_lamellae, gap_nm=gap_nm, angle_deg=angle_deg
    )


def _airy(
    top: float, below: NDArray[np.complex128], phase: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    return (top + below * phase) / (1 + top * below * phase)
