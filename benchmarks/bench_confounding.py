"""How often confounding is warned of, and how often where there is none: docs/checking.md.

    python benchmarks/bench_confounding.py [--draws 1000]

Two species over eight sessions: each specimen is scanned in one of its species' own four sessions
with probability .75 (confounded) or .5 (not), with the session alone, and with a column beside it
that says nothing.
"""

from __future__ import annotations

import argparse

import numpy as np
import record

from hyperspec.datasets.catalogue.confounding import associations

SIZES = (24, 48, 64, 120)


def warned(share: float, size: int, beside: bool, random: np.random.Generator) -> bool:
    """Draw a set of specimens; say whether any of its columns is warned of."""
    labels = np.repeat([0, 1], size // 2)
    home = np.where(random.random(size) < share, labels, 1 - labels)
    columns = {"session": [f"s{4 * own + random.integers(4)}" for own in home]}
    if beside:
        columns["operator"] = [f"o{value}" for value in random.integers(0, 3, size)]
    keys = [str(i) for i in range(size)]
    return any(one.warned for one in associations([f"l{x}" for x in labels], keys, columns))


def main() -> None:
    """Draw, print a row per size, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    random, rows = np.random.default_rng(0), []
    for size in SIZES:
        row: dict[str, float] = {"specimens": size}
        for share, name in ((0.75, "confounded"), (0.5, "not")):
            for beside in (False, True):
                hits = [warned(share, size, beside, random) for _ in range(options.draws)]
                row[f"{name}, {'two columns' if beside else 'session'}"] = float(np.mean(hits))
        rows.append(row)
        print(row, flush=True)
    print(record.write("confounding", record.context(("numpy", "scipy")) | {"rows": rows}))


if __name__ == "__main__":
    main()
