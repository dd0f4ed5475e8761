"""Which files are calibration frames or a camera's own products, and which frames serve a scan.

Names tell: ``docs/cameras.md`` lists those of each vendor. A frame is never a specimen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from hyperspec.cubes.files import DATA_SUFFIXES, band_files, bare_name, find_header
from hyperspec.utils.errors import CatalogueError

WHITE, DARK, WHITE_DARK = "white", "dark", "white_dark"
# What `data.dark` says of cameras that subtract their dark by themselves.
NO_DARK: Final = "0"

_KIND = r"(?P<kind>white[\s_.-]*dark|white|dark)"
# No small letter may follow, so that `White calopteryx` and `Darkling beetle` are animals.
_WORD = (
    r"(ref(erence|lectance|s)?|frame|cal(ib(ration)?)?|current|panel|tile|board|target|standard)"
    r"(?-i:(?![a-z]))"
)
# `white`, `WHITEREF_01`, `WHITEDARKREF_01`, `dark_reference_crop`, `white-frame 2`
_FIRST = re.compile(rf"{_KIND}[\s_.-]*({_WORD}|(?=\d)|$)[\s_.-]*(?P<key>.*)", re.IGNORECASE)
# `scan_1_whiteref`, `scan_1_darkReference`
_LAST = re.compile(rf"(?P<key>.+)[\s_.-]{_KIND}[\s_.-]*{_WORD}[\s_.-]*\d*", re.IGNORECASE)
# `scan_1_dark`: a frame beside `scan_1` only, for it may be a form of the species.
_BARE = re.compile(rf"(?P<key>.+)[\s_.-]{_KIND}", re.IGNORECASE)
# What cameras make of `scan_1` by themselves.
_PRODUCT = re.compile(
    r"reflectance[\s_.-]+(?P<first>.+)|(?P<last>.+?)[\s_.-](reflectance|refl|rd|rd_rf|rd_rf_or)",
    re.IGNORECASE,
)
# `a_refl` reads as reflectance; `raw_0_rd` is radiance.
_REFLECTANCE = re.compile(
    r"reflectance[\s_.-].+|.+[\s_.-](reflectance|refl|rf|rf_or)", re.IGNORECASE
)
# A TIFF may be a picture; it is a frame only where the pattern asks for it.
_RAW: Final = frozenset(DATA_SUFFIXES) - {".tif", ".tiff"}
_LISTED: Final = 6  # files in a message
# Folders in which cameras put what they took, and what they made of it.
_SIDES: Final = frozenset({"capture", "results"})


def frame_kind(path: Path) -> str | None:
    """Return ``white``, ``dark`` or ``white_dark`` when a file's own name is a frame's, else None.

    Names such as ``scan_1_dark`` need their scan beside them: see :class:`Folder`.
    """
    match = _FIRST.fullmatch(bare_name(path)) or _LAST.fullmatch(bare_name(path))
    return None if match is None else _kind(match)


def named_reflectance(path: Path) -> bool:
    """Say whether a file's name calls its values reflectance."""
    return _REFLECTANCE.fullmatch(bare_name(path)) is not None


@dataclass(frozen=True)
class FrameFiles:
    """The frames that serve one scan.

    Args:
        white: The white frame.
        dark: The dark of the scan.
        white_dark: The dark of the white frame, where it has one of its own.
        no_dark: Whether the camera subtracts its dark, so that it is 0.
        dark_named: Whether the config names the dark frame.
        problem: Why the frames cannot be told; empty when they can.
        doubt: What should be looked at although they can; empty otherwise.
    """

    white: Path | None = None
    dark: Path | None = None
    white_dark: Path | None = None
    no_dark: bool = False
    dark_named: bool = False
    problem: str = ""
    doubt: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that there are: white, dark, the white's dark."""
        return tuple(p for p in (self.white, self.dark, self.white_dark) if p is not None)


