"""Eyes: the receptors of an animal, what is known of their noise, and where the figures are from.

Every preset names its sources with their year and says which figures were compared with the source
itself (abstract or figure, November 2026) and which are known from the literature at second hand.
What is not published as a curve or a figure is left out, and the preset says so. No table was
copied from other software; the human curves are read from colour-science, which the package uses
anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.curves import read_curves
from hyperspec.spectra.photoreceptors import GRID_NM, Receptor, bird_media
from hyperspec.utils.errors import BandError

Vector = NDArray[np.float64]
WEBER = 0.1
"""Weber fraction where an eye has none of its own: a cautious value for birds (Olsson, Lind, Kelber
2018, "Chromatic and achromatic vision: parameter choice and limitations for reliable model
predictions")."""


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """The curves of an eye's receptors over :data:`GRID_NM`, each with a peak of 1.

    Args:
        names: Of the receptors that serve colour vision, short to long wavelengths.
        curves: Their sensitivities to photons at the cornea, shape ``(n, L)``.
        achromatic: That of the channel that serves brightness, ``(L,)``; None where not known.
    """

    names: tuple[str, ...]
    curves: Vector
    achromatic: Vector | None = None


@dataclass(frozen=True, eq=False)
class Eye:
    """A preset.

    Args:
        name: As in ``bands.eye``.
        animal: Common and scientific name.
        receptors: Pigments and droplets; empty for the human eye, whose curves were measured.
        media: Transmission of the ocular media; None where none is published or none needed.
        noise: Standard deviation of each receptor's signal relative to it (Weber fraction), in the
            order of the receptors.
        achromatic: The receptor of brightness.
        achromatic_noise: Its Weber fraction.
        sources: Whence the figures are, with years.
        noise_source: The same of the noise.
    """

    name: str
    animal: str
    receptors: tuple[Receptor, ...]
    noise: tuple[float, ...]
    sources: str
    noise_source: str
    media: Callable[[Vector], Vector] | None = None
    achromatic: Receptor | None = None
    achromatic_noise: float = WEBER

    def sensitivities(self) -> Sensitivities:
        """Return the curves at the cornea."""
        if not self.receptors:
            return _human()
        media = np.ones_like(GRID_NM) if self.media is None else self.media(GRID_NM)
        curves = [one.sensitivity(GRID_NM) * media for one in self.receptors]
        bright = None if self.achromatic is None else self.achromatic.sensitivity(GRID_NM) * media
        return Sensitivities(
            tuple(one.name for one in self.receptors),
            np.stack([curve / curve.max() for curve in curves]),
            None if bright is None else bright / bright.max(),
        )


def by_density(ratios: tuple[float, ...], weber: float = WEBER) -> tuple[float, ...]:
    """Return the noise of receptors from their relative numbers; the last has the Weber fraction.

    Source: Vorobyev, Osorio 1998, "Receptor noise as a determinant of colour thresholds", eq. 4:
        noise falls with the square root of the number of receptors that are summed.
    """
    return tuple(weber * float(np.sqrt(ratios[-1] / ratio)) for ratio in ratios)


_SECOND_HAND = "figures at second hand"
_TYPICAL = (
    "pigments and cut-offs: rounded typical values after Hart 2001 and Hart, Hunt 2007 "
    f"({_SECOND_HAND}), in the ranges of Cuthill et al. 2000"
)
_DOUBLE = "brightness by double cones, whose droplet is left out (no cut-off at hand)"
_BIRD_WEBER = "Weber fraction 0.1 of LWS and of double cones: Olsson, Lind, Kelber 2018"
_MEDIA = "media: Hart, Vorobyev 2005 (through Endler, Mielke 2005)"
_PER_OMMATIDIUM = (
    f"no noise at hand: {WEBER:g} for each receptor, assumed equal; give --noise to set it"
)

_PRESETS = (
    Eye(
        "average_uvs",
        "bird with ultraviolet-sensitive cones, on average",
        (
            Receptor("UVS", 365),
            Receptor("SWS", 445, "C", 413),
            Receptor("MWS", 505, "Y", 506),
            Receptor("LWS", 565, "R", 570),
        ),
        by_density((1, 2, 2, 4)),
        f"{_TYPICAL}; their peaks at the cornea are within "
        f"7 nm of 372, 456, 544, 609 nm (Endler, Mielke 2005); {_MEDIA}; {_DOUBLE}",
        "cone ratio 1:2:2:4 of Leiothrix lutea: Maier, Bowmaker 1993 in Vorobyev, Osorio 1998; "
        f"{_BIRD_WEBER}",
        bird_media,
        Receptor("double", 565),
    ),
    Eye(
        "average_vs",
        "bird with violet-sensitive cones, on average",
        (
            Receptor("VS", 410),
            Receptor("SWS", 455, "C", 440),
            Receptor("MWS", 505, "Y", 506),
            Receptor("LWS", 565, "R", 570),
        ),
        by_density((1, 2, 2, 4)),
        f"{_TYPICAL}; their peaks at the cornea are within "
        "6 nm of 416, 478, 542, 607 nm (Endler, Mielke 2005); media left out: those published as a "
        f"curve are of birds with UVS cones, and these birds' absorb more below 400 nm; {_DOUBLE}",
        "cone ratio 1:2:2:4 of Leiothrix lutea, a bird with UVS cones: Vorobyev, Osorio 1998; "
        f"{_BIRD_WEBER}",
        None,
        Receptor("double", 565),
    ),
    Eye(
        "bluetit",
        "blue tit, Cyanistes caeruleus",
        (
            Receptor("UVS", 371),
            Receptor("SWS", 448, "C", 413),
            Receptor("MWS", 502, "Y", 507),
            Receptor("LWS", 563, "R", 572),
        ),
        by_density((1, 1.92, 2.68, 2.70)),
        "Hart, Partridge, Cuthill, Bennett 2000, J Comp Physiol A 186: 375 (563 nm and the cut-off "
        f"of 570-573 nm from its abstract, the other {_SECOND_HAND}); {_MEDIA}; {_DOUBLE}",
        f"cone ratio 1:1.92:2.68:2.70: Hart et al. 2000 ({_SECOND_HAND}); {_BIRD_WEBER}",
        bird_media,
        Receptor("double", 563),
    ),
    Eye(
        "peafowl",
        "peafowl, Pavo cristatus",
        (
            Receptor("VS", 424),
            Receptor("SWS", 458, "C", 441),
            Receptor("MWS", 505, "Y", 506),
            Receptor("LWS", 567, "R", 569),
        ),
        by_density((1, 1.9, 2.2, 2.1)),
        "Hart 2002, J Exp Biol 205: 3925 (pigments from its abstract; cut-offs set so that "
        "template and pigment peak where it says, at 477, 537 and 605 nm); media, which it "
        f"measured, left out for want of a curve: with them VS peaks at 432 nm; {_DOUBLE}",
        f"cone ratio 1:1.9:2.2:2.1: Hart 2001 in Hart 2002, figure 8; {_BIRD_WEBER}",
        None,
        Receptor("double", 567),
    ),
    Eye(
        "honeybee",
        "honeybee, Apis mellifera",
        (Receptor("UV", 344), Receptor("blue", 436), Receptor("green", 544)),
        (0.13, 0.06, 0.12),
        f"Peitsch et al. 1992, J Comp Physiol A 170: 23 ({_SECOND_HAND}): recorded peaks, as "
        "pigments; brightness by the green receptor: Giurfa, Vorobyev et al. 1996",
        f"measured: Vorobyev, Brandt, Peitsch, Laughlin, Menzel 2001 ({_SECOND_HAND})",
        None,
        Receptor("green", 544),
        0.12,
    ),
    Eye(
        "papilio",
        "swallowtail, Papilio xuthus",
        (
            Receptor("UV", 360),
            Receptor("blue", 460),
            Receptor("green", 520),
            Receptor("red", 600),
        ),
        (WEBER,) * 4,
        "the four receptors of its colour vision: Koshitaka, Kinoshita, Vorobyev, Arikawa 2008; "
        f"recorded peaks: Arikawa 2003 ({_SECOND_HAND}), as pigments: the screening pigments that "
        "narrow the red one and the double peak of the green one are left out; no brightness "
        "channel",
        _PER_OMMATIDIUM,
    ),
    Eye(
        "heliconius",
        "passion-vine butterfly, Heliconius erato, female",
        (
            Receptor("UV1", 355),
            Receptor("UV2", 398),
            Receptor("blue", 470),
            Receptor("green", 555),
        ),
        (WEBER,) * 4,
        "pigments: Briscoe et al. 2010, PNAS 107: 3628, and McCulloch et al. 2016 "
        f"({_SECOND_HAND}); males lack UV1; the red receptor, green pigment behind a filter, is "
        "left out for want of the filter's curve; no brightness channel",
        _PER_OMMATIDIUM,
    ),
    Eye(
        "human",
        "human, Homo sapiens",
        (),
        (0.08, 0.02, 0.02),
        "cone fundamentals for 2 degrees: Stockman, Sharpe 2000 (with lens and macula), as in "
        "colour-science; brightness by L and M cones in the ratio 2:1",
        f"Wyszecki, Stiles 1982 in Kelber, Vorobyev, Osorio 2003 ({_SECOND_HAND})",
        None,
        None,
        0.02,
    ),
)
EYES: Mapping[str, Eye] = {one.name: one for one in _PRESETS}
"""Presets by name."""


def sensitivities_of(eye: str, file: str | None) -> Sensitivities:
    """Return the curves of a preset, or of a CSV with ``wavelength_nm`` and a column per receptor.

    Curves of a file are sensitivities to photons at the cornea; they count as 0 outside of it.

    Raises:
        BandError: If the file cannot be read as such.
    """
    if file is None:
        return EYES[eye].sensitivities()
    found = read_curves(Path(file), "bands.file")
    curves = found.at(GRID_NM)
    for name, curve in zip(found.values, curves, strict=True):
        if not curve.any():
            raise BandError(
                f"bands.file='{file}': receptor '{name}' answers to nothing between "
                f"{GRID_NM[0]:g} and {GRID_NM[-1]:g} nm."
            )
    return Sensitivities(tuple(found.values), curves / curves.max(axis=1, keepdims=True))


def _human() -> Sensitivities:
    import colour

    table = colour.MSDS_CMFS["Stockman & Sharpe 2 Degree Cone Fundamentals"]
    # The table is per energy; a photon carries one in proportion to 1 / wavelength.
    curves = np.stack(
        [
            np.interp(GRID_NM, table.wavelengths, table.values[:, cone], 0, 0) / GRID_NM
            for cone in (2, 1, 0)
        ]
    )
    curves = curves / curves.max(axis=1, keepdims=True)
    bright = 2 * curves[2] + curves[1]
    return Sensitivities(("S", "M", "L"), curves, bright / bright.max())
