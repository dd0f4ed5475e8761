"""A wrong name is one line that says which one was meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hyperspec.cli.main import main
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tarin", "there is no command 'tarin'. Did you mean train?"),
        ("--hlep", "there is no option --hlep. Did you mean --help?"),
        ("evaluate --prat test x y", "there is no option --prat. Did you mean --part?"),
        ("completion bsh", "there is no shell 'bsh'. Did you mean bash?"),
        ("train bands=uniforn", "There is no bands=uniforn. Did you mean bands=uniform?"),
        ("train experiment=dmo", "Did you mean experiment=demo?"),
        ("train hydra/launcher=jobli", "Did you mean hydra/launcher=joblib?"),
        ("train --hlep", "has no option --hlep. Did you mean --help?"),
        ("train data.batch_size=3", "There is no key data.batch_size"),
        ("train data.batch_size=3", "Did you mean batch_size?"),
        ("train loss.temprature=3", "Did you mean loss.temperature?"),
        (
            "train bands.pairs=max",
            "There is no key bands.pairs in this config: it belongs to bands=f",
        ),
        ("train sweep.sed=1", "`hyperspec options sweep` lists the keys"),
        ("options lossy", "Did you mean loss?"),
        ("train tarin", "'tarin' is no setting; write key=value"),
        ("bands --axis mission --strategy uniforn", "did you mean uniform?"),
        ("demo --seeds x", "--seeds is 'x'; give whole numbers"),
        ("evaluate latest nowhere", "(data.root) is nowhere, which is no folder"),
    ],
)
def test_the_nearest_name_is_said(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(words.split())
    except SystemExit as leaving:
        status = int(str(leaving.code))
    assert status == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Config search path" not in told
    assert "+data" not in told  # Hydra would append the key, which no option has
    assert len(told.strip().splitlines()) == 1


def test_the_name_alone_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.err == ""
    assert "train and evaluate; sweeps with -m" in " ".join(told.out.split())


def test_the_help_of_train_says_what_groups_decide(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    told = capsys.readouterr().out
    assert "The encoder, and how bands enter it.\nmodel=" in told
    assert "bands.n = 50" in told
    assert "schema" not in told  # groups that nobody types


def test_a_folder_is_missed_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "latest"])
    assert capsys.readouterr().err.endswith("arguments are required: FOLDER\n")


def test_what_is_missing_is_told_without_torch(tmp_path: Path) -> None:
    program = (
        "import shlex, sys\n"
        "from hyperspec.cli.main import main\n"
        "for line in sys.stdin:\n"
        "    assert main(shlex.split(line)) == 2, line\n"
        "    assert 'torch' not in sys.modules, line\n"
    )
    axis = SpectralAxis.linear(400, 700, 7)
    write_envi(tmp_path / "cubes" / "x.bil", np.ones((7, 4, 4)), axis, dtype="u2")
    none = "data.root=cubes data/labels=none"
    lines = {
        "train bands=uniforn": "Did you mean bands=uniform?",
        "options lossy": "Did you mean loss?",
        "train data.root=cubes bands.n=3": "labels.csv do not exist",
        f"train {none} bands.n=500": "bands.n is 500, but the axis has 7 good bands",
        f"train {none} bands=pca bands.n=8": "bands.n is 8, but the axis has 7 good bands",
        f"train {none} bands.n=3 ckpt=a/nix.ckpt": "ckpt is 'a/nix.ckpt', but there is no such",
        f"train {none} bands.n=3 ckpt=nix.ckpt": "'nix.ckpt' does not exist",
        f"train -m {none} bands.n=8,9": "bands.n is 8, but the axis has 7 good bands",
        f"train -m {none} bands.n=3,5 ckpt=a/nix.ckpt": "ckpt is 'a/nix.ckpt', but there is no",
        "evaluate nix.ckpt cubes": "'nix.ckpt' does not exist",
        "evaluate nix.ckpt nowhere": "which is no folder",
        "bands cubes --strategy uniforn": "did you mean uniform?",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="\n".join(lines),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for line, said in lines.items():
        assert said in done.stderr, line
    assert not (tmp_path / "mlflow.db").exists()  # no run was begun
