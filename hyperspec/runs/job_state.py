"""How far jobs are: a small file per job in the sweep's folder.

Jobs write them in whatever process they run in; the controller reads them. No tracking store is
asked, so that the view of a sweep outlives an outage of it.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from hyperspec.config.compose import typed_words
from hyperspec.utils.atomic import write_text
from hyperspec.utils.file_names import as_file_name
from hyperspec.utils.process import host_name, is_dead, process_tag

FOLDER = ".jobs"
_MARK = ".outcome"
_TOTAL = "total"
RUNNING, FINISHED, FAILED = "running", "finished", "failed"
STOPPED, TAKEN = "stopped early", "taken over"  # by the search; from an earlier sweep
LOST = "lost"  # its process is gone without a word


@dataclass(frozen=True)
class JobState:
    """One job: its folder below the sweep's, all its overrides, and one of the states above.

    It has started at so many seconds since the epoch, and took ``seconds``, 0 while it runs; the
    objective is NaN without one. ``reason`` says in a line why it failed, and
    ``process`` is one as :func:`hyperspec.utils.process.process_tag` names them.
    """

    name: str
    words: tuple[str, ...]
    state: str
    started: float
    seconds: float = 0.0
    """How long it took; 0 while it runs."""
    objective: float = math.nan
    reason: str = ""
    host: str = field(default_factory=host_name)
    process: str = field(default_factory=process_tag)

    @property
    def ended(self) -> bool:
        """Whether it is over, one way or the other."""
        return self.state != RUNNING


def begin(config: DictConfig) -> None:
    """Note that a job has started."""
    folder, name = _folder(config), str(config.hydra.sweep.subdir)
    (folder.parent / name / _MARK).unlink(missing_ok=True)  # of an earlier start in this folder
    _write(folder, JobState(name, tuple(typed_words(config)), RUNNING, time.time()))


def end(config: DictConfig, outcome: JobReturn) -> None:
    """Note how a job ended."""
    folder, name = _folder(config), str(config.hydra.sweep.subdir)
    before = _read(_file(folder, name))
    started = time.time() if before is None else before.started
    seconds = time.time() - started
    if outcome.status != JobStatus.COMPLETED:
        error = outcome._return_value
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
        state = JobState(name, tuple(typed_words(config)), FAILED, started, seconds, reason=reason)
    else:
        mark = folder.parent / name / _MARK
        kind = mark.read_text(encoding="utf-8") if mark.is_file() else FINISHED
        found = outcome.return_value
        first = found[0] if isinstance(found, tuple | list) and found else found
        value = float(first) if isinstance(first, int | float) else math.nan
        state = JobState(name, tuple(typed_words(config)), kind, started, seconds, value)
    _write(folder, state)


def forget(sweep_dir: Path) -> None:
    """Drop what jobs of earlier sweeps in this folder left; those that run now stay."""
    (sweep_dir / FOLDER / _TOTAL).unlink(missing_ok=True)
    for path in (sweep_dir / FOLDER).glob("*.json"):
        state = _read(path)
        if state is not None and _alive(state).ended:
            path.unlink(missing_ok=True)


def write_total(sweep_dir: Path, jobs: int) -> None:
    """Note how many jobs a sweep has in the end, where that was not known when it began."""
    (sweep_dir / FOLDER).mkdir(parents=True, exist_ok=True)
    write_text(sweep_dir / FOLDER / _TOTAL, str(jobs))


def read_total(sweep_dir: Path) -> int | None:
    """Return how many jobs a sweep has in the end; None where it noted none."""
    path = sweep_dir / FOLDER / _TOTAL
    return int(path.read_text(encoding="utf-8")) if path.is_file() else None


def mark(output_dir: Path, kind: str) -> None:
    """Say from inside of a job that it does not end as others do: ``STOPPED`` or ``TAKEN``."""
    (output_dir / _MARK).write_text(kind, encoding="utf-8")


class Reader:
    """Reads the states of a sweep's jobs; files that did not change are not read again."""

    def __init__(self, sweep_dir: Path) -> None:
        self._folder = sweep_dir / FOLDER
        self._known: dict[str, tuple[int, JobState]] = {}

    def states(self) -> list[JobState]:
        """Return all jobs that have started, in the order of their start."""
        if not self._folder.is_dir():
            return []
        for entry in os.scandir(self._folder):
            if not entry.name.endswith(".json"):
                continue
            changed = entry.stat().st_mtime_ns
            if self._known.get(entry.name, (0, None))[0] != changed:
                state = _read(Path(entry.path))
                if state is not None:
                    self._known[entry.name] = (changed, state)
        found = [_alive(state) for _, state in self._known.values()]
        return sorted(found, key=lambda state: state.started)


def _alive(state: JobState) -> JobState:
    if state.ended or not is_dead(state.host, state.process):
        return state
    reason = "its process ended without a word"
    return JobState(state.name, state.words, LOST, state.started, reason=reason)


def _folder(config: DictConfig) -> Path:
    return Path(config.hydra.runtime.cwd) / str(config.hydra.sweep.dir) / FOLDER


def _file(folder: Path, name: str) -> Path:
    return folder / f"{as_file_name(name)}.json"


def _write(folder: Path, state: JobState) -> None:
    write_text(_file(folder, state.name), json.dumps(asdict(state)))


def _read(path: Path) -> JobState | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        if not hasattr(error, "winerror"):
            raise
        return None  # Windows, at the moment at which its job replaces it: the next look reads it
    return JobState(**{**content, "words": tuple(content["words"])})
