"""What each window of wavelengths carries for one encoder, on its own test part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperspec.evaluation.evaluators.linear import fit_linear_probe
from hyperspec.evaluation.importance.swaps import Grid, ordinary_donors, swap_scores, swap_table
from hyperspec.inference.assessment import Embedded
from hyperspec.inference.restore import Restored
from hyperspec.inference.window_swap import MOST_BYTES, WindowSwapper
from hyperspec.training.allocator import freed_kept

_NUM_DONORS = 2


@dataclass(frozen=True, eq=False)
class Measured:
    """What is kept with a run.

    Args:
        swaps: A row per test image, see :func:`hyperspec.evaluation.importance.swaps.swap_table`.
        spectra: Mean spectrum of each label of the training part: ``wavelength_nm``, and a column
            for each label.
    """

    swaps: pd.DataFrame
    spectra: pd.DataFrame


@freed_kept()
def measure_windows(
    restored: Restored, width_nm: float, proceed: Callable[[], bool] = lambda: True
) -> Measured | None:
    """Exchange each window of the axis between test specimens, as the linear probe sees it.

    The probe is fitted on the training part, and only test images with a label are exchanged.
    Windows lie on the axis of the data, whatever bands were chosen, so that those of several seeds
    and rotations are the same; one that holds no chosen band is not read, and counts as 0.

    Args:
        restored: Encoder, specimens and split.
        width_nm: Width of the windows in nanometres, above 0.
        proceed: Asked before each window; False ends the measurement.

    Returns:
        None without labels in training or test part, with a single specimen, or where it was ended.
    """
    material, embedded = restored.material, Embedded(restored)
    rows = _rows(restored)
    train = embedded.held("train").labelled()
    specimens = [material.specimens[row] for row in rows]
    if len(set(specimens)) < 2 or len(set(train.labels)) < 2:
        return None
    probe = fit_linear_probe(train.features, train.labels, groups=train.specimens)
    code = {str(name): number for number, name in enumerate(probe.names)}
    codes = np.array([code.get(str(material.labels[row]), -1) for row in rows])
    nm = material.source.axis.wavelengths_nm[list(material.selection.indices)]
    grid = Grid.over(material.source.axis.wavelengths_nm, width_nm)
    swapper = WindowSwapper(restored.embedder, rows, nm)

    def chances(bands: NDArray[np.intp], donors: NDArray[np.intp]) -> NDArray[np.float64]:
        return probe.log_chances(swapper.swapped(bands, donors).numpy())

    found = swap_scores(
        chances,
        probe.log_chances(swapper.plain().numpy()),
        grid.bands(nm),
        ordinary_donors(specimens, _NUM_DONORS),
        codes,
        proceed,
    )
    if found is None:
        return None
    known = {"file": [material.files[row] for row in rows], "specimen": specimens}
    if material.split.groups is not None:
        known["group"] = [str(material.split.groups[row]) for row in rows]
    known["label"] = [str(material.labels[row]) for row in rows]
    return Measured(swap_table(pd.DataFrame(known), grid, *found), _spectra(restored))


def _rows(restored: Restored) -> NDArray[np.intp]:
    """Return the labelled test images, whole specimens evenly left out where they are too many."""
    material = restored.material
    rows = np.array([r for r in material.split.test if material.labels[r] is not None], np.intp)
    bands, size = len(material.selection.indices), material.source.size
    most = max(MOST_BYTES // (4 * bands * size**2), 2)
    if len(rows) <= most:
        return rows
    names = sorted({material.specimens[row] for row in rows})
    step = len(rows) / most
    kept = {names[int(i)] for i in np.arange(0, len(names), step)}
    return np.array([row for row in rows if material.specimens[row] in kept], np.intp)


def _spectra(restored: Restored) -> pd.DataFrame:
    statistics = restored.material.statistics
    classes = {name: one.mean for name, one in sorted(statistics.classes.items())}
    means = classes or {"all": statistics.mean}
    return pd.DataFrame({"wavelength_nm": statistics.axis.wavelengths_nm, **means})
