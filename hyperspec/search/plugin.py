"""``hydra/sweeper=hyperspec``: Optuna's search with the faults of the stock sweeper mended.

Light on purpose: Hydra imports every plugin at every start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf
from omegaconf import MISSING, DictConfig

if TYPE_CHECKING:
    from hyperspec.search.sweeper import Search


class HyperspecSweeper(Sweeper):
    """Hand Hydra's calls to :class:`hyperspec.search.sweeper.Search`, imported when needed."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._search: Search | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Prepare the search for a composed config."""
        from hyperspec.search.sweeper import Search

        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._search = Search(self._options, config, launcher, hydra_context.config_loader)

    def sweep(self, arguments: list[str]) -> None:
        """Run the search."""
        if self._search is None:
            raise RuntimeError("Hydra calls setup() before sweep()")
        self._search.sweep(arguments)


@dataclass
class NoPruner:
    """Every trial runs to its end."""

    name: str = "none"


@dataclass
class MedianPruner:
    """Stop a trial whose best score so far lies below the median of the others at that epoch."""

    name: str = "median"
    n_startup_trials: int = 5
    """Trials that run to their end first."""
    n_warmup_steps: int = 0
    """Epochs of each trial that are never stopped."""
    interval_steps: int = 1
    """Epochs between looks."""
    n_min_trials: int = 1
    """Other trials that must have reached the epoch."""


@dataclass
class SuccessiveHalvingPruner:
    """Let the best 1/reduction_factor of the trials go on at each rung (Li et al. 2020, ASHA)."""

    name: str = "successive_halving"
    min_resource: Any = "auto"
    """Epochs of the first rung, or ``auto``."""
    reduction_factor: int = 4
    """Ratio between rungs."""
    min_early_stopping_rate: int = 0
    """Rungs that are left out at the start."""
    bootstrap_count: int = 0
    """Trials that a rung needs before it stops one."""


@dataclass
class HyperbandPruner:
    """Several successive halvings of different patience side by side (Li et al. 2018)."""

    name: str = "hyperband"
    min_resource: int = 1
    """Epochs of the first rung."""
    max_resource: Any = "auto"
    """Epochs of the last rung, or ``auto``."""
    reduction_factor: int = 3
    """Ratio between rungs."""
    bootstrap_count: int = 0
    """Trials that a rung needs before it stops one."""


_DEFAULTS = [{"sampler": "tpe"}, {"pruner": "none"}]


@dataclass
class HyperspecSweeperConf(OptunaSweeperConf):
    """Options of the stock sweeper, and those that it lacks."""

    _target_: str = "hyperspec.search.plugin.HyperspecSweeper"
    defaults: list[Any] = field(default_factory=lambda: list(_DEFAULTS))
    direction: Any = "auto"
    """``auto``: of each objective its own, scores and speed up, bands, time and memory down.
    ``maximize`` or ``minimize``, or a list of them, for a number that has none of its own."""
    n_trials: int = 20
    """Trials that the study has in the end, over all starts of the command."""
    n_jobs: int = 1
    """Trials that run side by side, under a launcher that can."""
    identity: str | None = "hyperspec.runs.identity.describe_jobs"
    """Function that takes composed configs of jobs, and says of each by readable names what decides
    its result: a study is held to that. Null holds it to its space and objective alone."""
    max_failures: int | None = None
    """Failed trials of this start after which the search gives up; null never does."""
    pruner: Any = MISSING
    """Group ``hydra/sweeper/pruner``: none, median, successive_halving, hyperband."""


def _register() -> None:
    store = ConfigStore.instance()
    group, provider = "hydra/sweeper", "hyperspec"
    store.store(group=group, name="hyperspec", node=HyperspecSweeperConf, provider=provider)
    for node in (NoPruner, MedianPruner, SuccessiveHalvingPruner, HyperbandPruner):
        store.store(group=f"{group}/pruner", name=node.name, node=node, provider=provider)


_register()
