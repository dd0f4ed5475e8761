"""What the shell offers behind Tab, and that a real one takes it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hyperspec.cli.main import main


def offered(line: str, capsys: pytest.CaptureFixture[str], shell: str = "bash") -> list[str]:
    assert main(["completion", shell, "--line", line]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hyperspec tr", ["train "]),
        ("hyperspec train expe", ["experiment="]),
        ("hyperspec train bands=opb", ["opbs"]),
        ("hyperspec train -m bands=uniform,fis", ["uniform,fisher"]),
        ("hyperspec train data.split.rotate", ["data.split.rotate="]),
        ("hyperspec train sweep.resume=", ["true", "false"]),
        ("hyperspec train --mul", ["--multirun "]),
        ("hyperspec evaluate --picture ", ["pca ", "umap "]),
        ("hyperspec report --mar", ["--margin "]),
        ("hyperspec completion f", ["fish "]),
        ("hyperspec train data.root=", []),  # names of files
        ("hyperspec nothing ", []),
        ("hyperspec train 'bands", []),
    ],
)
def test_the_end_of_a_line(
    line: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(line, capsys) == expected


def test_other_shells_replace_the_whole_word(capsys: pytest.CaptureFixture[str]) -> None:
    line = "hyperspec train -m bands=uniform,fis"
    assert offered(line, capsys, "zsh") == ["bands=uniform,fisher"]


def test_sweeps_of_the_folders_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert offered("hyperspec report ", capsys) == ["latest "]
    assert not list(tmp_path.iterdir())
    with sqlite3.connect("mlflow.db") as base:
        base.execute("CREATE TABLE runs (run_uuid, name, lifecycle_stage, start_time)")
        base.execute("CREATE TABLE tags (run_uuid, key, value)")
        rows = [("a", "old", "active", 1), ("b", "new", "active", 2), ("c", "gone", "deleted", 3)]
        base.executemany("INSERT INTO runs VALUES (?, ?, ?, ?)", [*rows, ("d", "job", "active", 4)])
        kinds = [(run, "hyperspec.kind", "job" if run == "d" else "sweep") for run in "abcd"]
        base.executemany("INSERT INTO tags VALUES (?, ?, ?)", kinds)
    base.close()
    assert offered("hyperspec report ", capsys) == ["latest ", "new ", "old "]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "hyperspec"
    script = f"""
        PATH={program.parent}:$PATH
        eval "$(hyperspec completion bash)"
        complete -p hyperspec
        COMP_LINE="hyperspec train bands=opb" COMP_POINT=25
        COMP_WORDS=(hyperspec train bands = opb) COMP_CWORD=4
        _hyperspec
        echo "reply: ${{COMPREPLY[*]}}"
    """
    told = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=300,
        check=True,
    )
    assert "-F _hyperspec hyperspec" in told.stdout
    assert "reply: opbs\n" in told.stdout


@pytest.mark.parametrize(
    ("shell", "check"), [("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])]
)
def test_the_script_of_another_shell_is_sound(
    shell: str, check: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    subprocess.run([*check, str(script)], check=True, timeout=60)
