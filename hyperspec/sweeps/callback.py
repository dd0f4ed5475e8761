"""What happens around a multirun: one parent run before its jobs, one report after them.

Hydra turns every ``Exception`` of a callback into a warning, so an error that must stop the sweep
leaves here as SystemExit.
"""

from __future__ import annotations

import logging
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from hyperspec.config.compose import typed_words
from hyperspec.config.schema import Train, hints
from hyperspec.runs.planning.preflight import look_first
from hyperspec.runs.watchdog import scheduler_job
from hyperspec.search.request import bare
from hyperspec.sweeps.description import opening
from hyperspec.sweeps.finalise import close_sweep
from hyperspec.sweeps.folder import check_busy, settle_folder
from hyperspec.sweeps.kept_config import config_words, keep_config, write_files
from hyperspec.sweeps.launchers.launcher import check_launcher
from hyperspec.sweeps.measured_windows import log_wavelengths
from hyperspec.sweeps.validation import Check, add_rotations, make_plan
from hyperspec.tracking.contract import Folder, Param, Tag
from hyperspec.tracking.names import as_text
from hyperspec.tracking.parent import ParentInfo, find_parent, write_parent
from hyperspec.tracking.record import read_run
from hyperspec.utils.errors import HyperspecError, TrackingError, in_words
from hyperspec.utils.process import host_name, process_tag
from hyperspec.utils.progress import progress
from hyperspec.utils.text import without_secrets

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from hyperspec.report.load import SweepData
    from hyperspec.runs.planning.time import Need
    from hyperspec.tracking.run import JobRun

__all__ = ["ParentInfo", "SweepCallback", "find_parent"]

log = logging.getLogger(__name__)


