"""The one table of metrics: what each is called, which way is better, and where it is shown.

Read by objectives, searches, scores while training, the printed result and the report, at the time
of use, so that a row that a user's module adds counts everywhere. The order of the rows is the
order in which reports show them. Light on purpose: composing a config reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

Direction = Literal["maximize", "minimize"]
NUM_BANDS = "bands.n"  # bands that the encoder sees, as an objective and as a metric of such runs
PARTS = {"val": "validation", "test": "test", "train": "training"}
# What a curve must leave behind, none of it trained contrastively, in the order of reports.
CONTROLS = {
    "untrained": "untrained encoder",
    "mean_spectrum": "mean spectrum",
    "image_stats": "image statistics",
    "random_features": "random features",
    "pls_da": "PLS-DA",
    "lda": "LDA",
    "rgb_encoder": "RGB encoder",
}
CLASSIFIERS = ("pls_da", "lda")  # controls that name rows themselves: no probe, one accuracy
CONTROL_PREFIXES = {"val": "control_val/", "test": "control/"}
CLASSES = "classes"
BEST = "best/val_"  # before the best of a leading score while training


@dataclass(frozen=True)
class Metric:
    """One row.

    Args:
        name: Without the part: ``knn_top1`` is logged as ``val/knn_top1`` and ``test/knn_top1``.
            What is no score of a part has its whole name.
        label: In few words, for the head of a column; the name by default.
        evaluator: What measures it; empty for what training itself logs.
        range: For readers; empty for what is no measure of an embedding, such as a probe's C.
        direction: Which way is better.
        chance: What a blind guess reaches: the name of the metric that says it, or ``classes`` for
            1 / number of labels. The latter are accuracies, with a right or wrong for each row:
            they are drawn against the number of bands, and the first is compared in pairs.
        needs: What specimens of a part must have: ``labels``, several named ``views``, several
            ``images``, or nothing.
        phrase: How charts say it.
        leading: Whether it may stand for the encoder where nobody says what to optimise: default
            objective, what a search stops a run by, best score so far. The first that the data
            allow is taken.
        objective: Whether it may be optimised.
        printed: Part whose value a run of its own prints at its end; empty for none.
        column: Whether the report's table and the one-shot curve show it.
    """

    name: str
    label: str = ""
    evaluator: str = ""
    range: str = ""
    direction: Direction = "maximize"
    chance: str = ""
    needs: Literal["", "labels", "views", "images"] = ""
    phrase: str = "{label} ({part})"
    leading: bool = False
    objective: bool = True
    printed: Literal["", "val", "test"] = ""
    column: bool = False

    @property
    def title(self) -> str:
        """The label, or the name where there is none."""
        return self.label or self.name

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a share of rows that were named rightly."""
        return self.chance == CLASSES

    @property
    def key(self) -> str:
        """What tables of predictions call it: the evaluator of an accuracy, else the name."""
        return self.evaluator if self.is_accuracy else self.name

    @property
    def correct(self) -> str:
        """Column of a table of predictions that says which rows an accuracy named rightly."""
        return f"{self.key}_correct"

    def words(self, part: str) -> str:
        """Return how charts say its value on a part, such as ``validation accuracy (k-NN)``."""
        return self.phrase.format(label=self.title, part=PARTS[part])


def _accuracy(name: str, label: str, evaluator: str, *, leading: bool = False) -> Metric:
    return Metric(
        name, label, evaluator, "0 to 1", chance=CLASSES, needs="labels",
        phrase="{part} accuracy ({label})", leading=leading, printed="test", column=True,
    )  # fmt: skip


_ROWS = (
    _accuracy("knn_top1", "k-NN", "knn", leading=True),
    Metric("knn_balanced", "k-NN, balanced", "knn", "0 to 1", needs="labels"),
    _accuracy("linear_top1", "linear probe", "linear"),
    Metric("linear_balanced", "linear probe, balanced", "linear", "0 to 1", needs="labels"),
    Metric("linear_C", "C of the linear probe", "linear", needs="labels", objective=False),
    Metric(
        "majority_share", "share of the most frequent label", range="0 to 1", needs="labels",
        objective=False,
    ),
    Metric(  # of parts without training rows, such as what is held out
        "knn_other_specimens", "k-NN of other specimens", "knn", "0 to 1", needs="labels",
        objective=False,
    ),
    Metric(
        "retrieval_map", "mean average precision", "retrieval", "0 to 1",
        chance="retrieval_map_chance", needs="labels",
    ),
    Metric(
        "retrieval_map_chance", "precision by chance", "retrieval", "of unordered rows",
        needs="labels", objective=False,
    ),
    Metric("nmi", "NMI of clusters", "clusters", "0 to 1", needs="labels"),
    Metric("ari", "ARI of clusters", "clusters", "0 by chance, at most 1", needs="labels"),
    Metric("silhouette", "silhouette of labels", "clusters", "-1 to 1", needs="labels"),
    Metric(
        "view_retrieval_top1", "view retrieval", "view_retrieval", "0 to 1",
        chance="view_retrieval_chance", needs="views", phrase="{part} {label}", leading=True,
    ),
    Metric(
        "view_retrieval_chance", "view retrieval by chance", "view_retrieval", "0 to 1",
        needs="views", objective=False,
    ),
    Metric(
        "alignment", "alignment", "alignment", "0 to 4, lower: nearer", "minimize", needs="images"
    ),
    Metric("uniformity", "uniformity", "alignment", "to 0, lower: more even", "minimize"),
    Metric(
        "rankme", "RankMe", "rankme", "1 to min(rows, features)", leading=True, printed="val"
    ),
    Metric(
        "window_retrieval_top1", "retrieval between windows", range="0 to 1",
        chance="window_retrieval_chance",
    ),
    Metric(
        "window_retrieval_chance", "retrieval between windows by chance", range="0 to 1",
        objective=False,
    ),
    Metric("loss", "loss", direction="minimize", phrase="{part} {label}", objective=False),
    Metric(NUM_BANDS, "number of bands", direction="minimize"),
    Metric("cost/train_seconds", "training time (s)", direction="minimize"),
    Metric("cost/peak_memory_mb", "peak memory (MB)", direction="minimize"),
    Metric("cost/samples_per_second", "specimen images per second"),
)  # fmt: skip
METRICS: dict[str, Metric] = {row.name: row for row in _ROWS}


