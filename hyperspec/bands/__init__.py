"""Which bands: strategies that map an axis and training statistics to a BandSelection."""

from hyperspec.bands.base import CountedStrategy, Strategy
from hyperspec.bands.fixed import Full, ListBands, Random, Rgb, Uniform
from hyperspec.bands.ranked import Pca, Variance

STRATEGIES: dict[str, type[Strategy]] = {
    strategy.name: strategy for strategy in (Full, ListBands, Rgb, Uniform, Random, Variance, Pca)
}
"""Every strategy under the name that it has as option of the config group ``bands``."""

__all__ = [
    "STRATEGIES",
    "CountedStrategy",
    "Full",
    "ListBands",
    "Pca",
    "Random",
    "Rgb",
    "Strategy",
    "Uniform",
    "Variance",
]
