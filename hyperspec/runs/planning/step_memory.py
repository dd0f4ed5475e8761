"""Memory and work of a training step, known before it runs.

The module's own step runs on fake tensors (:mod:`hyperspec.runs.planning.fake_tensors`): the same
views, stem, backbone, loss and micro-batches, without memory and in a fraction of a second.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hyperspec.config.hardware import Hardware
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.packed_planes import StoredPlanes
from hyperspec.datasets.loading.plane_cache import predicted_bytes
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.losses.nt_xent import NtXent
from hyperspec.training.allocator import KEPT_BELOW
from hyperspec.training.devices import count_devices
from hyperspec.training.simclr import SimCLR
from hyperspec.transforms.noise import BANK_STARTS, BLOCK, NoiseSource
from hyperspec.transforms.sampler import ViewParams, ViewSampler

if TYPE_CHECKING:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from hyperspec.runs.planning.fake_tensors import Watch


Context = Callable[[], AbstractContextManager[Any]]
_TRACED = 3  # micro-batches that are traced; every further one costs its features alone
_FEATURE_COPIES = 3  # of a micro-batch's features: its own, the joined ones, their gradient
# On a CPU the first step loads libraries, and the heap keeps freed blocks
# (hyperspec.training.allocator.freed_kept), of which small ones take pieces, so that the next large
# one does not fit: some four holes of the largest block that is kept. On a GPU blocks are rounded
# up. Measured by benchmarks/bench_memory.py.
_LOADED = 24_000_000
_HOLES = 4
_ROUNDED = 0.02


@dataclass(frozen=True)
class StepSettings:
    """What decides memory and work of a step besides the module.

    Args:
        batch: Specimen images of a step on one device.
        micro_batch: Images whose graph exists at once; None for all.
        accumulate: Steps whose gradients are summed.
        processes: Devices that train together; above 1 gradients are kept twice (DDP's buckets).
        resident: Whether the planes stay in memory; else a batch of them is read at a time.
        ahead: Batches that then lie in the same memory beside that one, read ahead.
    """

    batch: int
    micro_batch: int | None = None
    accumulate: int = 1
    processes: int = 1
    resident: bool = True
    ahead: int = 0


@dataclass(frozen=True)
class Plan:
    """Predicted peak memory of a training in bytes, by what takes it, and FLOP of a step."""

    parameters: int
    """Weights and buffers, with the untrained encoder that is kept for the control."""
    gradients: int
    """One per trained weight; two under DDP."""
    optimizer: int
    """AdamW's two moments."""
    planes: int
    """Resident planes and masks of all specimens."""
    noise: int
    """Bank of normal numbers for the views, on a CPU."""
    activations: int
    """Pixels, views, graph and kernels' own buffers at the worst moment of a step."""
    slack: int
    """What the allocator holds beyond that."""
    flop: int
    """Of one step, forward and backward, products alone (a multiply-add is 2)."""

    @property
    def to_come(self) -> int:
        """Bytes that a training takes once module and planes are there."""
        return self.gradients + self.optimizer + self.noise + self.activations + self.slack

    @property
    def total(self) -> int:
        """All bytes."""
        return self.parameters + self.planes + self.to_come

    def rows(self) -> list[tuple[str, int]]:
        """Return what is shown: names and bytes."""
        return [(name, size) for name, size in asdict(self).items() if name != "flop"]


def plan_step(
    module: SimCLR, settings: StepSettings, context: Context, num_images: int, itemsize: int
) -> Plan:
    """Predict what training a module takes.

    The module is left as it is, and no random number is taken. ``context`` makes what Lightning
    puts around a step, such as autocast; ``num_images`` are those of all parts, ``itemsize`` the
    bytes of a stored value.
    """
    device = module.device.type
    trained = [p for p in module.parameters() if p.requires_grad]
    weights = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    untrained = sum(t.nbytes for t in (*module.encoder.parameters(), *module.encoder.buffers()))
    gradients = sum(p.nbytes for p in trained)
    activations, largest, flop = rehearse(module, settings, context, itemsize)
    if device == "cpu":  # one weight is updated after the other; on a GPU in one kernel
        activations = max(activations, 2 * max(p.nbytes for p in trained))
    views = module.views
    size = views.source_size
    each = predicted_bytes(1, len(views.wavelengths_nm), size, itemsize)
    beside = settings.ahead * settings.batch * each
    banked = views.config.noise_sd and views.config.noise_bank and device == "cpu"
    gradients *= 2 if settings.processes > 1 else 1
    # Over micro-batches the heap gives all back (hyperspec.training.allocator.freed_at_once).
    slack = _LOADED + (_HOLES * largest if settings.micro_batch is None else 0)
    if device != "cpu":
        slack = int(_ROUNDED * (gradients + activations))
    return Plan(
        parameters=weights + untrained,
        gradients=gradients,
        optimizer=2 * sum(p.nbytes for p in trained),
        planes=num_images * (each if settings.resident else size**2) + beside,
        noise=4 * (BANK_STARTS + max(BLOCK, size**2)) if banked else 0,
        activations=activations,
        slack=slack,
        flop=flop,
    )


def rehearse(
    module: SimCLR, settings: StepSettings, context: Context, itemsize: int
) -> tuple[int, int, int]:
    """Run a step on fake tensors.

    Returns bytes at the worst moment beyond weights and gradients, bytes of the largest block that
    the heap of a CPU keeps when it is freed, and FLOP.
    """
    # Loading it takes a second or two; a plan that is remembered needs none of it.
    from torch._subclasses.fake_tensor import FakeTensorMode

    from hyperspec.runs.planning.fake_tensors import Watch, scratch_of

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    scratch = scratch_of(module.device.type)
    fake = _fake(module, mode, itemsize)
    micro, batch = settings.micro_batch, settings.batch
    traced = batch if micro is None else min(batch, _TRACED * micro)
    fake.micro_batch = micro
    bank = fake.bank
    assert isinstance(bank, _Bank)
    with torch.random.fork_rng(devices=[]), mode:
        _fill_queue(fake.loss, module, mode)
        if settings.resident:  # made before the watch: resident planes are counted apart
            bank.resident, _ = _planes(module, 1, itemsize)
        with Watch(scratch, KEPT_BELOW) as step:
            gradients, embedded = _step(fake, traced, settings, context, itemsize, step)
        peak, flop = step.peak - gradients, step.flop
        if traced < batch:
            with Watch(scratch) as loss, context():
                _compare(fake, embedded, traced).backward()  # type: ignore[no-untyped-call]
            with Watch(scratch) as whole, context():
                _compare(fake, embedded, batch).backward()  # type: ignore[no-untyped-call]
            per_item = sum(shape.numel() // shape[0] * width for shape, width in embedded)
            peak += _FEATURE_COPIES * per_item * (batch - traced)
            made = sum(p.grad.nbytes for p in fake.parameters() if p.grad is not None)
            peak = max(peak, whole.peak - made)  # gradients are counted apart
            flop = (flop - loss.flop) * batch // traced + whole.flop
    return peak, step.largest, flop


def _step(
    fake: SimCLR, batch: int, settings: StepSettings, context: Context, itemsize: int, watch: Watch
) -> tuple[int, list[tuple[torch.Size, int]]]:
    """Run forward and backward; return the gradients' bytes and shapes of what was embedded."""
    trained = [p for p in fake.parameters() if p.requires_grad]
    for parameter in trained:  # of the step before: Lightning drops them after the forward pass
        parameter.grad = torch.empty_like(parameter)
    gradients = watch.now
    rows, images, masks = torch.arange(batch), None, None
    if not settings.resident and settings.micro_batch is None:  # else each reads its own
        images, masks = _planes(fake, settings.batch, itemsize)
    with context():
        embedded = fake.embed_batch(Batch(rows, images, masks))
        shapes = [(part.shape, part.itemsize) for part in embedded]
        loss, _ = fake.compare(*embedded)
    del embedded
    if settings.accumulate == 1:
        for parameter in trained:
            parameter.grad = None
    loss.backward()  # type: ignore[no-untyped-call]
    return gradients, shapes


def _compare(fake: SimCLR, embedded: list[tuple[torch.Size, int]], batch: int) -> Tensor:
    """Return the loss of so many items whose embedded parts have these shapes."""
    wide = {2: torch.bfloat16, 4: torch.float32, 8: torch.float64}
    parts = [torch.empty(batch, *shape[1:], dtype=wide[width]) for shape, width in embedded]
    for part in parts[:2]:  # features, and cells; not where the cells are
        part.requires_grad_()
    for parameter in fake.parameters():
        parameter.grad = None
    return fake.compare(*parts)[0]


def _fill_queue(loss: nn.Module, module: SimCLR, mode: FakeTensorMode) -> None:
    """Give losses with a memory a full one, as after some steps."""
    last = [p for p in module.head.parameters() if p.ndim == 2][-1]
    for part in loss.modules():
        if isinstance(part, NtXent) and part.queue_size:
            part.queue = torch.empty(part.queue_size, len(last))


class _Bank:
    """Gives fake pixels as a ``PlaneBank`` gives real ones."""

    def __init__(self, module: SimCLR, itemsize: int) -> None:
        self.module, self.itemsize = module, itemsize
        self.resident: Tensor | None = None
        """One image that stands for all, where the planes are in memory anyhow."""

    def batch(self, rows: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        images, masks = _planes(self.module, len(rows), self.itemsize)
        # Image by image, as a real bank does where images are large.
        return torch.empty_like(images, dtype=dtype), masks

    def to_device(
        self, images: Tensor, masks: Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        return images.to(dtype), masks

    def stored(self, rows: Tensor) -> StoredPlanes:
        if self.resident is not None:
            return StoredPlanes(self.resident, [0] * len(rows))
        return StoredPlanes(_planes(self.module, len(rows), self.itemsize)[0], range(len(rows)))

    def masks(self, rows: Tensor) -> Tensor:
        return _planes(self.module, len(rows), self.itemsize)[1]


def _planes(module: SimCLR, count: int, itemsize: int) -> tuple[Tensor, Tensor]:
    size, bands = module.views.source_size, len(module.views.wavelengths_nm)
    narrow = torch.float16 if itemsize == 2 else torch.float32
    images = torch.empty(count, bands, size, size, dtype=narrow, device=module.device)
    return images, torch.empty(count, 1, size, size, dtype=torch.bool, device=module.device)


class _Sampler:
    """Draws real parameters of views, which are small, and hands them over as fake ones."""

    def __init__(self, real: ViewSampler, mode: FakeTensorMode) -> None:
        self.real, self.mode = real, mode

    def draw(
        self, batch_size: int, generator: torch.Generator | None, device: torch.device
    ) -> ViewParams:
        with _outside():
            drawn = self.real.draw(batch_size, torch.Generator().manual_seed(0), device)
        kept: dict[str, Any] = {
            name: self.mode.from_tensor(value) if isinstance(value, Tensor) else value
            for name, value in vars(drawn).items()
        }
        return ViewParams(**kept)


@contextmanager
def _outside() -> Iterator[None]:
    from torch._subclasses.fake_tensor import unset_fake_temporarily
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes(), unset_fake_temporarily():
        yield


class _Noise(NoiseSource):
    """Takes the memory that noise takes; the bank itself is counted apart."""

    def draw(self, batch: int, channels: int, like: Tensor, seed: int) -> Tensor:
        converts = self.use_bank and like.device.type == "cpu" and like.dtype != torch.float32
        bank = BANK_STARTS + max(BLOCK, self.num_pixels) if converts else 0
        copied = torch.empty(bank, dtype=like.dtype)
        made = torch.empty(batch, channels, self.num_pixels, dtype=like.dtype, device=like.device)
        return made.fill_(len(copied))

    def add_(self, y: Tensor, sd: Tensor, seed: int) -> Tensor:
        if self.use_bank and y.device.type == "cpu":
            return y.add_(0)
        return y.addcmul_(torch.empty_like(y), y)


def _fake(module: SimCLR, mode: FakeTensorMode, itemsize: int) -> SimCLR:
    """Return the module with fake weights: nothing is copied."""
    from torch._subclasses.fake_tensor import FakeCopyMode

    views = module.views
    sampler, noise = views._sampler, views._noise
    memo: dict[int, Any] = {
        id(module.bank): _Bank(module, itemsize),
        id(sampler): _Sampler(sampler, mode),
        id(noise): _Noise(noise.num_pixels, noise.use_bank),
        id(module.seen): None,
        id(module.facts): {},
    }
    trainer = vars(module).get("_trainer")
    if trainer is not None:  # of a stage before this one
        memo[id(trainer)] = None
    with FakeCopyMode(mode):
        fake = copy.deepcopy(module, memo)
    return fake.train()


def settings_of(config: Train, num_images: int) -> StepSettings:
    """Return what a config says of a step; with few specimens all of them are the batch."""
    hardware, batch = config.hardware, config.batch_size
    if num_images:
        batch = max(min(batch, round(config.data.split.train_share * num_images)), 2)
    devices = count_devices(hardware)
    batch = max(batch // devices, 1)
    # The first batch is computed whole, too, where it is checked.
    micro = None if hardware.check_micro_batch else hardware.micro_batch
    return StepSettings(batch, micro, hardware.accumulate, devices)


def step_context(hardware: Hardware) -> Context:
    """Return what Lightning puts around a step at a precision: autocast, or nothing."""
    kind = "cuda" if torch.cuda.is_available() and hardware.accelerator != "cpu" else "cpu"
    name, _, mixed = hardware.precision.partition("-")
    narrow = {"bf16": torch.bfloat16, "16": torch.float16}.get(name)
    if narrow is None or mixed != "mixed":
        return lambda: torch.autocast(kind, enabled=False)
    return lambda: torch.autocast(kind, dtype=narrow)
