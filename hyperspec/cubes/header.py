"""ENVI headers."""

from __future__ import annotations

from typing import Final

import numpy as np

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
