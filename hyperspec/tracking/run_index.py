"""Which runs a store holds, by name: of a SQLite file in milliseconds, without MLflow.

Importing MLflow and opening a store with it takes seconds; a mistyped name is told before.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hyperspec.tracking.client import open_client
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.health import LOCKED_SECONDS, check_exists, database_path, shown
from hyperspec.tracking.record import RunRecord, read_run, search_runs
from hyperspec.utils.errors import TrackingError

_LISTED = 8  # runs that a message names
_TAGS = (Tag.KIND, Tag.STUDY, Tag.PARENT, Tag.LOCAL_ID)
# Tags are constants of the contract; what a user asks for is a parameter.
_RUNS = f"""
SELECT r.run_uuid, r.name, e.name,
  {", ".join(f"MAX(CASE WHEN t.key = '{tag}' THEN t.value END)" for tag in _TAGS)}
FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id
  LEFT JOIN tags t ON t.run_uuid = r.run_uuid
WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'
GROUP BY r.run_uuid ORDER BY r.start_time DESC, r.run_uuid DESC
"""  # noqa: S608
_EXPERIMENTS = "SELECT name FROM experiments WHERE lifecycle_stage = 'active' ORDER BY name"


@dataclass(frozen=True)
class RunName:
    """By what a run can be found."""

    run_id: str
    name: str
    experiment: str
    kind: str
    study: str
    parent: str
    local_id: str
    """The identity that it had before the store gave it one."""

    @property
    def is_sweep(self) -> bool:
        """Whether it is the parent of a sweep."""
        return self.kind == "sweep"


@dataclass(frozen=True)
class RunIndex:
    """Names of a store's runs, the newest first, and of its experiments."""

    runs: Sequence[RunName]
    experiments: Sequence[str]


def read_index(uri: str, wanted: str) -> RunIndex:
    """Read the names of the runs of a store, which must be there.

    Args:
        uri: Absolute address, as :func:`hyperspec.tracking.client.resolve_uri` returns it.
        wanted: What will be looked for. A server, which may hold many thousand runs, is asked for
            its sweeps and for runs of this name or identity.

    Raises:
        TrackingError: If there is no such file, or it cannot be read as a store.
        UnreachableError: If a server does not answer.
    """
    database = database_path(uri)
    return _of_server(uri, wanted) if database is None else _of_file(database, uri)


def _of_file(database: Path, uri: str) -> RunIndex:
    check_exists(uri)
    try:
        with closing(open_readonly(database)) as connection:
            rows = connection.execute(_RUNS).fetchall()
            experiments = [str(name) for (name,) in connection.execute(_EXPERIMENTS)]
    except sqlite3.Error as error:
        raise TrackingError(
            f"{shown(uri)} cannot be read as a store of MLflow's ({error}). Give another with "
            "--uri."
        ) from error
    return RunIndex([RunName(*(str(cell or "") for cell in row)) for row in rows], experiments)


def open_readonly(database: Path) -> sqlite3.Connection:
    """Open an SQLite file that others may write; one that is locked is waited for."""
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=LOCKED_SECONDS)


def _of_server(uri: str, wanted: str) -> RunIndex:
    from mlflow.exceptions import MlflowException

    client = open_client(uri)
    names = {str(e.experiment_id): str(e.name) for e in client.search_experiments()}
    found = search_runs(client, list(names), [Tag.KIND.equals("sweep")])
    if wanted == "latest" and not found:
        found = search_runs(client, list(names), [], limit=1)
    elif "'" not in wanted:  # which the language of searches cannot quote
        found += search_runs(client, list(names), [f"attributes.run_name = '{wanted}'"])
    with contextlib.suppress(MlflowException):  # no such run, or not an identity at all
        found.append(read_run(client, wanted))
    unique = {run.run_id: _named(run, names) for run in found if run.experiment_id in names}
    return RunIndex(list(unique.values()), sorted(names.values()))


def _named(run: RunRecord, experiments: dict[str, str]) -> RunName:
    tags = (run.tag(tag) for tag in _TAGS)
    return RunName(run.run_id, run.name, experiments[run.experiment_id], *tags)


def find_run(index: RunIndex, wanted: str, uri: str, experiment: str | None = None) -> RunName:
    """Find the run that a word means: a sweep before a job.

    Args:
        index: Names of the store's runs.
        wanted: ``latest`` (the newest sweep, or the newest run where there is none), an identity or
            the beginning of it, a name, or a study, which stands for its newest sweep.
        uri: Address of the store, for messages.
        experiment: Experiment to look in; all of the store by default.

    Raises:
        TrackingError: If none is found, or several are; the message has the nearest names.
    """
    if experiment is not None and experiment not in index.experiments:
        raise TrackingError(
            f"There is no experiment '{experiment}' in {shown(uri)}. Experiments there: "
            f"{', '.join(index.experiments)}."
        )
    runs = [run for run in index.runs if experiment in (None, run.experiment)]
    sweeps = [run for run in runs if run.is_sweep]
    jobs = [run for run in runs if not run.is_sweep]
    if wanted == "latest" and runs:
        return (sweeps or runs)[0]
    for some in (sweeps, jobs):
        found = _matches(some, wanted)
        if len(found) == 1:
            return found[0]
        if found:
            which = ", ".join(run.run_id for run in found[:_LISTED])
            what = "sweeps" if some is sweeps else "jobs"
            raise TrackingError(
                f"{len(found)} {what} in {shown(uri)} answer to '{wanted}': {which}. Give one of "
                "these."
            )
    raise TrackingError(_not_found(runs, wanted, uri))


def _matches(runs: Sequence[RunName], wanted: str) -> list[RunName]:
    # The name begins with the study's: alone it means that study's newest sweep.
    of_study = [r for r in runs if r.is_sweep and wanted in (r.study, r.name.partition(" ")[0])]
    return (
        [run for run in runs if wanted in (run.name, run.run_id, run.local_id)]
        or [run for run in runs if len(wanted) >= 4 and run.run_id.startswith(wanted)]
        or of_study[:1]
    )


def _not_found(runs: Sequence[RunName], wanted: str, uri: str) -> str:
    from difflib import get_close_matches

    names = dict.fromkeys(name for r in runs for name in (r.name, r.study, r.run_id[:8]) if name)
    near = get_close_matches(wanted, ["latest", *names], n=3)
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    listed = [f"{r.run_id[:8]} {r.name}" for r in runs if r.is_sweep or not r.parent][:_LISTED]
    return (
        f"No sweep in {shown(uri)} answers to '{wanted}'.{hint} Sweeps and single runs there, "
        f"newest first: {'; '.join(listed) or 'none'}. Give an identity or "
        "the beginning of it (4 characters or more), a name, a study (its newest), a folder, or "
        "'latest'; another store is chosen with --uri."
    )
