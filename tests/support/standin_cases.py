"""What is run on the GPU without hardware: each case by its name, in a process of its own.

``python standin_cases.py KIND`` prints one line of JSON per case as it ends: ``name``, ``error``
(null when it passed), ``seconds``, and ``waits``, how often the host waited by line and reason.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from standin_gpu import CPU, DEVICE, DeviceTensor, HostWaitError, MixedDevicesError, StandIn

from hyperspec.bands import Uniform
from hyperspec.cli.commands.plan import composed
from hyperspec.cli.main import main as hyperspec
from hyperspec.datasets.loading import plane_cache
from hyperspec.datasets.loading.prefetch import Batch, ReadAhead
from hyperspec.evaluation.importance.gradient import gradient_importance
from hyperspec.evaluation.importance.perturbation import band_importance
from hyperspec.inference.attention import attention_weights
from hyperspec.inference.band_curve import on_bands
from hyperspec.runs.planning.dummy_data import build, stand_in
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.training.band_search import BandSearch
from hyperspec.training.callbacks.guards import cached_gradient_error
from hyperspec.training.cross_modal import CrossModal
from hyperspec.training.growth import grow_into
from hyperspec.training.optimizer import Optimisation, build_optimizer
from hyperspec.training.simclr import SimCLR

SMALL = ["data.root=none", "model=tiny", "bands.n=16", "data.size=16", "hardware.threads=1"]
AXIS = SpectralAxis.linear(400, 800, 24)
BATCH, IMAGES = 6, 12
WINDOWS = [
    *("views=cross_modal", "~views.windows_nm.uv"),
    *("views.windows_nm.visible=[400,600]", "views.windows_nm.nir=[600,800]"),
]
MICRO = ["hardware.micro_batch=4", "model.norm=group"]
BLUR = ["views.blur_probability=0.5", "views.blur_sigma_px=1"]
NARROW = {"bf16": torch.bfloat16, "16": torch.float16}

# By name: the words of `hyperspec train`.
STEPS: dict[str, list[str]] = {
    "default": [],
    **{f"views {name}": [f"views={name}"] for name in ("none", "light", "strong")},
    **{f"stem {n}": [f"model.stem={n}"] for n in ("wavelength", "attention", "inflate")},
    "stem attention, strong views": ["model.stem=attention", "views=strong"],
    "stem inflate, strong views": ["model.stem=inflate", "views=strong"],
    "stem inflate, blur": ["model.stem=inflate", *BLUR],
    "band sampling": ["model.stem=wavelength", "model.sampling_minimum=3"],
    "queue": ["loss.queue_size=8"],
    **{f"loss {name}": [f"loss={name}"] for name in ("dcl", "vicreg", "combined")},
    "micro-batches": MICRO,
    "micro-batches, combined, strong views": [*MICRO, "loss=combined", "views=strong"],
    "micro-batches, mmap": [*MICRO, "data.residency=mmap"],
    "checkpointing": ["hardware.checkpointing=true"],
    "micro-batches, checkpointing": [*MICRO, "hardware.checkpointing=true"],
    "residency pinned": ["data.residency=pinned"],
    "residency mmap": ["data.residency=mmap"],
    **{
        f"normalisation {name}": [f"data.normalisation={name}"]
        for name in ("none", "minmax", "snv", "l2", "derivative", "continuum")
    },
    "normalisation snv, blur": ["data.normalisation=snv", *BLUR],
    "bands binned": ["bands=binned", "bands.n=6"],
    "bands pca": ["bands=pca", "bands.n=6"],
    "bands learned": ["bands=learned", "bands.n=6", "epochs=10"],
    "cross_modal": WINDOWS,
    "cross_modal, shared": [*WINDOWS, "views.fusion=concatenation", "model.stem=wavelength"],
    "cross_modal, attention": [*WINDOWS, "views.fusion=attention", "model.stem=wavelength"],
    "cross_modal, inflate": [*WINDOWS, "model.stem=inflate"],
    "resnet18": ["model=resnet18"],
    "convnext": ["model=convnext", "data.size=32"],
    "vit": ["model=vit", "data.size=32"],
}
# Those whose way depends on the precision, once more without one and in 16 bit.
OTHER_PRECISIONS = (
    *("default", "views strong", "stem wavelength", "stem attention", "stem inflate, blur"),
    *("queue", "loss vicreg", "loss combined", "micro-batches", "residency mmap"),
    *("normalisation snv", "bands pca", "bands learned", "cross_modal, attention"),
)


def made(*words: str, device: torch.device = DEVICE) -> tuple[Any, Any, SimCLR]:
    """Return config, material and module of words."""
    config = composed([*SMALL, *words])
    material = stand_in(config, AXIS, IMAGES)
    torch.manual_seed(0)
    return config, material, build(config, material, device)


def batch_of(module: SimCLR, words: list[str]) -> Batch:
    """Return a batch as the loader gives it: with pixels read ahead where planes are mapped."""
    if "data.residency=mmap" not in words or module.micro_batch is not None:
        return Batch(torch.arange(BATCH))
    bank = module.bank
    pin = bank.device.type == "cuda"
    return next(iter(ReadAhead(bank.source, bank.bands, [list(range(BATCH))], 1, pin=pin)))


def step(gpu: StandIn | None, words: list[str], precision: str) -> float:
    """Train two steps, the second without a wait; return the first loss."""
    device = CPU if gpu is None else DEVICE
    _, _, module = made(*words, device=device)
    module.train()
    optimizer = build_optimizer(module.trained_parameters(), Optimisation(1e-3))
    narrow, losses = NARROW.get(precision), []
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "16", init_scale=8.0)

    def train(batch: Batch, number: int) -> None:
        if isinstance(module, BandSearch):
            module.selector.resample(number)
        if "model.sampling_minimum=3" in words:
            module.encoder.projection.sample(np.arange(number + 3))  # type: ignore[union-attr]
        with torch.autocast(device.type, dtype=narrow, enabled=narrow is not None):
            loss, _ = module.compare(*module.embed_batch(batch))
        optimizer.zero_grad()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.detach())

    train(batch_of(module, words), 0)
    if gpu is not None:
        batch = batch_of(module, words)
        with gpu.no_waits():
            train(batch, 1)
        gpu.waits.clear()
    assert all(bool(loss.isfinite()) for loss in losses), losses
    return float(losses[0])


def steps(precision: str, words: list[str]) -> Callable[[StandIn], None]:
    def run(gpu: StandIn) -> None:
        step(gpu, words, precision)

    return run


def as_on_the_cpu(words: list[str]) -> Callable[[StandIn], None]:
    """In float32, without noise (which a GPU draws by itself), the loss is the CPU's."""

    def run(gpu: StandIn) -> None:
        quiet = [*words, "views.noise_sd=0"]
        there, here = step(gpu, quiet, "32"), step(None, quiet, "32")
        # Sums in another order, through BatchNorm over twelve views.
        assert abs(there - here) < 2e-3 * abs(here), f"{there} on the GPU, {here} on the CPU"

    return run


