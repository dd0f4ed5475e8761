"""What the search takes from Optuna and Hydra: public names, and two others that are watched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

import hyperspec.sweeps
from hyperspec.search.optuna_internals import cached, reopen

# A private module or name of theirs, and the private members that Optuna's objects have.
PRIVATE = re.compile(
    r"^\s*(?:from|import) (?:optuna|hydra|hydra_plugins)\b.*(?:\._| _).*$"
    r"|\.(?:_impl|_storage|_study_id|_suggest|_trial_id)\b",
    re.MULTILINE,
)


def test_the_sweeps_name_nothing_private() -> None:
    bad = "import optuna._x\n    from hydra.core import _y\ntrial._suggest("
    assert len(PRIVATE.findall(bad)) == 3
    for path in sorted(Path(hyperspec.sweeps.__path__[0]).rglob("*.py")):
        assert PRIVATE.findall(path.read_text()) == [], path


def test_ended_trials_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"sqlite:///{tmp_path}/optuna.db"
    other = optuna.create_study(study_name="s", storage=address)
    for _ in range(3):
        other.tell(other.ask(), 0.5)
    built: list[int] = []
    build = RDBStorage._build_frozen_trial_from_trial_model

    def counted(storage: RDBStorage, trial: Any) -> optuna.trial.FrozenTrial:
        built.append(trial.number)
        return build(storage, trial)

    monkeypatch.setattr(RDBStorage, "_build_frozen_trial_from_trial_model", counted)
    study = optuna.load_study(study_name="s", storage=cached(RDBStorage(address)))
    assert len(study.get_trials()) == len(study.get_trials()) == 3
    assert built == [0, 1, 2]


def test_a_trial_of_another_process_is_reported_to(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path}/optuna.db")
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    asked = study.ask()
    opened = reopen(study, storage, asked.number)
    opened.report(0.25, 3)
    opened.set_user_attr("key", "value")
    assert not opened.should_prune()
    (stored,) = study.trials
    assert (stored.state, stored.intermediate_values) == (TrialState.RUNNING, {3: 0.25})
    assert stored.user_attrs == {"key": "value"}
    with pytest.raises(KeyError):
        reopen(study, storage, 1)
