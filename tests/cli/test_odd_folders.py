"""Folders that cannot be written, and names that are hard to keep: a word, never a traceback."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from hyperspec.cli.main import main
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import in_words

AXIS = SpectralAxis.linear(400, 700, 6)
LATIN = os.fsdecode(b"esp\xe8ce")  # as an old disk or a Windows share leaves it


def write_cube(path: Path, seed: int = 0) -> None:
    values = np.random.default_rng(seed).normal(300, 20, (6, 20, 24))
    values[:, 5:15, 6:16] += 1500
    write_envi(path, values, AXIS, dtype="u2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(2):
        write_cube(tmp_path / "cubes" / f"x{seed}.bil", seed)
    return tmp_path / "cubes"


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder in which nothing can be made; root may write anywhere else."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    real = {name: getattr(os, name) for name in ("mkdir", "open")}

    def guarded(name: str):
        def call(path, *args, **kwargs):
            writes = name == "mkdir" or (args and args[0] & (os.O_CREAT | os.O_WRONLY))
            inside = not isinstance(path, int) and Path(os.fsdecode(path)).absolute()
            if writes and inside and inside.is_relative_to(here):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real[name](path, *args, **kwargs)

        return call

    for name in real:
        monkeypatch.setattr(os, name, guarded(name))
    return here


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_current_folder_that_cannot_be_written_names_the_keys(
    root: Path, tmp_path: Path, unwritable: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(root)]) == 0  # writes nothing
    assert main(["pack", str(root), "data.size=8"]) == 2
    text = said(capsys)
    assert "error: Packing into" in text
    assert "Permission denied" in text
    assert "choose another data.cache_dir" in text
    cache = tmp_path / "cache"
    assert main(["pack", str(root), "data.size=8", f"data.cache_dir={cache}"]) == 0
    assert main(["info", str(root / "x0.bil"), "--out", "pictures"]) == 2
    assert "error: pictures: Permission denied. If nothing can be written there" in said(capsys)
    assert main(["cut", str(root), "--out", "cut"]) == 2
    assert "The folder cut cannot be written" in said(capsys)
    assert not list(unwritable.iterdir())


def test_training_there_names_its_folders(
    root: Path, tmp_path: Path, unwritable: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", f"data.root={root}", "data/labels=none", "data.size=8", "model=tiny"]
    words += ["bands.n=3", "epochs=1", f"data.cache_dir={tmp_path / 'cache'}"]
    assert main(words) == 2
    text = said(capsys)
    assert "error: outputs/adhoc" in text
    assert "Permission denied. If nothing can be written there" in text
    assert "hydra.run.dir=FOLDER" in text
    assert main([*words, f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    text = said(capsys)
    assert "mlflow.db.lock cannot be written (Permission denied)" in text
    assert "tracking.uri=sqlite:////folder/mlflow.db" in text


def test_checksums_that_cannot_be_kept_stop_nothing(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert len(scan(root, cache_dir=tmp_path / "file" / "cache").records) == 2
    assert "Checksums are not remembered" in caplog.text
    assert "data.cache_dir" in caplog.text


def test_a_folder_of_cubes_that_is_only_read_stays_as_it_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted((p, p.stat().st_mtime_ns) for p in (root, *root.rglob("*")))
    for command in (["check"], ["pack"], ["cut", "--out", "cut"]):
        assert main([command[0], str(root), *command[1:]]) in (0, 1)
    assert main(["info", str(root / "x0.bil"), "--out", "pictures"]) == 0
    assert sorted((p, p.stat().st_mtime_ns) for p in (root, *root.rglob("*"))) == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take UTF-8 names only")
def test_names_that_are_not_utf8_are_rows(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cube(root / f"{LATIN}.bil", 7)
    (root / f"{LATIN}2.hdr").touch()
    assert main(["check", str(root), "--json"]) == 2
    printed = capsys.readouterr().out
    assert '"file": "esp\\\\xe8ce.bil"' in printed
    assert "has a name that is not UTF-8. Rename it" in printed
    assert "x0.bil" in printed
    assert main(["check", str(root)]) == 2
    assert main(["pack", str(root)]) == 2
    text = said(capsys)
    assert "error: 1 of the files in" in text or "error: 2 of the files in" in text
    assert "esp\\xe8ce.bil: has a name that is not UTF-8" in text
    alone = tmp_path / "alone"
    write_cube(alone / f"{LATIN}.bil")
    assert main(["check", str(alone)]) == 2
    assert main(["pack", str(alone)]) == 2
    assert "No cube in" in said(capsys)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take UTF-8 names only")
def test_folders_that_are_not_utf8_are_read_through_a_link(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / LATIN
    shutil.copytree(root, odd)
    for words in (["check", str(odd)], ["train", f"data.root={odd}", "data/labels=none"]):
        assert main(words) == 2
        text = said(capsys)
        assert "esp\\xe8ce' is not UTF-8" in text
        assert "make a link of a plain name to it (ln -s)" in text
    (tmp_path / "plain").symlink_to(odd)
    assert main(["check", "plain"]) == 0
    assert main(["pack", "plain", "data.size=8"]) == 0
    monkeypatch.chdir(odd)
    assert main(["pack", str(root)]) == 2
    assert "is not UTF-8" in said(capsys)


def test_errors_of_the_system_in_words() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/x/y")
    assert in_words(full).startswith("/x/y: No space left on device. Make room on this disk")
    assert in_words(FileNotFoundError(errno.ENOENT, "No such file", "/x")) == "/x: No such file."
    assert in_words(OSError("something")) is None  # a fault of ours keeps its traceback
