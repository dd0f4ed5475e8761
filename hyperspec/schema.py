"""The top of the typed config: what a run is, and the checks that cross its groups.

Each option of a group is a dataclass beside its code (a strategy in :mod:`hyperspec.bands`, an
encoder in :mod:`hyperspec.models`, ...). This module puts them together and registers them, so that
Hydra refuses a misspelt key or a wrong type when it composes. Ranges are checked in
``__post_init__``, which runs when a job turns its config into these objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from hyperspec import bands
from hyperspec.bands import CountedStrategy, Learned, ProjectionStrategy, Strategy
from hyperspec.cross_modal import check_cross_modal
from hyperspec.cubes.labels import CsvLabels, FolderLabels, NoLabels, PatternLabels
from hyperspec.data.views_config import CrossModalViews, ViewsConfig
from hyperspec.evaluation.objective import objective_names
from hyperspec.losses.config import (
    CombinedConfig,
    DclConfig,
    LossConfig,
    NtXentConfig,
    VicRegConfig,
)
from hyperspec.models.config import (
    ConvNextConfig,
    EncoderConfig,
    HeadConfig,
    ResNetConfig,
    TinyConfig,
    VitConfig,
)
from hyperspec.spectra.errors import ConfigError
from hyperspec.sweeps.config import SearchConfig, SweepConfig
from hyperspec.tracking.config import TrackingConfig
from hyperspec.training.schedule import StageSpec, check_schedule

# Fields that decide no result: two jobs that differ in them alone are the same job.
_ASIDE = {"identity": False}
_COUNTED = [name for name, kind in bands.STRATEGIES.items() if issubclass(kind, CountedStrategy)]
PER_BAND = ("none", "minmax", "zscore")  # normalisations of one band at a time


@dataclass
class AxisSpec:
    """The sensor's axis, for headers without wavelengths: evenly spaced, both ends included."""

    start_nm: float = MISSING
    """Centre of the first band in nanometres."""
    stop_nm: float = MISSING
    """Centre of the last band in nanometres."""
    count: int = MISSING
    """Number of bands; must match the cubes."""


@dataclass
class SplitSpec:
    """Shares of the specimens in the three parts; they sum to 1."""

    fractions: list[float] = field(default_factory=lambda: [0.5, 0.25, 0.25])
    """Train (the encoder, statistics and probes see nothing else), validation (what searches,
    pruning and early stopping look at) and test (what is reported); they sum to 1."""
    seed: int = 0
    """Seed of the assignment; apart from the run's `seed`, so that seeds share a split."""
    hold_out: list[str] = field(default_factory=list)
    """Labels, or genera (first word of a label), in no part: neither encoder, statistics nor probes
    see them. They are scored as `held_out/...`, beside the test part."""


@dataclass
class Data:
    """Where the specimens come from and how they are prepared."""

    root: str = field(default=MISSING, metadata=_ASIDE)
    """Folder of the cubes."""
    pattern: str = "*.bil"
    """Which files are cubes, as a glob below the root; `*/` takes folders with one raster per
    band."""
    axis: AxisSpec | None = None
    """The sensor's axis, for headers that have no wavelengths."""
    calibrate: str = "auto"
    """`auto` uses white and dark frames when the folder has them; `none` reads values as they
    are."""
    white: str | None = None
    """File of the white frame below the root; null looks for one named white*."""
    dark: str | None = None
    """File of the dark frame below the root; null looks for one named dark*."""
    white_reflectance: float = 1.0
    """Reflectance of the white target, above 0."""
    mask: str = "auto"
    """Foreground: `auto`, `image`, `otsu` or `none`."""
    normalisation: str = "zscore"
    """`none`, `minmax`, `zscore`, `snv`, `l2`, `derivative` or `continuum`, fitted on the training
    part."""
    store: str = "auto"
    """`auto` packs the prepared specimens once and reads planes from there; `none` prepares them
    in memory for each run."""
    cache_dir: str = field(default=".hyperspec", metadata=_ASIDE)
    """Folder of packed specimens and statistics."""
    verify: bool = False
    """Read all packed specimens and compare them with their checksums before a run; sizes are
    always compared. Damaged ones are packed again."""
    residency: str = field(default="auto", metadata=_ASIDE)
    """Where the chosen planes live while training: `auto`, `device`, `pinned` or `mmap`."""
    memory_share: float = field(default=0.5, metadata=_ASIDE)
    """Share of the free memory that the planes may take before `auto` turns to `mmap`."""
    split: SplitSpec = field(default_factory=SplitSpec)


@dataclass
class FolderData(Data):
    """A folder with one specimen image per cube."""

    labels: Any = MISSING
    """Where labels come from: `csv`, `pattern`, `folder` or `none`."""
    size: int = 64
    """Side of the prepared images in pixels."""
    crop_margin: float = 0.05
    """Margin around the specimen, as a share of its longer side."""


@dataclass
class TilesData(Data):
    """Windows of one or several scenes, without labels."""

    tile: int = 32
    """Side of a window in pixels."""
    stride: int = 16
    """Step between windows in pixels."""


