"""Every option of every group trains a few steps through the real entrypoint."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from test_conf import GROUPS, NEEDS
from tracked import Runs
from train_fixtures import cache, runs, specimens, words

from hyperspec.cli.train import main

__all__ = ["cache", "runs", "specimens", "words"]  # fixtures
pytestmark = pytest.mark.slow

OPTIONS = [
    *(f"bands={name}" for name in GROUPS["bands"]),
    *(f"model={name}" for name in GROUPS["model"]),
    *(f"loss={name}" for name in GROUPS["loss"]),
    *(f"loss/global_loss={name}" for name in ("nt_xent", "dcl", "supcon", "vicreg")),
    *(f"views={name}" for name in GROUPS["views"]),
    *(f"views.fusion={name}" for name in ("concatenation", "attention")),
    *("hardware=cpu", "hardware=low_memory", "hardware=multi_gpu"),
    *(f"model.stem={name}" for name in ("projection", "inflate", "wavelength", "attention")),
    *("model.norm=batch", "model.norm=group"),
    *(
        f"data.normalisation={name}"
        for name in ("none", "minmax", "zscore", "snv", "l2", "derivative", "continuum")
    ),
    *("hardware.precision=bf16-mixed", "hardware.accumulate=2", "clip_norm=1.0"),
    "hardware.check_micro_batch=true",
    *("hardware.checkpointing=true", "evaluation.every_n_epochs=1", "weight_decay=0"),
    *("data.calibrate=none", "data.mask=none", "data/labels=pattern", "evaluation.linear=false"),
    *("evaluation.controls=false", "objective=val/linear_top1", "head.dim=16", "head.hidden=32"),
]
# Options that need more than the small settings of the other tests.
EXTRA = {
    "bands=list": NEEDS["bands=list"],
    "bands=rgb": ["bands.tolerance_nm=30"],
    "bands=learned": ["epochs=4"],
    **{
        f"views.fusion={name}": ["views=cross_modal", "model.stem=wavelength"]
        for name in ("concatenation", "attention")
    },
    "hardware.check_micro_batch=true": ["hardware.micro_batch=4", "model.norm=group"],
    "loss/global_loss=nt_xent": ["loss.global_loss.queue_size=8", "loss.local_weight=1"],
    "hardware=low_memory": ["hardware.threads=1"],
    # Two processes on the CPU stand in for the GPUs.
    "hardware=multi_gpu": ["hardware.accelerator=cpu", "hardware.devices=2", "batch_size=16"],
    "data/labels=pattern": ["data.labels.column=label"],
}
WITHOUT_N = ("bands=full", "bands=list", "bands=rgb", "bands=receptors")


@pytest.mark.parametrize("option", OPTIONS)
def test_option_trains(words: list[str], option: str, runs: Runs, tmp_path: Path) -> None:
    n = [] if option in WITHOUT_N else ["bands.n=6"]
    if option in ("loss=vicreg", "loss=combined") or option.startswith("loss/"):
        # The demo's overlay sets a temperature, which these do not have.
        words = ["data=synthetic", "model=tiny", *(w for w in words if w != "experiment=demo")]
        words += ["loss=combined"] * option.startswith("loss/")
    size = ["data.size=32"] if option.startswith("model=") else []
    assert main([*words, *size, "epochs=2", option, *n, *EXTRA.get(option, [])]) == 0
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert math.isfinite(run.data.metrics["objective"])
    assert math.isfinite(run.data.metrics["train/loss"])


# torch's compiler looks at gradients of inner tensors while it traces.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_backbone_trains(words: list[str], runs: Runs) -> None:
    assert main([*words, "bands.n=6", "hardware.compile=true"]) == 0
    assert runs()[0].info.status == "FINISHED"
