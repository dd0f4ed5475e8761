"""`bands=learned` through the real entrypoint: chosen, trained on, logged, continued."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from learned_fixtures import runs, specimens, words
from mlflow.entities import Run
from tracked import Runs, artifact

from hyperspec.bands import Learned
from hyperspec.cli.train import main
from hyperspec.inference.restore import restore
from hyperspec.training import band_search
from hyperspec.training.band_search import BandSearch
from hyperspec.utils.errors import HyperspecError, ModelError

__all__ = ["runs", "specimens", "words"]  # fixtures


def history(run: Run) -> list[dict[str, str]]:
    with artifact(run, "evaluation/search.csv").open() as file:
        return list(csv.DictReader(file))


def scores(run: Run) -> dict[str, float]:
    kept = ("test/", "val/", "control/")
    return {k: v for k, v in run.data.metrics.items() if k.startswith(kept)}


def test_the_choice_is_trained_on_logged_and_restored(words: list[str], runs: Runs) -> None:
    assert main(words) == 0
    (run,) = runs()
    tags, metrics = run.data.tags, run.data.metrics
    assert (tags["hyperspec.bands.strategy"], tags["hyperspec.bands.n"]) == ("learned", "4")
    assert run.info.run_name.startswith("learned n=004")
    bands = json.loads(artifact(run, "bands.json").read_text())
    assert len(set(bands["indices"])) == 4
    assert bands["indices"] == sorted(bands["indices"])
    assert tags["hyperspec.bands.hash"] == bands["hash"]
    epochs = history(run)
    assert [row["epoch"] for row in epochs] == ["0", "1", "2"]
    assert [float(row["temperature"]) for row in epochs] == pytest.approx([10, 1, 0.1])
    last = sorted(float(epochs[-1][f"nm_{i}"]) for i in range(4))
    assert last == pytest.approx(sorted(bands["wavelengths_nm"]), abs=0.01)
    assert 0 < metrics["search/entropy"] < 1
    assert metrics["search/temperature"] == pytest.approx(0.1)
    gap = metrics["search/soft_knn_top1"] - metrics["search/hard_knn_top1"]
    assert metrics["search/gap_knn_top1"] == pytest.approx(gap)
    assert 0 < metrics["search/train_seconds"] < metrics["cost/train_seconds"]
    assert metrics["epoch"] == 2, "three epochs after the three of the search"
    assert artifact(run, "pictures/search.png").stat().st_size > 5_000
    again = restore(artifact(run, "checkpoints/last.ckpt"))
    assert list(again.trained.indices) == bands["indices"]
    assert again.embedder.encoder.num_bands == 4
    with pytest.raises(ModelError, match="was still choosing its bands"):
        restore(artifact(run, "checkpoints/search.ckpt"))


def test_with_restart_the_result_is_that_of_the_same_bands_in_a_list(
    words: list[str], runs: Runs
) -> None:
    assert main([*words, "bands.restart=true"]) == 0
    chosen = json.loads(artifact(runs()[0], "bands.json").read_text())["indices"]
    listed = [w for w in words if not w.startswith("bands")]
    assert main([*listed, "bands=list", f"bands.indices={chosen}"]) == 0
    learned, alone = runs()
    assert scores(learned) == pytest.approx(scores(alone), rel=1e-6)
    assert learned.data.metrics["epoch"] == alone.data.metrics["epoch"] == 5


def test_a_checkpoint_in_the_middle_of_the_annealing_continues_it(
    words: list[str], runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without random views the continued run is the whole one to the last choice."""
    words = [*words, "views=none", "epochs=8"]
    assert main(words) == 0
    ckpt = tmp_path / "middle.ckpt"
    whole_end = BandSearch.on_train_epoch_end

    def stopping(self: BandSearch) -> None:
        whole_end(self)
        if self.current_epoch == 1:
            self.trainer.save_checkpoint(ckpt)
            raise HyperspecError("stopped in the middle")

    monkeypatch.setattr(BandSearch, "on_train_epoch_end", stopping)
    assert main(words) == 2
    monkeypatch.setattr(BandSearch, "on_train_epoch_end", whole_end)
    assert main([*words, f"ckpt='{ckpt}'"]) == 0
    whole, stopped, continued = runs()
    assert stopped.info.status == "FAILED"
    assert len(history(whole)) == 4
    assert history(continued) == history(whole)
    for name in ("search/entropy", "search/largest_probability", "search/loss"):
        found = continued.data.metrics[name]
        assert found == pytest.approx(whole.data.metrics[name], rel=1e-5), name
    assert scores(continued) == pytest.approx(scores(whole), rel=1e-5)


