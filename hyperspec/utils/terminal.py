"""Who may draw on the terminal."""

from __future__ import annotations

import os
import sys

# Set while a sweep has a view of its own, for its jobs in this process and in others.
OWN_VIEW = "HYPERSPEC_SWEEP_VIEW"


def bars_wanted() -> bool:
    """Say whether a progress bar has a terminal to itself."""
    return sys.stderr.isatty() and OWN_VIEW not in os.environ
