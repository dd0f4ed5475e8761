"""A run's controls: their features of its specimens at its bands, and their scores.

None depends on the encoder, but for ``untrained``; all are fitted on the training part alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from hyperspec.evaluation.config import Evaluation
from hyperspec.evaluation.controls.classifiers import score_classifier
from hyperspec.evaluation.controls.pixels import (
    Batch,
    RandomFeatures,
    image_statistics,
    standardised,
)
from hyperspec.evaluation.controls.rgb import RgbEncoder, exposure_for, tristimulus
from hyperspec.evaluation.controls.spectra import mean_spectra
from hyperspec.evaluation.embeddings import Floats, Held
from hyperspec.evaluation.metrics import CLASSIFIERS, CONTROL_PREFIXES, CONTROLS
from hyperspec.evaluation.scores import EvaluationResult, evaluate_features
from hyperspec.models.stems.concrete import PhotonProjection
from hyperspec.spectra.colour import colour_weights
from hyperspec.training.data import Material, held_rows
from hyperspec.training.embedder import Embedder

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
# 8 images of 64 pixels a side and 408 bands are 53 MB, of which statistics need a few at once.
_BLOCK = 8
_EXPOSED = 64  # training images, spread over all, by whose bright part pictures are exposed


class ControlScorer:
    """Scores the controls that a run names, on its split and at its bands.

    Args:
        material: Specimens, split and bands.
        embedder: Of the encoder; it says how pixels are normalised and reduced.
        settings: Names of the controls and probes.
        untrained: Gives the features of an encoder before its training, by part.
    """

    def __init__(
        self,
        material: Material,
        embedder: Embedder,
        settings: Evaluation,
        untrained: Callable[[], dict[str, Held]],
    ) -> None:
        self.material, self.embedder, self.settings = material, embedder, settings
        self._untrained = untrained

    def score(self, evaluators: Sequence[str]) -> dict[str, EvaluationResult]:
        """Return the scores of each control on validation and test, by its name.

        ``evaluators`` score those that are features; classifiers name the rows themselves.
        """
        settings = self.settings
        found = {}
        for name in [one for one in CONTROLS if one in settings.control_names]:
            if name in CLASSIFIERS:
                found[name] = score_classifier(name, self._mean_spectra)
            elif (parts := self.features(name)) is not None:
                found[name] = evaluate_features(
                    parts,
                    evaluators,
                    k=settings.k,
                    prefixes={
                        "validation": f"{CONTROL_PREFIXES['val']}{name}_",
                        "test": f"{CONTROL_PREFIXES['test']}{name}_",
                    },
                )
        return found

    def features(self, name: str) -> Mapping[str, Held] | None:
        """Return a control's features of each part; None for one that has nothing to work on."""
        made: dict[str, Callable[[], Mapping[str, Held] | None]] = {
            "untrained": self._untrained,
            "mean_spectrum": lambda: self._mean_spectra,
            "image_stats": lambda: self._of_pixels[name],
            "random_features": lambda: self._of_pixels[name],
            "rgb_encoder": self._rgb,
        }
        return made[name]()

    @cached_property
    def _rows(self) -> dict[str, NDArray[np.intp]]:
        return {part: self.material.split.parts()[part] for part in PARTS}

    def _held(self, features: Mapping[str, Floats]) -> dict[str, Held]:
        return {
            part: held_rows(self.material, own, self._rows[part]) for part, own in features.items()
        }

    @cached_property
    def _mean_spectra(self) -> dict[str, Held]:
        """Normalise mean spectra as the encoder's pixels are, so that the control is fair."""
        source, selection = self.material.source, self.material.selection
        embedder = self.embedder
        if isinstance(embedder.reduction, PhotonProjection):
            # Over hundreds of pixels the noise of photons averages out.
            embedder = replace(embedder, reduction=embedder.reduction.without_noise)
        found = {}
        for part, rows in self._rows.items():
            means = np.concatenate(
                [
                    mean_spectra(source.planes(some, selection), source.masks(some))
                    for some in _blocks(rows)
                ]
            )
            pixels = torch.from_numpy(means.astype(np.float32))[:, :, None, None]
            pixels = pixels.to(self.embedder.device)
            # Each mean spectrum is an image of one pixel, all of it specimen.
            whole = torch.ones_like(pixels[:, :1], dtype=torch.bool)
            found[part] = embedder.prepare(pixels, whole)[:, :, 0, 0].cpu().numpy()
        return self._held(found)

    @cached_property
    def _of_pixels(self) -> dict[str, dict[str, Held]]:
        """Return the features of all controls that look at pixels: they are read once for all."""
        made: dict[str, Callable[..., torch.Tensor]] = {}
        if "image_stats" in self.settings.control_names:
            made["image_stats"] = image_statistics
        if "random_features" in self.settings.control_names:
            train = self._rows["train"]
            made["random_features"] = RandomFeatures.fit(
                lambda places: self._batch(train[list(places)].tolist()), len(train)
            )
        seen: dict[str, dict[str, Floats]] = {name: {} for name in made}
        for part, rows in self._rows.items():
            blocks: dict[str, list[Floats]] = {name: [] for name in made}
            for some in _blocks(rows, self.embedder.at_once(_BLOCK)):
                pixels, masks = self._batch(some)
                for name, measure in made.items():
                    blocks[name].append(measure(pixels, masks).cpu().double().numpy())
            for name in made:
                seen[name][part] = np.concatenate(blocks[name])
        return {
            name: self._held(
                dict(zip(PARTS, standardised(*(own[part] for part in PARTS)), strict=True))
            )
            for name, own in seen.items()
        }

    @torch.no_grad()
    def _batch(self, rows: Sequence[int]) -> Batch:
        """Return pixels as the encoder takes them, and their masks."""
        images, masks = self.embedder.bank.batch(torch.tensor(rows))
        return self.embedder.prepare(images, masks), masks

    def _rgb(self) -> dict[str, Held] | None:
        """Show each specimen as an eye sees it, by all visible bands, to a frozen encoder."""
        source = self.material.source
        if self.settings.rgb_weights is None:
            log.info(
                "The control rgb_encoder is left out: evaluation.rgb_weights names no file of "
                "weights, and none is downloaded."
            )
            return None
        colours = colour_weights(source.axis)
        if colours is None:
            log.info(
                "The control rgb_encoder is left out: fewer than two good bands lie within 380 to "
                "780 nm, so that the specimens have no colour to show."
            )
            return None
        encoder = RgbEncoder(self.settings.rgb_model, self.settings.rgb_weights)
        bands, train = colours.bands.tolist(), self._rows["train"]
        some = train[np.linspace(0, len(train) - 1, min(len(train), _EXPOSED)).astype(int)].tolist()
        exposure = exposure_for(
            np.concatenate([tristimulus(source.planes([row], bands), colours) for row in some]),
            source.masks(some),
        )
        return self._held(
            {
                part: np.concatenate(
                    [
                        encoder(tristimulus(source.planes(block, bands), colours), exposure)
                        for block in _blocks(rows)
                    ]
                )
                for part, rows in self._rows.items()
            }
        )


def check_weights(settings: Evaluation) -> None:
    """Read the weights of ``rgb_encoder`` once, so that no training ends in finding them wrong.

    Raises:
        ConfigError: If the file is absent or does not fit the architecture.
    """
    if "rgb_encoder" in settings.control_names and settings.rgb_weights is not None:
        RgbEncoder(settings.rgb_model, settings.rgb_weights)


def _blocks(rows: NDArray[np.intp], size: int = _BLOCK) -> list[list[int]]:
    return [rows[start : start + size].tolist() for start in range(0, len(rows), size)]
