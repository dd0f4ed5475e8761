"""A chosen set of bands, which travels whole into runs, checkpoints and reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.drawing import spectrum_svg
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError

_MOST_SHOWN = 60  # wavelengths that a notebook lists


@dataclass(frozen=True, eq=False)
class BandSelection:
    """Unique bands of one axis, with how they were chosen.

    Args:
        indices: 0-based band indices in channel order. Strategies give them ascending, except
            ``rgb`` and ``list``, whose order is the user's.
        axis: The axis that they index.
        strategy: Name of the strategy, as in the config group ``bands``.
        params: The strategy's parameters, plain values.

    Raises:
        BandError: If the selection is empty, repeats a band or leaves the axis.
    """

    indices: tuple[int, ...]
    axis: SpectralAxis
    strategy: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        indices = tuple(int(i) for i in self.indices)
        object.__setattr__(self, "indices", indices)
        # A copy: the hash is computed once and must go on telling the truth.
        object.__setattr__(self, "params", dict(self.params))
        if not indices:
            raise BandError(f"bands={self.strategy} chose no band at all.")
        outside = [i for i in indices if not 0 <= i < len(self.axis)]
        if outside:
            raise BandError(
                f"bands={self.strategy} chose band {outside[0]}, but the axis has bands 0 to "
                f"{len(self.axis) - 1}."
            )
        if len(set(indices)) != len(indices):
            twice = next(i for i in indices if indices.count(i) > 1)
            raise BandError(f"bands={self.strategy} chose band {twice} more than once.")

    def __len__(self) -> int:
        return len(self.indices)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BandSelection) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def _repr_html_(self) -> str:
        """Show the wavelengths as notebooks do: their places on the axis, and in numbers."""
        nm = [f"{one:.1f}" for one in self.wavelengths_nm]
        more = f" and {len(nm) - _MOST_SHOWN} more" if len(nm) > _MOST_SHOWN else ""
        what = f"{len(self)} of {len(self.axis)} bands (bands={self.strategy})"
        drawn = spectrum_svg(self.axis, marks=self.wavelengths_nm, title=what)
        listed = f"{', '.join(nm[:_MOST_SHOWN])} nm{more}"
        return f"<div><p>{escape(what)}</p>{drawn}<p>{listed}</p></div>"

    @property
    def bands_nm(self) -> NDArray[np.float64]:
        """Centres of the bands that are read, nanometres, one per index."""
        return self.axis.wavelengths_nm[list(self.indices)]

    @property
    def wavelengths_nm(self) -> NDArray[np.float64]:
        """Centres of the channels that come out, nanometres, shape ``(n,)``: the chosen bands'."""
        return self.bands_nm

    @property
    def fwhm_nm(self) -> NDArray[np.float64]:
        """Widths of the channels' responses, nanometres, shape ``(n,)``.

        Full widths at half maximum as the axis gives them; without them the axis's own spacing at
        each band (not that of the chosen ones), which a line scanner's bands about fill.
        """
        return band_widths(self.axis)[list(self.indices)]

    def statistics(self, statistics: SpectralStatistics) -> SpectralStatistics:
        """Return the statistics of the chosen bands, in channel order, from those of all bands."""
        return statistics.restrict(list(self.indices))

    @cached_property
    def hash(self) -> str:
        """Twelve hex digits of order, axis, strategy and parameters; stable across processes."""
        content = json.dumps(
            [self.indices, self.axis.hash, self.strategy, dict(self.params)],
            sort_keys=True,
            default=str,
        )
        return hashlib.blake2b(content.encode(), digest_size=6).hexdigest()

    @property
    def coverage(self) -> float:
        """Share of the axis's range within one mean spacing of a chosen band, 0 to 1.

        The mean spacing is the range over n, so that an even spread reaches 1 and a clump of n
        neighbours about 1/n of the range twice over.
        """
        low, high = self.axis.range_nm
        if high == low:
            return 1.0
        reach = (high - low) / len(self)
        ends = np.clip(
            np.stack([self.wavelengths_nm - reach, self.wavelengths_nm + reach]), low, high
        )
        start, stop = ends[:, np.argsort(ends[0])]
        reached = np.maximum.accumulate(np.concatenate([[low], stop[:-1]]))
        return float(np.maximum(stop - np.maximum(start, reached), 0).sum() / (high - low))

    def redundancy(self, correlation: NDArray[np.float64]) -> float:
        """Return the mean absolute pairwise correlation of the chosen bands, 0 to 1.

        Args:
            correlation: Correlation matrix of all bands of the axis, shape ``(C, C)``.
        """
        if len(self) == 1:
            return 0.0
        chosen = np.abs(correlation[np.ix_(self.indices, self.indices)])
        return float(chosen[np.triu_indices(len(self), 1)].mean())

    def resolve(self, axis: SpectralAxis, tolerance_nm: float | None = None) -> BandSelection:
        """Find the same wavelengths on another axis, that of the cubes at hand.

        The largest accepted distance, in nanometres, is by default half the smaller median spacing.

        Raises:
            BandError: If a wavelength has no good band within the tolerance, or two fall on one;
                the message lists the differences.
        """
        if axis == self.axis:
            return self
        if tolerance_nm is None:
            tolerance_nm = min(_spacing(axis), _spacing(self.axis)) / 2
        problems: list[str] = []
        indices: list[int] = []
        for nm in self.wavelengths_nm:
            try:
                index = axis.nearest(float(nm), tolerance_nm)
            except ValueError as error:
                problems.append(str(error))
                continue
            if index in indices:
                problems.append(f"{nm:.2f} nm falls on band {index}, which is taken already.")
            indices.append(index)
        if problems:
            raise BandError(
                f"{len(problems)} of {len(self)} chosen bands (bands={self.strategy}, "
                f"{self.hash}) do not fit the axis at hand: " + " ".join(problems[:5])
            )
        return BandSelection(tuple(indices), axis, self.strategy, self.params)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON and for checkpoints."""
        return {
            "indices": list(self.indices),
            "wavelengths_nm": self.wavelengths_nm.tolist(),
            "strategy": self.strategy,
            "params": dict(self.params),
            "hash": self.hash,
            "axis": self.axis.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BandSelection:
        """Rebuild a selection from :meth:`to_dict`.

        Raises:
            BandError: If the content does not have the hash that it was saved with.
        """
        selection = cls(
            tuple(values["indices"]),
            SpectralAxis.from_dict(values["axis"]),
            values["strategy"],
            values["params"],
        )
        selection.check_hash(values["hash"])
        return selection

    def check_hash(self, stored: str) -> None:
        """Compare the hash with the one that a selection was saved with.

        Raises:
            BandError: If they differ.
        """
        if self.hash != stored:
            raise BandError(
                f"The stored band selection's hash {stored} does not match its content, "
                f"which gives {self.hash}: it was changed after it was saved. Save it anew "
                "from the run that made it."
            )


def band_widths(axis: SpectralAxis) -> NDArray[np.float64]:
    """Return the width of every band of an axis, nanometres: its FWHM, or else the spacing."""
    if axis.fwhm_nm is not None:
        return np.asarray(axis.fwhm_nm)
    if len(axis) == 1:
        return np.zeros(1)
    order = np.argsort(axis.wavelengths_nm, kind="stable")
    widths = np.empty(len(axis))
    widths[order] = np.gradient(axis.wavelengths_nm[order])
    return widths


def _spacing(axis: SpectralAxis) -> float:
    if len(axis) == 1:
        return float("inf")
    return float(np.median(np.diff(np.sort(axis.wavelengths_nm))))


def ascending(indices: Sequence[int] | NDArray[np.intp]) -> tuple[int, ...]:
    """Return indices in ascending channel order as plain integers."""
    return tuple(sorted(int(i) for i in indices))
