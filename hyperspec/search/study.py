"""A stored study that several starts, and several controllers, share without doubling trials."""

from __future__ import annotations

import json
import logging
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import optuna
from filelock import FileLock
from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage
from optuna.trial import Trial, TrialState

from hyperspec.search.optuna_internals import reopen
from hyperspec.search.space import SearchSpace, Space
from hyperspec.search.storage import database_lock
from hyperspec.tracking.health import lock_path
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.process import host_name, is_dead, process_tag

log = logging.getLogger(__name__)

_SPACE = "hyperspec:space"  # user attribute of a study: the space it was begun with
_HOST, _PROCESS = "hyperspec:host", "hyperspec:process"  # of a trial: who asked for it
DUPLICATE = "hyperspec:duplicate"  # of a trial: its values were another's; not run, not counted
ORPHAN = "hyperspec:orphan"  # of a trial: its controller died; another trial repeats it
_SMALL = 10_000  # points of a space that are worth listing
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def open_study(
    name: str | None,
    storage: BaseStorage,
    directions: Sequence[str],
    pruner: optuna.pruners.BasePruner,
    space: Space,
) -> optuna.Study:
    """Open a study, or begin it; without a name it is one that no later start finds.

    Call it under :func:`study_lock`: on a fresh database parallel processes race for the tables.

    Raises:
        ConfigError: If it was begun with another space or other directions.
    """
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        pruner=pruner,
        directions=cast(Any, list(directions)),
        load_if_exists=True,
    )
    known = [direction.name.lower() for direction in study.directions]
    if known != list(directions):
        raise ConfigError(
            f"The study {study.study_name} was begun with direction {known}, and now "
            f"hydra.sweeper.direction is {list(directions)}. Give the study another name with "
            "hydra.sweeper.study_name."
        )
    _check_space(study, space)
    return study


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


def current(study: optuna.Study, trial: Trial) -> optuna.trial.FrozenTrial:
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


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, default=str)


def drop_duplicate(study: optuna.Study, trial: Trial) -> None:
    """Close a trial that only repeats another one; it does not count."""
    trial.set_user_attr(DUPLICATE, True)
    study.tell(trial, state=TrialState.FAIL)


def count(study: optuna.Study) -> int:
    """Return how many trials count: those that ended, and those that another controller runs.

    Call it under :func:`study_lock`: a running trial without a signature has lost its controller.
    """
    # Asked for at once: a trial that ends between two questions would be in neither answer.
    trials = study.get_trials(deepcopy=False, states=(*_ENDED, TrialState.RUNNING))
    return sum(
        _PROCESS in trial.user_attrs
        if trial.state == TrialState.RUNNING
        else not {ORPHAN, DUPLICATE} & trial.user_attrs.keys()
        for trial in trials
    )


def _check_space(study: optuna.Study, space: Space) -> None:
    """Hold a stored study to the space that it was begun with."""
    now = {name: json.loads(distribution_to_json(d)) for name, d in space.items()}
    then = study.user_attrs.get(_SPACE)
    if then is None:
        study.set_user_attr(_SPACE, now)
        return
    changed = [key for key in sorted(now.keys() | then.keys()) if now.get(key) != then.get(key)]
    if changed:
        diff = "; ".join(
            f"{key}: {_brief(then, key)} before, {_brief(now, key)} now" for key in changed
        )
        raise ConfigError(
            f"The study {study.study_name} was begun with another space ({diff}). Give the new "
            "space a study of its own with hydra.sweeper.study_name, or take the old space."
        )


def _brief(space: Mapping[str, Any], key: str) -> str:
    if key not in space:
        return "not searched"
    return json.dumps(space[key].get("attributes", space[key]), sort_keys=True)


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
