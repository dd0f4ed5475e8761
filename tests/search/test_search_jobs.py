"""Searches with real jobs: several objectives, several seeds, branches, and the stock sweeper."""

from __future__ import annotations

import csv
import io
import signal
import time
from pathlib import Path

import optuna
import pytest
from mlflow.entities import Run
from omegaconf import OmegaConf
from optuna.trial import TrialState
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.tracking.client import open_client

QUICK = ["evaluation.linear=false", "evaluation.controls=false", "sweep.report=false"]


def trials(study: Study, name: str = "s") -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{study.folder}/optuna.db"
    found = optuna.load_study(study_name=name, storage=storage).trials
    return [trial for trial in found if "hyperspec:duplicate" not in trial.user_attrs]


def by_trial(study: Study) -> dict[int, list[Run]]:
    found: dict[int, list[Run]] = {}
    for run in study.jobs():
        found.setdefault(int(run.data.tags["hyperspec.search.trial"]), []).append(run)
    return found


def parent(study: Study) -> Run:
    return [run for run in study.runs() if run.data.tags["hyperspec.kind"] == "sweep"][-1]


@pytest.mark.slow
def test_several_objectives_end_in_a_front_and_are_taken_over(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*study.words, *QUICK, "-m", "search=nsga2", "bands.n=choice(4,5,6)"]
    words += ["hydra.sweeper.n_trials=9"]
    assert main([*words, "hydra.sweeper.study_name=s"]) == 0
    told = trials(study)
    # As many as the space has points.
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * 3
    names = ["val/knn_top1", "bands.n", "cost/samples_per_second"]
    for trial in told:
        (run,) = by_trial(study)[trial.number]
        assert run.data.tags["hyperspec.objectives"] == ",".join(names)
        assert trial.values == [run.data.metrics[name] for name in names]
        assert run.data.metrics["bands.n"] == int(run.data.params["bands.n"])
        assert run.data.metrics["objective"] == run.data.metrics["val/knn_top1"]
    shown = capsys.readouterr().out
    assert "Pareto front of val/knn_top1 (more is better), bands.n (less is better)" in shown
    # The front, by the definition: no other is as good in everything and better in something.
    points = {t.number: (t.values[0], -t.values[1], t.values[2]) for t in told}
    front = {
        number
        for number, one in points.items()
        if not any(
            other != one and all(b >= a for a, b in zip(one, other, strict=True))
            for other in points.values()
        )
    }
    sweep = parent(study)
    assert "Pareto front of" in sweep.data.tags["mlflow.note.content"]
    client = open_client(study.uri)
    artifact = client.download_artifacts(sweep.info.run_id, "search/trials.csv")
    rows = list(csv.DictReader(io.StringIO(Path(artifact).read_text())))
    assert {int(row["trial"]) for row in rows if row["best"] == "1"} == front
    assert {row["overrides"] for row in rows} == {"bands.n=4", "bands.n=5", "bands.n=6"}
    (results,) = study.folder.glob("multirun/**/optimization_results.yaml")
    assert {one.trial for one in OmegaConf.load(results).solutions} == front
    # Another study over the same jobs trains none of them, and is told the same values.
    assert main([*words, "hydra.sweeper.study_name=again", "hydra.sweeper.sampler.seed=5"]) == 0
    assert sorted(t.values for t in trials(study, "again")) == sorted(t.values for t in told)
    assert sum("hyperspec.resumed_from" in run.data.tags for run in study.jobs()) == 3


def second_seed_has_a_checkpoint(study: Study, packed: Path) -> bool:
    # The store is looked at when the search has made it, which a checkpoint shows. The first
    # seed's checkpoint goes a moment after its run is finished.
    written = {path.parent.name for path in packed.glob("interrupted/*/?.ckpt")}
    if not written:
        return False
    done = {r.data.tags["hyperspec.identity"] for r in study.jobs() if r.info.status == "FINISHED"}
    return bool(done and written - done)


