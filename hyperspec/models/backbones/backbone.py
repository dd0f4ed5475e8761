"""Backbones: a sequence of stages that ends in a feature map."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from hyperspec.models.backbones.norms import running_statistics_kept
from hyperspec.models.config import EncoderConfig
from hyperspec.utils.device_kind import kind_of


class Backbone(nn.Module):
    """Stages applied in order, each optionally recomputed in the backward pass.

    Args:
        stages: Named stages; the first takes ``in_channels``, the last gives ``num_features``.
        in_channels: Channels of the input.
        num_features: F, channels of the feature map.
        checkpoint: Keep only the stages' inputs for the backward pass and compute the rest again
            (Chen et al. 2016): about a third more time for a fraction of the memory. Gradients
            and BatchNorm's running statistics are the same.
        after_pool: What the pretrained network applies to the pooled features, ``(B, F)`` to
            ``(B, F)``.
    """

    def __init__(
        self,
        stages: OrderedDict[str, nn.Module],
        in_channels: int,
        num_features: int,
        checkpoint: bool = False,
        after_pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential(stages)
        self.in_channels, self.num_features = in_channels, num_features
        self.checkpoint = checkpoint
        self.after_pool = nn.Identity() if after_pool is None else after_pool

    def forward(self, x: Tensor, mixing: Tensor | None = None) -> Tensor:
        """Return the feature map: ``(B, in_channels, H, W)`` to ``(B, F, h, w)``.

        Args:
            x: The input.
            mixing: A linear map from the m channels of x to ``in_channels``, shape
                ``(in_channels, m)``, with gradients. It is multiplied into the kernels of the first
                convolution, where it does the same as in front of it: padding is 0 either way.
        """
        if kind_of(x.device) == "cpu" and not torch.is_autocast_enabled("cpu"):
            # oneDNN's convolution would do it itself, and once more for its gradient.
            kernels = next((one for one in self.stages.parameters() if one.dim() == 4), x)
            if kernels.is_contiguous(memory_format=torch.channels_last):
                x = x.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = self._run(stage, stage if mixing is None else _mixed(stage, mixing), x)
            mixing = None
        return x

    def _run(self, stage: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return _replayed(stage, run, x) if self.checkpoint and torch.is_grad_enabled() else run(x)

    def compile(self, *args: Any, **words: Any) -> None:
        """Compile the backbone, or each stage where the backward pass computes them again.

        torch's compiler does not look into a checkpoint that keeps running statistics; around
        compiled stages it is as it was.
        """
        if not self.checkpoint:
            return super().compile(*args, **words)
        for stage in self.stages:
            stage.compile(*args, **words)
        return None

    @property
    def is_compiled(self) -> bool:
        """Whether :meth:`compile` was called."""
        return any(part._compiled_call_impl is not None for part in (self, *self.stages))

    def pool(self, feature_map: Tensor) -> Tensor:
        """Return the features of a map, its mean over the plane: ``(B, F, h, w)`` to ``(B, F)``."""
        features: Tensor = self.after_pool(feature_map.mean(dim=(2, 3)))
        return features

    def prepend(self, name: str, stage: nn.Module, in_channels: int) -> None:
        """Put a stage in front that takes other channels."""
        named = OrderedDict([(name, stage), *self.stages.named_children()])
        self.stages, self.in_channels = nn.Sequential(named), in_channels


def _mixed(stage: nn.Module, mixing: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a stage whose first convolution takes the channels that ``mixing`` takes."""
    name, convolution = next(
        (name, part) for name, part in stage.named_modules() if isinstance(part, nn.Conv2d)
    )
    kernels = convolution.weight
    last = kernels.is_contiguous(memory_format=torch.channels_last)
    with torch.autocast(kernels.device.type, enabled=False):
        kernels = torch.einsum("ocyx,cm->omyx", kernels, mixing)
    if last:
        kernels = kernels.contiguous(memory_format=torch.channels_last)
    weights = {f"{name}.weight".lstrip("."): kernels}
    return lambda x: functional_call(stage, weights, (x,))


def _replayed(stage: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run a stage that the backward pass computes again, with the same random state."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), running_statistics_kept(stage)

    result: Tensor = checkpoint(run, x, use_reentrant=False, context_fn=contexts)
    return result


def build_backbone(config: EncoderConfig, wavelengths_nm: ArrayLike, checkpoint: bool) -> Backbone:
    """Build a backbone whose first convolution takes channels at wavelengths in nanometres.

    The centres ``(channels,)`` decide what a pretrained first convolution starts with;
    ``checkpoint`` recomputes stages in the backward pass.

    Raises:
        ConfigError: If the option has no backbone.
        ModelError: If its weights cannot be read or do not fit.
    """
    stages, num_features = config.build_stages(wavelengths_nm)
    after_pool = stages.pop("after_pool", None)
    return Backbone(stages, int(np.size(wavelengths_nm)), num_features, checkpoint, after_pool)
