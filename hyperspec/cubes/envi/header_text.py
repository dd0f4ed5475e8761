"""The text of a header: bytes from the disk to fields, and what kind of header it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hyperspec.utils.errors import CubeError

# The largest header known to us has 0.2 MB; a data file taken for a header has more than this.
MAX_HEADER_BYTES: Final = 16 * 2**20
_LAYOUT_KEYS: Final = (
    *("samples", "lines", "bands", "header offset", "data type", "interleave", "byte order"),
    *("wavelength", "wavelength units", "file type", "file compression"),
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


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # older cameras write the micro sign as one byte


def parse_fields(content: bytes, path: Path) -> dict[str, str]:
    """Return every field of an ENVI header under its lower-case key.

    Comment lines (`;`) are left out, also inside lists; of a key that comes twice the last value
    counts, unless it tells the layout.

    Raises:
        CubeError: If a list is never closed, or a field of the layout is given twice differently.
    """
    text = _decode(content)
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
    if name in _LAYOUT_KEYS and fields.get(name, value) != value:
        raise CubeError(
            f"{path}: `{name}` is given twice, as {short(fields[name])!r} and as "
            f"{short(value)!r}; keep one."
        )
    fields[name] = value


def short(text: str, limit: int = 60) -> str:
    """Return text on one line, cut to a length that fits a message."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
