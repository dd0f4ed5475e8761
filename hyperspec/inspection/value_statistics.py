"""One look at every value of a cube, block by block, so that memory does not grow with the cube."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Cube, Window, blocks
from hyperspec.cubes.files import find_mask
from hyperspec.cubes.fill_values import lost_bands, sampled_bands, undeclared_fill
from hyperspec.cubes.gains import Gains
from hyperspec.cubes.specimens import find_specimens
from hyperspec.datasets.preparation.foreground import otsu_foreground
from hyperspec.spectra.white import FULL_SCALES
from hyperspec.utils.errors import CubeError

# The bright part of a cube, whatever share of it the specimen covers.
BRIGHT_QUANTILE = 0.99


@dataclass(frozen=True)
class Measure:
    """What the values of a cube's good bands tell.

    Args:
        missing_share: Share of values that are nodata, NaN or infinite, 0 to 1.
        saturated_share: Share of values at or above the saturation level, 0 to 1.
        saturation_level: Stored value that counts as saturated; None when there is none.
        low: Smallest stored value; NaN when all are missing.
        high: Largest stored value; NaN when all are missing.
        brightness: 0.99 quantile of the pixels' means over bands, by gains and scale factor.
        empty_bands: Good bands without any value.
        flat_bands: Good bands that hold one value everywhere.
        flat_lines: Lines that hold one value everywhere.
        one_part: Whether the brightness shows one part by itself, clear of the frame's border.
        seconds: Time spent in reading.
        bytes_read: What was read in this time.
    """

    missing_share: float
    saturated_share: float
    saturation_level: float | None
    low: float
    high: float
    brightness: float
    empty_bands: tuple[int, ...]
    flat_bands: tuple[int, ...]
    flat_lines: tuple[int, ...]
    one_part: bool
    seconds: float
    bytes_read: int

    @property
    def mb_per_second(self) -> float:
        """Reading speed in 10^6 bytes per second."""
        return self.bytes_read / max(self.seconds, 1e-9) / 1e6


def missing_values(raw: NDArray[np.generic], nodata: float | None) -> NDArray[np.bool_] | None:
    """Return where stored values are nodata, NaN or infinite; None when nowhere."""
    found = np.zeros(raw.shape, np.bool_)
    if raw.dtype.kind == "f":
        np.logical_not(np.isfinite(raw), out=found)
        if nodata is not None and np.isfinite(nodata):
            with np.errstate(over="ignore"):  # a header's -1e34 is meant as the nearest float32
                found |= raw == raw.dtype.type(nodata)
    elif nodata is not None and float(nodata).is_integer():
        found = np.asarray(raw == int(nodata))
    return found if found.any() else None


def measure(cube: Cube, saturation: float | None = None) -> Measure:
    """Read all good bands of a cube once.

    Args:
        cube: An open cube.
        saturation: Stored value from which on a value is saturated. None takes the largest value
            of an integer cube, when that is the full scale of an 8 to 16 bit converter.

    Raises:
        CubeError: If the header marks all bands bad, or the file cannot be read.
    """
    good = [int(band) for band in cube.axis.good_indices]
    if not good:
        raise CubeError(
            f"{cube.path}: its header marks all {cube.num_bands} bands bad (bbl), so nothing is "
            "left to use. Correct the list."
        )
    tally = _Tally(good, cube.num_lines, cube.num_samples, saturation, cube.gains)
    seconds = 0.0
    for window in blocks(len(good), *cube.shape[1:], cube.dtype.itemsize):
        start = time.perf_counter()
        raw = cube.read_raw(good if len(good) < cube.num_bands else None, window)
        seconds += time.perf_counter() - start
        tally.add(raw, window, missing_values(raw, cube.nodata))
    return tally.result(cube, good, seconds)


def fill_of(cube: Cube) -> tuple[str, ...]:
    """Say which values of a cube stand for nothing, although it does not declare them.

    Where a mask tells the specimen, 0 around it is a background that was taken away.
    """
    planes = cube.read_raw(sampled_bands(cube.axis))
    found = undeclared_fill(cube, planes, likely=find_mask(cube.path) is not None)
    lost = lost_bands(cube)
    return (*found, *([lost] if lost else []))


class _Tally:
    """Running minima, maxima, counts and the brightness plane."""

    def __init__(
        self,
        good: list[int],
        lines: int,
        samples: int,
        saturation: float | None,
        gains: Gains | None,
    ) -> None:
        self.good, self.gains, self.given = good, gains, saturation
        bands = len(good)
        self.missing = self.saturated = 0
        self.top = -np.inf
        self.band_low, self.line_low = np.full(bands, np.inf), np.full(lines, np.inf)
        self.band_high, self.line_high = np.full(bands, -np.inf), np.full(lines, -np.inf)
        self.brightness = np.full((lines, samples), np.nan, np.float32)

    def add(
        self, raw: NDArray[np.generic], window: Window, missing: NDArray[np.bool_] | None
    ) -> None:
        rows, cols = window.slices
        if missing is None:
            low, high = raw.min(axis=2), raw.max(axis=2)
            mean = raw.mean(axis=0, dtype=np.float64)
            if self.gains is not None:
                mean = self.gains.lines(raw, self.good).mean(axis=0)
        else:
            self.missing += int(missing.sum())
            values = np.where(missing, np.nan, raw).astype(np.float64)
            low = np.where(missing, np.inf, values).min(axis=2)
            high = np.where(missing, -np.inf, values).max(axis=2)
            counts = (~missing).sum(axis=0)
            physical = values if self.gains is None else self.gains.lines(values, self.good)
            total = np.where(missing, 0, physical).sum(axis=0)
            mean = np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
        self._count_saturated(raw, float(high.max()), missing)
        self.band_low = np.minimum(self.band_low, low.min(axis=1))
        self.band_high = np.maximum(self.band_high, high.max(axis=1))
        self.line_low[rows] = np.minimum(self.line_low[rows], low.min(axis=0))
        self.line_high[rows] = np.maximum(self.line_high[rows], high.max(axis=0))
        self.brightness[rows, cols] = mean

    def _count_saturated(
        self, raw: NDArray[np.generic], high: float, missing: NDArray[np.bool_] | None
    ) -> None:
        if self.given is not None:
            above = raw >= self.given  # type: ignore[operator]  # only real types get here
        elif raw.dtype.kind in "iu" and high >= self.top and high in FULL_SCALES:
            above = np.asarray(raw == int(high))
            if high > self.top:
                self.saturated = 0
        else:
            self.top = max(self.top, high)
            return
        self.top = max(self.top, high)
        self.saturated += int((above if missing is None else above & ~missing).sum())

    def result(self, cube: Cube, good: list[int], seconds: float) -> Measure:
        count = len(good) * cube.num_lines * cube.num_samples
        level = self.given
        if level is None and cube.dtype.kind in "iu" and self.top in FULL_SCALES:
            level = self.top
        empty = np.isneginf(self.band_high)
        flat = (self.band_low == self.band_high) & (cube.num_lines * cube.num_samples > 1)
        lines = (self.line_low == self.line_high) & (len(good) * cube.num_samples > 1)
        bright = self.brightness[np.isfinite(self.brightness)]
        nothing = bool(empty.all())
        return Measure(
            missing_share=self.missing / count,
            saturated_share=self.saturated / count if level is not None else 0.0,
            saturation_level=level,
            low=np.nan if nothing else float(self.band_low.min()),
            high=np.nan if nothing else float(self.band_high.max()),
            brightness=float(np.quantile(bright, BRIGHT_QUANTILE)) / cube.scale_factor
            if bright.size
            else np.nan,
            empty_bands=tuple(good[i] for i in np.flatnonzero(empty)),
            flat_bands=tuple(good[i] for i in np.flatnonzero(flat)),
            flat_lines=tuple(int(i) for i in np.flatnonzero(lines)),
            one_part=_one_part(self.brightness),
            seconds=seconds,
            bytes_read=count * cube.dtype.itemsize,
        )


def _one_part(brightness: NDArray[np.float32]) -> bool:
    """Say whether one specimen stands out, of stored values: a second look is not needed then."""
    found = otsu_foreground(brightness)
    if found is None:
        return False
    windows = find_specimens(found).windows
    lines, samples = brightness.shape
    return len(windows) == 1 and all(
        box.row > 0
        and box.col > 0
        and box.row + box.height < lines
        and box.col + box.width < samples
        for box in windows
    )
