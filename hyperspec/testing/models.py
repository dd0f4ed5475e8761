"""What every stem and encoder promises, as checks that one from elsewhere can be put to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hyperspec.models import EncoderConfig, build_encoder
from hyperspec.testing.demand import demand

NUM_BANDS = (1, 3, 12)
_BATCH = 4


def check_stem(
    build: Callable[[NDArray[np.float64]], nn.Module],
    channels: int,
    *,
    num_bands: Sequence[int] = NUM_BANDS,
    device: torch.device | str = "cpu",
) -> None:
    """Check a stem: n bands in, k channels of the same plane out, for several n.

    Args:
        build: Makes the stem for bands at given nm, shape ``(n,)``.
        channels: k.
        num_bands: Numbers of bands to check.
        device: Where it is checked.

    Raises:
        AssertionError: If a promise is broken; the message says which.
    """
    for n in num_bands:
        _check(build, n, 8, (channels, 8, 8), f"the stem of {n} bands", device)


def check_encoder(
    config: EncoderConfig,
    *,
    side: int = 32,
    num_bands: Sequence[int] = NUM_BANDS,
    device: torch.device | str = "cpu",
) -> None:
    """Check an encoder: n bands in, F finite features out, for several n, by any way to F.

    Args:
        config: An option of the config group ``model``.
        side: Side of the images in pixels.
        num_bands: Numbers of bands to check.
        device: Where it is checked.

    Raises:
        AssertionError: If a promise is broken; the message says which.
    """
    for n in num_bands:
        said = f"model={config.name} model.stem={config.stem} on {n} bands"
        encoder = build_encoder(config, _wavelengths(n))
        demand(encoder.num_bands == n, f"{said} says how many bands it takes")
        shape = (encoder.num_features,)
        _check(lambda nm: build_encoder(config, nm), n, side, shape, said, device)
        _check_recomputed(config, n, side, said, device)


def _check(
    build: Callable[[NDArray[np.float64]], nn.Module],
    n: int,
    side: int,
    shape: tuple[int, ...],
    said: str,
    device: torch.device | str,
) -> None:
    nm = _wavelengths(n)
    module, x = build(nm).to(device), _images(n, side, device).requires_grad_()
    found: Tensor = module(x)
    demand(found.shape == (_BATCH, *shape), f"{said} gives {shape} per image: {found.shape}")
    demand(found.dtype == x.dtype and found.device == x.device, f"{said} keeps dtype and device")
    found.square().sum().backward()  # type: ignore[no-untyped-call]
    reached = {"the input": x, **dict(module.named_parameters())}
    for name, value in reached.items():
        finite = value.grad is not None and bool(value.grad.isfinite().all())
        demand(finite or not value.requires_grad, f"{said} has a finite gradient to {name}")
    demand(x.grad is not None and bool(x.grad.any()), f"{said} reads its input")
    module.eval()
    with torch.no_grad():
        known = module(x)
        demand(torch.equal(module(x), known), f"{said} is deterministic in evaluation mode")
        alone = torch.cat([module(one[None]) for one in x])
        same = torch.allclose(alone, known, rtol=1e-3, atol=1e-4)
        demand(same, f"{said} treats each image by itself in evaluation mode")
        fresh = build(nm).to(device).eval()
        fresh.load_state_dict(module.state_dict())
        demand(torch.equal(fresh(x), known), f"{said} is kept by its state_dict")
        wide = build(nm).to(device, torch.float64).eval()(x.double())
        demand(wide.dtype == torch.float64, f"{said} keeps float64")


def _check_recomputed(
    config: EncoderConfig, n: int, side: int, said: str, device: torch.device | str
) -> None:
    """Compare gradients with those of stages that are computed again in the backward pass."""
    kept, again = (
        build_encoder(config, _wavelengths(n), checkpoint=flag).to(device) for flag in (False, True)
    )
    again.load_state_dict(kept.state_dict())
    x = _images(n, side, device)
    for encoder in (kept, again):
        torch.manual_seed(0)
        encoder(x).square().sum().backward()
    pairs = zip(kept.parameters(), again.parameters(), strict=True)
    same = all(_alike(one.grad, other.grad) for one, other in pairs)
    demand(same, f"{said} has the same gradients with hardware.checkpointing")


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4 * float(one.abs().max()))


def _wavelengths(n: int) -> NDArray[np.float64]:
    return np.linspace(400, 800, n)


def _images(n: int, side: int, device: torch.device | str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(_BATCH, n, side, side, generator=generator).to(device)
