"""Values that stand for nothing although no header says so."""

from __future__ import annotations

import numpy as np
import pytest

from hyperspec.cubes import open_cube, write_envi
from hyperspec.inspection.check import check_folder
from hyperspec.inspection.value_statistics import fill_of
from hyperspec.spectra import SpectralAxis

AXIS = SpectralAxis(np.linspace(400, 800, 12))


def scene(dtype="u2", seed=0):
    values = np.random.default_rng(seed).normal(1000, 30, (12, 20, 16))
    return values.astype(dtype)


def frame(width):
    border = np.ones((20, 16), bool)
    border[width:-width, width:-width] = False
    return border


def found(folder, values, interleave="bil", **extra):
    fields = {key.replace("_", " "): value for key, value in extra.items()}
    write_envi(folder / "x.bil", values, AXIS, interleave=interleave, extra=fields)
    with open_cube(folder / "x.bil") as cube:
        return fill_of(cube)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [("f4", -9999, "-9999"), ("i2", -9999, "-9999"), ("i2", -1, "-1"), ("i2", -32768, "-32768"),
     ("u2", 65535, "65535"), ("u2", 0, "0"), ("u1", 255, "255"),
     ("f4", -3.4028234663852886e38, "-3.4028")],
)  # fmt: skip
def test_a_border_of_one_value_is_told_with_the_words_that_declare_it(
    tmp_path, dtype, value, words
):
    values = scene("f4") / 10 if dtype == "u1" else scene("f4")
    values = values.astype(dtype)
    values[:, frame(2)] = value
    (text,) = found(tmp_path, values)
    assert text.startswith(f"holds {words}")
    assert f"{int(frame(2).sum())} pixels ({frame(2).mean():.0%})" in text
    assert f"`data ignore value = {words}" in text
    assert "in x.hdr" in text
    declared = text.split("= ")[1].split("`")[0]
    assert found(tmp_path, values, data_ignore_value=declared) == ()


@pytest.mark.parametrize("value", [-9999, -1])
def test_an_edge_that_one_of_two_detectors_leaves_is_told(tmp_path, value):
    values = scene("i2")
    values[6:, :, :3] = value
    (text,) = found(tmp_path, values)
    assert text.startswith(f"holds {value} in 19% of band 6, along its edge: is that nodata?")
    assert f"`data ignore value = {value}` in x.hdr" in text
    assert found(tmp_path, values, data_ignore_value=str(value)) == ()


def test_zeros_around_a_specimen_with_a_mask_are_its_background(tmp_path):
    values = scene()
    values[:, frame(4)] = 0
    np.save(tmp_path / "x_mask.npy", ~frame(4))
    assert found(tmp_path, values) == ()
    (tmp_path / "x_mask.npy").unlink()
    assert found(tmp_path, values)[0].startswith("holds 0 in all bands of 224 pixels")


def test_some_lines_of_nodata_amid_the_frame_count_where_no_sensor_has_them(tmp_path):
    values = scene("f4")
    values[:, 5:9, 4:9] = -9999
    assert found(tmp_path, values)[0].startswith("holds -9999 in all bands of 20 pixels")
    values[:, 5:9, 4:9] = 0  # a hole in the specimen: may well be
    assert found(tmp_path, values) == ()


@pytest.mark.parametrize("interleave", ["bil", "bip"])
def test_the_end_of_an_interrupted_copy(tmp_path, interleave):
    values = scene()
    values[:, 9:] = 0
    (text,) = found(tmp_path, values, interleave)
    assert text.startswith("ends in 11 of 20 lines of 0 in all bands, as an interrupted copy")
    assert "`data ignore value = 0` in x.hdr" in text


@pytest.mark.parametrize(("zeros", "first"), [(1, 11), (3, 9), (0.5, 11), (2.5, 9)])
def test_the_end_of_an_interrupted_copy_of_bands(tmp_path, zeros, first):
    values = scene()
    values.reshape(-1)[-int(zeros * 320) :] = 0
    (text,) = found(tmp_path, values, "bsq")
    assert text.startswith(f"ends in {int(zeros * 320) * 2} zero bytes, bands {first} to 11")


def test_what_a_camera_may_see_is_no_fill(tmp_path):
    assert found(tmp_path, scene()) == ()
    saturated = scene()
    saturated[:, frame(2)] = 4095  # 12 bits: told as saturation
    assert found(tmp_path, saturated) == ()
    dropped = scene()
    dropped[:, [6, 7]] = 0  # told as dropped frames
    assert found(tmp_path, dropped) == ()
    one_band = scene()
    one_band[3, frame(2)] = 0
    assert found(tmp_path, one_band) == ()
    few = scene()
    few[:, 0, :3] = 0
    assert found(tmp_path, few) == ()


def test_check_warns_of_it_and_of_a_suffix_that_contradicts_the_header(tmp_path):
    for seed in range(3):
        write_envi(tmp_path / f"s{seed}.bil", scene(seed=seed), AXIS)
    values = scene(seed=3)
    values[:, 9:] = 0
    write_envi(tmp_path / "s3.bil", values, AXIS)
    write_envi(tmp_path / "s4.bil", scene(seed=4), AXIS, interleave="bsq")
    report = check_folder(tmp_path)
    assert report.exit_status == 1
    texts = {p.file: p.message for p in report.problems}
    assert set(texts) == {"s3.bil", "s4.bil"}
    assert "ends in 11 of 20 lines" in texts["s3.bil"]
    assert "is named .bil, but its header says `interleave = bsq`" in texts["s4.bil"]
