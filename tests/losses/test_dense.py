"""Global and local term against loops; no overlap; weights; micro-batches."""

import math

import pytest
import torch
from torch import Tensor, nn

from hyperspec.losses import (
    Cells,
    Combined,
    CombinedConfig,
    Dcl,
    DclConfig,
    LocalNtXent,
    NtXent,
    NtXentConfig,
    VicReg,
    VicRegConfig,
    micro_batched,
    pair_cells,
)
from hyperspec.losses.dense import Terms
from hyperspec.models import CellHead
from hyperspec.transforms.config import ViewsConfig
from hyperspec.transforms.spatial import SpatialSampler
from hyperspec.utils.errors import ConfigError

SIZE, SHAPE = 32, (3, 4)


def matrices(batch: int, seed: int = 0) -> Tensor:
    """Two views' maps to source pixels, ``(B, 2, 3, 3)``."""
    torch.manual_seed(seed)
    sampler = SpatialSampler(ViewsConfig(), SIZE, SIZE)
    return torch.stack([torch.linalg.inv(sampler.draw(batch)) for _ in range(2)], dim=1)


def example(batch: int = 4, dim: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Cells]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, batch, dim, dtype=torch.float64, generator=generator)
    maps = torch.randn(batch, 2, dim, *SHAPE, dtype=torch.float64, generator=generator)
    return z[0], z[1], Cells(maps, matrices(batch, seed), SIZE, SIZE)


def swapped(cells: Cells) -> Cells:
    return cells._replace(maps=cells.maps.flip(1), inverse=cells.inverse.flip(1))


def local_by_loops(cells: Cells, temperature: float, limit: int | None = None) -> float:
    inverse = (cells.inverse[:, 0], cells.inverse[:, 1])
    pairs = pair_cells(inverse, SHAPE, SIZE, SIZE, limit)
    maps = cells.maps.detach().flatten(3)
    found: list[tuple[Tensor, int]] = []  # vector, number of its pair
    for item in range(len(maps)):
        for k in range(pairs.valid.shape[1]):
            if pairs.valid[item, k]:
                pair = len(found) // 2
                found.append((maps[item, 0, :, pairs.first[item, k]], pair))
                found.append((maps[item, 1, :, pairs.second[item, k]], pair))
    total = 0.0
    for i, (vector, pair) in enumerate(found):
        scores = {
            j: math.exp(float(torch.cosine_similarity(vector, other, dim=0)) / temperature)
            for j, (other, _) in enumerate(found)
            if j != i
        }
        partner = next(j for j in scores if found[j][1] == pair)
        total -= math.log(scores[partner] / sum(scores.values()))
    return total / max(len(found), 1)


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_loops(seed: int, temperature: float, limit: int | None) -> None:
    z0, z1, cells = example(seed=seed)
    loss = Combined(NtXent(0.2), LocalNtXent(temperature), 0.7, 0.2, limit)
    terms: Terms = loss(z0, z1, cells)
    local = local_by_loops(cells, temperature, limit)
    assert local > 0.5
    assert terms.local.item() == pytest.approx(local, rel=1e-12)
    assert terms.whole.item() == pytest.approx(NtXent(0.2)(z0, z1).item(), rel=1e-12)
    assert terms.total.item() == pytest.approx(0.7 * terms.whole.item() + 0.2 * local, rel=1e-12)
    inverse = (cells.inverse[:, 0], cells.inverse[:, 1])
    count = pair_cells(inverse, SHAPE, SIZE, SIZE, limit).valid.sum().item()
    assert terms.pairs.item() == pytest.approx(count / 4)


def test_symmetries() -> None:
    z0, z1, cells = example()
    loss = Combined(NtXent(0.2), LocalNtXent(0.2))
    value = loss(z0, z1, cells).total
    order = torch.randperm(4, generator=torch.Generator().manual_seed(1))
    mixed = cells._replace(maps=cells.maps[order], inverse=cells.inverse[order])
    torch.testing.assert_close(loss(z1, z0, swapped(cells)).total, value)
    torch.testing.assert_close(loss(z0[order], z1[order], mixed).total, value)
    torch.testing.assert_close(loss(z0, z1, cells._replace(maps=3 * cells.maps)).total, value)
    elsewhere = cells._replace(inverse=cells.inverse[order])
    assert not torch.isclose(loss(z0, z1, elsewhere).total, value)


def test_gradient_by_finite_differences() -> None:
    z0, z1, cells = example(batch=3, dim=3)
    loss = Combined(Dcl(0.4), LocalNtXent(0.4), limit=3)

    def total(first: Tensor, second: Tensor, maps: Tensor) -> Tensor:
        made: Terms = loss(first, second, cells._replace(maps=maps))
        return made.total

    inputs = tuple(x.clone().requires_grad_() for x in (z0, z1, cells.maps))
    assert torch.autograd.gradcheck(total, inputs)


def apart(batch: int) -> Tensor:
    """Crops of opposite corners."""
    inverse = torch.eye(3, dtype=torch.float64).repeat(batch, 2, 1, 1)
    inverse[..., 0, 0] = inverse[..., 1, 1] = 0.25
    inverse[:, 1, :2, 2] = 0.7 * SIZE
    return inverse


def test_no_overlap_at_all_means_no_local_loss_and_no_gradient() -> None:
    z0, z1, cells = example()
    maps = cells.maps.clone().requires_grad_()
    terms = Combined(NtXent(0.2), LocalNtXent(0.05))(z0, z1, Cells(maps, apart(4), SIZE, SIZE))
    assert terms.pairs.item() == 0
    assert terms.local.item() == 0
    terms.total.backward()
    assert maps.grad is not None
    assert torch.equal(maps.grad, torch.zeros_like(maps))
    assert terms.total.item() == pytest.approx(0.6 * NtXent(0.2)(z0, z1).item())


