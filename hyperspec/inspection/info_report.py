"""A look at a cube in the terminal and as files: facts, pictures, the mean spectrum, a table."""

from __future__ import annotations

import csv
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.files import bare_name
from hyperspec.inspection.check_report import counted
from hyperspec.inspection.info import CubeInfo
from hyperspec.spectra.colour import VISIBLE_NM, band_picture, exposure_of, srgb_picture
from hyperspec.spectra.statistics import REFLECTANCE, STORED_VALUE
from hyperspec.utils.atomic import replacing
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


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
    nm = info.cube.axis.wavelengths_nm[info.rgb_bands]
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
    if out.resolve() == info.cube.path.resolve().parent:
        raise ConfigError(f"{out} is the folder of the cube, which is only read; give --out DIR.")
    from matplotlib.image import imsave

    out.mkdir(parents=True, exist_ok=True)
    stem = bare_name(info.cube.path)
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
    return " × ".join(counted(n, word) for n, word in zip(shape, words, strict=True))


def quantity(info: CubeInfo) -> str:
    """Say what the values of a look are."""
    return REFLECTANCE if info.is_reflectance else STORED_VALUE


def _overview(info: CubeInfo, path: Path) -> None:
    # Without pyplot there is no global state and no display to look for.
    from matplotlib.figure import Figure

    pictures = [picture_of(info)]
    if info.xyz is not None:
        pictures.append(_nearest_picture(info))
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    # The stubs of matplotlib do not know that subfigures() returns an array here.
    above, below = cast("list[SubFigure]", figure.subfigures(2, 1, height_ratios=[1.1, 1]))
    panels = above.subplots(1, len(pictures), squeeze=False)[0]
    for panel, (picture, words) in zip(panels, pictures, strict=True):
        tall = picture.shape[0] / picture.shape[1]
        # Frames of one line would be drawn as a hair.
        panel.imshow(picture, interpolation="nearest", aspect="equal" if tall > 0.05 else "auto")
        panel.set_title(textwrap.fill(words, 60), fontsize=9)
        panel.set_xlabel("sample", fontsize=8)
        panel.set_ylabel("line", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.yaxis.get_major_locator().set_params(integer=True)
    _draw_spectrum(below.subplots(), info)
    figure.suptitle(f"{info.cube.path.name}: {sizes(info.cube.shape)}", fontsize=11)
    figure.savefig(path, dpi=110)


def _draw_spectrum(panel: Axes, info: CubeInfo) -> None:
    good = info.cube.axis.good_indices
    order = good[np.argsort(info.cube.axis.wavelengths_nm[good])]
    nm = info.cube.axis.wavelengths_nm[order]
    mean, sd = info.spectrum.mean[order], info.spectrum.sd[order]
    marker = "o" if len(nm) == 1 else None
    panel.fill_between(nm, mean - sd, mean + sd, color="0.85", lw=0, label="± 1 sd of the pixels")
    panel.plot(nm, mean, color="black", lw=1.2, marker=marker, label="mean of the foreground")
    for band, colour in zip(info.rgb_bands, ("C3", "C2", "C0"), strict=True):
        panel.axvline(info.cube.axis.wavelengths_nm[band], color=colour, lw=0.8, ls=":")
    panel.set_xlabel("wavelength (nm)", fontsize=9)
    panel.set_ylabel(quantity(info), fontsize=9)
    panel.tick_params(labelsize=8)
    panel.legend(
        fontsize=8,
        frameon=False,
        title=f"{info.foreground.sum()} pixels ({info.foreground_source})",
        title_fontsize=8,
    )


def _write_spectrum(info: CubeInfo, path: Path) -> None:
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["band", "wavelength_nm", "good", "mean", "sd", "lowest", "highest"])
        spectrum = info.spectrum
        for band, nm in enumerate(info.cube.axis.wavelengths_nm):
            values = (spectrum.mean, spectrum.sd, spectrum.low, spectrum.high)
            numbers = [f"{v[band]:.9g}" for v in values]
            writer.writerow([band, f"{nm:.4f}", int(info.cube.axis.good[band]), *numbers])


