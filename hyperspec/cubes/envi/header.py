"""ENVI headers: text to checked fields.

Only the layout is read strictly. Every other field is kept as text, so that the hundreds of keys
that cameras add never stop a cube from opening.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hyperspec.cubes.envi.header_text import (
    is_envi,
    is_esri,
    parse_fields,
    read_header_bytes,
    short,
)
from hyperspec.cubes.files import require_header
from hyperspec.utils.errors import CubeError

# ENVI's `data type` codes and the NumPy types they stand for (ENVI Header Files, NV5 Geospatial).
DATA_TYPES: Final[dict[int, np.dtype[np.generic]]] = {
    1: np.dtype(np.uint8),
    2: np.dtype(np.int16),
    3: np.dtype(np.int32),
    4: np.dtype(np.float32),
    5: np.dtype(np.float64),
    12: np.dtype(np.uint16),
    13: np.dtype(np.uint32),
    14: np.dtype(np.int64),
    15: np.dtype(np.uint64),
}
COMPLEX_TYPES: Final = {6: "complex64", 9: "complex128"}
INTERLEAVES: Final = ("bil", "bip", "bsq")


@dataclass(frozen=True)
class EnviHeader:
    """Layout and fields of one ENVI header.

    Args:
        path: Where it was read.
        lines: Number of lines (H), at least 1.
        samples: Number of samples (W), at least 1.
        bands: Number of bands (C), at least 1.
        dtype: Type of a value, with the byte order of the file.
        interleave: ``bil``, ``bip`` or ``bsq``.
        offset: Bytes before the first value.
        fields: Every field as text under its lower-case key, lists with their braces.
    """

    path: Path
    lines: int
    samples: int
    bands: int
    dtype: np.dtype[np.generic]
    interleave: str
    offset: int
    fields: Mapping[str, str]

    @property
    def data_bytes(self) -> int:
        """Size in bytes that the data file must have, the offset included."""
        return self.offset + self.lines * self.samples * self.bands * self.dtype.itemsize

    @property
    def file_type(self) -> str:
        """The field ``file type`` in lower case; empty when there is none."""
        return self.fields.get("file type", "").strip("{} ").lower()

    def number(self, key: str) -> float | None:
        """Return a field as a number, None when it is absent or empty.

        Raises:
            CubeError: If the text is no number.
        """
        text = self.fields.get(key, "").strip("{} \t\r\n")
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            raise CubeError(
                f"{self.path}: `{key} = {short(text)}` is not a number; correct the header."
            ) from None

    def items(self, key: str) -> list[str]:
        """Return the items of a list field; empty when it is absent.

        Commas at either end and around line breaks are forgiven, as several cameras write them.
        """
        text = self.fields.get(key, "").strip("{} \t\r\n,")
        return [item.strip() for item in text.split(",")] if text else []


def read_header(path: str | os.PathLike[str]) -> EnviHeader:
    """Read an ENVI header.

    Args:
        path: The header, or the data file that it stands beside.

    Raises:
        CubeError: If the file is missing, no ENVI header, or its layout is incomplete or of a
            kind that is not read.
    """
    header = Path(path)
    if header.suffix.lower() != ".hdr":
        header = require_header(header)
    return parse_header(read_header_bytes(header), header)


def parse_header(content: bytes, path: Path) -> EnviHeader:
    """Parse an ENVI header's bytes.

    Args:
        content: The whole file.
        path: Its name for messages.

    Raises:
        CubeError: As for :func:`read_header`.
    """
    if not is_envi(content):
        kind = "an ESRI header" if is_esri(content) else "no ENVI header"
        first = short(content[:60].decode("latin-1").strip().split("\n")[0])
        raise CubeError(
            f"{path} is {kind}: it begins with {first!r}, not with the word ENVI. Give the ENVI "
            "header of this cube."
        )
    fields = parse_fields(content, path)
    file_type = fields.get("file type", "").strip("{} ").lower()
    if "spectral library" in file_type:
        raise CubeError(
            f"{path}: `file type = {fields['file type']}` holds single spectra, whose samples are "
            "bands, not an image cube; read it with a spectral-library tool."
        )
    if fields.get("file compression", "0").strip("{} ") not in ("", "0"):
        raise CubeError(
            f"{path}: `file compression = {fields['file compression']}`: compressed cubes are not "
            "read; decompress the data file (gzip) and set the field to 0."
        )
    counts = {key: _count(fields, key, path) for key in ("lines", "samples", "bands")}
    offset = _whole(fields, "header offset", path, default=0)
    return EnviHeader(
        path=path,
        **counts,
        dtype=_dtype(fields, path),
        interleave=_interleave(fields, counts["bands"], path),
        offset=offset,
        fields=fields,
    )


def _whole(fields: Mapping[str, str], key: str, path: Path, default: int | None = None) -> int:
    text = fields.get(key, "").strip("{} \t")
    if not text and default is not None:
        return default
    if not text:
        raise CubeError(f"{path}: the header has no `{key}`; add it.{_unusual(fields)}")
    # Eighteen digits fit 64 bits; int() alone would take `5_0`, and Unicode digits.
    if not re.fullmatch(r"\+?[0-9]{1,18}", text):
        raise CubeError(
            f"{path}: `{key} = {short(text)}` is not a whole number of 0 or more; correct it."
        )
    return int(text)


def _unusual(fields: Mapping[str, str]) -> str:
    kind = fields.get("file type", "")
    return "" if kind.lower().startswith("envi") or not kind else f" (`file type = {short(kind)}`)"


def _count(fields: Mapping[str, str], key: str, path: Path) -> int:
    count = _whole(fields, key, path)
    if count < 1:
        raise CubeError(f"{path}: `{key} = {count}`; a cube has at least 1.")
    return count


def _dtype(fields: Mapping[str, str], path: Path) -> np.dtype[np.generic]:
    code = _whole(fields, "data type", path)
    if code in COMPLEX_TYPES:
        raise CubeError(
            f"{path}: `data type = {code}` is {COMPLEX_TYPES[code]}; complex cubes are not read. "
            "Write the real part or the magnitude first."
        )
    if code not in DATA_TYPES:
        known = ", ".join(f"{code} ({dtype})" for code, dtype in DATA_TYPES.items())
        raise CubeError(f"{path}: `data type = {code}` is unknown; known are {known}.")
    order = _whole(fields, "byte order", path, default=0)
    if order not in (0, 1):
        raise CubeError(f"{path}: `byte order = {order}`; it is 0 (little) or 1 (big endian).")
    return DATA_TYPES[code].newbyteorder("<" if order == 0 else ">")


def _interleave(fields: Mapping[str, str], bands: int, path: Path) -> str:
    value = fields.get("interleave", "").strip("{} \t").lower()
    if not value and bands == 1:
        return "bsq"  # the three are the same for one band
    if value not in INTERLEAVES:
        seen = f"`interleave = {short(value)}`" if value else "the header has no `interleave`"
        raise CubeError(f"{path}: {seen}; it must be bil, bip or bsq.")
    return value
