"""How a scan was taken, as its header says: exposure, gain, binning, dark lines, full scale.

Every camera has words of its own; ``docs/cameras.md`` lists them by vendor. What a header does not
say is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hyperspec.utils.errors import CubeError

# Keys that tell how long a line was exposed. Specim writes `tint` (ms; two of them for two
# detectors), Resonon `shutter` (ms), HySpex `integration time` (us), others the plain words.
_EXPOSURE: Final = re.compile(
    r"(tint|integration ?time|exposure( ?time)?|shutter( (time|speed))?) ?\d?"
)
_GAIN: Final = re.compile(r"((em|analog|analogue|digital|camera|detector|sensor) )?gain ?\d?")
_BINNING: Final = re.compile(r"((spectral|spatial|sample|line|row|col|column|post) ?)*binning ?\d?")
_UNITS: Final = {"s": 1e3, "sec": 1e3, "ms": 1.0, "msec": 1.0, "us": 1e-3, "usec": 1e-3}
_NUMBER: Final = re.compile(r"([+-]?\d*\.?\d+(?:[eE][+-]?\d+)?)\s*([a-zA-Zµμ]*)")
# Exposures that differ by less are the same setting, rounded twice.
SAME: Final = 1e-3


@dataclass(frozen=True)
class Acquisition:
    """What a header says of a scan.

    Args:
        exposure: Exposure times above 0 under their keys; in milliseconds where the header gives
            a unit (the key then ends in ``[ms]``), else as written.
        setting: Gains and binnings under their keys, as text.
        dark_start: First line, 0-based, that was taken with the shutter closed; None when none was.
        ceiling: Stored value at which the detector is full; None when the header does not say.
        is_reflectance: Words of the header that call the values reflectance; empty without them.
    """

    exposure: Mapping[str, float] = field(default_factory=dict)
    setting: Mapping[str, str] = field(default_factory=dict)
    dark_start: int | None = None
    ceiling: float | None = None
    is_reflectance: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, str], num_lines: int) -> Acquisition:
        """Read the fields of a header.

        Args:
            fields: As text, under lower-case keys.
            num_lines: Lines of the file, those behind the closed shutter included.

        Raises:
            CubeError: If the first dark line is no whole number.
        """
        exposure: dict[str, float] = {}
        setting: dict[str, str] = {}
        for key, text in fields.items():
            name, _, unit = re.sub(r"[\s_-]+", " ", key.strip(" )]")).partition("(")
            name, unit = (part.strip(" [(") for part in (name.partition("[")[0], unit))
            unit = unit or key.partition("[")[2].strip(" ]")
            if _EXPOSURE.fullmatch(name):
                exposure |= _time(name, text, unit)
            elif _GAIN.fullmatch(name) or _BINNING.fullmatch(name):
                setting[name] = _plain(text)
        return cls(
            exposure,
            setting,
            _dark_start(fields, num_lines),
            _ceiling(fields.get("ceiling", "")),
            _reflectance_words(fields),
        )

    @property
    def exposure_text(self) -> str:
        """The exposures with their keys: ``tint 2.4``."""
        return ", ".join(f"{key} {value:g}" for key, value in self.exposure.items())


def exposure_ratio(one: Acquisition, other: Acquisition) -> float | None:
    """Return how many times longer one scan was exposed than another; 1 when by the same time.

    None when the headers cannot be compared, or say different things of two detectors.
    """
    ratios = [t / other.exposure[key] for key, t in one.exposure.items() if key in other.exposure]
    if not ratios or max(ratios) > min(ratios) * (1 + SAME):
        return None
    return 1.0 if abs(ratios[0] - 1) < SAME else ratios[0]


def comparable(one: Acquisition, other: Acquisition) -> bool:
    """Say whether two headers have an exposure under the same key."""
    return bool(one.exposure.keys() & other.exposure.keys())


def different_settings(one: Acquisition, other: Acquisition) -> list[str]:
    """Return the gains and binnings that differ: ``gain 2 and 4``."""
    return [
        f"{key} {value} and {other.setting[key]}"
        for key, value in one.setting.items()
        if key in other.setting and other.setting[key] != value
    ]


def _time(name: str, text: str, unit: str) -> dict[str, float]:
    found = _NUMBER.search(text)
    if found is None or not float(found[1]) > 0:
        return {}  # `shutter = open`, or 0 where a program has no value
    known = _UNITS.get((found[2] or unit).lower().replace("µ", "u").replace("μ", "u"))
    if known is None:
        return {name: float(found[1])}
    return {f"{name} [ms]": float(found[1]) * known}


def _plain(text: str) -> str:
    """Write equal numbers alike: ``{1, 2.0}`` and ``1,2``."""
    parts = [part.strip() for part in text.strip("{} \t\r\n").split(",")]
    return ", ".join(f"{float(p):g}" if _is_number(p) else p.lower() for p in parts)


def _is_number(text: str) -> bool:
    found = _NUMBER.fullmatch(text)
    return found is not None and not found[2]


def _dark_start(fields: Mapping[str, str], num_lines: int) -> int | None:
    text = fields.get("autodarkstartline", "").strip("{} \t\r\n")
    if not text:
        return None
    if not re.fullmatch(r"-?\d{1,9}(\.0*)?", text):
        raise CubeError(
            f"`autodarkstartline = {text}` is no line; write the first line behind the closed "
            "shutter, or take the key out of the header."
        )
    start = int(float(text))
    # Programs that cut the dark lines off leave the key, which then points behind the last line.
    return start if 0 < start < num_lines else None


def _ceiling(text: str) -> float | None:
    found = _NUMBER.fullmatch(text.strip("{} \t\r\n"))
    return float(found[1]) if found and float(found[1]) > 0 else None


def _reflectance_words(fields: Mapping[str, str]) -> str:
    for key in ("data units", "data unit", "quantity"):
        if "reflectance" in fields.get(key, "").lower():
            return f"`{key} = {' '.join(fields[key].split())}`"
    return ""
