"""Errors that a user can cause and mend.

Each message is one paragraph: the value that was seen, the place (file or config key) and the way
out. The command line prints the message without a traceback and exits with status 2.
"""

from __future__ import annotations


class HyperspecError(ValueError):
    """Base of every error that names something the user can mend."""


class AxisError(HyperspecError):
    """Wavelengths, their unit or a requested wavelength do not fit."""


class CubeError(HyperspecError):
    """A cube's header or data file is missing, contradictory or of an unsupported kind."""


class CatalogueError(HyperspecError):
    """A folder's cubes, labels or calibration frames do not fit together."""


class SplitError(HyperspecError):
    """The labels or specimens do not allow the requested split."""


class BandError(HyperspecError):
    """A band strategy was asked for something that the axis or the statistics cannot give."""


class TiedError(BandError):
    """Nothing tells the bands apart: all have the same score, so that any choice is arbitrary."""


class ModelError(HyperspecError):
    """A model option or a weights file does not fit."""


class ConfigError(HyperspecError):
    """A config value is outside its range, or two values contradict each other."""


class TrackingError(HyperspecError):
    """A run, sweep or tracking store cannot be found or used."""