@dataclass(frozen=True, eq=False)
class Folder:
    """The files of a folder and its subfolders by what they are.

    Args:
        root: The folder.
        files: Its data files.
        named: Frames that the config names, by kind; they serve every scan.
        no_dark: Whether the config says that the dark is 0.
    """

    root: Path
    files: Sequence[Path]
    named: Mapping[str, Path] = field(default_factory=dict)
    no_dark: bool = False

    @cached_property
    def frames(self) -> dict[Path, str]:
        """Kind of each frame."""
        by_name = {p: kind for p in self.files if (kind := frame_kind(p)) is not None}
        others = {(p.parent, _key(bare_name(p))) for p in self.files if p not in by_name}
        keyed = {(p.parent, _key_of(p)) for p in by_name}
        for path in self.files:
            bare = None if path in by_name else _BARE.fullmatch(bare_name(path))
            if bare is not None and (path.parent, _key(bare["key"])) in others | keyed:
                by_name[path] = _kind(bare)
        return by_name | {path: kind for kind, path in self.named.items()}

    @cached_property
    def left_out(self) -> dict[Path, str]:
        """Files that are another file once more, and why they are no specimens of their own.

        Of a scan and the reflectance that a camera made of it the scan is taken, with its frames;
        without a white frame the reflectance.
        """
        scans: dict[tuple[Path, str], Path] = {}
        for path in self.files:
            if path not in self.frames:
                scans.setdefault((_place(path), _key(bare_name(path))), path)
        found = {}
        for path in self.files:
            match = None if path in self.frames else _PRODUCT.fullmatch(bare_name(path))
            scan = match and scans.get((_place(path), _key(match["first"] or match["last"])))
            if not scan:
                continue
            if WHITE in self.frames.values() or not named_reflectance(path):
                found[path] = f"a product of {self._name(scan)}"
            else:
                found[scan] = f"there is {self._name(path)}, and no white frame"
        return found

    @cached_property
    def specimens(self) -> list[Path]:
        """What is neither a frame nor another file once more."""
        return [p for p in self.files if p not in self.frames and p not in self.left_out]

    @cached_property
    def doubtful(self) -> list[tuple[Path, Path]]:
        """Pairs such as ``x_white`` and ``x_dark`` that may be frames, read as specimens."""
        ends: dict[tuple[Path, str], dict[str, Path]] = {}
        for path in self.specimens:
            bare = _BARE.fullmatch(bare_name(path))
            if bare is not None:
                ends.setdefault((path.parent, _key(bare["key"])), {})[_kind(bare)] = path
        return [(both[WHITE], both[DARK]) for both in ends.values() if {WHITE, DARK} <= set(both)]

    def frames_of(self, scan: Path) -> FrameFiles:
        """Return the frames that serve a scan.

        Those that the config names; else those of the scan's own name, of its folder, of the
        nearest folder above that has some in or below it.
        """
        chosen: dict[str, Path | None] = {}
        problem = ""
        for kind in (WHITE, DARK):
            if kind == DARK and self.no_dark:
                chosen[kind] = None
                continue
            found = [self.named[kind]] if kind in self.named else self._candidates(scan, kind)
            chosen[kind] = found[0] if len(found) == 1 else None
            if len(found) > 1 and not problem:
                listed = ", ".join(self._name(path) for path in found[:_LISTED])
                if len(found) > _LISTED:
                    listed += f" and {len(found) - _LISTED} more"
                problem = (
                    f"Several files could be the {kind} frame: {listed}. Name one with "
                    f"data.{kind}, or each after its scan ({kind.upper()}REF_{bare_name(scan)})."
                )
        white, dark = chosen[WHITE], chosen[DARK]
        own = None if self.no_dark or DARK in self.named else self._dark_of(white)
        doubt = self._doubt(scan, white) or self._doubt(scan, dark)
        told = (self.no_dark, DARK in self.named)
        return FrameFiles(white, dark, own, *told, problem, doubt)

    def _candidates(self, scan: Path, kind: str) -> list[Path]:
        """Return the nearest frames of a kind: one, several that cannot be told apart, or none."""
        own_everywhere = self._by_key.get((kind, _key(bare_name(scan))), [])
        shared_everywhere = self._shared.get(kind, [])
        at = scan.parent
        while True:
            own = [path for path in own_everywhere if path.is_relative_to(at)]
            shared = [path for path in shared_everywhere if path.is_relative_to(at)]
            found = own or [path for path in shared if path.parent == at] or shared
            if found:
                return found
            if at in (self.root, at.parent):
                return [path for path, its in self.frames.items() if its == kind]
            at = at.parent

    def _dark_of(self, white: Path | None) -> Path | None:
        """Return the dark that was taken with a white frame."""
        if white is None:
            return None
        own = self._by_key.get((WHITE_DARK, _key_of(white)), [])
        found = [p for p in own or self._shared.get(WHITE_DARK, []) if p.parent == white.parent]
        return found[0] if len(found) == 1 else None

    def _doubt(self, scan: Path, frame: Path | None) -> str:
        if frame is None or frame in self.named.values():
            return ""
        beside, key = self._first_specimens.get(frame.parent), _key_of(frame)
        if key in self._scan_keys and key != _key(bare_name(scan)):
            why = "is named after another scan"
        elif frame.parent not in scan.parents and beside is not None:
            why = f"lies beside {self._name(beside)}"
        else:
            return ""
        kind, name = self.frames[frame], self._name(frame)
        return (
            f"has no {kind} frame of its own; {name} serves it, which {why}. Is it the right one?"
        )

    @cached_property
    def _first_specimens(self) -> dict[Path, Path]:
        """The first specimen of each folder."""
        return {path.parent: path for path in reversed(self.specimens)}

    @cached_property
    def _scan_keys(self) -> frozenset[str]:
        return frozenset(_key(bare_name(path)) for path in self.specimens)

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], list[Path]]:
        found: dict[tuple[str, str], list[Path]] = {}
        for path, kind in self.frames.items():
            found.setdefault((kind, _key_of(path)), []).append(path)
        return found

    @cached_property
    def _shared(self) -> dict[str, list[Path]]:
        """Frames by kind that are not named after a scan."""
        found: dict[str, list[Path]] = {}
        for (kind, key), paths in self._by_key.items():
            if key not in self._scan_keys:
                found.setdefault(kind, []).extend(paths)
        return found

    def _name(self, path: Path) -> str:
        inside = path.is_relative_to(self.root)
        return path.relative_to(self.root).as_posix() if inside else str(path)


