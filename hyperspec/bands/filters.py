"""Channels of a camera that can be built: optical filters, chosen by any strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import CountedStrategy, Strategy, Vector, check_choice
from hyperspec.bands.projections import ChannelStrategy
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.band_projection import BandProjection, project_statistics
from hyperspec.spectra.moments import Moments, count_values
from hyperspec.spectra.optical_filters import (
    SHAPES,
    OpticalFilter,
    filters_on_bands,
    read_catalogue,
    usable,
)
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError

WHITE_PHOTONS = "white_photons"
"""Key of the selection's parameters under which the light of each channel is kept."""


@dataclass
class Filters(ChannelStrategy):
    """N optical filters, chosen by any strategy over what they would see.

    Candidates are a filter around every band, or those of a catalogue. Their responses take the
    place of bands: the strategy sees the statistics of the filters' channels, with the noise that
    they would have, and chooses n of them that lie apart as asked.

    Light: a perfect white gives a pixel ``photons_per_nm`` photons per nanometre that a filter
    passes, so N for a filter; at reflectance R the channel's noise has a standard deviation of
    sqrt(R / N), the photon noise beside a signal of R. The noise of the camera that took the cubes
    comes on top: it is in them already.
    """

    name: ClassVar[str] = "filters"
    needs_statistics: ClassVar[bool] = True
    known: ClassVar[Mapping[str, type[Strategy]]] = {}
    """Strategies by name; the registry gives them."""

    n: int
    """Number of filters, 1 or above."""

    strategy: str = "uniform"
    """Strategy that chooses among the filters, by name, with its own defaults."""

    width_nm: float = 20.0
    """Full width at half maximum of each filter, nanometres; a catalogue has its own."""

    shape: str = "gaussian"
    """gaussian or box; curves of a catalogue have their own."""

    catalogue: str | None = field(default=None, metadata={"content": True})
    """CSV of filters to choose from: name, centre_nm, width_nm and, if known, transmission; or
    wavelength_nm and a column of transmission per filter."""

    spacing_nm: float | None = None
    """Least distance of two centres, nanometres, 0 or above; null lets passbands touch at half of
    their maximum, not overlap."""

    photons_per_nm: float = 200.0
    """Photons that a perfect white gives a pixel per nanometre that a filter passes; 0 is a camera
    without photon noise."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise BandError(f"bands.n is {self.n}, but bands=filters chooses 1 filter at least.")
        counted = [n for n, kind in self.known.items() if issubclass(kind, CountedStrategy)]
        check_choice("strategy", self.strategy, tuple(counted))
        check_choice("shape", self.shape, SHAPES)
        for key, least in (("width_nm", None), ("spacing_nm", 0.0), ("photons_per_nm", 0.0)):
            value = getattr(self, key)
            if value is None:
                continue
            if not (value > 0 if least is None else value >= least) or value == float("inf"):
                least_said = "above 0" if least is None else "of 0 or above"
                raise BandError(f"bands.{key} is {value}; give a number {least_said}.")

    def select(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None = None
    ) -> BandProjection:
        """Choose filters and make the projection, channels in order of their centres.

        Args:
            axis: The sensor's axis; bad bands are never read.
            statistics: Of the training part on that axis, where the strategy needs them.

        Raises:
            BandError: If the catalogue cannot be read, or so many filters do not fit.
        """
        self.check_axis(axis)
        if len(axis.good_indices) < 2:
            raise BandError("bands=filters needs two good bands at least to make a filter of.")
        filters, passed = self._candidates(axis)
        everything = self._projection(axis, filters, passed)
        seen = None
        if self._inner(1).needs_statistics:
            if statistics is None:
                self._inner(1).select(axis)  # refuses, in words of its own
            assert statistics is not None
            seen = self._seen(everything, statistics)
        places = self._choose(filters, everything, seen)
        chosen, rows = [filters[place] for place in places], passed[places]
        return self._projection(axis, chosen, rows)

    def _inner(self, n: int) -> CountedStrategy:
        kind = self.known[self.strategy]
        assert issubclass(kind, CountedStrategy)  # as __post_init__ has checked
        return kind(n)

    def _candidates(self, axis: SpectralAxis) -> tuple[list[OpticalFilter], Vector]:
        if self.catalogue is None:
            given = filters_on_bands(axis, self.width_nm, self.shape)
        else:
            given = read_catalogue(Path(self.catalogue), self.shape, "bands.catalogue")
        filters, passed = usable(axis, given)
        if self.n > len(filters):
            low, high = axis.range_nm
            raise BandError(
                f"bands.n is {self.n}, but {len(filters)} of {len(given)} filters pass their light "
                f"onto the sensor's bands ({low:.1f}-{high:.1f} nm) and are no narrower than their "
                "spacing. Ask for fewer, or give others."
            )
        return filters, passed

    def _projection(
        self, axis: SpectralAxis, filters: Sequence[OpticalFilter], passed: Vector
    ) -> BandProjection:
        used = np.flatnonzero(passed.any(axis=0))
        matrix = passed[:, used] / passed.sum(axis=1, keepdims=True)
        params = asdict(self) | {
            "catalogue": self.catalogue and Path(self.catalogue).name,
            "filters": [one.name for one in filters],
            "centres_nm": [round(one.centre_nm, 4) for one in filters],
            "widths_nm": [round(one.width_nm, 4) for one in filters],
        }
        if self.photons_per_nm > 0:
            params[WHITE_PHOTONS] = [
                round(self.photons_per_nm * float(light), 6) for light in passed.sum(axis=1)
            ]
        indices = tuple(int(i) for i in axis.good_indices[used])
        # The width is in the name, so that a report draws a curve over n for each.
        name = self.name if self.catalogue else f"{self.name}/{self.width_nm:g}nm"
        return BandProjection(indices, axis, name, params, matrix)

    def _seen(
        self, everything: BandProjection, statistics: SpectralStatistics
    ) -> SpectralStatistics:
        """Return the statistics of all filters' channels, noise of photons included."""
        if not len(statistics.samples):
            raise BandError(
                "bands=filters looks at training spectra through its filters, but the statistics "
                "hold none. Gather them with num_samples of at least 2."
            )
        found = project_statistics(statistics, everything)
        photons = np.array(everything.params.get(WHITE_PHOTONS, [np.inf] * len(everything)))
        quiet = found.samples.astype(np.float64)
        noise = np.random.default_rng(0).normal(size=quiet.shape)
        samples = (quiet + noise * np.sqrt(np.maximum(quiet, 0) / photons)).astype(np.float32)
        labels = found.sample_labels
        return replace(
            found,
            samples=samples,
            moments=_noisy(found.moments, photons, samples),
            classes={
                name: _noisy(own, photons, samples[labels == name])
                for name, own in found.classes.items()
            },
        )

    def _choose(
        self,
        filters: Sequence[OpticalFilter],
        everything: BandProjection,
        seen: SpectralStatistics | None,
    ) -> list[int]:
        """Return the places of n filters in order of nm, none nearer to another than asked.

        The strategy is asked for as many as are missing among those that still fit; of its answer
        those are kept, from short to long wavelengths, that fit each other and leave room for the
        rest.
        """
        spans = self._spans(filters)
        axis = SpectralAxis(np.array([one.centre_nm for one in filters]))
        if seen is not None:
            seen = replace(seen, axis=axis)
        free = np.arange(len(filters))
        kept: list[int] = []
        room = _most(spans, free)
        if room < self.n:
            apart = "their widths" if self.spacing_nm is None else f"{self.spacing_nm:g} nm"
            raise BandError(
                f"bands.n is {self.n}, but of {len(filters)} filters {room} at most lie {apart} "
                "apart. Ask for fewer, for narrower ones (bands.width_nm), or for less distance "
                "(bands.spacing_nm)."
            )
        while len(kept) < self.n:
            inner = self._inner(self.n - len(kept))
            there = None if seen is None else seen.restrict(free)
            picks = [int(free[i]) for i in inner.select(axis.subset(free), there).indices]
            before = len(kept)
            for pick in sorted(picks, key=lambda i: filters[i].centre_nm):
                if pick in free and len(kept) < self.n:
                    rest = free[_apart(spans, pick, free)]
                    if len(kept) + 1 + _most(spans, rest) >= self.n:
                        kept.append(pick)
                        free = rest
            if len(kept) == before:  # each pick would take the room of the rest
                kept.append(_first(spans, free))
                free = free[_apart(spans, kept[-1], free)]
        return sorted(kept, key=lambda i: filters[i].centre_nm)

    def _spans(self, filters: Sequence[OpticalFilter]) -> Vector:
        """Return the stretch that each filter takes, of which no two may overlap, ``(F, 2)``."""
        half = [
            (one.width_nm if self.spacing_nm is None else self.spacing_nm) / 2 for one in filters
        ]
        centres = np.array([one.centre_nm for one in filters])
        return np.stack([centres - half, centres + half], axis=1)


