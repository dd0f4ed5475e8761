"""Answers that a cube's files may not give themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BAND_PLACES: Final = ("auto", "first", "middle", "last")


@dataclass(frozen=True)
class ReadOptions:
    """How files are read that leave something open.

    Args:
        trailing_bytes: What happens with bytes behind the values that a header declares: ``refuse``
            the file, since a header of another cube looks just like that, or ``ignore`` them.
        array_key: Name of the cube in a file of several arrays (``.mat``); None takes the only one
            of three dimensions.
        array_bands: Which dimension of an array holds the bands: ``first``, ``middle``, ``last``,
            or ``auto``: the one that is as long as the axis.
    """

    trailing_bytes: str = "refuse"
    array_key: str | None = None
    array_bands: str = "auto"


AS_THEY_ARE: Final = ReadOptions()
