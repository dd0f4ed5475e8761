"""Check a folder of cubes: every file read once, every oddity a row, nothing that stops."""

from __future__ import annotations

import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from hyperspec.cubes.checksums import ChecksumCache, content_digest, num_bytes
from hyperspec.cubes.files import find_mask
from hyperspec.cubes.frames import sort_files
from hyperspec.cubes.listing import AUTO, list_cubes
from hyperspec.cubes.open import open_with_own_axis
from hyperspec.cubes.read_options import AS_THEY_ARE, ReadOptions
from hyperspec.datasets.catalogue.confounding import Association, examine
from hyperspec.datasets.catalogue.label_map import MapLabels, scenes_only
from hyperspec.datasets.catalogue.labels import LabelSource, NoLabels
from hyperspec.datasets.catalogue.records import Catalogue, Problem
from hyperspec.datasets.catalogue.scan import lone_headers, scan
from hyperspec.datasets.preparation.calibrator import Calibrator, grouped, try_plans
from hyperspec.datasets.preparation.plan import below
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.inspection.findings import Look, Severity, findings
from hyperspec.inspection.tray import several_specimens
from hyperspec.inspection.value_statistics import fill_of, measure
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.cores import usable_cores
from hyperspec.utils.errors import CatalogueError, ConfigError, HyperspecError
from hyperspec.utils.problems import ordered
from hyperspec.utils.progress import progress


@dataclass(frozen=True)
class CheckSettings:
    """What a folder is compared with.

    Args:
        labels: Where labels come from.
        expected: Axis of the sensor that the cubes should come from.
        axis: Axis of cubes whose headers have no wavelengths.
        reading: How files are read that leave something open.
        pattern: Which files are cubes; ``auto`` takes every raw cube, ``*/`` every band set.
        white: White frame relative to the folder; None looks for it by name.
        dark: The same for the dark frame; ``0`` where the camera subtracts its dark.
        saturation: Stored value from which on values are saturated; None judges by full scales.
        tolerance_nm: Drift against the expected axis that is not mentioned, above 0.
        num_threads: Cubes read at once; by default as many as there are cores.
        cache_dir: Where checksums are remembered; None remembers none.
        confounders: Columns that should not tell the label (``data.confounders``); None takes those
            of the usual names.
        group: Column that the split keeps apart (``data.split.group``), of which nothing is warned.
        preparation: How training would calibrate and find the foreground, which several specimens
            may share.
    """

    labels: LabelSource = field(default_factory=NoLabels)
    expected: SpectralAxis | None = None
    axis: SpectralAxis | None = None
    reading: ReadOptions = AS_THEY_ARE
    pattern: str = AUTO
    white: str | None = None
    dark: str | None = None
    saturation: float | None = None
    tolerance_nm: float = 0.1
    num_threads: int | None = None
    cache_dir: Path | None = None
    confounders: Sequence[str] | None = None
    group: str | None = None
    preparation: PrepareSettings = field(default_factory=PrepareSettings)

    def __post_init__(self) -> None:
        if not self.tolerance_nm > 0:
            raise ConfigError(f"--tolerance is {self.tolerance_nm}; give nanometres above 0.")
        if self.num_threads is not None and self.num_threads < 1:
            raise ConfigError(f"--threads is {self.num_threads}; give at least 1.")


@dataclass(frozen=True, eq=False)
class CheckReport:
    """What a check found.

    Args:
        root: The folder.
        looks: One per data file, sorted by file.
        problems: Errors first.
        catalogue: The usable cubes; None when there is none.
        expected: Axis that was compared with.
        seconds: Time that the reading took.
        num_threads: Cubes read at once.
        associations: How each confounder and the label hang together.
        calibration: What training would do to the values, in words, and the files.
    """

    root: Path
    looks: tuple[Look, ...]
    problems: tuple[Problem, ...]
    catalogue: Catalogue | None
    expected: SpectralAxis | None
    seconds: float
    num_threads: int
    associations: tuple[Association, ...] = ()
    calibration: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """Of the worst problem: ``ok``, ``warning`` or ``error``."""
        return worst(self.problems)

    @property
    def exit_status(self) -> int:
        """0 when clean, 1 with warnings, 2 with errors."""
        return {"ok": 0, "warning": 1, "error": 2}[self.severity]

    @cached_property
    def by_file(self) -> dict[str, list[Problem]]:
        """Problems of each file; ``.`` for the folder."""
        found: dict[str, list[Problem]] = {}
        for problem in self.problems:
            found.setdefault(problem.file, []).append(problem)
        return found


