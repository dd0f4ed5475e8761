"""The random parameters of one view of a batch, drawn together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hyperspec.transforms.config import ViewsConfig
from hyperspec.transforms.spatial import SpatialSampler, unit_map
from hyperspec.transforms.spectral import erase_keep
from hyperspec.utils.transfer import send_together


@dataclass(frozen=True)
class ViewParams:
    """All random parameters of one view of a batch, one row per specimen.

    None stands for an operation that the settings leave out.

    Args:
        matrix: Map from source pixels to view pixels (x, y, 1), shape ``(B, 3, 3)``, float64.
        inverse: Map from view pixels to source pixels, shape ``(B, 3, 3)``, float64.
        theta: The same in units of half an image, shape ``(B, 2, 3)``, float64; see
            :func:`hyperspec.transforms.spatial.unit_map`.
        light: Log gain, tilt and curvature, shape ``(B, 3)``.
        shift_nm: Shift towards longer wavelengths, shape ``(B,)``.
        smooth_fwhm_nm: Width of the smoothing response, shape ``(B,)``.
        keep: False for bands that are erased or dropped, shape ``(B, n)``.
        mix: Share of the partner's mean spectrum, shape ``(B,)``.
        partner: Row of the specimen that is mixed in, shape ``(B,)``.
        blurred: Rows of the specimens whose view is blurred, shape ``(m,)``.
        blur_sigma_px: Blur of these views in pixels, shape ``(m,)``.
        noise_seed: Seed of the sensor noise.
    """

    matrix: Tensor
    inverse: Tensor
    theta: Tensor
    light: Tensor | None
    shift_nm: Tensor | None
    smooth_fwhm_nm: Tensor | None
    keep: Tensor | None
    mix: Tensor | None
    partner: Tensor | None
    blurred: Tensor | None
    blur_sigma_px: Tensor | None
    noise_seed: int


class ViewSampler:
    """Draws the parameters of views.

    Args:
        wavelengths_nm: Centres of the chosen bands on the CPU, shape ``(n,)``.
        axis_range_nm: Ends of the axis over which erased windows are spread.
        source_size: Height and width of the images in pixels.
        size: Height and width of the views in pixels.
    """

    def __init__(
        self,
        config: ViewsConfig,
        wavelengths_nm: Tensor,
        axis_range_nm: tuple[float, float],
        source_size: int,
        size: int,
    ) -> None:
        self.config = config
        self.wavelengths_nm = wavelengths_nm
        self.axis_range_nm = axis_range_nm
        self.source_size, self.size = source_size, size
        self._spatial = SpatialSampler(config, source_size, size)

    def draw(
        self, batch_size: int, generator: torch.Generator | None, device: torch.device
    ) -> ViewParams:
        """Draw the parameters of one view.

        All numbers come from the CPU's default generator, also for other devices, so that the
        same seed gives the same views everywhere and replayed random states replay them. They are
        made ready on the CPU and go to a GPU in one transfer, for which the host does not wait.

        Args:
            batch_size: Number of specimens, at least 1.
            generator: Generator on the CPU to draw from; the default generator is then left as
                it was.
            device: Device of the parameters.
        """
        if generator is None:
            return self._draw(batch_size, device)
        state = torch.get_rng_state()
        # Only the CPU's generator: torch.manual_seed would reset those of other devices too.
        torch.default_generator.manual_seed(
            int(torch.randint(0, 2**63 - 1, (), generator=generator))
        )
        try:
            return self._draw(batch_size, device)
        finally:
            torch.set_rng_state(state)

    def _draw(self, batch: int, device: torch.device) -> ViewParams:
        config = self.config
        matrix = self._spatial.draw(batch)
        light = torch.randn(batch, 3) * torch.tensor(
            [config.gain_sd, config.tilt_sd, config.curvature_sd]
        )
        shift = (2 * torch.rand(batch) - 1) * config.shift_nm
        smooth = torch.rand(batch) * config.smooth_fwhm_nm
        mix = torch.rand(batch) * config.mix_max
        # Anyone but oneself; alone, one is one's own partner, and mixing changes little.
        step = int(torch.randint(1, max(batch, 2), ()))
        blurred = (torch.rand(batch) < config.blur_probability).nonzero()[:, 0]
        blur = torch.rand(batch)[blurred] * config.blur_sigma_px
        noise_seed = int(torch.randint(0, 2**63 - 1, ()))
        keep = self._draw_keep(batch)
        partner = (torch.arange(batch) + step) % batch
        inverse = torch.linalg.inv(matrix)
        source = (self.source_size, self.source_size)
        drawn: dict[str, Tensor | None] = {
            "matrix": matrix,
            "inverse": inverse,
            "theta": unit_map(inverse, source, self.size),
            "light": light if config.scales else None,
            "shift_nm": shift if config.shift_nm else None,
            "smooth_fwhm_nm": smooth if config.smooth_fwhm_nm else None,
            "keep": keep,
            "mix": mix if config.mix_max else None,
            "partner": partner if config.mix_max else None,
            "blurred": blurred if len(blurred) else None,
            "blur_sigma_px": blur if len(blurred) else None,
        }
        sent: dict[str, Any] = dict(
            zip(drawn, send_together(list(drawn.values()), device), strict=True)
        )
        return ViewParams(**sent, noise_seed=noise_seed)

    def _draw_keep(self, batch: int) -> Tensor | None:
        """Draw erased windows and dropped bands, last, since only this depends on the bands."""
        config = self.config
        if not (config.erase_probability or config.drop_probability):
            return None
        low, high = self.axis_range_nm
        centre = low + (high - low) * torch.rand(batch)
        width = config.erase_nm * (torch.rand(batch) < config.erase_probability)
        keep = erase_keep(self.wavelengths_nm, centre, width)
        chance = torch.rand(keep.shape)
        stays = keep & (chance >= config.drop_probability)
        # Where nothing would be left, the kept band with the best draw stays.
        best = torch.where(keep, chance, -1.0).argmax(1, keepdim=True)
        return stays.scatter(1, best, True)
