"""A new evaluator is one function and one row, and is seen everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from hyperspec.evaluation import metrics
from hyperspec.evaluation.config import DEFAULT, Evaluation
from hyperspec.evaluation.embeddings import Embeddings, Held
from hyperspec.evaluation.evaluators import BUILT_IN, EVALUATORS, Scores, chosen, register_evaluator
from hyperspec.evaluation.metrics import METRICS, Metric
from hyperspec.evaluation.objective import resolve_objective
from hyperspec.evaluation.scores import evaluate_features
from hyperspec.report.charts.style import words
from hyperspec.runs.identity import canonical
from hyperspec.search.request import _directions
from hyperspec.training.callbacks.monitoring import best_scores
from hyperspec.utils.errors import ConfigError

SPREAD = Metric(
    "spread", "spread", range="0 to 2", direction="minimize", leading=True, printed="test",
    column=True,
)  # fmt: skip


@pytest.fixture
def spread(evaluator_tables: None) -> None:
    @register_evaluator("spread", metrics=[SPREAD], on_controls=True)
    def run(embeddings: Embeddings):
        part = embeddings.part
        far = np.linalg.norm(part.matrix - part.matrix.mean(0), axis=1)
        return {"spread": embeddings.averaged(far, part.specimens)}


def held(seed: int) -> Held:
    random = np.random.default_rng(seed)
    specimens = [f"{seed}/{i // 2}" for i in range(16)]
    return Held(random.normal(size=(16, 4)), list("aabb") * 4, specimens, [*map(str, range(16))])


def test_it_is_run_by_name_on_each_part_and_on_controls(spread: None) -> None:
    parts = {"train": held(0), "validation": held(1), "test": held(2)}
    found = evaluate_features(parts, [*DEFAULT, "spread"]).metrics
    far = np.linalg.norm(parts["test"].matrix - parts["test"].matrix.mean(0), axis=1)
    assert found["test/spread"] == pytest.approx(far.mean())
    assert found["val/spread_low"] < found["val/spread"] < found["val/spread_high"]
    assert "test/spread" not in evaluate_features(parts, DEFAULT).metrics
    for_controls = {name for name, one in EVALUATORS.items() if one.on_controls}
    assert for_controls == {"knn", "linear", "spread"}


def test_it_can_be_the_objective_and_its_direction_is_known(spread: None) -> None:
    given = {"labels_available": False, "views_available": False}
    assert resolve_objective("val/spread", evaluators=["spread"], **given) == "val/spread"
    assert resolve_objective(None, evaluators=["spread"], **given) == "val/spread"
    assert _directions("auto", ["val/spread", "val/knn_top1"]) == ("minimize", "maximize")
    with pytest.raises(ConfigError, match="which the evaluator 'spread' measures; add it"):
        resolve_objective("val/spread", evaluators=DEFAULT, **given)
    with pytest.raises(ConfigError, match="no score of an encoder"):
        resolve_objective("val/linear_C", evaluators=DEFAULT, **given)
    with pytest.raises(ConfigError, match=r"evaluation.evaluators \(nmi\) measures none of knn"):
        resolve_objective("auto", evaluators=["nmi"], **given)


def test_the_best_so_far_is_the_smallest(spread: None) -> None:
    best: dict[str, float] = {}
    best_scores(best, {"val/spread": 0.5, "val/knn_top1": 0.5})
    found = best_scores(best, {"val/spread": 0.7, "val/knn_top1": 0.7})
    assert found == {"best/val_spread": 0.5, "best/val_knn_top1": 0.7}


def test_printed_result_and_words(spread: None) -> None:
    shown = dict(metrics.printed())
    assert shown["test/spread"] == "spread (test)"
    assert words("val/spread") == "spread (validation)"


def test_without_it_the_words_are_those_of_before() -> None:
    assert dict(metrics.printed()) == {
        "test/knn_top1": "test k-NN",
        "test/linear_top1": "test linear probe",
        "control/untrained_knn_top1": "untrained encoder, k-NN",
        "control/mean_spectrum_knn_top1": "mean spectrum, k-NN",
        "control/image_stats_knn_top1": "image statistics, k-NN",
        "control/random_features_knn_top1": "random features, k-NN",
        "control/pls_da_top1": "PLS-DA",
        "control/lda_top1": "LDA",
        "control/rgb_encoder_knn_top1": "RGB encoder, k-NN",
        "val/rankme": "RankMe (validation)",
    }
    said = {name: words(name) for name in ("val/knn_top1", "val/view_retrieval_top1", "val/rankme")}
    assert list(said.values()) == [
        "validation accuracy (k-NN)",
        "validation view retrieval",
        "RankMe (validation)",
    ]
    assert (words("train/loss"), words("bands.n")) == ("training loss", "number of bands")
    assert (words("loss"), words("val/unknown")) == ("loss", "val/unknown")
    assert metrics.leading() == ["knn_top1", "view_retrieval_top1", "rankme"]


def test_every_row_has_its_evaluator_and_every_chance_its_row() -> None:
    for row in METRICS.values():
        assert row.evaluator in {"", *BUILT_IN}
        assert row.chance in {"", metrics.CLASSES, *METRICS}


def test_a_name_is_given_once(evaluator_tables: None) -> None:
    with pytest.raises(ConfigError, match=r"There is an evaluator 'knn' already .*\.knn\.run"):
        register_evaluator("knn")(lambda embeddings: {})
    with pytest.raises(ConfigError, match="brings the metric 'rankme', which rankme measures"):
        register_evaluator("mine", metrics=[Metric("rankme")])(lambda _: {})
    assert "mine" not in EVALUATORS


def test_unknown_names_are_told_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"evaluation.evaluators names 'knm'; there are .*knn"):
        Evaluation(evaluators=["knm"])
    assert [one.name for one in chosen(["rankme", "knn", "rankme"])] == ["rankme", "knn"]
    assert Evaluation(linear=False).scored_by == ["knn", "view_retrieval", "rankme"]


def test_naming_the_evaluators_of_today_keeps_the_identity_of_jobs() -> None:
    plain = canonical(Evaluation())
    assert isinstance(plain, dict)
    assert "evaluators" not in plain
    assert "evaluators" in canonical(Evaluation(evaluators=["knn"]))


def test_predictions_of_a_registered_probe_join_the_table(evaluator_tables: None) -> None:
    @register_evaluator("first", needs_labels=True)
    def run(embeddings: Embeddings) -> Scores:
        assert embeddings.known is not None
        labels = embeddings.rows.labels
        said = np.full(len(labels), embeddings.known.labels[0])
        right = embeddings.averaged(said == labels, embeddings.rows.specimens)
        return Scores({"first_top1": right}, said)

    table = evaluate_features({"train": held(0), "test": held(1)}, ["knn", "first"])
    columns = list(table.predictions["test"].columns)
    assert columns[3:] == ["knn", "first", "knn_correct", "first_correct"]
    assert table.predictions["test"]["first_correct"].mean() == table.metrics["test/first_top1"]
