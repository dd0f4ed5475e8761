"""One MLflow run as a context: whatever happens inside, it does not stay RUNNING."""

from __future__ import annotations

import getpass
import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from hyperspec.tracking.buffer import MetricBuffer
from hyperspec.tracking.names import (
    PARAM_LIMIT,
    TAG_HOST,
    TAG_KIND,
    TAG_PARAMS_CHANGED,
    TAG_PARENT,
    TAG_PROCESS,
    TAG_REASON,
    TRACEBACK_ARTIFACT,
)
from hyperspec.tracking.process import host_name, process_tag
from hyperspec.tracking.source import git_tags
from hyperspec.tracking.store import Connection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hyperspec.tracking.datasets import DataPart

log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]
_PARAM_BATCH = 100  # parameters that MLflow takes in one call
_TAG_LIMIT = 5000  # characters of a tag's value, below MLflow's limit of 8000
_SIGNAL_EXITS = (130, 143)  # a shell's exit status after Ctrl-C and after SIGTERM


def start_run(
    connection: Connection,
    name: str,
    *,
    parent_run_id: str | None = None,
    kind: Literal["job", "sweep"] = "job",
    tags: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    flush_seconds: float = 2.0,
) -> JobRun:
    """Create a run; use the result as a context manager so that it always ends.

    Args:
        connection: Store and experiment.
        name: Readable name, see :func:`hyperspec.tracking.names.run_name`.
        parent_run_id: Run of the sweep that this one is nested under.
        kind: ``sweep`` for the parent of a sweep.
        tags: Searchable tags.
        params: Dotted names with text values.
        flush_seconds: Longest wait of a metric, seconds.
    """
    own = {
        TAG_KIND: kind,
        TAG_HOST: host_name(),
        TAG_PROCESS: process_tag(),
        "mlflow.user": _user(),
        "mlflow.source.name": "hyperspec",
        "mlflow.source.type": "LOCAL",
        **git_tags(),
    }
    if parent_run_id is not None:
        own[TAG_PARENT] = parent_run_id
    clipped = {key: str(value)[:_TAG_LIMIT] for key, value in (tags or {}).items()}
    created = connection.client.create_run(
        connection.experiment_id, tags={**own, **clipped}, run_name=name
    )
    run = JobRun(connection, str(created.info.run_id), name, flush_seconds)
    try:
        run.log_params(params or {})
    except BaseException as error:
        run.fail(error)
        raise
    return run


