"""The factorial design: which species has which pigment group and which narrow windows.

Eight species are all combinations of two pigment groups, an absorption window in the ultraviolet
and one in the red. The windows have steep flanks, so that a set of bands either meets a window or
misses it: of a Gaussian of the red window's width a quarter would still be felt at 707 nm, where
``uniform`` with ten bands has its nearest one, and "misses both windows" would be untrue.

In ``spots`` all have both windows in half of their scales, and what tells is where.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import ConfigError

VARIANTS = ("planted", "graded", "null", "spots")
PIGMENT_GROUPS = ("ommochrome", "pterin")
LAYOUTS = ("rings", "rays")
GENUS = "Synthopteryx"
EPITHETS = ("prima", "secunda", "tertia", "quarta", "quinta", "sexta", "septima", "octava")
# Exponent of the flanks: 2 is a Gaussian. At 20 they are about 1 nm wide, the spacing of the bands,
# and a band 5.7 nm from the red window's centre (694.3 nm, of five bands) feels 1e-4 of its depth.
WINDOW_ORDER = 20
# Decadic, at the centres. For the graded variant several were tried (one split, one seed, 150 steps
# of SimCLR, test k-NN with 50 bands): 0.25 gave 1.00, 0.11 gave 0.95, 0.06 gave 0.42.
PLANTED_ABSORBANCE = 0.4
GRADED_ABSORBANCE = 0.075


@dataclass(frozen=True)
class Window:
    """A narrow absorption window.

    Args:
        name: Column of ``labels.csv`` that tells whether a specimen has it.
        centre_nm: Centre in nanometres.
        fwhm_nm: Full width at half of the maximal absorbance, in nanometres.
        absorbance: Decadic absorbance at the centre.
    """

    name: str
    centre_nm: float
    fwhm_nm: float
    absorbance: float

    def spectrum(self, wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the decadic absorbance at wavelengths in nanometres, same shape."""
        distance = np.abs(wavelengths_nm - self.centre_nm) / (self.fwhm_nm / 2)
        return np.asarray(self.absorbance * np.exp(-np.log(2) * distance**WINDOW_ORDER))


@dataclass(frozen=True)
class Factors:
    """What tells a species from its neighbours.

    Args:
        pigment: Pigment group; empty of a species whose specimens draw theirs.
        uv: Whether it has the ultraviolet window.
        red: Whether it has the red one.
        together: Whether both lie in the same scales; None where all scales have them.
        layout: How those scales lie, ``rings`` or ``rays``; None likewise.
    """

    pigment: str
    uv: bool
    red: bool
    together: bool | None = None
    layout: str | None = None

    def shown(self) -> dict[str, str | bool]:
        """Return what is known as plain values, without what all species share."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True)
class Species:
    """A species' name and its factors (in the null variant they say nothing about it)."""

    name: str
    factors: Factors


@dataclass(frozen=True)
class Design:
    """Species, windows and the spread of pigment amounts of one variant.

    Args:
        variant: One of ``VARIANTS``.
        species: The eight species; four of ``spots``.
        windows: The ultraviolet and the red window.
        pigment_log_sd: Standard deviation of the natural logarithm of pigment amounts.
        informative: Whether a specimen's factors are those of its species.
    """

    variant: str
    species: tuple[Species, ...]
    windows: tuple[Window, Window]
    pigment_log_sd: float
    informative: bool

    def factors(self, species: int, rng: np.random.Generator) -> Factors:
        """Return a specimen's factors: its species' own or, in the null variant, drawn ones.

        Drawing each specimen's factors by itself keeps the expected accuracy at chance; a balanced
        shuffle would push it below, for what a species has in one part it would lack in another.
        """
        drawn, own = rng.integers(0, 2, size=3), self.species[species].factors
        if self.variant == "spots":
            return replace(own, pigment=PIGMENT_GROUPS[drawn[0]])
        if self.informative:
            return own
        return Factors(PIGMENT_GROUPS[drawn[0]], bool(drawn[1]), bool(drawn[2]))


def check_variant(variant: str) -> None:
    """Raise :class:`ConfigError` if a variant is unknown."""
    if variant not in VARIANTS:
        raise ConfigError(
            f"synth.variant is {variant!r}, which is none of {', '.join(VARIANTS)}. "
            "Choose one of them."
        )


def build_design(variant: str) -> Design:
    """Return the design of a variant.

    Args:
        variant: ``planted`` (absorbance 0.4 in the windows, pigment log-sd 0.15), ``graded`` (0.075
            and 0.25: shallow, so that no accuracy is perfect), ``null`` (as ``planted``, but
            pigment group and windows are drawn for each specimen without regard to its species) or
            ``spots`` (four species, both windows in half of the scales, see ``mosaic``; pigment
            groups are drawn).

    Raises:
        ConfigError: If the variant is unknown.
    """
    check_variant(variant)
    graded = variant == "graded"
    depth = GRADED_ABSORBANCE if graded else PLANTED_ABSORBANCE
    pigment_log_sd = 0.25 if graded else 0.15
    if variant == "spots":
        pairs = product((True, False), LAYOUTS)
        factors = [Factors("", True, True, *pair) for pair in pairs]
    else:
        factors = [Factors(*one) for one in product(PIGMENT_GROUPS, (False, True), (False, True))]
    named = zip(EPITHETS, factors, strict=False)
    species = tuple(Species(f"{GENUS} {epithet}", known) for epithet, known in named)
    windows = (Window("uv", 373.0, 16.0, depth), Window("red", 700.0, 10.0, depth))
    informative = variant != "null"
    return Design(variant, species, windows, pigment_log_sd, informative)
