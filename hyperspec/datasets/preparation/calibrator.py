"""Stored values become reflectance: frames are read, judged and applied to their cubes."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.checksums import check_unchanged
from hyperspec.cubes.cube import Cube
from hyperspec.cubes.files import bare_name
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord, FrameRecord, Problem
from hyperspec.datasets.preparation.plan import (
    Dark,
    Plan,
    below,
    mixed_exposures,
    plan_for,
    several,
    unlike_under_one_white,
)
from hyperspec.datasets.preparation.preparation import Preparation
from hyperspec.spectra.calibration import Calibration
from hyperspec.spectra.white import ROUNDING, White, judge_white
from hyperspec.spectra.white_target import target_reflectance
from hyperspec.utils.errors import CatalogueError, CubeError

_LOG = logging.getLogger(__name__)

# Values up to this are reflectance (a mirror's glint exceeds it), and so is a cube of floats of
# which no larger share lies above.
MAX_REFLECTANCE = 2.0
_GLINTS = 0.01
# The bright part of a calibrated cube (this quantile of its pixels' means) lies in this range, or
# the frames are not its own. Below, only floats are refused: a scan without light is dark too.
_BRIGHT_QUANTILE = 0.99
_PLAUSIBLE = (0.02, MAX_REFLECTANCE)
_DARK_SHARE = 0.5  # of that bright part, above which lines of a closed shutter are not dark
_LOOKED_AT = 16  # bands, spread over the axis: enough to tell counts from reflectance
# Frames per scan are read once for each scan; those of a folder stay.
_KEPT, _KEPT_MADE = 16, 64
_NOISE_LINES = 4  # from which on the noise of a dark frame is measured


@dataclass(frozen=True, eq=False)
class _Level:
    """A dark: mean counts ``(C, W)``, and the noise of one value by band ``(C,)``."""

    mean: NDArray[np.float64]
    noise: NDArray[np.float64]


class Calibrator:
    """How the cubes of a folder become reflectance; may be used from several threads.

    Args:
        catalogue: The cubes and the frames that serve them.
        settings: What the config says.
        tell: Takes each thing that a user should look at, once; by default a warning of the log.

    Raises:
        CatalogueError: If a cube cannot be calibrated rightly, though its frames or the config ask
            for it; the message names value, file and way out.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        settings: Preparation,
        tell: Callable[[Problem], object] | None = None,
    ) -> None:
        self._tell = tell or (lambda problem: _LOG.warning("%s", problem))
        self._told: set[Problem] = set()
        self._lock = threading.Lock()
        self._root, self._axis, self._cubes = catalogue.root, catalogue.axis, catalogue.records
        self._left_out = catalogue.left_out
        self._frames: Mapping[Path, FrameRecord] = catalogue.frames
        self._settings, self._reading = settings, catalogue.reading
        self.target = target_reflectance(settings.white_reflectance, self._root, self._axis)
        self.plans = plans_of(catalogue, settings)
        self._small = lru_cache(None)(self._read_small)
        self._dark = lru_cache(_KEPT)(self._read_dark)
        self._white = lru_cache(_KEPT)(self._read_white)
        self._made = lru_cache(_KEPT_MADE)(self._make)
        for problem in doubts_of(catalogue, self.plans):
            self.tell(problem)

    def tell(self, problem: Problem) -> None:
        """Say something once."""
        with self._lock:
            new = problem not in self._told
            self._told.add(problem)
        if new:
            self._tell(problem)

    @property
    def told(self) -> list[Problem]:
        """What was told so far, sorted."""
        return sorted(self._told, key=lambda problem: (problem.file, problem.message))

    def judge_shared(self) -> str:
        """Judge the frames where one pair serves all, and return what they lack.

        Version 0.1.0 knew no more than one pair and did not judge it; where nothing is lacking,
        its results hold.

        Raises:
            CubeError: If the white is not fit to divide by.
        """
        plans = [self.plans[cube.file] for cube in self._cubes if not self.as_stored(cube)]
        pairs = {(plan.white, plan.dark) for plan in plans if plan.is_plain}
        if len(pairs) != 1:
            return "frames by name" if pairs else ""
        ((path, dark),) = pairs
        assert path is not None  # the plan is plain
        white = self._white(path, dark)
        dead = ~(white.level - self._dark(dark).mean > 0)
        if white.lines_share == 1 and (white.usable == ~dead).all():
            return ""
        parts = np.packbits(white.usable).tobytes() + repr(white.lines_share).encode()
        return hashlib.blake2b(parts, digest_size=8).hexdigest()

    def of(self, cube: CubeRecord) -> Calibration | None:
        """Return what is applied to a cube's values; None when they stay as they are.

        Raises:
            CubeError: If the white is not fit to divide by, or a file cannot be read.
        """
        plan = self.plans[cube.file]
        if self.as_stored(cube) or (plan.white is None and not plan.dark.inside):
            return None
        return self._made(replace(plan, words="", doubts=()))

    def words(self, cube: CubeRecord) -> str:
        """Say what was done to a cube's values."""
        if self.as_stored(cube):
            return f"none: floats up to {MAX_REFLECTANCE:g}, so the values are reflectance already"
        return self.plans[cube.file].words

    def as_stored(self, cube: CubeRecord) -> bool:
        """Say whether the values themselves show that they are reflectance already.

        Hardly one is above 2, while those of the white frame are: it holds counts.
        """
        plan = self.plans[cube.file]
        if not plan.by_values or plan.white is None:
            return False
        return self._small(cube.path) and not self._small(plan.white)

    def is_reflectance(self, cube: CubeRecord) -> bool:
        """Say whether the values are reflectance, stored or made."""
        plan = self.plans[cube.file]
        return plan.is_reflectance or plan.white is not None

    def groups(self) -> dict[str, list[str]]:
        """Return what was done in words, and the files that it was done to."""
        groups: dict[str, list[str]] = {}
        for cube in self._cubes:
            groups.setdefault(self.words(cube), []).append(cube.file)
        return groups

    def lines(self) -> list[str]:
        """Say what was done, a line for each way: ``a.bil and 2 more: WHITEREF_*.bil, dark.bil``.

        The star stands for the name of the scan.
        """
        groups: dict[str, list[str]] = {}
        for cube in self._cubes:
            groups.setdefault(self._starred(cube), []).append(cube.file)
        done = [f"{several(files)}: {words}" for words, files in groups.items()]
        return [*done, *(f"{file} is left out: {why}" for file, why in self._left_out.items())]

    def _starred(self, cube: CubeRecord) -> str:
        words, plan = self.words(cube), self.plans[cube.file]
        own = re.compile(rf"(?<![a-z0-9]){re.escape(bare_name(cube.path))}(?![a-z0-9])", re.I)
        for path in (plan.white, plan.dark.path, plan.white_dark.path):
            if path is not None:
                file = below(path, self._root)
                words = words.replace(file, own.sub("*", file))
        return words

    def brightness(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean ``(h, w)`` over bands spread over the axis, of values ``(C, h, w)``."""
        mean: NDArray[np.float32] = values[self._some_bands].mean(axis=0)
        return mean

    def check(self, cube: CubeRecord, brightness: NDArray[np.float32]) -> None:
        """Look at the :meth:`brightness` of a calibrated cube as a whole.

        Raises:
            CubeError: If its values cannot be reflectance.
        """
        plan = self.plans[cube.file]
        if self._settings.calibrate != "auto" or plan.white is None or self.as_stored(cube):
            return
        bright = self._bright(brightness)
        low, high = _PLAUSIBLE
        if bright > high or (plan.by_values and bright < low):
            raise CubeError(
                f"{cube.path}: calibrated with {plan.words} its bright part would be {bright:.3g}, "
                f"which is no reflectance ({low:g} to {high:g}): the frames are not those of these "
                "values. If the values are reflectance already, or scaled, set "
                "data.calibrate=never (or write `reflectance scale factor` into the header); to "
                "calibrate all the same, set data.calibrate=always."
            )

    def _make(self, plan: Plan) -> Calibration:
        dark = self._dark(plan.dark)
        if plan.white is None:
            level = dark.mean.astype(np.float32)
            return Calibration(level, np.ones_like(level))
        white_dark = dark if plan.white_dark == plan.dark else self._dark(plan.white_dark)
        white = self._white(plan.white, plan.white_dark)
        return Calibration.from_white(
            white,
            np.broadcast_to(dark.mean, white.level.shape),
            white_dark.mean,
            white_reflectance=self.target,
            exposure_ratio=plan.ratio,
        )

    def _read_white(self, path: Path, dark: Dark) -> White:
        frame = self._frames[path]
        stored, shape = frame.stored, frame.shape
        assert stored is not None  # the plan looked
        assert shape is not None
        level = self._dark(dark)
        with open_cube(path, self._axis, options=self._reading) as cube:
            # Whole numbers are rounded, which is noise also where a frame shows none.
            least = ROUNDING / stored.scale_factor if stored.kind in "iu" else 0.0
            white = judge_white(
                cube.read,
                shape,
                level.mean,
                self._axis.good,
                noise=np.maximum(level.noise, least),
                ceiling=stored.acquisition.ceiling,
                scale=stored.scale_factor,
            )
        self._check_unchanged(path)
        file = below(path, self._root)
        white.check(file, self._axis)
        for text in white.notes(self._axis.good):
            self.tell(Problem(file, "warning", text))
        return white

    def _read_dark(self, dark: Dark) -> _Level:
        num_bands = len(self._axis)
        if dark.path is None:
            return _Level(np.zeros((num_bands, 1)), np.zeros(num_bands))
        with open_cube(dark.path, self._axis, options=self._reading) as cube:
            mean, noise = np.empty((num_bands, cube.num_samples)), np.zeros(num_bands)
            for band in range(num_bands):
                mean[band], noise[band] = _level(_dark_values(cube, band, dark.inside))
            if dark.inside:
                self._check_dark_lines(cube, mean)
        self._check_unchanged(dark.path)
        return _Level(mean, noise)

    def _check_dark_lines(self, cube: Cube, mean: NDArray[np.float64]) -> None:
        """Refuse lines that a header calls dark and that are picture."""
        some, start = self._some_bands, cube.acquisition.dark_start
        dark, bright = float(np.nanmean(mean[some])), self._bright(cube.read(some).mean(axis=0))
        if dark > _DARK_SHARE * bright:
            raise CubeError(
                f"{cube.path}: its header says that the lines from {start} on are dark "
                f"(autodarkstartline), but their mean is {dark:.4g}, the picture's bright part "
                f"{bright:.4g}. If they are part of the picture, take the key out of the header; "
                "data.calibrate=never cuts them off without subtracting them."
            )

    @staticmethod
    def _bright(brightness: NDArray[np.float32]) -> float:
        finite = brightness[np.isfinite(brightness)]
        return float(np.quantile(finite, _BRIGHT_QUANTILE)) if finite.size else 1.0

    def _check_unchanged(self, path: Path) -> None:
        if path in self._frames:  # a cube is looked at by who reads its picture
            check_unchanged(path, self._frames[path].stamp)

    def _read_small(self, path: Path) -> bool:
        """Say whether hardly a value of a file is above 2."""
        with open_cube(path, self._axis, options=self._reading) as opened:
            values = opened.read(self._some_bands)
        finite = values[np.isfinite(values)]
        return bool((finite > MAX_REFLECTANCE).sum() <= _GLINTS * finite.size)

    @property
    def _some_bands(self) -> NDArray[np.intp]:
        good = self._axis.good_indices
        return good[:: max(1, len(good) // _LOOKED_AT)]


def plans_of(catalogue: Catalogue, settings: Preparation) -> dict[str, Plan]:
    """Return a plan for each file.

    Raises:
        CatalogueError: With what stands in the way, each thing once.
    """
    plans, errors = try_plans(catalogue, settings)
    if errors:
        texts = [f"{several(files)}: {text}" for text, files in errors.items()]
        more = f" And {len(texts) - 3} more." if len(texts) > 3 else ""
        raise CatalogueError(" ".join(texts[:3]) + more)
    return plans


def try_plans(
    catalogue: Catalogue, settings: Preparation
) -> tuple[dict[str, Plan], dict[str, list[str]]]:
    """Return a plan for each file that has one, and what stands in the way of which files."""
    plans: dict[str, Plan] = {}
    errors: dict[str, list[str]] = {}
    for cube in catalogue.records:
        try:
            plans[cube.file] = plan_for(cube, catalogue.frames, settings.calibrate, catalogue.root)
        except CatalogueError as error:
            errors.setdefault(str(error), []).append(cube.file)
    known = [(cube, plans[cube.file]) for cube in catalogue.records if cube.file in plans]
    for files, text in unlike_under_one_white(known, catalogue.frames, catalogue.root):
        errors[text] = files
        for file in files:
            del plans[file]
    return plans, errors


def doubts_of(catalogue: Catalogue, plans: Mapping[str, Plan]) -> list[Problem]:
    """Return what should be looked at, although there are plans; each thing once."""
    groups: dict[str, list[str]] = {}
    for file, plan in plans.items():
        for text in plan.doubts:
            groups.setdefault(text, []).append(file)
    found = [grouped(text, files, "warning") for text, files in groups.items()]
    known = [(cube, plans[cube.file]) for cube in catalogue.records if cube.file in plans]
    mixed = mixed_exposures(known, catalogue.root)
    return [*found, *([Problem(".", "warning", mixed)] if mixed else [])]


def grouped(text: str, files: Sequence[str], severity: Literal["error", "warning"]) -> Problem:
    """Return one problem of several files, under the first one's name."""
    more = f" (And {len(files) - 1} more.)" if len(files) > 1 else ""
    return Problem(files[0], severity, text + more)


def _dark_values(cube: Cube, band: int, inside: bool) -> NDArray[np.float32]:
    values = cube.read_dark([band]) if inside else cube.read([band])
    assert values is not None  # the plan saw the header's dark lines
    first: NDArray[np.float32] = values[0]
    return first


def _level(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Return the mean over lines ``(W,)``, NaN where none is finite, and the noise of one value."""
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    count = finite.sum(axis=0)
    mean = np.where(finite, wide, 0.0).sum(axis=0) / np.maximum(count, 1)
    noise = 0.0
    if len(wide) >= _NOISE_LINES:
        square = np.where(finite, wide - mean, 0.0) ** 2
        noise = float(np.median(np.sqrt(square.sum(axis=0) / np.maximum(count - 1, 1))))
    return np.where(count > 0, mean, np.nan), noise
