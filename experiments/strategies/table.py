"""Join what the strategies pick and what encoders trained on their bands reach: tables, a picture.

    python experiments/strategies/table.py --picks FILE --sweeps strategies/sweeps/*

Accuracies are means over seeds on held-out specimens with 95% intervals over seeds and
specimens; differences to `uniform` and `random` are paired by both.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyperspec.evaluation.statistics.intervals import Interval, mean_interval
from hyperspec.evaluation.statistics.paired import paired_interval
from hyperspec.report.load import SweepData, load_sweep

BASELINES = ("uniform", "random")
PROBES = ("knn", "linear")


class Scores:
    """Whether each image was right, seeds × images, for each strategy and number of bands."""

    def __init__(self, data: SweepData) -> None:
        self.tables: dict[tuple[str, int, str], pd.DataFrame] = {}
        self.specimens: pd.Series[str] | None = None
        grouped = data.finished.groupby([data.finished.apply(name_of, axis=1), "n"])
        for (name, n), jobs in grouped:
            by_seed = {int(job.seed): data.predictions(job.run_id) for job in jobs.itertuples()}
            for probe in PROBES:
                self.tables[name, int(n), probe] = pd.DataFrame(
                    {s: t.set_index("file")[f"{probe}_correct"] for s, t in by_seed.items()}
                ).T.astype(float)
            if self.specimens is None:
                self.specimens = next(iter(by_seed.values())).set_index("file")["specimen"]

    def groups(self, table: pd.DataFrame) -> np.ndarray[Any, Any]:
        assert self.specimens is not None
        return self.specimens[table.columns].to_numpy()

    def mean(self, name: str, n: int, probe: str) -> Interval:
        table = self.tables[name, n, probe]
        return mean_interval(table.to_numpy(), self.groups(table))

    def minus(self, name: str, n: int, reference: str) -> Interval | None:
        one, other = (self.tables.get((which, n, "knn")) for which in (name, reference))
        if one is None or other is None or name == reference:
            return None
        seeds = one.index.intersection(other.index)
        one, other = one.loc[seeds], other.loc[seeds, one.columns]
        return paired_interval(one.to_numpy(), other.to_numpy(), self.groups(one))


def name_of(job: pd.Series[Any]) -> str:
    """Return the strategy; of Fisher's ratio also how pairs of classes are joined."""
    pairs = job.get("params.bands.pairs")
    return f"fisher {pairs}" if job["strategy"] == "fisher" else str(job["strategy"])


def rows(scores: Scores, picks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    known = {(pick["strategy"], pick["n"]): pick for pick in picks}
    for name, n in sorted({key[:2] for key in scores.tables}, key=lambda key: (key[1], key[0])):
        yield {
            "strategy": name,
            "n": n,
            "pick": known.get((name, n)),
            **{probe: scores.mean(name, n, probe) for probe in PROBES},
            **{f"minus_{b}": scores.minus(name, n, b) for b in BASELINES},
        }


def markdown(found: list[dict[str, Any]]) -> str:
    """Return one table for each number of bands, best k-NN first."""
    parts = []
    for n in sorted({row["n"] for row in found}):
        chosen = sorted((r for r in found if r["n"] == n), key=lambda r: -r["knn"].mean)
        windows = next(list(r["pick"]["hits"]) for r in chosen if r["pick"])
        head = ["strategy", *[f"{w} met" for w in windows], "redundancy", "stability"]
        head += ["test k-NN", "linear probe", "k-NN − uniform", "k-NN − random"]
        lines = [f"### n = {n}", "", _line(head), _line(["---"] * len(head))]
        lines += [
            _line([f"`{r['strategy']}`", *_pick(r["pick"], windows), *_accuracy(r)]) for r in chosen
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _pick(pick: dict[str, Any] | None, windows: list[str]) -> list[str]:
    if pick is None:
        return ["–"] * (len(windows) + 2)
    hits = [f"{pick['hits'][w]}/{pick['sets']}" for w in windows]
    value, low, high = pick["stability"]
    return [*hits, _number(pick["redundancy"]), f"{value:.2f} [{low:.2f}, {high:.2f}]"]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _accuracy(row: dict[str, Any]) -> list[str]:
    means = [f"{i.mean:.2f} [{i.low:.2f}, {i.high:.2f}]" for i in (row[p] for p in PROBES)]
    gaps = (row[f"minus_{b}"] for b in BASELINES)
    return means + [
        "–" if g is None else f"{g.mean:+.2f} [{g.low:+.2f}, {g.high:+.2f}]" for g in gaps
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw k-NN accuracy by strategy, one panel for each number of bands, in one order."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    counts = sorted({row["n"] for row in found})
    order = sorted(
        {row["strategy"] for row in found},
        key=lambda s: np.mean([row["knn"].mean for row in found if row["strategy"] == s]),
    )
    size = (3 * len(counts), 0.28 * len(order) + 1.6)
    figure, axes = plt.subplots(1, len(counts), figsize=size, sharey=True, layout="constrained")
    for axis, n in zip(np.atleast_1d(axes), counts, strict=True):
        for row in (r for r in found if r["n"] == n):
            place, score = order.index(row["strategy"]), row["knn"]
            colour = "#d55e00" if row["strategy"] in BASELINES else "#0072b2"
            axis.plot([score.low, score.high], [place, place], color=colour, lw=2, alpha=0.5)
            axis.plot(score.mean, place, "o", color=colour, ms=5)
        axis.axvline(1 / 8, color="0.6", ls=":", lw=1)
        axis.set(title=f"n = {n}", xlim=(0, 1.03), xlabel="test k-NN accuracy")
        axis.set_yticks(range(len(order)), order)
        axis.grid(axis="y", alpha=0.2)
    figure.suptitle(
        "Encoders on the bands that each strategy picks (orange: baselines; dotted: chance)"
    )
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sweeps", nargs="+", required=True, help="folders or run ids of sweeps")
    parser.add_argument("--picks", type=Path, required=True, help="what picks.py wrote")
    parser.add_argument("--uri", help="MLflow tracking URI")
    parser.add_argument("--out", type=Path, default=Path("strategies"))
    words = parser.parse_args()
    scores = Scores(load_sweep(words.uri, words.sweeps))
    found = list(rows(scores, json.loads(words.picks.read_text())))
    words.out.mkdir(parents=True, exist_ok=True)
    (words.out / "tables.md").write_text(markdown(found))
    draw(found, words.out / "accuracy_by_strategy.png")
    print(f"wrote {words.out / 'tables.md'} and {words.out / 'accuracy_by_strategy.png'}")


if __name__ == "__main__":
    main()
