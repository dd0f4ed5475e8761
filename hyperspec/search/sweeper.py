"""An Optuna search that ends with exactly its planned trials.

The stock sweeper adds ``n_trials`` at each start, repeats a sampler's seed, records pruned trials
as failed, dies of one bad composition and forgets the trials of a killed controller. This subclass
keeps its grammar (search spaces from overrides) and replaces its loop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import optuna
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import Trial, TrialState

from hyperspec.search.request import Request, read_request
from hyperspec.search.results import OVERRIDES, find_outcome, publish
from hyperspec.search.samplers import build_sampler
from hyperspec.search.seed_aggregation import pooled
from hyperspec.search.study import (
    absolute_storage,
    ask,
    count,
    current,
    drop_duplicate,
    is_repeated,
    open_study,
    requeue_orphans,
    study_lock,
    unseen,
)
from hyperspec.search.trial import (
    FOLLOWS_VARIABLE,
    PRUNED,
    TRIAL_VARIABLE,
    StudyNote,
    build_pruner,
    write_study,
)
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.text import names

log = logging.getLogger(__name__)

_REASON = "hyperspec:reason"  # user attribute of a failed trial
_SEEDS = "hyperspec:seeds"  # of a trial of several seeds: what each of them reached
_REDRAWS = 20  # draws in a row that may only repeat other trials


@dataclass
class _Drawn:
    """A trial, the overrides of its jobs, and how those ended so far."""

    trial: Trial
    words: list[str]
    seeds: list[int | None]
    """Of its jobs; None leaves the config's own."""
    outcomes: list[JobReturn | str] = field(default_factory=list)

    def job(self, place: int) -> list[str]:
        """Return the overrides of one of its jobs."""
        number, seed = self.trial.number, self.seeds[place]
        job = [*self.words, f"+hydra.job.env_set.{TRIAL_VARIABLE}={number}"]
        if seed is None:
            return [*job, f"hydra.sweep.subdir={number}"]
        job = [word for word in job if not word.startswith("seed=")]
        job += [f"seed={seed}", f"hydra.sweep.subdir={number}/seed_{seed}"]
        return [*job, f"+hydra.job.env_set.{FOLLOWS_VARIABLE}=1"] if place else job


