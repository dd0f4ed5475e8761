"""Memory and work of a training step, known before it runs.

The module's own step runs on fake tensors (:mod:`hyperspec.runs.planning.fake_tensors`): the same
views, stem, backbone, loss and micro-batches, without memory and in a fraction of a second. The
fake tensors lie on the CPU, whatever device is planned for, so that a card's step can be planned
where there is none (a torch built without CUDA ends the process when a gradient is asked of a fake
tensor on it). What a device does in its own way is done so: which way the pixels go, what autocast
computes in which type, what lies in whose memory, and what its allocator adds.
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
from hyperspec.datasets.loading.plane_cache import TOGETHER_BYTES, predicted_bytes
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.losses.nt_xent import NtXent
from hyperspec.training.allocator import KEPT_BELOW
from hyperspec.training.devices import count_devices, device_kind, is_there
from hyperspec.training.simclr import SimCLR
from hyperspec.transforms.noise import BANK_STARTS, BLOCK, Block, NoiseSource
from hyperspec.transforms.sampler import ViewParams, ViewSampler
from hyperspec.utils.device_kind import kind_of, planned_for

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
        residency: Where the planes stay: ``device``, ``pinned`` (memory of the host), or ``mmap``,
            when a batch of them is read at a time.
        ahead: Batches that then lie in the same memory beside that one, read ahead.
    """

    batch: int
    micro_batch: int | None = None
    accumulate: int = 1
    processes: int = 1
    residency: str = "device"
    ahead: int = 0

    @property
    def resident(self) -> bool:
        """Whether the planes stay in memory."""
        return self.residency != "mmap"


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
    host: int
    """Beside a GPU in the host's memory: pinned planes, masks, batches read ahead. Not summed."""
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
        return [(n, size) for n, size in asdict(self).items() if n not in ("flop", "host")]


def plan_step(
    module: SimCLR,
    settings: StepSettings,
    context: Context,
    num_images: int,
    itemsize: int,
    kind: str | None = None,
) -> Plan:
    """Predict what training a module takes.

    The module is left as it is, and no random number is taken. ``context`` is of
    :func:`step_context`; ``num_images`` are those of all parts, ``itemsize`` the bytes of a stored
    value, ``kind`` that of the device it will train on (None: the one that it is on).
    """
    device = module.device.type if kind is None else kind
    trained = [p for p in module.parameters() if p.requires_grad]
    weights = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    untrained = sum(t.nbytes for t in (*module.encoder.parameters(), *module.encoder.buffers()))
    gradients = sum(p.nbytes for p in trained)
    activations, largest, flop = rehearse(module, settings, context, itemsize, device)
    if device == "cpu":  # one weight is updated after the other; on a GPU in one kernel
        activations = max(activations, 2 * max(p.nbytes for p in trained))
    views = module.views
    size = views.source_size
    each = predicted_bytes(1, len(views.wavelengths_nm), size, itemsize)
    stored = num_images * (each if settings.resident else size**2)
    stored += settings.ahead * settings.batch * each
    on_device = device == "cpu" or settings.residency == "device"
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
        planes=stored if on_device else 0,
        noise=4 * (BANK_STARTS + max(BLOCK, size**2)) if banked else 0,
        activations=activations,
        slack=slack,
        host=0 if on_device else stored,
        flop=flop,
    )


