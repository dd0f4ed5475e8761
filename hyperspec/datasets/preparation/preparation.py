"""How raw cubes become images: the keys of the config's `data` that decide their values.

Each key is declared here once. The config's dataclasses inherit them beside where the cubes lie;
what is hashed, and kept in a store's index, is :class:`PrepareSettings` or :class:`TileSettings`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from hyperspec.spectra.white_target import MAX_TARGET
from hyperspec.utils.errors import ConfigError

# Words of `data.calibrate` for values as they are; the second is that of version 0.1.0.
NEVER: Final = ("never", "none")


@dataclass
class Preparation:
    """From stored values to reflectance of the foreground."""

    calibrate: str = "auto"
    """`auto` divides counts by the white frames that the folder has, and leaves alone what is
    reflectance already; `always` divides whatever the values are, and refuses without frames;
    `never` (until 0.1.0: `none`) reads values as they are."""
    white_reflectance: Any = field(default=1.0, metadata={"content": True})
    """Reflectance of the white target, above 0 and at most 2, or a CSV of nm and reflectance, below
    the root."""
    mask: str = "auto"
    """Foreground: `image` (beside the cube), `otsu`, `none` (whole frame), or `auto`: the first
    that works."""

    def __post_init__(self) -> None:
        one_of("calibrate", self.calibrate, ("auto", "always", *NEVER))
        one_of("mask", self.mask, ("auto", "image", "otsu", "none"))
        self.white_reflectance = _number_or_file(self.white_reflectance)
        if isinstance(self.white_reflectance, float):
            fits = 0 < self.white_reflectance <= MAX_TARGET
            _inside("white_reflectance", self.white_reflectance, fits, "above 0 and at most 2")

    @classmethod
    def of(cls, other: Preparation, **changed: Any) -> Self:
        """Return another's values of the keys that both have, some of them changed."""
        shared = {f.name for f in fields(cls)} & {f.name for f in fields(other)}
        return cls(**{**{name: getattr(other, name) for name in shared}, **changed})


@dataclass
class ImageKeys(Preparation):
    """One image per cube: the specimen, cropped and resized."""

    size: int = 64
    """Side of the prepared images in pixels, at least 1."""
    crop_margin: float | None = 0.05
    """Margin around the specimen on each side, as a share of its longer side, 0 to 1; null takes
    the whole frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _inside("size", self.size, self.size >= 1, "a number of pixels, at least 1")
        if self.crop_margin is not None:
            _inside("crop_margin", self.crop_margin, 0 <= self.crop_margin <= 1, "between 0 and 1")


@dataclass
class TileKeys(Preparation):
    """Many images per scene, as they lie in it."""

    tile: int = 32
    """Side of a window in pixels, at least 1."""
    stride: int = 16
    """Step between windows in pixels, 1 to `tile`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _inside("tile", self.tile, self.tile >= 1, "a number of pixels, 1 or more")
        if not 1 <= self.stride <= self.tile:
            raise ConfigError(
                f"data.stride is {self.stride}; it must be between 1 and data.tile ({self.tile}), "
                "or parts of the scene would be left out."
            )


@dataclass
class PrepareSettings(ImageKeys):
    """How cubes become images of one size; part of each image's key in a store."""

    dtype: str = "float16"
    """Type in which images are kept: `float16` or `float32`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("dtype", self.dtype, ("float16", "float32"))


@dataclass
class TileSettings(TileKeys):
    """How a scene is cut; part of the hash of its tiles."""

    dtype: str = "float16"
    """Type of the planes: `float16` or `float32`."""

    def of_scene(self) -> PrepareSettings:
        """Return the settings of the scene's own preparation, before it is cut."""
        return PrepareSettings.of(self, size=self.tile)


def _number_or_file(value: object) -> float | str:
    """Return a number as a float, so that 1 and 1.0 are one setting; another text is a file."""
    try:
        return float(value)  # type: ignore[arg-type]  # what is neither is refused below
    except (TypeError, ValueError):
        if isinstance(value, str) and value:
            return value
    raise ConfigError(
        f"data.white_reflectance is {value!r}; give a number, or a CSV of nm and reflectance."
    )


def one_of(key: str, value: str, accepted: tuple[str, ...]) -> None:
    """Refuse a word that is none of the accepted ones.

    Raises:
        ConfigError: Naming them.
    """
    if value not in accepted:
        raise ConfigError(f"data.{key} is {value!r}; choose one of {', '.join(accepted)}.")


def _inside(key: str, value: float, fits: bool, words: str) -> None:
    if not fits:
        raise ConfigError(f"data.{key} is {value}; it must be {words}.")
