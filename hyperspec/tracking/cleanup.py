"""Close runs whose process died without a word (kill -9, power loss)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hyperspec.tracking.client import Connection
from hyperspec.tracking.names import TAG_HOST, TAG_KIND, TAG_PARENT, TAG_PROCESS, TAG_REASON
from hyperspec.tracking.offline.outbox import send_outbox
from hyperspec.tracking.retry import UnreachableError
from hyperspec.utils.process import is_dead

if TYPE_CHECKING:
    from mlflow.entities import Run

    from hyperspec.tracking.run import Status

log = logging.getLogger(__name__)

_PAGE = 1000


def catch_up(connection: Connection) -> None:
    """Send what earlier runs left in the outbox, then close runs whose process is gone.

    In this order: what a run had to say, its end above all, comes before the guess that it died.
    A store that is away is told, and left for later.
    """
    delivery = send_outbox(connection.outbox, only=connection.uri, told=log.info)
    if delivery.waiting:
        log.warning("%d runs wait in %s", len(delivery.waiting), connection.outbox)
    if connection.offline:
        return
    try:
        reap_stale(connection)
    except UnreachableError as error:
        log.warning("runs that a killed process left RUNNING stay so for now: %s", error)


def reap_stale(connection: Connection) -> list[str]:
    """Close every RUNNING run of the experiment whose process on this machine is gone.

    Jobs become FAILED, parents of sweeps KILLED. Runs of other machines and runs that carry no
    process are left alone.

    Returns:
        The identities of the closed runs.
    """
    closed = []
    for run in _running(connection):
        host, process = run.data.tags.get(TAG_HOST, ""), run.data.tags.get(TAG_PROCESS, "")
        if not is_dead(host, process):
            continue
        reason = f"process {process.split('/')[2]} on {host} ended without closing its run"
        status: Status = "KILLED" if run.data.tags.get(TAG_KIND) == "sweep" else "FAILED"
        _close(connection, run, status, reason)
        closed.append(str(run.info.run_id))
        log.warning("closed stale run %s: %s", run.info.run_name, reason)
    return closed


def close_children(connection: Connection, parent_run_id: str, status: Status) -> list[str]:
    """Close a sweep's jobs that still say RUNNING when the sweep is over.

    Their processes are gone or about to go: a sweep ends when all its jobs have returned.

    Returns:
        The identities of the closed runs.
    """
    closed = []
    for run in _running(connection):
        if run.data.tags.get(TAG_PARENT) != parent_run_id:
            continue
        reason = "the sweep ended before the job closed its run"
        _close(connection, run, status, reason)
        closed.append(str(run.info.run_id))
    return closed


def _close(connection: Connection, run: Run, status: Status, reason: str) -> None:
    run_id = run.info.run_id
    connection.ask(lambda client: client.set_tag(run_id, TAG_REASON, reason))
    connection.ask(lambda client: client.set_terminated(run_id, status))


def _running(connection: Connection) -> list[Run]:
    """Return the running runs; all pages are read before the first run is changed."""
    token: str | None = None
    runs: list[Run] = []
    while True:
        page = connection.ask(
            lambda client, token=token: client.search_runs(  # type: ignore[misc]
                [connection.known_experiment()],
                filter_string="attributes.status = 'RUNNING'",
                max_results=_PAGE,
                page_token=token,
            )
        )
        runs += page
        token = page.token or None
        if token is None:
            return runs
