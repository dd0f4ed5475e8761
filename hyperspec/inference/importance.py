"""Importance of an encoder's bands on a part of its split: for the command, and at a run's end."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.evaluation.evaluators.linear import fit_linear_probe
from hyperspec.evaluation.importance.gradient import gradient_importance
from hyperspec.evaluation.importance.perturbation import Importance, band_importance
from hyperspec.evaluation.importance.report import importance_table, write_importance
from hyperspec.inference.assessment import Embedded
from hyperspec.inference.restore import Restored
from hyperspec.inference.window_swap import PartReplacer, is_quick
from hyperspec.tracking.contract import Folder
from hyperspec.tracking.run import JobRun
from hyperspec.training.allocator import freed_kept

_WITH_GRADIENT = 32  # images at once whose gradient is taken, where memory allows


@freed_kept()
def measure_importance(
    restored: Restored,
    modes: Sequence[str],
    *,
    window_nm: float,
    step_nm: float | None = None,
    part: str = "test",
    labels_column: str = "label",
    probed: bool = True,
    num_permutations: int = 4,
    seed: int = 0,
) -> list[Importance]:
    """Return the importance of one encoder's bands in each mode.

    Args:
        restored: Encoder, specimens and split.
        modes: Of ``mean``, ``interpolation``, ``permutation`` and ``gradient``.
        window_nm: Width of the windows in nanometres, above 0.
        step_nm: Distance of their centres; half a window by default.
        part: ``validation`` or ``test``; its rows without a label are left out where others have
            one.
        labels_column: What the linear probe names.
        probed: Whether to fit the probe and count the answers that are lost.
        num_permutations: Donors per specimen for ``permutation``.
        seed: Seed of the permutations.

    Raises:
        ConfigError: If the width or step is outside its range, or a mode does not fit the bands.
    """
    embedded = Embedded(restored)
    held, probe = embedded.held(part, labels_column), None
    rows = embedded.parts[part]
    labelled = np.array([label is not None for label in held.labels], dtype=bool)
    if labelled.any():
        rows = rows[labelled]
        if probed:
            train = embedded.held("train", labels_column).labelled()
            probe = fit_linear_probe(train.features, train.labels, groups=train.specimens)
    shared = {**_inputs(restored, rows), "window_nm": window_nm, "step_nm": step_nm}
    at_once = restored.embedder.at_once
    replacer = None
    if is_quick(restored.embedder, len(restored.material.selection.indices)):
        replacer = PartReplacer(restored.embedder, rows, shared["wavelengths_nm"])
    replaced = partial(
        band_importance,
        **shared,
        predict=None if probe is None else probe.predict,
        labels=None if probe is None else held.labelled().labels.tolist(),
        num_permutations=max(1, min(num_permutations, len(set(shared["specimens"])) - 1)),
        batch_size=at_once(),
        seed=seed,
        replacer=replacer,
    )
    by_gradient = partial(gradient_importance, **shared, batch_size=at_once(_WITH_GRADIENT))
    return [
        by_gradient() if mode == "gradient" else replaced(mode=mode)  # type: ignore[arg-type]  # checked inside
        for mode in modes
    ]


def _inputs(restored: Restored, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Return what every mode takes of some rows, by the name of the argument."""
    material, bands = restored.material, list(restored.material.selection.indices)
    return {
        "encode": restored.embedder,
        "images": material.source.planes(rows.tolist(), bands),
        "masks": material.source.masks(rows.tolist()),
        "wavelengths_nm": material.source.axis.wavelengths_nm[bands],
        "specimens": [material.specimens[row] for row in rows],
        "fill": material.statistics.mean[bands],
        "device": restored.embedder.device,
    }


def range_of(restored: Restored) -> tuple[float, float]:
    """Return the lowest and the highest band that an encoder reads, in nanometres."""
    nm = restored.material.selection.bands_nm
    return float(nm.min()), float(nm.max())


def log_importance(restored: Restored, run: JobRun) -> None:
    """Measure importance on the test part as ``evaluation`` asks, and keep it with the run.

    Windows are replaced by the training mean: the other modes need bands between windows or several
    specimens, and no run should fail at its end for want of them. The run gets
    ``importance/importance.csv`` and ``importance.png``.
    """
    settings = restored.config.evaluation
    results = measure_importance(
        restored, ["mean"], window_nm=settings.importance_window_nm, probed=settings.linear
    )
    table = importance_table(results)
    with tempfile.TemporaryDirectory() as folder:
        for path in write_importance(table, Path(folder), range_nm=range_of(restored)):
            run.log_artifact(path, Folder.IMPORTANCE)
