"""From a checkpoint back to an encoder that embeds a folder: no Hydra, nothing retyped.

A checkpoint carries the run's checked config as plain values, each object under the name of its
class. Only classes of the config schema are made from them, so that reading a checkpoint runs
nothing that a config could not name.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hyperspec.bands import Full
from hyperspec.config.schema import Train
from hyperspec.datasets.config import Data
from hyperspec.spectra.band_projection import selection_from_dict
from hyperspec.spectra.selection import BandSelection
from hyperspec.training.builders import load, read_config
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.data import Material, gather
from hyperspec.training.embedder import Embedder
from hyperspec.utils.errors import ModelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """A trained encoder on a folder of cubes.

    Args:
        config: The config of the run, with the data settings that were used here.
        material: The folder's specimens, their split and the bands, found again by nm.
        embedder: The trained encoder with what stands in front of it.
        trained: The bands that it was trained on, on their own axis.
        same_data: Whether the folder is what it was trained on, split alike: only then is the test
            part known to be unseen.
    """

    config: Train
    material: Material
    embedder: Embedder
    trained: BandSelection
    same_data: bool


def restore(path: Path | str, words: Sequence[str] = (), **data: Any) -> Restored:
    """Rebuild a checkpoint's encoder on a folder of cubes.

    The folder is read and split as the run's was, unless told otherwise. Where it has another axis,
    the bands are found by nm.

    Args:
        path: The checkpoint.
        words: Data settings that differ here, as for `hyperspec train`, such as
            ``data.white=w.bil``.
        data: Fields of the run's data config that differ here, such as ``root``; those that are
            None stay as the run had them.

    Raises:
        ModelError: If the checkpoint cannot be read, or its weights do not fit.
        BandError: If the folder's axis lacks a band.
    """
    checkpoint = read_checkpoint(path)
    facts = checkpoint["hyperspec"]
    config = _on_folder(read_config(checkpoint, path), words, data)
    if facts.get("stage") == "search":
        raise ModelError(
            f"'{path}' was written while bands=learned was still choosing its bands, so it holds "
            f"no encoder of them yet. Let the run finish: hyperspec train ... ckpt='{path}'."
        )
    trained = selection_from_dict(facts["bands"])
    # Another folder need not have the labels that training held out.
    whole = gather(config.data, Full(), absent_ok=True)
    material = dataclasses.replace(whole, selection=trained.resolve(whole.source.axis))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = load(config, material, checkpoint["state_dict"], path, device)
    same = (facts["data_hash"], facts["split_hash"]) == (material.source.hash, material.split.hash)
    if not same:
        log.warning(
            "%s is not the data that the encoder was trained on (or its labels or its split "
            "differ): its parts are drawn anew, and specimens of the test part may have been "
            "trained on if they were in that data.",
            config.data.root,
        )
    return Restored(config, material, module.embedder, trained, same)


def _on_folder(config: Train, words: Sequence[str], data: Mapping[str, Any]) -> Train:
    given = {name: value for name, value in data.items() if value is not None}
    made: Data = dataclasses.replace(config.data, **given)
    if words:
        from hyperspec.config.compose_data import (
            compose_data,  # Hydra, which the library does without
        )

        made = compose_data(words, made.root, base=made)
    return dataclasses.replace(config, data=made)
