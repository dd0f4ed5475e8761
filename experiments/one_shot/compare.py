"""The tables of README.md from what run.py wrote: compare.py OUT.csv ... [--seeds 0,1,2]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from hyperspec.evaluation.one_shot import Key, compare_one_shot


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--seeds", default="0,1,2", help="points that all of these have are shown")
    words = parser.parse_args()
    seeds = [int(text) for text in words.seeds.split(",")]
    table = pd.concat([pd.read_csv(path) for path in words.tables], ignore_index=True)
    table = table[table["seed"].isin(seeds)]
    sides: dict[str, dict[Key, np.ndarray]] = {"one_shot": {}, "retrained": {}}
    for (kind, strategy, n), part in table.groupby(["kind", "strategy", "n"]):
        wide = part.pivot(index="seed", columns="row", values="knn_correct")
        whole = wide.shape == (len(seeds), table["row"].nunique())
        if whole and wide.notna().all(axis=None):
            sides[kind][strategy, int(n)] = wide.to_numpy(np.float64)
    rows = table.drop_duplicates("row").sort_values("row")
    found = compare_one_shot(**sides, specimens=rows["specimen"].tolist())
    print(found.markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
