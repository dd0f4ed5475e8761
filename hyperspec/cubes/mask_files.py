"""Mask files that lie beside cubes."""

from __future__ import annotations

from pathlib import Path

from hyperspec.cubes.files import bare_name
from hyperspec.utils.errors import CubeError

MASK_SUFFIXES = ("_mask.png", "_mask.tif", "_mask.tiff", "_mask.npy")


def find_mask(path: Path) -> Path | None:
    """Return the mask image beside a cube (``x.bil`` -> ``x_mask.png``), or None.

    That of a band set lies beside its folder under the folder's name, or in it under any name.

    Args:
        path: The cube's data file, or the folder of a band set.

    Raises:
        CubeError: If several masks lie in the folder of a band set.
    """
    for suffix in MASK_SUFFIXES:
        candidate = path.with_name(bare_name(path) + suffix)
        if candidate.is_file():
            return candidate
    if not path.is_dir():
        return None
    within = sorted(p for p in path.iterdir() if p.name.endswith(MASK_SUFFIXES) and p.is_file())
    if len(within) > 1:
        raise CubeError(
            f"{path} holds several masks: {', '.join(p.name for p in within)}. Keep the one that "
            "belongs to the cube."
        )
    return within[0] if within else None
