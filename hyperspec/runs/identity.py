"""When are two jobs the same job? A hash of everything that decides a result.

It covers the resolved config, the data, the split, the source of plug-ins, and the versions of the
parts that the job computes with (:mod:`hyperspec.utils.results_version`). The package's own source
counts only where somebody changed what it says since the golden numbers were written: see
:mod:`hyperspec.utils.source_tree`. So a release and a clean checkout of it know the same jobs.

Fields of the schema marked ``metadata={"identity": False}`` (paths, workers, logging) are left out;
those marked ``"unless default"`` count where they are set, so that jobs from before the field keep
their identity; fields marked ``metadata={"content": True}`` name a file and count by what is in it.
``metadata={"counts_as": {"auto": "*.bil"}}`` lets a new default count as the one before it, where
something else (here the hash of the data) tells results apart.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from omegaconf import DictConfig, OmegaConf

from hyperspec.bands import Learned
from hyperspec.config.groups import to_job
from hyperspec.config.plugins import sources
from hyperspec.config.schema import Train
from hyperspec.datasets.config import Data, TilesData
from hyperspec.losses.config import CombinedConfig
from hyperspec.models import OPTIONS
from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import MetricName, Tag
from hyperspec.tracking.names import flatten
from hyperspec.tracking.offline.journal import waiting_runs
from hyperspec.tracking.record import RunRecord, ended
from hyperspec.tracking.retry import UnreachableError
from hyperspec.transforms.config import CrossModalViews, ViewsConfig
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.results_version import RESULTS
from hyperspec.utils.source_tree import DIGITS, changed_source

log = logging.getLogger(__name__)
Objective = float | tuple[float, ...]
_SOURCE = "source"  # stands among the versions where the package's source counts
# Every job uses these, and is scored by those.
_ALWAYS = ("splits", "statistics", "head", "training", "views.spatial")
_SCORES = ("evaluation.probes", "evaluation.retrieval", "evaluation.shape", "evaluation.intervals")


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run of the same identity that ended well, with the metrics that are the objective."""

    run_id: str
    objective: Objective
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a job is: what it was asked for, and what computes it."""

    settings: str
    """Hash of config, data, split and plug-ins."""
    results: str
    """Versions of the parts that compute it, such as ``bands.uniform=1 losses.nt_xent=1``."""
    contents: str = ""
    """Hashes of what the settings count by its content, such as ``ckpt=3f2a...``, for a report:
    the same path may have held something else."""

    @property
    def hash(self) -> str:
        """The identity, 16 hex digits."""
        return _hash([self.settings, self.results])

    @property
    def tags(self) -> dict[str, str]:
        """What a run of the job is found by, and what explains why it was not."""
        found: dict[str, str] = {
            Tag.IDENTITY: self.hash,
            Tag.SETTINGS: self.settings,
            Tag.RESULTS: self.results,
        }
        return {**found, Tag.CONTENTS: self.contents} if self.contents else found


def identity(
    config: object,
    data_hash: str,
    split_hash: str,
    results: Mapping[str, int],
    *,
    plugins: Mapping[str, str] | None = None,
    source: str | None = None,
) -> Identity:
    """Return the identity of a job by its checked config, a dataclass of dataclasses.

    ``results`` are the versions of the parts that the job uses, ``plugins`` the hashes of the
    source of those that it loads, both by name. ``source`` is the hash of the package's source
    where it counts, empty where it does not; by default what
    :func:`hyperspec.utils.source_tree.changed_source` says.

    Raises:
        ConfigError: If the config holds something that has no stable text.
    """
    asked: list[object] = [canonical(config), data_hash, split_hash]
    if plugins:
        asked.append(dict(plugins))
    source = changed_source() if source is None else source
    said = [f"{part}={version}" for part, version in sorted(results.items())]
    read = {**dict(_contents(config)), **{f"plugins.{k}": v for k, v in (plugins or {}).items()}}
    return Identity(
        _hash(asked),
        " ".join([*said, *([f"{_SOURCE}={source}"] if source else [])]),
        " ".join(f"{key}={value[:DIGITS]}" for key, value in sorted(read.items())),
    )


def describe_jobs(configs: Sequence[DictConfig]) -> list[dict[str, str]]:
    """Return what decides the result of each job, all that its identity counts, by readable names.

    A search holds its study to that. Of another program's config nothing is known: it says nothing.

    Args:
        configs: Composed configs of jobs.

    Raises:
        HyperspecError: If one is wrong, or its specimens cannot be read.
    """
    opened: list[tuple[Data, dict[str, str]]] = []
    return [
        _describe(to_job(config), opened) if OmegaConf.get_type(config) is Train else {}
        for config in configs
    ]


def _describe(config: Train, opened: list[tuple[Data, dict[str, str]]]) -> dict[str, str]:
    """Describe one job; ``opened`` are the hashes of data that were read before."""
    from hyperspec.training.data import open_source, split_source  # torch takes seconds

    if (hashes := next((known for data, known in opened if data == config.data), None)) is None:
        source = open_source(config.data, quiet=True)  # the preflight spoke of it
        parts = split_source(source, config.data).hash
        hashes = {"hash of specimens and labels": source.hash, "hash of the split": parts}
        opened.append((config.data, hashes))
    settings = flatten(canonical(config)).items()
    said = {name.rstrip("."): value for name, value in settings if name} | hashes
    said |= {f"source of {name}": found for name, found in sources(config).items()}
    said |= {f"version of {part}": str(number) for part, number in parts_of(config).items()}
    return said | (
        {"hash of the package's source": changed} if (changed := changed_source()) else {}
    )


def _hash(parts: Sequence[object]) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=DIGITS // 2).hexdigest()


def canonical(value: object, place: str = "") -> object:
    """Return a config as plain JSON values, without the fields that decide nothing.

    Raises:
        ConfigError: If a value has no stable text; the message names its place.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept: dict[str, object] = {"": type(value).__qualname__}
        for field in dataclasses.fields(value):
            if field.metadata.get("identity", True) and not _is_quiet(field, value):
                inner, key = _counted(field, value), f"{place}.{field.name}".lstrip(".")
                by_content = field.metadata.get("content", False)
                kept[field.name] = _content(inner) if by_content else canonical(inner, key)
        return kept
    if isinstance(value, Mapping):
        return {str(key): canonical(inner, f"{place}.{key}") for key, inner in value.items()}
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        return [canonical(inner, f"{place}.{i}") for i, inner in enumerate(value)]
    raise ConfigError(
        f"{place or 'The config'} holds a {type(value).__name__}, which has no stable text, so "
        "that the job has no identity. Use plain values, or mark the field with "
        "metadata={'identity': False} if it decides nothing."
    )


