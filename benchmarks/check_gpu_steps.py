"""Steps of a training for `make check-gpu`: against the CPU, in parts, compiled, planned."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from check_gpu_parts import Part, part
from torch import Tensor

from hyperspec.cli.commands.plan import composed
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.runs.planning.dummy_data import build, stand_in
from hyperspec.runs.planning.step_memory import plan_step, settings_of, step_context
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.training.allocator import peak_mb, reset_peak
from hyperspec.training.band_search import BandSearch
from hyperspec.training.builders import optimisation
from hyperspec.training.callbacks.guards import cached_gradient_error
from hyperspec.training.optimizer import build_optimizer
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.device_kind import planned_for
from hyperspec.utils.device_memory import free_memory, pinned_empty, taken_bytes

AXIS = SpectralAxis.linear(350, 800, 60)  # with all windows of views=cross_modal
BASE = ["model=tiny", "data.size=32", "batch_size=8", "bands.n=40", "loss=nt_xent"]
# Noise is drawn on the device: another generator than the CPU's gives other numbers.
QUIET = "views.noise_sd=0"
MATRIX = {
    "projection": [],
    "few bands": ["bands.n=6"],
    "inflate": ["model.stem=inflate"],
    "wavelength": ["model.stem=wavelength"],
    "attention": ["model.stem=attention"],
    "learned bands": ["bands=learned", "bands.n=6"],
    "binned bands": ["bands=binned", "bands.n=8"],
    "vicreg": ["loss=vicreg"],
    "local loss": ["loss=combined"],
    "queue": ["loss.queue_size=16"],
    "cross modal": ["views=cross_modal"],
    "strong views": ["views=strong"],
    "snv": ["data.normalisation=snv", "model.stem=inflate"],
    "continuum": ["data.normalisation=continuum"],
    "group norm": ["model=resnet18", "model.norm=group"],
    "recomputed": ["model=resnet18", "hardware.checkpointing=true"],
}
# Relative error of the gradient of a first step, of the losses, and how many of these. float32 has
# 24 bits; sums over some 10^5 products, BatchNorm over 16 images and a dozen layers lose three to
# four digits of its seven. bfloat16 has 8 bits: 0.4% a rounding, and views of one specimen differ
# from each other by less than from zero, so that the loss and what it asks for rest on differences
# that lose most of them; the same steps in bfloat16 on a CPU are off by 0.1 to 0.4. AdamW's first
# steps have the size of the rate in each weight, whatever its gradient: signs that flip make later
# losses diverge, and in bfloat16 only the first is compared.
# An untrained ResNet-18 maps all specimens to nearly one point: in bfloat16 its first gradient is
# off by 0.7 to 1 also on a CPU (the same with and without recomputed stages), and is noted only.
TOLERANCES = {"float32": (2e-3, 1e-3, 3), "bfloat16": (0.6, 0.1, 1)}


@dataclass
class Taken:
    """What some steps gave: losses, and the gradient of the first."""

    losses: Tensor
    gradient: Tensor


def made(words: list[str], device: torch.device, images: int = 16) -> tuple[Train, SimCLR]:
    config = composed([*BASE, *words])
    torch.manual_seed(0)
    return config, build(config, stand_in(config, AXIS, images), device).train()


@contextlib.contextmanager
def waits_are_errors(device: torch.device) -> Iterator[None]:
    """Let whatever waits for the card inside be an error."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def steps(
    config: Train, module: SimCLR, dtype: torch.dtype, count: int = 3, *, watched: bool = True
) -> Taken:
    """Train some steps; from the second on nothing may wait for a card."""
    device = module.device
    rows = torch.arange(config.batch_size) % len(module.bank)  # a batch may exceed the images
    optimizer = build_optimizer(module.trained_parameters(), optimisation(config))
    losses, gradient = [], torch.empty(0)
    for number in range(count):
        torch.manual_seed(number)
        if isinstance(module, BandSearch):
            module.selector.resample(number)
        quiet = waits_are_errors(device) if watched and number else contextlib.nullcontext()
        with quiet:
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss, _ = module.compare(*module.embed_batch(Batch(rows)))
            optimizer.zero_grad()
            loss.backward()
            if number:
                optimizer.step()
        if not number:
            found = [p.grad.flatten().cpu() for p in module.parameters() if p.grad is not None]
            gradient = torch.cat(found).double()
            optimizer.step()
        losses.append(loss.detach())
    return Taken(torch.stack(losses).cpu().double(), gradient)


def apart(one: Taken, other: Taken, losses: int = 3) -> tuple[float, float]:
    """Return the relative error of a gradient, and the largest of so many losses."""
    error = (one.gradient - other.gradient).norm() / other.gradient.norm()
    distance = (one.losses - other.losses).abs() / other.losses.abs()
    return float(error), float(distance[:losses].max())


