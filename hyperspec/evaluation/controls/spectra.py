"""Mean spectra of specimens: the control ``mean_spectrum``, and what ``pls_da``, ``lda`` take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_spectra(
    images: NDArray[np.floating], masks: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the mean spectrum of each image's specimen: the control ``mean_spectrum``.

    Args:
        images: Reflectance, ``(N, n, S, S)``; NaN pixels do not count.
        masks: True on the specimen, ``(N, S, S)``; None takes the whole frame. An image whose mask
            is empty is averaged over its whole frame, as no specimen was found to stay within.

    Returns:
        Mean reflectance, ``(N, n)``; 0 for a band without a single finite pixel.

    Raises:
        ValueError: If shapes do not fit.
    """
    num, bands, height, width = images.shape
    if masks is None:
        masks = np.ones((num, height, width), dtype=bool)
    if masks.shape != (num, height, width):
        raise ValueError(f"masks of shape {masks.shape} do not fit images of {images.shape}.")
    means = np.zeros((num, bands))
    for i, image in enumerate(images):  # one image at a time: planes may live in a memory map
        mask = masks[i] if masks[i].any() else np.ones_like(masks[i])
        spectra = np.asarray(image[:, mask], np.float64)
        finite = np.isfinite(spectra)
        counts = finite.sum(1)
        means[i] = np.where(finite, spectra, 0.0).sum(1) / np.maximum(counts, 1)
    return means
