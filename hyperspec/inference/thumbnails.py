"""Small pictures of specimens for people: as the eye sees them, at single bands, mean spectra."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from hyperspec.datasets.store.source import SpecimenSource
from hyperspec.evaluation.controls.spectra import mean_spectra
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.colour import (
    WHITE_QUANTILE,
    ColourWeights,
    band_picture,
    bright_part,
    colour_weights,
    exposure_of,
    nearest_bands,
    srgb_picture,
)
from hyperspec.spectra.statistics import REFLECTANCE
from hyperspec.utils.progress import progress

Bytes = NDArray[np.uint8]
Floats32 = NDArray[np.float32]

# An axis that misses more of what the eye sees gives no colour worth that name.
_LEAST_COVERAGE = 0.9
# Displays expect about this power of linear light.
_DISPLAY_GAMMA = 1 / 2.2


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Pictures of N images, s pixels high and wide.

    Args:
        rows: Rows of the source, ``(N,)``.
        colour: In colour, ``(N, s, s, 3)``; of one exposure, so that dark specimens stay dark.
        colour_name: What the colours are, in words.
        masks: Foreground, ``(N, s, s)``.
        bands: Bands of the axis that are shown, ascending in nm, ``(B,)``.
        planes: The images at these bands, ``(B, N, s, s)``; white is the 0.995 quantile of all
            images at the band, so that specimens compare.
        spectra: Mean spectra of the foreground at all C bands, ``(N, C)``.
    """

    rows: NDArray[np.intp]
    colour: Bytes
    colour_name: str
    masks: NDArray[np.bool_]
    bands: tuple[int, ...]
    planes: Bytes
    spectra: Floats32

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return int(self.masks.shape[1])

    def smaller(self, size: int, num_bands: int) -> Thumbnails:
        """Return pictures of ``size`` pixels at most, at ``num_bands`` bands at most."""
        kept = np.linspace(0, len(self.bands) - 1, min(num_bands, len(self.bands)))
        places = sorted({int(place) for place in kept.round()})
        pictures = np.concatenate([self.planes[places], np.moveaxis(self.colour, 3, 0)])
        shrunk, masks = _shrink(pictures.astype(np.float32), self.masks, min(size, self.size))
        small = np.rint(shrunk).astype(np.uint8)
        return replace(
            self,
            colour=np.moveaxis(small[-3:], 0, 3),
            masks=masks,
            bands=tuple(self.bands[place] for place in places),
            planes=small[:-3],
        )


def take_thumbnails(
    source: SpecimenSource,
    rows: Sequence[int],
    *,
    size: int,
    bands: Sequence[int],
    quantity: str = REFLECTANCE,
) -> Thumbnails:
    """Read images one by one, and keep a small picture and the mean spectrum of each.

    Args:
        source: The specimens.
        rows: Rows of its table, at least one.
        size: Height and width of the pictures; at most those of the images are taken.
        bands: Bands to show.
        quantity: What the values are; anything but reflectance is shown by its brightest pixels.
    """
    size = min(size, source.size)
    weights = colour_weights(source.axis)
    if weights is not None and weights.coverage < _LEAST_COVERAGE:
        weights = None
    ordered = sorted(bands, key=lambda band: float(source.axis.wavelengths_nm[band]))
    light = np.empty((3, len(rows), size, size), np.float32)
    planes = np.empty((len(ordered), len(rows), size, size), np.float32)
    masks = np.empty((len(rows), size, size), bool)
    spectra = np.empty((len(rows), len(source.axis)), np.float32)
    with progress("Taking pictures", len(rows)) as advance:
        for place, row in enumerate(rows):
            image, mask = source.planes([row]), source.masks([row])
            spectra[place] = mean_spectra(image, mask)[0]
            values = np.nan_to_num(image[0].astype(np.float32))
            shown = np.concatenate([_light(values, source.axis, weights), values[ordered]])
            shrunk, masks[place : place + 1] = _shrink(shown[:, None], mask, size)
            light[:, place], planes[:, place] = shrunk[:3, 0], shrunk[3:, 0]
            advance()
    colour, name = _colour(light, masks, source.axis, weights, quantity)
    return Thumbnails(
        np.asarray(rows, np.intp),
        colour,
        name,
        masks,
        tuple(ordered),
        np.stack([_grey(plane, masks) for plane in planes]) if ordered else planes.astype(np.uint8),
        spectra,
    )


