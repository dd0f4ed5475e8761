"""Formats that are not read, named for what they are, with the way to an ENVI cube."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hyperspec.utils.errors import CubeError

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_GDAL: Final = (
    "Write the cube that is in it (gdalinfo lists the names): gdal_translate -of ENVI -co "
    "INTERLEAVE=BIL '{kind}:\"{name}\"://NAME' NEW.bil; its wavelengths may be given as a file "
    "(data.axis.file)."
)
# (suffixes, what the content begins with, name, way); an empty one fits any.
_FORMATS: Final[tuple[tuple[tuple[str, ...], tuple[bytes, ...], str, str], ...]] = (
    ((".nc", ".nc4", ".cdf"), (_HDF5, b"CDF"), "NetCDF", _GDAL.replace("{kind}", "NETCDF")),
    ((), (_HDF5,), "HDF5", _GDAL.replace("{kind}", "HDF5")),
    ((), (b"CDF\x01", b"CDF\x02", b"CDF\x05"), "NetCDF", _GDAL.replace("{kind}", "NETCDF")),
    ((), (b"\x0e\x03\x13\x01",), "HDF4", _GDAL.replace("{kind}", "HDF4_SDS")),
    (
        (".hyspex",), (b"HYSPEX", b""), "a raw file of HySpex cameras",
        "HySpex RAD, or HySpex GROUND's export, writes it as ENVI (.bsq or .img with .hdr).",
    ),
    (
        (".cu3s", ".cu3"), (b"",), "a session file of Cubert cameras",
        "Cubert Utils or the cuvis SDK (EnviExporter) writes its measurements as ENVI cubes.",
    ),
    (
        (".sli", ".slb", ".esl"), (b"",), "a spectral library: single spectra, no image",
        "Give the cube that the spectra were taken from.",
    ),
    (
        (".asd", ".sig", ".sed"), (b"",), "a spectrum of a field spectrometer, no image",
        "Give an image cube.",
    ),
    (
        (".spe",), (b"",), "a file of Princeton Instruments",
        "LightField exports it as TIFF; or write it with hyperspec.cubes.write_envi.",
    ),
    (
        (".npz",), (b"PK",), "several NumPy arrays in one file",
        "Save the cube alone: numpy.save('NEW.npy', file['NAME']).",
    ),
    ((), (b"PK\x03\x04",), "a ZIP archive", "Unpack it."),
    ((), (b"\x1f\x8b",), "compressed (gzip)", "Unpack it: gunzip {name}."),
)  # fmt: skip


def refuse_foreign(path: Path) -> None:
    """Raise when a file is of a known format that is not read.

    Raises:
        CubeError: Naming the format, and how an ENVI cube is made of it.
    """
    known = foreign_format(path)
    if known is not None:
        raise CubeError(f"{path} is {known[0]}, which is not read. {known[1]}")


def foreign_format(path: Path) -> tuple[str, str] | None:
    """Return the name of a format that is not read and the way to ENVI; None of any other."""
    try:
        with path.open("rb") as file:
            start = file.read(512 + len(_HDF5))
    except OSError:
        return None
    if start[512:] == _HDF5:  # behind a user block
        start = _HDF5
    suffix = path.suffix.lower()
    if suffix == ".mat":
        return None  # of whatever version
    for suffixes, magics, name, way in _FORMATS:
        if (not suffixes or suffix in suffixes) and start.startswith(magics):
            return name, way.replace("{name}", path.name)
    return None