@pytest.mark.slow
def test_a_trial_killed_between_its_seeds_goes_on_and_tells_their_mean(
    study: Study, packed: Path
) -> None:
    words = ["-m", "search=random", "lr=choice(0.001,0.002)", "search.seeds=2", "seed=3"]
    words += ["bands.n=5"]
    words += [*QUICK, "epochs=60", "sweep.checkpoint_seconds=0", "hydra.sweeper.n_trials=1"]
    words += ["hydra.sweeper.study_name=s"]
    process = study.start(*words)
    deadline = time.monotonic() + 600
    while not second_seed_has_a_checkpoint(study, packed):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=600)
    assert main([*study.words, *words]) == 0
    lost, told = trials(study)
    assert (lost.state, told.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert lost.params == told.params
    first, second = by_trial(study)[1]
    assert [run.data.params["seed"] for run in (first, second)] == ["3", "4"]
    assert "hyperspec.resumed_from" in first.data.tags
    assert "hyperspec.continued_from" in second.data.tags
    scores = [run.data.metrics["objective"] for run in (first, second)]
    assert told.value == pytest.approx(sum(scores) / 2)
    assert told.user_attrs["hyperspec:seeds"] == {"3": [scores[0]], "4": [scores[1]]}
    closed = [run for run in study.runs() if run.info.status == "RUNNING"]
    assert closed == []


@pytest.mark.slow
def test_a_trial_of_seeds_and_rotations_is_told_their_mean_and_taken_over(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*study.words, *QUICK, "-m", "search=random", "lr=choice(0.001,0.002)", "bands.n=5"]
    words += ["search.seeds=2", "data.split.rotate=3", "hydra.sweeper.n_trials=1"]
    assert main([*words, "hydra.sweeper.study_name=s"]) == 0
    shown = capsys.readouterr().out
    assert "sweep: 6 jobs" in shown
    assert "  1 trial of 2 seeds x 3 rotations" in shown
    assert "sweep 6/6" in shown
    jobs = study.jobs()
    said = [(r.data.params["seed"], r.data.params["data.split.rotation"]) for r in jobs]
    assert said == [(seed, turn) for seed in "01" for turn in "012"]
    (trial,) = trials(study)
    values = [run.data.metrics["objective"] for run in jobs]
    assert trial.value == pytest.approx(sum(values) / 6)
    assert trial.user_attrs["hyperspec:seeds"]["1"] == [pytest.approx(sum(values[3:]) / 3)]
    # Another study of the same sampler draws the same trial; one of its jobs is missing.
    open_client(study.uri).delete_run(jobs[4].info.run_id)
    assert main([*words, "hydra.sweeper.study_name=again"]) == 0
    assert trials(study, "again")[0].params == trial.params
    assert trials(study, "again")[0].value == pytest.approx(trial.value)
    trained = [run for run in study.jobs()[5:] if "hyperspec.resumed_from" not in run.data.tags]
    assert [run.data.params["data.split.rotation"] for run in trained] == ["1"]


@pytest.mark.slow
def test_each_strategy_is_searched_over_its_own_parameters(study: Study) -> None:
    words = [*study.words, *QUICK, "-m", "search=tpe", "bands=choice(uniform,pca)"]
    words += ["hydra.sweeper.n_trials=4", "hydra.sweeper.study_name=s", "bands.n=5"]
    branch = "+search.branches.bands.pca={bands.explained: 'interval(0.8,0.99)'}"
    assert main([*words, branch]) == 0
    for trial in trials(study):
        (run,), drawn = by_trial(study)[trial.number], trial.params
        assert run.data.params["bands"] == drawn["bands"]
        if drawn["bands"] == "pca":
            explained = drawn["bands.explained (bands=pca)"]
            assert float(run.data.params["bands.explained"]) == explained
        else:
            assert list(drawn) == ["bands"]
    assert {trial.params["bands"] for trial in trials(study)} == {"uniform", "pca"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            [
                *("search=tpe", "bands=choice(uniform,pca)"),
                "+search.branches.bands.pca={bands.explaned: 'interval(0.8,0.99)'}",
            ],
            r"Key 'explaned' not in 'Pca'",
        ),
        (
            [
                *("search=tpe", "bands=choice(uniform,pca)"),
                "+search.branches.bands.pca={bands.explained: 'interval(0.8,1.5)'}",
            ],
            "bands=pca bands.explained=1.5: bands.explained is 1.5",
        ),
        (
            ["search=tpe_pruned", "lr=choice(0.1,0.2)", "objective=[auto,bands.n]"],
            "The pruner median stops trials by one score, and objective names 2 metrics",
        ),
        (
            [
                *("hydra/sweeper=optuna", "hydra.sweeper.direction=maximize"),
                *("bands.n=choice(4,5)", "data.split.rotate=4"),
            ],
            "this sweeper does not run the rotations of a trial",
        ),
        (
            ["hydra/sweeper=optuna", "bands.n=choice(4,5)"],
            "minimize objective=auto by its own default: it would look for the worst",
        ),
        (["bands.n=4,5", "search.seeds=3"], "In a grid give the seeds as an axis"),
        (
            ["bands.n=4,5", "+search.branches.bands.pca={x: 'choice(1,2)'}"],
            "search.branches is read by a search alone",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_the_first_job(
    study: Study, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*study.words, "-m", *words]) == 2
    shown = capsys.readouterr().err
    assert text.replace("r'", "'") in shown
    assert study.runs() == []


def test_the_plan_of_a_search_counts_seeds_and_tells_branches(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search=tpe", "bands=choice(uniform,pca)", "bands.n=5"]
    words += ["search.seeds=3", "sweep.dry_run=true"]
    branch = "+search.branches.bands.pca={bands.explained: 'interval(0.8,0.99)'}"
    assert main([*study.words, "-m", *words, branch]) == 0
    shown = capsys.readouterr().out
    assert "sweep: 90 jobs" in shown
    assert "  30 trials of 3 seeds" in shown
    assert "  bands.explained with bands=pca: 0.8 to 0.99" in shown


@pytest.mark.slow
@pytest.mark.parametrize("space", ["bands.n=choice(4,5)", "+hydra.sweeper.params={bands.n: '4,5'}"])
def test_the_stock_sweeper_still_searches(study: Study, space: str) -> None:
    words = [*study.words, *QUICK, "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2"]
    words += ["hydra.sweeper.direction=maximize", space, "hydra.sweeper.n_jobs=1"]
    words += ["hydra.sweeper.storage=sqlite:///optuna.db", "hydra.sweeper.study_name=s"]
    assert main(words) == 0
    assert [trial.state for trial in trials(study)] == [TrialState.COMPLETE] * 2
    assert all(trial.params["bands.n"] in (4, 5) for trial in trials(study))
    assert [run.info.status for run in study.jobs()] == ["FINISHED"] * 2
    assert not any("hyperspec.search.trial" in run.data.tags for run in study.jobs())
