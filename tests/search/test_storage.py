"""A study's database that is locked, moved away or broken off: calls wait and nothing is lost."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from hyperspec.search.optuna_internals import reopen
from hyperspec.search.storage import open_storage
from hyperspec.search.trial import StudyNote, TrialReporter, write_study
from hyperspec.tracking.health import shown
from hyperspec.utils.errors import TrackingError


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def study_on(address: str, patience: float = 30.0) -> optuna.Study:
    storage = open_storage(address, fresh=True, patience=patience)
    return optuna.create_study(
        study_name="s", storage=storage, direction="maximize", load_if_exists=True
    )


@contextlib.contextmanager
def held(path: Path) -> Iterator[threading.Event]:
    """Lock a database against readers and writers until the event is set, at the latest here."""
    locked, over = threading.Event(), threading.Event()

    def work() -> None:
        with sqlite3.connect(path, isolation_level=None) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            locked.set()
            over.wait(300)
            connection.execute("COMMIT")
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert locked.wait(300)
        yield over
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def released_when_told(over: threading.Event) -> Iterator[None]:
    """Set an event as soon as the log says that the database is waited for."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is away" in record.getMessage():
                over.set()

    logger, listener = logging.getLogger("hyperspec.search.storage"), Listener()
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)


def test_a_locked_database_is_waited_for(
    tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = study_on(address)
    trial = study.ask()
    with (
        caplog.at_level(logging.WARNING, logger="hyperspec"),
        held(tmp_path / "optuna.db") as over,
        released_when_told(over),
    ):
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 0.5)
    assert "optuna.db is away: database is locked; waiting" in caplog.text
    assert "the study's database is back after" in caplog.text
    (stored,) = optuna.load_study(study_name="s", storage=address).trials
    assert (stored.state, stored.value) == (TrialState.COMPLETE, 0.5)


def test_a_database_that_was_moved_away_is_waited_for_and_not_begun_anew(
    tmp_path: Path, address: str
) -> None:
    study = study_on(address)
    trial = study.ask()
    write_study(tmp_path, StudyNote("s", address, {"name": "none"}))
    here, there = tmp_path / "optuna.db", tmp_path / "away.db"
    here.rename(there)

    def bring_back() -> None:
        time.sleep(0.7)
        assert not here.exists(), "an empty database was put in its place"
        there.rename(here)

    thread = threading.Thread(target=bring_back)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPERSPEC_TRIAL", "0")
        reporter = TrialReporter.current(tmp_path)
    thread.join()
    assert reporter is not None
    assert not reporter.report(0.25, 3)
    study.tell(trial, 0.5)
    (stored,) = optuna.load_study(study_name="s", storage=address).trials
    assert stored.intermediate_values == {3: 0.25}
    assert stored.value == 0.5


def test_patience_ends_and_a_job_trains_on_without_its_study(
    tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = study_on(address, patience=0.3)
    trial = study.ask()
    told = r"optuna\.db has not answered for \d+ seconds"
    with held(tmp_path / "optuna.db"):
        with pytest.raises(TrackingError, match=told) as caught:
            study.ask()
        reporter = TrialReporter(trial)
        with caplog.at_level(logging.WARNING, logger="hyperspec"):
            assert not reporter.report(0.5, 1)
            assert not reporter.report(0.5, 2)
    assert "give the same command again when the database is back" in str(caught.value)
    assert caplog.text.count("trial 0 is not pruned any more") == 1


def test_a_wrong_call_is_not_repeated(address: str, caplog: pytest.LogCaptureFixture) -> None:
    storage = open_storage(address, fresh=True)
    study = optuna.create_study(study_name="s", storage=storage)
    study.tell(study.ask(), 1.0)
    with pytest.raises(UpdateFinishedTrialError):
        reopen(study, storage, 0).set_user_attr("late", True)
    with pytest.raises(KeyError):
        optuna.load_study(study_name="none", storage=storage)
    assert "is away" not in caplog.text  # what is repeated is told first


def test_an_answer_that_was_lost_after_the_write_counts_as_written(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_on(address)
    trial = study.ask()
    write = RDBStorage.set_trial_state_values
    refused = []

    def lose_first_answer(storage: RDBStorage, *given: Any, **named: Any) -> bool:
        written = write(storage, *given, **named)
        if not refused:
            refused.append(True)
            raise OperationalError("COMMIT", None, Exception("server closed the connection"))
        return written

    monkeypatch.setattr(RDBStorage, "set_trial_state_values", lose_first_answer)
    study.tell(trial, 0.5)
    assert refused
    assert study.trials[0].value == 0.5


def test_passwords_are_not_shown() -> None:
    assert shown("postgresql://ann:secret@host:5432/db") == "postgresql://ann@host:5432/db"
    assert shown("sqlite:////a/b.db") == "sqlite:////a/b.db"
