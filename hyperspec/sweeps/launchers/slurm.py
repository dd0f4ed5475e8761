"""What Hydra's own launcher for SLURM is told: one lost job is no lost sweep.

Jobs are started, shared out and requeued by SLURM itself, through submitit. Hydra's launcher waits
for one after the other and gives the sweep up at the first that SLURM has cancelled, while the
others run on.
"""

from __future__ import annotations

import shutil
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf
from submitit import SlurmJob
from submitit.core.utils import UncompletedJobError

from hyperspec.sweeps.launchers.pools import LostJobError
from hyperspec.tracking.parent import IN_SWEEP
from hyperspec.utils.errors import ConfigError

_results = SlurmJob.results


def _results_or_failure(job: SlurmJob[Any]) -> list[Any]:
    """Wait for a job of a sweep; one that ends without a result has failed, alone."""
    try:
        return list(_results(job))
    except UncompletedJobError as error:
        lost = LostJobError(
            f"SLURM's job {job.job_id} ended without a result (its state is {job.state}, its log "
            f"{job.paths.stderr}). The same command runs it again, and takes over the others."
        )
        lost.__cause__ = error
        lost.add_note(IN_SWEEP)
        made = JobReturn(status=JobStatus.FAILED)
        made.return_value = lost
        return [made]


def prepare_slurm(config: DictConfig) -> None:
    """Make Hydra's launcher wait for all jobs.

    Raises:
        ConfigError: If jobs cannot be submitted from here.
    """
    missing = [name for name in ("sbatch", "srun", "sacct") if shutil.which(name) is None]
    if missing and not OmegaConf.select(config, "sweep.dry_run"):
        raise ConfigError(
            f"hydra/launcher=submitit_slurm, but {' and '.join(missing)} cannot be found on this "
            "machine. Give the command on a login node of the cluster, or try its path on this "
            "machine alone with hydra/launcher=submitit_local."
        )
    SlurmJob.results = _results_or_failure  # type: ignore[assignment, method-assign]
