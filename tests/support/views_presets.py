"""What the files in ``conf/views`` hold, as objects."""

from collections.abc import Mapping

from hyperspec.transforms.config import CrossModalViews, ViewsConfig

PRESETS: Mapping[str, ViewsConfig] = {
    "none": ViewsConfig(
        crop_min=1.0,
        crop_ratio=1.0,
        rotation_deg=0.0,
        flip_horizontal=0.0,
        flip_vertical=0.0,
        gain_sd=0.0,
        tilt_sd=0.0,
        curvature_sd=0.0,
        noise_sd=0.0,
    ),
    "light": ViewsConfig(
        crop_min=0.6,
        rotation_deg=30.0,
        gain_sd=0.1,
        tilt_sd=0.05,
        curvature_sd=0.05,
        noise_sd=0.005,
    ),
    "default": ViewsConfig(),
    "strong": ViewsConfig(
        blur_probability=0.3,
        blur_sigma_px=1.0,
        shift_nm=2.0,
        smooth_fwhm_nm=10.0,
        erase_nm=40.0,
        erase_probability=0.5,
        drop_probability=0.1,
        mix_max=0.2,
    ),
    "cross_modal": CrossModalViews(),
}
