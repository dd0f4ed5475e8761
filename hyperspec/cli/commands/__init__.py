"""The commands of ``hyperspec``, one module each: words to one call, heavy imports inside it.

Each module has ``add(commands)``, which adds its parser and sets ``command`` to a function of the
parsed words that returns the exit status.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from hyperspec.cli.parser import Parser

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

STORE = "MLflow tracking URI (MLFLOW_TRACKING_URI, without it sqlite:///mlflow.db)"
