"""The verdict's sentence on what the labels of the training part bought."""

from __future__ import annotations

from hyperspec.report.paired_tests import NO_LABELS, Difference, Differences
from hyperspec.report.wording import gap_text, needed_text


def label_sentence(found: Differences) -> str:
    """Say whether ``loss=supcon`` did better than the same setting without labels; empty without.

    Of several settings the one with the most bands is told; the page's table has all.
    """
    rows = [row for row in found.rows if row.family == NO_LABELS]
    if not rows:
        return ""
    row = max(rows, key=lambda one: one.point.n)
    against = row.against.removeprefix(f"{NO_LABELS} ").strip("()")
    setting = f"{row.point.strategy}, {row.point.n} bands; beside {against}"
    return f"{_finding(row)} ({setting})."


def _finding(row: Difference) -> str:
    test = row.test
    if test is None or test.reason:
        why = "predictions were not logged" if test is None else needed_text(test)
        return (
            "Whether labels in the loss bought anything cannot be told: "
            f"{100 * row.mean:+.0f} points, {why}"
        )
    gap = gap_text(test)
    if test.verdict == "better":
        return f"Labels in the loss bought {gap}"
    if test.verdict == "worse":
        return f"Labels in the loss cost accuracy: {gap}"
    if test.verdict == "as good as":
        return f"Labels in the loss bought nothing: {gap}"
    return f"Whether labels in the loss bought anything is undecided: {gap}; {needed_text(test)}"
