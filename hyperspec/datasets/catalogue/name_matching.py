"""Names that mean the same: rows and files, spellings, and views of one animal."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from hyperspec.cubes.files import bare_name

# The mission's files: `Genus species_<number><D|V>_<ddmmyy>.bil`; D and V are dorsal and ventral.
MISSION_PATTERN: Final = r"(?P<label>.+)_(?P<specimen>\d+)(?P<view>[DV])_(?P<date>\d{6})"
# Words for the sides of an animal, as they stand in names of files and folders.
_SIDES: Final = (
    ("d", "v"),
    ("dorsal", "ventral"),
    ("dors", "vent", "ventr"),
    ("top", "bottom"),
    ("upper", "lower"),
    ("upperside", "underside"),
    ("up", "down"),
    ("recto", "verso"),
    ("obverse", "reverse"),
    ("front", "back"),
    ("anterior", "posterior"),
    ("left", "right"),
    ("l", "r"),
)
_SIDE_OF: Final = {word: number for number, pair in enumerate(_SIDES) for word in pair}
# `12D` and `s01v`: a letter directly after a number.
_LETTER_AFTER_NUMBER = re.compile(r"(.*\d)([dvlr])", re.IGNORECASE)
_MARKS_IN_NAMES = re.compile(r"([\s_.\-/()]+)")


def fold(text: str) -> str:
    """Return what is left of a value without letter case, spaces, and zeros before numbers.

    ``01``, ``1`` and ``1.0`` are one, ``Morpho  helena`` and ``morpho_helena``, and the two ways of
    Unicode to write ``é``.
    """
    plain = re.sub(r"(?<![\d.,])0+(?=\d)", "", _plain(text))
    return re.sub(r"^(\d+)[.,]0+$", r"\1", plain)


def _plain(text: str) -> str:
    """Return a text without letter case, invisible marks, and what spaces look like."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    return " ".join(plain.replace("_", " ").split())


def _file_key(name: str) -> str:
    """Return what is left of a file's name; a spreadsheet makes 1 of 001, but s1 is not s01."""
    return re.sub(r"^0+(?=\d+$)", "", _plain(name))


def near_twins(values: Iterable[str]) -> list[list[str]]:
    """Return the sets of values that differ in spelling only, each sorted."""
    alike: dict[str, set[str]] = {}
    for value in values:
        alike.setdefault(fold(value), set()).add(value)
    return [sorted(group) for group in alike.values() if len(group) > 1]


def shown(values: Sequence[str], counts: Mapping[str, int] | None = None) -> str:
    """List values so that differences can be seen, with how often each occurs."""
    alike = len({unicodedata.normalize("NFC", value) for value in values}) < len(values)
    texts = {value: ascii(value) if alike else repr(value) for value in values}
    if any("  " in value for value in values):  # which a terminal breaks into lines
        texts = {value: text.replace(" ", "\N{OPEN BOX}") for value, text in texts.items()}
    return ", ".join(
        text if counts is None else f"{text} ({counts[value]})" for value, text in texts.items()
    )


class CubeNames:
    """Finds the cubes that a row of a table may mean.

    Args:
        root: The folder.
        files: Paths of the cubes relative to it, with forward slashes.
    """

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self._by_last: list[dict[str, list[tuple[str, list[str]]]]] = [{}, {}, {}, {}]
        for name in files:
            *folders, last = _parts(name)
            bare = unicodedata.normalize("NFC", bare_name(root / name))
            keys = self._keys(folders, last, bare)
            for tier, (key, above) in zip(self._by_last, keys, strict=True):
                tier.setdefault(key, []).append((name, above))

    @staticmethod
    def _keys(folders: list[str], last: str, bare: str) -> list[tuple[str, list[str]]]:
        """Return what a name is looked for by, from the strictest on."""
        loose = [_file_key(part) for part in folders]
        strict = [(name, folders) for name in (last, bare)]
        return [*strict, *((_file_key(name), loose) for name in (last, bare))]

    def find(self, written: str) -> list[str]:
        """Return the files that a row names, best one alone; several where it fits them equally.

        With or without extension or folders, with either slash: the name itself counts before one
        without extension, and that before one that differs in letter case and the like. Of the
        folders, those that both have must agree.
        """
        path = written.replace("\\", "/").rstrip("/")
        *folders, last = _parts(re.sub(r"\.hdr$", "", path, flags=re.IGNORECASE)) or [""]
        asked = self._keys(folders, last, last)
        for tier, (key, above) in zip(self._by_last, asked, strict=True):
            ranks = [(_agreement(above, own), name) for name, own in tier.get(key, [])]
            best = max((rank for rank, _ in ranks if rank is not None), default=None)
            if best is not None:
                return [name for rank, name in ranks if rank == best]
        return []