def spread_bands(axis: SpectralAxis, chosen: Sequence[int], count: int) -> list[int]:
    """Return bands to show: half of them of the chosen ones, the others where the axis is empty.

    Args:
        axis: All bands.
        chosen: Bands that a strategy chose.
        count: How many, 1 or more; at most all good ones are returned.
    """
    nm, good = axis.wavelengths_nm, [int(band) for band in axis.good_indices]
    own = sorted({int(band) for band in chosen} & set(good), key=lambda band: float(nm[band]))
    places = np.linspace(0, len(own) - 1, min(len(own), count // 2)).round().astype(int)
    found = list(dict.fromkeys(own[place] for place in places))
    by_nm = sorted(good, key=lambda band: float(nm[band]))
    found = list(dict.fromkeys([*found, by_nm[0], by_nm[-1]]))[:count]
    away = np.min([np.abs(nm[good] - nm[band]) for band in found], axis=0)
    while len(found) < count and away.max() > 0:
        found.append(good[int(away.argmax())])
        away = np.minimum(away, np.abs(nm[good] - nm[found[-1]]))
    return sorted(found, key=lambda band: float(nm[band]))


def as_png(colour: Bytes, mask: NDArray[np.bool_]) -> bytes:
    """Return a picture ``(s, s, 3)`` as a PNG whose background is transparent."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    alpha = mask[..., None] * np.uint8(255)
    imsave(buffer, np.concatenate([colour, alpha], axis=2), format="png")
    return buffer.getvalue()


def _light(values: Floats32, axis: SpectralAxis, weights: ColourWeights | None) -> Floats32:
    """Return CIE XYZ, or the bands nearest to red, green and blue: ``(3, S, S)``."""
    if weights is None:
        return values[nearest_bands(axis)]
    return np.tensordot(weights.weights.T, values[weights.bands], axes=1).astype(np.float32)


def _shrink(
    images: Floats32, masks: NDArray[np.bool_], size: int
) -> tuple[Floats32, NDArray[np.bool_]]:
    """Average pixels of the foreground: ``(K, N, S, S)`` and ``(N, S, S)`` to ``size``."""
    if size >= masks.shape[-1]:
        return images * masks, masks
    cover = torch.from_numpy(masks[:, None].astype(np.float32))  # a copy: stores are read-only
    share = interpolate(cover, (size, size), mode="area")
    weighted = torch.as_tensor(images * masks).movedim(0, 1)
    # Divided by the share of foreground, the border does not darken.
    small = interpolate(weighted, (size, size), mode="area") / share.clamp(min=0.5)
    inside = share >= 0.5
    return (small * inside).movedim(1, 0).numpy(), inside[:, 0].numpy()


def _colour(
    light: Floats32,
    masks: NDArray[np.bool_],
    axis: SpectralAxis,
    weights: ColourWeights | None,
    quantity: str,
) -> tuple[Bytes, str]:
    flat = light.reshape(3, -1, light.shape[-1])
    inside = light[1][masks] if masks.any() else light[1]
    if weights is not None:
        exposure = exposure_of(inside, quantity == REFLECTANCE)
        return srgb_picture(flat, exposure).reshape(*light.shape[1:], 3), "colour as seen (CIE)"
    shown = light[:, masks] if masks.any() else light
    nm = ", ".join(f"{axis.wavelengths_nm[band]:.0f}" for band in nearest_bands(axis))
    picture = band_picture(flat, 1 / bright_part(shown)).reshape(*light.shape[1:], 3)
    return picture, f"red, green, blue at {nm} nm"


def _grey(plane: Floats32, masks: NDArray[np.bool_]) -> Bytes:
    inside = plane[masks]
    white = float(np.quantile(inside, WHITE_QUANTILE)) if inside.size else 1.0
    level = np.clip(plane / (white if white > 0 else 1.0), 0, 1) ** _DISPLAY_GAMMA
    return np.asarray(np.rint(level * 255), np.uint8)
