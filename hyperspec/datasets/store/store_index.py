"""What a packed store says of its images: JSON, table and masks, each under a checksum."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.checksums import bytes_digest, combined, file_digest
from hyperspec.datasets.catalogue.records import OWN_COLUMNS
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.store.shards import write_atomic
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError
from hyperspec.utils.foreign_paths import inside
from hyperspec.utils.npy import read_npy

if TYPE_CHECKING:
    import pandas as pd

STORE_VERSION = 2
# Stores of version 0.1.0: no sums of the table and the masks.
WITHOUT_SUMS = 1
INDEX, TABLE, MASKS = "store.json", "table.parquet", "masks.npy"
# Read and summed in a tenth of a second; the masks of 16,000 images of 64 px.
_SMALL = 64 * 2**20
# Names of shards, as `Preparer.key` makes them: nothing else becomes part of a path.
_KEY = re.compile(r"[0-9a-f]{1,64}")
Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class StoreIndex:
    """All of a store but its shards.

    Args:
        version: Of the index.
        hash: Sixteen hex digits of data, labels and preparation.
        keys: Shard of each image.
        axis: The axis of all bands.
        settings: How the cubes were prepared.
        calibration: What was done to their values; empty in stores of version 0.1.0.
        doubts: What of the calibration should be looked at.
        table: One row per image.
        masks: Foregrounds, ``(N, S, S)``.
    """

    version: int
    hash: str
    keys: tuple[str, ...]
    axis: SpectralAxis
    settings: PrepareSettings
    calibration: tuple[str, ...]
    doubts: tuple[str, ...]
    table: pd.DataFrame
    masks: NDArray[np.bool_]


def read_index(folder: Path, *, verify: bool = False) -> StoreIndex:
    """Read a store's index, table and masks.

    Args:
        folder: The store's folder.
        verify: Compare the sums of large files too; those of small ones are compared always.

    Raises:
        CatalogueError: If one of them is missing, damaged, or does not fit the others.
    """
    import pandas as pd

    path = folder / INDEX
    content = _parsed(path, lambda: _content(path))
    sums: Mapping[str, str] | None = content.pop("sums")

    def table() -> pd.DataFrame:
        with _opened(folder, TABLE, sums, verify) as file:
            found = pd.read_parquet(file)
        missing = [name for name in OWN_COLUMNS if name not in found]
        if missing or len(found) != len(content["keys"]):
            what = f"no column {missing[0]}" if missing else f"{len(found)} rows"
            raise ValueError(f"it has {what}, for {len(content['keys'])} images")
        return found

    def masks() -> NDArray[np.bool_]:
        with _opened(folder, MASKS, sums, verify) as file:
            found: NDArray[np.bool_] = np.lib.format.read_array(file, allow_pickle=False)
        size = content["settings"].size
        if found.shape != (len(content["keys"]), size, size) or found.dtype != np.bool_:
            raise ValueError(f"it has shape {found.shape} and type {found.dtype}")
        return found

    return StoreIndex(
        **content,
        table=_parsed(folder / TABLE, table),
        masks=_parsed(folder / MASKS, lambda: read_npy(masks)),
    )


def write_index(
    folder: Path, preparer: Preparer, keys: Sequence[str], masks: NDArray[np.bool_]
) -> None:
    """Write a store's index; its JSON comes last and makes the store exist."""
    table = preparer.catalogue.table()
    write_atomic(folder / TABLE, lambda file: table.to_parquet(file, index=False))
    write_atomic(folder / MASKS, lambda file: np.save(file, masks))
    content = {
        "version": STORE_VERSION,
        "hash": preparer.hash,
        "keys": list(keys),
        "axis": preparer.catalogue.axis.to_dict(),
        "settings": asdict(preparer.settings),
        "calibration": preparer.calibrator.lines(),
        "doubts": [str(problem) for problem in preparer.calibrator.told],
        "sums": {name: file_digest(folder / name) for name in (TABLE, MASKS)},
    }
    text = json.dumps({"content": content, "checksum": combined([content])})
    write_atomic(folder / INDEX, lambda file: file.write(text.encode()))


def damaged(path: Path, what: str) -> CatalogueError:
    """Return the error of a store's file, with the way out."""
    return CatalogueError(
        f"The store's file {path} {what}. Delete {path.parent} and pack the folder again; prepared "
        "images that are intact are used again."
    )


def _parsed(path: Path, read: Callable[[], Read]) -> Read:
    try:
        return read()
    except Exception as error:  # bytes that are no such file raise whatever they happen to mean
        reason = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
        raise damaged(path, f"cannot be read ({reason.rstrip('.')})") from error


def _content(path: Path) -> dict[str, Any]:
    """Return the fields of the index, those of the axis and the settings as objects."""
    whole = json.loads(path.read_bytes())
    content = whole["content"]
    if whole["checksum"] != combined([content]):
        raise ValueError("it does not match its own checksum")
    if content["version"] not in (WITHOUT_SUMS, STORE_VERSION):
        raise ValueError(f"it has version {content['version']}, not {STORE_VERSION}")
    wrong = [key for key in (*content["keys"], content["hash"]) if not _KEY.fullmatch(key)]
    if wrong:
        raise ValueError(f"{wrong[0]!r:.80} is no name of a prepared image")
    return {
        "version": content["version"],
        "hash": content["hash"],
        "keys": tuple(content["keys"]),
        "axis": SpectralAxis.from_dict(content["axis"]),
        "settings": PrepareSettings(**content["settings"]),
        # Stores of version 0.1.0 do not say: then the preparer's plan does.
        "calibration": tuple(map(str, content.get("calibration", ()))),
        "doubts": tuple(map(str, content.get("doubts", ()))),
        "sums": None if content["version"] == WITHOUT_SUMS else content["sums"],
    }


def _opened(folder: Path, name: str, sums: Mapping[str, str] | None, verify: bool) -> BinaryIO:
    """Open a file; where its sum is compared at once, what is read is what was compared."""
    path = inside(folder, name)
    if path is None:
        raise ValueError("it is a link that leads out of the store's folder")
    small = path.stat().st_size <= _SMALL
    data = path.read_bytes() if small else b""
    if sums is not None and (small or verify):
        found = bytes_digest(data) if small else file_digest(path)
        if found != sums[name]:
            raise ValueError("it does not match its checksum: it was changed, or the disk errs")
    return io.BytesIO(data) if small else path.open("rb")
