"""What to do with a folder that was checked: where its labels are, and the words to paste."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hyperspec.bands import Uniform
from hyperspec.config.compose import quoted
from hyperspec.config.schema import Train
from hyperspec.cubes.files import bare_name
from hyperspec.datasets.catalogue.labels import (
    FILE,
    FILE_COLUMNS,
    Assigned,
    FolderLabels,
    LabelSource,
    PatternLabels,
)
from hyperspec.datasets.catalogue.name_matching import CubeNames, fold, recognised
from hyperspec.datasets.catalogue.records import Catalogue
from hyperspec.inspection.check import CheckReport
from hyperspec.runs.planning.disk import disk_need, disk_text
from hyperspec.runs.planning.few_specimens import FEW
from hyperspec.runs.planning.time import earlier_runs, forecast_time, time_text
from hyperspec.tracking.names import flatten
from hyperspec.utils.errors import CatalogueError
from hyperspec.utils.text_table import TextTable, read_table

COUNTS = (10, 20, 50, 100, 200)  # of a first study, and all bands
_PARTS = 3  # training, validation and test have different specimens
_USUAL = 50  # bands of a first run
_FEWEST_CLASSES = 2
# A genus and a species: the one word that begins with a capital before one that does not.
_BINOMIAL = r".*?(?P<label>[A-Z][a-z]{2,}[ _-][a-z]{3,}).*"
# Museums write a name in brackets behind the number: `NHM-10230_dors (octava)`.
_BRACKETED = r".*\((?P<label>[^()]*[^\W\d_]{3,}[^()]*)\).*"
# What follows a word with a capital in names of scans and is no species.
_NO_SPECIES = re.compile(
    "dorsal|ventral|left|right|front|back|(upp|low)er(side)?|top|bottom|under(side)?|recto|verso|"
    "white|dark|reference|specimen|sample|scan|image|cube|(fe)?male"
)
_TABLES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Labels:
    """Where a folder's labels are.

    Args:
        text: In words.
        words: For `hyperspec train`; empty where its own default finds them.
        found: Whether there are any.
    """

    text: str
    words: tuple[str, ...] = ()
    found: bool = True


@dataclass(frozen=True)
class Steps:
    """What comes after a check.

    Args:
        labels: Where labels come from.
        advice: What is worth doing before, a sentence each.
        words: What reading this folder takes beside ``data.root``.
        counts: Numbers of bands of a first study.
    """

    labels: Labels
    advice: tuple[str, ...]
    words: tuple[str, ...]
    counts: tuple[int, ...]

    def run(self, root: Path) -> str:
        """Return the command of one run."""
        usual = [n for n in self.counts if n <= _USUAL]
        return _command(root, self.words, f"bands.n={usual[-1] if usual else self.counts[-1]}")

    def choice(self, root: Path) -> str:
        """Return the command that shows which bands would be chosen (docs/choosing.md)."""
        strategies = f"uniform,ocf,opbs{',mrmr' * self.labels.found}"
        words = [f"--strategy {strategies}", f"--n {','.join(map(str, self.counts[:2]))}"]
        return " ".join(["hyperspec bands", shlex.quote(str(root)), *words, *self.words])

    def study(self, root: Path, *more: str) -> str:
        """Return the command of the first study."""
        return _command(root, self.words, self.sweep, *more, first="experiment=band_count ")

    @property
    def plain(self) -> list[str]:
        """The words as a program takes them, without the quotes of a shell."""
        return shlex.split(" ".join(self.words))

    @property
    def sweep(self) -> str:
        """The word for all numbers of bands."""
        return f"bands.n={','.join(map(str, self.counts))}"


def _command(root: Path, words: Sequence[str], *more: str, first: str = "") -> str:
    where = _word("data.root", str(root))
    return " ".join([f"hyperspec train {first}{where}", *words, *more])


def _word(key: str, value: str) -> str:
    return f"{key}={value}" if re.fullmatch(r"[\w./+-]+", value) else quoted(key, value)


def next_steps(report: CheckReport, given: Sequence[str] = ()) -> Steps | None:
    """Return what comes next; None where errors or too few specimens stand in the way.

    Args:
        report: The check.
        given: Its words for data settings, which training takes too.
    """
    catalogue = report.catalogue
    if catalogue is None or report.severity == "error" or len(catalogue.records) < _PARTS:
        return None
    settings = [shlex.quote(word) for word in given if not word.startswith("data.cache_dir=''")]
    told = any(
        word.lstrip("+").startswith(("data/labels", "data.labels", "data=")) for word in given
    )
    labels = _known(catalogue) if told else find_labels(catalogue)
    num_good = len(catalogue.axis.good_indices)
    counts = (*(n for n in COUNTS if n < num_good), num_good)
    advice = [*_frames(report), *_views(catalogue, labels)]
    return Steps(labels, tuple(advice), (*settings, *labels.words), counts)


def find_labels(catalogue: Catalogue) -> Labels:
    """Look for labels where a person would: the table, names of files, folders, other tables."""
    root, files = catalogue.root, [record.file for record in catalogue.records]
    if any(record.label is not None for record in catalogue.records):
        return _known(catalogue)
    if (mission := recognised(root, files)) is not None:
        return Labels(f"{mission}.", ("data/labels=pattern",))
    if (table := _table(root, files)) is not None:
        return table
    binomial = PatternLabels(pattern=_BINOMIAL)
    if _are_species(root, files) and (found := _useful(binomial, root, files)) is not None:
        word = quoted("data.labels.pattern", _BINOMIAL)
        text = f"file names hold species: {_counts(found)}."
        return Labels(text, ("data/labels=pattern", word))
    bracketed = PatternLabels(pattern=_BRACKETED)
    if (found := _useful(bracketed, root, files)) is not None:
        word = quoted("data.labels.pattern", _BRACKETED)
        text = f"words in brackets may be classes: {_counts(found)}. Take this only if they are."
        return Labels(text, ("data/labels=pattern", word))
    if (found := _useful(FolderLabels(), root, files)) is not None:
        text = f"folders may be classes: {_counts(found)}. Take this only if they are."
        return Labels(text, ("data/labels=folder",))
    return Labels(
        "none. Training needs none; what then can be told is whether views of one animal find each "
        "other. `hyperspec start FOLDER --table labels.csv` writes a table to fill in.",
        ("data/labels=none",),
        found=False,
    )


def _known(catalogue: Catalogue) -> Labels:
    counts = Counter(r.label for r in catalogue.records if r.label is not None)
    if not counts:
        return Labels("none.", found=False)
    specimens = {r.specimen for r in catalogue.records if r.label is not None}
    cubes = f"{sum(counts.values())} cubes of {len(specimens)} specimens"
    return Labels(f"{len(counts)} of them, on {cubes}.")


def _useful(source: LabelSource, root: Path, files: Sequence[str]) -> Assigned | None:
    """Return labels that could tell something: several, and most of several specimens each."""
    try:
        found = source.assign(root, files)
    except CatalogueError:
        return None
    pairs = {(one.label, one.specimen) for one in found.files.values() if one.label is not None}
    counts = Counter(label for label, _ in pairs)
    named = sum(one.label is not None for one in found.files.values())
    several = sum(count > 1 for count in counts.values())
    enough = len(counts) >= _FEWEST_CLASSES and 2 * several >= len(counts)
    return found if enough and 2 * named >= len(files) else None


def _counts(found: Assigned) -> str:
    labels = Counter(one.label for one in found.files.values() if one.label is not None)
    specimens = {one.specimen for one in found.files.values() if one.label is not None}
    names = ", ".join(label for label, _ in labels.most_common(3))
    more = ", ..." if len(labels) > 3 else ""
    return f"{len(labels)} ({names}{more}) on {len(specimens)} specimens"


def _are_species(root: Path, files: Sequence[str]) -> bool:
    found = [re.fullmatch(_BINOMIAL, bare_name(root / name)) for name in files]
    second = [re.split("[ _-]", match["label"])[1] for match in found if match]
    return 2 * sum(_NO_SPECIES.fullmatch(word) is None for word in second) >= len(files)


def _table(root: Path, files: Sequence[str]) -> Labels | None:
    """Return what a table beside the cubes offers that is not called ``labels.csv``."""
    names = CubeNames(root, files)
    for path in sorted(root.iterdir()):
        if path.suffix.lower() not in _TABLES or path.name == "labels.csv" or not path.is_file():
            continue
        try:
            table = read_table(path, "file", ())
        except (CatalogueError, OSError):
            continue
        column = _column_of_files(table, names, len(files))
        if column is None:
            continue
        label = _column_of_labels(table, column)
        named = (("data.labels.file", path.name), ("data.labels.column", label))
        words = ("data/labels=csv", *(_word(*pair) for pair in named))
        others = ", ".join(one for one in table.columns if one not in (column, label))
        text = f"{path.name}, column {label!r}" + (f" (or another: {others})." if others else ".")
        if column != FILE and fold(column) not in FILE_COLUMNS:
            text += f" Its column {column!r} names the cubes: call it 'file' in the table first."
        if "specimen" not in table.columns:
            text += " Where cubes share an animal, call the column of its number 'specimen'."
        return Labels(text, words)
    return None


def _column_of_files(table: TextTable, names: CubeNames, num_files: int) -> str | None:
    """Return the column whose values name most of the cubes."""
    hits = {
        column: sum(len(names.find(row.cells[column])) == 1 for row in table.rows)
        for column in table.columns
    }
    best = max(hits, key=lambda column: hits[column], default=None)
    return best if best is not None and 2 * hits[best] >= num_files else None


def _column_of_labels(table: TextTable, files: str) -> str:
    """Return the column that is most likely the class: by its name, else the one that repeats."""
    usual = ("species", "taxon", "scientificname", "scientific name", "label", "class", "name")
    others = [column for column in table.columns if column != files]
    named = [c for want in usual for c in others if fold(c) == want]
    values = {c: {row.cells[c] for row in table.rows} for c in others}
    repeats = [c for c in others if 1 < len(values[c]) <= len(table.rows) / 2]
    return next(iter([*named, *repeats, *others]), "species")


def _frames(report: CheckReport) -> list[str]:
    if not any("no white frame" in words for words in report.calibration):
        return []
    return [
        "No white frame was found, so values stay as they are stored: bright lamps make bright "
        "bands. Where there is a frame, put it beside the cubes (white_reference.*, "
        "dark_reference.*) or name it: data.white=FILE data.dark=FILE."
    ]


def _views(catalogue: Catalogue, labels: Labels) -> list[str]:
    specimens = len({record.specimen for record in catalogue.records})
    found = []
    if labels.words == ("data/labels=none",) and specimens == len(catalogue.records):
        found.append(
            "With neither labels nor two views of an animal nothing tells a better encoder from a "
            "worse one: a study would rank by RankMe, which is no accuracy."
        )
    if specimens < FEW:
        found.append(
            f"{specimens} specimens are few: data.split.rotate=4 behind the study tests each of "
            "them once, for four times the jobs."
        )
    return found


def table_to_fill(catalogue: Catalogue) -> str:
    """Return ``labels.csv`` with a row per cube, its species left open."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file", "species", "specimen", "view"))
    for record in catalogue.records:
        specimen = PurePosixPath(record.specimen).name
        cells = (record.file, record.label or "", specimen, record.view or "")
        table.writerow(cells)
    return text.getvalue()


def forecast_study(first: Train, counts: Sequence[int]) -> list[str]:
    """Say what a study of some numbers of bands costs: jobs, time, disk; a line each.

    Raises:
        HyperspecError: If the folder holds no cube that can be read.
    """
    jobs = [replace(first, bands=Uniform(n)) for n in counts]
    count = len(jobs)
    lines = [f"{count} jobs of {first.epochs} epochs"]
    seen = earlier_runs(first.tracking.uri, first.tracking.experiment)
    lines.append(time_text(forecast_time([flatten(one) for one in jobs], count, seen), count, 1))
    lines.append(disk_text(disk_need(first), count, Path()))
    return lines
