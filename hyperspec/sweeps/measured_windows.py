"""At the end of a sweep: which wavelengths its best setting, and all bands, lean on."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from hyperspec.evaluation.config import Evaluation
from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Artifact, Folder
from hyperspec.utils.errors import HyperspecError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from hyperspec.inference.window_importance import Measured
    from hyperspec.report.load import SweepData

log = logging.getLogger(__name__)


def log_wavelengths(connection: Connection, data: SweepData, config: DictConfig) -> None:
    """Exchange windows of wavelengths between test specimens, and keep what came out with the jobs.

    The jobs are those of the setting that validation puts first, then those of ``full``, over all
    seeds and rotations, in every cohort. It ends when ``evaluation.importance_seconds`` are over;
    jobs that have their table are passed over. Trouble is told, and no failed sweep.
    """
    mode = OmegaConf.select(config, "evaluation.importance", default="auto")
    if mode is False or mode is None:
        return
    asked = OmegaConf.select(config, "evaluation.importance_seconds")
    seconds = Evaluation.importance_seconds if asked is None else float(asked)
    width = OmegaConf.select(config, "evaluation.importance_window_nm")
    jobs, failed = _jobs(data), list[Exception]()
    until, done = time.monotonic() + seconds, 0
    with progress("Which wavelengths carry it", len(jobs)) as step:
        for run_id in jobs:
            try:
                if not _measured(connection, data, run_id, float(width or 20.0), until):
                    break
            except (HyperspecError, OSError, RuntimeError) as error:  # torch's is a RuntimeError
                failed.append(error)
            done += 1
            step()
    if failed:
        log.warning(
            "which wavelengths carry it was not measured on %d of %d encoders (the first: %s)",
            *(len(failed), len(jobs), failed[0]),
        )
    if done < len(jobs):
        log.warning(
            "which wavelengths carry it was measured on %d of %d encoders: "
            "evaluation.importance_seconds=%g were over. Give more, and run the sweep again: "
            "finished jobs are not trained anew.",
            *(done, len(jobs), seconds),
        )


def _jobs(data: SweepData) -> list[str]:
    """Return the jobs to look at, those of the best settings first."""
    from hyperspec.report.carried import chosen_points
    from hyperspec.report.cohorts import divide
    from hyperspec.report.summary import summarise

    found: list[tuple[int, str]] = []
    for cohort in divide(data):
        points = chosen_points(summarise(cohort.data))
        found += [(place, run) for place, p in enumerate(points) for run in p.run_ids]
    return [run for _, run in sorted(found, key=lambda pair: pair[0])]


def _measured(
    connection: Connection, data: SweepData, run_id: str, width_nm: float, until: float
) -> bool:
    """Measure one job's encoder and keep the tables with its run; False when time was over."""
    from hyperspec.inference.restore import restore
    from hyperspec.inference.window_importance import measure_windows
    from hyperspec.report.checkpoint_lookup import checkpoint_of

    if data.swaps(run_id) is not None:
        return True
    if time.monotonic() > until:
        return False
    job = data.jobs[data.jobs["run_id"] == run_id].iloc[0]
    restored = restore(checkpoint_of(job, str(job["uri"])))
    ended = False

    def proceed() -> bool:
        nonlocal ended
        ended = time.monotonic() > until
        return not ended

    found = measure_windows(restored, width_nm, proceed)
    if found is not None:
        _keep(connection, run_id, found)
        data.forget_swaps(run_id)
    return not ended


def _keep(connection: Connection, run_id: str, found: Measured) -> None:
    tables = ((found.swaps, Artifact.SWAPS), (found.spectra, Artifact.SPECTRA))
    with tempfile.TemporaryDirectory(prefix="hyperspec-") as folder:
        paths = [Path(folder) / Path(name).name for _, name in tables]
        for path, (table, _) in zip(paths, tables, strict=True):
            table.to_csv(path, index=False, float_format="%.6g")

        def send(client: MlflowClient, files: Sequence[Path] = paths) -> None:
            for path in files:
                client.log_artifact(run_id, str(path), Folder.IMPORTANCE)

        connection.ask(send)
