"""A stored study that several starts, and several controllers, share without doubling trials."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import optuna
from filelock import FileLock
from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from hyperspec.search.optuna_internals import reopen
from hyperspec.search.space import SearchSpace, Space
from hyperspec.search.storage import database_lock
from hyperspec.tracking.health import lock_path
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.process import host_name, is_dead, process_tag

log = logging.getLogger(__name__)

# User attributes of a study: the space that it was begun with, and all else that it asked.
_SPACE, _SETTINGS = "hyperspec:space", "hyperspec:asked"
_HOST, _PROCESS = "hyperspec:host", "hyperspec:process"  # of a trial: who asked for it
DUPLICATE = "hyperspec:duplicate"  # of a trial: its values were another's; not run, not counted
ORPHAN = "hyperspec:orphan"  # of a trial: its controller died; another trial repeats it
REPEATS = "hyperspec:repeats"  # of a trial: number of the failed one whose values it has
_SHOWN = 8  # differences that are listed
_SMALL = 10_000  # points of a space that are worth listing
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Asked:
    """What a study is held to."""

    directions: tuple[str, ...]
    space: Space
    settings: Mapping[str, str]
    """All else that decides what its trials are told, by readable names."""

    @property
    def spaces(self) -> dict[str, Any]:
        """The space as a study keeps it."""
        return {name: json.loads(distribution_to_json(d)) for name, d in self.space.items()}

    @property
    def hash(self) -> str:
        """What is the same for the same question, 8 hex digits."""
        text = _key({"": [self.directions, self.spaces, dict(self.settings)]})
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def open_study(
    name: str, storage: BaseStorage, pruner: optuna.pruners.BasePruner, asked: Asked
) -> optuna.Study:
    """Open a study, or begin it, and put trials of dead controllers in line again.

    Call it under :func:`study_lock`: on a fresh database parallel processes race for the tables.

    Raises:
        ConfigError: If it was begun with something else; the message has the differences.
    """
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        pruner=pruner,
        directions=cast(Any, list(asked.directions)),
        load_if_exists=True,
    )
    requeue_orphans(study, storage)
    hold(study, asked, mendable=not count(study))
    if study.user_attrs.get(_SETTINGS) is None and count(study):
        log.warning(
            "the study %s is of an earlier version, which did not keep what its %d trials were "
            "asked beside the space: see that epochs, data and the like are those of then. From "
            "now on it is held to those of this command",
            *(name, count(study)),
        )
    study.set_user_attr(_SPACE, asked.spaces)
    study.set_user_attr(_SETTINGS, dict(asked.settings))
    return study


def hold(study: optuna.Study, asked: Asked, mendable: bool = False) -> None:
    """Hold a study to what it asked: another start may have begun it anew while it had no value.

    ``mendable`` lets the settings differ, for a study without a trial that counts: it has no values
    that new ones could not be compared with. Call it under :func:`study_lock`.

    Raises:
        ConfigError: With the differences.
    """
    name, changed = study.study_name, _differences(study, asked, mendable)
    if changed:
        raise ConfigError(
            f"The study {name} was begun with something else ({'; '.join(changed)}), so that its "
            "trials cannot be compared with new ones. Take the old values to go on with it, give "
            "the new ones a study of their own with hydra.sweeper.study_name, or give "
            f"sweep.changed=fork, which takes the study {fork_name(name, asked)}."
        )


def fork_name(name: str, asked: Asked) -> str:
    """Return the name of the study that asks something else than the one of that name."""
    return f"{name}-{asked.hash}"


def _differences(study: optuna.Study, asked: Asked, mendable: bool) -> list[str]:
    """Return what a stored study asked that is not asked now, and the other way round."""
    before = {"direction": [direction.name.lower() for direction in study.directions]}
    now: dict[str, Any] = {"direction": list(asked.directions)}
    if (space := study.user_attrs.get(_SPACE)) is not None:
        before |= {f"space of {key}": _ranges(kept) for key, kept in space.items()}
        now |= {f"space of {key}": _ranges(kept) for key, kept in asked.spaces.items()}
    settings = study.user_attrs.get(_SETTINGS)
    if settings is not None and not mendable:
        before, now = before | settings, now | dict(asked.settings)
    keys = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    told = [f"{key}: {_brief(before, key)} before, {_brief(now, key)} now" for key in keys]
    return [*told[:_SHOWN], f"and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else told


def _ranges(kept: Mapping[str, Any]) -> Any:
    return kept.get("attributes", kept)


def _brief(said: Mapping[str, Any], key: str) -> str:
    if key not in said:
        return "not searched" if key.startswith("space of ") else "not set"
    value = said[key]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def study_lock(storage: str) -> AbstractContextManager[object]:
    """Return the lock under which trials are counted and asked for.

    With PostgreSQL it is the database's own and spans all machines; else a file's, which spans the
    processes of one machine, or those that share the SQLite file's folder.
    """
    if storage.startswith("postgresql"):
        return database_lock(storage)
    return FileLock(lock_path(storage, "study"))


def requeue_orphans(study: optuna.Study, storage: BaseStorage) -> list[int]:
    """Close trials whose controller on this machine is dead, and put their values in line again.

    Call it under :func:`study_lock`: trials are asked for and signed under it, so that one without
    a signature lost its controller in between. Returns the numbers of the closed trials.
    """
    closed = []
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        attributes = frozen.user_attrs
        signed = _PROCESS in attributes
        if signed and not is_dead(str(attributes.get(_HOST)), str(attributes[_PROCESS])):
            continue
        reopen(study, storage, frozen.number).set_user_attr(ORPHAN, True)
        study.tell(frozen.number, state=TrialState.FAIL)
        if frozen.params:
            study.enqueue_trial(frozen.params)
        closed.append(frozen.number)
        log.warning("trial %d lost its controller and is run again", frozen.number)
    return closed


def ask(study: optuna.Study) -> Trial:
    """Ask for a trial and sign it, so that a later start can tell whether it is still run."""
    trial = study.ask()
    trial.set_user_attr(_HOST, host_name())
    trial.set_user_attr(_PROCESS, process_tag())
    return trial


def is_in_line(study: optuna.Study) -> bool:
    """Say whether the next trial's values were put in line; call it under :func:`study_lock`."""
    return bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def current(study: optuna.Study, trial: Trial) -> FrozenTrial:
    """Return a trial as stored now: its job writes from another process, past our copy."""
    found = study.get_trials(deepcopy=False)
    return next(frozen for frozen in found if frozen.number == trial.number)


