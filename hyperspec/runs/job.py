"""One job: a composed config becomes a checked one, and a tracked run whatever happens inside."""

from __future__ import annotations

import logging

from omegaconf import DictConfig, OmegaConf

from hyperspec.config import groups, plugins, schema
from hyperspec.config.compose import overrides_of
from hyperspec.datasets.config import FolderData, label_folder
from hyperspec.evaluation.metrics import main_accuracy, printed
from hyperspec.evaluation.random_split import in_words
from hyperspec.evaluation.statistics.intervals import MIN_SPECIMENS
from hyperspec.runs.identity import Objective
from hyperspec.runs.job_context import JobContext, is_single_run
from hyperspec.runs.resume import give_up_after
from hyperspec.runs.watchdog import closing, watch
from hyperspec.search.trial import trial_number
from hyperspec.tracking import names
from hyperspec.tracking.cleanup import send_outbox
from hyperspec.tracking.client import connect
from hyperspec.tracking.config import TrackingConfig
from hyperspec.tracking.contract import Artifact, Tag
from hyperspec.tracking.run import JobRun, start_run
from hyperspec.utils.errors import HyperspecError

log = logging.getLogger(__name__)


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
    if context.parent is None and isinstance(checked.data, FolderData):
        label_folder(checked.data)  # of a sweep this is looked at before the first job
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
        from hyperspec.runs.experiment import run_experiment

        objective = run_experiment(checked, run, context)
    if is_single_run():
        _print_result(run, objective)
    return objective


def _print_result(run: JobRun, objective: Objective) -> None:
    """Print what a run of its own reached; a sweep prints its table instead."""
    metrics = run.last
    values = objective if isinstance(objective, tuple) else (objective,)
    print(f"\n{run.name}: objective {', '.join(f'{value:.3f}' for value in values)}")
    for key, words in printed():
        if key in metrics:
            low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
            interval = ""
            if low is not None and high is not None:
                interval = f" [{low:.2f}, {high:.2f}]"
            elif key.endswith(main_accuracy().name):
                interval = f" (no interval: fewer than {MIN_SPECIMENS} specimens)"
            if (even := metrics.get(f"{key.removesuffix('top1')}balanced")) is not None:
                interval += f", balanced {even:.3f}"
            print(f"  {words:24}{metrics[key]:.3f}{interval}")
    for line in in_words(metrics):
        print(f"  {line}")
    print(f"MLflow UI: hyperspec ui --uri {run.connection.uri}")


def _start(
    tracking: TrackingConfig, context: JobContext, name: str, params: dict[str, str]
) -> JobRun:
    parent = context.parent
    connection = connect(
        parent.tracking_uri if parent else tracking.uri,
        parent.experiment if parent else tracking.experiment,
        outbox=parent.outbox or None if parent else tracking.outbox,
        offline=True,
    )
    if parent is None:
        send_outbox(connection.outbox, only=connection.uri, sent=log.info)
    tags: dict[str, str] = {
        Tag.STUDY: params.get("study", ""),
        Tag.OVERRIDES: " ".join(context.overrides),
    }
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
