"""``hyperspec importance``: which wavelengths an encoder leans on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import (
    add_checkpoint,
    checkpoints_from,
    restored_from,
    words_of,
)
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    import pandas as pd

    from hyperspec.evaluation.importance.perturbation import Importance
    from hyperspec.evaluation.importance.report import Contrast
    from hyperspec.inference.restore import Restored

MODES = ("mean", "interpolation", "permutation", "gradient")


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "importance",
        help="measure which wavelengths an encoder leans on",
        description="Replace a sliding window of wavelengths on held-out specimens and measure "
        "how far the embedding moves and how many answers of the linear probe are lost. Several "
        "checkpoints (one per seed, same bands) give intervals over seeds too.",
    )
    add_checkpoint(parser, several=True)
    add = parser.add_argument
    add("--mode", default="mean,interpolation,permutation", metavar="A,B,...",
        help="mean, interpolation, permutation (what replaces a window), gradient (integrated "
        "gradients; extra 'importance')")  # fmt: skip
    add("--window", type=float, default=20.0, metavar="NM", help="width of the window (20)")
    add("--step", type=float, metavar="NM", help="distance of windows (half a window)")
    add("--permutations", type=int, default=4, help="donors per specimen for permutation (4)")
    add("--mark", metavar="A:B,...", help="stretches in nm to shade and to compare with the median "
        "elsewhere, such as 365:381,695:705")  # fmt: skip
    add("--labels-column", default="label", metavar="NAME", help="what the probe names (label)")
    add("--part", choices=["validation", "test"], default="test")
    add("--seed", type=int, default=0, help="seed of permutations")
    add("--out", type=Path, default=Path("importance"), metavar="DIR", help="folder to write")
    add("--run", metavar="RUN", help="MLflow run that the files are added to, by name or id")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Measure, print, draw and write."""
    modes = words_of(words.mode, "--mode")
    wrong = [mode for mode in modes if mode not in MODES]
    if wrong:
        raise ConfigError(f"--mode holds '{wrong[0]}'; choose from {', '.join(MODES)}.")
    regions = parse_regions(words.mark)
    run_id = None if words.run is None else run_from(words, words.run)
    checkpoints = checkpoints_from(words, words.checkpoints)
    encoders = [restored_from(words, path) for path in checkpoints]
    _check_alike(encoders)
    import pandas as pd

    from hyperspec.evaluation.importance.report import (
        contrast_regions,
        importance_table,
        write_importance,
    )
    from hyperspec.inference.importance import range_of

    with progress("Measuring which wavelengths the encoder leans on"):
        measured = [_measure(one, modes, words) for one in encoders]
    tables, contrasts = [], []
    for results in zip(*measured, strict=True):  # one mode of every encoder
        tables.append(importance_table(results))
        if regions:
            contrasts += contrast_regions(results, regions)
    table = pd.concat(tables, ignore_index=True)
    print_importance(table, contrasts)
    ends = range_of(encoders[0])
    files = write_importance(table, words.out, regions_nm=regions, range_nm=ends)
    for path in files:
        print(f"wrote {path}")
    if run_id is not None:
        from hyperspec.tracking.client import open_client, resolve_uri
        from hyperspec.tracking.contract import Folder

        for path in files:
            open_client(resolve_uri(words.uri)).log_artifact(run_id, str(path), Folder.IMPORTANCE)
        print(f"added both to run {run_id}")
    return 0


def _measure(one: Restored, modes: Sequence[str], words: argparse.Namespace) -> list[Importance]:
    from hyperspec.inference.importance import measure_importance

    return measure_importance(
        one,
        modes,
        window_nm=words.window,
        step_nm=words.step,
        part=words.part,
        labels_column=words.labels_column,
        num_permutations=words.permutations,
        seed=words.seed,
    )


def run_from(words: argparse.Namespace, name: str) -> str:
    """Return the identity of the run that a name means.

    Raises:
        TrackingError: If there is none, or several.
    """
    from hyperspec.tracking.client import resolve_uri
    from hyperspec.tracking.run_index import find_run, read_index

    uri = resolve_uri(words.uri)
    return find_run(read_index(uri, name), name, uri).run_id


def parse_regions(text: str | None) -> list[tuple[float, float]]:
    """Return stretches such as ``365:381,695:705`` as pairs of nanometres.

    Raises:
        ConfigError: If one is no ascending pair of numbers.
    """
    found = []
    for word in [] if text is None else words_of(text, "--mark"):
        try:
            start, stop = (float(value) for value in word.split(":"))
        except ValueError:
            start, stop = 1.0, 0.0
        if not start < stop:
            raise ConfigError(f"--mark holds '{word}'; give START:STOP in nm, such as 365:381.")
        found.append((start, stop))
    return found


def _check_alike(encoders: Sequence[Restored]) -> None:
    first = encoders[0]
    for other in encoders[1:]:
        same_bands = other.material.selection.indices == first.material.selection.indices
        if not same_bands or other.material.split.hash != first.material.split.hash:
            raise ConfigError(
                "The checkpoints differ in "
                f"{'their split' if same_bands else 'their bands'}, so their importance cannot be "
                "averaged. Give checkpoints that differ in their seed only (of one rotation)."
            )


def print_importance(table: pd.DataFrame, contrasts: Sequence[Contrast]) -> None:
    """Print the leading windows of each mode, and the marked stretches against the rest."""
    for mode, rows in table.groupby("mode", sort=False):
        leading = rows.nlargest(5, "change")
        words = [
            f"{row['centre_nm']:.0f} nm {row['change']:.3f} [{row['change_low']:.3f}, "
            f"{row['change_high']:.3f}]"
            for _, row in leading.iterrows()
        ]
        median = rows["change"].median()
        print(f"{mode}: median of {len(rows)} windows {median:.4f}; highest " + ", ".join(words))
    for one in contrasts:
        inside, gap = one.inside, one.difference
        print(
            f"{one.mode}, {one.start_nm:g}-{one.stop_nm:g} nm: {inside.mean:.3f} [{inside.low:.3f},"
            f" {inside.high:.3f}]; above the median elsewhere by {gap.mean:.3f} [{gap.low:.3f}, "
            f"{gap.high:.3f}]; higher than {one.share_below:.0%} of the windows elsewhere"
        )