class JobRun:
    """A run that is being written. Made by :func:`start_run`.

    There is no global active run: two of these in one process never mix.
    """

    def __init__(
        self, connection: Connection, run_id: str, name: str, flush_seconds: float = 2.0
    ) -> None:
        self.connection = connection
        self.client = connection.client
        self.run_id = run_id
        self.name = name
        self.metrics = MetricBuffer(connection.client, run_id, flush_seconds)
        self.status: Status | Literal["RUNNING"] = "RUNNING"

    def __enter__(self) -> JobRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.status != "RUNNING":
            return
        if error is None or (isinstance(error, SystemExit) and not error.code):
            try:
                self.finish("FINISHED")
            except BaseException as late:
                self.fail(late)
                raise
        else:
            self.fail(error)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        from mlflow.entities import RunTag

        entries = [RunTag(key, str(value)[:_TAG_LIMIT]) for key, value in tags.items()]
        for start in range(0, len(entries), _PARAM_BATCH):
            self.client.log_batch(self.run_id, tags=entries[start : start + _PARAM_BATCH])

    def log_params(self, params: Mapping[str, str]) -> None:
        """Log parameters; nothing is cut in silence, and a changed value does not crash.

        A value beyond MLflow's 6000 characters is cut with a note and kept whole as an artifact
        under ``params/``. MLflow keeps a parameter's first value for ever; a changed one is put
        into the tag ``hyperspec.params.changed``.
        """
        from mlflow.entities import Param

        known = self.client.get_run(self.run_id).data.params
        short = {key: self._shorten(key, str(value)) for key, value in params.items()}
        changed = {k: v for k, v in short.items() if k in known and known[k] != v}
        if changed:
            log.warning("%s: parameters changed since the run began: %s", self.name, changed)
            self.set_tags({TAG_PARAMS_CHANGED: json.dumps(changed, sort_keys=True)})
        entries = [Param(key, value) for key, value in short.items() if key not in known]
        for start in range(0, len(entries), _PARAM_BATCH):
            self.client.log_batch(self.run_id, params=entries[start : start + _PARAM_BATCH])

    def _shorten(self, key: str, value: str) -> str:
        if len(value) <= PARAM_LIMIT:
            return value
        artifact = f"params/{key}.txt"
        self.log_text(value, artifact)
        note = f" ... [cut: {len(value)} characters, whole in artifact {artifact}]"
        return value[: PARAM_LIMIT - len(note)] + note

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep metrics for the next batch; see :class:`MetricBuffer`."""
        self.metrics.add(metrics, step)

    def flush(self) -> None:
        """Write the metrics that wait."""
        self.metrics.flush()

    def log_datasets(self, parts: Sequence[DataPart]) -> None:
        """Link the run to the parts of the data that it uses."""
        from hyperspec.tracking.datasets import as_input

        self.client.log_inputs(self.run_id, [as_input(part) for part in parts])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file into the run, into ``folder`` when given."""
        self.client.log_artifact(self.run_id, str(path), folder)

    def log_text(self, text: str, artifact: str) -> None:
        """Write text as the artifact of that relative path."""
        self.client.log_text(self.run_id, text, artifact)

    def log_dict(self, value: Mapping[str, object], artifact: str) -> None:
        """Write plain values as JSON, or as YAML when ``artifact`` ends in ``.yaml``."""
        self.client.log_dict(self.run_id, dict(value), artifact)

    def log_figure(self, figure: Figure, artifact: str) -> None:
        """Write a matplotlib figure; the ending of ``artifact`` names the format."""
        self.client.log_figure(self.run_id, figure, artifact)

    def finish(self, status: Status = "FINISHED", reason: str | None = None) -> None:
        """Write what waits and close the run.

        Args:
            status: How it ended.
            reason: One line why, kept as a tag.

        Raises:
            MlflowException: If the store refuses.
        """
        self.flush()
        if reason is not None:
            self.set_tags({TAG_REASON: reason})
        self._terminate(status)

    def fail(self, error: BaseException) -> None:
        """Close the run after an error: traceback as artifact, reason as tag, then the status.

        Interruptions (Ctrl-C, SIGTERM) give KILLED, everything else FAILED. The status is written
        even when the rest cannot be.
        """
        text = "".join(traceback.format_exception(error))
        steps = (
            self.flush,
            lambda: self.set_tags({TAG_REASON: describe(error)}),
            lambda: self.log_text(text, TRACEBACK_ARTIFACT),
        )
        for step in steps:
            try:
                step()
            except Exception:
                log.warning("%s: part of the failure could not be logged", self.name, exc_info=True)
        self._terminate("KILLED" if interrupted(error) else "FAILED")

    def _terminate(self, status: Status) -> None:
        self.client.set_terminated(self.run_id, status)
        self.status = status


def describe(error: BaseException) -> str:
    """Return an error as one line: its kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:500]}" if lines else type(error).__name__


def interrupted(error: BaseException) -> bool:
    """Say whether an error is an interruption from outside.

    Lightning turns Ctrl-C into ``exit(1)`` while it handles the KeyboardInterrupt, so the chain of
    contexts counts; its SIGTERMException is known by name, to leave Lightning unimported.
    """
    if isinstance(error, SystemExit):
        if error.code in _SIGNAL_EXITS or type(error).__name__ == "SIGTERMException":
            return True
        return error.__context__ is not None and interrupted(error.__context__)
    return isinstance(error, KeyboardInterrupt)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user number, as in a bare container
        return "unknown"