def test_specimens_without_overlap_are_left_out() -> None:
    z0, z1, cells = example()
    inverse = cells.inverse.clone()
    inverse[2] = apart(1)
    maps = cells.maps.clone().requires_grad_()
    some = Cells(maps, inverse, SIZE, SIZE)
    value = Combined(NtXent(0.2), LocalNtXent(0.3), 0, 1)(z0, z1, some).total
    value.backward()
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()
    assert not maps.grad[2].any()
    assert maps.grad[[0, 1, 3]].flatten(1).any(1).all()
    assert value.item() == pytest.approx(local_by_loops(some, 0.3), rel=1e-12)


def test_one_pair_alone_has_no_negatives() -> None:
    maps = torch.randn(1, 2, 4, 1, 1, dtype=torch.float64).requires_grad_()
    inverse = torch.eye(3, dtype=torch.float64).repeat(1, 2, 1, 1)
    pairs = pair_cells((inverse[:, 0], inverse[:, 1]), (1, 1), SIZE, SIZE)
    loss = LocalNtXent(0.1)(maps, pairs)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    z0, z1, cells = example()
    loss = Combined(NtXent(0.05), LocalNtXent(0.05))
    half = cells._replace(maps=cells.maps.to(dtype))
    value = loss(z0, z1, half)
    assert value.local.dtype == torch.float32
    same = loss(z0, z1, cells._replace(maps=half.maps.float()))
    torch.testing.assert_close(value.total, same.total)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(z0, z1, half).total, value.total)


class Network(nn.Module):
    """Backbone with dropout; the head over whole views stays outside."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(
            nn.Conv2d(5, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Dropout(0.3)
        )
        self.cells = CellHead(8, 8, 4)
        self.head = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6))
        self.double()

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        noise = [1 + 0.2 * torch.randn(len(images), 5, 1, 1, dtype=torch.float64) for _ in "ab"]
        maps = self.body(torch.cat([images * one for one in noise]))
        inverse = SpatialSampler(ViewsConfig(), 8, 8)
        drawn = [torch.linalg.inv(inverse.draw(len(images))) for _ in "ab"]
        features = torch.stack(maps.mean((2, 3)).chunk(2), 1)
        return features, torch.stack(self.cells(maps).chunk(2), 1), torch.stack(drawn, 1)


LOSSES = {
    "nt_xent": lambda: NtXent(0.2),
    "queue": lambda: NtXent(0.2, queue_size=7),
    "dcl": lambda: Dcl(0.2),
    "vicreg": VicReg,
}


@pytest.mark.parametrize("micro_batch", [1, 3, 10])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_micro_batches_give_the_gradient_of_the_full_batch(name: str, micro_batch: int) -> None:
    """The cut carries features and cells; dropout, augmentation and warps on."""
    images = torch.randn(
        10, 5, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )

    def gradient(cached: bool) -> tuple[Tensor, Tensor]:
        network, loss = Network(), Combined(LOSSES[name](), LocalNtXent(0.2))
        torch.manual_seed(7)
        for _ in range(2):  # by the second step a queue is filled
            network.zero_grad()
            if cached:
                made = micro_batched(lambda rows: network.embed(images[rows]), 10, micro_batch)
            else:
                parts = [network.embed(some) for some in images.split(micro_batch)]
                made = tuple(torch.cat(same) for same in zip(*parts, strict=True))
            features, cells, inverse = made
            z = network.head(features.transpose(0, 1).flatten(0, 1)).chunk(2)
            terms = loss(*z, Cells(cells, inverse, 8, 8))
            terms.total.backward()
        assert terms.pairs > 1
        grads = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        return terms.total.detach(), torch.cat(grads)

    value, found = gradient(cached=True)
    reference, expected = gradient(cached=False)
    torch.testing.assert_close(value, reference, rtol=1e-12, atol=0)
    assert (found - expected).norm() <= 1e-9 * expected.norm()


def test_the_config_builds_its_parts() -> None:
    made = CombinedConfig(DclConfig(0.3), local_temperature=0.4, local_pairs=None).build()
    assert isinstance(made, Combined)
    assert isinstance(made.whole, Dcl)
    assert (made.global_weight, made.local_weight, made.limit) == (0.6, 0.4, None)
    assert made.local.temperature == 0.4
    assert isinstance(CombinedConfig().global_loss, NtXentConfig)
    assert CombinedConfig().normalised
    assert not CombinedConfig(VicRegConfig()).normalised
    assert "global_weight=0.6, local_weight=0.4" in str(made)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"global_weight": -0.1}, r"loss\.global_weight=-0.1 is out of range"),
        ({"local_weight": math.inf}, r"loss\.local_weight=inf is out of range"),
        ({"global_weight": 0, "local_weight": 0}, "are both 0, so nothing would be learned"),
        ({"local_temperature": 0}, r"loss\.local_temperature=0 is out of range"),
        ({"local_pairs": 0}, r"loss\.local_pairs=0 is out of range: use 1 to"),
        ({"local_dim": 1}, r"loss\.local_dim=1 is out of range: use 2 to 8192"),
        ({"global_loss": CombinedConfig()}, r"loss\.global_loss is combined itself"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        CombinedConfig(**settings)  # type: ignore[arg-type]
