"""The one-shot curve: a trained encoder of any bands, scored on many sets (`evaluation.curve`)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import torch
from matplotlib.figure import Figure

from hyperspec.bands import STRATEGIES, CountedStrategy
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.metrics import columns, main_accuracy
from hyperspec.evaluation.pictures import new_axes
from hyperspec.evaluation.scores import EvaluationResult, evaluate_features
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking.contract import Artifact, MetricName
from hyperspec.tracking.run import JobRun
from hyperspec.training.data import Material, held_rows
from hyperspec.training.embedder import Embedder
from hyperspec.transforms.normalisation.normalisation import build_normalisation
from hyperspec.utils.csv_text import csv_text
from hyperspec.utils.errors import ConfigError

log = logging.getLogger(__name__)


class CurvePoint(NamedTuple):
    """An encoder on one set of bands.

    Args:
        strategy: What chose the bands.
        n: How many.
        bands_hash: Hash of the selection.
        result: Scores of the test part (and validation), and what was said of each row.
    """

    strategy: str
    n: int
    bands_hash: str
    result: EvaluationResult

    def metrics(self) -> dict[str, float]:
        """Return the point's metrics as ``curve/<strategy>_<measure>``, logged at step n."""
        scores = self.result.metrics
        main = main_accuracy().name
        others = [row.name for row in columns() if row.name != main]
        return {
            MetricName.CURVE.of(f"{self.strategy}_{key}"): scores[f"test/{key}"]
            for key in (main, f"{main}_low", f"{main}_high", *others, "rankme")
            if f"test/{key}" in scores
        }


def curve_table(points: Sequence[CurvePoint]) -> pd.DataFrame:
    """Return one row per point: strategy, n, hash, and all its test scores."""
    rows = []
    for point in points:
        row = {"strategy": point.strategy, "n": point.n, "bands_hash": point.bands_hash}
        scores = point.result.metrics.items()
        rows.append(row | {k.removeprefix("test/"): v for k, v in scores if k.startswith("test/")})
    return pd.DataFrame(rows)


def curve_predictions(points: Sequence[CurvePoint]) -> pd.DataFrame:
    """Return what was said of each test row at each point; empty without labels."""
    tables = [
        point.result.predictions["test"].assign(strategy=point.strategy, n=point.n)
        for point in points
        if "test" in point.result.predictions
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def draw_curve(points: Sequence[CurvePoint]) -> Figure:
    """Draw test k-NN (RankMe without labels) against n, a line and its interval per strategy."""
    figure, axes = new_axes(7, 4.2)
    main = main_accuracy()
    labelled = all(f"test/{main.name}" in point.result.metrics for point in points)
    measure = f"test/{main.name}" if labelled else "test/rankme"
    for strategy in dict.fromkeys(point.strategy for point in points):
        own = sorted((p for p in points if p.strategy == strategy), key=lambda p: p.n)
        counts = [point.n for point in own]
        values = [point.result.metrics[measure] for point in own]
        (line,) = axes.plot(counts, values, marker="o", label=strategy)
        if labelled:
            low, high = (
                [point.result.metrics.get(f"{measure}_{end}", math.nan) for point in own]
                for end in ("low", "high")
            )
            axes.fill_between(counts, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    counts = sorted({point.n for point in points})
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("bands")
    axes.set_ylabel(f"test {main.title} top-1, 95% interval" if labelled else "RankMe (test)")
    if labelled:
        axes.set_ylim(0, 1.02)
    axes.set_title("One encoder on sets of bands that it was given after training", loc="left")
    axes.legend(frameon=False, fontsize=8)
    return figure


def plan_curve(config: Train, material: Material) -> dict[tuple[str, int], BandSelection]:
    """Choose the bands of every point, before any training, so that none fails after it.

    Raises:
        ConfigError: If there are too few bands for one of the counts.
        HyperspecError: If a strategy cannot choose from this folder.
    """
    settings = config.evaluation
    available = material.source.axis.good_indices.size
    if settings.curve_strategies and max(settings.curve_counts) > available:
        raise ConfigError(
            f"evaluation.curve_counts holds {max(settings.curve_counts)}, but the folder has "
            f"{available} good bands. Leave out what is above."
        )
    found = {}
    for name in settings.curve_strategies:
        for n in settings.curve_counts:
            kind = STRATEGIES[name]
            assert issubclass(kind, CountedStrategy), "the config allows no other"
            # With their defaults, as `bands=NAME bands.n=N` chooses them for a retrained point.
            found[name, n] = kind(n).select(material.source.axis, material.statistics)
    return found


def log_curve(
    plan: dict[tuple[str, int], BandSelection],
    config: Train,
    material: Material,
    embedder: Embedder,
    run: JobRun,
) -> list[CurvePoint]:
    """Score an encoder on every planned set of bands; log metrics, table and picture.

    The metrics ``curve/<strategy>_knn_top1`` and its like are logged at step n.
    """
    points = []
    for (name, n), selection in plan.items():
        there = on_bands(embedder, config.data.normalisation, material, selection)
        result = evaluate_features(
            {part: _held(there, material, part) for part in ("train", "test")},
            config.evaluation.scored_by,
            k=config.evaluation.k,
        )
        points.append(CurvePoint(name, n, selection.hash, result))
        run.log_metrics(points[-1].metrics(), n)
    run.log_text(csv_text(curve_table(points)), Artifact.CURVE_TABLE)
    run.log_figure(draw_curve(points), Artifact.CURVE_PICTURE)
    predictions = curve_predictions(points)
    if len(predictions):
        run.log_text(csv_text(predictions), Artifact.CURVE_PREDICTIONS)
        log.info(
            "one-shot curve, test k-NN: %s (%s of the run)",
            _in_words(points),
            Artifact.CURVE_PICTURE,
        )
    return points


def _in_words(points: Sequence[CurvePoint]) -> str:
    """Return each strategy's accuracies by n, such as ``uniform 10: 0.25, 20: 0.31``."""
    by_name: dict[str, list[str]] = {}
    for point in points:
        name = f"{point.strategy}_{main_accuracy().name}"
        value = point.metrics().get(MetricName.CURVE.of(name), math.nan)
        by_name.setdefault(point.strategy, []).append(f"{point.n}: {value:.2f}")
    return "; ".join(f"{name} {', '.join(values)}" for name, values in by_name.items())


def on_bands(
    embedder: Embedder, normalisation: str, material: Material, selection: BandSelection
) -> Embedder:
    """Return an embedder of other bands: projection by nm, normalisation fitted anew, other planes.

    Args:
        embedder: With ``stem=wavelength``.
        normalisation: Name in the config.
        material: Specimens, with the statistics that the normalisation is fitted on.
        selection: The bands.
    """
    fitted = build_normalisation(
        normalisation, selection.statistics(material.statistics), selection.wavelengths_nm
    )
    return replace(
        embedder,
        encoder=embedder.encoder.on_wavelengths(selection.wavelengths_nm, selection.fwhm_nm),
        normalisation=fitted.to(embedder.device),
        bank=_bank(embedder.bank, material, selection),
    )


def _bank(own: PlaneBank, material: Material, selection: BandSelection) -> PlaneBank:
    if set(selection.indices) <= set(own.bands):
        return own.narrowed(selection.indices)
    once = Residency("mmap", "each image is looked at once")
    return PlaneBank(material.source, selection.indices, own.device, once)


def _held(embedder: Embedder, material: Material, part: str) -> Held:
    rows = material.split.parts()[part]
    features = embedder.embed(torch.from_numpy(rows)).numpy()
    return held_rows(material, features, rows)