# Of the mission's study: (name, from, to) in nm; the outer ones reach to the axis's ends.
REGIONS = (
    ("UV", 0.0, 400.0),
    ("blue", 400.0, 480.0),
    ("green", 480.0, 550.0),
    ("red", 550.0, 650.0),
    ("NIR", 650.0, np.inf),
)
_BARS = "▁▂▃▄▅▆▇█"
_TERMINAL_PICTURE = (48, 36)  # columns and lines of pixels; two lines fit one of text
_LONGEST_FIELD = 200


def print_info(info: CubeInfo, console: Console, *, header: bool = False) -> None:
    """Print facts, a small picture (in colour terminals), the mean spectrum and a table.

    Args:
        info: A look at a cube.
        console: Where to print.
        header: Also print the other fields of the header.
    """
    from rich.markup import escape
    from rich.table import Table

    console.print(f"[bold]{escape(info.cube.path.name)}[/]", highlight=False)
    picture, words = picture_of(info)
    facts = Table.grid(padding=(0, 1, 0, 0))
    facts.add_column(style="dim", width=13)
    facts.add_column()
    for name, text in (*_facts(info), ("picture", words)):
        facts.add_row(f"  {name}", escape(text))
    console.print(facts, highlight=False)
    if console.color_system is not None:
        console.print()
        console.print(half_blocks(picture, min(console.width - 4, _TERMINAL_PICTURE[0])))
    console.print()
    _print_spectrum(info, console)
    console.print(_region_table(info))
    if header:
        _print_header(info, console)


def half_blocks(picture: NDArray[np.uint8], width: int) -> Text:
    """Return a picture as coloured half blocks, two lines of pixels per line of text.

    Args:
        picture: Shape ``(H, W, 3)``; made smaller to fit, never larger.
        width: Largest number of columns.
    """
    from rich.style import Style
    from rich.text import Text

    lines, samples = picture.shape[:2]
    scale = min(1.0, width / samples, _TERMINAL_PICTURE[1] / lines)
    small = shrink(picture, max(1, round(lines * scale)), max(1, round(samples * scale)))
    text = Text()
    for row in range(0, len(small), 2):
        text.append("  ")
        for column in range(small.shape[1]):
            colours = ["rgb({},{},{})".format(*pixel) for pixel in small[row : row + 2, column]]
            lower = colours[1] if len(colours) > 1 else None
            text.append("▀", Style(color=colours[0], bgcolor=lower))
        if row + 2 < len(small):
            text.append("\n")
    return text


def shrink(picture: NDArray[np.uint8], lines: int, samples: int) -> NDArray[np.uint8]:
    """Average a picture over the pixels that fall together, shape ``(lines, samples, 3)``."""
    for axis, count in ((0, lines), (1, samples)):
        starts = np.arange(count) * picture.shape[axis] // count
        sizes = np.diff(np.append(starts, picture.shape[axis]))
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        sums = np.add.reduceat(picture.astype(np.float64), starts, axis=axis)
        picture = np.rint(sums / sizes.reshape(shape)).astype(np.uint8)
    return picture


