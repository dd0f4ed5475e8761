"""One list of files for every command: any extension, any letter case, links, what is left out."""

import os
from pathlib import Path

import numpy as np
import pytest

from hyperspec.cli.main import main
from hyperspec.cubes import open_cube
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.listing import list_cubes
from hyperspec.datasets.catalogue.labels import NoLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.config import FolderData, scan_folder
from hyperspec.inspection.check import check_folder
from hyperspec.runs.identity import canonical
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError

AXIS = SpectralAxis.linear(400, 700, 4)


def write(path: Path, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).integers(100, 4000, (4, 6, 5)).astype("u2")
    write_envi(path, values, AXIS)
    return path


def rename(path: Path, header: str, name: str | None = None) -> None:
    """Give a written cube another name and its header another extension."""
    path.with_suffix(".hdr").rename(path.with_suffix(header))
    if name is not None:
        path.rename(path.with_name(name))


def names(root: Path, pattern: str = "auto") -> list[str]:
    return [path.relative_to(root).as_posix() for path in list_cubes(root, pattern).cubes]


def told(root: Path, pattern: str = "auto") -> list[tuple[str, str, str]]:
    found = list_cubes(root, pattern).problems
    return [(p.severity, p.file, p.message) for p in found]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Cubes whose extensions are written in four ways."""
    root = tmp_path / "data"
    for seed, (suffix, header) in enumerate(
        [(".bil", ".hdr"), (".BIL", ".HDR"), (".Bil", ".Hdr"), (".bil", ".hDR")]
    ):
        rename(write(root / f"s{seed}.bil", seed), header, f"s{seed}{suffix}")
    return root


def test_letter_case_makes_no_difference_to_any_command(mixed, tmp_path, capsys):
    assert names(mixed) == names(mixed, "*.bil") == ["s0.bil", "s1.BIL", "s2.Bil", "s3.bil"]
    assert len(scan(mixed).records) == 4
    assert main(["check", str(mixed)]) == 0
    assert "4 cubes" in capsys.readouterr().out
    assert main(["pack", str(mixed), "data.size=4", f"data.cache_dir={tmp_path / 'c'}"]) == 0
    assert "packed 4 specimen images" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["s1.HDR", "s2.Hdr", "s3.hDR"])
def test_a_header_opens_its_cube_in_any_letter_case(mixed, name):
    with open_cube(mixed / name) as cube:
        assert cube.path.stem == name[:2]


@pytest.mark.parametrize("suffix", [".raw", ".dat", ".img", ".BIP", ".bsq", ".hsi", ""])
def test_every_raw_extension_is_read_without_an_option(tmp_path, suffix):
    for seed in range(3):
        rename(write(tmp_path / f"s{seed}.bil", seed), f"{suffix}.hdr", f"s{seed}{suffix}")
    data = FolderData(root=str(tmp_path), labels=NoLabels(), cache_dir=str(tmp_path / "cache"))
    catalogue = scan_folder(data)
    assert [record.file for record in catalogue.records] == [f"s{i}{suffix}" for i in range(3)]
    assert catalogue.problems == ()
    said = {problem.message for problem in check_folder(tmp_path).problems}
    assert all("interleave = bil" in text for text in said)  # where the suffix says another one


def test_the_new_default_is_the_old_one_where_jobs_are_told_apart():
    before = FolderData(root="x", labels=NoLabels(), pattern="*.bil")
    assert canonical(FolderData(root="x", labels=NoLabels())) == canonical(before)
    everything = FolderData(root="x", labels=NoLabels(), pattern="*")
    assert canonical(everything)["pattern"] == "*"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.bil", ["a.bil", "x/y/b.BIL"]),
        ("x/*", ["x/c.raw"]),
        ("x/**/*", ["x/c.raw", "x/y/b.BIL"]),
        ("[ab].bil", ["a.bil", "x/y/b.BIL"]),
        ("B.bil", []),  # of names the letter case counts
        ("*", ["a.bil", "x/c.raw", "x/y/b.BIL"]),
    ],
)
def test_patterns_match_as_globs_below_the_root(tmp_path, pattern, found):
    for name in ("a.bil", "x/y/b.BIL", "x/c.raw"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0")
    if found:
        assert names(tmp_path, pattern) == found
    else:
        with pytest.raises(CatalogueError, match=f"fits data.pattern={pattern}"):
            list_cubes(tmp_path, pattern)


def test_linked_folders_are_followed_once_and_loops_are_told(tmp_path):
    root, other = tmp_path / "data", tmp_path / "other disk"
    write(root / "a.bil", 1)
    write(root / "day/b.bil", 2)
    write(other / "c.bil", 3)
    write(tmp_path / "beside.bil", 4)
    (root / "link").symlink_to(other)
    (root / "again").symlink_to(root / "day")
    (root / "zweimal").symlink_to(other)
    (root / "day" / "up").symlink_to(root)
    (other / "self").symlink_to(other)
    (other / "top").symlink_to(tmp_path)
    assert names(root) == ["a.bil", "day/b.bil", "link/c.bil"]
    found = {file: (severity, text) for severity, file, text in told(root)}
    assert set(found) == {"again", "zweimal", "day/up", "link/self", "link/top"}
    assert found["again"][1].startswith("is the same folder as day, which is read already")
    assert found["zweimal"][1].startswith("is the same folder as link")
    for loop in ("day/up", "link/self", "link/top"):
        assert found[loop][0] == "warning"
        assert "a folder that it lies in itself: it is not followed" in found[loop][1]


def test_a_link_to_a_cube_that_is_not_there_is_an_error(tmp_path):
    write(tmp_path / "a.bil", 1)
    (tmp_path / "b.bil").symlink_to(tmp_path / "gone.bil")
    (tmp_path / "c.RAW").symlink_to(tmp_path / "c.RAW")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "gone.txt")
    assert [(s, f) for s, f, _ in told(tmp_path)] == [("error", "b.bil"), ("error", "c.RAW")]
    with pytest.raises(CatalogueError, match=r"b.bil: is a link to .*gone.bil, which is not there"):
        scan(tmp_path).raise_errors()


def test_what_a_pattern_leaves_out_is_told(tmp_path):
    for name in ("a.bil", "b.raw", "c.raw", "white.raw"):
        write(tmp_path / name, len(name))
    (tmp_path / "preview.png").write_bytes(b"x")
    ((severity, file, text),) = told(tmp_path, "*.bil")
    assert (severity, file) == ("note", ".")
    assert text.startswith("holds 3 .raw files that do not fit data.pattern=*.bil, so that they ")
    assert "(b.raw, c.raw, white.raw)" in text


def test_hidden_cubes_and_tiffs_are_told_and_not_read(tmp_path, capsys):
    write(tmp_path / "a.bil", 1)
    for name in ("._a.bil", ".trash/old.bil", ".git/HEAD", "copy.tif", "b_mask.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    texts = [text for _, _, text in told(tmp_path)]
    assert texts[0].startswith("holds 1 .tif file, not read (copy.tif): a TIFF counts as a cube")
    assert texts[1] == "has hidden cubes, which are not read: ._a.bil, .trash."
    assert main(["check", str(tmp_path)]) == 0  # notes are nothing to mend
    shown = capsys.readouterr().out
    assert "2 notes" in shown
    assert "Nothing to mend" in shown


def test_files_of_an_extension_that_never_has_a_header_are_left_out(tmp_path):
    for seed in range(2):
        write(tmp_path / f"s{seed}.bil", seed)
        (tmp_path / f"s{seed}.dat").write_bytes(b"12:00 lamp on")  # beside s0.bil and s0.hdr
    (tmp_path / "session.bin").write_bytes(b"x")
    assert names(tmp_path) == ["s0.bil", "s1.bil"]
    dat, bin_ = told(tmp_path)
    assert dat[:2] == bin_[:2] == ("warning", ".")
    assert dat[2].startswith("holds 2 .dat files without a header beside them, left out (s0.dat")
    assert "data.pattern='*.bin'" in bin_[2]
    (tmp_path / "s9.bil").write_bytes(b"x")  # of cubes' own extension a header is missing
    assert names(tmp_path)[-1] == "s9.bil"
    write(tmp_path / "t.raw", 5)
    (tmp_path / "u.raw").write_bytes(b"x")
    assert names(tmp_path)[-2:] == ["t.raw", "u.raw"]


def test_two_versions_of_one_scan_are_refused(tmp_path):
    for seed, name in enumerate(("s0.raw", "s0.dat", "s1.raw")):
        write(tmp_path / name, seed)
        rename(tmp_path / name, f"{Path(name).suffix}.hdr")
    assert ("error", "s0.raw") in [found[:2] for found in told(tmp_path)]
    with pytest.raises(CatalogueError, match=r"s0.raw: has the same name as s0.dat.*\*\.dat"):
        scan(tmp_path).raise_errors()
    assert len(scan(tmp_path, pattern="*.raw").records) == 2
    assert all(p.severity == "note" for p in scan(tmp_path, pattern="*.raw").problems)


def test_several_kinds_of_cubes_are_warned_of(tmp_path):
    write(tmp_path / "s0.raw", 1)
    write(tmp_path / "white.img", 2)
    assert scan(tmp_path).problems == ()  # a frame is no specimen
    write(tmp_path / "s1.dat", 3)
    (problem,) = scan(tmp_path).problems
    assert (problem.file, problem.severity) == (".", "warning")
    assert "several kinds: 1 .raw file, 1 .dat file" in problem.message


def test_a_header_beside_a_preview_alone_lacks_its_data(tmp_path):
    write(tmp_path / "a.bil", 1)
    (tmp_path / "b.Hdr").write_text("ENVI\n")
    (tmp_path / "b.png").write_bytes(b"x")
    (tmp_path / "room.hdr").write_bytes(b"#?RADIANCE\n")  # a photograph
    for pattern in ("auto", "*.bil"):
        (problem,) = scan(tmp_path, pattern=pattern).problems
        assert (problem.file, problem.severity) == ("b.Hdr", "error")
        assert problem.message == "is a header without its data file; beside it: b.png."


def test_an_empty_folder_says_what_lies_there(tmp_path):
    (tmp_path / "._a.bil").write_bytes(b"x")
    with pytest.raises(CatalogueError, match=r"holds no cube: raw.*hidden cubes.*\._a\.bil"):
        list_cubes(tmp_path)
    write(tmp_path / "a.raw", 1)
    with pytest.raises(CatalogueError, match=r"1 .raw file that does not fit data.pattern=\*.bsq"):
        list_cubes(tmp_path, "*.bsq")


def test_a_name_that_is_not_utf_8_can_be_printed(tmp_path):
    write(tmp_path / "a.bil", 1)
    (tmp_path / os.fsdecode(b"\xff.tif")).write_bytes(b"x")
    ((_, _, text),) = told(tmp_path)
    assert "(\\xff.tif)" in text.encode().decode()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_an_error(tmp_path):
    write(tmp_path / "a.bil", 1)
    (tmp_path / "closed").mkdir(mode=0)
    ((severity, file, text),) = told(tmp_path)
    assert (severity, file) == ("error", "closed")
    assert "cannot be read" in text
