"""What becomes of a cube's values, as far as names and headers tell: a plan, or why there is none.

Every command asks here, so that all say and do the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hyperspec.cubes.acquisition import (
    Acquisition,
    comparable,
    different_settings,
    exposure_ratio,
)
from hyperspec.cubes.frames import named_reflectance
from hyperspec.datasets.catalogue.records import CubeRecord, FrameRecord, Stored
from hyperspec.datasets.preparation.preparation import NEVER
from hyperspec.utils.errors import CatalogueError

# Ends every refusal.
WAY_OUT: Final = "set data.calibrate=never to read the values as they are."


@dataclass(frozen=True)
class Dark:
    """Where a dark comes from.

    Args:
        path: A dark frame, or the file whose own dark lines are meant; None for a dark of 0.
        inside: Whether it is the lines behind the closed shutter in ``path``.
    """

    path: Path | None = None
    inside: bool = False

    @property
    def kind(self) -> str:
        """Where it comes from, without its name."""
        return "zero" if self.path is None else "inside" if self.inside else "frame"

    def text(self, root: Path) -> str:
        """Name it for a reader."""
        if self.path is None:
            return "dark = 0"
        return f"dark lines of {below(self.path, root)}" if self.inside else below(self.path, root)


@dataclass(frozen=True)
class Plan:
    """What becomes of one cube's values.

    Args:
        words: It in words: the frames, or why there is no calibration.
        white: The white frame; None when values stay as they are.
        dark: The dark of the cube; one inside its file is subtracted without a white too.
        white_dark: The dark of the white frame.
        ratio: How many times longer the cube was exposed than the white frame.
        by_values: Whether the values are to be looked at first: floats may be reflectance already.
        is_reflectance: Whether names or headers call the values reflectance.
        differs: What version 0.1.0 did not do; part of what a store is found by.
        doubts: What should be looked at.
    """

    words: str
    white: Path | None = None
    dark: Dark = Dark()
    white_dark: Dark = Dark()
    ratio: float = 1.0
    by_values: bool = False
    is_reflectance: bool = False
    differs: tuple[object, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is calibration by one white and one dark frame and nothing else."""
        return self.white is not None and not self.differs


