"""What a plan says of a GPU that is not there, against bytes counted in a real step on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hyperspec.cli.commands.plan import composed
from hyperspec.cli.main import main as hyperspec
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.runs.planning import memory as forecasts
from hyperspec.runs.planning.dummy_data import Folder, build, stand_in
from hyperspec.runs.planning.fake_tensors import norms_in_float32
from hyperspec.runs.planning.memory import forecast
from hyperspec.runs.planning.step_memory import (
    Plan,
    StepSettings,
    plan_step,
    settings_of,
    step_context,
)
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.device_kind import planned_for

AXIS = SpectralAxis.linear(400, 800, 40)
SMALL = ["batch_size=8", "data.size=32", "hardware.threads=1"]
FIVE = {
    "plain": ["model=tiny", "bands.n=6"],
    "resnet18": ["model=resnet18", "bands.n=20"],
    "group norm": ["model=tiny", "model.norm=group", "bands.n=20"],
    "local loss": ["model=tiny", "loss=combined", "bands.n=20"],
    "inflated": ["model=tiny", "model.stem=inflate", "bands.n=40"],
}
ON = {
    "cpu": ["hardware=cpu"],
    "gpu float32": ["hardware=gpu", "hardware.precision=32-true"],
    "gpu bf16": ["hardware=gpu"],
}


def planned(*words: str, settings: StepSettings | None = None, num_images: int = 0) -> Plan:
    config = composed([*SMALL, *words])
    kind = "cpu" if config.hardware.accelerator == "cpu" else "cuda"
    module = made(config)
    asked = settings_of(config, 0) if settings is None else settings
    return plan_step(module, asked, step_context(config.hardware), num_images, 2, kind)


def made(config: Train, num_images: int = 0) -> SimCLR:
    return build(config, stand_in(config, AXIS, num_images), torch.device("cpu"))


def kept_by_a_step(config: Train) -> dict[torch.dtype, int]:
    """Run forward for real, by the ways of a GPU, and count what the graph keeps of each type."""
    module = made(config, config.batch_size).train()
    norms_in_float32(module)
    weights = {p.untyped_storage().data_ptr() for p in (*module.parameters(), *module.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value
        return value

    with (
        planned_for("cuda"),
        step_context(config.hardware)(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
    ):
        module.compare(*module.embed_batch(Batch(torch.arange(config.batch_size))))
    found: dict[torch.dtype, int] = {}
    for place, value in kept.items():
        if place not in weights:
            size = value.untyped_storage().nbytes()
            found[value.dtype] = found.get(value.dtype, 0) + size
    return found


@pytest.mark.parametrize("words", FIVE.values(), ids=FIVE)
def test_plans_of_devices_differ_as_arithmetic_says(words: list[str]) -> None:
    cpu, wide, narrow = (planned(*words, *on) for on in ON.values())
    # Weights, their gradients and moments are float32 wherever and however a step is computed.
    for name in ("parameters", "gradients", "optimizer"):
        assert getattr(cpu, name) == getattr(wide, name) == getattr(narrow, name)
    assert cpu.noise == 4 * (2**22 + 2**20)
    assert wide.noise == narrow.noise == 0  # a GPU draws its numbers
    for plan in (wide, narrow):
        assert plan.slack == int(0.02 * (plan.gradients + plan.activations))
    for on, plan in (("gpu float32", wide), ("gpu bf16", narrow)):
        kept = kept_by_a_step(composed([*SMALL, *words, *ON[on]]))
        total = sum(kept.values())
        # Beside the graph lies what the step is about to drop: pixels as they are read, changed,
        # normalised and masked, and a layer's gradients.
        pixels = 8 * len(AXIS) * 32**2 * 4
        assert total <= plan.activations <= 1.3 * total + 4 * pixels
        assert (torch.bfloat16 in kept) == (on == "gpu bf16")
    if not {"model.norm=group", "model.stem=inflate"} & set(words):
        # Half of the graph, and autocast's copies of the weights of products.
        assert narrow.activations < 0.8 * wide.activations + narrow.gradients / 2


def test_norms_that_autocast_widens_cost_what_they_save() -> None:
    # CUDA computes GroupNorm in float32: its input is kept in that type and in bfloat16.
    wide = planned(*FIVE["group norm"], *ON["gpu float32"])
    narrow = planned(*FIVE["group norm"], *ON["gpu bf16"])
    assert 0.8 * wide.activations < narrow.activations < 1.5 * wide.activations


@pytest.mark.parametrize(
    ("residency", "on_card", "on_host"),
    [("device", 7 * 32**2 * (20 * 2 + 1), 0), ("pinned", 0, 7 * 32**2 * (20 * 2 + 1)),
     ("mmap", 0, 7 * 32**2)],
)  # fmt: skip
def test_planes_count_where_they_lie(residency: str, on_card: int, on_host: int) -> None:
    asked = StepSettings(4, residency=residency)
    plan = planned("model=tiny", "bands.n=20", *ON["gpu bf16"], settings=asked, num_images=7)
    assert (plan.planes, plan.host) == (on_card, on_host)
    assert plan.total == sum(size for _, size in plan.rows())  # the host's are not the card's
    here = planned("model=tiny", "bands.n=20", *ON["cpu"], settings=asked, num_images=7)
    assert (here.planes, here.host) == (on_card + on_host, 0)


def test_a_module_on_another_device_is_planned_in_many_micro_batches() -> None:
    config = composed(
        [*SMALL, "model=tiny", "model.norm=group", "bands.n=9", "loss=combined", *ON["gpu bf16"]]
    )
    asked, around = StepSettings(8, micro_batch=1), step_context(config.hardware)
    module = made(config)
    expected = plan_step(module, asked, around, 0, 2, "cuda")
    # Memory of no kind, and no CPU's: mixing would be an error.
    elsewhere = module.to("meta")
    assert plan_step(elsewhere, asked, around, 0, 2, "cuda") == expected
    assert elsewhere.device.type == "meta"


def with_free_memory(
    monkeypatch: pytest.MonkeyPatch, card: int, host: int = 10**12, images: int = 0
) -> None:
    class Host:
        available = host

    monkeypatch.setattr(forecasts, "is_there", lambda kind: True)
    monkeypatch.setattr(forecasts, "free_bytes", lambda device: card)
    monkeypatch.setattr(forecasts, "look", lambda data: Folder(AXIS, images))
    monkeypatch.setattr("psutil.virtual_memory", Host)


def test_planes_that_do_not_fit_on_the_card_are_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed([*SMALL, "model=tiny", "bands.n=20", "hardware=gpu"])
    planes = 1000 * 32**2 * 41
    with_free_memory(monkeypatch, 2 * planes, images=1000)
    assert (forecast(config).plan.planes, forecast(config).plan.host) == (planes, 0)
    shared = replace(config, hardware=replace(config.hardware, jobs_per_device=2))
    found = forecast(shared)  # each of two jobs has a quarter of the card, and half of it is taken
    assert (found.plan.planes, found.plan.host) == (0, planes)
    assert found.fits


def test_a_card_that_is_not_there_is_planned_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [*SMALL, "model=tiny", "bands.n=6", "hardware=gpu", f"data.root={tmp_path}"]
    if torch.cuda.is_available():
        pytest.skip("there is one")
    found = forecast(composed(words))
    assert (found.device, found.free, found.largest_micro_batch) == ("cuda", None, None)
    assert hyperspec(["plan", *words]) == 0
    assert "cuda: there is no such device here" in capsys.readouterr().out
    assert forecast(composed(words), free=10**9).fits
    assert not forecast(composed(words), free=10**6).fits
