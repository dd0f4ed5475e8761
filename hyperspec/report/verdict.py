"""What a report comes to, in two or three sentences: was it training, how few bands, what is open.

The sentences are made here and nowhere else, from typed results, for the page, the terminal, the
tables and MLflow. Settings, probes and the control are chosen by validation alone, so that what is
said of the test part was not chosen on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hyperspec.evaluation.metrics import Metric
from hyperspec.evaluation.statistics.intervals import MIN_SPECIMENS
from hyperspec.evaluation.statistics.paired import Equivalence
from hyperspec.evaluation.statistics.variance import MIN_SEEDS
from hyperspec.report.best_control import Control, best_accuracy
from hyperspec.report.carried import Carried
from hyperspec.report.confounder_table import told_by_features
from hyperspec.report.load import SweepData
from hyperspec.report.paired_tests import BandCount, Differences, setting_words
from hyperspec.report.pairing import Pairs
from hyperspec.report.summary import Point, Score, Summary
from hyperspec.report.verdict_labels import label_sentence
from hyperspec.report.verdict_wavelengths import wavelength_sentences
from hyperspec.report.wording import band_count_sentence, gap_text, needed_text
from hyperspec.tracking.contract import Param

_SEEDS_WORDS = "seed=0,1,2"


@dataclass(frozen=True)
class Tested:
    """What stands behind a verdict.

    Args:
        specimens: Tested specimens.
        images: Their images.
        seeds: Fewest seeds of a setting.
        rotations: Test parts that took turns; 1 for one split.
        total: Specimens of the folder; 0 where unknown.
        guessing: Share of the most frequent label among the tested images.
        group: Column whose values are kept together (``data.split.group``); empty without.
        groups: Its tested values.
    """

    specimens: int
    images: int
    seeds: int
    rotations: int
    total: int = 0
    guessing: float = float("nan")
    group: str = ""
    groups: int = 0

    @property
    def has_few(self) -> bool:
        """Whether so few specimens, or groups of them, were tested that no interval is given."""
        return (self.groups if self.group else self.specimens) < MIN_SPECIMENS


@dataclass(frozen=True)
class Training:
    """The setting that validation puts first, beside the control that validation likes best.

    Args:
        point: The setting.
        score: Its test accuracy by the probe that validation likes best.
        probe: That probe, such as ``k-NN``.
        control: The control; None where runs kept no validation scores of any.
        beside: Its test accuracy.
        test: The two in pairs; None where they share fewer than two seeds.
    """

    point: Point
    score: Score
    probe: str
    control: Control | None = None
    beside: float = float("nan")
    test: Equivalence | None = None


@dataclass(frozen=True)
class Verdict:
    """What a report comes to.

    Args:
        tested: What stands behind it; None where no accuracy was tested.
        objective: What settings are ranked by.
        guessing: Accuracy of naming the most frequent label; NaN where unknown.
        training: Whether training adds anything.
        bands: How few bands do as well, of the strategy and setting that validation puts first;
            None where one number was run, or seeds are too few to compare.
        counts: Whether several numbers of bands were run.
        margin: Difference of accuracy that does not matter.
        confounders: What else the features tell above chance, such as ``session``.
        windows: Which wavelengths the best setting, and all bands, lean on; empty if unmeasured.
        labels: What labels in the loss bought, in a sentence; empty where no pair ran.
    """

    tested: Tested | None
    objective: str
    guessing: float = float("nan")
    training: Training | None = None
    bands: BandCount | None = None
    counts: bool = False
    margin: float = float("nan")
    confounders: tuple[str, ...] = ()
    windows: tuple[Carried, ...] = ()
    labels: str = ""

    @property
    def beats_guessing(self) -> bool | None:
        """Whether the accuracy's interval lies above guessing; None where there is none."""
        score = self.training.score if self.training else None
        if score is None or math.isnan(score.low) or math.isnan(self.guessing):
            return None
        return score.low > self.guessing

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict in a biologist's words, what matters most first."""
        if self.tested is None or self.training is None:
            return (
                "No accuracy was tested, for want of labels or of finished jobs: settings are "
                f"ranked by {self.objective} on the validation part, and whether training or a "
                "number of bands does better cannot be told.",
            )
        behind = f"Tested on {_behind(self.tested)}: "
        if self.beats_guessing is False:
            score = self.training.score
            text = (
                f"{behind}it is not shown that the labels are told better than by guessing, "
                f"{_score(score)} where guessing reaches {self.guessing:.2f}. So neither training "
                f"nor the number of bands can be judged here.{_more_specimens(self.tested)}"
            )
            return (text, *wavelength_sentences(self.windows[:1]), *_cautions(self))
        found = [behind + _of_training(self.training, self.tested)]
        if self.counts:
            found.append(_of_bands(self.bands, self.margin))
        found += [self.labels] if self.labels else []
        return (*found, *wavelength_sentences(self.windows), *_cautions(self))


def conclude(
    data: SweepData, summary: Summary, found: Differences, windows: tuple[Carried, ...] = ()
) -> Verdict:
    """Draw the verdict of a report from its points and paired comparisons.

    Args:
        data: The sweeps.
        summary: Their points, in the order of the validation objective.
        found: Their paired comparisons.
        windows: Which wavelengths they lean on.
    """
    if summary.part != "test" or not summary.accuracies:
        return Verdict(None, summary.objective_name)
    first = summary.points[0]
    accuracy = best_accuracy(data) or summary.accuracies[0]
    score = first.scores.get(accuracy.key)
    tested = _tested(data, summary)
    if tested is None or score is None:
        return Verdict(None, summary.objective_name)
    curve = (first.strategy, setting_words(first))
    of_curve = [count for count in found.counts if (count.strategy, count.setting) == curve]
    return Verdict(
        tested,
        summary.objective_name,
        tested.guessing,
        _training(data, summary.control, first, accuracy, score, found.margin.value),
        of_curve[0] if of_curve else None,
        len({point.n for point in summary.points}) > 1,
        found.margin.value,
        told_by_features(data, first),
        windows,
        label_sentence(found),
    )


