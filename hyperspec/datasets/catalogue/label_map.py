"""Labels of a scene's pixels: a raster of class numbers beside it, read for its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.checksums import combined
from hyperspec.cubes.files import bare_name, find_header, read_header
from hyperspec.cubes.mat_file import open_mat
from hyperspec.cubes.raster import DRIVERS, open_quietly
from hyperspec.datasets.catalogue.labels import Assigned, LabelSource, unknown
from hyperspec.utils.errors import CatalogueError, ConfigError, CubeError, HyperspecError
from hyperspec.utils.npy import read_npy

_SUFFIXES = (
    ".png",
    ".tif",
    ".tiff",
    ".npy",
    ".mat",
    ".dat",
    ".img",
    ".raw",
    ".bil",
    ".bsq",
    ".bip",
)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The classes of a scene's pixels.

    Args:
        codes: Class number of each pixel, ``(H, W)``; -1 where there is none.
        names: Names of class numbers, where the map has any.
    """

    codes: NDArray[np.int64]
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Sixteen hex digits of numbers and names."""
        named = sorted(self.names.items())
        return combined([self.codes.shape, self.codes.tobytes().hex(), named], 16)

    def majority(
        self, window: tuple[slice, slice], inside: NDArray[np.bool_], share: float
    ) -> str | None:
        """Return the class that at least so large a share of a window's pixels has.

        Args:
            window: Lines and samples.
            inside: Which of the window's pixels count, True for one at least.
            share: Above 0, at most 1; of these pixels, those without a class included.

        Returns:
            Its name, or else its number; None without such a class, and where two have as many.
        """
        codes = self.codes[window][inside]
        found, counts = np.unique(codes[codes >= 0], return_counts=True)
        most = int(counts.max(initial=0))
        if most == 0 or most < share * codes.size or (counts == most).sum() > 1:
            return None
        code = int(found[counts.argmax()])
        return self.names.get(code, str(code))


@dataclass
class MapLabels:
    """A map of labels beside each scene: a raster of class numbers, as large as the scene."""

    suffix: str = "_labels"
    """What stands after a scene's name in that of its map: `scene_labels.png` beside `scene.bil`.
    PNG, TIFF, ENVI classification, `.npy` or MATLAB's `.mat` with one matrix."""
    file: str | None = None
    """The map of the one scene that there is, below the data folder, where its name is another."""
    share: float = 0.5
    """Share of a tile's visible pixels, above 0 and at most 1, that its most common class must
    have; other tiles have no label, and train all the same."""
    unlabelled: list[int] = field(default_factory=lambda: [0])
    """Class numbers that mean no label: background, and classes that are too rare to be split."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(
                f"data.labels.share is {self.share:g}; give a share of a tile's pixels above 0 and "
                "at most 1, such as 0.5."
            )
        if not self.suffix and self.file is None:
            raise ConfigError(
                "data.labels.suffix is empty, so that a scene would be its own map; give the end "
                "of the maps' names, such as _labels, or name the map with data.labels.file."
            )

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Give no scene a label of its own; name those without a map.

        Raises:
            CatalogueError: If no scene has a map, or one map is named for several scenes.
        """
        if self.file is not None and len(files) > 1:
            raise CatalogueError(
                f"data.labels.file is {self.file!r}, one map, but {root} holds {len(files)} scenes "
                f"({', '.join(files[:3])}, ...). Name each map after its scene (data.labels."
                f"suffix={self.suffix!r}), or the scene with data.pattern."
            )
        lacking = [name for name in files if self.find(root, root / name) is None]
        if files and len(lacking) == len(files):
            raise CatalogueError(
                f"data/labels=map finds no map of labels: {self._wanted(root, root / files[0])}. "
                "Put one there, name it with data.labels.file or data.labels.suffix, or train "
                "without labels (data/labels=null)."
            )
        text = "has no map of labels beside it, so that its tiles have no label"
        known = {name: unknown(root, name) for name in files}
        return Assigned(known, tuple((name, text) for name in lacking))

    def find(self, root: Path, scene: Path) -> Path | None:
        """Return a scene's map; None where there is none."""
        if self.file is not None:
            named = root / self.file
            return named if named.is_file() else None
        stem = bare_name(scene) + self.suffix
        endings = [ending for one in _SUFFIXES for ending in (one, one.upper())]
        return next(filter(Path.is_file, (scene.with_name(stem + e) for e in endings)), None)

    def is_map(self, root: Path, path: Path) -> bool:
        """Say whether a file is named like a map, and so is no scene."""
        if self.file is not None:
            return path == root / self.file
        return path.stem.endswith(self.suffix) and path.suffix.lower() in _SUFFIXES

    def read(self, root: Path, scene: Path, shape: tuple[int, int]) -> LabelMap | None:
        """Read a scene's map; None where it has none.

        Args:
            root: The folder of the scenes.
            scene: The scene's file.
            shape: Its lines and samples.

        Raises:
            CatalogueError: If the map cannot be read, has another size than the scene, or holds
                other values than class numbers.
        """
        path = self.find(root, scene)
        if path is None:
            return None
        values, missing = _values(path)
        if values.shape != shape:
            turned = " It is turned: write its transpose." if values.shape == shape[::-1] else ""
            raise CatalogueError(
                f"The map of labels {path} has (lines, samples) {values.shape}, but its scene "
                f"{scene.name} has {shape}.{turned} Give a map with a class number for each pixel "
                "of the scene."
            )
        codes = _whole_numbers(path, values, missing)
        codes[np.isin(codes, self.unlabelled)] = -1
        return LabelMap(codes, _class_names(path))

    def _wanted(self, root: Path, scene: Path) -> str:
        if self.file is not None:
            return f"{root / self.file} does not exist"
        name = f"{bare_name(scene)}{self.suffix}"
        return f"there is no {name}.png (.tif, .npy, .mat, ...) beside {scene}"


