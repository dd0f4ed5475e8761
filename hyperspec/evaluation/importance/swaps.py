"""What a window of wavelengths carries: exchanged between specimens, what is told and what is lost.

Two numbers for each image and window. ``told``: how far the window alone pushes other images
towards its own specimen's label, in log-odds of the linear probe. It is 0 on average where window
and label have nothing to do with each other, whatever a strange image does to the encoder, and it
stays where another window carries the same. ``lost``: right answers before minus after, where the
window of the image comes from others; it also sees what only several windows together tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperspec.evaluation.importance.sliding_windows import Floats, Indices, choose_donors

TOLD, LOST = "told", "lost"


@dataclass(frozen=True, eq=False)
class Grid:
    """Windows of one width that lie wholly within the axis, so that all weigh alike.

    Args:
        starts_nm: Lower ends in nanometres, ascending, ``(W,)``.
        width_nm: Width in nanometres.
    """

    starts_nm: Floats
    width_nm: float

    @classmethod
    def over(cls, axis_nm: Floats, width_nm: float) -> Grid:
        """Lay windows half a width apart from the lowest wavelength; the last ends at the highest.

        An axis that is shorter than a window gets one.
        """
        low, high = float(np.min(axis_nm)), float(np.max(axis_nm))
        last = max(high - width_nm, low)
        steps = int(np.ceil((last - low) / (width_nm / 2) - 1e-9))
        starts = np.minimum(low + width_nm / 2 * np.arange(steps + 1), last)
        return cls(starts, width_nm)

    @property
    def names(self) -> list[str]:
        """Both ends of each window, such as ``358.4-378.4``."""
        return [f"{start:.1f}-{start + self.width_nm:.1f}" for start in self.starts_nm]

    def bands(self, wavelengths_nm: Floats) -> list[Indices]:
        """Return the places of the bands in each window; none where no band was chosen there."""
        nm = np.asarray(wavelengths_nm)
        return [
            np.flatnonzero((nm >= start - 1e-6) & (nm <= start + self.width_nm + 1e-6))
            for start in self.starts_nm
        ]


def ordinary_donors(specimens: Sequence[str], num_donors: int) -> list[Indices]:
    """Return rounds of donors: for each row one of another specimen, each specimen giving once."""
    most = max(len(set(specimens)) - 1, 1)
    return list(choose_donors(specimens, min(num_donors, most), seed=0))


def swap_scores(
    swapped: Callable[[Indices, Indices], Floats],
    base: Floats,
    windows: Sequence[Indices],
    donors: Sequence[Indices],
    codes: Indices,
    proceed: Callable[[], bool],
) -> tuple[Floats, Floats] | None:
    """Return ``told`` and ``lost`` of each window and row, ``(W, N)`` each.

    A window without a band is not read: nothing is told by it and nothing lost without it.

    Args:
        swapped: Takes bands of a window and a donor per row; gives log probabilities ``(N, K)``.
        base: Log probabilities of the rows as they are, ``(N, K)``.
        windows: Bands of each window.
        donors: Rounds of donors, ``(N,)`` each.
        codes: Label of each row, ``(N,)``; -1 for one that the probe does not know.
        proceed: Asked before each window; False ends the measurement.

    Returns:
        None where it was ended before all windows were seen.
    """
    rows = np.arange(len(codes))
    known = codes >= 0
    right = (base.argmax(1) == codes) & known
    told, lost = np.zeros((2, len(windows), len(codes)))
    for place, bands in enumerate(windows):
        if not len(bands):
            continue
        if not proceed():
            return None
        pushes = np.zeros_like(base)
        counts = np.zeros(len(codes))
        for givers in donors:
            after = swapped(bands, givers)
            change = after - base
            np.add.at(pushes, givers, change - change.mean(1, keepdims=True))
            np.add.at(counts, givers, 1)
            lost[place] += right.astype(float) - ((after.argmax(1) == codes) & known)
        gave = counts > 0
        pushes[gave] /= counts[gave, None]
        # What any donor does, of whatever label, is no news of a label.
        pushes[gave] -= pushes[gave & known].mean(0) if (gave & known).any() else 0.0
        own = pushes[rows, np.maximum(codes, 0)]
        told[place] = np.where(gave & known, own, 0.0)
        lost[place] /= len(donors)
    return told, lost


def swap_table(rows: pd.DataFrame, grid: Grid, told: Floats, lost: Floats) -> pd.DataFrame:
    """Return a row per image: what is known of it, then ``told`` and ``lost`` of each window.

    Columns are named ``told 358.4-378.4``, so that the table holds its own grid.
    """
    found = {f"{TOLD} {name}": told[i] for i, name in enumerate(grid.names)}
    found |= {f"{LOST} {name}": lost[i] for i, name in enumerate(grid.names)}
    return pd.concat([rows.reset_index(drop=True), pd.DataFrame(found)], axis=1)


def read_swaps(table: pd.DataFrame) -> tuple[Grid, NDArray[np.float64]] | None:
    """Return the grid of a table, and ``told`` and ``lost``, ``(2, W, N)``, or None."""
    names = [c.removeprefix(f"{TOLD} ") for c in table.columns if c.startswith(f"{TOLD} ")]
    if not names:
        return None
    ends = np.array([[float(end) for end in name.split("-")] for name in names])
    values = np.stack(
        [table[[f"{kind} {name}" for name in names]].astype(float).T for kind in (TOLD, LOST)]
    )
    return Grid(ends[:, 0], round(float((ends[:, 1] - ends[:, 0]).mean()), 3)), values
