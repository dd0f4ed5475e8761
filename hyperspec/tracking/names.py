"""Names of metrics, tags and runs, the same in Lightning, MLflow, Optuna and reports."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TypeGuard

PARAM_LIMIT = 6000  # characters that MLflow keeps of one parameter's value
OBJECTIVE = "objective"

TAG_KIND = "hyperspec.kind"  # "sweep" on parents, "job" on the rest
TAG_STUDY = "hyperspec.study"
TAG_COMMAND = "hyperspec.command"
TAG_OVERRIDES = "hyperspec.overrides"
TAG_STRATEGY = "hyperspec.bands.strategy"
TAG_NUM_BANDS = "hyperspec.bands.n"
TAG_BANDS_HASH = "hyperspec.bands.hash"
# A tag: the compare page of MLflow draws each parameter that differs, readable or not.
TAG_WAVELENGTHS = "hyperspec.bands.wavelengths_nm"
TAG_SPLIT_HASH = "hyperspec.split.hash"
TAG_DATA_HASH = "hyperspec.data.hash"
TAG_NUM_CLASSES = "hyperspec.data.num_classes"
TAG_IDENTITY = "hyperspec.identity"
TAG_SETTINGS = "hyperspec.identity.settings"  # the same without what computes the job
TAG_RESULTS = "hyperspec.results"  # versions of the parts that computed it
TAG_REASON = "hyperspec.failure.reason"
TAG_RESUMED = "hyperspec.resumed_from"  # the run whose result a job took instead of training
TAG_CONTINUED = "hyperspec.continued_from"  # the interrupted run whose checkpoint it went on from
TAG_REQUEUED = "hyperspec.requeued"  # the job's process was killed; another run goes on with it
TAG_SECONDS = "hyperspec.seconds"  # how long the run whose result was taken had lasted
TAG_PRUNED = "hyperspec.pruned"  # epoch at which a search stopped the job
TAG_TRIAL = "hyperspec.search.trial"  # number of the trial of a search that the job is part of
TAG_OBJECTIVES = "hyperspec.objectives"  # names of several objectives, comma between them
TAG_MEMORY = "hyperspec.oom.micro_batch"  # micro-batch of the second try after out-of-memory
TAG_PARAMS_CHANGED = "hyperspec.params.changed"
TAG_LOCAL = "hyperspec.outbox"  # identity of the run's journal, which it has before a server's
TAG_HOST = "hyperspec.host"
TAG_PROCESS = "hyperspec.process"
TAG_DIRTY = "hyperspec.git.dirty"
TAG_COMMIT = "mlflow.source.git.commit"
TAG_PARENT = "mlflow.parentRunId"
TAG_NOTE = "mlflow.note.content"
TAG_DATA_CONTEXT = "mlflow.data.context"  # of a dataset: training, validation, test

SYSTEM = "system/"  # what names of system metrics begin with; the UI has a page for them
PREDICTIONS_ARTIFACT = "evaluation/test_predictions.csv"
CONTROLS_ARTIFACT = "evaluation/control_predictions.csv"
PARAM_MARGIN = "sweep.margin"  # of a parent: parameters cannot be changed afterwards, tags can
TRACEBACK_ARTIFACT = "error/traceback.txt"


def flatten(config: object, prefix: str = "") -> dict[str, str]:
    """Return a nested config as dotted names with plain text values.

    Args:
        config: Nested mappings, dataclasses and sequences of plain values. A sequence of plain
            values stays one parameter; a sequence of mappings gets numbered names.
        prefix: Name of ``config`` itself; empty at the top.

    Returns:
        Names such as ``bands.n`` with the text of their values; ``null`` for None, ``true`` and
        ``false`` for booleans, so that they read as they are typed on the command line.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    children: list[tuple[str, object]]
    if isinstance(config, Mapping):
        children = [(str(key), value) for key, value in config.items()]
    elif _is_sequence(config) and any(_is_nested(item) for item in config):
        children = [(str(i), item) for i, item in enumerate(config)]
    else:
        return {prefix: as_text(config)}
    flat: dict[str, str] = {}
    for key, value in children:
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else key))
    return flat


def as_text(value: object) -> str:
    """Return a plain value as it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if _is_sequence(value):
        return "[" + ",".join(as_text(item) for item in value) + "]"
    return str(value)


def run_name(
    strategy: str,
    n: int,
    temperature: float | None = None,
    lr: float | None = None,
    seed: int | None = None,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Return a readable name that sorts well, such as ``uniform n=050 t=0.10 lr=1e-3 seed=0``.

    Args:
        strategy: Name of the band strategy.
        n: Number of bands, 0 to 9999; padded to three digits so that text order is number order.
        temperature: Temperature of the loss; left out when the loss has none.
        lr: Learning rate.
        seed: Seed of the job.
        extra: Other settings that set the job apart, put before the seed.
    """
    parts = [strategy, f"n={n:03d}"]
    if temperature is not None:
        parts.append(f"t={_fixed(temperature)}")
    if lr is not None:
        parts.append(f"lr={_power(lr)}")
    parts += [f"{key}={value}" for key, value in (extra or {}).items()]
    if seed is not None:
        parts.append(f"seed={seed}")
    return " ".join(parts)


def _fixed(value: float) -> str:
    return f"{value:.2f}" if math.isclose(value, round(value, 2)) else f"{value:.4g}"


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) or dataclasses.is_dataclass(value)
