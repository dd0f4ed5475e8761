"""Trays: scans of several specimens, told and cut into one cube for each."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Cube, Window
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.files import bare_name
from hyperspec.cubes.open import open_cube
from hyperspec.cubes.specimens import MIN_PART, Specimens, find_specimens
from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord, Problem
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.spectra.colour import band_picture, nearest_bands
from hyperspec.utils.atomic import replacing
from hyperspec.utils.errors import CatalogueError, HyperspecError
from hyperspec.utils.progress import progress
from hyperspec.utils.version import __version__

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Header fields that are written anew, or hold for the whole frame only.
_LAYOUT = frozenset(
    {
        *("samples", "lines", "bands", "header offset", "file type", "data type", "interleave"),
        *("byte order", "wavelength", "wavelength units", "fwhm", "bbl", "description"),
        *("reflectance scale factor", "x start", "y start", "autodarkstartline", "map info"),
        *("coordinate system string", "projection info", "geo points", "rpc info", "pixel size"),
        *("band files", "file compression"),
    }
)


@dataclass(frozen=True)
class CutSettings:
    """What counts as a specimen of its own.

    Args:
        min_part: Smallest part that counts, as a share of the scan's largest one.
        gap: Free pixels across which parts are still one specimen; None takes 0.15 of the longer
            side of the largest part.
    """

    min_part: float = MIN_PART
    gap: int | None = None


@dataclass(frozen=True, eq=False)
class CutScan:
    """What became of one scan.

    Args:
        record: The scan.
        specimens: What was found in it.
        files: The cube of each specimen, relative to the new folder.
        picture: The numbered picture, likewise.
        whole: Whether nothing stood out, so that the whole frame was taken.
    """

    record: CubeRecord
    specimens: Specimens
    files: tuple[str, ...]
    picture: str
    whole: bool


def several_specimens(
    catalogue: Catalogue, unsure: Sequence[str], settings: PrepareSettings
) -> Iterator[Problem]:
    """Warn of scans whose foreground is several parts: training would take them for one specimen.

    Args:
        catalogue: The scans.
        unsure: Files that are looked at, once more and by blocks of lines.
        settings: How the foreground is found.
    """
    if settings.mask == "none":
        return  # the whole frame is wanted
    try:
        preparer = Preparer(catalogue, settings, tell=lambda problem: None)  # `check` tells it
    except HyperspecError:
        return  # what is wrong with the frames is told by itself
    for record in catalogue.records:
        if record.file not in unsure:
            continue
        try:
            found = find_specimens(preparer.locate(record).foreground)
        except HyperspecError as error:
            yield Problem(record.file, "warning", f"cannot be prepared: {error}")
            continue
        if len(found) > 1:
            command = f"hyperspec cut {shlex.quote(str(catalogue.root))} --out DIR"
            text = (
                f"holds {len(found)} parts apart from each other, which training would take for "
                f"one specimen. Where they are several, cut them apart: `{command}`. One specimen "
                "in parts may stay as it is, and of a scene data.mask=none takes the whole frame."
            )
            yield Problem(record.file, "warning", text)


def cut_folder(
    catalogue: Catalogue,
    preparation: PrepareSettings,
    out: Path,
    settings: CutSettings | None = None,
) -> list[CutScan]:
    """Write a cube with header and mask image for each specimen of each scan of a folder.

    Beside them lie a numbered picture of each scan, and ``labels.csv`` to fill in: one row per
    specimen, with what is known of its scan. Where calibration or a scale factor changes values,
    cubes hold float32 reflectance and their headers name the frames; else stored values as they
    are.

    Args:
        catalogue: The scans.
        preparation: How they are calibrated and their foreground is found; ``crop_margin`` is the
            margin around a specimen.
        out: Folder to make, outside of the scans' own; an existing one must be empty.
        settings: What counts as a specimen.

    Raises:
        CatalogueError: If the folder is there already, lies in the scans' folder, or cannot be
            written.
        HyperspecError: If a scan cannot be read, or nothing stands out in it.
    """
    if out.resolve().is_relative_to(catalogue.root.resolve()):
        raise CatalogueError(
            f"--out is {out}, in the folder of the scans, {catalogue.root}: the cut cubes would be "
            "taken for scans. Name a folder outside of it."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CatalogueError(f"{out} exists already; name a new folder, or delete it first.")
    preparer = Preparer(catalogue, preparation)
    names = _names(catalogue.records)
    done = []
    try:
        with (
            replacing(out) as part,
            progress("Cutting scans", len(catalogue.records)) as advance,
        ):
            part.mkdir()
            for record, name in zip(catalogue.records, names, strict=True):
                done.append(_cut(preparer, record, part, name, settings or CutSettings()))
                advance()
            _write_labels(part / "labels.csv", done, catalogue)
    except OSError as error:
        raise CatalogueError(f"The folder {out} cannot be written: {error}.") from error
    return done


def _names(records: Sequence[CubeRecord]) -> list[str]:
    """Return a name per scan, its folders included; of ``a.bil`` and ``a.raw`` with the ending."""
    bare = [str(PurePosixPath(r.file).with_name(bare_name(r.path))) for r in records]
    count = Counter(bare)
    return [
        one if count[one] == 1 else r.file.replace(".", "_")
        for one, r in zip(bare, records, strict=True)
    ]


def _cut(
    preparer: Preparer, record: CubeRecord, out: Path, name: str, settings: CutSettings
) -> CutScan:
    foreground = preparer.locate(record).foreground
    found = find_specimens(foreground, min_part=settings.min_part, gap=settings.gap)
    digits = len(str(len(found)))
    files = tuple(f"{name}_{number + 1:0{digits}d}.bil" for number in range(len(found)))
    for place, file in enumerate(files):
        _write(preparer, record, found, place, out / file)
    picture = f"{name}_numbered.png"
    _draw(preparer, record, found, out / picture)
    return CutScan(record, found, files, picture, bool(foreground.all()))


def _write(
    preparer: Preparer, record: CubeRecord, found: Specimens, place: int, path: Path
) -> None:
    from matplotlib.image import imsave

    box = found.windows[place]
    window = _with_margin(box, preparer.settings.crop_margin or 0.0, record.shape)
    values = preparer.read(record, None, window)
    catalogue = preparer.catalogue
    with open_cube(record.path, catalogue.axis, options=catalogue.reading) as cube:
        stored = _stored(cube, window, values)
        top, left = _start(cube, "y start"), _start(cube, "x start")
        extra = {
            "description": f"{{specimen {place + 1} of {len(found)} of {_plain(record.file)}, cut "
            f"by hyperspec {__version__}}}",
            "x start": str(left + window.col),
            "y start": str(top + window.row),
        }
        if stored is None:
            extra["hyperspec calibration"] = _calibration_note(preparer, record)
        else:
            extra |= _kept_fields(cube)
    write_envi(
        path,
        values if stored is None else stored,
        preparer.catalogue.axis,
        scale_factor=1.0 if stored is None and preparer.calibrator.is_reflectance(record) else None,
        extra=extra,
    )
    mask = np.zeros((window.height, window.width), np.uint8)
    inside = Window(box.row - window.row, box.col - window.col, box.height, box.width)
    mask[inside.slices] = found.mask(place) * np.uint8(255)
    imsave(path.with_name(f"{path.stem}_mask.png"), np.repeat(mask[:, :, None], 3, axis=2))


def _start(cube: Cube, key: str) -> int:
    """Return where the scan's own frame begins, counted from 1, as its header says."""
    try:
        return int(float(cube.metadata.get(key, "1")))
    except (ValueError, OverflowError):
        return 1


