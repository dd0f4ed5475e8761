"""``hyperspec signatures --observer`` and ``bands=receptors`` through their commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tracked import artifact, runs_of

from hyperspec.cli.main import main
from hyperspec.cli.train import main as train
from hyperspec.inference.restore import restore
from hyperspec.spectra.band_projection import BandProjection
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

DATA = ["data.size=16", "data/labels=csv"]


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seen") / "specimens"
    return synthesise(folder, SynthSettings(num_specimens=4, size=16, num_bands=48))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def contrasts(specimens: Path, *words: str) -> int:
    return main(["signatures", str(specimens), "--labels-column", "pigment", *words, *DATA])


def test_contrasts_of_classes_are_printed_with_what_is_known_of_the_eye(
    specimens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert contrasts(specimens, "--observer", "bluetit", "--out", "seen") == 0
    shown = capsys.readouterr().out
    assert "observer bluetit (blue tit, Cyanistes caeruleus): Hart, Partridge" in shown
    assert "light d65; the sensor covers of each sensitivity: UVS 7" in shown
    assert "noise UVS 0.164, SWS 0.119, MWS 0.1, LWS 0.1: cone ratio 1:1.92:2.68:2.70" in shown
    (row,) = pd.read_csv(tmp_path / "seen" / "contrasts.csv").to_dict("records")
    assert (row["label_a"], row["label_b"]) == ("ommochrome", "pterin")
    assert row["chromatic_low"] < row["chromatic_jnd"] < row["chromatic_high"]
    assert row["chromatic_jnd"] > 3
    assert f"ommochrome - pterin: chromatic {row['chromatic_jnd']:.2f} [" in shown
    assert (tmp_path / "seen" / "contrasts.png").stat().st_size > 5000


def test_noise_scales_what_is_seen(specimens: Path, tmp_path: Path) -> None:
    for number, noise in enumerate(("0.1", "0.2,0.2,0.2")):
        words = ["--observer", "human", "--noise", noise, "--out", str(number)]
        assert contrasts(specimens, *words) == 0
    one, other = (pd.read_csv(tmp_path / n / "contrasts.csv").chromatic_jnd[0] for n in "01")
    assert one == pytest.approx(2 * other, rel=1e-4)


def test_own_receptors_have_no_brightness_and_an_assumed_noise(
    specimens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("fish.csv").write_text("wavelength_nm,a,b\n350,0,0\n450,1,0\n550,0,1\n650,0,0\n")
    assert contrasts(specimens, "--observer", "fish.csv", "--illuminant", "flat") == 0
    assert "noise a 0.1, b 0.1: assumed equal; give --noise to set it" in capsys.readouterr().out
    assert "achromatic_jnd" not in pd.read_csv(tmp_path / "signatures" / "contrasts.csv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--observer", "cat"], "bands.eye is 'cat'; give average_uvs"),
        (["--observer", "cat.csv"], "bands.file='cat.csv' cannot be read: No such file"),
        (["--observer", "honeybee"], "of the sensitivity of receptor 'UV' of bands.eye=honeybee"),
        (["--observer", "human", "--noise", "0.1,0.2"], "--noise is '0.1,0.2'; give one Weber"),
        (["--observer", "human", "--noise", "x"], "--noise is 'x'; give one Weber fraction"),
        (["--observer", "human", "data.calibrate=none"], "--observer reads reflectance, but these"),
    ],
)
def test_what_cannot_be_seen_is_refused(
    specimens: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert contrasts(specimens, *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_one_class_has_no_contrasts(
    specimens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(specimens / "labels.csv").assign(all="one")
    table.to_csv(tmp_path / "one.csv", index=False)
    labels = f"data.labels.file={tmp_path / 'one.csv'}"
    words = ["--labels-column", "all", "--observer", "human", labels]
    assert contrasts(specimens, *words) == 2
    assert "--observer compares classes, but 'all' has 1" in capsys.readouterr().err


def words(specimens: Path, store: str) -> list[str]:
    return [
        *("experiment=demo", "data.size=16", "epochs=2", "hardware.threads=1"),
        *("evaluation.controls=false", f"data.root={specimens}", f"tracking.uri={store}"),
        "tracking.experiment=eyes",
    ]


def test_receptors_train_and_travel(specimens: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert train([*words(specimens, store), "bands=receptors", "bands.eye=bluetit"]) == 0
    (run,) = runs_of(store, "eyes")
    assert run.data.tags["hyperspec.bands.strategy"] == "receptors/bluetit"
    bands = json.loads(artifact(run, "bands.json").read_text())
    assert np.shape(bands["matrix"]) == (4, len(bands["indices"]))
    assert set(bands["params"]["covered"]) == {"UVS", "SWS", "MWS", "LWS"}
    assert artifact(run, "pictures/responses.png").stat().st_size > 5_000
    again = restore(artifact(run, "checkpoints/last.ckpt"))
    assert isinstance(again.trained, BandProjection)
    assert again.trained.hash == run.data.tags["hyperspec.bands.hash"]


@pytest.mark.slow
def test_a_report_names_the_eyes(
    specimens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(specimens, f"sqlite:///{tmp_path / 'mlflow.db'}")
    swept = "bands=receptors/human,receptors/bluetit,uniform/10"
    assert train(["-m", *given, swept, "hydra.sweep.dir=sweep"]) == 0
    shown = capsys.readouterr().out
    assert "receptors/human" in shown
    page = (tmp_path / "sweep" / "report" / "report.html").read_text()
    assert "receptors/human" in page
    assert "receptors/bluetit" in page


def test_a_sweep_with_an_eye_that_the_sensor_does_not_fit_does_not_start(
    specimens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", f"data.root={specimens}", "data.size=16", "model=tiny"]
    assert train([*words, "bands=receptors/human,receptors/honeybee"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "receptor 'UV' of bands.eye=honeybee" in shown
