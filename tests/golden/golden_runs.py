"""Golden numbers of the parts, each on its own: in float64, and mostly norms and losses."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from golden_material import AXIS, BANDS, SIZE, ArraySource, material_of, split_of
from golden_record import Run
from torch import Tensor, nn

from hyperspec.bands import (
    PROJECTIONS,
    STRATEGIES,
    CountedStrategy,
    Filters,
    Full,
    ListBands,
    Receptors,
    Uniform,
)
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.grouping import Grouping
from hyperspec.datasets.preparation.preparation import PrepareSettings, TileSettings
from hyperspec.datasets.preparation.prepare import prepare
from hyperspec.datasets.rotation import Rotation
from hyperspec.datasets.splits import grouped_split
from hyperspec.datasets.store.tiles import TileSource
from hyperspec.evaluation.config import DEFAULT
from hyperspec.evaluation.confounders import probe_confounder
from hyperspec.evaluation.controls.spectra import mean_spectra
from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.evaluators.retrieval import average_precisions
from hyperspec.evaluation.scores import evaluate_features
from hyperspec.evaluation.statistics.intervals import mean_interval
from hyperspec.losses.config import (
    DclConfig,
    LossConfig,
    NtXentConfig,
    SupConConfig,
    VicRegConfig,
)
from hyperspec.models import build_encoder, build_head
from hyperspec.models.config import (
    ConvNextConfig,
    EncoderConfig,
    HeadConfig,
    ResNetConfig,
    TinyConfig,
    VitConfig,
)
from hyperspec.transforms import noise
from hyperspec.transforms.augment import Views
from hyperspec.transforms.config import ViewsConfig
from hyperspec.transforms.normalisation.normalisation import NORMALISATIONS, build_normalisation

NM = np.linspace(400.0, 800.0, 8)
OFF = {"crop_min": 1.0, "crop_ratio": 1.0, "rotation_deg": 0.0, "flip_horizontal": 0.0,
       "flip_vertical": 0.0, "gain_sd": 0.0, "tilt_sd": 0.0, "curvature_sd": 0.0,
       "noise_sd": 0.0}  # fmt: skip
VIEWS = {
    "views.spatial/warp": {"crop_min": 0.3, "rotation_deg": 180.0, "flip_horizontal": 0.5},
    "views.spatial/blur": {"blur_probability": 0.7, "blur_sigma_px": 1.5},
    "views.spectral/light": {"gain_sd": 0.2, "tilt_sd": 0.15, "curvature_sd": 0.15},
    "views.spectral/shift": {"shift_nm": 20.0, "smooth_fwhm_nm": 60.0},
    "views.spectral/erase": {"erase_nm": 120.0, "erase_probability": 0.9},
    "views.spectral/drop": {"drop_probability": 0.4, "mix_max": 0.3},
    "views.noise/fresh": {"noise_sd": 0.02, "noise_bank": False},
    "views.noise/bank": {"noise_sd": 0.02},
}
LOSSES: dict[str, LossConfig] = {
    "nt_xent": NtXentConfig(),
    "nt_xent queue": NtXentConfig(queue_size=12),
    "dcl": DclConfig(),
    "vicreg": VicRegConfig(),
    "supcon": SupConConfig(),
}
ENCODERS: dict[str, EncoderConfig] = {
    **{f"stems.{stem}/tiny": TinyConfig(stem=stem)
       for stem in ("projection", "inflate", "wavelength", "attention")},
    "backbones.tiny/group": TinyConfig(norm="group"),
    "backbones.resnet/18": ResNetConfig(),
}  # fmt: skip
LARGE: dict[str, EncoderConfig] = {
    "backbones.resnet/50": ResNetConfig(name="resnet50", norm="group"),
    "backbones.convnext/tiny": ConvNextConfig(),
    "backbones.vit/b_16": VitConfig(),
}


@contextmanager
def in_float64(seed: int) -> Iterator[None]:
    """Make float64 what torch computes in, and start its random numbers anew."""
    before = torch.get_default_dtype()
    noise._numbers.cache_clear()  # kept for the process, in the type of its first use
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        noise._numbers.cache_clear()


def weighted(values: np.ndarray | Tensor) -> float:
    """Return a sum that every value and its place changes."""
    flat = np.asarray(values, np.float64).ravel()
    return float(flat @ np.cos(np.arange(flat.size) * 0.7) + np.abs(flat).sum())


def gradient_norm(module: nn.Module) -> float:
    return float(
        sum(p.grad.square().sum() for p in module.parameters() if p.grad is not None) ** 0.5
    )


def preparation() -> dict[str, float]:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:30, :36]
    disc = np.hypot(y - 14.5, x - 20.5) < 10
    spectrum = np.linspace(0.3, 0.8, BANDS)[:, None, None]
    truth = np.where(disc, spectrum, 0.05) + rng.normal(0, 0.01, (BANDS, 30, 36))
    gain = rng.uniform(1000, 3000, (BANDS, 1, 36))
    offset = rng.uniform(50, 100, (BANDS, 1, 36))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_envi(root / "a.bil", offset + gain * truth, AXIS, dtype=np.float32)
        write_envi(root / "white.bil", np.repeat(offset + gain, 3, axis=1), AXIS, dtype=np.float32)
        write_envi(root / "dark.bil", np.repeat(offset, 2, axis=1), AXIS, dtype=np.float32)
        catalogue = scan(root)
        settings = PrepareSettings(size=12, crop_margin=0.1, dtype="float32")
        made = prepare(catalogue.records[0], catalogue, settings)
        tiles = TileSource(catalogue, TileSettings(mask="none", tile=16, stride=8, dtype="float32"))
        return {
            "preparation.folder/image": weighted(made.image),
            "preparation.folder/mask": weighted(made.mask),
            "preparation.folder/statistics": weighted(made.statistics.mean),
            "preparation.tiles/count": float(len(tiles)),
            "preparation.tiles/planes": weighted(tiles.planes(range(len(tiles)), range(BANDS))),
            "preparation.tiles/masks": weighted(tiles.masks(range(len(tiles)))),
        }


def statistics() -> dict[str, float]:
    material = material_of(Full())
    found = material.statistics
    return {
        "statistics/mean": weighted(found.mean),
        "statistics/variance": weighted(found.variance),
        "statistics/ends": weighted(found.minimum) + 2 * weighted(found.maximum),
        "statistics/covariance": weighted(found.moments.covariance),
        "statistics/classes": sum(weighted(one.mean) for one in found.classes.values()),
        **{f"splits/{name}": weighted(rows) for name, rows in material.split.parts().items()},
        **{
            f"splits.rotation/{turn} {name}": weighted(rows)
            for turn in range(4)
            for name, rows in split_of(material.source.table, Rotation(4, turn)).parts().items()
        },
    }


def bands() -> dict[str, float]:
    full = material_of(Full())
    found = {}
    for name, kind in STRATEGIES.items():
        if issubclass(kind, CountedStrategy):
            some = [kind(n) for n in (3, 7)]
        else:
            some = [ListBands(nm=[500.0, 420.0, 700.0], tolerance_nm=12)] if name == "list" else [
                kind()]  # fmt: skip
        for strategy in some:
            chosen = strategy.select(AXIS, full.statistics)
            found[f"bands.{name}/{len(chosen)}"] = weighted(chosen.wavelengths_nm)
    for name, projection in PROJECTIONS.items():
        chosen = projection(4).select(AXIS, full.statistics)
        # The sign of an eigenvector is nobody's choice.
        found[f"bands.{name}/4"] = weighted(np.abs(chosen.matrix))  # type: ignore[attr-defined]
    for eye, light in (("bluetit", "d65"), ("papilio", "flat"), ("human", "forest_shade")):
        seen = Receptors(eye, illuminant=light, min_share=0).select(AXIS)
        found[f"bands.receptors/{eye}"] = weighted(seen.matrix)
    for strategy, shape in (("uniform", "box"), ("fisher", "gaussian")):
        made = Filters(3, strategy, width_nm=60, shape=shape, photons_per_nm=5)
        passed = made.select(AXIS, full.statistics)
        found[f"bands.filters/{strategy}"] = weighted(passed.matrix)
        found[f"bands.filters/{strategy} light"] = weighted(passed.params["white_photons"])
    return found


def normalisations() -> dict[str, float]:
    material = material_of(Uniform(12))
    chosen = list(material.selection.indices)
    images = torch.from_numpy(material.source.planes(range(6), chosen).astype(np.float64))
    masks = torch.from_numpy(material.source.masks(range(6)))[:, None]
    found = {}
    with in_float64(0):
        for name in NORMALISATIONS:
            made = build_normalisation(
                name,
                material.selection.statistics(material.statistics),
                material.selection.wavelengths_nm,
            )
            found[f"normalisation.{name}/images"] = weighted(made(images, masks) * masks)
    return found


def views() -> dict[str, float]:
    source, found = ArraySource(), {}
    images = torch.from_numpy(source.planes(range(6), range(BANDS)).astype(np.float64))
    masks = torch.from_numpy(source.masks(range(6)))[:, None]
    weight = torch.from_numpy(np.random.default_rng(2).normal(size=(5, BANDS)))
    for name, settings in VIEWS.items():
        with in_float64(3):
            made = Views(ViewsConfig(**{**OFF, **settings}), AXIS.wavelengths_nm, SIZE)
            params = made.draw(6)
            found[name] = weighted(made.warp(made.spectral(images, params, masks), params))
            projected = made.project_view(
                images, masks, weight, torch.ones(BANDS), torch.zeros(BANDS), params
            )
            found[f"{name} projected"] = float(made.warp(projected, params).norm())
    return found


def losses() -> dict[str, float]:
    found = {}
    for name, config in LOSSES.items():
        with in_float64(4):
            loss = config.build()
            pair = [torch.randn(9, 6).requires_grad_() for _ in range(2)]
            for step in range(2):
                given = [nn.functional.normalize(z) if config.normalised else z for z in pair]
                codes = [torch.tensor([0, 1, 0, -1, 2, 1, 1, -1, 0])] * config.supervised
                value = loss(*given, *codes)
                part, _, more = name.partition(" ")
                key = f"losses.{part}/{more or 'plain'} {step}"
                gradient = torch.autograd.grad(value, pair)
                found[f"{key} value"] = float(value.detach())
                found[f"{key} gradient"] = float(torch.stack(gradient).norm())
    return found


def encoders(chosen: dict[str, EncoderConfig]) -> dict[str, float]:
    found = {}
    for name, config in chosen.items():
        with in_float64(6):
            encoder = build_encoder(config, NM).double()
            head = build_head(HeadConfig(dim=8), encoder.num_features)
            images = torch.rand(3, len(NM), 32, 32)
            features = encoder(images)
            embedded = head(features)
            # Not a sum of squares: unit vectors would have no gradient.
            (embedded * torch.rand_like(embedded)).sum().backward()
            found[f"{name} features"] = float(features.detach().norm())
            found[f"{name} gradient"] = gradient_norm(encoder)
            if name == "stems.projection/tiny":
                found["head/embedding"] = weighted(embedded.detach())
                found["head/gradient"] = gradient_norm(head)
    return found


def scores() -> dict[str, float]:
    rng = np.random.default_rng(8)
    centres = rng.normal(size=(4, 10))

    def held(count: int) -> Held:
        labels = [f"class {i % 4}" for i in range(count)]
        features = np.stack([centres[i % 4] for i in range(count)])
        features += rng.normal(scale=1.1, size=features.shape)
        specimens = [f"{i // 2}" for i in range(count)]
        return Held(features, labels, specimens, [f"{i}.bil" for i in range(count)])

    parts = {"train": held(64), "validation": held(40), "test": held(40)}
    metrics = evaluate_features(parts, DEFAULT).metrics
    test = parts["test"]
    interval = mean_interval(rng.normal(size=40), test.specimens)
    found = {
        "evaluation.retrieval/map": float(
            average_precisions(test.matrix, [str(label) for label in test.labels]).mean()
        ),
        "evaluation.intervals/low": interval.low,
        "evaluation.intervals/high": interval.high,
        "evaluation.controls/mean_spectrum": weighted(
            mean_spectra(ArraySource().values, ArraySource().foreground)
        ),
    }
    for name, value in metrics.items():
        part = "shape" if "rankme" in name else "retrieval" if "retrieval" in name else "probes"
        if name.endswith(("_low", "_high")):
            part = "intervals"
        found[f"evaluation.{part}/{name}"] = value
    # Not the agreement of clusters with labels: a count, which one row near a border may change.
    more = evaluate_features(parts, ["clusters", "alignment"]).metrics
    for name in ("test/silhouette", "test/alignment", "test/uniformity"):
        part = "clusters" if "silhouette" in name else "alignment"
        found[f"evaluation.{part}/{name}"] = more[name]
    return found


def confounders() -> dict[str, float]:
    rng = np.random.default_rng(11)
    days = rng.permutation(np.arange(24) % 8)
    specimens = [f"{i // 2}" for i in range(48)]
    columns = {"day": [f"day {day}" for day in np.repeat(days, 2)]}
    labels = [f"class {i // 2 % 2}" for i in range(48)]
    split = grouped_split(
        labels, specimens, seed=0, grouping=Grouping.of("day", specimens, columns)
    )
    features = rng.normal(size=(8, 6))[np.repeat(days, 2)] + rng.normal(scale=0.8, size=(48, 6))
    train, test = (
        Held(features[own], labels[own], specimens[own], specimens[own])
        for own in (slice(0, None, 2), slice(1, None, 2))
    )
    values = (columns["day"][::2], columns["day"][1::2])
    probe = probe_confounder("day", train, test, values, k=5)
    return {
        **{f"splits.groups/{name}": weighted(part) for name, part in split.parts().items()},
        **{f"evaluation.confounders/{name}": value for name, value in probe.metrics.items()},
    }


RUNS: dict[str, Run] = {
    # Cubes are read and resized in float32.
    "preparation": Run(preparation, tolerance=1e-5),
    "statistics": Run(statistics),
    "bands": Run(bands, ("statistics",)),
    # Scale and offset are kept in float32.
    "normalisations": Run(normalisations, ("statistics",)),
    # What is drawn, and the axis, are kept in float32.
    "views": Run(views, ("views.spatial",), tolerance=1e-5),
    "losses": Run(losses),
    "encoders": Run(partial(encoders, ENCODERS), ("backbones.tiny", "head")),
    "large encoders": Run(partial(encoders, LARGE), ("stems.projection", "head"), slow=True),
    "scores": Run(scores),
    "confounders": Run(confounders, ("evaluation.probes", "evaluation.intervals")),
}