def _with_margin(box: Window, margin: float, shape: tuple[int, int, int]) -> Window:
    """Widen a bounding box by a share of its longer side, as far as the frame goes."""
    more = int(np.ceil(margin * max(box.height, box.width)))
    top, left = max(box.row - more, 0), max(box.col - more, 0)
    bottom = min(box.row + box.height + more, shape[1])
    right = min(box.col + box.width + more, shape[2])
    return Window(top, left, bottom - top, right - left)


def _stored(cube: Cube, window: Window, values: NDArray[np.float32]) -> NDArray[np.generic] | None:
    """Return stored values where nothing was done to them but marking what is missing."""
    raw = cube.read_raw(None, window)
    missing = np.isnan(values)
    same = np.array_equal(raw[~missing].astype(np.float32), values[~missing])
    return raw if same else None


def _kept_fields(cube: Cube) -> dict[str, str]:
    """Return what the scan's header says beyond layout and place: exposure, camera, nodata."""
    kept = {
        key: value
        for key, value in cube.metadata.items()
        if key not in _LAYOUT
        and not set(key) & set("={}\r\n;")
        and (not set(value) & set("{}\r\n") or (value.startswith("{") and value.endswith("}")))
    }
    if cube.nodata is not None and np.isfinite(cube.nodata):
        kept.setdefault("data ignore value", f"{cube.nodata:g}")
    return kept


