import math
from collections.abc import Callable

import pytest
import torch
from tolerance import rounding
from torch import Tensor, nn

from hyperspec.losses import Dcl, DclConfig, LossConfig, NtXent, NtXentConfig, VicReg
from hyperspec.utils.errors import ConfigError


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
    atol = rounding(4 + 2 * batch, 1 / 0.1, dtype=torch.float32)  # of similarities up to 10
    assert NtXent(0.1)(z, z).item() == pytest.approx(math.log(2 * batch - 1), abs=atol)


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


@pytest.mark.parametrize(
    ("loss", "name"), [(NtXent(0.1), "NT-Xent"), (Dcl(0.1), "DCL"), (VicReg(), "VICReg")]
)
def test_a_batch_of_one_is_refused(loss: nn.Module, name: str) -> None:
    with pytest.raises(ConfigError) as error:
        loss(torch.ones(1, 4), torch.ones(1, 4))
    assert str(error.value) == (
        f"{name} got a batch of 1: a batch of one has nothing to be told apart from, so nothing is "
        "learned from it. Set batch_size to at least 2; to save memory instead, keep batch_size "
        "and set hardware.micro_batch=1."
    )


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape \(B, D\), not \(4, 3\) and \(4, 2\)"):
        NtXent(0.1)(torch.ones(4, 3), torch.ones(4, 2))


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.inf, math.nan])
@pytest.mark.parametrize("make", [NtXentConfig, NtXent, DclConfig, Dcl])
def test_temperatures_out_of_range_are_refused(
    temperature: float, make: Callable[[float], object]
) -> None:
    message = rf"loss\.temperature={temperature:g} is out of range: .* above 0, usually 0\.05"
    with pytest.raises(ConfigError, match=message):
        make(temperature)


def test_the_configs_build_their_losses() -> None:
    loss = NtXentConfig(temperature=0.07, queue_size=3).build()
    assert isinstance(loss, NtXent)
    assert (loss.temperature, loss.queue_size) == (0.07, 3)
    assert str(loss) == "NtXent(temperature=0.07, queue_size=3)"
    assert str(DclConfig(temperature=0.2).build()) == "Dcl(temperature=0.2)"
    with pytest.raises(ConfigError, match="choose one of them"):
        LossConfig().build()


# --- decoupled ---


@pytest.mark.parametrize("batch", [2, 5])
def test_dcl_equals_loops_without_the_positive(batch: int) -> None:
    """Yeh et al. 2022, section 3: i, j over specimens, k, l over views, j != i in the sum."""
    z = torch.nn.functional.normalize(torch.stack(views(batch, 4)), dim=2)
    t, total = 0.1, 0.0
    for i in range(batch):
        for k in range(2):
            below = sum(
                math.exp(float(z[k, i] @ z[other, j]) / t)
                for j in range(batch)
                if j != i
                for other in range(2)
            )
            total += math.log(below) - float(z[0, i] @ z[1, i]) / t
    found = Dcl(t)(*views(batch, 4)).item()
    assert found == pytest.approx(total / (2 * batch), rel=1e-12)


def test_dcl_closed_form_symmetry_and_gradient() -> None:
    atol = rounding(3 + 10, 1 / 0.1, dtype=torch.float32)
    ones = torch.ones(5, 3)
    assert Dcl(0.1)(ones, ones).item() == pytest.approx(math.log(8), abs=atol)
    z0, z1 = (z.requires_grad_() for z in views(4, 3))
    torch.testing.assert_close(Dcl(0.3)(z0, z1), Dcl(0.3)(z1, z0))
    assert torch.autograd.gradcheck(Dcl(0.3), (z0, z1))
    half = Dcl(0.05)(z0.half(), z1.half())
    torch.testing.assert_close(half, Dcl(0.05)(z0.half().float(), z1.half().float()))


def test_dcl_is_nt_xent_less_the_positive_term() -> None:
    """Per row, exp(NT-Xent) = exp(DCL) + 1; with one value for all rows it shows in the mean."""
    z = torch.eye(4, dtype=torch.float64)
    nt_xent, dcl = NtXent(0.2)(z, z).item(), Dcl(0.2)(z, z).item()
    assert math.exp(nt_xent) == pytest.approx(math.exp(dcl) + 1, rel=1e-10)


# --- queue ---


def test_queue_adds_earlier_embeddings_as_negatives() -> None:
    t, steps = 0.3, [views(3, 4, seed=seed) for seed in range(3)]
    loss = NtXent(t, queue_size=8)
    values = [loss(*step).item() for step in steps]
    unit = [torch.nn.functional.normalize(torch.cat(step), dim=1) for step in steps]
    assert values[0] == pytest.approx(nt_xent_by_loops(*steps[0], t))
    remembered = torch.cat(unit[:2])[-8:]  # of 12 embeddings the last 8
    rows = []
    for i in range(6):
        others = [unit[2][j] for j in range(6) if j != i] + list(remembered)
        below = sum(math.exp(float(unit[2][i] @ other) / t) for other in others)
        rows.append(math.log(below) - float(unit[2][i] @ unit[2][(i + 3) % 6]) / t)
    assert values[2] == pytest.approx(sum(rows) / 6, rel=1e-12)
    assert loss.queue is not None
    torch.testing.assert_close(loss.queue, torch.cat(unit)[-8:])


def test_queue_gets_no_gradient_and_rests_in_evaluation() -> None:
    loss = NtXent(0.3, queue_size=4)
    z0, z1 = (z.requires_grad_() for z in views(3, 4))
    loss(z0, z1)
    assert loss.queue is not None
    assert not loss.queue.requires_grad
    before = loss.queue.clone()
    loss.eval()(*views(3, 4, seed=9))
    assert torch.equal(loss.queue, before)


def test_queue_travels_in_the_state_dict() -> None:
    loss, fresh, shorter = NtXent(0.3, 4), NtXent(0.3, 4), NtXent(0.3, 3)
    fresh.load_state_dict(loss.state_dict())
    assert fresh.queue is None
    loss(*views(3, 4))
    assert loss.queue is not None
    fresh.load_state_dict(loss.state_dict())
    shorter.load_state_dict(loss.state_dict())
    torch.testing.assert_close(fresh.eval()(*views(3, 4, 1)), loss.eval()(*views(3, 4, 1)))
    assert shorter.queue is not None
    assert torch.equal(shorter.queue, loss.queue[1:])
    without = NtXent(0.3)
    without.load_state_dict(loss.state_dict())
    assert without.queue is None


def test_queue_size_below_zero_is_refused() -> None:
    for make in (NtXentConfig, NtXent):
        with pytest.raises(ConfigError, match=r"loss\.queue_size=-1 is out of range: use 0 for no"):
            make(0.1, queue_size=-1)
