"""The butterfly: four wings and a body on a pixel grid, and the patterns of pigments on them.

Patterns are drawn for each specimen and each side from one distribution for all species, after the
ground plan of nymphalid wings (bands across the wing, eyespots before the margin, a dark border;
Nijhout 1991, The Development and Evolution of Butterfly Wing Patterns). They tell nothing of the
species.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]

# Frame coordinates run from -1 to 1 over the shorter side; the wings' roots sit by the thorax.
ROOT_X, ROOT_Y = 0.05, 0.12


@dataclass(frozen=True)
class Shape:
    """A specimen's outline, drawn from one distribution for all species.

    Angles are radians above the horizontal, lengths are frame units.
    """

    scale: float
    tilt: float
    shift: tuple[float, float]
    fore_angle: float
    fore_width: float
    fore_length: float
    hind_angle: float
    hind_width: float
    hind_length: float
    scallop: float
    tail: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Shape:
        """Draw an outline."""
        return cls(
            scale=rng.uniform(0.88, 1.0),
            tilt=rng.normal(0, 0.05),
            shift=(rng.normal(0, 0.02), rng.normal(0, 0.02)),
            fore_angle=rng.normal(0.47, 0.04),
            fore_width=rng.uniform(0.68, 0.84),
            fore_length=rng.uniform(0.94, 1.04),
            hind_angle=rng.normal(-0.68, 0.05),
            hind_width=rng.uniform(0.95, 1.10),
            hind_length=rng.uniform(0.74, 0.86),
            scallop=rng.uniform(0, 0.03),
            tail=rng.choice([0.0, 0.0, 0.22]) * rng.uniform(0.6, 1.0),
        )


@dataclass(frozen=True)
class Outline:
    """Where the specimen is on a grid of pixels; each field has shape ``(size, size)``.

    Args:
        coverage: Share of the pixel that the specimen covers, 0 to 1.
        x: Frame coordinate across the body, mirrored (0 at the body).
        y: Frame coordinate along the body, upwards.
        radius: 0 at the wing's root, 1 at its margin.
        angle: Angle on the wing, -1 to 1 over the width of the wing.
        fore: Share of the forewing, 0 or 1.
        body: Share of the body, 0 to 1.
    """

    coverage: Field
    x: Field
    y: Field
    radius: Field
    angle: Field
    fore: Field
    body: Field


def outline(shape: Shape, size: int, *, dorsal: bool) -> Outline:
    """Return a specimen's outline on a square grid of ``size`` pixels along each side.

    On the upper side (``dorsal``) the forewing lies over the hindwing, below it lies under.
    """
    across, y = _frame(shape, size)
    x = np.abs(across)
    rho = np.hypot(x - ROOT_X, y - ROOT_Y)
    phi = np.arctan2(y - ROOT_Y, np.maximum(x - ROOT_X, 1e-9))
    fore_reach, fore_angle = _reach(
        phi, shape.fore_angle, shape.fore_width, shape.fore_length, shape.scallop / 3, 0.0, 0.25
    )
    hind_reach, hind_angle = _reach(
        phi, shape.hind_angle, shape.hind_width, shape.hind_length, shape.scallop, shape.tail, 0.0
    )
    pixel = 2 / size / shape.scale
    fore_cover = np.clip(0.5 + (fore_reach - rho) / pixel, 0, 1)
    hind_cover = np.clip(0.5 + (hind_reach - rho) / pixel, 0, 1)
    fore_on_top = fore_cover > 0.5 if dorsal else (hind_cover <= 0.5) & (fore_cover > 0)
    body = _body(x, y, pixel)
    coverage = np.maximum.reduce([fore_cover, hind_cover, body, _antennae(x, y, pixel)])
    reach = np.where(fore_on_top, fore_reach, hind_reach)
    return Outline(
        coverage=coverage,
        x=x,
        y=y,
        radius=np.clip(rho / np.maximum(reach, pixel), 0, 1),
        angle=np.where(fore_on_top, fore_angle, hind_angle),
        fore=fore_on_top.astype(np.float64),
        body=body,
    )


def _frame(shape: Shape, size: int) -> tuple[Field, Field]:
    centres = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(centres - shape.shift[0], -centres - shape.shift[1])
    cos, sin = np.cos(shape.tilt), np.sin(shape.tilt)
    return (x * cos - y * sin) / shape.scale, (x * sin + y * cos) / shape.scale


def _reach(
    phi: Field,
    centre: float,
    width: float,
    length: float,
    scallop: float,
    tail: float,
    skew: float,
) -> tuple[Field, Field]:
    """Return how far the margin lies from the root in each direction, and the wing's angle."""
    angle = (phi - centre) / width
    # A rounded triangle: long along its axis (and more so at the leading edge when skewed), falling
    # to nothing at its edges.
    lobe = np.clip(1 - np.abs(angle) ** 3.2, 0, None) ** 0.55
    wavy = 1 + scallop * np.cos(14 * angle)
    spike = tail * np.exp(-(((angle + 0.55) / 0.09) ** 2))
    return np.asarray(length * lobe * wavy * (1 + skew * angle) + spike), np.clip(angle, -1, 1)


def _body(x: Field, y: Field, pixel: float) -> Field:
    """Return the share of head, thorax and abdomen: a tapered spindle along the axis."""
    along = np.clip((y + 0.42) / 0.78, 0, 1)
    half_width = 0.085 * np.sin(np.pi * along**0.8) ** 0.5 * (y > -0.42) * (y < 0.36)
    share = np.clip(0.5 + (half_width - x) / pixel, 0, 1)
    return np.asarray(share * (half_width > 0), dtype=np.float64)


def _antennae(x: Field, y: Field, pixel: float) -> Field:
    """Return the share of two thin lines with clubs at their ends."""
    path = 0.02 + 0.35 * np.clip(y - 0.34, 0, None)
    half_width = np.where(y > 0.76, 0.02, 0.008)
    inside = (y > 0.34) & (y < 0.84)
    share = np.clip((half_width - np.abs(x - path)) / pixel + 0.5, 0, 1)
    thin = np.minimum(1, 2.5 * half_width / pixel)  # thinner than a pixel: fainter
    return np.asarray(inside * share * thin, dtype=np.float64)


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

    The lower one (not ``dorsal``) has less melanin and less structural colour.
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
