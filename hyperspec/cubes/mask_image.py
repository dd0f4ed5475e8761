"""Mask images: which pixels of a picture are specimen, and what is odd about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.raster import open_quietly
from hyperspec.utils.errors import CubeError
from hyperspec.utils.npy import read_npy

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# Raise it when masks are read otherwise: what is remembered of them is then looked at anew.
MASK_VERSION = 1
# From here on, as a share of the largest value, a soft pixel is specimen.
_HALF = 0.5
# What is nearly black or nearly white is so but for a picture format's losses.
_NEARLY = 0.05
# A picture with more soft pixels than this is a photograph.
_MAX_SOFT = 0.5
# Of a drawn mask, edges are no more than this.
_MAX_EDGE = 0.3
# Label images count their specimens from 1; pictures have 255 levels.
_MAX_LABELS = 32


@dataclass(frozen=True, eq=False)
class MaskImage:
    """What a mask says.

    Args:
        specimen: Shape ``(H, W)``.
        notes: What a user should know of it, without its name.
        reread: Whether version 0.1.0, to which every first channel but 0 was specimen, read it
            otherwise; images prepared by it are not those of this mask.
    """

    specimen: NDArray[np.bool_]
    notes: tuple[str, ...] = ()
    reread: bool = False


def read_mask(path: Path, shape: tuple[int, int]) -> MaskImage:
    """Read a mask: a picture of any usual format, or a ``.npy`` file.

    White on black is specimen. Of a picture with transparency the opaque part is, where the colours
    do not tell more; soft edges are cut at half of the largest value; the numbers of a label image
    are all specimen.

    Args:
        path: The file.
        shape: Lines and samples of the cube.

    Raises:
        CubeError: If it cannot be read, has another size than the cube, or is a photograph.
    """
    from rasterio.errors import RasterioError

    try:
        if path.suffix.lower() == ".npy":
            values, notes, first = _from_array(read_npy(lambda: np.load(path, allow_pickle=False)))
        else:
            with open_quietly(path) as source:
                values, notes, first = _from_picture(source)
    except (OSError, ValueError, EOFError, RasterioError) as error:
        raise CubeError(f"The mask {path} cannot be read: {error}") from error
    if values.shape != shape:
        raise CubeError(
            f"The mask {path} has shape {values.shape}, but the cube has {shape[0]} lines and "
            f"{shape[1]} samples. Make it again from this cube, or set data.mask=otsu or none."
        )
    specimen, more = _threshold(values, path)
    before = np.asarray(first != 0)
    said = (*notes, *more, *_orientation(specimen))
    return MaskImage(specimen, said, not np.array_equal(specimen, before))


def _from_array(
    values: NDArray[np.generic],
) -> tuple[NDArray[np.float64], list[str], NDArray[np.generic]]:
    """Return levels ``(H, W)``, notes, and what 0.1.0 looked at."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"values of type {values.dtype} are no mask")
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    return np.nan_to_num(values.astype(np.float64)), [], values


def _from_picture(
    source: DatasetReader,
) -> tuple[NDArray[np.float64], list[str], NDArray[np.generic]]:
    kinds = [kind.name for kind in source.colorinterp]
    bands = [source.read(i) for i in source.indexes]
    colours = [b for b, kind in zip(bands, kinds, strict=True) if kind != "alpha"] or bands
    levels = np.max(colours, axis=0).astype(np.float64)  # a mask may be drawn in any colour
    if kinds[0] == "palette":
        levels = _levels_of_palette(bands[0], source.colormap(1))
    alpha = next((b for b, kind in zip(bands, kinds, strict=True) if kind == "alpha"), None)
    if alpha is None or alpha.min() == alpha.max():
        return levels, [], bands[0]
    opaque = alpha > _HALF * alpha.max()
    if _is_drawn(levels[opaque]):  # then what is transparent is background
        return np.where(opaque, levels, 0), ["counts where it is opaque and not black"], bands[0]
    return (
        alpha.astype(np.float64),
        ["has transparency, and its opaque part is taken for the specimen"],
        bands[0],
    )


def _is_drawn(levels: NDArray[np.float64]) -> bool:
    """Say whether there are black and white, and not much between as in a photograph."""
    top = levels.max()
    black, white = levels <= _NEARLY * top, levels >= (1 - _NEARLY) * top
    return bool(top > 0 and black.any() and white.any() and (black | white).mean() > 1 - _MAX_EDGE)


def _levels_of_palette(
    values: NDArray[np.generic], palette: dict[int, tuple[int, int, int, int]]
) -> NDArray[np.float64]:
    """Return brightness where many greys are numbered in any order, else the numbers themselves.

    The number is the label: programs show 0 as white, too (ImageJ's inverted tables).
    """
    used = {int(number): palette[int(number)] for number in np.unique(values)}
    grey = all(red == green == blue for red, green, blue, _ in used.values())
    if len(used) <= 2 or not grey:
        return values.astype(np.float64)
    table = np.zeros(max(used) + 1)
    for number, colour in used.items():
        table[number] = colour[0]
    found: NDArray[np.float64] = table[values.astype(np.intp)]
    return found


def _threshold(values: NDArray[np.float64], path: Path) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which pixels are specimen, and how soft ones were cut."""
    top = float(values.max(initial=0))
    marked = values != 0
    levels = np.unique(values[marked])
    if len(levels) <= 1 or values.min() < 0:
        return marked, []
    between = (values > _NEARLY * top) & (values < (1 - _NEARLY) * top)
    if _is_labels(values, levels, between):
        return marked, [f"is a label image: all of its {len(levels)} values are specimen"]
    share = float(between.mean())
    if share > _MAX_SOFT:
        raise CubeError(
            f"The mask {path} is no mask: {share:.0%} of its pixels are neither black nor white. "
            "Save one with two values, or set data.mask=otsu or none."
        )
    cut = values >= _HALF * top
    changed = int((cut != marked).sum())
    text = (
        f"has soft edges or losses of its format: values from {_HALF * top:g} on are specimen (of "
        f"0 to {top:g}), which leaves out {changed} pixels above 0"
    )
    return cut, [text] if changed else []


def _is_labels(
    values: NDArray[np.float64], levels: NDArray[np.float64], between: NDArray[np.bool_]
) -> bool:
    """Say whether the values are numbers of specimens: whole areas have one, as no edge has."""
    if (levels % 1).any():
        return False
    if levels[-1] <= _MAX_LABELS:
        return True
    wide = np.pad(values, 1, mode="edge")
    height, width = values.shape
    shifted = [wide[r : r + height, c : c + width] for r in range(3) for c in range(3)]
    flat = np.all([one == values for one in shifted], axis=0) & between
    return bool(2 * flat.sum() > between.sum())


def _orientation(specimen: NDArray[np.bool_]) -> list[str]:
    """Say when the background seems to be marked: most of the border is, more than the inside."""
    border = np.zeros(specimen.shape, bool)
    border[[0, -1], :] = border[:, [0, -1]] = True
    inside = specimen[~border]
    share = float(specimen[border].mean())
    if not inside.size or share <= 0.5 or share <= inside.mean():
        return []
    return [
        f"marks {share:.0%} of the frame's border and {inside.mean():.0%} of what is within: is it "
        "inverted? White (not 0) is specimen; invert the picture if it marks the background"
    ]
