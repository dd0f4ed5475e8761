"""Names that are made: dotted names of a config, and the readable name of a run."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TypeGuard


def flatten(config: object, prefix: str = "") -> dict[str, str]:
    """Return a nested config as dotted names such as ``bands.n`` with plain text values.

    A sequence of plain values stays one parameter; a sequence of mappings gets numbered names.
    ``prefix`` is the name of ``config`` itself. Values read as they are typed on the command line:
    ``null`` for None, ``true`` and ``false`` for booleans.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    children: list[tuple[str, object]]
    if isinstance(config, Mapping):
        children = [(str(key), value) for key, value in config.items()]
    elif _is_sequence(config) and any(_is_nested(item) for item in config):
        children = [(str(i), item) for i, item in enumerate(config)]
    else:
        return {prefix: as_text(config)}
    flat: dict[str, str] = {}
    for key, value in children:
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else key))
    return flat


def as_text(value: object) -> str:
    """Return a plain value as it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if _is_sequence(value):
        return "[" + ",".join(as_text(item) for item in value) + "]"
    return str(value)


def run_name(
    strategy: str,
    n: int,
    temperature: float | None = None,
    lr: float | None = None,
    seed: int | None = None,
    rotation: int | None = None,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Return a readable name that sorts well, such as ``uniform n=050 t=0.10 lr=1e-3 seed=0``.

    The number of bands, 1 to 9999, is padded to three digits so that text order is number order;
    0 is one that is not known yet, and left out.
    ``extra`` has other settings that set the job apart, put before the seed.
    """
    parts = [strategy, f"n={n:03d}"] if n else [strategy]
    if temperature is not None:
        short = math.isclose(temperature, round(temperature, 2))
        parts.append(f"t={temperature:.2f}" if short else f"t={temperature:.4g}")
    if lr is not None:
        mantissa, exponent = f"{lr:.3e}".split("e")
        parts.append(f"lr={mantissa.rstrip('0').rstrip('.')}e{int(exponent)}")
    parts += [f"{key}={value}" for key, value in (extra or {}).items()]
    if rotation is not None:
        parts.append(f"rotation={rotation}")
    if seed is not None:
        parts.append(f"seed={seed}")
    return " ".join(parts)


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) or dataclasses.is_dataclass(value)
