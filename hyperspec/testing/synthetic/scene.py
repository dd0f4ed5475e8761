"""From a specimen's traits to the reflectance of its two sides."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hyperspec.testing.synthetic.design import Design, Factors
from hyperspec.testing.synthetic.mosaic import stripes, window_scales
from hyperspec.testing.synthetic.scales import PIGMENTS, iridescence
from hyperspec.testing.synthetic.wings import Outline, Pattern, Shape, draw_pattern, outline

VIEWS = ("D", "V")
# Decadic absorbance of a unit of each pigment where its strongest band lies.
AMOUNTS = {"melanin": 0.85, "ommochrome": 0.55, "pterin": 0.70, "carotenoid": 0.40}
SCATTER_LOG_SD = 0.12  # brightness of the unpigmented scales, natural logarithm
SCATTER_SLOPE_SD = 0.25  # exponent of their dependence on wavelength
GAIN_LOG_SD = 0.18  # illumination from scan to scan, which the white reference does not catch
BACKGROUND = 0.02  # black velvet
MAX_GLINTS = 5


@dataclass(frozen=True)
class Traits:
    """What both sides of a specimen share.

    Args:
        factors: Pigment group and windows.
        shape: The outline.
        amounts: Factor on each pigment's amount.
        scatter: Reflectance of unpigmented scales at 550 nm.
        slope: Exponent of that reflectance's dependence on wavelength.
        structural_nm: Peak of the structural colour in nanometres.
        uv_nm: Peak of the ultraviolet marks in nanometres.
    """

    factors: Factors
    shape: Shape
    amounts: dict[str, float]
    scatter: float
    slope: float
    structural_nm: float
    uv_nm: float

    @classmethod
    def draw(cls, design: Design, factors: Factors, rng: np.random.Generator) -> Traits:
        """Draw a specimen with the given factors."""
        shape = Shape.draw(rng)
        log_amounts = design.pigment_log_sd * rng.standard_normal(len(PIGMENTS))
        return cls(
            factors=factors,
            shape=shape,
            amounts=dict(zip(PIGMENTS, np.exp(log_amounts).tolist(), strict=True)),
            scatter=float(0.62 * np.exp(SCATTER_LOG_SD * rng.standard_normal())),
            slope=float(SCATTER_SLOPE_SD * rng.standard_normal()),
            structural_nm=float(rng.uniform(430, 520)),
            uv_nm=float(rng.uniform(345, 385)),
        )


@dataclass
class Optics:
    """Spectra that all specimens share on one axis, computed once from a variant's windows."""

    design: Design
    wavelengths_nm: NDArray[np.float64]
    pigments: dict[str, NDArray[np.float32]] = field(init=False)
    windows: dict[str, NDArray[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        self.pigments = {
            name: (AMOUNTS[name] * shape(self.wavelengths_nm)).astype(np.float32)
            for name, shape in PIGMENTS.items()
        }
        self.windows = {w.name: w.spectrum(self.wavelengths_nm) for w in self.design.windows}

    def transmission(self, factors: Factors) -> NDArray[np.float32]:
        """Return what the windows that a specimen has let through, shape ``(C,)``."""
        absorbance = np.zeros_like(self.wavelengths_nm)
        for name, spectrum in self.windows.items():
            absorbance += spectrum * getattr(factors, name)
        return (10**-absorbance).astype(np.float32)


def render(
    traits: Traits, optics: Optics, size: int, rng: np.random.Generator, *, dorsal: bool
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Render one side of a specimen, upper (``dorsal``) or lower, without noise.

    Returns:
        Reflectance, shape ``(size, size, C)``, and the share of each pixel that the specimen
        covers, shape ``(size, size)``.
    """
    wing = outline(traits.shape, size, dorsal=dorsal)
    pattern = draw_pattern(wing, rng, dorsal=dorsal)
    shade = _shade(pattern.relief, size, rng)
    glint = _glints(wing, size, rng)
    inside = wing.coverage > 0
    colour = _wing_reflectance(traits, optics, pattern, inside)
    if traits.factors.layout is None:
        colour *= optics.transmission(traits.factors)
    colour *= shade[inside, None].astype(np.float32)
    coverage = wing.coverage[inside, None].astype(np.float32)
    if traits.factors.layout is not None:
        field = stripes(wing, traits.factors.layout, rng)[inside]
        _absorb_in_scales(colour, coverage, optics, traits.factors, field)
    colour += glint[inside, None].astype(np.float32)
    image = np.full((size, size, optics.wavelengths_nm.size), BACKGROUND, np.float32)
    image[inside] = coverage * colour + (1 - coverage) * np.float32(BACKGROUND)
    return image, wing.coverage


def _absorb_in_scales(
    colour: NDArray[np.float32],
    coverage: NDArray[np.float32],
    optics: Optics,
    factors: Factors,
    field: NDArray[np.float64],
) -> None:
    """Put each window into half of the scales, by the light of its own centre, in place."""
    centres = [int(spectrum.argmax()) for spectrum in optics.windows.values()]
    light = [(coverage[:, 0] * colour[:, at]).astype(np.float64) for at in centres]
    scales = window_scales(field, factors, light)
    for has, spectrum in zip(scales, optics.windows.values(), strict=True):
        colour[has] *= (10**-spectrum).astype(np.float32)


def _wing_reflectance(
    traits: Traits, optics: Optics, pattern: Pattern, inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return pigmented scatter plus structural colour of the covered pixels, shape ``(P, C)``.

    Sums over pigments are written as loops and not as matrix products: the order of additions in
    those may depend on the number of threads, and bytes must not.
    """
    layers = {
        "melanin": pattern.melanin,
        traits.factors.pigment: pattern.ground,
        "carotenoid": pattern.carotenoid,
    }
    absorbance = np.zeros((int(inside.sum()), optics.wavelengths_nm.size), np.float32)
    for name, amount in layers.items():
        weight = (traits.amounts[name] * amount[inside]).astype(np.float32)
        absorbance += weight[:, None] * optics.pigments[name]
    scatter = traits.scatter * (optics.wavelengths_nm / 550.0) ** traits.slope
    absorbance *= np.float32(-np.log(10))
    colour = np.exp(absorbance, out=absorbance)
    colour *= scatter.astype(np.float32)
    for share, spectrum in _interference(traits, optics, pattern):
        weight = share[inside].astype(np.float32)[:, None]
        colour *= 1 - weight
        colour += weight * spectrum.astype(np.float32)
    return colour


def _interference(
    traits: Traits, optics: Optics, pattern: Pattern
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return shares and spectra of the structural colour and of the ultraviolet marks."""
    nm = optics.wavelengths_nm
    slope = np.clip(0.5 + 2 * pattern.relief, 0, 1)  # scales on slopes are seen at an angle
    upright = iridescence(nm, traits.structural_nm, num_lamellae=2)
    oblique = iridescence(nm, traits.structural_nm, num_lamellae=2, angle_deg=35.0)
    marks = iridescence(nm, traits.uv_nm, num_lamellae=3)
    return [
        (0.6 * pattern.structural * slope, upright),
        (0.6 * pattern.structural * (1 - slope), oblique),
        (0.5 * pattern.uv_mark, marks),
    ]


def _shade(relief: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return Lambert's cosine of the light on the relief, relative to a flat surface."""
    dy, dx = np.gradient(relief, 2 / size)
    tilt, azimuth = rng.uniform(0.2, 0.6), rng.uniform(0, 2 * np.pi)
    toward_x, toward_y = np.tan(tilt) * np.cos(azimuth), np.tan(tilt) * np.sin(azimuth)
    cosine = (1 - dx * toward_x - dy * toward_y) / np.sqrt(1 + dx**2 + dy**2)
    gain = np.exp(GAIN_LOG_SD * rng.standard_normal())
    return np.asarray(gain * np.clip(cosine, 0.45, 1.35))


def _glints(wing: Outline, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return small specular highlights, the same at all wavelengths."""
    rows, columns = np.nonzero(wing.coverage > 0.9)
    total = np.zeros((size, size))
    for _ in range(rng.integers(0, MAX_GLINTS + 1)):
        at = int(rng.integers(0, rows.size))
        distance = np.hypot(*(np.indices((size, size)) - np.array([[[rows[at]]], [[columns[at]]]])))
        radius = rng.uniform(0.012, 0.03) * size
        total += rng.uniform(0.05, 0.35) * np.exp(-((distance / radius) ** 2))
    return total
