"""Which files of a folder are cubes: one list for every command, and what is left out of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final

from hyperspec.cubes.array_file import ARRAY_SUFFIXES
from hyperspec.cubes.files import BAND_SUFFIXES, DATA_SUFFIXES, band_files, check_root, is_mask
from hyperspec.cubes.formats import foreign_format
from hyperspec.utils.errors import RENAME, CatalogueError, is_text, shown_name
from hyperspec.utils.globs import fits
from hyperspec.utils.problems import Problem

AUTO: Final = "auto"
"""The pattern that takes every raw cube, as ``*`` does."""
_ALL: Final = (AUTO, "*")
_TIFF: Final = (".tif", ".tiff")
# A TIFF may be a mask or a picture; it is a cube only when the pattern asks for it.
_RAW: Final = frozenset(DATA_SUFFIXES) - {*_TIFF, ""}
# Other programs write files of the other extensions too: logs, settings, photographs.
_SURELY: Final = (".bil", ".bip", ".bsq")
_NAMED = 3  # files that a line names


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Args:
        cubes: Data files, or folders of band sets, sorted; calibration frames among them.
        headers: Headers that have no data file.
        problems: What is left out, and why.
    """

    cubes: tuple[Path, ...]
    headers: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()


def list_cubes(root: Path, pattern: str = AUTO) -> Listing:
    """List the cubes of a folder and its subfolders.

    Links to folders are followed once. Hidden files and folders are no data.

    Args:
        root: The folder.
        pattern: ``auto`` and ``*`` take every file with a raw cube's extension (``.bil``, ``.raw``,
            ...) and every other file that has a header of its full name; another pattern
            (``*.bil``) takes what it says, its extension in any letter case. One that ends with a
            slash (``*/``) takes folders that hold rasters: band sets, each one cube.

    Raises:
        CatalogueError: If the folder does not exist or holds no cube.
    """
    check_root(root)
    tree = _walk(root)
    listing = _band_sets(tree, pattern) if pattern.endswith("/") else _raw_cubes(tree, pattern)
    if not listing.cubes and not listing.headers:
        raise _nothing(tree, pattern, listing.problems)
    return _readable(listing, tree)


def _readable(listing: Listing, tree: _Tree) -> Listing:
    """Turn files whose names are no UTF-8 into problems: no table, store or run can keep them."""

    def known(path: Path) -> bool:
        return is_text(str(path.relative_to(tree.root)))

    text = f"has a name that is not UTF-8. {RENAME}."
    files = (*listing.cubes, *listing.headers)
    problems = [Problem(tree.name(path), "error", text) for path in files if not known(path)]
    cubes, headers = (tuple(filter(known, paths)) for paths in (listing.cubes, listing.headers))
    return Listing(cubes, headers, (*listing.problems, *problems))


@dataclass
class _Tree:
    """Files and folders below a root, without hidden ones."""

    root: Path
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def name(self, path: Path) -> str:
        return shown_name(path.relative_to(self.root).as_posix())

    def note(self, text: str) -> None:
        self.problems.append(Problem(".", "note", text))


def _walk(root: Path) -> _Tree:
    """Look into every folder once; links come last, so that a real folder gives the names."""
    tree = _Tree(root)
    pending, links = [root], list[Path]()
    seen: dict[tuple[int, int], Path] = {}
    while pending or links:
        folder = pending.pop() if pending else links.pop(0)
        status = folder.stat()
        key = (status.st_dev, status.st_ino)
        if (skipped := _leads_back(folder, root, seen.get(key))) is not None:
            tree.problems.append(Problem(tree.name(folder), "warning", skipped))
            continue
        seen[key] = folder
        if folder != root:
            tree.folders.append(folder)
        for entry in _entries(folder, tree):
            path = folder / entry.name
            if entry.name.startswith("."):
                tree.hidden.append(path)
            elif _is_there(entry, path, tree):
                if entry.is_dir():
                    (links if entry.is_symlink() else pending).append(path)
                elif entry.is_file():
                    tree.files.append(path)
        links.sort()
    tree.files.sort()
    tree.folders.sort()
    return tree


def _entries(folder: Path, tree: _Tree) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        text = f"is a folder that cannot be read: {error.strerror or error}."
        tree.problems.append(Problem(tree.name(folder), "error", text))
        return []


def _is_there(entry: os.DirEntry[str], path: Path, tree: _Tree) -> bool:
    """Say whether a path leads anywhere; a cube's link that does not is told."""
    if not entry.is_symlink():
        return True
    try:
        path.stat()
    except OSError:
        if path.suffix.lower() in (*_RAW, ".hdr"):
            text = (
                f"is a link to {os.readlink(path)}, which is not there. Fetch it (git annex get, "
                "datalad get), or take the link away."
            )
            tree.problems.append(Problem(tree.name(path), "error", text))
        return False
    return True


