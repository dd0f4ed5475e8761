from __future__ import annotations

import argparse
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_sweeps import FakeSweep
from omegaconf import OmegaConf
from rich.console import Console

from hyperspec.cli.commands import report as command
from hyperspec.config.sweep import SweepConfig
from hyperspec.report.load import SweepData, SweepInfo, load_sweep
from hyperspec.report.output import print_report, write_report
from hyperspec.report.paired_tests import Differences, Margin, check_margin, compare, find_margin
from hyperspec.report.summary import Summary, summarise
from hyperspec.report.tables import caveat
from hyperspec.report.wording import (
    band_count_sentences,
    differences_compact,
    differences_grid,
    differences_note,
    main_sentences,
)
from hyperspec.sweeps.callback import kept_margin
from hyperspec.tracking.client import connect
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import ConfigError

NUM = 40
"""Specimens; two views each, right or wrong together."""


class Planted:
    """Jobs whose wrong specimens a test names, without a store."""

    def __init__(self, num_specimens: int = NUM) -> None:
        self.num = num_specimens
        self.rows: list[dict[str, object]] = []
        self.tables: dict[str, pd.DataFrame | None] = {}
        self.controls: dict[str, pd.DataFrame | None] = {}
        self.margin: float | None = None

    def job(
        self,
        strategy: str,
        n: int,
        seed: int,
        wrong: Sequence[int] = (),
        *,
        predictions: bool = True,
        params: Mapping[str, str] | None = None,
        objective: float = 0.5,
        controls_wrong: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        right = np.repeat(~np.isin(np.arange(self.num), list(wrong)), 2)
        specimens = np.repeat([f"s{i}" for i in range(self.num)], 2)
        files = [f"{s}_{v}" for s, v in zip(specimens, "DV" * self.num, strict=True)]
        table = pd.DataFrame({"file": files, "specimen": specimens, "knn_correct": right})
        run_id = f"run{len(self.rows)}"
        # Rows stand in another order in every run: only the file's name pairs them.
        order = np.random.default_rng(len(self.rows)).permutation(len(table))
        self.tables[run_id] = table.iloc[order] if predictions else None
        self.controls[run_id] = None
        scores = {}
        if controls_wrong is not None:
            beside = table[["file", "specimen"]].copy()
            for control, bad in controls_wrong.items():
                known = np.repeat(~np.isin(np.arange(self.num), list(bad)), 2)
                beside[f"{control}_knn_correct"] = known
                scores[f"metrics.control/{control}_knn_top1"] = float(known.mean())
            self.controls[run_id] = beside.iloc[order[::-1]]
        self.rows.append(
            {
                "run_id": run_id,
                "status": "FINISHED",
                "strategy": strategy,
                "n": float(n),
                "seed": float(seed),
                "num_classes": 8.0,
                "seconds": 1.0,
                "params.seed": str(seed),
                "params.bands": strategy,
                "metrics.objective": objective,
                "metrics.test/knn_top1": float(right.mean()),
                **{f"params.{key}": value for key, value in (params or {}).items()},
                **scores,
            }
        )

    def setting(self, strategy: str, n: int, wrong: Sequence[int] = (), seeds: int = 3) -> None:
        for seed in range(seeds):
            self.job(strategy, n, seed, wrong)

    def read(self) -> tuple[SweepData, Summary]:
        now = pd.Timestamp("2026-01-01", tz="UTC")
        info = SweepInfo(
            "parent", "planted", "", "", "FINISHED", now, 1.0, "sqlite:///none", self.margin
        )
        data = SweepData((info,), pd.DataFrame(self.rows), self.tables, self.controls)
        return data, summarise(data)

    def compare(self, margin: float | None = None) -> Differences:
        return compare(*self.read(), margin)


def test_ten_of_forty_specimens_more_is_better_and_ten_fewer_is_worse() -> None:
    planted = Planted()
    planted.setting("uniform", 20, wrong=range(10))
    planted.setting("fngbs", 20)
    planted.setting("pca", 20, wrong=range(20))
    rows = {row.point.strategy: row for row in planted.compare().rows}
    assert set(rows) == {"fngbs", "pca"}
    # The differences of specimens are 10 times 1 and 30 times 0, the same in every seed.
    half_width = 1.96 * math.sqrt(0.25 * 0.75 / (NUM - 1))
    for strategy, mean, verdict in (("fngbs", 0.25, "better"), ("pca", -0.25, "worse")):
        test = rows[strategy].test
        assert test is not None
        assert (test.verdict, rows[strategy].against) == (verdict, "uniform")
        assert test.difference.mean == pytest.approx(mean)
        assert test.difference.low == pytest.approx(mean - half_width, abs=0.03)
        assert test.difference.high == pytest.approx(mean + half_width, abs=0.03)
        assert (test.difference.num_seeds, test.difference.num_groups) == (3, NUM)


def test_balanced_disagreement_is_undecided_with_the_number_that_would_decide() -> None:
    planted = Planted()
    planted.setting("uniform", 20, wrong=[0, 1])
    planted.setting("pca", 20, wrong=[2, 3])
    found = planted.compare()
    (row,) = found.rows
    assert row.test is not None
    assert row.test.verdict == "undecided"
    assert row.mean == 0
    # Variance of two +1, two -1 and 36 zeros; two one-sided tests at 5% with 80% power.
    needed = math.ceil((4 / 39) * ((1.6448536 + 1.2815516) / 0.02) ** 2)
    told = row.test.needed[0]
    assert (told.claim, told.means) == ("equal", "specimens")
    assert told.specimens == pytest.approx(needed, rel=0.01)
    (cells,) = differences_grid(found).rows
    assert cells[:5] == ("pca", "uniform", "20", "3", "40")
    assert cells[-1] == (
        f"undecided; about {told.specimens} tested specimens would call them equal if there is no "
        "true difference"
    )


@pytest.mark.parametrize(("num", "verdict"), [(148, "undecided"), (149, "as good as")])
def test_never_disagreeing_decides_from_149_specimens_on(num: int, verdict: str) -> None:
    """1 - 0.05^(1/G) is below 0.02 from G = 149 on."""
    planted = Planted(num)
    planted.setting("uniform", 20, wrong=[0])
    planted.setting("pca", 20, wrong=[0])
    found = planted.compare()
    (row,) = found.rows
    assert row.test is not None
    assert row.test.verdict == verdict
    needed = "about 149 tested specimens would call them equal if there is no true difference"
    expected = f"{verdict}; {needed}" if num < 149 else verdict
    assert differences_grid(found).rows[0][-1] == expected


def test_a_wider_margin_turns_undecided_into_as_good_as() -> None:
    planted = Planted()
    planted.setting("uniform", 20, wrong=[0, 1])
    planted.setting("pca", 20, wrong=[2, 3])
    test = planted.compare(margin=0.2).rows[0].test
    assert test is not None
    assert test.verdict == "as good as"  # 90% interval about ±0.084


def test_runs_are_paired_by_seed_and_rows_by_file() -> None:
    planted = Planted()
    for seed in (0, 1, 2):
        planted.job("uniform", 20, seed, wrong=range(10 * seed, 10 * seed + 10))
    for seed in (3, 2, 1):  # another order, and one seed of its own
        planted.job("pca", 20, seed, wrong=range(10 * seed, 10 * seed + 10))
    (row,) = planted.compare().rows
    assert row.test is not None
    assert row.num_seeds == 2
    # Any other pairing has specimens that differ, and an interval from resampling.
    assert (row.test.difference.mean, row.test.difference.method) == (0, "clopper-pearson")


def test_only_specimens_that_both_have_are_compared() -> None:
    planted = Planted()
    planted.setting("uniform", 20, wrong=range(20))
    planted.setting("pca", 20, wrong=range(10, 20))
    for run_id in ("run0", "run1", "run2"):  # uniform was not tested on the first ten
        table = planted.tables[run_id]
        assert table is not None
        first_ten = table["specimen"].isin([f"s{i}" for i in range(10)])
        planted.tables[run_id] = table[~first_ten]
    test = planted.compare().rows[0].test
    assert test is not None
    assert (test.difference.mean, test.difference.num_groups) == (0, 30)


def test_random_and_uniform_are_both_references_and_meet_each_other_once() -> None:
    planted = Planted()
    for strategy in ("uniform", "random", "pca", "rgb"):
        planted.setting(strategy, 3 if strategy == "rgb" else 20)
    planted.setting("uniform", 50)
    rows = [(row.point.strategy, row.point.n, row.against) for row in planted.compare().rows]
    assert rows == [
        ("pca", 20, "uniform"),
        ("pca", 20, "random"),
        ("random", 20, "uniform"),
    ]


def test_a_varied_setting_meets_the_one_that_validation_puts_first() -> None:
    planted = Planted()
    for lr, wrong, objective in (("0.1", range(10), 0.4), ("0.01", (), 0.9)):
        for seed in range(3):
            for strategy in ("uniform", "pca"):
                some = wrong if strategy == "uniform" else ()
                params = {"lr": lr}
                planted.job(strategy, 20, seed, some, params=params, objective=objective)
    found = {
        (row.point.strategy, row.point.extra["lr"], row.against): (row.mean, row.test)
        for row in planted.compare().rows
    }
    assert set(found) == {
        ("uniform", "0.1", "lr=0.01"),
        ("pca", "0.1", "lr=0.01"),
        ("pca", "0.1", "uniform"),
        ("pca", "0.01", "uniform"),
    }
    # pca is right everywhere, uniform wrong on a quarter at one learning rate only.
    assert found["uniform", "0.1", "lr=0.01"][0] == pytest.approx(-0.25)
    assert found["pca", "0.1", "uniform"][0] == pytest.approx(0.25)
    assert found["pca", "0.01", "uniform"][0] == 0


def test_scores_alone_are_subtracted_and_not_tested() -> None:
    planted = Planted()
    for seed in range(2):
        planted.job("uniform", 20, seed, wrong=range(10), predictions=False)
        planted.job("pca", 20, seed, wrong=range(4))
    for row in planted.rows:
        row["metrics.control/untrained_knn_top1"] = 0.5
    found = planted.compare()
    cells = [(row[0], row[1], *row[4:]) for row in differences_grid(found).rows]
    assert cells == [
        ("pca", "uniform", "-", "+0.150", "not tested: scores only"),
        ("pca", "untrained encoder", "-", "+0.400", "not tested: scores only"),
        ("uniform", "untrained encoder", "-", "+0.250", "not tested: scores only"),
    ]
    assert differences_compact(found).rows == ()
    assert differences_note(found, planted.read()[1]) == (
        "Without an interval: only scores are logged, not the single predictions."
    )


def test_controls_are_tested_on_what_they_said_of_each_specimen() -> None:
    planted = Planted()
    for seed in range(3):
        planted.job(
            "uniform", 20, seed, controls_wrong={"untrained": range(10), "mean_spectrum": []}
        )
    found = planted.compare()
    untrained, mean_spectrum = found.rows
    assert (untrained.against, untrained.is_control) == ("untrained encoder", True)
    assert untrained.test is not None
    assert untrained.test.verdict == "better"
    # The same specimens and the same differences as of two settings, above.
    half_width = 1.96 * math.sqrt(0.25 * 0.75 / (NUM - 1))
    shown = untrained.test.difference
    assert (untrained.mean, shown.num_seeds, shown.num_groups) == (0.25, 3, NUM)
    assert (shown.low, shown.high) == pytest.approx(
        (0.25 - half_width, 0.25 + half_width), abs=0.03
    )
    assert mean_spectrum.test is not None
    assert mean_spectrum.test.verdict == "undecided"
    assert [row[-1] for row in differences_grid(found).rows] == [
        "better",
        "undecided; about 149 tested specimens would call them equal if there is no true "
        "difference",
    ]
    assert found.tested == ()
    assert "only scores are logged" not in differences_note(found, planted.read()[1])


def test_a_sweep_with_old_and_new_runs_tests_controls_on_the_new_ones() -> None:
    planted = Planted()
    for seed in range(4):
        kept = {"untrained": range(4)} if seed < 2 else None
        planted.job("uniform", 20, seed, wrong=[0], controls_wrong=kept)
        planted.rows[-1]["metrics.control/untrained_knn_top1"] = 0.9
    (row,) = planted.compare().rows
    assert row.test is not None
    assert (row.num_seeds, row.mean) == (2, pytest.approx(3 / NUM))


def test_the_margin_is_that_of_the_sweep_and_says_so() -> None:
    planted = Planted()
    planted.margin = 0.2
    planted.setting("uniform", 20, wrong=[0, 1])
    planted.setting("pca", 20, wrong=[2, 3])
    fixed = planted.compare()
    assert fixed.rows[0].test is not None
    assert fixed.rows[0].test.verdict == "as good as"
    assert fixed.margin.beforehand
    assert differences_note(fixed, planted.read()[1]).startswith(
        "The margin, ±20 points, was fixed before the first job (sweep.margin=0.2). Intervals:"
    )
    assert planted.compare(0.2) == fixed  # to give the same one changes nothing
    later = planted.compare(0.02)
    assert later.rows[0].test is not None
    assert later.rows[0].test.verdict == "undecided"
    assert not later.margin.beforehand
    assert later.margin.origin == (
        "The margin, ±2 points, was chosen for this report with --margin, after the results; "
        "fixed before the first job was ±20 points."
    )


@pytest.mark.parametrize(
    ("kept", "given", "value", "beforehand", "origin"),
    [
        (
            [None],
            None,
            0.02,
            False,
            "The margin, ±2 points, was not fixed beforehand: the default.",
        ),
        (
            [0.05, 0.01],
            None,
            0.01,
            True,
            "The margin, ±1 point, was fixed before the first job (sweep.margin=0.01); other "
            "sweeps here had ±5 points, and the smallest holds.",
        ),
        (
            [0.05, None],
            None,
            0.05,
            False,
            "The margin, ±5 points, was fixed before the first job (sweep.margin=0.05). Some of "
            "the sweeps fixed none.",
        ),
        (
            [None],
            0.03,
            0.03,
            False,
            "The margin, ±3 points, was chosen for this report with --margin; the sweep fixed none "
            "beforehand.",
        ),
    ],
)
def test_margins_of_several_sweeps(
    kept: list[float | None], given: float | None, value: float, beforehand: bool, origin: str
) -> None:
    now = pd.Timestamp("2026-01-01", tz="UTC")
    sweeps = [SweepInfo("p", "s", "", "", "FINISHED", now, 1.0, "", margin) for margin in kept]
    assert find_margin(sweeps, given) == Margin(value, origin, beforehand)


def test_one_seed_has_no_paired_difference_and_says_so() -> None:
    planted = Planted()
    planted.setting("uniform", 20, seeds=1)
    planted.setting("pca", 20, seeds=1)
    found = planted.compare()
    assert (found.rows, found.counts, found.num_unpaired) == ((), (), 1)
    assert differences_note(found, planted.read()[1]).startswith(
        "No paired difference over seeds is possible with one seed;"
    )


def test_a_single_setting_says_nothing() -> None:
    planted = Planted()
    planted.setting("uniform", 20)
    found = planted.compare()
    assert (found.rows, found.counts) == ((), ())
    assert differences_note(found, planted.read()[1]) == ""


def test_the_smallest_number_of_bands_that_does_as_well_is_named() -> None:
    planted = Planted(200)
    for n, wrong in ((5, range(100)), (10, range(60)), (20, ()), (50, ()), (100, ())):
        planted.setting("uniform", n, wrong)
    planted.setting("pca", 10, wrong=range(50))
    planted.setting("pca", 100)
    (pca, uniform) = band_count_sentences(planted.compare())
    assert pca == "pca: 10 bands do worse than 100 already (-0.250 [-0.314, -0.186])."
    assert uniform.startswith("uniform: 20 bands do as well as 100 within ±2 points (+0.000, 90% [")
    assert uniform.endswith("). Fewer: 10 bands worse.")


def test_of_many_settings_each_strategy_speaks_at_its_best_by_validation() -> None:
    planted = Planted(8)
    for name, best in (("uniform", 7), ("pca", 19)):
        for t in range(15 if name == "uniform" else 20):
            for n, seed in itertools.product((10, 50), (0, 1)):
                params = {"loss.temperature": f"0.{t:02d}"}
                score = 0.9 if (t, n) == (best, 10) else 0.5
                planted.job(name, n, seed, [seed], params=params, objective=score)
    found, summary = planted.compare(), planted.read()[1]
    assert len(band_count_sentences(found)) == 35
    pca, uniform = main_sentences(found, summary)
    assert pca.startswith("pca (loss.temperature=0.19): undecided")
    assert uniform.startswith("uniform (loss.temperature=0.07): undecided")
    few = replace(found, counts=found.counts[:24])
    assert main_sentences(few, summary) == band_count_sentences(few)


def test_all_bands_are_the_reference_of_every_strategy() -> None:
    planted = Planted()
    planted.setting("full", 408, wrong=[0, 1])
    planted.setting("uniform", 50, wrong=[2, 3])
    planted.setting("rgb", 3, wrong=range(20, 30))
    planted.setting("learned", 1, wrong=[])
    learned, rgb, uniform = band_count_sentences(planted.compare())
    assert uniform.startswith(
        "uniform: undecided whether fewer bands do as well as 408 (full) within ±2 points; "
        "closest to 408 (full), 50 bands: +0.000 ["
    )
    assert uniform.endswith("would call them equal if there is no true difference.")
    assert rgb.startswith("rgb: 3 bands do worse than 408 (full) already")
    assert learned.startswith("learned: undecided")


def test_a_single_band_that_does_better_is_said_in_the_singular() -> None:
    planted = Planted()
    planted.setting("learned", 1)
    planted.setting("learned", 20, wrong=range(20))
    (sentence,) = band_count_sentences(planted.compare())
    assert sentence.startswith("learned: 1 band does better than 20 (+0.500 [")


@pytest.mark.parametrize("margin", [0.0, -0.1, 1.0, float("nan")])
def test_a_margin_out_of_range_is_refused(margin: float, tmp_path: Path) -> None:
    text = f"--margin is {margin:g}; give the largest difference of accuracy that does not matter"
    with pytest.raises(ConfigError, match=text):
        check_margin(margin)
    words = _parse(["latest", "--margin", str(margin), "--out", str(tmp_path / "report")])
    with pytest.raises(ConfigError, match=text):  # before any store is opened
        command.run(words)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("margin", [0.0, 1.0, float("nan")])
def test_a_margin_of_the_config_out_of_range_is_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match=rf"sweep\.margin is {margin:g}; give the largest"):
        SweepConfig(margin=margin)


