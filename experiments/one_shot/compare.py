"""The table of README.md from what run.py wrote: compare.py OUT.csv ..."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from hyperspec.evaluation.one_shot import Key, compare_one_shot


def main(paths: list[Path]) -> int:
    table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    seeds = [
        seed
        for seed, part in table.groupby("seed")
        if part[part["kind"] == "retrained"]["n"].max() == table["n"].max()
    ]
    sides: dict[str, dict[Key, np.ndarray]] = {"one_shot": {}, "retrained": {}}
    for (kind, strategy, n), part in table[table["seed"].isin(seeds)].groupby(
        ["kind", "strategy", "n"]
    ):
        wide = part.pivot(index="seed", columns="row", values="knn_correct")
        sides[kind][strategy, int(n)] = wide.to_numpy(np.float64)
    rows = table.drop_duplicates("row").sort_values("row")
    found = compare_one_shot(**sides, specimens=rows["specimen"].tolist())
    print(found.markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main([Path(word) for word in sys.argv[1:]]))
