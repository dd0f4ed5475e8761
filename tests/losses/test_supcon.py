"""Supervised contrast: the paper's sums, exact in parts, and no label that is held out."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from hyperspec.losses import CombinedConfig, NtXent, SupCon, SupConConfig, micro_batched
from hyperspec.training.builders import training_labels
from hyperspec.utils.distributed import own
from hyperspec.utils.errors import ConfigError

LABELS = torch.tensor([0, 1, 0, -1, 2, 1, 0, -1])  # one alone, two without


def views(batch: int = len(LABELS), dim: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    z = torch.randn(2, batch, dim, generator=torch.Generator().manual_seed(seed)).double()
    return z[0], z[1]


def by_loops(z0: Tensor, z1: Tensor, labels: list[int], temperature: float) -> float:
    """Equation 2 of Khosla et al. 2020, as it is printed: P(i) and A(i) over both views."""
    z = [row / row.norm() for row in torch.cat([z0, z1])]
    codes, num = labels * 2, len(labels)
    total = 0.0
    for i in range(2 * num):
        others = [a for a in range(2 * num) if a != i]
        positives = [
            p for p in others if p == (i + num) % (2 * num) or (codes[p] == codes[i] != -1)
        ]
        below = sum(math.exp(float(z[i] @ z[a]) / temperature) for a in others)
        terms = [math.log(math.exp(float(z[i] @ z[p]) / temperature) / below) for p in positives]
        total -= sum(terms) / len(positives)
    return total / (2 * num)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_equals_the_sums_of_the_paper(temperature: float) -> None:
    z0, z1 = views()
    expected = by_loops(z0, z1, LABELS.tolist(), temperature)
    assert SupCon(temperature)(z0, z1, LABELS).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("labels", [None, torch.full((8,), -1), torch.arange(8)])
def test_without_shared_labels_it_is_nt_xent(labels: Tensor | None) -> None:
    z0, z1 = views()
    torch.testing.assert_close(SupCon(0.2)(z0, z1, labels), NtXent(0.2)(z0, z1))


def test_an_image_without_a_label_keeps_its_own_term() -> None:
    """Its term is that of NT-Xent; only the labelled ones' differ from it."""
    z0, z1 = views()
    apart = SupCon(0.2)(z0, z1, torch.where(LABELS == 0, 0, -1)) - NtXent(0.2)(z0, z1)
    compared = nn.functional.normalize(torch.cat([z0, z1]), dim=1)
    similar = compared @ compared.T / 0.2
    rows = torch.nonzero((LABELS == 0).repeat(2))[:, 0]
    gained = 0.0
    for i in rows.tolist():
        others = [j for j in rows.tolist() if j != i]
        gained += float(similar[i, (i + 8) % 16] - similar[i, others].mean())
    assert float(apart) == pytest.approx(gained / 16, rel=1e-10)


def test_gradients_by_finite_differences() -> None:
    z0, z1 = (z.requires_grad_() for z in views())
    assert torch.autograd.gradcheck(lambda a, b: SupCon(0.3)(a, b, LABELS), (z0, z1))


def test_symmetries_and_the_pull_of_a_label() -> None:
    z0, z1 = views()
    loss = SupCon(0.1)
    value = loss(z0, z1, LABELS)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(z1, z0, LABELS), value)
    torch.testing.assert_close(loss(z0[order], z1[order], LABELS[order]), value)
    renamed = torch.tensor([7, 3, 7, -1, 5, 3, 7, -1])
    torch.testing.assert_close(loss(z0, z1, renamed), value)
    centres = torch.randn(4, 5, generator=torch.Generator().manual_seed(2)).double()
    near = centres[LABELS] + 0.01 * z0
    assert loss(near, near, LABELS) < loss(z0, z1, LABELS)


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_micro_batches_give_the_gradient_of_the_whole_batch(micro_batch: int) -> None:
    x = torch.randn(8, 2, 6, generator=torch.Generator().manual_seed(3)).double()
    gradients = []
    for size in (None, micro_batch):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 7), nn.Dropout(0.3), nn.ReLU(), nn.Linear(7, 4)).double()
        torch.manual_seed(1)

        def embed(rows: Tensor, net: nn.Module = net) -> Tensor:
            # One draw for each item whatever the size of the chunk, as views draw.
            return torch.stack([net(x[row]) for row in rows])

        z = micro_batched(embed, 8, size)
        SupCon(0.2)(z[:, 0], z[:, 1], LABELS).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def one_process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        z0, z1 = (z.requires_grad_() for z in views())
        loss = SupCon(0.2)(own(z0), own(z1), own(LABELS))
        loss.backward()
        torch.save((loss.detach(), z0.grad, z1.grad), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def test_two_processes_compare_as_one(tmp_path: Path) -> None:
    mp.spawn(one_process, args=(str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    z0, z1 = (z.requires_grad_() for z in views())
    loss = SupCon(0.2)(z0, z1, LABELS)
    loss.backward()
    torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, loss.detach())
    for place, z in ((1, z0), (2, z1)):
        assert z.grad is not None
        torch.testing.assert_close((parts[0][place] + parts[1][place]) / 2, z.grad)


def test_wrong_shapes_and_a_batch_of_one_are_refused() -> None:
    z0, z1 = views()
    with pytest.raises(ValueError, match=r"SupCon takes 8 labels, not \(3,\)"):
        SupCon(0.1)(z0, z1, LABELS[:3])
    with pytest.raises(ConfigError, match="SupCon got a batch of 1"):
        SupCon(0.1)(z0[:1], z1[:1], LABELS[:1])
    with pytest.raises(ConfigError, match=r"loss\.temperature=0 is out of range"):
        SupConConfig(0.0)


def material(labels: list[str | None]) -> Any:
    return SimpleNamespace(labels=labels, split=SimpleNamespace(train=np.array([0, 2, 3, 5])))


def test_labels_of_held_out_rows_never_reach_the_loss() -> None:
    """Whatever stands there, also a label that the training part lacks, changes no code."""
    codes = training_labels(material(["b", "a", "a", None, "b", "b", "c"]))
    assert codes.tolist() == [1, -1, 0, -1, -1, 1, -1]
    other = training_labels(material(["b", "zz", "a", None, None, "b", "0"]))
    assert torch.equal(codes, other)


def test_combined_takes_labels_where_its_global_term_does() -> None:
    assert CombinedConfig(global_loss=SupConConfig()).supervised
    assert not CombinedConfig().supervised
    assert [f.name for f in dataclasses.fields(SupConConfig)] == ["temperature"]
