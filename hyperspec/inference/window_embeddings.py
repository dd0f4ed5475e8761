"""Embeddings of windows of wavelengths, one window at a time, of an encoder that takes any bands.

Only ``stem=wavelength`` gives a window of bands an embedding with a meaning of its own: its weights
are a function of nm. Any other stem has a weight for each of its own bands and no answer to a part
of them. Planes of a window are read, embedded and let go before the next window's are, so that the
memory is that of one window, whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.evaluation.similarity import median_cosine, shared_neighbours
from hyperspec.inference.band_curve import on_bands
from hyperspec.inference.restore import Restored
from hyperspec.models.stems.wavelength import WavelengthProjection
from hyperspec.training.data import held_rows
from hyperspec.utils.errors import ConfigError, HyperspecError

POOLS = ("mean", "concat")
_OPTION = "--windows-nm"


@dataclass(frozen=True)
class Window:
    """A window of wavelengths, nm; the lower end belongs to it, the upper one, above it, not."""

    low_nm: float
    high_nm: float

    @property
    def label(self) -> str:
        """Its ends in words, such as ``350-450_nm``."""
        return f"{self.low_nm:g}-{self.high_nm:g}_nm"

    def places(self, wavelengths_nm: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return which of some bands lie inside, in their order."""
        return np.flatnonzero((self.low_nm <= wavelengths_nm) & (wavelengths_nm < self.high_nm))


@dataclass(frozen=True, eq=False)
class WindowEmbeddings:
    """What each window's bands alone make of all images.

    Args:
        windows: In the order asked for.
        num_bands: Bands of each.
        features: Shape ``(W, N, F)``.
    """

    windows: tuple[Window, ...]
    num_bands: tuple[int, ...]
    features: NDArray[np.float64]

    def pooled(self, how: str) -> NDArray[np.float64]:
        """Return one embedding per image: ``mean``, ``(N, F)``, or ``concat``, ``(N, W F)``."""
        if how not in POOLS:
            raise ConfigError(f"--windows-pool is '{how}'; choose {' or '.join(POOLS)}.")
        if how == "mean":
            return np.asarray(self.features.mean(axis=0))
        return np.concatenate(list(self.features), axis=1)

    def columns(self) -> dict[str, list[NDArray[np.float32]]]:
        """Return each window's embeddings by the name of its column."""
        return {
            f"embedding_{window.label}": list(part.astype(np.float32))
            for window, part in zip(self.windows, self.features, strict=True)
        }


