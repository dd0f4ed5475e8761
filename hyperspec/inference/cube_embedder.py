"""A trained encoder for cubes that it has not seen: files in, embeddings out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperspec.config.hardware import Hardware
from hyperspec.config.schema import Train
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.config import FolderData
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.splits import Split
from hyperspec.datasets.store.on_the_fly import DirectSource
from hyperspec.models.encoder import Encoder
from hyperspec.models.stems.concrete import FixedProjection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.training.builders import load, open_bank, read_bands, read_config
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.data import Material
from hyperspec.training.devices import choose_device
from hyperspec.training.embedder import Embedder
from hyperspec.transforms.normalisation.pixelwise import Normalisation
from hyperspec.utils.errors import ModelError

_AT_ONCE = 256  # cubes whose chosen planes are in memory together
_Parts = tuple[Encoder, Normalisation, FixedProjection | None, bool]


class CubeEmbedder:
    """The encoder of a checkpoint, with the run's own preparation of cubes.

    Args:
        checkpoint: The file ``last.ckpt`` of a run.

    Raises:
        ModelError: If it cannot be read, or its run cut tiles of scenes.
    """

    def __init__(self, checkpoint: Path | str) -> None:
        self.path = Path(checkpoint)
        self._checkpoint: Mapping[str, Any] = read_checkpoint(self.path)
        config = read_config(self._checkpoint, self.path)
        # Planes may live wherever they fit here, not where the training machine had them.
        data = dataclasses.replace(config.data, residency="auto")
        self.config: Train = dataclasses.replace(config, data=data)
        self.bands = read_bands(self._checkpoint, self.path)
        self._parts: dict[tuple[str, torch.device], _Parts] = {}
        if not isinstance(self.config.data, FolderData):
            raise ModelError(
                f"'{self.path}' was trained on tiles of scenes, so that a cube has no single "
                f"embedding. Embed a folder of scenes with: hyperspec embed '{self.path}'."
            )

    def __call__(self, files: Sequence[Path | str]) -> NDArray[np.float32]:
        """Embed cubes.

        White and dark frames are those of the run's folder for a cube inside of it, else of the
        cube's own folder. Bands are found by nm where the axis is another one.

        Args:
            files: Data files (``.bil`` and the like), each with its header.

        Returns:
            Backbone features in the order of ``files``, shape ``(N, F)``.

        Raises:
            HyperspecError: If a cube cannot be read, or its axis lacks a band.
        """
        paths = [Path(file).absolute() for file in files]
        by_root: dict[Path, list[Path]] = {}
        for path in dict.fromkeys(paths):
            by_root.setdefault(self._root(path), []).append(path)
        found: dict[Path, NDArray[np.float32]] = {}
        for root, members in by_root.items():
            for start in range(0, len(members), _AT_ONCE):
                found |= self._embed(root, members[start : start + _AT_ONCE])
        return np.stack([found[path] for path in paths])

    def _root(self, path: Path) -> Path:
        trained_on = Path(self.config.data.root).absolute()
        return trained_on if path.is_relative_to(trained_on) else path.parent

    def _embed(self, root: Path, paths: Sequence[Path]) -> dict[Path, NDArray[np.float32]]:
        material = self._material(root, paths)
        features = self._embedder(material).embed(torch.arange(len(material.source))).numpy()
        return {root / name: row for name, row in zip(material.files, features, strict=True)}

    def _embedder(self, material: Material) -> Embedder:
        """Put the encoder before some cubes; built once for an axis and a device."""
        device = choose_device(Hardware())
        bank = open_bank(self.config, material, device)
        key = material.source.axis.hash, device
        if key not in self._parts:
            weights = self._checkpoint["state_dict"]
            made = load(self.config, material, weights, self.path, device, bank).embedder
            # Without the bank, which holds the cubes.
            self._parts[key] = made.encoder, made.normalisation, made.reduction, made.direct
        encoder, normalisation, reduction, direct = self._parts[key]
        return Embedder(encoder, normalisation, bank, reduction, direct)

    def _material(self, root: Path, paths: Sequence[Path]) -> Material:
        data = self.config.data
        assert isinstance(data, FolderData)
        catalogue = scan(
            root,
            axis=data.own_axis,
            reading=data.reading,
            pattern=data.pattern,
            only=paths,
            white=data.white,
            dark=data.dark,
            contents=False,
        )
        catalogue.raise_errors()
        source = DirectSource(catalogue, PrepareSettings.of(data))
        rows = np.arange(len(source), dtype=np.intp)
        nothing = rows[:0]
        return Material(
            source,
            Split(rows, nothing, nothing, ""),
            # Those of the training part come with the weights; the folder's own would take longer
            # than all the rest.
            SpectralStatistics.from_spectra(
                np.outer([0.0, 1.0], np.ones(len(source.axis))), source.axis
            ),
            self.bands.resolve(source.axis),
        )


def open_embedder(checkpoint: str) -> CubeEmbedder:
    """Return the encoder of a checkpoint; what a logged model names as its loader."""
    return CubeEmbedder(checkpoint)
