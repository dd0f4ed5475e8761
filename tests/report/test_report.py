from __future__ import annotations

import io
import re
import shlex
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from fake_sweeps import FakeSweep, predictions_table
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from rich.console import Console

from hyperspec.evaluation.metrics import METRICS, Metric
from hyperspec.evaluation.statistics.intervals import mean_interval
from hyperspec.report.charts.accuracy import charts as accuracy_charts
from hyperspec.report.glossary import glossary_html, hinted
from hyperspec.report.load import load_sweep
from hyperspec.report.output import print_report, report, write_report
from hyperspec.report.summary import summarise
from hyperspec.report.tables import Grid, caveat, compact, failures, ranking, to_rich
from hyperspec.report.theme import themed
from hyperspec.tracking import reader
from hyperspec.tracking.parent import ParentInfo, write_parent
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import TrackingError


class _Page(HTMLParser):
    """Collects what a reader of the page meets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.names: list[str] = []
        self.open_tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "svg":
            self.images.append(dict(attrs))
        if tag not in ("meta", "br"):
            self.open_tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]
        self.names += [v or "" for k, v in attrs if k == "id"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag


def test_jobs_of_one_sweep_are_read_back(fake_sweep: FakeSweep) -> None:
    job = fake_sweep.job("uniform", 50, seed=3, knn=0.75, params={"loss.temperature": "0.1"})
    fake_sweep.job("rgb", 3)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    row = data.jobs.set_index("run_id").loc[job.run_id]
    assert (row["strategy"], row["n"], row["seed"]) == ("uniform", 50, 3)
    assert (row["temperature"], row["lr"]) == (0.1, 0.001)
    assert row["metrics.test/knn_top1"] == 0.75
    assert row["params.bands.n"] == "50"
    assert data.sweeps[0].study == "band_count"
    assert len(data.finished) == 2
    assert data.failed.empty


def test_jobs_in_a_file_are_read_without_mlflow(
    fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        fake_sweep.job("uniform", 10, seed=seed)
    fake_sweep.parent.finish()
    monkeypatch.setattr(reader, "open_client", lambda *_, **__: pytest.fail("MLflow was asked"))
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    assert len(data.finished) == 3
    assert data.finished is data.finished  # each comparison of a report looks at them


def test_a_row_of_the_table_of_metrics_is_a_column(
    fake_sweep: FakeSweep, evaluator_tables: None
) -> None:
    METRICS["spread"] = Metric("spread", "spread of rows", "mine", "0 to 2", column=True)
    values = {"test/spread": 0.25, "test/spread_low": 0.2, "test/spread_high": 0.3}
    fake_sweep.job("uniform", 10, metrics={**values, "control/untrained_spread": 0.75})
    fake_sweep.job("random", 10)
    summary = summarise(load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id]))
    table = ranking(summary)
    rows = {row[1]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["uniform"]["test spread of rows [95%]"] == "0.250 [0.20, 0.30]"
    assert rows["uniform"]["untrained encoder spread of rows"] == "0.750"
    assert rows["random"]["test spread of rows [95%]"] == "-"
    assert "test\nspread of rows" in compact(summary).columns
    # It is no accuracy: nothing is drawn as one, and nothing compared in pairs by it.
    assert [one.name for one in summary.accuracies] == ["knn_top1", "linear_top1"]


def test_a_sweep_is_found_by_identity_prefix_name_folder_and_latest(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    fake_sweep.job("uniform", 50)
    fake_sweep.parent.finish()
    run_id, uri = fake_sweep.parent.run_id, fake_sweep.connection.uri
    note = ParentInfo(run_id, uri, fake_sweep.connection.experiment, "band_count", "x")
    write_parent(tmp_path / "sweep", note)
    for word in (run_id, run_id[:12], fake_sweep.parent.name, str(tmp_path / "sweep")):
        assert load_sweep(uri, [word]).sweeps[0].run_id == run_id
    latest = load_sweep(uri, ["latest"], fake_sweep.connection.experiment)
    assert latest.sweeps[0].run_id == run_id
    twice = load_sweep(uri, [run_id, fake_sweep.parent.name])
    assert len(twice.sweeps) == len(twice.jobs) == 1


def test_a_job_on_its_own_is_a_sweep_of_one(fake_sweep: FakeSweep) -> None:
    with start_run(fake_sweep.connection, "alone", params={"bands": "rgb"}) as run:
        run.log_metrics({"objective": 0.5})
    data = load_sweep(fake_sweep.connection.uri, [run.run_id])
    assert list(data.jobs["name"]) == ["alone"]


def test_a_sweep_that_is_not_there_is_answered_with_those_that_are(fake_sweep: FakeSweep) -> None:
    fake_sweep.parent.finish()
    uri = fake_sweep.connection.uri
    with pytest.raises(TrackingError) as caught:
        load_sweep(uri, ["nonsense"], fake_sweep.connection.experiment)
    assert str(caught.value).startswith(f"No sweep in {uri} answers to 'nonsense'.")
    assert f"{fake_sweep.parent.run_id[:8]} {fake_sweep.parent.name}" in str(caught.value)
    with pytest.raises(TrackingError, match="no experiment 'elsewhere' in"):
        load_sweep(uri, ["latest"], "elsewhere")


def test_two_sweeps_of_one_name_are_told_apart(fake_sweep: FakeSweep) -> None:
    other = start_run(fake_sweep.connection, fake_sweep.parent.name, kind="sweep")
    other.finish()
    fake_sweep.parent.finish()
    with pytest.raises(TrackingError, match=r"2 sweeps in .* answer to 'band_count") as caught:
        load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.name])
    assert other.run_id in str(caught.value)


def test_one_seed_is_called_illustrative_with_the_runs_own_interval(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    for n, knn in ((10, 0.25), (50, 0.9), (20, 0.5)):
        fake_sweep.job("uniform", n, knn=knn)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    summary = summarise(data)
    grid = ranking(summary)
    assert grid.columns[:5] == ("#", "strategy", "bands", "seeds", "val/knn_top1")
    assert [row[:6] for row in grid.rows] == [
        ("1", "uniform", "50", "1", "0.890", "0.900 [0.80, 1.00]"),
        ("2", "uniform", "20", "1", "0.490", "0.500 [0.40, 0.60]"),
        ("3", "uniform", "10", "1", "0.240", "0.250 [0.15, 0.35]"),
    ]
    assert grid.rows[0][6:11] == ("0.950 [0.85, 1.00]", "0.300", "0.350", "0.300", "0.350")
    assert caveat(summary).startswith("Illustrative: one seed.")
    assert summary.chance == 1 / 8
    paths = write_report(data, tmp_path / "report")
    assert "Illustrative: one seed" in re.sub(r"</?abbr[^>]*>", "", paths.html.read_text())
    assert "0.900 [0.80, 1.00]" in paths.table.read_text()


def test_three_seeds_give_the_crossed_interval(fake_sweep: FakeSweep) -> None:
    accuracies = (0.5, 0.625, 0.75)
    for seed, knn in enumerate(accuracies):
        fake_sweep.job("uniform", 50, seed, knn, predictions=True)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    (point,) = summarise(data).points
    tables = [predictions_table(knn, seed) for seed, knn in enumerate(accuracies)]
    order = np.argsort(tables[0]["file"].to_numpy())
    expected = mean_interval(
        [t["knn_correct"].to_numpy(float)[order] for t in tables],
        tables[0]["specimen"].to_numpy()[order].tolist(),
    )
    score = point.scores["knn"]
    assert (score.mean, score.low, score.high) == (expected.mean, expected.low, expected.high)
    assert score.mean == pytest.approx(0.625)
    assert score.kind == "seeds and specimens"
    assert (point.num_seeds, point.objective) == (3, pytest.approx(0.615))


def test_three_seeds_without_predictions_fall_back_and_say_so(fake_sweep: FakeSweep) -> None:
    for seed in range(3):
        fake_sweep.job("uniform", 50, seed, 0.5 + 0.1 * seed)
    fake_sweep.parent.finish()
    summary = summarise(load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id]))
    score = summary.points[0].scores["knn"]
    assert (score.mean, score.low, score.high) == pytest.approx((0.6, 0.5, 0.7))
    assert caveat(summary) == (
        "Means over 3 seeds. Intervals: 95%, over specimens, of the seeds that were run."
    )


def test_settings_that_vary_split_points_and_consequences_do_not(fake_sweep: FakeSweep) -> None:
    for seed in (0, 1):
        for views, gain in (("default", "0.2"), ("strong", "0.4")):
            settings = {"views": views, "views.gain": gain, "loss.temperature": "0.1"}
            settings |= {"bands.seed": str(seed), "tracking.flush_seconds": str(seed)}
            fake_sweep.job("random", 50, seed, 0.4 + float(gain), params=settings)
    fake_sweep.parent.finish()
    summary = summarise(load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id]))
    assert summary.extra_names == ("views",)
    rows = [(p.extra["views"], p.num_seeds, p.scores["knn"].mean) for p in summary.points]
    assert rows == [("strong", 2, pytest.approx(0.8)), ("default", 2, pytest.approx(0.6))]
    assert caveat(summary).startswith("Illustrative: 2 seeds; 3 are the least to compare by.")


def test_without_labels_the_objective_is_the_column(fake_sweep: FakeSweep, tmp_path: Path) -> None:
    fake_sweep.job("uniform", 10, knn=0.4, labelled=False)
    fake_sweep.job("uniform", 50, knn=0.8, labelled=False)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    grid = ranking(summarise(data))
    name = "val/view_retrieval_top1"
    assert grid.columns == ("#", "strategy", "bands", "seeds", name, "time per job")
    assert [row[:5] for row in grid.rows] == [
        ("1", "uniform", "50", "1", "0.800"),
        ("2", "uniform", "10", "1", "0.400"),
    ]
    paths = write_report(data, tmp_path / "report")
    image = _Page(paths.html.read_text()).images[0]
    assert image["aria-label"] == (
        "Chart of val/view_retrieval_top1 against number of bands (log scale). "
        "uniform, 10 bands: 0.400. uniform, 50 bands: 0.800. Chance: 0.12."
    )


def test_a_loss_as_objective_ranks_the_lowest_first(fake_sweep: FakeSweep) -> None:
    for n, loss in ((10, 3.0), (50, 1.0)):
        fake_sweep.job(
            "uniform", n, params={"objective": "train/loss"}, metrics={"objective": loss}
        )
    fake_sweep.parent.finish()
    summary = summarise(load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id]))
    assert [point.n for point in summary.points] == [50, 10]
    assert summary.objective_name == "train/loss"


def test_of_several_objectives_the_first_ranks_and_names(fake_sweep: FakeSweep) -> None:
    for n, bands in ((10, 10.0), (50, 50.0)):
        run = fake_sweep.job(
            "uniform",
            n,
            knn=0.9 - n / 100,
            params={"objective": "[bands.n,auto]"},
            metrics={"objective": bands, "bands.n": bands},
        )
        fake_sweep.connection.client.set_tag(
            run.run_id, "hyperspec.objectives", "bands.n,val/knn_top1"
        )
    fake_sweep.parent.finish()
    summary = summarise(load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id]))
    assert summary.objective_name == "bands.n"
    assert [point.n for point in summary.points] == [10, 50]


def test_failed_jobs_stand_in_their_own_table(fake_sweep: FakeSweep, tmp_path: Path) -> None:
    fake_sweep.job("uniform", 50)
    broken = start_run(
        fake_sweep.connection, "uniform n=409", parent_run_id=fake_sweep.parent.run_id
    )
    with pytest.raises(ValueError, match=r"bands\.n"), broken:
        raise ValueError("bands.n is 409 <b>too many</b>")
    fake_sweep.parent.finish("FAILED")
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    assert failures(data).rows == (
        ("uniform n=409", "FAILED", "ValueError: bands.n is 409 <b>too many</b>"),
    )
    assert len(ranking(summarise(data)).rows) == 1
    paths = write_report(data, tmp_path / "report")
    html = paths.html.read_text()
    assert "ValueError: bands.n is 409 &lt;b&gt;too many&lt;/b&gt;" in html
    assert "2 jobs: 1 finished, 1 failed." in html
    assert "uniform n=409" in paths.table.read_text()


def test_a_sweep_whose_jobs_all_failed_still_has_a_report(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    run = start_run(fake_sweep.connection, "a", parent_run_id=fake_sweep.parent.run_id)
    run.fail(RuntimeError("boom"))
    fake_sweep.parent.finish("FAILED")
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    paths = write_report(data, tmp_path / "report")
    assert "No job has finished." in paths.table.read_text()
    assert "RuntimeError: boom" in paths.html.read_text()


def test_the_page_is_whole_and_reaches_for_nothing_outside(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    for n in (10, 50):
        fake_sweep.job("uniform", n, knn=0.5)
    fake_sweep.job("rgb", 3, knn=0.25)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    paths = write_report(data, tmp_path / "report")
    html = paths.html.read_text()
    page = _Page(html)
    assert page.open_tags == []
    assert len(page.names) == len(set(page.names))  # marks of one chart are not another's
    assert {link.removeprefix("#") for link in page.links} <= set(page.names)
    assert re.findall(r"https?://|url\((?!#)|@import|<script|<link", html) == []
    references = re.findall(r"url\(#([^)]+)\)", html)
    assert set(references) <= set(page.names)
    for image, probe in zip(page.images[:2], ("k-NN", "linear probe"), strict=True):
        assert image["role"] == "img"
        alt = str(image["aria-label"])
        assert alt.startswith(f"Chart of test {probe} accuracy against number of")
        assert "Control untrained encoder: 0.30 to 0.30." in alt
    assert "rgb, 3 bands: k-NN 0.25." in str(page.images[0]["aria-label"])
    assert "number of bands (log scale)</text>" in html  # text stays text
    command = "hyperspec train -m &#x27;bands.n=10,50&#x27; data.root=&lt;specimens&gt;"
    assert command in html
    assert '<td class="text">lr</td><td class="text">0.001</td>' in html
    assert 'name="viewport"' in html


def test_the_picture_decodes_and_shows_every_strategy(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    from hyperspec.report.charts.accuracy import draw

    for n in (10, 50, 408):
        fake_sweep.job("uniform", n, knn=0.5)
    fake_sweep.job("full", 408, knn=0.9)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    picture = imread(write_report(data, tmp_path / "report").picture)
    assert picture.shape[0] > 600
    assert picture.shape[1] > 1200
    assert picture.std() > 0.05
    figure = draw(summarise(data))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "uniform",
        "full",
        "untrained encoder (uniform; × others)",
        "mean spectrum (uniform; + others)",
        "chance",
    ]
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10", "50", "408"]
    assert ax.get_xlabel() == "number of bands (log scale)"
    line = next(drawn for drawn in ax.get_lines() if drawn.get_label() == "uniform")
    assert line.get_xydata().tolist() == [[10, 0.5], [50, 0.5], [408, 0.5]]


def test_the_terminal_shows_the_table_within_80_characters_and_paths_whole(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    fake_sweep.job("uniform", 50, knn=0.9)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    folder = tmp_path / ("a-long-folder-name-" * 6)
    paths = write_report(data, folder)
    buffer = io.StringIO()
    print_report(data, paths, Console(file=buffer, width=80))
    text = buffer.getvalue()
    table = text[: text.index("Illustrative")].splitlines()
    assert max(len(line.rstrip()) for line in table) <= 80
    cells = "  1  uniform     50     0.890  0.90 [0.80, 1.00]    0.95       0.30      0.35"
    assert cells.split() == next(line for line in table if "uniform" in line).split()
    assert f"picture: {paths.picture}\n" in text
    assert f"page: {paths.html}\n" in text
    assert f"MLflow UI: hyperspec ui --uri {shlex.quote(fake_sweep.connection.uri)}\n" in text


def test_several_sweeps_share_one_report(
    fake_sweep: FakeSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_sweep.job("uniform", 50, knn=0.9)
    fake_sweep.parent.finish()
    second = FakeSweep(
        fake_sweep.connection,
        start_run(fake_sweep.connection, "others", kind="sweep"),
        tmp_path,
    )
    second.job("rgb", 3, knn=0.2)
    second.parent.finish()
    paths = report(
        [fake_sweep.parent.run_id, second.parent.run_id],
        uri=fake_sweep.connection.uri,
        out_dir=tmp_path / "both",
    )
    shown = capsys.readouterr().out
    assert shown.index("uniform") < shown.index("rgb")
    html = paths.html.read_text()
    assert "hyperspec train -m" in html
    assert "no command logged" in html


def test_the_narrow_table_names_seeds_only_when_they_differ(fake_sweep: FakeSweep) -> None:
    fake_sweep.job("uniform", 50, 0)
    fake_sweep.job("uniform", 20, 0)
    fake_sweep.job("uniform", 20, 1)
    fake_sweep.parent.finish()
    summary = summarise(load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id]))
    assert "seeds" in compact(summary).columns
    assert summary.num_seeds == 1


def test_a_study_of_settings_opens_with_its_own_question(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    for place, (rate, temperature) in enumerate(product(("0.001", "0.01"), ("0.1", "0.5"))):
        params = {"lr": rate, "loss.temperature": temperature}
        fake_sweep.job("uniform", 12, knn=0.5 + 0.1 * place, params=params)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    paths = write_report(data, tmp_path / "report")
    html = paths.html.read_text()
    assert "<h1>Sweep of learning rate and temperature: " in html
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles[0] == "Which temperature and learning rate? Best seen at 0.5 and 0.01 (0.790)"
    assert not any("number of bands" in title for title in titles)  # there is one
    buffer = io.StringIO()
    print_report(data, paths, Console(file=buffer, width=80))
    text = buffer.getvalue()
    assert text.index(titles[0]) < text.index("uniform, 12 bands, ranked by val/knn_top1")
    assert f"picture: {tmp_path}/report/heat-1.png\n" in text
    lines = text[text.index("ranked by") : text.index("Illustrative")].splitlines()
    (head,) = [line.split() for line in lines if " lr " in line]
    assert head == ["#", "lr", "temperature", "knn_top1", "k-NN", "linear", "encoder", "spectrum"]


def test_heads_of_narrow_tables_break_between_words_alone() -> None:
    columns = ("#", "strategy", "loss.\ntemperature", "a long reason", "95% interval")
    rows = (("1", "uniform", "0.1", "word " * 30, "0.30 [0.20, 0.40]"),)
    buffer = io.StringIO()
    grid = Grid("title", columns, rows, num_text=2)
    Console(file=buffer, width=60).print(to_rich(grid))
    head = buffer.getvalue().partition("\u2500")[0].split()
    assert set(head) == {"title", *(word for column in columns for word in column.split())}


def test_words_are_explained_where_they_come_first_and_at_the_end() -> None:
    told = hinted("k-NN <b>, then the linear probe; k-NN again, with intervals")
    assert told.startswith('<abbr title="k nearest neighbours: ')
    assert told.count("<abbr") == 3
    assert ">k-NN</abbr> &lt;b&gt;, then the <abbr" in told
    assert ">intervals</abbr>" in told
    assert hinted("k-NN", {"k-NN"}) == "k-NN"
    assert hinted("seedling, knn_top1_interval") == "seedling, knn_top1_interval"
    for name in ("k-NN", "linear probe", "objective", "RankMe", "interval"):
        assert f"<dt>{name}</dt><dd>" in glossary_html()


def test_charts_follow_a_dark_room_unless_their_colours_would_vanish() -> None:
    line = '<figure><svg><path style="fill: #ffffff; stroke: #000000"/>{}</svg></figure>'
    body, rules = themed(line.format('<path style="stroke: #d55e00"/>'))
    assert 'style="fill: var(--gff, #ffffff); stroke: var(--g00, #000000)"' in body
    assert "stroke: #d55e00" in body
    assert "prefers-color-scheme: dark" in rules
    assert "--g00: #e8e8e8;" in rules
    assert "--gff: #15181b;" in rules
    for kept in ('<path style="fill: #440154"/>', '<text style="fill: #ffffff">1</text>'):
        body, rules = themed(line.format(kept))
        assert body == line.format(kept).replace("<figure>", '<figure class="white">')
        assert "--g" not in rules


@pytest.mark.parametrize("name", ["uniform", "a_strategy_with_a_very_long_name_of_its_own"])
def test_legends_are_wholly_in_their_figure(fake_sweep: FakeSweep, name: str) -> None:
    for n in (10, 50):
        fake_sweep.job(name, n, knn=0.5)
        fake_sweep.job("random", n, knn=0.4)
    fake_sweep.parent.finish()
    summary = summarise(load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id]))
    for chart in accuracy_charts(summary):
        FigureCanvasAgg(chart.figure).draw()
        (legend,) = chart.figure.legends
        box, page = legend.get_window_extent(), chart.figure.bbox
        assert len(legend.get_texts()) == 5
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
        assert chart.figure.axes[0].get_window_extent().y0 >= box.y1
