"""Scales with and without a window: half of each, so that means and spreads say nothing.

In the variant ``spots`` every specimen has both windows, each in half of its scales by the light
that they send back. Species differ in whether the windows lie in the same scales or in different
ones, and in whether these scales lie in rings about the wings' roots or in rays from them. Either
half may be the one with the window, so that no place is darker in one species than in another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyperspec.testing.synthetic.design import Factors
from hyperspec.testing.synthetic.wings import Field, Outline

NUM_RINGS = 2.0  # from root to margin
NUM_RAYS = 2.0  # over each wing's width
_BEND = 0.5  # radians by which the stripes waver


def stripes(wing: Outline, layout: str, rng: np.random.Generator) -> Field:
    """Return a wave over the wings, -1 to 1, of random phase, mirrored about the body.

    Args:
        wing: Where the specimen is.
        layout: ``rings`` or ``rays``.
        rng: Draws the phase and how the stripes waver.
    """
    phase, bend = rng.uniform(0, 2 * np.pi, 2)
    waver = _BEND * np.sin(3 * (wing.x + wing.y) + bend)
    turns = NUM_RINGS * wing.radius if layout == "rings" else NUM_RAYS * wing.angle / 2
    return np.asarray(np.cos(2 * np.pi * turns + phase + waver))


def window_scales(
    field: NDArray[np.float64], factors: Factors, light: list[NDArray[np.float64]]
) -> list[NDArray[np.bool_]]:
    """Return which pixels have each window.

    Args:
        field: Where the scales lie, ``(P,)``.
        factors: Whether the windows lie together.
        light: What each pixel sends back at the first and the second window's centre, ``(P,)``.
    """
    first, second = (field > _median(field, weights) for weights in light)
    return [first, second if factors.together else ~second]


def _median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the value above which half of the weight lies."""
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(summed, summed[-1] / 2)])
