"""From stored values to physical ones: gains and offsets per band, ahead of the scale factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Gains:
    """A line per band: ``value = gain * stored + offset``, which the scale factor divides.

    Args:
        gain: Shape ``(C,)``, float64.
        offset: Shape ``(C,)``, float64, in the unit of the result.
        quantity: What comes out: ``radiance``, ``reflectance`` or, unknown, ``a physical value``.
    """

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    quantity: str

    def apply(
        self,
        raw: NDArray[np.generic],
        bands: Sequence[int],
        scale_factor: float,
        out: NDArray[np.float32],
    ) -> None:
        """Fill ``out`` with ``(gain * stored + offset) / scale_factor``.

        Args:
            raw: Stored values, shape ``(n, h, w)``.
            bands: The 0-based band of each plane.
            scale_factor: Value that stands for a reflectance of 1.
            out: Shape of ``raw``.
        """
        for plane, band, target in zip(raw, bands, out, strict=True):
            # In float64: an offset may cancel most of what is stored.
            wide = plane.astype(np.float64)
            target[...] = (wide * self.gain[band] + self.offset[band]) / scale_factor

    def lines(self, raw: NDArray[np.generic], bands: Sequence[int]) -> NDArray[np.float64]:
        """Return ``gain * stored + offset`` of some bands, shape ``(n, h, w)``."""
        gain, offset = (part[list(bands), None, None] for part in (self.gain, self.offset))
        return np.asarray(raw.astype(np.float64) * gain + offset)

    def same_as(self, other: Gains | None) -> bool:
        """Say whether another cube's gains are these; frames must have those of their cube."""
        return (
            other is not None
            and np.array_equal(self.gain, other.gain)
            and np.array_equal(self.offset, other.offset)
        )

    def __str__(self) -> str:
        def span(values: NDArray[np.float64]) -> str:
            low, high = values.min(), values.max()
            return f"{low:g}" if low == high else f"{low:g} to {high:g}"

        offset = "" if not self.offset.any() else f" + ({span(self.offset)})"
        return f"stored × {span(self.gain)}{offset}"


def gains_or_none(
    gain: NDArray[np.float64], offset: NDArray[np.float64], quantity: str
) -> Gains | None:
    """Return lines, None where they change nothing."""
    if (gain == 1).all() and (offset == 0).all():
        return None
    return Gains(gain, offset, quantity)
