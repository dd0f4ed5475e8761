"""What earlier releases wrote is read by the code of the day: ``tests/assets/<version>``.

The sets are made by ``tests/assets/make_assets.py``. Only what stays is used here: the console
command, its files, MLflow and Optuna. No module of the package is named.
"""

from __future__ import annotations

import json
import re
import socket
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from assets.relocate import relocate
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

(_COMMAND,) = entry_points(group="console_scripts", name="hyperspec")
_MAIN: Callable[[list[str]], int] = _COMMAND.load()

SHELF = Path(__file__).with_name("assets")
VERSIONS = sorted(path.parent.name for path in SHELF.glob("*/numbers.json"))
CHECKPOINTS = [
    (version, name)
    for version in VERSIONS
    for name in json.loads((SHELF / version / "numbers.json").read_text())["checkpoints"]
]
IDENTITY, RESUMED = "hyperspec.identity", "hyperspec.resumed_from"
CONTINUED = "hyperspec.continued_from"
# Embeddings are sums of some hundred float32 products in an order that the processor chooses.
RELATIVE, OF_LARGEST = 1e-4, 1e-5


@dataclass(frozen=True)
class Frozen:
    """One version's set, unpacked in a folder, with the numbers that it gave."""

    version: str
    root: Path
    numbers: dict[str, Any]

    @classmethod
    def unpack(cls, version: str, root: Path) -> Frozen:
        with tarfile.open(SHELF / version / "assets.tar.xz") as tar:
            tar.extractall(root, filter="data")
        text = (SHELF / version / "numbers.json").read_text()
        old_root = json.loads(text)["root"]
        relocate(root, old_root, str(root))
        # As if this machine had been started anew since: what ran then is known to be gone.
        relocate(root, "assets-host", socket.gethostname())
        return cls(version, root, json.loads(text.replace(old_root, str(root))))

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.root}/mlflow.db"

    def command(self, name: str) -> list[str]:
        """Words of a command that was given when the set was made."""
        return ["train", *self.numbers["commands"][name]]

    def jobs(self, experiment: str) -> list[Run]:
        """The jobs of an experiment, oldest first."""
        client = MlflowClient(self.uri)
        found = client.get_experiment_by_name(experiment)
        return list(
            client.search_runs(
                [found.experiment_id],
                "tags.`hyperspec.kind` = 'job'",
                order_by=["attributes.start_time ASC"],
            )
        )

    def job(self, status: str) -> Run:
        """The job of the broken sweep that ended so when the set was made."""
        (run_id,) = [
            run_id
            for run_id, told in self.numbers["runs"]["broken"].items()
            if (told["kind"], told["status"]) == ("job", status)
        ]
        return MlflowClient(self.uri).get_run(run_id)

    def interrupted(self) -> tuple[Path, int]:
        """The last checkpoint of the interrupted job, and its optimizer steps."""
        folder = self.root / "cache/interrupted" / self.job("KILLED").data.tags[IDENTITY]
        steps = {
            path: int(torch.load(path, weights_only=True)["global_step"])
            for path in folder.glob("?.ckpt")
        }
        latest = max(steps, key=lambda path: steps[path])
        return latest, steps[latest]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands leave files in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Frozen]:
    """Return what unpacks a version once for all tests that only read."""
    known: dict[str, Frozen] = {}

    def get(version: str) -> Frozen:
        if version not in known:
            known[version] = Frozen.unpack(version, tmp_path_factory.mktemp("frozen"))
        return known[version]

    return get


@pytest.fixture(params=VERSIONS)
def read_only(request: pytest.FixtureRequest, unpacked: Callable[[str], Frozen]) -> Frozen:
    return unpacked(request.param)


@pytest.fixture(params=VERSIONS)
def frozen(request: pytest.FixtureRequest, tmp_path: Path) -> Frozen:
    """A copy of a test's own."""
    root = tmp_path / "frozen"
    root.mkdir()
    return Frozen.unpack(request.param, root)


def assert_same(found: Any, told: Any) -> None:
    """Compare embeddings with those that the version gave."""
    told = np.asarray(told)
    atol = OF_LARGEST * np.abs(told).max()
    np.testing.assert_allclose(np.asarray(found), told, rtol=RELATIVE, atol=atol)


def test_every_set_is_small() -> None:
    assert VERSIONS
    for version in VERSIONS:
        size = sum(path.stat().st_size for path in (SHELF / version).iterdir())
        assert size <= 2_000_000, version


