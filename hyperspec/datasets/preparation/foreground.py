"""Which pixels are specimen: a mask image, Otsu's threshold, or the whole frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.files import MASK_SUFFIXES
from hyperspec.cubes.mask_image import read_mask
from hyperspec.utils.errors import CubeError

# Share of the variance that Otsu's split explains. Half a Gaussian against its other half reaches
# 2/pi = 0.637 (Otsu 1979, eq. 17, with two half-normal means), so a split no better than that has
# found noise, not a specimen. The margin covers a histogram of a few hundred pixels.
MIN_SEPARABILITY = 0.67
OTSU_BINS = 256


def foreground(
    image: NDArray[np.float32],
    good: NDArray[np.bool_],
    method: str,
    mask_file: Path | None,
) -> NDArray[np.bool_]:
    """Find the specimen's pixels in an image of all bands, ``(C, H, W)``.

    ``good`` says which bands are usable, ``(C,)``; for the rest see :func:`foreground_of`.
    """
    mean = mean_over_good(image, good)
    return foreground_of(mean, method, mask_file, lambda: _worst_band(image, good))


def foreground_of(
    mean: NDArray[np.float32],
    method: str,
    mask_file: Path | None,
    worst_band: Callable[[], int],
) -> NDArray[np.bool_]:
    """Find the specimen's pixels by their brightness.

    Args:
        mean: Mean reflectance over the good bands, shape ``(H, W)``; NaN where one has no data.
        method: ``image`` needs a mask file; ``otsu`` thresholds the mean over the good bands;
            ``none`` takes the whole frame; ``auto`` takes the image when there is one, else Otsu,
            else, where Otsu finds nothing, the whole frame.
        mask_file: The mask image beside the cube, when there is one.
        worst_band: Says which band lacks most values, for the message when all pixels lack one.

    Returns:
        Shape ``(H, W)``; never True where a good band is not finite.

    Raises:
        CubeError: If the method finds no specimen; the message says why.
    """
    valid = np.isfinite(mean)
    if not valid.any():
        raise CubeError(
            "every pixel has a good band without a value (NaN, nodata or a dead calibration "
            f"element; most often band {worst_band()}). Mark that band bad in the "
            "header (bbl), or check the calibration frames (data.calibrate=never goes without)."
        )
    found: NDArray[np.bool_] | None = None
    if method in ("auto", "image") and mask_file is not None:
        found = read_mask(mask_file, mean.shape).specimen
    elif method == "image":
        raise CubeError(
            "data.mask=image needs a mask image beside each cube, named like the cube with "
            f"{', '.join(MASK_SUFFIXES[:4])}, ... at the end. Add it, or set data.mask=auto."
        )
    elif method in ("auto", "otsu"):
        found = otsu_foreground(mean)
        if found is None and method == "otsu":
            raise CubeError(
                "Otsu's threshold finds no specimen: the brightness has one peak only. Add a mask "
                "image, or set data.mask=auto or none."
            )
    result = valid if found is None else valid & found
    if not result.any():
        raise CubeError(
            f"no pixel of the mask ({mask_file or 'Otsu'}) has values in all good bands. Mend the "
            "mask, or set data.mask=none."
        )
    return result


def mean_over_good(image: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the mean over the good bands, shape ``(H, W)``; NaN where one of them is not finite.

    An infinite value gives an infinite or NaN mean, which is not finite either.
    """
    # Plane by plane: image[good] would copy the cube.
    total = np.zeros(image.shape[1:], np.float64)
    for band in np.flatnonzero(good):
        total += image[band]
    return (total / max(int(good.sum()), 1)).astype(np.float32)


def otsu_foreground(mean: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Split a brightness image in two and return the side that is not background.

    The background is the side that most of the frame's border belongs to: specimens lie dark on
    white paper as well as bright on black cloth.

    Args:
        mean: Brightness, shape ``(H, W)``; values that are not finite belong to neither side.

    Returns:
        The specimen, or None when the brightness does not fall in two parts.
    """
    finite = np.isfinite(mean)
    threshold = otsu_threshold(mean[finite])
    if threshold is None:
        return None
    bright = finite & (mean > threshold)
    border = np.zeros(mean.shape, bool)
    border[[0, -1], :] = border[:, [0, -1]] = True
    border &= finite
    background_is_bright = 2 * int(bright[border].sum()) > int(border.sum())
    return finite & ~bright if background_is_bright else bright


def otsu_threshold(values: NDArray[np.float32]) -> float | None:
    """Return the threshold with the largest variance between the two classes.

    Args:
        values: Finite brightness values, any number, shape ``(P,)``.

    Returns:
        The upper edge of the last bin of the dark class, or None when the split explains less
        than ``MIN_SEPARABILITY`` of the variance.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms", eq. 18 (variance
        between classes) over 256 bins, and eq. 17 (separability).
    """
    if values.size == 0:
        return None
    low, high = float(values.min()), float(values.max())
    # Bins narrower than float32 can resolve would be noise of rounding.
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return None
    counts, edges = np.histogram(values.astype(np.float64), bins=OTSU_BINS, range=(low, high))
    share = counts / counts.sum()
    level = np.arange(OTSU_BINS)
    below = share.cumsum()
    weighted = (share * level).cumsum()
    total = weighted[-1]
    inside = (below > 0) & (below < 1)
    between = np.zeros(OTSU_BINS)
    b, w = below[inside], weighted[inside]
    between[inside] = (total * b - w) ** 2 / (b * (1 - b))
    best = int(between.argmax())
    variance = float((share * (level - total) ** 2).sum())
    if variance == 0 or between[best] < MIN_SEPARABILITY * variance:
        return None
    return float(edges[best + 1])


def worst_of(missing: NDArray[np.integer], good: NDArray[np.bool_]) -> int:
    """Return the good band with the most missing values, given their number in each band."""
    return int(np.where(good, missing, -1).argmax())


def _worst_band(image: NDArray[np.float32], good: NDArray[np.bool_]) -> int:
    missing = [
        (~np.isfinite(plane)).sum() if ok else 0 for plane, ok in zip(image, good, strict=True)
    ]
    return worst_of(np.asarray(missing), good)
