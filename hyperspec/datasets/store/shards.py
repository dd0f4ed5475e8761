"""One prepared specimen on disk: band planes, and beside them its mask and statistics.

A shard is two files named by content and settings, so that it never has to be brought up to date:
another content or another setting is another shard.

``<key>.npy`` holds the planes ``(C, S, S)``, contiguous per band; ``<key>.npz`` the mask, the
statistics and the checksum of the planes. The planes are written last: where they lie, the rest
lies too.
"""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.datasets.preparation.prepare import Prepared
from hyperspec.datasets.store.file_cache import KeptFile, KeptFiles
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.atomic import PART, open_replacing
from hyperspec.utils.errors import CatalogueError
from hyperspec.utils.foreign_paths import inside
from hyperspec.utils.npy import read_npy
from hyperspec.utils.pread import is_cached, read_pieces

# NumPy pads the header of a .npy file of this kind to 128 bytes (NEP 1: a multiple of 64).
HEADER_BYTES = 128
_CONVERT_BYTES = 2**20
Read = TypeVar("Read")


class Shards:
    """The shards of one cache folder with one shape of image.

    Args:
        folder: Where they lie.
        shape: Bands, lines, samples of an image: ``(C, S, S)``.
        dtype: Type of the planes.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, int, int], dtype: np.dtype[np.floating]
    ) -> None:
        self.folder = folder
        self.shape = shape
        self.dtype = dtype
        self._files = KeptFiles()

    @property
    def plane_bytes(self) -> int:
        """Size of one band plane."""
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    @property
    def file_bytes(self) -> int:
        """Exact size of a planes file."""
        return HEADER_BYTES + self.shape[0] * self.plane_bytes

    @property
    def shard_bytes(self) -> int:
        """About the size of a whole shard on disk, statistics included (an upper bound)."""
        bands = self.shape[0]
        # Covariance and 240 histogram bins of 8 bytes, 256 sample spectra of 4, four vectors.
        statistics = bands * (8 * bands + 240 * 8 + 256 * 4 + 64)
        return self.file_bytes + self.shape[1] * self.shape[2] + statistics + 16384

    def planes_path(self, key: str) -> Path:
        """Return the planes file of a shard."""
        return self.folder / f"{key}.npy"

    def details_path(self, key: str) -> Path:
        """Return the file of mask, statistics and checksum of a shard."""
        return self.folder / f"{key}.npz"

    def problem(self, key: str) -> str | None:
        """Describe what is wrong with a shard's files by their sizes; None when all is there."""
        planes, details = self.planes_path(key), self.details_path(key)
        try:
            found = planes.lstat(), details.lstat()
        except OSError:
            return f"{planes} or its .npz is missing"
        for path, status in zip((planes, details), found, strict=True):
            if (
                stat.S_ISLNK(status.st_mode)
                and inside(self.folder, f"../{path.relative_to(self.folder.parent)}") is None
            ):
                return f"{path} is a link that leads out of {self.folder.parent}"
        try:
            size = planes.stat().st_size
            if size != self.file_bytes:
                return f"{planes} has {size} bytes instead of {self.file_bytes}"
            if not zipfile.is_zipfile(details):  # its directory is at the file's end
                return f"{details} is damaged"
        except OSError as error:
            return f"{planes} or its .npz cannot be read ({error.strerror})"
        return None

    def _leads_out(self, path: Path) -> bool:
        cache = self.folder.parent
        return inside(cache, f"{self.folder.name}/{path.name}") is None

    def write(self, key: str, prepared: Prepared) -> None:
        """Write a shard; under its name there is all of it or nothing.

        Raises:
            OSError: If the disk is full or cannot be written; nothing is left behind.
        """
        self._files.let_go(key)
        with open_replacing(self.planes_path(key)) as file:
            details = {
                "planes_checksum": np.array(_save(file, prepared.image, self.dtype)),
                "mask": prepared.mask,
                **prepared.statistics.to_arrays(),
            }
            write_atomic(self.details_path(key), lambda file: np.savez(file, **details))  # type: ignore[arg-type]

    def read_planes(self, key: str, bands: Sequence[int], out: NDArray[np.floating]) -> None:
        """Read band planes in the given order.

        Args:
            key: The shard.
            bands: 0-based bands.
            out: Contiguous, shape ``(len(bands), S, S)``, of the shards' type.

        Raises:
            CatalogueError: If the file is missing or ends early.
        """
        try:
            file = self._files.get(key, self.planes_path)
            planes = self._mapped(file, bands)
            if planes is not None:
                # With "clip" values go straight to `out`; the bands were checked.
                planes.take(bands, 0, out, "clip")
            else:
                read_pieces(file.descriptor, self._pieces(bands, out))
        except OSError as error:
            raise CatalogueError(
                f"The packed planes {self.planes_path(key)} cannot be read ({error}). Pack the "
                "folder again: hyperspec pack."
            ) from error

    def release_files(self) -> None:
        """Close the files that were kept open; reading opens them again."""
        self._files.release()

    def _mapped(self, file: KeptFile, bands: Sequence[int]) -> NDArray[np.generic] | None:
        """Return the map of a file that is read again and whose planes are in the page cache.

        Three planes tell, by a byte each: what they miss is fetched by page faults, slower.
        """
        if file.num_uses < 2:
            return None
        size = self.plane_bytes
        places = (bands[0] * size, bands[len(bands) // 2] * size, bands[-1] * size)
        cached = is_cached(file.descriptor, places)
        return file.planes(self.shape, self.dtype, HEADER_BYTES) if cached else None

    def _pieces(
        self, bands: Sequence[int], out: NDArray[np.floating]
    ) -> list[tuple[int, memoryview]]:
        """Return what to read; neighbouring bands are one piece."""
        target = out.data.cast("B")
        size = self.plane_bytes
        return [
            (HEADER_BYTES + first * size, target[place * size : (place + count) * size])
            for place, first, count in runs(bands)
        ]

    def map_planes(self, key: str) -> NDArray[np.floating]:
        """Return all planes as a read-only memory map ``(C, S, S)``.

        Raises:
            CatalogueError: If the file is missing or ends early.
        """
        path = self.planes_path(key)
        try:
            # What the file's header says is known; a damaged one must not decide.
            return np.memmap(path, self.dtype, "r", HEADER_BYTES, self.shape)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error

    def mask(self, key: str) -> NDArray[np.bool_]:
        """Return the foreground ``(S, S)``.

        Raises:
            CatalogueError: If the file is missing or damaged.
        """

        def read(details: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
            mask: NDArray[np.bool_] = details["mask"]
            if mask.shape != self.shape[1:] or mask.dtype != np.bool_:
                raise ValueError(f"its mask has shape {mask.shape} and type {mask.dtype}")
            return mask

        return read_details(self.details_path(key), read)

    def statistics(self, key: str) -> SpectralStatistics:
        """Return the statistics of the specimen's spectra.

        Raises:
            CatalogueError: If the file is missing or damaged.
        """
        return read_details(self.details_path(key), SpectralStatistics.from_arrays)

    def is_intact(self, key: str) -> bool:
        """Read both files in full and compare them with their checksums."""
        if self.problem(key) is not None:
            return False

        def read(details: Mapping[str, NDArray[Any]]) -> str:
            # Each member of the zip has a checksum of its own, compared when it is read.
            return str({name: details[name] for name in details}["planes_checksum"])

        try:
            expected = read_details(self.details_path(key), read)
            planes = np.ascontiguousarray(self.map_planes(key)).data
            with self.planes_path(key).open("rb") as file:
                header = file.read(HEADER_BYTES)
        except (OSError, CatalogueError):
            return False
        right = header == _header(self.shape, self.dtype)
        return right and expected == hashlib.blake2b(planes, digest_size=16).hexdigest()

    def remove_leftovers(self) -> None:
        """Delete temporary files of a pack that was killed. Call with the pack's lock held."""
        for part in self.folder.glob(f".*{PART}"):
            part.unlink(missing_ok=True)


def read_details(path: Path, read: Callable[[Mapping[str, NDArray[Any]]], Read]) -> Read:
    """Read something of a ``.npz`` file.

    Raises:
        CatalogueError: If the file is missing or damaged, with the reason.
    """

    def opened() -> Read:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # NumPy would advise to unpickle it
                raise ValueError("it is no archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as details:
                return read(details)

    try:
        return read_npy(opened)
    except Exception as error:  # bytes that are no such file raise whatever they happen to mean
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CatalogueError:
    return CatalogueError(
        f"The packed file {path} cannot be read ({error}). Pack the folder again with --verify "
        "(or train with data.verify=true): what is damaged is made anew."
    )


def runs(bands: Sequence[int]) -> list[tuple[int, int, int]]:
    """Group bands into runs of neighbours: (place in the output, first band, count)."""
    found: list[tuple[int, int, int]] = []
    for place, band in enumerate(bands):
        if found and band == found[-1][1] + found[-1][2]:
            start, first, count = found[-1]
            found[-1] = (start, first, count + 1)
        else:
            found.append((place, int(band), 1))
    return found


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name, then give it its own."""
    with open_replacing(path) as file:
        write(file)


def _header(shape: tuple[int, ...], dtype: np.dtype[np.floating]) -> bytes:
    """Return the header of a file of planes, :data:`HEADER_BYTES` long."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {**header, "shape": shape})
    return written.getvalue()


def _save(file: BinaryIO, image: NDArray[np.float32], dtype: np.dtype[np.floating]) -> str:
    """Write an array as ``numpy.save`` does, and return the checksum of its values.

    Some planes at a time, so that they are converted, summed and written from the processor's
    cache. Not by ``numpy.save``, which does not call a full disk by its name.
    """
    file.write(_header(image.shape, dtype))
    digest = hashlib.blake2b(digest_size=16)
    step = max(_CONVERT_BYTES // max(image[0].nbytes, 1), 1)
    for start in range(0, len(image), step):
        planes = np.ascontiguousarray(image[start : start + step], dtype)
        digest.update(planes.data)
        file.write(planes.data)
    return digest.hexdigest()