def parse_windows(text: str, wavelengths_nm: NDArray[np.float64]) -> tuple[Window, ...]:
    """Read windows from words: ``350-450,450-550``, or a width such as ``100``.

    Windows of a width begin at the lowest band and go on until all bands are inside.

    Args:
        text: The words.
        wavelengths_nm: Centres of the encoder's bands, shape ``(n,)``.

    Raises:
        ConfigError: If they are no windows, two are the same, or one holds no band.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        windows = _of_width(float(words[0]), wavelengths_nm) if len(words) == 1 else ()
    except ValueError:
        windows = ()
    windows = windows or tuple(_window(word) for word in words)
    if not windows:
        raise ConfigError(f"{_OPTION} is empty; give windows such as 350-450,450-550, or a width.")
    if len(set(windows)) < len(windows):
        raise ConfigError(f"{_OPTION} '{text}' names a window twice; leave one out.")
    for window in windows:
        if not window.places(wavelengths_nm).size:
            raise ConfigError(
                f"{_OPTION}: the window {window.low_nm:g}-{window.high_nm:g} nm holds none of the "
                f"encoder's {len(wavelengths_nm)} bands ({wavelengths_nm.min():.1f}-"
                f"{wavelengths_nm.max():.1f} nm). Widen it, or leave it out."
            )
    return windows


def _window(word: str) -> Window:
    low, dash, high = word.partition("-")
    try:
        window = Window(float(low), float(high))
    except ValueError:
        window = Window(0.0, 0.0)
    if not dash or not 0 < window.low_nm < window.high_nm < float("inf"):
        raise ConfigError(
            f"{_OPTION} holds '{word}'; give LOW-HIGH in nm with LOW below HIGH, such as 350-450, "
            "or a single width above 0, such as 100."
        )
    return window


def _of_width(width_nm: float, wavelengths_nm: NDArray[np.float64]) -> tuple[Window, ...]:
    """Lay windows side by side over the bands; those without a band are left out."""
    if not 0 < width_nm < float("inf"):
        return ()
    start, stop = float(wavelengths_nm.min()), float(wavelengths_nm.max())
    count = int((stop - start) // width_nm) + 1
    ends = [round(start + number * width_nm, 2) for number in range(count + 1)]
    # Rounding must put neither the first nor the last band outside.
    ends[0] = float(np.floor(start * 100) / 100)
    ends[-1] = max(ends[-1], float(np.floor(stop * 100 + 1) / 100))
    laid = tuple(Window(low, high) for low, high in pairwise(ends))
    return tuple(window for window in laid if window.places(wavelengths_nm).size)


def embed_windows(restored: Restored, windows: tuple[Window, ...]) -> WindowEmbeddings:
    """Embed all images of a folder by each window's bands alone, one window after the other.

    A normalisation of single bands keeps what it was fitted to; one of whole spectra sees the
    window's bands alone.

    Args:
        restored: An encoder with ``stem=wavelength``; planes are read window by window where its
            bank does not hold them (``residency="mmap"``).
        windows: From :func:`parse_windows`.

    Raises:
        ConfigError: If its stem is another one.
    """
    check_stem(restored)
    material, embedder = restored.material, restored.embedder
    rows = torch.arange(len(material.source))
    own, parts, counts = embedder.normalisation, [], []
    for window in windows:
        places = window.places(material.selection.wavelengths_nm)
        indices = [material.selection.indices[place] for place in places]
        inside = replace(material.selection, indices=tuple(indices))
        there = on_bands(embedder, restored.config.data.normalisation, material, inside)
        if own.per_band_affine is not None:
            kept = {name: value[places] for name, value in own.state_dict().items()}
            there.normalisation.load_state_dict(kept)
        parts.append(there.embed(rows).numpy().astype(np.float64))
        counts.append(len(indices))
    return WindowEmbeddings(windows, tuple(counts), np.stack(parts))


def check_stem(restored: Restored) -> None:
    """Refuse encoders whose weights belong to their own bands.

    Raises:
        ConfigError: If it is one; the message says what to train instead.
    """
    stem = restored.embedder.encoder.projection
    if isinstance(stem, WavelengthProjection) and restored.embedder.reduction is None:
        return
    named = f"model.stem={restored.config.model.stem}"
    if restored.embedder.reduction is not None:
        named = f"bands={restored.trained.strategy}, whose channels are sums of bands"
    elif restored.config.model.stem == "wavelength":
        named = "views=cross_modal, which has windows of its own"
    raise ConfigError(
        f"{_OPTION} embeds windows of bands one by one, but the encoder was trained with {named}: "
        f"a part of its {len(restored.trained)} bands has no embedding of its own. Train with "
        f"model.stem=wavelength on single bands, or leave {_OPTION} out."
    )


def compare_windows(
    restored: Restored, found: WindowEmbeddings, how: str, whole: NDArray[np.float64], k: int = 5
) -> pd.DataFrame:
    """Hold each window, and the embedding pooled from them, against the undivided one, ``(N, F)``.

    Returns:
        One row per window, then the pooled and the undivided embedding: bands, median cosine to
        the undivided (NaN where the widths differ), share of common neighbours, and k-NN top-1 on
        the test part where there are labels.
    """
    named = {w.label: x for w, x in zip(found.windows, found.features, strict=True)}
    named |= {f"pooled ({how})": found.pooled(how), "undivided": whole}
    bands = [*found.num_bands, sum(found.num_bands), len(restored.material.selection)]
    rows = []
    for (name, x), count in zip(named.items(), bands, strict=True):
        fits = x.shape == whole.shape
        rows.append(
            {
                "embedding": name,
                "bands": count,
                "median_cosine": median_cosine(x, whole) if fits else float("nan"),
                "shared_neighbours": shared_neighbours(x, whole, k),
                "test_knn_top1": _knn(restored, x, k),
            }
        )
    return pd.DataFrame(rows)


def _knn(restored: Restored, x: NDArray[np.float64], k: int) -> float:
    """Return k-NN top-1 on the test part; NaN where its labels do not allow one."""
    material = restored.material
    train, test = (
        held_rows(material, x[rows], rows).labelled()
        for rows in (material.split.train, material.split.test)
    )
    if not len(test.labels):
        return float("nan")
    try:
        return knn_probe(train.features, train.labels, test.features, test.labels, k=k).top1
    except HyperspecError:  # fewer labelled rows than neighbours
        return float("nan")