def exact() -> None:
    """Let products of float32 be of float32, not of TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@part("steps")
def against_the_cpu(found: Part) -> None:
    """The matrix of steps: float32 and bfloat16 on the card against float32 on the CPU."""
    exact()
    cpu = torch.device("cpu")
    # The rehearsal goes the ways of a card, on the CPU.
    for name, words in MATRIX.items():
        expected = steps(*made([*words, QUIET], cpu), torch.float32)
        for dtype in (torch.float32, torch.bfloat16):
            kind = str(dtype).removeprefix("torch.")
            *most, losses = TOLERANCES[kind]
            with planned_for("cuda"):
                taken = steps(*made([*words, QUIET], found.device), dtype)
            for what, value, asked in zip(
                ("gradient", "losses"), apart(taken, expected, losses), most, strict=True
            ):
                if (what, kind) == ("gradient", "bfloat16") and "model=resnet18" in words:
                    found.note(f"{name}, {kind}: {what}", value)  # see TOLERANCES
                    continue
                found.at_most(f"{name}, {kind}: {what}", value, asked)
        if found.tiny:
            continue
        with planned_for("cuda"):
            noisy = steps(*made(words, found.device), torch.bfloat16)
        found.true(f"{name}: finite with noise", bool(noisy.losses.isfinite().all()))


@part("micro")
def exact_micro_batches(found: Part) -> None:
    """Gradients over micro-batches against one graph of the whole batch."""
    exact()
    for words in ([], ["loss=combined"], ["model=resnet18"], ["views=strong"]):
        config, module = made([*words, "model.norm=group", "hardware.micro_batch=3"], found.device)
        error = cached_gradient_error(module, Batch(torch.arange(config.batch_size)))
        found.at_most(f"micro-batches of 3, {' '.join(words) or 'plain'}", error, 1e-4)


@part("compile")
def compiled(found: Part) -> None:
    """A compiled backbone against the same uncompiled."""
    exact()
    for words in ([], ["model=resnet18", "model.norm=group"])[: 1 if found.tiny else 2]:
        config, module = made([*words, QUIET], found.device)
        other = copy.deepcopy(module)
        other.encoder.backbone.compile(backend="aot_eager" if found.tiny else "inductor")
        with planned_for("cuda"):
            error, loss = apart(
                steps(config, other, torch.float32, watched=False),
                steps(config, module, torch.float32, watched=False),
            )
        found.at_most(f"gradient compiled, {' '.join(words) or 'tiny'}", error, 2e-3)
        found.at_most(f"losses compiled, {' '.join(words) or 'tiny'}", loss, 1e-3)


@part("memory")
def memory(found: Part) -> None:
    """Pinned planes, batches out of them, and what is given back."""
    config, module = made([], found.device)
    before = taken_bytes(found.device)
    pinned = pinned_empty((3, 1000, 1000), torch.float16)
    if found.device.type == "cuda":
        found.true("memory is pinned", pinned.is_pinned())
    source, bands = module.bank.source, module.bank.bands
    rows = torch.tensor([5, 2])
    expected = module.bank.batch(rows)[0].cpu()
    for mode in ("pinned", "mmap"):
        bank = PlaneBank(source, bands, found.device, Residency(mode, "asked"))
        found.true(f"planes from {mode}", torch.equal(bank.batch(rows)[0].cpu(), expected))
    found.at_least("images embedded at once", module.embedder.at_once(), 1)
    steps(config, module, torch.float32, 1)
    del module, bank, pinned
    free_memory()
    left = (taken_bytes(found.device) - before) / 1e6
    if found.device.type == "cuda":
        found.at_most("MB of a module that is gone", max(left, 0.0), 1.0)


PLANNED = {
    "tiny, 40 bands": ["data.size=64", "batch_size=64"],
    "resnet18, 40 bands": ["model=resnet18", "data.size=64", "batch_size=64"],
    "resnet18, group norm, micro-batches": [
        *("model=resnet18", "model.norm=group", "data.size=64", "batch_size=64"),
        "hardware.micro_batch=16",
    ],
    "resnet50, 20 bands, 128 px": [
        "model=resnet50",
        "bands.n=20",
        "data.size=128",
        "batch_size=32",
    ],
    "resnet18, local loss": ["model=resnet18", "loss=combined", "data.size=64", "batch_size=32"],
}


@part("forecast")
def forecast(found: Part) -> None:
    """What `hyperspec plan` says of a step against the peak of torch's allocator."""
    for name, words in list(PLANNED.items())[: 1 if found.tiny else None]:
        for precision in ("32-true", "bf16-mixed"):
            on = [*words, f"hardware.precision={precision}"]
            free_memory()
            before = taken_bytes(found.device)
            config, module = made(on, found.device)
            settings, around = settings_of(config, 0), step_context(config.hardware)
            kept = copy.deepcopy(module.encoder)  # as a run keeps the untrained one
            plan = plan_step(module, settings, around, 16, 2)
            reset_peak()
            dtype = torch.float32 if precision == "32-true" else torch.bfloat16
            steps(config, module, dtype, 2, watched=False)
            measured = peak_mb(found.device) * 1e6 - before
            predicted = plan.total
            found.note(f"{name}, {precision}", {"predicted": predicted, "measured": measured})
            if found.device.type == "cuda":
                low, high = 0.8, 1.3
                found.within(f"{name}, {precision}: ratio", predicted / measured, low, high)
            else:
                found.at_least(f"{name}, {precision}: bytes", predicted, 1)
            del module, kept
