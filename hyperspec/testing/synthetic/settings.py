"""What a synthetic set is made with, and the checks on it."""

from __future__ import annotations

from dataclasses import dataclass

from hyperspec.spectra.axis import MISSION_BANDS, SpectralAxis, mission_axis
from hyperspec.testing.synthetic.design import check_variant
from hyperspec.utils.errors import ConfigError

MIN_SIZE, MAX_SIZE = 16, 2048


@dataclass
class SynthSettings:
    """Options of ``hyperspec synth``."""

    variant: str = "planted"
    """``planted`` (clear), ``graded`` (shallow windows), ``null`` (nothing to find) or ``spots``
    (what tells is which scales have the windows; means and spreads are alike)."""
    num_specimens: int = 20
    """Specimens per species, at least 1; each gives two cubes."""
    size: int = 40
    """Lines and samples of each cube, 16 to 2048."""
    seed: int = 0
    """Seed, 0 included; the same seed gives the same bytes."""
    num_bands: int = MISSION_BANDS
    """Bands over the mission's range, 348.4 to 809.6 nm, 2 to 2000."""
    overwrite: bool = False
    """Replace a synthetic set that is already in the folder."""

    def __post_init__(self) -> None:
        check_variant(self.variant)
        limits = {
            "num_specimens": (1, 9999),
            "size": (MIN_SIZE, MAX_SIZE),
            "seed": (0, 2**63 - 1),
            "num_bands": (2, 2000),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(
                    f"synth.{name} is {value}, outside {low} to {high}. "
                    "Give a whole number in that range."
                )

    @property
    def axis(self) -> SpectralAxis:
        """The spectral axis of the cubes."""
        mission = mission_axis()
        if self.num_bands == len(mission):
            return mission
        return SpectralAxis.linear(*mission.range_nm, self.num_bands)
