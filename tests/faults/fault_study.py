"""Faults of a search's study."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from fault_harness import Child, Place, Row, Workshop, judge, wait_until

from hyperspec.search.study import DUPLICATE

_SEARCH = ("search=tpe", "hydra.sweeper.storage=sqlite:///optuna.db", "hydra.sweeper.study_name=s")


def _words(trials: int, space: str = "choice(5,6,7,8)") -> list[str]:
    return ["-m", *_SEARCH, f"bands.n={space}", f"hydra.sweeper.n_trials={trials}"]


def _trials(place: Place) -> list[str]:
    """States of the study's trials, without draws that only repeated another."""
    kept = (
        "SELECT state FROM trials WHERE trial_id NOT IN (SELECT trial_id FROM "
        "trial_user_attributes WHERE key = ?) ORDER BY number"
    )
    with contextlib.closing(sqlite3.connect(place.folder / "optuna.db", timeout=60)) as base:
        return [row[0] for row in base.execute(kept, (DUPLICATE,))]


def changed_space(shop: Workshop) -> Row:
    """A search is resumed with another space, then with the old one."""
    place = shop.fresh("space")
    first = place.start(*_words(1)).wait()
    child = place.start(*_words(2, "choice(5,6,9)"))
    refused = child.wait()
    text = " ".join(child.text().split())
    after = len(_trials(place))
    second = place.start(*_words(2)).wait()
    return judge(
        "resume with a changed space or config",
        "refused with a diff, or forked by an option",
        {
            "refused": first == 0 and refused != 0 and after == 1,
            "with a diff": "begun with something else (space of bands.n:" in text
            and "[5, 6, 7, 8]" in text
            and "[5, 6, 9]" in text,
            "names the way to fork": "hydra.sweeper.study_name" in text,
            "the old space goes on to its total": second == 0
            and _trials(place) == ["COMPLETE"] * 2,
        },
    )


def _begin(place: Place) -> Child:
    child = place.start(*_words(3), "epochs=30")

    def begun() -> bool:
        with contextlib.suppress(sqlite3.Error):
            return "RUNNING" in _trials(place)
        return False

    wait_until(begun, 300)
    return child


def _judge(place: Place, fault: str, status: int, text: str) -> Row:
    jobs = place.jobs()
    return judge(
        fault,
        "waits with backoff; running jobs finish; nothing lost",
        {
            "search ends with 0": status == 0,
            "3 trials COMPLETE": _trials(place) == ["COMPLETE"] * 3,
            "3 jobs FINISHED": [run.status for run in jobs] == ["FINISHED"] * 3,
            "the wait is told": "waiting" in text,
        },
    )


def locked_study(shop: Workshop, seconds: float = 60.0) -> Row:
    """Another process holds the study's file while a trial runs."""
    place = shop.fresh("study")
    child = _begin(place)
    with contextlib.closing(sqlite3.connect(place.folder / "optuna.db", timeout=60)) as base:
        base.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        base.rollback()
    status = child.wait(600)
    return _judge(place, f"Optuna database locked for {seconds:.0f} s", status, child.text())


def gone_study(shop: Workshop, seconds: float = 60.0) -> Row:
    """The study's file is moved away while a trial runs, as when a disk is unmounted."""
    place = shop.fresh("gone")
    child = _begin(place)
    path = place.folder / "optuna.db"
    away = Path(f"{path}.away")
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as base:
        base.execute("BEGIN EXCLUSIVE")  # nobody is in the middle of a write
        path.rename(away)
        base.rollback()
    time.sleep(seconds)
    path.unlink(missing_ok=True)
    away.rename(path)
    status = child.wait(600)
    return _judge(place, f"Optuna database gone for {seconds:.0f} s", status, child.text())
