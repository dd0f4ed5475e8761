"""Probes of a confounder: the k-NN of labels, its chance, and what cannot be probed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hyperspec.evaluation.confounders import metric_name, probe_confounder, probe_table
from hyperspec.evaluation.embeddings import Embeddings, Held
from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.evaluation.objective import resolve_objective
from hyperspec.evaluation.scores import control_table, evaluate_features
from hyperspec.evaluation.statistics.intervals import mean_interval
from hyperspec.utils.errors import ConfigError

DAYS = ["mon", "tue", "wed"]


def held(seed: int, size: int) -> Held:
    random = np.random.default_rng(seed)
    features = np.repeat(np.eye(3, 6), size // 3, axis=0) + random.normal(0, 0.6, (size, 6))
    specimens = [f"{seed}/{i // 2}" for i in range(size)]
    return Held(features, ["x"] * size, specimens, [f"{seed}/{i}" for i in range(size)])


def days(size: int) -> list[str | None]:
    return [day for day in DAYS for _ in range(size // 3)]


def test_a_probe_is_the_k_nn_of_labels_with_its_interval_and_the_majority_as_chance() -> None:
    train, test, seen = held(0, 48), held(1, 24), days(24)
    seen[0] = None
    seen[23] = "sat"  # the training part does not have it
    one = probe_confounder("day", train, test, (days(48), seen), k=5)
    rows = list(range(1, 23))
    truth = [str(seen[i]) for i in rows]
    result = knn_probe(train.matrix, days(48), test.matrix[rows], truth, k=5)
    interval = mean_interval(result.correct, [test.specimens[i] for i in rows])
    assert one.metrics == {
        "confounder/day_knn_top1": result.top1,
        "confounder/day_knn_top1_low": interval.low,
        "confounder/day_knn_top1_high": interval.high,
        "confounder/day_chance": 8 / 22,
    }
    assert (one.num_images, one.reason) == (22, "")
    assert 0.4 < result.top1 < 1


@pytest.mark.parametrize(
    ("known", "seen", "reason"),
    [
        (["sat"] * 12, days(6), "the training part has 1 value of it"),
        ([None] * 12, days(6), "the training part has 0 values of it"),
        (["sat", "sun"] * 6, days(6), "no value of the test part occurs in the training part"),
        ([*days(3), *[None] * 9], days(6), "3 training images have a value, fewer than"),
    ],
)
def test_what_cannot_be_probed_says_why(
    known: list[str | None], seen: list[str | None], reason: str
) -> None:
    one = probe_confounder("day", held(0, 12), held(1, 6), (known, seen), k=5)
    assert one.metrics == {}
    assert one.reason.startswith(reason)
    (row,) = probe_table([one]).to_dict("records")
    assert (row["column"], row["images"], row["reason"]) == ("day", 0, one.reason)
    assert all(row[key] is None or math.isnan(row[key]) for key in ("accuracy", "low", "chance"))


def test_names_that_mlflow_takes() -> None:
    assert metric_name("scan date (UTC)") == "confounder/scan date _UTC__knn_top1"


def test_nothing_is_chosen_on_a_probe_of_the_test_part() -> None:
    with pytest.raises(ConfigError, match="nothing may be chosen on the test part"):
        resolve_objective("confounder/day_knn_top1", labels_available=True, views_available=True)


def test_intervals_are_over_groups_where_the_split_keeps_them_together() -> None:
    plain = held(1, 24)
    groups = [f"g{i // 8}" for i in range(24)]
    grouped = Held(plain.matrix, plain.labels, plain.specimens, plain.files, groups)
    right = np.random.default_rng(0).random(24) < 0.6
    found = Embeddings(grouped).averaged(right, plain.specimens)
    assert repr(found) == repr(mean_interval(right, groups))  # with NaN, equal to nothing
    assert Embeddings(plain).averaged(right, plain.specimens) == mean_interval(
        right, plain.specimens
    )
    # Of some of the rows too.
    some = Embeddings(grouped).averaged(right[8:], plain.specimens[8:])
    assert repr(some) == repr(mean_interval(right[8:], groups[8:]))
    with pytest.raises(ValueError, match="do not fit together"):
        Held(plain.matrix, plain.labels, plain.specimens, plain.files, groups[1:])


def test_tables_of_predictions_say_the_group() -> None:
    train, test = held(0, 48), held(1, 24)
    parts = {
        name: Held(one.matrix, days(len(one.files)), one.specimens, one.files, one.specimens)
        for name, one in (("train", train), ("test", test))
    }
    result = evaluate_features(parts, ["knn"])
    table = result.predictions["test"]
    assert list(table) == ["file", "specimen", "group", "label", "knn", "knn_correct"]
    assert table["group"].tolist() == list(test.specimens)
    beside = control_table({"mean_spectrum": result})
    assert beside is not None
    assert list(beside)[:5] == ["file", "specimen", "group", "label", "mean_spectrum_knn"]
