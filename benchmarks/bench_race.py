"""What a race saves, and whether it concludes what the full grid does, on grids of known truth.

    python benchmarks/bench_race.py [--trials 400] [--specimens 256 1024] [--seed 0]

Grids of three strategies, 10 to 408 bands, three seeds and four rotations. A specimen's image is
right when a latent sum of standard normals lies below the quantile of its setting's accuracy
(:mod:`truth_model`); validation and test parts are other specimens with the same trainings. Each
grid is run whole and as a race (``hyperspec.sweeps.race``), and its verdict on how few bands do as
well as the most is drawn by the package's own tests, from the most down. Counted are trainings, all
of the same steps; claims; and false ones, of a number of bands that is worse by the margin or more.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import record
from numpy.typing import NDArray
from scipy.special import ndtri
from truth_model import SHARES

from hyperspec.evaluation.statistics.paired import equivalence_test
from hyperspec.sweeps.race import Setting, finalists, training_order

COUNTS = (10, 20, 50, 100, 200, 408)
SEEDS, ROTATIONS, IMAGES = 3, 4, 2
FIRST, MARGIN, SEED_SD = 2, 0.02, 0.02
# Accuracy by strategy and number of bands. `planted`: as experiments/strategies found to 50 bands.
TRUTHS = {
    "planted": {
        "uniform": (0.29, 0.44, 0.99, 0.99, 0.99, 0.99),
        "random": (0.43, 0.81, 0.99, 0.99, 0.99, 0.99),
        "variance": (0.21, 0.24, 0.44, 0.60, 0.80, 0.99),
    },
    "graded": {
        "uniform": (0.33, 0.45, 0.60, 0.70, 0.80, 0.86),
        "random": (0.30, 0.40, 0.60, 0.70, 0.78, 0.86),
        "ocf": (0.50, 0.60, 0.70, 0.80, 0.85, 0.86),
    },
    # Every claim of fewer bands is false, by a hair.
    "at the margin": dict.fromkeys(("uniform", "random", "ocf"), (0.84,) * 5 + (0.86,)),
    "alike": dict.fromkeys(("uniform", "random", "ocf"), (0.97,) * 6),
    "guessing": dict.fromkeys(("uniform", "random", "ocf"), (0.125,) * 6),
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """One grid: nominal accuracies, validation scores, and test answers of M settings."""

    settings: list[Setting]
    accuracy: Floats
    validation: Floats  # (M, SEEDS, ROTATIONS)
    right: NDArray[np.bool_]  # (M, SEEDS, specimens, IMAGES)
    folds: NDArray[np.intp]


def draw(truth: dict[str, tuple[float, ...]], specimens: int, rng: np.random.Generator) -> Drawn:
    """Draw a grid; all strategies have the same training on all bands."""
    settings = [Setting(name, float(n), ()) for name in truth for n in COUNTS]
    accuracy = np.array([value for row in truth.values() for value in row])
    folds, shape = np.arange(specimens) % ROTATIONS, (len(settings), SEEDS, specimens, IMAGES)
    room = np.minimum(accuracy, 1 - accuracy)[:, None, None] - 0.001
    effect = rng.standard_normal((shape[0], SEEDS, ROTATIONS))
    effect = (effect + rng.standard_normal((shape[0], SEEDS, 1))) / np.sqrt(2) * SEED_SD
    rate = accuracy[:, None, None] + np.clip(effect, -room, room)
    common = _normal(rng, (1, 1, specimens, 1), "specimen")
    common = common + _normal(rng, (1, 1, specimens, IMAGES), "image")
    common = common + _normal(rng, (shape[0], 1, specimens, 1), "setting")
    trained = _normal(rng, (*shape[:3], 1), "seed")

    def answers(tested_in: NDArray[np.intp]) -> NDArray[np.bool_]:
        found = common + trained + _normal(rng, shape, "rest")
        found = found < ndtri(rate[:, :, tested_in])[..., None]
        whole = [i for i, one in enumerate(settings) if one.count == COUNTS[-1]]
        found[whole] = found[whole[0]]
        return found

    # The validation part of a rotation is the test part of the next.
    right, validated = answers(folds), answers((folds - 1) % ROTATIONS)
    parts = [validated[:, :, (folds - 1) % ROTATIONS == k].mean((2, 3)) for k in range(ROTATIONS)]
    return Drawn(settings, accuracy, np.stack(parts, -1), right, folds)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], share: str) -> Floats:
    return rng.standard_normal(shape) * np.sqrt(SHARES[share])


def fewest(grid: Drawn, run: Sequence[int]) -> tuple[int | None, bool]:
    """Return which setting a report puts as the fewest bands that do as well, and if it is false.

    The curve is that of the setting that validation puts first among those that were run.
    """
    lead = max(run, key=lambda i: (grid.validation[i].mean(), -grid.settings[i].count))
    curve = [i for i in run if grid.settings[i].curve == grid.settings[lead].curve]
    curve.sort(key=lambda i: grid.settings[i].count)
    most, found = curve[-1], None
    units = np.repeat(np.arange(len(grid.folds)), IMAGES)
    for i in reversed(curve[:-1]):
        first, second = (grid.right[k].reshape(SEEDS, -1) for k in (i, most))
        test = equivalence_test(
            first, second, units, margin=MARGIN, folds=np.repeat(grid.folds, IMAGES)
        )
        if test.verdict not in ("as good as", "better"):
            break
        found = i
    worse = found is not None and grid.accuracy[most] - grid.accuracy[found] >= MARGIN - 1e-9
    return found, worse


@dataclass(frozen=True)
class Row:
    """Of one truth: shares of trainings and of grids."""

    truth: str
    specimens: int
    trainings_median: float
    trainings_95th: float
    claims_grid: float
    claims_race: float
    false_grid: float
    false_race: float
    bands_grid: float
    bands_race: float


def simulate(truth: str, trials: int, specimens: int, seed: int) -> Row:
    """Run grids of one truth, whole and as races."""
    rng = np.random.default_rng([seed, specimens, len(truth)])
    first = training_order(SEEDS, ROTATIONS)[:FIRST]
    steps, claims, false, bands = [], [], [], []
    for _ in range(trials):
        grid = draw(TRUTHS[truth], specimens, rng)
        scores = np.stack([grid.validation[:, i, j] for i, j in first], 1)
        kept = finalists(grid.settings, scores, MARGIN)
        every, turns = len(grid.settings), SEEDS * ROTATIONS
        steps.append((every * FIRST + len(kept) * (turns - FIRST)) / (every * turns))
        ends = [fewest(grid, run) for run in (range(every), kept)]
        claims.append([found is not None for found, _ in ends])
        false.append([worse for _, worse in ends])
        bands.append([COUNTS[-1] if i is None else grid.settings[i].count for i, _ in ends])
    shares = [np.mean(values, 0) for values in (claims, false, bands)]
    both = [round(float(value), 4) for pair in shares for value in pair]
    return Row(truth, specimens, float(np.median(steps)), float(np.quantile(steps, 0.95)), *both)


def main() -> None:
    """Simulate all truths, print a table and keep a record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--specimens", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    print("specimens truth         trainings (95%)  claims: grid race  false  bands")
    for specimens, truth in itertools.product(options.specimens, TRUTHS):
        row = simulate(truth, options.trials, specimens, options.seed)
        print(
            f"{specimens:9d} {truth:13s} {row.trainings_median:.2f} ({row.trainings_95th:.2f})"
            f"      {row.claims_grid:.3f} {row.claims_race:.3f}        {row.false_grid:.3f}"
            f" {row.false_race:.3f}      {row.bands_grid:.0f} {row.bands_race:.0f}",
            flush=True,
        )
        rows.append(asdict(row))
    asked = {**vars(options), "first": FIRST, "margin": MARGIN, "seed_sd": SEED_SD}
    content = {**record.context(("numpy", "scipy")), "asked": asked, "results": rows}
    print(record.write("race", content))


if __name__ == "__main__":
    main()
