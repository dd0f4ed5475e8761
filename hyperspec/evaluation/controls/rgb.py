"""The picture as an eye sees it, and what an encoder of photographs makes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hyperspec.evaluation.embeddings import Floats
from hyperspec.models.backbones.backbone import build_backbone
from hyperspec.models.config import OPTIONS
from hyperspec.spectra.colour import RGB_NM, ColourWeights, bright_part, srgb_picture
from hyperspec.utils.errors import ConfigError, ModelError

# What torchvision's weights were trained on: side in pixels, and mean and spread of ImageNet.
_SIDE = 224
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def tristimulus(planes: NDArray[np.floating], colours: ColourWeights) -> Floats:
    """Return CIE XYZ ``(B, 3, H, W)`` of the planes ``(B, n, H, W)`` of the colours' bands."""
    found = np.tensordot(planes.astype(np.float64), colours.weights, axes=(1, 0))
    return np.moveaxis(found, -1, 1)


def exposure_for(xyz: Floats, masks: NDArray[np.bool_]) -> float:
    """Return the factor that shows the bright part of training images' foreground white.

    One for all pictures, as a camera is set once for a drawer. Takes XYZ ``(N, 3, H, W)`` and
    masks ``(N, H, W)``.
    """
    return 1 / bright_part(xyz[:, 1][masks])


class RgbEncoder:
    """A frozen encoder of photographs, with weights from a file.

    Args:
        name: Architecture, such as ``resnet18``.
        weights: Path of a state dict in torchvision's naming.

    Raises:
        ConfigError: If the file is absent or does not fit.
    """

    def __init__(self, name: str, weights: str) -> None:
        kind = next(kind for kind in OPTIONS.values() if name in kind.names)
        try:
            config = kind(name=name, weights=weights)  # type: ignore[call-arg]
            self.backbone = build_backbone(config, RGB_NM, False).eval()
        except ModelError as error:
            text = str(error).replace("model.weights", "evaluation.rgb_weights")
            raise ConfigError(f"{text} evaluation.rgb_model is {name}.") from error

    @torch.no_grad()
    def __call__(self, xyz: Floats, exposure: float) -> Floats:
        """Return features ``(B, F)`` of CIE XYZ ``(B, 3, H, W)``; some images at once."""
        shown = self.pictures([srgb_picture(one, exposure) for one in xyz])
        return np.asarray(self.backbone.pool(self.backbone(shown)).double().numpy())

    @staticmethod
    def pictures(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return sRGB pictures ``(H, W, 3)`` as weights expect them, ``(B, 3, 224, 224)``."""
        shown = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
        shown = functional.interpolate(shown, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        return (shown - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_SD)[:, None, None]
