"""Jobs of a sweep that are started, killed and started again; what they are asked for changes.

In place of training stands a chain of numbers, one link an epoch, made of the rate, the seed and
the specimens' values; a checkpoint holds the chain so far. A job that takes the result, or goes on
from the checkpoint, of anything but itself ends with another number. All else is as in a sweep:
packing, split, identity, claim, checkpoint files, journals, MLflow.
"""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hyperspec.config.compose import compose_words
from hyperspec.config.groups import to_train
from hyperspec.config.schema import Train
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.runs import experiment
from hyperspec.runs.experiment import Outcome, run_experiment
from hyperspec.runs.job_context import JobContext
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.tracking.cleanup import catch_up
from hyperspec.tracking.client import connect
from hyperspec.tracking.contract import MetricName, Tag
from hyperspec.tracking.parent import ParentInfo
from hyperspec.tracking.run import JobRun, start_run
from hyperspec.training.callbacks.checkpointing import KeepCheckpoints, origin
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.checkpoint_io import AtomicCheckpointIO
from hyperspec.training.context import RunContext
from hyperspec.utils.process import process_tag
from hyperspec.utils.results_version import RESULTS

AXIS = SpectralAxis.linear(400, 700, 4)
NAMES = [f"cube_{number}" for number in range(6)]
WORDS = [
    *("experiment=demo", "data.size=6", "data.mask=none", "data/labels=none", "bands.n=2"),
    *("evaluation.controls=false", "hardware.threads=1"),
    *("epochs=2", "warmup_steps=0"),
]
LOST = "killed"  # what a job's end is called here beside "ends" and "fails"
LEVEL = 0.02  # reflectance of a cube's step


class _Killed(BaseException):
    """The process is gone."""


class _PlannedError(RuntimeError):
    """The training failed."""


@dataclass
class Plan:
    """What is to become of the next training."""

    how: str = "ends"
    epoch: int = 0  # before which it fails or is killed
    began_at: int | None = None  # where it began; None when nothing was trained


@dataclass(frozen=True)
class Asked:
    """What decides a job's result."""

    seed: int
    lr: float
    epochs: int
    levels: tuple[int, ...]  # of the cubes, in the order of their names
    version: int

    def chain(self) -> list[float]:
        """Return the number after each epoch."""
        return chain(self.seed, self.lr, self.epochs, [LEVEL * one for one in self.levels])


def link(before: float, epoch: int, seed: int, lr: float, values: list[float]) -> float:
    """Return the number that follows another; all are between 0 and 1."""
    mixed = sum(value * (place + 2) for place, value in enumerate(values))
    return math.modf(before * 7.31 + 0.37 * epoch + 0.113 * seed + 91.7 * lr + mixed)[0]


def chain(seed: int, lr: float, epochs: int, values: list[float]) -> list[float]:
    """Return the numbers of all epochs."""
    found = [0.0]
    for epoch in range(epochs):
        found.append(link(found[-1], epoch, seed, lr, values))
    return found[1:]


