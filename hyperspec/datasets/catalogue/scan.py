"""The catalogue: one scan of a folder, a row per cube, problems as rows and not as crashes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hyperspec.cubes.open import open_with_own_axis
from hyperspec.datasets.catalogue.checksums import (
    ChecksumCache,
    Stamp,
    combined,
    num_bytes,
    source_digests,
    stamp,
)
from hyperspec.datasets.catalogue.discover import find_cubes, find_frame, frame_kind
from hyperspec.datasets.catalogue.label_map import scenes_only
from hyperspec.datasets.catalogue.labels import FileLabels, LabelSource, NoLabels
from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord, Problem, copies
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import (
    RENAME,
    CatalogueError,
    HyperspecError,
    is_text,
    shown_name,
)

__all__ = ["Catalogue", "CubeRecord", "Problem", "scan"]


def scan(
    root: Path | str,
    *,
    labels: LabelSource | None = None,
    axis: SpectralAxis | None = None,
    pattern: str = "*",
    only: Sequence[Path] | None = None,
    white: str | None = None,
    dark: str | None = None,
    cache_dir: Path | None = None,
    num_threads: int | None = None,
) -> Catalogue:
    """Scan a folder and its subfolders for cubes.

    Args:
        root: The folder.
        labels: Where labels come from; None means nowhere.
        axis: The axis of cubes whose headers have no wavelengths.
        pattern: Which files are cubes (``*.bil``); ``*`` takes every raw cube, ``*/`` every folder
            that holds one raster per band.
        only: The cubes that count, below ``root``; None takes all that fit the pattern.
        white: File of the white frame relative to ``root``; None looks for it by name.
        dark: The same for the dark frame.
        cache_dir: Where checksums are remembered; None remembers none.
        num_threads: Files read at once; by default as many as there are cores.

    Raises:
        CatalogueError: If the folder holds no readable cube, the labels cannot be read, or the
            calibration frames cannot be told.
    """
    folder = Path(root)
    files, orphans = find_cubes(folder, pattern)
    files, orphans, unnamed = readable_names(folder, scenes_only(folder, files, labels), orphans)
    if only is not None:
        files, orphans = _only(files, only, pattern), []
    named = {"white": white, "dark": dark}
    frames = {kind: find_frame(folder, files, kind, name) for kind, name in named.items()}
    # A file that is named like a frame is none even when the config names another one.
    specimens = [p for p in files if p not in frames.values() and frame_kind(p) is None]
    names = [path.relative_to(folder).as_posix() for path in specimens]
    cache = ChecksumCache(cache_dir)
    problems = [*unnamed, *lone_headers(folder, orphans)]
    with ThreadPoolExecutor(num_threads or os.cpu_count() or 1) as pool:
        found = pool.map(lambda p: _look_at(p, axis, cache), specimens)
        looks = dict(zip(names, found, strict=True))
    used = [path for path in frames.values() if path]
    stamps = tuple((path, stamp(path)) for path in used)
    frames_checksum = combined([digest for p in used for digest in source_digests(p, cache)])
    cache.save()
    problems += [Problem(n, "error", look) for n, look in looks.items() if isinstance(look, str)]
    readable = {n: look for n, look in looks.items() if isinstance(look, _Found)}
    shared, kept = _one_axis(readable, problems, folder)
    assigned = (labels or NoLabels()).assign(folder, names)
    problems += [Problem(name, "warning", f"{text}.") for name, text in assigned.problems]
    records = tuple(_record(folder / n, n, kept[n], assigned.files[n]) for n in sorted(kept))
    problems += copies((r.checksum, r.file) for r in records)
    problems.sort(key=lambda p: (p.severity, p.file))
    pair = (frames["white"], frames["dark"], frames_checksum if stamps else "", stamps)
    return Catalogue(folder, records, shared, tuple(problems), *pair)


def readable_names(
    folder: Path, files: Sequence[Path], headers: Sequence[Path]
) -> tuple[list[Path], list[Path], list[Problem]]:
    """Part the files and headers whose names are UTF-8 from a problem for each of the others.

    No table, store or tracked run can keep such a name.
    """
    text = f"has a name that is not UTF-8. {RENAME}."
    problems = []
    for path in (*files, *headers):
        name = path.relative_to(folder).as_posix()
        if not is_text(name):
            problems.append(Problem(shown_name(name), "error", text))
    kept = (
        [path for path in paths if is_text(str(path.relative_to(folder)))]
        for paths in (files, headers)
    )
    return next(kept), next(kept), problems


def lone_headers(folder: Path, headers: Sequence[Path]) -> list[Problem]:
    """Return a problem for each header that has no data file."""
    return [
        Problem(p.relative_to(folder).as_posix(), "error", "is a header without its data file.")
        for p in headers
    ]


def _only(files: Sequence[Path], wanted: Sequence[Path], pattern: str) -> list[Path]:
    """Keep the wanted cubes, and the frames that calibrate them."""
    absolute = {Path(path).absolute() for path in wanted}
    missing = sorted(absolute - {path.absolute() for path in files})
    if missing:
        raise CatalogueError(
            f"{missing[0]} is no cube: there is no such file, or it does not fit "
            f"data.pattern={pattern}."
        )
    return [path for path in files if path.absolute() in absolute or frame_kind(path)]


@dataclass(frozen=True, eq=False)
class _Found:
    """What one look at a file tells."""

    shape: tuple[int, int, int]
    axis: SpectralAxis
    num_bytes: int
    checksum: str
    stamp: Stamp


def _look_at(path: Path, axis: SpectralAxis | None, cache: ChecksumCache) -> _Found | str:
    try:
        taken = stamp(path)  # first: a change while it is read must not pass unseen
        cube, _ = open_with_own_axis(path, axis)
        with cube:
            shape, own_axis = cube.shape, cube.axis
        checksum = combined(source_digests(path, cache))
        return _Found(shape, own_axis, num_bytes(path), checksum, taken)
    except (HyperspecError, OSError) as error:
        return str(error)


def _one_axis(
    readable: Mapping[str, _Found], problems: list[Problem], root: Path
) -> tuple[SpectralAxis, dict[str, _Found]]:
    """Keep the cubes on the axis that most of them have; the others become problems."""
    if not readable:
        first = " ".join(f"{p.file}: {p.message}" for p in problems[:3])
        raise CatalogueError(f"No cube in {root} can be read. {first}")
    counts = Counter(found.axis.hash for found in readable.values())
    # max keeps the first of equals, and the files are sorted: a tie has one answer.
    winner = max(counts, key=lambda key: counts[key])
    shared = next(found.axis for found in readable.values() if found.axis.hash == winner)
    kept = {}
    for name, found in readable.items():
        differences = shared.differences(found.axis)
        if differences:
            problems.append(
                Problem(
                    name, "error",
                    f"has another spectral axis than {counts[winner]} of {len(readable)} cubes: "
                    f"{'; '.join(differences)}. Put cubes of another sensor into another folder.",
                )
            )  # fmt: skip
        else:
            kept[name] = found
    return shared, kept


def _record(path: Path, name: str, found: _Found, known: FileLabels) -> CubeRecord:
    return CubeRecord(
        **vars(known),
        file=name,
        path=path,
        shape=found.shape,
        axis_hash=found.axis.hash,
        num_bytes=found.num_bytes,
        checksum=found.checksum,
        stamp=found.stamp,
    )
