"""Where the chosen planes live while a run trains: on the device, in host memory, or on disk.

Data stay in the store's narrow type (float16) until they are on the training device: converting on
the host halves the throughput of loading.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from torch import Tensor

from hyperspec.datasets.loading.packed_planes import StoredPlanes
from hyperspec.datasets.store.source import SpecimenSource
from hyperspec.utils.errors import ConfigError

RESIDENCIES = ("auto", "device", "pinned", "mmap")
# Read at once on the way to a GPU: large enough for the disk and the bus, small in host memory.
_STAGE_BYTES = 256 * 2**20
# On a GPU starting a copy takes some 5 us, in which a megabyte or more is copied.
_ALONE_BYTES = 2**20


@dataclass(frozen=True)
class Residency:
    """Where the planes live, and why in words for the run's log."""

    mode: str
    reason: str


def choose_residency(
    requested: str, num_bytes: int, device: torch.device, memory_share: float
) -> Residency:
    """Decide where the chosen planes live.

    Args:
        requested: ``auto``, ``device``, ``pinned`` or ``mmap``.
        num_bytes: Size of the chosen planes and masks.
        device: The training device.
        memory_share: Share of the free memory that the planes may take, above 0 and up to 1.

    Raises:
        ConfigError: If the name is unknown, the share is outside its range, or the planes do not
            fit where they were asked to be.
    """
    if requested not in RESIDENCIES:
        raise ConfigError(
            f"data.residency is '{requested}'; choose one of {', '.join(RESIDENCIES)}."
        )
    if not 0 < memory_share <= 1:
        raise ConfigError(f"data.memory_share is {memory_share}; give a share in (0, 1].")
    size = f"{num_bytes / 1e6:.0f} MB of planes"
    host_free = psutil.virtual_memory().available
    on_gpu = device.type == "cuda"
    device_free = torch.cuda.mem_get_info(device)[0] if on_gpu else host_free
    if requested != "auto":
        room = {"device": device_free, "pinned": host_free}.get(requested)
        if room is not None and num_bytes > room:
            where = "the GPU" if on_gpu and requested == "device" else "host memory"
            raise ConfigError(
                f"data.residency is '{requested}', but {size} do not fit in {where} "
                f"({room / 1e6:.0f} MB free). Choose auto or mmap, or fewer bands."
            )
        return Residency(requested, f"{size}, as configured")
    if on_gpu:
        if num_bytes <= memory_share * device_free:
            return Residency("device", f"{size} fit on the GPU ({device_free / 1e6:.0f} MB free)")
        if num_bytes <= memory_share * host_free:
            return Residency("pinned", f"{size} fit in host memory, not on the GPU")
    elif num_bytes <= memory_share * host_free:
        return Residency("device", f"{size} fit in memory ({host_free / 1e6:.0f} MB free)")
    return Residency("mmap", f"{size} exceed {memory_share:.0%} of the free memory")


