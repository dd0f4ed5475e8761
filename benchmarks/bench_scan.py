"""How long the scan of a large folder takes whose checksums are remembered, as each command begins.

    python benchmarks/bench_scan.py [--cubes 5000] [--repeats 3]

``kept`` lists the folder for masks once as long as it does not change, as commands do; ``listed``
lists it for each cube, as until 2026-12-01. Both take turns; seconds of the processor.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import record

from hyperspec.cubes import files, write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.spectra.axis import SpectralAxis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cubes", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    words = parser.parse_args()
    taken: dict[str, list[float]] = {"kept": [], "listed": []}
    with tempfile.TemporaryDirectory(prefix="bench-scan-") as name:
        root, axis = Path(name, "cubes"), SpectralAxis.linear(350, 800, 8)
        for i in range(words.cubes):
            write_envi(root / f"s{i:05d}.bil", np.full((8, 4, 4), i % 4000, np.uint16), axis)
        scan(root, cache_dir=Path(name))
        time.sleep(files._SETTLED_NS / 1e9 + 1)  # until the folder counts as unchanged
        for _ in range(words.repeats):
            for way, seconds in taken.items():
                settled = 10**19 if way == "listed" else files._SETTLED_NS
                with mock.patch.object(files, "_SETTLED_NS", settled):
                    start = time.process_time()
                    scan(root, cache_dir=Path(name))
                    seconds.append(time.process_time() - start)
    found = {way: statistics.median(seconds) for way, seconds in taken.items()}
    ratio = found["listed"] / found["kept"]
    print(f"{words.cubes} cubes: kept {found['kept']:.1f} s, listed {found['listed']:.1f} s")
    content = {"cubes": words.cubes, "seconds": taken, "median": found, "ratio": ratio}
    print(f"{ratio:.1f} times; wrote {record.write('scan', content | record.context(('numpy',)))}")


if __name__ == "__main__":
    main()
