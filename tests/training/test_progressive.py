"""`schedule` through the real entrypoint: nested stages, growth, and interruptions anywhere."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from learned_fixtures import runs, specimens, words
from tracked import Runs, artifact

from hyperspec.cli.train import main
from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.inference.restore import restore
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.errors import HyperspecError

__all__ = ["runs", "specimens", "words"]  # fixtures
FIRST = "{until_epoch: 2, bands: 4}, {until_epoch: 3, bands: 9}"
SCHEDULE = f"schedule=[{FIRST}, {{until_epoch: 6, bands: 24}}]"
# Two steps of 16 per epoch; a checkpoint after every epoch; random views.
STAGED = ["bands=full", SCHEDULE, "sweep.checkpoint_seconds=0"]


@pytest.fixture
def staged(words: list[str]) -> list[str]:
    return [*(w for w in words if not w.startswith("bands")), *STAGED]


def weights(run: object, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(artifact(run, f"checkpoints/{name}"))[
        "state_dict"
    ]
    return state


def test_stages_are_nested_grow_and_are_logged(
    staged: list[str], runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    load = PlaneBank._load

    def counting(self: PlaneBank) -> torch.Tensor:
        loads.append(len(self.bands))
        return load(self)

    monkeypatch.setattr(PlaneBank, "_load", counting)
    assert main(staged) == 0
    assert loads == [24], "the planes of the largest set are loaded once"
    (run,) = runs()
    with artifact(run, "evaluation/stages.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = [(row["bands"], row["until_epoch"]) for row in rows]
    assert told == [("4", "2"), ("9", "3"), ("24", "6")]
    assert all(float(row["growth_cosine"]) >= 0.98 for row in rows[:2])
    assert rows[2]["growth_cosine"] == ""
    assert float(rows[2]["knn_top1"]) == pytest.approx(run.data.metrics["val/knn_top1"], abs=1e-5)
    seconds = [float(row["train_seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    sets = json.loads(artifact(run, "stages.json").read_text())
    few, more, full = (set(sets[f"stage_{i}"]["indices"]) for i in (1, 2, 3))
    assert (len(few), len(more), len(full)) == (4, 9, 24)
    assert few < more < full
    assert {0, 23} <= few
    assert run.data.tags["hyperspec.bands.n"] == "24"
    assert run.data.metrics["epoch"] == 5
    assert run.data.metrics["growth/to_bands"] == 24
    steps = int(read_checkpoint(artifact(run, "checkpoints/last.ckpt"))["global_step"])
    assert steps == 6 * 2
    # Each stage's checkpoint is an encoder of its own bands.
    early = restore(artifact(run, "checkpoints/stage_1.ckpt"))
    assert len(early.trained) == early.embedder.encoder.num_bands == 4


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["projection", "attention"])
def test_killed_at_any_step_it_ends_with_the_same_weights(
    staged: list[str], runs: Runs, monkeypatch: pytest.MonkeyPatch, stem: str
) -> None:
    staged = [*staged, f"model.stem={stem}"]
    assert main([*staged, "-m", "seed=0"]) == 0
    whole = runs()[-1]
    step = SimCLR.training_step
    calls = 0
    # In the first stage, at its end, at the first step of the second, in the third.
    kills = [1, 3, 4, 5, 6, 9]

    def killed(self: SimCLR, batch: object, batch_idx: int) -> torch.Tensor:
        nonlocal calls
        if kills and self.global_step == kills[0]:
            kills.pop(0)
            calls += 1
            raise HyperspecError("killed")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SimCLR, "training_step", killed)
    # Another identity, so that the finished run is not simply taken over.
    again = [*staged, "objective=val/knn_top1", "-m", "seed=0"]
    while kills:
        assert main(again) == 1
    monkeypatch.setattr(SimCLR, "training_step", step)
    assert main(again) == 0
    assert calls == 6
    resumed = runs()[-1]
    assert resumed.data.tags["hyperspec.continued_from"]
    one, other = weights(whole), weights(resumed)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    scores = [
        {k: v for k, v in run.data.metrics.items() if k.startswith(("val/", "test/", "stage/knn"))}
        for run in (whole, resumed)
    ]
    assert scores[0] == scores[1]
    optimizers = [
        read_checkpoint(artifact(run, "checkpoints/last.ckpt"))["optimizer_states"][0]["state"]
        for run in (whole, resumed)
    ]
    for number, state in optimizers[0].items():
        assert torch.equal(state["exp_avg"], optimizers[1][number]["exp_avg"])


def test_a_stages_last_checkpoint_leads_to_the_same_end(staged: list[str], runs: Runs) -> None:
    """Exactly at a boundary: the file that the first stage left, given by hand."""
    assert main(staged) == 0
    (whole,) = runs()
    for name in ("stage_1.ckpt", "stage_2.ckpt"):
        ckpt = artifact(whole, f"checkpoints/{name}")
        assert main([*staged, f"ckpt='{ckpt}'"]) == 0
        one, other = weights(whole), weights(runs()[-1])
        assert all(torch.equal(one[key], other[key]) for key in one), name


def test_the_schedule_keeps_one_rate_over_all_stages(
    staged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = SimCLR.training_step

    def noting(self: SimCLR, batch: object, batch_idx: int) -> torch.Tensor:
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SimCLR, "training_step", noting)
    assert main(staged) == 0
    whole = rates.copy()
    rates.clear()
    assert main([w for w in staged if not w.startswith("schedule")]) == 0
    assert whole == pytest.approx(rates)


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (
            ["epochs=7"],
            "schedule[2].until_epoch is 6, but epochs is 7: the last stage ends the run",
        ),
        (["bands=uniform", "bands.n=20"], "schedule[2].bands is 24, but bands=uniform chose 20"),
        (["bands=binned", "bands.n=24"], "bands=binned chooses no set of single bands"),
        (
            ["schedule=[{until_epoch: 3, bands: 9}, {until_epoch: 6, bands: 9}]"],
            "schedule[1].bands is 9; give a whole number, above the 9 of the stage before",
        ),
        (["schedule=[{until_epoch: 0, bands: 24}]"], "schedule[0].until_epoch is 0; give a whole"),
        (["schedule=[{until_epochs: 6, bands: 24}]"], "until_epochs"),
    ],
)
def test_a_wrong_schedule_is_one_paragraph(
    staged: list[str], extra: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [w for w in staged if not any(w.split("=")[0] == e.split("=")[0] for e in extra)]
    assert main([*kept, *extra]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert text in shown
    assert "Traceback" not in shown


def test_a_checkpoint_of_another_schedule_is_refused(
    staged: list[str], runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(staged) == 0
    ckpt = artifact(runs()[0], "checkpoints/stage_2.ckpt")
    other = "schedule=[{until_epoch: 2, bands: 5}, {until_epoch: 6, bands: 24}]"
    capsys.readouterr()
    assert main([*(w for w in staged if w != SCHEDULE), other, f"ckpt='{ckpt}'"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "was written in stage 2 of a schedule over [4, 9, 24] bands" in shown
    assert "this run's goes over [5, 24]" in shown


def nine(words: list[str]) -> list[str]:
    kept = [w for w in words if not w.startswith(("bands", "epochs"))]
    return [*kept, "bands=uniform", "bands.n=9", "epochs=2"]


SLOW = [pytest.param(stem, marks=pytest.mark.slow) for stem in ("inflate", "wavelength")]


@pytest.mark.parametrize("stem", ["projection", "attention", *SLOW])
def test_a_checkpoint_goes_on_with_all_bands(
    words: list[str], runs: Runs, stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = [*nine(words), f"model.stem={stem}"]
    assert main(base) == 0
    ckpt = artifact(runs()[0], "checkpoints/last.ckpt")
    seen: dict[str, object] = {}
    step = SimCLR.training_step

    def noting(self: SimCLR, batch: object, batch_idx: int) -> torch.Tensor:
        if not seen:
            (optimizer,) = self.trainer.optimizers
            seen["lr"] = optimizer.param_groups[0]["initial_lr"]
            names = {id(p): name for name, p in self.named_parameters()}
            seen["state"] = {names[id(p)]: s["exp_avg"].clone() for p, s in optimizer.state.items()}
            seen["all"] = set(names.values())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SimCLR, "training_step", noting)
    grown = [w for w in base if not w.startswith("bands")]
    assert main([*grown, "bands=full", "lr=1e-4", f"ckpt='{ckpt}'"]) == 0
    run = runs()[-1]
    assert run.data.metrics["growth/from_bands"] == 9
    assert run.data.metrics["growth/to_bands"] == 24
    assert run.data.metrics["growth/cosine"] >= 0.98
    assert run.data.metrics["epoch"] == 1, "two epochs of its own"
    assert seen["lr"] == pytest.approx(1e-4)
    rebuilt = {
        "projection": {"encoder.projection.weight"},
        "inflate": {"encoder.backbone.stages.conv1.0.weight"},
        "wavelength": {"encoder.projection.generate.weight", "encoder.projection.generate.bias"},
        "attention": {
            f"encoder.backbone.stages.attention.{name}"
            for name in (
                *("squeeze.weight", "squeeze.bias", "excite.weight", "excite.bias"),
                "projection.weight",
            )
        },
    }[stem]
    state = seen["state"]
    assert isinstance(state, dict)
    assert seen["all"] - set(state) == rebuilt
    old = read_checkpoint(ckpt)
    named = dict(
        zip(old["hyperspec_parameters"], old["optimizer_states"][0]["state"].values(), strict=True)
    )
    for name, moment in state.items():
        assert torch.equal(moment, named[name]["exp_avg"]), name


def test_a_checkpoint_of_another_model_is_refused(
    words: list[str], runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    base = nine(words)
    assert main(base) == 0
    ckpt = artifact(runs()[0], "checkpoints/last.ckpt")
    kept = [w for w in base if not w.startswith("bands")]
    capsys.readouterr()
    for extra, text in (
        (["model.stem=inflate"], "model.stem=projection there, inflate here"),
        (["model=resnet18"], "model.name=tiny there, resnet18 here"),
        (["head.dim=64"], "head.dim=128 there, 64 here"),
        (["data.normalisation=snv"], "data.normalisation=zscore there, snv here"),
        (["bands=binned", "bands.n=5"], "The channels of bands=binned are sums of bands"),
    ):
        bands = [] if extra[0].startswith("bands") else ["bands=full"]
        assert main([*kept, *bands, *extra, f"ckpt='{ckpt}'"]) == 2
        shown = " ".join(capsys.readouterr().err.split())
        assert text in shown
        assert "Traceback" not in shown
