"""The sentences of sweeps whose truth is known: planted, null, confounded, tied, few, one seed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from hyperspec.report.load import SweepData, SweepInfo
from hyperspec.report.paired_tests import compare
from hyperspec.report.summary import summarise
from hyperspec.report.tables import caveat
from hyperspec.report.verdict import Verdict, conclude
from hyperspec.report.wording import band_count_sentences, differences_note

LABELS = 4


def sweep(
    rates: Mapping[int, float],
    *,
    control: float = 0.5,
    specimens: int = 64,
    seeds: int = 3,
    rotations: int = 1,
    truth: int = 0,
    session: float | None = None,
    groups: int = 0,
    labelled: bool = True,
) -> SweepData:
    """Return a finished sweep: by number of bands how often the encoder is right.

    A specimen has an ease of its own, which all settings, seeds and the control share in part, and
    two images that agree.
    """
    random = np.random.default_rng(truth)
    ease = random.normal(size=specimens)
    jobs, said, beside, probes = [], {}, {}, {}
    names = [f"s{i:03d}" for i in range(specimens)]

    def right(rate: float, rows: np.ndarray) -> np.ndarray:
        own = 0.8 * ease[rows] + 0.6 * random.normal(size=len(rows))
        threshold = np.quantile(random.normal(size=20_000), rate)
        return np.repeat(own < threshold, 2).astype(int)

    for n, rate in rates.items():
        for seed in range(seeds):
            for turn in range(rotations):
                rows = np.arange(specimens)[turn::rotations]
                run = f"{n}-{seed}-{turn}"
                files = [f"{names[i]}{view}.bil" for i in rows for view in "DV"]
                known = {
                    "file": files,
                    "specimen": np.repeat([names[i] for i in rows], 2),
                    "label": np.repeat([f"label{i % LABELS}" for i in rows], 2),
                }
                if groups:
                    known["group"] = np.repeat([f"day{i % groups}" for i in rows], 2)
                hits, control_hits = right(rate, rows), right(control, rows)
                said[run] = pd.DataFrame({**known, "knn_correct": hits, "linear_correct": hits})
                beside[run] = pd.DataFrame({**known, "mean_spectrum_knn_correct": control_hits})
                probes[run] = None
                if session is not None:
                    ends = {"low": f"{session - 0.1}", "high": f"{session + 0.1}"}
                    row = {"column": "session", "accuracy": f"{session}", **ends}
                    probes[run] = pd.DataFrame([{**row, "chance": "0.5", "reason": ""}])
                jobs.append(
                    {
                        "run_id": run,
                        "n": float(n),
                        "seed": float(seed),
                        "rotation": float(turn) if rotations > 1 else float("nan"),
                        "metrics.objective": rate + 0.001 * seed,
                        "metrics.val/knn_top1": rate + 0.001 * seed,
                        "metrics.test/knn_top1": hits.mean(),
                        "metrics.test/majority_share": 1 / LABELS,
                        "metrics.control/mean_spectrum_knn_top1": control_hits.mean(),
                        "metrics.control_val/mean_spectrum_knn_top1": control,
                    }
                )
    table = pd.DataFrame(jobs).assign(
        sweep_id="p", sweep="s", status="FINISHED", strategy="uniform", num_classes=float(LABELS),
        objectives="", resumed_from="", seconds=1.0, uri="", artifact_uri="", reason="",
        **{"params.bands.n": [str(int(job["n"])) for job in jobs]},
        **{"params.data.num_specimens": "96"},
        **{"params.data.split.group": "session" if groups else "null"},
    )  # fmt: skip
    table["params.seed"] = [str(int(job["seed"])) for job in jobs]
    if not labelled:
        table = table[[c for c in table if "knn" not in c and "majority" not in c]]
        said, beside = dict.fromkeys(said), dict.fromkeys(beside)
    info = SweepInfo("p", "s", "s", "", "FINISHED", pd.Timestamp(0), 1.0, "", margin=0.05)
    return SweepData((info,), table, said, beside, probes)


def verdict(data: SweepData) -> Verdict:
    summary = summarise(data)
    return conclude(data, summary, compare(data, summary))


def text(data: SweepData) -> str:
    return " ".join(verdict(data).sentences)


def test_planted_training_that_helps_and_a_count_that_suffices() -> None:
    found = verdict(sweep({10: 0.3, 50: 0.97, 408: 0.97}, specimens=250, rotations=4))
    first, bands = found.sentences
    assert first.startswith(
        "Tested on 250 specimens (500 images), each in one of 4 rotations, 3 seeds: training adds +"
    )
    assert "to the best control (mean spectrum, k-NN, 0.5" in first
    # The claim is that the 90% interval lies within the margin, so that this is the one shown.
    claim = "uniform: 50 bands do as well as 408 within ±5 points "
    shown = re.match(rf"{claim}\([+-]0\.0\d\d, 90% \[(\S+), (\S+)\]\)", bands)
    assert shown is not None
    assert -0.05 < float(shown[1]) < float(shown[2]) < 0.05
    assert bands.endswith("Fewer: 10 bands worse.")


def test_a_control_that_does_as_well_is_said_first() -> None:
    found = text(sweep({50: 0.97, 408: 0.97}, control=0.97, specimens=250, rotations=4))
    assert "training adds nothing to the best control (mean spectrum, k-NN, 0.9" in found
    assert "the encoder reaches 0.9" in found
    assert "] (k-NN)." in found


def test_a_control_that_does_better_is_said_first() -> None:
    found = text(sweep({50: 0.5, 408: 0.5}, control=0.9, specimens=120))
    assert "training does worse than the best control (mean spectrum, k-NN, 0." in found


@pytest.mark.parametrize("truth", range(20))
def test_nothing_is_claimed_of_a_null_set(truth: int) -> None:
    guessing = 1 / LABELS
    data = sweep({10: guessing, 50: guessing, 408: guessing}, control=guessing, truth=truth)
    found = text(data)
    assert "adds +" not in found
    # 5% of intervals leave out what is true: then nothing more than guessing is known to be wrong.
    if verdict(data).beats_guessing is False:
        assert "it is not shown that the labels are told better than by guessing" in found
        assert "data.split.rotate=4 tests all 96 specimens." in found
        assert "neither training nor the number of bands can be judged here" in found
        assert len(verdict(data).sentences) == 1


def test_few_specimens_have_no_interval_and_the_way_out_is_said() -> None:
    found = text(sweep({10: 0.6, 408: 0.7}, specimens=6))
    assert found.startswith("Tested on 6 specimens (12 images), 3 seeds: whether training adds any")
    assert "(no interval)" in found
    assert "data.split.rotate=4 tests all 96 specimens." in found


def test_one_seed_gives_no_verdict() -> None:
    found = text(sweep({10: 0.6, 408: 0.9}, seeds=1))
    assert "whether training adds anything cannot be told" in found
    assert "1 seed cannot tell chance from effect: run 3 (seed=0,1,2)." in found
    assert "Nor can it be told how few bands do as well." in found
    assert "as well as 408" not in found


def test_without_controls_the_way_out_is_said_too() -> None:
    data = sweep({10: 0.6, 408: 0.9}, seeds=1)
    kept = data.jobs[[column for column in data.jobs if "control" not in column]]
    found = text(dataclasses.replace(data, jobs=kept))
    assert "no control was scored beside it" in found
    assert found.count("1 seed cannot tell chance from effect: run 3 (seed=0,1,2).") == 1
    assert found.endswith("Nor can it be told how few bands do as well.")


def test_two_seeds_give_no_verdict() -> None:
    found = text(sweep({10: 0.6, 408: 0.9}, seeds=2))
    assert "2 seeds cannot tell chance from effect" in found
    assert "Nor can it be told how few bands do as well as 408." in found


def test_twelve_animals_are_undecided_and_told_what_would_tell() -> None:
    found = text(sweep({10: 0.6, 408: 0.7}, control=0.6, specimens=12))
    assert "cannot be told" in found or "shows no gain" in found
    assert "if the true difference is the one seen" in found or "if there is no true" in found


def test_what_else_the_features_tell_is_a_caution() -> None:
    plain = sweep({10: 0.6, 408: 0.8}, session=0.55)
    told = sweep({10: 0.6, 408: 0.8}, session=0.9)
    assert "Caution" not in text(plain)
    assert "the features also tell session above chance" in text(told)
    assert "data.split.group=session" in text(told)


def test_whole_sessions_are_what_was_tested() -> None:
    found = text(sweep({10: 0.6, 408: 0.9}, groups=2))
    assert "of 2 sessions" in found
    assert "Only 2 sessions were tested, too few for an interval" in found
    assert "adds" not in found.replace("adds anything", "")


def test_without_labels_there_is_no_verdict() -> None:
    (found,) = verdict(sweep({10: 0.5, 408: 0.5}, labelled=False)).sentences
    assert "No accuracy was tested" in found


@pytest.mark.parametrize(("second", "tied"), [(0.785, True), (0.7, False)])
def test_settings_within_the_margin_of_the_first_are_tied(second: float, tied: bool) -> None:
    data = sweep({10: second, 408: 0.8})
    summary = summarise(data)
    said = differences_note(compare(data, summary), summary)
    words = "By val/knn_top1 1 setting lies within ±5 points of the one put first: they are tied."
    assert (words in said) == tied


def test_what_is_kept_together_is_what_every_sentence_counts() -> None:
    few = sweep({10: 0.6, 408: 0.9}, groups=6)
    summary = summarise(few)
    assert "Only 6 sessions were tested: no verdict below 8" in caveat(summary)
    assert "fewer than 8 sessions: no verdict" in " ".join(
        band_count_sentences(compare(few, summary))
    )
    enough = sweep({10: 0.6, 408: 0.65}, groups=16)
    summary = summarise(enough)
    assert "over seeds and sessions" in caveat(summary)
    sentences = " ".join(band_count_sentences(compare(enough, summary)))
    assert "undecided" in sentences
    assert "specimen" not in sentences
