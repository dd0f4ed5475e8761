"""Options of the data: where specimens come from, how they are prepared and split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hyperspec.utils.fields import ASIDE, MISSING


@dataclass
class AxisSpec:
    """The sensor's axis, for headers without wavelengths: evenly spaced, both ends included."""

    start_nm: float = MISSING
    """Centre of the first band in nanometres."""
    stop_nm: float = MISSING
    """Centre of the last band in nanometres."""
    count: int = MISSING
    """Number of bands; must match the cubes."""


@dataclass
class SplitSpec:
    """Shares of the specimens in the three parts; they sum to 1."""

    fractions: list[float] = field(default_factory=lambda: [0.5, 0.25, 0.25])
    """Train (the encoder, statistics and probes see nothing else), validation (what searches,
    pruning and early stopping look at) and test (what is reported); they sum to 1."""
    seed: int = 0
    """Seed of the assignment; apart from the run's `seed`, so that seeds share a split."""
    hold_out: list[str] = field(default_factory=list)
    """Labels, or genera (first word of a label), in no part: neither encoder, statistics nor probes
    see them. They are scored as `held_out/...`, beside the test part."""


@dataclass
class Data:
    """Where the specimens come from and how they are prepared."""

    root: str = field(default=MISSING, metadata=ASIDE)
    """Folder of the cubes."""
    pattern: str = "*.bil"
    """Which files are cubes, as a glob below the root; `*/` takes folders with one raster per
    band."""
    axis: AxisSpec | None = None
    """The sensor's axis, for headers that have no wavelengths."""
    calibrate: str = "auto"
    """`auto` uses white and dark frames when the folder has them; `none` reads values as they
    are."""
    white: str | None = None
    """File of the white frame below the root; null looks for one named white*."""
    dark: str | None = None
    """File of the dark frame below the root; null looks for one named dark*."""
    white_reflectance: float = 1.0
    """Reflectance of the white target, above 0."""
    mask: str = "auto"
    """Foreground: `auto`, `image`, `otsu` or `none`."""
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


@dataclass
class FolderData(Data):
    """A folder with one specimen image per cube."""

    labels: Any = MISSING
    """Where labels come from: `csv`, `pattern`, `folder` or `none`."""
    size: int = 64
    """Side of the prepared images in pixels."""
    crop_margin: float = 0.05
    """Margin around the specimen, as a share of its longer side."""


@dataclass
class TilesData(Data):
    """Windows of one or several scenes, without labels."""

    tile: int = 32
    """Side of a window in pixels."""
    stride: int = 16
    """Step between windows in pixels."""
