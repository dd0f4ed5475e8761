"""Two gloo processes must give the loss and gradient of one process with the whole batch."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tolerance import rounding
from torch import Tensor, nn

from hyperspec.losses import Cells, Combined, Dcl, LocalNtXent, NtXent, VicReg, micro_batched
from hyperspec.utils import distributed
from hyperspec.utils.distributed import averaged, gather, world

PROCESSES = 2


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 6, 6, generator=generator, dtype=torch.float64)
    return x[0], x[1]


def gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


class Step(nn.Module):
    """What a training step does under DDP: micro-batches of both views, then one loss."""

    def __init__(self, loss: nn.Module, micro_batch: int | None) -> None:
        super().__init__()
        self.network, self.loss, self.micro_batch = model(), loss, micro_batch

    def forward(self, x0: Tensor, x1: Tensor) -> Tensor:
        def embed(rows: Tensor) -> Tensor:
            return torch.stack([self.network(x0[rows]), self.network(x1[rows])], dim=1)

        def with_cells(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Four cells per map, made of the features; views shifted by as much as the data say.

            Some specimens' crops do not overlap, so that processes have different numbers of pairs.
            """
            features = embed(rows)
            maps = torch.stack([features * w for w in (1.0, 0.5, -0.3, 0.2)], -1)
            inverse = torch.eye(3, dtype=torch.float64).repeat(len(rows), 2, 1, 1)
            inverse[:, 1, 0, 2] = x0[rows, 0] * 3
            return features, (maps + maps.roll(1, 2)).unflatten(-1, (2, 2)), inverse

        if isinstance(self.loss, Combined):
            features, cells, inverse = micro_batched(with_cells, len(x0), self.micro_batch)
            terms = self.loss(*features.unbind(dim=1), Cells(cells, inverse, 4, 4))
            total: Tensor = terms.total
            return total
        features = micro_batched(embed, len(x0), self.micro_batch)
        loss: Tensor = self.loss(*features.unbind(dim=1))
        return loss


LOSSES: dict[str, Callable[[], nn.Module]] = {
    "nt_xent": lambda: NtXent(0.2),
    "queue": lambda: NtXent(0.2, queue_size=5),
    "dcl": lambda: Dcl(0.2),
    "vicreg": VicReg,
    "combined": lambda: Combined(NtXent(0.2, queue_size=5), LocalNtXent(0.3), limit=3),
}


def two_steps(step: nn.Module, x0: Tensor, x1: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the second step's loss and gradients: by then a queue is filled."""
    step(x0, x1)
    loss = step(x1, x0)
    loss.backward()
    return loss.detach(), gradients(step)


def one_process(rank: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    try:
        x0, x1 = (x.chunk(PROCESSES)[rank] for x in batch())
        results = {}
        for name, make in LOSSES.items():
            for micro_batch in (None, 2):
                step = nn.parallel.DistributedDataParallel(Step(make(), micro_batch))
                results[name, micro_batch] = two_steps(step, x0, x1)
        # One specimen per process: negatives come from the other one, so this is no batch of one.
        single = NtXent(0.2)(x0[:1], x1[:1])
        torch.save((results, single), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    mp.spawn(one_process, args=(str(tmp_path),), nprocs=PROCESSES)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    x0, x1 = batch()
    for name, make in LOSSES.items():
        loss, expected = two_steps(Step(make(), None), x0, x1)
        for micro_batch in (None, 2):
            found = [results[name, micro_batch] for results, _ in ranks]
            mean = torch.stack([value for value, _ in found]).mean()
            torch.testing.assert_close(mean, loss, rtol=1e-12, atol=0)
            atol = rounding(1000, expected)  # over batch, pixels and channels, both ways
            for _, per_rank in found:
                for one, other in zip(per_rank, expected, strict=True):
                    torch.testing.assert_close(one, other, rtol=0, atol=atol)
    first = [0, 3]  # the first specimen of each process's half
    pair = NtXent(0.2)(x0[first], x1[first])
    torch.testing.assert_close(torch.stack([single for _, single in ranks]).mean(), pair)


def test_processes_have_different_numbers_of_pairs() -> None:
    """Else the test above would not notice a mean per process."""
    from hyperspec.losses import pair_cells

    x0 = batch()[0]
    inverse = torch.eye(3, dtype=torch.float64).repeat(2, 6, 1, 1)
    inverse[1, :, 0, 2] = x0[:, 0] * 3
    counts = pair_cells((inverse[0], inverse[1]), (2, 2), 4, 4, 3).valid.sum(1)
    assert counts[:3].sum() != counts[3:].sum()
    assert counts.min() == 0 < counts.max()


def test_without_a_group_there_is_one_process() -> None:
    x = torch.arange(6.0).reshape(2, 3).requires_grad_()
    assert world() == (0, 1)
    assert gather(x).shape == (1, 2, 3)
    gather(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones(2, 3))


def test_scalars_are_averaged_in_one_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"a": torch.tensor(1.0, requires_grad=True), "b": torch.tensor(4.0)}
    assert averaged(values) == values  # alone
    exchanged = []

    def all_reduce(x: Tensor) -> None:
        exchanged.append(x.clone())
        x += torch.tensor([2.0, 6.0])  # of the other process

    monkeypatch.setattr(distributed, "world", lambda: (0, 2))
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    found = averaged(values)
    assert {name: float(value) for name, value in found.items()} == {"a": 1.5, "b": 5.0}
    assert not found["a"].requires_grad
    assert len(exchanged) == 1


@pytest.mark.parametrize("own", [True, False])
def test_ranks_take_part_in_the_positives(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two processes finds its own views behind the first one's."""
    from hyperspec.losses import nt_xent as contrastive

    x0, x1 = batch()

    def gathered(x: Tensor) -> Tensor:
        other = nn.functional.normalize(torch.stack([x0[:3], x1[:3]]), dim=2)
        return torch.stack([other, x] if own else [x, other])

    monkeypatch.setattr(contrastive, "gather", gathered)
    monkeypatch.setattr(contrastive, "world", lambda: (1 if own else 0, 2))
    found = NtXent(0.2)(x0[3:], x1[3:])
    z = nn.functional.normalize(torch.cat([x0, x1]), dim=1)
    logits = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
    terms = logits.logsumexp(1) - logits[torch.arange(12), torch.arange(12).roll(6)]
    torch.testing.assert_close(found, terms.reshape(2, 6)[:, 3:].mean())
