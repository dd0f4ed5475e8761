"""Whether something beside the animal, such as the session of the scan, gives the label away.

Lamps age and are exchanged, operators place specimens differently: where each species was scanned
in its own sessions, an encoder may learn the session. Whether a column and the label hang together
is tested by permuting the labels over specimens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hyperspec.datasets.catalogue.records import Catalogue, Problem
from hyperspec.datasets.grouping import Columns, Grouping
from hyperspec.evaluation.statistics.label_permutation import Units
from hyperspec.utils.errors import ConfigError

USUAL = (
    *("session", "date", "scan_date", "day", "operator", "drawer", "tray", "box", "batch"),
    *("instrument", "scanner", "camera", "sensor", "lamp"),
)
"""Names that are taken for confounders where ``data.confounders`` says nothing."""

LEVEL = 0.05  # of false warnings, over all columns of a folder together


@dataclass(frozen=True)
class Association:
    """How a column and the label hang together.

    Args:
        columns: Name of the column, and of others that divide the specimens alike.
        num_specimens: Specimens with label and value.
        num_values: Different values.
        neighbours: Whether values were too many to repeat, so that neighbouring numbers or dates
            were taken together.
        accuracy: Share of specimens, 0 to 1, whose label is guessed rightly from the other
            specimens of the same value (of the whole folder where there are none; draws between
            labels count by halves, thirds, ...).
        chance: Share of the most common label.
        p: Of the permutation test, with Holm's correction over the columns of the folder; NaN where
            nothing can be tested.
        reason: Why nothing can be tested; else empty.
        example: The most common value that occurs with two labels; None where there is none.
        rare: A label that occurs with fewer than three values, and with how many; None without.
    """

    columns: tuple[str, ...]
    num_specimens: int
    num_values: int
    neighbours: bool = False
    accuracy: float = float("nan")
    chance: float = float("nan")
    p: float = float("nan")
    reason: str = ""
    example: str | None = None
    rare: tuple[str, int] | None = None

    @property
    def warned(self) -> bool:
        """Whether the test says that column and label hang together."""
        return self.p <= LEVEL

    @property
    def name(self) -> str:
        """The column's name, such as ``session`` or ``session (date alike)``."""
        first, *others = self.columns
        return f"{first} ({', '.join(others)} alike)" if others else first

    @property
    def text(self) -> str:
        """What was found, in one line."""
        if self.reason:
            return f"{self.name}: {self.reason}"
        hint = ", neighbouring values taken together" if self.neighbours else ""
        return (
            f"{self.name}: tells the label of {self.accuracy:.0%} of {self.num_specimens} "
            f"specimens (the most common label: {self.chance:.0%}), p = {self.p:.2g}{hint}"
        )

    @property
    def warning(self) -> str:
        """What was found and what to do, with the words to type."""
        column = self.columns[0]
        together = " (neighbouring values taken together)" if self.neighbours else ""
        return (
            f"confounds label and {self.name}: they hang together (p = {self.p:.2g}, permutation "
            f"test), and {column}{together} alone tells the label of {self.accuracy:.0%} of "
            f"{self.num_specimens} specimens (the most common label: {self.chance:.0%}). An "
            f"encoder may learn the {column} instead of the label. {self._advice(column)}"
        )

    def _advice(self, column: str) -> str:
        if self.neighbours:
            return (
                f"Hardly two specimens share a {column}: add a column of whole periods to the "
                "labels, such as session, and keep them apart with data.split.group=session."
            )
        out = ""
        if self.example is not None:
            out = f"\"data.split.hold_out=['{column}={self.example}']\""
        if self.rare is None:
            also = f", or one out of all parts with {out}" if out else ""
            return f"Keep each {column} in one part with data.split.group={column}{also}."
        label, number = self.rare
        also = f" Or keep one out of all parts with {out}." if out else ""
        return (
            f"Scan specimens of each label under three values of {column} or more ('{label}' has "
            f"{number}); then data.split.group={column} keeps each in one part.{also}"
        )