def _leads_back(folder: Path, root: Path, before: Path | None) -> str | None:
    """Return why a link is not followed, None if it is; only links come to a folder twice."""
    if folder == root or (before is None and not folder.is_symlink()):
        return None
    real = folder.resolve()
    if folder.parent.resolve().is_relative_to(real) or root.resolve().is_relative_to(real):
        return f"is a link to {real}, a folder that it lies in itself: it is not followed."
    if before is not None:
        name = before.relative_to(root).as_posix()
        return f"is the same folder as {name}, which is read already: it is not read again."
    return None


def _raw_cubes(tree: _Tree, pattern: str) -> Listing:
    headers = {_header_key(path): path for path in tree.files if path.suffix.lower() == ".hdr"}
    data = [p for p in tree.files if p.suffix.lower() != ".hdr" and not is_mask(p)]
    likely = [path for path in data if _looks_like_a_cube(path, headers)]
    if pattern in _ALL:
        cubes = _without_foreign(tree, likely, headers)
        _tell_tiffs(tree, set(data) - set(likely))
    else:
        cubes = [path for path in data if fits(tree.name(path), pattern)]
        others = sorted(set(likely) - set(cubes))
        if others:
            _tell_others(tree, others, pattern)
    _tell_hidden(tree)
    tree.problems += _of_one_name(tree, cubes)
    owned = {key for path in [*cubes, *likely, *_tiffs(data)] for key in _header_keys(path)}
    lone = [
        header
        for key, header in headers.items()
        if key not in owned and (pattern in _ALL or _would_fit(header, tree, pattern))
    ]
    lone = [header for header in lone if not _is_picture(header)]
    return Listing(tuple(cubes), tuple(sorted(lone)), tuple(tree.problems))


def _band_sets(tree: _Tree, pattern: str) -> Listing:
    wanted = pattern.rstrip("/") or "*"
    found = [p for p in tree.folders if fits(tree.name(p), wanted) and band_files(p)]
    return Listing(tuple(found), (), tuple(tree.problems))


def _header_key(header: Path) -> tuple[Path, str]:
    """Name a header without regard to how ``.hdr`` is written."""
    return header.parent, header.stem


def _header_keys(path: Path) -> tuple[tuple[Path, str], tuple[Path, str]]:
    """Return the keys of the headers that a data file may have: ``x.bil.hdr`` and ``x.hdr``."""
    return (path.parent, path.name), (path.parent, path.stem)


def _looks_like_a_cube(path: Path, headers: dict[tuple[Path, str], Path]) -> bool:
    # `scan_1.2_a` has the suffix `.2_a`: any name may lack a real extension. But `x.png` beside
    # `x.hdr` and `x.raw` is a picture: only a header named after the whole file makes it a cube.
    return path.suffix.lower() in _RAW or (path.parent, path.name) in headers


def _without_foreign(
    tree: _Tree, likely: Sequence[Path], headers: dict[tuple[Path, str], Path]
) -> list[Path]:
    """Leave out extensions of which no file has a header, where others have: they are no cubes."""
    sure = {_header_keys(p)[1] for p in likely if p.suffix.lower() in _SURELY}
    described = {p for p in likely if _is_described(p, headers, sure)}
    with_header = {path.suffix.lower() for path in described}
    foreign: dict[str, list[Path]] = {}
    for path in likely:
        suffix = path.suffix.lower()
        if described and suffix not in with_header and suffix not in _SURELY:
            foreign.setdefault(suffix, []).append(path)
    for suffix, paths in foreign.items():
        text = (
            f"holds {_counted(len(paths), suffix)} without a header beside them, left out "
            f"({_names(tree, paths)}). Where these are cubes, copy their headers there, or read "
            f"them alone with data.pattern='*{suffix}'."
        )
        tree.problems.append(Problem(".", "warning", text))
    return [path for path in likely if path.suffix.lower() not in foreign]


def _is_described(
    path: Path, headers: dict[tuple[Path, str], Path], sure: set[tuple[Path, str]]
) -> bool:
    """Say whether a header is a file's own: `x.hdr` beside `x.bil` and a log `x.dat` is not."""
    named, short = _header_keys(path)
    return named in headers or (
        short in headers and (path.suffix.lower() in _SURELY or short not in sure)
    )


def _tiffs(files: Sequence[Path] | set[Path]) -> list[Path]:
    return sorted(path for path in files if path.suffix.lower() in _TIFF)


def _tell_tiffs(tree: _Tree, files: set[Path]) -> None:
    if found := _tiffs(files):
        tree.note(
            f"holds {_counted(len(found), found[0].suffix)}, not read ({_names(tree, found)}): a "
            "TIFF counts as a cube where data.pattern asks for it, as '*.tif' does, or '*/' where "
            "a folder of them is one cube."
        )


def _tell_others(tree: _Tree, others: Sequence[Path], pattern: str) -> None:
    text = f"does not fit data.pattern={pattern}, so that it is left out"
    if len(others) > 1:
        text = text.replace("does", "do").replace("it is", "they are")
    kinds = Counter(path.suffix.lower() for path in others)
    what = ", ".join(_counted(count, suffix) for suffix, count in sorted(kinds.items()))
    tree.note(f"holds {what} that {text} ({_names(tree, others)}).")


