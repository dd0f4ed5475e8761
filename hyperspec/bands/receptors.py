"""The channels that an animal's photoreceptors make of the bands."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import Vector, check_choice
from hyperspec.bands.projections import ChannelStrategy
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.band_projection import BandProjection
from hyperspec.spectra.eyes import EYES, Sensitivities, sensitivities_of
from hyperspec.spectra.light import photons
from hyperspec.spectra.photoreceptors import GRID_NM
from hyperspec.spectra.selection import ascending
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError

log = logging.getLogger(__name__)
# Receptors are some 100 nm wide and reflectance is smooth, so it is interpolated over gaps of less
# than half of that (bad bands, coarse sensors); what is wider counts as not covered.
WIDEST_GAP_NM = 40.0


@dataclass
class Receptors(ChannelStrategy):
    """Three to six channels as the receptors of an eye sum reflectance under a light.

    A channel is the integral of reflectance times sensitivity times photons of the illuminant, with
    reflectance interpolated linearly between the bands. Presets, their sources and what is left
    out: :mod:`hyperspec.spectra.eyes`.
    """

    name: ClassVar[str] = "receptors"

    eye: str = "average_uvs"
    """average_uvs, average_vs, bluetit, peafowl, honeybee, papilio, heliconius or human."""

    file: str | None = field(default=None, metadata={"content": True})
    """CSV of your own receptors instead of a preset: wavelength_nm, and a column per receptor with
    its sensitivity to photons at the cornea."""

    illuminant: str = field(default="d65", metadata={"content": True})
    """Light: d65, forest_shade, flat (equal photons), or a CSV with wavelength_nm and photons."""

    von_kries: bool = True
    """Whether receptors adapt to the light: each answers 1 to a perfect white. Without it, the one
    that catches most photons of the white does, the others less."""

    min_share: float = 0.5
    """Least share of each receptor's sensitivity that the sensor has to cover, 0 to 1."""

    def __post_init__(self) -> None:
        check_choice("eye", self.eye, tuple(EYES))
        if not 0 <= self.min_share <= 1:
            raise BandError(f"bands.min_share is {self.min_share}; give a share from 0 to 1.")

    def select(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None = None
    ) -> BandProjection:
        """Make the projection.

        Args:
            axis: The sensor's axis; bad bands are never read.
            statistics: Not looked at.

        Raises:
            BandError: If the axis covers too little of a receptor, or a file cannot be read.
        """
        self.check_axis(axis)
        seen = sensitivities_of(self.eye, self.file)
        shares = self._checked_shares(axis, seen)
        order, matrix = band_weights(axis, seen.curves * photons(self.illuminant, GRID_NM))
        white = matrix.sum(axis=1, keepdims=True)
        if not white.all():
            dark = seen.names[int(white.argmin())]
            raise BandError(
                f"bands.illuminant='{self.illuminant}' has no light where receptor '{dark}' of "
                f"{self._whose} sees and the sensor measures. Take another light."
            )
        if not self.von_kries:
            # Sensitivities are compared at equal area: how many photons an even light would give.
            area = seen.curves.sum(axis=1, keepdims=True)
            matrix = matrix / area
            white = matrix.sum(axis=1).max()
        used = np.flatnonzero(matrix.any(axis=0))
        channel_order = used[np.argsort(order[used])]
        params = asdict(self) | {"covered": {k: round(v, 4) for k, v in shares.items()}}
        for key in ("file", "illuminant"):  # where a file lies does not matter
            params[key] = params[key] and Path(params[key]).name
        return BandProjection(
            ascending(order[channel_order]),
            axis,
            # As the option is written, so that reports and messages say whose eye it is.
            self.name if self.file else f"{self.name}/{self.eye}",
            params,
            (matrix / white)[:, channel_order],
        )

    @property
    def _whose(self) -> str:
        return f"bands.eye={self.eye}" if self.file is None else f"bands.file='{self.file}'"

    def _checked_shares(self, axis: SpectralAxis, seen: Sensitivities) -> dict[str, float]:
        shares = covered_shares(axis, seen.curves)
        told = ", ".join(f"{n} {s:.0%}" for n, s in zip(seen.names, shares, strict=True))
        log.info("the sensor covers of the receptors of %s: %s", self._whose, told)
        for name, curve, share in zip(seen.names, seen.curves, shares, strict=True):
            if share < self.min_share:
                low, high = axis.range_nm
                raise BandError(
                    f"The sensor's axis ({len(axis.good_indices)} good bands, {low:.1f}-{high:.1f} "
                    f"nm) covers {share:.0%} of the sensitivity of receptor '{name}' of "
                    f"{self._whose}, which peaks at {GRID_NM[curve.argmax()]:.0f} nm: less than "
                    f"bands.min_share={self.min_share:g}. Take another bands.eye, or lower "
                    "bands.min_share and say so with the result."
                )
        return dict(zip(seen.names, (float(share) for share in shares), strict=True))


def covered_shares(axis: SpectralAxis, curves: Vector) -> Vector:
    """Return the share of each curve's area ``(n, L)`` over the grid that bands cover, ``(n,)``.

    A stretch is covered where good bands lie on both sides of it, no farther apart than 40 nm.
    """
    covered = _covered(np.unique(axis.wavelengths_nm[axis.good_indices]))
    return np.asarray(curves[:, covered].sum(axis=1) / curves.sum(axis=1))


def _covered(centres: Vector) -> NDArray[np.bool_]:
    """Say which wavelengths of the grid lie between two of the ascending centres, near enough."""
    right = np.clip(np.searchsorted(centres, GRID_NM), 1, max(len(centres) - 1, 1))
    if len(centres) < 2:
        return np.zeros(len(GRID_NM), bool)
    gap = centres[right] - centres[right - 1]
    nm = GRID_NM
    inside = (nm >= centres[0]) & (nm <= centres[-1])
    return np.asarray(inside & (gap <= WIDEST_GAP_NM))


def band_weights(axis: SpectralAxis, curves: Vector) -> tuple[NDArray[np.intp], Vector]:
    """Return weights that integrate a spectrum, given at the bands, against curves on the grid.

    Args:
        axis: Of the bands; of several at one wavelength the first is read.
        curves: Shape ``(n, L)``.

    Returns:
        Band indices in order of nm ``(C,)``, and weights ``(n, C)``: the transpose of linear
        interpolation, so that each row is exact for reflectance that is straight between bands.
    """
    good = axis.good_indices
    centres, first = np.unique(axis.wavelengths_nm[good], return_index=True)
    weights = np.zeros((len(centres), len(curves)))
    covered = _covered(centres)
    if covered.any():
        nm, light = GRID_NM[covered], curves[:, covered].T
        right = np.clip(np.searchsorted(centres, nm), 1, len(centres) - 1)
        share = ((nm - centres[right - 1]) / (centres[right] - centres[right - 1]))[:, None]
        np.add.at(weights, right - 1, (1 - share) * light)
        np.add.at(weights, right, share * light)
    return good[first], weights.T
