import math

import pytest
import torch
from torch import Tensor

from hyperspec.losses import LossConfig, NtXent, NtXentConfig
from hyperspec.spectra.errors import ConfigError


def nt_xent_by_loops(z0: Tensor, z1: Tensor, temperature: float) -> float:
    """Equation 1 and algorithm 1 of Chen et al. 2020, written as they are printed there.

    z_(2k-1) and z_2k are the two views of specimen k.
    """
    z = [row.double() for pair in zip(z0, z1, strict=True) for row in pair]
    num = len(z)

    def similarity(i: int, j: int) -> float:
        return float(z[i] @ z[j] / (z[i].norm() * z[j].norm()))

    def term(i: int, j: int) -> float:
        above = math.exp(similarity(i, j) / temperature)
        below = sum(math.exp(similarity(i, k) / temperature) for k in range(num) if k != i)
        return -math.log(above / below)

    total = 0.0
    for k in range(num // 2):
        total += term(2 * k, 2 * k + 1) + term(2 * k + 1, 2 * k)
    return total / num


def views(batch: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, batch, dim, generator=generator, dtype=torch.float64)
    return z[0], z[1]


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("batch", [2, 3, 7])
def test_equals_the_loops_of_the_paper(batch: int, temperature: float) -> None:
    z0, z1 = views(batch, 5, seed=batch)
    expected = nt_xent_by_loops(z0, z1, temperature)
    assert NtXent(temperature)(z0, z1).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batch", [2, 5, 16])
def test_closed_form_when_all_embeddings_are_equal(batch: int) -> None:
    z = torch.ones(batch, 4)
    assert NtXent(0.1)(z, z).item() == pytest.approx(math.log(2 * batch - 1), rel=1e-6)


def test_closed_form_when_specimens_are_orthogonal() -> None:
    z = torch.eye(4, dtype=torch.float64)
    t = 0.2
    # One positive of similarity 1 and 2 (B - 1) others of similarity 0.
    expected = math.log(math.exp(1 / t) + 6) - 1 / t
    assert NtXent(t)(z, z).item() == pytest.approx(expected, rel=1e-10)


def test_symmetries() -> None:
    z0, z1 = views(6, 8)
    loss = NtXent(0.1)
    value = loss(z0, z1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    rotation = torch.linalg.qr(views(8, 8)[0])[0]
    torch.testing.assert_close(loss(z1, z0), value)
    torch.testing.assert_close(loss(z0[order], z1[order]), value)
    torch.testing.assert_close(loss(z0 @ rotation, z1 @ rotation), value)
    torch.testing.assert_close(loss(3 * z0, 0.2 * z1), value)
    assert not torch.isclose(loss(z0[order], z1), value)


def test_gradient_by_finite_differences() -> None:
    z0, z1 = (z.requires_grad_() for z in views(4, 3))
    assert torch.autograd.gradcheck(NtXent(0.3), (z0, z1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    z0, z1 = (z.to(dtype) for z in views(8, 16))
    loss = NtXent(0.05)
    value = loss(z0, z1)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(z0.float(), z1.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(z0.float(), z1.float()), value)


def test_stays_finite_at_a_very_low_temperature() -> None:
    z0, z1 = (z.float().requires_grad_() for z in views(8, 16))
    loss = NtXent(1e-3)(z0, z1)
    loss.backward()
    assert torch.isfinite(loss)
    assert z0.grad is not None
    assert torch.isfinite(z0.grad).all()
    assert z0.grad.abs().sum() > 0


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        NtXent(0.1)(torch.ones(1, 4), torch.ones(1, 4))
    assert str(error.value) == (
        "NT-Xent got a batch of 1: a batch of one has no negatives, so its loss and gradient are "
        "zero. Set batch_size to at least 2; to save memory instead, keep batch_size and set "
        "hardware.micro_batch=1."
    )


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape \(B, D\), not \(4, 3\) and \(4, 2\)"):
        NtXent(0.1)(torch.ones(4, 3), torch.ones(4, 2))


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.inf, math.nan])
def test_temperatures_out_of_range_are_refused(temperature: float) -> None:
    message = rf"loss\.temperature={temperature:g} is out of range: .* above 0, usually 0\.05"
    with pytest.raises(ConfigError, match=message):
        NtXentConfig(temperature=temperature)
    with pytest.raises(ConfigError, match=message):
        NtXent(temperature)


def test_the_config_builds_its_loss() -> None:
    loss = NtXentConfig(temperature=0.07).build()
    assert isinstance(loss, NtXent)
    assert loss.temperature == 0.07
    assert str(loss) == "NtXent(temperature=0.07)"
    with pytest.raises(ConfigError, match="choose one of them"):
        LossConfig().build()
