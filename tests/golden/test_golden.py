"""The numbers that every part gives, and that none moves without its version."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import golden_record
import golden_runs
import golden_training
import pytest
import torch
from golden_record import Run, complaint, digest, faults, moved, part_of, record, refusal

from hyperspec.utils.results_version import RESULTS

RUNS = {**golden_runs.RUNS, **golden_training.RUNS}
KEPT = golden_record.read()
CASES = [
    pytest.param(name, marks=[pytest.mark.slow] if run.slow else []) for name, run in RUNS.items()
]
TOY = Run(dict, uses=("statistics",))
BEFORE = {"views.noise/fresh": 3.25, "views.noise/bank": 0.5}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_the_golden_ones(name: str) -> None:
    run = RUNS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, of loaders and of checkpoints
        found = run.compute()
    assert name in KEPT, f"{name} is new; write it with `{golden_record.COMMAND}`"
    differences = moved(KEPT[name]["numbers"], found, run.tolerance)
    assert not differences, complaint(differences, run.uses, RESULTS)


def test_the_file_is_of_the_table_and_of_the_runs() -> None:
    assert sorted(KEPT) == sorted(RUNS)
    for name, kept in KEPT.items():
        assert not faults(kept, RESULTS), f"{name}: {faults(kept, RESULTS)}"
        assert sorted(kept["versions"]) == RUNS[name].parts(kept["numbers"])


def test_every_part_of_the_table_has_a_number_of_its_own() -> None:
    covered = {part_of(name) for kept in KEPT.values() for name in kept["numbers"]}
    assert covered == set(RESULTS)


def test_a_moved_number_names_its_part_and_the_way_out() -> None:
    found = {**BEFORE, "views.noise/fresh": 3.25 * (1 + 1e-5)}
    differences = moved(BEFORE, found, TOY.tolerance)
    assert list(differences) == ["views.noise/fresh"]
    said = complaint(differences, TOY.uses, {"views.noise": 1, "statistics": 1})
    assert "The numbers of 'views.noise' moved" in said
    assert "relative difference 1.0e-05" in said
    assert 'raise RESULTS["views.noise"] from 1 to 2 in results_version.py' in said
    assert "rewrite the golden numbers with `python tests/golden/write_golden.py`" in said
    assert "every sweep with jobs that use 'views.noise' retrains those once" in said
    assert "If the change was meant to be equal, it is not." in said
    assert "go through statistics too" in said
    assert not moved(BEFORE, {**BEFORE, "views.noise/fresh": 3.25 * (1 + 1e-8)}, TOY.tolerance)
    assert moved(BEFORE, {**BEFORE, "views.noise/bank": float("nan")}, TOY.tolerance)
    assert moved(BEFORE, {"views.noise/fresh": 3.25}, TOY.tolerance)


@pytest.mark.parametrize("name", ["losses", "statistics", "normalisations"])
def test_a_perturbed_golden_number_is_noticed(name: str) -> None:
    run, numbers = RUNS[name], dict(KEPT[name]["numbers"])
    found = run.compute()
    for one, value in numbers.items():
        if value:
            assert list(moved({**numbers, one: value * (1 + 1e-5)}, found, run.tolerance)) == [one]


def test_a_raised_version_asks_for_new_numbers_and_they_for_a_raised_version() -> None:
    table = {"views.noise": 1, "statistics": 1}
    kept = record(TOY, BEFORE, table)
    assert not faults(kept, table)
    raised = faults(kept, {**table, "views.noise": 2})
    assert len(raised) == 1
    assert "RESULTS['views.noise'] is 2, but the golden numbers were written at 1" in raised[0]
    by_hand = {**kept, "numbers": {**BEFORE, "views.noise/bank": 0.6}}
    assert "rewritten without raising a version" in faults(by_hand, table)[0]
    assert kept["digest"] == digest(BEFORE, {"statistics": 1, "views.noise": 1})


def test_new_numbers_are_written_for_a_raised_version_only() -> None:
    table = {"views.noise": 1, "statistics": 1}
    kept, other = record(TOY, BEFORE, table), {**BEFORE, "views.noise/bank": 0.6}
    assert refusal(None, TOY, other, table) is None
    assert refusal(kept, TOY, BEFORE, table) is None
    assert refusal(kept, TOY, {**BEFORE, "views.noise/more": 1.0}, table) is None
    refused = refusal(kept, TOY, other, table)
    assert refused is not None
    assert 'raise RESULTS["views.noise"]' in refused
    assert refusal(kept, TOY, {"views.noise/fresh": 3.25}, table) is not None
    assert refusal(kept, TOY, other, {**table, "views.noise": 2}) is None
    assert refusal(kept, TOY, other, {**table, "statistics": 2}) is None
    lowered = refusal(kept, TOY, other, {**table, "views.noise": 0})
    assert lowered == "RESULTS['views.noise'] was lowered; versions only rise."
