import weakref
from collections.abc import Callable

import pytest
import torch
from tolerance import rounding
from torch import Tensor, nn

from hyperspec.losses import NtXent, check_batch_independent, micro_batched
from hyperspec.utils.errors import ConfigError

BATCH, BANDS = 10, 5
# Terms of a gradient: 2 x 10 views of 4 x 4 pixels, then sums of at most 72 in each of 8 layers.
SUMMED = 20 * 16 + 8 * 72


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Frozen(nn.BatchNorm2d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        nn.init.uniform_(self.running_mean)
        nn.init.uniform_(self.running_var, 0.5, 1.5)
        self.train()

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group": lambda channels: nn.GroupNorm(2, channels),
    "layer": LayerNorm2d,
    "frozen": Frozen,
}


def encoder(norm: str) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(BANDS, 8, 3),
        NORMS[norm](8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Conv2d(8, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 6),
    ).double()


def head() -> nn.Module:
    """With BatchNorm over the whole batch, as in SimCLR: outside the micro-batches."""
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4)).double()


IMAGES = torch.randn(
    BATCH, BANDS, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
)


def step(
    features_of: Callable[[nn.Module], Tensor], norm: str
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Return loss, gradients of encoder and head, and the random state after the step."""
    network, projector = encoder(norm), head()
    torch.manual_seed(7)
    features = features_of(network)  # (B, 2, F)
    embeddings = projector(features.transpose(0, 1).flatten(0, 1))
    loss = NtXent(0.1)(*embeddings.chunk(2))
    loss.backward()
    parameters = [*network.parameters(), *projector.parameters()]
    return loss.detach(), [p.grad for p in parameters if p.grad is not None], torch.rand(3)


def embed_with(
    network: nn.Module, generator: torch.Generator | None = None
) -> Callable[[Tensor], Tensor]:
    def embed(rows: Tensor) -> Tensor:
        views = []
        for _ in range(2):
            noise = torch.randn(len(rows), BANDS, 1, 1, dtype=torch.float64, generator=generator)
            views.append(network(IMAGES[rows] * (1 + 0.2 * noise)))
        return torch.stack(views, dim=1)

    return embed


@pytest.mark.parametrize("micro_batch", [1, 3, 5, 10, 64])
@pytest.mark.parametrize("norm", sorted(NORMS))
def test_gradients_equal_the_full_batch(norm: str, micro_batch: int) -> None:
    """Dropout and augmentation on; the reference draws the same numbers in one graph."""

    def in_one_graph(network: nn.Module) -> Tensor:
        chunks = torch.arange(BATCH).split(micro_batch)
        return torch.cat([embed_with(network)(chunk) for chunk in chunks])

    def cached(network: nn.Module) -> Tensor:
        check_batch_independent(network)
        return micro_batched(embed_with(network), BATCH, micro_batch)

    loss, found, after = step(cached, norm)
    expected_loss, expected, expected_after = step(in_one_graph, norm)
    error = sum((a - b).square().sum() for a, b in zip(found, expected, strict=True)).sqrt()
    size = sum(b.square().sum() for b in expected).sqrt()
    assert size > 1e-3
    assert error <= 1e-9 * size
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)
    assert torch.equal(after, expected_after)  # the replay leaves the random state as it was


def test_gradients_equal_one_call_without_randomness() -> None:
    """Against an ordinary full batch in one call, not chunked at all."""

    def plain(network: nn.Module) -> Tensor:
        return torch.stack([network.eval()(IMAGES), network(IMAGES.flip(3))], dim=1)

    def cached(network: nn.Module) -> Tensor:
        network.eval()
        return micro_batched(
            lambda rows: torch.stack([network(IMAGES[rows]), network(IMAGES[rows].flip(3))], dim=1),
            BATCH,
            4,
        )

    found, expected = step(cached, "group")[1], step(plain, "group")[1]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=rounding(SUMMED, expected))


def test_accumulation_is_not_the_full_batch() -> None:
    """What this module is for: summing small batches' losses gives another gradient."""

    def gradient(sizes: int) -> Tensor:
        network = encoder("group").eval()
        for chunk in torch.arange(BATCH).split(sizes):
            z0, z1 = embed_with(network, torch.Generator().manual_seed(0))(chunk).unbind(1)
            (NtXent(0.1)(z0, z1) * len(chunk) / BATCH).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    assert torch.cosine_similarity(gradient(BATCH), gradient(2), dim=0) < 0.95


def test_the_callers_own_generator_is_replayed() -> None:
    def gradients(own: bool) -> list[Tensor]:
        generator = torch.Generator().manual_seed(5)

        def cached(network: nn.Module) -> Tensor:
            embed = embed_with(network, generator)
            return micro_batched(embed, BATCH, 3, [generator] if own else [])

        return step(cached, "group")[1]

    def reference(network: nn.Module) -> Tensor:
        embed = embed_with(network, torch.Generator().manual_seed(5))
        return torch.cat([embed(chunk) for chunk in torch.arange(BATCH).split(3)])

    expected = step(reference, "group")[1]
    for one, other in zip(gradients(own=True), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=rounding(SUMMED, expected))
    forgotten = gradients(own=False)  # and the test would notice if it were not
    assert not torch.allclose(forgotten[0], expected[0], rtol=1e-3)


def test_one_micro_batch_of_pixels_lives_at_a_time() -> None:
    network = encoder("group")
    alive, most, calls = 0, 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def embed(rows: Tensor) -> Tensor:
        nonlocal alive, most, calls
        pixels = IMAGES[rows] * 1.0
        weakref.finalize(pixels.untyped_storage(), gone)
        alive, calls = alive + 1, calls + 1
        most = max(most, alive)
        return network(pixels)  # the first convolution's weight gradient needs the pixels

    features = micro_batched(embed, BATCH, 1)
    assert (alive, most, calls) == (0, 1, BATCH)
    features.square().sum().backward()
    assert calls == 2 * BATCH
    assert most <= 2
    del features
    assert alive == 0


def test_no_gradient_means_no_second_pass() -> None:
    calls = []

    def embed(rows: Tensor) -> Tensor:
        calls.append(rows.tolist())
        return IMAGES[rows].mean((2, 3))

    with torch.no_grad():
        features = micro_batched(embed, BATCH, 4)
    assert calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    torch.testing.assert_close(features, IMAGES.mean((2, 3)))


def test_null_embeds_the_whole_batch_in_one_call() -> None:
    calls = []
    network = encoder("group")

    def embed(rows: Tensor) -> Tensor:
        calls.append(len(rows))
        return network(IMAGES[rows])

    micro_batched(embed, BATCH, None).sum().backward()
    assert calls == [BATCH]


def test_mixed_precision_keeps_its_settings_in_the_replay() -> None:
    network = encoder("group").float().eval()
    seen = []

    def embed(rows: Tensor) -> Tensor:
        out = network[0](IMAGES[rows].float())
        seen.append(out.dtype)
        return network[1:](out)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = micro_batched(embed, 4, 2)
    features.float().sum().backward()
    assert seen == [torch.bfloat16] * 4


@pytest.mark.parametrize("micro_batch", [0, -2])
def test_micro_batch_below_one_is_refused(micro_batch: int) -> None:
    with pytest.raises(ConfigError, match=rf"hardware\.micro_batch={micro_batch} is out of range"):
        micro_batched(lambda rows: IMAGES[rows], BATCH, micro_batch)


def test_batchnorm_in_training_mode_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    with pytest.raises(ConfigError) as error:
        check_batch_independent(module)
    assert str(error.value) == (
        "hardware.micro_batch is set, but 1.0 is a BatchNorm2d in training mode: its mean and "
        "variance would come from each micro-batch instead of the whole batch, and the gradient "
        "would not be that of the whole batch. Set model.norm=group (or model.norm=frozen with "
        "pretrained weights), or hardware.micro_batch=null."
    )
    check_batch_independent(module.eval())
    with pytest.raises(ConfigError, match="BatchNorm1d in training mode"):
        check_batch_independent(nn.BatchNorm1d(3, track_running_stats=False).eval())
