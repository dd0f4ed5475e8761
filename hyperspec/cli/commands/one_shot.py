"""``hyperspec one-shot``: can a one-shot curve be believed? Its points against retrained ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_uri, write_text
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from hyperspec.evaluation.one_shot import Key
    from hyperspec.report.load import SweepData

    Said = dict[tuple[str, int, float], pd.DataFrame]
    ByRotation = dict[tuple[str, int, float], dict[str, pd.DataFrame]]


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "one-shot", help="compare a one-shot curve with encoders trained on each of its sets"
    )
    for option, name in (("--curve", "one_shot_curve"), ("--retrained", "one_shot_retrain")):
        told = f"of experiment={name}: its study, identity or folder"
        parser.add_argument(option, required=True, nargs="+", metavar="SWEEP", help=told)
    add_uri(parser)
    parser.add_argument("--out", type=Path, help="file that the table is written to (Markdown)")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Print the table, the rank correlation and the mean difference."""
    with progress("Comparing"):
        from hyperspec.evaluation.one_shot import compare_one_shot
        from hyperspec.report.load import load_sweep

        curve, jobs = (load_sweep(words.uri, one) for one in (words.curve, words.retrained))
        check_one_cohort(curve, jobs)
        once, alone = curve_said(curve), retrained_said(jobs)
        one_shot, retrained, specimens = paired(once, alone)
        found = compare_one_shot(one_shot, retrained, specimens, num_resamples=words.resamples)
    text = found.markdown()
    print(text, end="")
    if words.out is not None:
        write_text(words.out, text)
    return 0


def check_one_cohort(*sweeps: SweepData) -> None:
    """Refuse jobs of other data, labels or splits: their answers are to different questions.

    Raises:
        ConfigError: Naming what differs.
    """
    import pandas as pd

    from hyperspec.report.cohorts import divide
    from hyperspec.report.load import SweepData

    infos = tuple(info for one in sweeps for info in one.sweeps)
    jobs = pd.concat([one.jobs for one in sweeps], ignore_index=True)
    found = divide(SweepData(infos, jobs))
    if len(found) > 1:
        raise ConfigError(
            "The sweeps cannot be held against each other: "
            f"{'; '.join(one.title for one in found)}. Give sweeps of one objective on the same "
            "specimens, labels and split."
        )


def curve_said(data: SweepData) -> Said:
    """Return what one-shot encoders said of the test part, by strategy, n and seed."""
    from hyperspec.report.job_artifacts import read_table
    from hyperspec.tracking.contract import Artifact

    found: ByRotation = {}
    for job in data.finished.itertuples(index=False):
        place = str(job.artifact_uri), str(job.run_id), str(job.uri)
        table = read_table(*place, Artifact.CURVE_PREDICTIONS)
        if table is None:
            continue
        for (strategy, n), part in table.groupby(["strategy", "n"]):
            key = (str(strategy), int(str(n)), float(str(job.seed)))
            found.setdefault(key, {})[str(job.rotation)] = part
    return _pooled(found)


def retrained_said(data: SweepData) -> Said:
    """Return what encoders trained on single sets said of the test part, by the same keys."""
    found: ByRotation = {}
    for job in data.finished.itertuples(index=False):
        table = data.predictions(str(job.run_id))
        if table is not None:
            key = (str(job.strategy), int(float(str(job.n))), float(str(job.seed)))
            found.setdefault(key, {})[str(job.rotation)] = table
    return _pooled(found)


def _pooled(found: ByRotation) -> Said:
    """Put the rotations of a seed, which test different specimens, into one table."""
    import pandas as pd

    return {key: pd.concat(tables.values()) for key, tables in found.items()}


def paired(
    once: Said, alone: Said
) -> tuple[dict[Key, np.ndarray], dict[Key, np.ndarray], list[str]]:
    """Return both sides as (seeds, images) per point, on the seeds and images that all share.

    Raises:
        ConfigError: If there are fewer than three common points, or no common seed or image.
    """
    import numpy as np

    points = sorted({key[:2] for key in once} & {key[:2] for key in alone})
    seeds = sorted(
        set.intersection(
            {key[2] for key in once},
            *({key[2] for key in side if key[:2] == p} for side in (once, alone) for p in points),
        )
    )
    if len(points) < 3 or not seeds:
        raise ConfigError(
            f"The sweeps share {len(points)} sets of bands and {len(seeds)} seeds; a comparison "
            "needs three sets and one seed on both sides. Run experiment=one_shot_retrain on the "
            "strategies, counts and seeds of the curve."
        )
    sides = [
        {p: [side[(*p, s)].set_index("file") for s in seeds] for p in points}
        for side in (once, alone)
    ]
    tables = [table for side in sides for of_point in side.values() for table in of_point]
    files = sorted(set.intersection(*(set(table.index) for table in tables)))
    if not files:
        raise ConfigError(
            "The sweeps share no test image: they were run on other data or with another split."
        )
    specimens = [str(name) for name in tables[0].loc[files, "specimen"]]
    one_shot, retrained = (
        {
            p: np.stack([t.loc[files, "knn_correct"].to_numpy(np.float64) for t in of_point])
            for p, of_point in side.items()
        }
        for side in sides
    )
    return one_shot, retrained, specimens
