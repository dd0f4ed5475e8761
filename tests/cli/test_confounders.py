"""A set whose label is confounded with the session: warned of, probed, and exposed by the split."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from confounded import write_confounded
from tracked import Runs, artifact
from train_fixtures import cache, runs, words

from hyperspec.bands import Full
from hyperspec.cli.main import main as hyperspec
from hyperspec.cli.train import main
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.datasets.config import FolderData
from hyperspec.datasets.grouping import Grouping
from hyperspec.datasets.splits import grouped_split
from hyperspec.evaluation.controls.spectra import mean_spectra
from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.report.load import load_sweep
from hyperspec.report.output import write_report
from hyperspec.training.data import gather

__all__ = ["cache", "runs", "words"]  # fixtures


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands in for the synthetic specimens of the shared words."""
    return write_confounded(tmp_path_factory.mktemp("confounded") / "specimens")


@pytest.fixture
def told(words: list[str]) -> list[str]:
    return [*words, "epochs=1", "bands.n=6", "data.size=6", "data.mask=none", "views=none"]


def table(run: object, name: str) -> list[dict[str, str]]:
    with artifact(run, f"evaluation/{name}.csv").open() as file:  # type: ignore[arg-type]
        return list(csv.DictReader(file))


def test_check_says_the_words_that_help(
    specimens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hyperspec(["check", str(specimens)]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "the folder confounds label and session: they hang together (p = 0.0" in printed
    assert "tells the label of 75% of 64 specimens (the most common label: 50%" in printed
    assert "data.split.group=session" in printed
    assert "\"data.split.hold_out=['session=s0']\"" in printed
    assert hyperspec(["check", str(specimens), "data.split.group=session"]) == 0
    assert "session: tells the label of 75% of 64" in " ".join(capsys.readouterr().out.split())
    assert hyperspec(["check", str(specimens), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["confounders"]
    assert (found["columns"], found["num_specimens"], found["num_values"]) == (["session"], 64, 8)
    assert (found["accuracy"], found["chance"], found["confounded"]) == (0.75, 0.5, True)
    assert 0 < found["p"] < 0.05
    assert hyperspec(["check", str(specimens), "data.confounders=[]"]) == 0
    assert "Confounders (" not in capsys.readouterr().out
    assert hyperspec(["check", str(specimens), "data.confounders=[lamp]"]) == 2
    assert "data.confounders names 'lamp', which the labels do not" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_probes_sessions_and_a_run_by_session_says_why_not(
    told: list[str], runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(told) == 0
    assert "confounds label and session" in capsys.readouterr().out
    by_session = ["data.split.group=session", "evaluation.controls=[mean_spectrum]"]
    assert main([*told, *by_session]) == 0
    assert "confounds label and session" not in capsys.readouterr().out
    plain, grouped = runs()
    metrics = plain.data.metrics
    low, value = (metrics[f"confounder/session_knn_top1{end}"] for end in ("_low", ""))
    chance = metrics["confounder/session_chance"]
    assert 1 / 8 <= chance <= 1 / 4
    assert chance < low <= value <= metrics["confounder/session_knn_top1_high"]
    (row,) = table(plain, "confounders")
    # The table and the store keep the same number with other digits.
    assert (row["column"], row["reason"]) == ("session", "")
    assert float(row["accuracy"]) == pytest.approx(value, rel=1e-9)
    assert "group" not in table(plain, "test_predictions")[0]

    assert not any(name.startswith("confounder/") for name in grouped.data.metrics)
    (row,) = table(grouped, "confounders")
    assert row["reason"] == "no value of the test part occurs in the training part"
    rows = table(grouped, "test_predictions")
    with (Path(plain.data.params["data.root"]) / "labels.csv").open() as file:
        session_of = {row["file"]: row["session"] for row in csv.DictReader(file)}
    assert all(row["group"] == session_of[row["file"]] for row in rows)
    assert {row["group"] for row in table(grouped, "control_predictions")} == {
        row["group"] for row in rows
    }
    tags = [run.data.tags for run in (plain, grouped)]
    assert tags[0]["hyperspec.split.hash"] != tags[1]["hyperspec.split.hash"]

    for run, cell in ((plain, f"{value:.3f} ["), (grouped, "not probed: no value of the test")):
        uri = next(word for word in told if word.startswith("tracking.uri=")).partition("=")[2]
        paths = write_report(load_sweep(uri, [run.info.run_id]), tmp_path / "report")
        text = paths.table.read_text()
        assert "What else do the features tell?" in text
        assert cell in next(line for line in text.splitlines() if line.split()[:1] == ["session"])
        assert "<details open><summary>Label and confounders" in paths.html.read_text()


def test_a_session_is_held_out_by_its_quoted_words(
    told: list[str], runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*told, "data.split.hold_out=['session=s3']"]) == 0
    (run,) = runs()
    assert run.data.metrics["held_out/knn_other_specimens"] >= 0
    assert not any(
        row["file"] in {"a_3D.bil", "b_3D.bil"} for row in table(run, "test_predictions")
    )
    assert main([*told, "data.split.hold_out=['session=s9']"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "no image has the session 's9'. There are: s0, s1, s2, s3, s4, s5, s6, s7." in shown


@pytest.mark.slow
def test_a_label_is_told_on_a_random_split_and_by_chance_with_sessions_apart(
    tmp_path: Path,
) -> None:
    """Mean spectra, k-NN; four sets with equal species, sixteen splits of each."""
    label, by_session, session = [], [], []
    for seed in range(4):
        folder = write_confounded(tmp_path / f"set{seed}", seed=seed)
        options = {"size": 6, "mask": "none", "cache_dir": str(tmp_path / "cache")}
        made = gather(FolderData(root=str(folder), labels=CsvLabels(), **options), Full())  # type: ignore[arg-type]
        rows = list(range(len(made.files)))
        means = mean_spectra(made.source.planes(rows, made.selection), made.source.masks(rows))
        features = np.log(means) - np.log(means).mean(1, keepdims=True)
        columns = {"label": np.array(made.labels), "session": np.array(made.confounders["session"])}

        def probed(split_seed: int, grouping: Grouping | None, column: str) -> float:
            split = grouped_split(made.labels, made.specimens, seed=split_seed, grouping=grouping)  # noqa: B023
            known, held = (
                (features[part], columns[column][part])  # noqa: B023
                for part in (split.train, split.test)
            )
            return knn_probe(*known, *held).top1

        groups = Grouping.of("session", made.specimens, made.confounders)
        label.append(np.mean([probed(i, None, "label") for i in range(16)]))
        by_session.append(np.mean([probed(i, groups, "label") for i in range(16)]))
        session.append(np.mean([probed(i, None, "session") for i in range(16)]))
    # Eight sessions of one set are few: its mean over splits varies by .05, that of four by .025.
    assert np.mean(label) > 0.58
    assert abs(np.mean(by_session) - 0.5) < 0.075
    assert np.mean(session) > 0.8
