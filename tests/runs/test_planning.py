"""Predicted memory and work against counting by hand, and as people meet them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hyperspec.cli.commands.plan import composed
from hyperspec.cli.main import main as hyperspec
from hyperspec.runs.planning.dummy_data import Folder, build, stand_in
from hyperspec.runs.planning.fake_tensors import Watch, convolution_scratch, no_scratch
from hyperspec.runs.planning.memory import Forecast, forecast
from hyperspec.runs.planning.step_memory import StepSettings, plan_step, settings_of
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.training.simclr import SimCLR

SMALL = ["model=tiny", "bands.n=6", "data.size=16", "batch_size=8", "hardware.threads=1"]
AXIS = SpectralAxis.linear(400, 800, 40)


def made(*words: str) -> SimCLR:
    config = composed([*SMALL, *words])
    return build(config, stand_in(config, AXIS), torch.device("cpu"))


def test_watch_counts_what_lives_and_multiplies() -> None:
    with FakeTensorMode(), Watch(no_scratch) as seen:
        x = torch.empty(10, 20)  # 800 bytes
        y = x @ torch.empty(20, 5)  # 400, and 200
        assert seen.now == 800 + 200
        z = y.relu()
        del x, y
        assert seen.now == z.nbytes == 200
        z.view(-1).mul_(2)  # no memory of its own
    assert (seen.now, seen.peak, seen.flop) == (200, 1400, 2 * 10 * 20 * 5)


def test_convolutions_copy_images_into_a_layout_of_their_own() -> None:
    layer = nn.Conv2d(4, 8, 3, padding=1, bias=False)
    with FakeTensorMode(allow_non_fake_inputs=True), Watch(convolution_scratch) as seen:
        x = torch.empty(2, 4, 10, 10)
        out = layer(x)
    taken, given = 2 * 4 * 100 * 4, out.nbytes
    assert seen.peak == taken + given + max(taken, given)


def test_convolutions_with_channels_last_take_such_images_as_they_are() -> None:
    layer = nn.Conv2d(4, 8, 3, padding=1, bias=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    taken, given = 2 * 4 * 100 * 4, 2 * 8 * 100 * 4
    for layout, copied in ((torch.channels_last, 0), (torch.contiguous_format, taken)):
        with FakeTensorMode(allow_non_fake_inputs=True):
            x = torch.empty(2, 4, 10, 10).contiguous(memory_format=layout)
            with Watch(convolution_scratch) as seen:
                layer(x)
        assert seen.peak == given + copied


def test_flop_of_a_step_are_those_of_its_products() -> None:
    module = made()
    plan = plan_step(module, StepSettings(8), nullcontext, 0, 2)
    # By hand, per image of 16 images (two views of eight).
    first, *others = (
        16 * 2 * 9 * i * o * side**2 for i, o, side in [(6, 64, 8), (64, 64, 4), (64, 128, 2)]
    )
    # The backward pass is twice the forward pass; six bands enter the first convolution themselves,
    # and nothing in front of it has a gradient.
    step = 2 * first + 3 * sum(others)
    assert step < plan.flop < 1.1 * step


def test_gradients_optimizer_and_planes_are_counted_exactly() -> None:
    module = made()
    weights = sum(p.numel() for p in module.parameters())
    plan = plan_step(module, StepSettings(8), nullcontext, 100, 2)
    assert plan.gradients == 4 * weights
    assert plan.optimizer == 8 * weights
    assert plan.planes == 100 * 256 * (6 * 2 + 1)
    apart = plan_step(module, StepSettings(8, processes=2, residency="mmap"), nullcontext, 100, 2)
    assert apart.gradients == 8 * weights, "DDP keeps buckets"
    assert apart.planes == 100 * 256, "masks stay"


def test_micro_batches_take_the_memory_of_one() -> None:
    module = made("model.norm=group", "data.size=64")
    plain = plan_step(module, StepSettings(4), nullcontext, 0, 2)
    large = plan_step(module, StepSettings(64), nullcontext, 0, 2)
    cached = plan_step(module, StepSettings(64, micro_batch=4), nullcontext, 0, 2)
    assert large.activations > 10 * plain.activations
    assert cached.activations < 1.3 * plain.activations
    assert 1.2 * large.flop < cached.flop < 1.5 * large.flop, "one more forward pass"


def test_further_micro_batches_are_counted_as_if_they_were_traced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = made("model.norm=group", "loss=combined", "data.size=32")
    asked = StepSettings(12, micro_batch=1)
    short = plan_step(module, asked, nullcontext, 0, 2)
    monkeypatch.setattr("hyperspec.runs.planning.step_memory._TRACED", 12)
    whole = plan_step(module, asked, nullcontext, 0, 2)
    assert short.flop == pytest.approx(whole.flop, rel=0.03)
    assert short.activations == pytest.approx(whole.activations, rel=0.25), (
        "a little high where all is small"
    )


def test_a_plan_changes_neither_module_nor_random_numbers() -> None:
    module = made("loss.queue_size=32")
    before = {name: value.clone() for name, value in module.named_parameters()}
    state = torch.get_rng_state()
    plan_step(module, StepSettings(8), nullcontext, 0, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters())
    assert all(p.grad is None for p in module.parameters())
    assert module.loss.queue is None


@pytest.mark.parametrize(
    "words",
    [
        ["loss=vicreg"],
        ["loss=dcl", "views=strong"],
        ["loss=combined", "hardware.precision=bf16-mixed"],
        ["views=cross_modal", "bands.n=20"],
        ["bands=learned", "bands.n=4"],
        ["bands=binned", "bands.n=4"],
        ["model.stem=wavelength", "hardware.checkpointing=true", "hardware.accumulate=2"],
        ["model.stem=inflate", "data.normalisation=snv"],
        ["model.stem=attention"],
    ],
    ids=" ".join,
)
def test_every_kind_of_run_can_be_planned(words: list[str]) -> None:
    found = forecast(composed([*SMALL, *words]))
    plan = found.plan
    assert plan.flop > 0
    assert plan.activations > 0
    assert found.total == plan.total + found.process
    assert plan.total == sum(size for _, size in plan.rows())


def small_machine(free: float, *words: str) -> Forecast:
    """The forecast of a machine with so many times the memory that the run takes."""
    found = forecast(composed([*SMALL, *words]))
    return replace(found, free=int(found.plan.total * free), largest_micro_batch=None)


def test_what_does_not_fit_is_told_what_to_change() -> None:
    text = " ".join(small_machine(0.5).lines())
    assert "it does not fit" in text
    assert "model.norm=group" in text
    assert "hardware.checkpointing=true" in text
    assert "hardware.precision=bf16-mixed" in text
    assert "it fits" in " ".join(small_machine(2).lines())
    exact = small_machine(0.5, "model.norm=group")
    assert "not even hardware.micro_batch=1 fits" in exact.lines()


def test_a_sweep_is_told_how_many_jobs_go_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """One per core, where so many fit into the memory together."""
    monkeypatch.setattr("hyperspec.runs.planning.memory.usable_cores", lambda: 4)
    found = forecast(composed([*SMALL, "hardware.threads=null"]))

    def told(times: float, one: Forecast = found) -> tuple[int, bool]:
        given = replace(one, free=int(found.total * times / 0.9) + 1)
        said = [line for line in given.lines() if "hydra/launcher=joblib" in line]
        assert all(f"n_jobs={given.side_by_side} " in line for line in said)
        return given.side_by_side, bool(said)

    assert [told(times) for times in (1.5, 2.5, 100)] == [(1, False), (2, True), (4, True)]
    of_two = replace(found.config.hardware, threads=2)
    assert told(100, replace(found, config=replace(found.config, hardware=of_two))) == (2, True)
    assert told(100, replace(found, device="cuda")) == (1, False)
    assert replace(found, free=None).side_by_side == 1


def test_the_largest_micro_batch_fits_and_the_next_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = composed([*SMALL, "model.norm=group", "data.size=64", "batch_size=64"])
    module = build(config, stand_in(config, AXIS), torch.device("cpu"))
    settings = settings_of(config, 0)

    def needs(micro: int) -> int:
        asked = replace(settings, micro_batch=micro)
        return plan_step(module, asked, nullcontext, 0, 2).total

    class Memory:
        available = int(needs(20) / 0.9)

    monkeypatch.setattr("hyperspec.runs.planning.memory.psutil.virtual_memory", Memory)
    found = forecast(config).largest_micro_batch
    assert found is not None
    assert 16 <= found <= 20


def test_few_specimens_are_the_batch() -> None:
    config = composed([*SMALL, "batch_size=64"])
    assert settings_of(config, 0).batch == 64
    assert settings_of(config, 20).batch == 10  # half of them train


def test_command_prints_table_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert hyperspec(["plan", *SMALL]) == 0
    shown = capsys.readouterr().out
    for word in ("parameters", "gradients", "optimizer", "activations", "total", "GFLOP per step"):
        assert word in shown
    assert "MB free, it fits (no specimens there: planes are not counted)" in shown


def test_command_refuses_a_misspelt_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert hyperspec(["plan", "batch_sise=8"]) == 2
    assert "batch_sise" in capsys.readouterr().err


def test_folder_of_nothing_takes_the_missions_axis(tmp_path: Path) -> None:
    config = composed([*SMALL, f"data.root={tmp_path}"])
    found = forecast(config)
    assert found.folder == Folder(found.folder.axis, 0)
    assert len(found.folder.axis) == 408


def test_plans_are_json() -> None:
    plan = plan_step(made(), StepSettings(8), nullcontext, 10, 2)
    assert json.loads(json.dumps(vars(plan))) == vars(plan)


def test_the_products_of_stored_planes_are_counted() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from hyperspec.datasets.loading.packed_planes import StoredPlanes, project_stored
    from hyperspec.runs.planning.fake_tensors import Watch, no_scratch

    with FakeTensorMode():
        images = StoredPlanes(torch.empty(1, 20, 8, 8, dtype=torch.float16), [0] * 3)
        matrix = torch.empty(3, 4, 20, requires_grad=True)
        with Watch(no_scratch) as watch:
            (made_of,) = project_stored(matrix, torch.empty(3, 4), images, [4])
            made_of.sum().backward()
    assert watch.flop == 2 * (2 * 3 * 4 * 20 * 64)
