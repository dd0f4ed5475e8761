"""Synthetic specimens whose right answer is known: butterfly-like cubes made from physics."""

from hyperspec.synthetic.generate import synthesise
from hyperspec.synthetic.settings import SynthSettings

__all__ = ["SynthSettings", "synthesise"]
