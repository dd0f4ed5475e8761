"""The ground: spectral axis, band selections, projections, calibration, statistics."""

from hyperspec.spectra.axis import SpectralAxis, mission_axis
from hyperspec.spectra.selection import BandSelection

__all__ = ["BandSelection", "SpectralAxis", "mission_axis"]