def chosen_confounders(
    columns: Columns, labels: Sequence[str | None], named: Sequence[str] | None
) -> dict[str, list[str | None]]:
    """Return the columns that should not tell the label.

    Args:
        columns: Columns of the labels.
        labels: Label of each image.
        named: ``data.confounders``; None takes those of the usual names (:data:`USUAL`) that have
            values, except for one that is the label itself.

    Raises:
        ConfigError: If a named column is not there or is the label; the message lists what is.
    """
    filled = {
        name: list(values)
        for name, values in columns.items()
        if any(value is not None for value in values)
    }
    label = list(labels)
    if named is None:
        usual = {name: v for name, v in filled.items() if name.strip().casefold() in USUAL}
        return {name: values for name, values in usual.items() if values != label}
    for name in named:
        if name not in filled:
            raise ConfigError(
                f"data.confounders names '{name}', which the labels do not have. Their columns: "
                f"{', '.join(sorted(filled)) or 'none'}. Name some of these, or take the usual "
                "ones that are there (data.confounders=null)."
            )
        if filled[name] == label:
            raise ConfigError(
                f"data.confounders names '{name}', which is the label itself. Take it out, or "
                "choose another label (data.labels.column)."
            )
    return {name: filled[name] for name in named}


def examine(
    catalogue: Catalogue, named: Sequence[str] | None, group: str | None
) -> tuple[list[Association], list[Problem]]:
    """Test the confounders of a folder; warn of those that the split does not keep apart.

    Args:
        catalogue: The folder's specimens and labels.
        named: ``data.confounders``.
        group: ``data.split.group``: of a column whose values it keeps in one part nothing is
            warned.

    Returns:
        What was found of each column, and the warnings.

    Raises:
        ConfigError: If a named column is not there.
        SplitError: If the split cannot be grouped by its column.
    """
    labels = [record.label for record in catalogue.records]
    specimens = [record.specimen for record in catalogue.records]
    columns = catalogue.label_columns
    confounders = chosen_confounders(columns, labels, named)
    grouping = None if group is None else Grouping.of(group, specimens, columns)
    found = associations(labels, specimens, confounders)

    def apart(one: Association) -> bool:
        return grouping is not None and grouping.holds(confounders[one.columns[0]])

    return found, [
        Problem(".", "warning", one.warning) for one in found if one.warned and not apart(one)
    ]


def associations(
    labels: Sequence[str | None], specimens: Sequence[str], confounders: Columns
) -> list[Association]:
    """Test for each column whether it and the label hang together.

    The unit is the specimen (with each of its labels, where it has several); one of several values
    counts in equal shares for each. The statistic is Pearson's chi-squared of the table of labels
    by values, without values that one specimen alone has; its distribution is that of 1999
    permutations of the labels over specimens, with a fixed seed, so that small and uneven tables
    have their p-value too: (b + 1) / (B + 1). Columns that divide the specimens alike are one test.

    Args:
        labels: Label of each image; None where unknown.
        specimens: Specimen of each image.
        confounders: The columns to test.

    Source: Phipson & Smyth (2010), Permutation p-values should never be zero; Holm (1979).
    """
    found: list[Association] = []
    known: dict[object, int] = {}
    for name, values in confounders.items():
        units = Units.of(labels, specimens, values)
        place = known.setdefault(units.partition, len(found))
        if place < len(found):
            found[place] = replace(found[place], columns=(*found[place].columns, name))
        else:
            found.append(_associate(units, name))
    tested = sorted((one.p, i) for i, one in enumerate(found) if not one.reason)
    highest = 0.0
    for rank, (p, i) in enumerate(tested):
        highest = max(highest, min(1.0, p * (len(tested) - rank)))
        found[i] = replace(found[i], p=highest)
    return found


def _associate(units: Units, name: str) -> Association:
    """Test a column's units; the p-value is that of one test."""
    count, num_values = len(units.labels), len(units.level_names)
    untested = Association((name,), count, num_values)
    if len(units.label_names) < 2:
        return replace(untested, reason="fewer than two labels have a value")
    if num_values < 2:
        return replace(untested, reason="one value only")
    merged = units.neighbourhoods()
    tested = units if merged is None else merged
    p = tested.test()
    if p is None:
        return replace(untested, reason="fewer than two values have two specimens")
    label, number = tested.rarest()
    return replace(
        untested,
        neighbours=merged is not None,
        accuracy=tested.guessed(),
        chance=float(np.bincount(units.labels).max() / count),
        p=p,
        example=tested.example(),
        rare=(label, number) if number < 3 else None,
    )
