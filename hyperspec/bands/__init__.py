"""Which bands: strategies that map an axis and training statistics to a BandSelection."""

from hyperspec.bands.base import CountedStrategy, StatisticsStrategy, Strategy
from hyperspec.bands.clustered import Correlation, EFdpc, Issc
from hyperspec.bands.contiguous import Fngbs, Ocf
from hyperspec.bands.fixed import Full, ListBands, Random, Rgb, Uniform
from hyperspec.bands.learned import Learned
from hyperspec.bands.orthogonal import LcmvBcc, Opbs, Spa
from hyperspec.bands.projections import Binned, NmfProjection, PcaProjection, ProjectionStrategy
from hyperspec.bands.ranked import Entropy, Pca, Variance
from hyperspec.bands.regions import Regions
from hyperspec.bands.registry import OPTIONS, PROJECTIONS, STRATEGIES, register
from hyperspec.bands.supervised import Fisher, Mrmr, MutualInformation

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
    "StatisticsStrategy",
    "Strategy",
    "Uniform",
    "Variance",
    "register",
]
