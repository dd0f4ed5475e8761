"""One MLflow run as a context: whatever happens inside, it does not stay RUNNING."""

from __future__ import annotations

import getpass
import json
import logging
import posixpath
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import PARAM_LIMIT, TAG_LIMIT, Artifact, Folder, Tag
from hyperspec.tracking.git import git_tags
from hyperspec.tracking.health import LOCKED_SECONDS, database_path
from hyperspec.tracking.offline.journal import MAX_METRICS, MAX_NAMES, Head, Journal, new_local_id
from hyperspec.tracking.offline.uploader import Background, Uploader
from hyperspec.tracking.retry import UnreachableError, retry_store
from hyperspec.utils.errors import TrackingError
from hyperspec.utils.process import host_name, process_tag
from hyperspec.utils.text import without_secrets

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.tracking import MlflowClient

    from hyperspec.tracking.datasets import DataPart


log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]
_REFUSED = re.compile(r"[^\w./: -]")
_NAME_LIMIT = 250  # characters of a name, MLflow's
_LEAVE_SECONDS = 2.0  # for the store, of a job that was told to leave
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

    ``tags`` are searchable, ``params`` have dotted names, and ``flush_seconds`` is the longest wait
    of a metric in seconds. The parent of a sweep is of the kind ``sweep``; its jobs are nested
    under its run.
    """
    own = {
        Tag.KIND: kind,
        Tag.HOST: host_name(),
        Tag.PROCESS: process_tag(),
        Tag.USER: _user(),
        Tag.SOURCE_NAME: "hyperspec",
        Tag.SOURCE_TYPE: "LOCAL",
        **git_tags(),
    }
    if parent_run_id is not None:
        own[Tag.PARENT] = parent_run_id
    said = {**own, **_clipped(tags or {})}
    name = without_secrets(name)
    head = Head(new_local_id(), connection.shown_uri, connection.experiment, name, _now_ms(), said)
    try:
        journal = Journal.create(connection.outbox, head)
    except OSError as error:
        raise TrackingError(
            f"What runs have to say is kept in {connection.outbox} until the store has it, and "
            f"that folder cannot be written ({error}). Choose another with tracking.outbox=FOLDER."
        ) from error
    run = JobRun(connection, journal, flush_seconds)
    try:
        run.log_params(params or {})
    except BaseException as error:
        run.fail(error)
        raise
    return run


class JobRun:
    """A run that is being written. Made by :func:`start_run`.

    What is logged goes to a journal on disk at once, and to the store from a thread of its own,
    ``flush_seconds`` later at most: no step waits for a server, and an outage costs nothing but
    time. There is no global active run: two of these in one process never mix.
    """

    def __init__(self, connection: Connection, journal: Journal, flush_seconds: float) -> None:
        self.connection, self.name = connection, journal.head.name
        self.status: Status | Literal["RUNNING"] = "RUNNING"
        self.last: dict[str, float] = {}
        """Last value of each metric."""
        self._journal, self._params = journal, dict[str, str]()
        uploader = Uploader(journal, connection)
        try:
            locked = LOCKED_SECONDS if database_path(connection.uri) else 0.0
            retry_store(uploader.open_run, locked, connection.shown_uri)
        except UnreachableError as error:
            log.warning("%s: %s Its run is kept in %s.", self.name, error, journal.folder)
        except BaseException:
            journal.close(remove=True)
            raise
        self.run_id = journal.run_id or journal.head.local_id
        """Identity on the store; one that begins with ``local-`` when it could not be asked."""
        self._background = Background(uploader, flush_seconds)

    @property
    def client(self) -> MlflowClient:
        """MLflow's client of the store, for reading.

        Raises:
            UnreachableError: If the store does not answer.
        """
        return self.connection.client

    @property
    def stored_id(self) -> str | None:
        """Identity on the store, or None as long as the store does not know the run."""
        return self._journal.run_id

    def __enter__(self) -> JobRun:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
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
        """Set or replace tags.

        Raises:
            TrackingError: If MLflow would refuse a name.
        """
        _check_names("tag", tags)
        for part in _parts(_clipped(tags)):
            self._background.put({"op": "tags", "tags": part})

    def log_params(self, params: Mapping[str, str]) -> None:
        """Log parameters; nothing is cut in silence, and a changed value does not crash.

        A value beyond MLflow's 6000 characters is cut with a note and kept whole as an artifact
        under ``params/``. MLflow keeps a parameter's first value for ever; a changed one is put
        into the tag ``hyperspec.params.changed``.

        Raises:
            TrackingError: If MLflow would refuse a name.
        """
        _check_names("parameter", params)
        known = self._params
        short = {k: self._shorten(k, without_secrets(str(v))) for k, v in params.items()}
        changed = {k: v for k, v in short.items() if k in known and known[k] != v}
        if changed:
            log.warning("%s: parameters changed since the run began: %s", self.name, changed)
            self.set_tags({Tag.PARAMS_CHANGED: json.dumps(changed, sort_keys=True)})
        fresh = {key: value for key, value in short.items() if key not in known}
        known |= fresh
        for part in _parts(fresh):
            self._background.put({"op": "params", "params": part})

    def _shorten(self, key: str, value: str) -> str:
        if len(value) <= PARAM_LIMIT:
            return value
        artifact = f"{Folder.PARAMS}/{key}.txt"
        self.log_text(value, artifact)
        note = f" ... [cut: {len(value)} characters, whole in artifact {artifact}]"
        return value[: PARAM_LIMIT - len(note)] + note

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep metrics for the next batch; characters that MLflow refuses in names become ``_``."""
        values = {_REFUSED.sub("_", name): float(value) for name, value in metrics.items()}
        self.last |= values
        now = _now_ms()
        rows = [[name, value, now, step] for name, value in values.items()]
        for start in range(0, len(rows), MAX_METRICS):
            self._background.put({"op": "metrics", "rows": rows[start : start + MAX_METRICS]})

    def log_datasets(self, parts: Sequence[DataPart]) -> None:
        """Link the run to the parts of the data that it uses."""
        from hyperspec.tracking.datasets import as_input

        inputs = [
            {"dataset": dict(found.dataset), "tags": {tag.key: tag.value for tag in found.tags}}
            for found in map(as_input, parts)
        ]
        self._background.put({"op": "datasets", "inputs": inputs})

    def copy_from(
        self,
        run_id: str,
        until_step: int | None = None,
        metrics: Mapping[str, float] | None = None,
        whole: Sequence[str] = (),
    ) -> None:
        """Take over another run's result, or its metrics up to a step, when both are on the store.

        See :func:`hyperspec.tracking.copy_run.copy_run`; without a step everything but checkpoints
        is taken over. ``metrics`` is what is known of them already, for as long as the store is
        away.
        """
        self.last |= metrics or {}
        entry = {"op": "copy", "source": run_id, "until_step": until_step, "whole": [*whole]}
        self._background.put({**entry, "metrics": dict(metrics or {})})

    def flush(self) -> bool:
        """Send what waits; return whether the store has everything."""
        return self._background.drain()

    def secure(self) -> None:
        """Put what was logged so far on the disk; the store gets it in its own time."""
        self._journal.secure()

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file into the run, into ``folder`` when given."""
        try:
            kept = self._journal.keep_file(path, path.name)
        except OSError as error:
            if not path.exists():
                raise
            log.warning("%s: no room to keep %s until it is sent (%s)", self.name, path, error)
            kept = str(path.absolute())
        self._background.put({"op": "artifact", "file": kept, "folder": folder})

    def log_text(self, text: str, artifact: str) -> None:
        """Write text, without passwords of addresses, as the artifact of that relative path."""
        shown = without_secrets(text)
        self._log_new(artifact, lambda path: path.write_text(shown, encoding="utf-8"))

    def log_bytes(self, content: bytes, artifact: str) -> None:
        """Write a file as the artifact of that relative path."""
        self._log_new(artifact, lambda path: path.write_bytes(content))

    def log_dict(self, value: Mapping[str, object], artifact: str) -> None:
        """Write plain values as JSON, or as YAML when ``artifact`` ends in ``.yaml``."""
        import yaml

        if artifact.endswith((".yaml", ".yml")):
            self.log_text(yaml.dump(dict(value), indent=2, default_flow_style=False), artifact)
        else:
            self.log_text(json.dumps(dict(value), indent=2, default=str), artifact)

    def log_figure(self, figure: Figure, artifact: str) -> None:
        """Write a matplotlib figure; the ending of ``artifact`` names the format."""
        self._log_new(artifact, figure.savefig)

    def _log_new(self, artifact: str, write: Callable[[Path], object]) -> None:
        folder, _, name = artifact.rpartition("/")
        path = self._journal.new_file(name)
        write(path)
        kept = str(path.relative_to(self._journal.folder))
        self._background.put({"op": "artifact", "file": kept, "folder": folder or None})

    def finish(self, status: Status = "FINISHED", reason: str | None = None) -> None:
        """Write what waits and close the run; what the store does not take stays in the outbox.

        The reason, one line, is kept as a tag.
        """
        if reason is not None:
            self.set_tags({Tag.REASON: reason})
        self._end(status)

    def fail(self, error: BaseException) -> None:
        """Close the run after an error: traceback as artifact, reason as tag, then the status.

        Interruptions (Ctrl-C, SIGTERM) give KILLED, everything else FAILED. The status is written
        even when the rest cannot be.
        """
        text = "".join(traceback.format_exception(error))
        notes: tuple[Callable[[], object], ...] = (
            lambda: self.set_tags({Tag.REASON: describe(error)}),
            lambda: self.log_text(text, Artifact.TRACEBACK),
        )
        for note in notes:
            try:
                note()
            except Exception:
                log.warning("%s: part of the failure could not be logged", self.name, exc_info=True)
        if interrupted(error):
            self._end("KILLED", _LEAVE_SECONDS)
        else:
            self._end("FAILED")

    def _end(self, status: Status, seconds: float | None = None) -> None:
        if self.status != "RUNNING":  # closed from outside meanwhile
            return
        self.status = status
        self._background.put({"op": "end", "status": status, "time_ms": _now_ms()})
        self._journal.secure()
        if not self._background.close(seconds):
            log.warning(
                "%s is %s; the store does not know all of it yet, and `hyperspec sync %s` sends "
                "the rest when it answers.",
                self.name,
                status,
                self.connection.outbox,
            )


def _check_names(kind: str, values: Mapping[str, str]) -> None:
    """Refuse names here: the store would only say so when the run is long over."""
    for name in values:
        alone = posixpath.normpath(name) == name and not name.startswith(("/", "."))
        if not name or _REFUSED.search(name) or len(name) > _NAME_LIMIT or not alone:
            raise TrackingError(
                f"'{name}' cannot be the name of a {kind}: MLflow takes at most {_NAME_LIMIT} "
                "letters, digits, spaces and any of _ - . : / in it, and no path that starts with "
                "/ or . or has an empty part."
            )


def _clipped(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as they are kept: not too long, and without passwords of addresses."""
    return {key: without_secrets(str(value))[:TAG_LIMIT] for key, value in tags.items()}


def _parts(values: Mapping[str, str]) -> Iterator[dict[str, str]]:
    entries = list(values.items())
    for start in range(0, len(entries), MAX_NAMES):
        yield dict(entries[start : start + MAX_NAMES])


def _now_ms() -> int:
    return int(time.time() * 1000)


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