def rehearse(
    module: SimCLR, settings: StepSettings, context: Context, itemsize: int, kind: str
) -> tuple[int, int, int]:
    """Run a step on fake tensors.

    Returns bytes at the worst moment beyond weights and gradients, bytes of the largest block that
    the heap of a CPU keeps when it is freed, and FLOP.
    """
    # Loading it takes a second or two; a plan that is remembered needs none of it.
    from torch._subclasses.fake_tensor import FakeTensorMode

    from hyperspec.runs.planning.fake_tensors import Watch, scratch_of

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    scratch = scratch_of(kind)
    fake = _fake(module, mode, itemsize, settings)
    micro, batch = settings.micro_batch, settings.batch
    traced = batch if micro is None else min(batch, _TRACED * micro)
    fake.micro_batch = micro
    bank = fake.bank
    assert isinstance(bank, _Bank)
    with torch.random.fork_rng(devices=[]), planned_for(kind), mode:
        _fill_queue(fake.loss, module, mode)
        if settings.resident:  # made before the watch: resident planes are counted apart
            bank.one, _ = _planes(module, 1, itemsize)
        with Watch(scratch, KEPT_BELOW) as step:
            gradients, embedded = _step(fake, traced, settings, context, itemsize, kind, step)
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
    fake: SimCLR,
    batch: int,
    settings: StepSettings,
    context: Context,
    itemsize: int,
    kind: str,
    watch: Watch,
) -> tuple[int, list[tuple[torch.Size, int]]]:
    """Run forward and backward; return the gradients' bytes and shapes of what was embedded."""
    trained = [p for p in fake.parameters() if p.requires_grad]
    for parameter in trained:  # of the step before: Lightning drops them after the forward pass
        parameter.grad = torch.empty_like(parameter)
    gradients = watch.now
    rows, images, masks = torch.arange(batch), None, None
    # A batch that was read lies in the host's memory: on a CPU in the same, and it is counted.
    if not settings.resident and settings.micro_batch is None and kind == "cpu":
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

    def __init__(self, module: SimCLR, itemsize: int, settings: StepSettings) -> None:
        self.module, self.itemsize = module, itemsize
        self.on_device = settings.residency == "device"
        self.one: Tensor | None = None
        """One image that stands for all, where the planes are in memory anyhow."""

    def batch(self, rows: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        if self.on_device and self.one is not None and kind_of(self.one.device) != "cpu":
            # Converted part by part: no whole batch in the narrow type.
            step = max(TOGETHER_BYTES // self.one.nbytes, 1)
            part = self.one.expand(min(step, len(rows)), -1, -1, -1).clone()
            shape = (len(rows), *part.shape[1:])
            masks = torch.empty(len(rows), 1, *shape[2:], dtype=torch.bool)
            return torch.empty(shape, dtype=dtype), masks
        images, masks = _planes(self.module, len(rows), self.itemsize)
        # Image by image, as a real bank does where images are large.
        return torch.empty_like(images, dtype=dtype), masks

    def to_device(
        self, images: Tensor, masks: Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        return images.to(dtype), masks

    def stored(self, rows: Tensor) -> StoredPlanes:
        if self.one is not None:
            return StoredPlanes(self.one, [0] * len(rows))
        return StoredPlanes(_planes(self.module, len(rows), self.itemsize)[0], range(len(rows)))

    def masks(self, rows: Tensor) -> Tensor:
        return _planes(self.module, len(rows), self.itemsize)[1]


def _planes(module: SimCLR, count: int, itemsize: int) -> tuple[Tensor, Tensor]:
    size, bands = module.views.source_size, len(module.views.wavelengths_nm)
    narrow = torch.float16 if itemsize == 2 else torch.float32
    images = torch.empty(count, bands, size, size, dtype=narrow)
    return images, torch.empty(count, 1, size, size, dtype=torch.bool)


class _Sampler:
    """Draws real parameters of views, which are small, and hands them over as fake ones."""

    def __init__(self, real: ViewSampler, mode: FakeTensorMode) -> None:
        self.real, self.mode = real, mode

    def draw(
        self, batch_size: int, generator: torch.Generator | None, device: torch.device
    ) -> ViewParams:
        with _outside():
            cpu = torch.device("cpu")
            drawn = self.real.draw(batch_size, torch.Generator().manual_seed(0), cpu)
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
        converts = self.banked(like.device) and like.dtype != torch.float32
        bank = BANK_STARTS + max(BLOCK, self.num_pixels) if converts else 0
        copied = torch.empty(bank, dtype=like.dtype)
        made = torch.empty(batch, channels, self.num_pixels, dtype=like.dtype, device=like.device)
        return made.fill_(len(copied))

    def add_(self, y: Tensor, sd: Tensor, seed: int) -> Tensor:
        if self.banked(y.device):
            return y.add_(0)
        return y.addcmul_(torch.empty_like(y), y)

    def places(self, batch: int, channels: int, seed: int) -> list[list[Block]]:
        with _outside():
            one = super().places(1, channels, 0)
        return [*one, *[[]] * (batch - 1)]  # what is made of a specimen is gone before the next

    def add_block_(self, y: Tensor, sd: Tensor, block: Block) -> None:
        y.add_(0)


def _fake(module: SimCLR, mode: FakeTensorMode, itemsize: int, settings: StepSettings) -> SimCLR:
    """Return the module with fake weights on the CPU: nothing is copied."""
    from torch._subclasses.fake_tensor import FakeCopyMode

    from hyperspec.runs.planning.fake_tensors import norms_in_float32, to_cpu

    views = module.views
    sampler, noise = views._sampler, views._noise
    memo: dict[int, Any] = {
        id(module.bank): _Bank(module, itemsize, settings),
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
    with mode:
        to_cpu(fake)
    fake._device = torch.device("cpu")
    norms_in_float32(fake)
    return fake.train()


def settings_of(config: Train, num_images: int) -> StepSettings:
    """Return what a config says of a step; with few specimens all of them are the batch."""
    hardware, batch = config.hardware, config.batch_size
    if num_images:
        batch = max(min(batch, round(config.data.split.train_share * num_images)), 2)
    there = is_there(device_kind(hardware))
    devices = max(count_devices(hardware) if there else int(hardware.devices), 1)
    batch = max(batch // devices, 1)
    # The first batch is computed whole, too, where it is checked.
    micro = None if hardware.check_micro_batch else hardware.micro_batch
    return StepSettings(batch, micro, hardware.accumulate, devices)


def step_context(hardware: Hardware) -> Context:
    """Return what stands for Lightning's part of a step at a precision: autocast, or nothing.

    Of the CPU, where fake tensors lie: it shortens the same products as CUDA's.
    """
    name, _, mixed = hardware.precision.partition("-")
    narrow = {"bf16": torch.bfloat16, "16": torch.float16}.get(name)
    if narrow is None or mixed != "mixed":
        return lambda: torch.autocast("cpu", enabled=False)
    return lambda: torch.autocast("cpu", dtype=narrow)
