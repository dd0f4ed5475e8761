"""From a checkpoint back to an encoder that embeds a folder: no Hydra, nothing retyped.

A checkpoint carries the run's checked config as plain values, each object under the name of its
class. Only classes of the config schema are made from them, so that reading a checkpoint runs
nothing that a config could not name.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperspec.bands import Full
from hyperspec.config.hardware import Hardware
from hyperspec.config.schema import Train
from hyperspec.datasets.config import Data
from hyperspec.spectra.selection import BandSelection
from hyperspec.training.builders import load, read_bands, read_config
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.data import Material, gather
from hyperspec.training.devices import choose_device
from hyperspec.training.embedder import Embedder
from hyperspec.utils.errors import ModelError
from hyperspec.utils.foreign_paths import inside

log = logging.getLogger(__name__)

# Keys of `data` that name files.
_PATHS = ("white", "dark", "white_reflectance", "axis.file", "labels.file")


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
    found = read_config(checkpoint, path)
    _check_paths(found.data, path)
    config = _on_folder(found, words, data, path)
    if facts.get("stage") == "search":
        raise ModelError(
            f"'{path}' was written while bands=learned was still choosing its bands, so it holds "
            f"no encoder of them yet. Let the run finish: hyperspec train ... ckpt='{path}'."
        )
    trained = read_bands(checkpoint, path)
    # Another folder need not have the labels that training held out.
    whole = gather(config.data, Full(), absent_ok=True)
    material = dataclasses.replace(whole, selection=trained.resolve(whole.source.axis))
    device = choose_device(Hardware())
    module = load(config, material, checkpoint["state_dict"], path, device)
    known = facts.get("data_hash"), facts.get("split_hash")
    same = known == (material.source.hash, material.split.hash)
    if not same:
        log.warning(
            "%s is not the data that the encoder was trained on (or its labels or its split "
            "differ): its parts are drawn anew, and specimens of the test part may have been "
            "trained on if they were in that data.",
            config.data.root,
        )
    return Restored(config, material, module.embedder, trained, same)


def _check_paths(data: Data, path: Path | str) -> None:
    """Refuse what can be no path on this system; one that does not exist may.

    Raises:
        ModelError: Naming the key.
    """
    for key in ("root", "cache_dir", *_PATHS):
        value = _value(data, key)
        try:
            if isinstance(value, str):
                os.stat(value)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except (OSError, ValueError) as error:  # too long, a NUL, half a character
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            raise ModelError(
                f"'{path}' was trained with data.{key}={str(value)[:60]!a}, which can be no path "
                f"here ({why}): the file is damaged, or somebody edited it. Take another copy."
            ) from error


def _on_folder(
    config: Train, words: Sequence[str], data: Mapping[str, Any], path: Path | str
) -> Train:
    """Return the config with the data settings that are asked for here.

    Raises:
        ModelError: If the checkpoint's own would lead out of the folder.
    """
    given = {name: value for name, value in data.items() if value is not None}
    made: Data = dataclasses.replace(_at_home(config.data), **given)
    if words:
        from hyperspec.config.compose_data import (
            compose_data,  # Hydra, which the library does without
        )

        made = compose_data(words, made.root, base=made)
    told = {word.lstrip("+").partition("=")[0] for word in words}
    if "root" in given and Path(made.root).resolve() == Path(config.data.root).resolve():
        return dataclasses.replace(config, data=made)  # trained in that folder: it is one's own
    for key in _PATHS:
        value = _value(made, key)
        own = isinstance(value, str) and value == _value(config.data, key)
        if own and f"data.{key}" not in told and inside(Path(made.root), value) is None:
            raise ModelError(
                f"'{path}' was trained with data.{key}={value}, which is not in {made.root}. A "
                "checkpoint may come from anybody and decides no other place: if the file is "
                f"yours, name it (data.{key}=FILE)."
            )
    return dataclasses.replace(config, data=made)


def _at_home(data: Data) -> Data:
    """Return data settings that write nothing but where this package does by itself.

    The run's cache counts where it is one: its images are not packed once more.
    """
    usual = str(next(f.default for f in dataclasses.fields(Data) if f.name == "cache_dir"))
    is_cache = all((Path(data.cache_dir) / name).is_dir() for name in ("stores", "shards"))
    return data if is_cache else dataclasses.replace(data, cache_dir=usual)


def _value(data: Data, key: str) -> object:
    """Return the value of a key such as ``labels.file``; None where there is none of that name."""
    value: object = data
    for name in key.split("."):
        value = getattr(value, name, None)
    return value
