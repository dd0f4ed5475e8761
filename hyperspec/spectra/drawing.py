"""Small drawings as SVG, for notebooks: a spectrum over wavelengths, marks of chosen bands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis

_WIDTH, _HEIGHT, _EDGE, _BELOW = 480, 120, 34, 18  # pixels: left and right of the axis, below it
_STEPS_NM = (10, 20, 50, 100, 200, 500, 1000, 2000)


def spectrum_svg(
    axis: SpectralAxis,
    values: NDArray[np.floating] | None = None,
    marks: Sequence[float] | NDArray[np.floating] = (),
    *,
    title: str = "",
) -> str:
    """Return a drawing over the wavelengths of an axis as one ``<svg>`` element.

    Args:
        axis: Its range is the drawing's.
        values: A number per band, drawn as a line; NaN breaks it. None draws marks alone.
        marks: Wavelengths in nanometres, each a vertical stroke.
        title: What it shows, for readers of screens and as hover text.
    """
    low, high = axis.range_nm
    span = max(high - low, 1e-9)
    height = _HEIGHT if values is not None else 40

    def across(nm: float) -> float:
        return _EDGE + (nm - low) / span * (_WIDTH - 2 * _EDGE)

    base = height - _BELOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" font-family="sans-serif" font-size="10" '
        f'fill="currentColor" stroke="none"><title>{escape(title)}</title>',
        f'<path d="M{_EDGE} {base}H{_WIDTH - _EDGE}" stroke="currentColor" opacity="0.5"/>',
    ]
    parts += [
        f'<text x="{across(nm):.1f}" y="{height - 5}" text-anchor="middle">{nm:g}</text>'
        for nm in _ticks(low, high)
    ]
    parts.append(f'<text x="{_WIDTH - 4}" y="{height - 5}" text-anchor="end">nm</text>')
    strokes = "".join(f"M{across(float(nm)):.1f} 6V{base}" for nm in marks)
    if strokes:
        parts.append(f'<path d="{strokes}" stroke="#1f6f8b" stroke-width="1.2"/>')
    if values is not None:
        parts.append(_line(axis, np.asarray(values, np.float64), across, base))
    return "".join([*parts, "</svg>"])


def _ticks(low: float, high: float) -> list[float]:
    step = next((one for one in _STEPS_NM if (high - low) / one <= 8), _STEPS_NM[-1])
    return [float(nm) for nm in np.arange(np.ceil(low / step) * step, high + 1e-9, step)]


def _line(
    axis: SpectralAxis, values: NDArray[np.float64], across: Callable[[float], float], base: int
) -> str:
    order = np.argsort(axis.wavelengths_nm, kind="stable")
    finite = values[np.isfinite(values)]
    bottom = min(float(finite.min()), 0.0) if finite.size else 0.0
    top = float(finite.max()) if finite.size else 1.0
    scale = (base - 10) / (top - bottom if top > bottom else 1.0)
    words, pen = list[str](), "M"
    for band in order:
        if not np.isfinite(values[band]):
            pen = "M"
            continue
        x, y = across(float(axis.wavelengths_nm[band])), base - (values[band] - bottom) * scale
        words.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    path = f'<path d="{"".join(words)}" fill="none" stroke="#b5532a" stroke-width="1.5"/>'
    return path + f'<text x="2" y="12">{top:.3g}</text><text x="2" y="{base}">{bottom:.3g}</text>'
