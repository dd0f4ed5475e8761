"""Which bands, and how many, carry the signal: SimCLR sweeps over hyperspectral specimens."""

__version__ = "0.1.0"
