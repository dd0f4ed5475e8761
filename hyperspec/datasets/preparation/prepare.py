"""From a raw cube to one specimen image: calibrate, mask, crop, resize."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.checksums import check_unchanged, combined
from hyperspec.cubes.cube import Cube, Window, blocks
from hyperspec.cubes.files import find_mask
from hyperspec.cubes.fill_values import sampled_bands, undeclared_fill
from hyperspec.cubes.open import open_cube
from hyperspec.cubes.specimens import find_specimens
from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord, Problem
from hyperspec.datasets.preparation.calibrator import Calibrator
from hyperspec.datasets.preparation.foreground import (
    foreground,
    foreground_of,
    mean_over_good,
    worst_of,
)
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.resample import Box, resample, square_box
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import CubeError, HyperspecError
from hyperspec.utils.memory_share import band_groups, whole_bytes

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
        num_parts: Parts of the foreground apart from each other: more than one may be as many
            specimens.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    statistics: SpectralStatistics
    num_parts: int = 1


class Preparer:
    """Prepares the cubes of one catalogue; may be used from several threads.

    Args:
        catalogue: The cubes.
        settings: How they are prepared.
        cube_bytes: Memory that one cube may take; larger ones are read by parts, with the same
            numbers. None sets no limit.
        tell: As of :class:`Calibrator`.

    Raises:
        CatalogueError: If a cube cannot be calibrated rightly, though there are frames for it.
        CubeError: If the white frame that serves all is not fit to divide by.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        settings: PrepareSettings,
        cube_bytes: int | None = None,
        tell: Callable[[Problem], object] | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.settings = settings
        self._cube_bytes = cube_bytes
        self.calibrator = Calibrator(catalogue, settings, tell)
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
        """Return a cube's image, mask and statistics: from one reading where memory suffices.

        Raises:
            CubeError: If it cannot be read or has no foreground; the message names the file.
        """
        if self._is_large(record):
            frame = self.locate(record)
            image, mask = self.render(record, frame, range(record.shape[0]))
            return Prepared(image, mask, self.statistics(record, frame), self._num_parts(frame))
        cube_image = self.read(record)
        frame = self._locate(record, cube_image)
        image, mask = self._render(record, cube_image, frame)
        spectra = _spectra(cube_image, frame.foreground)
        statistics = SpectralStatistics.from_spectra(spectra, self.catalogue.axis)
        return Prepared(image, mask, statistics, self._num_parts(frame))

    def locate(self, record: CubeRecord) -> Frame:
        """Find the specimen, from all bands, which are read by blocks of lines."""
        good = self.catalogue.axis.good
        mean, brightness = np.empty((2, *record.shape[1:]), np.float32)
        for window, values in self._blocks(record):
            mean[window.slices] = mean_over_good(values, good)
            brightness[window.slices] = self.calibrator.brightness(values)
        self.calibrator.check(record, brightness)

        def worst_band() -> int:
            missing = sum((~np.isfinite(v)).sum(axis=(1, 2)) for _, v in self._blocks(record))
            return worst_of(np.asarray(missing), good)

        return self._frame(
            record, lambda mask: foreground_of(mean, self.settings.mask, mask, worst_band)
        )

    def find_and_render(
        self, record: CubeRecord, bands: Sequence[int]
    ) -> tuple[Frame, NDArray[np.float32]]:
        """Return where the specimen is, and its image ``(n, S, S)``, from one reading."""
        if self._is_large(record):
            frame = self.locate(record)
            return frame, self.render(record, frame, bands)[0]
        values = self.read(record)
        frame = self._locate(record, values)
        return frame, self._render(record, values[list(bands)], frame)[0]

    def render(
        self, record: CubeRecord, frame: Frame, bands: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return image ``(n, S, S)`` and mask ``(S, S)``, reading the chosen bands only."""
        limit = self._cube_bytes if self._is_large(record) else None
        parts = [
            self._render(record, self.read(record, some), frame)
            for some in band_groups(bands, frame.foreground.size, limit)
        ]
        images = [image for image, _ in parts]
        return images[0] if len(images) == 1 else np.concatenate(images), parts[0][1]

    def statistics(self, record: CubeRecord, frame: Frame) -> SpectralStatistics:
        """Gather the statistics of the foreground's spectra.

        Raises:
            CubeError: If these take more memory than a cube may.
        """
        if self._is_large(record):
            spectra = self._spectra_by_blocks(record, frame.foreground)
        else:
            spectra = _spectra(self.read(record), frame.foreground)
        return SpectralStatistics.from_spectra(spectra, self.catalogue.axis)

    def _num_parts(self, frame: Frame) -> int:
        return 1 if self.settings.mask == "none" else len(find_specimens(frame.foreground))

    def _is_large(self, record: CubeRecord) -> bool:
        return self._cube_bytes is not None and whole_bytes(record.shape) > self._cube_bytes

    def _spectra_by_blocks(
        self, record: CubeRecord, foreground: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        count = int(foreground.sum())
        needed, allowed = whole_bytes((record.shape[0], count, 1)), self._cube_bytes or 0
        if needed > allowed:
            raise CubeError(
                f"{record.path}: the {count} pixels of its specimen at {record.shape[0]} bands "
                f"take {needed / 1e9:.2f} GB of memory, and {allowed / 1e9:.2f} GB may be taken. "
                "Free memory, put a mask image of the specimen beside the cube, or cut the scene "
                "into tiles (data=tiles)."
            )
        found = np.empty((record.shape[0], count), np.float32)
        done = 0
        for window, values in self._blocks(record):
            pixels = values[:, foreground[window.slices]]
            found[:, done : done + pixels.shape[1]] = pixels
            done += pixels.shape[1]
        return found.T

    def _blocks(self, record: CubeRecord) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Yield windows of whole lines and all bands there, so that memory does not grow."""
        for window in blocks(*record.shape, itemsize=4):
            yield window, self.read(record, None, window)

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
        first = 0 if window is None else window.col
        return calibration.apply(values, bands, first, out=values)

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
        self.calibrator.check(record, self.calibrator.brightness(image))
        good = self.catalogue.axis.good
        return self._frame(record, lambda mask: foreground(image, good, self.settings.mask, mask))

    def _frame(self, record: CubeRecord, find: Callable[[Path | None], NDArray[np.bool_]]) -> Frame:
        """Find the foreground, given the cube's mask image, and what is cut out around it."""
        try:
            found = find(find_mask(record.path))
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
