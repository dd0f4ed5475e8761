"""Every command that an experiment's `run.sh` gives is one that the package understands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import ROOT, check_command

SCRIPTS = sorted(ROOT.glob("experiments/*/run.sh"))
# Notes the words in place of running them, a NUL after each and a line after all.
NOTING = """#!/bin/sh
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\n'; } >>"$NOTED"
"""


def commands_of(script: Path, folder: Path) -> list[list[str]]:
    """Run a script with programs that only note what they are asked for."""
    for name in ("hyperspec", "python"):
        (folder / name).write_text(NOTING)
        (folder / name).chmod(0o755)
    noted = folder / "noted"
    given = {"BIN": str(folder), "STUDY": str(folder / "study"), "NOTED": str(noted)}
    subprocess.run(["bash", script], env={**os.environ, **given}, cwd=ROOT, check=True)
    return [line.rstrip("\0").split("\0") for line in noted.read_text().splitlines()]


@pytest.mark.skipif(sys.platform == "win32", reason="scripts of a Unix shell")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_its_commands_are_understood(script: Path, tmp_path: Path) -> None:
    commands = commands_of(script, tmp_path)
    assert any(words[:2] == ["hyperspec", "train"] for words in commands)
    seen = {tuple(words) for words in commands}
    for words in sorted(seen):
        check_command(list(words), tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="scripts of a Unix shell")
def test_a_key_that_a_config_lacks_is_seen(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text('"$BIN/hyperspec" train data=tiles data.root="$STUDY" data.size=8\n')
    (words,) = commands_of(script, tmp_path)
    with pytest.raises(Exception, match=r"no key data\.size"):
        check_command(words, tmp_path)
