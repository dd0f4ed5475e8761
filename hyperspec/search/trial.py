"""The job's side of a search: which trial it is, and whether it should go on.

The sweeper leaves a note of the study in the sweep's folder and the trial's number in the job's
environment, so that a job finds its trial under every launcher.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hyperspec.utils.atomic import write_text
from hyperspec.utils.errors import ConfigError, TrackingError

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

STUDY_NOTE = "study.json"
TRIAL_VARIABLE = "HYPERSPEC_TRIAL"
FOLLOWS_VARIABLE = "HYPERSPEC_TRIAL_FOLLOWS"  # set in jobs of a trial's second and later seeds
PRUNED = "hyperspec:pruned"  # user attribute of a trial that was stopped early

PrunerName = Literal["none", "median", "successive_halving", "hyperband"]
_PRUNERS = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
}


@dataclass(frozen=True)
class StudyNote:
    """How a job reaches the study."""

    study_name: str
    storage: str
    pruner: Mapping[str, object]
    """``name`` and the arguments of Optuna's pruner."""


def write_study(sweep_dir: Path, note: StudyNote) -> None:
    """Write the note in one step; only its owner may read it (an address may hold a password)."""
    write_text(sweep_dir / STUDY_NOTE, json.dumps(asdict(note)), private=True)


def trial_number(sweep_dir: Path) -> int | None:
    """Return the number of the trial that this job is part of, or None outside a search."""
    number = os.environ.get(TRIAL_VARIABLE)
    return None if number is None or not (sweep_dir / STUDY_NOTE).exists() else int(number)


def build_pruner(config: Mapping[str, object]) -> optuna.pruners.BasePruner:
    """Return Optuna's pruner for ``{"name": "median", "n_startup_trials": 5, ...}``.

    Raises:
        ConfigError: If the name or an argument is unknown.
    """
    import optuna

    options = dict(config)
    name = str(options.pop("name", "none"))
    if name not in _PRUNERS:
        raise ConfigError(
            f"hydra.sweeper.pruner.name is {name}; choose one of {', '.join(_PRUNERS)}."
        )
    try:
        made: optuna.pruners.BasePruner = getattr(optuna.pruners, _PRUNERS[name])(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"hydra.sweeper.pruner does not fit the {name} pruner: {error}. Its options are those "
            f"of optuna.pruners.{_PRUNERS[name]}."
        ) from error
    return made


class TrialReporter:
    """Reports intermediate scores of one trial and says when to stop."""

    def __init__(self, trial: optuna.trial.Trial) -> None:
        self._trial = trial
        self._lost = False
        self.pruned = False

    @property
    def number(self) -> int:
        """Number of the trial in its study."""
        return int(self._trial.number)

    @classmethod
    def current(cls, sweep_dir: Path) -> TrialReporter | None:
        """Return the reporter of the trial that this job is, or None outside a search.

        Of a trial of several seeds the first alone reports: it is compared with the first of the
        other trials, like with like, and the others run when it was not stopped.

        Raises:
            TrackingError: If the study has no such trial.
        """
        number, path = trial_number(sweep_dir), sweep_dir / STUDY_NOTE
        if number is None or os.environ.get(FOLLOWS_VARIABLE):
            return None
        import optuna

        from hyperspec.search.optuna_internals import reopen
        from hyperspec.search.storage import open_storage

        note = StudyNote(**json.loads(path.read_text(encoding="utf-8")))
        pruner = build_pruner(note.pruner)
        storage = open_storage(note.storage, fresh=False)
        study = optuna.load_study(study_name=note.study_name, storage=storage, pruner=pruner)
        try:
            return cls(reopen(study, storage, number))
        except KeyError as error:
            raise TrackingError(
                f"The study {note.study_name} has no trial {number}, though {path} sent this job "
                "to it. Was the study deleted while the search ran? Start the search again."
            ) from error

    def report(self, value: float, step: int) -> bool:
        """Report an epoch's score, unless it is not finite; return True when the trial should stop.

        Stop softly then (``trainer.should_stop = True``) and return the last score: the sweeper
        records the trial as PRUNED whatever the job returns.
        """
        if self._lost or not math.isfinite(value):
            return False
        try:
            self._trial.report(value, step)
            if not self.pruned and self._trial.should_prune():
                self._trial.set_user_attr(PRUNED, step)
                self.pruned = True
        except TrackingError as error:  # after minutes; a search is no reason to lose a training
            self._lost = True
            log.warning("trial %d is not pruned any more: %s", self.number, error)
        return self.pruned
