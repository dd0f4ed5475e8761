"""Which wavelengths carry it, from a sweep's tables to its sentences, page and chart."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_verdict import sweep

from hyperspec.evaluation.importance.swaps import Grid, swap_table
from hyperspec.report.carried import carried, chosen_points
from hyperspec.report.cohort_report import report_cohorts
from hyperspec.report.load import SweepData
from hyperspec.report.output import write_report
from hyperspec.report.summary import summarise

GRID = Grid.over(np.linspace(348.0, 808.0, 47), 20.0)
UV, RED = 2, 34  # windows that start at 368 and 688 nm


def measured(
    data: SweepData, told: dict[int, float], lost: dict[int, float], n: int = 408, truth: int = 0
) -> SweepData:
    """Give the jobs of a number of bands tables of exchanged windows."""
    random = np.random.default_rng(truth)
    swaps, spectra = dict.fromkeys(data.jobs["run_id"]), dict.fromkeys(data.jobs["run_id"])
    for run in data.jobs.loc[data.jobs["n"] == n, "run_id"]:
        said = data.predictions(run)
        assert said is not None
        known = said[[c for c in ("file", "specimen", "group", "label") if c in said]]
        values = np.zeros((2, len(GRID.starts_nm), len(known)))
        values[0] = random.normal(size=values[0].shape)
        values[1] = random.random(values[1].shape) < 0.02
        for kind, shares in enumerate((told, lost)):
            for window, share in shares.items():
                hit = random.random(len(known)) < share if kind else share
                values[kind, window] = values[kind, window] + hit
        swaps[run] = swap_table(known, GRID, *values).astype(str)
        nm = np.linspace(348, 808, 47)
        spectra[run] = pd.DataFrame({"wavelength_nm": nm, "a": nm / 900, "b": nm / 1000}).astype(
            str
        )
    jobs = data.jobs.assign(
        wavelengths_nm="[400.0,500.0]", name=data.jobs["run_id"], pruned_at=np.nan
    )
    return dataclasses.replace(data, jobs=jobs, _swaps=swaps, _spectra=spectra)


def sentences(data: SweepData) -> tuple[str, ...]:
    (one,) = report_cohorts(data)
    return one.sentences


def test_planted_windows_are_in_the_last_sentence() -> None:
    data = measured(sweep({50: 0.7, 408: 0.9}, rotations=4), {UV: 2, RED: 2}, {UV: 0.3, RED: 0.2})
    last = sentences(data)[-1]
    fall = r"\(without it accuracy falls by 0\.[123]\d \[0\.\d\d, 0\.\d\d\]\)"
    assert re.fullmatch(rf"The encoder leans on 368-388 nm {fall} and 688-708 nm {fall}\.", last)
    (one,) = carried(data, summarise(data))
    assert (one.num_measured, one.found.num_seeds, one.found.num_specimens) == (12, 3, 64)
    for stretch, share in zip(one.found.stretches, (0.32, 0.22), strict=True):
        assert stretch.lost.low < share < stretch.lost.high


def test_redundant_windows_are_said_to_stand_in_for_each_other() -> None:
    data = measured(sweep({408: 0.9}), {UV: 2, RED: 2}, {})
    last = sentences(data)[-1]
    assert " 368-388 nm" in last
    assert " 688-708 nm" in last
    # Nothing is lost without either: of two 95% intervals one may leave out 0.
    assert last.count("it tells the label, but others stand in for it: without it accuracy") >= 1


@pytest.mark.parametrize("truth", range(5))
def test_of_a_null_set_no_window_stands_out(truth: int) -> None:
    data = measured(sweep({408: 0.25}, control=0.25, truth=truth), {}, {}, truth=truth)
    assert "No window of 20 nm stands out." in sentences(data)


def test_where_nothing_is_told_above_guessing_no_window_is_claimed() -> None:
    data = measured(sweep({408: 0.25}, control=0.25), {UV: 2}, {UV: 0.2})
    assert "No window of 20 nm stands out." in sentences(data)
    assert "stands out" in write_words(data)


def write_words(data: SweepData) -> str:
    (one,) = report_cohorts(data)
    return next(part.note for part in one.sections if part.key == "carried")


def test_settings_that_tie_take_the_one_that_validation_puts_first() -> None:
    data = measured(sweep({50: 0.9, 408: 0.9}), {UV: 2}, {UV: 0.3}, n=50)
    first = summarise(data).points[0]
    assert [point.run_ids for point in chosen_points(summarise(data))] == [first.run_ids]
    said = " ".join(sentences(data))
    assert ("leans on 368-388 nm" in said) == (first.n == 50)


def test_one_seed_is_said_to_be_one() -> None:
    data = measured(sweep({408: 0.9}, seeds=1), {UV: 2}, {UV: 0.3})
    assert sentences(data)[-1].endswith("This is of one seed: others may lean elsewhere.")


def test_few_specimens_tell_nothing() -> None:
    data = measured(sweep({408: 0.9}, specimens=6), {UV: 2}, {UV: 0.9})
    assert sentences(data)[-1] == (
        "Which wavelengths carry it cannot be told: fewer than 8 specimens were tested."
    )


def test_what_was_not_measured_is_not_spoken_of() -> None:
    assert not any("nm" in text for text in sentences(sweep({408: 0.9})))


def test_windows_that_the_bands_leave_out_are_counted() -> None:
    data = measured(sweep({408: 0.9}), {UV: 2}, {UV: 0.3})
    for table in filter(lambda one: one is not None, data._swaps.values()):
        for name in GRID.names[10:30]:
            table[f"told {name}"], table[f"lost {name}"] = "0.0", "0.0"
    assert sentences(data)[-1].endswith(
        "Its bands leave out 20 of 45 windows, of which nothing is said."
    )


def test_all_bands_are_told_beside_the_best_setting() -> None:
    data = measured(sweep({50: 0.95, 408: 0.7}), {UV: 2}, {UV: 0.3}, n=50)
    whole = measured(sweep({50: 0.95, 408: 0.7}), {RED: 2}, {RED: 0.3}, n=408)
    jobs = data.jobs.assign(strategy=["uniform" if n == 50 else "full" for n in data.jobs["n"]])
    swaps = dict(data._swaps)
    swaps |= {run: table for run, table in whole._swaps.items() if table is not None}
    said = sentences(dataclasses.replace(data, jobs=jobs, _swaps=swaps))
    assert said[-2].startswith("The encoder leans on 368-388 nm")
    assert said[-1].startswith("The encoder of all bands leans on 688-708 nm")


def test_page_table_and_picture_hold_it(tmp_path: Path) -> None:
    data = measured(sweep({50: 0.7, 408: 0.9}), {UV: 2, RED: 2}, {UV: 0.3, RED: 0.2})
    paths = write_report(data, tmp_path)
    assert (tmp_path / "carried.png").stat().st_size > 10_000
    page, text = paths.html.read_text(), paths.table.read_text()
    for place in (page, text):
        assert "Which wavelengths carry it?" in place
        assert "The encoder leans on 368-388 nm" in place
    assert "368-388" in text.split("Windows of")[1]