def worst(problems: Sequence[Problem]) -> Severity:
    """Return the gravest severity of some problems, ``ok`` when there is none."""
    if any(p.severity == "error" for p in problems):
        return "error"
    return "warning" if any(p.severity == "warning" for p in problems) else "ok"


def check_folder(root: Path | str, settings: CheckSettings | None = None) -> CheckReport:
    """Read every cube of a folder and its subfolders once and list what is odd.

    Args:
        root: The folder.
        settings: What it is compared with.

    Returns:
        The report. A file that cannot be read is a row of it.

    Raises:
        CatalogueError: If the folder or the named labels or frames do not exist, or it holds no
            file that could be a cube.
        ConfigError: If a named confounder is no column of the labels.
        SplitError: If the column of ``group`` is none, or lacks values.
    """
    with progress("Looking at the folder"):
        return _check(Path(root), settings or CheckSettings())


def _check(folder: Path, given: CheckSettings) -> CheckReport:
    listing = list_cubes(folder, given.pattern)
    files = scenes_only(folder, listing.cubes, given.labels)
    problems = [*listing.problems, *lone_headers(folder, listing.headers)]
    sorted_files = sort_files(folder, files, given.white, given.dark)
    kinds = dict.fromkeys(sorted_files.files, "specimen") | sorted_files.frames
    kinds |= dict.fromkeys(sorted_files.left_out, "left out")
    # Before the long reading, so that a wrong column is told at once.
    names = [_name(p, folder) for p in files if kinds[p] == "specimen"]
    given.labels.assign(folder, names)
    num_threads = given.num_threads or usable_cores()
    with tempfile.TemporaryDirectory() as nowhere:
        cache_dir = given.cache_dir or Path(nowhere)
        start = time.perf_counter()
        looks = _look_at_all(kinds, folder, given, ChecksumCache(cache_dir), num_threads)
        seconds = time.perf_counter() - start
        # The files were just read and their checksums kept, so this reads headers only.
        catalogue = _catalogue(folder, looks, given, cache_dir)
    calibration: dict[str, list[str]] = {}
    associations: list[Association] = []
    if catalogue is not None:
        associations, confounded = examine(catalogue, given.confounders, given.group)
        calibration = _calibration(catalogue, looks, given.preparation, problems)
        problems += [*catalogue.problems, *confounded]
        problems += _maps_fit(catalogue, given.labels)
        unsure = [x.file for x in looks if _is_unsure(x, folder)]
        problems += several_specimens(catalogue, unsure, given.preparation)
    elif not listing.cubes and not any(p.severity == "error" for p in listing.problems):
        problems.append(Problem(".", "error", "holds headers, but no data file."))
    problems += findings(looks, given.expected or given.axis, given.tolerance_nm)
    unique = {(p.file, p.message): p for p in problems}.values()
    seen = (folder, looks, tuple(ordered(unique)), catalogue, given.expected)
    return CheckReport(*seen, seconds, num_threads, tuple(associations), calibration)


def _look_at_all(
    kinds: Mapping[Path, str],
    root: Path,
    settings: CheckSettings,
    cache: ChecksumCache,
    num_threads: int,
) -> tuple[Look, ...]:
    found = []
    with (
        _heard_by_thread() as local,
        ThreadPoolExecutor(num_threads) as pool,
        progress("Reading cubes", len(kinds)) as advance,
    ):
        jobs = [
            pool.submit(_look, Look(_name(path, root), kind), path, settings, cache, local)
            for path, kind in kinds.items()
        ]
        try:
            for job in as_completed(jobs):
                found.append(job.result())
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for a thousand cubes
            raise
    cache.save()
    return tuple(sorted(found, key=lambda look: look.file))