def embeds(*words: str) -> Callable[[StandIn], None]:
    def run(gpu: StandIn) -> None:
        _, _, module = made(*words)
        rows = torch.arange(IMAGES)
        features = module.embedder.embed(rows, chunk=5)
        assert type(features) is torch.Tensor
        _, _, same = made(*words, device=CPU)
        torch.testing.assert_close(features, same.embedder.embed(rows), rtol=1e-3, atol=1e-4)
        if isinstance(module, CrossModal):
            assert type(module.embed_windows(rows)) is torch.Tensor

    return run


def replays(*words: str) -> Callable[[StandIn], None]:
    """Micro-batches give the whole batch's gradient, with what is drawn on the device."""

    def run(gpu: StandIn) -> None:
        _, _, module = made(*MICRO, *words)
        assert cached_gradient_error(module.train(), Batch(torch.arange(BATCH))) < 1e-4

    return run


def grows(stem: str) -> Callable[[StandIn], None]:
    def run(gpu: StandIn) -> None:
        _, material, module = made(f"model.stem={stem}")
        old = Uniform(n=8).select(AXIS)
        _, _, trained = made(f"model.stem={stem}", "bands.n=8")
        assert -1 <= grow_into(module, material, trained, old).cosine <= 1

    return run


def gathers_in_parts(gpu: StandIn) -> None:
    """Planes on the device are gathered and converted in parts, also those of fewer bands."""
    _, material, module = made()
    bank, rows = module.bank, torch.tensor([5, 0, 5, 3, 7])
    chosen = list(material.selection.indices)
    whole = torch.from_numpy(material.source.planes(rows.tolist(), bank.bands))
    for some, expected in (bank, whole), (bank.narrowed(chosen[1:9:2]), whole[:, 1:9:2]):
        with mock.patch.object(plane_cache, "TOGETHER_BYTES", 2 * bank.resident_bytes // IMAGES):
            for dtype in (torch.float32, torch.bfloat16):
                images, masks = some.batch(rows, dtype)
                assert isinstance(images, DeviceTensor)
                assert torch.equal(images.cpu(), expected.to(dtype))
                assert masks.all()


def importance(gpu: StandIn) -> None:
    _, material, module = made()
    rows, bands = [0, 1, 2], list(material.selection.indices)
    given: tuple[Any, ...] = (
        module.embedder,
        material.source.planes(rows, bands),
        material.source.masks(rows),
        material.selection.wavelengths_nm,
        ["a", "b", "c"],
    )
    shared: dict[str, Any] = {
        "fill": material.statistics.mean[bands],
        "window_nm": 150.0,
        "device": DEVICE,
    }
    for mode in ("mean", "interpolation", "permutation"):
        found = band_importance(*given, mode=mode, **shared)  # type: ignore[arg-type]
        assert np.isfinite(found.change).all()
    assert np.isfinite(gradient_importance(*given, num_steps=4, **shared).change).all()


def curve(gpu: StandIn) -> None:
    _, material, module = made("model.stem=wavelength")
    other = on_bands(module.embedder, "zscore", material, Uniform(n=7).select(AXIS))
    assert type(other.embed(torch.arange(4))) is torch.Tensor


def attention(gpu: StandIn) -> None:
    _, _, module = made("model.stem=attention")
    weights = attention_weights(module.embedder, torch.arange(5))
    assert weights is not None
    assert weights.shape == (5, 16)


def trains(*words: str) -> Callable[[StandIn], None]:
    """A whole ``hyperspec train hardware=gpu``: from the second on, only steps that log may wait.

    The first of an epoch makes what is kept over steps; the last one logs, as set here.
    """

    def run(gpu: StandIn) -> None:
        root = Path(tempfile.mkdtemp(prefix="standin-"))
        folder = synthesise(
            root / "specimens", SynthSettings(num_specimens=4, size=16, num_bands=24)
        )
        given = [
            *("train", "experiment=demo", "hardware=gpu", f"data.root={folder}", "data.size=16"),
            *(f"data.cache_dir={root / 'cache'}", f"tracking.uri=sqlite:///{root / 'm.db'}"),
            *("hardware.threads=1", "hardware.plan=false", "sweep.report=false", "bands.n=8"),
            *("batch_size=8", "log_every_n_steps=100", "tracking.system_metrics=false"),
            *("evaluation.controls=[untrained]", f"hydra.run.dir={root / 'out'}", *words),
        ]
        assert hyperspec(given) == 0
        late = Counter(
            f"{wait.where}: {wait.why}" for wait in gpu.waits if wait.step and not wait.last
        )
        gpu.waits.clear()
        assert not late, f"the host waits in a step: {dict(late)}"

    return run


def refuses_mixing(gpu: StandIn) -> None:
    there, here = torch.rand(4, 3).to(DEVICE), torch.rand(4, 3)
    layer = torch.nn.Linear(3, 2)
    mixed: list[Callable[[], object]] = [
        lambda: there + here,
        lambda: here @ there.T,
        lambda: torch.cat([there, here]),
        lambda: layer(there),
        lambda: here[there.argmax(1)],
        lambda: there.index_copy(0, torch.tensor([1]), here[:1]),
    ]
    for number, act in enumerate(mixed):
        try:
            act()
        except MixedDevicesError:
            continue
        raise AssertionError(f"operation {number} was let through")
    assert (there + torch.tensor(1.0)).device == DEVICE  # a number is no tensor of the CPU
    kept = id(layer.weight)
    assert id(layer.to(DEVICE).weight) == kept
    assert there.device.type == "cuda"


def notes_waits(gpu: StandIn) -> None:
    there, here = torch.rand(4, 3).to(DEVICE), torch.rand(4, 3)
    square, pinned = torch.eye(3).to(DEVICE), torch.rand(4, 3).pin_memory()
    waits: list[Callable[[], object]] = [
        lambda: there.sum().item(),
        lambda: bool(there.any()),
        lambda: there.tolist(),
        lambda: there.cpu(),
        lambda: (there > 0).nonzero(),
        lambda: there[there > 0.5],
        lambda: here.to(DEVICE),
        lambda: here.to(DEVICE, non_blocking=True),
        lambda: pinned.to(DEVICE),
        lambda: torch.tensor([1.0, 2.0], device=DEVICE),
        lambda: there.copy_(here),
        lambda: torch.linalg.inv(square),
        lambda: torch.linalg.det(square),
        lambda: torch.unique(there),
        lambda: torch.equal(there, there),
        lambda: torch.cuda.synchronize(),
    ]
    for number, act in enumerate(waits):
        try:
            with gpu.no_waits():
                act()
        except HostWaitError as error:
            if "standin_cases.py" in str(error) or "torch/" in str(error):  # it names a line
                continue
        raise AssertionError(f"operation {number} was let through")
    with gpu.no_waits():
        sent = pinned.to(DEVICE, non_blocking=True)
        sent.index_select(1, torch.arange(2, device=DEVICE))
        sent.masked_fill_(sent > 0.5, 1.0)
        torch.randn(3, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(1))


def keeps_generators_apart(gpu: StandIn) -> None:
    here = torch.get_rng_state()
    first = torch.nn.functional.dropout(torch.ones(64).to(DEVICE)).cpu()
    assert torch.equal(torch.get_rng_state(), here)
    states = torch.cuda.get_rng_state_all()
    second = torch.nn.functional.dropout(torch.ones(64).to(DEVICE)).cpu()
    torch.cuda.set_rng_state_all(states)
    again = torch.nn.functional.dropout(torch.ones(64).to(DEVICE)).cpu()
    assert torch.equal(second, again)
    assert not torch.equal(first, second)


def autocasts_as_cuda(gpu: StandIn) -> None:
    x = torch.rand(2, 3, 4, 4).to(DEVICE)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert torch.nn.functional.conv2d(x, x).dtype == torch.bfloat16
        assert x.bfloat16().exp().dtype == torch.float32
        assert x.sum().dtype == torch.float32


def cases(kind: str) -> dict[str, Callable[[StandIn], None]]:
    """Return the cases of a kind by name."""
    if kind == "steps":
        return {f"{name} [bf16]": steps("bf16", words) for name, words in STEPS.items()}
    others: dict[str, Callable[[StandIn], None]] = {
        "refuses mixing": refuses_mixing,
        "notes waits": notes_waits,
        "keeps generators apart": keeps_generators_apart,
        "autocasts as CUDA": autocasts_as_cuda,
        "gathers in parts": gathers_in_parts,
    }
    for name in OTHER_PRECISIONS:
        others[f"{name} [16]"] = steps("16", STEPS[name])
        others[f"{name} [32, as on the CPU]"] = as_on_the_cpu(STEPS[name])
    return {
        **others,
        "embedding": embeds(),
        "embedding, pinned, pca": embeds("data.residency=pinned", "bands=pca", "bands.n=6"),
        "embedding, mmap, attention": embeds("data.residency=mmap", "model.stem=attention"),
        "embedding, windows": embeds(*WINDOWS),
        "replay": replays(),
        "replay, combined": replays("loss=combined", "views=strong"),
        "replay, queue, checkpointing": replays("loss.queue_size=8", "hardware.checkpointing=true"),
        **{
            f"growth {stem}": grows(stem)
            for stem in ("projection", "wavelength", "attention", "inflate")
        },
        "importance": importance,
        "curve": curve,
        "attention weights": attention,
        "train, clipped, validated": trains(
            "clip_norm=1", "epochs=3", "evaluation.every_n_epochs=1"
        ),
        "train, 16 bit, two stages": trains(
            "hardware.precision=16-mixed",
            "clip_norm=1",
            "epochs=2",
            "schedule=[{until_epoch: 1, bands: 4}, {until_epoch: 2, bands: 8}]",
        ),
        "train, learned bands, float32, mmap": trains(
            *("hardware.precision=32-true", "bands=learned", "bands.n=4", "epochs=6"),
            *("data.residency=mmap", "loss.queue_size=8"),
        ),
    }


def measured(name: str, case: Callable[[StandIn], None]) -> dict[str, Any]:
    """Run a case."""
    started, error = time.perf_counter(), None
    with StandIn() as gpu:
        try:
            case(gpu)
        except Exception as failure:  # noqa: BLE001 - what it is is the test's message
            trace = traceback.format_exc().splitlines()
            error = f"{type(failure).__name__}: {failure}\n" + "\n".join(trace[-14:])
    seconds = time.perf_counter() - started
    return {"name": name, "error": error, "seconds": seconds, "waits": dict(gpu.counted())}


@cache
def record(kind: str) -> dict[str, dict[str, Any]]:
    """Return what became of the cases of a kind by name, from a process of its own."""
    here = Path(__file__).resolve()
    folders = [str(here.parents[2]), str(here.parent)]
    done = subprocess.run(
        [sys.executable, str(here), kind],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, f"after {list(found)}: {done.stderr[-3000:]}"
    return found


def main(kind: str, only: str = "") -> None:
    """Run the cases of a kind whose names hold a word."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    out = sys.stdout
    sys.stdout = sys.stderr  # what commands print is not the record
    for name, case in cases(kind).items():
        if only in name:
            print(json.dumps(measured(name, case)), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
