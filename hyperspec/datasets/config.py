"""Options of the data: where specimens come from, how they are prepared and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperspec.cubes.axis_file import read_axis_file
from hyperspec.cubes.frames import sort_files
from hyperspec.cubes.listing import AUTO, list_cubes
from hyperspec.cubes.read_options import BAND_PLACES, ReadOptions
from hyperspec.datasets.catalogue.label_map import MapLabels, scenes_only
from hyperspec.datasets.catalogue.labels import Assigned, NoLabels
from hyperspec.datasets.catalogue.last_scan import scan_again
from hyperspec.datasets.catalogue.records import Catalogue
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import ImageKeys, Preparation, TileKeys
from hyperspec.datasets.rotation import Rotation
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import ASIDE, LATER, MISSING, one_of


@dataclass
class AxisSpec:
    """The sensor's axis, for cubes without wavelengths: evenly spaced, or from a file."""

    start_nm: float | None = None
    """Centre of the first band in nanometres; it and the last are included."""
    stop_nm: float | None = None
    """Centre of the last band in nanometres."""
    count: int | None = None
    """Number of bands; must match the cubes."""
    file: str | None = field(default=None, metadata=ASIDE)  # its numbers count with the data
    """File of wavelengths, in place of the three: a CSV with a column `wavelength_nm` (`fwhm`,
    `good`), one number per line, or an ENVI header; below the root, or from here."""

    def axis(self, root: Path | str = ".") -> SpectralAxis:
        """Return the axis itself.

        Raises:
            ConfigError: If neither a file nor all three numbers are given.
            AxisError: If the file cannot be read.
        """
        if self.file is not None:
            beside = Path(root) / self.file
            return read_axis_file(beside if beside.is_file() else Path(self.file))
        if self.start_nm is None or self.stop_nm is None or self.count is None:
            raise ConfigError(
                f"data.axis has start_nm={self.start_nm}, stop_nm={self.stop_nm} and "
                f"count={self.count}: give all three, or a file of wavelengths (data.axis.file)."
            )
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
    pattern: str = field(default=AUTO, metadata={"counts_as": {AUTO: "*.bil"}})
    """Which files are cubes: `auto` takes all that have a raw cube's extension (.bil, .raw, .dat,
    .img, ...) in any letter case, a glob such as `*.tif` what it says, `*/` folders with one raster
    per band."""
    axis: AxisSpec | None = None
    """The sensor's axis, for cubes that have no wavelengths."""
    trailing_bytes: str = field(default="refuse", metadata=ASIDE)
    """Bytes behind the values that a header declares: `refuse` the file, or `ignore` them."""
    array_key: str | None = field(default=None, metadata=LATER)
    """Name of the cube in a `.mat` of several; null takes the only one of three dimensions."""
    array_bands: str = field(default="auto", metadata=LATER)
    """Dimension of the bands in `.npy` and `.mat`: `first`, `middle`, `last`, or `auto`: the one
    that is as long as the axis."""
    white: str | None = None
    """File of the white frame below the root, for all cubes; null looks for frames by name, per
    scan, session or folder."""
    dark: str | None = None
    """The same for the dark frame; 0 for a camera that subtracts its dark by itself."""
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

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("data.trailing_bytes", self.trailing_bytes, ("refuse", "ignore"))
        one_of("data.array_bands", self.array_bands, BAND_PLACES)

    @property
    def label_map(self) -> MapLabels | None:
        """The maps of labels of scenes; None without any."""
        found = getattr(self, "labels", None)
        return found if isinstance(found, MapLabels) else None

    @property
    def own_axis(self) -> SpectralAxis | None:
        """The axis of cubes that have no wavelengths, where the config gives one."""
        return None if self.axis is None else self.axis.axis(self.root)

    @property
    def reading(self) -> ReadOptions:
        """How files are read that leave something open."""
        return ReadOptions(self.trailing_bytes, self.array_key, self.array_bands)


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
        if self.labels != MISSING and not hasattr(self.labels, "assign"):
            raise ConfigError(
                f"data/labels is {str(self.labels)[:60]!r}, which labels nothing. Choose "
                "data/labels=csv, pattern, folder or none."
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


def label_folder(data: FolderData) -> Assigned:
    """List the specimens of the folder that a config names, and label them; no cube is opened.

    Raises:
        CatalogueError: If there is no cube, or the labels do not fit.
    """
    root = Path(data.root)
    names = [path.relative_to(root).as_posix() for path in specimen_files(data)]
    assigned: Assigned = data.labels.assign(root, names)
    return assigned


def specimen_files(data: Data) -> Sequence[Path]:
    """List the cubes of the folder that a config names, without frames and maps of labels.

    Raises:
        CatalogueError: If there is no cube.
    """
    root = Path(data.root)
    files = scenes_only(root, list_cubes(root, data.pattern).cubes, data.label_map)
    return sort_files(root, files, data.white, data.dark).specimens


def scan_folder(
    data: Data, *, only: Sequence[Path] | None = None, num_threads: int | None = None
) -> Catalogue:
    """Scan the folder that a config names; see :func:`hyperspec.datasets.catalogue.scan.scan`.

    The last scan of this process serves again where no file has changed.
    """
    labels, axis = getattr(data, "labels", None), data.own_axis
    cache_dir = Path(data.cache_dir) if data.cache_dir else None
    named = (data.pattern, None if only is None else tuple(only), data.white, data.dark)
    return scan_again(
        Path(data.root),
        labels,
        (Path.cwd(), axis, data.reading, *named, cache_dir),
        lambda: scan(
            data.root,
            labels=labels,
            axis=axis,
            reading=data.reading,
            pattern=data.pattern,
            only=only,
            white=data.white,
            dark=data.dark,
            cache_dir=cache_dir,
            num_threads=num_threads,
        ),
    )
