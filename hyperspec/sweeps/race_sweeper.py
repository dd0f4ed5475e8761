"""``search=race``: a grid whose settings stop once the answer no longer depends on them.

Light on purpose: Hydra imports every plugin at every start.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hyperspec.config.sweep import SweepConfig

log = logging.getLogger(__name__)


class RaceSweeper(Sweeper):
    """Run a grid in two rounds: all settings on their first trainings, then those that matter.

    Args:
        first: Trainings (seeds, rotations) of each setting before the look, at least 2.
        params: Ranges of the experiment, as those of Hydra's basic sweeper.
    """

    def __init__(self, first: int, params: Mapping[str, str] | None = None) -> None:
        self.first, self.params = first, params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take the composed config; see Hydra's Sweeper."""
        self._launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._loader, self._config = hydra_context.config_loader, config

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Run the grid; a failed job ends it with its error, after the others have ended.

        Raises:
            ConfigError: If it has too few trainings, or no list of values.
        """
        from hyperspec.runs.job_state import write_total
        from hyperspec.search.request import less_is_better
        from hyperspec.sweeps.race import RaceGrid

        config = self._config
        words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        grid = RaceGrid.read(words, self._loader, self.first)
        folder = Path(config.hydra.runtime.cwd) / str(config.hydra.sweep.dir)
        sign = -1.0 if less_is_better(config) else 1.0
        margin = OmegaConf.select(config, "sweep.margin", default=SweepConfig.margin)
        early = self._launch(grid.early, 0)
        scores = [sign * _objective(one) for one in early]
        places = grid.finalists(scores, float(margin))
        late = grid.late(places)
        write_total(folder, len(early) + len(late))
        log.info("%s", grid.told(places))
        returns = [early, self._launch(late, len(early))]
        for result in (one for batch in returns for one in batch):
            _ = result.return_value  # raises what ended a job
        return returns

    def _launch(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        return self._launcher.launch(jobs, initial_job_idx=first) if jobs else []


def _objective(job: JobReturn) -> float:
    """Return what a job reached; NaN of one that failed."""
    if job.status != JobStatus.COMPLETED or job.return_value is None:
        return math.nan
    return float(job.return_value)


@dataclass
class RaceSweeperConf:
    """Options of :class:`RaceSweeper`."""

    _target_: str = "hyperspec.sweeps.race_sweeper.RaceSweeper"
    first: int = 2
    """Trainings (seeds, rotations) of each setting before the look."""
    params: dict[str, str] | None = field(default=None)
    """Ranges, as an experiment gives them."""


ConfigStore.instance().store(
    group="hydra/sweeper", name="race", node=RaceSweeperConf, provider="hyperspec"
)
