"""How much disk a sweep needs, before its first job."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyperspec.utils.errors import CatalogueError

if TYPE_CHECKING:
    from hyperspec.config.schema import Train
    from hyperspec.datasets.config import Data

_COPIES = 3  # of a float32 weight in a checkpoint: itself and AdamW's two moments
_BYTES = 4
_ARTIFACTS = 300_000  # bytes of a job's pictures and tables, as the demo's


def disk_need(config: Train) -> DiskNeed:
    """Predict the packed planes that are missing, and the size of a checkpoint, in bytes.

    Raises:
        HyperspecError: If the folder holds no cube that can be read.
    """
    # Hydra imports this module at each start, with everything that the config names.
    import torch

    from hyperspec.models.encoder import build_encoder
    from hyperspec.models.heads import build_head

    count, num_bands, missing = _planes(config.data)
    n = min(int(getattr(config.bands, "n", num_bands) or num_bands), num_bands)
    with torch.device("meta"):
        encoder = build_encoder(config.model, np.linspace(400.0, 800.0, n))
        head = build_head(config.head, encoder.num_features)
    parameters = sum(p.numel() for module in (encoder, head) for p in module.parameters())
    return DiskNeed(count, missing, _COPIES * _BYTES * parameters)


def _planes(data: Data) -> tuple[int, int, int]:
    """Return cubes, bands, and bytes of the shards that are not packed yet."""
    from hyperspec.cubes.open import open_cube
    from hyperspec.datasets.config import FolderData, specimen_files
    from hyperspec.datasets.preparation.preparation import PrepareSettings
    from hyperspec.datasets.store.packed import shards_of

    cubes = specimen_files(data)
    if not cubes:
        raise CatalogueError(f"{data.root} holds calibration frames, but no cube of a specimen.")
    with open_cube(cubes[0], data.own_axis, options=data.reading) as cube:
        num_bands = cube.num_bands
    if not isinstance(data, FolderData) or data.store == "none":
        return len(cubes), num_bands, 0
    shards = shards_of(Path(data.cache_dir), num_bands, PrepareSettings.of(data))
    folder = Path(data.cache_dir) / "shards"
    packed = sum(path.stat().st_size == shards.file_bytes for path in folder.rglob("*.npy"))
    return len(cubes), num_bands, max(len(cubes) - packed, 0) * shards.shard_bytes


@dataclass(frozen=True)
class DiskNeed:
    """What jobs write, in bytes: planes to pack once, 0 when all are packed; a checkpoint."""

    num_cubes: int
    planes: int
    checkpoint: int


def disk_text(need: DiskNeed, num_jobs: int, folder: Path) -> str:
    """Say how much disk the sweep will take, and warn when there is less."""
    # A job keeps its checkpoint in its folder and with its run.
    jobs = num_jobs * (2 * need.checkpoint + _ARTIFACTS)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    planes = f"{_size(need.planes)} of packed cubes, " if need.planes else "cubes are packed, "
    text = (
        f"disk: about {_size(need.planes + jobs)} ({planes}{num_jobs} x 2 checkpoints of "
        f"{_size(need.checkpoint)}) of {_size(free)} free"
    )
    if need.planes + jobs > free:
        text += "\nwarning: the disk has too little room for all jobs of this sweep"
    return text


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
