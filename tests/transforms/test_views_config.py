import math
import subprocess
import sys
from dataclasses import fields

import pytest
from views_presets import PRESETS

from hyperspec.transforms.config import RANGES, ViewsConfig
from hyperspec.utils.errors import ConfigError


@pytest.mark.parametrize("name", sorted(RANGES))
@pytest.mark.parametrize("side", ["below", "above", "nan", "text"])
def test_each_range_is_checked_and_named(name: str, side: str) -> None:
    low, high = RANGES[name]
    value = {"below": low - 0.01, "above": high + 0.01, "nan": math.nan, "text": "0.5"}[side]
    with pytest.raises(ConfigError) as error:
        ViewsConfig(**{name: value})
    expected = f"views.{name} is {value!r}; it must be a number from {low:g} to {high:g}."
    assert str(error.value) == expected


def test_every_number_has_a_range() -> None:
    switches = {"noise_bank", "noise_projected"}
    assert {field.name for field in fields(ViewsConfig)} == set(RANGES) | switches


def test_crop_bounds_may_not_cross() -> None:
    with pytest.raises(
        ConfigError, match=r"views.crop_min is 0.8 but views.crop_max is 0.5; the smallest share"
    ):
        ViewsConfig(crop_min=0.8, crop_max=0.5)


@pytest.mark.parametrize(
    ("probability", "width"),
    [("erase_probability", "erase_nm"), ("blur_probability", "blur_sigma_px")],
)
def test_half_an_option_is_refused(probability: str, width: str) -> None:
    with pytest.raises(ConfigError, match=f"views.{probability} is 0.5 but views.{width} is 0,"):
        ViewsConfig(**{probability: 0.5})
    with pytest.raises(ConfigError, match=f"views.{probability} is 0 but views.{width} is 1,"):
        ViewsConfig(**{width: 1.0})


def test_the_default_preset_is_the_tried_recipe_and_leaves_narrow_features_alone() -> None:
    config = PRESETS["default"]
    assert config == ViewsConfig()
    assert (config.crop_min, config.crop_max, config.rotation_deg) == (0.3, 1.0, 180.0)
    assert (config.gain_sd, config.tilt_sd, config.curvature_sd) == (0.2, 0.15, 0.15)
    for name in ("shift_nm", "smooth_fwhm_nm", "erase_nm", "drop_probability", "mix_max"):
        assert getattr(config, name) == 0
        assert getattr(PRESETS["strong"], name) > 0
    assert list(PRESETS) == ["none", "light", "default", "strong", "cross_modal"]


def test_hints_compare_widths_with_the_spacing_of_the_chosen_bands() -> None:
    strong = PRESETS["strong"]
    assert PRESETS["default"].hints(1.0) == ()
    fine = strong.hints(1.13)
    assert [hint.split("=")[0] for hint in fine] == [
        "views.smooth_fwhm_nm",
        "views.erase_nm",
        "views.drop_probability",
    ]
    assert fine[0].startswith("views.smooth_fwhm_nm=10 exceeds the 1.1 nm spacing of the chosen")
    coarse = strong.hints(51.0)
    assert [hint.split("=")[0] for hint in coarse] == ["views.drop_probability"]
    assert strong.hints(math.inf) == (
        "views: shift, smoothing, erasing and dropping do nothing to a single band.",
    )


def test_the_config_imports_without_torch() -> None:
    code = "import sys, hyperspec.transforms.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