def _calibration(
    catalogue: Catalogue, looks: Sequence[Look], settings: PrepareSettings, problems: list[Problem]
) -> dict[str, list[str]]:
    """Go through what training would do to the values; note what hinders it, as training says it.

    Returns:
        What would be done, in words, and to which files.
    """
    plans, errors = try_plans(catalogue, settings)
    problems += [grouped(text, files, "error") for text, files in errors.items()]
    planned = tuple(record for record in catalogue.records if record.file in plans)
    calibrator = Calibrator(replace(catalogue, records=planned), settings, problems.append)
    reflectance = set()
    for record in planned:
        try:
            if calibrator.of(record) is None and calibrator.is_reflectance(record):
                reflectance.add(record.file)
        except HyperspecError as error:
            white = plans[record.file].white
            file = record.file if white is None else below(white, catalogue.root)
            problems.append(Problem(file, "error", str(error)))
    for look in looks:
        look.counts = look.file not in reflectance
    return calibrator.groups()


def _catalogue(
    root: Path,
    looks: Sequence[Look],
    settings: CheckSettings,
    cache_dir: Path,
) -> Catalogue | None:
    usable = [look for look in looks if look.kind == "specimen" and look.axis is not None]
    if not usable:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # each was seen already
        return scan(
            root,
            labels=settings.labels,
            # Where all headers have wavelengths of their own, these are compared with each other.
            axis=settings.axis if any(look.axis_given for look in usable) else None,
            reading=settings.reading,
            pattern=settings.pattern,
            white=settings.white,
            dark=settings.dark,
            cache_dir=cache_dir,
            num_threads=settings.num_threads,
        )


def _maps_fit(catalogue: Catalogue, labels: LabelSource) -> Iterator[Problem]:
    """Read the maps of labels of scenes, where labels come from these."""
    if not isinstance(labels, MapLabels):
        return
    for record in catalogue.records:
        try:
            labels.read(catalogue.root, record.path, record.shape[1:])
        except CatalogueError as error:
            yield Problem(record.file, "error", str(error))


def _is_unsure(look: Look, root: Path) -> bool:
    """Say whether a cube's foreground may be several parts, as far as stored values tell."""
    seen = look.measure
    if seen is None or seen.missing_share == 1 or seen.low == seen.high:
        return False  # there is nothing to see, which is said elsewhere
    return not seen.one_part or find_mask(root / look.file) is not None


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


@contextmanager
def _heard_by_thread() -> Iterator[threading.local]:
    """Give warnings of the whole process to the thread that raised them, as its list ``heard``.

    The filters of `warnings` belong to the process, so they are changed once for all threads.
    """
    local = threading.local()

    def keep(message: Warning | str, *_: object, **__: object) -> None:
        heard = getattr(local, "heard", None)
        if heard is not None and str(message) not in heard:
            heard.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield local


def _look(
    seen: Look, path: Path, settings: CheckSettings, cache: ChecksumCache, local: threading.local
) -> Look:
    """Open, measure and sum one file, whatever it is; warnings become part of what was seen."""
    local.heard = []
    try:
        seen.num_bytes = num_bytes(path) if path.exists() else 0
        cube, axis_given = open_with_own_axis(path, settings.axis, settings.reading)
        with cube:
            seen.shape, seen.dtype = cube.shape, str(cube.dtype)
            seen.interleave = cube.metadata.get("interleave", "").strip("{} \t").lower() or None
            seen.axis, seen.axis_given = cube.axis, axis_given
            seen.measure = measure(cube, settings.saturation)
            if seen.kind != "dark":  # which is 0 where a camera subtracts it
                seen.fill = fill_of(cube)
        seen.digest = content_digest(path, cache)
    except (HyperspecError, OSError) as error:
        seen.error = str(error)
    except Exception as error:  # noqa: BLE001  # one broken file never stops the check
        seen.error = (
            f"reading failed in an unforeseen way ({type(error).__name__}: {error}). Please "
            "report it with the header."
        )
    seen.warnings = tuple(local.heard)
    return seen
