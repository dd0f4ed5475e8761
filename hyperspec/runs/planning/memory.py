"""Does a config fit its device: the plan of its step, the memory there is, and what to change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import choose_residency, predicted_bytes
from hyperspec.losses.grad_cache import check_batch_independent
from hyperspec.runs.planning.dummy_data import Folder, build, look, stand_in
from hyperspec.runs.planning.step_memory import Plan, plan_step, settings_of, step_context
from hyperspec.training.devices import device_kind, is_there
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.cores import usable_cores
from hyperspec.utils.device_memory import free_bytes
from hyperspec.utils.errors import ConfigError

_USED = 0.9  # share of the free memory that a run may take
_LARGEST = 4096  # specimens of a micro-batch that are thought of


@dataclass(frozen=True)
class Forecast:
    """The plan of a config's step and what there is: bytes, and the kind of the device.

    ``free`` is None where this machine has no such device. ``process`` has the bytes of Python and
    libraries, 0 on a GPU. ``exact`` says whether the model can be trained in micro-batches; the
    largest that fits is None where it cannot, none fits, or nothing is known of the device.
    """

    config: Train
    plan: Plan
    free: int | None
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
        """Whether it stays within nine tenths of the free memory, where that is known."""
        return self.free is None or self.plan.total <= _USED * self.free

    @property
    def side_by_side(self) -> int:
        """How many such jobs fit side by side on this CPU, by its cores and its free memory."""
        threads = self.config.hardware.threads or 1
        if self.device != "cpu" or self.free is None:
            return 1
        return max(1, min(usable_cores() // threads, int(_USED * self.free // self.total)))

    def lines(self) -> list[str]:
        """Return in words whether it fits, and what to change."""
        known = f"{self.folder.num_images} images in {self.config.data.root}"
        if not self.folder.num_images:
            known = "no specimens there: planes are not counted"
        if self.free is None:
            needs = f"a training takes {self.total / 1e6:.0f} MB of it, and its context some more"
            return [f"{self.device}: there is no such device here; {needs} ({known})"]
        verdict = "it fits" if self.fits else "it does not fit"
        found = [f"{self.device}: {self.free / 1e6:.0f} MB free, {verdict} ({known})"]
        if not self.fits:
            found += [f"change: {line}" for line in self.advice()]
        if self.largest_micro_batch is not None:
            found.append(f"largest hardware.micro_batch that fits: {self.largest_micro_batch}")
        elif self.exact:
            found.append("not even hardware.micro_batch=1 fits")
        if (jobs := self.side_by_side) > 1:
            found.append(
                f"in a sweep {jobs} such jobs fit side by side: hydra/launcher=joblib "
                f"hydra.launcher.n_jobs={jobs} (what it gained: docs/speed.md)"
            )
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
        state = plan.parameters + plan.gradients + plan.optimizer
        if self.free is not None and state > _USED * self.free:
            found.append("a smaller model: weights, gradients and optimizer alone do not fit")
        return found or ["a smaller data.size, or fewer bands"]


def forecast(config: Train, free: int | None = None) -> Forecast:
    """Predict a config's memory and work without its data.

    ``free`` are the bytes that are free on its device; None asks the device, if it is there.

    Raises:
        HyperspecError: If the config cannot be built.
    """
    folder, kind = look(config.data), device_kind(config.hardware)
    material = stand_in(config, folder.axis)
    module, itemsize = build(config, material, torch.device("cpu")), material.source.dtype.itemsize
    settings = settings_of(config, folder.num_images)
    if free is None and is_there(kind):
        free = free_bytes(torch.device(kind))
    if folder.num_images:
        mode = _residency(config, module, folder.num_images, itemsize, kind, free)
        settings = dataclasses.replace(settings, residency=mode)
    context = step_context(config.hardware)

    def planned(micro_batch: int | None) -> Plan:
        asked = dataclasses.replace(settings, micro_batch=micro_batch)
        return plan_step(module, asked, context, folder.num_images, itemsize, kind)

    plan, process, largest = planned(settings.micro_batch), 0, None
    if (exact := _batch_independent(module)) and free is not None:
        largest = _largest(lambda micro: planned(micro).total, settings.batch, free)
    if kind == "cpu":
        own = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
        process = psutil.Process().memory_info().rss - own
    return Forecast(config, plan, free, process, kind, folder, largest, exact)


def _residency(
    config: Train, module: SimCLR, num_images: int, itemsize: int, kind: str, free: int | None
) -> str:
    """Return where the planes of so many images will live; device if nothing is known."""
    data = config.data
    if free is None:
        return "device" if data.residency == "auto" else data.residency
    size, bands = module.views.source_size, len(module.views.wavelengths_nm)
    planes = predicted_bytes(num_images, bands, size, itemsize)
    device, jobs = torch.device(kind), config.hardware.jobs_per_device
    return choose_residency(
        data.residency, planes, device, data.memory_share, jobs=jobs, free=free
    ).mode


def _batch_independent(module: SimCLR) -> bool:
    try:
        for inside in (module.encoder, module.cell_head):
            if inside is not None:
                check_batch_independent(inside)
    except ConfigError:
        return False
    return True


def _largest(needs: Callable[[int], int], batch: int, free: int) -> int | None:
    """Return the largest micro-batch that fits: the bytes it needs grow in a line with it."""
    room, one = _USED * free, needs(1)
    if one > room:
        return None
    some = min(4, batch)
    slope = (needs(some) - one) / max(some - 1, 1)
    guess = batch if slope <= 0 else min(int(1 + (room - one) / slope), batch, _LARGEST)
    while guess > 1 and needs(guess) > room:
        guess = max(guess * 9 // 10, 1)
    return guess
