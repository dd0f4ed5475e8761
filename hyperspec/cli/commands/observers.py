"""``hyperspec signatures --observer``: how far apart the classes are for an animal's eye."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from hyperspec.bands import Receptors
    from hyperspec.spectra.axis import SpectralAxis


def add_observer(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    add = parser.add_argument
    add("--observer", metavar="EYE",
        help="contrasts between classes in just-noticeable differences for average_uvs, "
        "average_vs, bluetit, peafowl, honeybee, papilio, heliconius, human or a CSV of "
        "receptors")  # fmt: skip
    add("--illuminant", default="d65", metavar="LIGHT",
        help="for --observer: d65, forest_shade, flat or a CSV of photons (d65)")  # fmt: skip
    add("--noise", metavar="W,W,...",
        help="for --observer: Weber fraction of each receptor, or one for all")  # fmt: skip
    add("--min-share", type=float, default=0.5, metavar="SHARE",
        help="for --observer: least share of a sensitivity within the axis (0.5)")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Observer:
    """An eye in front of a sensor, ready to tell spectra apart.

    Args:
        projection: Of the receptors, and of the one of brightness, a row each, over ``indices``.
        num_receptors: Rows that serve colour.
        noise: Weber fraction of each of them.
        bright_noise: That of brightness.
        said: What it is and how sure, in words.
    """

    indices: tuple[int, ...]
    matrix: NDArray[np.float64]
    num_receptors: int
    noise: tuple[float, ...]
    bright_noise: float
    said: tuple[str, ...]

    def contrasts(self, spectra: dict[str, NDArray[np.float64]]) -> pd.DataFrame:
        """Return the contrasts of labels from the reflectance of their specimens, ``(m, C)`` each.

        Raises:
            ConfigError: If a receptor catches nothing, so that its signal has no logarithm.
        """
        from hyperspec.evaluation.contrasts import contrast_table

        found = {
            label: rows[:, list(self.indices)] @ self.matrix.T for label, rows in spectra.items()
        }
        for label, rows in found.items():
            if rows.min() <= 0:
                raise ConfigError(
                    f"A specimen of '{label}' gives a receptor {rows.min():.3g} of the light of a "
                    "white: contrasts are ratios, which need reflectance above 0. Check the dark "
                    "frame and the mask (hyperspec check)."
                )
        count = self.num_receptors
        colours = {label: rows[:, :count] for label, rows in found.items()}
        bright = {label: rows[:, count] for label, rows in found.items() if rows.shape[1] > count}
        return contrast_table(colours, self.noise, bright or None, self.bright_noise)


def observer_from(words: argparse.Namespace, axis: SpectralAxis) -> Observer:
    """Return the observer that the words ask for, looking through a sensor of this axis.

    Raises:
        BandError: If the eye, the light or the sensor does not allow it.
        ConfigError: If the noise is not one number per receptor.
    """
    import numpy as np

    from hyperspec.bands import Receptors
    from hyperspec.bands.receptors import band_weights
    from hyperspec.spectra.eyes import EYES, WEBER, sensitivities_of
    from hyperspec.spectra.light import photons
    from hyperspec.spectra.photoreceptors import GRID_NM

    given = {"illuminant": words.illuminant, "min_share": words.min_share}
    own = words.observer not in EYES and Path(words.observer).suffix.lower() == ".csv"
    asked = Receptors(file=words.observer, **given) if own else Receptors(words.observer, **given)
    projection = asked.select(axis)
    seen = sensitivities_of(asked.eye, asked.file)
    eye = None if own else EYES[asked.eye]
    noise = (WEBER,) * len(seen.names) if eye is None else eye.noise
    if words.noise is not None:
        noise = _noise(words.noise, len(seen.names))
    matrix = projection.matrix
    if seen.achromatic is not None:
        light = seen.achromatic * photons(asked.illuminant, GRID_NM)
        order, bright = band_weights(axis, light[None])
        place = {int(index): column for column, index in enumerate(order)}
        row = bright[0, [place[index] for index in projection.indices]]
        matrix = np.vstack([matrix, row / row.sum()])
    return Observer(
        projection.indices,
        matrix,
        len(seen.names),
        noise,
        WEBER if eye is None else eye.achromatic_noise,
        _said(asked, projection.params["covered"], noise, eye is not None, words.noise is not None),
    )


def _noise(text: str, count: int) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    if len(values) == 1:
        values *= count
    if len(values) != count or min(values) <= 0:
        raise ConfigError(
            f"--noise is '{text}'; give one Weber fraction above 0, or one for each of the {count} "
            "receptors, such as 0.1 or 0.13,0.06,0.12."
        )
    return values


def _said(
    asked: Receptors,
    covered: dict[str, float],
    noise: tuple[float, ...],
    preset: bool,
    own_noise: bool,
) -> tuple[str, ...]:
    from hyperspec.spectra.eyes import EYES

    shares = ", ".join(f"{name} {share:.0%}" for name, share in covered.items())
    eye = EYES[asked.eye]
    named = f"{asked.eye} ({eye.animal}): {eye.sources}" if preset else f"receptors of {asked.file}"
    reason = "as given"
    if not own_noise:
        reason = eye.noise_source if preset else "assumed equal; give --noise to set it"
    listed = ", ".join(f"{name} {one:.3g}" for name, one in zip(covered, noise, strict=True))
    return (
        f"observer {named}",
        f"light {asked.illuminant}; the sensor covers of each sensitivity: {shares}",
        f"noise {listed}: {reason}",
    )
