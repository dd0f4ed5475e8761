"""Trays: warned of by check, cut by `hyperspec cut`, with the reflectance that was put in."""

import csv

import numpy as np
import pytest
from matplotlib.image import imread

from hyperspec.cli.main import main
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.store.packed import pack
from hyperspec.inspection.check import CheckSettings, check_folder
from hyperspec.inspection.tray import cut_folder
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError

AXIS = SpectralAxis.linear(400, 800, 9)
LINES, SAMPLES = 40, 60
PEAKS = (450.0, 500.0, 700.0)
CENTRES = ((10, 12), (12, 45), (30, 28))
BACKGROUND = 0.05
DARK = 100.0
LAMP = 3000 * np.linspace(0.5, 1.0, SAMPLES)  # not flat across the slit


def spectrum(peak):
    return 0.2 + 0.5 * np.exp(-(((AXIS.wavelengths_nm - peak) / 60) ** 2))


def disc(row, col, radius=6):
    y, x = np.mgrid[:LINES, :SAMPLES]
    return (y - row) ** 2 + (x - col) ** 2 <= radius**2


def reflectance(specimens, background=BACKGROUND):
    """A frame of discs, (row, col, peak) each."""
    values = np.full((len(AXIS), LINES, SAMPLES), background)
    for row, col, peak in specimens:
        values[:, disc(row, col)] = spectrum(peak)[:, None]
    return values


def counts(values):
    return np.rint(DARK + values * LAMP).astype("u2")


def write_frames(root):
    write_envi(root / "white.bil", counts(np.ones((len(AXIS), 4, SAMPLES))), AXIS)
    write_envi(root / "dark.bil", np.full((len(AXIS), 4, SAMPLES), DARK, "u2"), AXIS)


TRAY = [(*place, peak) for place, peak in zip(CENTRES, PEAKS, strict=True)]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "scans"
    write_envi(folder / "tray.bil", counts(reflectance(TRAY)), AXIS, extra={"tint": "5"})
    write_envi(folder / "single.bil", counts(reflectance([(20, 30, 450.0)])), AXIS)
    return folder


def mean_spectra(folder, **settings):
    """What training reads of each cube of a folder."""
    catalogue = scan(folder)
    preparer = Preparer(catalogue, PrepareSettings(**settings))
    return {
        r.file: preparer.read(r)[:, preparer.locate(r).foreground].mean(axis=1)
        for r in catalogue.records
    }


def warnings_of(report):
    return {p.file: p.message for p in report.problems}


def test_check_warns_of_the_tray_and_not_of_the_single_one(root):
    said = warnings_of(check_folder(root))
    assert [file for file, text in said.items() if "parts apart" in text] == ["tray.bil"]
    assert "holds 3 parts apart from each other" in said["tray.bil"]
    assert f"`hyperspec cut {root} --out DIR`" in said["tray.bil"]
    whole = CheckSettings(preparation=PrepareSettings(mask="none"))
    assert "parts apart" not in str(check_folder(root, whole).problems)  # a scene


def test_packing_a_tray_says_so(root, tmp_path, caplog):
    pack(scan(root), PrepareSettings(size=8), tmp_path / "cache")
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "1 of 2 cubes hold several parts apart from each other (tray.bil: 3)" in said
    assert f"`hyperspec check {root}` lists them" in said
    caplog.clear()
    pack(scan(root), PrepareSettings(size=8, mask="none"), tmp_path / "cache")
    assert not caplog.records