def _tell_hidden(tree: _Tree) -> None:
    """Name hidden files that would be cubes, and hidden folders that hold such."""
    found = [path for path in tree.hidden if _holds_cubes(path)]
    if found:
        tree.note(f"has hidden cubes, which are not read: {_names(tree, sorted(found))}.")


def _holds_cubes(path: Path) -> bool:
    try:
        names = os.listdir(path) if path.is_dir() else [path.name]
    except OSError:
        return False
    return any(PurePath(name).suffix.lower() in _RAW for name in names)


def _of_one_name(tree: _Tree, cubes: Sequence[Path]) -> Iterator[Problem]:
    """Yield an error for each cube beside another of its name: two versions of one scan?"""
    first: dict[tuple[Path, str], Path] = {}
    for path in cubes:
        suffix = path.suffix.lower()
        other = first.setdefault((path.parent, path.stem if suffix in _RAW else path.name), path)
        if other != path:
            text = (
                f"has the same name as {other.name}. Are both one scan, raw and processed? Choose "
                f"one kind, such as data.pattern='*{other.suffix}', or rename one."
            )
            yield Problem(tree.name(path), "error", text)


def several_kinds(specimens: Sequence[Path], pattern: str) -> list[Problem]:
    """Return a warning where specimens have several extensions and nobody chose among them."""
    suffixes = (path.suffix.lower() for path in specimens)
    kinds = Counter(suffix if suffix in _RAW else "" for suffix in suffixes)
    if pattern not in _ALL or len(kinds) < 2:
        return []
    what = ", ".join(_counted(count, suffix or "other") for suffix, count in kinds.items())
    text = (
        f"holds cubes of several kinds: {what}. Where one kind was made from the other, choose one "
        f"(data.pattern='*{max(kinds)}'): each file counts as a scan of its own."
    )
    return [Problem(".", "warning", text)]


def _would_fit(header: Path, tree: _Tree, pattern: str) -> bool:
    """Say whether a header is that of a file which would fit the pattern."""
    data = header.with_suffix("")
    if data.suffix.lower() not in DATA_SUFFIXES or not data.suffix:  # `x.hdr`, not `x.bil.hdr`
        suffix = Path(pattern).suffix
        if not suffix or "*" in suffix:
            return False
        data = header.with_suffix(suffix)
    return fits(tree.name(data), pattern)


def _is_picture(header: Path) -> bool:
    """Tell a photograph of high dynamic range, which has the extension of headers too."""
    try:
        with header.open("rb") as file:
            return file.read(2) == b"#?"
    except OSError:
        return False


def _nothing(tree: _Tree, pattern: str, problems: Sequence[Problem]) -> CatalogueError:
    """Return the error of a folder without cubes, with what lies there instead."""
    errors = "".join(f" {p}" for p in problems if p.severity != "warning")
    if pattern.endswith("/"):
        return CatalogueError(
            f"The folder {tree.root} holds no folder that fits data.pattern={pattern} with rasters "
            f"in it ({', '.join(BAND_SUFFIXES)})."
            + (
                f" {tree.root} itself does: give the folder above it."
                if band_files(tree.root)
                else errors
            )
        )
    wanted = "" if pattern in _ALL else f" that fits data.pattern={pattern}"
    return CatalogueError(
        f"The folder {tree.root} holds no cube{wanted}: raw data files "
        "(.bil, .bip, .bsq, .raw, .dat, .img, ...) with an ENVI header (.hdr) beside each."
        + (_hint(tree) or errors or _instead(tree))
    )


def _instead(tree: _Tree) -> str:
    """Say what lies there in place of cubes."""
    kinds = Counter(path.suffix.lower() for path in tree.files)
    if not kinds:
        return " It is empty."
    listed = ", ".join(_counted(count, suffix) for suffix, count in kinds.most_common(_NAMED))
    return f" It holds {listed}" + (", ..." if len(kinds) > _NAMED else "") + "."


def _hint(tree: _Tree) -> str:
    """Say how band sets, arrays and other formats are read where there could be some."""
    example = next((path for path in tree.folders if band_files(path)), None)
    if example is not None:
        return (
            f" Folders such as {tree.name(example)} hold rasters: where each "
            "folder is one cube in several files, set data.pattern='*/'."
        )
    if band_files(tree.root):
        return (
            " It holds rasters: name them with data.pattern='*.tif' when each is a cube, "
            "or give the folder above and '*/' when together they are one."
        )
    for path in tree.files:
        known, name = foreign_format(path), tree.name(path)
        if known is not None:
            return f" It holds {name}, {known[0]}. {known[1]}"
        if path.suffix.lower() in ARRAY_SUFFIXES and not is_mask(path):
            return (
                f" It holds {name}: set data.pattern='*{path.suffix}' and give the axis "
                "(data.axis, or data.axis.file)."
            )
    return ""


def _counted(count: int, suffix: str) -> str:
    kind = f"{suffix} file" if suffix else "file"
    return f"{count} {kind}{'' if count == 1 else 's'}"


def _names(tree: _Tree, paths: Sequence[Path]) -> str:
    more = f", and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(tree.name(path) for path in paths[:_NAMED]) + more