class Search(OptunaSweeperImpl):
    """The loop; made by :class:`hyperspec.search.plugin.HyperspecSweeper` from its options."""

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
        assert self.config is not None, "Hydra calls setup() before sweep()"
        asked = read_request(
            self.config,
            {
                "params": self.params,
                "direction": self.direction,
                "pruner": self.pruner,
                "sampler": self.sampler,
                "custom_search_space": self.custom_search_space_extender,
            },
            arguments,
        )
        if asked.space.size < self.n_trials:
            self.n_trials = int(asked.space.size)
            log.info("the space has %d points: as many trials", self.n_trials)
        study = self._open(asked)
        while not self._hopeless() and (drawn := self._next(study, asked)):
            self._batch(study, drawn, asked)
        outcome = find_outcome(study, asked.objectives, asked.directions)
        publish(study, outcome, count(study), self.folder)
        if self.uncomposed:
            raise ConfigError(
                f"{len(self.uncomposed)} trials could not be composed. The first: "
                f"{self.uncomposed[0]}"
            )

    def _open_or_fork(self, asked: Request, pruner: optuna.pruners.BasePruner) -> optuna.Study:
        """Open the study; a changed space is refused, or takes the first name that fits it."""
        fork = OmegaConf.select(cast(DictConfig, self.config), "sweep.changed") == "fork"
        space, directions = asked.space.labelled, asked.directions
        for name in names(self.study_name) if self.study_name and fork else (self.study_name,):
            try:
                return open_study(name, self.address, directions, pruner, space)
            except ConfigError:
                if not fork:
                    raise
                log.info("the study %s was begun with another space", name)
        raise AssertionError("names() does not end")

    def _open(self, asked: Request) -> optuna.Study:
        """Open the study, close what dead controllers left, and leave a note for the jobs."""
        pruner = build_pruner(self.pruner)
        with study_lock(self.address):
            study = self._open_or_fork(asked, pruner)
            requeue_orphans(study)
        write_study(self.folder, StudyNote(study.study_name, self.address, self.pruner))
        log.info("study %s: %s", study.study_name, self.address)
        return study

    def _next(self, study: optuna.Study, asked: Request) -> list[_Drawn]:
        """Draw as many trials as run side by side and are missing to the total."""
        with study_lock(self.address):
            missing = self.n_trials - count(study)
            return [self._draw(study, asked) for _ in range(min(missing, self.n_jobs))]

    def _draw(self, study: optuna.Study, asked: Request) -> _Drawn:
        """Draw one trial, and again when it only repeats another one.

        Its values are stored before the next one is asked for, so that a sampler with a constant
        liar sees the trials that run beside it. A sampler that keeps to what is good so far may
        never draw the last points of a small space: then they are given to it.
        """
        for left in reversed(range(_REDRAWS)):
            drawn = len(study.get_trials(deepcopy=False))
            point = None if left else unseen(study, asked.space, seed=drawn)
            if point is not None:
                study.enqueue_trial(point)
            study.sampler = build_sampler(self._sampler_options(), asked.space, drawn)
            trial = ask(study)
            words = asked.space.suggest(trial, self._extend)
            if not left or not is_repeated(study, trial):
                break
            drop_duplicate(study, trial)
        fixed = {f"{name}={value}" for name, value in asked.space.fixed.items()}
        apart = [w for w in words if w not in fixed and w not in asked.space.deletions]
        trial.set_user_attr(OVERRIDES, apart)
        many = asked.settings.seeds > 1
        first = asked.first_seed
        seeds = [first + i if many else None for i in range(asked.settings.seeds)]
        return _Drawn(trial, words, seeds)

    def _sampler_options(self) -> Mapping[str, Any]:
        plain = OmegaConf.to_container(self.sampler, resolve=True)
        return cast(Mapping[str, Any], plain)

    def _extend(self, trial: Trial) -> None:
        if self.custom_search_space_extender is not None:
            assert self.config is not None, "Hydra calls setup() before sweep()"
            self.custom_search_space_extender(self.config, trial)

    def _batch(self, study: optuna.Study, drawn: list[_Drawn], asked: Request) -> None:
        """Run trials side by side, and tell how each ended."""
        ready = [one for one in drawn if self._composes(study, one)]
        # A pruner looks at the first seed; the others are run when that one was not stopped.
        first = 1 if asked.prunes else asked.settings.seeds
        self._launch(ready, slice(0, first))
        going_on = [one for one in ready if not self._stopped(study, one)]
        self._launch(going_on, slice(first, None))
        for one in ready:
            self._tell(study, one, asked)

    def _launch(self, drawn: Sequence[_Drawn], places: slice) -> None:
        """Run jobs of some trials together, and note how each ended."""
        todo = [(one, place) for one in drawn for place in range(len(one.seeds))[places]]
        if not todo:
            return
        assert self.launcher is not None, "Hydra calls setup() before sweep()"
        outcomes: Sequence[JobReturn | str]
        one, place = todo[0]
        number = one.trial.number * len(one.seeds) + place
        try:
            jobs = [one.job(place) for one, place in todo]
            outcomes = self.launcher.launch(jobs, initial_job_idx=number)
        except Exception as error:  # a launcher whose worker was killed; the search goes on
            log.exception("the launcher lost a batch of %d jobs", len(todo))
            outcomes = [f"launcher: {type(error).__name__}: {error}"] * len(todo)
        for (one, _), outcome in zip(todo, outcomes, strict=True):
            one.outcomes.append(outcome)

    def _composes(self, study: optuna.Study, drawn: _Drawn) -> bool:
        """Compose a trial's first job; tell the trial as failed when it cannot be."""
        assert self.hydra_context is not None, "Hydra calls setup() before sweep()"
        assert self.config is not None, "Hydra calls setup() before sweep()"
        try:
            self.hydra_context.config_loader.load_sweep_config(self.config, drawn.job(0))
        except (HydraException, OmegaConfBaseException) as error:
            problem = " ".join(str(error).split())
            self.uncomposed.append(f"{' '.join(drawn.words)}: {problem}")
            self._fail(study, drawn.trial, problem)
            return False
        return True

    def _stopped(self, study: optuna.Study, drawn: _Drawn) -> bool:
        """Say whether a trial has ended: stopped early, or its first job failed."""
        values, _ = _values(drawn.outcomes[0], len(study.directions))
        return values is None or PRUNED in current(study, drawn.trial).user_attrs

    def _tell(self, study: optuna.Study, drawn: _Drawn, asked: Request) -> None:
        """Record a trial as COMPLETE, PRUNED or FAIL."""
        trial, reached = drawn.trial, []
        for outcome in drawn.outcomes:
            values, reason = _values(outcome, len(study.directions))
            if values is None:
                self._fail(study, trial, reason)
                return
            reached.append(values)
        if PRUNED in current(study, trial).user_attrs:
            study.tell(trial, state=TrialState.PRUNED)
            log.info("trial %d was stopped early", trial.number)
            return
        settings = asked.settings
        if settings.seeds > 1:
            by_seed = {str(s): v for s, v in zip(drawn.seeds, reached, strict=True)}
            trial.set_user_attr(_SEEDS, by_seed)
        told = pooled(reached, asked.directions, settings.tell, settings.confidence)
        study.tell(trial, told)

    def _fail(self, study: optuna.Study, trial: Trial, reason: str) -> None:
        trial.set_user_attr(_REASON, reason[:1000])
        study.tell(trial, state=TrialState.FAIL)
        self.failures += 1
        log.warning("trial %d failed: %s", trial.number, reason)

    def _hopeless(self) -> bool:
        hopeless = self.max_failures is not None and self.failures >= self.max_failures
        if hopeless:
            log.error("the search gives up: %d trials failed (max_failures)", self.failures)
        return hopeless


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
