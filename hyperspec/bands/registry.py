"""Every strategy by name, the package's own and those that plug-ins add."""

from __future__ import annotations

from typing import TypeVar

from hyperspec.bands.base import Strategy
from hyperspec.bands.clustered import Correlation, EFdpc, Issc
from hyperspec.bands.contiguous import Fngbs, Ocf
from hyperspec.bands.filters import Filters
from hyperspec.bands.fixed import Full, ListBands, Random, Rgb, Uniform
from hyperspec.bands.learned import Learned
from hyperspec.bands.orthogonal import LcmvBcc, Opbs, Spa
from hyperspec.bands.partial_least_squares import Cars, Ipls, Vip
from hyperspec.bands.projections import (
    Binned,
    ChannelStrategy,
    NmfProjection,
    PcaProjection,
    ProjectionStrategy,
)
from hyperspec.bands.ranked import Entropy, Pca, Variance
from hyperspec.bands.receptors import Receptors
from hyperspec.bands.regions import Regions
from hyperspec.bands.supervised import Fisher, Mrmr, MutualInformation
from hyperspec.utils.registry import add_option

_Kind = TypeVar("_Kind", bound=type[Strategy])

STRATEGIES: dict[str, type[Strategy]] = {}
"""Every strategy that selects bands, under its name as option of the config group ``bands``."""

PROJECTIONS: dict[str, type[ProjectionStrategy]] = {}
"""Those that give n channels, each a weighted sum of all bands, instead of n bands."""

OPTIONS: dict[str, type[Strategy]] = {}
"""Every option of the config group ``bands``."""


def register(kind: _Kind) -> _Kind:
    """Add a strategy, so that ``bands=NAME`` chooses it; a class decorator.

    Args:
        kind: A dataclass below :class:`Strategy`, best below ``CountedStrategy`` or
            ``StatisticsStrategy``, with a ``name``.

    Raises:
        ConfigError: If it is none, or its name is taken.
    """
    add_option(OPTIONS, "bands", kind, Strategy)
    if issubclass(kind, ProjectionStrategy):
        PROJECTIONS[kind.name] = kind
    elif not issubclass(kind, ChannelStrategy | Learned):
        STRATEGIES[kind.name] = kind
    return kind


for _own in (
    *(Full, ListBands, Rgb, Uniform, Regions, Random),
    *(Variance, Entropy, Pca, Correlation, EFdpc, Ocf, Fngbs, Issc, Opbs, LcmvBcc, Spa),
    *(MutualInformation, Fisher, Mrmr, Vip, Cars, Ipls),
    *(Binned, PcaProjection, NmfProjection, Receptors, Filters, Learned),
):
    register(_own)
# The choice among filters is made by any of them; the module of filters cannot import this one.
Filters.known = STRATEGIES
