"""The top of the typed config: what a run is, and the checks that cross its groups.

Each option of a group is a dataclass beside its code (a strategy in :mod:`hyperspec.bands`, an
encoder in :mod:`hyperspec.models`, ...). :mod:`hyperspec.config.groups` registers them. Ranges are
checked in ``__post_init__``, which runs when a job turns its config into these objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hyperspec import bands
from hyperspec.bands import Binned, ChannelStrategy, CountedStrategy, Learned, Strategy
from hyperspec.config.hardware import Hardware
from hyperspec.config.sweep import SearchConfig, SweepConfig
from hyperspec.datasets.config import Data
from hyperspec.evaluation.config import Evaluation
from hyperspec.evaluation.objective import objective_names
from hyperspec.losses.config import CombinedConfig, LossConfig
from hyperspec.models.config import EncoderConfig, HeadConfig
from hyperspec.tracking.config import TrackingConfig
from hyperspec.transforms.config import CrossModalViews, ViewsConfig
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import ASIDE, MISSING, at_least

_EXAMPLE = "[{until_epoch: 50, bands: 20}, {until_epoch: 200, bands: 408}]"


@dataclass
class StageSpec:
    """One stage of a progressive training (config key ``schedule``)."""

    until_epoch: int
    """Epochs from the start of the run to the end of the stage, 1 at least."""
    bands: int
    """Number of bands in the stage, 1 at least."""


def check_schedule(stages: Sequence[StageSpec], epochs: int) -> None:
    """Check what can be said of the stages of a run, if it has any, before any data are read.

    Raises:
        ConfigError: If epochs or counts do not ascend, or the last stage does not end the run.
    """
    for number, stage in enumerate(stages):
        for key, value in (("until_epoch", stage.until_epoch), ("bands", stage.bands)):
            before = 0 if number == 0 else getattr(stages[number - 1], key)
            if value <= before:
                least = "1 at least" if number == 0 else f"above the {before} of the stage before"
                raise ConfigError(
                    f"schedule[{number}].{key} is {value}; give a whole number, {least}. Stages "
                    f"ascend in epochs and in bands, for example schedule={_EXAMPLE}."
                )
    if stages and stages[-1].until_epoch != epochs:
        raise ConfigError(
            f"schedule[{len(stages) - 1}].until_epoch is {stages[-1].until_epoch}, but epochs is "
            f"{epochs}: the last stage ends the run. Set both to the same number."
        )


PER_BAND = ("none", "minmax", "zscore")  # normalisations of one band at a time


@dataclass
class Train:
    """One run: from a folder of cubes to one score."""

    data: Data = MISSING
    """Where specimens are, how they are calibrated, normalised, split."""
    bands: Strategy = MISSING
    """Which bands reach the encoder."""
    model: EncoderConfig = MISSING
    """The encoder, and how bands enter it."""
    head: HeadConfig = field(default_factory=HeadConfig)
    loss: LossConfig = MISSING
    """What the views of a specimen are trained to."""
    views: ViewsConfig = MISSING
    """How views of a specimen are drawn."""
    hardware: Hardware = MISSING
    """What it computes on: device, precision, micro-batches."""
    tracking: TrackingConfig = field(default=MISSING, metadata=ASIDE)
    """Where runs are kept."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    sweep: SweepConfig = field(default_factory=SweepConfig, metadata=ASIDE)
    study: str = field(default="adhoc", metadata=ASIDE)
    """Name under which runs are grouped in MLflow."""
    search: SearchConfig = field(default_factory=SearchConfig, metadata=ASIDE)
    objective: Any = "auto"
    """Metric that a sweep or search optimises, or a list of several; `auto` is val/knn_top1 with
    labels."""
    batch_size: int = 64
    """The contrastive batch: specimen images per step, at least 2; all others of the batch are
    negatives. What lies in memory at once is hardware.micro_batch."""
    epochs: int = 200
    """Passes over the training part."""
    schedule: list[StageSpec] = field(default_factory=list)
    """Stages of a progressive training, such as [{until_epoch: 50, bands: 20}, ...]: cumulative
    epochs, nested sets of bands, the last stage on all chosen ones. Empty: all bands from the
    start."""
    lr: float = 5e-4
    """Peak learning rate of AdamW."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    warmup_steps: int | None = None
    """Optimizer steps of linear warm-up before the cosine decay; null takes a tenth of the run, at
    most 10."""
    clip_norm: float | None = None
    """Largest gradient norm; null does not clip."""
    seed: int = 0
    """Seed of weights, shuffles and views."""
    ckpt: str | None = field(default=None, metadata={"content": True})
    """Checkpoint to continue from."""
    log_every_n_steps: int = field(default=10, metadata=ASIDE)
    """Steps between logged values."""
    plugins: list[str] = field(default_factory=list, metadata=ASIDE)
    """Modules of yours that are imported first, because they register options; their source counts
    in place of their names. docs/extending.md"""

    def __post_init__(self) -> None:
        objective_names(self.objective)
        at_least("epochs", self.epochs, 1)
        at_least("seed", self.seed, 0)
        at_least("log_every_n_steps", self.log_every_n_steps, 1)
        if self.batch_size < 2:
            raise ConfigError(
                f"batch_size is {self.batch_size}, but contrastive learning compares the images "
                "of a batch with each other: a batch of one has no negatives and no gradient. "
                "Give at least 2; for little memory keep batch_size and set "
                "hardware.micro_batch=1."
            )
        devices = int(self.hardware.devices)
        if devices > 0 and self.batch_size % devices:
            raise ConfigError(
                f"batch_size is {self.batch_size}, which hardware.devices={devices} cannot share "
                f"equally; it counts the images of all devices together. Set batch_size="
                f"{max(round(self.batch_size / devices), 1) * devices}, or another "
                "hardware.devices."
            )
        check_schedule(self.schedule, self.epochs)
        if self.schedule and isinstance(self.bands, Learned | ChannelStrategy):
            raise ConfigError(
                f"schedule has {len(self.schedule)} stages, but bands={self.bands.name} chooses no "
                "set of single bands beforehand that could be thinned. Take another strategy, or "
                "schedule=[]."
            )
        _check_curve(self)
        if self.model.sampling_minimum and self.data.normalisation not in PER_BAND:
            raise ConfigError(
                f"model.sampling_minimum is {self.model.sampling_minimum}, but "
                f"data.normalisation={self.data.normalisation} reads all bands of a pixel, those "
                f"outside of a step's sample too. Take {', '.join(PER_BAND)}."
            )
        check_cross_modal(self)
        if isinstance(self.bands, Learned):
            self.bands.search_epochs(self.epochs)  # raises when there are too few
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"clip_norm is {self.clip_norm}; give a norm above 0, or null.")
        micro = self.hardware.micro_batch
        if micro is not None and micro > self.batch_size:
            raise ConfigError(
                f"hardware.micro_batch is {micro}, above batch_size={self.batch_size}; it is a "
                "part of the batch. Lower it, or set it to null."
            )


def _check_curve(config: Train) -> None:
    """Refuse strategies in `evaluation.curve_strategies` that one encoder cannot be scored on."""
    counted = [name for name, kind in bands.STRATEGIES.items() if issubclass(kind, CountedStrategy)]
    for name in config.evaluation.curve_strategies:
        if name not in counted:
            raise ConfigError(
                f"evaluation.curve_strategies holds '{name}', which chooses no given number of "
                f"bands. Choose among {', '.join(counted)}."
            )
    if config.evaluation.curve_strategies and config.model.stem != "wavelength":
        raise ConfigError(
            f"evaluation.curve_strategies is {config.evaluation.curve_strategies}, but the "
            f"weights of model.stem={config.model.stem} belong to its own bands. Set "
            "model.stem=wavelength, or evaluation.curve_strategies=[]."
        )
    if config.evaluation.curve_strategies and isinstance(config.bands, ChannelStrategy):
        raise ConfigError(
            f"evaluation.curve_strategies is {config.evaluation.curve_strategies}, but the "
            f"channels of bands={config.bands.name} are sums of bands. Take bands=full, or "
            "evaluation.curve_strategies=[]."
        )


def hints(config: Train) -> list[str]:
    """List in one line each which values lie outside the ranges that are known to work.

    Source: the mission's own runs for the ranges of lr, temperature and epochs.
    """
    found = []
    if not 1e-4 <= config.lr <= 1e-3:
        found.append(
            f"lr={config.lr:g} is outside 1e-4 to 1e-3: above, contrastive losses tend to "
            "collapse early; below, they barely move within the usual number of epochs."
        )
    temperature = getattr(config.loss, "temperature", None)
    if temperature is not None and not 0.05 <= temperature <= 0.2:
        found.append(
            f"loss.temperature={temperature:g} is outside 0.05 to 0.2: lower lets the single "
            "hardest negative rule the gradient, higher weighs easy negatives like hard ones."
        )
    if not 200 <= config.epochs <= 500 and config.study != "demo":  # of synthetic specimens
        found.append(
            f"epochs={config.epochs} is outside 200 to 500, the range for real specimens: fewer "
            "leave the encoder near its start, more add little (synthetic specimens need less)."
        )
    if config.evaluation.resamples != Evaluation.resamples:
        found.append(
            f"evaluation.resamples={config.evaluation.resamples} has no effect any more: intervals "
            "come from components of variance, nothing is resampled. Leave it out."
        )
    return found


def check_cross_modal(config: Train) -> None:
    """Refuse what cannot be combined with ``views=cross_modal``; do nothing with other views.

    Raises:
        ConfigError: If something else of the config contradicts it.
    """
    views, bands, loss = config.views, config.bands, config.loss
    if not isinstance(views, CrossModalViews):
        return
    problem = ""
    if isinstance(bands, Learned) or (
        isinstance(bands, ChannelStrategy) and not isinstance(bands, Binned)
    ):
        problem = f"bands={bands.name} has no bands beforehand that would lie in a window of nm"
    elif config.schedule:
        problem = "schedule grows one encoder of all bands, not one of windows"
    elif config.evaluation.curve_strategies:
        problem = "evaluation.curve_strategies takes one encoder to other bands, not one of windows"
    elif isinstance(loss, CombinedConfig):
        problem = "loss=combined compares places in the image, not windows; take its global term"
    elif getattr(loss, "queue_size", 0):
        problem = "loss.queue_size would mix the embeddings of different windows; set it to 0"
    elif getattr(config.model, "sampling_minimum", None) is not None:
        problem = "model.sampling_minimum may leave a window without a band; set it to null"
    elif views.fusion != "towers" and config.model.stem != "wavelength":
        problem = (
            f"views.fusion={views.fusion} lets all windows share one encoder, whose weights must "
            f"fit any bands: set model.stem=wavelength instead of {config.model.stem}, or "
            "views.fusion=towers"
        )
    if problem:
        raise ConfigError(f"views=cross_modal does not go with this config: {problem}.")
