"""A look at one cube: numbers against NumPy, pictures and terminal as a user gets them."""

import csv
import io

import numpy as np
import pytest
from matplotlib.image import imread, imsave
from rich.console import Console

from hyperspec.cli.main import main
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.preparation.preparation import Preparation
from hyperspec.inspection import info as looking
from hyperspec.inspection.info import look_at
from hyperspec.inspection.info_report import (
    half_blocks,
    print_info,
    shrink,
    sparkline,
    write_pictures,
)
from hyperspec.inspection.value_statistics import blocks
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import CatalogueError, ConfigError

AXIS = SpectralAxis.linear(400, 700, 7)


def scene(seed=0):
    """Reflectance: a bright square on a dark ground, (7, 20, 24)."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.03, 0.003, (7, 20, 24))
    values[:, 5:15, 6:18] = rng.normal(0.5, 0.02, (7, 10, 12)) + 0.05 * np.arange(7)[:, None, None]
    return values.astype("f4")


@pytest.fixture
def cube(tmp_path):
    write_envi(tmp_path / "data" / "x.bil", scene(), AXIS)
    return tmp_path / "data" / "x.bil"


def test_statistics_of_the_foreground_equal_numpy(cube, monkeypatch):
    monkeypatch.setattr(blocks, "__defaults__", (3000,))
    info = look_at(cube)
    square = np.zeros((20, 24), bool)
    square[5:15, 6:18] = True
    np.testing.assert_array_equal(info.foreground, square)
    assert info.foreground_source == "Otsu"
    pixels = scene()[:, square].astype(np.float64)
    np.testing.assert_allclose(info.spectrum.mean, pixels.mean(1), rtol=1e-12)
    np.testing.assert_allclose(info.spectrum.sd, pixels.std(1), rtol=1e-10)
    np.testing.assert_array_equal(info.spectrum.low, pixels.min(1))
    np.testing.assert_array_equal(info.spectrum.high, pixels.max(1))
    assert info.is_reflectance
    np.testing.assert_array_equal(info.rgb, scene()[info.rgb_bands])
    expected = np.tensordot(info.colours.weights.T, scene()[info.colours.bands], axes=1)
    np.testing.assert_allclose(info.xyz, expected, rtol=1e-6)


def test_missing_values_are_left_out(cube):
    values = scene()
    values[2, 6, 7] = values[3] = np.nan
    good = np.ones(7, bool)
    good[3] = False
    write_envi(cube, values, SpectralAxis(AXIS.wavelengths_nm, None, good))
    info = look_at(cube)
    assert info.foreground.sum() == 119  # a pixel without a good band's value is no specimen
    assert np.isnan(info.spectrum.mean[3])
    inside = info.foreground
    np.testing.assert_allclose(info.spectrum.mean[2], values[2, inside].mean(dtype=np.float64))


def test_a_mask_image_is_used_first(cube):
    picture = np.zeros((20, 24, 3), np.uint8)
    picture[:3, :4] = 255
    imsave(cube.with_name("x_mask.png"), picture)
    info = look_at(cube)
    assert (info.foreground_source, int(info.foreground.sum())) == ("mask image", 12)


def write_frames(folder, bands=7, samples=24):
    axis = SpectralAxis.linear(400, 700, bands)
    write_envi(folder / "white_ref.bil", np.full((bands, 3, samples), 4000, "u2"), axis)
    write_envi(folder / "dark_ref.bil", np.full((bands, 2, samples), 100, "u2"), axis)


def test_frames_beside_the_cube_calibrate_it(cube):
    folder = cube.parent
    write_envi(cube, scene() * 3900 + 100, AXIS, dtype="u2")
    assert not look_at(cube).is_reflectance
    assert look_at(cube).calibration == "none: no white frame"
    write_frames(folder)
    info = look_at(cube)
    assert info.calibration == "white_ref.bil, dark_ref.bil"
    assert info.is_reflectance
    np.testing.assert_allclose(info.rgb, scene()[info.rgb_bands], atol=2e-4)
    target = look_at(cube, preparation=Preparation(white_reflectance=0.5))
    np.testing.assert_allclose(target.rgb, 0.5 * scene()[info.rgb_bands], atol=2e-4)
    never = look_at(cube, preparation=Preparation(calibrate="never"))
    assert never.calibration == "none asked for (data.calibrate=never)"
    assert look_at(folder / "white_ref.bil").calibration == "none, this is a frame itself"
    write_frames(folder, samples=9)
    assert "7 bands and 24 samples, but the calibration" in look_at(cube).calibration
    with pytest.raises(CatalogueError, match=r"frame .*white_ref.bil has 7 and 9"):
        look_at(cube, white=folder / "white_ref.bil")
    (folder / "dark_ref.bil").unlink()
    assert "has a white frame (white_ref.bil) but no dark frame" in look_at(cube).calibration
    write_frames(folder)
    for name in ("dark_ref.bil", "dark_ref.hdr"):
        (folder / name).unlink()
    assert look_at(cube, dark="0").calibration == "white_ref.bil, dark = 0"


def test_pictures_and_spectrum(cube, tmp_path):
    info = look_at(cube)
    files = write_pictures(info, tmp_path / "out")
    assert [path.name for path in files] == [
        "x_info.png",
        "x_cie.png",
        "x_rgb.png",
        "x_spectrum.csv",
    ]
    colours = imread(files[1])
    assert colours.shape[:2] == (20, 24)
    assert colours[10, 12, :3].min() > 0.6  # the square is bright, the ground dark
    assert colours[1, 1, :3].max() < 0.3
    overview = imread(files[0])
    assert overview.shape[0] > 600
    assert overview[..., :3].std() > 0.05  # something is drawn
    rows = list(csv.DictReader(files[3].read_text().splitlines()))
    assert [float(row["wavelength_nm"]) for row in rows] == AXIS.wavelengths_nm.tolist()
    means = [float(row["mean"]) for row in rows]
    np.testing.assert_allclose(means, info.spectrum.mean, rtol=1e-8)
    assert sorted(p.name for p in cube.parent.iterdir()) == ["x.bil", "x.hdr"]
    with pytest.raises(ConfigError, match="is the folder of the cube, which is only read"):
        write_pictures(info, cube.parent)


def printed(info, **options):
    console = Console(width=80, file=io.StringIO(), **options)
    print_info(info, console, header=True)
    return console.file.getvalue()


def test_the_terminal_fits_80_columns(cube):
    text = printed(look_at(cube))
    assert max(map(len, text.splitlines())) <= 80
    assert "7 bands × 20 lines × 24 samples, float32, bil" in text
    assert "400.0 to 700.0 nm, every 50.00 nm" in text
    assert "120 pixels, 25% (Otsu)" in text
    assert "the axis covers 400-700 of 380-780 nm" in text
    assert "wavelength units = nm" in text
    assert "▀" not in text  # no picture without colours
    assert "▀" in printed(look_at(cube), force_terminal=True, color_system="truecolor")


def test_an_infrared_cube_has_no_cie_colours(tmp_path):
    axis = SpectralAxis.linear(900, 1700, 7)
    write_envi(tmp_path / "data" / "x.bil", scene(), axis)
    info = look_at(tmp_path / "data" / "x.bil")
    assert info.colours is None
    assert "red, green, blue at 1567, 1300, 1033 nm" in printed(info)
    names = [path.name for path in write_pictures(info, tmp_path)]
    assert names == ["x_info.png", "x_rgb.png", "x_spectrum.csv"]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 40), (2, 50, 1)])
def test_odd_shapes(tmp_path, shape):
    path = tmp_path / "data" / "x.bil"
    write_envi(path, np.full(shape, 9, "u2"), SpectralAxis.linear(500, 600, shape[0]))
    info = look_at(path)
    assert info.foreground_source == "whole frame"
    np.testing.assert_array_equal(info.spectrum.mean, 9)
    assert printed(info, force_terminal=True, color_system="truecolor").count("▀") >= 1
    assert len(write_pictures(info, tmp_path)) >= 3


def test_shrink_averages_what_falls_together():
    picture = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype(np.uint8)
    np.testing.assert_array_equal(
        shrink(picture, 2, 3), np.rint(picture.reshape(2, 2, 3, 2, 3).mean((1, 3)))
    )
    np.testing.assert_array_equal(shrink(picture, 4, 6), picture)
    assert shrink(picture, 3, 5).shape == (3, 5, 3)


def test_half_blocks_hold_two_lines_each():
    picture = np.zeros((3, 2, 3), np.uint8)
    picture[0, 0] = (255, 0, 1)
    picture[1, 0] = (0, 9, 0)
    text = half_blocks(picture, 40)
    assert text.plain == "  ▀▀\n  ▀▀"
    first = next(span.style for span in text.spans if span.start == 2)
    assert str(first) == "rgb(255,0,1) on rgb(0,9,0)"


def test_sparkline():
    assert sparkline(np.array([0, 1, 2, 3, 4, 5, 6, 7.0]), 80) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.array([0.0, 0, 7, 7]), 2) == "▁█"
    assert sparkline(np.array([3.5, np.nan, 7.0]), 80) == "▅ █"
    assert sparkline(np.full(3, np.nan), 80) == "   "


def test_the_command(cube, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["info", str(cube)]) == 0
    assert "wrote x_info.png" in capsys.readouterr().out
    assert (tmp_path / "x_cie.png").is_file()
    monkeypatch.chdir(cube.parent)
    assert main(["info", "x.hdr"]) == 0
    assert "No pictures: the current folder is the cube's" in capsys.readouterr().out
    assert main(["info", "x.bil", "--out", "."]) == 2
    assert "give --out DIR" in capsys.readouterr().err
    header = cube.with_suffix(".hdr")
    header.write_text(header.read_text().replace("wavelength units = nm\n", ""))
    assert main(["info", "x.bil", "--no-files"]) == 0
    assert "warning: x.hdr has no `wavelength units`" in capsys.readouterr().err
    assert main(["info", "no.bil"]) == 2


def test_memory_is_that_of_blocks(cube, monkeypatch):
    seen = []
    real = looking._blocks

    def noted(*given):
        for place, values in real(*given):
            seen.append(values.nbytes)
            yield place, values

    monkeypatch.setattr(blocks, "__defaults__", (4000,))
    monkeypatch.setattr(looking, "_blocks", noted)
    look_at(cube)
    assert max(seen) <= 4000
    assert sum(seen) == 2 * scene().nbytes
