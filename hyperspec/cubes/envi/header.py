"""ENVI headers: bytes from the disk to checked fields, and what kind of header it is.

Only the layout is read strictly. Every other field is kept as text, so that the hundreds of keys
that cameras add never stop a cube from opening.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hyperspec.utils.errors import CubeError

# The largest header known to us has 0.2 MB; a data file taken for a header has more than this.
MAX_HEADER_BYTES: Final = 16 * 2**20
_LAYOUT_KEYS: Final = (
    *("samples", "lines", "bands", "header offset", "data type", "interleave", "byte order"),
    *("wavelength", "wavelength units", "file type", "file compression"),
)
# Keys that change values or say which count: two of a kind would be one value too many.
_VALUE_KEYS: Final = (
    *("reflectance scale factor", "data ignore value", "bbl", "fwhm", "autodarkstartline"),
    *("data gain values", "data offset values"),
    *("data reflectance gain values", "data reflectance offset values"),
    *("tint", "integration time", "exposure", "exposure time"),
)
_POINTERS: Final = (b"version https://git-lfs", b"/annex/objects/")


def read_header_bytes(path: Path) -> bytes:
    """Return a header's bytes after looking at its size.

    Raises:
        CubeError: If the file cannot be read, is too large or a pointer of a large-file store.
    """
    try:
        size = path.stat().st_size
        if size > MAX_HEADER_BYTES:
            raise CubeError(
                f"{path} has {size} bytes, too many for a header (at most {MAX_HEADER_BYTES}); "
                "is it a data file?"
            )
        content = path.read_bytes()
    except OSError as error:
        raise CubeError(f"The header {path} cannot be read: {error.strerror or error}.") from error
    refuse_pointer(path, content)
    return content


def refuse_pointer(path: Path, start: bytes) -> None:
    """Raise when a file begins like the pointer that large-file stores leave in place of data."""
    if start[:200].startswith(_POINTERS[0]) or _POINTERS[1] in start[:200]:
        size = re.search(rb"^size (\d{1,18})\s*$", start[:1000], re.MULTILINE)
        real = f" for a file of {size[1].decode()} bytes" if size else ""
        raise CubeError(
            f"{path} is a pointer text of a large-file store (Git LFS or git-annex){real}, not the "
            "file itself; fetch the content, for example with `git lfs pull`."
        )


def is_envi(content: bytes) -> bool:
    """Tell whether a header's bytes begin with the word ENVI on a line of its own."""
    first = content[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    return re.match(rb"ENVI\s*?(\r|\n|$)", first) is not None


def is_esri(content: bytes) -> bool:
    """Tell whether a header's bytes are those of an ESRI raster (`NROWS 20`, no equals sign)."""
    text = content[:4000].lower()
    return all(re.search(rb"^\s*" + key + rb"\s+\d", text, re.M) for key in (b"nrows", b"ncols"))


def parse_fields(content: bytes, path: Path) -> dict[str, str]:
    """Return every field of an ENVI header under its lower-case key.

    Comment lines (`;`) are left out, also inside lists; of a key that comes twice the last value
    counts, unless it tells the layout or changes values.

    Raises:
        CubeError: If a list is never closed, or such a field is given twice differently.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # older cameras write the micro sign as one byte
    fields: dict[str, str] = {}
    # Not splitlines: it also breaks at form feeds and Unicode separators inside values.
    lines = re.split(r"\r\n|\r|\n", text)
    lines = [line for line in lines if not line.lstrip().startswith(";")]
    nested = True
    index = 1
    while index < len(lines):
        key, equals, value = lines[index].partition("=")
        value = value.strip()
        index += 1
        if not equals:
            continue
        if value.startswith("{"):
            closed = _close(lines, index - 1, nested)
            if closed is None and nested:
                # Braces that never balance: from here on the first `}` ends a list, as in GDAL.
                nested = False
                closed = _close(lines, index - 1, nested)
            if closed is None:
                raise CubeError(
                    f"{path}: the list `{short(key.strip())} = {{` is never closed; add its `}}`."
                )
            value, index = closed
        _store(fields, key, value, path)
    return fields


def _close(lines: list[str], start: int, nested: bool) -> tuple[str, int] | None:
    """Return a braced value from line `start` on and the index of the line after it."""
    depth = 0
    parts: list[str] = []
    for index in range(start, len(lines)):
        line = lines[index] if index > start else lines[index].partition("=")[2].lstrip()
        for brace in re.finditer(r"[{}]", line):
            depth = depth + 1 if brace[0] == "{" else depth - 1
            if brace[0] == "}" and (depth == 0 or not nested):
                return "\n".join([*parts, line[: brace.end()]]), index + 1
        parts.append(line)
    return None


def _store(fields: dict[str, str], key: str, value: str, path: Path) -> None:
    name = " ".join(key.lower().split())
    only_once = name in _LAYOUT_KEYS or name in _VALUE_KEYS
    if only_once and fields.get(name, value).split() != value.split():
        raise CubeError(
            f"{path}: `{name}` is given twice, as {short(fields[name])!r} and as "
            f"{short(value)!r}; keep one."
        )
    fields[name] = value


def short(text: str, limit: int = 60) -> str:
    """Return text on one line, cut to a length that fits a message."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


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
# Axes of a (band, line, sample) array in file order.
FILE_ORDER: Final = {"bil": (1, 0, 2), "bip": (1, 2, 0), "bsq": (0, 1, 2)}


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


def parse_header(content: bytes, path: Path) -> EnviHeader:
    """Parse an ENVI header's bytes.

    Args:
        content: The whole file.
        path: Its name for messages.

    Raises:
        CubeError: If it is no ENVI header, or its layout is incomplete or of a kind that is not
            read.
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
            "bands, not an image cube; read it with a spectral-library tool (Spectral Python's "
            "`envi.open`), or give the cube that the spectra were taken from."
        )
    if fields.get("file compression", "0").strip("{} ") not in ("", "0"):
        raise CubeError(
            f"{path}: `file compression = {fields['file compression']}`: compressed cubes are not "
            "read; decompress the data file (gzip) and set the field to 0."
        )
    counts = {key: _count(fields, key, path) for key in ("lines", "samples", "bands")}
    return EnviHeader(
        path=path,
        **counts,
        dtype=_dtype(fields, path),
        interleave=_interleave(fields, counts["bands"], path),
        offset=_whole(fields, "header offset", path, default=0),
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
    if value not in FILE_ORDER:
        seen = f"`interleave = {short(value)}`" if value else "the header has no `interleave`"
        raise CubeError(f"{path}: {seen}; it must be bil, bip or bsq.")
    return value
