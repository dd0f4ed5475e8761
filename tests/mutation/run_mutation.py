"""Would the tests notice a fault: mutation testing of the rooms that numbers come from.

    make mutation ARGS="--count 400 --seed 1 --processes 2"

mutmut writes every mutant of the files that `[tool.mutmut]` in pyproject.toml names into the folder
`mutants`; a draw of them is given to the fast tests of those rooms that call the mutated function.
The record holds the share that some test noticed, and the change of each one that none did. A
reason why a change may live, written into a record by hand, is taken over by later ones; that a
test was written (``noticed since by ...``) is none.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import record  # noqa: E402 - needs the path
from mutmut.__main__ import (  # noqa: E402 - the command line has no way to make mutants alone
    copy_also_copy_files,
    copy_src_dir,
    create_mutants,
    get_diff_for_mutant,
)
from mutmut.configuration import config  # noqa: E402
from mutmut.mutation.data import SourceFileMutationData  # noqa: E402
from mutmut.mutation.trampoline import set_mutant_under_test  # noqa: E402
from mutmut.stats import status_by_exit_code  # noqa: E402
from mutmut.utils.file_utils import walk_mutatable_files  # noqa: E402

NOTICED = ("killed", "timeout", "segfault")


def make(processes: int) -> dict[str, Path]:
    """Write all mutants; return their names, each with its file."""
    Path("mutants").mkdir(exist_ok=True)
    set_mutant_under_test("mutant_generation")
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(processes)
    return {name: path for path, known in _known() for name in known.exit_code_by_key}


def _known() -> list[tuple[Path, SourceFileMutationData]]:
    found = []
    for path in walk_mutatable_files():
        if config().should_mutate(path):
            known = SourceFileMutationData(path=path)
            known.load()
            found.append((path, known))
    return found


def change_of(name: str, path: Path) -> str:
    """Return the lines that a mutant takes out and puts in."""
    lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
    return "\n".join(line for line in lines if line.startswith(("-", "+")))


def reasons() -> dict[str, str]:
    """Return the reasons that earlier records give for changes."""
    found = {}
    for path in sorted(record.RESULTS.glob("mutation_*.json")):
        for one in json.loads(path.read_text())["survivors"]:
            if one["reason"] and not one["reason"].startswith("noticed since"):
                found[f"{one['file']}\n{one['change']}"] = one["reason"]
    return found


def summarise(drawn: dict[str, Path]) -> dict[str, object]:
    """Count what became of the mutants, and describe those that live."""
    codes = {name: code for _, known in _known() for name, code in known.exit_code_by_key.items()}
    status = {name: status_by_exit_code[codes[name]] for name in drawn}
    rooms: dict[str, Counter[str]] = {}
    survivors, given = [], reasons()
    for name, path in drawn.items():
        room = str(path.parent).removeprefix("hyperspec/")
        rooms.setdefault(room, Counter())[status[name]] += 1
        if status[name] not in NOTICED:
            change = change_of(name, path)
            reason = given.get(f"{path}\n{change}", "")
            one = {"name": name, "file": str(path), "status": status[name]}
            survivors.append({**one, "change": change, "reason": reason})
    noticed = sum(one in NOTICED for one in status.values())
    return {
        "drawn": len(drawn),
        "noticed": noticed,
        "share": round(noticed / len(drawn), 4),
        "rooms": rooms,
        "survivors": survivors,
    }


def main() -> None:
    """Make mutants, draw some, give them to the tests, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="only mutants whose name holds this")
    words = parser.parse_args()
    files = {name: path for name, path in make(words.processes).items() if words.only in name}
    names = random.Random(words.seed).sample(sorted(files), min(words.count, len(files)))
    print(f"{len(names)} of {len(files)} mutants", flush=True)
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(words.processes)]
    subprocess.run([*command, *names], check=True)
    found = summarise({name: files[name] for name in sorted(names)})
    packages = ("mutmut", "pytest", "torch")
    path = record.write("mutation", record.context(packages) | {"mutants": len(files)} | found)
    print(f"{found['noticed']} of {found['drawn']} noticed: {path}")


if __name__ == "__main__":
    main()
