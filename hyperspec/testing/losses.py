"""What every loss of two views promises, as a check that a loss from elsewhere can be put to."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from hyperspec.losses import LossConfig, micro_batched
from hyperspec.testing.demand import demand
from hyperspec.utils.errors import ConfigError

_BATCH, _WIDTH = 6, 4


def check_loss(
    config: LossConfig, *, symmetric: bool = True, device: torch.device | str = "cpu"
) -> None:
    """Check a loss: its value, its gradients, and that both are the batch's alone.

    A finite scalar in float32 or wider on the device of the embeddings, the derivative of which is
    right (gradcheck in float64) and finite, lower for aligned views than for unrelated ones, the
    same for any order of specimens, the same in micro-batches, and kept by its state.

    Args:
        config: An option of the config group ``loss``. One that takes cells too
            (``loss=combined``) is not checked here.
        symmetric: Whether exchanging the views changes nothing.
        device: Where it is checked.

    Raises:
        AssertionError: If a promise is broken; the message says which.
    """
    said = f"loss={config.name}"
    demand(bool(config.name), f"{type(config).__name__} has a name")
    z0, z1 = _views(0, device)
    kept = z0.clone(), z1.clone()
    value = _value(config, z0, z1)
    demand(value.ndim == 0 and bool(value.isfinite()), f"{said} gives one finite number: {value}")
    demand(value.device == z0.device, f"{said} stays on the device of the embeddings")
    demand(torch.equal(z0, kept[0]) and torch.equal(z1, kept[1]), f"{said} changes no embedding")
    demand(torch.equal(value, _value(config, z0, z1)), f"{said} gives the same value each time")
    order = torch.randperm(_BATCH, generator=torch.Generator().manual_seed(1)).to(z0.device)
    shuffled = _value(config, z0[order], z1[order])
    demand(_alike(shuffled, value), f"{said} is the same for any order of specimens")
    if symmetric:
        demand(_alike(_value(config, z1, z0), value), f"{said} is the same with views exchanged")
    near = z0 + 0.01 * z1
    aligned, unrelated = _value(config, z0, near), _value(config, z0, near.roll(1, 0))
    demand(bool(aligned < unrelated), f"{said} is lower for aligned views than for unrelated ones")
    _check_precision(config, said, z0, z1)
    _check_gradients(config, said, z0, z1)
    _check_micro_batches(config, said, z0, z1)
    _check_one_specimen(config, said, z0, z1)
    built, fresh = config.build(), config.build()
    built(z0, z1)
    fresh.load_state_dict(built.state_dict())
    same = torch.equal(built.eval()(z1, z0), fresh.eval()(z1, z0))
    demand(same, f"{said} is kept by its state_dict")


def _check_precision(config: LossConfig, said: str, z0: Tensor, z1: Tensor) -> None:
    for dtype in (torch.float32, torch.float64):
        found = _value(config, z0.to(dtype), z1.to(dtype))
        demand(found.dtype == dtype, f"{said} of {dtype} is {dtype}; it is {found.dtype}")
    for dtype in (torch.float16, torch.bfloat16):
        half = _value(config, z0.to(dtype), z1.to(dtype))
        wide = _value(config, z0.to(dtype).float(), z1.to(dtype).float())
        exact = half.dtype == torch.float32 and _alike(half, wide)
        demand(exact, f"{said} computes {dtype} in float32")


def _check_gradients(config: LossConfig, said: str, z0: Tensor, z1: Tensor) -> None:
    loss = config.build().eval().to(z0.device)
    inputs = (z0.clone().requires_grad_(), z1.clone().requires_grad_())
    # It fails where the loss's own arithmetic is not double, too.
    right = torch.autograd.gradcheck(loss, inputs, raise_exception=False)
    demand(right, f"{said} has the gradient that finite differences give")
    for name, scale in (("near-collapsed", 1e-4), ("large", 100.0)):
        pair = [(0.5 + scale * z).float().requires_grad_() for z in (z0, z1)]
        _value(config, *pair).backward()  # type: ignore[no-untyped-call]
        finite = all(z.grad is not None and bool(z.grad.isfinite().all()) for z in pair)
        demand(finite, f"{said} has finite gradients at {name} embeddings, to both views")


def _check_micro_batches(config: LossConfig, said: str, z0: Tensor, z1: Tensor) -> None:
    """Compare the gradient of a layer in front, computed whole and two specimens at a time."""
    gradients = []
    for size in (None, 2):
        layer = nn.Linear(_WIDTH, _WIDTH, bias=False).to(z0)
        with torch.no_grad():
            layer.weight.copy_(torch.eye(_WIDTH))

        def embed(rows: Tensor, layer: nn.Linear = layer) -> tuple[Tensor, Tensor]:
            return layer(z0[rows]), layer(z1[rows])

        first, second = micro_batched(embed, _BATCH, size)
        _value(config, first, second).backward()  # type: ignore[no-untyped-call]
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad)
    demand(_alike(*gradients), f"{said} has the same gradient in micro-batches")


def _check_one_specimen(config: LossConfig, said: str, z0: Tensor, z1: Tensor) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch's, of a variance of one number
            value = _value(config, z0[:1], z1[:1])
    except ConfigError:
        return  # it has nothing to compare a single specimen with, and says so
    demand(bool(value.isfinite()), f"{said} refuses a batch of one, or gives a finite value")


def _value(config: LossConfig, z0: Tensor, z1: Tensor) -> Tensor:
    value: Tensor = config.build().to(z0.device)(z0, z1)
    return value


def _views(seed: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, _BATCH, _WIDTH, dtype=torch.float64, generator=generator).to(device)
    return z[0], z[1]


def _alike(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-6, atol=1e-9)
