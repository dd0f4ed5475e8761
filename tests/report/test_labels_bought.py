"""Whether labels in the loss bought anything: the pair, its family, the sentence."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from test_verdict import sweep, verdict

from hyperspec.report.load import SweepData
from hyperspec.report.paired_tests import NO_LABELS, compare
from hyperspec.report.summary import summarise


def two_losses(
    plain: float, labelled: float, *, other: str = "nt_xent", seeds: int = 3
) -> SweepData:
    """Return a sweep of one number of bands with ``loss=<other>,supcon``."""
    made = sweep({50: plain, 51: labelled}, seeds=seeds, specimens=200)
    loss = [other if n == 50 else "supcon" for n in made.jobs["n"]]
    jobs = made.jobs.assign(
        **{"n": 50.0, "params.bands.n": "50", "params.loss": loss, "params.lr": "0.1"}
    )
    return dataclasses.replace(made, jobs=jobs)


@pytest.mark.parametrize(
    ("plain", "labelled", "expected"),
    [
        (0.6, 0.9, "Labels in the loss bought +"),
        (0.9, 0.6, "Labels in the loss cost accuracy: -"),
        (0.995, 0.995, "Labels in the loss bought nothing: "),
    ],
)
def test_what_labels_bought_is_said(plain: float, labelled: float, expected: str) -> None:
    found = verdict(two_losses(plain, labelled)).sentences
    (told,) = (text for text in found if "Labels in the loss" in text)
    assert told.startswith(expected)
    assert told.endswith("(uniform, 50 bands; beside loss=nt_xent).")


def test_the_pair_is_a_family_of_its_own() -> None:
    data = two_losses(0.6, 0.9)
    rows = [row for row in compare(data, summarise(data)).rows if row.family == NO_LABELS]
    assert [(row.point.extra["loss"], row.against) for row in rows] == [
        ("supcon", "no labels (loss=nt_xent)")
    ]


def test_nothing_is_said_without_a_pair_that_differs_in_the_loss_alone() -> None:
    alone = sweep({50: 0.9})
    assert verdict(alone).labels == ""
    data = two_losses(0.6, 0.9)
    rates = ["0.1" if loss == "supcon" else "0.2" for loss in data.jobs["params.loss"]]
    # Each loss at a rate of its own, and both at a third: the rate is a setting by itself.
    jobs = data.jobs.assign(**{"params.lr": rates})
    third = jobs.iloc[:3].assign(run_id=[f"x{i}" for i in range(3)], **{"params.lr": "0.2"})
    third = third.assign(**{"params.loss": "vicreg"})
    mixed = dataclasses.replace(data, jobs=pd.concat([jobs, third], ignore_index=True))
    assert verdict(mixed).labels == ""


def test_one_seed_cannot_tell() -> None:
    assert verdict(two_losses(0.6, 0.9, seeds=1)).labels == ""
