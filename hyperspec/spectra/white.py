"""Is a white frame fit to divide by: what of it is panel, what is saturated, what is too dark.

A line scanner sees each line with the same detector elements, one per band and sample. So what
changes along the lines of a white frame is the scene (the panel begins late, is round), and what
breaks off between two samples is its edge: lamps and lenses fall off smoothly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CubeError

Read = Callable[[Sequence[int]], NDArray[np.float32]]

_BLOCK_BYTES = 64 * 2**20
# A line's pixel is no panel when it is darker than this share of the sample's bright lines, and by
# more than noise: this many standard deviations.
_LINE_SHARE, _LINE_SDS = 0.8, 6.0
# From one sample to the next but one (or over 2% of the frame) a lamp's light does not change by
# more than this factor; nor does a panel by so many times its usual change.
_STEP, _STEP_TIMES = 1.4, 8.0
# Less of a step is one where the light is even on both sides: changes by less than so much of it.
_SOFT_STEP, _EVEN = 1.2, 0.4
_STEP_WIDTH = 0.02
_EDGE_SHARE = 0.9  # of what lies further inside, that a sample at a panel's edge must reach
# Converters of so many bits, and those of fewer that are stored in 16 (Specim IQ: 12 in 16).
_BITS = (8, 10, 11, 12, 13, 14, 15, 16)
FULL_SCALES = frozenset(
    [float(2**bits - 1) for bits in _BITS] + [float((2**b - 1) << (16 - b)) for b in (10, 12, 14)]
)
# Of the values that must lie at a full scale before it counts as one, and at least so many.
_SCALE_SHARE, _SCALE_COUNT = 1e-4, 3
# Of the elements that must show the largest value in every line, without noise, where the full
# scale is no power of two; and the lines that this takes.
_CLIPPED_SHARE, _CLIPPED_LINES = 0.002, 4
_SATURATED_LINES = 0.01  # share of an element's lines
# White less dark, in standard deviations of one value of the dark. Below one a pixel's noise
# is larger than a reflectance of 1, and within three standard errors there may be no light at all:
# nothing to divide by. At less than three the noise is a third, which is told.
_LEAST_SDS, _LEAST_ERRORS, _NOISY_SDS = 1.0, 3.0, 3.0
ROUNDING = 12**-0.5  # standard deviation of a value rounded to a whole number
# Of the panel's samples that may be lost before a white is refused.
MAX_LOST = 0.5


@dataclass(frozen=True, eq=False)
class White:
    """A white frame that was judged.

    Args:
        level: Mean counts of the panel's pixels, shape ``(C, W)``, float64.
        panel: Samples on the panel, shape ``(W,)``.
        lines_share: Share of the panel samples' pixels that are panel, 0 to 1.
        saturated: Elements that reach the full scale, shape ``(C, W)``.
        ceiling: The stored value of the full scale; None when nothing reaches one.
        too_dark: Elements hardly above the dark, shape ``(C, W)``.
        noisy: Further elements that are little above the dark, shape ``(C, W)``.
    """

    level: NDArray[np.float64]
    panel: NDArray[np.bool_]
    lines_share: float
    saturated: NDArray[np.bool_]
    ceiling: float | None
    too_dark: NDArray[np.bool_]
    noisy: NDArray[np.bool_]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Elements to divide by, shape ``(C, W)``."""
        return self.panel & ~self.saturated & ~self.too_dark

    def notes(self, good: NDArray[np.bool_]) -> list[str]:
        """Say what of the frame is left out, in sentences that the frame's name begins.

        Args:
            good: Bands that are used, shape ``(C,)``.
        """
        found = []
        if not self.panel.all():
            found.append(
                f"is no panel at {listed('sample', np.flatnonzero(~self.panel))} "
                f"({1 - self.panel.mean():.0%} of its width); cubes are masked there."
            )
        if self.lines_share < 1:
            found.append(
                f"has pixels darker than the panel ({1 - self.lines_share:.1%} on the panel's "
                "samples), which are left out of its mean."
            )
        for elements, words in self._spoilt(good):
            share = self._columns(elements)
            found.append(
                f"{words}; cubes are masked at {share:.1%} of the panel's samples. Mark the bands "
                "bad in the cubes' headers (bbl) to keep these."
            )
        noisy = self.noisy & self.usable & good[:, None]
        if noisy.any():
            bands = listed("band", np.flatnonzero(np.any(noisy, axis=1)))
            found.append(
                f"is less than {_NOISY_SDS:g} times the noise above the dark in {bands} "
                f"({noisy.sum() / good.sum() / len(self.panel):.1%} of its values), where single "
                "pixels are noise. Mark these bands bad in the cubes' headers (bbl) if they should "
                "not be chosen."
            )
        return found

    def check(self, name: str, axis: SpectralAxis) -> None:
        """Refuse a white that leaves less than half of its panel's samples.

        Raises:
            CubeError: Naming the frame, the bands with their shares, and the way out.
        """
        spoilt = self._spoilt(axis.good)
        lost = np.zeros(self.level.shape, np.bool_)
        for elements, _ in spoilt:
            lost |= elements
        if self._columns(lost) <= MAX_LOST:
            return
        share = lost[:, self.panel].mean(axis=1)
        bands, worst = np.flatnonzero(share), share.max()
        low, high = axis.wavelengths_nm[bands].min(), axis.wavelengths_nm[bands].max()
        raise CubeError(
            f"The white frame {name} {' and '.join(words for _, words in spoilt)}. So it is not "
            f"fit to divide by at {low:.1f} to {high:.1f} nm (up to {worst:.0%} of the panel's "
            "samples in a band). Scan the white again with another exposure, mark "
            f"{'this band' if len(bands) == 1 else 'these bands'} bad in the cubes' headers (bbl), "
            "or set data.calibrate=never."
        )

    def _spoilt(self, good: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], str]]:
        """Return spoilt elements of good bands with what is wrong, where there are any."""
        found = []
        inside = self.panel & good[:, None]
        full = f"is saturated (at {self.ceiling or 0:g}), so that reflectance comes out too high,"
        dim = "is not above the noise of the dark"
        for elements, words in ((self.saturated, full), (self.too_dark & ~self.saturated, dim)):
            some: NDArray[np.bool_] = elements & inside
            if some.any():
                share = np.count_nonzero(some) / np.count_nonzero(inside)
                bands = listed("band", np.flatnonzero(np.any(some, axis=1)))
                found.append((some, f"{words} in {bands} ({share:.1%} of its values)"))
        return found

    def _columns(self, elements: NDArray[np.bool_]) -> float:
        """Return the share of the panel's samples that lose an element."""
        lost = np.any(elements[:, self.panel], axis=0)
        return float(lost.mean()) if lost.size else 1.0


