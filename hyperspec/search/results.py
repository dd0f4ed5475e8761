"""What a search found: its best trial or its Pareto front, in the folder, in MLflow, in words."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from hyperspec.evaluation.objective import AUTO
from hyperspec.report.cohorts import objective_name
from hyperspec.report.load import load_sweep
from hyperspec.search.study import DUPLICATE, ORPHAN
from hyperspec.tracking.client import connect
from hyperspec.tracking.contract import TAG_LIMIT, Artifact, Tag
from hyperspec.tracking.parent import ParentInfo, find_parent
from hyperspec.tracking.record import read_run
from hyperspec.tracking.retry import store_errors
from hyperspec.utils.csv_text import guarded
from hyperspec.utils.errors import HyperspecError

log = logging.getLogger(__name__)

OVERRIDES = "hyperspec:overrides"  # user attribute of a trial: what sets its jobs apart
_SHOWN = 12  # trials of the front that are told in words


@dataclass(frozen=True)
class Outcome:
    """The best trials of a study: one, or the Pareto front."""

    study: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    states: Mapping[str, int]
    best: tuple[FrozenTrial, ...]
    """In the order of the first objective, the best first."""
    jobs: int = 1
    """Jobs of a trial: seeds times rotations, whose mean it is told."""

    @property
    def text(self) -> str:
        """A few lines of Markdown."""
        told = ", ".join(f"{count} {state}" for state, count in self.states.items())
        lines = [f"Search `{self.study}`: {told or 'no trial'}."]
        if len(self.objectives) > 1:
            wanted = ", ".join(
                f"{name} ({'less' if way == 'minimize' else 'more'} is better)"
                for name, way in zip(self.objectives, self.directions, strict=True)
            )
            lines.append(
                f"Pareto front of {wanted}: {len(self.best)} trials, candidates by {self._basis}."
            )
        elif self.best:
            end = "Lowest" if self.directions[0] == "minimize" else "Highest"
            lines.append(f"{end} {self.objectives[0]}, a candidate by {self._basis}:")
        for trial in self.best[:_SHOWN]:
            reached = ", ".join(f"{value:.4g}" for value in trial.values)
            lines.append(f"- trial {trial.number}: {reached} with `{overrides(trial)}`")
        if len(self.best) > _SHOWN:
            lines.append(f"- and {len(self.best) - _SHOWN} more")
        return "\n".join(lines)

    @property
    def _basis(self) -> str:
        jobs = "one job each" if self.jobs == 1 else f"the mean of {self.jobs} jobs each"
        return f"{jobs}, without intervals: the report compares settings"


def told_state(trial: FrozenTrial) -> str:
    """Return how a trial ended, in a word that also tells those that were not run."""
    if DUPLICATE in trial.user_attrs:
        return "repeated another (not run)"
    if ORPHAN in trial.user_attrs:
        return "interrupted (run again)"
    return trial.state.name.lower()


def overrides(trial: FrozenTrial) -> str:
    """Return what was drawn for a trial, as it is typed."""
    words = trial.user_attrs.get(OVERRIDES)
    drawn = [f"{key}={value}" for key, value in trial.params.items()]
    return " ".join(map(str, words if words is not None else drawn))


def find_outcome(
    study: optuna.Study, objectives: Sequence[str], directions: Sequence[str], jobs: int = 1
) -> Outcome:
    """Return the best trial of a study, or its Pareto front; ``jobs`` are those of each trial."""
    trials = study.get_trials(deepcopy=False)
    states = Counter(told_state(trial) for trial in trials)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    found: list[FrozenTrial] = []
    if complete:
        found = [study.best_trial] if len(directions) == 1 else study.best_trials
    sign = 1 if directions[0] == "minimize" else -1
    found = sorted(found, key=lambda trial: (sign * trial.values[0], trial.number))
    asked = (tuple(objectives), tuple(directions))
    return Outcome(study.study_name, *asked, states, tuple(found), jobs)


def publish(study: optuna.Study, outcome: Outcome, num_trials: int, folder: Path) -> None:
    """Write the outcome into the sweep's folder and its run, and print it.

    ``optimization_results.yaml`` is what the stock sweeper writes, and more.
    """
    results: dict[str, Any] = {"name": "optuna", "n_trials": num_trials}
    if len(outcome.objectives) > 1:
        listed = [
            {"trial": t.number, "params": t.params, "values": t.values, "overrides": overrides(t)}
            for t in outcome.best
        ]
        results |= {"objectives": list(outcome.objectives), "solutions": listed}
    elif outcome.best:
        best = outcome.best[0]
        results |= {"best_params": best.params, "best_value": best.value}
        results |= {"best_trial": best.number}
    OmegaConf.save(OmegaConf.create(results), folder / "optimization_results.yaml")
    parent = find_parent(folder)
    if parent is not None and AUTO in outcome.objectives:
        outcome = _named(outcome, parent)
    print(f"\n{outcome.text}", flush=True)
    if parent is None:
        return
    try:
        with store_errors():
            client = connect(parent.tracking_uri, parent.experiment).client
            run_id = parent.parent_run_id
            client.log_dict(run_id, results, Artifact.SEARCH_RESULTS)
            client.log_text(run_id, _table(study, outcome), Artifact.SEARCH_TRIALS)
            note = read_run(client, run_id).tag(Tag.NOTE)
            before, mark, after = note.partition("\n\nThe report is under")
            text = f"{before}\n\n{outcome.text}{mark}{after}"[:TAG_LIMIT]
            client.set_tag(run_id, Tag.NOTE, text)
            client.set_tag(run_id, Tag.OBJECTIVES, ",".join(outcome.objectives))
    except HyperspecError as error:
        log.warning("the outcome is in %s, not in MLflow: %s", folder, error)


def _named(outcome: Outcome, parent: ParentInfo) -> Outcome:
    """Return the outcome with the metric that ``objective=auto`` stood for, as its jobs tell."""
    try:
        data = load_sweep(parent.tracking_uri, [parent.parent_run_id])
    except HyperspecError as error:
        log.info("what objective=auto stood for cannot be read: %s", error)
        return outcome
    meant = objective_name(data.finished)
    return replace(
        outcome, objectives=tuple(meant if name == AUTO else name for name in outcome.objectives)
    )


def _table(study: optuna.Study, outcome: Outcome) -> str:
    best = {trial.number for trial in outcome.best}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["trial", "state", "best", *outcome.objectives, "overrides"])
    for trial in study.get_trials(deepcopy=False):
        values = trial.values or [""] * len(outcome.objectives)
        row: list[object] = [trial.number, told_state(trial), int(trial.number in best), *values]
        writer.writerow([*row, guarded(overrides(trial))])
    return text.getvalue()
