"""Keep what `make coverage` found: the share of branches taken, of the package and of each room.

A branch is one way out of a line that has several; a line that no test reaches counts with all its
own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import record

FOUND = Path(__file__).parents[1] / "build/coverage.json"


def main() -> None:
    """Read coverage.py's report and write the record."""
    content = json.loads(FOUND.read_text())
    rooms: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    missing: dict[str, int] = {}
    for name, file in content["files"].items():
        summary = file["summary"]
        taken, all_of_them = summary["covered_branches"], summary["num_branches"]
        room = rooms[name.split("/")[1]]
        room[0], room[1] = room[0] + taken, room[1] + all_of_them
        missing[name] = all_of_them - taken
    totals = content["totals"]
    shares = {
        "branches": totals["num_branches"],
        "share_of_branches": round(totals["covered_branches"] / totals["num_branches"], 4),
        "lines": totals["num_statements"],
        "share_of_lines": round(totals["covered_lines"] / totals["num_statements"], 4),
        "rooms": {
            name: round(taken / count, 4) if count else 1.0
            for name, (taken, count) in sorted(rooms.items())
        },
        "most_missing": dict(sorted(missing.items(), key=lambda one: -one[1])[:20]),
    }
    path = record.write("coverage", record.context(("coverage", "pytest", "torch")) | shares)
    print(f"{shares['share_of_branches']:.1%} of {shares['branches']} branches: {path}")


if __name__ == "__main__":
    main()