def _is_quiet(field: dataclasses.Field[object], owner: object) -> bool:
    """Say whether a field that came later has the value that all jobs before it had."""
    if field.metadata.get("identity") != "unless default":
        return False
    made = field.default_factory
    default = field.default if made is dataclasses.MISSING else made()
    return bool(getattr(owner, field.name) == default)


def _counted(field: dataclasses.Field[object], owner: object) -> object:
    """Return a field's value, or the one that it counts as."""
    value = getattr(owner, field.name)
    same = field.metadata.get("counts_as")
    return value if same is None else same.get(value, value)


def _content(value: object) -> object:
    """Return the hash of the named file; a word that is no file (DEFAULT, null) as it is."""
    if not isinstance(value, str | PurePath) or not Path(value).is_file():
        return canonical(value)
    with Path(value).open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _contents(config: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield key and hash of each file that counts by what is in it."""
    if not dataclasses.is_dataclass(config):
        return
    for field in dataclasses.fields(config):
        value, key = getattr(config, field.name), f"{place}{field.name}"
        if not field.metadata.get("content", False):
            yield from _contents(value, f"{key}.")
        elif isinstance(value, str | PurePath) and Path(value).is_file():
            yield key, str(_content(value))


def find_finished(connection: Connection, wanted: str) -> Finished | None:
    """Return the newest finished run of an identity that has a finite objective, or None."""
    try:
        runs = connection.search(Tag.IDENTITY.equals(wanted), ended("FINISHED"))
    except UnreachableError as error:
        log.warning("whether the job was finished before is not known: %s", error)
        runs = []
    found = next(filter(None, map(_result, runs)), None)
    if found is not None:
        return found
    same = (connection.uri, connection.experiment, "FINISHED", wanted)
    waiting = (  # what the store does not have yet waits beside it
        run
        for run in reversed(waiting_runs(connection.outbox))
        if (run.uri, run.experiment, run.status, run.tag(Tag.IDENTITY)) == same
    )
    return next(filter(None, map(_result, waiting)), None)


def why_trained_again(connection: Connection, wanted: Identity) -> str | None:
    """Return why a job is trained although one of the same settings was finished, or None."""
    try:
        same = Tag.SETTINGS.equals(wanted.settings)
        runs = connection.search(same, ended("FINISHED"), limit=1)
    except UnreachableError:
        return None  # find_finished has said so
    for run in runs:
        said = (run.tag(Tag.RESULTS), wanted.results)
        before, now = (dict(word.split("=", 1) for word in one.split()) for one in said)
        changed = [part for part in sorted({*before, *now}) if before.get(part) != now.get(part)]
        if changed:
            reasons = [_reason(part, before.get(part), now.get(part)) for part in changed]
            return f"finished before as run {run.run_id}, but {', '.join(reasons)} since then"
    return None


def _reason(part: str, before: str | None, now: str | None) -> str:
    if part == _SOURCE:
        return "the package's source was changed"
    return f"'{part}' went from {before or 'none'} to {now or 'none'}"


def _result(run: RunRecord) -> Finished | None:
    """Return what a finished run reached, or None when that is not finite."""
    several = run.tag(Tag.OBJECTIVES)
    named: list[str] = several.split(",") if several else [MetricName.OBJECTIVE]
    values = tuple(float(run.metrics.get(name, math.nan)) for name in named)
    # MLflow keeps an infinity as the largest double.
    if not all(math.isfinite(value) and abs(value) < 1e300 for value in values):
        return None
    known = dict(zip(named, values, strict=True))
    return Finished(run.run_id, values if several else values[0], known)


def parts_of(config: Train) -> dict[str, int]:
    """Return the parts that a job uses with their versions, sorted by name.

    What a plug-in brings is not in the table; its source counts instead.
    """
    return {part: RESULTS[part] for part in sorted(set(_used(config))) if part in RESULTS}


def _used(config: Train) -> Iterator[str]:
    yield from (*_ALWAYS, *_SCORES)
    yield "preparation.tiles" if isinstance(config.data, TilesData) else "preparation.folder"
    if config.data.split.rotate is not None:
        yield "splits.rotation"
    if config.data.split.group is not None:
        yield "splits.groups"
    if config.data.confounders:
        yield "evaluation.confounders"
    yield f"normalisation.{config.data.normalisation}"
    yield f"bands.{config.bands.name}"
    yield f"stems.{config.model.stem}"
    yield from (f"backbones.{one}" for one, kind in OPTIONS.items() if type(config.model) is kind)
    yield f"losses.{config.loss.name}"
    if isinstance(config.loss, CombinedConfig):
        yield f"losses.{config.loss.global_loss.name}"
    yield from _views(config.views)
    yield from _training(config)
    yield from (f"evaluation.{name}" for name in config.evaluation.scored_by)
    if config.evaluation.control_names:
        yield "evaluation.controls"
    if config.evaluation.importance is True:
        yield "evaluation.importance"
    if config.evaluation.curve_strategies:
        yield "evaluation.curve"
        yield from (f"bands.{name}" for name in config.evaluation.curve_strategies)


def _views(views: ViewsConfig) -> Iterator[str]:
    if views.noise_sd > 0:
        yield "views.noise"
    widths = (views.shift_nm, views.smooth_fwhm_nm, views.erase_nm)
    if views.scales or max(*widths, views.drop_probability, views.mix_max) > 0:
        yield "views.spectral"
    if isinstance(views, CrossModalViews):
        yield "views.cross_modal"


def _training(config: Train) -> Iterator[str]:
    if config.hardware.micro_batch is not None:
        yield "training.micro_batch"
    if config.schedule:
        yield "training.schedule"
    if config.schedule or config.ckpt is not None or isinstance(config.bands, Learned):
        yield "training.growth"
    if config.model.sampling_minimum is not None:
        yield "training.band_sampling"
