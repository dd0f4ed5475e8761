"""How the pages look: colours of a bright and of a dark room, text, links, charts."""

from __future__ import annotations

import re
from pathlib import Path

_DARK_PAPER = (0x15, 0x18, 0x1B)
_DARK_INK = 0xE8
_LEAST_CONTRAST = 2.0  # to the dark paper, below which a coloured line is not seen
_FIGURE = re.compile(r"<figure>.*?</figure>", re.DOTALL)
_COLOUR = re.compile(r"#([0-9a-f]{6})\b")
_GREY = re.compile(r"#([0-9a-f]{2})\1\1\b")
_WHITE_TEXT = re.compile(r"<text[^>]*fill: #ffffff")


def style() -> str:
    """Return what the style sheets of all pages begin with."""
    return Path(__file__).with_name("theme.css").read_text(encoding="utf-8")


def themed(body: str) -> tuple[str, str]:
    """Let the charts of a page follow a dark room: black and greys turn, colours stay.

    Charts with colours that vanish on dark paper, or with letters on coloured cells, keep theirs
    white.

    Returns:
        The body, and the style sheet that it needs.
    """
    greys: set[str] = set()

    def turn(figure: re.Match[str]) -> str:
        text = figure[0]
        if "<image" in text or _WHITE_TEXT.search(text) or _has_dark_colour(text):
            return text.replace("<figure>", '<figure class="white">', 1)
        greys.update(_GREY.findall(text))
        return _GREY.sub(r"var(--g\1, #\1\1\1)", text)

    turned = _FIGURE.sub(turn, body)
    rules = "".join(f"--g{grey}: {_turned(grey)}; " for grey in sorted(greys))
    return turned, f"@media (prefers-color-scheme: dark) {{ :root {{ {rules}}} }}\n"


def _turned(grey: str) -> str:
    """Return a grey for dark paper: black becomes its ink, white the paper itself."""
    share = int(grey, 16) / 255
    mixed = (round(_DARK_INK + share * (paper - _DARK_INK)) for paper in _DARK_PAPER)
    return "#" + "".join(f"{level:02x}" for level in mixed)


def _has_dark_colour(figure: str) -> bool:
    found = {colour for colour in _COLOUR.findall(figure) if len({*_pairs(colour)}) > 1}
    paper = _luminance(_DARK_PAPER)
    return any(
        (_luminance(tuple(int(pair, 16) for pair in _pairs(colour))) + 0.05) / (paper + 0.05)
        < _LEAST_CONTRAST
        for colour in found
    )


def _pairs(colour: str) -> tuple[str, str, str]:
    return colour[:2], colour[2:4], colour[4:]


def _luminance(rgb: tuple[int, ...]) -> float:
    """Return the relative luminance of an sRGB colour (WCAG 2.2)."""
    linear = [
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4
        for x in (level / 255 for level in rgb)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
