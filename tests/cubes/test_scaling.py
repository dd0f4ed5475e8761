"""Gains, offsets and scale factors: stored values become what was put in, or a clear error."""

from __future__ import annotations

import numpy as np
import pytest
from cube_oracle import axis_of, header_text, write_pair

from hyperspec.cubes import open_cube, write_envi
from hyperspec.cubes.cube import Window
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import CubeError

BANDS = 4


def truth() -> np.ndarray:
    """Reflectance of 0.05 to 0.9, different in every band, line and sample."""
    band, row, col = np.indices((BANDS, 5, 6))
    return 0.05 + 0.2 * band + 0.03 * row + 0.01 * col


def listed(values) -> str:
    return "{" + ", ".join(str(value) for value in values) + "}"


def written(folder, stored, name="x.bil", interleave="bil", **extra):
    scale = extra.pop("scale", None)
    fields = {key.replace("_", " "): value for key, value in extra.items()}
    values = np.rint(stored).astype(np.uint16)
    write_envi(
        folder / name, values, axis_of(BANDS), interleave=interleave, scale_factor=scale,
        extra=fields,
    )  # fmt: skip
    return folder / name


GAIN = [0.5, 1.0, 2.0, 0.25]
CASES = {
    # The offset of the case `gains`: stored = (r + 0.1) * 10000.
    "offset": ((truth() + 0.1) * 10000, {"data_offset_values": listed([-1000] * BANDS)}),
    "gain": (
        truth() * 10000 / np.reshape(GAIN, (-1, 1, 1)),
        {"data_gain_values": listed(GAIN)},
    ),
    "both": (
        (truth() * 10000 + 500) / np.reshape(GAIN, (-1, 1, 1)),
        {"data_gain_values": listed(GAIN), "data_offset_values": listed([-500] * BANDS)},
    ),
    "reflectance offset": (
        (truth() + 0.1) * 10000,
        {"data_reflectance_offset_values": listed([-1000] * BANDS)},
    ),
}


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
@pytest.mark.parametrize("case", CASES)
def test_gains_and_offsets_come_before_the_scale_factor(tmp_path, case, interleave):
    stored, extra = CASES[case]
    path = written(tmp_path, stored, interleave=interleave, scale=10000, **extra)
    with open_cube(path) as cube:
        # Half a count, times the largest gain.
        np.testing.assert_allclose(cube.read(), truth(), atol=1.01e-4)
        part = cube.read([3, 1], Window(1, 2, 3, 3))
        np.testing.assert_array_equal(part, cube.read()[[3, 1], 1:4, 2:5])
        assert cube.is_scaled


def test_reflectance_gains_need_no_scale_factor_and_win_over_radiance(tmp_path):
    stored = (truth() + 0.1) / 2e-5
    path = written(
        tmp_path, stored,
        data_reflectance_gain_values=listed([2e-5] * BANDS),
        data_reflectance_offset_values=listed([-0.1] * BANDS),
        data_gain_values=listed([0.012] * BANDS), data_offset_values=listed([-60] * BANDS),
    )  # fmt: skip
    with open_cube(path) as cube:
        np.testing.assert_allclose(cube.read(), truth(), atol=1.01e-5)
        assert cube.gains.quantity == "reflectance"
        assert cube.is_scaled


def test_radiance_is_applied_and_said_not_to_be_reflectance(tmp_path):
    path = written(tmp_path, truth() * 1000, data_gain_values=listed(GAIN))
    with pytest.warns(UserWarning, match=r"`data gain values` .* radiance, not reflectance \(stor"):
        cube = open_cube(path)
    raw = cube.read_raw()
    np.testing.assert_allclose(cube.read(), raw * np.reshape(GAIN, (-1, 1, 1)), rtol=1e-6)
    assert not cube.is_scaled


def test_nodata_is_looked_for_before_the_gains(tmp_path):
    stored = (truth() + 0.1) * 10000
    stored[:, 0, 0] = 0
    path = written(
        tmp_path, stored, scale=10000, data_offset_values=listed([-1000] * BANDS),
        data_ignore_value="0",
    )  # fmt: skip
    with open_cube(path) as cube:
        assert np.isnan(cube.read()[:, 0, 0]).all()
        assert np.isfinite(cube.read()).sum() == truth().size - BANDS


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"data_gain_values": "{0.5}"}, r"`data gain values` has 1 items for 3 bands.* changes"),
        ({"data_offset_values": "{1, x, 1}"}, r"item 1 of `data offset values` is 'x', not a fin"),
        ({"data_offset_values": "{1, inf, 1}"}, r"item 1 of `data offset values` is 'inf'"),
        ({"data_gain_values": "{1, 0, 1}"}, r"item 1 of `data gain values` is 0; a gain must be"),
        (
            {"data_reflectance_gain_values": "{1, -2, 1}"},
            r"item 1 of `data reflectance gain values` is -2",
        ),
        (
            {"data_reflectance_gain_values": "{0.5, 0.5, 0.5}", "reflectance_scale_factor": 10000},
            r"both `data reflectance gain values` and `reflectance scale factor = 10000`.*Take out",
        ),
    ],
)
def test_what_cannot_be_reconciled_is_refused(tmp_path, fields, text):
    with pytest.raises(CubeError, match=text):
        open_cube(write_pair(tmp_path, header_text(**fields)))


def test_a_bad_band_may_have_any_gain(tmp_path):
    text = header_text(
        data_reflectance_gain_values="{0.001, 0, 0.001}", bbl="{1, 0, 1}", interleave="bsq"
    )
    with open_cube(write_pair(tmp_path, text)) as cube:
        np.testing.assert_allclose(cube.read([0]), cube.read_raw([0]) / 1000, rtol=1e-6)


@pytest.mark.parametrize(
    "key",
    ["data gain values", "data offset values", "reflectance scale factor", "data ignore value",
     "bbl", "fwhm", "tint"],
)  # fmt: skip
def test_a_key_that_changes_values_comes_once(tmp_path, key):
    twice = header_text() + f"{key} = {{1, 1, 1}}\n{key.upper()} = {{2, 2, 2}}\n"
    with pytest.raises(CubeError, match=rf"`{key}` is given twice, as '{{1, 1, 1}}' and as"):
        open_cube(write_pair(tmp_path, twice))
    same = header_text() + "tint = 2\nTint =  2\ndescription = a\ndescription = b\n"
    with open_cube(write_pair(tmp_path, same)) as cube:
        assert cube.metadata["description"] == "b"


def test_scales_and_offsets_of_a_raster_are_applied(tmp_path):
    import rasterio

    axis = SpectralAxis([400.0, 500, 600, 700])
    stored = np.rint((truth() + 0.1) * 10000).astype(np.uint16)
    with rasterio.open(
        tmp_path / "x.tif", "w", driver="GTiff", count=BANDS, height=5, width=6, dtype="uint16",
        transform=rasterio.Affine(2, 0, 0, 0, -2, 0),
    ) as target:  # fmt: skip
        target.write(stored)
        target.scales, target.offsets = [1e-4] * BANDS, [-0.1] * BANDS
    with open_cube(tmp_path / "x.tif", axis) as cube:
        np.testing.assert_allclose(cube.read(), truth(), atol=5.1e-5)
