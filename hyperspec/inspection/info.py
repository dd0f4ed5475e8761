"""Everything that one look at a cube can tell: values, foreground, mean spectrum, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import blocks
from hyperspec.cubes.files import band_files, find_header, find_mask
from hyperspec.cubes.open import Cube, open_cube, read_cube
from hyperspec.datasets.catalogue.discover import find_frame, frame_kind
from hyperspec.datasets.preparation.foreground import otsu_foreground, read_mask
from hyperspec.inspection.value_statistics import Measure, measure
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.calibration import Calibration
from hyperspec.spectra.colour import ColourWeights, colour_weights, nearest_bands
from hyperspec.utils.errors import CatalogueError, CubeError, HyperspecError

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
    calibrate: str = "auto",
    white: Path | None = None,
    dark: Path | None = None,
) -> CubeInfo:
    """Read a cube by blocks of lines and gather what there is to know.

    Args:
        path: The data file or its header.
        axis: Axis of a cube without wavelengths.
        calibrate: ``auto`` uses a white and a dark frame that lie beside the cube, where they
            fit; ``none`` does not.
        white: White frame; None looks for it by name.
        dark: Dark frame; None looks for it by name.

    Raises:
        HyperspecError: If the cube, or a named frame, cannot be read.
    """
    with open_cube(path, axis) as cube:
        seen = measure(cube)
        calibration, words = None, "none asked for"
        if calibrate == "auto":
            calibration, words = _calibration(cube, white, dark)
        colours = colour_weights(cube.axis)
        rgb_bands = nearest_bands(cube.axis)
        brightness, xyz, rgb = _planes(cube, calibration, colours, rgb_bands)
        foreground, found_by = _foreground(cube, brightness)
        return CubeInfo(
            cube=cube,
            measure=seen,
            calibration=words,
            is_reflectance=calibration is not None
            or cube.scale_factor != 1
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
            values = calibration.apply(values, None, window.col)
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
        found = finite & read_mask(mask_file, brightness.shape)
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
    cube: Cube, white: Path | None, dark: Path | None
) -> tuple[Calibration | None, str]:
    """Return the calibration by the frames beside a cube, and what was done in words."""
    if frame_kind(cube.path) is not None and white is None and dark is None:
        return None, "none, this is a frame itself"
    folder = cube.path.parent
    alike = band_files if cube.path.is_dir() else find_header
    files = [
        path
        for path in sorted(folder.iterdir())
        if frame_kind(path) is not None
        and path.suffix.lower() != ".hdr"
        and path.is_dir() == cube.path.is_dir()
        and alike(path)
    ]
    frames = {}
    try:
        for kind, given in (("white", white), ("dark", dark)):
            frames[kind] = given or find_frame(folder, files, kind, None)
    except CatalogueError:
        return None, "none: several files could be the frames (data.white, data.dark)"
    paths = {kind: path for kind, path in frames.items() if path is not None}
    if len(paths) < 2:
        return None, f"none: {' and '.join(paths) or 'no'} frame beside the cube" + (
            " alone" if paths else ""
        )
    try:
        levels = [read_cube(paths[kind], cube.axis) for kind in ("white", "dark")]
        calibration = Calibration.from_frames(levels[0], levels[1])
        if calibration.dark.shape != (cube.num_bands, cube.num_samples):
            raise CubeError(
                f"The frames have {calibration.dark.shape[0]} bands and "
                f"{calibration.dark.shape[1]} samples, the cube {cube.num_bands} and "
                f"{cube.num_samples}."
            )
    except HyperspecError as error:
        if white is not None or dark is not None:
            raise
        return None, f"none: {error}"
    return calibration, f"{paths['white'].name}, {paths['dark'].name}"
