"""Synthetic specimens whose right answer is known: butterfly-like cubes made from physics."""

from hyperspec.cubes.synthetic.generate import synthesise
from hyperspec.cubes.synthetic.settings import SynthSettings

__all__ = ["SynthSettings", "synthesise"]
