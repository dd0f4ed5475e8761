"""GDAL's virtual rasters: which files they name. Only those of their own folder are followed."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from hyperspec.utils.errors import CubeError

_LARGEST = 64 * 2**20
# Elements that name where values come from.
_SOURCES = ("SourceFilename", "SourceDataset")


def is_vrt(path: Path) -> bool:
    """Say whether GDAL would take a file for a virtual raster, whatever its name is."""
    try:
        with path.open("rb") as file:
            return b"<VRTDataset" in file.read(1024)  # GDAL's own rule
    except OSError:
        return False


def check_vrt(path: Path) -> list[Path]:
    """Return the files that a virtual raster takes its values from, those of nested ones too.

    Raises:
        CubeError: If it is not named ``.vrt``, is no XML, or names what does not lie in its folder
            or below: other places, addresses of the network, databases.
    """
    if path.suffix.lower() != ".vrt":
        raise CubeError(
            f"{path} is a GDAL virtual raster (VRT), which names other files, and not a cube "
            f"itself. Give it the name {path.stem}.vrt if that is meant, or write the cube: "
            f"gdal_translate -of ENVI {path.name} NEW.bil"
        )
    found: list[Path] = []
    _follow(path, path.resolve().parent, found)
    return found


def _follow(path: Path, folder: Path, found: list[Path]) -> None:
    for name in _names(path):
        source = (path.parent / name).resolve()
        # `/vsicurl/`, `http:`, `HDF5:"..."`, `<VRTDataset>`: GDAL takes any connection for a file.
        plain = not re.match(r"/vsi|\w[\w+.-]*:(?!\\)|<", name.strip()) and source.is_file()
        if not plain or not source.is_relative_to(folder):
            raise CubeError(
                f"{path} takes values from {name!r}, which is no file in {folder} or below, and is "
                "not followed. Put the files there (gdalbuildvrt makes relative names), or write "
                f"the cube: gdal_translate -of ENVI {path.name} NEW.bil"
            )
        if source in found:
            continue
        found.append(source)
        if is_vrt(source):
            _follow(source, folder, found)


def _names(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise ValueError("it declares entities")
        root = ElementTree.fromstring(content)  # noqa: S314 - without entities nothing expands
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise CubeError(f"The virtual raster {path} cannot be read: {error}.") from error
    if root.get("subClass"):
        raise CubeError(
            f"{path} is a computed virtual raster ({root.get('subClass')}); write it as a cube: "
            f"gdal_translate -of ENVI {path.name} NEW.bil"
        )
    return [element.text or "" for tag in _SOURCES for element in root.iter(tag)]