def judge_white(
    read: Read,
    shape: tuple[int, int, int],
    dark: NDArray[np.float64],
    good: NDArray[np.bool_],
    *,
    noise: NDArray[np.float64] | float = 0.0,
    ceiling: float | None = None,
    scale: float = 1.0,
) -> White:
    """Look at a white frame, some bands at a time.

    Args:
        read: Returns the values of some bands, shape ``(n, lines, W)``, NaN where there is none.
        shape: Bands, lines, samples of the frame.
        dark: Mean dark, shape ``(C, W)``.
        good: Bands that are used, shape ``(C,)``.
        noise: Standard deviation of one value of the dark by band, shape ``(C,)``.
        ceiling: Stored value of the full scale, where the header says it.
        scale: What stored values were divided by.
    """
    first = _first_look(read, shape, dark, good)
    level = _ceiling(first, ceiling, scale)
    pixels = _panel_lines(first.brightness)
    sums, reached = np.full(shape[::2], np.nan), np.zeros(shape[::2])
    for bands in _blocks(shape):
        values = read(bands).astype(np.float64)
        usable = np.isfinite(values) & pixels
        count = usable.sum(axis=1)
        total = np.where(usable, values, 0.0).sum(axis=1)
        sums[bands] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        if level is not None:
            full = (values >= level) & usable
            reached[bands] = full.sum(axis=1) / np.maximum(count, 1)
    panel = _panel_samples(first.brightness, pixels)
    above = sums - dark
    one = np.broadcast_to(np.asarray(noise, np.float64), shape[:1])[:, None]
    # The frames' means have so much less noise than one value.
    least = one * max(_LEAST_SDS, _LEAST_ERRORS * (2 / shape[1]) ** 0.5)
    return White(
        level=sums,
        panel=panel,
        lines_share=float(pixels[:, panel].mean()) if panel.any() else 0.0,
        saturated=reached > _SATURATED_LINES,
        ceiling=None if level is None else level * scale,
        too_dark=~(above > least),
        noisy=above < _NOISY_SDS * one,
    )


