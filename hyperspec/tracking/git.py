"""Which code ran: the git commit of the checkout, and whether it was changed since."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

from hyperspec.tracking.contract import Tag

_PACKAGE = Path(__file__).resolve().parents[1]


def git_tags(directory: Path | None = None) -> dict[str, str]:
    """Return commit and "changed since" of a checkout as two tags; none outside one or without git.

    By default of the package's checkout, else of the current folder's. An installed package inside
    somebody's project is not that project's code: the package's own folder counts only when git
    tracks it.
    """
    if directory is not None:
        return dict(_describe(directory.resolve()))
    tracked = _git(_PACKAGE, "ls-files", "--error-unmatch", "__init__.py")
    return dict(_describe(_PACKAGE if tracked is not None else Path.cwd()))


@lru_cache(maxsize=16)
def _describe(directory: Path) -> tuple[tuple[str, str], ...]:
    commit = _git(directory, "rev-parse", "HEAD")
    changes = _git(directory, "status", "--porcelain", "--untracked-files=no")
    if not commit or changes is None:
        return ()
    return (Tag.COMMIT, commit), (Tag.DIRTY, "true" if changes else "false")


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(directory), *arguments],  # noqa: S607 - wherever the user has it
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
