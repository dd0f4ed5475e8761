import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hyperspec.losses import VicReg, VicRegConfig
from hyperspec.utils.errors import ConfigError


def views(batch: int = 7, dim: int = 4, scale: float = 0.7) -> tuple[Tensor, Tensor]:
    z = scale * torch.randn(
        2, batch, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    return z[0], z[1]


def vicreg_by_loops(z0: Tensor, z1: Tensor, weights: tuple[float, float, float]) -> float:
    """Equations 1 to 6 of Bardes et al. 2022 with numpy's moments, eq. 5 averaged as their code."""
    total = weights[0] * float(np.mean((z0.numpy() - z1.numpy()) ** 2))
    for z in (z0.numpy(), z1.numpy()):
        dim = z.shape[1]
        hinges = [max(0.0, 1 - math.sqrt(z[:, j].var(ddof=1) + 1e-4)) for j in range(dim)]
        cov = np.cov(z.T)
        squares = [cov[i, j] ** 2 for i in range(dim) for j in range(dim) if i != j]
        total += weights[1] * sum(hinges) / dim + weights[2] * sum(squares) / dim
    return total


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 3.0)])
def test_equals_the_equations(weights: tuple[float, float, float]) -> None:
    z0, z1 = views()
    assert VicReg(*weights)(z0, z1).item() == pytest.approx(
        vicreg_by_loops(z0, z1, weights), rel=1e-12
    )


def test_closed_form_of_a_collapse() -> None:
    z = torch.ones(6, 3, dtype=torch.float64)
    assert VicReg()(z, z).item() == pytest.approx(2 * 25 * (1 - 0.01), rel=1e-12)


def test_symmetry_gradient_and_precision() -> None:
    z0, z1 = (z.requires_grad_() for z in views())
    torch.testing.assert_close(VicReg()(z0, z1), VicReg()(z1, z0))
    assert torch.autograd.gradcheck(VicReg(), (z0, z1))
    half = VicReg()(z0.half(), z1.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, VicReg()(z0.half().float(), z1.half().float()))


def test_config() -> None:
    loss = VicRegConfig(invariance=10, variance=5, covariance=0).build()
    assert str(loss) == "VicReg(invariance=10, variance=5, covariance=0)"
    assert not VicRegConfig.unit_embeddings
    with pytest.raises(ConfigError, match=r"loss\.variance=-1 is out of range: it weighs a term"):
        VicRegConfig(variance=-1)
    with pytest.raises(ConfigError, match=r"loss\.covariance=nan is out of range"):
        VicReg(covariance=math.nan)