class SweepCallback(Callback):
    """Open the parent run, close it with the sweep's outcome, and report.

    Configured as ``hydra.callbacks.sweep._target_``; it reads ``tracking`` and ``study`` of the
    composed config. MLflow is imported when a sweep starts, not before.

    Args:
        check: Raises a HyperspecError when a job's composed config is wrong; with it, all jobs
            are checked before the first one starts, and ``sweep.dry_run`` stops there.
        need: Says what a checked job writes to the disk.
        data: Opens the specimens of checked jobs; raises a HyperspecError when one is damaged.
    """

    def __init__(
        self,
        check: Check | None = None,
        need: Need | None = None,
        data: Callable[[Sequence[object]], None] | None = None,
    ) -> None:
        self._check, self._need, self._data = check, need, data
        self._run: JobRun | None = None
        self._sweep_dir = Path()
        self._old_handler: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel to workers without the parent run: it is the controller's."""
        return {**self.__dict__, "_run": None, "_old_handler": None}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check all jobs; create store, experiment and parent run; note them in the folder."""
        try:
            self._begin(config)
        except Exception as error:
            # Of a callback's error Hydra only warns; the jobs would run without their parent.
            log.exception("the sweep was not started")
            raise SystemExit(1) from error

    def _begin(self, config: DictConfig) -> None:
        kept, varied = keep_config(), list[str]()
        with _refusing():
            check_launcher(config)
            add_rotations(config)
            if self._check is not None:
                varied, checked, kept.jobs_checked = _announce(config, self._check, self._need)
                if self._data is not None:
                    with progress("Looking at the specimens"):
                        self._data(checked)
        from hyperspec.tracking.cleanup import catch_up
        from hyperspec.tracking.client import connect
        from hyperspec.tracking.run import start_run

        base = Path(config.hydra.runtime.cwd)
        self._sweep_dir = base / str(config.hydra.sweep.dir)
        space = _space(config)
        tracking, outbox = config.tracking, config.tracking.get("outbox")
        with _refusing(), progress("Opening the tracking store"):
            connection = connect(
                tracking.uri, tracking.experiment, base, outbox=outbox, offline=True
            )
            catch_up(connection)
            busy = check_busy(config, connection, command_line(config))
            self._sweep_dir = settle_folder(config, self._sweep_dir, space)
            write_files(kept.users_files(), self._sweep_dir)
        if busy is not None:
            print(busy, flush=True)
        study = str(config.get("study") or "sweep")
        name = f"{study} {time.strftime('%m-%d %H:%M:%S')}"  # the UI shows 18 characters
        command = command_line(config)  # with the folder that was settled on
        typed = f"cd {shlex.quote(str(base))}\n{command}"  # paths in it may be relative
        described = opening(config, study, typed, space)
        tags: dict[str, str] = {Tag.STUDY: study, Tag.COMMAND: command, Tag.NOTE: described}
        # Under names of their own: with the jobs' names the parent's lists of values would turn
        # the axes of MLflow's charts, which draw parents too, from numbers into words.
        params = {Param.SPACE.of(key): value for key, value in space.items()}
        params |= kept_margin(config)
        run = start_run(connection, name, kind="sweep", tags=tags, params=params)
        try:
            who = (host_name(), process_tag(), scheduler_job())
            where = (connection.uri, connection.experiment)
            note = ParentInfo(run.run_id, *where, study, name, *who, str(connection.outbox))
            write_parent(self._sweep_dir, note)
        except BaseException as error:
            run.fail(error)
            raise
        _save_view(run, config, varied)
        self._run = run
        self._old_handler = _exit_on_terminate()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close the parent, report, and leave with status 1 when a job failed."""
        if self._run is None:
            return
        run, self._run = self._run, None
        error = sys.exc_info()[1]
        try:
            with progress("Closing the sweep"):
                ending = close_sweep(run, error)
        except BaseException as late:
            run.fail(late)
            raise
        finally:
            if self._old_handler is not None:
                signal.signal(signal.SIGTERM, self._old_handler)
        if ending.data is None:
            print(f"\n{ending.text}\n  {self._report_command}", file=sys.stderr)
        elif ending.data.jobs.empty:
            pass
        elif not OmegaConf.select(config, "sweep.report", default=True):
            self._conclude(run, ending.data, _log_model(config), ())
            print(f"\nsweep.report=false: {self._report_command} writes the report.")
        else:
            verdict: tuple[str, ...] = ()
            try:
                log_wavelengths(run.connection, ending.data, config)
                verdict = self._report(run, ending.data)
            except Exception:
                log.exception("the report failed; try again with: hyperspec report %s", run.run_id)
                raise
            finally:
                self._conclude(run, ending.data, _log_model(config), verdict)
        if ending.data is not None and ending.text:  # below the table, which lacks these runs
            print(f"\n{ending.text}\n  {self._report_command}", file=sys.stderr)
        if error is None and (ending.failed or ending.held):
            # Some sweepers swallow failures; a sweep with a failed job must not look like success.
            raise SystemExit(1)

    @property
    def _report_command(self) -> str:
        return shlex.join(["hyperspec", "report", str(self._sweep_dir)])

    def _conclude(
        self, run: JobRun, data: SweepData, log_model: str, verdict: tuple[str, ...]
    ) -> None:
        """Log models, and put the outcome into the description; trouble is no failed sweep."""
        from mlflow.exceptions import MlflowException

        from hyperspec.sweeps.description import closing
        from hyperspec.sweeps.log_models import log_models

        connection = run.connection
        try:
            with progress("Logging models"):
                uri = log_models(connection, data, log_model)
            run_id = data.sweeps[0].run_id
            before = read_run(connection.client, run_id).tag(Tag.NOTE)
            text = closing(before, data, connection.experiment_id, uri, verdict)
            connection.client.set_tag(run_id, Tag.NOTE, text)
        except (HyperspecError, MlflowException, OSError) as error:
            log.warning("the sweep's model and description were not logged: %s", error)

    def _report(self, run: JobRun, data: SweepData) -> tuple[str, ...]:
        """Write, print and log the report; return the sentences of its verdict."""
        from hyperspec.report.output import print_report, write_report
        from hyperspec.tracking.retry import UnreachableError

        paths = write_report(data, self._sweep_dir / "report")
        print_report(data, paths)

        def send(client: MlflowClient) -> None:
            for path in paths.files:
                client.log_artifact(data.sweeps[0].run_id, str(path), Folder.REPORT)

        try:
            run.connection.ask(send)
        except UnreachableError as error:
            log.warning("the report is in %s, and not with its run: %s", self._sweep_dir, error)
        return paths.sentences


def _log_model(config: DictConfig) -> str:
    return str(OmegaConf.select(config, "tracking.log_model") or "none")


