"""Random subsets of bands per step: how many, which, the same for all micro-batches and runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from learned_fixtures import runs, specimens, words
from tracked import Runs, artifact

from hyperspec.cli.train import main
from hyperspec.models.stems.wavelength import WavelengthProjection
from hyperspec.training.callbacks.band_sampling import BandSampling
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.errors import HyperspecError

__all__ = ["runs", "specimens", "words"]  # fixtures


def test_every_octave_of_counts_is_as_likely() -> None:
    sampling = BandSampling(8, 0)
    counts = np.array([len(sampling.draw(408, 0, step)) for step in range(4000)])
    assert counts.min() == 8
    assert counts.max() == 408
    share = np.histogram(np.log2(counts + 0.5), np.arange(3, 9))[0] / len(counts)
    np.testing.assert_allclose(share, 1 / np.log2(409 / 8), atol=0.03)


def test_bands_are_distinct_and_all_come_up() -> None:
    sampling = BandSampling(3, 1)
    drawn = [sampling.draw(12, epoch, 0) for epoch in range(200)]
    assert all(len(set(bands.tolist())) == len(bands) for bands in drawn)
    assert set(np.concatenate(drawn).tolist()) == set(range(12))
    assert np.array_equal(drawn[7], BandSampling(3, 1).draw(12, 7, 0))
    assert not np.array_equal(sampling.draw(12, 7, 0)[:3], sampling.draw(12, 7, 1)[:3])
    assert len(BandSampling(5, 0).draw(5, 0, 0)) == 5


@pytest.fixture
def sampled(words: list[str]) -> list[str]:
    kept = [w for w in words if not w.startswith("bands")]
    stem = ["model.stem=wavelength", "model.sampling_minimum=4"]
    return [*kept, "bands=full", "epochs=3", *stem]


def test_micro_batches_see_the_steps_bands(
    sampled: list[str], runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*sampled, "model.norm=group", "views=none"]
    seen: list[int] = []
    weight = WavelengthProjection.weight

    def noting(self: WavelengthProjection) -> torch.Tensor:
        if self.training and self._shares is not None:
            seen.append(int(torch.count_nonzero(self._shares)))
        found: torch.Tensor = weight.fget(self)  # type: ignore[misc]
        return found

    monkeypatch.setattr(WavelengthProjection, "weight", property(noting))
    assert main([*words, "hardware.micro_batch=4"]) == 0
    # Six steps: four micro-batches without a graph, four with, of two views at once.
    assert len(seen) == 6 * 8
    per_step = [set(seen[i : i + 8]) for i in range(0, len(seen), 8)]
    assert all(len(counts) == 1 for counts in per_step)
    assert len(set().union(*per_step)) > 1
    assert main([*words, "hardware.micro_batch=16"]) == 0
    small, large = (
        read_checkpoint(artifact(run, "checkpoints/last.ckpt"))["state_dict"] for run in runs()
    )
    for key, value in small.items():
        torch.testing.assert_close(value, large[key], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_killed_run_draws_the_same_bands_again(
    sampled: list[str], runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*sampled, "sweep.checkpoint_seconds=0"]
    assert main([*words, "-m", "seed=0"]) == 0
    step = SimCLR.training_step

    def killed(self: SimCLR, batch: object, batch_idx: int) -> torch.Tensor:
        if self.global_step == 3:
            raise HyperspecError("killed")
        return step(self, batch, batch_idx)

    again = [*words, "objective=val/knn_top1", "-m", "seed=0"]
    monkeypatch.setattr(SimCLR, "training_step", killed)
    assert main(again) == 1
    monkeypatch.setattr(SimCLR, "training_step", step)
    assert main(again) == 0
    whole, resumed = (
        read_checkpoint(artifact(runs()[place], "checkpoints/last.ckpt"))["state_dict"]
        for place in (1, -1)
    )
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ("model.sampling_minimum=25", "is 25, but the training is on 24 bands"),
        ("data.normalisation=snv", "data.normalisation=snv reads all bands of a pixel"),
        ("model.stem=projection", "the weights of model.stem=projection belong to its own"),
    ],
)
def test_what_does_not_fit_is_refused(
    sampled: list[str], extra: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [w for w in sampled if w.split("=")[0] != extra.split("=")[0]]
    assert main([*kept, extra]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert text in shown


def test_the_mission_axis_has_bands_as_wide_as_their_spacing(specimens: Path) -> None:
    from hyperspec.spectra.axis import SpectralAxis
    from hyperspec.spectra.selection import BandSelection

    axis = SpectralAxis.linear(348.3931, 809.6, 408)
    widths = BandSelection((0, 200, 407), axis, "list").fwhm_nm
    np.testing.assert_allclose(widths, 1.1332, atol=1e-3)
    told = SpectralAxis(axis.wavelengths_nm, np.linspace(2, 4, 408))
    np.testing.assert_allclose(BandSelection((0, 407), told, "list").fwhm_nm, [2, 4])
