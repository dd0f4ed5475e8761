"""Which bands: strategies that map an axis and training statistics to a BandSelection."""

from hyperspec.bands.base import CountedStrategy, StatisticsStrategy, Strategy
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
from hyperspec.bands.registry import OPTIONS, PROJECTIONS, STRATEGIES, register
from hyperspec.bands.supervised import Fisher, Mrmr, MutualInformation

__all__ = [
    "OPTIONS",
    "PROJECTIONS",
    "STRATEGIES",
    "Binned",
    "Cars",
    "ChannelStrategy",
    "Correlation",
    "CountedStrategy",
    "EFdpc",
    "Entropy",
    "Filters",
    "Fisher",
    "Fngbs",
    "Full",
    "Ipls",
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
    "Receptors",
    "Regions",
    "Rgb",
    "Spa",
    "StatisticsStrategy",
    "Strategy",
    "Uniform",
    "Variance",
    "Vip",
    "register",
]
