"""An Optuna search that ends with exactly its planned trials.

The stock sweeper adds ``n_trials`` at each start, repeats a sampler's seed, records pruned trials
as failed, dies of one bad composition and forgets the trials of a killed controller. This one takes
the same options and search spaces.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from optuna.storages import BaseStorage
from optuna.trial import BaseTrial, Trial, TrialState

from hyperspec.config.compose import typed_words
from hyperspec.search import study as stored
from hyperspec.search.request import Request, bare, read_request
from hyperspec.search.results import OVERRIDES, find_outcome, publish
from hyperspec.search.samplers import build_sampler
from hyperspec.search.storage import absolute_storage, open_storage
from hyperspec.search.trial import (
    FOLLOWS_VARIABLE,
    PRUNED,
    TRIAL_VARIABLE,
    StudyNote,
    build_pruner,
    write_study,
)
from hyperspec.tracking.health import shown
from hyperspec.tracking.parent import IN_SWEEP
from hyperspec.utils.errors import ConfigError, HyperspecError

log = logging.getLogger(__name__)

_REASON = "hyperspec:reason"  # user attribute of a failed trial
_SEEDS = "hyperspec:seeds"  # of a trial of several seeds: what each of them reached
_SHOWN = 300  # characters of a reason
_REDRAWS = 20  # draws in a row that may only repeat other trials


@dataclass
class _Drawn:
    """A trial, the overrides of its jobs, and how those ended so far."""

    trial: Trial
    words: list[str]
    jobs: list[dict[str, int]]
    """What sets its jobs apart: seeds, and within each seed the rotations."""
    outcomes: list[JobReturn | str] = field(default_factory=list)

    def job(self, place: int) -> list[str]:
        """Return the overrides of one of its jobs."""
        number, own = self.trial.number, self.jobs[place]
        folder = "/".join([str(number), *(f"{k.rpartition('.')[2]}_{v}" for k, v in own.items())])
        job = [*_with(self.words, own), f"+hydra.job.env_set.{TRIAL_VARIABLE}={number}"]
        job += [f"hydra.sweep.subdir={folder}"]
        return [*job, f"+hydra.job.env_set.{FOLLOWS_VARIABLE}=1"] if place else job


class Search:
    """The loop; made by :class:`hyperspec.search.plugin.HyperspecSweeper`.

    Raises:
        ConfigError: If no trial is asked for.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        config: DictConfig,
        launcher: Launcher,
        loader: ConfigLoader,
    ) -> None:
        self.options = {name: bare(value) for name, value in options.items()}
        self.config, self.launcher, self.loader = config, launcher, loader
        self.n_trials, self.n_jobs = int(options["n_trials"]), int(options["n_jobs"])
        if self.n_jobs < 1 or self.n_trials < 1:
            raise ConfigError(
                f"hydra.sweeper.n_trials={self.n_trials} and n_jobs={self.n_jobs} must be at "
                "least 1."
            )
        self.failures = 0
        self.uncomposed: list[str] = []
        base = Path(config.hydra.runtime.cwd)
        self.folder = base / str(config.hydra.sweep.dir)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = absolute_storage(self.options["storage"], base, self.folder)

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study has ``n_trials`` of them.

        Raises:
            ConfigError: If the space and the command line contradict each other, or the stored
                study was begun with something else.
            HyperspecError: If fewer ended well than were asked for.
        """
        asked = read_request(self.config, self.options, arguments)
        if asked.space.size < self.n_trials:
            self.n_trials = int(asked.space.size)
            log.info("the space has %d points: as many trials", self.n_trials)
        whole = stored.Asked(asked.directions, asked.space.labelled, self._settings(asked))
        study = self._open(asked, whole)
        while not self._hopeless() and (drawn := self._next(study, asked, whole)):
            self._batch(study, drawn, asked)
        outcome = find_outcome(study, asked.objectives, asked.directions, len(asked.jobs()))
        publish(study, outcome, stored.count(study), self.folder)
        self._check_total(study, asked.settings.retry_failed)

    def _check_total(self, study: optuna.Study, retries: bool) -> None:
        """Say that fewer trials ended well than were asked for, and why."""
        ended = stored.count(study)
        if ended >= self.n_trials:
            return
        failed = stored.failures(study)
        causes = [f"{len(failed)} failed"] if failed else []
        if failed:
            reason = str(failed[-1].user_attrs.get(_REASON, "no reason kept"))
            causes.append(f"the last one, {failed[-1].number}, with: {reason[:_SHOWN]}")
        if self.uncomposed:
            many = len(self.uncomposed)
            causes.append(f"{many} could not be composed, the first: {self.uncomposed[0]}")
        next_time = "runs them again" if retries else "draws others (search.retry_failed=false)"
        error = HyperspecError(
            f"The search {study.study_name} has {ended} of the {self.n_trials} trials asked for"
            f"{': ' if causes else ''}{'; '.join(causes)}. Mend the cause; then the same command "
            f"{next_time}."
        )
        error.add_note(IN_SWEEP)  # its words were right
        raise error

    def _open(self, asked: Request, whole: stored.Asked) -> optuna.Study:
        """Open the study, put in line what is to run again, and leave a note for the jobs."""
        with stored.study_lock(self.address):
            storage = open_storage(self.address, fresh=True)
            study = self._open_or_fork(whole, storage)
            if asked.settings.retry_failed:
                stored.retry_failed(study, self.n_trials - stored.count(study))
        write_study(self.folder, StudyNote(study.study_name, self.address, self.options["pruner"]))
        log.info("study %s: %s", study.study_name, shown(self.address))
        return study

    def _open_or_fork(self, asked: stored.Asked, storage: BaseStorage) -> optuna.Study:
        """Open the study; where it was begun with something else, it is refused or forked."""
        pruner, name = build_pruner(self.options["pruner"]), self._name(asked)
        try:
            return stored.open_study(name, storage, pruner, asked)
        except ConfigError as error:
            if OmegaConf.select(self.config, "sweep.changed") != "fork":
                raise
            forked = stored.fork_name(name, asked)
            why = str(error).partition(", so that")[0]
            log.info("%s: forked into the study %s", why, forked)
            return stored.open_study(forked, storage, pruner, asked)

    def _name(self, asked: stored.Asked) -> str:
        """Return the study's name; where no experiment gives one, it is what is asked."""
        name = self.options["study_name"]
        if name is None:
            return f"search-{asked.hash}"
        choices = OmegaConf.select(self.config, "hydra.runtime.choices") or {}
        words = typed_words(self.config, "hydra")
        typed = any(str(word).startswith("hydra.sweeper.study_name=") for word in words)
        if not typed and name.startswith("None-") and choices.get("experiment", "") is None:
            return f"adhoc{name.removeprefix('None')}-{asked.hash}"
        return str(name)

    def _settings(self, asked: Request) -> dict[str, str]:
        """Return all that decides what trials are told and is not searched, by readable names."""
        said: dict[str, str] = {}
        if target := self.options.get("identity"):
            describe = instantiate({"_target_": target, "_partial_": True})
            examples = list(asked.space.examples(self._changes_others))
            jobs = describe([self._compose(words, asked.jobs()[0]) for _, words in examples])
            for (choice, _), job in zip(examples, jobs, strict=True):
                place = f" ({choice})" if choice else ""
                said |= {f"{k}{place}": value for k, value in job.items() if said.get(k) != value}
        for key in {*asked.space.always, *(k for b in asked.space.branches for k in b.space)}:
            said.pop(key.lstrip("+"), None)
        drawn = self.options["custom_search_space"]
        return said | asked.told | ({"custom_search_space": str(drawn)} if drawn else {})

    def _changes_others(self, key: str) -> bool:
        """Say whether a searched key decides which other keys a config has, or its data."""
        return key.startswith("data.") or bool(self.loader.get_group_options(key))

    def _compose(self, words: list[str], own: Mapping[str, int]) -> DictConfig:
        made = self.loader.load_sweep_config(self.config, _with(words, own))
        with open_dict(made):
            del made["hydra"]
        return made

    def _next(self, study: optuna.Study, asked: Request, whole: stored.Asked) -> list[_Drawn]:
        """Draw as many trials as run side by side and are missing to the total.

        What failed in this start counts until the next one, so that a cause that fails all trials
        ends; and a small space ends with its last point.
        """
        drawn: list[_Drawn] = []
        with stored.study_lock(self.address):
            stored.hold(study, whole)
            missing = self.n_trials - stored.count(study) - self.failures
            while len(drawn) < min(missing, self.n_jobs) and not stored.ends(study, asked.space):
                drawn.append(self._draw(study, asked))
        return drawn

    def _draw(self, study: optuna.Study, asked: Request) -> _Drawn:
        """Draw one trial, and again when it only repeats another one.

        Its values are stored before the next one is asked for, so that a sampler with a constant
        liar sees the trials that run beside it. A sampler that keeps to what is good so far may
        never draw the last points of a small space: then they are given to it.
        """
        for left in reversed(range(_REDRAWS)):
            drawn = len(study.get_trials(deepcopy=False))
            point = None if left else stored.unseen(study, asked.space, seed=drawn)
            if point is not None:
                study.enqueue_trial(point)
            study.sampler = build_sampler(self.options["sampler"], asked.space, drawn)
            wanted = not left or stored.is_in_line(study)
            trial = stored.ask(study)
            words = asked.space.suggest(trial, self._extend())
            if wanted or not stored.is_repeated(study, trial):
                break
            stored.drop_duplicate(study, trial)
        fixed = {f"{name}={value}" for name, value in asked.space.fixed.items()}
        apart = [w for w in words if w not in fixed and w not in asked.space.deletions]
        trial.set_user_attr(OVERRIDES, apart)
        return _Drawn(trial, words, asked.jobs())

    def _extend(self) -> Callable[[BaseTrial], object] | None:
        target = self.options["custom_search_space"]
        if not target:
            return None
        return partial(instantiate({"_target_": target, "_partial_": True}), self.config)

    def _batch(self, study: optuna.Study, drawn: list[_Drawn], asked: Request) -> None:
        """Run trials side by side, and tell how each ended."""
        ready = [one for one in drawn if self._composes(study, one)]
        # A pruner looks at the first job; the others are run when that one was not stopped.
        self._launch(ready, slice(0, 1 if asked.prunes else None))
        if asked.prunes:
            going_on = [one for one in ready if not self._stopped(study, one)]
            self._launch(going_on, slice(1, None))
        for one in ready:
            self._tell(study, one, asked)

    def _launch(self, drawn: Sequence[_Drawn], places: slice) -> None:
        todo = [(one, place) for one in drawn for place in range(len(one.jobs))[places]]
        if not todo:
            return
        outcomes: Sequence[JobReturn | str]
        one, place = todo[0]
        number = one.trial.number * len(one.jobs) + place
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
        try:
            self.loader.load_sweep_config(self.config, drawn.job(0))
        except (HydraException, OmegaConfBaseException) as error:
            problem = " ".join(str(error).split())
            self.uncomposed.append(f"{' '.join(drawn.words)}: {problem}")
            self._fail(study, drawn.trial, problem)
            return False
        return True

    def _stopped(self, study: optuna.Study, drawn: _Drawn) -> bool:
        """Say whether a trial has ended: stopped early, or its first job failed."""
        values, _ = _values(drawn.outcomes[0], len(study.directions))
        return values is None or PRUNED in stored.current(study, drawn.trial).user_attrs

    def _tell(self, study: optuna.Study, drawn: _Drawn, asked: Request) -> None:
        trial, reached = drawn.trial, []
        for outcome in drawn.outcomes:
            values, reason = _values(outcome, len(study.directions))
            if values is None:
                self._fail(study, trial, reason)
                return
            reached.append(values)
        if PRUNED in stored.current(study, trial).user_attrs:
            study.tell(trial, state=TrialState.PRUNED)
            log.info("trial %d was stopped early", trial.number)
            return
        settings = asked.settings
        # All trials have the same rotations, so these are folded first: what is left differs by
        # seed alone, and so does the interval of tell=lower.
        turns = max(len(asked.rotations), 1)
        seeds = [
            stored.pooled(reached[place : place + turns], asked.directions)
            for place in range(0, len(reached), turns)
        ]
        if settings.seeds > 1:
            by_seed = {str(asked.first_seed + i): values for i, values in enumerate(seeds)}
            trial.set_user_attr(_SEEDS, by_seed)
        told = stored.pooled(seeds, asked.directions, settings.tell, settings.confidence)
        study.tell(trial, told)

    def _fail(self, study: optuna.Study, trial: Trial, reason: str) -> None:
        trial.set_user_attr(_REASON, reason[:1000])
        study.tell(trial, state=TrialState.FAIL)
        self.failures += 1
        log.warning("trial %d failed: %s", trial.number, reason)

    def _hopeless(self) -> bool:
        most = self.options["max_failures"]
        hopeless = most is not None and self.failures >= most
        if hopeless:
            log.error("the search gives up: %d trials failed (max_failures)", self.failures)
        return hopeless


def _with(words: Sequence[str], own: Mapping[str, int]) -> list[str]:
    """Return a trial's words with those of one of its jobs."""
    kept = [word for word in words if word.partition("=")[0] not in own]
    return [*kept, *(f"{key}={value}" for key, value in own.items())]


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
