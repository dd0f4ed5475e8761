"""One job: a composed config becomes a checked one, and a tracked run whatever happens inside."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from hyperspec.config import groups, plugins, schema
from hyperspec.config.compose import overrides_of
from hyperspec.evaluation.metrics import main_accuracy, printed
from hyperspec.evaluation.random_split import in_words
from hyperspec.evaluation.statistics.intervals import MIN_SPECIMENS
from hyperspec.runs.identity import Objective
from hyperspec.runs.job_context import JobContext, is_single_run
from hyperspec.runs.planning.preflight import check_devices, look_first, say_device
from hyperspec.runs.resume import give_up_after
from hyperspec.runs.watchdog import closing, watch
from hyperspec.search.trial import trial_number
from hyperspec.tracking import names
from hyperspec.tracking.cleanup import close_earlier_starts, send_outbox
from hyperspec.tracking.client import connect
from hyperspec.tracking.config import TrackingConfig
from hyperspec.tracking.contract import Artifact, Tag
from hyperspec.tracking.run import JobRun, start_run
from hyperspec.utils.errors import HyperspecError
from hyperspec.utils.garbage import set_aside
from hyperspec.utils.progress import progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """What a run of this process came to.

    Args:
        name: In MLflow.
        run_id: In MLflow; one that begins with ``local-`` waits for ``hyperspec sync``.
        folder: With the checkpoint, the config and the log.
        scores: Last value of each metric, such as ``test/knn_top1`` with ``_low`` and ``_high``.
    """

    name: str
    run_id: str
    folder: Path
    scores: dict[str, float] = field(repr=False)

    @property
    def checkpoint(self) -> Path:
        """The file that ``hyperspec evaluate`` and its like take."""
        return self.folder / Path(Artifact.CHECKPOINT).name

    def _repr_html_(self) -> str:
        """Show the scores that a run prints, as notebooks do."""
        rows = "".join(
            f"<tr><td>{words}</td><td>{self.scores[key]:.3f}</td>"
            f"<td>{_interval(self.scores, key)}</td></tr>"
            for key, words in printed()
            if key in self.scores
        )
        return f"<table><caption>{escape(self.name)}</caption>{rows}</table>"


def _interval(scores: Mapping[str, float], key: str) -> str:
    """Return the 95% interval of a score in brackets; empty where it has none."""
    low, high = scores.get(f"{key}_low"), scores.get(f"{key}_high")
    return "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"


_ENDED: ContextVar[list[TrainedRun] | None] = ContextVar("ended", default=None)


@contextmanager
def ended_runs() -> Iterator[list[TrainedRun]]:
    """Collect the runs that end in this process, in their order."""
    ended: list[TrainedRun] = []
    token = _ENDED.set(ended)
    try:
        yield ended
    finally:
        _ENDED.reset(token)


def run_job(config: DictConfig) -> Objective:
    """Run one job and return what it optimises.

    A config that is wrong fails before a run exists; within a sweep it becomes a failed run, so
    that the sweep's table shows it.
    """
    context = JobContext.current(config)
    if context.parent is not None:
        watch(context.parent)
    try:
        plugins.load(list(config.get("plugins") or []))  # this may be a worker's first job
        checked = groups.to_job(config)
    except HyperspecError as error:
        _record_refused(config, context, error)
        raise
    if context.parent is None:  # of a sweep this is looked at before the first job
        look_first([checked])
        say_device()
        check_devices([checked.hardware])
        for hint in schema.hints(checked):
            log.warning("hint: %s", hint)
    if context.parent is not None and checked.sweep.max_failures is not None:
        give_up_after(context.parent, checked.sweep.max_failures)
    plain = groups.to_plain(config)
    with (
        _start(checked.tracking, context, _name(config), names.flatten(plain)) as run,
        closing(lambda: run.finish("KILLED", "the sweep's controller ended before the job")),
    ):
        run.log_dict(plain, Artifact.CONFIG)
        # Imported here: torch, Lightning and kornia take seconds, and a refused config needs none.
        with progress("Loading PyTorch"), set_aside("torch"):
            from hyperspec.runs.experiment import run_experiment

        objective = run_experiment(checked, run, context)
    if (ended := _ENDED.get()) is not None:
        ended.append(TrainedRun(run.name, run.run_id, context.output_dir, dict(run.last)))
    if is_single_run():
        _print_result(run, objective, context.output_dir / Path(Artifact.CHECKPOINT).name)
    return objective


def _print_result(run: JobRun, objective: Objective, checkpoint: Path) -> None:
    """Print what a run of its own reached; a sweep prints its table instead."""
    metrics = run.last
    values = objective if isinstance(objective, tuple) else (objective,)
    print(f"\n{run.name}: objective {', '.join(f'{value:.3f}' for value in values)}")
    for key, words in printed():
        if key in metrics:
            interval = _interval(metrics, key)
            if not interval and key.endswith(main_accuracy().name):
                interval = f" (no interval: fewer than {MIN_SPECIMENS} specimens)"
            if (even := metrics.get(f"{key.removesuffix('top1')}balanced")) is not None:
                interval += f", balanced {even:.3f}"
            print(f"  {words:24}{metrics[key]:.3f}{interval}")
    for line in in_words(metrics):
        print(f"  {line}")
    print(f"checkpoint: {checkpoint}")
    print(f"MLflow UI: {shlex.join(['hyperspec', 'ui', '--uri', run.connection.shown_uri])}")


def _start(
    tracking: TrackingConfig, context: JobContext, name: str, params: dict[str, str]
) -> JobRun:
    parent = context.parent
    with progress("Opening the tracking store"), set_aside("mlflow"):
        connection = connect(
            parent.tracking_uri if parent else tracking.uri,
            parent.experiment if parent else tracking.experiment,
            outbox=parent.outbox or None if parent else tracking.outbox,
            offline=True,
            begun=parent is not None,
        )
    if parent is None:
        send_outbox(connection.outbox, only=connection.uri, sent=log.info)
    tags: dict[str, str] = {
        Tag.STUDY: params.get("study", ""),
        Tag.OVERRIDES: " ".join(context.overrides),
    }
    if parent is not None:
        close_earlier_starts(connection, parent.parent_run_id, context.job)
        tags[Tag.JOB] = context.job
    trial = None if context.sweep_dir is None else trial_number(context.sweep_dir)
    if trial is not None:
        tags[Tag.TRIAL] = str(trial)
    return start_run(
        connection,
        name,
        parent_run_id=parent.parent_run_id if parent else None,
        tags=tags,
        params={**params, **context.choices},
        flush_seconds=tracking.flush_seconds,
    )


def _name(config: DictConfig) -> str:
    return names.run_name(
        overrides_of(config).get("bands", "bands"),
        int(config.bands.get("n") or 0),
        config.loss.get("temperature"),
        config.lr,
        config.seed,
        config.data.split.rotation,
    )


def _record_refused(config: DictConfig, context: JobContext, error: HyperspecError) -> None:
    if context.parent is None:
        return
    complete = not OmegaConf.missing_keys(config)
    params = names.flatten(groups.to_plain(config)) if complete else {}
    name = " ".join(context.overrides) or "refused"
    _start(TrackingConfig(), context, name, params).fail(error)
