"""A checkpoint is named by its file, by a run, by a sweep, or as the latest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_sweeps import FakeSweep

from hyperspec.cli.train import with_checkpoint
from hyperspec.report.checkpoint_lookup import read_word
from hyperspec.tracking.parent import ParentInfo, write_parent
from hyperspec.tracking.run import JobRun, start_run
from hyperspec.utils.errors import ModelError, TrackingError


@pytest.fixture
def trained(fake_sweep: FakeSweep) -> dict[str, JobRun]:
    """A sweep whose second job is the best; the best of a second sweep took its result over."""
    sweep, found = fake_sweep, {}
    for n, knn in ((10, 0.25), (20, 0.75), (30, 0.5)):
        job = sweep.job("uniform", n, knn=knn)
        leave_checkpoint(sweep, job)
        found[str(n)] = job
    sweep.parent.finish()
    found["sweep"] = sweep.parent
    return found


def leave_checkpoint(sweep: FakeSweep, job: JobRun) -> None:
    path = sweep.folder / "last.ckpt"
    path.write_text(job.run_id)
    sweep.connection.client.log_artifact(job.run_id, str(path), "checkpoints")


def test_a_sweep_stands_for_its_best_job(
    trained: dict[str, JobRun], fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    uri, parent = fake_sweep.connection.uri, trained["sweep"]
    note = ParentInfo(parent.run_id, uri, fake_sweep.connection.experiment, "band_count", "x")
    write_parent(tmp_path / "sweep", note)
    for word in (parent.name, parent.run_id, parent.run_id[:10], str(tmp_path / "sweep"), "latest"):
        path, told = read_word(word, uri).find()
        assert path.read_text() == trained["20"].run_id
        assert told == (
            "uniform n=020 seed=0, highest val/knn_top1 (0.740) of 3 finished jobs of "
            f"{parent.name}"
        )


def test_a_run_stands_for_its_own(trained: dict[str, JobRun], fake_sweep: FakeSweep) -> None:
    job = trained["30"]
    path, told = read_word(job.run_id[:12], fake_sweep.connection.uri).find()
    assert (path.read_text(), told) == (job.run_id, f"run {job.name}")


def test_a_result_that_was_taken_over_leads_to_the_run_that_trained(
    trained: dict[str, JobRun], fake_sweep: FakeSweep
) -> None:
    second = start_run(fake_sweep.connection, "second", kind="sweep")
    FakeSweep(fake_sweep.connection, second, fake_sweep.folder).job(
        "uniform", 10, tags={"hyperspec.resumed_from": trained["10"].run_id}
    )
    second.finish()
    path, _ = read_word(second.run_id, fake_sweep.connection.uri).find()
    assert path.read_text() == trained["10"].run_id


def test_no_best_where_jobs_cannot_be_ranked(fake_sweep: FakeSweep) -> None:
    uri, parent = fake_sweep.connection.uri, fake_sweep.parent
    with pytest.raises(ModelError, match=r"No job of the sweep .* has finished with an objective"):
        read_word(parent.run_id, uri).find()
    for name in ("val/knn_top1", "val/rankme"):
        fake_sweep.job("uniform", 10, params={"objective": name})
    with pytest.raises(ModelError, match="judged by val/knn_top1; B: judged by val/rankme"):
        read_word(parent.run_id, uri).find()


def test_a_run_without_a_checkpoint_says_so(fake_sweep: FakeSweep) -> None:
    job = fake_sweep.job("uniform", 10)
    with pytest.raises(ModelError, match=rf"{job.run_id}\) left no checkpoint at .*last\.ckpt"):
        read_word(job.run_id, fake_sweep.connection.uri).find()


def test_files_and_folders_need_no_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'none.db'}"
    (tmp_path / "run").mkdir()
    checkpoint = tmp_path / "run/last.ckpt"
    checkpoint.touch()
    for word in (checkpoint, tmp_path / "run"):
        assert read_word(str(word), uri).find() == (checkpoint, "")
    for word in (tmp_path / "run/lst.ckpt", tmp_path, tmp_path / "rum/last.ckpt"):
        with pytest.raises(ModelError, match=f"Nearest: {checkpoint}") as caught:
            read_word(str(word), uri)
        assert str(caught.value).startswith(f"'{word}' ")
    with pytest.raises(TrackingError, match=r"There is no tracking store at .*none\.db"):
        read_word("latest", uri)
    assert not (tmp_path / "none.db").exists()


def test_names_that_several_have_are_told_with_their_identities(
    trained: dict[str, JobRun], fake_sweep: FakeSweep
) -> None:
    for name in ("twin a", "twin a"):
        start_run(fake_sweep.connection, name, kind="sweep").finish()
    with pytest.raises(TrackingError, match=r"2 sweeps in .* answer to 'twin a': "):
        read_word("twin a", fake_sweep.connection.uri)


COMMANDS = {
    "evaluate": ["evaluate", "NAME", "folder"],
    "embed": ["embed", "NAME", "folder"],
    "explore": ["explore", "NAME"],
    "importance": ["importance", "NAME", "folder"],
    "importance --run": ["importance", "last.ckpt", "folder", "--run", "NAME"],
    "signatures": ["signatures", "folder", "--ckpt", "NAME"],
    "report": ["report", "NAME"],
    "results": ["results", "NAME"],
}


def test_a_wrong_name_is_told_before_anything_heavy_is_imported(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    fake_sweep.parent.finish()
    (tmp_path / "last.ckpt").touch()
    (tmp_path / "folder").mkdir()
    script = """
import sys
from hyperspec.cli.main import main
heavy = ("torch", "mlflow", "pytorch_lightning")
for command in eval(sys.argv[1]):
    assert main([*command, "--uri", sys.argv[2]]) == 2, command
    loaded = [name for name in heavy if name in sys.modules]
    assert not loaded, (command, loaded)
"""
    name = fake_sweep.parent.name.replace("band", "bant")
    asked = [[word.replace("NAME", name) for word in words] for words in COMMANDS.values()]
    done = subprocess.run(
        [sys.executable, "-c", script, repr(asked), fake_sweep.connection.uri],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"answers to '{name}'. Did you mean 'band_count ") == len(asked)


def test_a_training_goes_on_from_a_name(
    trained: dict[str, JobRun], fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    store = f"tracking.uri={fake_sweep.connection.uri}"
    name = trained["sweep"].name
    _, word = with_checkpoint([store, f"ckpt={name}"])
    path, _ = read_word(name, fake_sweep.connection.uri).find()
    assert word == f'ckpt="{path}"'
    (tmp_path / "mine").touch()
    as_they_are = [
        *("ckpt=null", "ckpt=a.ckpt,b.ckpt", f"ckpt={tmp_path / 'mine'}"),
        *("+x=1", "-m", "epochs=2"),
    ]
    assert with_checkpoint([store, *as_they_are]) == [store, *as_they_are]
    with pytest.raises(ModelError, match=r"'missing\.ckpt' does not exist\. Give a checkpoint"):
        with_checkpoint([store, "ckpt=missing.ckpt"])
    with pytest.raises(TrackingError, match=r"answers to 'lates'\. Did you mean 'latest'"):
        with_checkpoint([store, "ckpt=lates"])
