"""The line-scan sensor: its response, its noise, and what it writes as raw numbers.

The response falls off at both ends of the axis, as lamp and detector do, and the noise of the
calibrated reflectance grows accordingly. Along the slit the lamp is brightest in the middle and
each pixel has its own gain and dark offset, so that only calibrated cubes are free of stripes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOISE_REFLECTANCE = 0.01
"""Noise of the calibrated reflectance in mid-axis, standard deviation of one pixel."""
NOISE_FACTOR_BLUE_END = 3.5
NOISE_FACTOR_RED_END = 2.5
# Lengths over which the response recovers from the ends, nanometres.
FALL_BLUE_NM = 22.0
FALL_RED_NM = 30.0
FULL_SCALE = 40_000.0  # counts of the white reference at the peak: room for glints in uint16
DARK_COUNTS = 1_500.0
DARK_STRIPE_COUNTS = 60.0
DARK_NOISE_COUNTS = 8.0
GAIN_STRIPE = 0.03
NUM_REFERENCE_LINES = 16


def noise_profile(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the noise of one pixel's reflectance as a standard deviation, shape ``(C,)``."""
    low, high = wavelengths_nm.min(), wavelengths_nm.max()
    rise_blue = (NOISE_FACTOR_BLUE_END - 1) * np.exp(-(wavelengths_nm - low) / FALL_BLUE_NM)
    rise_red = (NOISE_FACTOR_RED_END - 1) * np.exp(-(high - wavelengths_nm) / FALL_RED_NM)
    return np.asarray(NOISE_REFLECTANCE * (1 + rise_blue + rise_red))


def response(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative response, 1 in mid-axis: light whose shot noise is that of the profile.

    Shot noise relative to the signal falls with the square root of the light, so the response goes
    as the inverse square of the noise.
    """
    return np.square(NOISE_REFLECTANCE / noise_profile(wavelengths_nm))


@dataclass(frozen=True)
class Sensor:
    """One sensor with its stripes.

    Args:
        white: Counts of the white reference above dark, shape ``(samples, C)``.
        dark: Dark counts, shape ``(samples, C)``.
        noise: Standard deviation of one pixel's reflectance, shape ``(C,)``.
    """

    white: NDArray[np.float32]
    dark: NDArray[np.float32]
    noise: NDArray[np.float32]

    @classmethod
    def build(
        cls, wavelengths_nm: NDArray[np.float64], num_samples: int, rng: np.random.Generator
    ) -> Sensor:
        """Draw a sensor with a slit of ``num_samples`` pixels."""
        across = np.linspace(-1, 1, num_samples)[:, None]
        slit = 1 - 0.25 * across**2
        shape = (num_samples, wavelengths_nm.size)
        gain = 1 + GAIN_STRIPE * rng.standard_normal((num_samples, 1))
        gain = gain + GAIN_STRIPE / 3 * rng.standard_normal(shape)
        white = FULL_SCALE * response(wavelengths_nm)[None, :] * slit * gain
        dark = DARK_COUNTS + DARK_STRIPE_COUNTS * rng.standard_normal(shape)
        return cls(
            white.astype(np.float32),
            dark.astype(np.float32),
            noise_profile(wavelengths_nm).astype(np.float32),
        )

    def expose(
        self, reflectance: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.uint16]:
        """Return raw counts of a scene with its noise, shape ``(lines, samples, C)``.

        The noise-free reflectance, of the same shape, is not changed.
        """
        counts = rng.standard_normal(reflectance.shape, dtype=np.float32)
        counts *= self.noise
        counts += reflectance
        counts *= self.white
        counts += self.dark
        return _to_counts(counts)

    def white_frame(self, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Return raw lines of a perfect white, shape ``(NUM_REFERENCE_LINES, samples, C)``."""
        return self.expose(np.ones((NUM_REFERENCE_LINES, *self.white.shape), np.float32), rng)

    def dark_frame(self, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Return raw lines behind a closed shutter, shape ``(NUM_REFERENCE_LINES, samples, C)``."""
        noise = rng.standard_normal((NUM_REFERENCE_LINES, *self.dark.shape), dtype=np.float32)
        return _to_counts(self.dark + np.float32(DARK_NOISE_COUNTS) * noise)


def _to_counts(counts: NDArray[np.float32]) -> NDArray[np.uint16]:
    np.rint(counts, out=counts)
    np.clip(counts, 0, np.iinfo(np.uint16).max, out=counts)
    return counts.astype(np.uint16)