@contextmanager
def _refusing() -> Iterator[None]:
    """Say in a line why a sweep is not started, and leave with status 2."""
    try:
        yield
    except (HyperspecError, OSError) as error:
        text = in_words(error) if isinstance(error, OSError) else str(error)
        if text is None:
            raise
        print(f"\nerror: {text}", file=sys.stderr)
        raise SystemExit(2) from error


def _save_view(run: JobRun, config: DictConfig, varied: Sequence[str]) -> None:
    """Let the UI open on this sweep's table; a store that is away or refuses goes without."""
    from hyperspec.evaluation.metrics import main_accuracy, natural_direction
    from hyperspec.evaluation.objective import objective_names
    from hyperspec.tracking.retry import store_errors
    from hyperspec.tracking.saved_view import save_view

    connection, named = run.connection, OmegaConf.select(config, "objective")
    if connection.offline or named is None:
        return
    less = natural_direction(objective_names(named)[0]) == "minimize"
    score, objective = f"test/{main_accuracy().name}", as_text(bare(named))
    try:
        experiment = connection.known_experiment()
        with store_errors():
            connection.ask(
                lambda client: save_view(
                    client, experiment, varied, score, objective=objective, less=less
                )
            )
    except TrackingError as error:
        log.info("the UI's table was not saved: %s", error)


def _announce(
    config: DictConfig, check: Check, need: Need | None
) -> tuple[list[str], list[object], bool]:
    """Say what the sweep will run, and refuse it whole when a job cannot run.

    Returns the keys that it varies, the checked configs of jobs, and whether it is known of all
    jobs that they can be composed; after a dry run it leaves with status 0, or 1 when some will
    fail.
    """
    from hyperspec.runs.planning.time import predict

    checked: list[object] = []
    try:
        with progress("Checking all jobs"):
            plan = make_plan(config, lambda made: checked.append(check(made)))
    except (HydraException, HyperspecError) as error:
        raise HyperspecError(" ".join(str(error).split())) from error
    if plan.problems:
        raise HyperspecError(plan.complaint)
    if any(axis.key == Param.MARGIN and len(axis.words) > 1 for axis in plan.axes):
        raise HyperspecError(f"{Param.MARGIN} has several values; a sweep has one.")
    print(plan.text, flush=True)
    jobs = [one for one in checked if isinstance(one, Train)]
    with progress("Looking at the folder"):
        failing = look_first(jobs)
    for text in failing:
        print(f"warning: {text}", flush=True)
    told = dict.fromkeys(hint for one in jobs for hint in hints(one))
    for hint in told:
        print(f"hint: {hint}", flush=True)
    with progress("Looking for earlier runs and the size of the specimens"):
        cost = predict(config, checked, plan.num_jobs, need)
    print(cost, flush=True)
    if OmegaConf.select(config, "sweep.dry_run"):
        sound = "not every job is sound" if failing else "every job is sound"
        print(f"dry run: {sound}; none was started")
        raise SystemExit(1 if failing else 0)
    return [axis.key for axis in plan.varied], checked, plan.composable


def kept_margin(config: DictConfig) -> dict[str, str]:
    """Return the report's margin as a parameter of the sweep, which nobody can change later."""
    margin = OmegaConf.select(config, Param.MARGIN)
    return {} if margin is None else {Param.MARGIN: str(margin)}


def command_line(config: DictConfig) -> str:
    """Return the command that starts the same sweep again; passwords of addresses are left out."""
    own = [word for word in typed_words(config, "hydra") if not word.startswith("hydra.mode=")]
    told = map(without_secrets, [*typed_words(config), *own])
    return shlex.join(["hyperspec", "train", "-m", *config_words(config), *told])


def _space(config: DictConfig) -> dict[str, str]:
    """Return what the sweep varies: the sweeper's parameters and the command line's lists."""
    params = OmegaConf.select(config, "hydra.sweeper.params")
    space = {}
    if isinstance(params, Mapping | DictConfig):
        space = {str(key): str(value) for key, value in params.items()}
    for word in typed_words(config):
        key, _, value = word.partition("=")
        space[key.lstrip("+")] = value
    # MLflow refuses other characters in a parameter's name; `~group` deletes, and varies nothing.
    return {key: value for key, value in space.items() if re.fullmatch(r"[\w./ -]+", key)}


def _exit_on_terminate() -> Any:
    """Let SIGTERM unwind the controller, so that runs are closed; return the former handler."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        return signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: the host program handles its signals itself
        return None
