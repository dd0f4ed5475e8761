"""Settings of the views (augmentations), every range checked.

Spatial settings are shares, degrees and pixels; spectral ones are log-reflectance, reflectance and
nanometres, never band counts, so that a setting means the same on 10 bands and on 408.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hyperspec.utils.errors import ConfigError

# Lowest and highest accepted value by field. Bounds keep a typing slip (per cent for a share,
# radians for degrees) from training on noise.
RANGES: Mapping[str, tuple[float, float]] = {
    "crop_min": (0.05, 1.0),
    "crop_max": (0.05, 1.0),
    "crop_ratio": (1.0, 4.0),
    "rotation_deg": (0.0, 180.0),
    "flip_horizontal": (0.0, 1.0),
    "flip_vertical": (0.0, 1.0),
    "blur_probability": (0.0, 1.0),
    "blur_sigma_px": (0.0, 10.0),
    "gain_sd": (0.0, 2.0),
    "tilt_sd": (0.0, 2.0),
    "curvature_sd": (0.0, 2.0),
    "noise_sd": (0.0, 1.0),
    "noise_low_end": (0.1, 100.0),
    "noise_high_end": (0.1, 100.0),
    "shift_nm": (0.0, 50.0),
    "smooth_fwhm_nm": (0.0, 200.0),
    "erase_nm": (0.0, 400.0),
    "erase_probability": (0.0, 1.0),
    "drop_probability": (0.0, 0.9),
    "mix_max": (0.0, 0.5),
}
# A probability without a width, or a width without a probability, would do nothing in silence.
PAIRS = (("erase_probability", "erase_nm"), ("blur_probability", "blur_sigma_px"))


@dataclass
class ViewsConfig:
    """What a random view of a specimen may change; the defaults are those of ``views=default``.

    The defaults were tried on the synthetic specimens: gain, tilt, curvature and noise leave narrow
    features alone, which a study of bands asks about. Smoothing, erasing and dropping destroy them
    (k-NN 1.00 to 0.47 when tried at 50 bands) and are off except in the preset ``strong``.

    Raises:
        ConfigError: If a value is outside its range (named in the message), if ``crop_min`` exceeds
            ``crop_max``, or if a probability is given without its width or a width without its
            probability.
    """

    crop_min: float = 0.3
    """Smallest share of the image's area that a crop keeps, 0.05 to 1."""
    crop_max: float = 1.0
    """Largest share of the image's area that a crop keeps, 0.05 to 1; 1 and 1 crop nothing."""
    crop_ratio: float = 4 / 3
    """Largest ratio of a crop's sides, 1 to 4; crops range from 1 / ratio to ratio."""
    rotation_deg: float = 180.0
    """Largest rotation to either side in degrees, 0 to 180."""
    flip_horizontal: float = 0.5
    """Probability of a left-right flip."""
    flip_vertical: float = 0.5
    """Probability of an up-down flip."""
    blur_probability: float = 0.0
    """Probability of a Gaussian blur of the view."""
    blur_sigma_px: float = 0.0
    """Largest blur in pixels of the view (standard deviation; drawn evenly from 0), 0 to 10."""
    gain_sd: float = 0.2
    """Standard deviation of the log of the overall illumination."""
    tilt_sd: float = 0.15
    """Standard deviation of the log slope over t, where t runs from -1 to 1 over the axis."""
    curvature_sd: float = 0.15
    """Standard deviation of the log curvature: the factor of t squared."""
    noise_sd: float = 0.01
    """Sensor noise in reflectance (standard deviation) in the middle of the axis, 0 to 1."""
    noise_low_end: float = 3.5
    """Noise at the short-wavelength end of the axis relative to its middle, 0.1 to 100."""
    noise_high_end: float = 2.5
    """Noise at the long-wavelength end of the axis relative to its middle, 0.1 to 100."""
    noise_bank: bool = True
    """On a CPU, read noise at random places of a fixed bank of random numbers: much faster."""
    noise_projected: bool = True
    """With a linear stem, draw the noise after it, at its exact covariance: much faster."""
    shift_nm: float = 0.0
    """Largest wavelength shift to either side in nanometres, 0 to 50."""
    smooth_fwhm_nm: float = 0.0
    """Largest Gaussian smoothing over wavelengths (full width at half maximum, nm), 0 to 200."""
    erase_nm: float = 0.0
    """Width of the window of wavelengths that is erased, in nanometres, 0 to 400."""
    erase_probability: float = 0.0
    """Probability that a window is erased."""
    drop_probability: float = 0.0
    """Probability of each band to be dropped, 0 to 0.9; one band always stays."""
    mix_max: float = 0.0
    """Largest share of another specimen's mean spectrum that is mixed in, 0 to 0.5."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise ConfigError(
                    f"views.{name} is {value!r}; it must be a number from {low:g} to {high:g}."
                )
        if self.crop_min > self.crop_max:
            raise ConfigError(
                f"views.crop_min is {self.crop_min:g} but views.crop_max is {self.crop_max:g}; the "
                "smallest share of the image that a crop keeps cannot exceed the largest."
            )
        for probability, width in PAIRS:
            if (getattr(self, probability) > 0) != (getattr(self, width) > 0):
                raise ConfigError(
                    f"views.{probability} is {getattr(self, probability):g} but views.{width} is "
                    f"{getattr(self, width):g}, which together do nothing; set both above 0, or "
                    "both to 0."
                )

    @property
    def crops(self) -> bool:
        """Whether crops are drawn at all."""
        return self.crop_min < 1

    @property
    def moves(self) -> bool:
        """Whether anything changes the place of a pixel."""
        return self.crops or max(self.rotation_deg, self.flip_horizontal, self.flip_vertical) > 0

    @property
    def scales(self) -> bool:
        """Whether bands are multiplied by a random illumination."""
        return max(self.gain_sd, self.tilt_sd, self.curvature_sd) > 0

    def hints(self, spacing_nm: float) -> tuple[str, ...]:
        """Say which settings destroy features that the chosen bands could resolve.

        Args:
            spacing_nm: Median distance between neighbouring chosen bands in nanometres; infinite
                for a single band.

        Returns:
            One line per setting whose width exceeds the spacing; dropping bands counts always.
        """
        found = []
        if math.isinf(spacing_nm):
            if self.shift_nm or self.smooth_fwhm_nm or self.erase_nm or self.drop_probability:
                found.append(
                    "views: shift, smoothing, erasing and dropping do nothing to a single band."
                )
            return tuple(found)
        for name in ("smooth_fwhm_nm", "erase_nm"):
            width = getattr(self, name)
            if width > spacing_nm:
                found.append(
                    f"views.{name}={width:g} exceeds the {spacing_nm:.1f} nm spacing of the chosen "
                    "bands: it destroys the narrow features that more bands could resolve, so do "
                    "not compare numbers of bands with it; views=default leaves them alone."
                )
        if self.drop_probability > 0:
            found.append(
                f"views.drop_probability={self.drop_probability:g} removes single bands, and with "
                "them features that only one band sees; views=default leaves them alone."
            )
        return tuple(found)


FUSIONS = ("towers", "concatenation", "attention")


@dataclass
class CrossModalViews(ViewsConfig):
    """Views of windows of wavelengths, each a modality of its own; the rest is as by default.

    Raises:
        ConfigError: If there are fewer than two windows, or a value is out of its range.
    """

    windows_nm: dict[str, list[float]] = field(
        default_factory=lambda: {
            "uv": [348.0, 400.0],
            "visible": [400.0, 700.0],
            "nir": [700.0, 810.0],
        }
    )
    """Lowest and highest wavelength of each window in nanometres, by name; the lower end belongs to
    it, the upper does not. Take one out by ``~views.windows_nm.uv``."""
    intra_weight: float = 1.0
    """Weight of the loss between two views of one window, at least 0, beside that between
    windows."""
    fusion: str = "towers"
    """How windows make one embedding: ``towers`` (an encoder per window, features side by side),
    ``concatenation`` (one encoder for all, features side by side) or ``attention`` (one encoder,
    features weighed by learned shares); the last two need ``model.stem=wavelength``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.windows_nm) < 2:
            raise ConfigError(
                f"views.windows_nm has {len(self.windows_nm)} window(s), but views=cross_modal "
                "compares windows with each other: give at least two, or take views=default."
            )
        for name, ends in self.windows_nm.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ConfigError(
                    f"views.windows_nm names a window '{name}'; use small letters, digits and _, "
                    "since metrics are named after it."
                )
            if len(ends) != 2 or not ends[0] < ends[1]:
                raise ConfigError(
                    f"views.windows_nm.{name} is {ends}; give its lowest and highest wavelength in "
                    "nanometres, for example [400, 700]."
                )
        if not (math.isfinite(self.intra_weight) and self.intra_weight >= 0):
            raise ConfigError(
                f"views.intra_weight is {self.intra_weight:g}; give a finite weight of at least 0."
            )
        if self.fusion not in FUSIONS:
            raise ConfigError(
                f"views.fusion is '{self.fusion}'; choose one of {', '.join(FUSIONS)}."
            )
        if self.fusion == "attention" and self.intra_weight == 0:
            raise ConfigError(
                "views.fusion=attention learns its shares from the two views of the fused "
                "embedding, which views.intra_weight=0 leaves out. Set it above 0, or choose "
                "views.fusion=concatenation."
            )

    def places(self, wavelengths_nm: Sequence[float]) -> dict[str, list[int]]:
        """Return the places of each window's bands among the chosen ones.

        Args:
            wavelengths_nm: Centres of the chosen bands in channel order, length n.

        Raises:
            ConfigError: If a window has no chosen band.
        """
        found = {}
        for name, (low, high) in self.windows_nm.items():
            found[name] = [i for i, nm in enumerate(wavelengths_nm) if low <= nm < high]
            if not found[name]:
                raise ConfigError(
                    f"views.windows_nm.{name} is {low:g} to {high:g} nm, but none of the "
                    f"{len(wavelengths_nm)} chosen bands ({min(wavelengths_nm):.1f} to "
                    f"{max(wavelengths_nm):.1f} nm) lies there. Choose more bands or others, or "
                    f"take the window out: '~views.windows_nm.{name}'."
                )
        return found
