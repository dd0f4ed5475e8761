"""Values of labels: what means unlabelled, what is one animal, what is spelled in two ways."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hyperspec.datasets.catalogue.name_matching import fold, near_twins, shown

# Words that people and programs write where they do not know.
PLACEHOLDERS: Final = (
    *("na", "n/a", "n.a.", "nan", "<na>", "null", "nil", "--", "---", "?", "??", "???", "."),
    *("unknown", "unk", "unk.", "unidentified", "undetermined", "indet", "indet.", "n.d."),
    *("unlabelled", "unlabeled", "tbd", "tba", "(blank)"),
    *("#n/a", "#na", "#ref!", "#value!", "#name?", "#null!", "#div/0!"),
)
# Words that may be either: a trial has untreated animals, a genotype is `+` or `-`.
_DOUBTFUL: Final = ("none", "-", "missing")
# What a spreadsheet makes of a long number: `1.23457E+12`, the same for many of them.
_SHORTENED = re.compile(r"\d([.,]\d+)?E\+\d+", re.IGNORECASE)
_SHOWN = 5  # examples in a message


@dataclass(frozen=True)
class Values:
    """What a source of labels says of its files.

    Args:
        of: Values by column of each file that has any.
        column: The column that is the label.
        within: The column within whose values numbers of specimens are unique.
        source: Where they were written, for messages.
        said: What was done about them, for people.
    """

    of: Mapping[str, Mapping[str, str]]
    column: str
    within: str
    source: str
    said: tuple[str, ...] = ()

    def without(self, placeholders: Sequence[str] | None) -> Values:
        """Take words that mean unlabelled from the label, the specimen and the view."""
        usual = PLACEHOLDERS if placeholders is None else placeholders
        words = {word.strip().casefold() for word in usual}
        columns = (self.column, "specimen", "view")
        kept, gone = {}, Counter[tuple[str, str]]()
        for name, row in self.of.items():
            meant = {c: row[c] for c in columns if c in row and row[c].casefold() in words}
            gone.update(meant.items())
            kept[name] = {key: value for key, value in row.items() if key not in meant}
        said = [
            self._unlabelled(column, {word: n for (c, word), n in gone.items() if c == column})
            for column in dict.fromkeys(column for column, _ in gone)
        ]
        labels = Counter(row.get(self.column, "") for row in kept.values())
        either = {word: n for word, n in labels.items() if word.casefold() in _DOUBTFUL}
        if either and placeholders is None:
            said.append(
                f"has {_cubes(sum(either.values()))} whose {self.column!r} is "
                f"{shown(sorted(either))}, which is a class like any other. If it means "
                "unlabelled, name it in data.labels.placeholders; if not, set "
                "data.labels.placeholders=[]"
            )
        return replace(self, of=kept, said=tuple(said))

    def _unlabelled(self, column: str, words: Mapping[str, int]) -> str:
        meaning = {
            self.column: "they count as unlabelled",
            "specimen": "each of them counts as an animal of its own",
        }
        return (
            f"has {_cubes(sum(words.values()))} whose {column!r} is a placeholder in {self.source} "
            f"({shown(sorted(words), words)}): {meaning.get(column, 'it counts as unknown')}. "
            "Where such a word has a meaning, name the others in data.labels.placeholders"
        )

    def specimens(self, known: Values) -> tuple[dict[str, str], list[str]]:
        """Return the key of each file that has a number, and what there is to say of them.

        ``known`` are these values without placeholders. Within which species a number is unique
        the placeholder still says: `?/5` is not the `5` of a file without any species.

        Numbers that differ in spelling only, as ``01`` and ``1`` of one species, are one animal: if
        they were two, both would merely fall into one part; if one were taken for two, its views
        would fall on both sides of the split.
        """
        written = {
            name: (self.of[name].get(self.within), row["specimen"])
            for name, row in known.of.items()
            if "specimen" in row
        }
        numbers: dict[tuple[str | None, str], set[str]] = {}
        for species, number in written.values():
            numbers.setdefault((species, fold(number)), set()).add(number)
        keys = {}
        for name, (species, number) in written.items():
            first = min(numbers[species, fold(number)])
            keys[name] = first if species is None else f"{species}/{first}"
        said = []
        twins = [
            f"{shown(sorted(ways))}{f' of {species}' if species else ''}"
            for (species, _), ways in numbers.items()
            if len(ways) > 1
        ]
        if twins:
            said.append(
                f"has specimens that are written in several ways in {self.source}, each taken as "
                f"one animal: {_some(twins)}. Write them alike"
            )
        lost = sorted({number for _, number in written.values() if _SHORTENED.fullmatch(number)})
        if lost:
            said.append(
                f"has specimens such as {lost[0]!r} in {self.source}, a number that a spreadsheet "
                "program has shortened: several animals may have become one. Format the column as "
                "text and write the numbers again"
            )
        without = sum("specimen" not in row for row in self.of.values())
        if keys and without:
            said.append(
                f"has {_cubes(without)} without a specimen in {self.source}: each counts as an "
                "animal of its own, so that its other views may fall on another side of the split"
            )
        return keys, said


def spelling(values: Values) -> Iterator[str]:
    """Yield a line for each column whose values are partly the same but for their spelling."""
    rows = values.of.values()
    for column in dict.fromkeys(key for row in rows for key in row if key != "specimen"):
        counts = Counter(row[column] for row in rows if column in row)
        # Of notes and measurements hardly a value repeats.
        repeats = len(counts) <= counts.total() / 2
        twins = near_twins(counts)
        if twins and (repeats or column in (values.column, values.within, "view")):
            yield (
                f"has values of {column!r} in {values.source} that differ in letter case, spaces "
                "or zeros only and count as different (with their cubes): "
                f"{_some([shown(group, counts) for group in twins], '; ')}. If they are the same, "
                "write them alike"
            )


def _cubes(count: int) -> str:
    return f"{count} cube{'' if count == 1 else 's'}"


def _some(texts: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return between.join(texts[:_SHOWN]) + more
