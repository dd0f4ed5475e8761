"""Finished jobs are not run again, and interrupted ones go on as if nothing had happened."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from mlflow.entities import Run
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.report.load import load_sweep
from hyperspec.tracking.client import open_client
from hyperspec.tracking.health import local_folder
from hyperspec.utils.results_version import RESULTS

ASIDE, SECONDS = ("cost/", "system/"), ("search/train_seconds",)


def trained(study: Study) -> list[Run]:
    return [run for run in study.jobs() if "hyperspec.resumed_from" not in run.data.tags]


def scores(run: Run) -> dict[str, float]:
    return {
        k: v for k, v in run.data.metrics.items() if k not in SECONDS and not k.startswith(ASIDE)
    }


def artifact(run: Run, name: str) -> Path:
    return local_folder(run.info.artifact_uri) / name


def test_a_second_sweep_trains_what_is_new_alone(study: Study) -> None:
    assert main([*study.words, "-m", "bands.n=5,6"]) == 0
    again = [*study.words, "-m", "bands.n=5,6,7", "study=second", "data.residency=pinned"]
    assert main(again) == 0
    first, second = [run for run in study.runs() if run.data.tags["hyperspec.kind"] == "sweep"]
    assert [run.data.params["bands.n"] for run in trained(study)] == ["5", "6", "7"]
    five, copy = [run for run in study.jobs() if run.data.params["bands.n"] == "5"]
    assert copy.data.tags["hyperspec.resumed_from"] == five.info.run_id
    assert copy.data.tags["mlflow.parentRunId"] == second.info.run_id
    assert copy.info.status == "FINISHED"
    own = {k: v for k, v in five.data.metrics.items() if not k.startswith("system/")}
    assert copy.data.metrics == own
    parts = [sorted(i.dataset.name for i in r.inputs.dataset_inputs) for r in (five, copy)]
    assert (
        parts[0] == parts[1] == [f"specimens ({part})" for part in ("test", "train", "validation")]
    )
    assert copy.data.params["bands.count"] == five.data.params["bands.count"] == "5"
    assert "bands.indices" not in five.data.params
    nm = "hyperspec.bands.wavelengths_nm"
    assert copy.data.tags[nm] == five.data.tags[nm]
    assert len(json.loads(five.data.tags[nm])) == 5
    assert copy.data.params["study"] == "second"
    csv = "evaluation/test_predictions.csv"
    assert artifact(copy, csv).read_bytes() == artifact(five, csv).read_bytes()
    assert not artifact(copy, "checkpoints").exists()
    data = load_sweep(study.uri, [second.info.run_id])
    assert sorted(data.finished["n"]) == [5, 6, 7]
    took = (five.info.end_time - five.info.start_time) / 1000
    assert data.jobs.set_index("n").loc[5, "seconds"] == took
    both = load_sweep(study.uri, [first.info.run_id, second.info.run_id])
    assert sorted(both.finished["n"]) == [5, 6, 7]


def test_a_raised_version_retrains_the_jobs_that_use_the_part(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*study.words, "-m", "bands.n=5", "views=none,default"]
    assert main(words) == 0
    assert main(words) == 0
    assert len(trained(study)) == 2
    monkeypatch.setitem(RESULTS, "views.noise", 2)  # type: ignore[arg-type]
    assert main(words) == 0
    first, second, third = trained(study)
    assert third.data.tags["hyperspec.results"] == second.data.tags["hyperspec.results"].replace(
        "views.noise=1", "views.noise=2"
    )
    assert third.data.tags["hyperspec.identity.settings"] in {
        run.data.tags["hyperspec.identity.settings"] for run in (first, second)
    }
    assert third.data.tags["hyperspec.identity"] != second.data.tags["hyperspec.identity"]
    assert len(study.jobs()) == 6


def test_resume_can_be_turned_off_and_single_runs_always_train(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*study.words, "-m", "bands.n=5"]) == 0
    assert "sweep.report=false: hyperspec report " in capsys.readouterr().out
    assert not list(study.folder.rglob("report.html"))
    assert main([*study.words, "bands.n=5"]) == 0
    assert main([*study.words, "-m", "bands.n=5", "sweep.resume=false"]) == 0
    assert len(trained(study)) == 3
    assert len({run.data.tags["hyperspec.identity"] for run in study.jobs()}) == 1


@pytest.mark.parametrize(
    ("word", "same"),
    [
        ("log_every_n_steps=3", True),
        ("hardware.num_workers=1", True),
        ("sweep.checkpoint_seconds=0", True),
        ("lr=2e-3", False),
        ("data.split.seed=1", False),
        ("data.labels.column=label", False),
    ],
)
def test_what_decides_nothing_leaves_the_identity_as_it_is(
    study: Study, word: str, same: bool
) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from hyperspec.config import config_dir, groups
    from hyperspec.runs.identity import identity

    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir())):
        found = {
            identity(groups.to_train(compose("train", [*study.words, *more])), "d", "s", {}).hash
            for more in ([], [word])
        }
    assert (len(found) == 1) == same


def wait_for(
    study: Study, packed: Path, writes: int, pattern: str = "interrupted/*/?.ckpt"
) -> None:
    """Wait until a checkpoint was written so many times."""
    seen: set[tuple[str, int]] = set()
    deadline = time.monotonic() + 600
    while len(seen) < writes:
        assert time.monotonic() < deadline
        for path in packed.glob(pattern):
            seen.add((str(path), path.stat().st_mtime_ns))
        time.sleep(0.005)


def test_a_killed_job_goes_on_and_ends_with_the_weights_of_an_unbroken_one(
    study: Study, packed: Path
) -> None:
    words = ["-m", "bands.n=5", "epochs=40", "views=strong", "sweep.checkpoint_seconds=0"]
    assert main([*study.words, *words, "sweep.resume=false"]) == 0
    (unbroken,) = trained(study)
    # Another experiment, so that the finished run is not found there.
    words.append(f"tracking.experiment={study.folder.name}-killed")
    process = study.start(*words)
    wait_for(study, packed, 5)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=600)
    assert main([*study.words, *words]) == 0
    client = open_client(study.uri)
    experiment = client.get_experiment_by_name(f"{study.folder.name}-killed")
    runs = client.search_runs(
        [experiment.experiment_id],
        "tags.`hyperspec.kind` = 'job'",
        order_by=["attributes.start_time ASC"],
    )
    killed, resumed = runs
    assert (killed.info.status, resumed.info.status) == ("FAILED", "FINISHED")
    assert resumed.data.tags["hyperspec.continued_from"] == killed.info.run_id
    assert scores(resumed) == scores(unbroken)
    states = [
        torch.load(artifact(run, "checkpoints/last.ckpt"), weights_only=True)["state_dict"]
        for run in (unbroken, resumed)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    losses = [
        [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "train/loss")]
        for run in (unbroken, resumed)
    ]
    assert losses[0] == losses[1]
    assert not list(packed.glob("interrupted/*/?.ckpt"))


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "writes"), [("search/", 3), ("", 2)])
def test_a_killed_search_for_bands_goes_on_too(
    study: Study, packed: Path, stage: str, writes: int
) -> None:
    words = ["-m", "bands=learned", "bands.n=4", "epochs=24", "sweep.checkpoint_seconds=0"]
    assert main([*study.words, *words, "sweep.resume=false"]) == 0
    (unbroken,) = trained(study)
    words.append(f"tracking.experiment={study.folder.name}-killed")
    process = study.start(*words)
    wait_for(study, packed, writes, f"interrupted/*/{stage}?.ckpt")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=600)
    assert main([*study.words, *words]) == 0
    client = open_client(study.uri)
    experiment = client.get_experiment_by_name(f"{study.folder.name}-killed")
    killed, resumed = client.search_runs(
        [experiment.experiment_id],
        "tags.`hyperspec.kind` = 'job'",
        order_by=["attributes.start_time ASC"],
    )
    assert resumed.data.tags["hyperspec.continued_from"] == killed.info.run_id
    assert scores(resumed) == scores(unbroken)
    for name in ("search/loss", "search/entropy", "search/gap_knn_top1", "train/loss"):
        histories = [
            [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            for run in (unbroken, resumed)
        ]
        assert histories[0], name
        assert histories[0] == histories[1], name
    assert not list(packed.glob("interrupted/*/**/?.ckpt"))
