"""A job counts the versions of the parts that it uses, and of no other."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from hyperspec.bands import OPTIONS
from hyperspec.config import config_dir, groups
from hyperspec.losses.config import (
    CombinedConfig,
    DclConfig,
    NtXentConfig,
    SupConConfig,
    VicRegConfig,
)
from hyperspec.models.config import STEMS, ConvNextConfig, ResNetConfig, TinyConfig, VitConfig
from hyperspec.runs.identity import parts_of
from hyperspec.transforms.normalisation.normalisation import NORMALISATIONS
from hyperspec.utils.results_version import RESULTS


def used(*words: str) -> set[str]:
    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir())):
        config = compose("train", ["data=synthetic", "model=tiny", "data.root=.", *words])
    return set(parts_of(groups.to_train(config)))


def test_every_option_is_a_part() -> None:
    losses = (NtXentConfig, DclConfig, SupConConfig, VicRegConfig, CombinedConfig)
    wanted = {f"bands.{name}" for name in OPTIONS}
    wanted |= {f"normalisation.{name}" for name in NORMALISATIONS}
    wanted |= {f"stems.{name}" for name in STEMS}
    wanted |= {f"losses.{kind.name}" for kind in losses}
    families = {group: {p for p in RESULTS if p.startswith(f"{group}.")} for group in
                ("bands", "normalisation", "stems", "losses")}  # fmt: skip
    assert wanted == set().union(*families.values())
    for kind in (TinyConfig, ResNetConfig, ConvNextConfig, VitConfig):
        for name in kind.names:
            assert any(name.startswith(p.split(".")[1]) for p in RESULTS if "backbones." in p)
    assert all(type(version) is int and version > 0 for version in RESULTS.values())


BASE = used("bands.n=7")


def test_a_plain_job_uses_no_more_than_it_computes() -> None:
    assert sorted(BASE) == [
        *("backbones.tiny", "bands.uniform", "evaluation.controls", "evaluation.intervals"),
        *("evaluation.probes", "evaluation.retrieval", "evaluation.shape", "head"),
        *("losses.nt_xent", "normalisation.zscore", "preparation.folder", "splits", "statistics"),
        *("stems.projection", "training", "views.noise", "views.spatial", "views.spectral"),
    ]


@pytest.mark.parametrize(
    ("words", "more", "less"),
    [
        (["bands=pca"], {"bands.pca"}, {"bands.uniform"}),
        (["bands=learned"], {"bands.learned", "training.growth"}, {"bands.uniform"}),
        (["loss=vicreg"], {"losses.vicreg"}, {"losses.nt_xent"}),
        (["loss=combined"], {"losses.combined"}, set()),
        (["model=resnet18"], {"backbones.resnet"}, {"backbones.tiny"}),
        (["views=none"], set(), {"views.noise", "views.spectral"}),
        (["views=cross_modal"], {"views.cross_modal"}, set()),
        (["hardware.micro_batch=4", "model.norm=group"], {"training.micro_batch"}, set()),
        (["evaluation.importance=true"], {"evaluation.importance"}, set()),
        (["evaluation.controls=false"], set(), {"evaluation.controls"}),
        (["evaluation.evaluators=[knn,clusters]"], {"evaluation.clusters"}, set()),
        (["data.split.rotate=4", "data.split.rotation=1"], {"splits.rotation"}, set()),
        (["data.split.group=session"], {"splits.groups"}, set()),
        (["data.confounders=[session]"], {"evaluation.confounders"}, set()),
        (["data.confounders=[]"], set(), set()),
        (["data.normalisation=snv"], {"normalisation.snv"}, {"normalisation.zscore"}),
        (
            ["model.stem=wavelength", "evaluation.curve_strategies=[random,pca]"],
            {"stems.wavelength", "evaluation.curve", "bands.random", "bands.pca"},
            {"stems.projection"},
        ),
        (["model.stem=wavelength", "model.sampling_minimum=3"],
         {"stems.wavelength", "training.band_sampling"}, {"stems.projection"}),
        (["epochs=2", "schedule=[{until_epoch: 1, bands: 3}, {until_epoch: 2, bands: 7}]"],
         {"training.schedule", "training.growth"}, set()),
    ],
)  # fmt: skip
def test_a_setting_adds_and_removes_parts(words: list[str], more: set[str], less: set[str]) -> None:
    found = used("bands.n=7", *words)
    assert (found - BASE, BASE - found) == (more, less)
