"""The short form of `make fuzz`: some examples of each target, and all that once failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_targets import GUIDED, TARGETS, attempt
from hypothesis import given, settings

KEPT = Path(__file__).with_name("kept")
# Examples: a second or two each.
COUNTS = {"header": 250, "labels": 150, "predictions": 250, "journal": 100}
COUNTS |= {"store": 12, "exports": 40, "checkpoint": 12}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_give_right_results_or_our_errors(name: str, tmp_path: Path) -> None:
    prepared = TARGETS[name](tmp_path)
    for path in sorted((KEPT / name).glob("*")):
        file, _, content = path.read_bytes().partition(b"\n")
        attempt(prepared, (file.decode(), content))

    # The same examples each time: `make fuzz` looks for new ones.
    @settings(max_examples=COUNTS[name], derandomize=True, database=None)
    @given(prepared.examples)
    def run(example: tuple[str, bytes]) -> None:
        attempt(prepared, example)

    run()


def test_what_is_searched_guided_has_whole_files_to_begin_with(tmp_path: Path) -> None:
    for name in GUIDED:
        (tmp_path / name).mkdir()
        prepared = TARGETS[name](tmp_path / name)
        assert prepared.seeds
        for file, content in prepared.seeds.items():
            attempt(prepared, (file, content))
