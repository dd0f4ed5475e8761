"""White and dark calibration: raw counts become reflectance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import CubeError


@dataclass(frozen=True, eq=False)
class Calibration:
    """Dark level and white-minus-dark span of every detector element.

    A line scanner has one detector element per band and sample, and sees each line with the same
    one. So the frames are averaged over their lines, however many those are.

    Args:
        dark: Mean dark counts, shape ``(C, W)``, float32.
        span: Mean white minus mean dark, shape ``(C, W)``, float32, divided by the white target's
            reflectance; NaN where it is not positive.

    Source: ``reflectance = (raw - dark) / (white - dark)``. The rule names zero denominators only;
    negative ones are masked too, since a white that is darker than the dark measures nothing.
    """

    dark: NDArray[np.float32]
    span: NDArray[np.float32]

    @classmethod
    def from_frames(
        cls,
        white: NDArray[np.generic],
        dark: NDArray[np.generic],
        white_reflectance: float = 1.0,
    ) -> Calibration:
        """Average a white and a dark frame over their lines.

        Args:
            white: Raw counts of the white target, shape ``(C, lines, W)``; NaN counts are left out.
            dark: Raw counts with the shutter closed, shape ``(C, lines, W)``, any number of lines.
            white_reflectance: Known reflectance of the white target, above 0 (0.99 for Spectralon).

        Raises:
            CubeError: If the frames differ in bands or samples, or the reflectance is not positive.
        """
        if not (np.isfinite(white_reflectance) and white_reflectance > 0):
            raise CubeError(
                f"white_reflectance is {white_reflectance}; give the reflectance of the white "
                "target, a number above 0 (1.0 when it is not known)."
            )
        if white.shape[::2] != dark.shape[::2]:
            raise CubeError(
                f"The white frame has {white.shape[0]} bands and {white.shape[2]} samples, the "
                f"dark frame {dark.shape[0]} bands and {dark.shape[2]} samples; both must come "
                "from the same sensor setting."
            )
        level = _mean_over_lines(dark)
        span = (_mean_over_lines(white) - level) / white_reflectance
        span[~(span > 0)] = np.nan  # also catches NaN
        return cls(level.astype(np.float32), span.astype(np.float32))

    @property
    def num_dead(self) -> int:
        """Number of detector elements (band and sample) without a positive span."""
        return int(np.isnan(self.span).sum())

    def apply(
        self,
        raw: NDArray[np.float32],
        bands: Sequence[int] | None = None,
        first_sample: int = 0,
    ) -> NDArray[np.float32]:
        """Turn raw counts into reflectance.

        Args:
            raw: Raw counts, shape ``(n, h, w)``.
            bands: The 0-based band of each plane of ``raw``; None means all bands in file order.
            first_sample: Column of the cube at which ``raw`` begins.

        Returns:
            Reflectance, shape ``(n, h, w)``, float32, mostly 0 to 1; NaN at dead elements.

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
        reflectance = raw - dark[:, None, :]
        reflectance /= span[:, None, :]
        return reflectance.astype(np.float32, copy=False)


def _mean_over_lines(frame: NDArray[np.generic]) -> NDArray[np.float64]:
    """Average over lines without NaN; NaN where a detector element has no finite count."""
    values = np.asarray(frame, np.float64)
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(axis=1)
    count = finite.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
