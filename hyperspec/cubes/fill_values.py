"""Values that stand for nothing although no header says so: padding, nodata, interrupted copies.

No scene has the same number in every band of many pixels at its edge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Cube
from hyperspec.spectra.axis import SpectralAxis

# Bands in which a value must be the same.
_SAMPLED: Final = 8
# Fewer pixels than this, or a smaller share, are not mentioned.
_MIN_PIXELS, _MIN_SHARE = 8, 0.005
# Share of the frame's border that a value must hold which is not known as nodata.
_MIN_BORDER: Final = 0.05
_WHOLE_EDGE: Final = 0.95
# What programs write where there is nothing, and no sensor counts.
_KNOWN: Final = (-9999.0, -999.0, -99999.0, -32768.0, -1e34, -3.4028234663852886e38)
# Full scales of converters of fewer bits than their type: saturation, which is told elsewhere.
_SATURATED: Final = frozenset(2.0**bits - 1 for bits in (8, 10, 11, 12, 13, 14, 15))


def sampled_bands(axis: SpectralAxis) -> list[int]:
    """Return good bands from end to end, of which few tell whether a pixel is filled."""
    good = axis.good_indices
    places = np.linspace(0, len(good) - 1, min(_SAMPLED, len(good))).round().astype(int)
    return [int(band) for band in good[places]]


def undeclared_fill(
    cube: Cube, planes: NDArray[np.generic], unit: float = 1.0, *, likely: bool = False
) -> list[str]:
    """Say which values look like nodata that the file does not declare, and how to declare them.

    Args:
        cube: An open cube.
        planes: Its :func:`sampled_bands`, shape ``(k, H, W)``.
        unit: Stored value that 1 in the planes stands for.
        likely: Leave out what may be a background that was taken away or painted: all but negative
            numbers, the largest of the type, and 0 to the end of the file.
    """
    if len(planes) < 3:
        return []  # one or two bands are the same by chance
    first = planes[0]
    filled = np.isfinite(first) & (planes == first).all(axis=0)
    found = _in_all_bands(cube, first, filled, unit, likely)
    return found or _in_some_bands(cube, planes, unit)


def _in_all_bands(
    cube: Cube,
    first: NDArray[np.generic],
    filled: NDArray[np.bool_],
    unit: float,
    likely: bool,
) -> list[str]:
    if filled.sum() < _MIN_PIXELS:
        return []
    border = np.zeros(filled.shape, bool)
    border[[0, -1], :] = border[:, [0, -1]] = True
    found = []
    for value in np.unique(first[filled]):
        stored = _stored(float(value) * unit, cube)
        places = _without_dropped(filled & (first == value))
        count = int(places.sum())
        few = count < max(_MIN_PIXELS, _MIN_SHARE * filled.size)
        inside = stored not in _KNOWN and places[border].mean() < _MIN_BORDER
        saturated = stored in _SATURATED and not _is_largest(stored, cube)
        if few or inside or saturated or places.all() or stored == cube.nodata:
            continue
        tail = _last_lines(places) if stored == 0 else 0
        if tail or not likely or stored < 0 or _is_largest(stored, cube):
            found.append(_words(cube, stored, places, tail))
    return found


def _in_some_bands(cube: Cube, planes: NDArray[np.generic], unit: float) -> list[str]:
    """Look for what stands along a whole edge of one band: as one of two detectors leaves it."""
    if cube.dtype.kind == "u":
        return []  # all of these are negative

    def holds(values: NDArray[np.generic], wanted: float) -> NDArray[np.bool_]:
        return np.isclose(values.astype(np.float64) * unit, wanted, rtol=1e-6, atol=1e-4)

    for value in (*_KNOWN, -1.0):
        if value == cube.nodata:
            continue
        for band, plane in zip(sampled_bands(cube.axis), planes, strict=True):
            # The whole plane takes a tenth of the time of preparing a cube.
            sides = (plane[0], plane[-1], plane[:, 0], plane[:, -1])
            if max(float(holds(side, value).mean()) for side in sides) < _WHOLE_EDGE:
                continue
            places = holds(plane, value)
            if places.all():
                continue
            return [
                f"holds {value:.9g} in {places.mean():.0%} of band {band}, along its edge: is that "
                f"nodata? Then declare it: {_declared(cube, value)}; else it counts as a value."
            ]
    return []


def _without_dropped(places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out whole lines amid the frame: frames that the scan dropped, told by themselves."""
    lines = np.asarray(places.all(axis=1))
    first, last = int(lines.argmin()), len(lines) - int(lines[::-1].argmin())
    dropped = lines.copy()
    dropped[:first] = dropped[last:] = False
    return places & ~dropped[:, None]


def _last_lines(places: NDArray[np.bool_]) -> int:
    """Return how many whole lines at the end are marked, 0 where others are too."""
    lines = np.asarray(places.all(axis=1))
    last = int(lines[::-1].argmin())
    return 0 if places[: len(lines) - last].any() else last


def _words(cube: Cube, stored: float, places: NDArray[np.bool_], tail: int) -> str:
    declared = _declared(cube, stored)
    if tail:
        return (
            f"ends in {tail} of {len(places)} lines of 0 in all bands, as an interrupted copy "
            f"leaves them: copy the file again. If they mean nodata, declare it: {declared}."
        )
    return (
        f"holds {stored:.9g} in all bands of {int(places.sum())} pixels ({places.mean():.0%}), at "
        f"its edge: is that nodata? Then declare it: {declared}; else it counts as a value."
    )


def _declared(cube: Cube, stored: float) -> str:
    """Return the words that declare a value, and where they belong."""
    where = "its tags (gdal_edit.py -a_nodata)"
    if cube.header_path is not None:
        where = cube.header_path.name
    return f"`data ignore value = {stored:.17g}` in {where}"


def _stored(value: float, cube: Cube) -> float:
    """Return a stored value of which rounding is taken away."""
    if cube.dtype.kind in "iu" or abs(value - round(value)) < 1e-3:
        return float(round(value))
    return value


def _is_largest(value: float, cube: Cube) -> bool:
    return cube.dtype.kind in "iu" and value == float(np.iinfo(cube.dtype.str).max)


_CHUNK: Final = 2**20


def zero_tail(path: Path) -> int:
    """Return with how many zero bytes a file ends."""
    with path.open("rb") as file:
        size = end = file.seek(0, 2)
        while end:
            start = max(0, end - _CHUNK)
            file.seek(start)
            content = file.read(end - start)
            left = len(content.rstrip(b"\0"))
            if left:
                return size - start - left
            end = start
    return size


def lost_bands(cube: Cube) -> str | None:
    """Say when a band-sequential file ends in zeros, as an interrupted copy leaves it.

    Of files by lines the last lines tell it (:func:`undeclared_fill`).
    """
    order = cube.metadata.get("interleave", "").strip("{} \t").lower()
    if order != "bsq" or cube.nodata == 0 or cube.path.is_dir():
        return None
    plane = cube.num_lines * cube.num_samples * cube.dtype.itemsize
    zeros = zero_tail(cube.path)
    if zeros < plane // 10 or zeros >= cube.num_bands * plane:
        return None
    first = cube.num_bands - 1 - (zeros - 1) // plane
    return (
        f"ends in {zeros} zero bytes, bands {first} to {cube.num_bands - 1} or parts of them, as "
        "an interrupted copy leaves them: copy the file again, or mark these bands bad (bbl)."
    )