class PlaneBank:
    """Gives batches of the chosen planes on the training device.

    Args:
        source: Specimens.
        bands: 0-based indices of the chosen bands, in channel order.
        device: The training device.
        residency: Where the planes live.
    """

    def __init__(
        self,
        source: SpecimenSource,
        bands: Sequence[int],
        device: torch.device,
        residency: Residency,
    ) -> None:
        self.source = source
        self.bands = tuple(bands)
        self.device = device
        self.residency = residency
        self._images: Tensor | None = None
        self._channels: Tensor | None = None  # of the loaded planes; None for all
        # Planes first: a source of raw cubes finds the masks while it reads them.
        if residency.mode != "mmap":
            self._images = self._load()
        self._masks = torch.from_numpy(source.masks(range(len(source)))).unsqueeze(1)
        if residency.mode == "device":
            self._masks = self._masks.to(device)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def resident_bytes(self) -> int:
        """Bytes of planes and masks that the bank itself holds."""
        planes = 0 if self._images is None else self._images.nbytes
        return planes + self._masks.nbytes

    def batch(self, rows: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Return images and masks of some specimens on the training device.

        Args:
            rows: Row numbers in the source, shape ``(B,)``.
            dtype: Type of the images.

        Returns:
            Reflectance ``(B, n, S, S)`` and foreground ``(B, 1, S, S)`` bool.
        """
        if self._images is None:
            images = torch.from_numpy(self.source.planes(rows.tolist(), self.bands))
        elif self._images.device == self.device and self._goes_alone(self._images):
            images = self._converted(self._images, rows, dtype)
        else:
            rows_there = rows.to(self._images.device, non_blocking=True)
            if self._channels is None:
                images = self._images[rows_there]
            else:
                images = self._images[rows_there[:, None], self._channels]
        masks = self._masks[rows.to(self._masks.device, non_blocking=True)]
        return self.to_device(images, masks, dtype)

    def _goes_alone(self, planes: Tensor) -> bool:
        """Say whether a copy for each image costs less than a batch more in memory."""
        return planes.device.type == "cpu" or planes[0].nbytes >= _ALONE_BYTES

    def _converted(self, planes: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert image by image into the result: no batch in the narrow type is made before."""
        shape = (len(rows), len(self.bands), *planes.shape[2:])
        result = torch.empty(shape, dtype=dtype, device=planes.device)
        for place, row in enumerate(rows.tolist()):
            image = planes[row]
            result[place].copy_(image if self._channels is None else image[self._channels])
        return result

    def stored(self, rows: Tensor) -> StoredPlanes:
        """Return images of some specimens where they live, in their narrow type.

        Args:
            rows: Row numbers in the source, shape ``(B,)``.

        Raises:
            ValueError: If the planes live on a GPU.
        """
        chosen = rows.tolist()
        if self._images is None:
            planes = torch.from_numpy(self.source.planes(chosen, self.bands))
            return StoredPlanes(planes, range(len(chosen)))
        if self._images.device.type != "cpu":
            raise ValueError("The planes live on a GPU; take batch().")
        return StoredPlanes(self._images, chosen, self._channels)

    def masks(self, rows: Tensor) -> Tensor:
        """Return the foreground of some specimens on the training device, ``(B, 1, S, S)``."""
        return self._masks[rows.to(self._masks.device, non_blocking=True)].to(
            self.device, non_blocking=True
        )

    def narrowed(self, bands: Sequence[int]) -> PlaneBank:
        """Return a bank of some of these bands that shares the planes: nothing is read anew.

        Args:
            bands: 0-based indices of bands that this bank has, in channel order.

        Raises:
            ValueError: If it does not have one of them.
        """
        places = {band: place for place, band in enumerate(self.bands)}
        if missing := [band for band in bands if band not in places]:
            raise ValueError(f"This bank has no band {missing[0]}.")
        part = copy.copy(self)
        part.bands = tuple(bands)
        if self._images is not None:
            own = torch.tensor([places[band] for band in bands], device=self._images.device)
            part._channels = own if self._channels is None else self._channels[own]
        return part

    def to_device(
        self, images: Tensor, masks: Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Move a batch to the training device and convert it there."""
        images = images.to(self.device, non_blocking=True).to(dtype)
        return images, masks.to(self.device, non_blocking=True)

    def _load(self) -> Tensor:
        """Read all planes to where they live, straight into place: they are never there twice."""
        count, size = len(self.source), self.source.size
        shape = (count, len(self.bands), size, size)
        kind = torch.from_numpy(np.empty(0, self.source.dtype)).dtype
        pin = torch.cuda.is_available()
        if self.residency.mode == "pinned" or self.device.type == "cpu":
            images = torch.empty(
                shape, dtype=kind, pin_memory=pin and self.residency.mode == "pinned"
            )
            self.source.planes(range(count), self.bands, out=images.numpy())
            return images
        images = torch.empty(shape, dtype=kind, device=self.device)
        step = max(_STAGE_BYTES // images[0].nbytes, 1)
        stage = torch.empty((min(step, count), *shape[1:]), dtype=kind, pin_memory=pin)
        for start in range(0, count, step):
            rows = range(start, min(start + step, count))
            part = stage[: len(rows)]
            self.source.planes(rows, self.bands, out=part.numpy())
            images[start : start + len(rows)].copy_(part)
        return images


def predicted_bytes(num_specimens: int, num_bands: int, size: int, itemsize: int) -> int:
    """Bytes of the chosen planes and masks of a dataset, known before anything is read."""
    pixels = num_specimens * size * size
    return pixels * num_bands * itemsize + pixels
