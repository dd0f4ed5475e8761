"""A folder of one's own ends with words to paste, whatever it holds."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from hyperspec.cli.main import main
from hyperspec.cli.train import main as train
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis

AXIS = SpectralAxis.linear(400, 700, 12)
SPECIES = ("Morpho_helenor", "Morpho_peleides", "Papilio_ulysses")


def write_cube(path: Path, seed: int) -> None:
    values = np.random.default_rng(seed).normal(300, 20, (12, 12, 12))
    values[:, 3:9, 3:9] += 1500
    write_envi(path, values, AXIS, dtype="u2")


def write_all(root: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        write_cube(root / name, seed)


def started(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["start", str(folder), *words])
    return status, capsys.readouterr().out


def commands(said: str) -> list[list[str]]:
    lines = [line.strip() for line in said.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("hyperspec train")]


@pytest.mark.parametrize(
    ("names", "words", "said"),
    [
        # As museums give them: no frame, no table, a number and a species in the name.
        (
            [f"NHM0{i}{j}_{s}_dorsal.bil" for i, s in enumerate(SPECIES) for j in range(3)],
            ["data/labels=pattern"],
            "file names hold species: 3",
        ),
        (
            [f"{s}/x{i}{j}.bil" for i, s in enumerate("abc") for j in range(3)],
            ["data/labels=folder"],
            "folders may be classes: 3",
        ),
        (
            [f"Morpho sp{i}_{j}D_150624.bil" for i in range(2) for j in range(3)],
            ["data/labels=pattern"],
            "file names look like data/labels=pattern: 2 species",
        ),
        # A name in brackets, and the two sides as many write them.
        (
            [
                f"NHM-10{i}{j}_{side} ({word}).bil"
                for i, word in enumerate(("octava", "rhadama"))
                for j in range(3)
                for side in ("dors", "ventr")
            ],
            ["data/labels=pattern"],
            "brackets may be classes: 2 (octava, rhadama) on 6 specimens",
        ),
        # A number of the shot in brackets is none.
        ([f"scan_{j} ({j}).bil" for j in range(6)], ["data/labels=none"], "none. Training"),
        ([f"scan_{j}.bil" for j in range(6)], ["data/labels=none"], "none. Training needs none"),
    ],
)
def test_labels_are_found_and_the_study_can_be_pasted(
    names: list[str],
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_all(tmp_path / "cubes", names)
    status, text = started(Path("cubes"), capsys)
    assert status == 0
    assert said in " ".join(text.split())
    assert "No white frame was found" in text
    assert "2 jobs of 200 epochs" in text  # of 10 and of all 12 bands
    one, study = commands(text)
    assert one[2] == "data.root=cubes"
    assert set(words) < set(one)
    assert study[-1] == "bands.n=10,12"
    (choice,) = [line.strip() for line in text.splitlines() if "hyperspec bands " in line]
    assert main([*shlex.split(choice)[1:], "--resamples", "0"]) == 0
    assert ("mrmr" in capsys.readouterr().out) == ("data/labels=none" not in words)
    assert train([*study[2:], "sweep.dry_run=true"]) == 0
    assert "every job is sound" in capsys.readouterr().out
    assert main(["check", "cubes"]) == 0
    assert commands(capsys.readouterr().out) == [one, study]


def test_a_table_of_another_name_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_all(tmp_path / "cubes", [f"scan_{j}.bil" for j in range(6)])
    rows = [f"scan_{j};{'Morpho' if j % 2 else 'Papilio'};{j}" for j in range(6)]
    table = "\n".join(["filename;taxon;specimen", *rows])
    (tmp_path / "cubes" / "list of scans.csv").write_text(table)
    status, text = started(Path("cubes"), capsys)
    assert status == 0
    assert "list of scans.csv, column 'taxon'" in text
    (one, study) = commands(text)
    assert "data.labels.column=taxon" in one
    assert train([*study[2:], "sweep.dry_run=true"]) == 0
    assert main(["check", "cubes", *one[3:-1]]) == 0
    assert "Labels: 2, on 3 cubes each" in capsys.readouterr().out


def test_a_folder_without_cubes_says_what_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "a.jpg").touch()
    write_cube(tmp_path / "one" / "x.bil", 0)
    for place, said in (
        ("empty", "It is empty."),
        ("wrong", "It holds 1 .jpg file."),
        ("nowhere", "is no folder"),
        ("one/x.bil", f"which is a file. Give the folder that it lies in: {tmp_path / 'one'}."),
    ):
        assert main(["start", str(tmp_path / place)]) == 2
        assert said in capsys.readouterr().err
    status, text = started(tmp_path / "one", capsys)
    assert status == 1
    assert "of fewer than three none can be made" in text
    assert not commands(text)


def test_cubes_without_wavelengths_are_one_line_and_a_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all(tmp_path, [f"x{j}.bil" for j in range(3)])
    for header in tmp_path.glob("*.hdr"):
        lines = header.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("wavelength")]
        header.write_text("\n".join(kept))
    status, text = started(tmp_path, capsys)
    assert status == 2
    assert "x0.bil and 2 more: its header has no wavelengths" in text
    assert "'data.axis={start_nm:400,stop_nm:1000,count:12}'" in text


def test_a_table_to_fill_in_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"s{j}_{side}.bil" for j in range(3) for side in ("dorsal", "ventral")]
    write_all(tmp_path / "cubes", names)
    status, _ = started(Path("cubes"), capsys, "--table", "labels.csv")
    assert status == 0
    lines = Path("labels.csv").read_text().splitlines()
    assert lines[:2] == ["file,species,specimen,view", "s0_dorsal.bil,,s0_dorsal,"]
    assert len(lines) == 1 + len(names)
    filled = [lines[0], *(line.replace(",,", f",kind{line[1]},", 1) for line in lines[1:])]
    Path("cubes/labels.csv").write_text("\n".join(filled))
    status, text = started(Path("cubes"), capsys)
    assert "3 of them, on 6 cubes of 3 specimens" in text
