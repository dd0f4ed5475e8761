from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from views_presets import PRESETS

from hyperspec.inspection.contact_sheet import _draw, contact_sheet, make_views, rgb_bands
from hyperspec.spectra.axis import SpectralAxis, mission_axis
from hyperspec.transforms.config import CrossModalViews
from hyperspec.utils.errors import ConfigError

AXIS = mission_axis().subset(range(0, 408, 37))


def specimen(height: int = 20, width: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """A disc whose reflectance is a function of band, row and column."""
    band, row, column = np.meshgrid(
        np.arange(len(AXIS)), np.arange(height), np.arange(width), indexing="ij"
    )
    mask = (row[0] - height / 2) ** 2 + (column[0] - width / 2) ** 2 < 64
    image = 0.1 + 0.05 * band + 0.004 * row + 0.002 * column
    return (image * mask).astype(np.float32), mask


def test_the_sheet_is_a_picture_with_colour(tmp_path: Path) -> None:
    image, mask = specimen()
    path = tmp_path / "new" / "sheet.png"
    assert contact_sheet(image, AXIS, PRESETS["strong"], path, mask=mask, num_views=5) == path
    pixels = imread(path)[..., :3]
    assert pixels.shape[0] > 500
    assert pixels.shape[1] > 1000
    # Red curves, black frames and white paper are there.
    assert float((pixels.min(-1) > 0.99).mean()) > 0.2
    assert bool(((pixels[..., 0] > 0.8) & (pixels[..., 1] < 0.2)).any())


def test_windows_are_shaded_where_the_cube_has_bands() -> None:
    image, mask = specimen()
    config = CrossModalViews(
        windows_nm={"uv": [300, 348], "visible": [400, 700], "nir": [700, 2000]}
    )
    sheet = make_views(image, AXIS, config, mask, num_views=1, size=16, seed=0)
    panels = [panel for panel in _draw(sheet, AXIS, config.windows_nm).axes if panel.lines]
    assert [panel.get_ylabel() for panel in panels] == ["reflectance", ""]
    raw = _draw(sheet, AXIS, config.windows_nm, "stored value")
    assert [panel.get_ylabel() for panel in raw.axes if panel.lines] == ["stored value", ""]
    assert len(panels) == 2  # the original's spectra and those of the view
    for panel in panels:
        assert [text.get_text() for text in panel.texts] == ["visible", "nir"]
        spans = [
            patch.get_extents().transformed(panel.transData.inverted()) for patch in panel.patches
        ]
        low, high = panel.get_xlim()
        assert [(round(s.x0), round(s.x1)) for s in spans] == [(400, 700), (700, round(high))]
        assert low < AXIS.range_nm[0] < AXIS.range_nm[1] < high < 2000


def test_a_single_band_and_a_single_view_can_be_drawn(tmp_path: Path) -> None:
    image, mask = specimen()
    path = contact_sheet(
        image[:1],
        AXIS.subset([0]),
        PRESETS["default"],
        tmp_path / "one.png",
        mask=mask,
        num_views=1,
    )
    assert imread(path).shape[1] > 400


def test_without_changes_each_view_is_the_middle_square() -> None:
    image, mask = specimen()
    image[:, 10, 15] = np.nan
    sheet = make_views(image, AXIS, PRESETS["none"], mask, num_views=2, size=20, seed=0)
    expected_mask = mask[:, 5:25].copy()
    expected_mask[10, 10] = False
    expected = np.where(expected_mask, image[:, :, 5:25], 0)
    for index in range(3):
        np.testing.assert_allclose(sheet.images[index], expected, atol=1e-6)
        np.testing.assert_array_equal(sheet.masks[index, 0], expected_mask)
        np.testing.assert_allclose(
            sheet.spectra[index], expected[:, expected_mask].mean(1), rtol=1e-5
        )


def test_the_seed_decides_the_views() -> None:
    image, mask = specimen()
    first, again, other = (
        make_views(image, AXIS, PRESETS["strong"], mask, 3, 16, seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(first.images[0], other.images[0])


def test_colours_are_the_visible_bands_or_spread_over_another_axis() -> None:
    assert [round(float(AXIS.wavelengths_nm[i])) for i in rgb_bands(AXIS)] == [642, 558, 432]
    shortwave = SpectralAxis.linear(1000.0, 2500.0, 16)
    assert shortwave.wavelengths_nm[rgb_bands(shortwave)].tolist() == [2300.0, 1700.0, 1100.0]
    assert rgb_bands(SpectralAxis.linear(500.0, 500.0, 1)) == [0, 0, 0]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    image, mask = specimen()
    path = tmp_path / "never.png"
    with pytest.raises(ConfigError, match="sheet of 0 views was asked for; give 1 to 40"):
        contact_sheet(image, AXIS, PRESETS["none"], path, num_views=0)
    with pytest.raises(ConfigError, match=r"shape \(3, 20, 30\), but the axis has 12 bands"):
        contact_sheet(image[:3], AXIS, PRESETS["none"], path)
    with pytest.raises(ConfigError, match=r"mask has shape \(20, 3\), but the image \(20, 30\)"):
        contact_sheet(image, AXIS, PRESETS["none"], path, mask=mask[:, :3])
    assert not path.exists()
