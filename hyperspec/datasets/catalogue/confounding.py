"""Whether the date of the scan gives the label away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

# Half of what guessing by the most common label leaves open.
WARN_ABOVE = 0.5


def date_problem(rows: Sequence[tuple[str | None, str, str | None]]) -> str | None:
    """Describe how well the scan date alone tells the label, when it does.

    Lamps age and are exchanged: where each species was scanned on its own day, an encoder may
    learn the day. Each specimen's label is guessed from the other specimens of its date; a date
    with one specimen tells nothing.

    Args:
        rows: (label, specimen, date) of each cube.

    Returns:
        A warning, or None when the date tells little or labels or dates are unknown.
    """
    known = {(s, d): lab for lab, s, d in rows if lab is not None and d is not None}
    labels = Counter(known.values())
    if len(labels) < 2 or len({date for _, date in known}) < 2:
        return None
    by_date: dict[str, Counter[str]] = {}
    for (_, date), label in known.items():
        by_date.setdefault(date, Counter())[label] += 1
    right = 0
    for (_, date), label in known.items():
        others = by_date[date] - Counter([label])
        # On a draw between labels the guess counts as wrong.
        right += others[label] > max((n for k, n in others.items() if k != label), default=0)
    share, chance = right / len(known), max(labels.values()) / len(known)
    if share - chance <= WARN_ABOVE * (1 - chance):
        return None
    return (
        f"the scan date alone tells the label of {share:.0%} of the specimens (the most common "
        f"label: {chance:.0%}), so an encoder may learn the day instead of the species. Scan "
        "several species per day, or hold out whole dates."
    )
