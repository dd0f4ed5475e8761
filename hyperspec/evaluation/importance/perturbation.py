"""Which wavelengths an encoder leans on: windows of bands are replaced, the change is measured.

Windows and not bands: one 1.1 nm band always has near-twins that stand in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hyperspec.evaluation.importance.occlusion import Occluder
from hyperspec.evaluation.importance.sliding_windows import (
    Floats,
    Indices,
    Windows,
    plan_windows,
)
from hyperspec.models.eval_mode import eval_mode
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import Advance, progress

Mode: TypeAlias = Literal["mean", "interpolation", "permutation"]
"""What a window's reflectance is replaced by:

- ``mean``: the training mean of each band;
- ``interpolation``: a line over nm between the nearest bands outside the window (at an end of the
  axis the nearest one's value), which keeps brightness and removes the feature;
- ``permutation``: the same bands of another specimen, which keeps their distribution.
"""
# Takes reflectance (B, n, S, S) and masks (B, 1, S, S) or None, gives features (B, F).
Encode: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]
Predict: TypeAlias = Callable[[Floats], NDArray[np.str_]]


class Replacer(Protocol):
    """Features of images with some bands replaced, the others not computed anew."""

    def parts(self) -> Iterator[Indices]:
        """Yield the rows in order, those together whose spectra are in memory at one time."""
        ...

    def plain(self) -> Tensor:
        """Return the features of a part's images as they are, ``(B, F)``."""
        ...

    def replaced(self, rows: Indices, bands: Indices, values: Tensor) -> Tensor:
        """Return the features of images of a part, by their places in it, with other values.

        Args:
            rows: Places in the part, ``(B,)``.
            bands: Places of the bands, ``(b,)``.
            values: Broadcastable to ``(B, b, S, S)``.
        """
        ...


@dataclass(frozen=True, eq=False)
class Importance:
    """How much replacing each window changes the embedding, and the probe's answers.

    Args:
        windows: Which bands each window holds.
        mode: What the windows were replaced by; ``gradient`` where nothing was replaced and
            ``change`` holds attributions (:mod:`hyperspec.evaluation.importance.gradient`).
        specimens: Specimen of each row, ``(N,)``.
        change: 1 - cosine of the embedding before and after, ``(W, N)``, 0 to 2.
        drop: Right answers of the probe before minus after, ``(W, N)``, -1 to 1; None without a
            probe.
    """

    windows: Windows
    mode: Mode | Literal["gradient"]
    specimens: tuple[str, ...]
    change: Floats
    drop: Floats | None = None


def band_importance(
    encode: Encode,
    images: NDArray[np.floating],
    masks: NDArray[np.bool_] | None,
    wavelengths_nm: ArrayLike,
    specimens: Sequence[str],
    *,
    window_nm: float = 20.0,
    step_nm: float | None = None,
    mode: Mode = "mean",
    fill: ArrayLike | None = None,
    predict: Predict | None = None,
    labels: Sequence[str] | None = None,
    num_permutations: int = 1,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    seed: int = 0,
    replacer: Replacer | None = None,
) -> Importance:
    """Measure importance by occluding a sliding window of wavelengths, inside the mask.

    Args:
        encode: Frozen encoder on reflectance, normalisation included.
        images: Held-out reflectance, ``(N, n, S, S)``.
        masks: True on the specimen, ``(N, S, S)``, or None for the whole frame.
        wavelengths_nm: Band centres in nanometres, ``(n,)``.
        specimens: Unique specimen key of each row, ``(N,)``.
        window_nm: Width of the window in nanometres, above 0.
        step_nm: Distance of window centres in nanometres; half a window by default.
        mode: What a window is replaced by, see :data:`Mode`.
        fill: Training mean of each band, ``(n,)``; needed by ``mean`` only.
        predict: Probe fitted on training features: features ``(N, F)`` to labels ``(N,)``.
        labels: True labels, ``(N,)``; needed with ``predict``.
        num_permutations: Donors per row that ``permutation`` averages over.
        batch_size: Images per call of the encoder.
        device: Where the encoder lives.
        seed: Seed of the permutations.
        replacer: Takes the place of ``encode`` where only the window's bands need computing.

    Raises:
        ConfigError: If a width, step, count or mode is outside its range, a window leaves no band
            to interpolate from, or there is no other specimen to permute with.
    """
    _check(mode, predict, labels)
    centres = np.asarray(wavelengths_nm, np.float64)
    windows = plan_windows(centres, window_nm, step_nm)
    repeats = num_permutations if mode == "permutation" else 1
    occluder = Occluder(images, masks, centres, specimens, mode, fill, repeats, seed)
    steps = (len(windows.sets) * repeats + 1) * len(images)
    counted = progress(f"Replacing windows, {mode}", steps)
    with torch.inference_mode(), eval_mode(encode), counted as advance:
        found = (
            _whole(encode, occluder, windows.sets, repeats, batch_size, device, advance)
            if replacer is None
            else iter(_replaced(replacer, occluder, windows.sets, repeats, advance))
        )
        change, drop = _changes(found, predict, labels)
    places = list(windows.set_of_window)
    lost = None if drop is None else drop[places]
    return Importance(windows, mode, tuple(specimens), change[places], lost)


def _changes(
    found: Iterator[Floats], predict: Predict | None, labels: Sequence[str] | None
) -> tuple[Floats, Floats | None]:
    """Return what replacing changes, and the answers lost, ``(W, N)``, means over the repeats."""
    base, moved, lost = next(found), [], []
    for after in found:
        moved.append([1 - _cosine(base, one) for one in after])
        if predict is not None:
            lost.append(_lost(predict, np.asarray(labels), base, after))
    return np.mean(moved, axis=0), np.mean(lost, axis=0) if lost else None


def _check(mode: str, predict: Predict | None, labels: Sequence[str] | None) -> None:
    if mode not in get_args(Mode):
        raise ConfigError(
            f"importance.mode is '{mode}'; choose one of {', '.join(get_args(Mode))}."
        )
    if (predict is None) != (labels is None):
        raise ValueError("predict and labels belong together: give both or neither.")


def _lost(predict: Predict, labels: NDArray[np.str_], base: Floats, after: Floats) -> Floats:
    """Return the right answers before less those after, ``(W, N)``."""
    hits = np.asarray([predict(one) == labels for one in after], float)
    right: Floats = np.asarray(predict(base) == labels, float) - hits
    return right


def _embed(
    encode: Encode,
    batches: Iterator[tuple[Tensor, Tensor | None]],
    device: torch.device | str,
    done: Advance,
) -> Floats:
    found = []
    for x, mask in batches:
        features = encode(x.to(device), None if mask is None else mask.to(device))
        found.append(features.cpu().double().numpy())
        done(len(x))
    return np.concatenate(found)


def _whole(
    encode: Encode,
    occluder: Occluder,
    sets: Sequence[Indices],
    repeats: int,
    batch_size: int,
    device: torch.device | str,
    done: Advance,
) -> Iterator[Floats]:
    """Yield the features as they are, ``(N, F)``, then of each repeat ``(W, N, F)``."""
    base = _embed(encode, occluder.plain(batch_size), device, done)
    yield base
    for repeat in range(repeats):
        batches = occluder.occluded(sets, repeat, batch_size)
        yield _embed(encode, batches, device, done).reshape(len(sets), len(base), -1)


def _replaced(
    replacer: Replacer,
    occluder: Occluder,
    sets: Sequence[Indices],
    repeats: int,
    done: Advance,
) -> list[Floats]:
    """Return the same, of images whose other bands are not computed anew."""
    found: list[list[Floats]] = [[] for _ in range(repeats + 1)]
    for rows in replacer.parts():
        places = np.arange(len(rows))
        found[0].append(replacer.plain().double().numpy())
        done(len(rows))
        for repeat in range(repeats):
            after = []
            for bands in sets:
                values = occluder.replacement(rows, bands, repeat)
                after.append(replacer.replaced(places, bands, values).double().numpy())
                done(len(rows))
            found[repeat + 1].append(np.stack(after))
    return [np.concatenate(parts, axis=-2) for parts in found]


def _cosine(first: Floats, second: Floats) -> Floats:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = np.sum(first * second, axis=1)
    # Where either embedding vanishes nothing is left to agree with: a change of 1.
    return np.asarray(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0))
