"""Synthetic specimens whose right answer is known: butterfly-like cubes made from physics."""

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

__all__ = ["SynthSettings", "synthesise"]