class ResumeMachine(RuleBasedStateMachine):
    """A sweep of two seeds that is started again and again."""

    store: ClassVar[str | None] = None
    """Address of a store for all examples: making one takes a second."""
    number: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.data, self.cache = self.folder / "data", self.folder / "cache"
        if ResumeMachine.store is None:
            kept = tempfile.mkdtemp()
            atexit.register(shutil.rmtree, kept)
            ResumeMachine.store = f"sqlite:///{kept}/mlflow.db"
        ResumeMachine.number += 1
        self.connection = connect(ResumeMachine.store, f"resume-{ResumeMachine.number}")
        self.lr, self.epochs, self.version = 0.001, 2, 1
        self.levels = dict.fromkeys(NAMES, 1)
        self.done: set[Asked] = set()
        self.reached: dict[Asked, set[int]] = {}  # epochs of which checkpoints may be whole
        self.starts = self.moves = 0

    @initialize()
    def begin(self) -> None:
        """Six cubes."""
        for place, name in enumerate(NAMES):
            self.write(name, 3 + place)

    @rule(name=st.sampled_from(NAMES), level=st.integers(3, 40))
    def write(self, name: str, level: int) -> None:
        """Replace a cube by another of the same size."""
        self.levels[name] = level
        values = np.full((4, 6, 6), LEVEL * level)
        write_envi(self.data / f"{name}.bil", values, AXIS, dtype=np.float32)

    @rule()
    def change_rate(self) -> None:
        """Ask for another rate, or for the first one again."""
        self.lr = 0.002 if self.lr == 0.001 else 0.001

    @rule()
    def change_epochs(self) -> None:
        """Ask for more epochs, or for less again."""
        self.epochs = 5 - self.epochs

    @rule()
    def move_folder(self) -> None:
        """Rename the folder of the cubes."""
        self.moves += 1
        target = self.folder / f"moved-{self.moves}"
        self.data.rename(target)
        self.data = target

    @rule()
    def drop_cache(self) -> None:
        """Delete packed cubes and checkpoints."""
        shutil.rmtree(self.cache, ignore_errors=True)
        self.reached = {}

    @precondition(lambda self: self.checkpoints())
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """Flip a bit of a checkpoint: the one before it counts."""
        path = data.draw(st.sampled_from(self.checkpoints()))
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1
        path.write_bytes(content)
        self.reached = {
            asked: set(range(max(epochs) + 1)) for asked, epochs in self.reached.items()
        }

    @rule()
    def raise_version(self) -> None:
        """The loss computes other numbers from now on."""
        self.version += 1

    @precondition(lambda self: self.done)
    @rule()
    def delete_runs(self) -> None:
        """Somebody deletes all runs in the MLflow UI."""
        for run in self.connection.search():
            self.connection.client.delete_run(run.run_id)
        self.done = set()

    @rule(
        seeds=st.sampled_from([(0,), (0, 1)]), how=st.sampled_from(["ends", "fails", LOST, LOST]),
        at=st.integers(0, 2),
    )  # fmt: skip
    def start(self, seeds: tuple[int, ...], how: str, at: int) -> None:
        """Start the sweep; one of its jobs may fail or be killed, which ends the sweep."""
        self.starts += 1
        catch_up(self.connection)
        for place, seed in enumerate(seeds):
            last = place == len(seeds) - 1
            if self.run_one(seed, how if last else "ends", at):
                return

    def run_one(self, seed: int, how: str, at: int) -> bool:
        """Run a job as a sweep does; return whether it was killed."""
        levels = tuple(self.levels[name] for name in NAMES)
        asked = Asked(seed, self.lr, self.epochs, levels, self.version)
        plan = Plan(how, min(at, self.epochs - 1))
        objective, killed = math.nan, False
        with patched(plan, self.version), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = self.begin_run(how == LOST)
            try:
                objective = run_experiment(self.config(seed), run, self.context(str(seed)))
            except _Killed:
                leave(run)
                killed = True
            except _PlannedError as error:
                run.fail(error)
            else:
                run.finish()
        if asked in self.done:
            assert plan.began_at is None, "trained again"
        else:
            assert plan.began_at in self.reached.get(asked, {0}), "began elsewhere"
            self.note(asked, plan)
        assert (asked in self.done) == (objective == asked.chain()[-1])
        return killed

    def note(self, asked: Asked, plan: Plan) -> None:
        """Remember how far a training came."""
        assert plan.began_at is not None
        if plan.how == "ends" or plan.epoch < plan.began_at:
            self.done.add(asked)
            self.reached.pop(asked, None)
        else:
            self.reached[asked] = {plan.epoch}

    @invariant()
    def no_job_has_two_results(self) -> None:
        """One run of an identity was trained, others are its copies; no checkpoint outlives it."""
        assert len({path.parent for path in self.checkpoints()}) <= len(self.reached)
        if not self.starts:
            return
        trained: set[str] = set()
        for run in self.connection.search():
            if run.status == "FINISHED" and not run.has(Tag.RESUMED):
                assert run.tag(Tag.IDENTITY) not in trained
                trained.add(run.tag(Tag.IDENTITY))

    def teardown(self) -> None:
        """All runs that are done have the metrics of an unbroken one."""
        expected = {one.chain()[-1]: one.chain() for one in self.done}
        for run in self.connection.search():
            if run.status == "FINISHED":
                rows = self.connection.client.get_metric_history(run.run_id, "train/loss")
                found = [row.value for row in sorted(rows, key=lambda row: int(row.step))]
                assert found == expected.get(found[-1], found)
                assert [row.step for row in rows] == list(range(1, len(found) + 1))
        shutil.rmtree(self.folder)

    def checkpoints(self) -> list[Path]:
        """Return the files by which interrupted jobs go on."""
        return sorted(self.cache.glob("interrupted/*/*"))

    def config(self, seed: int) -> Train:
        """Return a job's checked config."""
        config = composed()
        data = replace(config.data, root=str(self.data), cache_dir=str(self.cache))
        return replace(config, data=data, seed=seed, lr=self.lr, epochs=self.epochs)

    def context(self, name: str) -> JobContext:
        """Return what a job knows of its sweep."""
        output = self.folder / f"sweep-{self.starts}" / name
        output.mkdir(parents=True)
        parent = ParentInfo("", self.connection.uri, self.connection.experiment, "study", "sweep")
        return JobContext(output, None, parent, (), {}, name)

    def begin_run(self, lost: bool) -> JobRun:
        """Begin a job's run; one that will be killed sends nothing, and its process is gone."""
        boot, namespace, _, _ = process_tag().split("/")
        gone = f"{boot}/{namespace}/{2**22 + 1}/1"
        with patch("hyperspec.tracking.run.process_tag", lambda: gone if lost else process_tag()):
            return start_run(self.connection, "job", flush_seconds=300.0 if lost else 0.05)