def test_a_store_is_opened_without_packing_again(read_only: Frozen, tmp_path: Path) -> None:
    cache, specimens = read_only.root / "cache", read_only.root / "specimens"

    def stamps() -> dict[Path, tuple[int, int]]:
        files = [*cache.glob("shards/*"), *cache.glob("stores/*/*.*")]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    before = stamps()
    num_cubes = len(pd.read_csv(specimens / "labels.csv"))
    assert len(list(cache.glob("shards/*.npy"))) == num_cubes
    words = ["--size", "16", "--cache-dir", str(cache)]
    assert _MAIN(["pack", str(specimens), *words, "--verify"]) == 0
    assert stamps() == before
    # That it would be seen: another folder is packed.
    other = ["--size", "16", "--cache-dir", str(tmp_path / "other")]
    assert _MAIN(["pack", str(specimens), *other]) == 0
    made = {path.name for path in tmp_path.glob("other/shards/*")}
    assert made == {path.name for path in before if path.parent.name == "shards"}


@pytest.mark.parametrize(("version", "name"), CHECKPOINTS)
def test_a_checkpoint_embeds_and_scores_the_same(
    unpacked: Callable[[str], Frozen], version: str, name: str, tmp_path: Path
) -> None:
    frozen = unpacked(version)
    told = frozen.numbers["checkpoints"][name]
    words = [str(frozen.root / "checkpoints" / name / "last.ckpt"), str(frozen.root / "specimens")]
    words += ["--cache-dir", str(frozen.root / "cache")]
    assert _MAIN(["embed", *words, "--out", str(tmp_path / "e.parquet")]) == 0
    table = pd.read_parquet(tmp_path / "e.parquet").set_index("file")
    for file, embedding in told["embeddings"].items():
        assert_same(table.loc[file, "embedding"], embedding)
    evaluate = ["--out", str(tmp_path / "out"), "--k", "3"]
    assert _MAIN(["evaluate", *words, *evaluate]) == 0
    found = json.loads((tmp_path / "out/evaluation.json").read_text())
    # Later versions may measure more; what was measured keeps its name and its value. The ends of
    # intervals do not: 0.1.0 resampled, and gave ends to fewer than eight specimens too.
    kept = {k: v for k, v in told["evaluation"].items() if not k.endswith(("_low", "_high"))}
    assert kept.keys() <= found.keys()
    for key, value in kept.items():
        assert found[key] == pytest.approx(value, rel=RELATIVE, abs=1e-5), key


