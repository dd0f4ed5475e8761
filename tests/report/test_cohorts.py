"""What differs in identity is in no row, rank, test or chart together with what it differs from."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_sweeps import FakeSweep

from hyperspec.report.cohort_report import report_cohorts, side_by_side
from hyperspec.report.cohorts import best_job, divide
from hyperspec.report.load import SweepData, SweepInfo, load_sweep
from hyperspec.report.output import write_report
from hyperspec.report.summary import summarise
from hyperspec.report.tables import ranking
from hyperspec.report.variants import settings, with_variants
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import ConfigError

KNN, RANKME = "val/knn_top1", "val/rankme"


def read(jobs: Sequence[Mapping[str, object]]) -> SweepData:
    """Return finished jobs as they are read from a store: equal but for what a test says."""
    rows = []
    for place, job in enumerate(jobs):
        seed = job.get("seed", 0)
        rows.append(
            {
                "run_id": f"run{place}",
                "sweep_id": "p1",
                "sweep": "s1",
                "name": f"job {place}",
                "status": "FINISHED",
                "strategy": "uniform",
                "n": 50.0,
                "num_classes": 4.0,
                "seed": float(str(seed)),
                "rotation": np.nan,
                "seconds": 1.0,
                "reason": "",
                "objectives": "",
                "resumed_from": "",
                "uri": "sqlite:////nowhere/mlflow.db",
                "artifact_uri": "/nowhere",
                "data_hash": "data1",
                "split_hash": "split1",
                "settings_hash": "",
                "identity": "",
                "results": "",
                "contents": "",
                "start": pd.Timestamp("2026-05-09 14:05", tz="UTC") + pd.Timedelta(minutes=place),
                "metrics.objective": 0.5,
                f"metrics.{KNN}": job.get("metrics.objective", 0.5),
                "metrics.test/knn_top1": 0.5,
                "params.seed": str(seed),
                "params.objective": "auto",
                "params.data.root": "/specimens",
                **job,
            }
        )
    now = pd.Timestamp("2026-05-09", tz="UTC")
    frame = with_variants(pd.DataFrame(rows))
    infos = tuple(
        SweepInfo(str(key), str(name), "", "", "FINISHED", now, 1.0, "sqlite:////nowhere/mlflow.db")
        for key, name in frame[["sweep_id", "sweep"]].drop_duplicates().itertuples(index=False)
    )
    return SweepData(infos, frame)


def runs(data: SweepData) -> list[list[str]]:
    """Return the runs of each cohort."""
    return [list(cohort.data.finished["run_id"]) for cohort in divide(data)]


def rows(data: SweepData) -> list[tuple[dict[str, str], int]]:
    """Return settings and number of jobs of each row of the only cohort."""
    return sorted(
        ((dict(p.extra), len(p.run_ids)) for p in summarise(data).points), key=lambda row: str(row)
    )


def rankme(value: float) -> dict[str, object]:
    return {
        "params.objective": RANKME,
        "metrics.objective": value,
        f"metrics.{RANKME}": value,
        f"metrics.{KNN}": 0.1875,
    }


def test_an_accuracy_and_a_rankme_are_no_row() -> None:
    # 0.1.0: one row, objective 9.87, the mean of both.
    knn = {"params.objective": KNN, "metrics.objective": 0.1875, f"metrics.{RANKME}": 19.556}
    data = read([knn, rankme(19.556)])
    assert runs(data) == [["run0"], ["run1"]]
    assert [cohort.words for cohort in divide(data)] == [f"judged by {KNN}", f"judged by {RANKME}"]
    with pytest.raises(ValueError, match=f"2 cohorts: A: judged by {KNN}"):
        summarise(data)
    assert best_job(data) is None
    one, other = report_cohorts(data)
    assert (one.summary.objective_name, one.summary.points[0].objective) == (KNN, 0.1875)
    assert (other.summary.objective_name, other.summary.points[0].objective) == (RANKME, 19.556)
    beside = side_by_side(data, (one, other))
    assert [row[2:5] for row in beside.rows] == [
        (f"A: judged by {KNN}", "1", f"{KNN} 0.188"),
        (f"B: judged by {RANKME}", "1", f"{RANKME} 19.556"),
    ]


def test_an_automatic_objective_is_what_its_sweep_measured() -> None:
    without = {"data_hash": "data2", "metrics.objective": 7.0, f"metrics.{KNN}": np.nan}
    data = read([{}, {**without, f"metrics.{RANKME}": 7.0, "split_hash": "split2"}])
    assert [one.words.split(",")[0] for one in divide(data)] == [
        f"judged by {KNN}",
        f"judged by {RANKME}",
    ]


def test_a_job_without_an_objective_is_no_kind_of_its_own() -> None:
    none = {"metrics.objective": np.nan, f"metrics.{KNN}": np.nan, "n": 20.0}
    assert runs(read([{}, none])) == [["run0", "run1"]]


def test_mended_labels_are_other_data_named_with_since_when() -> None:
    # 0.1.0: one row of two jobs, called one seed.
    after = {"sweep_id": "p2", "sweep": "s2", "data_hash": "data2", "split_hash": "split2"}
    found = divide(read([{}, after]))
    assert [one.title for one in found] == [
        "A: data and labels data1 of specimens (9 May 14:05)",
        "B: data and labels data2 of specimens (9 May 14:06)",
    ]
    assert [len(one.data.sweeps) for one in found] == [1, 1]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"params.data.split.seed": "1", "split_hash": "split2"}, "data.split.seed=1"),
        ({"params.evaluation.k": "7"}, "evaluation.k=7"),
        ({"split_hash": "split2"}, "split split2 of specimens (9 May 14:06)"),
    ],
)
def test_what_is_tested_otherwise_is_not_ranked_together(
    other: dict[str, object], words: str
) -> None:
    usual = {"params.data.split.seed": "0", "params.evaluation.k": "5"}
    _, second = divide(read([usual, {**usual, "sweep_id": "p2", **other}]))
    assert second.words == words


def test_rotations_and_a_deal_per_seed_are_one_cohort() -> None:
    turns = [
        {"rotation": float(r), "params.data.split.rotation": str(r), "split_hash": f"turn{r}"}
        for r in range(3)
    ]
    assert runs(read(turns)) == [["run0", "run1", "run2"]]
    dealt = [
        {"seed": s, "params.data.split.seed": str(s), "split_hash": f"deal{s}"} for s in range(3)
    ]
    assert runs(read(dealt)) == [["run0", "run1", "run2"]]
    # The same rotation of other specimens is no fourth one.
    other = {**turns[0], "split_hash": "other", "sweep_id": "p2"}
    assert runs(read([*turns, other])) == [["run0", "run1", "run2"], ["run3"]]


def test_sizes_of_images_are_ranked_but_specimens_scanned_again_are_not() -> None:
    sizes = [{"params.data.size": str(n), "data_hash": f"old{n}"} for n in (32, 64)]
    again = [
        {**job, "data_hash": f"new{job['params.data.size']}", "sweep_id": "p2"} for job in sizes
    ]
    assert runs(read(sizes)) == [["run0", "run1"]]
    assert rows(read(sizes)) == [({"data.size": "32"}, 1), ({"data.size": "64"}, 1)]
    assert runs(read([*sizes, *again])) == [["run0", "run1"], ["run2", "run3"]]


def test_a_folder_that_moved_holds_the_same_specimens() -> None:
    moved = {"params.data.root": "/elsewhere", "seed": 1, "sweep_id": "p2"}
    assert rows(read([{}, moved])) == [({}, 2)]


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (
            {"results": "splits=1 losses.nt_xent=1"},
            {"results": "splits=1 losses.nt_xent=2"},
            ({"losses.nt_xent version": "1"}, {"losses.nt_xent version": "2"}),
        ),
        (
            {"results": "splits=1"},
            {"results": "splits=1 source=0123456789abcdef"},
            ({"package source": "012345"}, {"package source": "as released"}),
        ),
        ({"results": "splits=1"}, {}, ({"versions": "kept"}, {"versions": "not kept (0.1.0)"})),
        (
            {"params.ckpt": "/a/last.ckpt", "contents": "ckpt=3f2a9100"},
            {"params.ckpt": "/a/last.ckpt", "contents": "ckpt=77777777"},
            ({"ckpt": "last.ckpt 3f2a91"}, {"ckpt": "last.ckpt 777777"}),
        ),
        (
            {"contents": "plugins.mine=aaaaaaaa"},
            {"contents": "plugins.mine=bbbbbbbb"},
            ({"plugins.mine": "aaaaaa"}, {"plugins.mine": "bbbbbb"}),
        ),
        (
            {"params.hardware.precision": "32-true"},
            {"params.hardware.precision": "bf16-mixed"},
            ({"hardware.precision": "32-true"}, {"hardware.precision": "bf16-mixed"}),
        ),
        # Of 0.1.0 nothing but the identity says that something was another.
        (
            {"identity": "aaaaaaaa"},
            {"identity": "bbbbbbbb"},
            ({"identity": "s1"}, {"identity": "s2"}),
        ),
    ],
    ids=["version", "source", "unknown", "ckpt", "plugin", "precision", "identity"],
)
def test_alike_but_for_what_computes_them_stand_side_by_side_with_that_named(
    first: dict[str, object], second: dict[str, object], named: tuple[dict[str, str], ...]
) -> None:
    # 0.1.0: one row of four jobs, called two seeds.
    jobs = [
        {**one, "seed": seed, "sweep_id": f"p{place}", "sweep": f"s{place}"}
        for place, one in enumerate((first, second), 1)
        for seed in range(2)
    ]
    assert rows(read(jobs)) == [(one, 2) for one in named]


def test_identities_of_one_sweep_are_told_by_their_digits() -> None:
    twice = [{"settings_hash": f"{digit}" * 16} for digit in "ab"]
    assert rows(read(twice)) == [({"identity": "aaaaaa"}, 1), ({"identity": "bbbbbb"}, 1)]


def test_a_checkpoint_under_two_names_is_one() -> None:
    jobs = [
        {"params.ckpt": f"/{name}.ckpt", "contents": f"ckpt={digest}", "seed": seed}
        for name, digest, seed in (("a", "1" * 16, 0), ("b", "1" * 16, 1), ("c", "2" * 16, 0))
    ]
    assert rows(read(jobs)) == [({"ckpt": "a.ckpt 111111"}, 2), ({"ckpt": "c.ckpt 222222"}, 1)]


def test_two_lists_of_bands_are_two_settings() -> None:
    # 0.1.0: `-m bands=list bands.indices=[1,2],[3,4]` was one row.
    jobs = [
        {"strategy": "list", "n": 2.0, "params.bands.indices": one} for one in ("[1,2]", "[3,4]")
    ]
    assert settings(read(jobs).jobs) == ("bands.indices",)


def test_paths_workers_and_logging_are_no_settings() -> None:
    free = ("data.root", "data.cache_dir", "hardware.num_workers", "tracking.uri", "sweep.margin")
    jobs = [{f"params.{key}": str(place) for key in free} for place in range(2)]
    assert settings(read(jobs).jobs) == ()


def test_a_report_over_three_kinds_keeps_rows_charts_and_verdicts_apart(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    sweeps = [fake_sweep]
    for name in ("rankme", "mended"):
        parent = start_run(fake_sweep.connection, f"{name} {tmp_path.name}", kind="sweep")
        sweeps.append(dataclasses.replace(fake_sweep, parent=parent))
    before = {"hyperspec.data.hash": "aaaaaaaa", "hyperspec.split.hash": "ssssssss"}
    after = {"hyperspec.data.hash": "bbbbbbbb", "hyperspec.split.hash": "tttttttt"}
    asked = {"objective": RANKME}
    measured = {"objective": 19.556, RANKME: 19.556}
    for n in (10, 20):
        sweeps[0].job("uniform", n, knn=0.1875, tags=before, predictions=True)
        sweeps[1].job("uniform", n, knn=0.1875, tags=before, params=asked, metrics=measured)
        sweeps[2].job("uniform", n, knn=0.75, tags=after, predictions=True)
    for sweep in sweeps:
        sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [one.parent.run_id for one in sweeps])
    paths = write_report(data, tmp_path / "report")
    assert [one.summary.objective_name for one in paths.cohorts] == [KNN, RANKME, KNN]
    assert paths.sentences[0].startswith(
        "Not all of these jobs can be ranked with each other. There are 3 kinds, each with a "
        f"ranking and a verdict of its own: A: judged by {KNN}, data and labels aaaaaa ("
    )
    text = paths.table.read_text()
    assert not re.findall(r"\b(9\.8|6\.8)\d*", text)  # means over objectives
    assert text.count("The same settings side by side, not ranked") == 1
    for one in paths.cohorts:
        table = ranking(one.summary)
        place = table.columns.index(one.summary.objective_name)
        ranked = [row[place] for row in table.rows]
        assert ranked == [f"{one.summary.points[0].objective:.3f}"] * 2
    html = paths.html.read_text()
    names = re.findall(r'id="([^"]+)"', html)
    assert len(names) == len(set(names))
    assert {"ranking-a", "ranking-b", "ranking-c", "beside"} <= set(names)
    files = {path.name for path in paths.files}
    assert {"wavelengths-a.png", "wavelengths-c.png", "accuracy_against_bands-b.png"} <= files
    assert all(path.is_file() for path in paths.files)


def test_no_chart_holds_two_objectives() -> None:
    grid = [
        {"n": n, "params.lr": lr, "params.loss.temperature": t, "metrics.cost/train_seconds": n}
        for n in (10.0, 50.0)
        for lr in ("0.001", "0.01")
        for t in ("0.1", "0.2")
    ]
    knn = [
        {**one, "params.objective": KNN, "metrics.objective": 0.25 + place / 100}
        for place, one in enumerate(grid)
    ]
    other = [{**one, **rankme(19.0 + place / 100)} for place, one in enumerate(grid)]
    first, second = report_cohorts(read([*knn, *other]))
    keys = {part.key.removesuffix("-a") for part in first.sections}
    assert {"pareto", "heat", "parallel", "importance"} <= keys
    assert {part.key for part in second.sections} == {f"{key}-b" for key in keys}
    for one, own in ((first, r"0\.\d{3}"), (second, r"19\.\d{3}")):
        assert "lr" in one.summary.extra_names
        for chart in (*one.accuracy, *one.charts):
            if not chart.name.startswith("importance"):  # shares, no scores
                scores = re.findall(r"(?:for |: )(\d+\.\d{3})", chart.alt)
                assert all(re.fullmatch(own, score) for score in scores), chart.alt
        heat = next(chart for chart in one.charts if chart.name.startswith("heat"))
        assert re.findall(rf": {own}", heat.alt)


def test_a_one_shot_curve_is_held_against_the_same_data_only() -> None:
    from hyperspec.cli.commands.one_shot import check_one_cohort

    check_one_cohort(read([{}]), read([{"strategy": "random"}]))
    with pytest.raises(ConfigError, match="cannot be held against each other: A: data and labels"):
        check_one_cohort(read([{}]), read([{"data_hash": "data2", "split_hash": "split2"}]))
