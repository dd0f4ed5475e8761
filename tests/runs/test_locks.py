"""One job at a time, also where machines share nothing but the tracking store."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hyperspec.runs import locks as claims
from hyperspec.runs.locks import Rhythm
from hyperspec.tracking.client import Connection, connect
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.record import RunRecord
from hyperspec.tracking.retry import UnreachableError

QUICK = Rhythm(look=0.02, beat=0.05, silence=0.5)
PATIENT = Rhythm(look=0.02, beat=0.05, silence=300)  # other work may hold up a beat
_NUMBERS = itertools.count()


@pytest.fixture
def connection(sweep_uri: str) -> Connection:
    return connect(sweep_uri, f"claims-{next(_NUMBERS)}")


def lease(connection: Connection, rhythm: Rhythm = PATIENT, **tags: str) -> claims._Lease:
    """A contender as another machine would be: a client of its own, no common lock."""
    own = connect(connection.uri, connection.experiment)
    run = own.client.create_run(own.experiment_id, tags={"hyperspec.host": "other", **tags})
    return claims._Lease(own, run.info.run_id, "abc", rhythm)


def test_contenders_take_turns(connection: Connection) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(contender: claims._Lease, number: int) -> None:
        with contender.held():
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.1)
            inside.remove(number)

    threads = [
        threading.Thread(target=work, args=(lease(connection), number)) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert most == [1, 1, 1, 1]


def test_a_contender_that_is_choosing_is_waited_for(connection: Connection) -> None:
    choosing = lease(connection)
    for key, value in ((Tag.BEAT, "0"), (Tag.TICKET, "0"), (Tag.CLAIM, "abc")):
        choosing._tag(key, value)
    entered = threading.Event()

    def enter() -> None:
        with lease(connection).held():
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    beats = 0
    for beats in range(12):
        choosing._tag(Tag.BEAT, str(beats))
        time.sleep(0.05)
    assert beats == 11
    assert not entered.is_set()
    choosing._tag(Tag.TICKET, "99")
    thread.join(300)
    assert entered.is_set()


def test_a_silent_contender_loses_its_turn(connection: Connection) -> None:
    dead = lease(connection)
    for key, value in ((Tag.BEAT, "0"), (Tag.TICKET, "1"), (Tag.CLAIM, "abc")):
        dead._tag(key, value)
    since = time.monotonic()
    with lease(connection, QUICK).held():
        assert time.monotonic() - since >= QUICK.silence - 2 * QUICK.look


def test_a_clock_that_jumps_or_a_store_that_was_away_orphans_nobody(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = lease(connection)
    for key, value in ((Tag.BEAT, "0"), (Tag.TICKET, "1"), (Tag.CLAIM, "abc")):
        other._tag(key, value)
    own = lease(connection)
    assert len(own._others()) == 1
    real = time.monotonic
    monkeypatch.setattr(claims.time, "monotonic", lambda: real() + 3600)
    assert len(own._others()) == 1


def test_ended_runs_and_dead_processes_hold_nothing(connection: Connection) -> None:
    ended = lease(connection)
    for key, value in ((Tag.TICKET, "1"), (Tag.CLAIM, "abc")):
        ended._tag(key, value)
    ended.connection.client.set_terminated(ended.run_id, "FAILED")
    from hyperspec.utils.process import host_name, process_tag

    boot, namespace, _, _ = process_tag().split("/")
    gone = f"{boot}/{namespace}/{2**22 + 1}/1"
    dead = lease(connection, **{"hyperspec.host": host_name(), "hyperspec.process": gone})
    for key, value in ((Tag.TICKET, "1"), (Tag.CLAIM, "abc")):
        dead._tag(key, value)
    assert lease(connection)._others() == []


def test_a_store_in_a_file_needs_the_lock_alone(connection: Connection, sweep_uri: str) -> None:
    with claims.claim(connection, "abc", "no-such-run"):
        folder = Path(sweep_uri.removeprefix("sqlite:///")).parent / ".hyperspec-claims"
        assert (folder / "abc.lock").exists()


class Week:
    """A store without a disk and a clock that nobody waits for, with one job that holds a claim.

    The holder beats while it lives; for the first 100 s of each hour the store does not answer.
    """

    shown_uri = "http://store"
    client: Any

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outage: float = 100.0) -> None:
        self.now, self.outage, self.dies = 7200.0, outage, float("inf")
        self.client = self
        self.tags: dict[str, dict[str, str]] = {"holder": {}, "waiter": {}}
        self.holder, self.waiter = self.contender("holder"), self.contender("waiter")
        monkeypatch.setattr(claims, "search_runs", lambda *_: self.search())
        monkeypatch.setattr(claims.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(claims.time, "sleep", self.pass_by)
        for key, value in ((Tag.BEAT, "0"), (Tag.TICKET, "1"), (Tag.CLAIM, "abc")):
            self.tags["holder"][key] = value

    def contender(self, name: str) -> claims._Lease:
        return claims._Lease(cast(Connection, self), name, "abc", Rhythm())

    def answers(self) -> None:
        if self.now % 3600 < self.outage:
            raise UnreachableError("no answer")

    def ask(self, call: Callable[[Any], object]) -> object:
        return call(self)

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.answers()
        self.tags[run_id][key] = value

    def known_experiment(self) -> str:
        return "0"

    def search(self) -> list[RunRecord]:
        self.answers()
        return [RunRecord(name, name, "RUNNING", dict(tags)) for name, tags in self.tags.items()]

    def pass_by(self, seconds: float) -> None:
        before, self.now = self.now, self.now + seconds
        beats = int(self.now / 15)
        if self.now < self.dies and beats > int(before / 15):
            self.holder._try_tag(Tag.BEAT, str(beats))


def test_in_a_week_of_beats_and_short_outages_nobody_loses_a_claim(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    week = Week(monkeypatch)
    begun, week.dies = week.now, week.now + 7 * 86_400
    week.waiter._wait(2)
    assert 0 < week.now - week.dies <= 15 + 120 + 100 + 2
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    hours = int((week.now - begun) / 3600)
    assert len(told) <= 2 * (hours + 1), "each side tells an outage once"
    assert any("could not be written (no answer)" in text for text in told)


def test_an_outage_that_lasts_costs_the_claim_on_other_machines_and_not_the_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    week = Week(monkeypatch, outage=1200.0)
    week.now += 1300
    begun = week.now
    with week.waiter.held():
        assert begun + 2000 < week.now < begun + 2600, "two minutes into the next outage"
    assert "job abc is claimed on this machine alone: no answer" in caplog.text
