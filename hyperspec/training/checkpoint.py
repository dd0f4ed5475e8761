"""Checkpoints that are whole or absent, and that execute nothing when read.

Lightning stages a checkpoint in the system's temporary folder and moves it, so that a full disk can
leave a truncated file under its final name, and a flipped byte loads in silence. Here the file is
written beside its target, flushed to the disk and renamed, with its SHA-256 beside it; reading
checks that and unpickles tensors and plain values only.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hyperspec.utils.atomic import replacing, write_text
from hyperspec.utils.errors import ModelError
from hyperspec.utils.unpickling import reason_of

_LOG = logging.getLogger(__name__)


def write_checkpoint(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint with its checksum; the target is replaced only by a complete file."""
    target = Path(path)
    with replacing(target) as part:
        with part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        # The checksums of the new and of the present file go first, so that a kill between
        # the two renames leaves a pair that fits whichever file is there.
        digests = [_sha256(part), *([_sha256(target)] if target.is_file() else [])]
        write_text(_checksum_path(target), "\n".join(digests) + "\n")


def remove_checkpoint(path: str | os.PathLike[str]) -> None:
    """Delete a checkpoint and its checksum."""
    Path(path).unlink(missing_ok=True)
    _checksum_path(Path(path)).unlink(missing_ok=True)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        ModelError: If the file is missing, differs from its checksum, or holds anything but
            tensors and plain values.
    """
    source = Path(path)
    if not source.is_file():
        raise ModelError(f"ckpt is '{source}', but there is no such file.")
    _check_sum(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the pickle's protocol; it is refused
            loaded = torch.load(source, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # bytes that are no checkpoint raise whatever they happen to mean
        raise ModelError(
            f"The checkpoint '{source}' cannot be read as tensors and plain values "
            f"({reason_of(error)}). Nothing in it was executed. Take a checkpoint that hyperspec "
            "wrote."
        ) from error
    if not isinstance(loaded, Mapping) or not isinstance(loaded.get("hyperspec"), Mapping):
        raise ModelError(
            f"'{source}' is no checkpoint of hyperspec (it has no 'hyperspec' entry). To start "
            "from other weights give model.weights=PATH."
        )
    return dict(loaded)


def _check_sum(source: Path) -> None:
    checksum = _checksum_path(source)
    if not checksum.is_file():
        _LOG.warning(
            "%s has no checksum beside it (%s), so that damage would go unnoticed; copy both.",
            *(source, checksum.name),
        )
        return
    known = checksum.read_bytes().decode("ascii", "replace").split()
    if not known or not all(re.fullmatch("[0-9a-f]{64}", one) for one in known):
        raise ModelError(
            f"The checksum '{checksum}' is none (SHA-256 in 64 hex digits), so that '{source}' is "
            "not trusted. Copy the checkpoint anew with the .sha256 that lies beside it."
        )
    if _sha256(source) not in known:
        raise ModelError(
            f"The checkpoint '{source}' differs from its checksum '{checksum.name}': it is "
            "truncated or damaged. Use an earlier checkpoint of the run."
        )


def _checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
