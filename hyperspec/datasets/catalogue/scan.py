"""The catalogue: one scan of a folder, a row per cube, problems as rows and not as crashes."""

from __future__ import annotations

import glob
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hyperspec.cubes.array_file import ARRAY_SUFFIXES
from hyperspec.cubes.checksums import (
    ChecksumCache,
    Stamp,
    StampDigests,
    combined,
    num_bytes,
    source_digests,
    stamp,
)
from hyperspec.cubes.files import find_mask
from hyperspec.cubes.frames import Folder, FrameFiles, sort_files
from hyperspec.cubes.listing import AUTO, list_cubes, several_kinds
from hyperspec.cubes.mask_image import MASK_VERSION, read_mask
from hyperspec.cubes.open import open_cube, open_with_own_axis
from hyperspec.cubes.read_options import AS_THEY_ARE, ReadOptions
from hyperspec.datasets.catalogue.label_map import scenes_only
from hyperspec.datasets.catalogue.labels import FileLabels, LabelSource, unknown
from hyperspec.datasets.catalogue.records import (
    Catalogue,
    CubeRecord,
    FrameRecord,
    Problem,
    Stored,
    copies,
)
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.cores import usable_cores
from hyperspec.utils.errors import CatalogueError, CubeError, HyperspecError
from hyperspec.utils.problems import ordered
from hyperspec.utils.progress import counted

__all__ = ["Catalogue", "CubeRecord", "Problem", "scan"]


def scan(
    root: Path | str,
    *,
    labels: LabelSource | None = None,
    axis: SpectralAxis | None = None,
    reading: ReadOptions = AS_THEY_ARE,
    pattern: str = AUTO,
    only: Sequence[Path] | None = None,
    white: str | None = None,
    dark: str | None = None,
    cache_dir: Path | None = None,
    contents: bool = True,
    num_threads: int | None = None,
) -> Catalogue:
    """Scan a folder and its subfolders for cubes.

    Args:
        root: The folder.
        labels: Where labels come from; None means nowhere: each file is a specimen of its own.
        axis: The axis of cubes whose headers have no wavelengths.
        reading: How files are read that leave something open.
        pattern: Which files are cubes (``*.bil``); ``auto`` takes every raw cube, ``*/`` every
            folder that holds one raster per band.
        only: The cubes that count, below ``root``; None takes all that fit the pattern.
        white: File of the white frame relative to ``root``; None looks for it by name.
        dark: The same for the dark frame; ``0`` where the camera subtracts its dark.
        cache_dir: Where checksums are remembered; None remembers none.
        contents: Whether files are read for checksums; else sizes and times do, remembered nowhere.
        num_threads: Files read at once; by default as many as there are cores.

    Raises:
        CatalogueError: If the folder holds no readable cube, the labels cannot be read, or a named
            frame does not exist.
    """
    folder = Path(root)
    listing = list_cubes(folder, pattern)
    scenes = scenes_only(folder, listing.cubes, labels)
    specimens = (sorted_files := sort_files(folder, scenes, white, dark)).specimens
    around = [*listing.problems, *lone_headers(folder, listing.headers)]
    if only is not None:
        specimens, around = _only(specimens, only, pattern), []
    names = [path.relative_to(folder).as_posix() for path in specimens]
    # Before the long reading, so that labels that do not fit are told at once.
    known, problems = _labelled(labels, folder, names)
    problems += [*around, *several_kinds(specimens, pattern), *_doubts(sorted_files)]
    cache = ChecksumCache(cache_dir) if contents else StampDigests()
    with ThreadPoolExecutor(num_threads or usable_cores()) as pool:
        found = pool.map(lambda p: _look_at(p, axis, reading, cache), specimens)
        looks = dict(zip(names, counted("Reading headers", found, len(names)), strict=True))
        problems += [p for n, look in looks.items() for p in _problems_of(n, look)]
        readable = {n: look for n, look in looks.items() if isinstance(look, _Found)}
        shared, kept = _one_axis(readable, problems, folder)
        served = {name: sorted_files.frames_of(folder / name) for name in kept}
        frames = _each_frame(pool, served, lambda path: read_frame(path, shared, cache, reading))
    cache.save()
    records = tuple(_record(folder / n, n, kept[n], known[n], served[n]) for n in sorted(kept))
    problems += copies((r.checksum, r.file) for r in records)
    left_out = {p.relative_to(folder).as_posix(): why for p, why in sorted_files.left_out.items()}
    told = tuple(ordered(problems))
    return Catalogue(folder, records, shared, told, frames, left_out, reading)


def _each_frame(
    pool: ThreadPoolExecutor,
    served: Mapping[str, FrameFiles],
    read: Callable[[Path], FrameRecord],
) -> dict[Path, FrameRecord]:
    """Read every frame that serves a cube, once."""
    frames = list(dict.fromkeys(path for files in served.values() for path in files.files))
    return dict(zip(frames, pool.map(read, frames), strict=True))


def _labelled(
    labels: LabelSource | None, folder: Path, names: Sequence[str]
) -> tuple[Mapping[str, FileLabels], list[Problem]]:
    """Label the files, and return what does not fit."""
    if labels is None:
        return {name: unknown(folder, name) for name in names}, []
    assigned = labels.assign(folder, names)
    problems = [Problem(name, "warning", f"{text}.") for name, text in assigned.problems]
    return assigned.files, [*problems, *(Problem(".", "note", f"{t}.") for t in assigned.notes)]


