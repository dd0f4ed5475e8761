"""Draw docs/architecture.svg, the rooms of the package and who imports whom, from the imports.

    python docs/make_architecture.py

``tests/test_architecture.py`` fails when the picture is older than the imports.
"""

from __future__ import annotations

import ast
import tomllib
from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "hyperspec"
PICTURE = DOCS / "architecture.svg"
ROW, CELL, NAME, TOP = 26, 22, 92, 100  # sizes in pixels
INK, QUIET, DOT, STRIPE = "#1b1b1b", "#6a6a6a", "#1f6f8b", "#f3f6f7"


def imported_rooms() -> dict[str, set[str]]:
    """Return the rooms that each room imports, lazy and TYPE_CHECKING imports counted."""
    found: dict[str, set[str]] = {room: set() for room in rooms()}
    for room in found:
        for file in (PACKAGE / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                elif isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                else:
                    continue
                parts = (name.split(".") for name in names)
                found[room] |= {p[1] for p in parts if p[0] == "hyperspec" and p[1] in found}
        found[room].discard(room)
    return found


def rooms() -> list[str]:
    """Return the rooms bottom to top, as pyproject.toml orders them."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    return [str(room) for room in project["tool"]["rooms"]["order"]]


def sentence(room: str) -> str:
    """Return the first line of a room's docstring."""
    doc = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    return (doc or "").splitlines()[0]


def draw() -> str:
    """Return the picture: a row per room, a dot under each room that it imports."""
    imported, order = imported_rooms(), rooms()
    grid, height = NAME + CELL * len(order), TOP + ROW * len(order) + 12
    top_down = order[::-1]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {grid + 600} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13" role="img">',
        "<title>The rooms of hyperspec: each imports only rooms below it</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for column, room in enumerate(order):
        x, y = NAME + CELL * column + CELL // 2 + 4, TOP - 8
        lines.append(
            f'<text x="{x}" y="{y}" fill="{QUIET}" transform="rotate(-60 {x} {y})">{room}</text>'
        )
    for row, room in enumerate(top_down):
        y = TOP + ROW * row
        if row % 2 == 0:
            lines.append(f'<rect y="{y}" width="100%" height="{ROW}" fill="{STRIPE}"/>')
        text = y + ROW // 2 + 5
        lines.append(
            f'<text x="{NAME - 8}" y="{text}" text-anchor="end" font-weight="bold" fill="{INK}">'
            f"{room}</text>"
        )
        for column, below in enumerate(order):
            x, middle = NAME + CELL * column + CELL // 2, y + ROW // 2
            if below in imported[room]:
                lines.append(f'<circle cx="{x}" cy="{middle}" r="5" fill="{DOT}"/>')
            elif below == room:
                lines.append(
                    f'<rect x="{x - 5}" y="{middle - 5}" width="10" height="10" fill="none" '
                    f'stroke="{QUIET}"/>'
                )
        lines.append(
            f'<text x="{grid + 14}" y="{text}" fill="{INK}">{escape(sentence(room))}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
    print(PICTURE)
