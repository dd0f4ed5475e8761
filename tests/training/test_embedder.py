"""The frozen embedder: what it measures is measured without changing what is trained."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from test_fused_views import BANDS, ROWS, SIZE, bank
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from hyperspec.models.config import ResNetConfig, TinyConfig
from hyperspec.models.encoder import Encoder, build_encoder
from hyperspec.models.eval_mode import eval_mode
from hyperspec.runs.planning.fake_tensors import Watch, no_scratch
from hyperspec.training import embedder as embedders
from hyperspec.training.embedder import Embedder
from hyperspec.transforms.normalisation.normalisation import PerBand

NM = np.linspace(400, 1000, BANDS)


def embedder_of(stem: str = "wavelength") -> Embedder:
    torch.manual_seed(0)
    encoder = build_encoder(TinyConfig(stem=stem, stem_channels=4, norm="batch"), NM)
    return Embedder(encoder, PerBand(np.ones(BANDS), np.zeros(BANDS)), bank())  # type: ignore[arg-type]


def modes(encoder: Encoder) -> list[bool]:
    return [part.training for part in encoder.modules()]


def test_embedding_leaves_weights_statistics_and_modes_as_they_are() -> None:
    embedder = embedder_of()
    embedder.encoder.train()
    embedder.encoder.backbone.stages[0].eval()  # a part with a mode of its own
    mode = modes(embedder.encoder)
    before = {name: value.clone() for name, value in embedder.encoder.state_dict().items()}
    embedder.embed(ROWS)
    assert modes(embedder.encoder) == mode
    after = embedder.encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    with pytest.raises(FrozenInstanceError):
        embedder.encoder = embedder.encoder  # type: ignore[misc]


def test_modes_come_back_after_an_error() -> None:
    encoder = embedder_of().encoder.train()

    def fails() -> None:
        with eval_mode(encoder, len):
            raise ValueError(f"training: {any(modes(encoder))}")

    with pytest.raises(ValueError, match="training: False"):
        fails()
    assert all(modes(encoder))


@pytest.mark.parametrize(("images", "expected"), [(1000, 64), (5.5, 5), (0.1, 1)])
def test_as_many_images_are_embedded_at_once_as_memory_allows(
    images: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = replace(embedder_of(), direct=False)
    each = 4 * SIZE**2 * (3 * BANDS + 128)
    monkeypatch.setattr(embedders, "free_bytes", lambda device: 2 * images * each)
    assert embedder.at_once() == expected
    assert embedder.at_once(2) == min(expected, 2)
    seen: list[int] = []
    real = embedder.bank.batch

    def batch(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(len(rows))
        return real(rows)

    embedder.bank.batch = batch  # type: ignore[method-assign]
    embedder.embed(ROWS)
    assert seen[0] == min(expected, len(ROWS))
    assert sum(seen) == len(ROWS)


def test_one_image_takes_no_more_than_is_reckoned_with() -> None:
    """Counted on tensors without memory, at the size of the mission: 408 bands, 224 px."""
    nm = np.linspace(350, 800, 408)
    bands, images = len(nm), 2
    for config in (ResNetConfig("resnet50", stem="inflate"), ResNetConfig("resnet50")):
        encoder = build_encoder(config, nm)
        normalisation = PerBand(np.ones(bands), np.zeros(bands))
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with FakeCopyMode(mode):
            parts = copy.deepcopy((encoder, normalisation))
        small = bank()
        embedder = Embedder(*parts, small, direct=False)  # type: ignore[arg-type]
        with mode, torch.no_grad(), Watch(no_scratch) as seen:
            pixels = torch.empty(images, bands, 224, 224)
            embedder(pixels, torch.empty(images, 1, 224, 224, dtype=torch.bool))
        assert seen.peak < images * 4 * 224**2 * (3 * bands + 128)


def test_one_call_and_rows_of_the_bank_give_the_same_features() -> None:
    embedder = replace(embedder_of(), direct=False)
    with torch.no_grad():
        called = embedder(*embedder.bank.batch(ROWS))
    torch.testing.assert_close(embedder.embed(ROWS, chunk=3), called, atol=1e-6, rtol=1e-5)


def test_an_encoder_on_other_bands_shares_its_parameters_and_leaves_the_first_alone() -> None:
    encoder = embedder_of().encoder
    images = torch.rand(2, BANDS, SIZE, SIZE)
    few = np.arange(0, BANDS, 4)
    drawn = torch.get_rng_state()
    with eval_mode(encoder), torch.no_grad():
        before = encoder(images)
        other = encoder.on_wavelengths(NM[few], None)
        there = other(images[:, few])
        same = encoder.on_wavelengths(NM, None)(images)
        again = encoder(images)
    assert torch.equal(torch.get_rng_state(), drawn), "no random number is taken"
    assert (other.num_bands, encoder.num_bands) == (len(few), BANDS)
    assert {id(p) for p in other.parameters()} == {id(p) for p in encoder.parameters()}
    torch.testing.assert_close((again, same), (before, before), atol=0, rtol=0)
    assert not torch.equal(there, before)


def test_an_encoder_whose_weights_belong_to_its_bands_takes_no_others() -> None:
    with pytest.raises(TypeError, match="Only stem=wavelength takes any bands"):
        embedder_of("projection").encoder.on_wavelengths(NM[:5], None)