def scenes_only(root: Path, files: Sequence[Path], labels: LabelSource | None) -> list[Path]:
    """Leave out the maps of labels among the files of a folder."""
    if not isinstance(labels, MapLabels):
        return list(files)
    return [path for path in files if not labels.is_map(root, path)]


def _values(path: Path) -> tuple[NDArray[np.generic], float | None]:
    """Return a map's values ``(H, W)``, and which of them stands for none."""
    missing: float | None = None
    try:
        if path.suffix.lower() == ".npy":
            values: NDArray[np.generic] = read_npy(lambda: np.load(path, allow_pickle=False))
        elif path.suffix.lower() == ".mat":
            values = _matrix(path)
        else:
            with open_quietly(path, (*DRIVERS, "ENVI")) as source:  # a classification
                values, missing = np.moveaxis(source.read(), 0, -1), source.nodata
    except CubeError as error:
        raise CatalogueError(f"The map of labels cannot be read: {error}") from error
    except HyperspecError:
        raise
    except (OSError, ValueError, NotImplementedError) as error:
        raise CatalogueError(f"The map of labels {path} cannot be read: {error}.") from error
    if values.ndim == 3:
        if not (values == values[..., :1]).all():
            raise CatalogueError(
                f"The map of labels {path} has {values.shape[2]} different channels, as a coloured "
                "picture has; write one channel of class numbers."
            )
        values = values[..., 0]
    return values, missing


def _matrix(path: Path) -> NDArray[np.generic]:
    """Return the one matrix of numbers of a MATLAB file."""
    file = open_mat(path)
    found = [
        name
        for name, (shape, kind) in file.arrays.items()
        if len(shape) == 2 and min(shape) > 1 and kind not in ("char", "cell", "struct")
    ]
    if len(found) != 1:
        raise CatalogueError(
            f"The map of labels {path} holds {', '.join(found) or 'no'} matrices of numbers; a map "
            "is one. Save the matrix of class numbers by itself, as .mat or .npy."
        )
    return file.read(found[0])


def _whole_numbers(
    path: Path, values: NDArray[np.generic], missing: float | None
) -> NDArray[np.int64]:
    """Return class numbers as they are, -1 where there is none."""
    if values.dtype.kind not in "biuf":
        raise CatalogueError(
            f"The map of labels {path} holds values of type {values.dtype}; write class numbers."
        )
    wide = values.astype(np.float64)  # a byte has no -1: it would become class 255
    none = ~np.isfinite(wide)
    if missing is not None:
        none |= wide == missing
    codes = np.where(none, -1.0, wide)
    wrong = codes[(codes != np.rint(codes)) | ((codes < 0) & ~none)]
    if wrong.size:
        raise CatalogueError(
            f"The map of labels {path} holds {wrong[0]:g}; class numbers are whole and 0 or more "
            "(0 for no label: data.labels.unlabelled)."
        )
    return codes.astype(np.int64)


def _class_names(path: Path) -> dict[int, str]:
    """Return what an ENVI classification calls its classes."""
    header = find_header(path)
    if header is None:
        return {}
    try:
        names = read_header(header).items("class names")
    except HyperspecError:
        return {}  # GDAL read the numbers by a header of another kind
    return dict(enumerate(names))
