"""Everything that one look at a cube can tell: values, foreground, mean spectrum, pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.checksums import ChecksumCache
from hyperspec.cubes.cube import blocks
from hyperspec.cubes.files import find_mask
from hyperspec.cubes.frames import frame_kind, frames_beside
from hyperspec.cubes.mask_image import read_mask
from hyperspec.cubes.open import Cube, open_cube
from hyperspec.cubes.read_options import AS_THEY_ARE, ReadOptions
from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord, Stored
from hyperspec.datasets.catalogue.scan import read_frame
from hyperspec.datasets.preparation.calibrator import Calibrator
from hyperspec.datasets.preparation.foreground import otsu_foreground
from hyperspec.datasets.preparation.preparation import Preparation
from hyperspec.inspection.value_statistics import Measure, fill_of, measure
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.calibration import Calibration
from hyperspec.spectra.colour import ColourWeights, colour_weights, nearest_bands
from hyperspec.utils.errors import HyperspecError

# Float cubes whose values stay below this hold reflectance; counts go far beyond.
_MAX_REFLECTANCE = 2.0


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Per-band statistics over the foreground; NaN where a band has no value.

    Args:
        mean: Shape ``(C,)``.
        sd: Standard deviation with divisor count, shape ``(C,)``.
        low: Smallest value, shape ``(C,)``.
        high: Largest value, shape ``(C,)``.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CubeInfo:
    """What a look at one cube tells.

    Args:
        cube: The cube, closed.
        measure: What the stored values tell.
        calibration: How reflectance was reached, in words.
        doubts: What of that should be looked at.
        is_reflectance: Whether 1 means a perfect white.
        foreground: Shape ``(H, W)``.
        foreground_source: ``mask image``, ``Otsu`` or ``whole frame``.
        spectrum: Statistics of the foreground.
        colours: Weights of the CIE rendering; None where the axis has too little visible light.
        xyz: CIE XYZ, shape ``(3, H, W)``; None as ``colours``.
        rgb_bands: Bands shown as red, green, blue.
        rgb: Their values, shape ``(3, H, W)``.
    """

    cube: Cube
    measure: Measure
    calibration: str
    doubts: tuple[str, ...]
    is_reflectance: bool
    foreground: NDArray[np.bool_]
    foreground_source: str
    spectrum: Spectrum
    colours: ColourWeights | None
    xyz: NDArray[np.float64] | None
    rgb_bands: list[int]
    rgb: NDArray[np.float32]


def look_at(
    path: Path | str,
    axis: SpectralAxis | None = None,
    *,
    reading: ReadOptions = AS_THEY_ARE,
    preparation: Preparation | None = None,
    white: Path | None = None,
    dark: Path | str | None = None,
) -> CubeInfo:
    """Read a cube by blocks of lines and gather what there is to know.

    Args:
        path: The data file or its header.
        axis: Axis of a cube without wavelengths.
        reading: How files are read that leave something open.
        preparation: How training would calibrate; frames are looked for beside the cube, and in
            the two folders above.
        white: White frame; None looks for it by name.
        dark: Dark frame; None looks for it by name, ``0`` is a camera that subtracts its dark.

    Raises:
        HyperspecError: If the cube cannot be read, or it cannot be calibrated with frames that are
            named, or at all costs (``always``).
    """
    with open_cube(path, axis, options=reading) as cube:
        seen = measure(cube)
        for text in fill_of(cube):
            warnings.warn(f"{path} {text}", stacklevel=2)
        given = preparation or Preparation()
        calibration, words, known, doubts = _calibration(cube, reading, given, white, dark)
        colours = colour_weights(cube.axis)
        rgb_bands = nearest_bands(cube.axis)
        brightness, xyz, rgb = _planes(cube, calibration, colours, rgb_bands)
        foreground, found_by = _foreground(cube, brightness)
        return CubeInfo(
            cube=cube,
            measure=seen,
            calibration=words,
            doubts=doubts,
            is_reflectance=known
            or cube.is_scaled
            or (cube.dtype.kind == "f" and seen.high <= _MAX_REFLECTANCE),
            foreground=foreground,
            foreground_source=found_by,
            spectrum=_spectrum(cube, calibration, foreground),
            colours=colours,
            xyz=xyz,
            rgb_bands=rgb_bands,
            rgb=rgb,
        )


def _blocks(
    cube: Cube, calibration: Calibration | None
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float32]]]:
    """Yield rows and columns, and all bands there: ``(C, h, w)``, NaN where missing."""
    for window in blocks(*cube.shape, itemsize=8):
        values = cube.read(None, window)
        if calibration is not None:
            values = calibration.apply(values, None, window.col, out=values)
        values[~np.isfinite(values)] = np.nan
        yield window.slices, values


def _planes(
    cube: Cube,
    calibration: Calibration | None,
    colours: ColourWeights | None,
    rgb_bands: list[int],
) -> tuple[NDArray[np.float32], NDArray[np.float64] | None, NDArray[np.float32]]:
    """Return brightness (mean over good bands), XYZ and the three bands of each pixel."""
    frame = cube.shape[1:]
    brightness = np.empty(frame, np.float32)
    xyz = None if colours is None else np.empty((3, *frame))
    rgb = np.empty((3, *frame), np.float32)
    for place, values in _blocks(cube, calibration):
        brightness[place] = values[cube.axis.good_indices].mean(axis=0, dtype=np.float64)
        rgb[:, *place] = values[rgb_bands]
        if xyz is not None and colours is not None:
            xyz[:, *place] = np.tensordot(colours.weights.T, values[colours.bands], axes=1)
    return brightness, xyz, rgb


def _foreground(cube: Cube, brightness: NDArray[np.float32]) -> tuple[NDArray[np.bool_], str]:
    """Find the specimen as training does: mask image, else Otsu, else the whole frame."""
    finite = np.isfinite(brightness)
    mask_file = find_mask(cube.path)
    if mask_file is not None:
        mask = read_mask(mask_file, brightness.shape)
        for note in mask.notes:
            warnings.warn(f"The mask {mask_file} {note}.", stacklevel=3)
        found = finite & mask.specimen
        if found.any():
            return found, "mask image"
    elif (split := otsu_foreground(brightness)) is not None and split.any():
        return split, "Otsu"
    return finite if finite.any() else np.ones_like(finite), "whole frame"


def _spectrum(
    cube: Cube, calibration: Calibration | None, foreground: NDArray[np.bool_]
) -> Spectrum:
    """Gather moments by blocks (Chan, Golub and LeVeque 1979, eq. 2.1)."""
    bands = cube.num_bands
    count, mean, square = np.zeros(bands), np.zeros(bands), np.zeros(bands)
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    for place, values in _blocks(cube, calibration):
        pixels = values[:, foreground[place]].astype(np.float64)
        valid = np.isfinite(pixels)
        new = valid.sum(axis=1)
        own = np.where(valid, pixels, 0).sum(axis=1) / np.maximum(new, 1)
        total = np.maximum(count + new, 1)
        away = own - mean
        deviation = np.where(valid, pixels - own[:, None], 0)
        square += (deviation**2).sum(axis=1) + away**2 * count * new / total
        mean += away * new / total
        count += new
        low = np.minimum(low, np.where(valid, pixels, np.inf).min(axis=1, initial=np.inf))
        high = np.maximum(high, np.where(valid, pixels, -np.inf).max(axis=1, initial=-np.inf))
    nothing = count == 0
    parts = (mean, np.sqrt(square / np.maximum(count, 1)), low, high)
    return Spectrum(*(np.where(nothing, np.nan, part) for part in parts))


def _calibration(
    cube: Cube,
    reading: ReadOptions,
    settings: Preparation,
    white: Path | None,
    dark: Path | str | None,
) -> tuple[Calibration | None, str, bool, tuple[str, ...]]:
    """Return the calibration, what was done in words, whether it is reflectance, and doubts."""
    named = white is not None or dark is not None
    if frame_kind(cube.path) is not None and not named:
        return None, "none, this is a frame itself", False, ()
    doubts: list[str] = []
    path = cube.path.absolute()
    files = frames_beside(path, white, dark).frames_of(path)
    record = CubeRecord(
        specimen=cube.path.stem, file=path.name, path=path, shape=cube.shape,
        axis_hash=cube.axis.hash, num_bytes=0, checksum="", stamp=(), stored=Stored.of(cube),
        frames=files,
    )  # fmt: skip
    cache = ChecksumCache(None)
    try:
        frames = {file: read_frame(file, cube.axis, cache, reading) for file in files.files}
        catalogue = Catalogue(path.parent, (record,), cube.axis, frames=frames, reading=reading)
        calibrator = Calibrator(catalogue, settings, lambda problem: doubts.append(str(problem)))
        calibration = calibrator.of(record)
    except HyperspecError as error:
        if named or settings.calibrate == "always":
            raise
        return None, f"none: {error}", False, ()
    known = calibrator.is_reflectance(record)
    return calibration, calibrator.words(record), known, tuple(doubts)