_TOUCH = 1e-6  # nanometres by which rounding may let two passbands overlap


def _apart(spans: Vector, pick: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Say which other filters do not overlap with one; it does with itself."""
    low, high = spans[pick]
    clear = (spans[others, 1] <= low + _TOUCH) | (spans[others, 0] >= high - _TOUCH)
    return np.asarray(clear & (others != pick))


def _first(spans: Vector, free: NDArray[np.intp]) -> int:
    """Return the filter that ends first: with it the most others fit."""
    return int(free[spans[free, 1].argmin()])


def _most(spans: Vector, free: NDArray[np.intp]) -> int:
    """Return how many filters fit beside each other at most: always the one that ends first."""
    count, end = 0, -np.inf
    for place in free[np.lexsort((free, spans[free, 1]))]:
        low, high = spans[place]
        # Without a span (no spacing asked for) only the filter itself is taken.
        if low >= end - _TOUCH:
            count, end = count + 1, high
    return count


def _noisy(moments: Moments, photons: Vector, samples: NDArray[np.float32]) -> Moments:
    covariance = moments.covariance + np.diag(np.maximum(moments.mean, 0) / photons)
    found = replace(moments, covariance=covariance)
    if not len(samples):
        return found
    return replace(
        found,
        minimum=samples.min(axis=0).astype(np.float64),
        maximum=samples.max(axis=0).astype(np.float64),
        histogram=count_values(samples, moments.histogram_range, moments.histogram.shape[1]),
    )
