"""The commands of ``hyperspec``, one module each: words to one call, heavy imports inside it.

Each module has ``add(commands)``, which adds its parser and sets ``command`` to a function of the
parsed words that returns the exit status.
"""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
