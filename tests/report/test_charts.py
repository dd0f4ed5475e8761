"""The charts of a report, on jobs whose answer a test knows."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from fake_sweeps import FakeSweep
from matplotlib.image import imread

from hyperspec.report.charts import accuracy, pareto
from hyperspec.report.charts import chosen_bands as wavelengths
from hyperspec.report.charts import heatmap as heat
from hyperspec.report.charts import learning_curves as curves
from hyperspec.report.charts import parallel_coordinates as parallel
from hyperspec.report.charts import parameter_importance as importance
from hyperspec.report.charts.figure import Chart, new_figure, to_png, to_svg
from hyperspec.report.charts.style import looks, ticks, value_text
from hyperspec.report.cohort_report import sections
from hyperspec.report.load import SweepData, SweepInfo, load_sweep
from hyperspec.report.output import write_report
from hyperspec.report.summary import summarise
from hyperspec.report.tables import pruned


def sweep(jobs: Sequence[Mapping[str, object]]) -> SweepData:
    """Return finished jobs without a store."""
    rows = [
        {
            "run_id": f"run{place}",
            "sweep_id": "parent",
            "sweep": "s",
            "name": f"job {place}",
            "status": "FINISHED",
            "strategy": "uniform",
            "n": 10.0,
            "num_classes": 4.0,
            "seed": 0.0,
            "seconds": 1.0,
            "reason": "",
            "pruned_at": math.nan,
            "objectives": "",
            "uri": "sqlite:////nowhere/mlflow.db",
            "artifact_uri": "/nowhere",
            "metrics.val/knn_top1": job["metrics.objective"],
            **job,
        }
        for place, job in enumerate(jobs)
    ]
    now = pd.Timestamp("2026-01-01", tz="UTC")
    info = SweepInfo("parent", "s", "", "", "FINISHED", now, 1.0, "sqlite:////nowhere/mlflow.db")
    return SweepData((info,), pd.DataFrame(rows))


def grid_jobs(counts: Sequence[float] = (10.0,)) -> list[dict[str, object]]:
    """Best at temperature 0.1 and rate 0.01; two seeds a hundredth apart."""
    return [
        {
            "n": n,
            "seed": float(seed),
            "params.loss.temperature": str(t),
            "params.lr": str(lr),
            "metrics.objective": 0.9 - abs(t - 0.1) - 10 * abs(lr - 0.01) + 0.01 * seed,
        }
        for n in counts
        for t, lr, seed in itertools.product((0.05, 0.1, 0.2), (0.001, 0.01), (0, 1))
    ]


def strategy_jobs(names: Sequence[str]) -> list[dict[str, object]]:
    """The later a strategy stands, the better it is; ``full`` has one number of bands."""
    return [
        {
            "strategy": name,
            "n": n,
            "metrics.objective": 0.2 + 0.04 * place + n / 1000,
            "metrics.val/knn_top1": 0.2 + 0.04 * place + n / 1000,
        }
        for place, name in enumerate(names)
        for n in ((408.0,) if name == "full" else (10.0, 50.0))
    ]


def test_of_many_strategies_the_best_and_the_baselines_keep_their_colours() -> None:
    names = ["full", "uniform", "random", *"abcdefg"]
    summary = summarise(sweep(strategy_jobs(names)))
    assert accuracy.muted(summary) == set("abcd")
    assert accuracy.muted(summarise(sweep(strategy_jobs(names[:7])))) == set()
    assert accuracy.small_multiples(summarise(sweep(strategy_jobs(names[:7])))) == ()
    (first,), (single,) = accuracy.charts(summary), accuracy.small_multiples(summary)
    legend = [text.get_text() for text in first.figure.legends[0].get_texts()]
    assert sorted(legend) == sorted(["4 other strategies", "chance", *names[:3], *"efg"])
    panels = [ax for ax in single.figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["uniform", "random", *"abcdef", "full", "g"]
    own = next(line for line in panels[2].get_lines() if line.get_label() == "a")
    expected = [[10, 0.2 + 3 * 0.04 + 0.01], [50, 0.2 + 3 * 0.04 + 0.05]]
    np.testing.assert_allclose(own.get_xydata(), expected)
    assert len(panels[2].get_lines()) == len(names) + 1
    assert "a, 10 bands: k-NN 0.33." in first.alt


def test_the_map_names_the_best_pair_and_draws_every_mean() -> None:
    found = heat.section(summarise(sweep(grid_jobs())))
    assert found is not None
    assert found.title == ("Which temperature and learning rate? Best seen at 0.1 and 0.01 (0.905)")
    (chart,) = found.charts
    ax = chart.figure.axes[0]
    # Mean of two seeds: 0.005 above the first. Rows of the map are rates, columns temperatures.
    expected = {
        (column, row): 0.905 - abs(t - 0.1) - 10 * abs(lr - 0.01)
        for column, t in enumerate((0.05, 0.1, 0.2))
        for row, lr in enumerate((0.001, 0.01))
    }
    written = {text.get_position(): float(text.get_text()) for text in ax.texts}
    assert written == pytest.approx(expected, abs=0.0051)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.05", "0.1", "0.2"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.001", "0.01"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("temperature", "learning rate")
    (frame,) = ax.patches
    assert frame.get_xy() == (0.5, 0.5)
    assert "best first. temperature 0.1, learning rate 0.01: 0.905; temperature 0.05," in chart.alt


def test_bands_make_small_multiples_on_one_scale() -> None:
    found = heat.section(summarise(sweep(grid_jobs((10.0, 50.0)))))
    assert found is not None
    titles = [chart.figure.axes[0].get_title() for chart in found.charts]
    assert titles == ["10 bands", "50 bands"]
    assert len({chart.figure.axes[1].get_ylim() for chart in found.charts}) == 1


def test_freely_drawn_values_are_points_where_they_lie() -> None:
    draw = np.random.default_rng(0)
    jobs = [
        {"params.loss.temperature": str(t), "params.lr": str(lr), "metrics.objective": t}
        for t, lr in zip(draw.uniform(0.01, 1, 20), 10 ** draw.uniform(-4, -2, 20), strict=True)
    ]
    found = heat.section(summarise(sweep(jobs)))
    assert found is not None
    (chart,) = found.charts
    ax = chart.figure.axes[0]
    assert ax.get_yscale() == "log"
    points = np.asarray(ax.collections[0].get_offsets())
    best = max(jobs, key=lambda job: job["metrics.objective"])
    assert len(points) == 20
    assert points[-1] == pytest.approx(
        [float(str(best["params.loss.temperature"])), float(str(best["params.lr"]))]
    )


def test_one_varied_setting_has_neither_map_nor_lines_nor_shares() -> None:
    data = sweep([{"n": float(n), "metrics.objective": n / 100} for n in range(5, 60, 5)])
    summary = summarise(data)
    assert heat.section(summary) is None
    assert parallel.section(summary) is None
    assert importance.section(data, summary) is None
    assert sections(data, summary) != []  # bands against accuracy are weighed


def test_without_data_no_section_stands() -> None:
    data = sweep([{"metrics.objective": 0.5}])
    assert sections(data, summarise(data)) == []


def test_each_setting_is_a_line_from_its_values_to_its_score() -> None:
    found = parallel.section(summarise(sweep(grid_jobs())))
    assert found is not None
    ax = found.charts[0].figure.axes[0]
    lines = np.array(ax.collections[0].get_segments())
    assert lines.shape == (6, 3, 2)  # six settings through rate, temperature and score
    best = lines[-1]  # drawn last, on top
    assert best[:, 1].tolist() == [0, 1, 2]
    # Rates span a decade: log scale, 0.01 at its end. Temperature 0.1 of 0.05 to 0.2: a third.
    assert best[:, 0] == pytest.approx([1, 1 / 3, 1])
    assert "Best: uniform, 10 bands, lr=0.01, temperature=0.1: 0.905" in found.charts[0].alt


def test_the_front_is_what_an_exhaustive_search_finds() -> None:
    costs = np.random.default_rng(3).integers(0, 6, (60, 3)).astype(float)
    expected = [
        not any(
            all(o <= v for o, v in zip(other, own, strict=True)) and any(other < own)
            for other in costs
        )
        for own in costs
    ]
    assert pareto.front(costs).tolist() == expected
    assert pareto.front(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])).tolist() == [1, 1, 0]


def test_the_front_weighs_accuracy_against_bands_and_measured_costs() -> None:
    rows = ((5, 0.6, 10.0), (10, 0.8, 10.2), (20, 0.8, 30.0), (50, 0.9, 40.0), (100, 0.7, 90.0))
    data = sweep(
        [
            {"n": float(n), "metrics.objective": score, "metrics.cost/train_seconds": seconds}
            for n, score, seconds in rows
        ]
    )
    summary = summarise(data)
    found = pareto.section(data, summary)
    assert found is not None
    assert found.title == "What does accuracy cost? 3 of 5 settings are candidates"
    assert "Of one seed, so that chance decides" in found.note
    several = pareto.section(data, dataclasses.replace(summary, num_seeds=3))
    assert several is not None
    assert several.title == "What does accuracy cost? 3 of 5 settings are beaten by none"
    assert "candidates" not in several.note
    (grid,) = found.grids
    assert grid.columns == ("strategy", "bands", "validation accuracy (k-NN)", "training time (s)")
    assert [row[1:] for row in grid.rows] == [
        ("50", "0.900", "40"),
        ("10", "0.800", "10.2"),  # 10.2 s beside 10.0 s is no difference
        ("5", "0.600", "10"),
    ]
    assert [chart.name for chart in found.charts] == ["pareto-1", "pareto-2"]
    assert "uniform, 5 bands: 5 for 0.600; uniform, 10 bands: 10 for 0.800" in found.charts[0].alt


def test_a_search_with_several_objectives_is_weighed_by_its_own() -> None:
    rows = ((5, 0.6, 900.0), (10, 0.8, 500.0), (20, 0.8, 400.0), (50, 0.9, 100.0))
    own = "val/knn_top1,bands.n,cost/samples_per_second"
    data = sweep(
        [
            {
                "n": float(n),
                "objectives": own,
                "metrics.objective": score,
                "metrics.cost/samples_per_second": speed,
                "metrics.cost/train_seconds": float(n),
            }
            for n, score, speed in rows
        ]
    )
    goals = pareto.find_goals(data, summarise(data))
    assert [(goal.name, goal.more_is_better) for goal in goals] == [
        ("val/knn_top1", True),
        ("bands.n", False),
        ("cost/samples_per_second", True),
    ]
    found = pareto.section(data, summarise(data))
    assert found is not None
    assert [row[1] for row in found.grids[0].rows] == ["50", "10", "5"]


def test_importance_finds_what_moves_the_score_and_warns_of_few_jobs() -> None:
    jobs = [
        {
            "seed": float(seed),
            "params.lr": str(lr),
            "params.loss.temperature": str(t),
            "metrics.objective": lr + 0.01 * t,
        }
        for lr, t, seed in itertools.product((0.1, 0.2, 0.3), (0.1, 0.2, 0.3), (0, 1))
    ]
    data = sweep(jobs)
    found = importance.section(data, summarise(data))
    assert found is not None
    shares = dict(re.findall(r"([a-z ]+) (\d+)%", found.charts[0].alt.split(": ")[1]))
    assert int(shares["learning rate"]) > 95
    assert sum(int(share) for share in shares.values()) == pytest.approx(100, abs=2)
    assert found.title.startswith("Which settings matter? Most of all: learning rate (")
    assert found.note == (
        "Warning: 18 jobs for 3 settings are few; take the order of the bars as a hint (from 40 "
        "jobs on it settles)."
    )
    many = sweep([{**job, "run_id": f"r{i}"} for i, job in enumerate(jobs * 3)])
    enough = importance.section(many, summarise(many))
    assert enough is not None
    assert enough.note == ""
    few = sweep(jobs[:7])
    assert importance.section(few, summarise(few)) is None


def test_chosen_wavelengths_are_strokes_with_the_share_of_jobs() -> None:
    chosen = ["[400.0,500.0]", "[400.0,600.0]", "[400.0,500.0]", "[400.0,500.0]"]
    jobs = [
        {"strategy": "random", "n": 2.0, "seed": float(seed), "metrics.objective": 0.5,
         "wavelengths_nm": text}
        for seed, text in enumerate(chosen)
    ]  # fmt: skip
    data = sweep(jobs)
    (choice,) = wavelengths.choices(data)
    assert choice.shares == {400.0: 1.0, 500.0: 0.75, 600.0: 0.25}
    found = wavelengths.section(data, summarise(data))
    assert found is not None
    assert found.grids[0].rows == (("random", "2", "4", "400.0, 500.0 (75%), 600.0 (25%)"),)
    assert found.charts[0].alt == "Chosen wavelengths. random, 2 bands: 400, 500, 600 nm."
    strokes = found.charts[0].figure.axes[0].collections[0].get_segments()
    assert [stroke[0][0] for stroke in strokes] == [400, 500, 600]


def test_a_list_of_wavelengths_that_was_cut_names_no_band() -> None:
    text = "[400.0,500. ... [cut: 7000 characters, whole in artifact params/x.txt]"
    data = sweep([{"metrics.objective": 0.5, "wavelengths_nm": text}])
    assert wavelengths.choices(data) == []


def test_curves_pruned_jobs_and_every_picture_of_a_stored_sweep(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    client = fake_sweep.connection.client
    for seed, n in itertools.product((0, 1), (10, 50)):
        metrics = {"cost/train_seconds": 10.0 * n, "train/loss": 1.0}
        params = {"bands.wavelengths_nm": "[400.0,500.0]"}
        run = fake_sweep.job("uniform", n, seed, n / 100, params=params, metrics=metrics)
        for step in (10, 20, 30):
            client.log_metric(run.run_id, "train/loss", 5.0 - step / 10 - seed, step=step)
            client.log_metric(run.run_id, "val/knn_top1", n / 100 - 0.1 + step / 1000, step=step)
    stopped = fake_sweep.job("uniform", 20, 0, 0.1, metrics={"train/loss": 3.0})
    for tag, value in {"pruned": "7", "failure.reason": "stopped at 0.09"}.items():
        client.set_tag(stopped.run_id, f"hyperspec.{tag}", value)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    (point, *_) = summarise(data).points
    history = data.history(point.run_ids[0], "train/loss")
    assert history.tolist() == [[10, 20, 30, 100], [4, 3, 2, 1]]
    found = curves.section(data, summarise(data))
    assert found is not None
    assert [chart.name for chart in found.charts] == ["curves-1", "curves-2"]
    lines = {str(line.get_label()): line for line in found.charts[0].figure.axes[0].get_lines()}
    mean = lines["uniform, 50 bands"].get_xydata()
    assert np.asarray(mean).tolist() == [[10, 3.5], [20, 2.5], [30, 1.5], [100, 1.0]]
    assert "uniform, 50 bands: 3.5 to 1" in found.charts[0].alt
    assert pruned(data).rows == ((stopped.name, "7", "stopped at 0.09"),)

    paths = write_report(data, tmp_path / "report")
    html = paths.html.read_text()
    assert "5 jobs: 4 finished, 0 failed, 1 stopped early by the search." in html
    assert "stopped at 0.09" in html
    assert "stopped at 0.09" in paths.table.read_text()
    names = [path.stem for path in paths.charts]
    assert names == ["wavelengths", "curves-1", "curves-2"]
    for path in paths.charts:
        assert imread(path).std() > 0.01  # not a blank sheet
        assert path in paths.files


def test_an_svg_keeps_its_text_and_its_own_names() -> None:
    figure = new_figure(4.5, 3)
    ax = figure.subplots()
    ax.plot([1, 2], [1, 2], marker="o")
    ax.set_xlabel("bands & <more>")
    chart = Chart("one", 'says "a" & <b>', figure)
    root = ElementTree.fromstring(to_svg(chart))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'says "a" & <b>')
    assert "bands & <more>" in [element.text for element in root.iter("text")]
    names = [name for element in root.iter() if (name := element.get("id"))]
    assert names
    assert all(name.startswith("one-") for name in names)
    used = {str(element.get("href"))[1:] for element in root.iter("use")}
    assert used
    assert used <= set(names)
    assert to_png(chart).startswith(b"\x89PNG")


def test_no_two_strategies_look_alike_and_baselines_never_change() -> None:
    many = looks([*(f"s{i}" for i in range(30)), "random", "uniform"])
    assert len({(look.colour, look.marker) for look in many.values()}) == 32
    assert many["uniform"] == looks(["uniform"])["uniform"]
    assert many["random"] == looks(["random", "a"])["random"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5, 10, 20, 50, 100], [5, 10, 20, 50, 100]),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]),
        ([10, 10.5, 100], [10, 100]),
        (np.linspace(1, 9.7, 30).tolist(), [1, 2, 5]),
        (np.linspace(3, 9.7, 30).tolist(), [4, 6, 8]),
        ([2.0] * 3, [2.0]),
    ],
)
def test_ticks_stand_at_values_and_apart(values: list[float], expected: list[float]) -> None:
    assert [value for value, _ in ticks(values)] == pytest.approx(expected)
    places = [place for _, place in ticks(values)]
    assert all(0 <= place <= 1 for place in places)
    assert all(b - a >= 0.12 - 1e-9 for a, b in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0001, "0.0001"), (1e-5, "1e-5"), (1234.0, "1234"), (0.10957, "0.11")]
)
def test_numbers_are_written_short(value: float, text: str) -> None:
    assert value_text(value) == text
