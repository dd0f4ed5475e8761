from __future__ import annotations

import logging
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.config.sweep import SweepConfig
from hyperspec.runs.job_state import (
    FAILED,
    FINISHED,
    LOST,
    RUNNING,
    STOPPED,
    TAKEN,
    JobState,
    Reader,
    begin,
    end,
    forget,
    mark,
)
from hyperspec.sweeps.progress import once
from hyperspec.sweeps.progress.view import Overview, Watcher, best_of, line, panel, seconds_left
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.process import process_tag
from hyperspec.utils.progress import OWN_VIEW, bars_wanted

NOW = 10_000.0
OVERVIEW = Overview("band_count", 10, frozenset({"data.root=x", "a=false"}))


def job(number: int, state: str, seconds: float = 0.0, objective: float = math.nan) -> JobState:
    words = ("data.root=x", "a=False", f"bands.n={number}")
    started = NOW - 100 + number
    return JobState(str(number), words, state, started, seconds, objective, "E: because")


STATES = [
    job(0, FINISHED, 50.0, 0.5),
    job(1, FINISHED, 10.0, 0.75),
    job(2, FINISHED, 20.0, 0.25),
    job(3, TAKEN, 0.1, 0.6),
    job(4, FAILED, 3.0),
    replace(job(5, RUNNING), started=NOW - 5),
    replace(job(6, RUNNING), started=NOW - 40),
]


def test_time_left_is_that_of_jobs_that_trained_without_the_first() -> None:
    assert math.isnan(seconds_left(10, [], NOW))
    assert math.isnan(seconds_left(10, [STATES[3]], NOW))  # taken over: nothing was trained
    # Mean of 10 and 20; three wait, one has 10 s to go, one is late; two at a time.
    assert seconds_left(10, STATES, NOW) == pytest.approx((3 * 15 + 10 + 0) / 2)
    assert seconds_left(10, STATES[:2], NOW) == pytest.approx(8 * 30)
    assert seconds_left(5, STATES[:5], NOW) == 0.0


def test_lines_say_what_sets_a_job_apart_and_how_it_ended() -> None:
    said = [line(OVERVIEW, STATES, state, i, NOW) for i, state in enumerate(STATES[:5], 1)]
    assert said[1] == "sweep 2/10  bands.n=1  objective 0.750  10 s  left 28 s"
    assert said[3] == "sweep 4/10  bands.n=3  taken over objective 0.600  0 s  left 28 s"
    assert said[4] == "sweep 5/10  bands.n=4  FAILED E: because  3 s  left 28 s"
    lost = line(OVERVIEW, STATES, job(7, LOST), 10, NOW)
    assert lost == "sweep 10/10  bands.n=7  LOST E: because"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_screen_fits_its_terminal(width: int) -> None:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(panel(OVERVIEW, STATES, NOW))
    console.file.close()
    text = console.export_text()
    assert all(len(row) <= width for row in text.splitlines())
    assert "5/10" in text
    assert "3 finished  1 taken over  2 running  1 failed" in text
    assert "highest of single jobs 0.750  bands.n=1" in text
    assert "failed  bands.n=4: E: because" in text
    assert len(text.splitlines()) == 8


def test_a_search_that_goes_on_counts_from_its_first_trial() -> None:
    assert OVERVIEW.num_total([job(6, RUNNING)]) == 4
    assert OVERVIEW.num_total([]) == 10


def test_the_best_is_of_jobs_that_ended_well() -> None:
    stopped = job(8, STOPPED, 1.0, 0.99)
    best = best_of([*STATES, stopped])
    assert best is not None
    assert best.name == "1"
    assert best_of([stopped]) is None


def test_of_a_loss_the_lowest_job_leads() -> None:
    lowest = best_of(STATES, less_is_better=True)
    assert lowest is not None
    ended = [s.objective for s in STATES if s.state in (FINISHED, TAKEN)]
    assert lowest.objective == min(value for value in ended if value == value)
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(panel(Overview("s", 10, frozenset(), less_is_better=True), STATES, NOW))
    console.file.close()
    assert f"lowest of single jobs {lowest.objective:.3f}" in console.export_text()


def composed(folder: Path, number: int) -> DictConfig:
    return OmegaConf.create(
        {
            "hydra": {
                "runtime": {"cwd": str(folder)},
                "sweep": {"dir": "out", "subdir": str(number)},
                "overrides": {"task": [f"n={number}"]},
            }
        }
    )


def finish(folder: Path, number: int, value: object, status: JobStatus) -> None:
    outcome = JobReturn(status=status)
    outcome.return_value = value
    end(composed(folder, number), outcome)


def test_jobs_of_an_earlier_sweep_in_the_folder_are_not_shown_again(tmp_path: Path) -> None:
    for number, status in enumerate((JobStatus.COMPLETED, JobStatus.FAILED)):
        begin(composed(tmp_path, number))
        finish(tmp_path, number, 0.5, status)
    begin(composed(tmp_path, 7))  # of another controller, which lives
    forget(tmp_path / "out")
    assert [state.name for state in Reader(tmp_path / "out").states()] == ["7"]
    forget(tmp_path / "nothing")