def test_cut_specimens_have_the_reflectance_of_the_single_one(root, tmp_path, capsys):
    write_frames(root)
    before = {p.name: p.read_bytes() for p in root.iterdir()}
    out = tmp_path / "cut"
    assert main(["cut", str(root), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "single.bil: 1 specimen\n" in said
    assert "tray.bil: 3 specimens\n" in said
    assert "  tray_1.bil  lines 4-16, samples 6-18\n" in said
    assert {p.name: p.read_bytes() for p in root.iterdir()} == before
    found = mean_spectra(out)
    assert list(found) == ["single_1.bil", "tray_1.bil", "tray_2.bil", "tray_3.bil"]
    # Counts are whole numbers: half of one over the lamp where it is darkest.
    for file, peak in zip(list(found)[1:], PEAKS, strict=True):
        np.testing.assert_allclose(found[file], spectrum(peak), atol=0.5 / LAMP.min())
    np.testing.assert_allclose(found["single_1.bil"], found["tray_1.bil"], atol=1 / LAMP.min())
    with open_cube(out / "tray_2.bil") as cube:
        note = cube.metadata["hyperspec calibration"]
        assert "reflectance: by white.bil, dark.bil" in note
        assert (cube.metadata["x start"], cube.metadata["y start"]) == ("39", "6")
        assert "tint" not in cube.metadata  # reflectance has no exposure
        assert cube.dtype == np.float32


def test_without_frames_counts_stay_counts_with_their_header(root, tmp_path):
    write_envi(root / "n.bil", counts(reflectance(TRAY)), AXIS, interleave="bip",
               extra={"data ignore value": "65535", "gain": "{2}"})  # fmt: skip
    out = tmp_path / "cut"
    scans = cut_folder(scan(root), PrepareSettings(crop_margin=None), out)
    assert [scan.files for scan in scans][1] == ("single_1.bil",)
    with open_cube(out / "tray_3.bil") as cube, open_cube(root / "tray.bil") as scanned:
        box = scans[2].specimens.windows[2]
        np.testing.assert_array_equal(cube.read_raw(), scanned.read_raw(window=box))
        assert cube.metadata["tint"] == "5"
        assert cube.dtype == np.uint16
    with open_cube(out / "n_1.bil") as cube:
        assert (cube.nodata, cube.metadata["gain"]) == (65535, "{2}")


def test_a_neighbour_in_the_box_is_outside_of_the_mask(tmp_path):
    # The second one reaches into the box of the first with its margin.
    values = reflectance([(10, 10, 450.0), (22, 22, 700.0)])
    write_envi(tmp_path / "scans/t.bil", counts(values), AXIS)
    out = tmp_path / "cut"
    cut_folder(scan(tmp_path / "scans"), PrepareSettings(crop_margin=0.8), out)
    with open_cube(out / "t_1.bil") as cube:
        mask = imread(out / "t_1_mask.png")[..., 0] > 0
        assert mask.shape == cube.shape[1:]
        assert mask.sum() == disc(10, 10).sum()
        inside, bright = cube.read()[:, mask], cube.read().mean(axis=0) > 400
    assert (bright & ~mask).any()  # the neighbour is there, as background
    row, col = np.nonzero(disc(10, 10))
    np.testing.assert_array_equal(inside, counts(values)[:, row, col])


def test_dark_specimens_on_white_paper_and_integers_of_scaled_reflectance(tmp_path):
    values = reflectance([], background=0.9)
    for row, col in ((9, 9), (9, 40), (30, 40), (30, 9)):
        values[:, disc(row, col)] = 0.1
    noise = np.random.default_rng(0).integers(-20, 20, values.shape)  # 0.002 of reflectance
    stored = np.rint(values * 10_000 + noise).astype("u2")
    write_envi(tmp_path / "scans/a/t.bil", stored, AXIS, scale_factor=10_000)
    assert "holds 4 parts" in warnings_of(check_folder(tmp_path / "scans"))["a/t.bil"]
    out = tmp_path / "cut"
    (scanned,) = cut_folder(scan(tmp_path / "scans"), PrepareSettings(), out)
    assert scanned.files == ("a/t_1.bil", "a/t_2.bil", "a/t_3.bil", "a/t_4.bil")
    corners = [(w.row, w.col) for w in scanned.specimens.windows]
    assert corners == [(3, 3), (3, 34), (24, 3), (24, 34)]
    for found in mean_spectra(out).values():
        np.testing.assert_allclose(found, 0.1, atol=1e-3)  # whole counts
    assert imread(out / scanned.picture).shape[2] >= 3


def test_an_uneven_lamp_does_not_hide_a_tray(tmp_path):
    """Of stored values the dim edge and a specimen are one part; of reflectance there are two."""
    root = tmp_path / "scans"
    lamp = 3000 * np.linspace(1.0, 0.02, SAMPLES)

    def dim(values):
        return np.rint(DARK + values * lamp).astype("u2")

    values = reflectance([], background=0.9)
    for col in (14, 40):
        values[:, disc(20, col)] = 0.3
    values += np.random.default_rng(0).uniform(-0.01, 0.01, values.shape)
    write_envi(root / "t.bil", dim(values), AXIS)
    write_envi(root / "white.bil", dim(np.ones((len(AXIS), 4, SAMPLES))), AXIS)
    write_envi(root / "dark.bil", np.full((len(AXIS), 4, SAMPLES), DARK, "u2"), AXIS)
    assert "holds 2 parts" in warnings_of(check_folder(root))["t.bil"]


def test_labels_of_the_tray_come_along_and_the_rest_is_to_fill_in(root, tmp_path):
    rows = "file,species,specimen,drawer,date\ntray.bil,Morpho,7,D4,2024-03-01\nsingle.bil,,,,\n"
    (root / "labels.csv").write_text(rows)
    out = tmp_path / "cut"
    assert main(["cut", str(root), "--out", str(out)]) == 0
    with (out / "labels.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["file"] for row in table][1:] == ["tray_1.bil", "tray_2.bil", "tray_3.bil"]
    known = [(r["species"], r["drawer"], r["date"], r["tray"], r["number"]) for r in table]
    assert known[1] == ("Morpho", "D4", "2024-03-01", "tray.bil", "1")
    assert known[0] == ("", "", "", "single.bil", "1")
    # The tray's own number would make its specimens one animal.
    assert {row["specimen"] for row in table} == {""}
    records = scan(out, labels=CsvLabels()).records
    assert len({r.specimen for r in records}) == 4


def test_two_files_of_one_name_and_more_than_nine_specimens_keep_theirs(tmp_path):
    root = tmp_path / "scans"
    many = [(5 + 12 * i, 6 + 10 * j, 450.0) for i in range(3) for j in range(4)]
    small = np.full((len(AXIS), LINES, SAMPLES), BACKGROUND)
    for row, col, peak in many:
        small[:, disc(row, col, 3)] = spectrum(peak)[:, None]
    write_envi(root / "t.bil", counts(small), AXIS)
    write_envi(root / "t.raw", counts(reflectance(TRAY)), AXIS, header_suffix=".raw.hdr")
    (root / "t.hdr").rename(root / "t.bil.hdr")
    scans = cut_folder(scan(root), PrepareSettings(), tmp_path / "cut")
    assert scans[0].files[0] == "t_bil_01.bil"
    assert (len(scans[0].files), scans[1].files[2]) == (12, "t_raw_3.bil")


def test_what_cannot_be_cut_is_told_with_the_way_out(root, tmp_path, capsys):
    with pytest.raises(CatalogueError, match=r"in the folder of the scans, .*Name a folder outsid"):
        cut_folder(scan(root), PrepareSettings(), root / "cut")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(CatalogueError, match=r"full exists already; name a new folder"):
        cut_folder(scan(root), PrepareSettings(), tmp_path / "full")
    (tmp_path / "file").touch()
    with pytest.raises(CatalogueError, match=r"out cannot be written: .*File exists"):
        cut_folder(scan(root), PrepareSettings(), tmp_path / "file/out")
    flat = tmp_path / "flat"
    noise = np.random.default_rng(0).normal(500, 20, (len(AXIS), LINES, SAMPLES))
    write_envi(flat / "x.bil", noise, AXIS, dtype="u2")
    assert main(["cut", str(flat), "--out", str(tmp_path / "whole")]) == 0
    assert "warning: nothing stands out in x.bil, so that the whole" in capsys.readouterr().err
    assert main(["cut", str(flat), "--out", str(tmp_path / "o"), "data.mask=otsu"]) == 2
    assert "Otsu's threshold finds no specimen" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
