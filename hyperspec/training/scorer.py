"""Scores of a run's encoder on held-out specimens, beside the controls."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from hyperspec.datasets.splits import HELD_OUT
from hyperspec.evaluation.config import Evaluation
from hyperspec.evaluation.confounders import probe_confounder, probe_table
from hyperspec.evaluation.embeddings import Embeddings, Held
from hyperspec.evaluation.evaluators import BUILT_IN, chosen
from hyperspec.evaluation.metrics import NUM_BANDS
from hyperspec.evaluation.objective import objective_names, objective_value, resolve_objective
from hyperspec.evaluation.random_split import random_split_scores
from hyperspec.evaluation.scores import (
    PREFIXES,
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
from hyperspec.training.controls import PARTS, ControlScorer
from hyperspec.training.cross_modal import CrossModal
from hyperspec.training.data import Material, held_rows, scorable
from hyperspec.training.simclr import SimCLR
from hyperspec.transforms.config import CrossModalViews
from hyperspec.utils.csv_text import csv_text

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
        metrics = {**result.metrics, **self._majority()}
        if settings.random_split:
            probes = [one.name for one in chosen(self._evaluators()) if one.needs_labels]
            metrics |= random_split_scores(parts, probes, result.metrics, k=settings.k)
        if "test" in result.predictions:
            run.log_text(csv_text(result.predictions["test"]), Artifact.PREDICTIONS)
        if settings.control_names:
            controls = self._controls(untrained)
            for found in controls.values():
                metrics |= found.metrics
            table = control_table(controls)
            if table is not None:
                run.log_text(csv_text(table), Artifact.CONTROLS)
        metrics |= self._confounders(parts, run)
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
        return scorable(self.material.source, self.material.split)

    def _controls(self, untrained: Encoder) -> dict[str, EvaluationResult]:
        scorer = ControlScorer(
            self.material,
            self.module.embedder,
            self.settings,
            lambda: self._embed(*PARTS, encoder=untrained),
        )
        return scorer.score([one.name for one in chosen(self._evaluators()) if one.on_controls])

    def _majority(self) -> dict[str, float]:
        """Return what a blind guess of the most frequent label reaches, on validation and test."""
        found = {}
        for part, prefix in PREFIXES.items():
            rows = self.material.split.parts()[part]
            counts = Counter(name for row in rows if (name := self.material.labels[row]))
            if counts:
                found[f"{prefix}majority_share"] = max(counts.values()) / counts.total()
        return found

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

    def _confounders(self, parts: dict[str, Held], run: JobRun) -> dict[str, float]:
        """Probe on the test part what should not tell the label; nothing without confounders."""
        material, settings = self.material, self.settings
        train, test = material.split.train.tolist(), material.split.test.tolist()
        probes = [
            probe_confounder(
                name,
                parts["train"],
                parts["test"],
                ([values[row] for row in train], [values[row] for row in test]),
                k=settings.k,
            )
            for name, values in material.confounders.items()
        ]
        for one in probes:
            if one.reason:
                log.info("no probe of the confounder %s: %s", one.column, one.reason)
        if probes:
            run.log_text(csv_text(probe_table(probes)), Artifact.CONFOUNDERS)
        return {name: value for one in probes for name, value in one.metrics.items()}

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

    def _held(self, rows: np.ndarray, features: np.ndarray) -> Held:
        return held_rows(self.material, features, rows)
