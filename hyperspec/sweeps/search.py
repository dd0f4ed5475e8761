"""An Optuna search that ends with exactly its planned trials.

The stock sweeper adds ``n_trials`` at each start, repeats a sampler's seed, records pruned trials
as failed, dies of one bad composition and forgets the trials of a killed controller. This subclass
keeps its grammar (search spaces from overrides) and replaces its loop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import optuna
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import (
    OptunaSweeperImpl,
    create_params_from_overrides,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.samplers import BaseSampler, GridSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from hyperspec.spectra.errors import ConfigError
from hyperspec.sweeps.study import (
    Space,
    absolute_storage,
    ask,
    count,
    current,
    open_study,
    requeue_orphans,
    study_lock,
)
from hyperspec.sweeps.trial import PRUNED, TRIAL_VARIABLE, StudyNote, build_pruner, write_study

log = logging.getLogger(__name__)

_REASON = "hyperspec:reason"  # user attribute of a failed trial
_SAMPLERS = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")


class _Grid(GridSampler):
    """A grid that does not stop Optuna's own loop at its last point: there is none here."""

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Do nothing; the search counts its trials itself."""


class Search(OptunaSweeperImpl):
    """The loop; made by :class:`hyperspec.sweeps.plugin.HyperspecSweeper` from its options."""

    def __init__(
        self,
        *,
        max_failures: int | None,
        pruner: Mapping[str, object],
        **stock: Any,
    ) -> None:
        super().__init__(**stock)
        if self.n_jobs < 1 or self.n_trials < 1:
            raise ConfigError(
                f"hydra.sweeper.n_trials={self.n_trials} and n_jobs={self.n_jobs} must be at "
                "least 1."
            )
        plain = OmegaConf.to_container(pruner) if isinstance(pruner, DictConfig) else pruner
        self.pruner = cast(Mapping[str, object], plain)
        self.max_failures = max_failures
        self.failures = 0
        self.uncomposed: list[str] = []
        self.folder = Path()
        self.address = ""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take the composed config; see Hydra's Sweeper."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        base = Path(config.hydra.runtime.cwd)
        self.folder = base / str(config.hydra.sweep.dir)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = absolute_storage(self.storage, base, self.folder)

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study has ``n_trials`` of them.

        Raises:
            ConfigError: If the space and the command line contradict each other, the stored
                study was begun with another space, or trials could not be composed.
        """
        self._process_searchspace_config()
        space, fixed, deletions = self._split(arguments)
        study = self._open(space)
        while not self._hopeless() and (trials := self._next(study)):
            self._batch(study, trials, self._configure_trials(trials, space, fixed, deletions))
        self._conclude(study)
        if self.uncomposed:
            raise ConfigError(
                f"{len(self.uncomposed)} trials could not be composed. The first: "
                f"{self.uncomposed[0]}"
            )

    def _split(self, arguments: list[str]) -> tuple[Space, dict[str, Any], list[str]]:
        """Return the space, the fixed overrides and the deletions.

        Raises:
            ConfigError: If a key is both searched and fixed: every trial would be alike in it.
        """
        searched, _, _ = create_params_from_overrides(self._parse_sweeper_params_config())
        space, fixed, deletions = create_params_from_overrides(
            [*self._parse_sweeper_params_config(), *arguments]
        )
        both = sorted(set(fixed) & set(searched))
        if both:
            raise ConfigError(
                f"{both[0]}={fixed[both[0]]} is fixed on the command line and searched by "
                f"hydra.sweeper.params ({searched[both[0]]}): every trial would be "
                "the same in it. Drop one of the two."
            )
        if not space and self.custom_search_space_extender is None:
            raise ConfigError(
                "The search has no space: hydra.sweeper.params is empty. Give ranges, for example "
                "'bands.n=choice(10,20,50)', or an experiment that has some."
            )
        return space, fixed, deletions

    def _open(self, space: Space) -> optuna.Study:
        """Open the study, close what dead controllers left, and leave a note for the jobs."""
        directions = self._get_directions()
        pruner = build_pruner(self.pruner)
        with study_lock(self.address):
            study = open_study(self.study_name, self.address, directions, pruner, space)
            requeue_orphans(study)
        study.sampler = self._sampler(study, space)
        write_study(self.folder, StudyNote(study.study_name, self.address, self.pruner))
        log.info("study %s: %s", study.study_name, self.address)
        return study

    def _sampler(self, study: optuna.Study, space: Space) -> BaseSampler:
        """Return the sampler with a seed of its own for each start of the study."""
        config = self.sampler
        grid = str(config.get("_target_", "")).endswith("GridSampler")
        if not grid and config.get("seed") is not None:
            config = OmegaConf.merge(
                config, {"seed": int(config.seed) + len(study.get_trials(deepcopy=False))}
            )
        made = instantiate(config, _execution_whitelist_=_SAMPLERS)
        if isinstance(made, partial):
            # A grid numbers its points by a shuffle of its seed, so that seed stays as it is.
            points = {name: self._to_grid_sampler_choices(d) for name, d in space.items()}
            size = math.prod(len(choices) for choices in points.values())
            self.n_trials = min(self.n_trials, size)
            made = _Grid(points, seed=config.get("seed"))
        return cast(BaseSampler, made)

    def _next(self, study: optuna.Study) -> list[Trial]:
        """Ask for as many trials as run side by side and are missing to the total."""
        with study_lock(self.address):
            missing = self.n_trials - count(study)
            return [ask(study) for _ in range(min(missing, self.n_jobs))]

    def _batch(
        self, study: optuna.Study, trials: list[Trial], overrides: Sequence[Sequence[str]]
    ) -> None:
        """Run trials side by side, and tell how each ended."""
        ready: list[tuple[Trial, list[str]]] = []
        for trial, words in zip(trials, overrides, strict=True):
            job = [*words, f"hydra.sweep.subdir={trial.number}"]
            job.append(f"+hydra.job.env_set.{TRIAL_VARIABLE}={trial.number}")
            problem = self._problem(job)
            if problem is None:
                ready.append((trial, job))
            else:
                self.uncomposed.append(f"{' '.join(words)}: {problem}")
                self._tell(study, trial, problem)
        if not ready:
            return
        outcomes: Sequence[JobReturn | str]
        assert self.launcher is not None, "Hydra calls setup() before sweep()"
        try:
            first = ready[0][0].number
            outcomes = self.launcher.launch([job for _, job in ready], initial_job_idx=first)
        except Exception as error:  # a launcher whose worker was killed; the search goes on
            log.exception("the launcher lost a batch of %d trials", len(ready))
            outcomes = [f"launcher: {type(error).__name__}: {error}"] * len(ready)
        for (trial, _), outcome in zip(ready, outcomes, strict=True):
            self._tell(study, trial, outcome)

    def _problem(self, words: list[str]) -> str | None:
        """Compose a job; return why it cannot be, or None."""
        try:
            assert self.hydra_context is not None, "Hydra calls setup() before sweep()"
            assert self.config is not None, "Hydra calls setup() before sweep()"
            self.hydra_context.config_loader.load_sweep_config(self.config, words)
        except (HydraException, OmegaConfBaseException) as error:
            return " ".join(str(error).split())
        return None

    def _tell(self, study: optuna.Study, trial: Trial, outcome: JobReturn | str) -> None:
        """Record a trial as COMPLETE, PRUNED or FAIL."""
        values, reason = _values(outcome, len(study.directions))
        if values is not None and PRUNED in current(study, trial).user_attrs:
            study.tell(trial, state=TrialState.PRUNED)
            log.info("trial %d was stopped early", trial.number)
        elif values is not None:
            study.tell(trial, values)
        else:
            trial.set_user_attr(_REASON, reason[:1000])
            study.tell(trial, state=TrialState.FAIL)
            self.failures += 1
            log.warning("trial %d failed: %s", trial.number, reason)

    def _hopeless(self) -> bool:
        hopeless = self.max_failures is not None and self.failures >= self.max_failures
        if hopeless:
            log.error("the search gives up: %d trials failed (max_failures)", self.failures)
        return hopeless

    def _conclude(self, study: optuna.Study) -> None:
        """Write what the stock sweeper writes: the best trial, or the Pareto front."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        results: dict[str, Any] = {"name": "optuna", "n_trials": count(study)}
        if len(study.directions) == 1 and complete:
            results |= {"best_params": study.best_params, "best_value": study.best_value}
        elif complete:
            front = [{"params": t.params, "values": t.values} for t in study.best_trials]
            results |= {"solutions": front}
        OmegaConf.save(OmegaConf.create(results), self.folder / "optimization_results.yaml")
        log.info("search ended: %s", results)


def _values(outcome: JobReturn | str, num_objectives: int) -> tuple[list[float] | None, str]:
    """Return the objectives of a job, or None and the reason why there are none."""
    if isinstance(outcome, str):
        return None, outcome
    try:
        returned = outcome.return_value
    except Exception as error:
        log.debug("a job ended with an error", exc_info=True)
        return None, f"{type(error).__name__}: {error}"
    try:
        given = [returned] if num_objectives == 1 else list(returned)
        values = [float(value) for value in given]
    except (TypeError, ValueError):
        return None, f"the job returned {returned!r}, not {num_objectives} number(s)"
    if len(values) != num_objectives or not all(math.isfinite(value) for value in values):
        return None, f"the job returned {returned!r}, not {num_objectives} finite number(s)"
    return values, ""
