"""Labels that do not fit are told before anything is packed, and no run is left behind."""

import re
from pathlib import Path

import numpy as np
import pytest

from hyperspec.cli.train import main
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis

AXIS = SpectralAxis.linear(400, 700, 4)
NAMES = [f"A b_{n}{view}_010101" for n in range(4) for view in "DV"]
LOOKS = "The file names look like data/labels=pattern: 1 species, 4 specimens, two views each."


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for seed, name in enumerate(NAMES):
        values = np.random.default_rng(seed).integers(100, 4000, (4, 6, 6)).astype("u2")
        write_envi(tmp_path / "scans (old), 2" / f"{name}.bil", values, AXIS)
    monkeypatch.chdir(tmp_path)
    return [
        "data.size=8", "epochs=1", "model=tiny", "bands.n=2", "evaluation.controls=false",
        f"tracking.uri=sqlite:///{tmp_path / 'runs.db'}", "tracking.experiment=here",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "message", "multirun"),
    [
        (None, f"labels.csv do not exist. Put a CSV .* or none. {LOOKS}", []),
        (None, f"labels.csv do not exist. Put a CSV .* or none. {LOOKS}", ["-m", "seed=0,1"]),
        ("file,species\nx,one\n", f"no row of .*labels.csv fits a cube.* {LOOKS}", []),
        ("file,species\nA b_0D_010101,one,two\n", "line 2 holds more values than the 2 col", []),
    ],
)
def test_no_run_is_left_behind(words, tmp_path, capsys, labels, message, multirun):
    if labels is not None:
        (tmp_path / "scans (old), 2" / "labels.csv").write_text(labels)
    root = 'data.root="scans (old), 2"'
    assert main([*multirun, root, *words]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert re.search(message, shown), shown
    assert not (tmp_path / ".hyperspec" / "shards").exists()
    assert not (tmp_path / "runs.db").exists()


def test_the_quoting_of_a_folders_name_is_told(words, capsys):
    assert main(["data.root=scans (old), 2", *words]) == 2
    assert """'data.root="scans (old), 2"'""" in capsys.readouterr().err


def test_a_comma_in_a_sweep_is_taken_for_a_name_where_a_file_has_it(words, tmp_path, capsys):
    (tmp_path / "scans (old), 2").rename(tmp_path / "a, b")
    assert main(["-m", "data.root=a, b", *words]) == 2
    shown = capsys.readouterr().err
    assert "data.root has 2 values (a, b), but there is a file a, b" in shown
    assert """'data.root="a, b"'""" in shown
