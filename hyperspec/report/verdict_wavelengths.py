"""The verdict's sentence on which wavelengths carry it."""

from __future__ import annotations

from collections.abc import Sequence

from hyperspec.evaluation.importance.standing_out import StandingOut, Stretch
from hyperspec.evaluation.statistics.intervals import Interval
from hyperspec.evaluation.statistics.variance import MIN_SEEDS
from hyperspec.report.carried import Carried

_MOST = 6  # stretches that a sentence names


def wavelength_sentences(found: Sequence[Carried]) -> tuple[str, ...]:
    """Say what the best setting's encoders lean on, and those of all bands; empty if unmeasured."""
    said = []
    for place, one in enumerate(found):
        who = "The encoder" if place == 0 else "The encoder of all bands"
        said.append(_sentence(one, who))
    return tuple(said)


def stretch_words(stretch: Stretch) -> str:
    """Return both ends, such as ``358-388 nm``."""
    return f"{stretch.start_nm:.0f}-{stretch.stop_nm:.0f} nm"


def _sentence(one: Carried, who: str) -> str:
    found = one.found
    if found.reason:
        return f"Which wavelengths carry it cannot be told: {found.reason}."
    if not one.stands_out:
        of = "" if who == "The encoder" else f" of {_lower_first(who)}"
        return f"No window of {found.width_nm:g} nm stands out{of}.{_unread(found)}"
    named = [_stretch(stretch) for stretch in found.stretches[:_MOST]]
    more = len(found.stretches) - len(named)
    if more:
        named.append(f"{more} more stretches")
    text = f"{who} leans on {_joined(named)}.{_unread(found)}"
    if found.num_seeds < MIN_SEEDS:
        seeds = "one seed" if found.num_seeds == 1 else f"{found.num_seeds} seeds"
        text += f" This is of {seeds}: others may lean elsewhere."
    return text


def _stretch(stretch: Stretch) -> str:
    lost = f"without it accuracy falls by {interval_words(stretch.lost)}"
    if stretch.is_redundant:
        lost = f"it tells the label, but others stand in for it: {lost}"
    return f"{stretch_words(stretch)} ({lost})"


def interval_words(shown: Interval) -> str:
    """Return a loss of accuracy with its interval."""
    return f"{shown.mean:.2f} [{shown.low:.2f}, {shown.high:.2f}]"


def _unread(found: StandingOut) -> str:
    """Say how much of the axis the chosen bands leave out, where they leave out any."""
    unread = sum(w.told.low == w.told.high == w.lost.low == w.lost.high == 0 for w in found.windows)
    if not unread:
        return ""
    return (
        f" Its bands leave out {unread} of {len(found.windows)} windows, of which nothing is said."
    )


def _joined(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