def is_repeated(study: optuna.Study, trial: Trial) -> bool:
    """Say whether another trial has the same values; call it under :func:`study_lock`.

    Trials that were closed as orphans are run again on purpose.
    """
    own = current(study, trial)
    return bool(own.params) and any(
        other.number != own.number
        and other.params == own.params
        and not {ORPHAN, DUPLICATE} & other.user_attrs.keys()
        and (other.state in _ENDED or _PROCESS in other.user_attrs)
        for other in study.get_trials(deepcopy=False)
    )


def unseen(study: optuna.Study, space: SearchSpace, seed: int) -> dict[str, Any] | None:
    """Return one of the points that no trial of a small space has, by chance; None without.

    Call it under :func:`study_lock`.
    """
    if space.size > _SMALL:
        return None
    seen = {_key(trial.params) for trial in study.get_trials(deepcopy=False)}
    left = [point for point in space.points() if _key(point) not in seen]
    return random.Random(seed).choice(left) if left else None


def ends(study: optuna.Study, space: SearchSpace) -> bool:
    """Say whether a small space has no point left that was not drawn, and nothing is in line."""
    small = space.size <= _SMALL
    return small and not is_in_line(study) and unseen(study, space, seed=0) is None


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, default=str)


def drop_duplicate(study: optuna.Study, trial: Trial) -> None:
    """Close a trial that only repeats another one; it does not count."""
    trial.set_user_attr(DUPLICATE, True)
    study.tell(trial, state=TrialState.FAIL)


def count(study: optuna.Study) -> int:
    """Return how many trials count: told or pruned, and those that another controller runs.

    Call it under :func:`study_lock`: a running trial without a signature has lost its controller.
    """
    # Asked for at once: a trial that ends between two questions would be in neither answer.
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    trials = study.get_trials(deepcopy=False, states=states)
    return sum(
        trial.state != TrialState.RUNNING or _PROCESS in trial.user_attrs for trial in trials
    )


def failures(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that failed and that no later one repeats."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(REPEATS) for trial in trials}
    return [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and not {ORPHAN, DUPLICATE} & trial.user_attrs.keys()
        and trial.number not in repeated
    ]


def retry_failed(study: optuna.Study, most: int) -> None:
    """Put the values of failed trials in line again, the oldest first; under :func:`study_lock`."""
    waiting = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
    for trial in failures(study)[: max(most - waiting, 0)]:
        study.enqueue_trial(trial.params, user_attrs={REPEATS: trial.number})
        log.info("trial %d failed before and is run again", trial.number)


def pooled(
    values: Sequence[Sequence[float]],
    directions: Sequence[str],
    tell: str = "mean",
    confidence: float = 0.8,
) -> list[float]:
    """Fold what each seed reached into one value per objective.

    The mean, or the cautious end of its one-sided interval, mean - t s / sqrt(k), with the standard
    deviation s of the k seeds (k - 1 in its denominator) and the quantile t of Student's
    distribution with k - 1 degrees of freedom. For an objective to minimise it is the upper end,
    mean + t s / sqrt(k): of two equal means the steadier one is better in both cases.

    Args:
        values: Of each seed one value per objective, all finite.
        directions: ``maximize`` or ``minimize`` per objective.
        tell: ``mean`` or ``lower``.
        confidence: Of the one-sided interval, 0.5 to 1, both excluded.

    Source: Student 1908, "The probable error of a mean".
    """
    count = len(values)
    columns = list(zip(*values, strict=True))
    means = [statistics.fmean(column) for column in columns]
    if tell == "mean" or count < 2:
        return means
    from scipy.stats import t as student

    reach = float(student.ppf(confidence, count - 1)) / math.sqrt(count)
    return [
        mean + (reach if direction == "minimize" else -reach) * statistics.stdev(column)
        for mean, column, direction in zip(means, columns, directions, strict=True)
    ]
