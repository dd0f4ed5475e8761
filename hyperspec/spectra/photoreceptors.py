"""What a photoreceptor answers to: visual pigment, oil droplet, and the media in front of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import BandError

Vector = NDArray[np.float64]
GRID_NM: Vector = np.arange(300.0, 801.0)
"""Wavelengths over which sensitivities are integrated. Below 300 nm there is no daylight at the
ground, and beyond 800 nm no known photoreceptor answers."""

# Half-transmission wavelength of a droplet from its cut-off, slope and offset in nm by type: C-,
# Y-, R- and P-type (Hart & Vorobyev 2005).
_DROPLETS = {"C": (0.99, 24.38), "Y": (0.90, 70.03), "R": (0.99, 28.65), "P": (0.96, 33.57)}
# Coefficients from the fifth power to the constant (see `bird_media`).
_MEDIA = (8.928e-13, -2.595e-9, 3.006e-6, -1.736e-3, 0.5013, -55.56)


def pigment_absorbance(nm: Vector, peak_nm: float) -> Vector:
    """Return the absorbance of a vitamin-A1 visual pigment, 1 at its peak but for the beta band.

    Args:
        nm: Wavelengths in nanometres, any shape.
        peak_nm: Wavelength of maximum absorbance of the alpha band, 330 to 700 nm.

    Raises:
        BandError: If the peak is outside of the range for which the template was made.

    Source: Govardovskii, Fyhrquist, Reuter, Kuzmin, Donner 2000, "In search of the visual pigment
        template", eqs. 1 and 2 (alpha band), 4, 5a and 5b (beta band).
    """
    if not 330 <= peak_nm <= 700:
        raise BandError(f"A visual pigment of {peak_nm:g} nm is outside of the template's 330-700.")
    x = peak_nm / nm
    a = 0.8795 + 0.0459 * np.exp(-((peak_nm - 300) ** 2) / 11940)
    with np.errstate(over="ignore"):  # far in the red the exponentials overflow to an absorbance 0
        alpha = 1 / (
            np.exp(69.7 * (a - x))
            + np.exp(28.0 * (0.922 - x))
            + np.exp(-14.9 * (1.104 - x))
            + 0.674
        )
    centre, width = 189 + 0.315 * peak_nm, -40.5 + 0.195 * peak_nm
    beta = 0.26 * np.exp(-(((nm - centre) / width) ** 2))
    return np.asarray(alpha + beta)


def droplet_transmission(nm: Vector, kind: str, cut_nm: float) -> Vector:
    """Return the transmission of a pigmented oil droplet of birds.

    Args:
        nm: Wavelengths in nanometres, any shape.
        kind: Type of the droplet: C, Y, R or P.
        cut_nm: Cut-off wavelength in nanometres; the transmission there is 0.053.

    Source: Hart, Vorobyev 2005, "Modelling oil droplet absorption spectra and spectral
        sensitivities of bird cone photoreceptors": the template, and the half-transmission
        wavelength from the cut-off by droplet type.
    """
    slope, offset = _DROPLETS[kind]
    half = slope * cut_nm + offset
    steepness = 0.5 / (half - cut_nm)
    with np.errstate(over="ignore"):  # below the cut-off nothing passes
        return np.asarray(np.exp(-np.exp(-2.89 * steepness * (nm - cut_nm) + 1.08)))


def bird_media(nm: Vector) -> Vector:
    """Return the transmission of the ocular media of birds with ultraviolet-sensitive cones.

    Half of the light passes at 335 nm, nothing below 303 nm. The polynomial has four digits, which
    is coarse beyond 700 nm: there it is cut at 1.

    Source: Hart, Vorobyev 2005; given by Endler, Mielke 2005, "Comparing entire colour patterns as
        birds see them", for such birds.
    """
    inner = np.polyval(np.array(_MEDIA), nm)
    return np.asarray(np.clip(np.log(np.maximum(inner, 1.0)), 0, 1))


@dataclass(frozen=True)
class Receptor:
    """One class of photoreceptors.

    Args:
        name: As in the literature, such as UVS or LWS.
        peak_nm: Wavelength of maximum absorbance of its visual pigment, nanometres.
        droplet: Type of its oil droplet (C, Y, R, P); empty for none, or a transparent one.
        cut_nm: Cut-off wavelength of the droplet.
    """

    name: str
    peak_nm: float
    droplet: str = ""
    cut_nm: float = 0.0

    def sensitivity(self, nm: Vector) -> Vector:
        """Return pigment times droplet at wavelengths ``(L,)``; the eye's media come on top."""
        absorbed = pigment_absorbance(nm, self.peak_nm)
        if not self.droplet:
            return absorbed
        return absorbed * droplet_transmission(nm, self.droplet, self.cut_nm)