@dataclass
class Hardware:
    """What the run computes on. Nothing here changes what is learned, up to rounding."""

    accelerator: str = "auto"
    """`cpu`, `gpu` or `auto`."""
    devices: int | str = 1
    """Number of devices, or `all` (-1) for every GPU. Above 1 each step's batch is shared out
    (DDP): batch_size stays that of all devices together."""
    strategy: str = field(default="auto", metadata=_ASIDE)
    """How several devices train together: `ddp`; `auto` is the same."""
    precision: str = "32-true"
    """Lightning's precision: `32-true`, `bf16-mixed`, `16-mixed`, ..."""
    threads: int | None = None
    """CPU threads of torch; null leaves torch's own choice."""
    num_workers: int = field(default=0, metadata=_ASIDE)
    """Reading processes, used with data.residency=mmap."""
    pin_memory: bool = field(default=False, metadata=_ASIDE)
    """Pin batches in host memory before they go to a GPU."""
    persistent_workers: bool = field(default=False, metadata=_ASIDE)
    """Keep reading processes over epochs."""
    prefetch_factor: int | None = field(default=None, metadata=_ASIDE)
    """Batches read ahead per reading process; null leaves torch's own choice."""
    compile: bool = False
    """Compile the backbone."""
    jobs_per_device: int = field(default=1, metadata=_ASIDE)
    """Jobs of a sweep that share a GPU, or the CPU, at once; with hydra/launcher=joblib and its
    like. A sweep whose jobs are predicted not to fit together is refused."""
    plan: bool = field(default=False, metadata=_ASIDE)
    """Predict peak memory and FLOP of a step at the start of a run, and log them beside what is
    measured; 0.2 to 1.5 s for each new shape. `hyperspec plan` tells the same without a run."""
    accumulate: int = 1
    """Batches whose gradients are summed before a step. Adds no negatives; see micro_batch."""
    micro_batch: int | None = None
    """Specimens whose graph exists at once; the gradient is that of the whole batch (GradCache)."""
    check_micro_batch: bool = field(default=False, metadata=_ASIDE)
    """Measure on the first batch how far micro-batches change the gradient, and log it as
    `train/cached_gradient_error`; needs the whole batch's memory once."""
    checkpointing: bool = False
    """Recompute the backbone's stages in the backward pass instead of keeping them."""

    def __post_init__(self) -> None:
        if self.devices in ("all", "-1"):
            self.devices = -1
        if not isinstance(self.devices, int) or (self.devices < 1 and self.devices != -1):
            raise ConfigError(
                f"hardware.devices is {self.devices}; give a whole number of at least 1, or all "
                "for every GPU."
            )
        if self.devices == -1 and self.accelerator == "cpu":
            raise ConfigError(
                "hardware.devices is all, but hardware.accelerator is cpu, which has no number of "
                "devices. Give a number of processes, such as 2."
            )
        if self.strategy not in ("auto", "ddp"):
            raise ConfigError(f"hardware.strategy is '{self.strategy}'; choose ddp or auto.")
        for name, least in (("num_workers", 0), ("accumulate", 1), ("jobs_per_device", 1)):
            _at_least(f"hardware.{name}", getattr(self, name), least)
        for name in ("threads", "micro_batch", "prefetch_factor"):
            if getattr(self, name) is not None:
                _at_least(f"hardware.{name}", getattr(self, name), 1)
        if self.check_micro_batch and self.micro_batch is None:
            raise ConfigError(
                "hardware.check_micro_batch is true, but hardware.micro_batch is null: there is "
                "nothing to measure. Set hardware.micro_batch, or leave the check out."
            )
        if self.accelerator not in ("cpu", "gpu", "auto"):
            raise ConfigError(
                f"hardware.accelerator is '{self.accelerator}'; choose cpu, gpu or auto."
            )


@dataclass
class Evaluation:
    """How frozen features of held-out specimens are scored."""

    k: int = 5
    """Neighbours of the k-NN probe."""
    linear: bool = True
    """Fit the linear probe too."""
    controls: bool = True
    """Score the untrained encoder and the mean spectrum beside the trained encoder."""
    resamples: int = 2000
    """Bootstrap resamples of specimens for the 95% intervals."""
    every_n_epochs: int = 0
    """Epochs between scores on the validation part while training; 0 scores at the end only."""
    importance: bool = False
    """Measure at the end which wavelengths the encoder leans on: windows of the test part are
    replaced by the training mean; a table and a picture are kept with the run."""
    importance_window_nm: float = 20.0
    """Width of those windows in nanometres."""
    curve_strategies: list[str] = field(default_factory=list)
    """With model.stem=wavelength: strategies that choose sets of bands on which the one trained
    encoder is scored at the end; empty for none."""
    curve_counts: list[int] = field(default_factory=lambda: [10, 20, 50, 100, 200, 408])
    """Sizes of those sets."""

    def __post_init__(self) -> None:
        _at_least("evaluation.k", self.k, 1)
        for count in self.curve_counts or [0]:
            _at_least("evaluation.curve_counts", count, 1)
        for name in self.curve_strategies:
            if name not in _COUNTED:
                raise ConfigError(
                    f"evaluation.curve_strategies holds '{name}', which chooses no given number of "
                    f"bands. Choose among {', '.join(_COUNTED)}."
                )
        _at_least("evaluation.resamples", self.resamples, 100)
        _at_least("evaluation.every_n_epochs", self.every_n_epochs, 0)
        if not 0 < self.importance_window_nm < float("inf"):
            raise ConfigError(
                f"evaluation.importance_window_nm is {self.importance_window_nm:g}; give a width "
                "in nanometres above 0, for example 20."
            )


