"""Wing patterns: where the pigments, the structural colour and the ultraviolet marks lie.

Patterns are drawn for each specimen and each side from one distribution for all species, after the
ground plan of nymphalid wings (bands across the wing, eyespots before the margin, a dark border;
Nijhout 1991, The Development and Evolution of Butterfly Wing Patterns). They tell nothing of the
species.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.testing.synthetic.wings import Outline

Field = NDArray[np.float64]


@dataclass(frozen=True)
class Pattern:
    """Amounts over the pixels, each of shape ``(size, size)``.

    Args:
        melanin: Amount of melanin, 0 to about 1.
        ground: Amount of the group's pigment, 0 to about 1.
        carotenoid: Amount of carotenoid, 0 to about 1.
        structural: Share of structural colour, 0 to 1.
        uv_mark: Share of ultraviolet-reflecting scales, 0 to 1.
        relief: Height of the surface in frame units.
    """

    melanin: Field
    ground: Field
    carotenoid: Field
    structural: Field
    uv_mark: Field
    relief: Field


def draw_pattern(wing: Outline, rng: np.random.Generator, *, dorsal: bool) -> Pattern:
    """Draw the pattern of one side of a specimen.

    Args:
        wing: The outline, with its coordinates.
        rng: Source of the pattern.
        dorsal: The upper side; the lower one has less melanin and less structural colour.
    """
    dark = _border(wing, rng) + _bands(wing, rng) + _eyespots(wing, rng)
    blotches = _soft(_noise(wing, rng, frequency=5.0) + rng.uniform(-1.6, -0.4), 0.35)
    veins = 0.25 * _veins(wing) * rng.uniform(0.3, 1.0)
    strength = rng.uniform(0.7, 1.0) if dorsal else rng.uniform(0.4, 0.8)
    melanin = strength * np.clip(dark + blotches + veins, 0, 1) + rng.uniform(0.02, 0.10)
    pale = _soft(_noise(wing, rng, frequency=4.0) + rng.uniform(-1.5, -0.3), 0.3)
    flush = _soft(_noise(wing, rng, frequency=3.0) + rng.uniform(-1.2, 0.2), 0.4)
    iridescent = _soft(_noise(wing, rng, frequency=2.5) + rng.uniform(-1.6, 0.0), 0.3)
    ground = np.clip(1 - 0.85 * pale, 0, 1)
    return Pattern(
        melanin=np.where(wing.body > 0.5, 0.8, melanin),
        ground=ground,
        carotenoid=rng.uniform(0.0, 0.5) * flush,
        structural=(0.8 if dorsal else 0.35) * iridescent * (1 - wing.body),
        uv_mark=_uv_mark(wing, rng),
        relief=_relief(wing, rng),
    )


def _soft(values: Field, width: float) -> Field:
    """Return a soft step from 0 to 1 at 0."""
    return 0.5 + 0.5 * np.tanh(values / width)


def _noise(wing: Outline, rng: np.random.Generator, frequency: float, num_waves: int = 8) -> Field:
    """Return a smooth random field of about unit variance, mirrored about the body."""
    waves = rng.normal(0, frequency, (num_waves, 2))
    phases = rng.uniform(0, 2 * np.pi, num_waves)
    # The wings' own coordinates are mixed in, so that fore- and hindwing differ.
    u, v = wing.x + 0.25 * wing.radius, wing.y + 0.3 * wing.fore
    angle = waves[:, 0, None, None] * u + waves[:, 1, None, None] * v + phases[:, None, None]
    return np.asarray(np.cos(angle).sum(0) * np.sqrt(2 / num_waves))


def _border(wing: Outline, rng: np.random.Generator) -> Field:
    width = rng.uniform(0.05, 0.22) + rng.uniform(0, 0.06) * np.cos(8 * wing.angle)
    return _soft(wing.radius - (1 - width), 0.04)


def _bands(wing: Outline, rng: np.random.Generator) -> Field:
    total = np.zeros_like(wing.radius)
    for _ in range(rng.integers(0, 3)):
        middle = rng.uniform(0.25, 0.75) + rng.uniform(0, 0.08) * np.cos(
            rng.uniform(3, 7) * wing.angle + rng.uniform(0, 2 * np.pi)
        )
        total += _soft(rng.uniform(0.02, 0.08) - np.abs(wing.radius - middle), 0.03)
    return total


def _eyespots(wing: Outline, rng: np.random.Generator) -> Field:
    """Return dark rings with a pale pupil, before the margin."""
    total = np.zeros_like(wing.radius)
    for _ in range(rng.integers(0, 4)):
        fore, angle = rng.integers(0, 2), rng.uniform(-0.6, 0.6)
        distance = np.hypot(wing.radius - 0.72, 0.8 * (wing.angle - angle))
        size = rng.uniform(0.07, 0.13)
        ring = _soft(size - distance, 0.03) - 0.9 * _soft(size / 3 - distance, 0.02)
        total += ring * (wing.fore == fore)
    return total


def _veins(wing: Outline) -> Field:
    return np.asarray(np.abs(np.cos(7 * wing.angle)) ** 12 * (wing.radius > 0.15))


def _uv_mark(wing: Outline, rng: np.random.Generator) -> Field:
    """Return a patch of ultraviolet-reflecting scales on fore- or hindwing."""
    fore = rng.integers(0, 2)
    distance = np.hypot(
        (wing.radius - rng.uniform(0.3, 0.75)) / 0.25,
        (wing.angle - rng.uniform(-0.5, 0.5)) / 0.5,
    )
    return np.asarray(rng.uniform(0.0, 0.9) * _soft(1 - distance, 0.25) * (wing.fore == fore))


def _relief(wing: Outline, rng: np.random.Generator) -> Field:
    """Return the wing's height: a bend of the whole, a droop, and ridges along the veins."""
    bend = rng.normal(0, 0.25) * wing.x**2 + rng.normal(0, 0.15) * wing.x * wing.y
    lift = rng.normal(0.1, 0.1) * wing.x
    ridges = 0.012 * np.cos(14 * wing.angle) * np.clip(wing.radius - 0.1, 0, None)
    return np.asarray(bend + lift + ridges + 0.08 * wing.body)
