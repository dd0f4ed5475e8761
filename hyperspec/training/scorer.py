"""Scores of a run's encoder on held-out specimens, beside the controls."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from hyperspec.datasets.splits import HELD_OUT
from hyperspec.evaluation.baselines import mean_spectra
from hyperspec.evaluation.config import Evaluation
from hyperspec.evaluation.embeddings import Embeddings, Held
from hyperspec.evaluation.evaluators import BUILT_IN, chosen
from hyperspec.evaluation.metrics import NUM_BANDS
from hyperspec.evaluation.objective import objective_names, objective_value, resolve_objective
from hyperspec.evaluation.scores import (
    EvaluationResult,
    as_metrics,
    control_table,
    evaluate_features,
    measure,
)
from hyperspec.evaluation.similarity import window_retrieval
from hyperspec.models.encoder import Encoder
from hyperspec.tracking.contract import Artifact
from hyperspec.tracking.run import JobRun
from hyperspec.training.cross_modal import CrossModal
from hyperspec.training.data import Material
from hyperspec.training.simclr import SimCLR
from hyperspec.transforms.config import CrossModalViews

log = logging.getLogger(__name__)


class Scorer:
    """Embeds the parts of a run and scores them; its module as it is at the time of the call."""

    def __init__(self, material: Material, module: SimCLR, settings: Evaluation) -> None:
        self.material, self.module, self.settings = material, module, settings
        self._resolved: dict[str, str] = {}
        self.best: dict[str, float] = {}

    def validate(self) -> dict[str, float]:
        """Score the encoder on the validation part by what is quick, for use while training."""
        quick = [one.name for one in chosen(self._evaluators()) if not one.at_end_only]
        result = evaluate_features(
            self._embed("train", "validation"),
            quick,
            k=self.settings.k,
        )
        return {**result.metrics, **self._windows("val", "validation")}

    def final(self, run: JobRun, untrained: Encoder) -> dict[str, float]:
        """Score encoder and controls on validation and test, and log what they say on test.

        ``untrained`` is the encoder as it was before training.
        """
        settings = self.settings
        parts = self._embed("train", "validation", "test")
        result = evaluate_features(parts, self._evaluators(), k=settings.k)
        metrics = dict(result.metrics)
        if "test" in result.predictions:
            run.log_text(result.predictions["test"].to_csv(index=False), Artifact.PREDICTIONS)
        if settings.controls:
            controls = self._controls(untrained)
            for found in controls.values():
                metrics |= found.metrics
            table = control_table(controls)
            if table is not None:
                run.log_text(table.to_csv(index=False), Artifact.CONTROLS)
        if self.material.split.held_out.size:
            metrics |= self._held_out()
        return {**metrics, **self._windows("val", "validation"), **self._windows("test", "test")}

    def objectives(self, metrics: dict[str, float], requested: object) -> dict[str, float]:
        """Return by name what a sweep optimises, in the order of ``objective``, a name or several.

        Raises:
            ConfigError: If the run has no such metric, or it may not be chosen on.
        """
        measured = {**metrics, NUM_BANDS: float(len(self.material.selection))}
        return {
            name: objective_value(measured, requested=name, **self._available)
            for name in self.check_objective(requested)
        }

    def check_objective(self, requested: object) -> list[str]:
        """Return the metrics to optimise; refuse one that nothing may be chosen on.

        Called before any training, and remembered, so that its warning comes once.

        Raises:
            ConfigError: If one is of the test part or of a control, there are two of a kind, or
                none of the evaluators measures one.
        """
        for name in objective_names(requested):
            if name not in self._resolved:
                self._resolved[name] = resolve_objective(
                    name, evaluators=self.settings.scored_by, **self._available
                )
        found = [self._resolved[name] for name in objective_names(requested)]
        return list(objective_names(found))  # `auto` may be one that is named too

    def _evaluators(self, *more: str) -> list[str]:
        """Leave out view retrieval where rows of one specimen are tiles that share pixels."""
        names = dict.fromkeys([*more, *self.settings.scored_by])
        if not self._available["views_available"]:
            names.pop("view_retrieval", None)
        return list(names)

    @cached_property
    def _available(self) -> dict[str, bool]:
        material = self.material
        rows = material.split.validation
        views: dict[str, set[str]] = {}
        for row in rows:
            if (view := material.views[row]) is not None:
                views.setdefault(material.specimens[row], set()).add(view)
        return {
            "labels_available": any(material.labels[row] is not None for row in rows),
            # Named views only: overlapping tiles of a scene share pixels, and finding those again
            # would say nothing about the encoder.
            "views_available": any(len(seen) > 1 for seen in views.values()),
        }

    def _controls(self, untrained: Encoder) -> dict[str, EvaluationResult]:
        settings = self.settings
        features = {
            "untrained": self._embed("train", "test", encoder=untrained),
            "mean_spectrum": self._mean_spectra("train", "test"),
        }
        same = [one.name for one in chosen(self._evaluators()) if one.on_controls]
        return {
            name: evaluate_features(
                parts,
                same,
                k=settings.k,
                prefixes={"test": f"control/{name}_"},
            )
            for name, parts in features.items()
        }

    def _windows(self, prefix: str, part: str) -> dict[str, float]:
        """Score how well windows of wavelengths find each other; nothing without windows."""
        module, views = self.module, self.module.views.config
        if not isinstance(module, CrossModal) or not isinstance(views, CrossModalViews):
            return {}
        rows = self.material.split.parts()[part]
        found = window_retrieval(
            module.embed_windows(torch.from_numpy(rows)).numpy(),
            [self.material.specimens[row] for row in rows],
            list(views.windows_nm),
        )
        return {f"{prefix}/{name}": value for name, value in found.items()}

    def _held_out(self) -> dict[str, float]:
        """Score labels that training never saw: their specimens can only name each other."""
        settings = self.settings
        held = self._embed(HELD_OUT)[HELD_OUT]
        if len(held.files) < 2:
            return {}
        rows = held.labelled()
        largest = max(Counter(rows.specimens).values())
        # Fewer neighbours than evaluation.k where a small genus has no more: no run fails for it.
        k = min(settings.k, len(rows.labels) - largest)
        names = self._evaluators(*BUILT_IN)
        if not k or len(set(rows.labels)) < 2:
            names = [one.name for one in chosen(names) if not one.needs_labels]
        given = Embeddings(held, k=k)
        return as_metrics(measure(given, names)[0], f"{HELD_OUT}/")

    def _embed(self, *parts: str, encoder: Encoder | None = None) -> dict[str, Held]:
        embedder = self.module.embedder
        if encoder is not None:
            embedder = replace(embedder, encoder=encoder.to(embedder.device))
        rows = {**self.material.split.parts(), HELD_OUT: self.material.split.held_out}
        return {
            part: self._held(rows[part], embedder.embed(torch.from_numpy(rows[part])).numpy())
            for part in parts
        }

    def _mean_spectra(self, *parts: str) -> dict[str, Held]:
        """Normalise mean spectra as the encoder's pixels are, so that the control is fair."""
        material, embedder = self.material, self.module.embedder
        found = {}
        for part in parts:
            rows = material.split.parts()[part]
            means = mean_spectra(
                material.source.planes(rows.tolist(), material.selection),
                material.source.masks(rows.tolist()),
            )
            pixels = torch.from_numpy(means.astype(np.float32))[:, :, None, None]
            pixels = pixels.to(embedder.device)
            # Each mean spectrum is an image of one pixel, all of it specimen.
            prepared = embedder.prepare(pixels, torch.ones_like(pixels[:, :1], dtype=torch.bool))
            found[part] = self._held(rows, prepared[:, :, 0, 0].cpu().numpy())
        return found

    def _held(self, rows: np.ndarray, features: np.ndarray) -> Held:
        material = self.material
        return Held(
            features,
            [material.labels[row] for row in rows],
            [material.specimens[row] for row in rows],
            [material.files[row] for row in rows],
        )
