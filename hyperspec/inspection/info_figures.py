"""A look at a cube as files: an overview, pictures in the cube's own pixels, a CSV."""

from __future__ import annotations

import csv
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.files import bare_name
from hyperspec.inspection.colour import VISIBLE_NM, band_picture, exposure_of, srgb_picture
from hyperspec.inspection.info import CubeInfo
from hyperspec.utils.atomic import replacing
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure


def picture_of(info: CubeInfo) -> tuple[NDArray[np.uint8], str]:
    """Return the best colour picture, shape ``(H, W, 3)``, and in words what it shows."""
    if info.xyz is None or info.colours is None:
        return _nearest_picture(info)
    exposure = exposure_of(info.xyz[1], info.is_reflectance)
    low, high = info.colours.range_nm
    text = "CIE 1931 2° under D65"
    if low - VISIBLE_NM[0] >= 1 or VISIBLE_NM[1] - high >= 1:
        text += (
            f"; the axis covers {low:.0f}-{high:.0f} of 380-780 nm, {info.colours.coverage:.1%} "
            "of the luminance"
        )
    if not info.is_reflectance:
        text += "; stored values, not reflectance, so the colours are those of the light too"
    elif exposure != 1:
        text += f"; light ×{exposure:.2g}"
    return srgb_picture(info.xyz, exposure), text


def _nearest_picture(info: CubeInfo) -> tuple[NDArray[np.uint8], str]:
    nm = info.axis.wavelengths_nm[info.rgb_bands]
    return band_picture(info.rgb), "red, green, blue at {:.0f}, {:.0f}, {:.0f} nm".format(*nm)


def write_pictures(info: CubeInfo, out: Path) -> list[Path]:
    """Write an overview, the pictures in the cube's own pixels, and the spectrum as CSV.

    Args:
        info: A look at a cube.
        out: Folder to write to; made when it does not exist.

    Returns:
        The files.

    Raises:
        ConfigError: If it is the cube's own folder, which is only read.
    """
    if out.resolve() == info.path.resolve().parent:
        raise ConfigError(f"{out} is the folder of the cube, which is only read; give --out DIR.")
    from matplotlib.image import imsave

    out.mkdir(parents=True, exist_ok=True)
    stem = bare_name(info.path)
    files = [out / f"{stem}_info.png"]
    _overview(info, files[0])
    if info.xyz is not None:
        files.append(out / f"{stem}_cie.png")
        imsave(files[-1], picture_of(info)[0])
    files.append(out / f"{stem}_rgb.png")
    imsave(files[-1], _nearest_picture(info)[0])
    files.append(out / f"{stem}_spectrum.csv")
    _write_spectrum(info, files[-1])
    return files


def sizes(shape: tuple[int, int, int]) -> str:
    """Write a shape in words: ``7 bands × 1 line × 40 samples``."""
    words = ("band", "line", "sample")
    return " × ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in zip(shape, words, strict=True)
    )


def quantity(info: CubeInfo) -> str:
    """Say what the values of a look are."""
    return "reflectance" if info.is_reflectance else "stored value"


def _overview(info: CubeInfo, path: Path) -> None:
    # Without pyplot there is no global state and no display to look for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pictures = [picture_of(info)]
    if info.xyz is not None:
        pictures.append(_nearest_picture(info))
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    # The stubs of matplotlib do not know that subfigures() returns an array here.
    above, below = cast("list[SubFigure]", figure.subfigures(2, 1, height_ratios=[1.1, 1]))
    panels = above.subplots(1, len(pictures), squeeze=False)[0]
    for panel, (picture, words) in zip(panels, pictures, strict=True):
        tall = picture.shape[0] / picture.shape[1]
        # Frames of one line would be drawn as a hair.
        panel.imshow(picture, interpolation="nearest", aspect="equal" if tall > 0.05 else "auto")
        panel.set_title(_wrapped(words), fontsize=9)
        panel.set_xlabel("sample", fontsize=8)
        panel.set_ylabel("line", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.yaxis.get_major_locator().set_params(integer=True)
    _draw_spectrum(below.subplots(), info)
    figure.suptitle(f"{info.path.name}: {sizes(info.shape)}", fontsize=11)
    figure.savefig(path, dpi=110)


def _draw_spectrum(panel: Axes, info: CubeInfo) -> None:
    good = info.axis.good_indices
    order = good[np.argsort(info.axis.wavelengths_nm[good])]
    nm = info.axis.wavelengths_nm[order]
    spectrum = info.spectrum
    mean, sd = spectrum.mean[order], spectrum.sd[order]
    marker = "o" if len(nm) == 1 else None
    panel.fill_between(nm, mean - sd, mean + sd, color="0.85", lw=0, label="± 1 sd of the pixels")
    panel.plot(nm, mean, color="black", lw=1.2, marker=marker, label="mean of the foreground")
    for band, colour in zip(info.rgb_bands, ("C3", "C2", "C0"), strict=True):
        panel.axvline(info.axis.wavelengths_nm[band], color=colour, lw=0.8, ls=":")
    panel.set_xlabel("wavelength (nm)", fontsize=9)
    panel.set_ylabel(quantity(info), fontsize=9)
    panel.tick_params(labelsize=8)
    panel.legend(
        fontsize=8,
        frameon=False,
        title=f"{info.foreground.sum()} pixels ({info.foreground_source})",
        title_fontsize=8,
    )


def _wrapped(words: str) -> str:
    return "\n".join(textwrap.wrap(words, 60))


def _write_spectrum(info: CubeInfo, path: Path) -> None:
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["band", "wavelength_nm", "good", "mean", "sd", "lowest", "highest"])
        spectrum = info.spectrum
        for band, nm in enumerate(info.axis.wavelengths_nm):
            values = (spectrum.mean, spectrum.sd, spectrum.low, spectrum.high)
            numbers = [f"{v[band]:.9g}" for v in values]
            writer.writerow([band, f"{nm:.4f}", int(info.axis.good[band]), *numbers])
