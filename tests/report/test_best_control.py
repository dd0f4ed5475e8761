"""The control that validation likes best: over all runs, by any probe, never by the test part."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_sweeps import FakeSweep
from rich.console import Console

from hyperspec.report.best_control import best_accuracy, best_control
from hyperspec.report.charts.accuracy import alt_text, draw
from hyperspec.report.load import SweepData, load_sweep
from hyperspec.report.output import print_report, write_report
from hyperspec.report.summary import summarise
from hyperspec.report.tables import compact, ranking

NEW = {
    "control_val/untrained_knn_top1": 0.35,
    "control_val/untrained_linear_top1": 0.4,
    "control_val/mean_spectrum_knn_top1": 0.5,
    "control_val/mean_spectrum_linear_top1": 0.7,
    "control_val/lda_top1": 0.6,
    "control/lda_top1": 0.65,
    "control/lda_balanced": 0.55,
    "control/mean_spectrum_linear_top1": 0.45,
    "test/knn_balanced": 0.42,
    "test/majority_share": 0.25,
}


def loaded(sweep: FakeSweep, *jobs: tuple[int, Mapping[str, float]]) -> SweepData:
    for place, (n, metrics) in enumerate(jobs):
        sweep.job("uniform", n, seed=place, knn=0.5, metrics=metrics)
    sweep.parent.finish()
    return load_sweep(sweep.connection.uri, [sweep.parent.run_id])


def test_validation_chooses_although_test_would_choose_another(fake_sweep: FakeSweep) -> None:
    data = loaded(fake_sweep, (10, NEW), (50, NEW))
    found = best_control(data)
    assert found is not None
    assert (found.name, found.row.name, found.validation) == ("mean_spectrum", "linear_top1", 0.7)
    assert found.words == "mean spectrum, linear probe"
    assert found.metric == "control/mean_spectrum_linear_top1"
    assert found.column == "mean_spectrum_linear_correct"
    assert summarise(data).control == found


def test_the_mean_over_the_runs_decides(fake_sweep: FakeSweep) -> None:
    data = loaded(fake_sweep, (10, NEW), (50, NEW | {"control_val/lda_top1": 0.9}))
    found = best_control(data)
    assert found is not None
    assert (found.name, found.words, found.validation) == ("lda", "LDA", pytest.approx(0.75))
    assert (found.metric, found.column) == ("control/lda_top1", "lda_correct")


def test_a_control_that_some_run_lacks_is_not_compared_by_other_runs(fake_sweep: FakeSweep) -> None:
    # Of the first run alone; and a run from before validation scores is no run without it.
    data = loaded(fake_sweep, (10, NEW | {"control_val/pls_da_top1": 1.0}), (50, NEW), (20, {}))
    found = best_control(data)
    assert found is not None
    assert found.name == "mean_spectrum"


def test_the_encoder_is_set_against_it_by_its_own_best_probe(fake_sweep: FakeSweep) -> None:
    data = loaded(fake_sweep, (10, {"val/linear_top1": 0.9}), (50, {"val/linear_top1": 0.7}))
    found = best_accuracy(data)
    assert found is not None
    assert found.name == "linear_top1"
    assert best_control(data) is None  # these runs are as those of 0.1.0


def test_tables_show_it_and_what_blind_guesses_reach(fake_sweep: FakeSweep, tmp_path: Path) -> None:
    data = loaded(fake_sweep, (10, NEW))
    summary = summarise(data)
    heart = compact(summary)
    assert heart.title == (
        "Ranked by val/knn_top1; best control by validation: mean spectrum, linear probe"
    )
    assert heart.columns[-1] == "best\ncontrol"
    assert heart.rows[0][-1] == "0.45"
    whole = ranking(summary)
    row = dict(zip(whole.columns, whole.rows[0], strict=True))
    assert row["test k-NN, balanced"] == "0.420"
    assert row["LDA"] == "0.650 (0.550)"
    assert row["mean spectrum linear probe"] == "0.450"
    assert list(whole.columns).count("LDA") == 1
    assert "chance 0.125; most frequent label 0.250 of the test part" in whole.title
    buffer = io.StringIO()
    print_report(data, write_report(data, tmp_path / "out"), Console(file=buffer, width=80))
    text = buffer.getvalue()
    assert max(map(len, text[: text.index("Illustrative")].splitlines())) <= 80
    wide = io.StringIO()
    print_report(data, write_report(data, tmp_path / "out"), Console(file=wide, width=400))
    assert "0.650 (0.550)" in wide.getvalue()


def test_the_picture_draws_it_beside_the_usual_two(fake_sweep: FakeSweep) -> None:
    more = NEW | {"control_val/lda_top1": 0.9}
    summary = summarise(loaded(fake_sweep, (10, more), (50, more)))
    labels = [text.get_text() for text in draw(summary).legends[0].get_texts()]
    controls = ["untrained encoder", "mean spectrum", "LDA"]
    assert labels == ["uniform", *controls, "chance", "most frequent label"]
    for ax in draw(summary).axes:  # a classifier has no probe: it stands in either panel
        (line,) = [one for one in ax.get_lines() if one.get_label() == "LDA"]
        assert line.get_xydata().tolist() == [[10, 0.65], [50, 0.65]]
    assert "Control LDA: 0.65 to 0.65." in alt_text(summary)
    assert "Most frequent label: 0.25." in alt_text(summary)


def test_runs_of_before_keep_their_columns(fake_sweep: FakeSweep) -> None:
    summary = summarise(loaded(fake_sweep, (10, {})))
    assert compact(summary).columns[-2:] == ("untrained\nencoder", "mean\nspectrum")
    assert math.isnan(summary.majority)