def _doubts(files: Folder) -> list[Problem]:
    """Warn of what is named like frames and read as specimens."""
    return [
        Problem(
            dark.relative_to(files.root).as_posix(), "warning",
            f"and {white.name} may be calibration frames, and are read as specimens. If they are "
            "frames, name them with data.white and data.dark, or *_whiteref and *_darkref.",
        )
        for white, dark in files.doubtful
    ]  # fmt: skip


def lone_headers(folder: Path, headers: Sequence[Path]) -> list[Problem]:
    """Return a problem for each header that has no data file; it names what lies beside it."""
    found = []
    for header in headers:
        beside = sorted(p.name for p in header.parent.glob(f"{glob.escape(header.stem)}*"))
        others = ", ".join(name for name in beside if name != header.name)
        text = "is a header without its data file" + (f"; beside it: {others}." if others else ".")
        found.append(Problem(header.relative_to(folder).as_posix(), "error", text))
    return found


def _only(specimens: Sequence[Path], wanted: Sequence[Path], pattern: str) -> list[Path]:
    """Keep the wanted cubes."""
    absolute = {Path(path).absolute() for path in wanted}
    missing = sorted(absolute - {path.absolute() for path in specimens})
    if missing:
        raise CatalogueError(
            f"{missing[0]} is no cube: there is no such file, it does not fit "
            f"data.pattern={pattern}, or it is a calibration frame."
        )
    return [path for path in specimens if path.absolute() in absolute]


@dataclass(frozen=True, eq=False)
class _Found:
    """What one look at a file tells."""

    shape: tuple[int, int, int]
    axis: SpectralAxis
    num_bytes: int
    checksum: str
    stamp: Stamp
    notes: tuple[str, ...]
    stored: Stored


def _look_at(
    path: Path, axis: SpectralAxis | None, reading: ReadOptions, cache: ChecksumCache
) -> _Found | str:
    try:
        taken = stamp(path)  # first: a change while it is read must not pass unseen
        cube, _ = open_with_own_axis(path, axis, reading)
        with cube:
            shape, own_axis, stored = cube.shape, cube.axis, Stored.of(cube)
            # Files that 0.1.0 read otherwise: what it prepared of them is not taken over.
            marks = ["gains"] if cube.gains is not None else []
        notes, reread = _mask_notes(path, shape[1:], cache)
        marks += ["mask"] if reread else []
        checksum = combined([*_digests(path, reading, cache), *marks])
        return _Found(shape, own_axis, num_bytes(path), checksum, taken, notes, stored)
    except (HyperspecError, OSError) as error:
        return str(error)


def _problems_of(name: str, look: _Found | str) -> list[Problem]:
    if isinstance(look, str):
        return [Problem(name, "error", look)]
    return [Problem(name, "warning", note) for note in look.notes]


def _digests(path: Path, reading: ReadOptions, cache: ChecksumCache) -> list[str]:
    """Return the checksums of a cube's files, and what decides which of their values are read."""
    chosen = path.suffix.lower() in ARRAY_SUFFIXES
    options = [reading.array_key or "", reading.array_bands] if chosen else []
    return [*source_digests(path, cache), *options]


def _mask_notes(
    path: Path, frame: tuple[int, int], cache: ChecksumCache
) -> tuple[tuple[str, ...], bool]:
    """Return what is odd about a cube's mask, and whether 0.1.0 read it otherwise.

    One that cannot be read is an error where it is used, and `data.mask` may use none. What was
    found is remembered: reading a mask takes longer than all else of a cube whose checksum is.
    """
    file = find_mask(path)
    if file is None:
        return (), False
    try:
        key = f"mask {MASK_VERSION} {cache.digest(file)} {frame}"
        notes, reread = json.loads(cache.text(key, lambda: _judged(file, frame)))
    except CubeError as error:
        return (str(error),), False
    return tuple(f"has a mask, {file.name}, that {note}." for note in notes), reread


def _judged(file: Path, frame: tuple[int, int]) -> str:
    mask = read_mask(file, frame)
    return json.dumps([mask.notes, mask.reread])


def read_frame(
    path: Path, axis: SpectralAxis, cache: ChecksumCache, reading: ReadOptions = AS_THEY_ARE
) -> FrameRecord:
    """Read the header of a calibration frame for cubes on an axis, and sum its content."""
    taken = stamp(path)
    digests = tuple(_digests(path, reading, cache))
    try:
        with open_cube(path, axis, options=reading) as cube:
            return FrameRecord(cube.shape, Stored.of(cube), digests, taken)
    except HyperspecError as error:
        return FrameRecord(None, None, digests, taken, str(error))


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


def _record(
    path: Path, name: str, found: _Found, known: FileLabels, frames: FrameFiles
) -> CubeRecord:
    return CubeRecord(
        **vars(known),
        file=name,
        path=path,
        shape=found.shape,
        axis_hash=found.axis.hash,
        num_bytes=found.num_bytes,
        checksum=found.checksum,
        stamp=found.stamp,
        stored=found.stored,
        frames=frames,
    )
