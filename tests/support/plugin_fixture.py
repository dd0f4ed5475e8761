"""Forgets what a test has registered, imported and stored."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.config_store import ConfigStore

from hyperspec import bands, losses, models
from hyperspec.utils.source_tree import plugin_hash

TABLES = (bands.OPTIONS, bands.STRATEGIES, bands.PROJECTIONS, models.OPTIONS, losses.OPTIONS)


def forget(*modules: str) -> None:
    """Take modules out of Python, so that they are imported anew."""
    for name in list(sys.modules):
        if name.split(".")[0] in modules:
            del sys.modules[name]
    plugin_hash.cache_clear()


@contextmanager
def plugins_forgotten(*modules: str) -> Iterator[None]:
    """Leave tables, path, modules and Hydra's store as they were."""
    kept, path = [dict(table) for table in TABLES], list(sys.path)
    stored = ConfigStore.instance().repo
    before = {group: dict(stored.get(group, {})) for group in ("bands", "loss", "model")}
    try:
        yield
    finally:
        for table, content in zip(TABLES, kept, strict=True):
            table.clear()
            table.update(content)
        for group, content in before.items():
            stored[group] = content
        sys.path[:] = path
        forget(*modules)
