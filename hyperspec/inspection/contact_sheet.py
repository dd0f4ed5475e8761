"""A contact sheet of views, so that a person can judge what an encoder is shown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that torch's own documentation uses
from numpy.typing import NDArray
from torch import Tensor

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.colour import RGB_NM
from hyperspec.spectra.statistics import REFLECTANCE
from hyperspec.transforms.augment import Views
from hyperspec.transforms.config import CrossModalViews, ViewsConfig
from hyperspec.transforms.spectral import mean_spectra
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Outside this range the nearest bands to red, green and blue would all be one.
VISIBLE_NM = (430.0, 670.0)
# Displays expect about this power of linear light.
DISPLAY_GAMMA = 1 / 2.2
# Bright pixels beyond this quantile of the original are shown white.
WHITE_QUANTILE = 0.99
MAX_VIEWS = 40


@dataclass(frozen=True)
class SheetViews:
    """The original (row 0) and its views, as they are drawn.

    Args:
        images: Reflectance, 0 outside the foreground, shape ``(1 + views, n, size, size)``.
        masks: Foreground, shape ``(1 + views, 1, size, size)``, bool.
        spectra: Mean foreground spectra, shape ``(1 + views, n)``.
    """

    images: Tensor
    masks: Tensor
    spectra: Tensor


def contact_sheet(
    image: NDArray[np.float32],
    axis: SpectralAxis,
    config: ViewsConfig,
    path: Path,
    *,
    mask: NDArray[np.bool_] | None = None,
    num_views: int = 8,
    size: int = 128,
    seed: int = 0,
    quantity: str = REFLECTANCE,
) -> Path:
    """Write a PNG of random views of one specimen: colour renderings above their spectra.

    Each view's panel shows its mean foreground spectrum and one pixel's (thin), over the
    original's mean (black). All pictures share one brightness, so that illumination is seen.
    Windows of :class:`CrossModalViews` are shaded and named.

    Args:
        image: Reflectance, shape ``(n, H, W)``; the middle square is used. NaN counts as
            background.
        axis: Wavelengths of these n bands.
        config: Settings of the views.
        path: The PNG to write.
        mask: Foreground, shape ``(H, W)``; by default every pixel without NaN.
        num_views: Number of views, 1 to 40.
        size: Height and width of the views in pixels.
        seed: Seed of the views.
        quantity: What the values are: ``statistics.quantity`` of the cube.

    Returns:
        The path that was written.

    Raises:
        ConfigError: If the number of views is outside its range, or image, axis and mask do not
            fit each other.
    """
    if not 1 <= num_views <= MAX_VIEWS:
        raise ConfigError(
            f"A contact sheet of {num_views} views was asked for; give 1 to {MAX_VIEWS}."
        )
    if image.ndim != 3 or len(image) != len(axis):
        raise ConfigError(
            f"The image has shape {image.shape}, but the axis has {len(axis)} bands; a contact "
            "sheet needs (bands, height, width)."
        )
    if mask is not None and mask.shape != image.shape[1:]:
        raise ConfigError(f"The mask has shape {mask.shape}, but the image {image.shape[1:]}.")
    sheet = make_views(image, axis, config, mask, num_views, size, seed)
    windows = config.windows_nm if isinstance(config, CrossModalViews) else {}
    figure = _draw(sheet, axis, windows, quantity)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path


def make_views(
    image: NDArray[np.float32],
    axis: SpectralAxis,
    config: ViewsConfig,
    mask: NDArray[np.bool_] | None,
    num_views: int,
    size: int,
    seed: int,
) -> SheetViews:
    """Draw and apply the views of one image; arguments as for :func:`contact_sheet`."""
    pixels, valid = _square(image, mask, size)
    views = Views(
        config, axis.wavelengths_nm, size, fill=mean_spectra(pixels, valid)[0].double().numpy()
    )
    params = views.draw(num_views, torch.Generator().manual_seed(seed))
    repeated, masks = pixels.expand(num_views, -1, -1, -1), valid.expand(num_views, -1, -1, -1)
    made = views.warp(views.spectral(repeated, params, masks), params)
    seen = views.warp(masks.float(), params) > 0.5
    images, masks = torch.cat([pixels, made]), torch.cat([valid, seen])
    return SheetViews(images, masks, mean_spectra(images, masks))


def _square(
    image: NDArray[np.float32], mask: NDArray[np.bool_] | None, size: int
) -> tuple[Tensor, Tensor]:
    """Cut the middle square and resize it; background becomes 0."""
    side = min(image.shape[1:])
    top, left = ((extent - side) // 2 for extent in image.shape[1:])
    cut = np.asarray(image[:, top : top + side, left : left + side], np.float32)
    valid = np.isfinite(cut).all(0)
    if mask is not None:
        valid &= mask[top : top + side, left : left + side]
    weights = torch.as_tensor(valid)[None, None].float()
    filled = torch.as_tensor(np.nan_to_num(cut, posinf=0, neginf=0))[None] * weights
    share = _resize(weights, size)
    foreground = share > 0.5
    # Divided by the share of foreground, the border does not darken.
    return _resize(filled, size) / share.clamp(min=0.5) * foreground, foreground


def _resize(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True)


def rgb_bands(axis: SpectralAxis) -> list[int]:
    """Return the bands to show as red, green and blue; evenly spread outside the visible."""
    low, high = axis.range_nm
    if low <= VISIBLE_NM[0] and high >= VISIBLE_NM[1]:
        return [axis.nearest(nm) for nm in RGB_NM]
    return [axis.nearest(low + share * (high - low)) for share in (0.9, 0.5, 0.1)]


def _draw(
    sheet: SheetViews,
    axis: SpectralAxis,
    windows: Mapping[str, Sequence[float]],
    quantity: str = REFLECTANCE,
) -> Figure:
    # Without pyplot there is no global state and no display to look for.
    from matplotlib.figure import Figure

    columns = min(4, len(sheet.images) - 1) + 1
    rows = -(-(len(sheet.images) - 1) // (columns - 1))
    figure = Figure(figsize=(2.6 * columns, 4.0 * rows + 0.5), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 2] * rows)
    for panel in grid.ravel():
        panel.set_axis_off()
    bands = rgb_bands(axis)
    shown = sheet.images[:, bands].numpy()
    inside = shown[0][:, sheet.masks[0, 0].numpy()]
    white = max(float(np.quantile(inside, WHITE_QUANTILE)), 1e-6) if inside.size else 1.0
    pictures = np.clip(shown.transpose(0, 2, 3, 1) / white, 0, 1) ** DISPLAY_GAMMA
    top = 1.1 * max(float(sheet.spectra.max()), 1e-6)
    for index, picture in enumerate(pictures):
        row, column = divmod(index - 1, columns - 1) if index else (0, -1)
        above, below = grid[2 * row, column + 1], grid[2 * row + 1, column + 1]
        above.imshow(picture, interpolation="nearest")
        above.set_title(f"view {index}" if index else "original", fontsize=9)
        _draw_spectra(below, sheet, index, axis, top)
        if not index:
            below.set_ylabel(quantity, fontsize=7)
        _shade(below, windows, axis)
    red, green, blue = (axis.wavelengths_nm[band] for band in bands)
    title = (
        f"{len(axis)} bands; pictures: red, green, blue at {red:.0f}, {green:.0f}, {blue:.0f} nm; "
        "spectra: mean of the original (black), of the view (red), one pixel (grey)"
        + ("; shaded: windows that are compared with each other" if windows else "")
    )
    figure.suptitle(textwrap.fill(title, 32 * columns), fontsize=9)
    return figure


def _draw_spectra(
    panel: Axes, sheet: SheetViews, index: int, axis: SpectralAxis, top: float
) -> None:
    panel.set_axis_on()
    order = np.argsort(axis.wavelengths_nm)
    nm = axis.wavelengths_nm[order]
    marker = "o" if len(axis) == 1 else None
    panel.plot(nm, sheet.spectra[0].numpy()[order], color="black", lw=1.2, marker=marker)
    if index:
        inside = sheet.masks[index, 0].nonzero()
        if len(inside):
            row, column = inside[len(inside) // 2].tolist()
            one = sheet.images[index, :, row, column].numpy()
            panel.plot(nm, one[order], color="0.7", lw=0.5, marker=marker, zorder=0)
        panel.plot(nm, sheet.spectra[index].numpy()[order], color="C3", lw=1.2, marker=marker)
    panel.set_ylim(0, top)
    panel.tick_params(labelsize=7)
    panel.set_xlabel("nm", fontsize=7)


def _shade(panel: Axes, windows: Mapping[str, Sequence[float]], axis: SpectralAxis) -> None:
    """Mark the windows in which the cube has a band, by name, under its spectra."""
    limits = panel.get_xlim()
    for number, (name, (low, high)) in enumerate(windows.items()):
        inside = axis.wavelengths_nm[(axis.wavelengths_nm >= low) & (axis.wavelengths_nm < high)]
        if not len(inside):
            continue
        left, right = max(low, limits[0]), min(high, limits[1])
        panel.axvspan(left, right, color=f"C{number % 10}", alpha=0.15, lw=0, zorder=-1)
        panel.text(
            (left + right) / 2, 0.97, name, fontsize=6, ha="center", va="top",
            rotation=90 if right - left < 0.2 * (limits[1] - limits[0]) else 0,
            transform=panel.get_xaxis_transform(),
        )  # fmt: skip
    panel.set_xlim(limits)
