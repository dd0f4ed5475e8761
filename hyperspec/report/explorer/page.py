"""The explorer as one HTML file that opens anywhere and asks for no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from hyperspec.inference.assessment import Embedded
from hyperspec.inference.thumbnails import spread_bands, take_thumbnails
from hyperspec.report.explorer.content import LEAST, content_of
from hyperspec.report.explorer.sheets import first_step, fit
from hyperspec.report.theme import style
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.version import __version__

_HERE = Path(__file__).parent
# Nothing is asked for, whatever a name in the data might try.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_SPECTRUM = 8 / 3  # bytes of a value: 16 bits in base64
_WORDS = 300  # bytes of an image beside its spectrum and pictures, about
_FIXED = 60_000  # bytes of script and style, about


def explore(
    embedded: Embedded,
    out: Path,
    *,
    title: str,
    most: int,
    about: Sequence[str] = (),
    windows: Sequence[dict[str, Any]] = (),
    windows_note: str = "",
    column: str = "label",
    umap: bool = True,
) -> int:
    """Write the page.

    Args:
        embedded: The encoder's view of the folder.
        out: The file.
        title: Of the page.
        most: Images that are shown; of more, whole specimens are left out evenly.
        about: Sentences below it.
        windows: Stretches of wavelengths to shade: ``start``, ``stop`` in nm, ``text``, and
            ``told`` for those that ``windows_note`` names.
        windows_note: What is known of them.
        column: Label column that held-out images are named by.
        umap: Whether to lay the neighbourhoods out too, where umap-learn is installed.

    Returns:
        Number of images that it shows.

    Raises:
        ConfigError: If there is no such column, or fewer than three images.
    """
    embedded.labels(column)  # told before anything is read
    material = embedded.restored.material
    source, nm = material.source, material.source.axis.wavelengths_nm
    rows = thinned(material.specimens, most)
    if len(rows) < LEAST:
        raise ConfigError(f"A map takes {LEAST} images or more; there are {len(rows)}.")
    taken = int(_FIXED + len(rows) * (_SPECTRUM * len(nm) + _WORDS))
    size, num_bands = first_step(len(rows), taken, source.size)
    thumbs = take_thumbnails(
        source,
        rows,
        size=size,
        bands=spread_bands(source.axis, material.selection.indices, num_bands),
        quantity=material.statistics.quantity,
    )
    content = content_of(embedded, thumbs, column=column, umap=umap)
    left_out = len(source) - len(rows)
    if left_out:
        about = [*about, f"{left_out} of {len(source)} images are left out (--most {most})."]
    content |= {"title": title, "about": list(about)}
    content |= {"windows": list(windows), "windows_note": windows_note}
    words = html_of(content, title)
    content["pictures"] = fit(thumbs, len(words.encode()), nm)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html_of(content, title), encoding="utf-8")
    return len(rows)


def thinned(specimens: Sequence[str], most: int) -> list[int]:
    """Return all rows, or those of evenly chosen specimens where they are more than ``most``."""
    if len(specimens) <= most:
        return list(range(len(specimens)))
    names = sorted(set(specimens))
    step = len(specimens) / most
    kept = {names[int(i * step)] for i in range(int(len(names) / step))}
    return [row for row, name in enumerate(specimens) if name in kept]


def as_json(content: dict[str, Any]) -> str:
    """Return JSON that cannot end the script element around it, whatever its texts are."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)  # ASCII
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def html_of(content: dict[str, Any], title: str) -> str:
    """Return the page of what :func:`explore` gathers."""
    read = {name: (_HERE / f"explorer.{name}").read_text("utf-8") for name in ("html", "css", "js")}
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style()}{read['css']}</style>\n</head>\n"
        f"<body>\n{read['html']}<footer>hyperspec {escape(__version__)}</footer>\n"
        f'<script type="application/json" id="data">{as_json(content)}</script>\n'
        f"<script>\n{read['js']}</script>\n</body>\n</html>\n"
    )
