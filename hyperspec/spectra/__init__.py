"""The ground: spectral axis, band selections, calibration, normalisation, statistics, errors."""

from hyperspec.spectra.axis import SpectralAxis, mission_axis
from hyperspec.spectra.selection import BandSelection
from hyperspec.utils.errors import HyperspecError

__all__ = ["BandSelection", "HyperspecError", "SpectralAxis", "mission_axis"]
