"""Importance by integrated gradients: a cross-check of occlusion that replaces no window.

The path goes from the specimen painted in the training mean to the image itself. What is attributed
is the cosine between the embedding on the path and the image's own: the attributions of all bands
of an image sum up to 1 minus the cosine of the painted specimen.

Source:
    Sundararajan, Taly & Yan (2017), Axiomatic attribution for deep networks, eq. 1; computed by
    captum with Gauss-Legendre points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from hyperspec.evaluation.importance.perturbation import Encode, Importance
from hyperspec.evaluation.importance.sliding_windows import plan_windows
from hyperspec.models.eval_mode import eval_mode
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress


def gradient_importance(
    encode: Encode,
    images: NDArray[np.floating],
    masks: NDArray[np.bool_] | None,
    wavelengths_nm: ArrayLike,
    specimens: Sequence[str],
    *,
    fill: ArrayLike,
    window_nm: float = 20.0,
    step_nm: float | None = None,
    num_steps: int = 32,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> Importance:
    """Attribute each embedding to the windows that lead from the training mean to it.

    The arguments are those of
    :func:`hyperspec.evaluation.importance.perturbation.band_importance`, and ``num_steps``
    points on the path, ``batch_size`` of whose images are differentiated at once. Here ``fill``,
    the training mean of each band, ``(n,)``, is always needed.

    Returns:
        Attribution of each window, ``(W, N)``, as ``change``: the sum over its bands.

    Raises:
        ConfigError: If captum is not installed, or a width or step is outside its range.
    """
    method = _integrated_gradients(encode)
    windows = plan_windows(np.asarray(wavelengths_nm, np.float64), window_nm, step_nm)
    mean = torch.from_numpy(np.asarray(fill, np.float32))[None, :, None, None]
    found = []
    with eval_mode(encode), progress("Following gradients", len(images)) as advance:
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            x = torch.from_numpy(np.array(images[rows], dtype=np.float32)).to(device)
            whole = np.ones((len(x), *x.shape[2:]), bool) if masks is None else masks[rows]
            mask = torch.from_numpy(np.array(whole, dtype=bool))[:, None].to(device)
            with torch.no_grad():
                target = encode(x, mask)
            painted = torch.where(mask, mean.to(device), x)
            given = method.attribute(
                x,
                painted,
                additional_forward_args=(mask, target),
                n_steps=num_steps,
                internal_batch_size=max(batch_size, len(x)),
            )
            found.append(given.detach().cpu().double().sum((2, 3)).numpy())
            advance(len(x))
    per_band = np.concatenate(found)
    of_set = np.stack([per_band[:, bands].sum(1) for bands in windows.sets])
    of_window = of_set[list(windows.set_of_window)]
    return Importance(windows, "gradient", tuple(specimens), of_window)


def _integrated_gradients(encode: Encode) -> Any:
    """Return captum's method for the cosine of an embedding with a target.

    Raises:
        ConfigError: If captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise ConfigError(
            "importance.mode=gradient needs captum: pip install 'hyperspec-sweeps[importance]'."
        ) from None

    def likeness(x: Tensor, mask: Tensor, target: Tensor) -> Tensor:
        return functional.cosine_similarity(encode(x, mask), target)

    return IntegratedGradients(likeness)