def test_the_margin_is_read_from_the_parent_where_the_sweep_left_it(sweep_uri: str) -> None:
    config = OmegaConf.create({"sweep": {"margin": 0.05}})
    assert kept_margin(config) == {"sweep.margin": "0.05"}
    assert kept_margin(OmegaConf.create({})) == {}
    connection = connect(sweep_uri, "margins")
    with start_run(connection, "kept", kind="sweep", params=kept_margin(config)) as run:
        pass
    assert load_sweep(sweep_uri, [run.run_id]).sweeps[0].margin == 0.05


def test_page_text_and_terminal_show_the_same_verdicts(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    for seed in range(3):
        fake_sweep.job("uniform", 20, seed, 0.25, predictions=True)
        fake_sweep.job("mutual_information", 20, seed, 1.0, predictions=True)
        fake_sweep.job("mutual_information", 50, seed, 1.0, predictions=True)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    paths = write_report(data, tmp_path / "report", margin=0.05)
    buffer = io.StringIO()
    print_report(data, paths, Console(file=buffer, width=80))
    shown = buffer.getvalue()
    page, text = paths.html.read_text(), paths.table.read_text()
    for written in (page, text, shown):
        assert "Paired differences of test k-NN accuracy, margin ±5 points" in written
        said = " ".join(written.split())  # a terminal breaks its lines
        assert "mutual_information: undecided whether fewer bands do as well as 50" in said
    line = next(x for x in shown.splitlines() if "+0.75" in x)
    assert line.split()[:4] == ["mutual_information", "uniform", "20", "+0.75"]
    assert line.split()[-1] == "better"
    assert max(len(x.rstrip()) for x in shown[: shown.index("picture:")].splitlines()) <= 80
    assert "+0.750 [" in page
    assert "<td>better</td>" in page
    assert "+0.200" not in shown  # controls stand in the page and the text only
    assert "mean spectrum" in text


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return parser.parse_args(["report", *words])


def test_the_walk_ends_at_the_first_number_that_does_not_do_as_well() -> None:
    planted = Planted(200)
    # Ten bands would do as well again; nothing is claimed beyond the twenty that do not.
    for n, wrong in ((10, ()), (20, range(60)), (50, ()), (100, ())):
        planted.setting("uniform", n, wrong)
    (count,) = planted.compare().counts
    assert count.fewest is not None
    assert count.stopped_at is not None
    assert (count.fewest[0], count.stopped_at[0]) == (50, 20)
    assert dict(count.smaller)[10].verdict == "as good as"
    (sentence,) = band_count_sentences(planted.compare())
    assert sentence.startswith("uniform: 50 bands do as well as 100")


def test_two_seeds_show_an_interval_and_no_verdict() -> None:
    planted = Planted()
    planted.setting("uniform", 20, wrong=range(20), seeds=2)
    planted.setting("pca", 20, seeds=2)
    found = planted.compare()
    (row,) = found.rows
    assert row.test is not None
    assert row.test.difference.low > 0
    assert differences_grid(found).rows[0][-1] == (
        "undecided; two seeds: no verdict; a third decides whether seeds differ"
    )
    assert found.families == {}


def test_rows_against_one_reference_are_one_family() -> None:
    planted = Planted(100)
    planted.setting("uniform", 20, wrong=range(7))
    for strategy in ("pca", "entropy", "fngbs", "variance", "opbs", "issc"):
        planted.setting(strategy, 20)
    found = planted.compare()
    assert found.families == {"uniform": 6}
    tests = [row.test for row in found.rows if row.test is not None]
    assert all(test.family == 6 for test in tests)
    # Alone, seven of a hundred specimens and none the other way leave out 0.
    assert all(test.difference.low > 0 for test in tests)
    assert {test.verdict for test in tests} == {"undecided"}
    note = differences_note(found, planted.read()[1])
    assert "(6 against uniform) are corrected together (Holm 1979)" in note


def rotated(seeds: Sequence[int], num: int = 40) -> Planted:
    """Two settings whose jobs test a quarter of the specimens each."""
    planted = Planted(num)
    for strategy, wrong in (("uniform", range(20)), ("pca", ())):
        for seed, rotation in itertools.product(seeds, range(4)):
            planted.job(strategy, 20, seed, wrong)
            planted.rows[-1]["rotation"] = float(rotation)
            run_id = str(planted.rows[-1]["run_id"])
            table = planted.tables[run_id]
            assert table is not None
            number = table["specimen"].str[1:].astype(int)
            planted.tables[run_id] = table[number % 4 == rotation]
    return planted


def test_rotations_of_a_seed_are_pooled() -> None:
    found = rotated((0, 1, 2)).compare()
    (row,) = found.rows
    assert row.test is not None
    assert row.test.situation is not None
    shown = row.test.difference
    assert (shown.num_groups, shown.num_seeds, shown.mean) == (40, 3, 0.5)
    assert (row.test.verdict, row.test.situation.parts.num_folds) == ("better", 4)
    assert found.num_incomplete == 0
    points = rotated((0,)).read()[1].points
    score = {point.strategy: point.scores["knn"] for point in points}["uniform"]
    assert (score.mean, score.num_specimens, score.kind) == (0.5, 40, "specimens")


def test_a_missing_rotation_is_said_and_only_shared_files_are_compared() -> None:
    planted = rotated((0, 1, 2))
    lost = [row for row in planted.rows if row["rotation"] == 2 and row["params.bands"] == "pca"]
    planted.rows = [row for row in planted.rows if row not in lost]
    found = planted.compare()
    (row,) = found.rows
    assert row.test is not None
    assert (row.test.difference.num_groups, row.test.difference.mean) == (30, 0.5)
    assert "1 setting lacks a rotation" in differences_note(found, planted.read()[1])


def test_few_tested_specimens_are_warned_of() -> None:
    planted = Planted(6)
    planted.setting("uniform", 20, wrong=[0])
    summary = planted.read()[1]
    score = summary.points[0].scores["knn"]
    assert score.has_few
    assert score.mean == pytest.approx(5 / 6)
    assert 0.3 < score.low < 0.4  # exact: each specimen is wholly right or wrong
    assert "Only 6 specimens were tested: no verdict below 8" in caveat(summary)