def _parts(path: str) -> list[str]:
    clean = unicodedata.normalize("NFC", path)
    return [part for part in clean.split("/") if part not in ("", ".")]


def _agreement(one: Sequence[str], other: Sequence[str]) -> tuple[int, int] | None:
    """Return how many last folders two paths share and if that is all; None if they differ."""
    shared = min(len(one), len(other))
    if list(one[len(one) - shared :]) != list(other[len(other) - shared :]):
        return None
    return shared, int(len(one) == len(other))


def own_keys(root: Path, files: Sequence[str]) -> dict[str, str]:
    """Return a specimen key for each file of which no number is known: its path, bare.

    Files whose names differ in a word for a side alone (``s1_D`` and ``s1_V``, ``dorsal/s1`` and
    ``ventral/s1``), or that fit the mission's pattern with one species and number, are views of one
    animal and get the key of the first of them.
    """
    keys = {name: str(PurePosixPath(name).with_name(bare_name(root / name))) for name in files}
    owner = {key: key for key in keys.values()}

    def first(key: str) -> str:
        while owner[key] != key:
            key = owner[key]
        return key

    sides: dict[Hashable, dict[str, str]] = {}
    for key in sorted(owner):
        for word, rest in (*_without_side(key), *_mission(key)):
            sides.setdefault(rest, {})[word] = key
    for views in sides.values():
        if len(views) > 1:
            lowest, *others = sorted({first(key) for key in views.values()})
            owner.update(dict.fromkeys(others, lowest))
    return {name: first(key) for name, key in keys.items()}


def _without_side(key: str) -> Iterable[tuple[str, Hashable]]:
    """Yield each word for a side in a name, and the name without it."""
    pieces = _MARKS_IN_NAMES.split(key)
    for place, piece in enumerate(pieces):
        after = _LETTER_AFTER_NUMBER.fullmatch(piece)
        start, word = (after[1], after[2]) if after else ("", piece)
        pair = _SIDE_OF.get(word.casefold())
        if pair is not None:
            yield word.casefold(), (pair, place, *pieces[:place], start, *pieces[place + 1 :])


def _mission(key: str) -> Iterable[tuple[str, Hashable]]:
    match = re.fullmatch(MISSION_PATTERN, PurePosixPath(key).name)
    return [(key, (match["label"], match["specimen"]))] if match else []


def recognised(root: Path, files: Sequence[str]) -> str | None:
    """Say what ``data/labels=pattern`` would make of most of the files; None where few fit it."""
    found = [re.fullmatch(MISSION_PATTERN, bare_name(root / name)) for name in files]
    fits = [match for match in found if match]
    if len(fits) < max(2, len(files) / 2):
        return None
    views: dict[tuple[str, str], set[str]] = {}
    for match in fits:
        views.setdefault((match["label"], match["specimen"]), set()).add(match["view"])
    numbers = {len(sides) for sides in views.values()}
    each = "two views" if numbers == {2} else "one view" if numbers == {1} else "one or two views"
    species = len({label for label, _ in views})
    part = "" if len(fits) == len(files) else f"{len(fits)} of {len(files)} "
    return (
        f"{part}file names look like data/labels=pattern: {species} species, "
        f"{len(views)} specimens, {each} each"
    )


def joined(keys: Mapping[str, str]) -> str | None:
    """Say which files are views of one animal by their names; None where none are."""
    counts = Counter(keys.values())
    together = sorted(name for name, key in keys.items() if counts[key] > 1)
    if not together:
        return None
    example = [name for name in together if keys[name] == keys[together[0]]]
    animals = len({keys[name] for name in together})
    return (
        f"has {len(together)} cubes of {animals} animal{'s' * (animals > 1)} by their names "
        f"({', '.join(example)} are views of one): they stay in one part of the split"
    )
