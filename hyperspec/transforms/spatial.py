"""The spatial part of a view: crop, rotation and flips as one matrix, one warp, and a blur.

Pixel coordinates count pixel centres from 0 (x to the right, y down), and corner centres map onto
corner centres, as in kornia with ``align_corners=True``. The matrices map **source pixels to view
pixels**, like kornia's ``transform_matrix``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  # the name that torch's own documentation uses
from kornia.augmentation import random_generator
from torch import Tensor

from hyperspec.transforms.config import ViewsConfig
from hyperspec.utils.device_kind import kind_of


class SpatialSampler:
    """Draws one composed matrix per specimen from kornia's parameter generators.

    The order is rotation about the centre, crop and resize, flips. (Cropping first would let a
    composed warp see pixels outside the crop, which a chain of operations has cut away.) Images
    and views are square, of ``source_size`` and ``size`` pixels.
    """

    def __init__(self, config: ViewsConfig, source_size: int, size: int) -> None:
        self.source_size = source_size
        self.size = size
        self._rotation = (
            random_generator.PlainUniformGenerator(
                ((-config.rotation_deg, config.rotation_deg), "degrees", 0.0, (-360.0, 360.0))
            )
            if config.rotation_deg
            else None
        )
        self._crop = (
            random_generator.ResizedCropGenerator(
                (size, size),
                (config.crop_min, config.crop_max),
                (1 / config.crop_ratio, config.crop_ratio),
            )
            if config.crops
            else None
        )
        self._flips = [
            random_generator.ProbabilityGenerator(p)
            for p in (config.flip_horizontal, config.flip_vertical)
        ]

    def draw(self, batch: int) -> Tensor:
        """Return matrices from source to view pixels, shape ``(batch, 3, 3)``, float64 on the CPU.

        Uses the CPU's default generator.
        """
        shape = torch.Size((batch, 1, self.source_size, self.source_size))
        matrix = torch.eye(3, dtype=torch.float64).repeat(batch, 1, 1)
        if self._rotation is not None:
            matrix = rotation_matrix(self._rotation(shape)["degrees"], self.source_size)
        if self._crop is not None:
            corners = self._crop(shape)["src"]
        else:
            last = float(self.source_size - 1)
            whole = torch.tensor([[0.0, 0.0], [last, 0.0], [last, last], [0.0, last]])
            corners = whole.expand(batch, 4, 2)
        matrix = crop_matrix(corners, self.size) @ matrix
        flipped = [flip(shape)["probs"] for flip in self._flips]
        return flip_matrix(flipped[0], flipped[1], self.size) @ matrix


def rotation_matrix(degrees: Tensor, size: int) -> Tensor:
    """Return rotations about the centre, counter-clockwise as displayed, ``(B, 3, 3)`` float64.

    Angles ``(B,)`` are in degrees; images have ``size`` pixels along each side.
    """
    angle = torch.deg2rad(degrees.double())
    cos, sin = torch.cos(angle), torch.sin(angle)
    centre = (size - 1) / 2
    matrix = torch.eye(3, dtype=torch.float64).repeat(len(degrees), 1, 1)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, sin
    matrix[:, 1, 0], matrix[:, 1, 1] = -sin, cos
    matrix[:, 0, 2] = centre - centre * (cos + sin)
    matrix[:, 1, 2] = centre - centre * (cos - sin)
    return matrix


def crop_matrix(corners: Tensor, size: int) -> Tensor:
    """Return the maps of crop boxes onto the whole view, ``(B, 3, 3)`` float64.

    Args:
        corners: Corner pixels (x, y) from the top left clockwise, both ends included,
            shape ``(B, 4, 2)``.
        size: Height and width of the view in pixels.
    """
    first, last = corners[:, 0].double(), corners[:, 2].double()
    # A box of one pixel has no extent; it is shown as if it were two wide.
    scale = (size - 1) / (last - first).clamp(min=1)
    matrix = torch.eye(3, dtype=torch.float64).repeat(len(corners), 1, 1)
    matrix[:, 0, 0], matrix[:, 1, 1] = scale[:, 0], scale[:, 1]
    matrix[:, :2, 2] = -scale * first
    return matrix


def flip_matrix(horizontal: Tensor, vertical: Tensor, size: int) -> Tensor:
    """Return flips of views of ``size`` pixels, left-right and up-down, ``(B, 3, 3)`` float64.

    ``horizontal`` and ``vertical`` are boolean, ``(B,)``.
    """
    matrix = torch.eye(3, dtype=torch.float64).repeat(len(horizontal), 1, 1)
    for axis, flipped in enumerate((horizontal, vertical)):
        matrix[:, axis, axis] = torch.where(flipped, -1.0, 1.0).double()
        matrix[:, axis, 2] = torch.where(flipped, size - 1.0, 0.0).double()
    return matrix


def warp_affine(x: Tensor, inverse: Tensor, size: int) -> Tensor:
    """Resample images ``(B, k, H, W)``; see :func:`resample`.

    ``inverse`` maps view pixels to source pixels, shape ``(B, 3, 3)``.
    """
    height, width = x.shape[-2:]
    return resample(x, unit_map(inverse, (height, width), size), size)


def unit_map(inverse: Tensor, source: tuple[int, int], size: int) -> Tensor:
    """Return maps from view to source in units of half an image, as ``grid_sample`` wants them.

    On the CPU, please: an inverse on a GPU makes the host wait for its error code.

    Args:
        inverse: Maps from view pixels to source pixels, shape ``(B, 3, 3)``.
        source: Height and width of the images in pixels.
        size: Height and width of the views in pixels.

    Returns:
        Shape ``(B, 2, 3)``, in the dtype of ``inverse``.
    """
    to_unit = _pixels_to_unit(*source, inverse)
    from_unit = torch.linalg.inv(_pixels_to_unit(size, size, inverse))
    mapped: Tensor = to_unit @ inverse @ from_unit
    return mapped[:, :2]


def resample(x: Tensor, theta: Tensor, size: int) -> Tensor:
    """Resample images ``(B, k, H, W)`` bilinearly; pixels from outside the image are 0.

    ``theta`` is a :func:`unit_map`, shape ``(B, 2, 3)``.

    Returns:
        Views, shape ``(B, k, size, size)``, in the dtype of ``x``; half precision is resampled in
        float32, since 8 bits cannot hold a coordinate.
    """
    work = torch.float64 if x.dtype == torch.float64 else torch.float32
    with torch.autocast(x.device.type, enabled=False):  # which would shorten the coordinates
        grid = F.affine_grid(theta.to(work), [len(x), 1, size, size], align_corners=True)
    warped = F.grid_sample(x.to(work), grid, padding_mode="zeros", align_corners=True)
    return warped.to(x.dtype)


def neighbours(theta: Tensor, source_size: int, size: int) -> tuple[Tensor, Tensor]:
    """Return between which four source pixels each pixel of a view lies, and their weights.

    As in :func:`resample`, which ``theta`` is from; pixels outside the image have the weight 0.

    Returns:
        Places in the flattened image and weights, each of shape ``(B, size * size, 4)``.
    """
    grid = F.affine_grid(theta, [len(theta), 1, size, size], align_corners=True).flatten(1, 2)
    place = (grid + 1) * ((source_size - 1) / 2)
    first = place.floor()
    ends = torch.stack([first, first + 1], -1)
    share = torch.stack([first + 1 - place, place - first], -1)
    share = share * ((ends >= 0) & (ends < source_size))
    (x, y), (across, down) = ends.clamp(0, source_size - 1).long().unbind(2), share.unbind(2)
    index = y[..., :, None] * source_size + x[..., None, :]
    return index.flatten(2), (down[..., :, None] * across[..., None, :]).flatten(2)


def _pixels_to_unit(height: int, width: int, like: Tensor) -> Tensor:
    """Map pixel centres 0 ... W-1 onto -1 ... 1, as ``grid_sample`` wants them."""
    x, y = 2 / max(width - 1, 1), 2 / max(height - 1, 1)
    rows = [[x, 0.0, -1.0], [0.0, y, -1.0], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def gaussian_blur(x: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur square views ``(B, k, s, s)`` by two matrix products each; outside the view is 0.

    The standard deviations ``(B,)`` are in pixels; 0 leaves a view as it is.
    """
    matrices = blur_matrices(sigma_px, x.shape[-1]).to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):  # in the type of the views, as the warp
        if kind_of(x.device) != "cpu":
            return matrices[:, None] @ x @ matrices[:, None].mT
        # One by one: a product with one matrix is one large product, with B of them B k small ones.
        return torch.stack([m @ one @ m.mT for m, one in zip(matrices, x, strict=True)])


def blur_matrices(sigma_px: Tensor, size: int) -> Tensor:
    """Return the matrices that blur lines of so many pixels, shape ``(B, size, size)``."""
    offsets = torch.arange(1 - size, size, device=sigma_px.device, dtype=torch.float32)
    sigma = sigma_px.float().clamp(min=1e-3)[:, None]
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    place = torch.arange(size, device=sigma_px.device)
    return kernel[:, place[None, :] - place[:, None] + size - 1]
