"""Take over what an earlier run has done: its result, or its history up to a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hyperspec.runs.identity import Finished, Objective
from hyperspec.tracking.cleanup import send_outbox
from hyperspec.tracking.client import connect
from hyperspec.tracking.contract import MetricName, Tag
from hyperspec.tracking.parent import ParentInfo
from hyperspec.tracking.record import ended
from hyperspec.tracking.retry import UnreachableError
from hyperspec.tracking.run import JobRun
from hyperspec.utils.errors import HyperspecError

log = logging.getLogger(__name__)


class SweepGivenUpError(HyperspecError):
    """So many jobs have failed that the rest is not started."""


def adopt(run: JobRun, found: Finished) -> Objective:
    """Make a run the light copy of a finished one, and return what it optimises.

    Parameters, metrics with their history, tags and artifacts are copied, so that the sweep is
    whole under its own parent; checkpoints are not. The tag ``hyperspec.resumed_from`` names the
    run that trained, also after several copies.
    """
    values = found.objective if isinstance(found.objective, tuple) else (found.objective,)
    if len(values) > 1:
        run.set_tags({Tag.OBJECTIVES: ",".join(found.metrics)})
    run.copy_from(found.run_id, metrics={MetricName.OBJECTIVE: values[0], **found.metrics})
    log.info("%s: finished before as run %s; not trained again", run.name, found.run_id)
    return found.objective


def continue_history(run: JobRun, run_id: str, until_step: int, whole: Sequence[str] = ()) -> None:
    """Copy the metrics that an interrupted run logged before its checkpoint, and name the run.

    ``until_step`` has the optimizer steps of the checkpoint; ``whole`` begins the names of metrics
    of an earlier stage, which was over by then.
    """
    # Its process may have died with lines that the store does not have yet.
    send_outbox(run.connection.outbox, only=run.connection.uri)
    run.copy_from(run_id, until_step, whole=whole)


def give_up_after(parent: ParentInfo, max_failures: int) -> None:
    """Start no job more when so many of its sweep have failed.

    Raises:
        SweepGivenUpError: If so many have.
    """
    connection = connect(parent.tracking_uri, parent.experiment, offline=True, begun=True)
    try:
        found = connection.search(Tag.PARENT.equals(parent.parent_run_id), ended("FAILED"))
    except UnreachableError as error:
        log.warning("sweep.max_failures is not looked at: %s", error)
        return
    failed = sum(not run.has(Tag.REQUEUED) for run in found)
    if failed >= max_failures:
        raise SweepGivenUpError(
            f"Not started: {failed} jobs of the sweep have failed, and sweep.max_failures is "
            f"{max_failures}. Mend what they name and give the same command again."
        )
