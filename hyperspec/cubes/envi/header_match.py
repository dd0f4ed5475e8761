"""Does a header describe the file that it was found beside? Another one may share its name."""

from __future__ import annotations

from pathlib import Path

from hyperspec.cubes.envi.header import EnviHeader
from hyperspec.cubes.files import data_candidates, header_candidates
from hyperspec.utils.errors import CubeError

# What files with layouts of their own begin with.
_OTHER_KINDS = (
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "a TIFF"),
    ((b"EHFA_HEADER_TAG",), "an ERDAS IMAGINE file (HFA)"),
    ((b"<VRTDataset", b"<?xml"), "a GDAL virtual raster (VRT)"),
    ((b"\x89HDF\r\n\x1a\n",), "an HDF5 file"),
    ((b"\x89PNG\r\n\x1a\n",), "a PNG picture"),
    ((b"\xff\xd8\xff",), "a JPEG picture"),
)


def check_described(data: Path, size: int, header: EnviHeader) -> None:
    """Raise when a header's name fits a data file, but it describes another.

    Args:
        data: The data file.
        size: Its size in bytes.
        header: The header that was found beside it.

    Raises:
        CubeError: If the file has a layout of its own by its content (TIFF, HFA, VRT), which the
            header does not speak of; or if several files share the header, and it is that of
            another or does not tell which.
    """
    if data.suffix and header.path.name.lower() == f"{data.name}.hdr".lower():
        others: list[Path] = []  # named after this very file
    else:
        others = [path for path in data_candidates(header.path) if _shares(path, data, header)]
    kind = "" if "tiff" in header.file_type or header.offset else _kind(data)
    fitting = [path for path in others if path.stat().st_size == header.data_bytes]
    named = ", ".join(path.name for path in fitting)
    if kind:
        raise CubeError(
            f"{data.name} in {data.parent} is {kind}, but {header.path.name} describes raw values"
            + (f", those of {named}" if named else "")
            + f". Open {named or 'the raw file'}; or name the header after its file "
            f"({fitting[0].name if fitting else 'NAME.bil'}.hdr), and {data.name} is read as what "
            "it is."
        )
    if not fitting:
        return
    rename = f"Name each header after its whole file ({data.name}.hdr), or move one file away."
    if size != header.data_bytes:
        raise CubeError(
            f"{header.path} describes {named} and not {data}, which has {size} bytes instead of "
            f"the {header.data_bytes} that it declares. {rename}"
        )
    by_suffix = [path for path in (data, *fitting) if path.suffix.lower()[1:] == header.interleave]
    if by_suffix != [data]:
        raise CubeError(
            f"{data} and {named} share one header, {header.path.name}, which says `interleave = "
            f"{header.interleave}`: "
            + (
                f"it describes {by_suffix[0].name}, and would scramble {data.name}. "
                if len(by_suffix) == 1
                else "it does not tell which of them it describes. "
            )
            + rename
        )


def _shares(path: Path, data: Path, header: EnviHeader) -> bool:
    """Say whether another file has no header but this one."""
    if path.samefile(data):  # where file names ignore case
        return False
    own = next((one for one in header_candidates(path) if one.is_file()), None)
    return own is not None and own.samefile(header.path)


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    return next((name for magics, name in _OTHER_KINDS if start.startswith(magics)), "")