def test_jobs_note_how_they_end(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "out")
    assert reader.states() == []
    for number in range(4):
        begin(composed(tmp_path, number))
        (tmp_path / "out" / str(number)).mkdir()
    assert {state.state for state in reader.states()} == {RUNNING}
    mark(tmp_path / "out" / "1", STOPPED)
    finish(tmp_path, 0, 0.5, JobStatus.COMPLETED)
    finish(tmp_path, 1, (0.25, 7.0), JobStatus.COMPLETED)
    finish(tmp_path, 2, ValueError("planned\nmore"), JobStatus.FAILED)
    seen = {state.name: state for state in reader.states()}
    assert {name: state.state for name, state in seen.items()} == {
        "0": FINISHED,
        "1": STOPPED,
        "2": FAILED,
        "3": RUNNING,
    }
    assert (seen["0"].objective, seen["1"].objective) == (0.5, 0.25)
    assert seen["2"].reason == "ValueError: planned"
    assert seen["2"].words == ("n=2",)


def test_a_job_that_starts_again_in_its_folder_ends_as_it_ends_now(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "out" / "0").mkdir(parents=True, exist_ok=True)
        begin(composed(tmp_path, 0))
        finish(tmp_path, 0, 0.5, JobStatus.COMPLETED)
        (state,) = Reader(tmp_path / "out").states()
        assert state.state == FINISHED
        mark(tmp_path / "out" / "0", TAKEN)


def test_a_job_whose_process_is_gone_is_lost(tmp_path: Path) -> None:
    begin(composed(tmp_path, 0))
    with subprocess.Popen(["sleep", "60"]) as other:
        tag = process_tag(other.pid)
        other.kill()
    file = tmp_path / "out" / ".jobs" / "0.json"
    file.write_text(file.read_text().replace(process_tag(), tag))
    (state,) = Reader(tmp_path / "out").states()
    assert (state.state, state.reason) == (LOST, "its process ended without a word")


def test_plain_lines_come_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher(tmp_path / "out", Overview("s", 2, frozenset()), "plain")
    watcher.start()
    for number in range(2):
        begin(composed(tmp_path, number))
        finish(tmp_path, number, 0.5, JobStatus.COMPLETED)
        watcher.look()
        watcher.look()
    watcher.stop()
    said = capsys.readouterr().out.splitlines()
    assert [text.split("  ")[:2] for text in said] == [["sweep 1/2", "n=0"], ["sweep 2/2", "n=1"]]


def test_under_a_screen_jobs_draw_no_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(OWN_VIEW, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert bars_wanted()
    watcher = Watcher(tmp_path, Overview("s", 2, frozenset()), "rich")
    watcher.start()
    assert os.environ[OWN_VIEW] == "1"
    watcher.stop()
    assert OWN_VIEW not in os.environ
    assert "no job has started" in capsys.readouterr().out


def test_a_sweep_tells_each_job(study: Study, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*study.words, "-m", "bands.n=5"]) == 0
    assert main([*study.words, "-m", "bands.n=5,6"]) == 0
    said = [text for text in capfd.readouterr().out.splitlines() if text.startswith("sweep ")]
    said = [text for text in said if "objective" in text]
    assert re.fullmatch(r"sweep 1/1  job 0  objective \d\.\d{3}  \d+ s", said[0])
    assert re.match(r"sweep 1/2  bands\.n=5  taken over objective \d\.\d{3}  \d+ s", said[1])
    assert re.fullmatch(r"sweep 2/2  bands\.n=6  objective \d\.\d{3}  \d+ s", said[2])


def test_what_all_jobs_say_alike_is_said_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log, root = logging.getLogger("hyperspec.once"), logging.getLogger()
    once.forget()
    for number in range(2):  # Hydra makes the handlers of each job anew
        kept = logging.FileHandler(tmp_path / f"{number}.log")
        handlers = [logging.StreamHandler(sys.stdout), kept]
        root.handlers[:], root.level = handlers, logging.INFO
        once.say_once()
        log.info("calibration: none")
        log.warning("hint: epochs=2 is little")
        log.warning("s1.bil has no label")
        kept.close()
    said = capsys.readouterr().out
    assert [said.count(text) for text in ("calibration", "hint", "no label")] == [1, 1, 2]
    assert len((tmp_path / "1.log").read_text().splitlines()) == 3  # a job's own file has all
    once.forget()
    log.info("calibration: none")
    assert capsys.readouterr().out.count("calibration") == 1


def test_another_view_is_refused() -> None:
    with pytest.raises(ConfigError, match="is 'loud'; choose auto, rich, plain or off"):
        SweepConfig(live="loud")
