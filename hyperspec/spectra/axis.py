"""The spectral axis: a band is known by its centre in nanometres, never by its index alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import AxisError


@dataclass(frozen=True, eq=False)
class SpectralAxis:
    """Band centres, widths and the bad-band list of a cube.

    Args:
        wavelengths_nm: Band centres in nanometres, shape ``(C,)``, finite and positive. Any order:
            descending axes and detectors that overlap exist.
        fwhm_nm: Full widths at half maximum in nanometres, shape ``(C,)``, or None when unknown.
        good: True for bands that may be used, shape ``(C,)``; None means all.

    Raises:
        AxisError: If shapes differ, the axis is empty, or a centre is not finite and positive.
    """

    wavelengths_nm: NDArray[np.float64]
    fwhm_nm: NDArray[np.float64] | None = None
    good: NDArray[np.bool_] = None  # type: ignore[assignment]  # __post_init__ fills it

    def __post_init__(self) -> None:
        centres = _frozen(self.wavelengths_nm, np.float64)
        object.__setattr__(self, "wavelengths_nm", centres)
        if centres.ndim != 1 or centres.size == 0:
            raise AxisError(f"wavelengths_nm has shape {centres.shape}; give one value per band.")
        wrong = np.flatnonzero(~(np.isfinite(centres) & (centres > 0)))
        if wrong.size:
            raise AxisError(
                f"wavelengths_nm[{wrong[0]}] is {centres[wrong[0]]}; every band centre must be a "
                "finite number of nanometres above 0."
            )
        if self.fwhm_nm is not None:
            object.__setattr__(self, "fwhm_nm", _frozen(self.fwhm_nm, np.float64))
        good = np.ones(centres.size, bool) if self.good is None else self.good
        object.__setattr__(self, "good", _frozen(good, np.bool_))
        for name in ("fwhm_nm", "good"):
            value = getattr(self, name)
            if value is not None and value.shape != centres.shape:
                raise AxisError(
                    f"{name} has shape {value.shape}, but there are {centres.size} wavelengths."
                )

    @classmethod
    def linear(cls, start_nm: float, stop_nm: float, count: int) -> SpectralAxis:
        """Make an evenly spaced axis of 1 band or more, from the centre of the first to the last.

        Both are in nanometres and included.
        """
        if count < 1:
            raise AxisError(f"An axis of {count} bands was asked for; it needs at least 1.")
        return cls(np.linspace(start_nm, stop_nm, count))

    def __len__(self) -> int:
        return int(self.wavelengths_nm.size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpectralAxis) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        low, high = self.range_nm
        bad = len(self) - len(self.good_indices)
        return f"SpectralAxis({len(self)} bands, {low:.1f}-{high:.1f} nm, {bad} bad)"

    @property
    def range_nm(self) -> tuple[float, float]:
        """Lowest and highest band centre in nanometres, bad bands included."""
        return float(self.wavelengths_nm.min()), float(self.wavelengths_nm.max())

    @cached_property
    def good_indices(self) -> NDArray[np.intp]:
        """Indices of the usable bands in channel order, shape ``(number of good bands,)``."""
        return np.flatnonzero(self.good)

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits of centres (to 0.0001 nm), widths and bad bands."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(np.round(self.wavelengths_nm * 1e4).astype("<i8").tobytes())
        if self.fwhm_nm is not None:
            digest.update(np.round(self.fwhm_nm * 1e4).astype("<i8").tobytes())
        digest.update(self.good.tobytes())
        return digest.hexdigest()

    def nearest(self, nm: float, tolerance_nm: float = np.inf) -> int:
        """Return the index of the good band nearest to a wavelength in nanometres.

        Between two equally near bands the lower one is taken; no farther than ``tolerance_nm``.

        Raises:
            AxisError: If no good band lies within the tolerance.
        """
        if not self.good_indices.size:
            raise AxisError(f"All {len(self)} bands are marked bad, so {nm:g} nm has none near it.")
        centres = self.wavelengths_nm[self.good_indices]
        distance = np.abs(centres - nm)
        order = np.lexsort((centres, np.round(distance, 6)))
        index = int(self.good_indices[order[0]])
        gap = abs(float(self.wavelengths_nm[index]) - nm)
        if not gap <= tolerance_nm:
            low, high = self.range_nm
            raise AxisError(
                f"No good band lies within {tolerance_nm:g} nm of {nm:g} nm: the nearest is band "
                f"{index} at {self.wavelengths_nm[index]:.2f} nm, {gap:.2f} nm away (the axis "
                f"spans {low:.1f}-{high:.1f} nm). "
                "Ask for another wavelength or widen the tolerance."
            )
        return index

    def subset(self, indices: Sequence[int] | NDArray[np.intp]) -> SpectralAxis:
        """Return the axis of the given bands, in the given order."""
        chosen = np.asarray(indices, dtype=np.intp)
        return SpectralAxis(
            self.wavelengths_nm[chosen],
            None if self.fwhm_nm is None else self.fwhm_nm[chosen],
            self.good[chosen],
        )

    def differences(self, other: SpectralAxis, tolerance_nm: float = 0.01) -> list[str]:
        """List in words how another axis differs from this one; empty when it fits.

        Widths that one of the two does not know are no difference.
        """
        if len(self) != len(other):
            return [f"{len(other)} bands instead of {len(self)}"]
        found = []
        drift = np.abs(self.wavelengths_nm - other.wavelengths_nm)
        if drift.max() > tolerance_nm:
            worst = int(drift.argmax())
            found.append(
                f"band centres differ by up to {drift.max():.3f} nm (band {worst}: "
                f"{other.wavelengths_nm[worst]:.3f} instead of {self.wavelengths_nm[worst]:.3f} nm)"
            )
        found += _width_differences(self, other, tolerance_nm)
        changed = np.flatnonzero(self.good != other.good)
        if changed.size:
            found.append(f"bad-band lists differ at bands {_shorten(changed.tolist())}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, fit for JSON and for checkpoints."""
        return {
            "wavelengths_nm": self.wavelengths_nm.tolist(),
            "fwhm_nm": None if self.fwhm_nm is None else self.fwhm_nm.tolist(),
            "good": self.good.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SpectralAxis:
        """Rebuild an axis from :meth:`to_dict`."""
        widths = values["fwhm_nm"]
        return cls(
            np.asarray(values["wavelengths_nm"], np.float64),
            None if widths is None else np.asarray(widths, np.float64),
            np.asarray(values["good"], np.bool_),
        )


# The mission's sensor: 348.3931 nm + 1.1332 nm per band, 408 bands.
MISSION_START_NM = 348.3931
MISSION_STEP_NM = 1.1332
MISSION_BANDS = 408


def mission_axis() -> SpectralAxis:
    """Return the axis of the mission's sensor: 408 bands from 348.4 to 809.6 nm."""
    last = MISSION_START_NM + MISSION_STEP_NM * (MISSION_BANDS - 1)
    return SpectralAxis.linear(MISSION_START_NM, last, MISSION_BANDS)


def _width_differences(axis: SpectralAxis, other: SpectralAxis, tolerance_nm: float) -> list[str]:
    if axis.fwhm_nm is None or other.fwhm_nm is None:
        return []
    drift = np.abs(axis.fwhm_nm - other.fwhm_nm)
    worst = int(drift.argmax())
    if drift[worst] <= tolerance_nm:
        return []
    return [
        f"band widths differ by up to {drift[worst]:.3f} nm (band {worst}: "
        f"{other.fwhm_nm[worst]:.3f} instead of {axis.fwhm_nm[worst]:.3f} nm)"
    ]


def _frozen(values: Iterable[Any] | NDArray[Any], dtype: Any) -> NDArray[Any]:
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def _shorten(items: list[int], limit: int = 8) -> str:
    text = ", ".join(map(str, items[:limit]))
    return text if len(items) <= limit else f"{text} and {len(items) - limit} more"
