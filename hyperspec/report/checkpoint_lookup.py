"""From a word to a checkpoint: its file, the folder or name of a run or a sweep, `latest`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hyperspec.evaluation.metrics import natural_direction
from hyperspec.tracking.client import open_client, resolve_uri
from hyperspec.tracking.contract import Artifact, MetricName
from hyperspec.tracking.health import local_folder
from hyperspec.tracking.parent import NOTE, find_parent
from hyperspec.tracking.reader import open_reader
from hyperspec.tracking.run_index import RunName, find_run, read_index
from hyperspec.utils.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

    from hyperspec.report.load import SweepData

_FILE = Path(Artifact.CHECKPOINT).name
_LISTED = 5


@dataclass(frozen=True)
class CheckpointWord:
    """What a word means, known without MLflow or torch; :meth:`find` goes and gets it.

    Args:
        word: As typed.
        path: The file, where the word names one.
        run: The run, or the sweep, where it names that.
        uri: Absolute address of the run's store.
    """

    word: str
    path: Path | None = None
    run: RunName | None = None
    uri: str = ""

    def find(self) -> tuple[Path, str]:
        """Return the checkpoint's file, and how it was chosen in a line; empty where it was named.

        Raises:
            ModelError: If the run or the sweep left none, or its jobs cannot be ranked.
        """
        if self.path is not None:
            return self.path, ""
        assert self.run is not None
        from hyperspec.report.load import load_sweep

        data = load_sweep(self.uri, [self.run.run_id])
        job = data.jobs.iloc[0] if not self.run.is_sweep else _best(data, self.run.name)
        told = _chosen(data, job) if self.run.is_sweep else f"run {self.run.name}"
        return checkpoint_of(job, self.uri), told


def read_word(word: str, uri: str | None) -> CheckpointWord:
    """Find out what a word means: a file, a folder, or a run or sweep in the store.

    Args:
        word: A checkpoint; the folder of a run or sweep; ``latest``, the name, the study or the
            identity (4 characters or more) of a sweep or run.
        uri: Tracking store; None as :func:`hyperspec.tracking.client.resolve_uri` takes it.

    Raises:
        ModelError: If it is a path that leads to no checkpoint; the message has the nearest.
        TrackingError: If the store holds nothing of that name; the message has the nearest.
    """
    path = Path(word)
    if path.is_file():
        return CheckpointWord(word, path)
    if (path / _FILE).is_file():
        return CheckpointWord(word, path / _FILE)
    note = find_parent(path) if (path / NOTE).exists() else None
    if note is not None:
        store, run_id = note.tracking_uri, note.parent_run_id
        return CheckpointWord(
            word, run=find_run(read_index(store, run_id), run_id, store), uri=store
        )
    if path.is_dir() or {"/", os.sep} & set(word) or path.suffix == ".ckpt":
        raise ModelError(_no_file(path))
    address = resolve_uri(uri)
    return CheckpointWord(word, run=find_run(read_index(address, word), word, address), uri=address)


def _no_file(path: Path) -> str:
    what = f"holds no {_FILE}" if path.is_dir() else "does not exist"
    near = [str(one) for one in _nearby(path)]
    close = get_close_matches(str(path), near, n=_LISTED, cutoff=0.0)
    hint = f"Nearest: {', '.join(close)}. " if close else ""
    return (
        f"'{path}' {what}. {hint}Give a checkpoint (<run folder>/{_FILE}), the folder of a run or "
        "a sweep, the name or identity of one, or 'latest'."
    )


def _nearby(path: Path) -> Iterator[Path]:
    """Yield the checkpoints in the nearest folder that exists, and one below."""
    folder = next((one for one in (path, *path.parents) if one.is_dir()), Path())
    for pattern in ("*.ckpt", f"*/{_FILE}", f"*/*/{_FILE}"):
        for _, found in zip(range(100), folder.glob(pattern), strict=False):
            yield found


def _best(data: SweepData, name: str) -> pd.Series:
    from hyperspec.report.cohorts import best_job, divide

    found = best_job(data)
    if found is not None:
        return found
    cohorts = divide(data)
    if len(cohorts) > 1:
        kinds = "; ".join(one.title for one in cohorts)
        raise ModelError(
            f"The sweep '{name}' has no best job: its jobs cannot be ranked with each other "
            f"({kinds}). Name a run; hyperspec results lists them."
        )
    raise ModelError(
        f"No job of the sweep '{name}' has finished with an objective, so that none is its best. "
        "Name a run; hyperspec results lists them."
    )


def _chosen(data: SweepData, job: pd.Series) -> str:
    from hyperspec.report.cohorts import objective_name

    name, jobs = objective_name(data.finished), len(data.finished)
    most = "lowest" if natural_direction(name) == "minimize" else "highest"
    value = float(job[f"metrics.{MetricName.OBJECTIVE}"])
    return f"{job['name']}, {most} {name} ({value:.3f}) of {jobs} finished jobs of {job['sweep']}"


def checkpoint_of(job: pd.Series, uri: str) -> Path:
    """Return the file of a job's checkpoint; of a result that was taken over, the first run's."""
    run_id, place = str(job["run_id"]), str(job["artifact_uri"])
    if origin := str(job["resumed_from"] or ""):
        run_id = origin
        place = open_reader(uri).run(origin).artifact_uri
    local = local_folder(place)
    kept_here = local is not None and local.is_absolute()
    path = local / Artifact.CHECKPOINT if local and kept_here else _downloaded(run_id, uri)
    if path is not None and path.is_file():
        return path
    raise ModelError(
        f"The run {job['name']} ({run_id}) left no checkpoint at {place}/{Artifact.CHECKPOINT}; "
        f"its status is {job['status']}. Take another run, or train it again."
    )


def _downloaded(run_id: str, uri: str) -> Path | None:
    """Return a copy of a checkpoint that lies on a server; None without one."""
    client = open_client(uri)
    folder = PurePosixPath(Artifact.CHECKPOINT).parent
    there = {entry.path for entry in client.list_artifacts(run_id, str(folder))}
    if Artifact.CHECKPOINT not in there:
        return None
    copies = Path(tempfile.mkdtemp(prefix="hyperspec-"))
    for name in (Artifact.CHECKPOINT, f"{Artifact.CHECKPOINT}.sha256"):
        if name in there:
            client.download_artifacts(run_id, name, str(copies))
    return copies / Artifact.CHECKPOINT
