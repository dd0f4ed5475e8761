from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hyperspec.tracking.client import Connection
from hyperspec.tracking.run import JobRun, start_run

NUM_SPECIMENS = 16
SPECIES = 8


@dataclass
class FakeSweep:
    """Writes runs as training does, with scores that a test knows."""

    connection: Connection
    parent: JobRun
    folder: Path

    def job(
        self,
        strategy: str,
        n: int,
        seed: int = 0,
        knn: float = 0.5,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        predictions: bool = False,
        labelled: bool = True,
        tags: Mapping[str, str] | None = None,
    ) -> JobRun:
        """Log one finished job; ``knn`` is its k-NN accuracy on the test part."""
        scores = {"objective": knn - 0.01, "val/knn_top1": knn - 0.01}
        for probe, value in {"knn": knn, "linear": min(knn + 0.05, 1.0)}.items():
            scores[f"test/{probe}_top1"] = value
            scores[f"test/{probe}_top1_low"] = value - 0.1
            scores[f"test/{probe}_top1_high"] = min(value + 0.1, 1.0)
            scores[f"control/untrained_{probe}_top1"] = 0.3
            scores[f"control/mean_spectrum_{probe}_top1"] = 0.35
        if not labelled:
            scores = {"objective": knn, "val/view_retrieval_top1": knn}
        scores |= metrics or {}
        run = start_run(
            self.connection,
            f"{strategy} n={n:03d} seed={seed}",
            parent_run_id=self.parent.run_id,
            tags={
                "hyperspec.bands.strategy": strategy,
                "hyperspec.bands.n": str(n),
                "hyperspec.bands.wavelengths_nm": str([400.0 + 10 * i for i in range(n)]),
                "hyperspec.data.num_classes": str(SPECIES),
                **(tags or {}),
            },
            params={
                "bands": strategy,
                "bands.count": str(n),
                "objective": "auto",
                "lr": "0.001",
                "seed": str(seed),
                **({} if strategy in ("rgb", "full") else {"bands.n": str(n)}),
                **(params or {}),
            },
        )
        with run:
            run.log_metrics(scores, 100)
            if predictions:
                path = self.folder / "test_predictions.csv"
                predictions_table(knn, seed).to_csv(path, index=False)
                run.log_artifact(path, "evaluation")
        return run


def predictions_table(knn: float, seed: int) -> pd.DataFrame:
    """Two views of each specimen; the share ``knn`` of rows right, drawn by the seed."""
    rows = 2 * NUM_SPECIMENS
    right = np.random.default_rng(seed).permutation(rows) < round(knn * rows)
    specimens = [f"s{i % SPECIES}/{i}" for i in range(NUM_SPECIMENS) for _ in "DV"]
    return pd.DataFrame(
        {
            "file": [f"{s}{v}.bil" for s, v in zip(specimens, "DV" * NUM_SPECIMENS, strict=True)],
            "specimen": specimens,
            "label": [s.split("/")[0] for s in specimens],
            "knn": "s0",
            "linear": "s0",
            "knn_correct": right,
            "linear_correct": right,
        }
    )
