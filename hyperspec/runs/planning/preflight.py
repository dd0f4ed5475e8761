"""What a job of a config writes to the disk, from headers and layers alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperspec.config.schema import Train
    from hyperspec.datasets.config import Data
    from hyperspec.runs.planning.time import DiskNeed

_COPIES = 3  # of a float32 weight in a checkpoint: itself and AdamW's two moments
_BYTES = 4


def check_data(jobs: Sequence[Train]) -> None:
    """Open the specimens of all jobs, so that a missing or damaged file is found before them.

    Jobs that share a device are also predicted to fit on it.

    What is not packed yet is packed here; the first job would have to.

    Args:
        jobs: Checked configs.

    Raises:
        HyperspecError: With the files that cannot be used, or the memory that is missing.
    """
    from hyperspec.runs.planning.device_sharing import check_sharing
    from hyperspec.training.data import open_source

    opened: list[Data] = []
    for job in jobs:
        if job.data not in opened:
            open_source(job.data)
            opened.append(job.data)
    check_sharing(jobs)


def disk_need(config: Train) -> DiskNeed:
    """Predict the packed planes that are missing, and the size of a checkpoint, in bytes.

    Args:
        config: A checked config.

    Raises:
        HyperspecError: If the folder holds no cube that can be read.
    """
    # Hydra imports this module at each start, with everything that the config names.
    import numpy as np
    import torch

    from hyperspec.models.encoder import build_encoder
    from hyperspec.models.heads import build_head
    from hyperspec.runs.planning.time import DiskNeed

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
    from hyperspec.datasets.catalogue.discover import find_cubes, frame_kind
    from hyperspec.datasets.config import FolderData
    from hyperspec.datasets.preparation.prepare import PrepareSettings
    from hyperspec.datasets.store.packed import shards_of
    from hyperspec.spectra.axis import SpectralAxis

    spec = data.axis
    axis = None if spec is None else SpectralAxis.linear(spec.start_nm, spec.stop_nm, spec.count)
    root = Path(data.root)
    files, _ = find_cubes(root, data.pattern)
    cubes = [path for path in files if frame_kind(path) is None]
    with open_cube(cubes[0] if cubes else files[0], axis) as cube:
        num_bands = cube.num_bands
    if not isinstance(data, FolderData) or data.store == "none":
        return len(cubes), num_bands, 0
    shards = shards_of(Path(data.cache_dir), num_bands, PrepareSettings(size=data.size))
    folder = Path(data.cache_dir) / "shards"
    packed = sum(path.stat().st_size == shards.file_bytes for path in folder.rglob("*.npy"))
    return len(cubes), num_bands, max(len(cubes) - packed, 0) * shards.shard_bytes