@dataclass
class Train:
    """One run: from a folder of cubes to one score."""

    data: Data = MISSING
    bands: Strategy = MISSING
    model: EncoderConfig = MISSING
    head: HeadConfig = field(default_factory=HeadConfig)
    loss: LossConfig = MISSING
    views: ViewsConfig = MISSING
    hardware: Hardware = MISSING
    tracking: TrackingConfig = field(default=MISSING, metadata=_ASIDE)
    evaluation: Evaluation = field(default_factory=Evaluation)
    sweep: SweepConfig = field(default_factory=SweepConfig, metadata=_ASIDE)
    study: str = field(default="adhoc", metadata=_ASIDE)
    """Name under which runs are grouped in MLflow."""
    search: SearchConfig = field(default_factory=SearchConfig, metadata=_ASIDE)
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
    log_every_n_steps: int = field(default=10, metadata=_ASIDE)
    """Steps between logged values."""

    def __post_init__(self) -> None:
        objective_names(self.objective)
        _at_least("epochs", self.epochs, 1)
        _at_least("seed", self.seed, 0)
        _at_least("log_every_n_steps", self.log_every_n_steps, 1)
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
        if self.schedule and isinstance(self.bands, Learned | ProjectionStrategy):
            raise ConfigError(
                f"schedule has {len(self.schedule)} stages, but bands={self.bands.name} chooses no "
                "set of single bands beforehand that could be thinned. Take another strategy, or "
                "schedule=[]."
            )
        if self.evaluation.curve_strategies and self.model.stem != "wavelength":
            raise ConfigError(
                f"evaluation.curve_strategies is {self.evaluation.curve_strategies}, but the "
                f"weights of model.stem={self.model.stem} belong to its own bands. Set "
                "model.stem=wavelength, or evaluation.curve_strategies=[]."
            )
        if self.evaluation.curve_strategies and isinstance(self.bands, ProjectionStrategy):
            raise ConfigError(
                f"evaluation.curve_strategies is {self.evaluation.curve_strategies}, but the "
                f"channels of bands={self.bands.name} are sums of bands. Take bands=full, or "
                "evaluation.curve_strategies=[]."
            )
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
    if not 200 <= config.epochs <= 500:
        found.append(
            f"epochs={config.epochs} is outside 200 to 500, the range for real specimens: fewer "
            "leave the encoder near its start, more add little (synthetic specimens need less)."
        )
    return found


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{key} is {value}; give a whole number of at least {least}.")


_OPTIONS: dict[str, dict[str, type]] = {
    "data": {"folder": FolderData, "tiles": TilesData},
    "data/labels": {
        "csv": CsvLabels,
        "pattern": PatternLabels,
        "folder": FolderLabels,
        "none": NoLabels,
    },
    "bands": bands.OPTIONS,
    "model": {
        "tiny": TinyConfig,
        "resnet": ResNetConfig,
        "convnext": ConvNextConfig,
        "vit": VitConfig,
    },
    "loss": {
        "nt_xent": NtXentConfig,
        "dcl": DclConfig,
        "vicreg": VicRegConfig,
        "combined": CombinedConfig,
    },
    "views": {"views": ViewsConfig, "cross_modal": CrossModalViews},
    "hardware": {"hardware": Hardware},
    "tracking": {"tracking": TrackingConfig},
}


def register() -> None:
    """Put the schema into Hydra's config store; doing it again changes nothing."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=Train, replace=True)
    for group, options in _OPTIONS.items():
        for name, node in options.items():
            store.store(group=f"schema/{group}", name=name, node=node, replace=True)


def to_train(config: DictConfig) -> Train:
    """Turn a composed config into checked objects.

    Raises:
        ConfigError: If a value is outside its range, missing, or contradicts another.
    """
    missing = OmegaConf.missing_keys(config)
    if missing:
        keys = ", ".join(sorted(missing))
        raise ConfigError(
            f"The config has no value for {keys}; give it on the command line, for example "
            f"{sorted(missing)[0]}=..."
        )
    made = OmegaConf.to_object(config)
    if not isinstance(made, Train):
        raise ConfigError("The config is not of the schema 'schema/train'; see conf/train.yaml.")
    return made


def to_plain(config: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain dicts and lists."""
    plain = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    if not isinstance(plain, dict):
        raise ConfigError("The config is not a mapping; see conf/train.yaml.")
    return {str(key): value for key, value in plain.items()}