def sort_files(
    root: Path, files: Sequence[Path], white: str | None = None, dark: str | None = None
) -> Folder:
    """Return what a folder's files are.

    Args:
        root: The folder.
        files: Cubes that fit the pattern; frames are looked for beside them under any pattern.
        white: The white frame's path relative to ``root`` from the config; None looks by name.
        dark: The same for the dark frame; ``0`` for a camera that subtracts it.

    Raises:
        CatalogueError: If a named frame does not exist.
    """
    named = {}
    for kind, name in ((WHITE, white), (DARK, None if dark == NO_DARK else dark)):
        if name is not None:
            named[kind] = root / name
            if not named[kind].exists():
                raise CatalogueError(
                    f"data.{kind} is {name!r}, but {named[kind]} does not exist. Give the file of "
                    f"the {kind} frame relative to data.root, or leave it out to look for it by "
                    "name."
                )
    found = Folder(root, files, named, dark == NO_DARK)
    missing = {WHITE, DARK} - set(found.frames.values())
    more = [path for path in _frames_below(files, root) if frame_kind(path) in missing]
    return replace(found, files=[*files, *more]) if more else found


def frames_beside(cube: Path, white: Path | None = None, dark: Path | str | None = None) -> Folder:
    """Return a cube and the frames that may serve it: in its folder, and in the two above.

    Args:
        cube: A data file, or the folder of a band set.
        white: A white frame that is named.
        dark: The same for the dark frame; ``0`` for a camera that subtracts it.
    """
    cube = cube.absolute()
    no_dark = dark == NO_DARK
    named = {WHITE: white, DARK: None if no_dark or dark is None else Path(dark)}
    folders = [cube.parent, *cube.parent.parents[:2]]
    files = [path for path in sorted(cube.parent.iterdir()) if path.suffix.lower() in DATA_SUFFIXES]
    for folder in folders[1:]:
        files += [path for path in sorted(folder.iterdir()) if frame_kind(path) is not None]
    alike = _is_band_set if cube.is_dir() else _is_frame
    kept = [p for p in files if p == cube or (alike(p) if frame_kind(p) else p.is_file())]
    given = {kind: path for kind, path in named.items() if path is not None}
    return Folder(folders[-1], kept, given, no_dark)


def _is_band_set(path: Path) -> bool:
    return path.is_dir() and bool(band_files(path))


def _is_frame(path: Path) -> bool:
    """Say whether a file with a frame's name is a raw cube."""
    is_raw = path.suffix.lower() in _RAW and not path.name.startswith(".") and path.is_file()
    return is_raw and find_header(path) is not None


def _frames_below(files: Sequence[Path], root: Path) -> list[Path]:
    """Return all frames, which a pattern such as ``DATA_*.raw`` leaves out."""
    if any(path.is_dir() for path in files[:1]):
        return []  # of band sets the pattern takes folders, frames among them
    return [
        path
        for path in sorted(root.rglob("*"))
        if frame_kind(path) is not None
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and _is_frame(path)
    ]


def _kind(match: re.Match[str]) -> str:
    word = match["kind"].lower()
    return WHITE_DARK if word not in (WHITE, DARK) else word


def _key_of(frame: Path) -> str:
    """Return what a frame's name says besides being a frame: the name of its scan, or nothing."""
    name = bare_name(frame)
    match = _FIRST.fullmatch(name) or _LAST.fullmatch(name) or _BARE.fullmatch(name)
    return "" if match is None else _key(match["key"])


def _key(name: str) -> str:
    return name.casefold().strip(" _.-")


def _place(path: Path) -> Path:
    """Return the folder of a scan: that above `capture` and `results`."""
    return path.parent.parent if path.parent.name.lower() in _SIDES else path.parent
