"""From a raw cube to one specimen image: calibrate, mask, crop, resize."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Cube, Window
from hyperspec.cubes.files import find_mask
from hyperspec.cubes.fill_values import sampled_bands, undeclared_fill
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.checksums import check_unchanged, combined
from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord
from hyperspec.datasets.preparation.calibrator import Calibrator
from hyperspec.datasets.preparation.foreground import foreground
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import CubeError, HyperspecError


class Box(NamedTuple):
    """A square of the frame; it may reach beyond the frame's edges.

    Args:
        row: First line, may be negative.
        col: First sample, may be negative.
        side: Length in pixels, at least 1.
    """

    row: int
    col: int
    side: int


def square_box(mask: NDArray[np.bool_], margin: float) -> Box:
    """Return the square around the True pixels of a mask.

    Args:
        mask: At least one True, shape ``(H, W)``.
        margin: Added on each side, as a share of the longer side of the bounding box, 0 to 1.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1
    longer = int(max(height, width))
    side = longer + 2 * math.ceil(margin * longer)
    return Box(
        int(rows[0]) - (side - int(height)) // 2, int(cols[0]) - (side - int(width)) // 2, side
    )


def weights(first: int, side: int, size: int, length: int) -> NDArray[np.float32]:
    """Return the matrix that resamples one direction of a box.

    Downwards each output pixel is the mean over the input that it covers, with parts of pixels by
    their share (a box filter); upwards it is interpolated linearly between pixel centres.

    Args:
        first: Where the box begins in the frame, may be negative.
        side: Length of the box in input pixels.
        size: Number of output pixels.
        length: Length of the frame.

    Returns:
        Shape ``(size, length)``; rows sum to 1 inside the frame and to less where the box leaves
        it, since what lies outside has no weight.
    """
    position = np.arange(length) - first  # input pixel j covers [position_j, position_j + 1)
    output = np.arange(size)[:, None]
    if side >= size:
        # In units of 1/size input pixels every edge is a whole number: no rounding.
        start = np.maximum(position * size, output * side)
        stop = np.minimum((position + 1) * size, (output + 1) * side)
        share = np.maximum(stop - start, 0) / side
    else:
        centre = np.clip((output + 0.5) * (side / size), 0.5, side - 0.5)
        share = np.maximum(1 - np.abs(centre - (position + 0.5)), 0)
    return np.asarray(share, np.float32)


