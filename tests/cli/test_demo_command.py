"""The demo is the package's own, and one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperspec.cli import train
from hyperspec.cli.main import main
from hyperspec.report import output
from hyperspec.testing.synthetic import generate


def test_the_demo_runs_its_two_sweeps_and_reports_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given: list[list[str]] = []
    reported: list[list[str]] = []
    monkeypatch.setattr(train, "main", lambda words: given.append(words) or 0)
    monkeypatch.setattr(output, "report", lambda sweeps, **_: reported.append(sweeps))
    made = Path("demo/specimens")
    monkeypatch.setattr(generate, "synthesise", lambda folder: folder.mkdir(parents=True) or folder)
    assert main(["demo", "--seeds", "0,1"]) == 0
    # Words decide the identity of jobs: with others finished demos would be trained anew.
    shared = ["seed=0,1", f"data.root={made}"]
    first, second = given
    assert first[:-1] == ["experiment=demo", "-m", "bands.n=10,20,50,100,200,408", *shared]
    assert second[:-1] == ["experiment=demo", "-m", "bands=rgb,full", *shared]
    folders = [words[-1].removeprefix("hydra.sweep.dir=") for words in given]
    assert [Path(one).name for one in folders] == ["band_count", "references"]
    assert reported == [folders]


def test_a_sweep_that_fails_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here/specimens").mkdir(parents=True)
    Path("here/specimens/truth.json").touch()
    monkeypatch.setattr(train, "main", lambda words: 1)
    monkeypatch.setattr(output, "report", lambda *_, **__: pytest.fail("nothing to report"))
    assert main(["demo", "here"]) == 1
