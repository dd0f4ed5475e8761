"""Random views of specimens in two calls: draw the parameters, then apply them.

``draw`` makes every random parameter of one view of a batch; ``spectral`` and ``warp`` are then
plain functions of the images and these parameters. Between the two, training normalises and, with
a linear bias-free stem, projects the bands onto few channels: every spectral operation here is an
affine map over bands per specimen, so that the order does not change the result, and the warp acts
on few channels. ``project_view`` does the spectral part, a per-band affine normalisation and the
projection in one batched product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hyperspec.datasets.loading.packed_planes import StoredPlanes, project_stored
from hyperspec.transforms.config import ViewsConfig
from hyperspec.transforms.interleaved import interleaved, pays
from hyperspec.transforms.noise import NoiseSource
from hyperspec.transforms.sampler import ViewParams, ViewSampler
from hyperspec.transforms.spatial import gaussian_blur, resample
from hyperspec.transforms.spectral import (
    BandMap,
    axis_position,
    illumination,
    mean_spectra,
    noise_profile,
    shift_operator,
    smooth_operator,
)

__all__ = ["FoldedView", "ViewParams", "Views"]


@dataclass(frozen=True)
class FoldedView:
    """The spectral part of one view, a normalisation and a projection as one product over bands.

    Args:
        matrix: Shape ``(B, k, n)``, or ``(1, k, n)`` when nothing differs between specimens.
        constant: What the product adds, shape ``(B, k)`` or ``(1, k)``.
        noise: Turns standard normal numbers into projected noise, shape ``(k, j)``; None without.
        params: What was drawn for the view.
    """

    matrix: Tensor
    constant: Tensor
    noise: Tensor | None
    params: ViewParams


class Views(nn.Module):
    """Draws and applies random views.

    Args:
        config: Settings.
        wavelengths_nm: Centres of the chosen bands in channel order, shape ``(n,)``.
        size: Height and width of the views in pixels.
        source_size: Height and width of the images; the views' size by default.
        axis_range_nm: Ends of the whole sensor's axis in nanometres, so that tilt, curvature and
            the place of an erased window mean the same on every subset; the chosen bands' own
            ends by default.
        fill: Reflectance of erased and dropped bands, shape ``(n,)``: give the training part's
            mean, which standardising turns into 0. By default 0.
    """

    commutes: ClassVar[bool] = True
    """Whether a linear map over bands may be applied before the warp with the same result."""

    wavelengths_nm: Tensor
    position: Tensor
    noise_sd: Tensor
    fill: Tensor

    def __init__(
        self,
        config: ViewsConfig,
        wavelengths_nm: ArrayLike,
        size: int,
        *,
        source_size: int | None = None,
        axis_range_nm: tuple[float, float] | None = None,
        fill: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        centres = torch.as_tensor(np.array(wavelengths_nm, np.float64))
        if centres.ndim != 1 or not len(centres):
            raise ValueError(
                f"wavelengths_nm has shape {tuple(centres.shape)}; give one per band, at least one."
            )
        self.config = config
        self.size = size
        self.source_size = source_size or size
        self.axis_range_nm = axis_range_nm or (float(centres.min()), float(centres.max()))
        filling = np.zeros(len(centres)) if fill is None else np.array(fill, np.float64)
        if filling.shape != (len(centres),):
            raise ValueError(f"fill has shape {filling.shape}, but there are {len(centres)} bands.")
        position = axis_position(centres, self.axis_range_nm)
        level = noise_profile(position, config.noise_low_end, config.noise_high_end)
        for name, value in {
            "wavelengths_nm": centres,
            "position": position,
            "noise_sd": config.noise_sd * level,
            "fill": torch.as_tensor(filling),
        }.items():
            self.register_buffer(name, value.float(), persistent=False)
        self._sampler = ViewSampler(config, centres, self.axis_range_nm, self.source_size, size)
        self._noise = NoiseSource(self.source_size**2, config.noise_bank)

    @property
    def hints(self) -> tuple[str, ...]:
        """Settings that destroy features which the chosen bands could resolve, one line each."""
        if len(self.wavelengths_nm) == 1:
            return self.config.hints(float("inf"))
        return self.config.hints(float(self.wavelengths_nm.sort().values.diff().median()))

    def draw(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> ViewParams:
        """Draw the parameters of one view; call it once per view.

        See :meth:`ViewSampler.draw`; the device is by default this module's own.
        """
        return self._sampler.draw(batch_size, generator, device or self.noise_sd.device)

    def band_factor(self, params: ViewParams) -> Tensor | None:
        """Return the illumination factor per band, shape ``(B, n)``, or None for 1."""
        if params.light is None:
            return None
        gain, tilt, curvature = params.light.unbind(1)
        return illumination(self.position, gain, tilt, curvature)

    def band_map(self, x: Tensor | None, params: ViewParams, mask: Tensor | None = None) -> BandMap:
        """Compose all spectral operations but the noise.

        The order is mixing, shift, smoothing, illumination, erasing and dropping.

        Args:
            x: Images in reflectance, shape ``(B, n, H, W)``; only mixing looks at their values,
                and without it they may be None.
            params: Parameters from :meth:`draw`.
            mask: Foreground, shape ``(B, 1, H, W)``, or None for every pixel.
        """
        factor = self.band_factor(params)
        offset = None
        operators: tuple[Tensor, ...] = ()
        if params.shift_nm is not None:
            operators += (shift_operator(self.wavelengths_nm, params.shift_nm),)
        if params.smooth_fwhm_nm is not None:
            operators += (smooth_operator(self.wavelengths_nm, params.smooth_fwhm_nm),)
        if params.mix is not None and params.partner is not None:
            assert x is not None, "mixing needs the images"
            added = mean_spectra(x, mask)[params.partner].to(self.fill) * params.mix[:, None]
            for operator in operators:
                added = (operator @ added[..., None])[..., 0]
            offset = added if factor is None else added * factor
            rest = (1 - params.mix)[:, None].expand_as(added)
            factor = rest if factor is None else factor * rest
        if params.keep is not None:
            keep = params.keep.float()
            factor = keep if factor is None else factor * keep
            filled = (1 - keep) * self.fill
            offset = filled if offset is None else offset * keep + filled
        return BandMap(factor, operators, offset)

    def spectral(
        self,
        x: Tensor,
        params: ViewParams,
        mask: Tensor | None = None,
        affine: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Apply the spectral operations and the sensor noise.

        Args:
            x: Images in reflectance, before standardising, shape ``(B, n, H, W)``, floating.
            params: Parameters from :meth:`draw`.
            mask: Foreground, shape ``(B, 1, H, W)``, or None for every pixel.
            affine: Scale and offset per band, each of shape ``(n,)``, of a normalisation to apply
                in the same pass (each pass over 408 bands costs as much as one over memory).

        Returns:
            Images of the same shape, 0 outside the mask; ``x`` itself if nothing is to be done
            and there is no mask.
        """
        self._check_images(x, params)
        # Shift and smoothing are products over bands, which autocast would round to 8 bits.
        with torch.autocast(x.device.type, enabled=False):
            bands, noise_sd = self._composed(x, params, mask, affine)
            y = bands.apply(x)
        if self.config.noise_sd:
            y = self._noise.add_(y.clone() if y is x else y, noise_sd, params.noise_seed)
        if mask is None:
            return y
        return y * mask if y is x else y.mul_(mask)

    def deliver(
        self,
        x: Tensor,
        params: ViewParams,
        mask: Tensor | None = None,
        affine: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return ``warp(spectral(x, params, mask, affine), params)`` up to rounding, sooner.

        On a CPU, where many bands move, by :mod:`hyperspec.transforms.interleaved`; the bands of a
        pixel then lie beside each other (``channels_last``).
        """
        self._check_images(x, params)
        moves = self.config.moves or self.size != self.source_size
        if not (moves and self._noise.banked(x.device) and pays(x)):
            return self.warp(self.spectral(x, params, mask, affine), params)
        with torch.autocast("cpu", enabled=False):
            bands, noise_sd = self._composed(x, params, mask, affine)
            sd = noise_sd if self.config.noise_sd else None
            blur = self.config.blur_sigma_px
            return interleaved(x, bands, mask, params, self._noise, sd, self.size, blur)

    def _composed(
        self,
        x: Tensor,
        params: ViewParams,
        mask: Tensor | None,
        affine: tuple[Tensor, Tensor] | None,
    ) -> tuple[BandMap, Tensor]:
        """Return spectral operations and normalisation as one map, and the noise's level."""
        bands = self.band_map(x, params, mask)
        if affine is None:
            return bands, self.noise_sd
        return bands.then(*affine), self.noise_sd * affine[0]

    def project_view(
        self,
        x: Tensor,
        mask: Tensor | None,
        weight: Tensor,
        scale: Tensor,
        offset: Tensor,
        params: ViewParams,
        basis: Tensor | None = None,
    ) -> Tensor:
        """Return ``weight @ (scale * spectral(x) + offset)`` per pixel in one batched product.

        The factors go into the weights, one set per specimen, so that the bands are read once.
        With ``noise_projected`` and more bands than channels, the noise is drawn after the
        projection as ``L xi`` with ``L Lᵀ = W D Wᵀ`` (W the weights times the scale, D the
        variances per band; :meth:`_noise_factor`): the same distribution and the same expected
        gradient for any weights, from k instead of n random numbers per pixel. Otherwise it equals
        the long way up to rounding.

        Args:
            x: Images in reflectance, shape ``(B, n, H, W)``, floating.
            mask: Foreground, shape ``(B, 1, H, W)``, or None for every pixel.
            weight: Projection, shape ``(k, n)`` or ``(k, n, 1, 1)``.
            scale: Factor per band of the normalisation, shape ``(n,)``.
            offset: Added per band by the normalisation, shape ``(n,)``.
            params: Parameters from :meth:`draw`.
            basis: Of :meth:`noise_basis` for this weight and scale, where it is known already.

        Returns:
            Projected images, shape ``(B, k, H, W)``, 0 outside the mask, in the images' dtype
            (or autocast's); gradients reach the weights.
        """
        self._check_images(x, params)
        batch, _, height, width = x.shape
        view = self.fold(weight, scale, offset, params, x, mask, basis=basis)
        # Spread over the batch before they are shortened: gradients are summed in float32 then.
        constant = view.constant.expand(batch, -1)[..., None].to(x.dtype)
        matrix = view.matrix.expand(batch, -1, -1).to(x.dtype)
        z = self._noisy_inside(torch.baddbmm(constant, matrix, x.flatten(2)), mask, view)
        return z.view(batch, -1, height, width)

    def project_views(
        self, images: StoredPlanes, mask: Tensor | None, views: Sequence[FoldedView]
    ) -> list[Tensor]:
        """Project all views of stored images at once: their bands are read and widened once.

        Returns:
            What :meth:`project_view` gives for each view, from :meth:`fold`, up to rounding.
        """
        batch, sizes = len(images), [view.matrix.shape[1] for view in views]
        matrix = torch.cat([view.matrix.expand(batch, -1, -1) for view in views], 1)
        constant = torch.cat([view.constant.expand(batch, -1) for view in views], 1)
        parts = project_stored(matrix, constant, images, sizes)
        shape = (batch, -1, self.source_size, self.source_size)
        return [
            self._noisy_inside(part, mask, view).view(shape)
            for part, view in zip(parts, views, strict=True)
        ]

    @property
    def reads_pixels(self) -> bool:
        """Whether what is folded depends on the images themselves."""
        return self.config.mix_max > 0

    def fold(
        self,
        weight: Tensor,
        scale: Tensor,
        offset: Tensor,
        params: ViewParams,
        x: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        basis: Tensor | None = None,
    ) -> FoldedView:
        """Compose spectral operations, normalisation and projection; see :meth:`project_view`.

        The images ``(B, n, H, W)`` and their foreground are needed where :attr:`reads_pixels`.
        """
        # Autocast would round the small factors to 8 bits; only the large product may be short.
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1).to(torch.promote_types(weight.dtype, torch.float32))
            scaled = matrix * scale.to(matrix.dtype)
            folded, constant = self.band_map(x, params, mask).fold(scaled)
            added = (matrix @ offset.to(matrix.dtype))[None]
            constant = added if constant is None else constant + added
            noise = self._noise_factor(scaled, basis) if self.config.noise_sd else None
        return FoldedView(folded, constant, noise, params)

    def _noisy_inside(self, z: Tensor, mask: Tensor | None, view: FoldedView) -> Tensor:
        """Add projected sensor noise to a product ``(B, k, P)`` in place; 0 outside the mask.

        In place, and before the pixels become a plane: a new tensor of this size is all page
        faults, and a change of a tensor's view makes torch copy its gradient, twice.
        """
        if view.noise is not None:
            factor = view.noise.to(z.dtype)
            numbers = self._noise.draw(len(z), factor.shape[1], z, view.params.noise_seed)
            z = z.baddbmm_(factor.expand(len(z), -1, -1), numbers)
        return z if mask is None else z.mul_(mask.flatten(2))

    def noise_basis(self, weight: Tensor, scale: Tensor) -> Tensor | None:
        """Return what projected noise keeps of a projection, ``(n, k)``; None where it needs none.

        An orthonormal basis of the rows of the scaled weights, without a gradient: views that are
        made with the same weights share it. Arguments are those of :meth:`project_view`.
        """
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1).to(torch.promote_types(weight.dtype, torch.float32))
            scaled = matrix * scale.to(matrix.dtype)
            return self._basis(scaled * self.noise_sd.to(scaled.dtype))

    def _basis(self, factor: Tensor) -> Tensor | None:
        channels, bands = factor.shape
        if not self.config.noise_projected or bands <= channels:
            return None
        basis: Tensor = torch.linalg.qr(factor.T).Q
        return basis

    def _noise_factor(self, scaled: Tensor, basis: Tensor | None) -> Tensor:
        """Return what turns standard normal numbers into projected noise: ``(k, k)`` or ``(k, n)``.

        ``F Q`` with F the scaled weights and Q, held fixed, an orthonormal basis of their rows.
        A Cholesky factor of ``F Fᵀ`` has the same product, but no finite gradient when rows depend
        on each other, as behind a reduction to fewer than k channels. ``F Q`` is linear in F, and
        ``d/dF E g(F Q xi) = E[g''] F Q Qᵀ = E[g''] F`` is the gradient of the long way (Price 1958,
        "A useful theorem for nonlinear devices having Gaussian inputs").
        """
        factor = scaled * self.noise_sd.to(scaled.dtype)
        if basis is None:
            basis = self._basis(factor.detach())
        return factor if basis is None else factor @ basis

    def warp(self, x: Tensor, params: ViewParams) -> Tensor:
        """Resample images into the views: rotation, crop, flips in one pass, then the blur.

        From images or projected images, 0 in the background, ``(B, k, S, S)``, to ``(B, k,
        size, size)``; ``x`` itself if nothing moves.
        """
        self._check_images(x, params)
        if self.config.moves or self.size != self.source_size:
            x = resample(x, params.theta, self.size)
        if params.blurred is None or params.blur_sigma_px is None:
            return x
        blurred = gaussian_blur(x[params.blurred], params.blur_sigma_px)
        return x.index_copy(0, params.blurred, blurred)

    def _check_images(self, x: Tensor, params: ViewParams) -> None:
        expected = (len(params.matrix), self.source_size, self.source_size)
        if (len(x), *x.shape[2:]) != expected:
            raise ValueError(
                f"Images of shape {tuple(x.shape)} do not fit these views, drawn for "
                f"{expected[0]} specimens of {expected[1]} x {expected[2]} pixels."
            )
