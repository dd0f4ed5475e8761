"""Options of the data: where specimens come from, how they are prepared and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperspec.datasets.catalogue.label_map import MapLabels
from hyperspec.datasets.catalogue.labels import NoLabels
from hyperspec.datasets.catalogue.records import Catalogue
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import ImageKeys, Preparation, TileKeys
from hyperspec.datasets.rotation import Rotation
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import ASIDE, LATER, MISSING


@dataclass
class AxisSpec:
    """The sensor's axis, for headers without wavelengths: evenly spaced, both ends included."""

    start_nm: float = MISSING
    """Centre of the first band in nanometres."""
    stop_nm: float = MISSING
    """Centre of the last band in nanometres."""
    count: int = MISSING
    """Number of bands; must match the cubes."""

    def axis(self) -> SpectralAxis:
        """Return the axis itself."""
        return SpectralAxis.linear(self.start_nm, self.stop_nm, self.count)


@dataclass
class SplitSpec:
    """Shares of the specimens in the three parts; they sum to 1."""

    fractions: list[float] = field(default_factory=lambda: [0.5, 0.25, 0.25])
    """Train (the encoder, statistics and probes see nothing else), validation (what searches,
    pruning and early stopping look at) and test (what is reported); they sum to 1."""
    seed: int = 0
    """Seed of the assignment; apart from the run's `seed`, so that seeds share a split."""
    hold_out: list[str] = field(default_factory=list)
    """Labels, genera (first word of a label), or `column=value` in quotes, in no part: neither
    encoder, statistics nor probes see them. They are scored as `held_out/...`, beside the test
    part."""
    group: str | None = field(default=None, metadata=LATER)
    """Column of the labels, such as `session`, whose values fall on one side as a whole; null keeps
    specimens together and no more."""
    rotate: int | None = field(default=None, metadata=LATER)
    """Parts that take turns in place of the fractions, 3 or more: in rotation r part r is test, the
    one after it validation, and the others train, so that each specimen is tested once. A sweep
    runs all rotations; null keeps to one split by the fractions."""
    rotation: int | None = field(default=None, metadata=LATER)
    """Which part this job tests, 0 to `rotate` - 1; in a sweep null means all of them."""

    def __post_init__(self) -> None:
        if self.rotate is None and self.rotation is not None:
            raise ConfigError(
                f"data.split.rotation is {self.rotation}, but data.split.rotate is null: there are "
                "no parts that take turns. Give data.split.rotate=4 with it, or leave it out."
            )
        if self.rotate is not None:
            Rotation(self.rotate, self.rotation or 0)  # raises outside of the ranges

    @property
    def turn(self) -> Rotation | None:
        """The rotation of a job; None where parts do not take turns.

        Raises:
            ConfigError: If they do, and none is chosen.
        """
        if self.rotate is None:
            return None
        if self.rotation is None:
            raise ConfigError(
                f"data.split.rotate={self.rotate} makes {self.rotate} parts that take turns, and "
                "one job tests one of them. A sweep runs them all (hyperspec train -m ...); for "
                f"one give data.split.rotation=0 (to {self.rotate - 1})."
            )
        return Rotation(self.rotate, self.rotation)

    @property
    def train_share(self) -> float:
        """Share of the specimens that train, above 0 and below 1."""
        return self.fractions[0] if self.rotate is None else 1 - 2 / self.rotate


@dataclass
class Data(Preparation):
    """Where the specimens come from and how they are prepared."""

    root: str = field(default=MISSING, metadata=ASIDE)
    """Folder of the cubes."""
    pattern: str = "*.bil"
    """Which files are cubes, as a glob below the root; `*/` takes folders with one raster per
    band."""
    axis: AxisSpec | None = None
    """The sensor's axis, for headers that have no wavelengths."""
    white: str | None = None
    """File of the white frame below the root; null looks for one named white*."""
    dark: str | None = None
    """File of the dark frame below the root; null looks for one named dark*."""
    normalisation: str = "zscore"
    """`none`, `minmax`, `zscore`, `snv`, `l2`, `derivative` or `continuum`, fitted on the training
    part."""
    store: str = "auto"
    """`auto` packs the prepared specimens once and reads planes from there; `none` prepares them
    in memory for each run."""
    cache_dir: str = field(default=".hyperspec", metadata=ASIDE)
    """Folder of packed specimens and statistics."""
    verify: bool = False
    """Read all packed specimens and compare them with their checksums before a run; sizes are
    always compared. Damaged ones are packed again."""
    residency: str = field(default="auto", metadata=ASIDE)
    """Where the chosen planes live while training: `auto`, `device`, `pinned` or `mmap`."""
    memory_share: float = field(default=0.5, metadata=ASIDE)
    """Share of the free memory that the planes may take before `auto` turns to `mmap`."""
    split: SplitSpec = field(default_factory=SplitSpec)
    confounders: list[str] | None = field(default=None, metadata={"identity": "unless default"})
    """Columns of the labels that should not tell the label, such as `session`: tested before
    training, and probed on the features. null takes those that are there of the usual names
    (`session`, `date`, `operator`, `drawer`, `instrument`, ...), `[]` none."""

    @property
    def label_map(self) -> MapLabels | None:
        """The maps of labels of scenes; None without any."""
        found = getattr(self, "labels", None)
        return found if isinstance(found, MapLabels) else None

    @property
    def own_axis(self) -> SpectralAxis | None:
        """The axis of cubes whose headers have no wavelengths, where the config gives one."""
        return None if self.axis is None else self.axis.axis()


@dataclass
class FolderData(ImageKeys, Data):
    """A folder with one specimen image per cube."""

    labels: Any = MISSING
    """Where labels come from: `csv`, `pattern`, `folder` or `none`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.labels, MapLabels):
            raise ConfigError(
                "data/labels=map labels the pixels of scenes, but data=folder makes one image of "
                "each cube. Choose data=tiles, or data/labels=csv, pattern, folder or none."
            )


@dataclass
class TilesData(TileKeys, Data):
    """Windows of one or several scenes."""

    labels: Any = field(default=None, metadata=LATER)
    """Where labels come from: `map` (a raster of class numbers beside each scene), or null for
    none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.labels, MapLabels | NoLabels | None):
            raise ConfigError(
                f"data/labels is {type(self.labels).__name__}, which labels whole scenes, and the "
                "tiles of one scene would all have its label. With data=tiles choose "
                "data/labels=map, or null for none."
            )


def scan_folder(
    data: Data, *, only: Sequence[Path] | None = None, num_threads: int | None = None
) -> Catalogue:
    """Scan the folder that a config names; see :func:`hyperspec.datasets.catalogue.scan.scan`."""
    return scan(
        data.root,
        labels=getattr(data, "labels", None),
        axis=data.own_axis,
        pattern=data.pattern,
        only=only,
        white=data.white,
        dark=data.dark,
        cache_dir=Path(data.cache_dir) if data.cache_dir else None,
        num_threads=num_threads,
    )
