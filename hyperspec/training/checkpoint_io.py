"""Lightning's checkpoints, written and read as :mod:`hyperspec.training.checkpoint` does."""

from __future__ import annotations

import os
from typing import Any

from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from hyperspec.training.checkpoint import read_checkpoint, remove_checkpoint, write_checkpoint


class AtomicCheckpointIO(CheckpointIO):
    """Writes atomically with a checksum, reads with the checksum and ``weights_only``."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any | None = None,
    ) -> None:
        """Write a checkpoint; the target is replaced only by a complete file."""
        write_checkpoint(checkpoint, path)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; see :func:`hyperspec.training.checkpoint.read_checkpoint`."""
        return read_checkpoint(path)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete a checkpoint and its checksum."""
        remove_checkpoint(path)