def listed(word: str, indices: Sequence[int] | NDArray[np.intp], limit: int = 6) -> str:
    """Write indices as ranges: ``bands 3, 7-9 and 12 more``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = int(index)
        else:
            runs.append([int(index), int(index)])
    texts = [f"{a}" if a == b else f"{a}-{b}" for a, b in runs]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return f"{word}{'s' if len(indices) > 1 else ''} {', '.join(texts[:limit])}{more}"


@dataclass(frozen=True, eq=False)
class _FirstLook:
    """Brightness over the good bands ``(lines, W)``, and each element's extremes ``(C, W)``."""

    brightness: NDArray[np.float64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    at_top: int
    count: int
    lines: int


def _blocks(shape: tuple[int, int, int]) -> Iterator[list[int]]:
    step = max(1, _BLOCK_BYTES // (4 * shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        yield list(range(start, min(start + step, shape[0])))


def _first_look(
    read: Read, shape: tuple[int, int, int], dark: NDArray[np.float64], good: NDArray[np.bool_]
) -> _FirstLook:
    brightness = np.zeros(shape[1:])
    low, high = np.empty(shape[::2], np.float32), np.empty(shape[::2], np.float32)
    top, at_top = -np.inf, 0
    for bands in _blocks(shape):
        values = read(bands)
        finite = np.isfinite(values)
        low[bands] = np.where(finite, values, np.inf).min(axis=1)
        high[bands] = np.where(finite, values, -np.inf).max(axis=1)
        new = float(high[bands].max())
        if new > top:
            top, at_top = new, 0
        at_top += int((values == top).sum())
        chosen = good[bands]
        above = np.where(finite, values - dark[bands][:, None], 0.0)
        brightness += above[chosen].sum(axis=0)
    brightness /= max(int(good.sum()), 1)
    return _FirstLook(brightness, low, high, at_top, int(np.prod(shape)), shape[1])


def _ceiling(seen: _FirstLook, told: float | None, scale: float) -> float | None:
    """Return the value of the full scale in units of the values; None where nothing reaches it."""
    top = np.float32(seen.high.max())
    if told is not None:
        limit = np.float32(told) / np.float32(scale)
        return float(limit) if top >= limit else None
    if round(float(top) * scale) in FULL_SCALES:
        enough = max(_SCALE_COUNT, _SCALE_SHARE * seen.count)
        return float(top) if seen.at_top >= enough else None
    clipped = (seen.low == seen.high) & (seen.high == top)
    noisy = (seen.low < seen.high)[~clipped]
    if (
        seen.lines >= _CLIPPED_LINES
        and clipped.mean() >= _CLIPPED_SHARE
        and noisy.size
        and noisy.mean() > 0.9
    ):
        return float(top)
    return None


def _panel_lines(brightness: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which pixels are panel, judged along the lines of each sample, ``(lines, W)``."""
    if len(brightness) < 2:
        return np.ones(brightness.shape, bool)
    bright = np.quantile(brightness, 0.95, axis=0, method="higher")
    # The median difference of neighbours is noise also where half of the lines are no panel.
    noise = np.median(np.abs(np.diff(brightness, axis=0)), axis=0) / (0.6745 * 2**0.5)
    darker = bright - brightness > _LINE_SDS * noise
    return ~(darker & (brightness < _LINE_SHARE * bright))


def _panel_samples(brightness: NDArray[np.float64], pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which samples are panel: those that no step in brightness parts from its middle."""
    num = brightness.shape[1]
    profile = np.where(pixels, brightness, 0).sum(axis=0) / np.maximum(pixels.sum(axis=0), 1)
    width = max(2, round(_STEP_WIDTH * num))
    panel = np.ones(num, bool)
    if num < 3 * width or not profile.max() > 0:
        return panel
    log = np.log(np.maximum(profile, 1e-3 * profile.max()))
    edges, limit = _edges(log, width)
    if not edges:
        return panel
    parts = np.split(np.arange(num), edges)
    broad = [part for part in parts if len(part) > width] or parts
    main = max(broad, key=lambda part: float(np.median(log[part])))
    panel[:] = False
    panel[_trimmed(main, profile, width)] = True
    place = next(i for i, part in enumerate(parts) if part[0] == main[0])
    for following in (parts[place + 1 :], parts[:place][::-1]):
        _grow(panel, main, following, profile, limit, width)
    return panel


def _edges(log: NDArray[np.float64], width: int) -> tuple[list[int], float]:
    """Return the first sample behind each edge of a profile's logarithm, and the least step."""
    change = log[width:] - log[:-width]
    usual = _STEP_TIMES * float(np.median(np.abs(change)))
    limit, soft = (max(float(np.log(step)), usual) for step in (_STEP, _SOFT_STEP))
    # A lamp falls off ever faster towards the frame's end; behind a blurred edge it is even again.
    size = np.abs(change)
    around = np.pad(size, 2 * width, constant_values=np.inf)
    even = np.maximum(around[: len(size)], around[4 * width :]) < _EVEN * size
    steep = (size > limit) | (even & (size > soft))
    slope = np.diff(log)
    found = set()
    for sign in (1, -1):
        places = np.flatnonzero(steep & (sign * change > 0))
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            if run.size:  # the steepest pair of neighbours is the edge
                inside = sign * slope[run[0] : run[-1] + width]
                found.add(int(run[0] + inside.argmax()) + 1)
    return sorted(found), soft


def _grow(
    panel: NDArray[np.bool_],
    main: NDArray[np.intp],
    following: Sequence[NDArray[np.intp]],
    profile: NDArray[np.float64],
    limit: float,
    width: int,
) -> None:
    """Add parts beyond a scratch that are as bright as the panel where it left off."""
    last = main
    for part in following:
        onwards = part[0] > last[0]
        # Away from the edge itself, which may be blurred.
        near, beyond = (last[::-1], part) if onwards else (last, part[::-1])
        ends = [side[width : 2 * width] if len(side) > width else side for side in (near, beyond)]
        levels = [float(np.median(profile[end])) for end in ends]
        if min(levels) > 0 and abs(np.log(levels[0] / levels[1])) < limit:
            panel[_trimmed(part, profile, width)] = True
            last = part


def _trimmed(part: NDArray[np.intp], profile: NDArray[np.float64], width: int) -> NDArray[np.intp]:
    """Take half-covered samples off the ends of a part; the ends of the frame are none."""
    first, stop = 0, len(part)
    inside = profile[part]
    left, right = part[0] > 0, part[-1] < len(profile) - 1
    while stop - first > 2 * width:
        after, before = inside[first + 1 : first + 1 + width], inside[stop - 1 - width : stop - 1]
        if left and inside[first] < _EDGE_SHARE * np.median(after):
            first += 1
        elif right and inside[stop - 1] < _EDGE_SHARE * np.median(before):
            stop -= 1
        else:
            break
    return part[first:stop]
