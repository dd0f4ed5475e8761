"""White and dark calibration: raw counts become reflectance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.white import White
from hyperspec.utils.errors import CubeError


@dataclass(frozen=True, eq=False)
class Calibration:
    """Dark level and white-minus-dark span of every detector element.

    A line scanner has one detector element per band and sample, and sees each line with the same
    one. So the frames are averaged over their lines, however many those are.

    Args:
        dark: Mean dark counts, shape ``(C, W)``, float32.
        span: Mean white minus mean dark, shape ``(C, W)``, float32, divided by the white target's
            reflectance, in counts of the scans' exposure; NaN where the white is not fit to divide
            by.

    Source: ``reflectance = (raw - dark) / (white - dark)``, each over its exposure where these
    differ: the counts of a detector grow linearly with the time.
    """

    dark: NDArray[np.float32]
    span: NDArray[np.float32]

    @classmethod
    def from_white(
        cls,
        white: White,
        dark: NDArray[np.float64],
        white_dark: NDArray[np.float64] | None = None,
        *,
        white_reflectance: float | NDArray[np.float64] = 1.0,
        exposure_ratio: float = 1.0,
    ) -> Calibration:
        """Divide by a white frame that was judged.

        Args:
            white: The frame.
            dark: Mean dark of the scans, shape ``(C, W)``.
            white_dark: Mean dark of the white frame; that of the scans by default.
            white_reflectance: Known reflectance of the white target, above 0 (0.99 for Spectralon),
                or that of each band, shape ``(C,)``.
            exposure_ratio: How many times longer the scans were exposed than the white frame.
        """
        below = dark if white_dark is None else white_dark
        span = (white.level - below) / np.reshape(white_reflectance, (-1, 1))
        if exposure_ratio != 1:
            span *= exposure_ratio
        span[~white.usable] = np.nan
        return cls(dark.astype(np.float32), span.astype(np.float32))

    def apply(
        self,
        raw: NDArray[np.float32],
        bands: Sequence[int] | None = None,
        first_sample: int = 0,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Turn raw counts into reflectance.

        Args:
            raw: Raw counts, shape ``(n, h, w)``.
            bands: The 0-based band of each plane of ``raw``; None means all bands in file order.
            first_sample: Column of the cube at which ``raw`` begins.
            out: Where to put it, of the shape of ``raw``, which it may be itself: memory that is
                new to the process has to be cleared by the system first.

        Returns:
            Reflectance, ``out`` or a new array of shape ``(n, h, w)``, float32, mostly 0 to 1; NaN
            at dead elements.

        Raises:
            CubeError: If the planes or columns of ``raw`` do not fit the frames.
        """
        chosen = slice(None) if bands is None else list(bands)
        columns = slice(first_sample, first_sample + raw.shape[2])
        dark, span = self.dark[chosen, columns], self.span[chosen, columns]
        if dark.shape != (raw.shape[0], raw.shape[2]):
            raise CubeError(
                f"The calibration frames have {self.dark.shape[0]} bands and {self.dark.shape[1]} "
                f"samples, which does not cover {raw.shape[0]} bands at samples {first_sample} to "
                f"{first_sample + raw.shape[2] - 1}."
            )
        reflectance = np.subtract(raw, dark[:, None, :], out=out)
        reflectance /= span[:, None, :]
        return reflectance.astype(np.float32, copy=False)
