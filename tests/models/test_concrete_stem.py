"""Linear maps in front of the stem: fixed projections, and selectors that learn."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from hyperspec.models.config import TinyConfig
from hyperspec.models.encoder import build_encoder, build_search_encoder, carry_over
from hyperspec.models.stems.concrete import ConcreteSelector, FixedProjection, SelectedProjection


def test_a_fixed_projection_is_the_matrix_at_every_pixel() -> None:
    rng = np.random.default_rng(0)
    matrix, planes = rng.normal(size=(3, 7)), rng.normal(size=(2, 7, 4, 5)).astype(np.float32)
    layer = FixedProjection(matrix)
    found = layer(torch.from_numpy(planes)).numpy()
    for b in range(2):
        for y in range(4):
            for x in range(5):
                np.testing.assert_allclose(
                    found[b, :, y, x], matrix @ planes[b, :, y, x], rtol=1e-4
                )
    assert list(layer.state_dict()) == ["weight"]
    assert not list(layer.parameters())


def test_folding_equals_the_long_way() -> None:
    rng = np.random.default_rng(1)
    layer = FixedProjection(rng.normal(size=(3, 7)))
    weight = torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)).requires_grad_()
    scale = torch.tensor([0.5, 2.0, 3.0])
    x = torch.from_numpy(rng.normal(size=(2, 7, 2, 2)).astype(np.float32))
    long_way = torch.einsum("kn,n,bnyx->bkyx", weight, scale, layer(x))
    folded = torch.einsum("kc,bcyx->bkyx", layer.fold(weight, scale), x)
    torch.testing.assert_close(folded, long_way)
    assert torch.autograd.grad(folded.sum(), weight)[0].abs().sum() > 0


def test_half_precision_does_not_reach_it() -> None:
    layer = FixedProjection(np.array([[1.0, -1.0]]))
    x = torch.tensor([1.0, 1.0001]).view(1, 2, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).item() == torch.tensor(1.0).sub(torch.tensor(1.0001)).item()


@pytest.fixture
def selector() -> ConcreteSelector:
    torch.manual_seed(0)
    return ConcreteSelector(3, 12)


def test_rows_are_weights_that_sum_to_one(selector: ConcreteSelector) -> None:
    for temperature in (10.0, 1.0, 0.1):
        selector.temperature.fill_(temperature)
        selector.resample(1)
        weight = selector.weight
        assert (weight >= 0).all()
        torch.testing.assert_close(weight.sum(dim=1), torch.ones(3))
        expected = torch.softmax((selector.logits + selector.noise) / temperature, dim=1)
        torch.testing.assert_close(weight, expected)
    selector.eval()
    torch.testing.assert_close(selector.weight, torch.softmax(selector.logits / 0.1, dim=1))


def test_hard_draws_follow_the_probabilities() -> None:
    """The Gumbel-max trick: the largest of logits plus noise is a draw from their softmax."""
    selector = ConcreteSelector(1, 4)
    selector.logits.data = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
    selector.temperature.fill_(1e-3)
    counts = torch.zeros(4)
    for seed in range(4000):
        selector.resample(seed)
        counts[selector.weight[0].argmax()] += 1
    # Four standard errors of a share of 0.4 among 4000 are 0.03.
    torch.testing.assert_close(counts / 4000, torch.tensor([0.1, 0.2, 0.3, 0.4]), atol=0.03, rtol=0)


def test_noise_depends_on_its_seed_alone(selector: ConcreteSelector) -> None:
    selector.resample(5)
    first = selector.noise.clone()
    before = torch.get_rng_state()
    selector.resample(6)
    assert not torch.equal(selector.noise, first)
    selector.resample(5)
    assert torch.equal(selector.noise, first)
    assert torch.equal(torch.get_rng_state(), before), "the views' draws stay as they are"
    assert "noise" not in selector.state_dict()


def test_the_assignment_is_the_best_of_all_and_distinct() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        selector = ConcreteSelector(3, 5)
        selector.logits.data = torch.from_numpy(rng.normal(0, 2, (3, 5))).float()
        logs = torch.log_softmax(selector.logits, dim=1).detach().numpy()
        best = max(permutations(range(5), 3), key=lambda p: logs[range(3), list(p)].sum())
        assert selector.assignment().tolist() == list(best)


@pytest.mark.parametrize(("rows", "bands"), [(1, 1), (1, 7), (7, 7), (5, 9)])
def test_every_n_is_exact_and_distinct_even_when_all_want_one(rows: int, bands: int) -> None:
    selector = ConcreteSelector(rows, bands)
    selector.logits.data[:, 0] = 50.0
    selector.hard = True
    assert len(set(selector.assignment().tolist())) == rows
    weight = selector.weight
    assert torch.equal(weight.sum(dim=1), torch.ones(rows))
    assert int((weight == 1).sum()) == rows
    assert int(weight.sum(dim=0).max()) == 1


def test_more_selectors_than_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="5 selectors were asked for over 4 bands"):
        ConcreteSelector(5, 4)


def test_entropy_and_penalty_have_their_closed_forms() -> None:
    selector = ConcreteSelector(4, 8)
    selector.logits.data.zero_()
    assert selector.entropy().item() == pytest.approx(1.0)
    assert selector.duplicate_penalty().item() == 0.0  # each band is wanted 4/8 times
    selector.logits.data[:, 2] = 100.0  # all four want one band: three too many
    assert selector.entropy().item() == pytest.approx(0.0, abs=1e-6)
    assert selector.duplicate_penalty().item() == pytest.approx(3 / 4)
    selector.logits.data = 100 * torch.eye(4, 8)
    assert selector.duplicate_penalty().item() == pytest.approx(0.0, abs=1e-6)
    assert ConcreteSelector(1, 1).entropy().item() == 0.0


def anneal(selector: ConcreteSelector, objective: object, penalty: float, steps: int = 200) -> None:
    optimizer = torch.optim.Adam([selector.logits], lr=0.3)
    for step in range(steps):
        selector.temperature.fill_(10 * (0.1 / 10) ** (step / (steps - 1)))
        selector.resample(step)
        loss = objective(selector.weight) + penalty * selector.duplicate_penalty()  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def planted(num_bands: int, informative: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Bands of noise, and targets that are each a copy of one of them."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(400, num_bands, generator=generator)
    return x, x[:, informative]


def test_a_selector_finds_the_planted_band() -> None:
    torch.manual_seed(0)
    x, target = planted(40, [27])
    selector = ConcreteSelector(1, 40)
    anneal(selector, lambda w: (x @ w.T - target).square().mean(), penalty=0.0)
    assert selector.assignment().tolist() == [27]
    assert selector.entropy() < 0.3


def test_selectors_find_all_planted_bands() -> None:
    """Any order will do: each target is explained by the nearest of the chosen bands."""
    torch.manual_seed(0)
    x, target = planted(40, [5, 19, 33])
    selector = ConcreteSelector(3, 40)

    def explained(weight: torch.Tensor) -> torch.Tensor:
        fitted = torch.linalg.lstsq(x @ weight.T, target).solution
        return (x @ weight.T @ fitted - target).square().mean()

    anneal(selector, explained, penalty=1.0)
    assert sorted(selector.assignment().tolist()) == [5, 19, 33]


def test_the_penalty_drives_two_selectors_apart() -> None:
    """Both gain most from band 7; the second best, 8, is all that is left to one of them."""
    gain = torch.zeros(20)
    gain[7], gain[8] = 1.0, 0.8
    together, apart = 0, 0
    for penalty in (0.0, 2.0):
        torch.manual_seed(1)
        selector = ConcreteSelector(2, 20)
        anneal(selector, lambda w: -(w @ gain).sum(), penalty)
        likeliest = set(selector.logits.argmax(dim=1).tolist())
        if penalty:
            apart = len(likeliest)
        else:
            together = len(likeliest)
        assert sorted(selector.assignment().tolist()) == [7, 8]
    assert (together, apart) == (1, 2)


NM = np.linspace(400, 800, 12)


@pytest.mark.parametrize("stem", ["projection", "inflate", "wavelength", "attention"])
def test_the_chosen_bands_encoder_equals_the_hard_search(stem: str) -> None:
    torch.manual_seed(0)
    config = TinyConfig(stem=stem)
    search = build_search_encoder(config, NM, 4).eval()
    assert isinstance(search.projection, SelectedProjection)
    search.projection.selector.hard = True
    chosen = search.projection.selector.assignment()
    order = np.argsort(chosen)
    fresh = build_encoder(config, NM[chosen[order]]).eval()
    x = torch.randn(3, 12, 16, 16)
    bands = torch.from_numpy(chosen[order])
    assert (fresh(x[:, bands]) - search(x)).abs().max() > 1e-3
    carry_over(search, fresh, order)
    torch.testing.assert_close(fresh(x[:, bands]), search(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stem", ["projection", "inflate", "wavelength", "attention"])
def test_projecting_commutes_and_gradients_reach_the_logits(stem: str) -> None:
    torch.manual_seed(0)
    search = build_search_encoder(TinyConfig(stem=stem), NM, 4)
    assert isinstance(search.projection, SelectedProjection)
    assert search.projects
    assert search.num_bands == 12
    x = torch.randn(3, 12, 16, 16)
    search.eval()
    turned = search.features(search.project(x).rot90(1, (2, 3)))
    torch.testing.assert_close(turned, search(x.rot90(1, (2, 3))), rtol=1e-4, atol=1e-5)
    search(x).square().sum().backward()
    gradient = search.projection.selector.logits.grad
    assert gradient is not None
    assert bool((gradient.abs().sum(dim=1) > 0).all())
