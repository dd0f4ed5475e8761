"""Scans of a line scanner whose reflectance is known, with the frames of a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis

AXIS = SpectralAxis.linear(400, 800, 30)
LINES, SAMPLES = 24, 24
PEAKS = {"a": 450.0, "b": 500.0, "c": 700.0}
CLOTH = 0.05
FULL_SCALE = 4095


def disc() -> NDArray[np.bool_]:
    """Where the specimen is, shape ``(24, 24)``."""
    y, x = np.mgrid[:LINES, :SAMPLES]
    return np.asarray((y - 11.5) ** 2 + (x - 11.5) ** 2 < 8**2)


def spectrum(peak: float) -> NDArray[np.float64]:
    """Reflectance of a specimen: 0.70 at its peak, shape ``(30,)``."""
    return np.asarray(0.2 + 0.5 * np.exp(-(((AXIS.wavelengths_nm - peak) / 60) ** 2)))


def scene(peak: float, top: float = 1.0) -> NDArray[np.float64]:
    """Reflectance of a specimen on dark cloth, times ``top``, shape ``(30, 24, 24)``."""
    return np.where(disc(), top * spectrum(peak)[:, None, None], CLOTH)


class Camera:
    """A sensor with a lamp that is not flat, stripes in its dark, and noise of a few counts.

    Args:
        lamp: Counts of a white of reflectance 1 at an exposure of 1, at the brightest band.
        seed: Of stripes and noise.
    """

    def __init__(self, lamp: float = 1600.0, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        band = np.exp(-(((AXIS.wavelengths_nm - 620) / 160) ** 2))
        across = 1 - 0.15 * np.linspace(-1, 1, SAMPLES) ** 2
        self.light = lamp * band[:, None] * across
        self.dark = self._rng.uniform(90, 110, (30, SAMPLES))

    def expose(
        self,
        reflectance: NDArray[np.float64] | float,
        *,
        time: float = 1.0,
        lines: int = LINES,
        lamp: float = 1.0,
        full_scale: int = FULL_SCALE,
    ) -> NDArray[np.uint16]:
        """Return counts ``(30, lines, 24)`` of a scene, or of a plane of one reflectance."""
        planes = np.broadcast_to(np.asarray(reflectance, np.float64), (30, lines, SAMPLES))
        counts = planes * (self.light * time * lamp)[:, None] + self.dark[:, None]
        counts += self._rng.normal(0, 2, counts.shape)
        return np.clip(np.rint(counts), 0, full_scale).astype(np.uint16)

    def white(self, **options: float) -> NDArray[np.uint16]:
        """Return 12 lines of a perfect white."""
        return self.expose(1.0, **{"lines": 12, **options})  # type: ignore[arg-type]

    def shut(self, lines: int = 12) -> NDArray[np.uint16]:
        """Return lines with the shutter closed."""
        return self.expose(0.0, lines=lines)


def write(path: Path, values: NDArray[np.generic], **header: object) -> Path:
    """Write a cube; underscores of the keys become spaces."""
    extra = {key.replace("_", " "): str(value) for key, value in header.items()}
    write_envi(path, values, AXIS, extra=extra)
    return path


def write_session(
    folder: Path, camera: Camera, names: str = "abc", *, white: str = "white.bil", **header: object
) -> None:
    """Write scans ``a``, ``b``, ``c`` with a white and a dark frame, all with the same header."""
    for name in names:
        write(folder / f"{name}.bil", camera.expose(scene(PEAKS[name])), **header)
    write(folder / white, camera.white(), **header)
    write(folder / "dark.bil", camera.shut(), **header)