def metric_of(name: str) -> Metric:
    """Return the row of a logged metric, such as ``val/knn_top1``; a bare one where it has none."""
    bare = name.rpartition("/")[2]
    return METRICS.get(name) or METRICS.get(bare) or Metric(bare)


def natural_direction(name: str) -> Direction:
    """Say whether more or less of a metric is better: scores up, bands, time, memory, loss down.

    An end of a score's interval (``_low``, ``_high``) and the best of its training
    (``best/val_...``) go the way of the score.
    """
    return metric_of(name if name in METRICS else score_of(name)).direction


def score_of(name: str) -> str:
    """Return the score that a metric is an end of, or the best of; any other as it is."""
    if name.startswith(BEST):
        return f"val/{name.removeprefix(BEST)}"
    return name.removesuffix("_low").removesuffix("_high")


def measured(
    evaluators: Collection[str], windows: Collection[str] = (), every_n_epochs: int = 0
) -> list[str]:
    """Return the names of all that a run may be optimised by, in the order of reports.

    Args:
        evaluators: What scores it.
        windows: Names of the windows of wavelengths that it compares.
        every_n_epochs: Epochs between scores while it trains; 0 for none.
    """
    rows = [row for row in METRICS.values() if row.objective]
    scores = [row.name for row in rows if row.evaluator in evaluators]
    best = [name for name in scores if METRICS[name].leading] if every_n_epochs else []
    if windows:
        pairs = [f"window_retrieval_{a}_{b}" for a, b in permutations(windows, 2)]
        scores += ["window_retrieval_top1", *pairs]
    whole = [row.name for row in rows if not row.evaluator and not row.range]
    return [*(f"val/{name}" for name in scores), *whole, *(f"{BEST}{name}" for name in best)]


def leading() -> list[str]:
    """Return by what an encoder is judged where nobody says so, the best that data allow first."""
    return [row.name for row in METRICS.values() if row.leading]


def columns() -> list[Metric]:
    """Return the metrics of the report's table, in its order."""
    return [row for row in METRICS.values() if row.column]


def accuracies() -> list[Metric]:
    """Return those of the table that are accuracies."""
    return [row for row in columns() if row.is_accuracy]


def main_accuracy() -> Metric:
    """Return the accuracy by which settings are compared in pairs."""
    return accuracies()[0]


def in_words(name: str) -> str:
    """Return a logged metric as a reader says it; its own name where it has no row."""
    part, _, bare = name.rpartition("/")
    if name in METRICS:
        return METRICS[name].title
    return METRICS[bare].words(part) if part in PARTS and bare in METRICS else name


def control_metric(control: str, row: Metric, part: str = "test") -> str:
    """Return under which name a control's score is logged, such as ``control/lda_top1``.

    A classifier has one accuracy and one balanced accuracy, whichever probe's row is asked for.
    """
    name = row.name
    if control in CLASSIFIERS:
        name = "top1" if row.is_accuracy else name.removeprefix(f"{row.evaluator}_")
    return f"{CONTROL_PREFIXES[part]}{control}_{name}"


def control_column(control: str, row: Metric) -> str:
    """Return the column of the controls' table that says whether each test row was named rightly.

    Args:
        control: A key of :data:`CONTROLS`.
        row: The accuracy that the encoder is judged by; a classifier has one column for all.
    """
    return f"{control}_correct" if control in CLASSIFIERS else f"{control}_{row.key}_correct"


def control_words(control: str, row: Metric) -> str:
    """Return how readers know a control's accuracy, such as ``mean spectrum, linear probe``."""
    words = CONTROLS[control]
    return words if control in CLASSIFIERS else f"{words}, {row.title}"


def printed() -> Iterator[tuple[str, str]]:
    """Yield name and words of what a run of its own prints: test scores, controls, validation."""
    main = main_accuracy()
    for part in ("test", "val"):
        for row in METRICS.values():
            if row.printed == part:
                short = f"{PARTS[part]} {row.title}" if row.is_accuracy else row.words(part)
                yield f"{part}/{row.name}", short
        if part == "test":
            for control in CONTROLS:
                yield control_metric(control, main), control_words(control, main)
