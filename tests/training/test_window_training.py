"""Windows of wavelengths as modalities: encoder, loss, exact micro-batches, retrieval."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from test_local_training import NM, Specimens, step
from torch import Tensor
from views_presets import PRESETS

from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.evaluation.similarity import window_retrieval
from hyperspec.losses import Dcl, NtXent
from hyperspec.losses.cross_modal import CrossModalLoss
from hyperspec.models import build_head
from hyperspec.models.config import HeadConfig, TinyConfig
from hyperspec.models.cross_modal import WindowBackbone, WindowHeads, build_window_encoder
from hyperspec.models.encoder import Encoder
from hyperspec.training.callbacks.guards import cached_gradient_error
from hyperspec.training.cross_modal import CrossModal
from hyperspec.training.optimizer import Optimisation
from hyperspec.training.parts import Parts
from hyperspec.transforms.augment import Views
from hyperspec.transforms.config import CrossModalViews
from hyperspec.transforms.normalisation.normalisation import PerBand
from hyperspec.utils.errors import ConfigError

WINDOWS = {"blue": [0, 1], "green": [2, 3, 4], "red": [5]}
CASES = [
    ("towers", "projection"),
    ("towers", "inflate"),
    ("towers", "attention"),
    ("towers", "wavelength"),
    ("concatenation", "wavelength"),
    ("attention", "wavelength"),
]


def encoder_of(fusion: str, stem: str) -> Encoder:
    torch.manual_seed(0)
    config = TinyConfig(stem=stem, norm="group")
    return build_window_encoder(config, NM, WINDOWS, fusion)


def module_of(fusion: str, stem: str, micro_batch: int | None = None) -> CrossModal:
    encoder = encoder_of(fusion, stem)
    width = encoder.num_features if fusion == "attention" else encoder.num_features // 3
    heads = [build_head(HeadConfig(dim=8), width) for _ in range(3 + (fusion == "attention"))]
    loss = CrossModalLoss(NtXent(0.2), 0.5)
    views = Views(PRESETS["cross_modal"], NM, 32)
    affine = PerBand(np.full(NM.size, 2.0), np.full(NM.size, -1.0))
    parts = Parts(encoder, WindowHeads(heads), loss, views, affine)
    module = CrossModal(parts, Specimens(32), Optimisation(1e-3), micro_batch)  # type: ignore[arg-type]
    logged: dict[str, Tensor] = {}
    module.log = lambda name, value, **_: logged.update({name: value})  # type: ignore[assignment,method-assign]
    module.log_dict = lambda values, **_: logged.update(values)  # type: ignore[assignment,method-assign]
    module.logged = logged  # type: ignore[assignment]
    return module


@pytest.mark.parametrize(("fusion", "stem"), CASES)
def test_each_window_is_seen_alone(fusion: str, stem: str) -> None:
    """Changing a band changes its own window's features and no other's."""
    encoder = encoder_of(fusion, stem).eval()
    backbone = encoder.backbone
    assert isinstance(backbone, WindowBackbone)
    x = torch.rand(2, 6, 32, 32)
    changed = x.clone()
    changed[:, 3] += 0.5
    one, other = (
        backbone.window_features(encoder.feature_map(encoder.project(i))) for i in (x, changed)
    )
    assert one.shape == (2, 3, 128)
    assert torch.equal(one[:, [0, 2]], other[:, [0, 2]])
    assert not torch.allclose(one[:, 1], other[:, 1])
    assert encoder(x).shape == (2, encoder.num_features)
    assert encoder.num_features == (128 if fusion == "attention" else 384)
    assert encoder.num_bands == 6


def test_shared_weights_are_those_of_an_encoder_of_the_window_alone() -> None:
    encoder = encoder_of("concatenation", "wavelength")
    torch.manual_seed(0)
    alone = build_window_encoder(
        TinyConfig(stem="wavelength", norm="group"), NM[2:5], {"a": [0], "green": [0, 1, 2]},
        "concatenation",
    )  # fmt: skip
    alone.load_state_dict(encoder.state_dict())
    x = torch.rand(2, 6, 32, 32)
    whole, part = (e.forward(i).chunk(n, 1) for e, i, n in ((encoder, x, 3), (alone, x[:, 2:5], 2)))
    torch.testing.assert_close(whole[1], part[1])


def test_attention_weighs_windows_and_starts_from_their_features() -> None:
    backbone = encoder_of("attention", "wavelength").backbone
    assert isinstance(backbone, WindowBackbone)
    assert backbone.score is not None
    features = torch.rand(4, 3, 128)
    fused = backbone.fuse(features)
    scores = backbone.score(features)[..., 0]
    shares = scores.exp() / scores.exp().sum(1, keepdim=True)
    torch.testing.assert_close(fused, torch.einsum("bw,bwf->bf", shares, features))


@pytest.mark.parametrize("num_fused", [0, 1])
def test_the_loss_is_the_written_formula(num_fused: int) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 5, 3 + num_fused, 4, dtype=torch.float64, generator=generator)
    terms = CrossModalLoss(Dcl(0.3), 0.5)(z[0], z[1], 3)
    base = Dcl(0.3)
    cross = [
        sum(base(z[i, :, a], z[j, :, b]) for i in (0, 1) for j in (0, 1)) / 4
        for a, b in itertools.combinations(range(3), 2)
    ]
    intra = [base(z[0, :, m], z[1, :, m]) for m in range(3 + num_fused)]
    torch.testing.assert_close(terms.cross, torch.stack(cross).mean())
    torch.testing.assert_close(terms.intra, torch.stack(intra).mean())
    torch.testing.assert_close(terms.total, terms.cross + 0.5 * terms.intra)
    other = CrossModalLoss(Dcl(0.3), 0.5)(z[1], z[0], 3)
    torch.testing.assert_close(other.total, terms.total)


@pytest.mark.parametrize(("fusion", "stem"), [CASES[0], CASES[4], CASES[5]])
def test_a_step_trains_every_part_and_micro_batches_are_exact(fusion: str, stem: str) -> None:
    module = module_of(fusion, stem, micro_batch=3)
    step(module)
    logged: dict[str, Any] = module.logged  # type: ignore[assignment]
    total = logged["train/loss_cross"] + 0.5 * logged["train/loss_intra"]
    torch.testing.assert_close(logged["train/loss"], total)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
    module.zero_grad()
    exact = module.double()
    exact.bank.dtype = torch.float64  # type: ignore[attr-defined]
    assert cached_gradient_error(exact, Batch(torch.arange(8))) <= 1e-9


@pytest.mark.parametrize("fusion", ["towers", "attention"])
def test_windows_are_embedded_as_the_loss_sees_them(fusion: str) -> None:
    module = module_of(fusion, "wavelength")
    found = module.embed_windows(torch.arange(8), chunk=3)
    assert found.shape == (8, 3, 8)
    torch.testing.assert_close(found.norm(dim=2), torch.ones(8, 3))
    assert module.embedder.embed(torch.arange(8)).shape == (8, module.encoder.num_features)
    assert module.training


def test_retrieval_between_windows() -> None:
    eye = np.eye(3)
    embeddings = np.stack([eye, 2 * eye, eye[[1, 0, 2]]], axis=1)  # (3, W, D)
    found = window_retrieval(embeddings, ["a", "b", "c"], ["uv", "visible", "nir"])
    assert found["window_retrieval_uv_visible"] == 1
    assert found["window_retrieval_uv_nir"] == pytest.approx(1 / 3)
    assert found["window_retrieval_nir_visible"] == pytest.approx(1 / 3)
    assert found["window_retrieval_top1"] == pytest.approx((2 * 1 + 4 / 3) / 6)
    assert found["window_retrieval_chance"] == pytest.approx(1 / 3)
    # Two images of one specimen count for each other.
    twins = window_retrieval(embeddings, ["a", "a", "c"], ["uv", "visible", "nir"])
    assert twins["window_retrieval_top1"] == 1


def test_windows_must_hold_bands() -> None:
    views = CrossModalViews()
    assert views.places([348.4, 399.9, 400.0, 650.0, 809.6]) == {
        "uv": [0, 1],
        "visible": [2, 3],
        "nir": [4],
    }
    with pytest.raises(ConfigError) as error:
        views.places([450.0, 550.0, 720.0])
    assert str(error.value) == (
        "views.windows_nm.uv is 348 to 400 nm, but none of the 3 chosen bands (450.0 to 720.0 nm) "
        "lies there. Choose more bands or others, or take the window out: "
        "'~views.windows_nm.uv'."
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"windows_nm": {"uv": [348, 400]}}, r"has 1 window\(s\), but views=cross_modal compares"),
        ({"windows_nm": {"UV": [1, 2], "b": [1, 2]}}, "names a window 'UV'; use small letters"),
        ({"windows_nm": {"a": [2, 2], "b": [1, 2]}}, r"views\.windows_nm\.a is \[2, 2\]"),
        ({"intra_weight": -1}, r"views\.intra_weight is -1"),
        ({"fusion": "sum"}, "views.fusion is 'sum'; choose one of towers, concatenation"),
        ({"fusion": "attention", "intra_weight": 0}, "which views.intra_weight=0 leaves out"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        CrossModalViews(**settings)
