"""Bring a run's journal to its store, in order, each line with effect once.

An answer can be lost after the store took what was sent. So the run carries the journal's identity
as a tag and is looked for before it is created anew; tags, parameters, files and the end may be
sent twice without harm; and rows of metrics are compared with what the run has already whenever
the line before them was not certainly the last one that arrived.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspec.tracking.contract import Tag
from hyperspec.tracking.copy_run import copy_run
from hyperspec.tracking.offline.journal import LOCAL, Entry, Journal, read_run_id
from hyperspec.tracking.record import read_run, search_runs
from hyperspec.tracking.retry import UnreachableError, first_line, is_refusal

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric

    from hyperspec.tracking.client import Connection

log = logging.getLogger(__name__)

MAX_METRICS, MAX_NAMES = 900, 100  # rows, and parameters or tags, that MLflow takes in one call
_LARGEST = sys.float_info.max
_BATCHED = ("tags", "params", "metrics")


class Courier:
    """Sends one run's journal.

    Args:
        journal: The journal, held by this process.
        connection: Where to; its experiment may still be unknown.
        orphans: Whether a run whose parent is nowhere to be found is sent all the same.
        uncertain: Whether what follows the last known line may have arrived before.
    """

    def __init__(
        self,
        journal: Journal,
        connection: Connection,
        orphans: bool = False,
        uncertain: bool = False,
    ) -> None:
        self.journal, self.connection, self.orphans = journal, connection, orphans
        self.refused: list[str] = []
        self._uncertain = uncertain

    def open_run(self) -> str:
        """Return the run's identity on the store; look for the run, create it if there is none.

        Raises:
            UnreachableError: If the store, or the run's parent on it, is not there yet.
        """
        if self.journal.run_id is not None:
            return self.journal.run_id
        head = self.journal.head
        found = find_local(self.connection, head.local_id) if self._uncertain else None
        if found is None:
            tags = {**head.tags, Tag.LOCAL_ID: head.local_id}
            if tags.get(Tag.PARENT, "").startswith(LOCAL):
                tags[Tag.PARENT] = self._resolve(tags[Tag.PARENT])
            self._uncertain = True  # until the answer is there
            made = self.connection.client.create_run(
                self.connection.known_experiment(),
                start_time=head.start_ms,
                tags=tags,
                run_name=head.name,
            )
            found = str(made.info.run_id)
            self._uncertain = False
        self.journal.set_run_id(found)
        return found

    def send(self, entries: Sequence[Entry]) -> Iterator[int]:
        """Send lines in order; yield after each call how many of them the store has.

        Raises:
            Exception: What the store raised, for lines that may be sent again later.
        """
        run_id = self.open_run()
        done = 0
        for group in _grouped(entries):
            try:
                self._send(run_id, group)
            except Exception as error:
                if not is_refusal(error):
                    self._uncertain = True
                    raise
                self._send_singly(run_id, group)
            self._uncertain = False
            done += len(group)
            self.journal.set_sent(int(str(group[-1]["seq"])))
            yield done

    def _send_singly(self, run_id: str, group: Sequence[Entry]) -> None:
        """Send what was refused together line by line; give up the lines that are at fault."""
        for entry in group:
            try:
                self._send(run_id, [entry])
            except Exception as error:
                if not is_refusal(error):
                    raise
                text = f"{self.journal.head.name}: {entry['op']} refused: {first_line(error)}"
                self.refused.append(text)
                log.error("%s. The line stays out of the store: %s", text, str(entry)[:500])

    def _send(self, run_id: str, group: Sequence[Entry]) -> None:
        kind = str(group[0]["op"])
        if kind in _BATCHED:
            self._send_batch(run_id, group)
            return
        (entry,) = group
        client = self.connection.client
        if kind == "artifact":
            path = _path(self.journal, entry)
            if path.exists():
                client.log_artifact(run_id, str(path), entry.get("folder"))
            else:
                log.error("%s: the file %s is gone", self.journal.head.name, path)
        elif kind == "copy":
            source, until = self._source(str(entry["source"])), entry.get("until_step")
            names = entry.get("whole")
            whole = tuple(map(str, names)) if isinstance(names, list) else ()
            copy_run(client, source, run_id, until if isinstance(until, int) else None, whole)
        elif kind == "datasets":
            client.log_inputs(run_id, _datasets(entry))
        elif kind == "end":
            self._end(run_id, entry)
        else:
            log.error("%s: a line of an unknown kind is left out: %s", run_id, kind)

    def _send_batch(self, run_id: str, group: Sequence[Entry]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        tags, params, rows = _merge(group)
        metrics = [Metric(str(r[0]), float(r[1]), int(r[2]), int(r[3])) for r in rows]
        if self._uncertain and metrics:
            metrics = _missing(self.connection, run_id, metrics)
        if not tags and not params and not metrics:
            return
        self.connection.client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(key, value) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def _end(self, run_id: str, entry: Entry) -> None:
        client, status = self.connection.client, str(entry["status"])
        if self._uncertain and status == "FINISHED":
            # Somebody may have closed the run as left behind, while its result waited here.
            known = read_run(client, run_id)
            if known.status != status and known.has(Tag.REASON):
                client.delete_tag(run_id, Tag.REASON)
        client.set_terminated(run_id, status, int(str(entry["time_ms"])))

    def _source(self, run_id: str) -> str:
        """Return the identity on the store of a run that is to be copied.

        Raises:
            UnreachableError: If the store does not have all of it yet.
        """
        outbox = self.journal.folder.parent
        for folder in outbox.iterdir() if outbox.is_dir() else ():
            if folder != self.journal.folder and run_id in (folder.name, read_run_id(folder)):
                raise UnreachableError(f"the run {run_id} is to be copied, and not sent whole yet.")
        return self._resolve(run_id)

    def _resolve(self, run_id: str) -> str:
        """Return a run's identity on the store.

        Raises:
            UnreachableError: If it has none yet.
        """
        if not run_id.startswith(LOCAL):
            return run_id
        found = find_local(self.connection, run_id)
        if found is None and not self.orphans:
            raise UnreachableError(f"the run {run_id}, which others refer to, is not sent yet.")
        return found or run_id


def find_local(connection: Connection, local_id: str) -> str | None:
    """Return the identity on the store of a run that began without one, or None."""
    where = [connection.known_experiment()]
    runs = search_runs(connection.client, where, [Tag.LOCAL_ID.equals(local_id)])
    return runs[-1].run_id if runs else None


def _missing(connection: Connection, run_id: str, metrics: list[Metric]) -> list[Metric]:
    """Return the rows that the run does not have yet."""
    known = {
        _row(metric)
        for key in {metric.key for metric in metrics}
        for metric in connection.client.get_metric_history(run_id, key)
    }
    return [metric for metric in metrics if _row(metric) not in known]


def _row(metric: Metric) -> tuple[str, int, int, str]:
    # As text, since NaN differs from itself; the store keeps an infinity as the largest double.
    value = max(-_LARGEST, min(_LARGEST, metric.value)) if metric.value == metric.value else "nan"
    return metric.key, metric.step, metric.timestamp, repr(value)


def _datasets(entry: Entry) -> list[DatasetInput]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = entry.get("inputs")
    return [
        DatasetInput(
            Dataset(**found["dataset"]), [InputTag(k, v) for k, v in found["tags"].items()]
        )
        for found in (inputs if isinstance(inputs, list) else [])
    ]


def _grouped(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Put neighbours that fit into one call together."""
    group: list[Entry] = []
    counts = [0, 0, 0]
    for entry in entries:
        alone = entry["op"] not in _BATCHED
        own = [len(part) for part in _merge([entry])]
        more = [count + new for count, new in zip(counts, own, strict=True)]
        full = more[0] > MAX_NAMES or more[1] > MAX_NAMES or sum(more) > MAX_METRICS
        if group and (alone or full):
            yield group
            group, more = [], own
        counts = more
        group.append(entry)
        if alone:
            yield group
            group, counts = [], [0, 0, 0]
    if group:
        yield group


def _merge(
    group: Sequence[Entry],
) -> tuple[dict[str, str], dict[str, str], list[Sequence[Any]]]:
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    rows: list[Sequence[Any]] = []
    for entry in group:
        tags |= _mapping(entry.get("tags"))
        params |= _mapping(entry.get("params"))
        found = entry.get("rows")
        rows += found if isinstance(found, list) else []
    return tags, params, rows


def _mapping(value: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}


def _path(journal: Journal, entry: Entry) -> Path:
    # Absolute when there was no room for a copy: then the original is sent.
    return journal.folder / str(entry["file"])
