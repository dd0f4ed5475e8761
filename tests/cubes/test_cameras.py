"""Each row of docs/cameras.md, read by the code that it is about."""

import re
from pathlib import Path

import pytest

from hyperspec.cubes.acquisition import Acquisition
from hyperspec.cubes.frames import Folder, frame_kind, named_reflectance

PAGE = Path(__file__).parents[2] / "docs" / "cameras.md"


def rows(heading):
    """Return the cells of the table under a heading, without the names of its columns."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


KINDS = {"white": "white", "dark": "dark", "dark of the white": "white_dark"}
FRAMES = rows("Calibration frames by name")
PRODUCTS = rows("What cameras make of a scan by themselves")
KEYS = rows("Header keys of the exposure and the detector")


def test_the_page_has_rows():
    assert min(len(FRAMES), len(PRODUCTS), len(KEYS)) >= 5


@pytest.mark.parametrize("row", FRAMES, ids=lambda row: row[1])
def test_frames(row, tmp_path):
    _, file, what, scan = row
    frame = tmp_path / file.strip("`")
    own = tmp_path / (f"{scan.strip('`')}.raw" if scan.startswith("`") else "x.raw")
    other = tmp_path / "other.raw"
    folder = Folder(tmp_path, [frame, own, other])
    kind = KINDS[what]
    assert folder.frames == {frame: kind}
    assert folder.specimens == [own, other]
    if kind == "white_dark":
        white = tmp_path / "WHITEREF_444.raw"
        served = Folder(tmp_path, [frame, white, own, other]).frames_of(own)
        assert (served.white, served.white_dark) == (white, frame)
        return
    # A second frame of the other scan: each is served by its own, if this one has a scan.
    second = tmp_path / f"{kind}ref_other.raw"
    served = Folder(tmp_path, [frame, second, own, other])
    assert getattr(served.frames_of(own), kind) == frame
    assert getattr(served.frames_of(other), kind) == second


@pytest.mark.parametrize("row", PRODUCTS, ids=lambda row: row[1])
def test_products(row, tmp_path):
    _, file, scan, says = row
    product = tmp_path / file.strip("`")
    own = tmp_path / f"{scan.strip('`')}.raw"
    assert named_reflectance(product) == (says == "reflectance")
    white = tmp_path / "white.raw"
    assert Folder(tmp_path, [product, own, white]).specimens == [own]
    alone = Folder(tmp_path, [product, own]).specimens
    assert alone == [product if says == "reflectance" else own]
    assert Folder(tmp_path, [product]).specimens == [product]
    sides = [tmp_path / "1/capture" / own.name, tmp_path / "1/results" / product.name, white]
    assert Folder(tmp_path, sides).specimens == sides[:1]


@pytest.mark.parametrize("row", KEYS, ids=lambda row: row[1])
def test_keys(row):
    key, value = (part.strip() for part in row[1].strip("`").split("=", 1))
    seen = Acquisition.of({key.lower(): value}, 40)
    what, _, text = row[2].partition(": ")
    if what == "exposure":
        assert seen.exposure_text == text
    elif what == "setting":
        assert [f"{name} {value}" for name, value in seen.setting.items()] == [text]
    elif "dark" in what:
        assert f"lines from {seen.dark_start} on are dark, and no picture" == what
    elif "full scale" in what:
        assert f"full scale {seen.ceiling:g}" == what
    else:
        assert what == "reflectance already"
        assert seen.is_reflectance


def test_frame_rates_and_words_are_no_exposure():
    fields = {"fps": "50", "framerate": "20", "frameperiod": "20000", "shutter": "open",
              "exposure": "0", "again": "2", "tint": "auto"}  # fmt: skip
    assert Acquisition.of(fields, 40) == Acquisition()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("white.bil", "white"),
        ("dark_frame.bil", "dark"),
        ("WHITEREF_scan.raw", "white"),
        ("darkReference", "dark"),
        ("white-2.bil", "white"),
        ("white_dark_ref.bil", "white_dark"),
        ("White calopteryx_1D_010101.bil", None),
        ("Darkling beetle_1D_010101.bil", None),
        ("white admiral_1D_010101.bil", None),
        ("offwhite.bil", None),
        ("Biston betularia_dark.bil", None),
    ],
)
def test_frame_names(tmp_path, name, kind):
    assert frame_kind(tmp_path / name) == kind


def test_a_rule_of_markdown_is_no_row():
    assert all(re.search(r"\w", cell) for row in (*FRAMES, *PRODUCTS, *KEYS) for cell in row)
