"""What every band strategy promises, as a check that a strategy from elsewhere can be put to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands import CountedStrategy
from hyperspec.config.groups import check_fields
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.band_projection import selection_from_dict
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.testing.demand import demand, demand_refusal
from hyperspec.utils.errors import TiedError

_CENTRES = np.array([400, 412, 420, 440, 455, 470, 500, 510, 540, 600.0])  # no two gaps alike
_SPREAD = 0.05  # of the reflectance of the made spectra around 0.4


def check_strategy(kind: type[CountedStrategy], **options: Any) -> None:
    """Check a strategy on axes and spectra of every awkward kind.

    For every n: exactly n distinct good bands in channel order, the same ones each time and for any
    order of channels, no influence of bad bands, nothing changed that it was given, and a selection
    that travels as plain values. What cannot be given is refused.

    Args:
        kind: The strategy, below ``CountedStrategy``.
        options: Its options other than n.

    Raises:
        AssertionError: If a promise is broken; the message says which.
    """
    demand(bool(kind.name), f"{kind.__name__} has a name")
    check_fields(kind)
    for axis, statistics in _cases():
        check_selections(kind, axis, statistics, **options)
    for axis, statistics in _without_differences():
        # Either bands, or a refusal: a ranking in which all are equal is none.
        with suppress(TiedError):
            check_selections(kind, axis, statistics, **options)
    axis, statistics = _case(_CENTRES, _spectra(10))
    _check_channel_order(kind, axis, statistics, options)
    _check_bad_bands(kind, axis, statistics, options)
    check_refusals(kind, **options)


def check_selections(
    kind: type[CountedStrategy],
    axis: SpectralAxis,
    statistics: SpectralStatistics,
    **options: Any,
) -> None:
    """Check every n on one axis.

    Args:
        kind: The strategy.
        axis: The axis, with one good band at least.
        statistics: Statistics on that axis, with classes.
        options: Options of the strategy other than n.

    Raises:
        AssertionError: If a promise is broken.
    """
    good, before = axis.good_indices.tolist(), (axis.hash, _content(statistics))
    for n in range(1, len(good) + 1):
        strategy = kind(n=n, **options)
        asked, state = dataclasses.asdict(strategy), _random_state()
        found = strategy.select(axis, statistics)
        said = f"bands={kind.name} bands.n={n} of {len(good)}"
        demand(len(found) == n, f"{said} gives exactly n bands; it gave {len(found)}")
        ascending = list(found.indices) == sorted(set(found.indices))
        demand(ascending, f"{said} gives distinct bands in channel order: {found.indices}")
        demand(set(found.indices) <= set(good), f"{said} gives good bands only: {found.indices}")
        demand((found.strategy, found.params) == (kind.name, asked), f"{said} names its options")
        demand(selection_from_dict(found.to_dict()) == found, f"{said} travels as plain values")
        np.random.seed(n)  # noqa: NPY002 - what a strategy must not depend on
        again = kind(n=n, **options).select(axis, statistics)
        _set_random_state(state)
        demand(again.hash == found.hash, f"{said} gives the same bands each time")
    demand((axis.hash, _content(statistics)) == before, f"bands={kind.name} changes nothing")


def check_refusals(kind: type[CountedStrategy], **options: Any) -> None:
    """Check that a strategy refuses what it cannot give, with words that name the key.

    Raises:
        AssertionError: If it does not.
    """
    axis, statistics = _case(_CENTRES, _spectra(10))
    bad = SpectralAxis(_CENTRES, good=np.zeros(10, bool))
    says = f"bands={kind.name}"
    demand_refusal(lambda: kind(n=0, **options), "bands.n is 0", f"{says} refuses bands.n=0")
    demand_refusal(
        lambda: kind(n=11, **options).select(axis, statistics),
        "bands.n is 11, but the axis has 10 good bands",
        f"{says} refuses more bands than there are",
    )
    demand_refusal(
        lambda: kind(n=1, **options).select(bad, statistics),
        "All 10 bands of the axis are marked bad",
        f"{says} refuses an axis of bad bands",
    )
    if kind.needs_statistics:
        demand_refusal(
            lambda: kind(n=1, **options).select(axis), says, f"{says} refuses to go without data"
        )


def _check_channel_order(
    kind: type[CountedStrategy],
    axis: SpectralAxis,
    statistics: SpectralStatistics,
    options: dict[str, Any],
) -> None:
    reverse = np.arange(len(axis))[::-1]
    turned, same = axis.subset(reverse), statistics.restrict(reverse)
    for n in (1, 3, 8):
        ahead = kind(n=n, **options).select(axis, statistics)
        back = kind(n=n, **options).select(turned, same)
        alike = np.array_equal(np.sort(ahead.bands_nm), np.sort(back.bands_nm))
        demand(alike, f"bands={kind.name} gives the same nm for any order of channels")


def _check_bad_bands(
    kind: type[CountedStrategy],
    axis: SpectralAxis,
    statistics: SpectralStatistics,
    options: dict[str, Any],
) -> None:
    wild = np.random.default_rng(5).uniform(0, 1, size=(200, 2))
    good = np.append(axis.good, [False, False])
    wide, known = _case(np.append(_CENTRES, [900, 910]), np.hstack([_spectra(10), wild]), good)
    for n in (1, 4, 9):
        expected = kind(n=n, **options).select(axis, statistics).indices
        found = kind(n=n, **options).select(wide, known).indices
        demand(found == expected, f"bands={kind.name} is not influenced by bad bands")


def _cases() -> Iterator[tuple[SpectralAxis, SpectralStatistics]]:
    random = np.random.default_rng(0)
    for centres in (_CENTRES, _CENTRES[::-1], random.permutation(_CENTRES), _CENTRES[:1]):
        yield _case(centres, _spectra(len(centres)))
    yield _case(_CENTRES, _spectra(10), np.arange(10) % 3 != 1)
    twins = _spectra(10)
    twins[:, 7] = twins[:, 2]
    yield _case(_CENTRES, twins)
    overlapping = _CENTRES.copy()
    overlapping[3] = overlapping[4]
    yield _case(overlapping, _spectra(10))


def _without_differences() -> Iterator[tuple[SpectralAxis, SpectralStatistics]]:
    yield _case(_CENTRES, np.full((60, 10), 0.25))  # nothing to tell the bands apart by
    yield _case(_CENTRES, _spectra(10)[:2])  # fewer spectra than bands


def _case(
    centres: NDArray[np.float64],
    spectra: NDArray[np.float64],
    good: NDArray[np.bool_] | None = None,
) -> tuple[SpectralAxis, SpectralStatistics]:
    axis = SpectralAxis(centres, good=np.ones(len(centres), bool) if good is None else good)
    labels = ["ab"[i % 2] for i in range(len(spectra))]
    return axis, SpectralStatistics.from_spectra(spectra, axis, labels=labels)


def _spectra(num_bands: int) -> NDArray[np.float64]:
    """Return 200 spectra of a few mixed components and noise; class a differs in one band."""
    random = np.random.default_rng(1)
    spectra = _SPREAD * random.normal(size=(200, 4)) @ random.normal(size=(4, num_bands))
    spectra += 0.4 + 0.01 * random.normal(size=spectra.shape)
    spectra[::2, min(6, num_bands - 1)] += 0.1
    return np.asarray(spectra)


def _content(statistics: SpectralStatistics) -> list[tuple[str, bytes]]:
    arrays = statistics.to_arrays()
    return [(name, np.asarray(array).tobytes()) for name, array in sorted(arrays.items())]


def _random_state() -> Any:
    return np.random.get_state()  # noqa: NPY002 - numpy's own, which plug-ins may use


def _set_random_state(state: Any) -> None:
    np.random.set_state(state)  # noqa: NPY002 - as it was before the check
