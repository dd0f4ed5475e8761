"""Supervised strategies against pixels, scikit-learn and planted windows."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from hyperspec.bands import STRATEGIES, CountedStrategy, Fisher, Mrmr, MutualInformation
from hyperspec.bands.supervised import class_information, cover, fisher_ratios, relevant_chain
from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError

COUNTED = [s for s in STRATEGIES.values() if issubclass(s, CountedStrategy)]
SUPERVISED = [s for s in STRATEGIES.values() if s.supervised]


def labelled_case(seed=0, rows=900, bands=14):
    rng = np.random.default_rng(seed)
    labels = rng.choice(["a", "b", "c"], rows)
    spectra = 0.5 + 0.03 * rng.normal(size=(rows, 3)) @ rng.normal(size=(3, bands))
    spectra += 0.02 * rng.normal(size=(rows, bands))
    spectra[labels == "a", 3:5] += 0.03
    spectra[labels == "c", 10] -= 0.08
    axis = SpectralAxis.linear(400, 700, bands)
    return spectra, labels, SpectralStatistics.from_spectra(spectra, axis, labels=labels.tolist())


def naive_ratios(spectra, labels):
    rows = []
    for one, other in combinations(sorted(set(labels)), 2):
        x, y = spectra[labels == one], spectra[labels == other]
        rows.append((x.mean(0) - y.mean(0)) ** 2 / (x.var(0, ddof=1) + y.var(0, ddof=1)))
    return np.array(rows)


def test_fisher_ranks_by_mean_or_largest_ratio():
    spectra, labels, statistics = labelled_case()
    ratios = naive_ratios(spectra, labels)
    np.testing.assert_allclose(fisher_ratios(statistics), ratios, rtol=1e-6)
    for n in (1, 3, 8):
        for pairs, scores in (("mean", ratios.mean(0)), ("max", ratios.max(0))):
            chosen = Fisher(n=n, pairs=pairs).select(statistics.axis, statistics).indices
            assert set(chosen) == set(np.argsort(-scores)[:n].tolist())


def test_cover_serves_the_pair_that_is_separated_least():
    ratios = np.array([[9.0, 8, 0, 0, 1], [0, 0, 3, 2, 0], [0.1, 0, 0, 0, 0.5]])
    # Pair 2 is the hardest, then 1, then 0: bands 4, 2, then pair 2 has 0.5 and takes band 0 ...
    assert cover(ratios, 2) == [4, 2]
    assert cover(ratios, 3) == [4, 2, 0]
    assert sorted(cover(ratios, 5)) == [0, 1, 2, 3, 4]
    assert cover(np.zeros((3, 4)), 4) == [0, 1, 2, 3]


def test_cover_meets_every_planted_window_where_mean_and_max_do_not():
    # 400 bands; a wide strong window tells a from b, a narrow weak one b from c.
    rng = np.random.default_rng(1)
    labels = np.repeat(["a", "b", "c"], 400)
    spectra = 0.5 + 0.02 * rng.normal(size=(1200, 100))
    spectra[labels == "a", 20:40] -= 0.1
    spectra[labels == "c", 70:74] -= 0.03
    axis = SpectralAxis.linear(400, 700, 100)
    statistics = SpectralStatistics.from_spectra(spectra, axis, labels=labels.tolist())
    hits = {
        pairs: sum(70 <= i < 74 for i in Fisher(n=8, pairs=pairs).select(axis, statistics).indices)
        for pairs in ("mean", "max", "cover")
    }
    assert hits["mean"] == hits["max"] == 0
    assert hits["cover"] >= 1


def test_mutual_information_matches_scikit_learn_on_the_same_levels():
    spectra, labels, statistics = labelled_case(3)
    bins = np.clip((spectra * 200).astype(int), 0, 239)
    for levels in (4, 32):
        expected = []
        for band in range(14):
            pooled = np.bincount(bins[:, band], minlength=240)
            before = np.cumsum(pooled) - pooled / 2
            level = np.minimum((before * levels / len(spectra)).astype(int), levels - 1)
            expected.append(mutual_info_score(labels, level[bins[:, band]]))
        np.testing.assert_allclose(class_information(statistics, levels), expected, atol=1e-10)
        for n in (1, 4):
            chosen = MutualInformation(n=n, levels=levels).select(statistics.axis, statistics)
            assert set(chosen.indices) == set(np.argsort(-np.array(expected))[:n].tolist())


def test_mutual_information_reaches_the_class_entropy():
    labels = ["a", "b", "b", "b"] * 25
    spectra = np.column_stack([[0.1, 0.7, 0.7, 0.7] * 25, [0.3] * 100])
    axis = SpectralAxis.linear(400, 500, 2)
    statistics = SpectralStatistics.from_spectra(spectra, axis, labels=labels)
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    np.testing.assert_allclose(class_information(statistics, 8), [entropy, 0], atol=1e-12)


@pytest.mark.parametrize("scheme", ["quotient", "difference"])
def test_mrmr_matches_a_naive_loop(scheme):
    spectra, _, statistics = labelled_case(5)
    relevance = class_information(statistics, 32)
    correlation = np.corrcoef(spectra.T)
    chosen = [int(relevance.argmax())]
    for n in range(2, 15):
        scores = {}
        for band in set(range(14)) - set(chosen):
            shared = np.mean([-0.5 * np.log(1 - correlation[band, c] ** 2) for c in chosen])
            scores[band] = (
                relevance[band] / (shared + 1e-3)
                if scheme == "quotient"
                else relevance[band] - shared
            )
        chosen.append(max(scores, key=scores.__getitem__))
        selection = Mrmr(n=n, scheme=scheme).select(statistics.axis, statistics)
        assert selection.indices == tuple(sorted(chosen))


def test_mrmr_leaves_the_twin_of_a_chosen_band_for_last():
    information = np.array([[9.0, 9, 0.1], [9, 9, 0.1], [0.1, 0.1, 9]])
    relevance = np.array([1.0, 1.0, 0.2])
    for quotient in (True, False):
        assert relevant_chain(relevance, information, 3, quotient=quotient) == [0, 2, 1]


@pytest.mark.parametrize("strategy", SUPERVISED, ids=lambda s: s.name)
def test_supervised_strategies_refuse_unlabelled_statistics(strategy):
    spectra, _, statistics = labelled_case()
    for labels, number in ((None, 0), ("moth", 1)):
        bare = SpectralStatistics.from_spectra(spectra, statistics.axis, labels=labels)
        with pytest.raises(
            BandError,
            match=rf"bands={strategy.name} compares classes, but the training statistics hold "
            rf"{number}\. Give labels \(`hyperspec start",
        ):
            strategy(n=3).select(statistics.axis, bare)


@pytest.mark.parametrize("strategy", COUNTED, ids=lambda s: s.name)
def test_labels_move_supervised_strategies_only(strategy):
    spectra, labels, statistics = labelled_case(7)
    shuffled = np.roll(labels, 11)
    other = SpectralStatistics.from_spectra(spectra, statistics.axis, labels=shuffled.tolist())
    same = [
        strategy(n=n).select(statistics.axis, statistics).indices
        == strategy(n=n).select(statistics.axis, other).indices
        for n in (1, 2, 3, 5)
    ]
    assert all(same) == (not strategy.supervised)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fisher(n=2, pairs="min"), r"bands\.pairs is 'min'; give mean, max or cover"),
        (lambda: MutualInformation(n=2, levels=1), r"bands\.levels is 1; give 2 levels or more"),
        (lambda: Mrmr(n=2, levels=0), r"bands\.levels is 0"),
        (lambda: Mrmr(n=2, scheme="x"), r"bands\.scheme is 'x'; give quotient or difference"),
    ],
)
def test_options_outside_their_range_are_refused(make, message):
    with pytest.raises(BandError, match=message):
        make()


@pytest.mark.parametrize("strategy", [MutualInformation, Mrmr])
def test_two_levels_are_the_least(strategy):
    assert strategy(n=2, levels=2).levels == 2
    with pytest.raises(BandError, match=r"bands\.levels is 1; give 2 levels or more"):
        strategy(n=2, levels=1)
