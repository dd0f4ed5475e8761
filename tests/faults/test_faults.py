"""Some of the faults of ``make faults``, as tests: those that are quick, and the real server."""

from __future__ import annotations

from pathlib import Path

import fault_controller
import fault_files
import fault_jobs
import fault_server
import fault_store
import pytest
from fault_harness import Row, Workshop

# A forked child ends without the clean-up of pytest's own.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop.open(tmp_path_factory.mktemp("faults"))


def holds(row: Row) -> None:
    assert row.ok, f"{row.fault}: {row.seen}"


def test_bad_results_of_jobs(shop: Workshop) -> None:
    holds(fault_jobs.bad_results(shop))


def test_killed_controllers(shop: Workshop) -> None:
    holds(fault_controller.killed_controller(shop, kills=2))


def test_a_full_disk(shop: Workshop) -> None:
    holds(fault_files.full_disk(shop))


def test_a_malicious_pickle(shop: Workshop) -> None:
    holds(fault_files.malicious_pickle(shop))


def test_damaged_data(shop: Workshop) -> None:
    holds(fault_files.bad_data(shop))


def test_a_folder_that_moved(shop: Workshop) -> None:
    holds(fault_store.moved_and_copied(shop))


@pytest.mark.parametrize("what", ["run", "parent", "experiment"])
def test_what_was_deleted_in_the_ui(shop: Workshop, what: str) -> None:
    holds(fault_store.deleted(shop, what, fault_server.reference(shop)))


def test_a_tracking_server_that_is_killed_and_started_again(shop: Workshop, tmp_path: Path) -> None:
    holds(fault_server.dies_in_the_middle(shop, fault_server.reference(shop)))
