"""Options of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hyperspec.evaluation.evaluators import chosen
from hyperspec.evaluation.metrics import CONTROLS
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import at_least, one_of

RGB_MODELS = ("resnet18", "resnet34", "resnet50", "convnext_tiny", "vit_b_16")
DEFAULT = ("knn", "linear", "view_retrieval", "rankme")


@dataclass
class Evaluation:
    """How frozen features of held-out specimens are scored."""

    k: int = 5
    """Neighbours of the k-NN probe."""
    evaluators: list[str] = field(
        default_factory=lambda: list(DEFAULT), metadata={"identity": "unless default"}
    )
    """What scores the encoder, by name: `knn`, `linear`, `view_retrieval`, `rankme`, `retrieval`,
    `clusters`, `alignment`, or what a module of yours registers."""
    linear: bool = True
    """Fit the linear probe too; false takes `linear` out of the evaluators."""
    controls: Any = True
    """What needs no contrastive training and is scored beside the encoder: true for all, false for
    none, or a list of names: `untrained`, `mean_spectrum`, `image_stats`, `random_features`,
    `pls_da`, `lda`, `rgb_encoder`."""
    rgb_weights: str | None = field(
        default=None, metadata={"content": True, "identity": "unless default"}
    )
    """Path of a state dict in torchvision's naming, for the control `rgb_encoder`; null leaves it
    out. Nothing is ever downloaded."""
    rgb_model: str = field(default="resnet18", metadata={"identity": "unless default"})
    """Architecture of that file: `resnet18`, `resnet34`, `resnet50`, `convnext_tiny` or
    `vit_b_16`."""
    resamples: int = 2000
    """Without effect: intervals come from components of variance, nothing is resampled. It stays,
    at its old default, because sweeps of 0.1.0 go on by settings that hold it."""
    every_n_epochs: int = 0
    """Epochs between scores on the validation part while training; 0 scores at the end only."""
    random_split: bool = field(default=False, metadata={"identity": "unless default"})
    """Fit the probes once more on random splits, in which tiles beside each other, or views of one
    specimen, fall on both sides: how much that inflates the scores."""
    importance: Any = field(default="auto", metadata={"counts_as": {"auto": False}})
    """Which wavelengths the encoder leans on. `auto`: measured at the end of a sweep, of its best
    setting and of `full`, for its report. `true`: every run measures it at its end, too, and keeps
    a table and a picture (windows of the test part replaced by the training mean). `false`:
    never."""
    importance_seconds: float = field(default=60.0, metadata={"identity": False})
    """Most seconds that the end of a sweep takes for it."""
    importance_window_nm: float = 20.0
    """Width of those windows in nanometres."""
    curve_strategies: list[str] = field(default_factory=list)
    """With model.stem=wavelength: strategies that choose sets of bands on which the one trained
    encoder is scored at the end; empty for none."""
    curve_counts: list[int] = field(default_factory=lambda: [10, 20, 50, 100, 200, 408])
    """Sizes of those sets."""

    def __post_init__(self) -> None:
        at_least("evaluation.k", self.k, 1)
        chosen(self.evaluators)
        for name in self.control_names:
            if name not in CONTROLS:
                raise ConfigError(
                    f"evaluation.controls names {name!r}; give true, false, or a list out of "
                    f"{', '.join(CONTROLS)}."
                )
        one_of("evaluation.rgb_model", self.rgb_model, RGB_MODELS)
        if self.rgb_weights in ("", "DEFAULT"):
            raise ConfigError(
                f"evaluation.rgb_weights is {self.rgb_weights!r}; give the path of a state dict, "
                "or null to leave the control rgb_encoder out. Weights are not downloaded for it."
            )
        if not (isinstance(self.importance, bool) or self.importance == "auto"):
            raise ConfigError(
                f"evaluation.importance is {self.importance!r}; give auto, true or false."
            )
        if not self.importance_seconds >= 0:
            raise ConfigError(
                f"evaluation.importance_seconds is {self.importance_seconds}; give 0 or more."
            )
        for count in self.curve_counts or [0]:
            at_least("evaluation.curve_counts", count, 1)
        at_least("evaluation.every_n_epochs", self.every_n_epochs, 0)
        if not 0 < self.importance_window_nm < float("inf"):
            raise ConfigError(
                f"evaluation.importance_window_nm is {self.importance_window_nm:g}; give a width "
                "in nanometres above 0, for example 20."
            )

    @property
    def control_names(self) -> list[str]:
        """Controls that are asked for, each once, in the order of reports."""
        if isinstance(self.controls, bool):
            return list(CONTROLS) if self.controls else []
        given = self.controls
        listed = isinstance(given, Sequence) and not isinstance(given, str)
        return list(dict.fromkeys(given if listed else [given]))

    @property
    def scored_by(self) -> list[str]:
        """Evaluators that a run is scored by at its end."""
        return [name for name in dict.fromkeys(self.evaluators) if self.linear or name != "linear"]
