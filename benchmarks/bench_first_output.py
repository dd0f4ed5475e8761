"""How long until a command says something, and until it is done.

    python benchmarks/bench_first_output.py [--repeats 3]

On 48 synthetic cubes of 408 bands and a sweep of two tiny jobs, each command in a fresh process, as
it is typed: seconds until its first line (of either stream), seconds and processor seconds in all;
the median of the repeats. Also how long wrong words take to their message.
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


def timed(words: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a command; return seconds to its first line and its end, and those of the processor."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hyperspec", *words],
        cwd=folder,
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


def main() -> None:
    """Time all and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesise(folder / "specimens", SynthSettings(num_specimens=3))
        cube = next((folder / "specimens").glob("*D_*.bil")).relative_to(folder)
        sweep = ["train", "-m", "data.root=specimens", "bands.n=10,50", *TINY.split()]
        subprocess.run(
            [sys.executable, "-m", "hyperspec", *sweep],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in (*COMMANDS, *WRONG):
            seen = [
                timed(
                    [str(cube) if w == "CUBE" else w.replace("REPEAT", str(k + 1)) for w in words],
                    folder,
                )
                for k, words in enumerate([command.split()] * options.repeats)
            ]
            first, took, spent = (statistics.median(one) for one in zip(*seen, strict=True))
            rows.append(
                {
                    "command": f"hyperspec {command}".strip(),
                    "wrong": command in WRONG,
                    "first": round(first, 2),
                    "seconds": round(took, 2),
                    "processor": round(spent, 2),
                }
            )
            print(f"{first:6.2f} {took:7.2f} {spent:7.2f}  {rows[-1]['command']}", flush=True)
    record.write("first_output", record.context(("hyperspec-sweeps", "torch")) | {"rows": rows})


if __name__ == "__main__":
    main()
