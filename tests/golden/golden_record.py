"""What is kept of the golden numbers, and what is said when one moves."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperspec.utils import results_version

FILE = Path(__file__).with_name("golden.json")
TABLE = Path(str(results_version.__file__))
COMMAND = "python tests/golden/write_golden.py"
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """Numbers that are computed together.

    Args:
        compute: Returns the numbers by name; a name begins with the part that it belongs to, as in
            ``losses.dcl/value``.
        uses: Other parts that the numbers go through: when one of these is raised, they may move.
        tolerance: Relative; wider where the code computes in float32 whatever it is given.
        slow: Whether the run is left out of the fast tests.
    """

    compute: Callable[[], dict[str, float]]
    uses: tuple[str, ...] = ()
    tolerance: float = 1e-6
    slow: bool = False

    def parts(self, numbers: Numbers) -> list[str]:
        """Return all parts that the run's numbers depend on."""
        return sorted({part_of(name) for name in numbers} | set(self.uses))


def part_of(name: str) -> str:
    return name.split("/", 1)[0]


def moved(kept: Numbers, found: Numbers, tolerance: float) -> dict[str, str]:
    """Return by name how numbers differ from the kept ones."""
    differences = {}
    for name in sorted({*kept, *found}):
        if name not in kept or name not in found:
            differences[name] = "is new" if name not in kept else "is not computed any more"
        elif not math.isclose(kept[name], found[name], rel_tol=tolerance, abs_tol=1e-12):
            share = abs(found[name] - kept[name]) / max(abs(kept[name]), 1e-300)
            differences[name] = (
                f"was {kept[name]!r} and is {found[name]!r} (relative difference {share:.1e})"
            )
    return differences


def complaint(
    differences: Mapping[str, str], uses: tuple[str, ...], table: Mapping[str, int]
) -> str:
    """Return what to do about numbers that moved, a paragraph for each part."""
    said = []
    for part in sorted({part_of(name) for name in differences}):
        own = [f"  {n} {how}" for n, how in differences.items() if part_of(n) == part]
        version = table.get(part, 0)
        said.append(
            f"The numbers of '{part}' moved:\n" + "\n".join(own) + "\n"
            "If the change was meant to be equal, it is not. If new results are meant, raise "
            f'RESULTS["{part}"] from {version} to {version + 1} in {TABLE.name} '
            f"(hyperspec/utils) and rewrite the golden numbers with `{COMMAND}`; every sweep with "
            f"jobs that use '{part}' retrains those once."
        )
        if others := [one for one in uses if one != part]:
            said.append(
                f"These numbers go through {', '.join(others)} too: where one of them moved as "
                "well, raise that one alone."
            )
    return "\n".join(said)


def digest(numbers: Numbers, versions: Mapping[str, int]) -> str:
    """Return what ties a run's numbers to the versions at which they were written."""
    text = json.dumps([dict(numbers), dict(versions)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def record(run: Run, numbers: Numbers, table: Mapping[str, int]) -> dict[str, Any]:
    """Return what the file keeps of a run."""
    versions = {part: table[part] for part in run.parts(numbers)}
    return {"digest": digest(numbers, versions), "versions": versions, "numbers": dict(numbers)}


def faults(kept: Mapping[str, Any], table: Mapping[str, int]) -> list[str]:
    """Return what is wrong with a kept run whatever is computed now."""
    found = [
        f"RESULTS['{part}'] is {table.get(part)}, but the golden numbers were written at "
        f"{version}. Rewrite them with `{COMMAND}`."
        for part, version in kept["versions"].items()
        if table.get(part) != version
    ]
    if kept["digest"] != digest(kept["numbers"], kept["versions"]):
        found.append(
            "The golden numbers were rewritten without raising a version. Take the file back, "
            f"raise the part that changed in {TABLE.name}, and write with `{COMMAND}`."
        )
    return found


def refusal(kept: Mapping[str, Any] | None, run: Run, found: Numbers,
            table: Mapping[str, int]) -> str | None:  # fmt: skip
    """Return why new numbers of a run must not be written, or None."""
    if kept is None:
        return None
    before = kept["versions"]
    lower = [part for part, version in before.items() if table.get(part, version) < version]
    if lower:
        return f"RESULTS['{lower[0]}'] was lowered; versions only rise."
    differences = {
        name: how for name, how in moved(kept["numbers"], found, run.tolerance).items()
        if name in kept["numbers"]
    }  # fmt: skip
    raised = {part for part, version in before.items() if table.get(part, 0) > version}
    # A number that goes through a raised part may move with it.
    if differences and not raised:
        return complaint(differences, run.uses, table)
    return None


def read() -> dict[str, Any]:
    if not FILE.exists():
        return {}
    kept: dict[str, Any] = json.loads(FILE.read_text())
    return kept