def below(path: Path, root: Path) -> str:
    """Return a file's path from the folder on."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def plan_for(
    cube: CubeRecord, frames: Mapping[Path, FrameRecord], calibrate: str, root: Path
) -> Plan:
    """Say what becomes of a cube's values.

    Args:
        cube: The cube, and the frames that serve it.
        frames: What was read of these.
        calibrate: As ``data.calibrate``.
        root: The folder, for messages.

    Raises:
        CatalogueError: If calibration is asked for, or the frames that are there ask for it, and
            it cannot be right; the message leaves the cube's name to the caller.
    """
    plan = _plan(cube, frames, calibrate, root)
    start = cube.stored.acquisition.dark_start
    if start is None:
        return plan
    words = f"{plan.words} (lines from {start} on are dark, and no part of the picture)"
    plan = replace(plan, words=words, differs=(*plan.differs, f"dark lines from {start}"))
    if plan.white is not None or plan.is_reflectance or calibrate in NEVER:
        return plan
    # Counts stay counts, but the dark is known.
    dark = Dark(cube.path, inside=True)
    words = f"no white frame; its dark lines, from {start} on, are subtracted and no picture"
    return replace(plan, words=words, dark=dark, differs=(*plan.differs, "subtracted"))


def _plan(cube: CubeRecord, frames: Mapping[Path, FrameRecord], calibrate: str, root: Path) -> Plan:
    if calibrate in NEVER:
        return Plan(f"none asked for (data.calibrate={calibrate})")
    white = frames.get(cube.frames.white) if cube.frames.white else None
    told = _told(cube, white.stored if white else None)
    if told and calibrate == "auto":
        both = cube.frames.white is not None and cube.frames.dark is not None
        kept = ("as stored",) if both else ()
        return Plan(f"none: {told}, so the values are reflectance already", is_reflectance=True,
                    differs=kept)  # fmt: skip
    if cube.frames.problem:
        raise CatalogueError(f"{cube.frames.problem} Or {WAY_OUT}")
    if white is None or cube.frames.white is None:
        return _without_white(cube, calibrate, root)
    return _with_white(cube, cube.frames.white, frames, calibrate, root)


def _told(cube: CubeRecord, white: Stored | None) -> str:
    """Return what calls the values reflectance; empty when nothing does."""
    stored = cube.stored
    if stored.acquisition.is_reflectance:
        return f"the header says {stored.acquisition.is_reflectance}"
    if named_reflectance(cube.path):
        return "its name says reflectance"
    # Some cameras write a scale into raw headers too, those of their frames among them.
    if white is not None and stored.scaled_as(white):
        return ""
    if stored.gains is not None and stored.gains.quantity == "reflectance":
        return "the header has gains that lead to reflectance"
    if stored.scale_factor != 1:
        return f"the header says that {stored.scale_factor:g} stands for a reflectance of 1"
    return ""


def _without_white(cube: CubeRecord, calibrate: str, root: Path) -> Plan:
    dark = cube.frames.dark
    if dark is not None:
        raise CatalogueError(
            f"{root} has a dark frame ({below(dark, root)}) but no white frame, and calibration "
            f"needs both. Add it, name it with data.white, or {WAY_OUT}"
        )
    if calibrate == "always":
        raise CatalogueError(
            f"data.calibrate=always needs a white frame, and {root} has none. Name it with "
            "data.white, or leave it to data.calibrate=auto."
        )
    return Plan("none: no white frame")


def _with_white(
    cube: CubeRecord, path: Path, frames: Mapping[Path, FrameRecord], calibrate: str, root: Path
) -> Plan:
    white = _readable(path, frames)
    dark, white_dark = _darks(cube, path, white, root)
    used = [path, *(d.path for d in (dark, white_dark) if d.path and not d.inside)]
    for frame in dict.fromkeys(used):
        _check_fits(cube, frame, frames, root)
    others = {
        "the white": white.acquisition,
        "the dark": _acquisition(dark, cube, frames),
        "the white's dark": _acquisition(white_dark, cube, frames),
    }
    own = cube.stored.acquisition
    for what, other in others.items():
        different = different_settings(own, other)
        if different:
            raise CatalogueError(
                f"was taken with another setting than {what} ({'; '.join(different)}), and how "
                "counts change with it is not known. Give frames of the same setting (data.white, "
                f"data.dark), or {WAY_OUT}"
            )
    ratio, said = _ratio(own, white.acquisition)
    doubts = [cube.frames.doubt, _other_time("scan", own, others["the dark"], dark, root)]
    doubts.append(
        _other_time("white", white.acquisition, others["the white's dark"], white_dark, root)
    )
    plain = not (dark.inside or white_dark != dark or dark.path is None or ratio != 1)
    words = [below(path, root), dark.text(root)]
    if white_dark != dark:
        words.append(f"of the white: {white_dark.text(root)}")
    differs = [] if plain else [f"dark {dark.kind}, {white_dark.kind}", f"times {ratio!r}"]
    return Plan(
        ", ".join(words) + said,
        path,
        dark,
        white_dark,
        ratio,
        by_values=calibrate == "auto" and cube.stored.kind == "f",
        differs=tuple(differs),
        doubts=tuple(dict.fromkeys(filter(None, doubts))),
    )


def _readable(path: Path, frames: Mapping[Path, FrameRecord]) -> Stored:
    frame = frames[path]
    if frame.stored is None:
        raise CatalogueError(f"needs the frame {path}, which cannot be read: {frame.error}")
    return frame.stored


def _darks(cube: CubeRecord, path: Path, white: Stored, root: Path) -> tuple[Dark, Dark]:
    """Return the dark of the cube and that of its white frame."""
    files = cube.frames
    if files.no_dark:
        return Dark(), Dark()
    own = files.white_dark and Dark(files.white_dark)
    of_white = Dark(path, inside=True) if white.acquisition.dark_start is not None else own
    frame = files.dark and Dark(files.dark)
    inside = cube.stored.acquisition.dark_start is not None and not files.dark_named
    dark = Dark(cube.path, inside=True) if inside else frame or of_white
    if not dark:
        raise CatalogueError(
            f"{root} has a white frame ({below(path, root)}) but no dark frame, and calibration "
            "needs both. Add it, name it with data.dark, say data.dark=0 if the camera subtracts "
            f"its dark by itself, or {WAY_OUT}"
        )
    if files.dark_named:
        return dark, dark
    return dark, of_white or frame or dark


def _check_fits(
    cube: CubeRecord, path: Path, frames: Mapping[Path, FrameRecord], root: Path
) -> None:
    stored, shape = _readable(path, frames), frames[path].shape
    if not cube.stored.gains_as(stored):
        raise CatalogueError(
            f"is read as {cube.stored.gains or 'stored'}, but the frame {below(path, root)} as "
            f"{stored.gains or 'stored'}: gains and offsets (`data gain values`, ...) must be "
            f"those of both. Correct the headers, or {WAY_OUT}"
        )
    assert shape is not None  # it is readable
    bands, _, samples = cube.shape
    if (shape[0], shape[2]) != (bands, samples):
        raise CatalogueError(
            f"has {bands} bands and {samples} samples, but the calibration frame "
            f"{below(path, root)} has {shape[0]} and {shape[2]}. Give the frames of this sensor "
            f"setting (data.white, data.dark), or {WAY_OUT}"
        )


def _acquisition(dark: Dark, cube: CubeRecord, frames: Mapping[Path, FrameRecord]) -> Acquisition:
    if dark.path is None or dark.path == cube.path:
        return Acquisition()
    stored = frames[dark.path].stored
    return Acquisition() if stored is None else stored.acquisition


def _ratio(own: Acquisition, white: Acquisition) -> tuple[float, str]:
    """Return the ratio of the exposures, and what to say of it."""
    ratio = exposure_ratio(own, white)
    times = f"{own.exposure_text}; the white frame: {white.exposure_text}"
    if ratio is None and comparable(own, white):
        raise CatalogueError(
            f"was exposed otherwise than its white frame, by more than one factor ({times}). Give "
            f"a white frame of the same exposure (data.white), or {WAY_OUT}"
        )
    if ratio is None and {*own.exposure.values()} != {*white.exposure.values()}:
        if own.exposure and white.exposure:
            raise CatalogueError(
                "and its white frame tell their exposures in words that cannot be compared "
                f"({times}). Write both under one key into the headers, or {WAY_OUT}"
            )
        silent = "its" if own.exposure else "the cube's"
        return 1.0, f" (as {silent} header tells no exposure, it is taken as that of the other)"
    if ratio in (None, 1):
        return 1.0, ""
    return ratio, f"; scaled by the exposure, as of a linear sensor ({times})"


def _other_time(what: str, own: Acquisition, other: Acquisition, dark: Dark, root: Path) -> str:
    ratio = exposure_ratio(own, other)
    if ratio in (None, 1):
        return ""
    return (
        f"the dark {dark.text(root)} was exposed by {other.exposure_text}, the {what} by "
        f"{own.exposure_text}; it is subtracted as it is. A dark of the same exposure is safer."
    )


def mixed_exposures(cubes: Sequence[tuple[CubeRecord, Plan]], root: Path) -> str:
    """Say which cubes of raw counts were exposed differently and stay as they are; or nothing."""
    raw = [
        cube
        for cube, plan in cubes
        if plan.white is None and not plan.is_reflectance and cube.stored.kind != "f"
    ]
    groups: dict[str, list[str]] = {}
    for cube in raw:
        if cube.stored.acquisition.exposure:
            known = groups.setdefault(_rounded(cube.stored.acquisition.exposure), [])
            known.append(below(cube.path, root))
    if len(groups) < 2:
        return ""
    return (
        f"holds counts of {len(groups)} exposures that no white frame makes comparable "
        f"({_each(groups)}). "
        "An encoder may learn the exposure instead of the label. Add frames (data.white, "
        "data.dark), or keep to one exposure."
    )


def unlike_under_one_white(
    cubes: Sequence[tuple[CubeRecord, Plan]], frames: Mapping[Path, FrameRecord], root: Path
) -> Iterator[tuple[list[str], str]]:
    """Yield cubes of different settings that a white of an unknown one serves, and what to say.

    It can be right for one of the settings at most.
    """
    served: dict[Path, dict[str, list[str]]] = {}
    for cube, plan in cubes:
        white = None if plan.white is None else frames[plan.white].stored
        if plan.white is None or white is None:
            continue
        own, other = cube.stored.acquisition, white.acquisition
        times = {} if other.exposure else own.exposure
        settings = [f"{k} {v}" for k, v in own.setting.items() if k not in other.setting]
        text = ", ".join(filter(None, [_rounded(times), *settings]))
        served.setdefault(plan.white, {}).setdefault(text, []).append(cube.file)
    for path, groups in served.items():
        told = {text: files for text, files in groups.items() if text}
        if len(told) > 1:
            yield (
                [file for files in told.values() for file in files],
                f"share the white frame {below(path, root)}, whose header does not tell its own "
                f"setting, but were taken with different ones ({_each(told)}). Give a white for "
                "each setting (named after its scans), write the white's into its header, or "
                f"{WAY_OUT}",
            )


def _rounded(exposure: Mapping[str, float]) -> str:
    """Write exposures so that those which differ by rounding are one."""
    return ", ".join(f"{key} {value:.3g}" for key, value in exposure.items())


def _each(groups: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{text}: {several(files)}" for text, files in list(groups.items())[:6])


def several(files: Sequence[str]) -> str:
    """Name some files: ``a.bil and 3 more``."""
    return files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "")
