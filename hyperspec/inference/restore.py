"""From a checkpoint back to a module that embeds a folder: no Hydra, nothing retyped.

A checkpoint carries the run's checked config as plain values, each object under the name of its
class. Only classes of the config schema are made from them, so that reading a checkpoint runs
nothing that a config could not name.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from hyperspec.bands import Full
from hyperspec.config import schema
from hyperspec.config.schema import Train
from hyperspec.datasets.config import Data
from hyperspec.models.config import PretrainableConfig
from hyperspec.spectra.selection import BandSelection
from hyperspec.training.data import Material, gather
from hyperspec.utils.errors import ModelError

if TYPE_CHECKING:
    import torch

    from hyperspec.datasets.loading.plane_cache import PlaneBank
    from hyperspec.training.simclr import SimCLR

log = logging.getLogger(__name__)
_CLASS = "_class"


def facts_of(config: Train, material: Material) -> dict[str, Any]:
    """Return what a checkpoint carries besides weights, as plain values.

    Args:
        config: The run's checked config.
        material: What the run works on.
    """
    return {
        "bands": material.selection.to_dict(),
        "config": to_plain(config),
        "data_hash": material.source.hash,
        "split_hash": material.split.hash,
    }


def to_plain(value: Any) -> Any:
    """Return nested config objects as dicts, each with the name of its class."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_CLASS: type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(value: Any) -> Any:
    """Rebuild config objects from :func:`to_plain`; their own checks run again.

    Raises:
        ModelError: If a class or a field is not one of this version's config.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    fields = {key: from_plain(item) for key, item in value.items() if key != _CLASS}
    if _CLASS not in value:
        return fields
    name = value[_CLASS]
    known = _config_classes()
    unknown = sorted(
        set(fields) - {f.name for f in dataclasses.fields(known[name])} if name in known else [name]
    )
    if unknown:
        raise ModelError(
            f"The checkpoint's config holds {name}: {', '.join(unknown)}, which this version of "
            "hyperspec does not have. Read it with the version that wrote it."
        )
    return known[name](**fields)


def _config_classes() -> dict[str, type]:
    """Return whatever the schema is made of: its options, and the types of their fields."""
    waiting = [Train, *(made for group in schema._OPTIONS.values() for made in group.values())]
    found: dict[str, type] = {}
    while waiting:
        made = waiting.pop()
        if made.__name__ not in found:
            found[made.__name__] = made
            waiting += [part for hint in get_type_hints(made).values() for part in _parts(hint)]
    return found


def _parts(hint: Any) -> list[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    return [part for inner in get_args(hint) for part in _parts(inner)]


@dataclass(frozen=True)
class Restored:
    """A trained module on a folder of cubes.

    Args:
        config: The config of the run, with the data settings that were used here.
        material: The folder's specimens, their split and the bands, found again by nm.
        module: The module with its trained weights, in evaluation mode.
        trained: The bands that it was trained on, on their own axis.
        same_data: Whether the folder is what it was trained on, split alike: only then is the test
            part known to be unseen.
    """

    config: Train
    material: Material
    module: SimCLR
    trained: BandSelection
    same_data: bool


def read_config(checkpoint: Mapping[str, Any], path: Path | str) -> Train:
    """Return the config of the run that wrote a checkpoint.

    Raises:
        ModelError: If the checkpoint carries none.
    """
    plain = checkpoint["hyperspec"].get("config")
    if plain is None:
        raise ModelError(
            f"'{path}' carries no config, so its encoder cannot be rebuilt: it was written by an "
            "earlier version. Train it anew."
        )
    config = from_plain(plain)
    assert isinstance(config, Train)
    return config


def restore(path: Path | str, **data: Any) -> Restored:
    """Rebuild a checkpoint's module on a folder of cubes.

    The folder is read and split as the run's was, unless told otherwise. Where it has another axis,
    the bands are found by nm.

    Args:
        path: The checkpoint.
        data: Fields of the run's data config that differ here, such as ``root``; those that are
            None stay as the run had them.

    Raises:
        ModelError: If the checkpoint cannot be read, or its weights do not fit.
        BandError: If the folder's axis lacks a band.
    """
    import torch

    from hyperspec.training.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    facts = checkpoint["hyperspec"]
    config = _on_folder(read_config(checkpoint, path), data)
    if facts.get("stage") == "search":
        raise ModelError(
            f"'{path}' was written while bands=learned was still choosing its bands, so it holds "
            f"no encoder of them yet. Let the run finish: hyperspec train ... ckpt='{path}'."
        )
    trained = BandSelection.from_dict(facts["bands"])
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
    return Restored(config, material, module, trained, same)


def _on_folder(config: Train, data: Mapping[str, Any]) -> Train:
    given = {name: value for name, value in data.items() if value is not None}
    made: Data = dataclasses.replace(config.data, **given)
    return dataclasses.replace(config, data=made)


def load(
    config: Train,
    material: Material,
    weights: Mapping[str, Any],
    path: Path | str,
    device: torch.device,
    bank: PlaneBank | None = None,
) -> SimCLR:
    """Build a config's module and give it the weights of a checkpoint, in evaluation mode.

    Args:
        config: The config of the run that wrote it.
        material: With the bands that it was trained on.
        weights: Its ``state_dict``.
        path: Its file, for the message.
        device: Where the module lives.
        bank: Gives the planes; by default one is opened.

    Raises:
        ModelError: If the weights do not fit.
    """
    from hyperspec.training.builders import assemble

    model = config.model
    if isinstance(model, PretrainableConfig) and getattr(model, "norm", "") != "frozen":
        # The checkpoint holds every weight; pretrained ones need not be there. (Frozen
        # normalisation exists with weights only.)
        model = dataclasses.replace(model, weights=None)
    module = assemble(dataclasses.replace(config, model=model), material, device, bank)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"The weights of '{path}' do not fit its own config: {reason}") from error
    module.eval()
    return module