@cache
def composed() -> Train:
    """Return the config that all jobs share."""
    return to_train(compose_words([*WORDS, "data.root=nowhere"]))


def leave(run: JobRun) -> None:
    """Let go of a run as a kill does: what was not sent is in its journal."""
    background = run._background
    with background._changed:
        assert background._queue
        background._stop = True
        background._changed.notify_all()
    background._thread.join()


@contextmanager
def patched(plan: Plan, version: int) -> Iterator[None]:
    """Train as planned, with a version of the loss."""
    with (
        patch.object(experiment, "execute", training(plan)),
        patch.dict(RESULTS, {"losses.nt_xent": version}),  # type: ignore[arg-type]
    ):
        yield


def training(plan: Plan) -> Callable[[RunContext], Outcome]:
    """Return what stands in place of a training."""

    def execute(context: RunContext) -> Outcome:
        config, source, ckpt = context.config, context.data.source, context.session.ckpt
        (keep,) = (one for one in context.session.callbacks if isinstance(one, KeepCheckpoints))
        planes = np.asarray(source.planes(range(len(NAMES))), np.float64)
        values = [LEVEL * round(one.mean() / LEVEL) for one in planes]
        begun = 0 if ckpt is None else origin(ckpt)[1]
        number = 0.0 if ckpt is None else float(read_checkpoint(ckpt)["number"])
        plan.began_at = begun
        for epoch in range(begun, config.epochs):
            if plan.how != "ends" and plan.epoch == epoch:
                raise _Killed if plan.how == LOST else _PlannedError("planned")
            number = link(number, epoch, config.seed, config.lr, values)
            context.run.log_metrics({"train/loss": number}, epoch + 1)
            if epoch + 1 < config.epochs:
                keep.before()
                own = {"run_id": context.run.run_id}
                content = {"hyperspec": {}, "global_step": epoch + 1, "number": number}
                whole = {**content, "hyperspec_resume": own}
                AtomicCheckpointIO().save_checkpoint(whole, keep.slots.next())
        context.run.log_metrics({MetricName.OBJECTIVE: number}, config.epochs)
        return Outcome(number)

    return execute
