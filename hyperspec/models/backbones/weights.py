"""Pretrained weights: torchvision's own through the torch hub cache, or a file."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hyperspec.utils.errors import ModelError
from hyperspec.utils.unpickling import reason_of

NUM_LISTED = 5  # differing keys that an error shows: enough to recognise another architecture


def read_weights(name: str, weights: str) -> dict[str, Tensor]:
    """Read the state dict of ``DEFAULT`` or a path for a torchvision model such as ``resnet18``.

    Raises:
        ModelError: If the file is absent and cannot be downloaded, or is not a state dict.
    """
    return _read_default(name) if weights == "DEFAULT" else _read_file(Path(weights).expanduser())


def _read_default(name: str) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights

    default = get_model_weights(name).DEFAULT
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / default.url.rsplit("/", 1)[-1]
    if file.is_file():
        return _read_file(file)
    try:
        # The hash in the file name is checked after a download.
        state: dict[str, Tensor] = default.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise ModelError(
            f"model.weights=DEFAULT for {name} needs the file {file.name}, which is not in "
            f"{folder} and could not be downloaded ({type(error).__name__}: {error}). Fetch "
            f"{default.url} where there is a network and place it in that folder, or set "
            "model.weights=null or the path of a state dict."
        ) from error
    return state


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(
            f"model.weights={path} is not a file. Use null, DEFAULT (in capitals) or the path of "
            "a state dict in torchvision's naming."
        )
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # bytes that are no weights raise whatever they happen to mean
        raise ModelError(
            f"model.weights: {path} cannot be read as a state dict without running code "
            f"({reason_of(error)}), and nothing in it was run. Save it again with "
            "torch.save(model.state_dict(), path)."
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]  # a training checkpoint around the weights
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(
            f"model.weights: {path} holds a {type(content).__name__}, not a state dict of tensors. "
            "Save it again with torch.save(model.state_dict(), path)."
        )
    return dict(content)


def load_state(module: nn.Module, state: Mapping[str, Tensor], weights: str) -> None:
    """Load a state dict whose keys and shapes must match exactly; ``weights`` is for the message.

    Raises:
        ModelError: If keys or shapes differ; the message lists the first differing ones.
    """
    expected = module.state_dict()
    differences = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in expected
            if key in state and state[key].shape != expected[key].shape
        ],
    }
    found = [
        f"{len(keys)} {kind}: {', '.join(keys[:NUM_LISTED])}{' ...' * (len(keys) > NUM_LISTED)}"
        for kind, keys in differences.items()
        if keys
    ]
    if found:
        raise ModelError(
            f"model.weights={weights} does not fit this backbone ({'; '.join(found)}). Choose the "
            "model that the file was made with, or another file."
        )
    module.load_state_dict(dict(state))
