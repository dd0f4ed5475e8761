"""A chart with its words, as SVG inside a page and as a PNG file."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from hyperspec.evaluation.pictures import lay_out
from hyperspec.evaluation.pictures import new_axes as new_axes
from hyperspec.report.tables import Grid

_DPI = 150
_SALT = "hyperspec"  # with it matplotlib names its marks the same in every report
# In front of what an SVG refers to: marks of several charts share one page, and their names with
# them.
_NAMES = re.compile(r'(\bid="|href="#|url\(#)')


@dataclass(frozen=True, eq=False)
class Chart:
    """One picture.

    Args:
        name: Name of its file, without the ending; unique within a report.
        alt: What it shows, in words and numbers.
        figure: The drawing. One of 4.5 inches is as wide as a narrow screen and keeps its letters
            readable there.
    """

    name: str
    alt: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Args:
        key: Its address within the page.
        title: A question or a finding.
        intro: How to read it, for somebody who sees it for the first time.
        charts: Pictures.
        grids: Tables; those after the first are folded.
        note: What to keep in mind; empty for nothing.
    """

    key: str
    title: str
    intro: str
    charts: tuple[Chart, ...] = ()
    grids: tuple[Grid, ...] = ()
    note: str = ""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    return Figure(figsize=(width, height), layout="constrained")


def to_png(chart: Chart) -> bytes:
    """Draw a chart as a PNG that holds its description."""
    FigureCanvasAgg(chart.figure)
    lay_out(chart.figure)
    buffer = io.BytesIO()
    chart.figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Description": chart.alt})
    return buffer.getvalue()


def to_svg(chart: Chart) -> str:
    """Draw a chart as an ``svg`` element whose text stays text."""
    FigureCanvasSVG(chart.figure)
    lay_out(chart.figure)
    buffer = io.StringIO()
    aside = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": _SALT}):
        chart.figure.savefig(buffer, format="svg", metadata=aside)
    return _within_page(buffer.getvalue(), chart)


def _within_page(document: str, chart: Chart) -> str:
    text = document[document.index("<svg") :]
    opening, _, rest = text.partition(">")
    box = re.search(r'viewBox="[^"]+"', opening)
    rest = rest.replace("xlink:href=", "href=").replace("<metadata>\n </metadata>", "")
    rest = re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    rest = _NAMES.sub(rf"\g<1>{chart.name}-", rest)
    width = round(chart.figure.get_figwidth() * 96)
    return (
        f'<svg {box[0] if box else ""} width="{width}" role="img" '
        f'aria-label="{escape(chart.alt, quote=True)}">{rest.rstrip()}'
    )


def figure_html(chart: Chart) -> str:
    """Return a chart as an element of the page."""
    return f"<figure>{to_svg(chart)}</figure>"


def listed(words: Sequence[str], most: int) -> str:
    """Join words by semicolons, and say how many are left out beyond the first ``most``."""
    shown = "; ".join(words[:most])
    return shown + (f"; and {len(words) - most} more" if len(words) > most else "")
