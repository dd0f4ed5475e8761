"""Which frames serve which scans, by names and folders."""

import numpy as np
import pytest

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.frames import Folder, frames_beside, sort_files
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError


def served(root, names, scan, **options):
    """Return white, dark and the white's dark of a scan, as names below the folder."""
    folder = Folder(root, [root / name for name in names], **options)
    files = folder.frames_of(root / scan)
    return tuple(
        None if path is None else path.relative_to(root).as_posix()
        for path in (files.white, files.dark, files.white_dark)
    ), files


SESSIONS = [
    "s1/a.raw",
    "s1/white.raw",
    "s1/dark.raw",
    "s2/day/b.raw",
    "s2/white.raw",
    "s2/dark.raw",
]


def test_frames_of_a_session_serve_its_scans(tmp_path):
    for scan, session in (("s1/a.raw", "s1"), ("s2/day/b.raw", "s2")):
        names, files = served(tmp_path, SESSIONS, scan)
        assert names == (f"{session}/white.raw", f"{session}/dark.raw", None)
        assert (files.problem, files.doubt) == ("", "")


def test_frames_in_a_folder_of_their_own_serve_the_session_above(tmp_path):
    names = ["s1/cubes/a.raw", "s1/refs/white.raw", "s1/refs/dark.raw",
             "s2/cubes/b.raw", "s2/refs/white.raw", "s2/refs/dark.raw"]  # fmt: skip
    assert served(tmp_path, names, "s2/cubes/b.raw")[0][0] == "s2/refs/white.raw"
    assert served(tmp_path, names, "s1/cubes/a.raw")[1].doubt == ""


def test_a_scans_own_frame_goes_before_that_of_the_folder(tmp_path):
    names = ["a.raw", "b.raw", "white.raw", "dark.raw", "WHITEREF_b.raw"]
    assert served(tmp_path, names, "a.raw")[0] == ("white.raw", "dark.raw", None)
    assert served(tmp_path, names, "b.raw")[0] == ("WHITEREF_b.raw", "dark.raw", None)


def test_a_session_without_frames_between_two_with_some_is_told(tmp_path):
    names = [*SESSIONS, "s3/c.raw"]
    found, files = served(tmp_path, names, "s3/c.raw")
    assert found == (None, None, None)
    assert (
        "Several files could be the white frame: s1/white.raw, s2/white.raw. Name" in files.problem
    )


def test_a_lone_pair_of_another_session_serves_and_is_told(tmp_path):
    found, files = served(
        tmp_path, ["s1/a.raw", "s1/white.raw", "s1/dark.raw", "s2/b.raw"], "s2/b.raw"
    )
    assert found == ("s1/white.raw", "s1/dark.raw", None)
    assert files.doubt == (
        "has no white frame of its own; s1/white.raw serves it, which lies beside s1/a.raw. Is it "
        "the right one?"
    )


def test_a_lone_frame_of_another_scan_serves_and_is_told(tmp_path):
    names = ["01.raw", "02.raw", "WHITEREF_01.raw", "DARKREF_01.raw"]
    assert served(tmp_path, names, "01.raw")[1].doubt == ""
    found, files = served(tmp_path, names, "02.raw")
    assert found == ("WHITEREF_01.raw", "DARKREF_01.raw", None)
    assert "WHITEREF_01.raw serves it, which is named after another scan" in files.doubt


def test_the_dark_of_a_white_goes_with_it(tmp_path):
    names = [f"{i}/capture/{kind}{i}.raw" for i in (444, 445)
             for kind in ("", "WHITEREF_", "DARKREF_", "WHITEDARKREF_")]  # fmt: skip
    found, _ = served(tmp_path, names, "445/capture/445.raw")
    assert found == tuple(f"445/capture/{k}REF_445.raw" for k in ("WHITE", "DARK", "WHITEDARK"))
    named = {"dark": tmp_path / "444/capture/DARKREF_444.raw"}
    found, files = served(tmp_path, names, "445/capture/445.raw", named=named)
    assert found[1:] == ("444/capture/DARKREF_444.raw", None)
    assert files.dark_named


def test_a_name_that_ends_in_dark_is_a_frame_beside_its_scan_only(tmp_path):
    moths = [tmp_path / f"Biston betularia_{form}.bil" for form in ("dark", "typica")]
    assert Folder(tmp_path, moths).specimens == moths
    scans = [tmp_path / "s.raw", tmp_path / "s_dark.raw", tmp_path / "s_white.raw"]
    folder = Folder(tmp_path, scans)
    assert folder.specimens == scans[:1]
    assert folder.frames_of(scans[0]).dark == scans[1]
    # Beside a frame that is named more plainly.
    session = [tmp_path / "x.raw", tmp_path / "day1_dark.raw", tmp_path / "day1_whiteref.raw"]
    assert Folder(tmp_path, session).specimens == session[:1]


def test_a_pair_that_may_be_frames_is_doubted(tmp_path):
    pair = [tmp_path / "day1_white.raw", tmp_path / "day1_dark.raw"]
    folder = Folder(tmp_path, [*pair, tmp_path / "x.raw"])
    assert folder.doubtful == [(pair[0], pair[1])]


def cube(path):
    write_envi(path, np.ones((2, 3, 4), np.uint16), SpectralAxis.linear(400, 500, 2))
    return path


def test_frames_are_found_that_the_pattern_leaves_out(tmp_path):
    scan = cube(tmp_path / "DATA_1.raw")
    white, dark = cube(tmp_path / "WHITEREF_DATA_1.raw"), cube(tmp_path / "below" / "dark.bsq")
    (tmp_path / "white.txt").write_text("no cube")
    (tmp_path / "dark_no_header.raw").write_bytes(b"1")
    files = sort_files(tmp_path, [scan]).frames_of(scan)
    assert (files.white, files.dark) == (white, dark)
    # Those that fit the pattern go before.
    inside = cube(tmp_path / "white.bil")
    assert sort_files(tmp_path, [scan, inside]).frames_of(scan).white == inside


def test_named_frames_serve_all_and_have_to_be_there(tmp_path):
    scan, other = cube(tmp_path / "a.raw"), cube(tmp_path / "x.raw")
    cube(tmp_path / "white.raw")
    folder = sort_files(tmp_path, [scan, other], white="x.raw", dark="0")
    assert folder.specimens == [scan]
    files = folder.frames_of(scan)
    assert (files.white, files.dark, files.no_dark) == (other, None, True)
    with pytest.raises(CatalogueError, match=r"data\.dark is 'no\.raw', but .* does not exist"):
        sort_files(tmp_path, [scan], dark="no.raw")


def test_frames_beside_a_cube_and_above_it(tmp_path):
    scan = cube(tmp_path / "day" / "cubes" / "a.raw")
    white, dark = cube(tmp_path / "day" / "white.raw"), cube(scan.parent / "dark.raw")
    cube(tmp_path.parent / "unrelated" / "white.raw")
    files = frames_beside(scan).frames_of(scan)
    assert (files.white, files.dark) == (white, dark)
    nearer = cube(scan.parent / "WHITEREF_a.raw")
    assert frames_beside(scan).frames_of(scan).white == nearer
    assert frames_beside(scan, dark="0").frames_of(scan).no_dark
