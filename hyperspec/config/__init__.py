"""The typed config: schema, groups, composition."""

from __future__ import annotations

from pathlib import Path


def config_dir() -> Path:
    """Return the folder of the YAML files: the wheel's own copy, else the checkout's ``conf``."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"
