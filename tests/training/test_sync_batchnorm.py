"""Two gloo processes must normalise as one BatchNorm over the whole batch does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from hyperspec.models.backbones.norms import FrozenStatisticsBatchNorm2d
from hyperspec.training.sync_batchnorm import SyncedBatchNorm2d, synchronise
from hyperspec.utils.distributed import alone, own, whole, world

PROCESSES = 2
STEPS = 3  # so that running statistics are those of several batches


def network(momentum: float | None, *, affine: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 1)
    norm = nn.BatchNorm2d(3, momentum=momentum, affine=affine)
    return nn.Sequential(first, norm, nn.ReLU(), second, nn.BatchNorm2d(2)).double()


def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS, 6, 2, 5, 4, generator=generator, dtype=torch.float64)
    return 100 + x * torch.arange(1, 7)[:, None, None, None]  # shares differ in their spread


def trained(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return output, gradients and statistics of the last step of a sum of cubes."""
    for batch in x:
        net.zero_grad()
        inputs = batch.clone().requires_grad_()
        y = net(inputs)
        (y**3).sum().backward()
    assert inputs.grad is not None
    found = {"y": y.detach(), "dx": inputs.grad}
    found |= {f"grad {k}": p.grad for k, p in net.named_parameters() if p.grad is not None}
    return found | {f"kept {k}": b.clone() for k, b in net.named_buffers()}


def one_process(rank: int, folder: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    try:
        found = {}
        for momentum, affine in ((0.1, True), (None, False)):
            net = network(momentum, affine=affine)
            assert synchronise(net) == 2
            found[momentum] = trained(net, own(images(), dim=1))
        with alone():  # as one process, with the whole batch
            assert world() == (0, 1)
            net = network(0.1)
            synchronise(net)
            found["alone"] = trained(net, images())
        x = torch.full((2, 3), float(rank))
        assert whole(x).tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 2
        assert own(whole(x)).equal(x)
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def test_two_processes_normalise_as_one(tmp_path: Path) -> None:
    mp.spawn(one_process, args=(str(tmp_path),), nprocs=PROCESSES)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    for momentum, affine in ((0.1, True), (None, False)):
        expected = trained(network(momentum, affine=affine), images())
        both = [found[momentum] for found in ranks]
        for name, value in expected.items():
            parts = [found[name] for found in both]
            if name in ("y", "dx"):
                joined = torch.cat(parts)
            elif name.startswith("grad"):
                joined = parts[0] + parts[1]  # of sums of losses; DDP takes the mean of means
            else:
                joined = parts[0]
                assert torch.equal(parts[0], parts[1]), name
            torch.testing.assert_close(joined, value, rtol=1e-9, atol=1e-9, msg=name)
    for found in ranks:
        expected = trained(network(0.1), images())["dx"]
        torch.testing.assert_close(found["alone"]["dx"], expected)
    # The shares alone have other statistics, or nothing above would show.
    halves = trained(network(0.1), images()[:, :3])
    assert not torch.allclose(halves["y"], trained(network(0.1), images())["y"][:3])


def test_frozen_statistics_and_other_layers_stay() -> None:
    net = nn.Sequential(FrozenStatisticsBatchNorm2d(2), nn.GroupNorm(1, 2), nn.BatchNorm2d(2))
    names = list(net.state_dict())
    assert synchronise(net) == 1
    assert type(net[0]) is FrozenStatisticsBatchNorm2d
    assert type(net[2]) is SyncedBatchNorm2d
    assert list(net.state_dict()) == names
    assert synchronise(net) == 1  # again: nothing new
    x = torch.randn(4, 2, 3, 3)
    expected = nn.BatchNorm2d(2)(x)
    torch.testing.assert_close(net[2](x), expected)  # without a group, as ever


def test_a_kind_that_cannot_be_synchronised_is_refused() -> None:
    with pytest.raises(TypeError, match="0 is a BatchNorm1d"):
        synchronise(nn.Sequential(nn.BatchNorm1d(2)))