def sparkline(values: NDArray[np.floating], width: int) -> str:
    """Return bars of eight heights, from 0 (or the lowest negative) to the highest value.

    Args:
        values: Shape ``(C,)``; NaN becomes a space.
        width: Largest number of characters; more values are averaged.
    """
    count = min(width, len(values))
    groups = np.array_split(values, count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a group without a value stays NaN
        means = np.array([np.nanmean(group) for group in groups])
    finite = means[np.isfinite(means)]
    if not finite.size:
        return " " * count
    low, high = min(0.0, float(finite.min())), float(finite.max())
    steps = np.zeros(count) if high == low else (means - low) / (high - low) * (len(_BARS) - 1)
    return "".join(_BARS[round(s)] if np.isfinite(s) else " " for s in steps)


def _facts(info: CubeInfo) -> list[tuple[str, str]]:
    seen, axis = info.measure, info.cube.axis
    order = info.cube.metadata.get("interleave", "").strip("{} ").lower()
    layout = ", ".join(part for part in (str(info.cube.dtype), order) if part)
    low, high = axis.range_nm
    bad = len(axis) - len(axis.good_indices)
    steps = np.diff(np.sort(axis.wavelengths_nm))
    every = f", every {np.median(steps):.2f} nm" if steps.size else ""
    widths = "" if axis.fwhm_nm is None else f", {np.median(axis.fwhm_nm):.1f} nm wide"
    stored = f"{seen.low:g} to {seen.high:g}; {seen.missing_share:.2%} without a value"
    if seen.saturation_level is not None:
        stored += f", {seen.saturated_share:.2%} saturated (at {seen.saturation_level:g})"
    facts = [
        ("size", f"{sizes(info.cube.shape)}, {layout}"),
        ("axis", f"{low:.1f} to {high:.1f} nm{every}{widths}" + (f", {bad} bad" if bad else "")),
        ("stored", stored),
    ]
    if info.cube.nodata is not None:
        facts.append(("nodata", f"{info.cube.nodata:g}"))
    if info.cube.gains is not None:
        scaled = info.cube.scale_factor != 1
        then = ", before the scale" if scaled else f" is {info.cube.gains.quantity}"
        facts.append(("gains", f"{info.cube.gains}{then}"))
    if info.cube.scale_factor != 1:
        facts.append(("scale", f"{info.cube.scale_factor:g} stands for a reflectance of 1"))
    if info.cube.header_path is not None:
        facts.append(("header", info.cube.header_path.name))
    pixels, share = counted(int(info.foreground.sum()), "pixel"), info.foreground.mean()
    return [
        *facts,
        ("calibration", info.calibration),
        ("foreground", f"{pixels}, {share:.0%} ({info.foreground_source})"),
    ]


def _print_spectrum(info: CubeInfo, console: Console) -> None:
    good = info.cube.axis.good_indices
    order = good[np.argsort(info.cube.axis.wavelengths_nm[good])]
    nm, mean = info.cube.axis.wavelengths_nm[order], info.spectrum.mean[order]
    line = sparkline(mean, min(console.width - 4, 72))
    ends = f"{nm[0]:.0f} nm"
    last = f"{nm[-1]:.0f} nm" if len(nm) > 1 else ""
    top = np.nanmax(mean) if np.isfinite(mean).any() else np.nan
    console.print(f"  mean {quantity(info)} of the foreground, up to {top:.4g}", highlight=False)
    console.print(f"  [cyan]{line}[/]", highlight=False)
    gap = " " * max(1, len(line) - len(ends) - len(last))
    console.print(f"  [dim]{ends}{gap}{last}[/]", highlight=False)


def _region_table(info: CubeInfo) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=True)
    table.add_column("region")
    for name in ("nm", "bands", "mean", "sd", "lowest", "highest"):
        table.add_column(name, justify="right")
    nm, spectrum = info.cube.axis.wavelengths_nm, info.spectrum
    for name, start, stop in REGIONS:
        chosen = np.flatnonzero(info.cube.axis.good & (nm >= start) & (nm < stop))
        chosen = chosen[np.isfinite(spectrum.mean[chosen])]
        if not chosen.size:
            continue
        cells = (
            spectrum.mean[chosen].mean(),
            np.sqrt((spectrum.sd[chosen] ** 2).mean()),
            spectrum.low[chosen].min(),
            spectrum.high[chosen].max(),
        )
        span = f"{nm[chosen].min():.0f}-{nm[chosen].max():.0f}"
        table.add_row(name, span, str(chosen.size), *(f"{cell:.4g}" for cell in cells))
    return table


def _print_header(info: CubeInfo, console: Console) -> None:
    from rich.markup import escape

    console.print("  [bold]header[/]")
    for key, value in info.cube.metadata.items():
        text = " ".join(value.split())
        if text.startswith("{") and text.count(",") > 8:
            text = f"{{{text.count(',') + 1} items}}"
        if len(text) > _LONGEST_FIELD:
            text = f"{text[:_LONGEST_FIELD]}…"
        console.print(f"  [dim]{escape(key)}[/] = {escape(text)}", highlight=False)
