"""Which bands: strategies that map an axis and training statistics to a BandSelection."""

from hyperspec.bands.base import CountedStrategy, Strategy
from hyperspec.bands.clustered import Correlation, EFdpc, Issc
from hyperspec.bands.contiguous import Fngbs, Ocf
from hyperspec.bands.fixed import Full, ListBands, Random, Rgb, Uniform
from hyperspec.bands.learned import Learned
from hyperspec.bands.orthogonal import LcmvBcc, Opbs, Spa
from hyperspec.bands.projections import Binned, NmfProjection, PcaProjection, ProjectionStrategy
from hyperspec.bands.ranked import Entropy, Pca, Variance
from hyperspec.bands.regions import Regions
from hyperspec.bands.supervised import Fisher, Mrmr, MutualInformation

_ALL: tuple[type[Strategy], ...] = (
    *(Full, ListBands, Rgb, Uniform, Regions, Random),
    *(Variance, Entropy, Pca, Correlation, EFdpc, Ocf, Fngbs, Issc, Opbs, LcmvBcc, Spa),
    *(MutualInformation, Fisher, Mrmr),
)

STRATEGIES: dict[str, type[Strategy]] = {strategy.name: strategy for strategy in _ALL}
"""Every strategy that selects bands, under its name as option of the config group ``bands``."""

PROJECTIONS: dict[str, type[ProjectionStrategy]] = {
    strategy.name: strategy for strategy in (Binned, PcaProjection, NmfProjection)
}
"""Those that give n channels, each a weighted sum of all bands, instead of n bands."""

OPTIONS: dict[str, type[Strategy]] = {**STRATEGIES, **PROJECTIONS, Learned.name: Learned}
"""Every option of the config group ``bands``."""

__all__ = [
    "OPTIONS",
    "PROJECTIONS",
    "STRATEGIES",
    "Binned",
    "Correlation",
    "CountedStrategy",
    "EFdpc",
    "Entropy",
    "Fisher",
    "Fngbs",
    "Full",
    "Issc",
    "LcmvBcc",
    "Learned",
    "ListBands",
    "Mrmr",
    "MutualInformation",
    "NmfProjection",
    "Ocf",
    "Opbs",
    "Pca",
    "PcaProjection",
    "ProjectionStrategy",
    "Random",
    "Regions",
    "Rgb",
    "Spa",
    "Strategy",
    "Uniform",
    "Variance",
]
