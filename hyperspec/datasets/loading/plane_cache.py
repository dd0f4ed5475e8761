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
from hyperspec.utils.device_memory import free_bytes
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.transfer import send, staging

RESIDENCIES = ("auto", "device", "pinned", "mmap")
# Read at once on the way to a GPU: large enough for the disk and the bus, small in host memory.
_STAGE_BYTES = 256 * 2**20
# Planes that a GPU gathers and converts by one kernel each: much beside the 5 us that starting one
# takes, little beside a batch.
TOGETHER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Residency:
    """Where the planes live, and why in words for the run's log."""

    mode: str
    reason: str


def choose_residency(
    requested: str,
    num_bytes: int,
    device: torch.device,
    memory_share: float,
    *,
    jobs: int = 1,
    processes: int = 1,
    free: int | None = None,
) -> Residency:
    """Decide where the chosen planes live.

    Args:
        requested: ``auto``, ``device``, ``pinned`` or ``mmap``.
        num_bytes: Size of the chosen planes and masks.
        device: The training device.
        memory_share: Share of the free memory that the planes may take, above 0 and up to 1.
        jobs: Jobs that share the device, each of which gets its part of that share: those that
            start together all see the same memory free.
        processes: Of this job on this machine; each holds planes of its own in the host's memory.
        free: Bytes that are free on the device; None asks it.

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
    host_free = int(psutil.virtual_memory().available)
    on_gpu = device.type != "cpu"
    device_free = free_bytes(device) if free is None else free
    host_share = memory_share / (jobs * processes)
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
        if num_bytes <= memory_share / jobs * device_free:
            return Residency("device", f"{size} fit on the GPU ({device_free / 1e6:.0f} MB free)")
        if num_bytes <= host_share * host_free:
            return Residency("pinned", f"{size} fit in host memory, not on the GPU")
    elif num_bytes <= host_share * device_free:
        return Residency("device", f"{size} fit in memory ({device_free / 1e6:.0f} MB free)")
    return Residency("mmap", f"{size} exceed {host_share:.0%} of the free memory")


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
        if self._images is not None and self._images.device.type == self.device.type:
            images = self._converted(self._images, rows, dtype)
        else:
            images = send(self._gathered(rows), self.device).to(dtype)
        return images, self.masks(rows)

    def _converted(self, planes: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert part by part into the result: no batch in the narrow type is made before."""
        shape = (len(rows), len(self.bands), *planes.shape[2:])
        result = torch.empty(shape, dtype=dtype, device=planes.device)
        if planes.device.type == "cpu":
            for place, row in enumerate(rows.tolist()):
                image = planes[row]
                result[place].copy_(image if self._channels is None else image[self._channels])
            return result
        step = max(TOGETHER_BYTES // planes[0].nbytes, 1)
        parts = torch.split(send(rows, planes.device), step), torch.split(result, step)
        for chosen, part in zip(*parts, strict=True):
            if self._channels is None:
                part.copy_(planes[chosen])
            else:
                part.copy_(planes[chosen[:, None], self._channels])
        return result

    def _gathered(self, rows: Tensor) -> Tensor:
        """Gather images on the CPU, in memory that a GPU copies from without the host's wait."""
        rows = rows.cpu()
        chosen, size = rows.tolist(), self.source.size
        kind = torch.from_numpy(np.empty(0, self.source.dtype)).dtype
        images = staging((len(chosen), len(self.bands), size, size), kind, self.device)
        if self._images is None:
            self.source.planes(chosen, self.bands, out=images.numpy())
        elif self._channels is None:
            torch.index_select(self._images, 0, rows, out=images)
        else:
            for place, row in enumerate(chosen):
                torch.index_select(self._images[row], 0, self._channels, out=images[place])
        return images

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
        if self._masks.device.type == self.device.type:
            return self._masks[send(rows, self.device)]
        chosen = staging((len(rows), *self._masks.shape[1:]), torch.bool, self.device)
        torch.index_select(self._masks, 0, rows.cpu(), out=chosen)
        return send(chosen, self.device)

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
        return send(images, self.device).to(dtype), send(masks, self.device)

    def _load(self) -> Tensor:
        """Read all planes to where they live, straight into place: they are never there twice."""
        count, size = len(self.source), self.source.size
        shape = (count, len(self.bands), size, size)
        kind = torch.from_numpy(np.empty(0, self.source.dtype)).dtype
        if self.residency.mode == "pinned" or self.device.type == "cpu":
            # Not pinned themselves: batches are gathered into pinned memory, of which torch takes
            # powers of two and gives nothing back.
            images = torch.empty(shape, dtype=kind)
            self.source.planes(range(count), self.bands, out=images.numpy())
            return images
        images = torch.empty(shape, dtype=kind, device=self.device)
        step = max(_STAGE_BYTES // images[0].nbytes, 1)
        stage = staging((min(step, count), *shape[1:]), kind, self.device)
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
