"""Which settings a race runs to the end, and what it leaves for a report."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from hyperspec.config import config_dir, groups
from hyperspec.report.load import load_sweep
from hyperspec.report.summary import summarise
from hyperspec.report.tables import left_out
from hyperspec.sweeps.race import (
    LEVEL,
    RaceGrid,
    Setting,
    finalists,
    race_of,
    training_order,
    within_reach,
)
from hyperspec.tracking.parent import find_parent
from hyperspec.utils.errors import ConfigError

APP = Path(__file__).with_name("sweep_app.py")
COUNTS = (10.0, 20.0, 50.0, 408.0)


@pytest.fixture
def loader() -> Iterator[ConfigLoader]:
    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir())):
        yield GlobalHydra.instance().config_loader()


def grid(**curves: tuple[float, ...]) -> tuple[list[Setting], np.ndarray]:
    """Return settings and scores of two trainings that differ by a hundredth."""
    settings = [Setting(name, n, ()) for name in curves for n in COUNTS]
    means = np.array([value for row in curves.values() for value in row])
    return settings, np.stack([means - 0.005, means + 0.005], 1)


def chosen(settings: list[Setting], scores: np.ndarray, margin: float = 0.02) -> set[str]:
    places = finalists(settings, scores, margin)
    return {f"{settings[i].strategy} {settings[i].count:g}" for i in places}


@pytest.mark.parametrize(("settings", "trainings"), [(2, 2), (6, 2), (18, 2), (18, 4), (60, 3)])
def test_a_setting_as_good_as_the_best_is_seldom_left_out(settings: int, trainings: int) -> None:
    rng, races = np.random.default_rng(0), 2000
    seed_and_rotation = rng.normal(0, 0.05, (races, 1, trainings))
    scores = rng.normal(0.9, 0.03, (races, settings, trainings)) + seed_and_rotation
    missing = [~within_reach(one, 0.0)[0] for one in scores]
    assert np.mean(missing) <= LEVEL + 3 * np.sqrt(LEVEL / races)
    # What seeds and rotations do to all alike does not hide a difference.
    scores[:, 0] -= 0.5
    assert np.mean([within_reach(one, 0.0)[0] for one in scores]) <= (settings == 2)


def test_the_margin_keeps_what_is_a_little_worse_and_a_failure_is_left_out() -> None:
    scores = np.array([[0.90, 0.90], [0.89, 0.89], [0.87, 0.87], [np.nan, 0.95]])
    assert within_reach(scores, 0.02).tolist() == [True, True, False, False]
    assert within_reach(scores[3:], 0.02).tolist() == [False]


def test_the_curve_that_needs_fewest_bands_is_run_from_there_up() -> None:
    settings, scores = grid(
        uniform=(0.3, 0.4, 0.9, 0.9), variance=(0.2, 0.3, 0.4, 0.9), ocf=(0.3, 0.9, 0.9, 0.9)
    )
    assert chosen(settings, scores) == {"ocf 20", "ocf 50", "ocf 408"}


def test_a_chosen_set_meets_even_and_random_ones_that_do_as_well() -> None:
    settings, scores = grid(
        uniform=(0.3, 0.89, 0.9, 0.9), random=(0.3, 0.3, 0.9, 0.9), ocf=(0.3, 0.9, 0.9, 0.9)
    )
    assert chosen(settings, scores) == {"ocf 20", "ocf 50", "ocf 408", "uniform 20"}


def test_all_counts_above_the_fewest_are_run_though_one_is_unlucky() -> None:
    settings, scores = grid(uniform=(0.3, 0.9, 0.7, 0.9))
    assert chosen(settings, scores) == {"uniform 20", "uniform 50", "uniform 408"}


def test_where_all_bands_alone_do_well_they_are_run_beside_the_most_of_the_best_curve() -> None:
    settings, scores = grid(uniform=(0.3, 0.4, 0.5, 0.6), ocf=(0.3, 0.4, 0.5, 0.7))
    settings.append(Setting("full", float("nan"), ()))
    scores = np.concatenate([scores, [[0.9, 0.91]]])
    assert {settings[i].strategy for i in finalists(settings, scores, 0.02)} >= {"full"}
    assert "ocf 408" in chosen(settings, scores)


def test_other_settings_have_curves_of_their_own() -> None:
    settings = [Setting("", n, (t,)) for t in ("0.1", "0.5") for n in COUNTS]
    means = np.array([0.3, 0.9, 0.9, 0.9, 0.2, 0.3, 0.4, 0.5])
    scores = np.stack([means, means + 0.01], 1)
    assert finalists(settings, scores, 0.02) == (1, 2, 3)


def test_without_counts_all_that_may_be_the_best_go_on() -> None:
    settings = [Setting("", float("nan"), (str(lr),)) for lr in (1, 2, 3)]
    scores = np.array([[0.9, 0.92], [0.3, 0.31], [0.9, 0.91]])
    assert finalists(settings, scores, 0.02) == (0, 2)


@pytest.mark.parametrize(("seeds", "rotations"), [(3, 4), (4, 3), (3, 1), (1, 4), (2, 2)])
def test_the_first_trainings_differ_in_seed_and_rotation(seeds: int, rotations: int) -> None:
    order = training_order(seeds, rotations)
    assert sorted(order) == [(i, j) for i in range(seeds) for j in range(rotations)]
    first = order[: min(seeds, rotations)]
    assert len({i for i, _ in first}) == len({j for _, j in first}) == len(first)


def test_early_and_late_jobs_are_the_grid(loader: ConfigLoader) -> None:
    words = ["bands.n=10,20", "lr=1e-3", "seed=0,1,2", "data.split.rotation=0,1"]
    race = RaceGrid.read(words, loader, 2)
    jobs = [*race.early, *race.late((0, 1))]
    assert len(race.early) == 4
    assert sorted(map(tuple, jobs)) == sorted(
        (f"bands.n={n}", "lr=0.001", f"seed={seed}", f"data.split.rotation={turn}")
        for n in (10, 20)
        for seed in (0, 1, 2)
        for turn in (0, 1)
    )
    assert {tuple(job[2:]) for job in race.early} == {
        ("seed=0", "data.split.rotation=0"),
        ("seed=1", "data.split.rotation=1"),
    }
    assert race.told().startswith("race: 2 of 6 trainings of each of 2 settings (4 jobs)")
    assert race.told((1,)) == "race: 1 of 2 settings go on, 4 jobs: bands.n=20"


def composed(loader: ConfigLoader, *words: str) -> DictConfig:
    given = ["data.root=folder", "search=race", *words]
    return loader.load_configuration("train", given, run_mode=RunMode.MULTIRUN)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bands.n=10,20", "seed=0,1"], "the sweep has 2 (seeds times rotations)"),
        (["lr=interval(0.1,1)", "seed=0,1,2"], "lr is a range (0.1 to 1), and search=race runs"),
        (["seed=0,1,2", "hydra.sweeper.first=1"], "hydra.sweeper.first is 1; one training"),
        (["seed=0,1,2", "objective=[auto,bands.n]"], "search=race goes by one: give objective="),
    ],
)
def test_what_cannot_be_raced_is_refused_with_the_way_out(
    loader: ConfigLoader, words: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=r"race|first") as raised:
        race_of(composed(loader, *words))
    assert said in str(raised.value)


def test_other_sweeps_are_no_races(loader: ConfigLoader) -> None:
    words = ["data.root=folder", "bands.n=10,20"]
    plain = loader.load_configuration("train", words, run_mode=RunMode.MULTIRUN)
    assert race_of(plain) is None


def run_app(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(APP), "-m", "hydra/sweeper=race", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_report_ranks_what_was_run_to_the_end_alone(folder: Path) -> None:
    status, output = run_app(folder, "n=10,20,500", "seed=0,1,2")
    assert status == 0, output
    assert "race: 1 of 3 settings go on, 1 job: n=500" in output
    note = find_parent(folder / "out")
    assert note is not None
    data = load_sweep(note.tracking_uri, [note.parent_run_id])
    assert len(data.jobs) == 7
    assert [point.n for point in summarise(data).points] == [500]
    assert sorted(data.left_out["n"]) == [10, 10, 20, 20]
    assert left_out(data).rows == (
        ("uniform", "20", "2", "0.950", "0.998"),
        ("uniform", "10", "2", "0.900", "0.998"),
    )
    table = (folder / "out" / "report" / "table.txt").read_text(encoding="utf-8")
    assert "Settings that the race left out" in table
    page = (folder / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert "7 jobs: 3 finished, 0 failed, 4 of settings that the race left out." in page


def test_a_setting_that_fails_is_left_out_and_the_sweep_ends_with_its_error(folder: Path) -> None:
    status, output = run_app(folder, "n=10,20,500", "seed=0,1,2", "behaviour=fail")
    assert status == 1
    assert "race: 1 of 3 settings go on, 1 job: n=500" in output
    assert "planned failure" in output
