"""A look at a cube in the terminal: facts, a small picture, the mean spectrum, a table."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.inspection.info import CubeInfo
from hyperspec.inspection.info_figures import picture_of, quantity, sizes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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

    console.print(f"[bold]{escape(info.path.name)}[/]", highlight=False)
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
            upper = "rgb({},{},{})".format(*small[row, column])
            lower = None
            if row + 1 < len(small):
                lower = "rgb({},{},{})".format(*small[row + 1, column])
            text.append("▀", Style(color=upper, bgcolor=lower))
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
    seen, axis = info.measure, info.axis
    order = info.fields.get("interleave", "").strip("{} ").lower()
    layout = ", ".join(part for part in (str(info.dtype), order) if part)
    low, high = axis.range_nm
    bad = len(axis) - len(axis.good_indices)
    steps = np.diff(np.sort(axis.wavelengths_nm))
    every = f", every {np.median(steps):.2f} nm" if steps.size else ""
    widths = "" if axis.fwhm_nm is None else f", {np.median(axis.fwhm_nm):.1f} nm wide"
    stored = f"{seen.low:g} to {seen.high:g}; {seen.missing_share:.2%} without a value"
    if seen.saturation_level is not None:
        stored += f", {seen.saturated_share:.2%} saturated (at {seen.saturation_level:g})"
    facts = [
        ("size", f"{sizes(info.shape)}, {layout}"),
        ("axis", f"{low:.1f} to {high:.1f} nm{every}{widths}" + (f", {bad} bad" if bad else "")),
        ("stored", stored),
    ]
    if info.nodata is not None:
        facts.append(("nodata", f"{info.nodata:g}"))
    if info.scale_factor != 1:
        facts.append(("scale", f"{info.scale_factor:g} stands for a reflectance of 1"))
    if info.header_path is not None:
        facts.append(("header", info.header_path.name))
    count, share = int(info.foreground.sum()), info.foreground.mean()
    pixels = f"{count} pixel{'' if count == 1 else 's'}"
    return [
        *facts,
        ("calibration", info.calibration),
        ("foreground", f"{pixels}, {share:.0%} ({info.foreground_source})"),
    ]


def _print_spectrum(info: CubeInfo, console: Console) -> None:
    good = info.axis.good_indices
    order = good[np.argsort(info.axis.wavelengths_nm[good])]
    nm, mean = info.axis.wavelengths_nm[order], info.spectrum.mean[order]
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
    nm, spectrum = info.axis.wavelengths_nm, info.spectrum
    for name, start, stop in REGIONS:
        chosen = np.flatnonzero(info.axis.good & (nm >= start) & (nm < stop))
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
    for key, value in info.fields.items():
        text = " ".join(value.split())
        if text.startswith("{") and text.count(",") > 8:
            text = f"{{{text.count(',') + 1} items}}"
        if len(text) > _LONGEST_FIELD:
            text = f"{text[:_LONGEST_FIELD]}…"
        console.print(f"  [dim]{escape(key)}[/] = {escape(text)}", highlight=False)
