"""How long until a command says something, and until it is done.

    python benchmarks/bench_first_output.py [--repeats 3] [--only WORD ...] [--beside CHECKOUT]

On 48 synthetic cubes of 408 bands and a sweep of six tiny jobs, each command in a fresh process, as
it is typed: seconds until its first line (of either stream), seconds and processor seconds in all;
the median of the repeats. Also how long wrong words take to their message. ``--beside`` runs each
command with the code of another checkout too, in turn (``git worktree add FOLDER COMMIT``).
"""

from __future__ import annotations

import argparse
import os
import resource
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

TINY = "model=tiny data.size=16 epochs=3 batch_size=16"
COMMANDS = [
    "",
    "--help",
    "train --help",
    "options bands",
    "completion bash",
    "check specimens",
    "start specimens",
    "info CUBE --out info",
    "views CUBE --out views",
    "bands specimens --n 10",
    "plan data.root=specimens bands.n=50",
    "pack specimens data.size=24",
    f"train data.root=specimens bands.n=50 seed=REPEAT {TINY}",
    f"train -m data.root=specimens bands.n=10,50 {TINY} sweep.dry_run=true",
    "report latest",
    "results latest",
    "evaluate latest specimens",
    "embed latest specimens --out embeddings.parquet",
    "importance latest specimens",
    "explore latest specimens",
    "signatures specimens",
]
WRONG = [
    "tarin",
    "train --hlep",
    "train bands=uniforn",
    "train data.root=specimens bands.n=500",
    "train data.root=nowhere",
    "evaluate latets specimens",
    "evaluate nothing.ckpt specimens",
    "check nowhere",
]


def timed(words: list[str], folder: Path, code: Path) -> tuple[float, float, float]:
    """Run a command; return seconds to its first line and its end, and those of the processor."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hyperspec", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(code)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    first = None
    with selectors.DefaultSelector() as streams:
        for stream in (process.stdout, process.stderr):
            streams.register(stream, selectors.EVENT_READ)
        while streams.get_map():
            for key, _ in streams.select():
                if os.read(key.fd, 65536):
                    first = first or time.perf_counter() - begun
                else:
                    streams.unregister(key.fileobj)
    process.wait()
    took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took if first is None else first, took, spent


def measured(
    command: str, folder: Path, cube: str, repeats: int, codes: dict[str, Path]
) -> dict[str, dict[str, float]]:
    """Run a command with each checkout in turn; return the medians by what the checkout is."""
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in codes}
    for k in range(repeats):
        for place, (name, code) in enumerate(codes.items()):
            turn = str(k * len(codes) + place + 1)  # a seed that no run had: it would be taken over
            values = {"CUBE": cube, "REPEAT": turn}
            words = [values.get(w, w.replace("REPEAT", turn)) for w in command.split()]
            seen[name].append(timed(words, folder, code))
    keys = ("first", "seconds", "processor")
    return {
        name: {
            key: round(statistics.median(column), 2)
            for key, column in zip(keys, zip(*rows, strict=True), strict=True)
        }
        for name, rows in seen.items()
    }


def main() -> None:
    """Time all and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="commands by their first word")
    parser.add_argument("--beside", type=Path, help="another checkout, for a row 'before'")
    options = parser.parse_args()
    codes = {"now": Path(__file__).resolve().parents[1]}
    if options.beside is not None:
        codes = {"before": options.beside.resolve(), **codes}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesise(folder / "specimens", SynthSettings(num_specimens=3))
        cube = next((folder / "specimens").glob("*D_*.bil")).relative_to(folder)
        sweep = ["train", "-m", "data.root=specimens", "bands.n=5,10,20,30,40,50", *TINY.split()]
        subprocess.run(
            [sys.executable, "-m", "hyperspec", *sweep],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in (*COMMANDS, *WRONG):
            if options.only and command.partition(" ")[0] not in options.only:
                continue
            found = measured(command, folder, str(cube), options.repeats, codes)
            row = {"command": f"hyperspec {command}".strip(), "wrong": command in WRONG}
            row |= found["now"]
            if "before" in found:
                row["before"] = found["before"]
            rows.append(row)
            for kind, one in found.items():
                shown = f"{one['first']:6.2f} {one['seconds']:7.2f} {one['processor']:7.2f}"
                print(f"{shown}  {kind:6} {row['command']}", flush=True)
    record.write("first_output", record.context(("hyperspec-sweeps", "torch")) | {"rows": rows})


if __name__ == "__main__":
    main()
