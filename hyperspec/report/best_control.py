"""The control that a sweep has to leave behind: the one that its validation parts like best."""

from __future__ import annotations

from dataclasses import dataclass

from hyperspec.evaluation.metrics import (
    CLASSIFIERS,
    CONTROLS,
    Metric,
    accuracies,
    control_column,
    control_metric,
    control_words,
)
from hyperspec.report.load import SweepData


@dataclass(frozen=True)
class Control:
    """A control, and the probe by which it does best.

    Args:
        name: A key of :data:`hyperspec.evaluation.metrics.CONTROLS`.
        row: The accuracy that it is judged by; a classifier has the first of all.
        validation: Its mean over the runs on their validation parts, 0 to 1.
    """

    name: str
    row: Metric
    validation: float

    @property
    def words(self) -> str:
        """How readers know it, such as ``mean spectrum, linear probe``."""
        return control_words(self.name, self.row)

    @property
    def metric(self) -> str:
        """Name of its test accuracy in MLflow, such as ``control/lda_top1``."""
        return control_metric(self.name, self.row)

    @property
    def column(self) -> str:
        """Column of a run's control predictions that says which test rows it named rightly."""
        return control_column(self.name, self.row)


def best_control(data: SweepData) -> Control | None:
    """Return the control and probe of the highest mean validation accuracy over the runs.

    It is chosen on validation alone, so that its test accuracy is an honest one, and among those
    that every run with validation scores of controls has, so that all means are over the same runs.

    Returns:
        The control, of equals the first; None where no run logged such scores, as before 0.2.0.
    """
    jobs = data.finished
    candidates = [
        (control, row, f"metrics.{control_metric(control, row, 'val')}")
        for control in CONTROLS
        for row in (accuracies()[:1] if control in CLASSIFIERS else accuracies())
    ]
    known = [one for one in candidates if one[2] in jobs]
    scores = jobs[[column for *_, column in known]].dropna(how="all")
    found = [
        Control(control, row, float(scores[column].mean()))
        for control, row, column in known
        if len(scores) and scores[column].notna().all()
    ]
    # Rounded, so that the last digit of a mean does not choose between equals.
    return max(found, key=lambda one: round(one.validation, 9), default=None)


def best_accuracy(data: SweepData) -> Metric | None:
    """Return the encoder's accuracy that validation likes best, by its mean over the runs.

    The fair one to set against :func:`best_control`, whose probe was chosen likewise; None
    without validation scores.
    """
    jobs = data.finished
    scores = {
        row.name: float(jobs[column].mean())
        for row in accuracies()
        if (column := f"metrics.val/{row.name}") in jobs and jobs[column].notna().all()
    }
    known = [row for row in accuracies() if row.name in scores]
    return max(known, key=lambda row: round(scores[row.name], 9), default=None)
