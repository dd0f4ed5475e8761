"""``hyperspec.catalogue``: a folder of cubes as training sees it, and bands chosen on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspec.cli.functions import write_word
from hyperspec.datasets.catalogue.records import OWN_COLUMNS, Catalogue, Problem
from hyperspec.datasets.config import Data
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics

if TYPE_CHECKING:
    import pandas as pd

    from hyperspec.bands import Strategy


@dataclass(frozen=True, eq=False)
class SpecimenFolder:
    """The cubes of a folder with their labels, as a run with the same words takes them.

    Args:
        data: The settings.
        found: The records and what is odd.
    """

    data: Data
    found: Catalogue

    def __len__(self) -> int:
        return len(self.found.records)

    def __repr__(self) -> str:
        return f"SpecimenFolder({str(self.found.root)!r}, {len(self)} cubes, {self.axis})"

    def _repr_html_(self) -> str:
        shown = self.table().drop(columns=list(OWN_COLUMNS[5:]))  # sizes and checksums
        return f"<p>{escape(repr(self))}</p>{shown.to_html(max_rows=8, notebook=True)}"

    @property
    def axis(self) -> SpectralAxis:
        """The axis that the cubes share."""
        return self.found.axis

    @property
    def files(self) -> list[Path]:
        """The data file of each cube."""
        return [record.path for record in self.found.records]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is odd, errors first; ``hyperspec check`` looks at the values too."""
        return self.found.problems

    def table(self) -> pd.DataFrame:
        """Return one row per cube: file, label, specimen, view, date, label columns, sizes."""
        return self.found.table()

    @cached_property
    def statistics(self) -> SpectralStatistics:
        """Statistics of the training part, by the split of training; the first time cubes are read.

        Raises:
            HyperspecError: If a cube cannot be used, or the labels allow no split.
        """
        from hyperspec.bands import Full
        from hyperspec.training.data import gather

        return gather(self.data, Full()).statistics

    def select(self, strategy: Strategy) -> BandSelection:
        """Choose bands as a run does: on this axis, by statistics of the training part alone.

        Args:
            strategy: Such as ``hyperspec.bands.Uniform(20)`` or ``hyperspec.bands.Mrmr(20)``.

        Raises:
            BandError: If the axis or the statistics cannot give what was asked for.
        """
        return strategy.select(self.axis, self.statistics if strategy.needs_statistics else None)


def catalogue(folder: str | Path, *words: str, **settings: Any) -> SpecimenFolder:
    """List the cubes of a folder and their labels; headers are read, values are not.

    Args:
        folder: Of the cubes.
        words: Data settings as in a shell, such as ``"data/labels=folder"``.
        settings: The same as values, such as ``**{"data.size": 32}``.

    Raises:
        HyperspecError: If a setting is wrong, or the folder holds no cube.
    """
    from hyperspec.config.compose_data import compose_data
    from hyperspec.datasets.config import scan_folder

    given = [*words, *(write_word(key, value) for key, value in settings.items())]
    data = compose_data(given, folder)
    return SpecimenFolder(data, scan_folder(data))