def test_a_finished_run_goes_on_with_its_bands(words: list[str], runs: Runs) -> None:
    assert main(words) == 0
    ckpt = artifact(runs()[0], "checkpoints/last.ckpt")
    assert main([*words, "bands.search_share=0.2", f"ckpt='{ckpt}'"]) == 0
    first, second = runs()
    assert second.data.tags["hyperspec.bands.strategy"] == "learned"
    bands = [json.loads(artifact(r, "bands.json").read_text())["indices"] for r in (first, second)]
    assert bands[0] == bands[1]
    assert "search/loss" not in second.data.metrics
    assert second.data.metrics["epoch"] == 3


@pytest.mark.parametrize(
    "way",
    [
        ["model.stem=inflate"],
        ["model.stem=wavelength", "data.normalisation=snv"],
        ["model.stem=attention", "views=strong"],
        ["model.norm=group", "hardware.micro_batch=8"],
        ["bands.n=24"],
        ["bands.n=1"],
    ],
)
def test_every_stem_and_n_can_search(words: list[str], way: list[str], runs: Runs) -> None:
    assert main([*words, "epochs=4", *way]) == 0
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert np.isfinite(run.data.metrics["search/loss"])
    expected = next((w.split("=")[1] for w in way if w.startswith("bands.n")), "4")
    assert run.data.tags["hyperspec.bands.n"] == expected


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["epochs=3"], "error: epochs is 3, but bands=learned needs 4 at least"),
        (["bands.n=25"], "error: bands.n is 25, but the axis has 24 good bands"),
        (["objective=test/knn_top1"], "nothing may be chosen on the test part"),
        (["ckpt=absent.ckpt"], "'absent.ckpt' does not exist"),
    ],
)
def test_bad_input_is_one_paragraph(
    words: list[str], extra: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *extra]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert text in shown
    assert "Traceback" not in shown


def test_checkpoints_of_other_runs_are_refused(
    words: list[str], runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "epochs=4"]) == 0
    search = artifact(runs()[0], "checkpoints/search.ckpt")
    uniform = [w for w in words if not w.startswith("bands")]
    assert main([*uniform, "bands.n=4", "epochs=1"]) == 0
    other = artifact(runs()[1], "checkpoints/last.ckpt")
    capsys.readouterr()
    for ckpt, extra, text in (
        (other, [], "was trained on bands=uniform, this run has bands=learned"),
        (search, ["bands.n=5"], "has bands.n=4, this run has bands.n=5"),
        (search, ["epochs=8"], "anneals over 2 epochs, this run over 4 (epochs=8"),
    ):
        assert main([*words, "epochs=4", f"ckpt='{ckpt}'", *extra]) == 2
        assert text in " ".join(capsys.readouterr().err.split())


def test_memory_of_the_search_is_given_back_before_the_bands_are_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    found = SimpleNamespace()

    def learned(*_: object) -> SimpleNamespace:
        order.append("searched")
        return found

    monkeypatch.setattr(band_search, "learn", learned)
    monkeypatch.setattr(band_search, "free_memory", lambda: order.append("given back"))
    config = SimpleNamespace(bands=Learned(n=3), seed=0)
    context = SimpleNamespace(config=config)
    assert band_search.choose_bands(context) is found  # type: ignore[arg-type, comparison-overlap]
    assert order == ["searched", "given back"]