def test_a_logged_model_embeds_the_same(read_only: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    # By the environment: an address that was set once would go before it in later tests.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", read_only.uri)
    told = read_only.numbers["model"]
    model = mlflow.pyfunc.load_model(f"models:/{told['id']}")
    files = [str(read_only.root / "specimens" / name) for name in told["embeddings"]]
    found = model.predict(pd.DataFrame({"file": files}))
    assert_same(found, list(told["embeddings"].values()))


@pytest.mark.parametrize("experiment", ["whole", "broken"])
def test_a_report_is_drawn_from_old_runs(
    read_only: Frozen, experiment: str, tmp_path: Path
) -> None:
    told = read_only.numbers["runs"][experiment]
    (parent,) = [run_id for run_id, run in told.items() if run["kind"] == "sweep"]
    out = tmp_path / "report"
    assert _MAIN(["report", parent, "--uri", read_only.uri, "--out", str(out)]) == 0
    assert (out / "report.html").stat().st_size > 10_000
    table = (out / "table.txt").read_text()
    jobs = [run for run in told.values() if run["kind"] == "job"]
    # Rank, strategy, number of bands, number of seeds, objective.
    ranked = re.findall(r"^ *\d+ +uniform +(\d+) +1 +([\d.]+)", table, re.M)
    assert sorted((n, float(objective)) for n, objective in ranked) == sorted(
        (run["bands.n"], run["objective"]) for run in jobs if run["status"] == "FINISHED"
    )
    for run in jobs:
        if run["status"] != "FINISHED":
            assert re.search(rf"{re.escape(run['name'])} +{run['status']}", table)


def test_an_interrupted_job_goes_on_from_its_checkpoint(frozen: Frozen) -> None:
    path, steps = frozen.interrupted()
    words = [word for word in frozen.command("sweep") if not word.startswith("hydra.sweep.dir=")]
    words = [*words[: words.index("-m")], "bands.n=6", f"ckpt={path}"]
    assert _MAIN([*words, "tracking.experiment=alone"]) == 0
    (run,) = frozen.jobs("alone")
    assert run.info.status == "FINISHED"
    history = MlflowClient(frozen.uri).get_metric_history(run.info.run_id, "train/loss")
    assert min(point.step for point in history) >= steps


@pytest.mark.slow
def test_a_sweep_goes_on_in_its_folder(frozen: Frozen) -> None:
    # The identity of a job covers the code, so that a job of another version may train once more;
    # whatever it was, the second time nothing trains.
    before = {run.info.run_id for run in frozen.jobs("broken")}
    ended, stopped = frozen.job("FINISHED"), frozen.job("KILLED")
    # One of the three asks for more bands than there are.
    assert _MAIN(frozen.command("sweep")) == 1
    five, failed, six = [run for run in frozen.jobs("broken") if run.info.run_id not in before]
    assert [run.info.status for run in (five, failed, six)] == ["FINISHED", "FAILED", "FINISHED"]
    for old, new, tag in ((ended, five, RESUMED), (stopped, six, CONTINUED)):
        assert new.data.params["bands.n"] == old.data.params["bands.n"]
        known = new.data.tags[IDENTITY] == old.data.tags[IDENTITY]
        assert new.data.tags.get(tag) == (old.info.run_id if known else None)
    assert _MAIN(frozen.command("sweep")) == 1
    again = [run for run in frozen.jobs("broken") if run.info.run_id not in before][3:]
    assert [run.data.tags.get(RESUMED) for run in again] == [
        five.data.tags.get(RESUMED, five.info.run_id), None, six.info.run_id,
    ]  # fmt: skip
    assert [run.data.metrics.get("objective") for run in again] == [
        run.data.metrics.get("objective") for run in (five, failed, six)
    ]


@pytest.mark.slow
def test_all_but_the_identity_fits(frozen: Frozen, tmp_path: Path) -> None:
    """Under the identities of today the old sweep's jobs are known ones."""
    ended, stopped = frozen.job("FINISHED"), frozen.job("KILLED")
    # A short sweep elsewhere would have other identities: only the same settings give the same.
    aside = tmp_path / "aside"
    aside.mkdir()
    other = Frozen.unpack(frozen.version, aside)
    assert _MAIN(other.command("sweep")) == 1
    today = {run.data.params["bands.n"]: run.data.tags for run in other.jobs("broken")}
    client = MlflowClient(frozen.uri)
    for old in (ended, stopped):
        now = today[old.data.params["bands.n"]][IDENTITY]
        client.set_tag(old.info.run_id, IDENTITY, now)
        folder = frozen.root / "cache/interrupted" / old.data.tags[IDENTITY]
        if folder.is_dir():
            folder.rename(folder.with_name(now))
    before = {run.info.run_id for run in frozen.jobs("broken")}
    assert _MAIN(frozen.command("sweep")) == 1
    five, _, six = [run for run in frozen.jobs("broken") if run.info.run_id not in before]
    assert five.data.tags[RESUMED] == ended.info.run_id
    assert five.data.metrics["objective"] == ended.data.metrics["objective"]
    assert six.data.tags[CONTINUED] == stopped.info.run_id
    assert six.info.status == "FINISHED"
    done = frozen.root / "cache/interrupted" / six.data.tags[IDENTITY]
    assert not list(done.glob("?.ckpt"))


def test_a_study_goes_on_to_its_total(frozen: Frozen) -> None:
    storage = f"sqlite:///{frozen.root}/optuna.db"
    told = [trial for trial in frozen.numbers["trials"] if trial["state"] == "COMPLETE"]
    (total,) = [
        int(word.rpartition("=")[2]) for word in frozen.command("search") if "n_trials" in word
    ]
    assert 0 < len(told) < total
    assert _MAIN(frozen.command("search")) == 0
    trials = optuna.load_study(study_name="frozen", storage=storage).trials
    complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert len(complete) == total
    for trial, old in zip(complete, told, strict=False):
        assert (trial.params, trial.value) == (old["params"], old["value"])


def test_runs_that_waited_are_sent(
    frozen: Frozen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, told = f"sqlite:///{tmp_path}/sent.db", frozen.numbers["delivered"]
    # The set was kept small: pictures are not in it, and sync says so where 0.1.0 passed over them.
    assert _MAIN(["sync", str(frozen.root / "away"), "--uri", uri]) == 1
    out = capsys.readouterr().out
    assert f"{len(told)} runs sent, 0 left" in out
    refused = [line for line in out.splitlines() if line.startswith("  refused: ")]
    assert len(refused) == len(told) - 1  # the sweep's run has none
    assert all("bands.png is gone" in line for line in refused)
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("away").experiment_id])
    found = {
        run.info.run_name: {"status": run.info.status, "metrics": run.data.metrics} for run in runs
    }
    # As text: an interval that a few specimens do not have is NaN, which equals nothing.
    assert json.dumps(found, sort_keys=True) == json.dumps(told, sort_keys=True)
    (parent,) = [run for run in runs if run.data.tags["hyperspec.kind"] == "sweep"]
    for run in runs:
        if run is not parent:
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            files = client.list_artifacts(run.info.run_id, "checkpoints")
            assert "checkpoints/last.ckpt" in [file.path for file in files]
    assert _MAIN(["sync", str(frozen.root / "away"), "--uri", uri]) == 0
    assert "0 runs sent, 0 left" in capsys.readouterr().out