def resample(
    image: NDArray[np.float32], mask: NDArray[np.bool_], box: Box, size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Cut a box out and resize it, from foreground pixels only.

    Each output pixel is the weighted mean of the *foreground* pixels under it: with R the weights
    of rows and columns, ``(R_y (x * m) R_x^T) / (R_y m R_x^T)``, two matrix products per band. So
    nothing of the background enters the specimen's rim. The weights are sparse: an output pixel
    covers few input pixels, and dense products took two to four times as long.

    Args:
        image: Shape ``(n, H, W)``; values outside the mask may be anything, NaN too.
        mask: Foreground, shape ``(H, W)``.
        box: What to cut out.
        size: Sides of the result, S.

    Returns:
        Image of shape ``(n, S, S)``, 0 outside the mask, and the mask ``(S, S)``: pixels of which
        the foreground covers at least half.
    """
    from scipy.sparse import csr_array

    height, width = mask.shape
    rows = slice(max(box.row, 0), min(box.row + box.side, height))
    cols = slice(max(box.col, 0), min(box.col + box.side, width))
    down = weights(box.row, box.side, size, height)[:, rows]
    across = weights(box.col, box.side, size, width)[:, cols]
    inside = mask[rows, cols]
    cover = down @ inside.astype(np.float32) @ across.T
    # A rim of half-covered pixels stays; rounding must not decide at exactly one half.
    kept = cover >= 0.5 - 1e-4
    scale = np.divide(1, cover, out=np.zeros_like(cover), where=kept)
    sparse_down, sparse_across = csr_array(down), csr_array(across)
    result = np.empty((len(image), size, size), np.float32)
    whole = bool(inside.all())
    for plane, target in zip(image[:, rows, cols], result, strict=True):
        # where, not a product: NaN times 0 is NaN.
        lines = sparse_down @ (plane if whole else np.where(inside, plane, np.float32(0)))
        np.multiply((sparse_across @ np.ascontiguousarray(lines.T)).T, scale, out=target)
    return result, kept


# Part of every key of a prepared image: raise it when the same settings give other numbers.
PREPARE_VERSION = 2

# Shorter runs of foreground pixels than this on average are picked pixel by pixel.
_SHORT_RUN = 8


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the specimen is in its cube.

    Args:
        foreground: Shape ``(H, W)``.
        box: The square that becomes the image.
    """

    foreground: NDArray[np.bool_]
    box: Box


@dataclass(frozen=True, eq=False)
class Prepared:
    """One specimen image.

    Args:
        image: Reflectance, shape ``(C, S, S)``, float32; 0 outside the mask.
        mask: Foreground, shape ``(S, S)``.
        statistics: Of the foreground's spectra at the cube's own resolution.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    statistics: SpectralStatistics


class Preparer:
    """Prepares the cubes of one catalogue; may be used from several threads.

    Args:
        catalogue: The cubes.
        settings: How they are prepared.

    Raises:
        CatalogueError: If a cube cannot be calibrated rightly, though there are frames for it.
        CubeError: If the white frame that serves all is not fit to divide by.
    """

    def __init__(self, catalogue: Catalogue, settings: PrepareSettings) -> None:
        self.catalogue = catalogue
        self.settings = settings
        self.calibrator = Calibrator(catalogue, settings)
        self._flaw = self.calibrator.judge_shared()

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits of the data, their labels and the settings."""
        new = [[r.file, part] for r in self.catalogue.records if (part := self._new(r))]
        parts = [PREPARE_VERSION, self.catalogue.hash, self._plain_settings]
        return combined([*parts, *([new] if new else [])], 16)

    def key(self, record: CubeRecord) -> str:
        """Return the name of a prepared image: its contents and settings, not its labels."""
        plan, new = self.calibrator.plans[record.file], self._new(record)
        frames = self.catalogue.frames_checksum(record) if plan.white is not None else ""
        parts = (record.checksum, frames, self.catalogue.axis.hash, self._plain_settings)
        return combined([PREPARE_VERSION, *parts, *([new] if new else [])], 32)

    def _new(self, record: CubeRecord) -> list[object]:
        """Return what is done to a cube that version 0.1.0 did not do; its stores lack it."""
        plan = self.calibrator.plans[record.file]
        if self.calibrator.as_stored(record):
            return [*plan.differs, "as stored"]
        return [*plan.differs, *([self._flaw] if self._flaw and plan.is_plain else [])]

    @cached_property
    def _plain_settings(self) -> dict[str, object]:
        """The settings, the white target's by what its table says instead of where it lies."""
        target = self.calibrator.target
        curve = {} if isinstance(target, float) else {"white_reflectance": target.tolist()}
        return {**asdict(self.settings), **curve}

    def prepare(self, record: CubeRecord) -> Prepared:
        """Read a cube once and return its image, mask and statistics.

        Raises:
            CubeError: If it cannot be read or has no foreground; the message names the file.
        """
        cube_image = self.read(record)
        frame = self._locate(record, cube_image)
        image, mask = self._render(record, cube_image, frame)
        spectra = _spectra(cube_image, frame.foreground)
        return Prepared(image, mask, SpectralStatistics.from_spectra(spectra, self.catalogue.axis))

    def locate(self, record: CubeRecord) -> Frame:
        """Find the specimen, from all bands."""
        return self._locate(record, self.read(record))

    def find_and_render(
        self, record: CubeRecord, bands: Sequence[int]
    ) -> tuple[Frame, NDArray[np.float32]]:
        """Return where the specimen is, and its image ``(n, S, S)``, from one reading."""
        values = self.read(record)
        frame = self._locate(record, values)
        return frame, self._render(record, values[list(bands)], frame)[0]

    def render(
        self, record: CubeRecord, frame: Frame, bands: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return image ``(n, S, S)`` and mask ``(S, S)``, reading the chosen bands only."""
        return self._render(record, self.read(record, bands), frame)

    def statistics(self, record: CubeRecord, frame: Frame) -> SpectralStatistics:
        """Gather the statistics of the foreground's spectra."""
        spectra = _spectra(self.read(record), frame.foreground)
        return SpectralStatistics.from_spectra(spectra, self.catalogue.axis)

    def read(
        self,
        record: CubeRecord,
        bands: Sequence[int] | None = None,
        window: Window | None = None,
    ) -> NDArray[np.float32]:
        """Return calibrated reflectance ``(n, h, w)``; NaN where there is no value."""
        try:
            with open_cube(
                record.path, self.catalogue.axis, options=self.catalogue.reading
            ) as cube:
                values = cube.read(bands, window)
                if bands is None and window is None:
                    self._tell_fill(cube, values)
        except HyperspecError:
            # That a file was replaced says more than what is wrong with the new one.
            check_unchanged(record.path, record.stamp)
            raise
        check_unchanged(record.path, record.stamp)
        calibration = self.calibrator.of(record)
        if calibration is None:
            return values
        return calibration.apply(values, bands, 0 if window is None else window.col)

    @staticmethod
    def _tell_fill(cube: Cube, values: NDArray[np.float32]) -> None:
        """Warn of values that stand for nothing and count as specimen or background."""
        bands = sampled_bands(cube.axis)
        stored = cube.gains is not None  # whose lines differ from band to band
        planes = cube.read_raw(bands) if stored else values[bands]
        unit = 1.0 if stored else cube.scale_factor
        for text in undeclared_fill(cube, planes, unit, likely=True):
            warnings.warn(f"{cube.path} {text}", stacklevel=4)

    def _locate(self, record: CubeRecord, image: NDArray[np.float32]) -> Frame:
        self.calibrator.check(record, image)
        try:
            found = foreground(
                image, self.catalogue.axis.good, self.settings.mask, find_mask(record.path)
            )
        except CubeError as error:
            raise CubeError(f"{record.path}: {error}") from error
        check_unchanged(record.path, record.stamp)  # the mask image was read after the cube
        margin = self.settings.crop_margin
        if margin is None or self.settings.mask == "none":
            return Frame(found, square_box(np.ones_like(found), 0.0))
        return Frame(found, square_box(found, margin))

    def _render(
        self, record: CubeRecord, image: NDArray[np.float32], frame: Frame
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        result, mask = resample(image, frame.foreground, frame.box, self.settings.size)
        result[~np.isfinite(result)] = 0  # only bad bands can hold such values here
        if not mask.any():
            raise CubeError(
                f"{record.path}: the specimen has {int(frame.foreground.sum())} pixels, too thin "
                f"to fill half of any of the {self.settings.size}x{self.settings.size} pixels of "
                "its image. Enlarge data.size, or check the mask (data.mask=none goes without)."
            )
        check_range(result, np.dtype(self.settings.dtype), record.path)
        return result, mask


def _spectra(image: NDArray[np.float32], foreground: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the foreground's spectra, shape ``(P, C)``; each band's values lie together."""
    if foreground.all():
        return image.reshape(len(image), -1).T
    # Where pixels follow each other, copying their runs is three times as fast as picking them.
    # Not by the mask itself: it would be looked through for every band.
    inside = np.flatnonzero(foreground)
    starts = np.flatnonzero(np.diff(inside, prepend=-2) != 1)
    pixels = image.reshape(len(image), -1)
    if len(starts) * _SHORT_RUN > len(inside):
        return pixels.take(inside, axis=1).T
    found = np.empty((len(image), len(inside)), np.float32)
    for start, stop in zip(starts, [*starts[1:], len(inside)], strict=True):
        found[:, start:stop] = pixels[:, inside[start] : inside[start] + stop - start]
    return found.T


def check_range(values: NDArray[np.float32], dtype: np.dtype[np.floating], path: Path) -> None:
    """Refuse values that would become infinite in the type in which images are kept.

    Raises:
        CubeError: Naming the cube and the largest value.
    """
    highest = max(float(values.max(initial=0)), -float(values.min(initial=0)))
    if highest > float(np.finfo(dtype).max):
        raise CubeError(
            f"{path}: a value of {highest:.6g} does not fit data.dtype=float16 (at most 65504). "
            "Calibrate with white and dark frames, or set data.dtype=float32."
        )


def prepare(record: CubeRecord, catalogue: Catalogue, settings: PrepareSettings) -> Prepared:
    """Prepare one cube; :class:`Preparer` is faster for many, as it reads the frames once."""
    return Preparer(catalogue, settings).prepare(record)