def _calibration_note(preparer: Preparer, record: CubeRecord) -> str:
    if not preparer.calibrator.is_reflectance(record):
        return f"{{stored values: {_plain(preparer.calibrator.words(record))}}}"
    if preparer.calibrator.of(record) is None:
        return "{reflectance: stored values by the gains and scale factor of the scan's header}"
    words, level = preparer.calibrator.words(record), preparer.settings.white_reflectance
    return f"{{reflectance: by {_plain(words)}, of a white of {_plain(str(level))}}}"


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter not in "{}\r\n")


def _draw(preparer: Preparer, record: CubeRecord, found: Specimens, path: Path) -> None:
    """Draw the scan with a number and a box at each specimen."""
    from matplotlib.figure import Figure

    picture = band_picture(preparer.read(record, nearest_bands(preparer.catalogue.axis)))
    height, width = picture.shape[:2]
    longer = max(height, width)
    size = (max(9 * width / longer, 3.5), max(9 * height / longer, 2.0) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.subplots()
    panel.imshow(picture, interpolation="nearest")
    for place, box in enumerate(found.windows):
        _mark(panel, box, place + 1)
    panel.set_xlabel("sample")
    panel.set_ylabel("line")
    panel.set_title(f"{path.stem.removesuffix('_numbered')}: {len(found)} found", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _mark(panel: Axes, box: Window, number: int) -> None:
    from matplotlib.patches import Rectangle

    corner = (box.col - 0.5, box.row - 0.5)
    panel.add_patch(Rectangle(corner, box.width, box.height, fill=False, ec="yellow", lw=1.2))
    panel.annotate(
        str(number),
        (box.col + box.width / 2 - 0.5, box.row + box.height / 2 - 0.5),
        ha="center",
        va="center",
        fontsize=13,
        weight="bold",
        color="black",
        bbox={"boxstyle": "round,pad=0.2", "fc": "yellow", "ec": "none", "alpha": 0.8},
    )


def _write_labels(path: Path, scans: Sequence[CutScan], catalogue: Catalogue) -> None:
    """Write a row per specimen: what is known of its scan, and empty cells for what is not."""
    known = [name for name in catalogue.label_columns if name not in ("view", "date")]
    columns = list(dict.fromkeys(["species", *known]))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        others = [name for name in columns if name not in ("tray", "number")]
        writer.writerow(["file", *others, "specimen", "view", "date", "tray", "number"])
        for scan in scans:
            labels: Mapping[str, str] = scan.record.labels
            said = [labels.get(name, "") for name in others]
            rest = [scan.record.view or "", scan.record.date or "", scan.record.file]
            for number, name in enumerate(scan.files, start=1):
                writer.writerow([name, *said, "", *rest, number])
