"""What is odd about the cubes of a folder, each by itself and against the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from hyperspec.cubes.envi.header import FILE_ORDER
from hyperspec.datasets.catalogue.records import Problem, copies
from hyperspec.inspection.value_statistics import Measure
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.white import listed

Severity = Literal["ok", "warning", "error"]

# Shares from which on a cube is mentioned. A few glints saturate in any good scan; a scene that
# was rotated to north has empty corners, but a specimen has none.
MAX_SATURATED = 0.001
MAX_MISSING = 0.05
# A cube is dark when its bright part is below a tenth of the other cubes' (median), or, with
# both frames, below 2% of the white.
DARK_SHARE = 0.1
DARK_REFLECTANCE = 0.02
_MIN_PEERS = 3
# Fewer pixels than this can be equal by chance.
_MIN_PIXELS = 16


@dataclass
class Look:
    """What was seen of one data file.

    Args:
        file: Path relative to the folder, with forward slashes.
        kind: ``specimen``, ``white``, ``dark``, ``white_dark``, or ``left out`` for what is another
            file once more.
        num_bytes: Size of the data file.
        shape: Bands, lines, samples.
        dtype: Type of the stored values.
        interleave: Order of the file as its header says.
        axis: Its own axis, or the given one.
        axis_given: Whether the axis was given since the header has none.
        measure: What its values tell.
        digest: Checksum of the data file.
        error: Why it cannot be read.
        warnings: What the reader warned of.
        fill: Which values stand for nothing although the file does not declare them.
        counts: Whether its values are on the scale of the frames, and not reflectance already.
    """

    file: str
    kind: str
    num_bytes: int = 0
    shape: tuple[int, int, int] | None = None
    dtype: str | None = None
    interleave: str | None = None
    axis: SpectralAxis | None = None
    axis_given: bool = False
    measure: Measure | None = None
    digest: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    fill: tuple[str, ...] = ()
    counts: bool = True


class Drift(NamedTuple):
    """How far the band centres of a cube lie from those of the expected sensor.

    Args:
        mean_nm: Mean difference, positive towards longer wavelengths.
        max_nm: Largest absolute difference.
        band: Band of the largest difference.
    """

    mean_nm: float
    max_nm: float
    band: int


def drift(expected: SpectralAxis, axis: SpectralAxis) -> Drift | None:
    """Compare an axis with the expected one; None when the numbers of bands differ."""
    if len(axis) != len(expected):
        return None
    difference = axis.wavelengths_nm - expected.wavelengths_nm
    band = int(np.abs(difference).argmax())
    return Drift(float(difference.mean()), float(abs(difference[band])), band)


def findings(
    looks: Sequence[Look], expected: SpectralAxis | None, tolerance_nm: float
) -> list[Problem]:
    """List what is odd, in no order.

    Args:
        looks: Every data file of the folder.
        expected: Axis of the sensor; None compares with none.
        tolerance_nm: Drift against it that is not mentioned.
    """
    found = []
    for look in looks:
        if look.error is not None:
            found.append(Problem(look.file, "error", look.error))
        found += [Problem(look.file, "warning", text) for text in (*look.warnings, *look.fill)]
        if look.measure is not None:
            found += _of_values(look, look.measure)
        suffix = look.file.rpartition(".")[2].lower()
        if look.interleave not in (None, suffix) and suffix in FILE_ORDER:
            text = (
                f"is named .{suffix}, but its header says `interleave = {look.interleave}`, which "
                "counts: is it the header of another file?"
            )
            found.append(Problem(look.file, "warning", text))
        if expected is not None and look.axis is not None and not look.axis_given:
            found += _of_axis(look.file, look.axis, expected, tolerance_nm)
    return [*found, *_dark(looks), *copies((x.digest, x.file) for x in looks)]


def _of_values(look: Look, seen: Measure) -> Iterator[Problem]:
    error = partial(Problem, look.file, "error")
    warning = partial(Problem, look.file, "warning")
    if seen.missing_share == 1:
        yield error("holds no value at all: everything is nodata or not finite.")
        return
    if seen.low == seen.high:
        yield error(f"is blank: every value is {seen.low:g}.")
        return
    if seen.missing_share > MAX_MISSING:
        yield warning(f"{seen.missing_share:.1%} of its values are nodata or not finite.")
    # Of a white frame that divides, more is said by who divides.
    if seen.saturated_share > MAX_SATURATED and look.kind != "white":
        level = seen.saturation_level
        yield warning(f"{seen.saturated_share:.2%} of its values are saturated (at {level:g}).")
    shape = look.shape
    assert shape is not None  # it was measured
    if seen.empty_bands:
        yield warning(
            f"holds no value in {listed('band', seen.empty_bands)}; mark them bad in the header "
            "(bbl)."
        )
    # Saturated bands of a white frame are no dead ones.
    flat_is_dead = look.kind != "white" or not seen.saturated_share
    if seen.flat_bands and flat_is_dead and shape[1] * shape[2] >= _MIN_PIXELS:
        yield warning(
            f"holds one value everywhere in {listed('band', seen.flat_bands)}; if the sensor is "
            "dead there, mark them bad in the header (bbl)."
        )
    dropped = _inner(seen.flat_lines, shape[1])
    if dropped and shape[2] > 1:
        yield warning(
            f"holds one value everywhere in {listed('line', dropped)}: did the scan drop frames?"
        )


def _inner(lines: Sequence[int], count: int) -> list[int]:
    """Leave out runs of lines at either end of the frame, which are padding."""
    flat = set(lines)
    first = next((i for i in range(count) if i not in flat), count)
    last = next((i for i in reversed(range(count)) if i not in flat), -1)
    return [line for line in lines if first < line < last]


def _of_axis(
    file: str, axis: SpectralAxis, expected: SpectralAxis, tolerance_nm: float
) -> Iterator[Problem]:
    away = drift(expected, axis)
    if away is None:
        (low, high), (first, last) = axis.range_nm, expected.range_nm
        text = (
            f"has {len(axis)} bands from {low:.1f} to {high:.1f} nm; the expected sensor has "
            f"{len(expected)} from {first:.1f} to {last:.1f} nm."
        )
        yield Problem(file, "error", text)
    elif away.max_nm > tolerance_nm:
        spacing = np.diff(np.sort(expected.wavelengths_nm))
        half = float(np.median(spacing)) / 2 if spacing.size else np.inf
        text = (
            f"has band centres up to {away.max_nm:.2f} nm away from the expected sensor's (band "
            f"{away.band}: {axis.wavelengths_nm[away.band]:.2f} instead of "
            f"{expected.wavelengths_nm[away.band]:.2f} nm), {away.mean_nm:+.2f} nm on average."
        )
        if away.max_nm > half:
            text += " That is more than half a band: bands are mistaken for others."
        yield Problem(file, "error" if away.max_nm > half else "warning", text)


def _dark(looks: Sequence[Look]) -> Iterator[Problem]:
    """Compare brightness with that of the others, and with the frames'."""
    bright = {
        look.file: look.measure.brightness
        for look in looks
        if look.measure is not None and np.isfinite(look.measure.brightness)
    }
    dark, white = _median_of(looks, bright, "dark"), _median_of(looks, bright, "white")
    specimens = [look for look in looks if look.kind == "specimen" and look.file in bright]
    for look in specimens:
        assert look.measure is not None  # it has a brightness
        peers = [bright[other.file] for other in specimens if other.counts == look.counts]
        value, typical, base = bright[look.file], float(np.median(peers)), dark * look.counts
        if look.measure.low == look.measure.high:
            continue  # blank, which is said elsewhere
        if len(peers) >= _MIN_PEERS and value - base < DARK_SHARE * (typical - base):
            text = f"is dark: its bright part is {value:g}, that of the others {typical:g}."
        elif look.counts and white and base and value - base < DARK_REFLECTANCE * (white - base):
            text = (
                f"is dark: its bright part is {value:g}, hardly above the dark frame's {base:g} "
                f"(white: {white:g})."
            )
        else:
            continue
        yield Problem(look.file, "warning", f"{text} Was the lamp on, the shutter open?")


def _median_of(looks: Sequence[Look], bright: Mapping[str, float], kind: str) -> float:
    """Return the median brightness of a kind of frames; 0 without any."""
    found = [bright[look.file] for look in looks if look.kind == kind and look.file in bright]
    return float(np.median(found)) if found else 0.0
