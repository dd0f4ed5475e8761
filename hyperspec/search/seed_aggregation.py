"""What a study is told of a trial that ran with several seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def pooled(
    values: Sequence[Sequence[float]],
    directions: Sequence[str],
    tell: str = "mean",
    confidence: float = 0.8,
) -> list[float]:
    """Fold what each seed reached into one value per objective.

    The mean, or the cautious end of its one-sided interval, mean - t s / sqrt(k), with the standard
    deviation s of the k seeds (k - 1 in its denominator) and the quantile t of Student's
    distribution with k - 1 degrees of freedom. For an objective to minimise it is the upper end,
    mean + t s / sqrt(k): of two equal means the steadier one is better in both cases.

    Args:
        values: Of each seed one value per objective, all finite.
        directions: ``maximize`` or ``minimize`` per objective.
        tell: ``mean`` or ``lower``.
        confidence: Of the one-sided interval, 0.5 to 1, both excluded.

    Source: Student 1908, "The probable error of a mean".
    """
    count = len(values)
    columns = list(zip(*values, strict=True))
    means = [statistics.fmean(column) for column in columns]
    if tell == "mean" or count < 2:
        return means
    from scipy.stats import t as student

    reach = float(student.ppf(confidence, count - 1)) / math.sqrt(count)
    return [
        mean + (reach if direction == "minimize" else -reach) * statistics.stdev(column)
        for mean, column, direction in zip(means, columns, directions, strict=True)
    ]