def _training(
    data: SweepData,
    control: Control | None,
    point: Point,
    accuracy: Metric,
    score: Score,
    margin: float,
) -> Training:
    if control is None:
        return Training(point, score, accuracy.title)
    jobs = data.finished[data.finished["run_id"].isin(point.run_ids)]
    beside = float(jobs[f"metrics.{control.metric}"].mean())
    pairs = Pairs(data, margin)
    pair = pairs.control_pair(point, accuracy.correct, control.column)
    test = None if pair is None else pairs.tests([pair])[0]
    return Training(point, score, accuracy.title, control, beside, test)


def _tested(data: SweepData, summary: Summary) -> Tested | None:
    first = summary.points[0]
    tables = [table for run in first.run_ids if (table := data.predictions(run)) is not None]
    if not tables:
        return None
    every = pd.concat(tables)
    jobs = data.finished[data.finished["run_id"].isin(first.run_ids)]
    rotations = jobs["rotation"].nunique() if "rotation" in jobs else 0
    column = f"params.{Param.NUM_SPECIMENS}"
    told = pd.to_numeric(jobs[column], errors="coerce") if column in jobs else pd.Series([math.nan])
    total = told.max()
    grouped = "group" in every
    return Tested(
        every["specimen"].nunique(),
        every["file"].nunique(),
        summary.num_seeds,
        max(rotations, 1),
        0 if np.isnan(total) else int(total),
        float(every.drop_duplicates("file")["label"].value_counts(normalize=True).max()),
        data.unit if grouped else "",
        every["group"].nunique() if grouped else 0,
    )


def _behind(tested: Tested) -> str:
    text = _count(tested.specimens, "specimen")
    if tested.images != tested.specimens:
        text += f" ({_count(tested.images, 'image')})"
    if tested.group:
        text += f" of {_count(tested.groups, tested.group)}"
    if tested.rotations > 1:
        text += f", each in one of {tested.rotations} rotations"
    return f"{text}, {_count(tested.seeds, 'seed')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _score(score: Score) -> str:
    if math.isnan(score.low):
        return f"{score.mean:.2f} (no interval)"
    return f"{score.mean:.2f} [{score.low:.2f}, {score.high:.2f}]"


def _of_training(training: Training, tested: Tested) -> str:
    score, control, test = training.score, training.control, training.test
    reached = f"the encoder reaches {_score(score)} ({training.probe})"
    if control is None:
        text = f"{reached}; no control was scored beside it, so what training adds is not known."
        decides = tested.seeds >= MIN_SEEDS and not tested.has_few
        return text if decides else f"{text} {_missing(tested)}"
    beside = f"{control.words}, {training.beside:.2f}"
    if test is None or test.reason:
        return (
            f"whether training adds anything cannot be told: {reached}, the best control "
            f"({control.words}) {training.beside:.2f}. {_missing(tested)}"
        )
    gap = gap_text(test)
    if test.verdict == "better":
        return f"training adds {gap} to the best control ({beside}); {reached}."
    if test.verdict == "as good as":
        return f"training adds nothing to the best control ({beside}): {gap}; {reached}."
    if test.verdict == "worse":
        return f"training does worse than the best control ({beside}): {gap}; {reached}."
    if test.difference.mean <= 0:
        text = f"training shows no gain over the best control ({beside}): {gap}; {reached}"
    else:
        text = (
            f"it cannot be told whether training adds anything to the best control ({beside}): "
            f"{gap}; {reached}"
        )
    return f"{text}. {_first_upper(needed_text(test))}."


def _of_bands(bands: BandCount | None, margin: float) -> str:
    """Say how few bands do as well; what keeps that from being told is said of training before."""
    if bands is None:
        return "Nor can it be told how few bands do as well."
    stop = bands.stopped_at
    if bands.fewest is None and stop is not None and stop[1].reason:
        return f"Nor can it be told how few bands do as well as {bands.most.n}."
    return band_count_sentence(bands, margin)


def _more_specimens(tested: Tested) -> str:
    """Say how more of the folder's specimens are tested; empty where all are."""
    if tested.rotations > 1 or tested.total <= tested.specimens:
        return ""
    return f" data.split.rotate=4 tests all {tested.total} specimens."


def _missing(tested: Tested) -> str:
    """Say what keeps a verdict from being given, and the words that give one."""
    if tested.has_few:
        unit = _count(tested.groups, tested.group) if tested.group else "specimens"
        what = f"Only {unit} were tested" if tested.group else "So few specimens were tested"
        return f"{what}, too few for an interval.{_more_specimens(tested) or ' Scan more.'}"
    if tested.seeds < MIN_SEEDS:
        return (
            f"{_first_upper(_count(tested.seeds, 'seed'))} cannot tell chance from effect: run "
            f"{MIN_SEEDS} ({_SEEDS_WORDS})."
        )
    return "The single predictions of the test part were not logged."


def _cautions(verdict: Verdict) -> tuple[str, ...]:
    if not verdict.confounders:
        return ()
    named = " and ".join(verdict.confounders)
    return (
        f"Caution: the features also tell {named} above chance. Whether the labels are told by it "
        f"shows with data.split.group={verdict.confounders[0]}.",
    )


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
