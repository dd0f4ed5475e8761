"""Does a config fit its device: the plan of its step, the memory there is, and what to change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import psutil
import torch

from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import choose_residency, predicted_bytes
from hyperspec.losses.grad_cache import check_batch_independent
from hyperspec.runs.planning.dummy_data import Folder, build, look, stand_in
from hyperspec.runs.planning.step_memory import (
    Context,
    Plan,
    StepSettings,
    plan_step,
    settings_of,
    step_context,
)
from hyperspec.training.devices import choose_device
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.errors import ConfigError

_USED = 0.9  # share of the free memory that a run may take
_LARGEST = 4096  # specimens of a micro-batch that are thought of


@dataclass(frozen=True)
class Forecast:
    """The plan of a config's step and what there is: bytes, and the kind of the device.

    ``process`` has the bytes of Python and libraries, 0 on a GPU. ``exact`` says whether the model
    can be trained in micro-batches; the largest that fits is None where it cannot, or where none
    fits.
    """

    config: Train
    plan: Plan
    free: int
    process: int
    device: str
    folder: Folder
    largest_micro_batch: int | None
    exact: bool

    @property
    def total(self) -> int:
        """Predicted peak, bytes."""
        return self.plan.total + self.process

    @property
    def fits(self) -> bool:
        """Whether it stays within nine tenths of the free memory."""
        return self.plan.total <= _USED * self.free

    def lines(self) -> list[str]:
        """Return in words whether it fits, and what to change."""
        known = f"{self.folder.num_images} images in {self.config.data.root}"
        if not self.folder.num_images:
            known = "no specimens there: planes are not counted"
        verdict = "it fits" if self.fits else "it does not fit"
        found = [f"{self.device}: {self.free / 1e6:.0f} MB free, {verdict} ({known})"]
        if not self.fits:
            found += [f"change: {line}" for line in self.advice()]
        if self.largest_micro_batch is not None:
            found.append(f"largest hardware.micro_batch that fits: {self.largest_micro_batch}")
        elif self.exact:
            found.append("not even hardware.micro_batch=1 fits")
        return found

    def advice(self) -> list[str]:
        """Name the settings to change, the one that helps most first."""
        plan, hardware, found = self.plan, self.config.hardware, []
        if plan.planes > max(plan.activations, plan.parameters):
            found.append("data.residency=mmap reads planes from the disk batch by batch")
        if self.largest_micro_batch is not None:
            found.append(
                f"hardware.micro_batch={self.largest_micro_batch} (the same gradient of the whole "
                "batch, one more forward pass)"
            )
        elif not self.exact:
            found.append(
                "model.norm=group, or a model without BatchNorm, which allows hardware.micro_batch"
            )
        if not hardware.checkpointing:
            found.append("hardware.checkpointing=true recomputes stages instead of keeping them")
        if hardware.precision.startswith("32"):
            found.append("hardware.precision=bf16-mixed halves most of what the step keeps")
        if plan.parameters + plan.gradients + plan.optimizer > _USED * self.free:
            found.append("a smaller model: weights, gradients and optimizer alone do not fit")
        return found or ["a smaller data.size, or fewer bands"]


def forecast(config: Train) -> Forecast:
    """Predict a config's memory and work without its data.

    Raises:
        HyperspecError: If the config cannot be built.
    """
    folder, device = look(config.data), choose_device(config.hardware)
    material = stand_in(config, folder.axis)
    module, itemsize = build(config, material, torch.device("cpu")), material.source.dtype.itemsize
    settings = settings_of(config, folder.num_images)
    if folder.num_images:
        size, bands = module.views.source_size, len(module.views.wavelengths_nm)
        planes = predicted_bytes(folder.num_images, bands, size, itemsize)
        share = config.data.memory_share
        mode = choose_residency(config.data.residency, planes, device, share).mode
        settings = dataclasses.replace(settings, resident=mode != "mmap")
    context = step_context(config.hardware)
    plan = plan_step(module, settings, context, folder.num_images, itemsize)
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    process, largest = 0, None
    if exact := _batch_independent(module):
        largest = _largest(module, settings, context, folder.num_images, itemsize, free)
    if device.type == "cpu":
        own = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
        process = psutil.Process().memory_info().rss - own
    return Forecast(config, plan, free, process, device.type, folder, largest, exact)


def _batch_independent(module: SimCLR) -> bool:
    try:
        for inside in (module.encoder, module.cell_head):
            if inside is not None:
                check_batch_independent(inside)
    except ConfigError:
        return False
    return True


def _largest(
    module: SimCLR,
    settings: StepSettings,
    context: Context,
    num_images: int,
    itemsize: int,
    free: int,
) -> int | None:
    """Return the largest micro-batch that fits: memory grows in a line with it."""
    batch = settings.batch

    def needs(micro: int) -> int:
        asked = dataclasses.replace(settings, micro_batch=micro)
        return plan_step(module, asked, context, num_images, itemsize).total

    room, one = _USED * free, needs(1)
    if one > room:
        return None
    some = min(4, batch)
    slope = (needs(some) - one) / max(some - 1, 1)
    guess = batch if slope <= 0 else min(int(1 + (room - one) / slope), batch, _LARGEST)
    while guess > 1 and needs(guess) > room:
        guess = max(guess * 9 // 10, 1)
    return guess
