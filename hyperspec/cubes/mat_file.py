"""MATLAB files: the arrays in one, by name. Version 7.3 is HDF5, and read where h5py is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import CubeError

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_BLOCK: Final = 512  # bytes of MATLAB's own text in front of the HDF5 file


@dataclass(frozen=True)
class MatFile:
    """What a MATLAB file holds.

    Args:
        arrays: Shape as MATLAB shows it, and MATLAB's class, under each name.
        read: Returns the array of a name.
    """

    arrays: Mapping[str, tuple[tuple[int, ...], str]]
    read: Callable[[str], NDArray[np.generic]]


def open_mat(path: Path) -> MatFile:
    """List the arrays of a MATLAB file; values are read later.

    Raises:
        CubeError: If it cannot be read, or is of version 7.3 and h5py is not installed.
    """
    with _readable(path):
        with path.open("rb") as file:
            start = file.read(_BLOCK + len(_HDF5))
        newer = start.startswith((b"MATLAB 7.3", _HDF5)) or start[_BLOCK:] == _HDF5
        return _version_7_3(path) if newer else _version_5(path)


def _version_5(path: Path) -> MatFile:
    from scipy.io import loadmat, whosmat

    def read(name: str) -> NDArray[np.generic]:
        with _readable(path):
            return np.asarray(loadmat(path, variable_names=[name])[name])

    return MatFile({name: (shape, kind) for name, shape, kind in whosmat(path)}, read)


def _version_7_3(path: Path) -> MatFile:
    try:
        import h5py
    except ImportError:
        raise CubeError(
            f"{path} is a MATLAB file of version 7.3 (HDF5), for which h5py is needed: pip install "
            "'hyperspec-sweeps[matlab]'. Or save(..., '-v7') in MATLAB."
        ) from None

    def read(name: str) -> NDArray[np.generic]:
        with _readable(path), h5py.File(path, "r") as file:
            return np.asarray(file[name][()]).T  # MATLAB counts the first dimension fastest

    with h5py.File(path, "r") as file:
        arrays = {
            name: (item.shape[::-1], _class_of(item))
            for name, item in file.items()
            if isinstance(item, h5py.Dataset) and "MATLAB_empty" not in item.attrs
        }
    return MatFile(arrays, read)


def _class_of(item: Any) -> str:
    found = item.attrs.get("MATLAB_class", b"")
    return found.decode() if isinstance(found, bytes) else str(found)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what damaged bytes lead to into one error."""
    from scipy.io.matlab import MatReadError

    try:
        yield
    except CubeError:
        raise
    except (
        *(MatReadError, OSError, ValueError, TypeError, LookupError),
        *(NotImplementedError, RuntimeError),
    ) as error:
        raise CubeError(f"The MATLAB file {path} cannot be read: {error}.") from error
