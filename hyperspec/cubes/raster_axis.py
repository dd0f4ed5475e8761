"""The axis that the tags of a raster tell: GDAL's, ENVI's copied by GDAL, and the EnMAP-Box's.

Each key may stand with every band, or once for the file as a list; in the default domain or in that
of ENVI. GDAL's own `CENTRAL_WAVELENGTH_UM` is rounded to whole nanometres where it was copied from
an ENVI header, so that the finer of the two is taken. Its `FWHM_UM` is rounded alike and not read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.wavelength_units import check_count, to_nanometres, widths_to_nanometres
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import AxisError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_DOMAINS = (None, "ENVI")
# Half of the last digit of a tag that was rounded to whole nanometres, and rounding.
_ROUNDED_NM = 0.51
_NUMBER = re.compile(r"\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([^\d\s].*)?", re.DOTALL)


def axis_of_raster(source: DatasetReader, path: Path) -> SpectralAxis:
    """Return the axis that the tags tell.

    Raises:
        AxisError: If they tell none, or one that cannot be used.
    """
    tags = _Tags(source)
    texts, unit = tags.of("wavelength", "wavelengths"), tags.one("wavelength_units")
    central = [source.tags(i, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM") for i in source.indexes]
    rounded = [text for text in central if text is not None]
    if not texts and len(rounded) < source.count:
        some = tags.bands_with("wavelength") or len(rounded)
        raise AxisError(
            f"{path} ({source.driver}) has "
            + (f"wavelengths in the tags of {some} of" if some else "no wavelengths in its bands'")
            + f" tags; give the axis (start, stop and count in nm, or data.axis.file), with "
            f"{source.count} bands."
        )
    where = str(path)
    if len(rounded) == source.count:
        values, unit = _finer(texts, unit, rounded, where)
    else:
        values, unit = _numbers(texts, unit, where, "wavelength")
    check_count(values, source.count, where)
    centres = to_nanometres(values, unit, where)
    return SpectralAxis(centres, _widths(tags, values, centres, where), good_bands(source, path))


class _Tags:
    """A file's tags under keys of lower case with underscores, those of each band first."""

    def __init__(self, source: DatasetReader) -> None:
        self._bands = [
            _merged(*(source.tags(i, ns=domain) for domain in _DOMAINS)) for i in source.indexes
        ]
        self._whole = _merged(*(source.tags(ns=domain) for domain in _DOMAINS))

    def of(self, *keys: str) -> list[str]:
        """Return one text per band, or what the file's own list holds; empty without either."""
        for key in keys:
            if self.bands_with(key) == len(self._bands):
                return [band[key] for band in self._bands]
        for key in keys:
            if key in self._whole:
                return re.split(r"[,\s]+", self._whole[key].strip("{}() \t\r\n,"))
        return []

    def bands_with(self, key: str) -> int:
        """Return how many bands have a tag."""
        return sum(key in band for band in self._bands)

    def one(self, key: str) -> str:
        """Return a text of the first band or of the file."""
        return self._bands[0].get(key) or self._whole.get(key, "")


def _merged(*found: dict[str, str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for tags in found:
        for key, text in tags.items():
            named.setdefault(re.sub(r"[\s_]+", "_", key.strip().lower()), text)
    return named


def _numbers(texts: list[str], unit: str, where: str, key: str) -> tuple[list[float], str]:
    """Return numbers, and their unit where it is written behind them."""
    values, units = [], set()
    for band, text in enumerate(texts):
        match = _NUMBER.fullmatch(text)
        try:
            values.append(float(match[1]) if match else float(text))
        except ValueError:
            raise AxisError(
                f"{where}: the tag `{key}` of band {band} is {text[:40]!r}, no number."
            ) from None
        units.add((match[2] or "").strip() if match else "")
    if units <= {""}:
        return values, unit
    if len(units) > 1 or unit.strip() not in ("", *units):
        named = ", ".join(sorted(repr(one) for one in {*units, unit.strip()} if one))
        raise AxisError(f"{where}: the tags `{key}` are in several units: {named}.")
    return values, units.pop()


def _finer(texts: list[str], unit: str, rounded: list[str], where: str) -> tuple[list[float], str]:
    """Choose between the bands' wavelengths and GDAL's, which must not contradict each other."""
    central, _ = _numbers(rounded, "um", where, "CENTRAL_WAVELENGTH_UM")
    central_nm = np.asarray(central) * 1000
    try:
        values, unit = _numbers(texts, unit, where, "wavelength")
        check_count(values, len(central), where)
        if not unit.strip():
            for name, factor in (("nm", 1.0), ("um", 1000.0)):
                if _apart(np.asarray(values) * factor, central_nm) <= _ROUNDED_NM:
                    unit = name
        own = to_nanometres(values, unit, where, quiet=True)
    except AxisError:
        return central, "um"  # what is not understood beside it decides nothing
    if _apart(own, central_nm) > _ROUNDED_NM:
        band = int(np.abs(own - central_nm).argmax())
        raise AxisError(
            f"{where}: the tags of band {band} contradict each other: `wavelength` says "
            f"{own[band]:g} nm and `CENTRAL_WAVELENGTH_UM` {central_nm[band]:g} nm. Correct the "
            "file's tags, or give the axis."
        )
    steps = own[0] / values[0] * 10.0 ** -_digits(texts), 1000 * 10.0 ** -_digits(rounded)
    return (values, unit) if steps[0] <= steps[1] else (central, "um")


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.abs(one - other).max())


def _digits(texts: list[str]) -> int:
    """Return the most digits behind the point."""
    return max(len(re.sub(r"\D.*", "", text.partition(".")[2], flags=re.DOTALL)) for text in texts)


def _widths(
    tags: _Tags, values: list[float], centres: NDArray[np.float64], where: str
) -> NDArray[np.float64] | None:
    texts = tags.of("fwhm")
    if not texts:
        return None
    widths, unit = _numbers(texts, "", where, "fwhm")
    if unit:
        return to_nanometres(widths, unit, where) if len(widths) == len(centres) else None
    return widths_to_nanometres(widths, values, centres, where)


def good_bands(source: DatasetReader, path: Path) -> NDArray[np.bool_]:
    """Return which bands the tags do not mark bad, shape ``(C,)``.

    Raises:
        AxisError: If some bands have the tag and others have not, or a list has another length.
    """
    tags = _Tags(source)
    texts, some = tags.of("bbl"), tags.bands_with("bbl")
    if not texts and not some:
        return np.ones(source.count, np.bool_)
    if len(texts) != source.count:
        raise AxisError(
            f"{path}: the bad-band list `bbl` has {len(texts) or some} items for {source.count} "
            "bands; correct it or take it out."
        )
    return np.array([value != 0 for value in _numbers(texts, "", str(path), "bbl")[0]])
