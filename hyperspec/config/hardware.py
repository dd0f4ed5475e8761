"""Options of the machine that a run computes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import ASIDE, at_least, one_of


@dataclass
class Hardware:
    """What the run computes on. Nothing here changes what is learned, up to rounding."""

    accelerator: str = "auto"
    """`cpu`, `gpu` (CUDA, or MPS on a Mac), or `auto`: what there is."""
    devices: int | str = 1
    """Number of devices, or `all` (-1) for every GPU. Above 1 each step's batch is shared out
    (DDP): batch_size stays that of all devices together."""
    strategy: str = field(default="auto", metadata=ASIDE)
    """How several devices train together: `ddp`; `auto` is the same."""
    precision: str = "32-true"
    """Lightning's precision: `32-true`, `bf16-mixed`, `16-mixed`, ..."""
    threads: int | None = None
    """CPU threads of torch; null leaves torch's own choice."""
    read_threads: int = field(default=2, metadata=ASIDE)
    """Threads that read batches ahead with data.residency=mmap; 0 reads when the step asks."""
    num_workers: int = field(default=0, metadata=ASIDE)
    """Processes that read in place of the threads; slower, as each batch has to change hands."""
    pin_memory: bool = field(default=False, metadata=ASIDE)
    """Read batches into pinned memory, from which a GPU fetches them beside its work."""
    persistent_workers: bool = field(default=False, metadata=ASIDE)
    """Keep reading processes over epochs."""
    prefetch_factor: int | None = field(default=None, metadata=ASIDE)
    """Batches read ahead per thread or process; null reads one ahead per thread, two per
    process."""
    compile: bool = False
    """Compile the backbone."""
    jobs_per_device: int = field(default=1, metadata=ASIDE)
    """Jobs of a sweep that share a GPU, or the CPU, at once; with hydra/launcher=joblib and its
    like. A sweep whose jobs are predicted not to fit together is refused."""
    plan: bool = field(default=False, metadata=ASIDE)
    """Predict peak memory and FLOP of a step at the start of a run, and log them beside what is
    measured; a second or two for each new shape of a small model, minutes for a large one in many
    micro-batches. `hyperspec plan` tells the same without a run."""
    accumulate: int = 1
    """Batches whose gradients are summed before a step. Adds no negatives; see micro_batch."""
    micro_batch: int | None = None
    """Specimens whose graph exists at once; the gradient is that of the whole batch (GradCache)."""
    check_micro_batch: bool = field(default=False, metadata=ASIDE)
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
        one_of("hardware.strategy", self.strategy, ("ddp", "auto"))
        for name in ("read_threads", "num_workers"):
            at_least(f"hardware.{name}", getattr(self, name), 0)
        for name in ("accumulate", "jobs_per_device"):
            at_least(f"hardware.{name}", getattr(self, name), 1)
        for name in ("threads", "micro_batch", "prefetch_factor"):
            if getattr(self, name) is not None:
                at_least(f"hardware.{name}", getattr(self, name), 1)
        if self.check_micro_batch and self.micro_batch is None:
            raise ConfigError(
                "hardware.check_micro_batch is true, but hardware.micro_batch is null: there is "
                "nothing to measure. Set hardware.micro_batch, or leave the check out."
            )
        one_of("hardware.accelerator", self.accelerator, ("cpu", "gpu", "auto"))
