"""What each strategy picks on ten sets of specimens that another seed made each.

    python experiments/strategies/picks.py --out strategies/picks.json

For every strategy and number of bands: on how many sets it puts a band into each planted window,
mean absolute correlation of its bands, and how far the ten choices agree. The sets share nothing
but the species, which is harder than resampling one set. `random` is drawn with the set's seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hyperspec.bands import STRATEGIES, Fisher, Random, Strategy
from hyperspec.bands.diagnostics import stability
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.testing.synthetic.design import Window, build_design
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

# The demo's training part: 8 specimens of each species.
SPECIMENS, SIZE = 8, 32
WITHOUT_COUNT = ("full", "list", "rgb")


def strategies(n: int, seed: int) -> dict[str, Strategy]:
    found = {
        name: kind(n=n)  # type: ignore[call-arg]
        for name, kind in STRATEGIES.items()
        if name not in (*WITHOUT_COUNT, "random", "fisher")
    }
    found |= {f"fisher {pairs}": Fisher(n=n, pairs=pairs) for pairs in ("mean", "cover")}
    return {"random": Random(n=n, seed=seed), **found}


def statistics_of(folder: Path) -> SpectralStatistics:
    catalogue = scan(folder, labels=CsvLabels())
    preparer = Preparer(catalogue, PrepareSettings(size=SIZE))
    return SpectralStatistics.merge(
        [preparer.prepare(r).statistics.with_class(str(r.label)) for r in catalogue.records]
    )


def choose(
    counts: Sequence[int], seeds: Sequence[int]
) -> Iterator[tuple[str, int, float, BandSelection]]:
    """Yield strategy, count, redundancy and bands, set by set."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "specimens"
            synthesise(folder, SynthSettings(num_specimens=SPECIMENS, size=SIZE, seed=seed))
            statistics = statistics_of(folder)
        for n in counts:
            for word, strategy in strategies(n, seed).items():
                chosen = strategy.select(statistics.axis, statistics)
                yield word, n, chosen.redundancy(statistics.correlation), chosen
        print(f"set {seed}: chosen", flush=True)


def meets(chosen: BandSelection, window: Window) -> bool:
    return bool((np.abs(chosen.wavelengths_nm - window.centre_nm) <= window.fwhm_nm / 2).any())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    windows = build_design("planted").windows
    found: dict[tuple[str, int], list[tuple[float, BandSelection]]] = {}
    for word, n, redundancy, chosen in choose(words.counts, range(words.sets)):
        found.setdefault((word, n), []).append((redundancy, chosen))
    rows = []
    for (word, n), choices in found.items():
        agreed = stability([c.indices for _, c in choices], len(choices[0][1].axis))
        rows.append(
            {
                "strategy": word,
                "n": n,
                "sets": len(choices),
                "hits": {w.name: sum(meets(c, w) for _, c in choices) for w in windows},
                "hits_all": sum(all(meets(c, w) for w in windows) for _, c in choices),
                "redundancy": float(np.mean([r for r, _ in choices])),
                "stability": [agreed.value, agreed.low, agreed.high],
            }
        )
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"wrote {words.out}")


if __name__ == "__main__":
    main()
